"""What champion and candidate did on the same held-out episodes.

Dimensions: E episodes.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.acceptance_statistics import check_scores

__all__ = ["Played"]


@dataclass(frozen=True, kw_only=True)
class Played:
    """What champion and candidate earned on the same held-out episodes of one regime.

    Attributes:
        champion_E: Scores of the champion.
        candidate_E: Scores of the candidate.
        flat: Score of doing nothing; on data, of cash.
        golden_E: Scores of the regime's best accepted policy; None where it is the champion.
        champion_drawdown_E: Largest drawdown of each of the champion's episodes, as a share of the
            peak; None where equity is not what is scored.
        candidate_drawdown_E: The same of the candidate.
    """

    champion_E: NDArray[np.float64]
    candidate_E: NDArray[np.float64]
    flat: float = 0.0
    golden_E: NDArray[np.float64] | None = None
    champion_drawdown_E: NDArray[np.float64] | None = None
    candidate_drawdown_E: NDArray[np.float64] | None = None

    @property
    def known(self) -> bool:
        """Whether all of the candidate's scores are finite."""
        return bool(np.isfinite(self.candidate_E).all())

    def check(self, regime: str) -> None:
        """Check that the scores belong together; the candidate's need not be finite.

        Args:
            regime: Name, for the message.

        Raises:
            ValueError: they do not, or those of champion, golden policy or cash are not finite.
        """
        check_scores(f"champion of regime {regime}", self.champion_E)
        expected = len(self.champion_E)
        others = {
            "candidate": self.candidate_E,
            "golden": self.golden_E,
            "drawdowns of the champion": self.champion_drawdown_E,
            "drawdowns of the candidate": self.candidate_drawdown_E,
        }
        for name, values_E in others.items():
            if values_E is not None and len(values_E) != expected:
                raise ValueError(
                    f"{name} of regime {regime}: expected {expected} episodes, the champion's, "
                    f"found {len(values_E)}"
                )
        for name in ("golden", "drawdowns of the champion"):
            finite_E = others[name]
            if finite_E is not None:
                check_scores(f"{name} of regime {regime}", finite_E)
        if not math.isfinite(self.flat):
            raise ValueError(f"flat of regime {regime}: expected a finite score, found {self.flat}")

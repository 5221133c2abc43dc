"""The best accepted policy of every regime: what a slow decline is measured against."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as pydantic_dataclass

from evaluation.acceptance_statistics import check_scores

__all__ = ["Golden", "GoldenScore"]


@pydantic_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class GoldenScore:
    """The best accepted policy of one regime.

    Attributes:
        checkpoint: Name of what was accepted.
        update: Number of the update that it came with; 0 is the first champion.
        mean: Its mean score.
        episodes: Which episodes it was scored on: a name of their seed, span and number.
        scores: Its score of each episode.
    """

    checkpoint: str
    update: int
    mean: float
    episodes: str
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Golden:
    """Best accepted policies by regime; pure data, written as JSON beside the checkpoints."""

    regimes: Mapping[str, GoldenScore] = field(default_factory=dict)

    def scores(self, regime: str, episodes: str) -> NDArray[np.float64] | None:
        """Return a golden policy's scores on given episodes.

        Args:
            regime: its name.
            episodes: which ones the candidate has played.

        Returns:
            (E,) scores; None where the regime has no golden policy, or where it was scored on other
            episodes and must be played again: scores of other episodes cannot be paired.
        """
        best = self.regimes.get(regime)
        if best is None or best.episodes != episodes:
            return None
        return np.array(best.scores)

    def accept(
        self,
        checkpoint: str,
        update: int,
        scores: Mapping[str, NDArray[np.float64]],
        episodes: Mapping[str, str],
        golden: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> "Golden":
        """Return the registry after an accepted update.

        A policy becomes a regime's golden one where its mean is higher on the same episodes, or
        where there was none.

        Args:
            checkpoint: name of what was accepted.
            update: its number.
            scores: of the accepted policy, by regime.
            episodes: which episodes those are, by regime.
            golden: scores of the golden policies on those episodes, where they had to be played
                again; they replace the old ones.

        Raises:
            ValueError: scores that are not finite, or a golden policy without scores on the
                episodes of the accepted one.
        """
        found = dict(self.regimes)
        for regime, scores_E in scores.items():
            check_scores(f"scores of regime {regime}", scores_E)
            best = found.get(regime)
            if best is not None and regime in (golden or {}):
                best = _rescored(best, (golden or {})[regime], episodes[regime])
            if best is not None and best.episodes != episodes[regime]:
                raise ValueError(
                    f"golden of regime {regime}: expected scores on the episodes "
                    f"{episodes[regime]!r}, found {best.episodes!r}; play {best.checkpoint!r} again"
                )
            mean = float(np.mean(scores_E))
            if best is None or mean > best.mean:
                best = GoldenScore(
                    checkpoint=checkpoint,
                    update=update,
                    mean=mean,
                    episodes=episodes[regime],
                    scores=tuple(float(score) for score in scores_E),
                )
            found[regime] = best
        return replace(self, regimes=found)

    def to_json(self) -> str:
        """Return the registry as JSON."""
        return _ADAPTER.dump_json(self, indent=1).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return a registry from its JSON.

        Raises:
            ValueError: no such JSON.
        """
        return cls(_ADAPTER.validate_json(text).regimes)


def _rescored(best: GoldenScore, scores_E: NDArray[np.float64], episodes: str) -> GoldenScore:
    check_scores(f"golden {best.checkpoint!r}", scores_E)
    return replace(
        best,
        mean=float(np.mean(scores_E)),
        episodes=episodes,
        scores=tuple(float(score) for score in scores_E),
    )


_ADAPTER = TypeAdapter(Golden)

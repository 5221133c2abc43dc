r"""Is a candidate riskier than the champion? Tails and drawdowns on the paired episodes.

Two measures, where `AcceptanceConfig.risk` looks:

* `tail`: the mean score of the worst `tail` of the episodes (CVaR). It may fall by
  `risk_tolerance` of how far the champion's lies below its mean (Rockafellar's CVaR deviation,
  which measures risk also where the tail itself is near zero), plus the floor;
* `drawdown`: the mean over the episodes of the largest drawdown, on recorded data. It may grow by
  `risk_tolerance` of the champion's.

**A check, not a proof.** An update is rejected where a worsening beyond the tolerance is *shown*,
not unless one is ruled out as for the mean score. The worst 5 % of 128 episodes are six or seven:
to rule out that their mean is a tenth worse takes thousands of episodes, so a test of
non-inferiority would reject every update, and a gate that always says no protects nothing: it gets
switched off. So the error that is bounded is the other one. An update whose risk is not worse by
more than the tolerance is rejected with probability `alpha` at most (over all measures and regimes
together, Bonferroni; not spent over updates, as a rejection costs one more attempt), and what it
lets through is a matter of the sample, measured in `experiments/acceptance`.

The CVaR is the mean of one number for each episode,

.. math:: z_e = q - \frac{(q - x_e)^+}{\tau}, \qquad \overline{z} = CVaR_\tau,

with q the tail's edge, to whose own error the mean is insensitive as it maximises it (Rockafellar
and Uryasev 2000, Journal of Risk 2, theorem 1). So the paired tests of means
(`acceptance_statistics.p_values`, blocks included) serve for it; the noise of the tolerated share
is part of what is tested (`contrasts` there).

Further source: Rockafellar, Uryasev and Zabarankin (2006), Generalized deviations in risk analysis,
Finance and Stochastics 10.

Dimensions: E episodes, H hypotheses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass

from evaluation.acceptance_config import AcceptanceConfig
from evaluation.acceptance_played import Played
from evaluation.acceptance_statistics import lower_bounds, p_values

__all__ = ["LEAST_TAIL", "Risk", "check_risks", "tail_contributions"]

LEAST_TAIL = 10
"""Episodes that a tail has at least: of few episodes a larger share counts, and of fewer than twice
as many none is looked at."""

Measure = Literal["tail", "drawdown"]
_WORDS: Mapping[Measure, str] = {
    "tail": "the mean of the worst {share:.2g} of the episodes",
    "drawdown": "the mean of the episodes' largest drawdowns",
}


@pydantic_dataclass(
    frozen=True, kw_only=True, config=ConfigDict(extra="forbid", ser_json_inf_nan="strings")
)
class Risk:
    """One measure of risk in one regime.

    Attributes:
        regime: Its name.
        of: Which measure.
        champion: The champion's, score units or share of the peak.
        candidate: The candidate's.
        worse: By how much the candidate's is worse; negative for better.
        low: Lower bound of what it is worse beyond the tolerated share of the champion's own
            (positive: shown), at `level`, one-sided.
        margin: Worsening that is tolerated.
        p: p-value of the hypothesis that it is worse by the margin at most.
        level: What it is compared with.
        passed: Whether that hypothesis is kept, which speaks for the candidate.
        episodes: E.
        share: Of the episodes that are looked at.
    """

    regime: str
    of: Measure
    champion: float
    candidate: float
    worse: float
    low: float
    margin: float
    p: float
    level: float
    passed: bool
    episodes: int
    share: float

    @property
    def reason(self) -> str:
        """Why it speaks against the candidate, in words."""
        what = _WORDS[self.of].format(share=self.share)
        return (
            f"regime {self.regime}: {what} is worse by {self.worse:.4g}, from {self.champion:.4g} "
            f"to {self.candidate:.4g}, where {self.margin:.4g} is tolerated (p {self.p:.2g} at "
            f"level {self.level:.2g}, {self.episodes:,} episodes)"
        )


@dataclass(frozen=True)
class _Measured:
    """A measure, as numbers of each episode whose means it is made of."""

    regime: str
    of: Measure
    champion_E: NDArray[np.float64]
    candidate_E: NDArray[np.float64]
    worse_E: NDArray[np.float64]
    scale_E: NDArray[np.float64]
    floor: float
    share: float


def check_risks(
    played: Mapping[str, Played], config: AcceptanceConfig, active: str | None = None
) -> tuple[Risk, ...]:
    """Compare the risks of candidate and champion.

    Args:
        played: by regime; where a candidate's scores are not finite nothing is compared.
        config: of the gate.
        active: regime that is being learned.
    """
    looked = {
        regime: each
        for regime, each in played.items()
        if config.risk != "none" and each.known and (config.risk == "all" or regime != active)
    }
    found = [row for regime, each in looked.items() for row in _measured(regime, each, config)]
    level = config.alpha / max(len(found), 1)
    return tuple(_risk(row, level, config) for row in found)


def tail_contributions(scores_E: Float[np.ndarray, "E"], share: float) -> Float[np.ndarray, "E"]:
    """One number for each episode, whose mean is the mean of the worst share of the scores.

    Args:
        scores_E: scores.
        share: tau, in (0, 1]; the last episode of the tail counts by the part that is in it.
    """
    tail = max(round(share * len(scores_E), 9), 1e-9)
    edge = np.partition(scores_E, int(np.ceil(tail)) - 1)[int(np.ceil(tail)) - 1]
    return np.asarray(edge - np.maximum(edge - scores_E, 0.0) * len(scores_E) / tail)


def _measured(regime: str, played: Played, config: AcceptanceConfig) -> list[_Measured]:
    found, episodes = [], len(played.champion_E)
    if episodes >= 2 * LEAST_TAIL:
        share = max(config.tail, LEAST_TAIL / episodes)
        before_E = tail_contributions(played.champion_E, share)
        after_E = tail_contributions(played.candidate_E, share)
        depth_E = played.champion_E - before_E
        worse_E = before_E - after_E
        found.append(
            _Measured(regime, "tail", before_E, after_E, worse_E, depth_E, config.floor, share)
        )
    old_E, new_E = played.champion_drawdown_E, played.candidate_drawdown_E
    if old_E is not None and new_E is not None:
        found.append(_Measured(regime, "drawdown", old_E, new_E, new_E - old_E, old_E, 0.0, 1.0))
    return found


def _risk(row: _Measured, level: float, config: AcceptanceConfig) -> Risk:
    """Test whether a measure is worse than tolerated."""
    beyond_1E = (row.worse_E - config.risk_tolerance * row.scale_E)[None]
    p = float(p_values(beyond_1E, np.array([-row.floor]), config.redrawing)[0])
    low = float(lower_bounds(beyond_1E, np.array([level]), config.redrawing)[0])
    return Risk(
        regime=row.regime,
        of=row.of,
        champion=float(row.champion_E.mean()),
        candidate=float(row.candidate_E.mean()),
        worse=float(row.worse_E.mean()),
        low=low - row.floor,
        margin=config.risk_tolerance * float(row.scale_E.mean()) + row.floor,
        p=p,
        level=level,
        passed=p > level,
        episodes=len(row.worse_E),
        share=row.share,
    )

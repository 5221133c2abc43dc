r"""Metrics of continual learning that follow from the learning curves of a stream.

A curve is the score of one regime at some steps of the stream; between two points it is taken as
linear, before the first and after the last as constant. Scores of curves come from other episodes
than those of the score matrix, so levels that curves must reach are read from curves.

Dimensions: P points, I phases, J regimes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float

from evaluation.continual_metrics import first_visits, mean_of, returns

__all__ = [
    "REGAINED",
    "Recovery",
    "forward_transfer",
    "mean_height",
    "mean_recovery",
    "recoveries",
    "regret",
    "regret_share",
    "steps_to",
]

REGAINED: Final = 0.95
"""Share of the score at a regime's last visit that counts as regained."""


@dataclass(frozen=True)
class Recovery:
    """How a regime's score came back when the regime did.

    Attributes:
        regime: Its number.
        phase: In which it came back.
        level: Score to reach, `REGAINED` of that at the end of its last visit.
        steps: Until it was reached, from the phase's start; those of the phase if it never was.
        first_steps: That its first learning took to the same level; those of the phase likewise.
        status: `regained`; `not regained`, within the phase (the share is then a lower bound);
            `level new`, where the first learning never came to the level (an upper bound);
            `undefined`, where nothing had been learned, or the level was there from the start.
    """

    regime: int
    phase: int
    level: float
    steps: float
    first_steps: float
    status: Literal["regained", "not regained", "level new", "undefined"]

    @property
    def share(self) -> float:
        """Steps as a share of those of the first learning; nan where it is undefined."""
        return math.nan if self.status == "undefined" else self.steps / self.first_steps


def mean_height(
    step_P: Float[np.ndarray, "P"], score_P: Float[np.ndarray, "P"], start: float, end: float
) -> float:
    r"""Area under a curve over its length, :math:`\frac{1}{b-a} \int_a^b S(t)\,dt`.

    Args:
        step_P: steps, ascending.
        score_P: scores at them.
        start: a.
        end: b; nan where it is not after a, as in a phase whose every update was rejected.
    """
    if end <= start:
        return math.nan
    at, scores = _between(step_P, score_P, start, end)
    return float(np.trapezoid(scores, at)) / (end - start)


def steps_to(
    step_P: Float[np.ndarray, "P"],
    score_P: Float[np.ndarray, "P"],
    start: float,
    end: float,
    level: float,
) -> float:
    """Steps from ``start`` until a curve first reaches a level; infinite if not until ``end``.

    Args:
        step_P: steps, ascending.
        score_P: scores at them.
        start: where counting begins.
        end: where it ends.
        level: to reach; 0 steps where the curve is there at the start.
    """
    at, scores = _between(step_P, score_P, start, end)
    if scores[0] >= level:
        return 0.0
    reached = np.flatnonzero(scores >= level)
    if not reached.size:
        return math.inf
    last = int(reached[0])
    low, high = scores[last - 1], scores[last]
    part = (level - low) / (high - low)
    return float(at[last - 1] + part * (at[last] - at[last - 1]) - start)


def forward_transfer(
    step_P: Float[np.ndarray, "P"],
    curve_PJ: Float[np.ndarray, "P J"],
    order: Sequence[int],
    phase_steps: Sequence[int],
    scratch: tuple[Float[np.ndarray, "Q"], Float[np.ndarray, "Q J"]],
) -> float:
    r"""Mean of :math:`FT_j = (AUC_j - AUC^{ref}_j) / (1 - AUC^{ref}_j)` (Wolczyk 2021).

    AUC is the mean height of the regime's curve over its first visit, the reference that of an
    agent that starts from scratch, over as many steps. Over the regimes that are first met after
    the first phase. Scores must be shares of the optimum.

    Args:
        step_P: steps of the stream's curves.
        curve_PJ: the curves.
        order: regime of each phase.
        phase_steps: steps of each phase.
        scratch: steps from their own start and curves of the agents that start from scratch; a
            regime without one is nan.
    """
    border = np.concatenate([[0], np.cumsum(phase_steps)])
    found = []
    for regime, first in enumerate(first_visits(order, curve_PJ.shape[1])):
        if first <= 0:
            continue
        area = mean_height(step_P, curve_PJ[:, regime], border[first], border[first + 1])
        alone = mean_height(scratch[0], scratch[1][:, regime], 0.0, phase_steps[first])
        found.append((area - alone) / (1.0 - alone) if alone < 1.0 else math.nan)
    return mean_of(np.array(found))


def recoveries(
    step_P: Float[np.ndarray, "P"],
    curve_PJ: Float[np.ndarray, "P J"],
    order: Sequence[int],
    phase_steps: Sequence[int],
    least: float,
) -> tuple[Recovery, ...]:
    """How scores came back when regimes did, one for each return; none without curves.

    Args:
        step_P: steps of the stream's curves.
        curve_PJ: the curves.
        order: regime of each phase.
        phase_steps: steps of each phase.
        least: score from which a regime counts as learned, > 0.
    """
    if not len(step_P):
        return ()
    border = np.concatenate([[0], np.cumsum(phase_steps)])
    first_J = first_visits(order, curve_PJ.shape[1])
    found = []
    for phase, regime, before in returns(order):
        score_P, first = curve_PJ[:, regime], int(first_J[regime])
        kept = float(np.interp(border[before + 1], step_P, score_P))
        level = REGAINED * kept
        steps = steps_to(step_P, score_P, border[phase], border[phase + 1], level)
        taken = steps_to(step_P, score_P, border[first], border[first + 1], level)
        status: Literal["regained", "not regained", "level new", "undefined"] = "regained"
        if kept < least or taken == 0.0:
            status = "undefined"
        elif math.isinf(steps):
            status = "undefined" if math.isinf(taken) else "not regained"
        elif math.isinf(taken):
            status = "level new"
        found.append(
            Recovery(
                regime,
                phase,
                level,
                min(steps, float(phase_steps[phase])),
                min(taken, float(phase_steps[first])),
                status,
            )
        )
    return tuple(found)


def mean_recovery(found: Sequence[Recovery]) -> float:
    """Mean share of the first learning's steps; bounds count as what they are, nan without any."""
    return mean_of(np.array([each.share for each in found]))


def regret_share(
    step_P: Float[np.ndarray, "P"],
    curve_PJ: Float[np.ndarray, "P J"],
    order: Sequence[int],
    phase_steps: Sequence[int],
) -> float:
    r"""Share of the optimum that was missed while learning, the mean of :math:`1 - S_{k_t}(t)`.

    Over all steps, of the regime that governs at the time. Scores must be shares of the optimum;
    they are those of the policy without its exploration noise.

    Args:
        step_P: steps of the stream's curves.
        curve_PJ: the curves; nan without points.
        order: regime of each phase.
        phase_steps: steps of each phase.
    """
    missed_I = _missed(step_P, curve_PJ, order, phase_steps)
    return float(missed_I.sum()) / float(sum(phase_steps))


def regret(
    step_P: Float[np.ndarray, "P"],
    curve_PJ: Float[np.ndarray, "P J"],
    order: Sequence[int],
    phase_steps: Sequence[int],
    gain_J: Float[np.ndarray, "J"],
) -> float:
    r""":math:`\sum_t (J^*_{k_t} - J_{k_t}(t))` over the stream, in reward units.

    The one figure that pays for slow learning, forgetting and learning again together.

    Args:
        step_P: steps of the stream's curves.
        curve_PJ: the curves, shares of the optimum; nan without points.
        order: regime of each phase.
        phase_steps: steps of each phase.
        gain_J: what the optimum earns more than doing nothing, a bar.
    """
    return float(_missed(step_P, curve_PJ, order, phase_steps) @ gain_J[list(order)])


def _missed(
    step_P: Float[np.ndarray, "P"],
    curve_PJ: Float[np.ndarray, "P J"],
    order: Sequence[int],
    phase_steps: Sequence[int],
) -> Float[np.ndarray, "I"]:
    """Shares of the optimum that were missed in each phase, summed over its steps."""
    if not len(step_P):
        return np.full(len(order), np.nan)
    border = np.concatenate([[0], np.cumsum(phase_steps)])
    height_I = [
        mean_height(step_P, curve_PJ[:, regime], border[phase], border[phase + 1])
        for phase, regime in enumerate(order)
    ]
    return np.asarray(phase_steps) * (1.0 - np.array(height_I))


def _between(
    step_P: Float[np.ndarray, "P"], score_P: Float[np.ndarray, "P"], start: float, end: float
) -> tuple[Float[np.ndarray, "Q"], Float[np.ndarray, "Q"]]:
    """The points of a curve within a stretch, with its ends."""
    inside = step_P[(step_P > start) & (step_P < end)]
    at = np.concatenate([[start], inside, [end]]).astype(np.float64)
    return at, np.interp(at, step_P, score_P)

"""Compiled parts of the jump model: exponentially weighted statistics and the value recursion.

Dimensions: T bars, F statistics, K regimes, N vertices of the regimes' simplex, S numbers of state.
"""

import math
from typing import NamedTuple

import numpy as np

from markets.compiled import kernel, separate
from regimes.base import Array
from regimes.trailing import FLOOR, standard_mean

__all__ = ["DOWNSIDE", "SORTINO", "SUMS", "VOLATILITY", "JumpLaw", "run", "statistics_rows"]

VOLATILITY, DOWNSIDE, SORTINO = range(3)
"""Codes of the statistics."""
SUMS = 3
"""Numbers of state of a statistic: its weights, and two weighted sums."""


class JumpLaw(NamedTuple):
    """What the compiled functions read of a model."""

    unit: float
    """Standard deviation of the mean return in the training span."""
    code_F: Array
    decay_F: Array
    lower_F: Array
    upper_F: Array
    centre_F: Array
    spread_F: Array
    mean_KF: Array
    vertex_NK: Array
    penalty_NN: Array


@separate
def _statistic(state_S: Array, at: int, code: float, decay: float, value: float) -> float:
    """Take in a value and return the statistic, with weights decay^age that sum to 1.

    Volatility: log root mean square. Downside: log root mean square of the losses, gains counted
    as 0. Sortino: mean over the downside deviation. Deviations are at least FLOOR.
    """
    square = value * value
    if code != VOLATILITY and value > 0.0:
        square = 0.0
    state_S[at] = decay * state_S[at] + 1.0
    state_S[at + 1] = decay * state_S[at + 1] + value
    state_S[at + 2] = decay * state_S[at + 2] + square
    deviation = max(math.sqrt(state_S[at + 2] / state_S[at]), FLOOR)
    if code == SORTINO:
        return float(state_S[at + 1] / state_S[at] / deviation)
    return math.log(deviation)


@kernel
def statistics_rows(
    y_TD: Array, unit: float, code_F: Array, decay_F: Array, state_S: Array, out_TF: Array
) -> None:
    """Write the raw statistics of each bar; NaN for a bar without an observation."""
    for row in range(len(y_TD)):
        value = standard_mean(y_TD, row, 0.0, unit)
        for column in range(len(code_F)):
            out_TF[row, column] = np.nan
            if not math.isnan(value):
                out_TF[row, column] = _statistic(
                    state_S, SUMS * column, code_F[column], decay_F[column], value
                )


@separate
def _loss(law: JumpLaw, vertex: int, scaled_F: Array) -> float:
    """Half the squared distance from the centres, weighted by a vertex."""
    total = 0.0
    for regime in range(len(law.mean_KF)):
        if law.vertex_NK[vertex, regime] > 0.0:
            squares = 0.0
            for column in range(len(scaled_F)):
                squares += (scaled_F[column] - law.mean_KF[regime, column]) ** 2
            total += law.vertex_NK[vertex, regime] * 0.5 * squares
    return total


@separate
def _advance_values(
    law: JumpLaw, state_S: Array, at: int, seen: float, scaled_F: Array, next_N: Array
) -> int:
    """Advance the value of every vertex by a bar and return the vertex of the least.

    V(n) <- loss(n) + min over m of (V(m) + penalty(m, n)). The least is subtracted, which changes
    no comparison and keeps the numbers small. `seen` is 0 at the first bar, which pays nothing.
    """
    count = len(law.vertex_NK)
    best = 0
    for vertex in range(count):
        least = 0.0
        if seen > 0.0:
            least = state_S[at] + law.penalty_NN[0, vertex]
            for before in range(1, count):
                least = min(least, state_S[at + before] + law.penalty_NN[before, vertex])
        next_N[vertex] = _loss(law, vertex, scaled_F) + least
        if next_N[vertex] < next_N[best]:
            best = vertex
    for vertex in range(count):
        state_S[at + vertex] = next_N[vertex] - next_N[best]
    return best


@kernel
def run(
    y_TD: Array, law: JumpLaw, scaled_F: Array, next_N: Array, state_S: Array, belief_TK: Array
) -> None:
    """Take in T bars and write the belief after each; see `regimes.jump`."""
    num_regimes = belief_TK.shape[1]
    size = len(law.code_F)
    for row in range(len(y_TD)):
        value = standard_mean(y_TD, row, 0.0, law.unit)
        if not math.isnan(value):
            seen = float(state_S[num_regimes])
            for column in range(size):
                raw = _statistic(
                    state_S,
                    num_regimes + SUMS * column,
                    law.code_F[column],
                    law.decay_F[column],
                    value,
                )
                raw = min(max(raw, law.lower_F[column]), law.upper_F[column])
                scaled_F[column] = (raw - law.centre_F[column]) / law.spread_F[column]
            best = _advance_values(law, state_S, num_regimes + SUMS * size, seen, scaled_F, next_N)
            for regime in range(num_regimes):
                state_S[regime] = law.vertex_NK[best, regime]
        for regime in range(num_regimes):
            belief_TK[row, regime] = state_S[regime]

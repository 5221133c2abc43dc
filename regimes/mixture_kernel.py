"""Compiled filter of a mixture without a memory of regimes.

Dimensions: T bars, D series, F features, K regimes, S numbers of state.
"""

import math

from markets.compiled import kernel
from regimes.base import Array
from regimes.trailing import BOUND, class_probabilities, standard_mean, window_statistics

__all__ = ["run_returns", "run_trailing"]


@kernel
def run_returns(
    y_TD: Array,
    standard_XF: Array,
    classes: tuple[Array, Array, Array],
    point_F: Array,
    state_S: Array,
    belief_TK: Array,
) -> None:
    """Take in T bars; a belief is the responsibilities of the bar's own returns.

    Args:
        y_TD: returns.
        standard_XF: their means and standard deviations in the training span, (2, D).
        classes: arguments of `regimes.trailing.class_probabilities`.
        point_F: room for D numbers.
        state_S: the last belief, changed.
        belief_TK: written.
    """
    for row in range(len(y_TD)):
        seen = True
        for series in range(len(point_F)):
            value = (y_TD[row, series] - standard_XF[0, series]) / standard_XF[1, series]
            seen = seen and math.isfinite(y_TD[row, series])
            point_F[series] = min(max(value, -BOUND), BOUND)
        if seen:
            class_probabilities(point_F, classes, state_S)
        for regime in range(belief_TK.shape[1]):
            belief_TK[row, regime] = state_S[regime]


@kernel
def run_trailing(
    y_TD: Array,
    windows: tuple[Array, Array],
    standard_XF: Array,
    classes: tuple[Array, Array, Array],
    point_F: Array,
    state_S: Array,
    belief_TK: Array,
) -> None:
    """Take in T bars; a belief is the responsibilities of the trailing statistics.

    Args:
        y_TD: returns.
        windows: bars of the fast and of the slow window, (2,); mean and standard deviation of the
            mean return in the training span, (2,).
        standard_XF: means and standard deviations of the statistics in the training span, (2, 4).
        classes: arguments of `regimes.trailing.class_probabilities`.
        point_F: room for four numbers.
        state_S: the last belief and the windows, changed.
        belief_TK: written.
    """
    windows_W, scale_P = windows
    num_regimes = belief_TK.shape[1]
    for row in range(len(y_TD)):
        value = standard_mean(y_TD, row, scale_P[0], scale_P[1])
        if not math.isnan(value) and window_statistics(
            state_S, num_regimes, windows_W, value, point_F
        ):
            for column in range(len(point_F)):
                point_F[column] = (point_F[column] - standard_XF[0, column]) / standard_XF[
                    1, column
                ]
            class_probabilities(point_F, classes, state_S)
        for regime in range(num_regimes):
            belief_TK[row, regime] = state_S[regime]

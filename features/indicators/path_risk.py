r"""Path risk: drawdowns, how long they last, and distances from highs and lows.

All are 0 for an unchanged price. Drawdowns are log returns, so at most 0.

Dimensions: T bars of the asset, W of a window. Values before the warm-up are NaN.
"""

import numpy as np
import talib

from features.indicators.path_risk_steps import (
    drawdown_duration_step,
    drawdown_step,
    high_distance_step,
    low_distance_step,
    max_drawdown_step,
    peak_distance_step,
    return_over_drawdown_step,
    time_under_water_step,
    ulcer_index_step,
)
from features.registry import Array, Window, feature

__all__ = [
    "drawdown",
    "drawdown_duration",
    "high_distance",
    "low_distance",
    "max_drawdown",
    "peak_distance",
    "return_over_drawdown",
    "time_under_water",
    "ulcer_index",
]


@feature(
    unit="log return",
    warmup=lambda window: window - 1,
    source="George and Hwang (2004), The 52-Week High and Momentum Investing, JF 59(5); TA-Lib MAX",
    step=high_distance_step,
)
def high_distance(high_T: Array, close_T: Array, *, window: Window = 63) -> Array:
    r"""Distance from the window's high, :math:`\ln (C_t / \max_{k<W} H_{t-k})`, at most 0."""
    return np.asarray(np.log(close_T / talib.MAX(high_T, window)))


@feature(
    unit="log return",
    warmup=lambda window: window - 1,
    source="George and Hwang (2004), The 52-Week High and Momentum Investing, JF 59(5); TA-Lib MIN",
    step=low_distance_step,
)
def low_distance(low_T: Array, close_T: Array, *, window: Window = 63) -> Array:
    r"""Distance from the window's low, :math:`\ln (C_t / \min_{k<W} L_{t-k})`, at least 0."""
    return np.asarray(np.log(close_T / talib.MIN(low_T, window)))


@feature(
    unit="log return",
    warmup=lambda window: window - 1,
    source="Magdon-Ismail and Atiya (2004), Maximum Drawdown, Risk 17(10); TA-Lib MAX",
    step=drawdown_step,
)
def drawdown(close_T: Array, *, window: Window = 63) -> Array:
    r"""Distance from the window's highest close, :math:`\ln (C_t / \max_{k<W} C_{t-k})`."""
    return np.asarray(np.log(close_T / talib.MAX(close_T, window)))


@feature(
    unit="1, in [0, 1]",
    warmup=lambda window: window - 1,
    source="Chekhlov, Uryasev and Zabarankin (2005), Drawdown Measure, IJTAF 8(1)",
    step=drawdown_duration_step,
)
def drawdown_duration(close_T: Array, *, window: Window = 63) -> Array:
    """Bars since the window's highest close, over W - 1; of equal closes the newest counts.

    TA-Lib's MAXINDEX is not used: which of equal values it takes depends on the bars before the
    window.
    """
    return drawdown_duration_step.batch((close_T,), window=window)[0]


@feature(
    unit="log return",
    warmup=lambda window: window - 1,
    source="Magdon-Ismail and Atiya (2004), Maximum Drawdown, Risk 17(10)",
    step=max_drawdown_step,
)
def max_drawdown(close_T: Array, *, window: Window = 63) -> Array:
    r"""Largest fall within the window, :math:`\min_{j \le k} \ln (C_k / C_j)`, at most 0."""
    return max_drawdown_step.batch((close_T,), window=window)[0]


@feature(
    unit="log return",
    warmup=lambda window: window - 1,
    source="Martin and McCann (1989), The Investor's Guide to Fidelity Funds: ulcer index",
    step=ulcer_index_step,
)
def ulcer_index(close_T: Array, *, window: Window = 63) -> Array:
    r"""Root mean square of the window's drawdowns, each from the highest close before it.

    .. math:: \sqrt{\tfrac1W \sum_k D_k^2}, \quad D_k = \min_{j \le k} \ln (C_k / C_j), \quad j, k
              \text{ in the window}
    """
    return ulcer_index_step.batch((close_T,), window=window)[0]


@feature(
    unit="1, in [-1/2, 1]",
    warmup=lambda window: window - 1,
    source="Young (1991), Calmar Ratio: A Smoother Tool, Futures 20(1); bounded",
    step=return_over_drawdown_step,
)
def return_over_drawdown(close_T: Array, *, window: Window = 63) -> Array:
    r"""Return of the window against its largest fall, :math:`R / (|R| + D)`.

    R is the log return from the window's first close to its last, D the size of `max_drawdown`:
    the Calmar ratio R / D, bounded; 1 for a price that only rose, -1/2 for one that only fell.
    """
    return return_over_drawdown_step.batch((close_T,), window=window)[0]


@feature(
    unit="log return",
    path_dependent=True,
    source="Li and Yu (2012), Investor attention, psychological anchors, JFE 104(2)",
    step=peak_distance_step,
)
def peak_distance(close_T: Array) -> Array:
    r"""Distance from the highest close so far, :math:`\ln (C_t / \max_{s \le t} C_s)`."""
    return peak_distance_step.batch((close_T,))[0]


@feature(
    unit="log of bars",
    path_dependent=True,
    source="Chekhlov, Uryasev and Zabarankin (2005), Drawdown Measure, IJTAF 8(1)",
    step=time_under_water_step,
)
def time_under_water(close_T: Array) -> Array:
    r"""Bars n since the highest close so far, as :math:`\ln (1 + n)`; equal closes are as high."""
    return time_under_water_step.batch((close_T,))[0]

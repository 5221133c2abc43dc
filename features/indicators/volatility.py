r"""Volatility: how much the price moves, and where it stands in its band.

Dimensions: T bars of the asset. Values before the warm-up are NaN.
"""

import math
from typing import Annotated

import numpy as np
import talib
from annotated_types import Gt

from features.indicators.parts import decay, log_change
from features.registry import Array, Window, feature
from features.rolling import rolling_mean, rolling_sum, rolling_zscore

__all__ = [
    "atr",
    "bollinger",
    "range_volatility",
    "realised_volatility",
]


@feature(
    unit="log return per square root of a bar",
    warmup=lambda window: window,
    source="Andersen, Bollerslev, Diebold and Labys (2003), Econometrica 71(2), eq. 7",
)
def realised_volatility(close_T: Array, *, window: Window = 21) -> Array:
    r"""Root mean square of log returns, :math:`\sqrt{\tfrac1W \sum_{k<W} r_{t-k}^2}`."""
    return np.sqrt(rolling_mean(np.square(log_change(close_T, 1)), window))


@feature(
    unit="log return per square root of a bar",
    warmup=lambda window: window - 1,
    source="Parkinson (1980), Journal of Business 53(1)",
)
def range_volatility(high_T: Array, low_T: Array, *, window: Window = 21) -> Array:
    r"""Parkinson's volatility.

    .. math:: \sqrt{\frac{1}{4 W \ln 2} \sum_{k<W} \ln^2 (H_{t-k} / L_{t-k})}
    """
    squares_T = np.square(np.log(high_T / low_T))
    return np.sqrt(rolling_sum(squares_T, window) / (4.0 * math.log(2.0) * window))


@feature(
    unit="1 (share of the price)",
    warmup=lambda window: window,
    memory=lambda window: window + decay(1.0 - 1.0 / window),
    source="Wilder (1978), New Concepts in Technical Trading Systems; TA-Lib ATR",
)
def atr(high_T: Array, low_T: Array, close_T: Array, *, window: Window = 14) -> Array:
    r"""Wilder's average of the true range, over price.

    The true range is :math:`\max(H_t, C_{t-1}) - \min(L_t, C_{t-1})`.
    """
    return np.asarray(talib.ATR(high_T, low_T, close_T, window) / close_T)


@feature(
    unit="half-widths of the band",
    warmup=lambda window, **_: window - 1,
    source="Bollinger (2001), Bollinger on Bollinger Bands: %b, centred",
)
def bollinger(
    close_T: Array, *, window: Window = 20, width: Annotated[float, Gt(0.0)] = 2.0
) -> Array:
    r"""Position in the Bollinger band, :math:`(C_t - \bar C_t) / (w s_t)`: 1 at the upper band.

    0 if the window is constant. TA-Lib's BBANDS is not used: its variance is a difference of
    running sums, which cancels where the price is large and quiet.
    """
    return rolling_zscore(close_T, window) / width

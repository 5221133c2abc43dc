r"""Features of one asset: returns, momentum, volatility, oscillators, range and volume.

Every function reads the asset's own bars (no gaps), adjusted for splits and with dividends
reinvested up to each bar, so that :math:`C_t / C_{t-h}` is the total return of h bars. All values
are indifferent to the scale of prices and of volume; nothing reads a later bar.

Dimensions: T bars of the asset. Values before the warm-up are NaN.
"""

import math
from typing import Annotated

import numpy as np
import talib
from annotated_types import Gt

from features.registry import Array, Horizon, Window, feature
from features.rolling import rolling_mean, rolling_sum, rolling_zscore

__all__ = [
    "atr",
    "bollinger",
    "high_distance",
    "log_return",
    "macd",
    "momentum",
    "range_volatility",
    "realised_volatility",
    "rsi",
    "volume_zscore",
]

# The influence of what came before is below this share of today's value; batch and stream then
# agree far below 1e-9 even if the past was a thousand times as volatile.
_FORGOTTEN = 1e-13


def _decay(retained: float) -> int:
    """Bars after which an exponential average that retains this share a bar has forgotten."""
    return math.ceil(math.log(_FORGOTTEN) / math.log(retained))


@feature(
    unit="log return per bar",
    warmup=1,
    source="Campbell, Lo and MacKinlay (1997), The Econometrics of Financial Markets, eq. 1.4.10",
)
def log_return(close_T: Array) -> Array:
    r"""Total log return of the last bar, :math:`\ln (C_t / C_{t-1})`."""
    return _log_change(close_T, 1)


@feature(
    unit="log return",
    warmup=lambda horizon: horizon,
    source="Moskowitz, Ooi and Pedersen (2012), Time series momentum, JFE 104(2)",
)
def momentum(close_T: Array, *, horizon: Horizon = 21) -> Array:
    r"""Total log return over the horizon, :math:`\ln (C_t / C_{t-h})`."""
    return _log_change(close_T, horizon)


@feature(
    unit="log return per square root of a bar",
    warmup=lambda window: window,
    source="Andersen, Bollerslev, Diebold and Labys (2003), Econometrica 71(2), eq. 7",
)
def realised_volatility(close_T: Array, *, window: Window = 21) -> Array:
    r"""Root mean square of log returns, :math:`\sqrt{\tfrac1W \sum_{k<W} r_{t-k}^2}`."""
    return np.sqrt(rolling_mean(np.square(_log_change(close_T, 1)), window))


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
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    memory=lambda window: window + _decay(1.0 - 1.0 / window),
    source="Wilder (1978), New Concepts in Technical Trading Systems; TA-Lib CMO",
)
def rsi(close_T: Array, *, window: Window = 14) -> Array:
    r"""Centred relative strength, RSI / 50 - 1 = (G - L) / (G + L) of Wilder's averages.

    TA-Lib's CMO is this ratio times 100; it gives the neutral 0 for an unchanged price, where its
    RSI gives 0 (the most oversold value).
    """
    return np.asarray(talib.CMO(close_T, window) / 100.0)


def _macd_memory(fast: int, slow: int, signal: int) -> int:
    slowest = max(fast, slow, signal)
    # An average of averages forgets like m rho^m: a quarter more bars make up for the m.
    return fast + slow + signal + 5 * _decay(1.0 - 2.0 / (slowest + 1.0)) // 4


@feature(
    unit="1 (share of the price)",
    warmup=lambda fast, slow, signal: max(fast, slow) + signal - 2,
    memory=_macd_memory,
    outputs=("line", "histogram"),
    source="Appel (2005), Technical Analysis: Power Tools for Active Investors; TA-Lib MACD",
)
def macd(
    close_T: Array, *, fast: Window = 12, slow: Window = 26, signal: Window = 9
) -> tuple[Array, Array]:
    r"""Difference of two exponential averages, and its distance from its own average, over price.

    .. math:: d_t = E^{fast}_t(C) - E^{slow}_t(C), \quad
              line_t = d_t / C_t, \quad histogram_t = (d_t - E^{signal}_t(d)) / C_t
    """
    line_T, _, histogram_T = talib.MACD(close_T, fast, slow, signal)
    return line_T / close_T, histogram_T / close_T


@feature(
    unit="1 (share of the price)",
    warmup=lambda window: window,
    memory=lambda window: window + _decay(1.0 - 1.0 / window),
    source="Wilder (1978), New Concepts in Technical Trading Systems; TA-Lib ATR",
)
def atr(high_T: Array, low_T: Array, close_T: Array, *, window: Window = 14) -> Array:
    r"""Wilder's average of the true range, over price.

    The true range is :math:`\max(H_t, C_{t-1}) - \min(L_t, C_{t-1})`.
    """
    return np.asarray(talib.ATR(high_T, low_T, close_T, window) / close_T)


@feature(
    unit="standard deviations",
    warmup=lambda window: window - 1,
    source="Gervais, Kaniel and Mingelgrin (2001), The High-Volume Return Premium, JF 56(3)",
)
def volume_zscore(volume_T: Array, *, window: Window = 21) -> Array:
    r"""Volume against its own window, :math:`(V_t - \bar V_t) / s_t`; 0 if all are equal."""
    return rolling_zscore(volume_T, window)


@feature(
    unit="log return",
    warmup=lambda window: window - 1,
    source="George and Hwang (2004), The 52-Week High and Momentum Investing, JF 59(5); TA-Lib MAX",
)
def high_distance(high_T: Array, close_T: Array, *, window: Window = 63) -> Array:
    r"""Distance from the window's high, :math:`\ln (C_t / \max_{k<W} H_{t-k})`, at most 0."""
    return np.asarray(np.log(close_T / talib.MAX(high_T, window)))


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


def _log_change(close_T: Array, horizon: int) -> Array:
    change_T = np.full(len(close_T), np.nan)
    change_T[horizon:] = np.log(close_T[horizon:] / close_T[:-horizon])
    return change_T

r"""Trend: which way the price goes, by averages, lines and channels.

Two forms of a distance appear: a log for averages that are always positive, a share of the price
for those that a crash may take below zero. `E`, `S` and `W` are the exponential, the simple and
the linearly weighted average of the closes.

Where a value is a quotient of movements and nothing moved, it is 0; less than 1e-12 of the price
is no movement. TA-Lib's own such threshold is 1e-14 in the price's currency, and its running sums
leave more than that behind: there the step is the definition. So it is for averages in running
sums, which drift: by 1e-8 of the distance in 20,000 bars of a dear and quiet price.

A quotient of averages stands still while the price does, until what moved before is forgotten: in
its memory that time counts twice.

Dimensions: T bars of the asset. Values before the warm-up are NaN.
"""

from typing import Annotated

import numpy as np
import talib
from annotated_types import Gt, Le

from features.definition import FeatureError
from features.indicators.parts import decay, require_below
from features.indicators.trend_steps import (
    adx_step,
    aroon_step,
    dema_step,
    directional_step,
    ema_step,
    forecast_step,
    ichimoku_step,
    kama_step,
    macd_step,
    sar_step,
    slope_step,
    sma_step,
    supertrend_step,
    tema_step,
    trix_step,
    vortex_step,
    wma_step,
)
from features.registry import Array, Window, feature

__all__ = [
    "adx",
    "aroon",
    "dema_distance",
    "directional",
    "ema_distance",
    "forecast_error",
    "ichimoku",
    "kama_distance",
    "linear_slope",
    "macd",
    "sar_distance",
    "sma_distance",
    "supertrend",
    "tema_distance",
    "trix",
    "vortex",
    "wma_distance",
]

Acceleration = Annotated[float, Gt(0.0), Le(1.0)]
Multiplier = Annotated[float, Gt(0.0)]


def _ema_memory(window: int, averages: int) -> int:
    # An average of averages forgets like m rho^m, one more like m^2 rho^m: a quarter more bars
    # for each make up for it.
    return averages * window + (3 + averages) * decay(1.0 - 2.0 / (window + 1.0)) // 4 + averages


@feature(
    unit="log return",
    warmup=lambda window: window - 1,
    source="Brock, Lakonishok and LeBaron (1992), JF 47(5); TA-Lib SMA",
    step=sma_step,
)
def sma_distance(close_T: Array, *, window: Window = 20) -> Array:
    r"""Distance from the simple average, :math:`\ln (C_t / S_t)`."""
    return sma_step.batch((close_T,), window=window)[0]


@feature(
    unit="log return",
    warmup=lambda window: window - 1,
    source="Kaufman (2013), Trading Systems and Methods, 5th ed., ch. 7; TA-Lib WMA",
    step=wma_step,
)
def wma_distance(close_T: Array, *, window: Window = 20) -> Array:
    r"""Distance from the linearly weighted average, :math:`\ln (C_t / W_t)`."""
    return wma_step.batch((close_T,), window=window)[0]


@feature(
    unit="log return",
    warmup=lambda window: window - 1,
    memory=lambda window: _ema_memory(window, 1),
    source="Brown (1963), Smoothing, Forecasting and Prediction; TA-Lib EMA",
    step=ema_step,
)
def ema_distance(close_T: Array, *, window: Window = 20) -> Array:
    r"""Distance from the exponential average, :math:`\ln (C_t / E_t)`, weight 2 / (W + 1)."""
    return np.asarray(np.log(close_T / talib.EMA(close_T, window)))


@feature(
    unit="1 (share of the price)",
    warmup=lambda window: 2 * (window - 1),
    memory=lambda window: _ema_memory(window, 2),
    source="Mulloy (1994), Smoothing Data with Faster Moving Averages, TASC 12(1); TA-Lib DEMA",
    step=dema_step,
)
def dema_distance(close_T: Array, *, window: Window = 20) -> Array:
    r"""Distance from the double exponential average, :math:`1 - (2 E - E(E))_t / C_t`."""
    return np.asarray((close_T - talib.DEMA(close_T, window)) / close_T)


@feature(
    unit="1 (share of the price)",
    warmup=lambda window: 3 * (window - 1),
    memory=lambda window: _ema_memory(window, 3),
    source="Mulloy (1994), Smoothing Data with Less Lag, TASC 12(2); TA-Lib TEMA",
    step=tema_step,
)
def tema_distance(close_T: Array, *, window: Window = 20) -> Array:
    r"""Distance from the triple one, :math:`1 - (3 E - 3 E(E) + E(E(E)))_t / C_t`."""
    return tema_step.batch((close_T,), window=window)[0]


@feature(
    unit="log return",
    warmup=lambda window: window,
    # The slowest that it can be: in a market without any direction.
    memory=lambda window: window + decay(1.0 - (2.0 / 31.0) ** 2),
    source="Kaufman (1995), Smarter Trading; TA-Lib KAMA",
    step=kama_step,
)
def kama_distance(close_T: Array, *, window: Window = 10) -> Array:
    r"""Distance from Kaufman's adaptive average, :math:`\ln (C_t / K_t)`.

    .. math:: K_t = K_{t-1} + \big(e_t (\tfrac23 - \tfrac2{31}) + \tfrac2{31}\big)^2 (C_t - K_{t-1})

    e is the `efficiency_ratio` of the window, and 1 where the price has not moved.
    """
    return kama_step.batch((close_T,), window=window)[0]


def _macd_warmup(fast: int, slow: int, signal: int) -> int:
    require_below("macd", fast=fast, slow=slow)
    return slow + signal - 2


def _macd_memory(fast: int, slow: int, signal: int) -> int:
    slowest = max(slow, signal)
    # An average of averages forgets like m rho^m: a quarter more bars make up for the m.
    return fast + slow + signal + 5 * decay(1.0 - 2.0 / (slowest + 1.0)) // 4


@feature(
    unit="1 (share of the price)",
    warmup=_macd_warmup,
    memory=_macd_memory,
    outputs=("line", "histogram"),
    source="Appel (2005), Technical Analysis: Power Tools for Active Investors; TA-Lib MACD",
    step=macd_step,
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
    unit="1 (share per bar)",
    warmup=lambda window: 3 * (window - 1) + 1,
    memory=lambda window: _ema_memory(window, 3),
    source="Hutson (1983), Good TRIX, TASC 1(5); TA-Lib TRIX",
    step=trix_step,
)
def trix(close_T: Array, *, window: Window = 15) -> Array:
    r"""Rate of change of the thrice smoothed price, :math:`(E^3_t - E^3_{t-1}) / E^3_{t-1}`.

    TA-Lib takes 1 from a ratio near 1, which leaves few digits of a quiet price.
    """
    return trix_step.batch((close_T,), window=window)[0]


@feature(
    unit="1, in [0, 1]",
    warmup=lambda window: 2 * window - 1,
    memory=lambda window: 2 * window + 5 * decay(1.0 - 1.0 / window) // 2,
    source="Wilder (1978), New Concepts in Technical Trading Systems; TA-Lib ADX",
    step=adx_step,
)
def adx(high_T: Array, low_T: Array, close_T: Array, *, window: Window = 14) -> Array:
    r"""Strength of the trend, whichever way: Wilder's average of \|P - M\| / (P + M).

    P and M are Wilder's sums of upward and downward movement. Where nothing moves any more the
    average falls to 0; TA-Lib's stays where it was.
    """
    return adx_step.batch((high_T, low_T, close_T), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    memory=lambda window: window + 2 * decay(1.0 - 1.0 / window),
    source="Wilder (1978), New Concepts in Technical Trading Systems; TA-Lib PLUS_DI, MINUS_DI",
    step=directional_step,
)
def directional(high_T: Array, low_T: Array, close_T: Array, *, window: Window = 14) -> Array:
    r"""Direction of the movement, (P - M) / R of Wilder's sums; R is that of the true range."""
    return directional_step.batch((high_T, low_T, close_T), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    source="Chande (1995), A Time Price Oscillator, TASC 13(9); TA-Lib AROONOSC",
    step=aroon_step,
)
def aroon(high_T: Array, low_T: Array, *, window: Window = 25) -> Array:
    """Bars since the lowest low less bars since the highest high, over the window.

    The newest of equal extremes counts.
    """
    return np.asarray(talib.AROONOSC(high_T, low_T, window) / 100.0)


@feature(
    unit="1 (share of the price per bar)",
    warmup=lambda window: window - 1,
    source="Chande and Kroll (1994), The New Technical Trader; TA-Lib LINEARREG_SLOPE",
    step=slope_step,
)
def linear_slope(close_T: Array, *, window: Window = 20) -> Array:
    """Slope of the least-squares line through the window's closes, over price.

    TA-Lib's is a difference of large sums, which cancels where the price is large and quiet.
    """
    return slope_step.batch((close_T,), window=window)[0]


@feature(
    unit="1 (share of the price)",
    warmup=lambda window: window,
    source="Chande and Kroll (1994), The New Technical Trader: forecast oscillator; TA-Lib FOSC",
    step=forecast_step,
)
def forecast_error(close_T: Array, *, window: Window = 14) -> Array:
    r"""How far the price is from what the line of the bars before it foretold, over price.

    The least-squares line through :math:`C_{t-W} \dots C_{t-1}`, drawn on to t, is taken from
    :math:`C_t`. Large sums cancel in TA-Lib's, as with `linear_slope`.
    """
    return forecast_step.batch((close_T,), window=window)[0]


def _sar_warmup(acceleration: float, maximum: float) -> int:
    if acceleration > maximum:
        raise FeatureError(
            f"features.sar_distance.acceleration: must be <= maximum ({maximum}), "
            f"was {acceleration}"
        )
    return 1


@feature(
    unit="log return",
    warmup=_sar_warmup,
    source="Wilder (1978), New Concepts in Technical Trading Systems: parabolic SAR; TA-Lib SAR",
    step=sar_step,
    path_dependent=True,
)
def sar_distance(
    high_T: Array,
    low_T: Array,
    close_T: Array,
    *,
    acceleration: Acceleration = 0.02,
    maximum: Acceleration = 0.2,
) -> Array:
    r"""Distance from Wilder's parabolic stop, :math:`\ln (C_t / SAR_t)`: positive while it rises.

    Two starts agree from a turn on that they share, which no number of bars promises.
    """
    return np.asarray(np.log(close_T / talib.SAR(high_T, low_T, acceleration, maximum)))


@feature(
    unit="1 (share of the price)",
    warmup=lambda window, **_: window,
    source="Olivier Seban's Supertrend, with Wilder's ATR; TA-Lib SUPERTREND",
    step=supertrend_step,
    path_dependent=True,
)
def supertrend(
    high_T: Array,
    low_T: Array,
    close_T: Array,
    *,
    window: Window = 10,
    multiplier: Multiplier = 3.0,
) -> Array:
    r"""Distance from the trailing band, :math:`1 - B_t / C_t`: positive in a rising trend.

    The band lies `multiplier` average true ranges from the middle of the bar, and only closes in
    until the close has crossed it. How long it has stood no number of bars tells.
    """
    band_T, _ = talib.SUPERTREND(high_T, low_T, close_T, window, multiplier)
    return np.asarray((close_T - band_T) / close_T)


@feature(
    unit="1",
    warmup=lambda window: window,
    source="Botes and Siepman (2010), The Vortex Indicator, TASC 28(1); TA-Lib VORTEX",
    step=vortex_step,
)
def vortex(high_T: Array, low_T: Array, close_T: Array, *, window: Window = 14) -> Array:
    r"""Upward less downward vortex movement, over the true range.

    .. math:: \frac{\sum_{k<W} |H_{t-k} - L_{t-k-1}| - |L_{t-k} - H_{t-k-1}|}{\sum_{k<W} R_{t-k}}
    """
    return vortex_step.batch((high_T, low_T, close_T), window=window)[0]


@feature(
    unit="log return",
    warmup=lambda fast, base, span: max(fast, base, span) - 1 + base,
    outputs=("cross", "cloud"),
    source="Hosoda (1969); Elliott (2007), Ichimoku Charts; TA-Lib MIDPRICE",
    step=ichimoku_step,
)
def ichimoku(
    high_T: Array,
    low_T: Array,
    close_T: Array,
    *,
    fast: Window = 9,
    base: Window = 26,
    span: Window = 52,
) -> tuple[Array, Array]:
    r"""Conversion line over base line, and price over the middle of the cloud.

    .. math:: cross_t = \ln (M^{fast}_t / M^{base}_t), \quad
              cloud_t = \ln \Big(C_t \Big/ \tfrac12 \big(\tfrac12 (M^{fast} + M^{base})
              + M^{span}\big)_{t - base}\Big)

    M is the middle between the highest high and the lowest low. The cloud is drawn `base` bars
    ahead: the one at t was known at t - base.
    """
    fast_T, base_T, span_T = (talib.MIDPRICE(high_T, low_T, n) for n in (fast, base, span))
    cloud_T = np.full(len(close_T), np.nan)
    cloud_T[base:] = (0.25 * (fast_T + base_T) + 0.5 * span_T)[:-base]
    # Neither has a value before both have.
    cross_T = np.where(np.isnan(cloud_T), np.nan, np.log(fast_T / base_T))
    return cross_T, np.log(close_T / cloud_T)

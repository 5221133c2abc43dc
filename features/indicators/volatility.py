r"""Volatility: how much the price moves, when, and where it stands in its band.

All are 0 for an unchanged price. With :math:`r_t = \ln (C_t / C_{t-1})`; sums are over the
window's W bars.

Dimensions: T bars of the asset. Values before the warm-up are NaN.
"""

import math
from typing import Annotated

import numpy as np
import talib
from annotated_types import Gt, Lt

from features.indicators.parts import decay, require_below
from features.indicators.volatility_steps import (
    LEAST_RANGE,
    atr_step,
    bollinger_step,
    bollinger_width_step,
    chaikin_volatility_step,
    downside_volatility_step,
    ewma_volatility_step,
    garman_klass_step,
    jump_share_step,
    overnight_balance_step,
    range_volatility_step,
    realised_volatility_step,
    rogers_satchell_step,
    signed_variation_step,
    true_range_step,
    volatility_of_volatility_step,
    volatility_ratio_step,
    yang_zhang_step,
)
from features.registry import Array, Horizon, Window, feature

__all__ = [
    "atr",
    "bollinger",
    "bollinger_width",
    "chaikin_volatility",
    "downside_volatility",
    "ewma_volatility",
    "garman_klass",
    "jump_share",
    "overnight_balance",
    "range_volatility",
    "realised_volatility",
    "rogers_satchell",
    "signed_variation",
    "true_range",
    "volatility_of_volatility",
    "volatility_ratio",
    "yang_zhang",
]

Retained = Annotated[float, Gt(0.0), Lt(1.0)]
Width = Annotated[float, Gt(0.0)]
_PER_BAR = "log return per square root of a bar"


@feature(
    unit=_PER_BAR,
    warmup=lambda window: window,
    source="Andersen, Bollerslev, Diebold and Labys (2003), Econometrica 71(2), eq. 7",
    step=realised_volatility_step,
)
def realised_volatility(close_T: Array, *, window: Window = 21) -> Array:
    r"""Root mean square of log returns, :math:`\sqrt{\tfrac1W \sum r^2}`."""
    return realised_volatility_step.batch((close_T,), window=window)[0]


@feature(
    unit=_PER_BAR,
    warmup=lambda window: window,
    source="Sortino and van der Meer (1991), Downside Risk, J. Portfolio Management 17(4)",
    step=downside_volatility_step,
)
def downside_volatility(close_T: Array, *, window: Window = 21) -> Array:
    r"""Root mean square of the losses, :math:`\sqrt{\tfrac1W \sum \min(r, 0)^2}`."""
    return downside_volatility_step.batch((close_T,), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    source="Patton and Sheppard (2015), Good Volatility, Bad Volatility, REStat 97(3)",
    step=signed_variation_step,
)
def signed_variation(close_T: Array, *, window: Window = 21) -> Array:
    r"""Share of the variation that rises took less that of falls.

    .. math:: \frac{\sum_{r > 0} r^2 - \sum_{r < 0} r^2}{\sum r^2}
    """
    return signed_variation_step.batch((close_T,), window=window)[0]


def _long_warmup(short: int, long: int) -> int:
    require_below("volatility_ratio", short=short, long=long)
    return long


@feature(
    unit="1, in [-1, 1]",
    warmup=_long_warmup,
    source="Corsi (2009), A Simple Approximate Long-Memory Model of Realized Volatility, JFEc 7(2)",
    step=volatility_ratio_step,
)
def volatility_ratio(close_T: Array, *, short: Horizon = 5, long: Window = 63) -> Array:
    r"""Recent volatility against that of a longer window, :math:`(s - l) / (s + l)`.

    s and l are `realised_volatility` of the two windows: the ratio s / l, centred and bounded.
    """
    return volatility_ratio_step.batch((close_T,), short=short, long=long)[0]


@feature(
    unit="1",
    warmup=lambda short, long: short + long - 1,
    source="Baltussen, van Bekkum and van der Grient (2018), Unknown Unknowns, JFQA 53(4)",
    step=volatility_of_volatility_step,
)
def volatility_of_volatility(close_T: Array, *, short: Window = 5, long: Window = 21) -> Array:
    """Population deviation over mean of the last `long` values of the `short` volatility."""
    return volatility_of_volatility_step.batch((close_T,), short=short, long=long)[0]


@feature(
    unit="1, in [0, 1]",
    warmup=lambda window: window,
    source="Barndorff-Nielsen and Shephard (2004), Power and Bipower Variation, JFEc 2(1)",
    step=jump_share_step,
)
def jump_share(close_T: Array, *, window: Window = 21) -> Array:
    r"""Share of the variation that came in jumps.

    .. math:: \max\left(0,\; 1 - \frac{\pi}{2} \frac{W}{W - 1}
              \frac{\sum |r_t| |r_{t-1}|}{\sum r^2}\right)
    """
    return jump_share_step.batch((close_T,), window=window)[0]


def _effective_bars(retained: float) -> int:
    return math.ceil(1.0 / (1.0 - retained))


@feature(
    unit=_PER_BAR,
    warmup=_effective_bars,
    # Twice the bars: the root of what is left of a variance is to be small too.
    memory=lambda retained: _effective_bars(retained) + 2 * decay(retained),
    source="J.P. Morgan and Reuters (1996), RiskMetrics Technical Document, 4th ed., table 5.1",
    step=ewma_volatility_step,
)
def ewma_volatility(close_T: Array, *, retained: Retained = 0.94) -> Array:
    r"""Volatility with exponentially falling weights, lambda being the share retained a bar.

    .. math:: \sqrt{\sum_k \lambda^k r_{t-k}^2 / \sum_k \lambda^k}

    over all own bars; the first value after :math:`1 / (1 - \lambda)` returns.
    """
    return ewma_volatility_step.batch((close_T,), retained=retained)[0]


@feature(
    unit=_PER_BAR,
    warmup=lambda window: window - 1,
    source="Parkinson (1980), Journal of Business 53(1)",
    step=range_volatility_step,
)
def range_volatility(high_T: Array, low_T: Array, *, window: Window = 21) -> Array:
    r"""Parkinson's volatility, :math:`\sqrt{\sum \ln^2 (H / L) / (4 W \ln 2)}`."""
    return range_volatility_step.batch((high_T, low_T), window=window)[0]


@feature(
    unit=_PER_BAR,
    warmup=lambda window: window - 1,
    source="Garman and Klass (1980), Journal of Business 53(1)",
    step=garman_klass_step,
)
def garman_klass(
    open_T: Array, high_T: Array, low_T: Array, close_T: Array, *, window: Window = 21
) -> Array:
    r"""Volatility within the bars, from their range and their change.

    .. math:: \sqrt{\tfrac1W \sum \left(\tfrac12 \ln^2 (H / L) - (2 \ln 2 - 1) \ln^2 (C / O)\right)}
    """
    return garman_klass_step.batch((open_T, high_T, low_T, close_T), window=window)[0]


@feature(
    unit=_PER_BAR,
    warmup=lambda window: window - 1,
    source="Rogers and Satchell (1991), Annals of Applied Probability 1(4)",
    step=rogers_satchell_step,
)
def rogers_satchell(
    open_T: Array, high_T: Array, low_T: Array, close_T: Array, *, window: Window = 21
) -> Array:
    r"""Volatility within the bars that a drift does not raise.

    .. math:: \sqrt{\tfrac1W \sum \left(\ln \tfrac HO \ln \tfrac HC
              + \ln \tfrac LO \ln \tfrac LC\right)}
    """
    return rogers_satchell_step.batch((open_T, high_T, low_T, close_T), window=window)[0]


@feature(
    unit=_PER_BAR,
    warmup=lambda window: window,
    source="Yang and Zhang (2000), Journal of Business 73(3)",
    step=yang_zhang_step,
)
def yang_zhang(
    open_T: Array, high_T: Array, low_T: Array, close_T: Array, *, window: Window = 21
) -> Array:
    r"""Volatility of nights and days that a drift does not raise.

    .. math:: \sqrt{V_o + k V_c + (1 - k) V_{rs}}, \quad
              k = \frac{0.34}{1.34 + (W + 1) / (W - 1)}

    of the sample variances of :math:`\ln (O_t / C_{t-1})` and :math:`\ln (C_t / O_t)`, and the
    variance of `rogers_satchell`.
    """
    return yang_zhang_step.batch((open_T, high_T, low_T, close_T), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    source="Lou, Polk and Skouras (2019), A Tug of War: Overnight versus Intraday, JFE 134(1)",
    step=overnight_balance_step,
)
def overnight_balance(open_T: Array, close_T: Array, *, window: Window = 21) -> Array:
    r"""Variation between the bars against that within: :math:`(n - d) / (n + d)`.

    n and d are the sums of :math:`\ln^2 (O_t / C_{t-1})` and of :math:`\ln^2 (C_t / O_t)`.
    """
    return overnight_balance_step.batch((open_T, close_T), window=window)[0]


@feature(
    unit="1 (share of the price)",
    warmup=1,
    source="Wilder (1978), New Concepts in Technical Trading Systems; TA-Lib TRANGE",
    step=true_range_step,
)
def true_range(high_T: Array, low_T: Array, close_T: Array) -> Array:
    r"""True range over price, :math:`(\max(H_t, C_{t-1}) - \min(L_t, C_{t-1})) / C_t`."""
    return np.asarray(talib.TRANGE(high_T, low_T, close_T) / close_T)


@feature(
    unit="1 (share of the price)",
    warmup=lambda window: window,
    memory=lambda window: window + decay(1.0 - 1.0 / window),
    source="Wilder (1978), New Concepts in Technical Trading Systems; TA-Lib ATR",
    step=atr_step,
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
    step=bollinger_step,
)
def bollinger(close_T: Array, *, window: Window = 20, width: Width = 2.0) -> Array:
    r"""Position in the Bollinger band, :math:`(C_t - \bar C_t) / (w s_t)`: 1 at the upper band.

    0 if the window is constant. TA-Lib's BBANDS is not used: its variance is a difference of
    running sums, which cancels where the price is large and quiet.
    """
    return bollinger_step.batch((close_T,), window=window, width=width)[0]


@feature(
    unit="1 (share of the price)",
    warmup=lambda window, **_: window - 1,
    source="Bollinger (2001), Bollinger on Bollinger Bands: BandWidth",
    step=bollinger_width_step,
)
def bollinger_width(close_T: Array, *, window: Window = 20, width: Width = 2.0) -> Array:
    r"""Width of the Bollinger band over its middle, :math:`2 w s_t / \bar C_t`."""
    return bollinger_width_step.batch((close_T,), window=window, width=width)[0]


def _average_memory(window: int, horizon: int) -> int:
    # Half as many bars again: what is left is to be small against `LEAST_RANGE` too.
    return window + horizon + 3 * decay(1.0 - 2.0 / (window + 1.0)) // 2


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window, horizon: window - 1 + horizon,
    memory=_average_memory,
    source="Achelis (2001), Technical Analysis from A to Z: Chaikin's Volatility; TA-Lib EMA",
    step=chaikin_volatility_step,
)
def chaikin_volatility(
    high_T: Array, low_T: Array, close_T: Array, *, window: Window = 10, horizon: Horizon = 10
) -> Array:
    r"""Growth of the average range, :math:`(e_t - e_{t-h}) / (e_t + e_{t-h})`.

    e is the EMA of the range over price, :math:`(H - L) / C`. The rate of change itself (TA-Lib's
    CVI) has no bound after quiet bars; a sum below a millionth of the price counts as a millionth.
    """
    average_T = talib.EMA((high_T - low_T) / close_T, window)
    growth_T = np.full(len(close_T), np.nan)
    now, before = average_T[horizon:], average_T[:-horizon]
    growth_T[horizon:] = (now - before) / np.maximum(now + before, LEAST_RANGE)
    return growth_T

r"""Volume: how much is traded, and on which side.

Where nothing was traded in the window, a value is the neutral 0. A quotient of two exponential
averages keeps its value while nothing is traded, however long: it is path-dependent.

TA-Lib is the batch form where its sums are exact; the others are their steps
(`features.indicators.volume_steps`), since the windowed functions of TA-Lib add and subtract in
running sums, whose rounding is all that is left once a large volume has gone by.

In formulas :math:`C, H, L, V` are close, high, low and volume, :math:`r_t = \ln (C_t / C_{t-1})`,
and :math:`\ell_t = (2 C_t - H_t - L_t) / (H_t - L_t)` is where the close lies in the bar's range, 0
for a bar without one.

Dimensions: T bars of the asset. Values before the warm-up are NaN.
"""

import numpy as np
import talib

from features.indicators.parts import log_change, require_below
from features.indicators.volume_steps import (
    ad_step,
    adosc_step,
    amihud_step,
    cmf_step,
    force_index_step,
    mfi_step,
    nvi_step,
    obv_step,
    price_volume_correlation_step,
    pvi_step,
    relative_volume_step,
    up_volume_step,
    volume_trend_step,
    volume_zscore_step,
    vwap_distance_step,
)
from features.registry import Array, Horizon, Window, feature

__all__ = [
    "ad",
    "adosc",
    "amihud",
    "cmf",
    "force_index",
    "mfi",
    "nvi",
    "obv",
    "price_volume_correlation",
    "pvi",
    "relative_volume",
    "up_volume",
    "volume_trend",
    "volume_zscore",
    "vwap_distance",
]


@feature(
    unit="standard deviations",
    warmup=lambda window: window - 1,
    source="Gervais, Kaniel and Mingelgrin (2001), The High-Volume Return Premium, JF 56(3)",
    step=volume_zscore_step,
)
def volume_zscore(volume_T: Array, *, window: Window = 21) -> Array:
    r"""Volume against its own window, :math:`(V_t - \bar V_t) / s_t`; 0 if all are equal."""
    return volume_zscore_step.batch((volume_T,), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    source="Relative volume (RVOL): volume over the mean of the bars before; here centred",
    step=relative_volume_step,
)
def relative_volume(volume_T: Array, *, window: Window = 20) -> Array:
    r"""Volume against the mean of the W bars before, bounded.

    .. math:: (V_t - \bar V_{t-1}) / (V_t + \bar V_{t-1}) = (RVOL_t - 1) / (RVOL_t + 1)
    """
    return relative_volume_step.batch((volume_T,), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    source="Quong and Soudack (1989), Stocks & Commodities 7(3): money flow index, centred",
    step=mfi_step,
)
def mfi(
    high_T: Array, low_T: Array, close_T: Array, volume_T: Array, *, window: Window = 14
) -> Array:
    r"""Centred money flow index, MFI / 50 - 1 = (P - N) / (P + N).

    P and N are the sums of the flows :math:`p_t V_t` of bars whose typical price
    :math:`p = (H + L + C) / 3` rose and fell. TA-Lib's MFI gives the most oversold value, 0, where
    there was no flow; here that is the neutral 0.
    """
    return mfi_step.batch((high_T, low_T, close_T, volume_T), window=window)[0]


@feature(
    unit="mean volumes of a bar",
    source="Granville (1963), New Key to Stock Market Profits; TA-Lib OBV",
    path_dependent=True,
    step=obv_step,
)
def obv(close_T: Array, volume_T: Array) -> Array:
    r"""On-balance volume since the asset's first bar, over the mean volume of a bar until now.

    .. math:: \sum_{s=1}^t \operatorname{sign}(C_s - C_{s-1}) V_s
              \Big/ \tfrac{1}{t+1} \sum_{s=0}^t V_s
    """
    balance_T = talib.OBV(close_T, volume_T)
    return _over_mean_volume(balance_T - balance_T[0], volume_T)


@feature(
    unit="mean volumes of a bar",
    source="Chaikin's accumulation/distribution line; TA-Lib AD",
    path_dependent=True,
    step=ad_step,
)
def ad(high_T: Array, low_T: Array, close_T: Array, volume_T: Array) -> Array:
    r"""Accumulation since the asset's first bar, over the mean volume of a bar until now.

    .. math:: \sum_{s=0}^t \ell_s V_s \Big/ \tfrac{1}{t+1} \sum_{s=0}^t V_s
    """
    return _over_mean_volume(talib.AD(high_T, low_T, close_T, volume_T), volume_T)


def _over_mean_volume(balance_T: Array, volume_T: Array) -> Array:
    mean_T = np.cumsum(volume_T) / np.arange(1.0, len(volume_T) + 1.0)
    traded_T = mean_T > 0.0
    return np.where(traded_T, balance_T / np.where(traded_T, mean_T, 1.0), 0.0)


def _adosc_warmup(fast: int, slow: int) -> int:
    require_below("adosc", fast=fast, slow=slow)
    return slow - 1


@feature(
    unit="mean volumes of a bar",
    warmup=_adosc_warmup,
    source="Chaikin's oscillator, E_3(AD) - E_10(AD), over the average volume; TA-Lib ADOSC",
    path_dependent=True,
    step=adosc_step,
)
def adosc(
    high_T: Array,
    low_T: Array,
    close_T: Array,
    volume_T: Array,
    *,
    fast: Window = 3,
    slow: Window = 10,
) -> Array:
    r"""Difference of two averages of the accumulation line, over the average volume.

    .. math:: (E^{fast}_t(AD) - E^{slow}_t(AD)) / E^{slow}_t(V), \quad AD_t = AD_{t-1} + \ell_t V_t

    Bounded by (slow - 1) / 2. The averages begin at the first bar, as TA-Lib's; they are carried as
    distances from the line, :math:`d_t = (1 - w)(d_{t-1} - \ell_t V_t)`, which forget the past,
    where the line itself grows and leaves but its rounding.
    """
    inputs = (high_T, low_T, close_T, volume_T)
    return adosc_step.batch(inputs, fast=fast, slow=slow)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window - 1,
    source="Chaikin's money flow over W bars",
    step=cmf_step,
)
def cmf(
    high_T: Array, low_T: Array, close_T: Array, volume_T: Array, *, window: Window = 20
) -> Array:
    r"""Chaikin's money flow, :math:`\sum_{k<W} \ell_{t-k} V_{t-k} / \sum_{k<W} V_{t-k}`."""
    return cmf_step.batch((high_T, low_T, close_T, volume_T), window=window)[0]


@feature(
    unit="log return per bar",
    warmup=lambda window: window,
    source="Elder (1993), Trading for a Living: force index, over the average volume; TA-Lib EMA",
    path_dependent=True,
    step=force_index_step,
)
def force_index(close_T: Array, volume_T: Array, *, window: Window = 13) -> Array:
    r"""Average log return weighted by volume, :math:`E_t(r V) / E_t(V)`, both from bar 1 on."""
    force_T, mean_T = np.full((2, len(close_T)), np.nan)
    force_T[1:] = talib.EMA(log_change(close_T, 1)[1:] * volume_T[1:], window)
    mean_T[1:] = talib.EMA(np.ascontiguousarray(volume_T[1:]), window)
    return np.where(mean_T == 0.0, 0.0, force_T / np.where(mean_T == 0.0, 1.0, mean_T))


@feature(
    unit="log return",
    warmup=lambda horizon: horizon,
    source="Fosback (1976), Stock Market Logic: negative volume index; TA-Lib NVI",
    step=nvi_step,
)
def nvi(close_T: Array, volume_T: Array, *, horizon: Horizon = 21) -> Array:
    r"""Log change of the negative volume index: returns of bars with less volume than before.

    .. math:: \sum_{k<h} r_{t-k} \, 1[V_{t-k} < V_{t-k-1}]
    """
    return log_change(talib.NVI(close_T, volume_T), horizon)


@feature(
    unit="log return",
    warmup=lambda horizon: horizon,
    source="Fosback (1976), Stock Market Logic: positive volume index; TA-Lib PVI",
    step=pvi_step,
)
def pvi(close_T: Array, volume_T: Array, *, horizon: Horizon = 21) -> Array:
    r"""Log change of the positive volume index: returns of bars with more volume than before.

    .. math:: \sum_{k<h} r_{t-k} \, 1[V_{t-k} > V_{t-k-1}]
    """
    return log_change(talib.PVI(close_T, volume_T), horizon)


@feature(
    unit="log ratio",
    warmup=lambda window, multiple: window * multiple,
    source="Amihud (2002), Illiquidity and stock returns, JFM 5(1), eq. 1, against its own past",
    step=amihud_step,
)
def amihud(close_T: Array, volume_T: Array, *, window: Window = 21, multiple: Window = 3) -> Array:
    r"""Illiquidity against its usual level, over a window some times as long.

    .. math:: \ln (I^W_t / I^{mW}_t), \quad I^n_t = \text{mean of } |r_s| / (C_s V_s)
              \text{ over the bars with volume of the last } n

    The ratio is free of the units of price and volume. 0 where the window has no trade or no move.
    """
    return amihud_step.batch((close_T, volume_T), window=window, multiple=multiple)[0]


@feature(
    unit="log ratio of prices",
    warmup=lambda window: window - 1,
    source="Berkowitz, Logue and Noser (1988), JF 43(1): volume-weighted average price",
    step=vwap_distance_step,
)
def vwap_distance(
    high_T: Array, low_T: Array, close_T: Array, volume_T: Array, *, window: Window = 21
) -> Array:
    r"""Close against the volume-weighted average of typical prices, :math:`\ln (C_t / A_t)`.

    .. math:: A_t = \sum_{k<W} p_{t-k} V_{t-k} \Big/ \sum_{k<W} V_{t-k}, \quad p = (H + L + C) / 3
    """
    return vwap_distance_step.batch((high_T, low_T, close_T, volume_T), window=window)[0]


@feature(
    unit="mean volumes per window",
    warmup=lambda window: window - 1,
    source="Least squares of volume on time, over the mean volume",
    step=volume_trend_step,
)
def volume_trend(volume_T: Array, *, window: Window = 21) -> Array:
    r"""Slope of volume over the window, as change over W bars in mean volumes.

    .. math:: W \hat b_t / \bar V_t, \quad
              \hat b_t = \frac{\sum_k (\tfrac{W - 1}{2} - k) V_{t-k}}{W (W^2 - 1) / 12}
    """
    return volume_trend_step.batch((volume_T,), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    source="Karpoff (1987), The relation between price changes and trading volume, JFQA 22(1)",
    step=price_volume_correlation_step,
)
def price_volume_correlation(close_T: Array, volume_T: Array, *, window: Window = 21) -> Array:
    """Correlation of log return and volume over the window; 0 where either is constant."""
    return price_volume_correlation_step.batch((close_T, volume_T), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    source="Easley, Lopez de Prado and O'Hara (2012), RFS 25(5): order imbalance, by bar's sign",
    step=up_volume_step,
)
def up_volume(close_T: Array, volume_T: Array, *, window: Window = 21) -> Array:
    r"""Volume of rising less that of falling bars, as a share of all of it.

    .. math:: \sum_{k<W} \operatorname{sign}(r_{t-k}) V_{t-k} \Big/ \sum_{k<W} V_{t-k}
    """
    return up_volume_step.batch((close_T, volume_T), window=window)[0]

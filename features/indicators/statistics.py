r"""Statistics: the shape of the distribution of returns, and how they hang together in time.

All are 0 for an unchanged price. With :math:`r_t = \ln (C_t / C_{t-1})`, and :math:`\bar r` and s
the mean and the population deviation of the window's W returns. A deviation below 1e-10 is the
rounding of prices, and counts as none: the value is then the neutral 0.

Dimensions: T bars of the asset. Values before the warm-up are NaN.
"""

from typing import Annotated

import numpy as np
import talib
from annotated_types import Ge

from features.indicators.parts import log_change, require_below
from features.indicators.statistics_steps import (
    autocorrelation_step,
    extreme_return_step,
    kurtosis_step,
    linear_fit_step,
    percentile_rank_step,
    permutation_entropy_step,
    price_zscore_step,
    return_zscore_step,
    sign_balance_step,
    skewness_step,
    variance_ratio_step,
    volatility_clustering_step,
)
from features.registry import Array, Horizon, Window, feature

__all__ = [
    "autocorrelation",
    "extreme_return",
    "kurtosis",
    "linear_fit",
    "percentile_rank",
    "permutation_entropy",
    "price_zscore",
    "return_zscore",
    "sign_balance",
    "skewness",
    "variance_ratio",
    "volatility_clustering",
]


def _window_above(feature: str, window: int, **distance: int) -> int:
    require_below(feature, **distance, window=window)
    return window


@feature(
    unit="1",
    warmup=lambda window: window,
    source="Amaya, Christoffersen, Jacobs and Vasquez (2015), JFE 118(1)",
    step=skewness_step,
)
def skewness(close_T: Array, *, window: Annotated[int, Ge(3)] = 63) -> Array:
    r"""Skewness of returns, :math:`\tfrac1W \sum (r - \bar r)^3 / s^3`.

    Of three at least: two are always symmetric.
    """
    return skewness_step.batch((close_T,), window=window)[0]


@feature(
    unit="1",
    warmup=lambda window: window,
    source="Amaya, Christoffersen, Jacobs and Vasquez (2015), JFE 118(1)",
    step=kurtosis_step,
)
def kurtosis(close_T: Array, *, window: Annotated[int, Ge(4)] = 63) -> Array:
    r"""Excess kurtosis of returns, :math:`\tfrac1W \sum (r - \bar r)^4 / s^4 - 3`.

    Of four at least: that of two is always -2, that of three -3/2.
    """
    return kurtosis_step.batch((close_T,), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window, lag: _window_above("autocorrelation", window, lag=lag),
    source="Campbell, Lo and MacKinlay (1997), The Econometrics of Financial Markets, section 2.4",
    step=autocorrelation_step,
)
def autocorrelation(close_T: Array, *, window: Window = 63, lag: Horizon = 1) -> Array:
    r"""Autocorrelation of returns.

    .. math:: \sum_{k \ge l} (r_k - \bar r)(r_{k-l} - \bar r) / (W s^2)
    """
    return autocorrelation_step.batch((close_T,), window=window, lag=lag)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window, lag: _window_above("volatility_clustering", window, lag=lag),
    source="Cont (2001), Empirical properties of asset returns, Quantitative Finance 1(2)",
    step=volatility_clustering_step,
)
def volatility_clustering(close_T: Array, *, window: Window = 63, lag: Horizon = 1) -> Array:
    """Autocorrelation of the absolute returns; see `autocorrelation`."""
    return volatility_clustering_step.batch((close_T,), window=window, lag=lag)[0]


@feature(
    unit="standard deviations",
    warmup=lambda window: window - 1,
    source="standard score (mean and deviation of the same window)",
    step=price_zscore_step,
)
def price_zscore(close_T: Array, *, window: Window = 63) -> Array:
    r"""Log price against its own window; bounded by :math:`\sqrt{W - 1}`."""
    return price_zscore_step.batch((close_T,), window=window)[0]


@feature(
    unit="standard deviations",
    warmup=lambda window: window,
    source="Brown and Warner (1985), Using Daily Stock Returns, JFE 14(1): standardised return",
    step=return_zscore_step,
)
def return_zscore(close_T: Array, *, window: Window = 21) -> Array:
    r"""Newest return against its own window, :math:`(r_t - \bar r) / s`."""
    return return_zscore_step.batch((close_T,), window=window)[0]


@feature(
    unit="1",
    warmup=lambda window, horizon: _window_above("variance_ratio", window, horizon=horizon),
    source="Lo and MacKinlay (1988), Stock Market Prices Do Not Follow Random Walks, RFS 1(1)",
    step=variance_ratio_step,
)
def variance_ratio(close_T: Array, *, window: Window = 63, horizon: Window = 5) -> Array:
    r"""Variance of returns over q bars against q times that over one, less 1.

    Above 0 moves go on, below 0 they turn back. Overlapping and unbiased:

    .. math:: \frac{\sum_{k \ge q} (\ln (C_k / C_{k-q}) - q \bar r)^2}
              {q (W - q + 1)(1 - q / W)} \bigg/ \frac{\sum (r - \bar r)^2}{W - 1} - 1
    """
    return variance_ratio_step.batch((close_T,), window=window, horizon=horizon)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    source="Connors and Alvarez (2012), An Introduction to ConnorsRSI; TA-Lib PERCENTRANK",
    step=percentile_rank_step,
)
def percentile_rank(close_T: Array, *, window: Window = 63) -> Array:
    """Share of the W closes before that lie below this one, less the share above."""
    below_T = talib.PERCENTRANK(close_T, window)
    return np.asarray((below_T - talib.PERCENTRANK(-close_T, window)) / 100.0)


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window - 1,
    source="Clenow (2015), Stocks on the Move: trend quality; ordinary least squares",
    step=linear_fit_step,
)
def linear_fit(close_T: Array, *, window: Window = 63) -> Array:
    r"""How much of the log price is a line in time: R squared, with the sign of its slope."""
    return linear_fit_step.batch((close_T,), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    source="Da, Gurun and Warachka (2014), Frog in the Pan, RFS 27(7)",
    step=sign_balance_step,
)
def sign_balance(close_T: Array, *, window: Window = 21) -> Array:
    """Share of rising bars, less that of falling ones."""
    return sign_balance_step.batch((close_T,), window=window)[0]


@feature(
    unit="1, in [0, 1]",
    warmup=lambda window: window - 1,
    source="Bandt and Pompe (2002), Permutation Entropy, PRL 88(17); order 3",
    step=permutation_entropy_step,
)
def permutation_entropy(close_T: Array, *, window: Annotated[int, Ge(3)] = 63) -> Array:
    r"""Entropy of the order of three closes in a row, over its largest value ln 6.

    .. math:: -\sum_\pi p_\pi \ln p_\pi / \ln 6

    over the W - 2 threes; of equal closes the older counts as the lower. 0 for a price that only
    rises, near 1 for a random walk of many bars.
    """
    return permutation_entropy_step.batch((close_T,), window=window)[0]


@feature(
    unit="log return",
    warmup=lambda window: window,
    outputs=("max", "min"),
    source="Bali, Cakici and Whitelaw (2011), Maxing Out, JFE 99(2); TA-Lib MAX, MIN",
    step=extreme_return_step,
)
def extreme_return(close_T: Array, *, window: Window = 21) -> tuple[Array, Array]:
    """Largest and smallest return of the window."""
    change_T = log_change(close_T, 1)
    return np.asarray(talib.MAX(change_T, window)), np.asarray(talib.MIN(change_T, window))

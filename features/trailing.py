"""Plain trailing arrays for rule-based policies: causal, unscaled, one number per bar and asset.

Both count an asset's own bars and include dividends (see `features.series`). Where an asset has no
bar, or not yet enough of them, the value is NaN: nothing is known that could be traded on.

Dimensions: T bars, A assets.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from features.definition import FeatureError
from features.rolling import rolling_std
from features.series import adjusted_series
from markets.bars import Bars

__all__ = ["trailing_return", "trailing_volatility"]

Array = NDArray[np.float64]


def trailing_return(bars: Bars, horizon: int) -> Array:
    r"""Total return over the last h bars, :math:`C_t / C_{t-h} - 1` with dividends reinvested.

    Source: Moskowitz, Ooi and Pedersen (2012), "Time series momentum", JFE 104(2).

    Args:
        bars: the data.
        horizon: h >= 1, in bars of the asset.

    Returns:
        Simple returns (T, A); NaN for an asset's first h bars and where it has no bar.

    Raises:
        FeatureError: horizon below 1, or additive prices.
    """
    _require_at_least("horizon", horizon, 1)

    def change(close_n: Array) -> Array:
        change_n = np.full(len(close_n), np.nan)
        change_n[horizon:] = close_n[horizon:] / close_n[:-horizon] - 1.0
        return change_n

    return _of_closes(bars, change)


def trailing_volatility(bars: Bars, window: int) -> Array:
    r"""Population standard deviation of the last W log returns (total returns).

    .. math:: s_t = \sqrt{\tfrac1W \sum_{k<W} (r_{t-k} - \bar r_t)^2}

    Args:
        bars: the data.
        window: W >= 2, in bars of the asset.

    Returns:
        Volatility per square root of a bar, (T, A); NaN for an asset's first W bars and where it
        has no bar.

    Raises:
        FeatureError: window below 2, or additive prices.
    """
    _require_at_least("window", window, 2)

    def deviation(close_n: Array) -> Array:
        deviation_n = np.full(len(close_n), np.nan)
        if len(close_n):
            deviation_n[1:] = rolling_std(np.diff(np.log(close_n)), window)
        return deviation_n

    return _of_closes(bars, deviation)


def _of_closes(bars: Bars, measure: Callable[[Array], Array]) -> Array:
    values_TA = np.full((bars.num_bars, bars.num_assets), np.nan)
    for asset, series in enumerate(adjusted_series(bars)):
        values_TA[series.rows_n, asset] = measure(series.columns["close"])
    return values_TA


def _require_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise FeatureError(f"{name}: expected at least {least} bars, found {value}")

r"""An asset's own bars as adjusted series: what the features read.

Splits are taken out by `Bars.split_adjusted`. Dividends buy shares at the close of their ex-date:
prices are multiplied by :math:`\prod_{s \le t} (1 + D_s / C_s)`, so that :math:`C_t / C_{t-h}` of
the series is the total return of h bars, :math:`(C_t + D_t) / C_{t-1}` for one. Both factors look
back only: no value before an ex-date knows of it. The scale of the first bar is arbitrary.

Rows where an asset has no bar are taken out; dividends that fall on them wait for its next bar.

Dimensions: T bars, A assets, n bars of one asset.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.definition import FeatureError, Series
from markets.bars import Bars

__all__ = ["AssetSeries", "adjusted_series", "require_positive_prices"]

Array = NDArray[np.float64]
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, eq=False)
class AssetSeries:
    """One asset's own bars, adjusted."""

    rows_n: NDArray[np.int64]
    """Row of each bar on the common axis."""
    columns: Series
    """Arrays (n,) by the names of `features.registry.INPUTS`."""
    reinvested_n: Array
    """Factor of the dividends reinvested up to each bar, 1 at the first."""
    pending: float
    """Dividends since the asset's last bar, in split-adjusted currency per share."""


def adjusted_series(bars: Bars) -> Iterator[AssetSeries]:
    """Series of each asset in the order of ``bars.symbols``.

    Raises:
        FeatureError: an instrument with additive prices (log returns need positive ones).
    """
    require_positive_prices(bars)
    adjusted = bars.split_adjusted()
    for asset in range(bars.num_assets):
        rows_n = np.flatnonzero(~bars.missing[:, asset])
        dividend_n, pending = _collected(adjusted.dividend_TA[:, asset], rows_n)
        reinvested_n = np.cumprod(1.0 + dividend_n / adjusted.close[rows_n, asset])
        columns: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {
            name: getattr(adjusted, name)[rows_n, asset] * reinvested_n for name in PRICES
        }
        columns["volume"] = adjusted.volume[rows_n, asset]
        columns["ts_event"] = bars.ts_event[rows_n]
        yield AssetSeries(rows_n, columns, reinvested_n, pending)


def require_positive_prices(bars: Bars) -> None:
    """Refuse instruments whose prices may be zero or negative.

    Raises:
        FeatureError: names the first such instrument.
    """
    for instrument in bars.instruments:
        if instrument.additive:
            raise FeatureError(
                f"features: expected positive prices (features are built on log returns), found "
                f"the additive instrument {instrument.symbol}"
            )


def _collected(dividend_T: Array, rows_n: NDArray[np.int64]) -> tuple[Array, float]:
    """Dividends since the asset's previous bar (0 for its first), and those since its last."""
    collected_n = np.zeros(len(rows_n))
    if not len(rows_n):
        return collected_n, 0.0
    last = int(rows_n[-1]) + 1
    if len(rows_n) > 1:
        collected_n[1:] = np.add.reduceat(dividend_T[:last], rows_n[:-1] + 1)
    return collected_n, float(np.sum(dividend_T[last:]))

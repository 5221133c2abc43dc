"""Own series of the assets and of the common axis: what the batch form of a feature reads.

Rows where an asset has no bar are taken out. A published series is joined as of its publication
time; its own rows begin with the first bar at which something is published. `features.panel` has
the adjustment for splits and dividends, and the market's series.

Dimensions: T rows, A assets, n bars of one asset or rows of one series.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.definition import FeatureError, Series
from features.inputs import ASSET_INPUTS, MARKET_INPUTS
from features.panel import Panel, PanelState, joined
from markets.bars import Bars
from markets.published import PublishedSeries

__all__ = [
    "OwnSeries",
    "adjusted_series",
    "asset_series",
    "panel_of",
    "require_positive_prices",
    "shared_series",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OwnSeries:
    """Inputs of features without gaps."""

    rows_n: NDArray[np.int64]
    """Row of each bar on the common axis."""
    columns: Series
    """Arrays (n,) by the names of `features.definition.INPUTS`."""

    def last(self, count: int) -> "OwnSeries":
        """The last bars, at most as many as there are."""
        columns = {name: values[-count:] for name, values in self.columns.items()}
        return OwnSeries(self.rows_n[-count:], columns)


def panel_of(bars: Bars) -> Panel:
    """What features read of a history.

    Raises:
        FeatureError: an instrument with additive prices (log returns need positive ones).
    """
    require_positive_prices(bars)
    return PanelState.of(bars).take_in(bars, bars.split_TA, bars.dividend_TA)


def asset_series(panel: Panel) -> Iterator[OwnSeries]:
    """Series of each asset, in order."""
    for asset in range(panel.present_TA.shape[1]):
        rows_n = np.flatnonzero(panel.present_TA[:, asset])
        values_In = np.ascontiguousarray(panel.asset_TAI[rows_n, asset].T)
        columns = {name: values_In[place] for place, name in enumerate(ASSET_INPUTS)}
        yield OwnSeries(rows_n, _fixed({**columns, "ts_event": panel.ts_event[rows_n]}))


def adjusted_series(bars: Bars) -> Iterator[OwnSeries]:
    """Series of each asset, in the order of ``bars.symbols``.

    Raises:
        FeatureError: as `panel_of`.
    """
    yield from asset_series(panel_of(bars))


def shared_series(panel: Panel, published: PublishedSeries | None = None) -> OwnSeries:
    """Series of the common axis, with those of a published one from its first publication on."""
    columns: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {
        **{name: panel.shared_TM[:, place] for place, name in enumerate(MARKET_INPUTS)},
        "ts_event": panel.ts_event,
    }
    if published is None:
        rows_n = np.arange(len(panel.ts_event))
    else:
        columns["exogenous"], columns["age"] = joined(published, panel.ts_event)
        rows_n = np.flatnonzero(~np.isnan(columns["exogenous"]))
    kept = {name: np.ascontiguousarray(values[rows_n]) for name, values in columns.items()}
    return OwnSeries(rows_n, _fixed(kept))


def _fixed(columns: Series) -> Series:
    """All features read the same arrays: one that wrote into them would change the others."""
    for values in columns.values():
        values.flags.writeable = False
    return columns


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

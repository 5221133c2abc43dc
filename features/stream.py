"""Bar-by-bar computation of features: what a live service calls at each close.

The stream keeps, per asset, the adjusted bars that the features still remember
(`BoundFeature.memory`) and computes the newest row from them, with the same functions as the batch.

Dimensions: A assets, F asset columns, G shared columns.
"""

import numpy as np
from numpy.typing import NDArray

from features.definition import BoundFeature, FeatureError, Series
from features.series import PRICES, AssetSeries, adjusted_series, require_positive_prices
from markets.bars import Bars
from markets.calendars import local_offset

__all__ = ["FeatureStream"]

Array = NDArray[np.float64]
_COLUMNS = (*PRICES, "volume")


class FeatureStream:
    """State of one stream of bars.

    Args:
        features: the features, in the order of their columns.
        symbols: the assets, in the order of every bar to come.
    """

    def __init__(self, features: tuple[BoundFeature, ...], symbols: tuple[str, ...]) -> None:
        self.symbols = symbols
        self.num_bars = 0
        """Bars seen so far."""
        self._asset_features = tuple(f for f in features if f.feature.scope == "asset")
        self._shared_features = tuple(f for f in features if f.feature.scope == "shared")
        self._last_ts: int | None = None
        capacity = max((f.memory for f in features), default=1)
        self._tails = tuple(_AssetTail(capacity) for _ in symbols)

    def prime(self, history: Bars) -> None:
        """Take in many bars at once, as if each had been given to `update`; only at the beginning.

        Raises:
            FeatureError: other symbols, or bars have been seen already.
        """
        self._require_usable(history)
        if self._last_ts is not None:
            raise FeatureError(
                f"prime: expected a new stream, found one that has seen {self.num_bars} bars"
            )
        splits_A = np.prod(history.split_TA, axis=0)
        for tail, series, split in zip(
            self._tails, adjusted_series(history), splits_A, strict=True
        ):
            tail.prime(series, float(split))
        self.num_bars = history.num_bars
        self._last_ts = int(history.ts_event[-1])

    def update(self, bar: Bars) -> tuple[Array, Array]:
        """Take in the next bar.

        Args:
            bar: one row with this stream's symbols. Its actions may be the whole table or those
                of the day: those after the previous bar and up to this one count.

        Returns:
            Unscaled asset values (A, F), NaN where an asset has no bar or not yet enough of them,
            and shared values (G,).

        Raises:
            FeatureError: more than one row, other symbols, or a time not after the previous one.
        """
        self._require_usable(bar)
        self._require_next(bar)
        self._take_in(bar)
        columns = sum(len(feature.columns) for feature in self._asset_features)
        values_AF = np.full((len(self.symbols), columns), np.nan)
        for asset in np.flatnonzero(~bar.missing[0]):
            try:
                values_AF[asset] = self._tails[asset].newest(self._asset_features)
            except FeatureError as error:
                raise FeatureError(f"{self.symbols[asset]}: {error}") from error
        moment: Series = {"ts_event": bar.ts_event}
        shared = [feature.compute(moment)[0] for feature in self._shared_features]
        return values_AF, np.concatenate([np.empty(0), *shared])

    def _take_in(self, bar: Bars) -> None:
        split_A, dividend_A = self._actions(bar)
        for asset, tail in enumerate(self._tails):
            tail.apply(float(split_A[asset]), float(dividend_A[asset]))
            if not bar.missing[0, asset]:
                values = np.array([getattr(bar, name)[0, asset] for name in _COLUMNS])
                tail.append(values, int(bar.ts_event[0]))
        self._last_ts = int(bar.ts_event[0])
        self.num_bars += 1

    def _actions(self, bar: Bars) -> tuple[Array, Array]:
        """Splits and dividends with an ex-date after the previous bar and up to this one."""
        split_A, dividend_A = np.ones(len(self.symbols)), np.zeros(len(self.symbols))
        if self._last_ts is None or not len(bar.actions):
            return split_A, dividend_A
        axis = np.array([self._last_ts, bar.ts_event[0]], np.int64)
        for calendar in {instrument.calendar for instrument in bar.instruments}:
            at = [a for a, i in enumerate(bar.instruments) if i.calendar == calendar]
            # An ex-date is a day at the exchange.
            clock = axis if calendar is None else axis + local_offset(calendar, axis)
            split_2A, dividend_2A = bar.actions.on_axis(clock, [self.symbols[a] for a in at])
            split_A[at], dividend_A[at] = split_2A[1], dividend_2A[1]
        return split_A, dividend_A

    def _require_usable(self, bars: Bars) -> None:
        if bars.symbols != self.symbols:
            raise FeatureError(f"expected the symbols {self.symbols}, found {bars.symbols}")
        require_positive_prices(bars)

    def _require_next(self, bar: Bars) -> None:
        if bar.num_bars != 1:
            raise FeatureError(f"update: expected one bar, found {bar.num_bars}; see prime")
        if self._last_ts is not None and bar.ts_event[0] <= self._last_ts:
            last, found = (np.datetime64(int(t), "ns") for t in (self._last_ts, bar.ts_event[0]))
            raise FeatureError(f"update: expected a bar after {last}, found {found}")


class _AssetTail:
    """The last bars of one asset, adjusted as in `features.series`."""

    def __init__(self, capacity: int) -> None:
        self._split = 1.0
        self._reinvested = 1.0
        self._pending = 0.0
        self._capacity = capacity
        self._kept = 0
        self._end = 0
        # Twice the capacity: the tail moves to the front only once in `capacity` bars.
        self._values = np.empty((len(_COLUMNS), 2 * capacity))
        self._ts_event = np.empty(2 * capacity, np.int64)

    def prime(self, series: AssetSeries, split: float) -> None:
        """Take in a history: its series, and the product of its splits."""
        self._split = split
        self._pending = series.pending
        self._kept = self._end = kept = min(len(series.rows_n), self._capacity)
        if kept:
            self._reinvested = float(series.reinvested_n[-1])
            self._values[:, :kept] = [series.columns[name][-kept:] for name in _COLUMNS]
            self._ts_event[:kept] = series.columns["ts_event"][-kept:]

    def apply(self, split: float, dividend: float) -> None:
        """Take in the actions of one row, also where the asset has no bar."""
        self._split *= split
        if self._kept:
            self._pending += dividend * self._split

    def append(self, values: Array, ts_event: int) -> None:
        """Take in a raw bar: open, high, low, close, volume."""
        if self._end == len(self._ts_event):
            self._end = kept = self._capacity - 1
            self._values[:, :kept] = self._values[:, len(self._ts_event) - kept :]
            self._ts_event[:kept] = self._ts_event[len(self._ts_event) - kept :]
        prices = values[:4] * self._split
        self._reinvested *= 1.0 + self._pending / prices[3]
        self._pending = 0.0
        self._values[:4, self._end] = prices * self._reinvested
        self._values[4, self._end] = values[4] / self._split
        self._ts_event[self._end] = ts_event
        self._end += 1
        self._kept = min(self._kept + 1, self._capacity)

    def newest(self, features: tuple[BoundFeature, ...]) -> Array:
        """Values of the newest bar, all features' columns in order."""
        values = [feature.compute(self._tail(feature.memory))[-1] for feature in features]
        return np.concatenate([np.empty(0), *values])

    def _tail(self, memory: int) -> Series:
        rows = slice(self._end - min(memory, self._kept), self._end)
        prices = {name: self._values[index, rows] for index, name in enumerate(_COLUMNS)}
        return {**prices, "ts_event": self._ts_event[rows]}

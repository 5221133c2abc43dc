"""Bar-by-bar computation of features: what a live service calls at each close.

The stream carries the state of `features.panel` (adjustment and market) and that of every feature's
step, so that a bar costs the same however long the history is. A user's own feature without a step
is computed anew from the last bars that it needs (`BoundFeature.memory`).

Dimensions: A assets, F asset columns, G shared columns.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.definition import BoundFeature, FeatureError
from features.inputs import ASSET_INPUTS, MARKET_INPUTS, SHARED_INPUTS
from features.lane import Lane, packed, unpacked
from features.panel import Panel, PanelState, joined
from features.series import require_positive_prices
from markets.bars import Bars
from markets.calendars import local_offset
from markets.published import PublishedSeries

__all__ = ["FeatureStream"]

Array = NDArray[np.float64]
Published = Mapping[str, PublishedSeries]
_FORMAT = "perennial.stream.v1"
_NOTHING: Published = {}


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
        self.last_ts: int | None = None
        """Time of the last bar, ns UTC."""
        self._features = features
        shared = [feature for feature in features if feature.feature.scope == "shared"]
        self._assets = Lane(
            tuple(f for f in features if f.feature.scope == "asset"), ASSET_INPUTS, symbols
        )
        # Each published series has rows of its own, from its first publication on.
        self._shared = {
            name: Lane(
                tuple(f for f in shared if f.series == name),
                MARKET_INPUTS if name is None else SHARED_INPUTS,
                (),
            )
            for name in dict.fromkeys(feature.series for feature in shared)
        }
        columns = [column for feature in shared for column in feature.columns]
        by_lane = [c for lane in self._shared.values() for f in lane.features for c in f.columns]
        self._order_G = np.array([by_lane.index(column) for column in columns], np.intp)
        self._panel: PanelState | None = None

    def prime(self, history: Bars, published: Published = _NOTHING) -> None:
        """Take in many bars at once, as if each had been given to `update`; only at the beginning.

        Args:
            history: the bars.
            published: the published series by name.

        Raises:
            FeatureError: other symbols, or bars have been seen already.
        """
        self._require_usable(history)
        if self.last_ts is not None:
            raise FeatureError(
                f"prime: expected a new stream, found one that has seen {self.num_bars} bars"
            )
        self._panel = PanelState.of(history)
        panel = self._panel.take_in(history, history.split_TA, history.dividend_TA)
        self._assets.prime(panel.present_TA, panel.asset_TAI, panel.ts_event)
        for name, lane in self._shared.items():
            bar_TM, known_T = _shared_rows(panel, None if name is None else published[name])
            lane.prime(known_T[:, None], bar_TM[:, None], panel.ts_event)
        self.num_bars = history.num_bars
        self.last_ts = int(history.ts_event[-1])

    def update(self, bar: Bars, published: Published = _NOTHING) -> tuple[Array, Array]:
        """Take in the next bar.

        Args:
            bar: one row with this stream's symbols. Its actions may be the whole table or those
                of the day: those after the previous bar and up to this one count.
            published: the published series by name; publications after the bar are not seen.

        Returns:
            Unscaled asset values (A, F), NaN where an asset has no bar or not yet enough of them,
            and shared values (G,).

        Raises:
            FeatureError: more than one row, other symbols or sectors, or a time not after the
                previous one: the bar is not taken in. Or a value that is not finite after its
                warm-up: the bar is taken in by all, and the next one continues from it.
        """
        self._require_usable(bar)
        self._require_next(bar)
        if self._panel is None:
            self._panel = PanelState.of(bar)
        split_A, dividend_A = self._actions(bar)
        panel = self._panel.take_in(bar, split_A[None], dividend_A[None])
        ts_event = int(bar.ts_event[0])
        self.last_ts = ts_event
        self.num_bars += 1
        rows = [(self._assets, panel.present_TA[0], panel.asset_TAI[0])]
        for name, lane in self._shared.items():
            bar_TM, known_T = _shared_rows(panel, None if name is None else published[name])
            rows.append((lane, known_T, bar_TM))
        values, faults = [], []
        for lane, present_E, bar_EI in rows:
            try:
                values.append(lane.update(present_E, bar_EI, ts_event))
            except FeatureError as error:
                faults.append(error)
        if faults:
            raise faults[0]
        shared = np.concatenate([np.empty(0), *(values_1K[0] for values_1K in values[1:])])
        return values[0], shared[self._order_G]

    def state(self) -> dict[str, Any]:
        """All that the next bars need to know of those so far, as JSON values.

        Raises:
            FeatureError: no bar has been seen yet.
        """
        if self._panel is None:
            raise FeatureError("stream state: expected a stream that has seen a bar, found none")
        return {
            "format": _FORMAT,
            "symbols": self.symbols,
            "sectors": self._panel.sectors,
            "bars": self.num_bars,
            "last_ts": self.last_ts,
            "adjustment": packed(self._panel.asset_A4),
            "levels": packed(self._panel.level_S),
            "assets": self._assets.state(),
            "shared": [lane.state() for lane in self._shared.values()],
        }

    @classmethod
    def resumed(
        cls, features: tuple[BoundFeature, ...], state: Mapping[str, Any]
    ) -> "FeatureStream":
        """Continue a stream from `state`, bit for bit.

        Args:
            features: the features, as they were.
            state: the state.

        Raises:
            FeatureError: the state of other features or other code.
            KeyError: not a stream's state.
        """
        if state["format"] != _FORMAT:
            raise FeatureError(f"resume: expected {_FORMAT!r}, found {state['format']!r}")
        stream = cls(features, tuple(state["symbols"]))
        stream._restore(state)
        return stream

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._panel = PanelState(state["sectors"])
        unpacked(state["adjustment"], self._panel.asset_A4)
        unpacked(state["levels"], self._panel.level_S)
        self._assets.resume(state["assets"])
        for lane, kept in zip(self._shared.values(), state["shared"], strict=True):
            lane.resume(kept)
        self.num_bars, self.last_ts = int(state["bars"]), int(state["last_ts"])

    def _actions(self, bar: Bars) -> tuple[Array, Array]:
        """Splits and dividends with an ex-date after the previous bar and up to this one."""
        split_A, dividend_A = np.ones(len(self.symbols)), np.zeros(len(self.symbols))
        if self.last_ts is None or not len(bar.actions):
            return split_A, dividend_A
        axis = np.array([self.last_ts, bar.ts_event[0]], np.int64)
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
        if self.last_ts is not None and bar.ts_event[0] <= self.last_ts:
            last, found = (np.datetime64(int(t), "ns") for t in (self.last_ts, bar.ts_event[0]))
            raise FeatureError(f"update: expected a bar after {last}, found {found}")
        sectors = tuple(instrument.sector for instrument in bar.instruments)
        if self._panel is not None and sectors != self._panel.sectors:
            raise FeatureError(f"expected the sectors {self._panel.sectors}, found {sectors}")


def _shared_rows(
    panel: Panel, published: PublishedSeries | None
) -> tuple[Array, NDArray[np.bool_]]:
    """Inputs of the common axis, and the rows that count."""
    if published is None:
        return panel.shared_TM, np.ones(len(panel.ts_event), bool)
    value_T, age_T = joined(published, panel.ts_event)
    return np.column_stack([panel.shared_TM, value_T, age_T]), ~np.isnan(value_T)

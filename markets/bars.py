"""Immutable, validated OHLCV bars of several symbols on one time axis."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from markets.actions import CorporateActions, action_rows
from markets.calendars import NS_PER_DAY, local_offset, sessions_per_year
from markets.frames import write_long, write_wide
from markets.frozen import FrozenArrays
from markets.instruments import Instrument, instruments_for
from markets.reading import check_symbols, read_contents
from markets.records import FIELDS, Records
from markets.times import TimeLike, measured_per_year, show, to_ns
from markets.validation import (
    BarsError,
    Repair,
    RepairPolicy,
    raise_faults,
    time_findings,
    value_findings,
)


@dataclass(frozen=True, eq=False, repr=False)
class Bars(FrozenArrays):
    """Open, high, low, close and volume of A symbols at T times.

    Arrays are read-only float64, NaN where there is no bar. Prices and volumes are as traded
    (raw); `actions` holds the splits and dividends that explain their jumps. A symbol may start
    late, end early or pause: `missing` is True there, and nothing is ever filled in.

    Build one with `from_pandas` or `from_arrays`; the constructor validates too.

    Attributes:
        ts_event: When the bar is known, ns since 1970 UTC, strictly increasing, shape (T,). A
            day's bar carries its session's close (midnight UTC without a calendar).
        symbols: Unique symbols, length A.
        open: First price, shape (T, A).
        high: Highest price, >= open and close up to rounding (1e-9 of it), shape (T, A).
        low: Lowest price, <= open and close up to the same, shape (T, A).
        close: Last price, shape (T, A).
        volume: Shares traded, >= 0, shape (T, A).
        missing: True where there is no bar, shape (T, A).
        actions: Splits and dividends of these symbols.
        instruments: One for each symbol, in the order of `symbols`.
        repairs: What `repair=` changed on the way in.

    Raises:
        BarsError: A rule is broken; the message lists the first faults.
    """

    ts_event: NDArray[np.int64]
    symbols: tuple[str, ...]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    missing: NDArray[np.bool_]
    actions: CorporateActions
    instruments: tuple[Instrument, ...]
    repairs: tuple[Repair, ...] = ()

    def __post_init__(self) -> None:
        ts_event = np.array(self.ts_event, np.int64)
        missing = np.array(self.missing, bool)
        symbols = tuple(self.symbols)
        shape = (len(ts_event), len(symbols))
        _check_structure(ts_event, symbols, self.instruments)
        # Adding zero turns -0.0 into 0.0, so that equal bars have equal bytes.
        columns = {name: np.array(getattr(self, name), np.float64) + 0.0 for name in FIELDS}
        for name, array in (*columns.items(), ("missing", missing)):
            if array.shape != shape:
                raise BarsError(f"bars: {name}: expected shape {shape}, found {array.shape}")
        additive = tuple(instrument.additive for instrument in self.instruments)
        records = Records.of_grid(ts_event, symbols, np.stack(list(columns.values())), additive)
        raise_faults(records, time_findings(records) + value_findings(records), None)
        empty = np.isnan(columns["close"])
        if not np.array_equal(empty, missing):
            t, a = np.argwhere(empty != missing)[0]
            raise BarsError(
                f"bars: missing is {missing[t, a]} at row {t} ({show(ts_event[t])}) {symbols[a]},"
                f" where close is {columns['close'][t, a]}"
            )
        for array in columns.values():
            array[missing] = np.nan  # one bit pattern for all
        object.__setattr__(self, "symbols", symbols)
        object.__setattr__(self, "instruments", tuple(self.instruments))
        object.__setattr__(self, "actions", self.actions.select(symbols))
        _freeze(self, ts_event=ts_event, missing=missing, **columns)

    @classmethod
    def from_arrays(  # noqa: PLR0913 - the columns of a bar, by keyword
        cls,
        ts_event: ArrayLike,
        symbols: Sequence[str],
        *,
        open: ArrayLike,  # noqa: A002 - the field's name
        high: ArrayLike,
        low: ArrayLike,
        close: ArrayLike,
        volume: ArrayLike,
        actions: CorporateActions | None = None,
        instruments: Sequence[Instrument] | None = None,
    ) -> "Bars":
        """Build bars from arrays; a bar is missing where its close is NaN.

        Args:
            ts_event: ns UTC, shape (T,).
            symbols: Length A.
            open: Shape (T, A), as the next four.
            high: Highest price.
            low: Lowest price.
            close: Last price.
            volume: Shares traded.
            actions: Splits and dividends; none by default.
            instruments: One for each symbol, in any order; plain ones by default.

        Returns:
            The bars; the arrays are copied.

        Raises:
            BarsError: A rule is broken.
            InstrumentError: A symbol has no instrument.
        """
        close_TA = np.asarray(close, np.float64)
        return cls(
            ts_event=np.asarray(ts_event, np.int64),
            symbols=tuple(symbols),
            open=np.asarray(open, np.float64),
            high=np.asarray(high, np.float64),
            low=np.asarray(low, np.float64),
            close=close_TA,
            volume=np.asarray(volume, np.float64),
            missing=np.isnan(close_TA),
            actions=CorporateActions.empty() if actions is None else actions,
            instruments=instruments_for(tuple(symbols), instruments),
        )

    @classmethod
    def from_pandas(
        cls,
        frame: pd.DataFrame,
        *,
        instruments: Sequence[Instrument] | None = None,
        actions: CorporateActions | None = None,
        repair: RepairPolicy | None = None,
        partial: bool = False,
    ) -> "Bars":
        """Read a long or wide frame.

        Long: columns open, high, low, close, volume (any case; others are ignored), a column or
        index level "symbol" (not needed for one instrument), and the time as index, index level
        or column (ts_event, timestamp, datetime, date or time). Wide: column levels field and
        symbol in either order over a DatetimeIndex. Times may have any zone; naive means UTC.
        Dates (every time is midnight, naive or in a zone other than UTC) become the session's
        close if the instrument has a calendar, otherwise midnight UTC. A bar whose five values
        are all empty is missing.

        Args:
            frame: The frame; it is not changed and not referred to afterwards.
            instruments: Gives the order of the symbols; must name exactly the frame's symbols.
                Without it symbols are sorted by name, whatever the order of rows and columns.
            actions: Splits and dividends; those of other symbols are left out.
            repair: "drop" leaves faulty rows out, "mask" marks faulty bars as missing (and
                sessions that the frame lacks), "clip" moves high, low and volume into bounds.
                What was done is in `repairs`. None refuses any fault.
            partial: The frame is a piece of a stream: one bar is enough, an instrument may have
                none in it, sessions are not checked for gaps, and times are instants, never
                dates.

        Returns:
            The bars.

        Raises:
            BarsError: The frame has not this form or breaks a rule; the message lists the first
                faults with row, column, symbol, value found and expected, and the repairs.
            InstrumentError: `instruments` does not match the frame.
        """
        contents = read_contents(frame, instruments, repair, partial=partial)
        columns = dict(zip(FIELDS, contents.values, strict=True))
        return cls(
            ts_event=contents.ts_event,
            symbols=tuple(instrument.symbol for instrument in contents.instruments),
            **columns,
            missing=np.isnan(columns["close"]),
            actions=CorporateActions.empty() if actions is None else actions,
            instruments=contents.instruments,
            repairs=contents.repairs,
        )

    def to_pandas(self, layout: Literal["long", "wide"] = "long") -> pd.DataFrame:
        """Write the bars as a frame of copies.

        `Bars.from_pandas(bars.to_pandas(layout), instruments=bars.instruments,
        actions=bars.actions)` gives equal bars.

        Args:
            layout: "long": one row for each time and symbol, missing bars as rows of NaN;
                "wide": one row for each time, column levels field and symbol.

        Returns:
            The frame; its index is ts_event in UTC.
        """
        values = np.stack([getattr(self, name) for name in FIELDS])
        write = write_long if layout == "long" else write_wide
        return write(self.ts_event, self.symbols, values)

    @property
    def num_bars(self) -> int:
        """Number of times T."""
        return len(self.ts_event)

    @property
    def num_assets(self) -> int:
        """Number of symbols A."""
        return len(self.symbols)

    @property
    def span(self) -> tuple[pd.Timestamp, pd.Timestamp]:
        """First and last time, UTC."""
        first, last = (pd.Timestamp(t, tz="UTC") for t in self.ts_event[[0, -1]])
        return first, last

    @cached_property
    def bars_per_year(self) -> float:
        """Bars in a year of 365.25 days, for annualisation.

        With one calendar for all instruments: its sessions per year times the median number of
        bars in a day. Without one, or with bars of a week and longer: `measured_per_year`, the
        number of intervals over their summed length without the holes.

        Raises:
            BarsError: There is but one bar and no calendar.
        """
        names = {instrument.calendar for instrument in self.instruments}
        name = names.pop() if len(names) == 1 else None
        first, last = int(self.ts_event[0]), int(self.ts_event[-1])
        step = np.diff(self.ts_event).astype(np.float64)
        sparse = len(step) > 0 and float(np.median(step)) > 4.0 * NS_PER_DAY
        if name is not None and not sparse:
            day = (self.ts_event + local_offset(name, self.ts_event) - 1) // NS_PER_DAY
            per_day = float(np.median(np.unique(day, return_counts=True)[1]))
            return sessions_per_year(name, first, last) * per_day
        if self.num_bars < 2:
            raise BarsError("bars_per_year: expected at least 2 bars or a calendar, found 1 bar")
        return measured_per_year(self.ts_event)

    @cached_property
    def split_TA(self) -> NDArray[np.float64]:  # noqa: N802 - dimension suffix
        """New shares per old share at each bar, 1.0 for none, shape (T, A), read-only."""
        return self._on_axis[0]

    @cached_property
    def dividend_TA(self) -> NDArray[np.float64]:  # noqa: N802 - dimension suffix
        """Cash per share (after the bar's splits) at each bar, shape (T, A), read-only."""
        return self._on_axis[1]

    @cached_property
    def _on_axis(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        row_K, _ = self._action_rows
        arrays = self.actions.on_rows(row_K, self.num_bars, self.symbols)
        for array in arrays:
            array.flags.writeable = False
        return arrays

    def _wall_clock(self, calendar: str | None) -> NDArray[np.int64]:
        """Times as the exchange's clock shows them: an ex-date is a day at the exchange."""
        if calendar is None:
            return self.ts_event
        return self.ts_event + local_offset(calendar, self.ts_event)

    def rows(self, start: int, stop: int) -> "Bars":
        """Bars `start` to `stop` (exclusive), without copying.

        Splits and dividends keep their bars: `bars.rows(a, b).split_TA` equals
        `bars.split_TA[a:b]`. A symbol may have no bar in the slice.

        Args:
            start: First row, 0 <= start < stop.
            stop: Row after the last, <= num_bars.

        Returns:
            The slice.

        Raises:
            BarsError: The slice is empty or reaches outside.
        """
        if not 0 <= start < stop <= self.num_bars:
            raise BarsError(
                f"bars.rows: expected 0 <= start < stop <= {self.num_bars}, found"
                f" start={start}, stop={stop}"
            )
        part = {name: getattr(self, name)[start:stop] for name in ("ts_event", "missing", *FIELDS)}
        new = _trusted(self, actions=self._actions_of(start, stop), **part)
        new.__dict__["_on_axis"] = tuple(array[start:stop] for array in self._on_axis)
        return new

    def _actions_of(self, start: int, stop: int) -> CorporateActions:
        row_K, clocks = self._action_rows
        inside = (row_K >= start) & (row_K < stop)
        if not inside.any():
            return CorporateActions.empty()
        # One that fell on a day without a bar is dated to the bar that carries it.
        first_day = min(int(clock[start]) for clock in clocks.values()) // NS_PER_DAY * NS_PER_DAY
        return self.actions.take(inside).not_before(first_day)

    @cached_property
    def _action_rows(self) -> tuple[NDArray[np.int64], dict[str | None, NDArray[np.int64]]]:
        """Row that carries each action (-1: none), shape (K,), and the clock of each calendar."""
        clocks = {
            name: self._wall_clock(name)
            for name in {instrument.calendar for instrument in self.instruments}
        }
        calendar = {instrument.symbol: instrument.calendar for instrument in self.instruments}
        row_K = np.full(len(self.actions), -1, np.int64)
        for name, clock in clocks.items():
            mine = np.array([calendar[s] == name for s in self.actions.symbol], bool)
            row_K[mine] = action_rows(clock, self.actions.ex_ts[mine])
        return row_K, clocks

    def between(self, start: TimeLike, end: TimeLike) -> "Bars":
        """Bars with start <= ts_event <= end; a date without a time of day is the whole day.

        Args:
            start: First time, naive means UTC.
            end: Last time, included.

        Returns:
            The slice.

        Raises:
            BarsError: There is no bar in the span, or a symbol has none.
            TimeError: A time cannot be read.
        """
        first, last = to_ns(start), to_ns(end, last=True)
        low, high = np.searchsorted(self.ts_event, [first, last + 1])
        span = f"{show(first)} to {show(last)}"
        if low >= high:
            raise BarsError(
                f"bars.between: no bar from {span}; bars are from {show(int(self.ts_event[0]))} to"
                f" {show(int(self.ts_event[-1]))}"
            )
        part = self.rows(int(low), int(high))
        check_symbols(part.symbols, part.missing, span)
        return part

    def select(self, symbols: Sequence[str]) -> "Bars":
        """Only some symbols, in the order asked for; the time axis stays.

        Args:
            symbols: Unique symbols out of `self.symbols`.

        Returns:
            Bars of those symbols.

        Raises:
            BarsError: A symbol is unknown or given twice, or none is given.
        """
        unknown = [symbol for symbol in symbols if symbol not in self.symbols]
        if unknown or not symbols or len(set(symbols)) != len(symbols):
            raise BarsError(
                f"bars.select: expected different symbols out of {list(self.symbols)}, found"
                f" {list(symbols)}"
            )
        at = [self.symbols.index(symbol) for symbol in symbols]
        part = {name: getattr(self, name)[:, at] for name in ("missing", *FIELDS)}
        return _trusted(
            self,
            symbols=tuple(symbols),
            actions=self.actions.select(symbols),
            instruments=tuple(self.instruments[a] for a in at),
            **part,
        )

    def split_adjusted(self) -> "Bars":
        """Prices in the shares of the first bar, adjusted with splits known at each time only.

        Prices are multiplied and volumes divided by the product of all splits up to and on the
        bar, so a later split never touches an earlier value (unlike adjustment to today's
        shares). Dividends are scaled alike; the result has no splits left.

        Returns:
            Bars whose returns show no split.
        """
        factor_TA = np.cumprod(self.split_TA, axis=0)
        part = {name: getattr(self, name) * factor_TA for name in FIELDS[:4]}
        row_K, _ = self._action_rows
        actions = self.actions.take(row_K >= 0).split_adjusted()
        return _trusted(self, actions=actions, volume=self.volume / factor_TA, **part)

    def sha256(self) -> str:
        """SHA-256 of the contents in hexadecimal, the same on every machine.

        Hashed in this order: b"perennial.bars.v1" and a zero byte; each symbol in UTF-8 followed
        by a zero byte; T and A and ts_event as little-endian int64; open, high, low, close and
        volume as little-endian float64 in row order with one NaN pattern where missing; the mask
        as one byte each; the digest of the actions. Instruments and repairs are not part of it.
        """
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        sha = hashlib.sha256(b"perennial.bars.v1\0")
        for symbol in self.symbols:
            sha.update(symbol.encode() + b"\0")
        sha.update(np.array([self.num_bars, self.num_assets], "<i8").tobytes())
        sha.update(self.ts_event.astype("<i8").tobytes())
        for name in FIELDS:
            sha.update(np.ascontiguousarray(getattr(self, name), "<f8").tobytes())
        sha.update(np.ascontiguousarray(self.missing, np.uint8).tobytes())
        sha.update(self.actions.digest())
        return sha.hexdigest()

    def __eq__(self, other: object) -> bool:
        """Equal contents and instruments; how they were repaired does not count."""
        if not isinstance(other, Bars):
            return NotImplemented
        return self.instruments == other.instruments and self.sha256() == other.sha256()

    def __hash__(self) -> int:
        return hash(self.sha256())

    def __len__(self) -> int:
        return self.num_bars

    def __repr__(self) -> str:
        first, last = (show(int(t)) for t in self.ts_event[[0, -1]])
        return f"Bars({self.num_bars} x {list(self.symbols)}, {first} to {last}, {self.actions!r})"


def _freeze(bars: Bars, **arrays: NDArray[np.generic]) -> None:
    for name, array in arrays.items():
        array.flags.writeable = False
        object.__setattr__(bars, name, array)


def _trusted(bars: Bars, **changes: object) -> Bars:
    """A variant of validated bars, not validated again; new arrays become read-only."""
    new = object.__new__(Bars)
    for name in Bars.__dataclass_fields__:
        value = changes.get(name, getattr(bars, name))
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
        object.__setattr__(new, name, value)
    return new


def _check_structure(
    ts_event: NDArray[np.int64], symbols: tuple[str, ...], instruments: Sequence[Instrument]
) -> None:
    if ts_event.ndim != 1 or not len(ts_event):
        raise BarsError(f"bars: no data: expected ts_event of shape (T,), found {ts_event.shape}")
    if not symbols or len(set(symbols)) != len(symbols):
        raise BarsError(f"bars: expected different symbols, found {list(symbols)}")
    named = tuple(instrument.symbol for instrument in instruments)
    if named != symbols:
        raise BarsError(f"bars: expected instruments of {list(symbols)}, found {list(named)}")

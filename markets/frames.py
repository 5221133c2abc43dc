"""The users' door: pandas frames, long or wide, to records of bars and back."""

import contextlib
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from markets.calendars import NS_PER_DAY
from markets.instruments import Instrument
from markets.records import FIELDS, Records
from markets.validation import BarsError

TIME_NAMES = ("ts_event", "timestamp", "datetime", "date", "time")
SYMBOL_NAMES = ("symbol", "ticker")


def read_frame(
    frame: pd.DataFrame, instruments: Sequence[Instrument] | None, *, partial: bool
) -> Records:
    """Read a frame into records; values are not judged here.

    Long: columns open, high, low, close, volume (any case; others are ignored), a symbol column
    or index level (not needed for one instrument), and the time as a DatetimeIndex, an index
    level or a datetime column named like one of `TIME_NAMES`. Wide: two column levels, fields and
    symbols in either order, over a DatetimeIndex.

    Args:
        frame: The frame.
        instruments: Names the symbol of a frame without a symbol column, and says which prices
            are additive.
        partial: Times are instants, never dates: one bar of a stream may lie on midnight.

    Returns:
        Records in the order of the frame, symbols sorted by name.

    Raises:
        BarsError: The frame is empty, or has not this form.
    """
    if not isinstance(frame, pd.DataFrame):
        raise BarsError(f"bars: expected a pandas DataFrame, found {type(frame).__name__}")
    if not len(frame):
        raise BarsError("bars: no data: the frame has 0 rows")
    if frame.columns.nlevels > 2:
        raise BarsError(
            f"bars: expected one column level (long) or two (wide: field and symbol), found"
            f" {frame.columns.nlevels}"
        )
    read = _read_wide if frame.columns.nlevels == 2 else _read_long
    return read(frame, instruments, partial=partial)


def _additive(symbols: Sequence[str], instruments: Sequence[Instrument] | None) -> list[bool]:
    additive = {i.symbol for i in instruments or () if i.additive}
    return [symbol in additive for symbol in symbols]


def _read_wide(
    frame: pd.DataFrame, instruments: Sequence[Instrument] | None, *, partial: bool
) -> Records:
    field_level = _field_level(frame.columns)
    fields = [str(name).lower() for name in frame.columns.get_level_values(field_level)]
    names = [str(name) for name in frame.columns.get_level_values(1 - field_level)]
    place: dict[tuple[str, str], int] = {}
    for number, key in enumerate(zip(names, fields, strict=True)):
        if key[1] not in FIELDS:
            continue
        if key in place:
            raise BarsError(f"bars: column {key[1]} of {key[0]} is there twice")
        place[key] = number
    symbols = tuple(sorted({symbol for symbol, _ in place}))
    lacking = [f"{s}.{f}" for s in symbols for f in FIELDS if (s, f) not in place]
    if lacking:
        raise BarsError(f"bars: expected columns {FIELDS} for each symbol, not found: {lacking}")
    ts_event, dates = _times(frame.index, "index", partial=partial)
    columns = [[place[symbol, field] for symbol in symbols] for field in FIELDS]
    values = np.stack([_numbers(frame.iloc[:, c]) for c in columns])
    records = Records.of_grid(ts_event, symbols, values, _additive(symbols, instruments))
    return replace(records, dates=dates)


def _field_level(columns: "pd.Index[Any]") -> int:
    holds = [
        {str(name).lower() for name in columns.get_level_values(level)} >= set(FIELDS)
        for level in (0, 1)
    ]
    if sum(holds) != 1:
        raise BarsError(
            f"bars: expected the fields {FIELDS} in exactly one of the two column levels, found"
            f" them in {sum(holds)}; the columns begin {columns[:6].tolist()}"
        )
    return holds.index(True)


def _read_long(
    frame: pd.DataFrame, instruments: Sequence[Instrument] | None, *, partial: bool
) -> Records:
    flat = frame.reset_index() if frame.index.nlevels > 1 else frame
    names = _column_names(flat)
    lacking = [field for field in FIELDS if field not in names]
    if lacking:
        remedy = "; a market without volume is given volume=0.0" if lacking == ["volume"] else ""
        raise BarsError(
            f"bars: expected columns {FIELDS}, not found: {lacking} among"
            f" {[str(c) for c in frame.columns][:12]}{remedy}"
        )
    code, symbols = _symbols(flat, names, instruments)
    if isinstance(flat.index, pd.DatetimeIndex):
        ts_event, dates = _times(flat.index, "index", partial=partial)
    else:
        column = next((names[name] for name in TIME_NAMES if name in names), None)
        if column is None:
            raise BarsError(
                f"bars: expected a DatetimeIndex or a datetime column named one of {TIME_NAMES},"
                f" found index {type(flat.index).__name__} and columns"
                f" {[str(c) for c in frame.columns][:12]}"
            )
        ts_event, dates = _times(flat[column], f"column {column!r}", partial=partial)
    return Records(
        ts_event=ts_event,
        row=np.arange(len(flat)),
        code=code,
        symbols=symbols,
        values=np.ascontiguousarray(_numbers(flat[[names[f] for f in FIELDS]]).T),
        additive_A=np.array(_additive(symbols, instruments), bool),
        dates=dates,
    )


def _column_names(frame: pd.DataFrame) -> dict[str, Hashable]:
    """Column of each known lower-case name."""
    names: dict[str, Hashable] = {}
    for column in frame.columns:
        name = str(column).strip().lower()
        if name not in (*FIELDS, *TIME_NAMES, *SYMBOL_NAMES):
            continue
        if name in names:
            raise BarsError(f"bars: two columns are named {name}: {names[name]!r} and {column!r}")
        names[name] = column
    return names


def _symbols(
    frame: pd.DataFrame,
    names: dict[str, Hashable],
    instruments: Sequence[Instrument] | None,
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    column = next((names[name] for name in SYMBOL_NAMES if name in names), None)
    if column is None:
        if instruments is None or len(instruments) != 1:
            raise BarsError(
                f"bars: expected a column or index level named one of {SYMBOL_NAMES}, found none;"
                " a frame of one symbol is named by instruments=[Instrument('SPY')]"
            )
        return np.zeros(len(frame), np.int64), (instruments[0].symbol,)
    code, unique = pd.factorize(frame[column])
    if (code < 0).any():
        raise BarsError(f"bars: row {int(np.argmax(code < 0))}: {column} is empty")
    found = [str(symbol) for symbol in unique]
    symbols = tuple(sorted(set(found)))
    place = {symbol: number for number, symbol in enumerate(symbols)}
    return np.array([place[symbol] for symbol in found], np.int64)[code], symbols


def _times(
    times: "pd.Index[Any] | pd.Series[Any]", where: str, *, partial: bool
) -> tuple[NDArray[np.int64], bool]:
    """Times in ns UTC, and whether they are dates (then midnight UTC, whatever the zone)."""
    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        raise BarsError(
            f"bars: {where}: expected times (datetime64, naive means UTC), found"
            f" {times.dtype}, for example {times[:1].tolist()}; convert it with pd.to_datetime and"
            " an explicit format=, since guessed formats swap day and month"
        )
    index = pd.DatetimeIndex(times.array)
    try:
        utc = (index if index.tz is None else index.tz_convert("UTC")).as_unit("ns").asi8
        if partial or (index.tz is not None and str(index.tz) == "UTC"):
            return utc, False
        wall = index.tz_localize(None).as_unit("ns").asi8
    except pd.errors.OutOfBoundsDatetime as error:
        raise BarsError(f"bars: {where}: outside the years 1678 to 2262: {error}") from error
    dates = bool((wall[index.notna()] % NS_PER_DAY == 0).all())
    return (wall if dates else utc), dates


def _numbers(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Values as float64, shape of the frame; a text that is no number is named."""
    with contextlib.suppress(ValueError, TypeError):
        return np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan))
    for column in frame.columns:
        read = pd.to_numeric(frame[column], errors="coerce")
        bad = np.flatnonzero(read.isna() & frame[column].notna())
        if len(bad):
            raise BarsError(
                f"bars: row {bad[0]} {column}: expected a number, found"
                f" {frame[column].iloc[bad[0]]!r} ({len(bad)} such in this column)"
            )
    return np.asarray(frame.apply(pd.to_numeric).to_numpy(dtype=np.float64, na_value=np.nan))


def write_long(
    ts_event: NDArray[np.int64], symbols: Sequence[str], values: NDArray[np.float64]
) -> pd.DataFrame:
    """Long frame: index ts_event (UTC), columns symbol and FIELDS, ordered by time, then symbol.

    Args:
        ts_event: ns UTC, shape (T,).
        symbols: Length A.
        values: FIELDS, shape (5, T, A); a missing bar is written as a row of NaN.

    Returns:
        T * A rows.
    """
    index = pd.DatetimeIndex(np.repeat(ts_event, len(symbols)), tz="UTC", name="ts_event")
    columns: dict[str, Any] = {"symbol": pd.array(list(symbols) * len(ts_event), dtype="str")}
    columns |= {field: values[i].reshape(-1) for i, field in enumerate(FIELDS)}
    return pd.DataFrame(columns, index=index)


def write_wide(
    ts_event: NDArray[np.int64], symbols: Sequence[str], values: NDArray[np.float64]
) -> pd.DataFrame:
    """Wide frame: index ts_event (UTC), column levels field and symbol; NaN where missing.

    Args:
        ts_event: ns UTC, shape (T,).
        symbols: Length A.
        values: FIELDS, shape (5, T, A).

    Returns:
        T rows, 5 * A columns.
    """
    index = pd.DatetimeIndex(ts_event, tz="UTC", name="ts_event")
    columns = pd.MultiIndex.from_product([FIELDS, symbols], names=["field", "symbol"])
    return pd.DataFrame(np.hstack(list(values)), index=index, columns=columns)

"""The two shapes of a price file, and the way from either to one bar a row.

long:  date, symbol, open, high, low, close, volume       a row is one symbol's bar
wide:  date, AAPL_open, AAPL_high, ..., MSFT_open, ...    a row is all symbols at one time
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass as config_dataclass

from markets.sources.protocol import DataFileError
from markets.sources.tables import Table, read_table, symbol_of, to_numbers
from markets.sources.timestamps import TimestampConfig, parse_timestamps

__all__ = ["Columns", "FileRows", "LongLayout", "ReadSpec", "WideLayout", "read_rows"]

FIELDS = ("open", "high", "low", "close", "volume")
_USUAL: Mapping[str, tuple[str, ...]] = {
    "timestamp": ("timestamp", "ts", "ts_event", "datetime", "date", "time"),
    "symbol": ("symbol", "ticker", "instrument", "code"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c", "last"),
    "volume": ("volume", "vol", "v"),
    "adj_close": ("adj_close", "adj close", "adjclose", "adjusted_close"),
}

ColumnNames = str | tuple[str, ...]
"""A column, or several whose mean is taken: the mid of bid and ask."""


@config_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Columns:
    """Names of a file's columns; None finds a column by its usual names.

    Several names stand for the mean of their columns: ``close: [bid_close, ask_close]`` is the mid.
    """

    timestamp: str | None = None
    """Time or date of the bar."""
    symbol: str | None = None
    """Symbol (long files); without such a column the file's name is the symbol."""
    open: ColumnNames | None = None
    """Opening price."""
    high: ColumnNames | None = None
    """Highest price."""
    low: ColumnNames | None = None
    """Lowest price."""
    close: ColumnNames | None = None
    """Closing price."""
    volume: ColumnNames | None = None
    """Volume in shares (see also ``scale``)."""


@config_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LongLayout:
    """A row is one symbol's bar."""

    kind: Literal["long"] = "long"
    """Discriminator."""
    symbol: str | None = None
    """Symbol of files that have no column for it; None: the file's name without its suffix."""


@config_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class WideLayout:
    """A row is all symbols at one time."""

    kind: Literal["wide"] = "wide"
    """Discriminator."""
    template: str = "{symbol}_{field}"
    """Form of the column names with one header row."""
    header_rows: Literal[1, 2] = 1
    """2: one row names the fields and one the symbols, in either order (as pandas writes them)."""

    @model_validator(mode="after")
    def _complete(self) -> "WideLayout":
        if any(self.template.count(part) != 1 for part in ("{symbol}", "{field}")):
            raise ValueError(
                f"template: expected {{symbol}} and {{field}} once each, found {self.template!r}"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class ReadSpec:
    """How to read a file.

    Attributes:
        layout: Long or wide.
        columns: Names of the columns.
        timestamps: How times are written.
        extra: Further columns by the name they get, such as ``{"adj_close": "Adj Close"}``.
        volume: Volume of every bar where the file has none.
        scale: Factors by field.
        delimiter: Of CSV files.
        decimal: Decimal mark of CSV files.
        lenient: Read cells that are no numbers as empty ones, because a repair will see to them.
    """

    layout: LongLayout | WideLayout
    columns: Columns
    timestamps: TimestampConfig
    extra: Mapping[str, str]
    volume: float | None
    scale: Mapping[str, float]
    delimiter: str
    decimal: str
    lenient: bool


@dataclass(frozen=True)
class FileRows:
    """The bars of one file, one a row.

    Attributes:
        path: The file.
        frame: Columns ts (int64 ns UTC), symbol, OHLCV and the extra ones.
        row: Row number in the file, shape (N,).
        daily: Whether ts are dates of sessions.
        notes: For the manifest.
    """

    path: Path
    frame: pd.DataFrame
    row: NDArray[np.int64]
    daily: bool
    notes: tuple[str, ...]


def read_rows(path: Path, spec: ReadSpec) -> FileRows:
    """Read one file into one bar a row.

    Args:
        path: CSV or Parquet file.
        spec: How to read it.

    Returns:
        Its bars.

    Raises:
        DataFileError: Unreadable, a column that is not there, or a cell that is no time or number.
    """
    if isinstance(spec.layout, WideLayout):
        table = read_table(path, delimiter=spec.delimiter, header_rows=spec.layout.header_rows)
        return _wide(table, spec, spec.layout)
    return _long(read_table(path, delimiter=spec.delimiter), spec, spec.layout)


def _names(given: ColumnNames | None) -> tuple[str, ...] | None:
    return (given,) if isinstance(given, str) else given


def _find(table: Table, role: str, given: str | None, *, needed: bool) -> str | None:
    """Return the name of a column by its given or by its usual names."""
    present = [str(name) for name in table.frame.columns]
    if given is not None:
        if given in present:
            return given
        raise _no_column(table.path, role, repr(given), present)
    lower = {name.strip().lower(): name for name in reversed(present)}
    for usual in _USUAL.get(role, (role,)):
        if usual in lower:
            return lower[usual]
    if needed:
        raise _no_column(table.path, role, f"one of {list(_USUAL.get(role, (role,)))}", present)
    return None


def _no_column(path: Path, role: str, expected: str, present: Sequence[str]) -> DataFileError:
    shown = [*present[:12], "..."] if len(present) > 12 else list(present)
    hint = (
        "set volume: to a number to give every bar one"
        if role == "volume"
        else f"name it with columns: {{{role}: ...}}"
    )
    return DataFileError(
        f"{path}: {role}: expected the column {expected}, found the columns {shown}; {hint}"
    )


def _numbers(table: Table, columns: Sequence[object], spec: ReadSpec) -> NDArray[np.float64]:
    """Return a column, or the mean of several (NaN where one of them is)."""
    values = [
        to_numbers(table, name, decimal=spec.decimal, lenient=spec.lenient).to_numpy()
        for name in columns
    ]
    return values[0] if len(values) == 1 else np.mean(values, axis=0)


def _values(
    table: Table, spec: ReadSpec, column_of: Mapping[str, Sequence[object]]
) -> dict[str, NDArray[np.float64]]:
    """Return the fields of one symbol: read, scaled, and volume filled in where there is none."""
    fields = {
        field: _numbers(table, names, spec) * spec.scale.get(field, 1.0)
        for field, names in column_of.items()
    }
    if "volume" not in fields and spec.volume is not None:
        fields["volume"] = np.where(np.isnan(fields["close"]), np.nan, spec.volume)
    return fields


def _notes(spec: ReadSpec, *, volume_given: bool) -> tuple[str, ...]:
    notes = [f"{field} multiplied by {factor:g}" for field, factor in spec.scale.items()]
    notes += [
        f"{field} is the mean of {', '.join(names)}"
        for field in FIELDS
        if (names := _names(getattr(spec.columns, field))) is not None and len(names) > 1
    ]
    if not volume_given and spec.volume is not None:
        notes.append(f"the file has no volume: {spec.volume:g} for every bar")
    return tuple(notes)


def _long(table: Table, spec: ReadSpec, layout: LongLayout) -> FileRows:
    time_column = _find(table, "timestamp", spec.columns.timestamp, needed=True)
    symbol_column = _find(table, "symbol", spec.columns.symbol, needed=False)
    column_of: dict[str, list[str]] = {}
    for field in FIELDS:
        given = _names(getattr(spec.columns, field)) or (None,)
        needed = field != "volume" or spec.volume is None
        found = [_find(table, field, name, needed=needed) for name in given]
        if None not in found:
            column_of[field] = [str(name) for name in found]
    for name, column in spec.extra.items():
        column_of[name] = [str(_find(table, name, column, needed=True))]
    times = parse_timestamps(table, time_column, spec.timestamps)
    frame = pd.DataFrame({"ts": times.ts, **_values(table, spec, column_of)})
    frame.insert(1, "symbol", _symbols(table, symbol_column, layout))
    return FileRows(
        path=table.path,
        frame=frame,
        row=table.first_row + np.arange(len(frame)),
        daily=times.daily,
        notes=_notes(spec, volume_given="volume" in column_of),
    )


def _symbols(table: Table, column: str | None, layout: LongLayout) -> pd.Series:
    if column is None:
        symbol = layout.symbol or symbol_of(table.path)
        return pd.Series([symbol] * len(table.frame), dtype="str")
    symbols = table.frame[column].astype("str").str.strip()
    unnamed = (table.frame[column].isna() | (symbols == "")).to_numpy()
    if unnamed.any():
        index = int(np.flatnonzero(unnamed)[0])
        raise table.fault(index, column, "a symbol", table.frame[column].iloc[index])
    return symbols


def _wide(table: Table, spec: ReadSpec, layout: WideLayout) -> FileRows:
    table = _without_index_names(table)
    if table.frame.columns.nlevels == 2:
        time_column: object = table.frame.columns[0]
        found = _pairs_of_headers(table, spec)
    else:
        time_column = _find(table, "timestamp", spec.columns.timestamp, needed=True)
        found = _pairs_of_names(table, spec, layout, str(time_column))
    times = parse_timestamps(table, time_column, spec.timestamps)
    symbols = list(dict.fromkeys(symbol for symbol, _ in found))
    frames = []
    for symbol in symbols:
        column_of = {
            field: [_wide_column(table, found, symbol, name) for name in names]
            for field, names in _wanted(spec, found, symbol).items()
        }
        frame = pd.DataFrame({"ts": times.ts, **_values(table, spec, column_of)})
        frame.insert(1, "symbol", pd.Series([symbol] * len(frame), dtype="str"))
        frames.append(frame)
    return FileRows(
        path=table.path,
        frame=pd.concat(frames, ignore_index=True),
        row=np.tile(table.first_row + np.arange(len(table.frame)), len(symbols)),
        daily=times.daily,
        notes=_notes(spec, volume_given=spec.volume is None),
    )


def _field_names(spec: ReadSpec) -> dict[str, tuple[str, ...]]:
    """Return the names that each field may have in the file; given ones take precedence."""
    names = {field: _names(getattr(spec.columns, field)) or _USUAL[field] for field in FIELDS}
    return {**names, **{name: (column,) for name, column in spec.extra.items()}}


def _wanted(
    spec: ReadSpec, found: Mapping[tuple[str, str], object], symbol: str
) -> dict[str, tuple[str, ...]]:
    """Return for each field of a symbol the names to read: all given ones, or one usual one."""
    wanted = {}
    for field, names in _field_names(spec).items():
        given = field in spec.extra or getattr(spec.columns, field) is not None
        present = [name for name in names if (symbol, name.lower()) in found]
        if field == "volume" and not present and spec.volume is not None:
            continue
        wanted[field] = names if given or not present else (present[0],)
    return wanted


def _wide_column(
    table: Table, found: Mapping[tuple[str, str], object], symbol: str, name: str
) -> object:
    try:
        return found[symbol, name.lower()]
    except KeyError:
        fields = sorted(field for owner, field in found if owner == symbol)
        raise DataFileError(
            f"{table.path}: {symbol}: expected a column for {name!r}, found those for {fields};"
            " name the fields with columns:"
        ) from None


def _pairs_of_names(
    table: Table, spec: ReadSpec, layout: WideLayout, time_column: str
) -> dict[tuple[str, str], object]:
    """Return the column of each (symbol, field) by the template."""
    fields = sorted({n for names in _field_names(spec).values() for n in names}, key=len)[::-1]
    expression = re.escape(layout.template).replace(r"\{symbol\}", "(?P<symbol>.+)")
    expression = expression.replace(r"\{field\}", f"(?P<field>{'|'.join(map(re.escape, fields))})")
    found: dict[tuple[str, str], object] = {}
    for column in table.frame.columns:
        match = re.fullmatch(expression, str(column).strip(), re.IGNORECASE)
        if match and column != time_column:
            found[match["symbol"], match["field"].lower()] = column
    if not found:
        raise DataFileError(
            f"{table.path}: expected columns named like {layout.template!r}, found"
            f" {[str(name) for name in table.frame.columns[:12]]}"
        )
    return found


def _pairs_of_headers(table: Table, spec: ReadSpec) -> dict[tuple[str, str], object]:
    """Return the column of each (symbol, field) by two header rows, in either order."""
    known = {name.lower() for names in _field_names(spec).values() for name in names}
    names = table.frame.columns[1:]
    pairs = [(str(name[0]).strip(), str(name[1]).strip()) for name in names]
    for place in (0, 1):
        if any(pair[place].lower() in known for pair in pairs):
            return {
                (pair[1 - place], pair[place].lower()): column
                for pair, column in zip(pairs, names, strict=True)
            }
    raise DataFileError(
        f"{table.path}: expected a header row with fields such as open and close, found {pairs[:4]}"
    )


def _without_index_names(table: Table) -> Table:
    """Drop the row that pandas writes below two header rows: the index's name, then nothing."""
    frame = table.frame
    if frame.columns.nlevels != 2 or frame.empty or pd.api.types.is_numeric_dtype(frame.iloc[:, 1]):
        return table
    first = frame.iloc[0]
    if not first.iloc[1:].astype("str").str.strip().eq("").all() or re.search(
        r"\d", str(first.iloc[0])
    ):
        return table
    return Table(table.path, frame.iloc[1:].reset_index(drop=True), table.first_row + 1)

"""The two shapes of a price file, and the names of its columns.

long:  date, symbol, open, high, low, close, volume       a row is one symbol's bar
wide:  date, AAPL_open, AAPL_high, ..., MSFT_open, ...    a row is all symbols at one time
"""

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
from markets.sources.tables import Table, to_numbers
from markets.sources.timestamps import TimestampConfig

__all__ = [
    "FIELDS",
    "USUAL_NAMES",
    "Columns",
    "FileRows",
    "LongLayout",
    "ReadSpec",
    "WideLayout",
    "find_column",
    "names_of",
    "notes_of",
    "values_of",
]

FIELDS = ("open", "high", "low", "close", "volume")
USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
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


def names_of(given: ColumnNames | None) -> tuple[str, ...] | None:
    """Return the given names of a field as a tuple, or None if none are given."""
    return (given,) if isinstance(given, str) else given


def find_column(table: Table, role: str, given: str | None, *, needed: bool) -> str | None:
    """Return the name of a column by its given or by its usual names.

    Args:
        table: The table.
        role: What the column is for, such as "close".
        given: Its name, if the configuration names it.
        needed: Whether it must be there.

    Returns:
        The name as the table writes it, or None.

    Raises:
        DataFileError: A given or needed column is not there.
    """
    present = [str(name) for name in table.frame.columns]
    if given is not None:
        if given in present:
            return given
        raise _no_column(table.path, role, repr(given), present)
    usual_names = USUAL_NAMES.get(role, (role,))
    lower = {name.strip().lower(): name for name in reversed(present)}
    for usual in usual_names:
        if usual in lower:
            return lower[usual]
    if needed:
        raise _no_column(table.path, role, f"one of {list(usual_names)}", present)
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


def values_of(
    table: Table, spec: ReadSpec, column_of: Mapping[str, Sequence[object]]
) -> dict[str, NDArray[np.float64]]:
    """Return the fields of one symbol: read, scaled, and volume filled in where there is none.

    Args:
        table: The table.
        spec: How to read it.
        column_of: Columns of each field; the mean of several is taken.

    Returns:
        float64 values by field, on the table's rows.

    Raises:
        DataFileError: A cell is not a number.
    """
    fields = {
        field: _numbers(table, names, spec) * spec.scale.get(field, 1.0)
        for field, names in column_of.items()
    }
    if "volume" not in fields and spec.volume is not None:
        fields["volume"] = np.where(np.isnan(fields["close"]), np.nan, spec.volume)
    return fields


def notes_of(spec: ReadSpec, *, volume_given: bool) -> tuple[str, ...]:
    """Return what a manifest should say about the reading of a file."""
    notes = [f"{field} multiplied by {factor:g}" for field, factor in spec.scale.items()]
    notes += [
        f"{field} is the mean of {', '.join(names)}"
        for field in FIELDS
        if (names := names_of(getattr(spec.columns, field))) is not None and len(names) > 1
    ]
    if not volume_given and spec.volume is not None:
        notes.append(f"the file has no volume: {spec.volume:g} for every bar")
    return tuple(notes)

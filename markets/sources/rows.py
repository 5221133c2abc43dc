"""From one price file of either shape to one bar a row."""

from pathlib import Path

import numpy as np
import pandas as pd

from markets.sources.layouts import (
    FIELDS,
    FileRows,
    LongLayout,
    ReadSpec,
    WideLayout,
    find_column,
    names_of,
    notes_of,
    values_of,
)
from markets.sources.tables import Table, read_table, symbol_of
from markets.sources.timestamps import parse_timestamps
from markets.sources.wide import read_wide

__all__ = ["read_rows"]


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
        return read_wide(table, spec, spec.layout)
    return _long(read_table(path, delimiter=spec.delimiter), spec, spec.layout)


def _long(table: Table, spec: ReadSpec, layout: LongLayout) -> FileRows:
    time_column = find_column(table, "timestamp", spec.columns.timestamp, needed=True)
    symbol_column = find_column(table, "symbol", spec.columns.symbol, needed=False)
    column_of: dict[str, list[str]] = {}
    for field in FIELDS:
        given = names_of(getattr(spec.columns, field)) or (None,)
        needed = field != "volume" or spec.volume is None
        found = [find_column(table, field, name, needed=needed) for name in given]
        if None not in found:
            column_of[field] = [str(name) for name in found]
    for name, column in spec.extra.items():
        column_of[name] = [str(find_column(table, name, column, needed=True))]
    times = parse_timestamps(table, time_column, spec.timestamps)
    frame = pd.DataFrame({"ts": times.ts, **values_of(table, spec, column_of)})
    frame.insert(1, "symbol", _symbols(table, symbol_column, layout))
    return FileRows(
        path=table.path,
        frame=frame,
        row=table.first_row + np.arange(len(frame)),
        daily=times.daily,
        notes=notes_of(spec, volume_given="volume" in column_of),
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

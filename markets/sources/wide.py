"""Wide price files: all symbols in a row, named by a template or by two header rows."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from markets.sources.layouts import (
    FIELDS,
    USUAL_NAMES,
    FileRows,
    ReadSpec,
    WideLayout,
    find_column,
    names_of,
    notes_of,
    values_of,
)
from markets.sources.protocol import DataFileError
from markets.sources.tables import Table
from markets.sources.timestamps import parse_timestamps

__all__ = ["read_wide"]


def read_wide(table: Table, spec: ReadSpec, layout: WideLayout) -> FileRows:
    """Turn a table with all symbols in a row into one bar a row.

    Args:
        table: The table.
        spec: How to read it.
        layout: How its columns are named.

    Returns:
        The bars, symbol by symbol in the order of the columns.

    Raises:
        DataFileError: A column that is not there, or a cell that is no time or number.
    """
    table = _without_index_names(table)
    if table.frame.columns.nlevels == 2:
        time_column: object = table.frame.columns[0]
        found = _pairs_of_headers(table, spec)
    else:
        time_column = find_column(table, "timestamp", spec.columns.timestamp, needed=True)
        found = _pairs_of_names(table, spec, layout, str(time_column))
    times = parse_timestamps(table, time_column, spec.timestamps)
    symbols = list(dict.fromkeys(symbol for symbol, _ in found))
    frames = []
    for symbol in symbols:
        column_of = {
            field: [_wide_column(table, found, symbol, name) for name in names]
            for field, names in _wanted(spec, found, symbol).items()
        }
        frame = pd.DataFrame({"ts": times.ts, **values_of(table, spec, column_of)})
        frame.insert(1, "symbol", pd.Series([symbol] * len(frame), dtype="str"))
        frames.append(frame)
    return FileRows(
        path=table.path,
        frame=pd.concat(frames, ignore_index=True),
        row=np.tile(table.first_row + np.arange(len(table.frame)), len(symbols)),
        daily=times.daily,
        notes=notes_of(spec, volume_given=spec.volume is None),
    )


def _field_names(spec: ReadSpec) -> dict[str, tuple[str, ...]]:
    """Return the names that each field may have in the file; given ones take precedence."""
    names = {
        field: names_of(getattr(spec.columns, field)) or USUAL_NAMES[field] for field in FIELDS
    }
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

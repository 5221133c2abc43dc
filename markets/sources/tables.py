"""Reading CSV and Parquet files into frames that remember the file and the row of every value.

Nothing is guessed about the values: a symbol stays text ("00700", "TRUE", "NA"), a number that
cannot be read is an error that names file, row and column, and an empty cell is NaN. Rows are
counted as an editor counts lines: the header of a CSV file is row 1. A Parquet file has no header
row, its first row is row 1.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from markets.sources.protocol import DataFileError

__all__ = [
    "SUFFIXES",
    "Table",
    "data_files",
    "read_header",
    "read_table",
    "symbol_of",
    "to_numbers",
]

SUFFIXES = (".csv", ".csv.gz", ".txt", ".txt.gz", ".parquet", ".pq")
_EMPTY = ("", "NaN", "nan", "NA", "N/A", "null", "NULL", "None", "-")


@dataclass(frozen=True)
class Table:
    """A file's columns as they are: text from CSV, typed from Parquet.

    Attributes:
        path: The file.
        frame: Its columns; the index counts rows from zero.
        first_row: Row number of the frame's first row, as an editor shows it.
    """

    path: Path
    frame: pd.DataFrame
    first_row: int

    def fault(self, index: int, column: str, expected: str, found: object) -> DataFileError:
        """Return the error for one cell: file, row, column, expected, found."""
        row = self.first_row + index
        return DataFileError(
            f"{self.path}: row {row}, column {column!r}: expected {expected}, found {found!r}"
        )


def data_files(path: Path, pattern: str = "*") -> list[Path]:
    """Return the data files that a path names, in the order of their names.

    Args:
        path: A file, or a folder.
        pattern: Glob within a folder.

    Returns:
        The file itself, or the folder's CSV and Parquet files that match.

    Raises:
        DataFileError: The path does not exist, or the folder holds no such file.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataFileError(f"{path}: expected a file or a folder, found nothing")
    files = sorted(p for p in path.glob(pattern) if p.is_file() and p.name.endswith(SUFFIXES))
    if not files:
        raise DataFileError(
            f"{path}: expected files named {pattern!r} that end with one of {', '.join(SUFFIXES)},"
            f" found {sorted(p.name for p in path.iterdir())[:8]}"
        )
    return files


def symbol_of(path: Path) -> str:
    """Return the symbol that a file's name stands for: its name without the suffixes."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.stem


def is_parquet(path: Path) -> bool:
    """Return whether a file's name says that it is Parquet."""
    return path.suffix in {".parquet", ".pq"}


def _text(path: Path) -> str:
    """Return a CSV file's text: gzip by its first bytes, UTF-8 with or without byte-order mark."""
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataFileError(f"{path}: expected a readable file, found: {error}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFileError(
            f"{path}: expected UTF-8 text, found byte {raw[error.start]:#04x} at {error.start}"
        ) from error
    if not text.strip():
        raise DataFileError(f"{path}: expected a header and rows, found an empty file")
    return text.rstrip("\r\n") + "\n"


def _check_header(path: Path, header: Sequence[str], delimiter: str) -> None:
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise DataFileError(f"{path}: expected different column names, found twice: {doubled}")
    if len(header) == 1 and delimiter not in header[0]:
        other = next((mark for mark in ";\t|," if mark in header[0]), None)
        if other is not None:
            raise DataFileError(
                f"{path}: expected columns separated by {delimiter!r}, found {header[0]!r};"
                f" set delimiter: {other!r}"
            )


def _rows(path: Path, text: str, delimiter: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise DataFileError(f"{path}: expected well-formed CSV, found: {error}") from error


def read_header(path: Path, delimiter: str = ",") -> list[str]:
    """Return a file's column names without reading its rows into a frame."""
    if is_parquet(path):
        return list(_parquet_schema(path).names)
    return next(_rows(path, _text(path), delimiter))


def _parquet_schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise DataFileError(f"{path}: expected a Parquet file, found: {error}") from error


def read_table(path: Path, *, delimiter: str = ",", header_rows: int = 1) -> Table:
    """Read a whole file.

    Args:
        path: CSV (plain or gzip) or Parquet file.
        delimiter: What separates the columns of a CSV file.
        header_rows: 1, or 2 for a wide file whose columns have a field and a symbol.

    Returns:
        The table; with two header rows its columns are a MultiIndex.

    Raises:
        DataFileError: Unreadable, truncated, not UTF-8, empty, or a row with too many or few cells.
    """
    if is_parquet(path):
        return _read_parquet(path)
    text = _text(path)
    lines = _rows(path, text, delimiter)
    headers = [next(lines, []) for _ in range(header_rows)]
    if header_rows == 1:
        _check_header(path, headers[0], delimiter)
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=delimiter,
            header=None,
            skiprows=header_rows,
            names=range(len(headers[0])),
            dtype=str,
            keep_default_na=False,
            index_col=False,
            skip_blank_lines=False,
            on_bad_lines="error",
        )
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame(columns=range(len(headers[0])), dtype=str)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise DataFileError(f"{path}: expected {len(headers[0])} cells a row: {error}") from error
    _check_width(path, frame, lines, header_rows + 1)
    frame.columns = (
        pd.Index(headers[0]) if header_rows == 1 else pd.MultiIndex.from_arrays(_filled(headers))
    )
    return Table(path, frame, header_rows + 1)


def _filled(headers: list[list[str]]) -> list[list[str]]:
    """Repeat a spanning cell of the upper header to its right, as spreadsheets write them."""
    upper: list[str] = []
    for cell in headers[0]:
        upper.append(cell or (upper[-1] if upper else ""))
    return [upper, [*headers[1], *[""] * (len(upper) - len(headers[1]))][: len(upper)]]


def _check_width(path: Path, frame: pd.DataFrame, lines: Iterator[list[str]], row: int) -> None:
    """Refuse a row with too few cells, which pandas fills with empty ones.

    Args:
        path: The file.
        frame: What pandas read.
        lines: The same rows, split into cells.
        row: Number of the first of them.
    """
    if not len(frame) or not (frame.iloc[:, -1] == "").any():
        return
    width = frame.shape[1]
    for number, cells in enumerate(lines, start=row):
        if len(cells) != width:
            raise DataFileError(
                f"{path}: row {number}: expected {width} cells, found {len(cells)} (a truncated"
                " file?)"
            )


def _read_parquet(path: Path) -> Table:
    _parquet_schema(path)
    try:
        frame = pd.read_parquet(path)
    except (OSError, pa.ArrowException) as error:
        raise DataFileError(f"{path}: expected a readable Parquet file: {error}") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    return Table(path, frame.reset_index(drop=True), 1)


def to_numbers(
    table: Table, column: object, *, decimal: str = ".", lenient: bool = False
) -> pd.Series:
    """Return a column as float64, empty cells as NaN.

    Args:
        table: The table.
        column: Name of its column (a pair for two header rows).
        decimal: Decimal mark of a CSV file.
        lenient: Read a cell that is not a number as an empty one, for a repair to find.

    Returns:
        The values, float64, on the table's rows.

    Raises:
        DataFileError: A cell is not a number, and `lenient` is not set.
    """
    raw = table.frame[column]
    if not (pd.api.types.is_object_dtype(raw) or pd.api.types.is_string_dtype(raw)):
        return raw.astype("float64")
    plain = raw if decimal == "." else raw.str.replace(decimal, ".", regex=False)
    values = pd.to_numeric(plain, errors="coerce").astype("float64")
    blank = values.isna().to_numpy()
    unread = blank.copy()
    unread[blank] = ~(raw[blank].isna() | raw[blank].astype("str").str.strip().isin(_EMPTY))
    if unread.any() and not lenient:
        index = int(np.flatnonzero(unread)[0])
        raise table.fault(index, str(column), "a number", raw.iloc[index])
    return values

"""A series in a file of the user's: rows become publications, in order and each once."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from markets.calendars import NS_PER_DAY
from markets.sources.protocol import DataFileError
from markets.sources.publication import Lag, Publications, clock_of_day, to_utc
from markets.sources.tables import Table, read_table, to_numbers
from markets.sources.timestamps import TimestampConfig, parse_timestamps
from markets.times import show

__all__ = ["FileSeriesConfig"]

_NO_TIME = np.iinfo(np.int64).min
_FRED_EMPTY = "."


def _readable_lag(text: str | None) -> str | None:
    if text is not None:
        Lag.parse(text)
    return text


def _readable_clock(text: str | None) -> str | None:
    if text is not None:
        clock_of_day(text)
    return text


def _readable_zone(name: str) -> str:
    return TimestampConfig(timezone=name).timezone


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FileSeriesConfig:
    """A series in a CSV or Parquet file of your own; one row for each publication."""

    kind: Literal["file"] = "file"
    """Discriminator."""
    path: str
    """The file."""
    value: str
    """Column of the values."""
    minus: str | None = None
    """Column that is subtracted from it, as for a yield curve's slope (10 years less 2 years)."""
    time: str = "date"
    """Column of the time or date to which a value belongs."""
    publication: str | None = None
    """Column of the time or date at which it was published; this or ``lag``."""
    lag: Annotated[str | None, AfterValidator(_readable_lag)] = None
    """From that time to its publication: "0D", "1D", "2B" (business days), "1M 7D" and so on."""
    at: Annotated[str | None, AfterValidator(_readable_clock)] = None
    """Time of day that a date without one stands for, such as "16:15"; None: the day's end."""
    timezone: Annotated[str, AfterValidator(_readable_zone)] = "UTC"
    """IANA name of the zone of dates, of times without an offset, and of a lag's days."""
    format: str | None = None
    """strptime format such as "%m/%d/%Y"; None: ISO 8601."""
    sort: bool = False
    """Whether rows out of order are sorted; otherwise they are refused."""
    duplicates: Literal["error", "first", "last"] = "error"
    """Rows that repeat an observation and its publication: refuse, or keep one."""
    revisions: Literal["publish", "ignore"] = "publish"
    """A value published later for an earlier observation: the last one from then on, or none."""
    empty: Literal["error", "drop"] = "error"
    """Rows without a value ("", "NA", FRED's "."): refuse, or leave out."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """What separates the columns of a CSV file."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of a CSV file."""
    unit: str = ""
    """Unit of the values, for people."""

    @model_validator(mode="after")
    def _one_rule(self) -> "FileSeriesConfig":
        if (self.publication is None) == (self.lag is None):
            found = "neither" if self.lag is None else "both"
            raise ValueError(
                "expected either publication (a column with the time at which a value was "
                f"published) or lag (such as '1D' after its observation), found {found}"
            )
        return self

    def read(self) -> Publications:
        """Read the file.

        Raises:
            DataFileError: it is not there, lacks a column, or has a cell that cannot be read, rows
                out of order, repeated or empty; names row and column.
        """
        table = read_table(Path(self.path), delimiter=self.delimiter)
        columns = [self.value, self.time, *filter(None, (self.minus, self.publication))]
        if absent := [name for name in columns if name not in table.frame.columns]:
            raise DataFileError(
                f"{self.path}: expected the columns {columns}, found no {absent[0]!r} among "
                f"{list(table.frame.columns)}"
            )
        rows = _Rows(table, self)
        values_n = rows.values(self.value)
        if self.minus is not None:
            values_n = values_n - rows.values(self.minus)
        kept = rows.kept(values_n)
        return Publications(
            name=self.value if self.minus is None else f"{self.value}-{self.minus}",
            ts_published=rows.published_n[kept],
            values=values_n[kept],
            unit=self.unit,
            source=self.path,
            licence="",
            notes=(self._rule(),),
        )

    def _rule(self) -> str:
        if self.publication is not None:
            return f"published at the time in column {self.publication!r} ({self.timezone})"
        return f"published {self.lag} after the time in column {self.time!r} ({self.timezone})"


class _Rows:
    """The rows of a file with the times of observation and publication of each, ns UTC."""

    def __init__(self, table: Table, config: FileSeriesConfig) -> None:
        self._table = table
        self._config = config
        self.observed_n = self._times(config.time, None)
        lag = None if config.lag is None else Lag.parse(config.lag)
        self.published_n = self._times(config.publication or config.time, lag)

    def values(self, column: str) -> NDArray[np.float64]:
        """A column's numbers, NaN where a cell is empty."""
        frame = self._table.frame
        if pd.api.types.is_string_dtype(frame[column]):
            cells = frame[column].str.strip()
            frame = frame.assign(**{column: cells.mask(cells == _FRED_EMPTY, "")})
        numbers = to_numbers(
            replace(self._table, frame=frame), column, decimal=self._config.decimal
        )
        return numbers.to_numpy(np.float64)

    def kept(self, values_n: NDArray[np.float64]) -> NDArray[np.int64]:
        """Rows that are publications, in order of time, each moment once."""
        rows = self._filled(values_n)
        rows = self._ordered(rows)
        rows = self._unrepeated(rows)
        if self._config.revisions == "ignore":
            newest_n = np.maximum.accumulate(self.observed_n[rows])
            rows = rows[self.observed_n[rows] == newest_n]
        # Published together: the newest observation is the one that counts.
        last = np.append(np.diff(self.published_n[rows]) > 0, True)
        kept: NDArray[np.int64] = rows[last]
        return kept

    def _times(self, column: str, lag: Lag | None) -> NDArray[np.int64]:
        """Times of a column, ns UTC, later by a lag; a date stands for a time of its day."""
        config = self._config
        read = TimestampConfig(format=config.format, timezone=config.timezone)
        parsed = parse_timestamps(self._table, column, read)
        if (empty := np.flatnonzero(parsed.ts == _NO_TIME)).size:
            raise self._table.fault(int(empty[0]), column, "a time", "")
        if parsed.daily:
            clock = NS_PER_DAY if config.at is None else clock_of_day(config.at)
            days_n = parsed.ts if lag is None else lag.after(parsed.ts)
            return to_utc(days_n + clock, config.timezone)
        if lag is None:
            return parsed.ts
        aware = pd.DatetimeIndex(parsed.ts, tz="UTC").tz_convert(config.timezone)
        local_n = aware.tz_localize(None).as_unit("ns").asi8
        return to_utc(lag.after(local_n), config.timezone)

    def _filled(self, values_n: NDArray[np.float64]) -> NDArray[np.int64]:
        finite_n = np.isfinite(values_n)
        if self._config.empty == "error" and not finite_n.all():
            row = int(np.argmin(finite_n))
            column = self._config.value
            if self._config.minus is not None and np.isfinite(self.values(column)[row]):
                column = self._config.minus
            raise self._table.fault(
                row,
                column,
                "a finite number (or set empty: drop)",
                self._table.frame[column].iloc[row],
            )
        rows = np.flatnonzero(finite_n)
        if not len(rows):
            raise DataFileError(f"{self._config.path}: expected rows with a value, found none")
        return rows

    def _ordered(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        column = self._config.publication or self._config.time
        times_n = self.published_n if self._config.publication else self.observed_n
        wrong = np.flatnonzero(np.diff(times_n[rows]) < 0)
        if wrong.size and not self._config.sort:
            before, row = (int(rows[wrong[0] + k]) for k in (0, 1))
            raise self._table.fault(
                row,
                column,
                f"a time not before {show(int(times_n[before]))} of the row above (or set sort:"
                " true)",
                self._table.frame[column].iloc[row],
            )
        return rows[np.lexsort((self.observed_n[rows], self.published_n[rows]))]

    def _unrepeated(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        same = (np.diff(self.observed_n[rows]) == 0) & (np.diff(self.published_n[rows]) == 0)
        if same.any() and self._config.duplicates == "error":
            at = int(np.argmax(same))
            first = int(rows[at]) + self._table.first_row
            raise self._table.fault(
                int(rows[at + 1]),
                self._config.time,
                f"each observation once, as row {first} has it (or set duplicates: first or last)",
                self._table.frame[self._config.time].iloc[int(rows[at + 1])],
            )
        first_kept = self._config.duplicates == "first"
        keep = np.append(True, ~same) if first_kept else np.append(~same, True)
        once: NDArray[np.int64] = rows[keep]
        return once

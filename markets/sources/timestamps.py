"""From the times that a file writes to the time that a bar is complete.

``ts_event`` is the end of a bar, in ns UTC: the first moment at which its close may be known. Files
disagree about that. Some stamp a bar with its start, some with its end, daily files with a date
only. What a file does cannot be seen in its values, so the configuration says it.
"""

import re
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AfterValidator, ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from markets.sources.protocol import DataFileError
from markets.sources.tables import Table

__all__ = ["TimestampConfig", "bar_length", "parse_timestamps"]

_OFFSET = re.compile(r"(?:Z|[+-]\d{2}:?\d{2})$")
_DATE_ONLY = re.compile(r"^\d{4}-?\d{2}-?\d{2}$")
_UNIT_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def bar_length(text: str) -> pd.Timedelta:
    """Return the length of a bar from text such as ``"1h"``, ``"5min"`` or ``"1D"``.

    Raises:
        ValueError: Not a positive length.
    """
    try:
        length = pd.Timedelta(text)
    except ValueError as error:
        raise ValueError(f"expected a length such as '1h' or '5min', found {text!r}") from error
    if not length > pd.Timedelta(0):
        raise ValueError(f"expected a positive length such as '1h', found {text!r}")
    return length


def _known_timezone(name: str) -> str:
    try:
        pd.Timestamp(0, tz="UTC").tz_convert(name)
    except (ValueError, KeyError) as error:
        raise ValueError(f"expected an IANA name such as 'America/New_York', found {name!r}") from (
            error
        )
    return name


def _known_length(text: str | None) -> str | None:
    if text is not None:
        bar_length(text)
    return text


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TimestampConfig:
    """How a file writes the time of a bar."""

    format: str | None = None
    """strptime format such as ``"%m/%d/%Y"``; None: ISO 8601. Ambiguous dates are never guessed."""
    unit: Literal["s", "ms", "us", "ns"] | None = None
    """Unit of numbers that count from 1970-01-01 UTC; None: the column is text or a date."""
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    """IANA name of the zone of times without an offset."""
    stamp: Literal["end", "start"] = "end"
    """Whether the file names a bar by its end or by its start; ``ts_event`` is always the end."""
    bar: Annotated[str | None, AfterValidator(_known_length)] = None
    """Length of a bar, such as ``"1h"``; needed where ``stamp`` is ``"start"``."""
    frequency: Literal["auto", "daily", "intraday"] = "auto"
    """Daily bars carry dates, stamped at the calendar's close; auto: if the file has no times."""
    ambiguous: Literal["raise", "infer"] = "raise"
    """An hour that a clock change repeats: refuse, or take the first as summer time."""

    @model_validator(mode="after")
    def _start_needs_a_length(self) -> "TimestampConfig":
        if self.stamp == "start" and self.bar is None:
            raise ValueError("bar: a length such as '1h' is expected with stamp: start, found none")
        return self


@dataclass(frozen=True, kw_only=True, config=ConfigDict(arbitrary_types_allowed=True))
class ParsedTimes:
    """Times of a table's rows.

    Attributes:
        ts: End of the bar in ns UTC, or midnight UTC of the session's date when ``daily``; the
            smallest int64 (NaT) where the cell is empty.
        daily: Whether the rows carry dates without a time.
    """

    ts: NDArray[np.int64]
    daily: bool


def parse_timestamps(table: Table, column: object, config: TimestampConfig) -> ParsedTimes:
    """Read a column of times.

    Args:
        table: The table.
        column: Name of its column.
        config: How the file writes the time.

    Returns:
        The times, and whether they are dates of sessions.

    Raises:
        DataFileError: A cell cannot be read, or names a local time that is skipped or doubled.
    """
    raw = table.frame[column]
    if config.unit is not None:
        return _finish(_from_numbers(table, column, config.unit), config)
    if pd.api.types.is_datetime64_any_dtype(raw):
        times, dates_only = pd.Series(raw), _all_midnight(raw)
    else:
        times, dates_only = _from_text(table, column, config)
    if dates_only and (config.frequency == "daily" or _dates_are_sessions(config)):
        naive = times.dt.tz_localize(None) if times.dt.tz is not None else times
        return ParsedTimes(ts=_nanoseconds(naive), daily=True)
    return _finish(_to_utc(table, column, times, config), config)


def _dates_are_sessions(config: TimestampConfig) -> bool:
    return config.frequency == "auto" and config.stamp == "end"


def _finish(times: pd.Series, config: TimestampConfig) -> ParsedTimes:
    if config.frequency == "daily":
        local = times.dt.tz_convert(config.timezone).dt.tz_localize(None).dt.normalize()
        return ParsedTimes(ts=_nanoseconds(local), daily=True)
    if config.stamp == "start" and config.bar is not None:
        times = times + bar_length(config.bar)
    return ParsedTimes(ts=_nanoseconds(times.dt.tz_localize(None)), daily=False)


def _nanoseconds(naive: pd.Series) -> NDArray[np.int64]:
    return naive.to_numpy().astype("datetime64[ns]").astype(np.int64)


def _all_midnight(times: pd.Series) -> bool:
    known = times.dropna()
    return bool((known == known.dt.normalize()).all())


def _from_numbers(table: Table, column: object, unit: str) -> pd.Series:
    raw = table.frame[column]
    numbers = pd.to_numeric(raw, errors="coerce")
    if numbers.isna().any():
        index = int(np.flatnonzero(numbers.isna())[0])
        raise table.fault(index, str(column), f"a number of {unit} since 1970", raw.iloc[index])
    limit = np.iinfo(np.int64).max // _UNIT_NS[unit]
    beyond = (numbers.abs() > limit).to_numpy()
    if beyond.any():
        index = int(np.flatnonzero(beyond)[0])
        raise table.fault(index, str(column), f"a time within 1678-2262 in {unit}", raw.iloc[index])
    if pd.api.types.is_integer_dtype(numbers):
        ns = numbers.to_numpy(np.int64) * _UNIT_NS[unit]
    else:
        whole = np.floor(numbers.to_numpy(np.float64))
        rest = np.round((numbers.to_numpy(np.float64) - whole) * _UNIT_NS[unit])
        ns = whole.astype(np.int64) * _UNIT_NS[unit] + rest.astype(np.int64)
    return pd.Series(pd.to_datetime(ns, unit="ns", utc=True))


def _from_text(table: Table, column: object, config: TimestampConfig) -> tuple[pd.Series, bool]:
    """Return parsed times (aware where the text has offsets) and whether no time is written."""
    raw = table.frame[column]
    text = raw.where(raw.notna(), "").astype("str").str.strip()
    if config.format is not None:
        times = pd.to_datetime(
            text, format=config.format, errors="coerce", utc="%z" in config.format
        )
        _refuse_unread(table, column, times, text, f"a time written as {config.format!r}")
        dates_only = not re.search(r"%[HIMSfpcXsz]", config.format)
        return times, dates_only
    timed = text.str.len() > len("2000-01-01")
    offsets = text.str.contains(_OFFSET) & timed
    if offsets.any() and not (offsets | (text == "")).all():
        index = int(np.flatnonzero(~offsets & (text != ""))[0])
        raise table.fault(index, str(column), "an offset as in other rows", raw.iloc[index])
    times = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=bool(offsets.any()))
    expected = "a time as in ISO 8601 (else set timestamps.format)"
    _refuse_unread(table, column, times, text, expected)
    return times, bool(text[text != ""].str.match(_DATE_ONLY).all()) or _all_midnight(times)


def _refuse_unread(
    table: Table, column: object, times: pd.Series, text: pd.Series, expected: str
) -> None:
    """Refuse text that is no time; an empty cell is left to the rules for bars, and to repairs."""
    unread = (times.isna() & (text != "")).to_numpy()
    if unread.any():
        index = int(np.flatnonzero(unread)[0])
        raise table.fault(index, str(column), expected, table.frame[column].iloc[index])


def _to_utc(table: Table, column: object, times: pd.Series, config: TimestampConfig) -> pd.Series:
    if times.dt.tz is not None:
        return _utc(times)
    try:
        aware: pd.Series = times.dt.tz_localize(config.timezone, ambiguous=config.ambiguous)
    except ValueError as error:  # doubled or skipped by a clock change; pandas names the time
        raise DataFileError(
            f"{table.path}: column {str(column)!r}: expected times that exist once in"
            f" {config.timezone}, found: {error}; set timestamps.ambiguous: infer, or mend the file"
        ) from error
    return _utc(aware)


def _utc(aware: pd.Series) -> pd.Series:
    """Return times in UTC (pandas' accessor is untyped)."""
    utc: pd.Series = aware.dt.tz_convert("UTC")
    return utc

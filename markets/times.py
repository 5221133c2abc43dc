"""Reading times given by a user (text, date, datetime, integer ns), and how dense times are."""

import re
from datetime import date, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from markets.calendars import NS_PER_DAY
from markets.errors import MarketDataError

TimeLike = str | date | datetime | pd.Timestamp | np.datetime64 | int
"""A point in time. Naive means UTC; an integer counts ns since 1970 UTC."""

_NS_PER_YEAR = 365.25 * NS_PER_DAY
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class TimeError(MarketDataError):
    """A time cannot be read, or lies outside the years 1678 to 2262 of ns timestamps."""


def to_ns(value: TimeLike, *, last: bool = False) -> int:
    """Nanoseconds since 1970 UTC of a time.

    Args:
        value: The time. Text is ISO 8601. A date without a time of day (YYYY-MM-DD or
            `datetime.date`) means the whole day.
        last: Of a whole day give its last nanosecond instead of its first, so that a span given
            by two dates contains both days.

    Returns:
        ns UTC.

    Raises:
        TimeError: The value cannot be read.
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    whole_day = (isinstance(value, str) and _DATE.fullmatch(value.strip()) is not None) or (
        isinstance(value, date) and not isinstance(value, datetime)
    )
    try:
        stamp = pd.Timestamp(value)
        if pd.isna(stamp):
            raise TimeError(f"time: expected a time, found {value!r}")
        stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
        start = stamp.as_unit("ns").value
    except (TypeError, ValueError, OverflowError) as error:
        raise TimeError(
            f"time: expected ISO 8601 text, a datetime or ns since 1970, found {value!r}"
        ) from error
    return start + NS_PER_DAY - 1 if whole_day and last else start


def measured_per_year(ts_event: NDArray[np.int64]) -> float:
    """Bars in a year of 365.25 days: the number of intervals over their summed length.

    Nights, weekends and holidays count as time. Holes of more than ten days (or five median
    intervals, if that is longer) do not, so that separate weeks or years are not diluted.

    Args:
        ts_event: Times of the bars, ns UTC, increasing, at least two, shape (T,).

    Returns:
        Bars per year: about 252 for daily bars of a stock exchange.
    """
    step = np.diff(ts_event).astype(np.float64)
    step = step[step <= max(10.0 * NS_PER_DAY, 5.0 * float(np.median(step)))]
    return float(len(step) / step.sum() * _NS_PER_YEAR)


def show(ts_event: int) -> str:
    """Short text of a time: the date alone at midnight, otherwise to the second, UTC."""
    if ts_event == np.iinfo(np.int64).min:
        return "no time"
    stamp = pd.Timestamp(ts_event)
    return str(stamp.date()) if ts_event % NS_PER_DAY == 0 else f"{stamp:%Y-%m-%dT%H:%M:%S}Z"

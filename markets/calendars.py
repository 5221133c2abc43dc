"""Trading calendars by name: sessions, closes and bars per year, as integer UTC nanoseconds.

A thin, cached and vectorised face of `exchange_calendars`, which reaches back 20 years by default
only and refuses dates outside; here every question carries its own span.
"""

import warnings
from functools import lru_cache
from typing import Any

import exchange_calendars
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from markets.errors import MarketDataError

NS_PER_DAY = 86_400_000_000_000
"""Nanoseconds in a civil day."""
_MARGIN_DAYS = 10


class CalendarError(MarketDataError):
    """A calendar is unknown, does not cover the span, or disagrees with the bars."""


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(exchange_calendars.get_calendar_names(include_aliases=True))


def check_name(name: str) -> None:
    """Refuse an unknown calendar.

    Args:
        name: A calendar's name or alias in `exchange_calendars`, for example "XNYS" or "24/7".

    Raises:
        CalendarError: There is no such calendar.
    """
    if name not in _names():
        near = sorted(known for known in _names() if known[:2].upper() == name[:2].upper())
        raise CalendarError(
            f"calendar: {name!r} is not known to exchange_calendars"
            + (f"; near it are {near}" if near else "; for example XNYS, XLON, 24/7")
        )


@lru_cache(maxsize=64)
def _calendar(name: str, first_year: int, last_year: int) -> Any:  # noqa: ANN401 - untyped package
    check_name(name)
    try:
        with warnings.catch_warnings():
            # exchange_calendars 4.13 reads Series.values, which pandas 3.1 deprecates.
            warnings.simplefilter("ignore", DeprecationWarning)
            return exchange_calendars.get_calendar(
                name, start=f"{first_year}-01-01", end=f"{last_year}-12-31"
            )
    except (ValueError, exchange_calendars.errors.CalendarError) as error:
        raise CalendarError(
            f"calendar {name!r} does not cover {first_year} to {last_year}: {error}"
        ) from error


def _years(first_ns: int, last_ns: int) -> tuple[int, int]:
    margin = pd.Timedelta(days=_MARGIN_DAYS)
    return (pd.Timestamp(first_ns) - margin).year, (pd.Timestamp(last_ns) + margin).year


def sessions(name: str, first_ns: int, last_ns: int) -> NDArray[np.int64]:
    """Sessions of a calendar whose date lies in a span.

    Args:
        name: Calendar.
        first_ns: First date, ns UTC; the time of day is dropped.
        last_ns: Last date, ns UTC, included.

    Returns:
        Session dates as midnight UTC in ns, shape (S,).
    """
    dates, _, _ = _table(name, *_years(first_ns, last_ns))
    first, last = first_ns // NS_PER_DAY * NS_PER_DAY, last_ns // NS_PER_DAY * NS_PER_DAY
    return dates[np.searchsorted(dates, first) : np.searchsorted(dates, last, side="right")]


@lru_cache(maxsize=64)
def _table(
    name: str, first_year: int, last_year: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Session dates, opens and closes of whole years, ns UTC, each shape (S,)."""
    calendar = _calendar(name, first_year, last_year)
    columns = (calendar.sessions, calendar.opens, calendar.closes)
    arrays = [pd.DatetimeIndex(column).as_unit("ns").asi8.copy() for column in columns]
    for array in arrays:
        array.flags.writeable = False
    return arrays[0], arrays[1], arrays[2]


def session_closes(name: str, dates_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Close of the session of each date, early closes included.

    Args:
        name: Calendar.
        dates_ns: Dates as midnight UTC, ns, shape (T,).

    Returns:
        Closes in ns UTC, shape (T,); -1 where the date is no session.
    """
    if not len(dates_ns):
        return np.empty(0, np.int64)
    dates, _, closes = _table(name, *_years(int(dates_ns.min()), int(dates_ns.max())))
    place = np.minimum(np.searchsorted(dates, dates_ns), len(dates) - 1)
    return np.where(dates[place] == dates_ns, closes[place], -1)


def session_of(name: str, ts_event: NDArray[np.int64]) -> NDArray[np.int64]:
    """Session to which each time belongs: open <= time <= close.

    Args:
        name: Calendar.
        ts_event: Times, ns UTC, shape (T,).

    Returns:
        Session dates as midnight UTC in ns, shape (T,); -1 outside all sessions.
    """
    if not len(ts_event):
        return np.empty(0, np.int64)
    dates, opens, closes = _table(name, *_years(int(ts_event.min()), int(ts_event.max())))
    place = np.minimum(np.searchsorted(closes, ts_event), len(dates) - 1)
    inside = (opens[place] <= ts_event) & (ts_event <= closes[place])
    return np.where(inside, dates[place], -1)


def sessions_per_year(name: str, first_ns: int, last_ns: int) -> float:
    """Mean number of sessions in the calendar years that a span touches.

    Args:
        name: Calendar.
        first_ns: Start of the span, ns UTC.
        last_ns: End of the span, ns UTC.

    Returns:
        Sessions per year, about 252 for XNYS.
    """
    first, last = pd.Timestamp(first_ns).year, pd.Timestamp(last_ns).year
    dates, _, _ = _table(name, first, last)
    return len(dates) / (last - first + 1)


def local_offset(name: str, ts_event: NDArray[np.int64]) -> NDArray[np.int64]:
    """Offset of the exchange's wall clock from UTC at each time.

    Args:
        name: Calendar.
        ts_event: Times, ns UTC, shape (T,).

    Returns:
        ns to add to UTC to read the exchange's clock, shape (T,).
    """
    if not len(ts_event):
        return np.empty(0, np.int64)
    zone = _calendar(name, *_years(int(ts_event.min()), int(ts_event.max()))).tz
    utc = pd.DatetimeIndex(ts_event, tz="UTC")
    return utc.tz_convert(zone).tz_localize(None).as_unit("ns").asi8 - ts_event

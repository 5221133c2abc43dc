r"""Features of the calendar: functions of a bar's own time, the same for every asset.

The UTC date of ``ts_event`` (the session's close) counts. Phases are given as sine and cosine, so
that the end of a cycle lies beside its beginning; nothing is scaled. No feature needs an exchange
calendar: weekdays are from Monday to Friday, holidays too. None has a step: a moment in ns does not
fit into a float, and at the end of a day its date would be the next.

Dimensions: T bars.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.registry import Array, Horizon, feature

__all__ = [
    "day_of_month",
    "day_of_quarter",
    "day_of_week",
    "expiry_week",
    "month",
    "quarter_end",
    "time_of_day",
    "turn_of_month",
    "week_of_year",
]

Time = NDArray[np.int64]
Dates = NDArray[Any]
_NS_PER_DAY = 86_400_000_000_000


@feature(
    unit="1, in [-1, 1]",
    scope="shared",
    outputs=("sin", "cos"),
    scaled=False,
    source="French (1980), Stock Returns and the Weekend Effect, JFE 8(1)",
)
def day_of_week(ts_event_T: Time) -> tuple[Array, Array]:
    """Phase of the day in the week, Monday at 0."""
    return _phase(_weekday(_dates(ts_event_T)) / 7.0)


@feature(
    unit="1, in [-1, 1]",
    scope="shared",
    outputs=("sin", "cos"),
    scaled=False,
    source="Ariel (1987), A Monthly Effect in Stock Returns, JFE 18(1)",
)
def day_of_month(ts_event_T: Time) -> tuple[Array, Array]:
    """Phase of the day in its month, whatever the month's length; the first at 0."""
    date_T = _dates(ts_event_T)
    month_T = date_T.astype("datetime64[M]")
    return _phase(_elapsed(date_T, month_T, month_T + 1))


@feature(
    unit="1, in [-1, 1]",
    scope="shared",
    outputs=("sin", "cos"),
    scaled=False,
    source="Penman (1987), The Distribution of Earnings News over Time, JFE 18(2)",
)
def day_of_quarter(ts_event_T: Time) -> tuple[Array, Array]:
    """Phase of the day in its calendar quarter; its first at 0."""
    date_T = _dates(ts_event_T)
    quarter_T = _quarter(date_T)
    return _phase(_elapsed(date_T, quarter_T, quarter_T + 3))


@feature(
    unit="1, in [-1, 1]",
    scope="shared",
    outputs=("sin", "cos"),
    scaled=False,
    source="Levy and Yagil (2012), The week-of-the-year effect, J. Banking and Finance 36(7)",
)
def week_of_year(ts_event_T: Time) -> tuple[Array, Array]:
    """Phase of the ISO 8601 week in its year of 52 or 53; the first at 0."""
    date_T = _dates(ts_event_T)
    # A week belongs to the year of its Thursday, and is that year's n-th if the Thursday is.
    thursday_T = date_T - _weekday(date_T) + 3
    year_T = thursday_T.astype("datetime64[Y]")
    first_T, next_T = year_T.astype("datetime64[D]"), (year_T + 1).astype("datetime64[D]")
    week_T = (thursday_T - first_T).astype(np.int64) // 7
    left_T = ((next_T - thursday_T).astype(np.int64) - 1) // 7
    return _phase(week_T / (week_T + 1.0 + left_T))


@feature(
    unit="1, in [-1, 1]",
    scope="shared",
    outputs=("sin", "cos"),
    scaled=False,
    source="Rozeff and Kinney (1976), Capital Market Seasonality, JFE 3(4)",
)
def month(ts_event_T: Time) -> tuple[Array, Array]:
    """Phase of the month in the year, January at 0."""
    month_T = _dates(ts_event_T).astype("datetime64[M]").astype(np.int64) % 12
    return _phase(month_T / 12.0)


@feature(
    unit="1, in [-1, 1]",
    scope="shared",
    outputs=("sin", "cos"),
    scaled=False,
    source="Andersen and Bollerslev (1997), Intraday periodicity, J. Empirical Finance 4(2)",
)
def time_of_day(ts_event_T: Time) -> tuple[Array, Array]:
    """Phase of the time in the day, midnight UTC at 0; for intraday bars."""
    return _phase((ts_event_T % _NS_PER_DAY) / _NS_PER_DAY)


@feature(
    unit="flag, 0 or 1",
    scope="shared",
    scaled=False,
    source="Lakonishok and Smidt (1988), Are Seasonal Anomalies Real?, RFS 1(4)",
)
def turn_of_month(ts_event_T: Time) -> Array:
    """1 on the last weekday of a month and the first three of the next, 0 otherwise.

    Weekdays from Monday to Friday are counted, holidays too: the flag needs no exchange calendar
    and no later bar.
    """
    date_T = _dates(ts_event_T)
    month_T = date_T.astype("datetime64[M]")
    first_T = month_T.astype("datetime64[D]")
    next_T = (month_T + 1).astype("datetime64[D]")
    elapsed_T = np.busday_count(first_T, date_T + 1)
    left_T = np.busday_count(date_T + 1, next_T)
    return np.asarray(((elapsed_T <= 3) | (left_T == 0)).astype(np.float64))


@feature(
    unit="flag, 0 or 1",
    scope="shared",
    scaled=False,
    source="Carhart, Kaniel, Musto and Reed (2002), Leaning for the Tape, JF 57(2)",
)
def quarter_end(ts_event_T: Time, *, days: Horizon = 5) -> Array:
    """1 from the n-th last weekday of a calendar quarter to its end, 0 otherwise."""
    date_T = _dates(ts_event_T)
    next_T = (_quarter(date_T) + 3).astype("datetime64[D]")
    return np.asarray((np.busday_count(date_T + 1, next_T) < days).astype(np.float64))


@feature(
    unit="flag, 0 or 1",
    scope="shared",
    scaled=False,
    source="Stivers and Sun (2013), Returns and option activity over the option-expiration week, "
    "J. Banking and Finance 37(11)",
)
def expiry_week(ts_event_T: Time) -> Array:
    """1 from Monday to Friday of the week with the month's third Friday, 0 otherwise."""
    date_T = _dates(ts_event_T)
    first_T = date_T.astype("datetime64[M]").astype("datetime64[D]")
    friday_T = first_T + (4 - _weekday(first_T)) % 7 + 14
    left_T = (friday_T - date_T).astype(np.int64)
    return np.asarray(((left_T >= 0) & (left_T <= 4)).astype(np.float64))


def _dates(ts_event_T: Time) -> Dates:
    return ts_event_T.astype("datetime64[ns]").astype("datetime64[D]")


def _weekday(date_T: Dates) -> NDArray[np.int64]:
    """Days since Monday; 1970-01-01 was a Thursday."""
    return (date_T.astype(np.int64) + 3) % 7


def _quarter(date_T: Dates) -> Dates:
    """First month of the date's quarter."""
    month_T = date_T.astype("datetime64[M]")
    return month_T - month_T.astype(np.int64) % 3


def _elapsed(date_T: Dates, first_T: Dates, next_T: Dates) -> Array:
    """Share of a span of months that lies before the date."""
    start_T, end_T = first_T.astype("datetime64[D]"), next_T.astype("datetime64[D]")
    return np.asarray((date_T - start_T) / (end_T - start_T))


def _phase(turn_T: Array) -> tuple[Array, Array]:
    angle_T = 2.0 * np.pi * turn_T
    return np.sin(angle_T), np.cos(angle_T)

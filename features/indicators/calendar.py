r"""Features of the calendar: functions of a bar's own time, the same for every asset.

The UTC date of ``ts_event`` (the session's close) counts. Phases are given as sine and cosine, so
that the end of a cycle lies beside its beginning; nothing is scaled.

Dimensions: T bars.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.registry import Array, feature

__all__ = ["day_of_week", "month", "time_of_day", "turn_of_month"]

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
    # 1970-01-01 was a Thursday.
    day_T = (_dates(ts_event_T).astype(np.int64) + 3) % 7
    return _phase(day_T / 7.0)


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


def _dates(ts_event_T: Time) -> Dates:
    return ts_event_T.astype("datetime64[ns]").astype("datetime64[D]")


def _phase(turn_T: Array) -> tuple[Array, Array]:
    angle_T = 2.0 * np.pi * turn_T
    return np.sin(angle_T), np.cos(angle_T)

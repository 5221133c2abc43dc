"""Calendar features on known dates."""

from datetime import date, timedelta

import numpy as np
import pytest

from features.indicators import calendar

DAYS = np.arange("1999-01-01", "2030-01-01", dtype="datetime64[D]")


def at(*times: str | np.datetime64) -> np.ndarray:
    return np.array(times, "datetime64[ns]").astype(np.int64)


def test_day_of_week_starts_on_monday() -> None:
    sin_T, cos_T = calendar.day_of_week(at("2024-01-01", "2024-01-03T21:00", "1969-12-28"))
    angles = 2.0 * np.pi * np.array([0.0, 2.0, 6.0]) / 7.0  # Monday, Wednesday, Sunday
    np.testing.assert_allclose(sin_T, np.sin(angles), atol=1e-15)
    np.testing.assert_allclose(cos_T, np.cos(angles), atol=1e-15)


def test_month_of_january_april_and_july() -> None:
    sin_T, cos_T = calendar.month(at("2024-01-31", "2020-04-01", "1999-07-15"))
    np.testing.assert_allclose(sin_T, [0.0, 1.0, 0.0], atol=1e-15)
    np.testing.assert_allclose(cos_T, [1.0, 0.0, -1.0], atol=1e-15)


def test_day_of_month_of_any_length() -> None:
    sin_T, cos_T = calendar.day_of_month(at("2024-02-01", "2023-02-08", "2023-02-15"))
    np.testing.assert_allclose(sin_T, [0.0, 1.0, 0.0], atol=1e-15)  # of 28 days
    np.testing.assert_allclose(cos_T, [1.0, 0.0, -1.0], atol=1e-15)


def test_day_of_quarter() -> None:
    # April to June are 91 days, October to December 92: 46 days after the first is half of them.
    sin_T, cos_T = calendar.day_of_quarter(at("2024-04-01", "2024-11-16", "2024-12-31T23:59"))
    np.testing.assert_allclose(sin_T[:2], 0.0, atol=1e-15)
    np.testing.assert_allclose(cos_T[:2], [1.0, -1.0], atol=1e-15)
    assert sin_T[2] == pytest.approx(np.sin(2.0 * np.pi * 91.0 / 92.0), rel=1e-12)


def test_week_of_year_is_that_of_iso_8601() -> None:
    calendars = [day.isocalendar() for day in DAYS.tolist()]
    week_T = np.array([one.week for one in calendars])
    # 28 December always lies in the last week of its year.
    last_T = np.array([date(one.year, 12, 28).isocalendar().week for one in calendars])
    angle_T = 2.0 * np.pi * (week_T - 1) / last_T
    sin_T, cos_T = calendar.week_of_year(at(*DAYS))
    np.testing.assert_allclose(sin_T, np.sin(angle_T), atol=1e-14)
    np.testing.assert_allclose(cos_T, np.cos(angle_T), atol=1e-14)


def test_the_last_nanosecond_belongs_to_its_day() -> None:
    """A float would take it for the next day's midnight."""
    late = at("2024-01-01T23:59:59.999999999")
    for phase in (calendar.day_of_week, calendar.day_of_month, calendar.week_of_year):
        np.testing.assert_array_equal(phase(late), phase(at("2024-01-01")))


@pytest.mark.parametrize(
    ("day", "flag"),
    [
        ("2024-03-21", 0.0),  # Thursday; six weekdays are left
        ("2024-03-25", 1.0),  # Monday of the last five
        ("2024-03-29", 1.0),  # the last weekday
        ("2024-03-31", 1.0),  # Sunday, still March
        ("2024-04-01", 0.0),
        ("2024-04-30", 0.0),  # a month's end, not a quarter's
        ("2024-12-31", 1.0),
    ],
)
def test_quarter_end(day: str, flag: float) -> None:
    assert calendar.quarter_end(at(day)).tolist() == [flag]


def test_quarter_end_flags_as_many_weekdays_as_it_is_told() -> None:
    weekdays = DAYS[np.is_busday(DAYS)]
    for days in (1, 3, 10):
        flags = calendar.quarter_end(at(*weekdays), days=days)
        assert flags.sum() == days * 31 * 4


def test_expiry_week_is_that_of_the_third_friday() -> None:
    flags = calendar.expiry_week(at(*DAYS))
    for day, flag in zip(DAYS.tolist(), flags, strict=True):
        friday = day + timedelta(days=4 - day.weekday())
        expected = day.weekday() <= 4 and 15 <= friday.day <= 21
        assert flag == expected, day


def test_time_of_day() -> None:
    sin_T, cos_T = calendar.time_of_day(at("2024-01-31", "2024-01-31T06:00", "2024-01-31T12:00"))
    np.testing.assert_allclose(sin_T, [0.0, 1.0, 0.0], atol=1e-15)
    np.testing.assert_allclose(cos_T, [1.0, 0.0, -1.0], atol=1e-15)


@pytest.mark.parametrize(
    ("day", "flag"),
    [
        ("2024-05-30", 0.0),  # Thursday, one weekday before the last
        ("2024-05-31", 1.0),  # Friday, the last
        ("2024-06-01", 1.0),  # Saturday between
        ("2024-06-03", 1.0),  # Monday, the first weekday
        ("2024-06-05T20:00", 1.0),  # the third
        ("2024-06-06", 0.0),
        ("2024-06-28T20:00", 1.0),  # Friday, the last weekday; the month ends on Sunday
        ("2024-12-31", 1.0),
    ],
)
def test_turn_of_month(day: str, flag: float) -> None:
    assert calendar.turn_of_month(at(day)).tolist() == [flag]

"""Calendar features on known dates."""

import numpy as np
import pytest

from features.indicators import calendar


def at(*times: str) -> np.ndarray:
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


def test_time_of_day() -> None:
    sin_T, cos_T = calendar.time_of_day(at("2024-01-31", "2024-01-31T06:00", "2024-01-31T12:00"))
    np.testing.assert_allclose(sin_T, [0.0, 1.0, 0.0], atol=1e-15)
    np.testing.assert_allclose(cos_T, [1.0, 0.0, -1.0], atol=1e-15)


@pytest.mark.parametrize(
    ("date", "flag"),
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
def test_turn_of_month(date: str, flag: float) -> None:
    assert calendar.turn_of_month(at(date)).tolist() == [flag]

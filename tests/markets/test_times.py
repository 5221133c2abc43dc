"""Times as users write them."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from markets import TimeError
from markets.times import TimeLike, show, to_ns

DAY = 86_400_000_000_000
NOON = pd.Timestamp("2024-01-02T12:00").value


@pytest.mark.parametrize(
    "value",
    [
        "2024-01-02T12:00",
        "2024-01-02 13:00+01:00",
        datetime(2024, 1, 2, 12, tzinfo=UTC),
        pd.Timestamp("2024-01-02T07:00", tz="America/New_York"),
        np.datetime64("2024-01-02T12:00"),
        NOON,
        np.int64(NOON),
    ],
)
def test_an_instant_is_the_same_in_every_form(value: TimeLike) -> None:
    assert to_ns(value) == to_ns(value, last=True) == NOON


@pytest.mark.parametrize("value", ["2024-01-02", date(2024, 1, 2)])
def test_a_date_is_the_whole_day(value: TimeLike) -> None:
    assert to_ns(value) == NOON - DAY // 2
    assert to_ns(value, last=True) == NOON + DAY // 2 - 1


@pytest.mark.parametrize("value", ["yesterday-ish", "", "NaT", None, True, "1600-01-01", [1]])
def test_anything_else_is_refused(value: TimeLike) -> None:
    with pytest.raises(TimeError, match="time: expected"):
        to_ns(value)


def test_show_is_short() -> None:
    assert show(NOON) == "2024-01-02T12:00:00Z"
    assert show(NOON - DAY // 2) == "2024-01-02"
    assert show(np.iinfo(np.int64).min) == "no time"

"""Times of a file: formats, zones, clock changes, starts and ends, sessions."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from markets.sources.protocol import DataFileError
from markets.sources.tables import Table
from markets.sources.timestamps import ParsedTimes, TimestampConfig, parse_timestamps


def parse(values: Any, **fields: Any) -> ParsedTimes:
    table = Table(Path("f.csv"), pd.DataFrame({"t": values}), 2)
    return parse_timestamps(table, "t", TimestampConfig(**fields))


def utc(times: ParsedTimes) -> list[str]:
    return [stamp.isoformat() for stamp in pd.DatetimeIndex(times.ts)]


def test_dates_are_sessions() -> None:
    times = parse(["2020-01-02", "2020-01-03"], timezone="America/New_York")
    assert times.daily
    assert utc(times) == ["2020-01-02T00:00:00", "2020-01-03T00:00:00"]


@pytest.mark.parametrize(
    ("values", "fields", "expected"),
    [
        (["2020-07-01 09:30"], {"timezone": "America/New_York"}, "2020-07-01T13:30:00"),
        (["2020-01-01 09:30"], {"timezone": "America/New_York"}, "2020-01-01T14:30:00"),
        (["2020-01-01T09:30:00Z"], {"timezone": "Asia/Shanghai"}, "2020-01-01T09:30:00"),
        (["2020-01-01T09:30:00+05:30"], {}, "2020-01-01T04:00:00"),
        (["2023-03-15 11:05:00"], {"timezone": "Asia/Shanghai"}, "2023-03-15T03:05:00"),
        (["20200101 0930"], {"format": "%Y%m%d %H%M"}, "2020-01-01T09:30:00"),
        (["01.02.2020 10:00:00.500"], {"format": "%d.%m.%Y %H:%M:%S.%f"}, "2020-02-01T10:00:00.5"),
        (["1577871000"], {"unit": "s"}, "2020-01-01T09:30:00"),
        ([1577871000000], {"unit": "ms"}, "2020-01-01T09:30:00"),
        ([1577871000.25], {"unit": "s"}, "2020-01-01T09:30:00.25"),
        (["2020-01-01 09:00"], {"stamp": "start", "bar": "1h"}, "2020-01-01T10:00:00"),
        (["2020-01-01"], {"stamp": "start", "bar": "1D"}, "2020-01-02T00:00:00"),
    ],
)
def test_instants(values: list[Any], fields: dict[str, Any], expected: str) -> None:
    times = parse(values, **fields)
    assert not times.daily
    assert times.ts[0] == pd.Timestamp(expected).as_unit("ns").value


def test_typed_columns_of_parquet() -> None:
    index = pd.date_range("2020-01-01", periods=3, freq="h", tz="Europe/Berlin")
    np.testing.assert_array_equal(parse(index).ts, index.as_unit("ns").asi8)
    dates = pd.date_range("2020-01-01", periods=3, freq="D")
    assert parse(dates).daily
    for unit in ("s", "us", "ns"):
        np.testing.assert_array_equal(parse(dates.as_unit(unit)).ts, dates.as_unit("ns").asi8)


def test_midnight_in_a_zone_is_a_date_there() -> None:
    index = pd.date_range("2020-01-02", periods=2, freq="D", tz="America/New_York")
    times = parse(index)
    assert times.daily
    assert utc(times) == ["2020-01-02T00:00:00", "2020-01-03T00:00:00"]


def test_frequency_overrules_what_it_looks_like() -> None:
    assert not parse(["2020-01-02", "2020-01-03"], frequency="intraday").daily
    closes = ["2020-01-02 16:00", "2020-01-03 16:00"]
    assert not parse(closes).daily
    times = parse(closes, frequency="daily", timezone="America/New_York")
    assert times.daily
    assert utc(times) == ["2020-01-02T00:00:00", "2020-01-03T00:00:00"]


def test_empty_cells_are_left_to_the_rules_for_bars() -> None:
    times = parse(["2020-01-02", "", "2020-01-03"])
    assert times.ts[1] == np.iinfo(np.int64).min


@pytest.mark.parametrize(
    ("values", "fields", "found"),
    [
        (["2020-01-02", "1/3/2020"], {}, "row 3, column 't': .*'1/3/2020'"),
        (["2020-01-02", "2020-13-01"], {}, "row 3, .*'2020-13-01'"),
        (["2020-01-02 10:00Z", "2020-01-02 11:00"], {}, "row 3, .*an offset as in other rows"),
        (["13/01/2020", "01/13/2020"], {"format": "%d/%m/%Y"}, "row 3, .*'%d/%m/%Y', found"),
        (["1577871000", "soon"], {"unit": "s"}, "row 3, .*a number of s since 1970.*'soon'"),
        ([1577871000000], {"unit": "s"}, "row 2, .*within 1678-2262 in s"),
    ],
)
def test_unreadable_times_are_named(values: list[Any], fields: dict[str, Any], found: str) -> None:
    with pytest.raises(DataFileError, match=f"f.csv: {found}"):
        parse(values, **fields)


def test_clock_changes() -> None:
    zone = {"timezone": "America/New_York"}
    doubled = ["2020-11-01 00:30", "2020-11-01 01:30", "2020-11-01 01:30", "2020-11-01 02:30"]
    with pytest.raises(DataFileError, match=r"f.csv: column 't': expected times that exist once"):
        parse(doubled, **zone)
    hours = parse(doubled, ambiguous="infer", **zone).ts / 3.6e12
    np.testing.assert_array_equal(np.diff(hours), [1, 1, 1])
    with pytest.raises(DataFileError, match="2020-03-08 02:30"):
        parse(["2020-03-08 02:30"], **zone)


@pytest.mark.parametrize(
    "fields", [{"timezone": "Mars/Base"}, {"stamp": "start"}, {"bar": "-1h"}, {"unit": "h"}]
)
def test_configuration_is_checked(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TimestampConfig(**fields)

"""Published series: as-of joins, publication rules of files, and the packaged series."""

import copy
import io
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from markets.errors import MarketDataError
from markets.manifest import ManifestError
from markets.published import (
    ExogenousConfig,
    FileSeriesConfig,
    PackagedSeriesConfig,
    PublishedError,
    PublishedSeries,
    load_published,
)
from markets.sources.packaged_series import PACKAGED_SERIES
from markets.sources.packages import read_content
from markets.sources.publication import Lag, LagError, to_utc
from markets.times import to_ns


def ns(*texts: str) -> np.ndarray:
    return np.array([to_ns(text) for text in texts], np.int64)


def series(*pairs: tuple[str, float]) -> PublishedSeries:
    return PublishedSeries("x", ns(*(t for t, _ in pairs)), np.array([v for _, v in pairs]))


def written(folder: Path, text: str) -> str:
    path = folder / "series.csv"
    path.write_text(text)
    return str(path)


def known(published: PublishedSeries) -> list[tuple[str, float]]:
    times = pd.DatetimeIndex(published.ts_published).strftime("%Y-%m-%dT%H:%M")
    return list(zip(times, published.values.tolist(), strict=True))


def test_as_of_takes_the_last_publication_and_counts_its_exact_moment() -> None:
    x = series(("2020-01-02T10:00", 1.0), ("2020-01-05T10:00", 2.0))
    times = ns("2020-01-02T09:59", "2020-01-02T10:00", "2020-01-05T09:00", "2020-01-06T10:00")
    values, age = x.as_of(times)
    np.testing.assert_array_equal(values, [np.nan, 1.0, 1.0, 2.0])
    hour = 3_600_000_000_000
    np.testing.assert_array_equal(age, [-1, 0, 71 * hour, 24 * hour])


@given(st.lists(st.integers(0, 50), min_size=1, unique=True), st.lists(st.integers(-5, 60)))
def test_as_of_equals_a_plain_search(published: list[int], asked: list[int]) -> None:
    times = np.array(sorted(published), np.int64)
    x = PublishedSeries("x", times, 1.5 * times.astype(np.float64))
    values, age = x.as_of(np.array(asked, np.int64))
    for time, value, since in zip(asked, values, age, strict=True):
        before = [t for t in published if t <= time]
        if before:
            assert (value, since) == (max(before) * 1.5, time - max(before))
        else:
            assert np.isnan(value)
            assert since == -1


def test_later_publications_change_nothing_before_them() -> None:
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.integers(1, 100, 200))
    x = PublishedSeries("x", times, rng.normal(size=200))
    asked = np.arange(times[0], times[120])
    noise = np.where(np.arange(200) < 120, x.values, rng.normal(size=200))
    np.testing.assert_array_equal(x.as_of(asked)[0], replace(x, values=noise).as_of(asked)[0])


def test_extension_is_a_new_series() -> None:
    x = series(("2020-01-02", 1.0))
    longer = x.extended(to_ns("2020-01-03"), 5.0)
    assert len(x.values) == 1
    assert known(longer)[-1] == ("2020-01-03T00:00", 5.0)
    assert longer.sha256 != x.sha256
    assert x.sha256 == series(("2020-01-02", 1.0)).sha256
    with pytest.raises(PublishedError, match="in order of time, found 2020-01-02 after 2020-01-03"):
        longer.extended(to_ns("2020-01-02"), 1.0)


def test_arrays_are_copies_and_read_only_also_in_copies() -> None:
    values = np.array([1.0])
    x = PublishedSeries("x", ns("2020-01-02"), values)
    values[0] = 9.0
    for one in (x, copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert one.values[0] == 1.0
        with pytest.raises(ValueError, match="read-only"):
            one.values[0] = 2.0


@pytest.mark.parametrize(
    ("times", "values", "message"),
    [
        ([], [], "1 or more publications"),
        ([1, 2], [1.0], r"found shapes \(2,\) and \(1,\)"),
        ([2, 2], [1.0, 1.0], "in order of time"),
        ([1, 2], [1.0, np.nan], "expected finite values, found nan published"),
    ],
)
def test_faulty_series_are_refused(times: Any, values: Any, message: str) -> None:
    with pytest.raises(PublishedError, match=message):
        PublishedSeries("x", np.array(times, np.int64), np.array(values, np.float64))


def test_a_date_is_known_at_its_end_unless_a_time_is_given(tmp_path: Path) -> None:
    path = written(tmp_path, "date,close\n2020-01-02,5\n2020-07-02,6\n")
    config = FileSeriesConfig(path=path, value="close", lag="0D", timezone="America/New_York")
    assert known(load_published(config)) == [("2020-01-03T05:00", 5.0), ("2020-07-03T04:00", 6.0)]
    at = replace(config, at="16:15")
    assert known(load_published(at)) == [("2020-01-02T21:15", 5.0), ("2020-07-02T20:15", 6.0)]
    assert load_published(config).name == "close"
    assert load_published(config, "fear").name == "fear"


@pytest.mark.parametrize(
    ("lag", "expected"),
    [
        ("1D", "2020-02-01T00:00"),
        ("1B", "2020-02-03T00:00"),  # a Friday; Monday
        ("3B", "2020-02-05T00:00"),
        ("1M", "2020-02-29T00:00"),
        ("1M 7D", "2020-03-07T00:00"),
        ("1M1B", "2020-03-02T00:00"),  # a Saturday; Monday
        ("36h", "2020-02-01T12:00"),
        ("1D 30min 5s", "2020-02-01T00:30:05"),
    ],
)
def test_lags_by_hand(lag: str, expected: str) -> None:
    assert Lag.parse(lag).after(ns("2020-01-31")).tolist() == [to_ns(expected)]


@pytest.mark.parametrize("lag", ["", "D", "-1D", "1.5D", "1 week", "1D 2D", "1D,2B"])
def test_unreadable_lags_are_refused(lag: str) -> None:
    with pytest.raises(LagError, match="expected text such as '1D', '2B' or '1M 7D'"):
        Lag.parse(lag)


def test_business_days_of_dates_end_with_the_day(tmp_path: Path) -> None:
    path = written(tmp_path, "date,v\n2020-01-03,1\n2020-01-04,2\n2020-01-06,3\n")
    published = load_published(FileSeriesConfig(path=path, value="v", lag="1B"))
    # Friday's and Saturday's are both known when Monday ends: the newer observation counts.
    assert known(published) == [("2020-01-07T00:00", 2.0), ("2020-01-08T00:00", 3.0)]


def test_clock_changes_never_make_a_value_known_too_early() -> None:
    skipped, doubled = ns("2021-03-14T02:30", "2021-11-07T01:30")
    utc = to_utc(np.array([skipped, doubled]), "America/New_York")
    assert utc.tolist() == ns("2021-03-14T07:00", "2021-11-07T06:30").tolist()


def test_times_of_day_and_offsets_are_read(tmp_path: Path) -> None:
    text = "stamp,v\n2020-01-03T10:00:00-05:00,1\n2020-01-06T10:00:00-05:00,2\n"
    path = written(tmp_path, text)
    config = FileSeriesConfig(path=path, value="v", time="stamp", lag="2h")
    assert known(load_published(config)) == [("2020-01-03T17:00", 1.0), ("2020-01-06T17:00", 2.0)]


VINTAGES = """\
month,released,value
2020-01-01,2020-02-13,1.0
2020-02-01,2020-03-12,2.0
2020-01-01,2020-03-20,1.5
2020-02-01,2020-04-10,2.5
2020-03-01,2020-04-10,3.0
"""


def test_revisions_are_publications_unless_they_are_ignored(tmp_path: Path) -> None:
    config = FileSeriesConfig(
        path=written(tmp_path, VINTAGES),
        value="value",
        time="month",
        publication="released",
        at="08:30",
    )
    first = [("2020-02-13T08:30", 1.0), ("2020-03-12T08:30", 2.0)]
    last = ("2020-04-10T08:30", 3.0)  # with a revision at the same moment: the newest observation
    assert known(load_published(config)) == [*first, ("2020-03-20T08:30", 1.5), last]
    assert known(load_published(replace(config, revisions="ignore"))) == [*first, last]
    values, _ = load_published(config).as_of(ns("2020-03-25"))
    assert values.tolist() == [1.5]


def test_a_slope_is_one_series(tmp_path: Path) -> None:
    text = "date,y10,y2\n2020-01-02,1.9,1.5\n2020-01-03,.,1.5\n2020-01-06,1.8,1.6\n"
    path = written(tmp_path, text)
    config = FileSeriesConfig(path=path, value="y10", minus="y2", lag="1D")
    with pytest.raises(MarketDataError, match=r"row 3, column 'y10': expected a finite number"):
        load_published(config)
    slope = load_published(replace(config, empty="drop"))
    assert slope.name == "y10-y2"
    np.testing.assert_allclose(slope.values, [0.4, 0.2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "date,v\n2020-01-03,1\n2020-01-02,2\n",
            "row 3, column 'date': expected a time not before",
        ),
        ("date,v\n2020-01-02,1\n2020-01-02,2\n", "row 3.*each observation once, as row 2 has it"),
        ("date,v\n2020-01-02,\n", "row 2, column 'v': expected a finite number"),
        ("date,v\n2020-01-02,inf\n", "row 2, column 'v': expected a finite number"),
        ("date,v\n2020-01-02,abc\n", "row 2, column 'v': expected a number, found 'abc'"),
        ("date,v\n2.1.2020,1\n", "expected a time as in ISO 8601"),
        ("date,v\n,1\n", "row 2, column 'date': expected a time"),
        ("day,v\n2020-01-02,1\n", "found no 'date' among"),
        ("date,v\n", "expected rows with a value, found none"),
    ],
)
def test_faulty_files_name_row_and_column(tmp_path: Path, text: str, message: str) -> None:
    config = FileSeriesConfig(path=written(tmp_path, text), value="v", lag="1D")
    with pytest.raises(MarketDataError, match=message):
        load_published(config)


def test_disorder_is_mended_on_request(tmp_path: Path) -> None:
    path = written(tmp_path, "date,v\n2020-01-03,3\n2020-01-02,1\n2020-01-02,2\n")
    config = FileSeriesConfig(path=path, value="v", lag="0D", at="12:00", sort=True)
    first = load_published(replace(config, duplicates="first"))
    last = load_published(replace(config, duplicates="last"))
    assert first.values.tolist() == [1.0, 3.0]
    assert last.values.tolist() == [2.0, 3.0]


def test_parquet_gives_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    frame = pd.DataFrame({"date": pd.to_datetime(["2020-01-02", "2020-01-03"]), "v": [1.0, 2.0]})
    frame.to_parquet(path)
    config = FileSeriesConfig(path=str(path), value="v", lag="1D")
    assert known(load_published(config)) == [("2020-01-04T00:00", 1.0), ("2020-01-05T00:00", 2.0)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "found neither"),
        ({"lag": "1D", "publication": "p"}, "found both"),
        ({"lag": "soon"}, "expected text such as"),
        ({"lag": "1D", "at": "25:00"}, "expected a time of day"),
        ({"lag": "1D", "timezone": "Moon"}, "expected an IANA name"),
        ({"lag": "1D", "speed": 1}, "speed"),
    ],
)
def test_faulty_configurations_are_refused(fields: dict[str, str], message: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(ExogenousConfig)
    with pytest.raises(ValidationError, match=message):
        adapter.validate_python({"kind": "file", "path": "x.csv", "value": "v", **fields})


@pytest.mark.parametrize("name", sorted(PACKAGED_SERIES))
def test_packaged_series_are_known_after_their_month_or_day(name: str) -> None:
    published = load_published(PackagedSeriesConfig(series=name))  # type: ignore[arg-type] # by name
    entry = PACKAGED_SERIES[name]
    assert published.name == name
    assert published.unit
    assert published.notes == entry.notes
    assert entry.file in published.source
    frame = pd.read_csv(io.BytesIO(read_content(entry)), na_values=["."])
    assert len(published.values) == frame[entry.column].notna().sum()


def test_publication_rules_by_hand() -> None:
    def first(name: Any) -> tuple[str, float]:
        return known(load_published(PackagedSeriesConfig(series=name)))[0]

    assert first("vix") == ("2014-01-03T21:15", 13.76)  # 16:15 in winter
    assert first("wti") == ("1986-01-13T22:00", 25.56)  # of Thursday 2 January
    assert first("brent") == ("1987-07-15T04:00", 18.58)  # mean of May
    assert first("core_cpi") == ("1957-03-01T05:00", 28.5)  # of January
    assert first("default_spread")[0] == "1919-02-08T05:00"  # of January


def test_another_file_in_the_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = replace(PACKAGED_SERIES["vix"], sha256="0" * 64)
    found = PACKAGED_SERIES["vix"].sha256
    monkeypatch.setitem(PACKAGED_SERIES, "vix", changed)
    with pytest.raises(ManifestError, match="expected SHA-256 0000"):
        load_published(PackagedSeriesConfig(series="vix"))
    accepted = load_published(PackagedSeriesConfig(series="vix", accept_sha256=found))
    assert "accepted deliberately" in accepted.notes[-1]

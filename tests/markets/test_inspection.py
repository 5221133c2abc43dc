"""Improbable bars are reported, and nothing is changed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from markets import Bars, CorporateActions, Instrument, suspicious

DAY = 86_400_000_000_000


def found(bars: Bars, **limits: float) -> list[tuple[str, str, str]]:
    return [
        (s.kind, s.symbol, str(pd.Timestamp(s.ts_event).date())) for s in suspicious(bars, **limits)
    ]


def test_goog_2008_09_30_is_valid_and_suspicious(raw_bars: Bars) -> None:
    row = int(np.searchsorted(raw_bars.ts_event, pd.Timestamp("2008-09-30").value))
    asset = raw_bars.symbols.index("GOOG")
    assert (raw_bars.low[row, asset], raw_bars.high[row, asset]) == (0.01, 489.36)
    assert raw_bars.close[row, asset] == 294.57  # inside its bounds, so no fault
    reports = found(raw_bars.select(["GOOG"]))
    assert ("spike", "GOOG", "2008-09-30") in reports
    assert ("range", "GOOG", "2008-09-30") in reports
    text = next(str(s) for s in suspicious(raw_bars) if s.kind == "spike" and s.symbol == "GOOG")
    assert text == (
        "2008-09-30 GOOG: close 294.57 after 390.08 and before 412.25: jumped by -24% and came back"
    )
    before = raw_bars.sha256()
    suspicious(raw_bars)
    assert raw_bars.sha256() == before


def test_the_list_for_real_data_is_short(raw_bars: Bars) -> None:
    """17 of 38,136 bars; among them three more broken lows of AAPL."""
    reports = found(raw_bars)
    assert len(reports) == 17
    assert {("range", "AAPL", date) for date in ("2009-09-21", "2010-08-31", "2011-01-03")} < set(
        reports
    )


def test_a_split_without_an_action_is_noticed(raw_daily: pd.DataFrame, raw_bars: Bars) -> None:
    unexplained = found(Bars.from_pandas(raw_daily))
    dates = {(symbol, date) for kind, symbol, date in unexplained if kind == "split"}
    assert {("AAPL", "2014-06-09"), ("AAPL", "2005-02-28"), ("IBM", "1999-05-27")} < dates
    known = {(symbol, date) for kind, symbol, date in found(raw_bars) if kind == "split"}
    # GOOG's class C distribution is in no actions file: a real gap of the data.
    assert known == {("GOOG", "2014-04-03")}


def test_the_stale_opens_of_an_index_are_noticed() -> None:
    from arch.data import nasdaq, sp500

    index = Bars.from_pandas(sp500.load(), instruments=[Instrument("SPX")])
    years = {date[:4] for kind, _, date in found(index) if kind == "stale open"}
    assert {"1999", "2000", "2005"} <= years
    assert "2018" not in years
    composite = Bars.from_pandas(nasdaq.load(), instruments=[Instrument("IXIC")])
    assert found(composite) == [
        ("no volume", "IXIC", "2015-05-12"), ("no volume", "IXIC", "2018-01-09"),
    ]  # fmt: skip


def test_additive_and_short_series_are_left_out() -> None:
    close = np.array([[1.0], [-1.0], [50.0], [1.0], [1.0]])
    columns: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close"), close)
    bars = Bars.from_arrays(
        np.arange(5) * DAY, ["X"], **columns, volume=np.ones((5, 1)),
        instruments=[Instrument("X", additive=True)],
    )  # fmt: skip
    assert suspicious(bars) == ()
    flat = np.ones((2, 1))
    short = Bars.from_arrays(
        np.arange(2) * DAY, ["X"], open=flat, high=flat, low=flat, close=flat, volume=flat
    )
    assert suspicious(short) == ()


@pytest.mark.parametrize("split", [2.0, 0.1])
def test_a_known_split_is_not_suspicious(split: float) -> None:
    generator = np.random.default_rng(5)
    close = 100 * np.exp(np.cumsum(generator.normal(0, 0.01, (300, 1)), axis=0))
    close[150:] /= split
    columns: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close"), close)
    ts_event = pd.date_range("2020-01-01", periods=300).as_unit("ns").asi8
    frame = pd.DataFrame(
        {"symbol": ["X"], "ex_date": [pd.Timestamp(ts_event[150])], "kind": "split", "value": split}
    )
    plain = Bars.from_arrays(ts_event, ["X"], **columns, volume=np.ones((300, 1)))
    told = Bars.from_arrays(
        ts_event, ["X"], **columns, volume=np.ones((300, 1)),
        actions=CorporateActions.from_pandas(frame),
    )  # fmt: skip
    kinds = [s.kind for s in suspicious(plain)]
    assert kinds == ["split"]
    assert suspicious(told) == ()


def test_other_real_data_are_read(shared_data: Path) -> None:
    """Futures with night trading and hourly US bars pass validation as they are."""
    futures = pd.read_csv(shared_data / "futures_5min_2023" / "china_futures_5min.csv.gz")
    futures["ts"] = pd.to_datetime(futures["ts"]).dt.tz_localize("Asia/Shanghai")
    bars = Bars.from_pandas(futures.rename(columns={"ts": "timestamp"}))
    assert bars.num_assets == 20
    assert bars.missing.any()
    hourly = pd.read_csv(shared_data / "us_hourly_raw_2012_2021" / "hourly_raw.csv.gz")
    hourly["date"] = pd.to_datetime(hourly["date"]).dt.tz_localize("America/New_York")
    assert Bars.from_pandas(hourly).num_assets == 2

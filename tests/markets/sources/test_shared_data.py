"""Real files of five kinds, read by configuration alone, and their known oddities."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from markets.sources.catalog import check
from markets.sources.config import load_config, load_dataset, parse_config
from markets.sources.protocol import DataFileError, Dataset

YAML = {
    "us_daily.yaml": """
kind: files
path: {data}/us_daily_raw_1998_2021
pattern: daily*
licence: Apache-2.0
instrument: {{calendar: XNYS, lot: 1}}
actions: {{kind: file, path: {data}/us_daily_raw_1998_2021/actions.csv}}
""",
    "us_hourly.yaml": """
kind: files
path: {data}/us_hourly_raw_2012_2021
timestamps: {{timezone: America/New_York, stamp: start, bar: 1h}}
instrument: {{calendar: XNYS}}
""",
    "eurusd.yaml": """
kind: files
path: {data}/fx_hourly_bid_ask/eurusd_hourly_2007_2018.csv.gz
layout: {{kind: long, symbol: EURUSD}}
columns:
  open: [bid_open, ask_open]
  high: [bid_high, ask_high]
  low: [bid_low, ask_low]
  close: [bid_close, ask_close]
volume: 1.0e+9
timestamps: {{stamp: start, bar: 1h}}
instrument: {{tick: 1.0e-5}}
""",
    "crypto.yaml": """
kind: files
path: {data}/crypto_minute
pattern: "*trades*"
timestamps: {{stamp: start, bar: 1min}}
instrument: {{calendar: 24/7}}
repair: mask
""",
    "futures.yaml": """
kind: files
path: {data}/futures_5min_2023
timestamps: {{timezone: Asia/Shanghai}}
instrument: {{currency: CNY, lot: 1, tick: 1.0}}
""",
    "wiki.yaml": """
kind: files
path: {data}/wiki_daily_with_actions
actions: {{kind: columns, split: split_ratio, dividend: ex_dividend}}
""",
    "vintages.yaml": """
kind: files
path: {data}/us_daily_vintages_2015_2017/prices_vintages.csv.gz
duplicates: last
actions: {{kind: file, path: {data}/us_daily_vintages_2015_2017/actions_derived.csv}}
""",
}


@pytest.fixture(scope="module")
def read(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> "dict[str, Dataset]":
    folder = tmp_path_factory.mktemp("configurations")
    datasets = {}
    for name, text in YAML.items():
        (folder / name).write_text(text.format(data=shared_data))
        datasets[name.removesuffix(".yaml")] = load_dataset(load_config(folder / name))
    return datasets


def row_of(dataset: Dataset, moment: str) -> int:
    at = pd.Timestamp(moment).tz_convert("UTC").as_unit("ns").value
    return int(np.flatnonzero(dataset.bars.ts_event == at)[0])


def test_us_daily(read: dict[str, Dataset]) -> None:
    bars = read["us_daily"].bars
    assert (bars.num_bars, bars.num_assets) == (5849, 8)
    assert (~bars.missing).sum() == 38136
    assert read["us_daily"].manifest.licence == "Apache-2.0"
    split = row_of(read["us_daily"], "2014-06-09 16:00-04:00")
    apple, aig = bars.symbols.index("AAPL"), bars.symbols.index("AIG")
    assert bars.split_TA[split, apple] == pytest.approx(7.0, rel=1e-4)
    assert bars.close[split - 1, apple] / bars.close[split, apple] == pytest.approx(6.9, rel=0.01)
    reverse = row_of(read["us_daily"], "2009-07-01 16:00-04:00")
    assert bars.split_TA[reverse, aig] == pytest.approx(0.05, rel=1e-4)


def test_hourly_bars_end_an_hour_after_their_stamp(read: dict[str, Dataset]) -> None:
    dataset = read["us_hourly"]
    first = row_of(dataset, "2012-01-03 10:00-05:00")  # stamped 09:00 in the file
    assert first == 0
    assert dataset.bars.close[0, dataset.bars.symbols.index("AAPL")] == 411.3
    hours = pd.DatetimeIndex(dataset.bars.ts_event, tz="UTC").tz_convert("America/New_York").hour
    assert set(hours) == {10, 11, 12, 13, 14, 15, 16}


def test_eurusd_is_the_mid(read: dict[str, Dataset]) -> None:
    dataset = read["eurusd"]
    bars = dataset.bars
    assert bars.num_bars == 74439
    first = row_of(dataset, "2007-01-01 22:00Z")
    assert bars.open[first, 0] == pytest.approx((1.31927 + 1.32027) / 2, abs=1e-12)
    assert (bars.volume == 1e9).all()
    assert any("mean of bid_open, ask_open" in note for note in dataset.manifest.notes)


def test_crypto_minutes_without_trade_are_missing(read: dict[str, Dataset]) -> None:
    bars = read["crypto"].bars
    assert set(bars.symbols) == {"BTCUSD", "ETHUSD"}
    assert (~bars.missing).sum() == 17752
    assert np.isnan(bars.close[bars.missing]).all()


def test_futures_in_shanghai(read: dict[str, Dataset]) -> None:
    dataset = read["futures"]
    row = row_of(dataset, "2023-03-15 11:05:00+08:00")
    silver = dataset.bars.symbols.index("AG2306")
    assert dataset.bars.close[row, silver] == 5059.0
    assert dataset.bars.volume[row, silver] == 7804.0
    assert dataset.bars.num_assets == 20


def test_wiki_actions_in_columns(read: dict[str, Dataset]) -> None:
    actions = read["wiki"].bars.actions.to_pandas()
    apple = actions[(actions["symbol"] == "AAPL") & (actions["ex_date"] == "2014-06-09")]
    assert apple["value"].tolist() == [7.0]
    assert (actions["kind"] == "dividend").sum() == 31


def test_last_vintage_wins(read: dict[str, Dataset], shared_data: Path) -> None:
    frame = pd.read_csv(shared_data / "us_daily_vintages_2015_2017" / "prices_vintages.csv.gz")
    dataset = read["vintages"]
    two = frame[(frame["symbol"] == "AAPL") & (frame["date"] == "2015-03-23")]
    assert len(two) == 2
    row = row_of(dataset, "2015-03-23 00:00Z")
    asset = dataset.bars.symbols.index("AAPL")
    assert dataset.bars.volume[row, asset] == two["volume"].iloc[-1]
    assert any("the last was kept" in note for note in dataset.manifest.notes)


def test_the_erroneous_bar_of_google_is_suspected_and_not_refused(shared_data: Path) -> None:
    path = shared_data / "us_daily_raw_1998_2021" / "daily_raw.csv.gz"
    config = parse_config({"kind": "files", "path": str(path), "symbols": ["GOOG"]})
    report = check(config)
    assert report.ok
    found = [s for s in report.suspicions if "2008-09-30" in str(s)]
    assert {suspicion.kind for suspicion in found} == {"range", "spike"}
    assert "GOOG" in str(report)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("bad.csv", {}, "row 2, column 'date': expected a time as in ISO 8601"),
        ("bad.csv", {"timestamps": {"format": "%m/%d/%Y"}}, "row 202, column bad.time"),
        (
            "mismatch.csv",
            {"timestamps": {"format": "%m/%d/%Y"}},
            "row 21, .* of row 20, found 2016",
        ),
        ("zeros.csv", {"timestamps": {"format": "%m/%d/%y"}}, "row 2, column zeros.open: .*> 0"),
    ],
)
def test_faulty_files(shared_data: Path, name: str, fields: dict[str, Any], message: str) -> None:
    path = shared_data / "validation_cases" / name
    with pytest.raises(DataFileError, match=message) as caught:
        load_dataset(parse_config({"kind": "files", "path": str(path), **fields}))
    assert str(path) in str(caught.value)


def test_what_was_dropped_is_in_the_manifest_with_its_place(shared_data: Path) -> None:
    path = shared_data / "validation_cases" / "mismatch.csv"
    fields = {"path": str(path), "timestamps": {"format": "%m/%d/%Y"}, "repair": "drop"}
    dataset = load_dataset(parse_config({"kind": "files", **fields}))
    rows = len(path.read_text().splitlines()) - 1
    (repair,) = dataset.manifest.repairs
    assert dataset.bars.num_bars == rows - repair.count
    assert f"{path}: row 21 " in repair.first[0]


def test_byte_order_mark_and_minutes(shared_data: Path) -> None:
    path = shared_data / "validation_cases" / "intraday.csv"
    fields = {
        "path": str(path),
        "layout": {"kind": "long", "symbol": "SPY"},
        "timestamps": {"timezone": "America/New_York"},
        "instrument": {"calendar": "XNYS"},
    }
    bars = load_dataset(parse_config({"kind": "files", **fields})).bars
    assert bars.num_bars == len(path.read_text().splitlines()) - 1
    assert bars.span[0] == pd.Timestamp("2020-12-15 09:30", tz="America/New_York")

"""Every feature over real markets in its forms: gaps, splits, dividends, sessions and silence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.definition import Array
from features.stream import FeatureStream
from markets.actions import CorporateActions
from markets.bars import Bars
from tests.features.test_every_feature import TOLERANCE, everything, without_paths

COLUMNS = ["date", "symbol", "open", "high", "low", "close", "volume"]


def us_stocks(folder: Path) -> Bars:
    """Two years of 33 stocks by day, with three splits, 200 dividends and days that are lacking.

    Three assets are halted for a month each, one of them over a split and one over dividends.
    """
    folder /= "us_daily_vintages_2015_2017"
    frame = pd.read_csv(folder / "prices_vintages.csv.gz", parse_dates=["date"])
    frame = frame.sort_values(["symbol", "date", "vintage"])
    frame = frame.drop_duplicates(["symbol", "date"], keep="last")
    for symbol, begin in (("NKE", "2015-12-10"), ("KO", "2016-03-01"), ("AAPL", "2016-08-01")):
        start = pd.Timestamp(begin)
        halted = frame["date"].between(start, start + pd.Timedelta(days=30))
        frame = frame[~(halted & (frame["symbol"] == symbol))]
    actions = pd.read_csv(folder / "actions_derived.csv")[["symbol", "ex_date", "kind", "value"]]
    return Bars.from_pandas(frame[COLUMNS], actions=CorporateActions.from_pandas(actions))


def futures(folder: Path) -> Bars:
    """A month of 20 futures in bars of five minutes: each has sessions of its own."""
    path = folder / "futures_5min_2023" / "china_futures_5min.csv.gz"
    return Bars.from_pandas(
        pd.read_csv(path, parse_dates=["ts"]).rename(columns={"ts": "date"})[COLUMNS]
    )


def crypto(folder: Path) -> Bars:
    """Minutes of two coins on some days of three years; a minute without a trade has no bar."""
    path = folder / "crypto_minute" / "coinbase_trades_1min.csv.gz"
    frame = pd.read_csv(path, parse_dates=["ts"]).rename(columns={"ts": "date"})
    bars = Bars.from_pandas(frame[COLUMNS])
    return bars.rows(0, 2000)


def us_long(folder: Path) -> Bars:
    """Eight stocks from 1998 to 2013: late starts, a reverse split of 1:20, erroneous trades."""
    folder /= "us_daily_raw_1998_2021"
    frame = pd.read_csv(folder / "daily_raw.csv.gz", parse_dates=["date"])
    actions = CorporateActions.from_pandas(pd.read_csv(folder / "actions.csv"))
    return Bars.from_pandas(frame, actions=actions).rows(2000, 4000)


MARKETS = pytest.mark.parametrize(
    "market", [us_stocks, futures, crypto, us_long], ids=lambda market: market.__name__
)


@MARKETS
def test_all_forms_of_every_feature(market: Callable[[Path], Bars], shared_data: Path) -> None:
    """Bar by bar, and the tail, are the batch to 1e-9 of the column's largest value."""
    bars = market(shared_data)
    pipeline = everything(bars)
    batch = pipeline.raw(bars)
    stream = FeatureStream(pipeline.features, bars.symbols)
    rows = [
        stream.update(bars.rows(row, row + 1), pipeline.exogenous) for row in range(bars.num_bars)
    ]
    names = (pipeline.names[:-1], pipeline.shared_names)
    for kind in (0, 1):
        require_near(np.stack([row[kind] for row in rows]), batch[kind], batch[kind], names[kind])
    tails = without_paths(pipeline)
    kept = (tails.names[:-1], tails.shared_names)
    for stop in (bars.num_bars, bars.num_bars * 3 // 4):
        last = tails.raw_tail(bars.rows(0, stop))
        for kind in (0, 1):
            places = [names[kind].index(name) for name in kept[kind]]
            whole = batch[kind][..., places]
            require_near(last[kind], whole[stop - 1], whole, kept[kind])


@pytest.mark.parametrize("market", [us_stocks, futures], ids=lambda market: market.__name__)
def test_there_are_gaps_and_splits(market: Callable[[Path], Bars], shared_data: Path) -> None:
    """The instrument works: the data have what the forms are to agree on."""
    bars = market(shared_data)
    assert bars.num_assets >= 20
    pauses = [np.diff(np.flatnonzero(there_T)).max() for there_T in ~bars.missing.T]
    assert sum(pause > 15 for pause in pauses) >= 3
    if market is us_stocks:
        assert np.count_nonzero(bars.split_TA != 1.0) >= 3
        assert np.count_nonzero(bars.dividend_TA) >= 150


def require_near(found: Array, expected: Array, whole: Array, names: tuple[str, ...]) -> None:
    """Every column to 1e-9 of its largest value in the history."""
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    for column, name in enumerate(names):
        scale = np.nanmax(np.abs(whole[..., column]), initial=0.0)
        np.testing.assert_allclose(
            found[..., column],
            expected[..., column],
            rtol=TOLERANCE,
            atol=TOLERANCE * scale,
            err_msg=name,
        )

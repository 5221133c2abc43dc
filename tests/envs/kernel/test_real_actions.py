"""A holder's equity is continuous through real splits and dividends."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from envs.config import EpisodeConfig, FeeConfig, ObservationConfig, TradingConfig
from envs.market_arrays import MarketArrays
from envs.simulator import TERMS, Simulator


def around(folder: Path, symbol: str, day: str) -> tuple[MarketArrays, pd.DataFrame, int]:
    source = folder / "us_daily_raw_1998_2021"
    bars = pd.read_csv(source / "daily_raw.csv.gz").query("symbol == @symbol")
    event = pd.DatetimeIndex(bars["date"]).get_loc(pd.Timestamp(day))
    assert isinstance(event, int)  # a slice or a mask if the day were there twice
    bars = bars.iloc[event - 5 : event + 6]
    dates = pd.DatetimeIndex(bars["date"])
    actions = pd.read_csv(source / "actions.csv").query("symbol == @symbol")
    columns = {"split": np.ones(11), "dividend": np.zeros(11)}
    for ex_date, kind, value in zip(
        actions["ex_date"], actions["kind"], actions["value"], strict=True
    ):
        columns[kind][dates == pd.Timestamp(ex_date)] = value
    market = MarketArrays.from_arrays(
        ts_event=dates.as_unit("ns").asi8,
        open_TA=bars[["open"]],
        close_TA=bars[["close"]],
        volume_TA=bars[["volume"]],
        split_TA=columns["split"][:, None],
        dividend_TA=columns["dividend"][:, None],
    )
    return market, bars, 5


def hold(market: MarketArrays) -> Simulator:
    config = TradingConfig.frictionless(
        observation=ObservationConfig(window=1),
        episode=EpisodeConfig(length=None, random_start=False, initial_cash=1e6),
    )
    config = dataclasses.replace(config, fee=FeeConfig(bps=0.0))
    simulator = Simulator(market, config, 1, seed=0, record_terms=True)
    simulator.step([[0.9]])
    return simulator


@pytest.mark.parametrize(
    ("symbol", "day", "ratio"), [("AAPL", "2014-06-09", 7.0), ("AIG", "2009-07-01", 0.05)]
)
def test_split(shared_data: Path, symbol: str, day: str, ratio: float) -> None:
    market, bars, split_bar = around(shared_data, symbol, day)
    assert market.split_TA[split_bar, 0] == pytest.approx(ratio, rel=1e-6)
    simulator = hold(market)
    shares = simulator.shares_NA[0, 0]
    while simulator.bar_N[0] < split_bar:
        before = simulator.equity_N[0]
        weight = float(shares * market.close_TA[simulator.bar_N[0], 0] / before)
        simulator.step([[weight]])  # what is held: nothing to trade
    assert simulator.shares_NA[0, 0] == pytest.approx(shares * ratio, rel=1e-6)
    raw = bars["close"].iloc[split_bar] / bars["close"].iloc[split_bar - 1]
    assert abs(np.log(raw)) > 1.5  # the raw price jumps
    expected = 1 + weight * (raw * ratio - 1)
    assert simulator.equity_N[0] / before == pytest.approx(expected, rel=1e-6)
    assert abs(simulator.equity_N[0] / before - 1) < 0.2


def test_dividend(shared_data: Path) -> None:
    market, bars, ex_bar = around(shared_data, "AAPL", "2014-08-07")
    dividend = market.dividend_TA[ex_bar, 0]
    assert dividend == pytest.approx(0.47, abs=0.01)
    simulator = hold(market)
    shares = simulator.shares_NA[0, 0]
    while simulator.bar_N[0] < ex_bar:
        before = simulator.equity_N[0]
        simulator.step([[float(shares * market.close_TA[simulator.bar_N[0], 0] / before)]])
    terms = dict(zip(TERMS, simulator.terms_N7[0], strict=True))
    assert terms["dividends"] == pytest.approx(shares * dividend, rel=1e-8)
    change = bars["close"].iloc[ex_bar] - bars["close"].iloc[ex_bar - 1]
    gain = simulator.equity_N[0] - before
    assert gain == pytest.approx(shares * (change + dividend), rel=1e-6)

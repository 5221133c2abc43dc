"""Additive prices worked by hand, and a stream beside the bars of its own path."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from envs.config import (
    BorrowConfig,
    EpisodeConfig,
    FeeConfig,
    LongShortAction,
    ObservationConfig,
    QuadraticCostConfig,
    QuadraticUtilityReward,
    TradeAction,
    TradingConfig,
)
from envs.market_arrays import MarketArrays
from envs.simulator import TERMS, Simulator
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from tests.envs.kernel.markets import DAY
from tests.envs.kernel.streams import LENGTH, rules, table
from tests.envs.kernel.test_reference import compare
from tests.envs.reference import Reference

TRADE = TradeAction(size=10.0, limit=15.0, dead_zone=0.2, unit=5.0)


def config(**changes: Any) -> TradingConfig:
    base = TradingConfig.frictionless(
        action=TRADE,
        reward=QuadraticUtilityReward(risk_aversion=0.5),
        observation=ObservationConfig(window=1),
        episode=EpisodeConfig(length=None, random_start=False, initial_cash=1_000.0),
    )
    return replace(base, **{"quadratic": QuadraticCostConfig(coefficient=2.0), **changes})


def bars(*close: float, **columns: Any) -> MarketArrays:
    price = np.array(close)[:, None]
    opened = np.concatenate([price[:1], price[:-1]])
    return MarketArrays.from_arrays(
        ts_event=np.arange(len(close)) * DAY,
        open_TA=opened,
        close_TA=price,
        **({"additive": True, "cost_AA": 0.3, "covariance_AA": 4.0} | columns),
    )


def test_three_bars_to_the_cent() -> None:
    # Closes 1, -2, 0, 3; c(u) = 1/2 * 2 * 0.3 u^2 = 0.3 u^2 and 0.1 a unit; risk 0.5 / 2 * 4 x^2.
    prices = bars(1.0, -2.0, 0.0, 3.0)
    rules = config(fee=FeeConfig(bps=0.0, per_share=0.1))
    simulator = Simulator(prices, rules, 1, seed=0, record_terms=True)

    # a = -0.6: u = -10 (0.6 - 0.2) / 0.8 = -5 at the open of 1; cost 7.5 + 0.5; then -5 * -3 = 15.
    simulator.step([[-0.6]])
    assert simulator.shares_NA[0, 0] == pytest.approx(-5.0, abs=1e-12)
    assert simulator.cash_N[0] == pytest.approx(1_000 + 5 - 8, abs=1e-9)
    assert simulator.equity_N[0] == pytest.approx(1_007.0, abs=1e-9)
    assert simulator.reward_N[0] == pytest.approx(7.0 - 25.0, abs=1e-9)
    expected = dict.fromkeys(TERMS, 0.0) | {"pnl": 15.0, "fees": 0.5, "slippage": 7.5}
    assert simulator.terms_N7[0] == pytest.approx(list(expected.values()), abs=1e-9)
    # What a unit brought: 1 - 8 / 5 + the fee, which is no part of the price.
    assert simulator.fill_price_NA[0, 0] == pytest.approx(1.0 - 7.5 / 5.0, abs=1e-12)
    np.testing.assert_allclose(
        simulator.account_NP[0], [-1.0, 1_000 / 1_007 * 0.997, 0.0, 2 / 3], rtol=1e-6
    )

    # a = 0.2 is in the dead zone: -5 units earn -5 * 2.
    simulator.step([[0.2]])
    assert simulator.trades_NA[0, 0] == 0.0
    assert simulator.equity_N[0] == pytest.approx(997.0, abs=1e-9)
    assert simulator.reward_N[0] == pytest.approx(-10.0 - 25.0, abs=1e-9)

    # a = 1: 10 units at a price of 0, to 5; they cost 30 + 1 and earn 15; risk 25.
    simulator.step([[1.0]])
    assert simulator.shares_NA[0, 0] == pytest.approx(5.0, abs=1e-12)
    assert simulator.equity_N[0] == pytest.approx(997 - 31 + 15, abs=1e-9)
    assert simulator.reward_N[0] == pytest.approx(-16.0 - 25.0, abs=1e-9)
    assert not simulator.projected_N[0]
    assert np.isnan(simulator.expected_N[0])


def test_holdings_end_at_the_limit_and_are_counted() -> None:
    simulator = Simulator(bars(1, 1, 1, 1, 1), config(), 1, seed=0)
    for action, holding, projected in ((1.0, 10.0, False), (1.0, 15.0, True), (-2.0, 5.0, True)):
        simulator.step([[action]])
        assert simulator.shares_NA[0, 0] == holding
        assert simulator.projected_N[0] == projected
    assert simulator.projection_count_N[0] == 2


def test_the_identity_is_the_cost_of_a_market_without_one() -> None:
    simulator = Simulator(bars(0, 0, cost_AA=None), config(), 1, seed=0)
    simulator.step([[1.0]])
    assert simulator.cash_N[0] == pytest.approx(1_000 - 100, abs=1e-9)


def test_crossed_costs_of_two_assets() -> None:
    # u = (10, -5): 1/2 * 2 * (2 * 100 - 2 * 1 * 50 + 4 * 25); x' Sigma x = 100 - 2 * 0.5 * 50 + 25.
    prices = MarketArrays.from_arrays(
        ts_event=np.arange(2) * DAY,
        open_TA=np.zeros((2, 2)),
        close_TA=np.array([[0.0, 0.0], [1.0, -3.0]]),
        additive=True,
        cost_AA=[[2.0, 1.0], [1.0, 4.0]],
        covariance_AA=[[1.0, 0.5], [0.5, 1.0]],
    )
    simulator = Simulator(prices, config(), 1, seed=0, record_terms=True)
    simulator.step([[1.0, -0.6]])
    assert simulator.terms_N7[0, TERMS.index("slippage")] == pytest.approx(200.0, abs=1e-9)
    assert simulator.equity_N[0] == pytest.approx(1_000 - 200 + 25, abs=1e-9)
    assert simulator.reward_N[0] == pytest.approx(-175 - 0.25 * 75, abs=1e-9)


@pytest.mark.parametrize("fill", ["next_open", "close"])
def test_a_stream_equals_the_bars_of_its_path(fill: Any) -> None:
    market = GarleanuPedersen(loadings=((0.2, 0.1),), transition=((1.0,),))
    stream, path = market.stream(), market.path(LENGTH + 1, seed=7)
    prices = table(market, path, cost_AA=stream.cost_KAA[0], covariance_AA=stream.covariance_KAA[0])
    settings = replace(rules(market), fill=fill)
    generated = Simulator(stream, settings, 1, seed=7, record_terms=True)
    stored = Simulator(prices, settings, 1, seed=7, record_terms=True)
    reference = Reference(prices, settings, 0, LENGTH)
    rng = np.random.default_rng(1)
    for _ in range(LENGTH):
        action = rng.uniform(-1.2, 1.2, (1, 1))
        generated.step(action)
        stored.step(action)
        compare(stored, [reference], [reference.step(action[0].tolist())])
        np.testing.assert_allclose(generated.equity_N, stored.equity_N, rtol=1e-13)
        np.testing.assert_allclose(generated.reward_N, stored.reward_N, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(generated.terms_N7, stored.terms_N7, rtol=1e-9, atol=1e-9)
        assert generated.shares_NA.tobytes() == stored.shares_NA.tobytes()


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [
        ({"covariance_AA": None}, {}, "quadratic_utility.*found no covariance"),
        ({}, {"action": LongShortAction()}, "action.kind: expected 'trade'.*found 'long_short'"),
        ({}, {"borrow": BorrowConfig(annual_rate=0.1)}, "borrow.annual_rate.*found 0.1"),
        ({"cost_AA": [[1.0, 0.0]]}, {}, r"cost_AA: expected shape \(1, 1\), found \(1, 2\)"),
        ({"cost_AA": -1.0}, {}, "cost_AA: expected no negative eigenvalue, found -1"),
        ({"cost_AA": np.nan}, {}, "cost_AA: expected a finite symmetric matrix"),
        ({"additive": False}, {}, "cost_AA: expected None where the market is not additive"),
    ],
)
def test_refuses_what_does_not_fit(
    columns: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Simulator(bars(1, 2, 3, **columns), config(**changes), 1, seed=0)

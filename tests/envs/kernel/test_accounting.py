"""Golden episodes worked by hand, to the cent."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from envs.config import (
    BorrowConfig,
    EpisodeConfig,
    FeeConfig,
    FinancingConfig,
    ImpactConfig,
    LevelsAction,
    LongShortAction,
    MarginConfig,
    ObservationConfig,
    ParticipationConfig,
    SharesAction,
    SimplexAction,
    SpreadConfig,
    TradingConfig,
)
from envs.market_arrays import MarketArrays
from envs.simulator import TERMS, Simulator
from tests.envs.kernel.markets import DAY

YEAR_DAYS = 365.25


def market(open_T: Sequence[float], close_T: Sequence[float], **columns: Any) -> MarketArrays:
    size = len(close_T)
    columns = {
        name: np.array(column, dtype=float)[:, None] if name != "lot_A" else column
        for name, column in columns.items()
    }
    return MarketArrays.from_arrays(
        ts_event=np.arange(size) * DAY,
        open_TA=np.array(open_T)[:, None],
        close_TA=np.array(close_T)[:, None],
        **columns,
    )


def simulate(prices: MarketArrays, config: TradingConfig, *actions: float) -> Simulator:
    simulator = Simulator(prices, config, 1, seed=0, record_terms=True)
    for action in actions:
        simulator.step([[action]])
    return simulator


def terms(simulator: Simulator) -> dict[str, float]:
    return dict(zip(TERMS, simulator.terms_N7[0].tolist(), strict=True))


def frictionless(**changes: Any) -> TradingConfig:
    base = TradingConfig.frictionless(
        observation=ObservationConfig(window=1),
        episode=EpisodeConfig(length=None, random_start=False, initial_cash=10_000.0),
    )
    return TradingConfig(**{**vars(base), **changes})


def test_next_open_fill_misses_the_gap() -> None:
    simulator = simulate(market([100, 110, 120], [100, 121, 120]), frictionless(), 0.5)
    # Half of 10,000 at the close of 100 is 50 shares; they cost 110 at the open, and close at 121.
    assert simulator.shares_NA[0, 0] == 50.0
    assert simulator.cash_N[0] == 10_000 - 50 * 110
    assert simulator.equity_N[0] == 10_000 + 50 * 11
    assert simulator.reward_N[0] == pytest.approx(np.log(1.055), abs=1e-15)
    assert simulator.fill_price_NA[0, 0] == 110.0


def test_close_fill_takes_the_gap() -> None:
    simulator = simulate(market([100, 110, 120], [100, 121, 120]), frictionless(fill="close"), 0.5)
    assert simulator.cash_N[0] == 5_000
    assert simulator.equity_N[0] == 10_000 + 50 * 21


def test_costs_of_one_order() -> None:
    config = frictionless(
        fee=FeeConfig(bps=10, per_share=0.01, minimum=1.0),
        spread=SpreadConfig(bps=20),
        impact=ImpactConfig(coefficient=0.5),
    )
    closes = [100, 102, 100.98, 100.98, 100.98]
    prices = market(closes, closes, volume_TA=[5_000] * 5)
    simulator = Simulator(prices, config, 1, seed=0, record_terms=True)
    for action in ([0.0], [0.0], [0.5]):
        simulator.step([action])
    # Returns log(1.02), log(0.99) up to bar 2: standard deviation 0.0149... of the decision.
    volatility = abs(np.log(1.02) - np.log(0.99)) / 2
    shares = 5_000 / 100.98
    notional = 5_000.0
    assert terms(simulator) == pytest.approx(
        {
            "pnl": 0.0,
            "dividends": 0.0,
            "fees": notional * 0.001 + shares * 0.01,
            "spread": notional * 0.001,
            "slippage": notional * 0.5 * volatility * np.sqrt(shares / 5_000),
            "borrow": 0.0,
            "financing": 0.0,
        },
        abs=1e-9,
    )
    per_share = (terms(simulator)["spread"] + terms(simulator)["slippage"]) / shares
    assert simulator.fill_price_NA[0, 0] == pytest.approx(100.98 + per_share, abs=1e-12)


def test_minimum_fee_and_cash_never_negative() -> None:
    config = frictionless(fee=FeeConfig(bps=0, minimum=7.0))
    simulator = simulate(market([100] * 3, [100] * 3), config, 1.0)
    # All of the cash but the fee: 9,993 buys 99.93 shares.
    assert simulator.shares_NA[0, 0] == pytest.approx(99.93, abs=1e-9)
    assert 0.0 <= simulator.cash_N[0] < 1e-6
    assert terms(simulator)["fees"] == 7.0


def test_gap_up_scales_the_buy_down() -> None:
    simulator = simulate(market([100, 125, 125], [100, 125, 125]), frictionless(), 1.0)
    assert simulator.shares_NA[0, 0] == pytest.approx(80.0, abs=1e-9)
    assert simulator.unfilled_NA[0, 0] == pytest.approx(20.0, abs=1e-9)
    assert simulator.cash_N[0] >= 0.0


def test_participation_fills_partly_and_the_rest_lapses() -> None:
    config = frictionless(participation=ParticipationConfig(maximum=0.1))
    prices = market([100] * 4, [100] * 4, volume_TA=[300, 300, 150, 300])
    simulator = simulate(prices, config, 1.0)
    assert simulator.trades_NA[0, 0] == 30.0
    assert simulator.unfilled_NA[0, 0] == 70.0
    simulator.step([[1.0]])
    assert simulator.shares_NA[0, 0] == 45.0
    simulator.step([[0.45]])  # nothing left to do: the rest of the first order has lapsed
    assert simulator.trades_NA[0, 0] == 0.0


def test_lots_round_toward_zero_and_a_close_sells_the_odd_lot() -> None:
    closes = [30, 30, 120, 120]
    prices = market(closes, closes, lot_A=[10.0], split_TA=[1, 1, 0.25, 1])
    simulator = simulate(prices, frictionless(), 0.95)
    assert simulator.shares_NA[0, 0] == 310.0  # 9,500 / 30 = 316.7
    simulator.step([[0.93]])  # what is held; one new share for four leaves an odd lot
    assert simulator.shares_NA[0, 0] == 77.5
    simulator.step([[0.0]])
    assert simulator.shares_NA[0, 0] == 0.0


def test_halt_fills_nothing_and_values_at_the_last_price() -> None:
    prices = market([100, 110, np.nan, 90], [100, 110, np.nan, 90])
    simulator = simulate(prices, frictionless(), 0.5, 0.0)
    assert simulator.shares_NA[0, 0] == 50.0
    assert simulator.equity_N[0] == 10_000.0  # bought at 110, valued at 110
    simulator.step([[0.0]])
    assert simulator.cash_N[0] == 10_000 - 50 * 110 + 50 * 90


def test_interest_by_year_fraction() -> None:
    config = frictionless(
        action=LongShortAction(gross=2.0, net=2.0, scale=2.0),
        financing=FinancingConfig(debit_annual_rate=0.10, credit_annual_rate=0.02),
        borrow=BorrowConfig(annual_rate=0.05),
    )
    prices = market([100] * 5, [100] * 5)
    simulator = simulate(prices, config, 1.0)  # weight 2: cash earns for the first day
    credit = 10_000 * 0.02 / YEAR_DAYS
    assert terms(simulator)["financing"] == pytest.approx(-credit, abs=1e-12)
    simulator.step([[1.0]])
    debit = (20_000 - 10_000 - credit) * 0.10 / YEAR_DAYS
    assert terms(simulator)["financing"] == pytest.approx(debit, abs=1e-9)
    simulator.step([[-0.5]])
    equity, shares = simulator.equity_N[0], simulator.shares_NA[0, 0]
    simulator.step([[-0.5]])
    assert terms(simulator)["borrow"] == pytest.approx(-shares * 100 * 0.05 / YEAR_DAYS, abs=1e-9)
    assert shares == pytest.approx(-equity / 100, rel=1e-3)


def test_dividend_arrives_and_shorts_pay() -> None:
    prices = market([100] * 3 + [98], [100] * 3 + [98], dividend_TA=[0, 0, 2, 0])
    long = simulate(prices, frictionless(), 0.5, 0.5)
    assert terms(long)["dividends"] == 100.0
    assert long.equity_N[0] == 10_100.0
    short = simulate(prices, frictionless(action=LongShortAction()), -0.5, -0.5)
    assert terms(short)["dividends"] == -100.0


def test_split_moves_holdings_and_pending_orders() -> None:
    prices = market([100, 100, 50, 50], [100, 100, 50, 50], split_TA=[1, 1, 2, 1])
    simulator = simulate(prices, frictionless(), 0.5, 0.75)
    assert simulator.shares_NA[0, 0] == 150.0  # 75 shares of before, bought at 50 after the split
    assert simulator.equity_N[0] == 10_000.0


def test_delisting_settles_at_the_last_price() -> None:
    prices = MarketArrays.from_arrays(
        ts_event=np.arange(4) * DAY,
        open_TA=[[100.0, 10.0], [100.0, 10.0], [np.nan, 10.0], [np.nan, 10.0]],
        close_TA=[[100.0, 10.0], [80.0, 10.0], [np.nan, 10.0], [np.nan, 10.0]],
    )
    simulator = Simulator(prices, frictionless(), 1, seed=0, record_terms=True)
    simulator.step([[0.5, 0.0]])
    simulator.step([[0.9, 0.0]])
    assert simulator.shares_NA[0].tolist() == [0.0, 0.0]
    assert simulator.cash_N[0] == 10_000 - 50 * 20
    simulator.step([[0.9, 0.0]])
    assert simulator.trades_NA[0, 0] == 0.0


def test_margin_call_liquidates_at_the_close_with_costs() -> None:
    config = frictionless(
        action=LevelsAction(levels=(0.0, 2.0)),
        margin=MarginConfig(maintenance=0.3, liquidation_fee_bps=100),
        fee=FeeConfig(bps=0, minimum=0),
        spread=SpreadConfig(bps=100),
        participation=ParticipationConfig(maximum=1.0),
    )
    prices = market([100, 100, 70, 70], [100, 100, 70, 70], volume_TA=[1e3] * 4)
    simulator = simulate(prices, config, 1, 1)
    # 200 shares cost 20,000 and 100 of half spread, so 100 are borrowed: cash -10,100. At 70 the
    # equity of 3,900 is below 0.3 * 14,000 = 4,200. (The order of the second step would have sold
    # shares worth 200 at the open; it fills first.)
    assert simulator.liquidated_N[0]
    assert simulator.shares_NA[0, 0] == 0.0
    order = 2 * 9_900 / 100 - 200
    cash = -10_100 - order * 70 - abs(order) * 70 * 0.005
    gross = (200 + order) * 70
    expected = cash + gross - gross * 0.005 - gross * 0.01
    assert simulator.equity_N[0] == pytest.approx(expected, abs=1e-9)
    assert terms(simulator)["fees"] == pytest.approx(gross * 0.01, abs=1e-9)


def test_ruin_terminates_with_a_finite_reward() -> None:
    config = frictionless(action=LevelsAction(levels=(0.0, 3.0)))
    prices = market([100, 100, 50, 50], [100, 100, 50, 50])
    simulator = simulate(prices, config, 1, 1)
    assert simulator.equity_N[0] < 0.0
    assert simulator.terminated_N[0]
    assert not simulator.truncated_N[0]
    assert simulator.reward_N[0] == pytest.approx(np.log(1e-6))
    assert np.isfinite(simulator.observe_index()).all()


def test_episode_end_truncates() -> None:
    simulator = simulate(market([100] * 3, [100] * 3), frictionless(), 0.0, 0.0)
    assert simulator.truncated_N[0]
    assert not simulator.terminated_N[0]
    assert simulator.account_NP[0, -1] == 0.0


@pytest.mark.parametrize(
    ("action", "asked", "weight"),
    [
        (SimplexAction(), 1.7, 1.0),
        (SimplexAction(), -0.2, 0.0),
        (LongShortAction(), -3.0, -1.0),
        (LongShortAction(gross=2.0, net=0.5, scale=2.0), 0.6, 0.5),
        (LevelsAction(levels=(0.0, 0.5)), 7.0, 0.5),
        (SharesAction(maximum=1_000), 150.0, 1.0),
    ],
)
def test_action_outside_is_projected_and_counted(action: Any, asked: float, weight: float) -> None:
    simulator = simulate(market([100] * 4, [100] * 4), frictionless(action=action), asked)
    assert simulator.account_NP[0, 0] == pytest.approx(weight)
    assert simulator.projected_N[0]
    simulator.step([[0.0]])
    assert not simulator.projected_N[0]
    assert simulator.projection_count_N[0] == 1


def test_softmax_gives_cash_its_part() -> None:
    prices = MarketArrays.from_arrays(
        ts_event=np.arange(3) * DAY, open_TA=np.full((3, 2), 10.0), close_TA=np.full((3, 2), 10.0)
    )
    config = frictionless(action=SimplexAction(parametrisation="logits"))
    simulator = Simulator(prices, config, 1, seed=0)
    simulator.step([[np.log(2.0), np.log(3.0), np.log(5.0)]])
    np.testing.assert_allclose(simulator.account_NP[0, :3], [0.2, 0.3, 0.5], rtol=1e-6)


def test_net_limit_shrinks_the_heavier_side() -> None:
    prices = MarketArrays.from_arrays(
        ts_event=np.arange(3) * DAY, open_TA=np.full((3, 2), 10.0), close_TA=np.full((3, 2), 10.0)
    )
    config = frictionless(action=LongShortAction(gross=2.0, net=0.25))
    simulator = Simulator(prices, config, 2, seed=0)
    simulator.step([[0.8, -0.2], [0.1, -0.9]])
    expected = [[0.45, -0.2], [0.1, -0.35]]
    np.testing.assert_allclose(simulator.account_NP[:, :2], expected, rtol=1e-6)
    assert simulator.projected_N.all()

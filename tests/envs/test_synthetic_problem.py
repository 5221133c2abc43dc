"""A synthetic market as a trading problem: inverse actions and rules."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from envs.config import LongShortAction, QuadraticUtilityReward, TradeAction
from envs.synthetic import TRADE_SCALES, Problem
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck
from markets.synthetic.regime_gbm import RegimeGBM

SPREADS = OrnsteinUhlenbeck(limit=6.0, assets=2)


def traded(action_NA: Any, rules: TradeAction) -> Any:
    """The action mapping of `TradeAction`, as its docstring says."""
    size = np.maximum(np.abs(action_NA) - rules.dead_zone, 0.0) / (1.0 - rules.dead_zone)
    return rules.size * np.sign(action_NA) * size


@given(
    target=st.lists(st.floats(-9.0, 9.0), min_size=2, max_size=2),
    holding=st.lists(st.floats(-6.0, 6.0), min_size=2, max_size=2),
    dead_zone=st.floats(0.0, 0.9),
)
def test_actions_trade_to_the_target(target: Any, holding: Any, dead_zone: float) -> None:
    problem = Problem(SPREADS, trade_size=2.5, dead_zone=dead_zone)
    rules = problem.trading().action
    assert isinstance(rules, TradeAction)
    held_NA = np.array([holding])
    action_NA = problem.action(np.array([target]), held_NA)
    assert (np.abs(action_NA) <= 1.0).all()
    wanted_NA = np.clip(np.clip(target, -6.0, 6.0) - held_NA, -2.5, 2.5)
    np.testing.assert_allclose(traded(action_NA, rules), wanted_NA, atol=1e-9)
    assert (problem.action(held_NA, held_NA) == 0.0).all(), "what is held is no trade"


def test_a_far_target_is_reached_in_several_actions() -> None:
    problem = Problem(SPREADS, trade_size=2.0)
    rules = problem.trading().action
    holding_NA, holdings = np.zeros((1, 2)), []
    for _ in range(3):
        holding_NA = holding_NA + traded(problem.action(np.array([[5.0, -3.0]]), holding_NA), rules)  # type: ignore[arg-type] # a trade
        holdings.append(holding_NA[0].tolist())
    assert holdings == [[2.0, -2.0], [4.0, -3.0], [5.0, -3.0]]


def test_weights_are_parts_of_the_limit() -> None:
    problem = Problem(RegimeGBM(limit=1.25))
    action_NA = problem.action(np.array([[0.5], [-2.0]]), np.zeros((2, 1)))
    assert action_NA.tolist() == [[0.4], [-1.0]]


def test_rules_are_those_of_the_market() -> None:
    quadratic = Problem(GarleanuPedersen(risk_aversion=2.0), episode_length=40).trading()
    assert quadratic.reward == QuadraticUtilityReward(risk_aversion=2.0)
    assert quadratic.quadratic.coefficient == 1.0
    assert quadratic.fee.per_share == quadratic.fee.bps == 0.0
    assert (quadratic.episode.length, quadratic.episode.random_start) == (40, False)
    proportional = Problem(OrnsteinUhlenbeck(cost=0.7, risk_aversion=0.3)).trading()
    assert proportional.reward == QuadraticUtilityReward(risk_aversion=0.3)
    assert (proportional.fee.per_share, proportional.quadratic.coefficient) == (0.7, 0.0)
    growth = Problem(RegimeGBM(cost_bps=7.0, limit=1.3), expected_reward=True).trading()
    assert growth.reward.kind == "log_return"
    assert (growth.fee.bps, growth.spread.bps, growth.expected_reward) == (7.0, 0.0, True)
    assert growth.action == LongShortAction(gross=1.3, net=1.3, scale=1.3)
    for config in (quadratic, proportional, growth):
        assert config.borrow.annual_rate == config.financing.debit_annual_rate == 0.0
        assert config.impact.coefficient == config.margin.maintenance == 0.0
        assert config.participation.maximum is None
        assert not config.cash_account


@pytest.mark.parametrize("limit", [0.4, 1.0])
def test_small_limits_leave_room_for_the_costs(limit: float) -> None:
    """A cash account scales purchases down to its cash: that must never bind."""
    rules = Problem(RegimeGBM(limit=limit)).trading()
    assert isinstance(rules.action, LongShortAction)
    assert rules.action.scale == limit
    assert rules.action.gross == pytest.approx(limit, abs=2e-9)
    assert rules.cash_account == (limit < 0.9)


def test_trade_sizes() -> None:
    for world in (GarleanuPedersen(), OrnsteinUhlenbeck()):
        scale = TRADE_SCALES[world.kind] * world.holding_scale
        rules = Problem(world, dead_zone=0.1).trading().action
        assert rules == TradeAction(
            size=scale, limit=world.holding_limit, dead_zone=0.1, unit=world.holding_scale
        )
        assert Problem(world, trade_size=0.3).size == 0.3


@pytest.mark.parametrize(
    ("world", "other"),
    [
        (GarleanuPedersen(transition=0.9), GarleanuPedersen()),
        (OrnsteinUhlenbeck(limit=3.0), OrnsteinUhlenbeck()),
        (RegimeGBM(limit=0.5), RegimeGBM()),
    ],
)
def test_markets_of_one_measure_are_traded_alike(world: Any, other: Any) -> None:
    """Else an agent that goes from one to the other would read its holdings wrongly."""
    measured, own = Problem(world, measure=other), Problem(world)
    assert measured.trading().action == Problem(other).trading().action != own.trading().action
    assert measured.initial_cash == Problem(other).initial_cash
    assert (measured.size, measured.limit) == (Problem(other).size, Problem(other).limit)
    target_NA = np.array([[0.9 * other.holding_limit]])
    np.testing.assert_array_equal(
        measured.action(target_NA, 0.0 * target_NA),
        Problem(other).action(target_NA, 0.0 * target_NA),
    )


def test_a_measure_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="kind garleanu_pedersen, found regime_gbm"):
        Problem(GarleanuPedersen(), measure=RegimeGBM())


@pytest.mark.parametrize("kind", ["garleanu_pedersen", "ornstein_uhlenbeck"])
def test_cash_scales_with_the_unit_of_currency_and_of_holdings(kind: str) -> None:
    """Prices in other units of currency (c), and assets that are split into h parts each."""

    def cash(c: float, h: float) -> float:
        # A part costs and moves c / h; what is maximised is in currency.
        if kind == "garleanu_pedersen":
            loadings = ((0.2 * c / h, 0.0), (-0.15 * c / h, 0.2 * c / h))
            world: GarleanuPedersen | OrnsteinUhlenbeck = GarleanuPedersen(
                loadings=loadings, covariance=(c / h) ** 2, cost=10.0 / c, risk_aversion=1.0 / c
            )
        else:
            world = OrnsteinUhlenbeck(
                mean=(c / h, -2.0 * c / h), volatility=(c / h, 1.5 * c / h), cost=0.3 * c / h,
                risk_aversion=0.1 / c, limit=8.0 * h,
            )  # fmt: skip
        return Problem(world).trading().episode.initial_cash

    assert cash(1e6, 1.0) == pytest.approx(1e6 * cash(1.0, 1.0), rel=1e-9)
    assert cash(1.0, 1e3) == pytest.approx(cash(1.0, 1.0), rel=1e-9)
    assert cash(1e-6, 1e3) == pytest.approx(1e-6 * cash(1.0, 1.0), rel=1e-9)


def test_cash_by_hand() -> None:
    """RESERVE x limit x deviation x bars; two assets need twice as much."""
    one = OrnsteinUhlenbeck(
        speed=(0.5,), mean=(3.0,), volatility=(2.0,), transition=((1.0,),), limit=4.0, discount=0.9
    )
    # Stationary deviation 2 / sqrt(0.75); a change is a shock of 2 and half of the distance.
    deviation = (4.0 + 0.25 * 4.0 / 0.75) ** 0.5
    assert Problem(one, episode_length=500).initial_cash == pytest.approx(
        100.0 * 4.0 * deviation * 500
    )
    two = replace(one, assets=2)
    assert Problem(two, episode_length=500).initial_cash == pytest.approx(
        2.0 * 100.0 * 4.0 * deviation * 500
    )
    # The discount factor is 1e-3 after 65.6 bars, however short the episode.
    assert Problem(one, episode_length=3).initial_cash == pytest.approx(
        100.0 * 4.0 * deviation * np.log(1e-3) / np.log(0.9)
    )


def test_problems_are_read_from_mappings() -> None:
    problem = Problem({"kind": "ornstein_uhlenbeck", "cost": 0.5}, episode_length=10)  # type: ignore[arg-type] # pydantic reads it
    assert problem == Problem(OrnsteinUhlenbeck(cost=0.5), episode_length=10)
    with pytest.raises(ValidationError, match="martingale"):
        Problem({"kind": "martingale"})  # type: ignore[arg-type] # wrong on purpose
    with pytest.raises(ValidationError, match="length"):
        Problem(RegimeGBM(), length=3)  # type: ignore[call-arg] # wrong on purpose

"""Rules as options: their weights in every action space, exactly, and what they refuse."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents import rules
from agents.options import OptionNetworkConfig, RuleOption
from envs.config import (
    ActionConfig,
    EpisodeConfig,
    LevelsAction,
    LongShortAction,
    ObservationConfig,
    SharesAction,
    SimplexAction,
    TradingConfig,
)
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator
from envs.synthetic import Problem
from evaluation.backtest import backtest
from evaluation.baselines import (
    growth_factors,
    on_simplex,
    trailing_momentum,
    trailing_volatility,
)
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck
from markets.synthetic.regime_gbm import RegimeGBM
from meta_controller.beliefs import BeliefSource
from meta_controller.config import FixedController, MetaControllerConfig
from meta_controller.hierarchy import OptionActorCritic
from meta_controller.policy import HierarchicalPolicy
from training.errors import ConfigError
from training.option_rules import actions_of, rule_option
from training.sb3.option_policy import blend_kind

DAY = 86_400 * 10**9
WEIGHTS, LOGITS = SimplexAction(), SimplexAction(parametrisation="logits")
NAMES = ("cash", "equal_weight", "inverse_volatility", "momentum", "mean_reversion")
WINDOW = 12


def make_market(num_assets: int = 3, *, last: int | None = None) -> MarketArrays:
    """Random walks with halts, splits, dividends and a late starter; noise after bar `last`."""
    random = np.random.default_rng(11)
    shape = (90, num_assets)
    close_TA = 40.0 * np.exp(np.cumsum(random.normal(0.0, 0.02, shape), axis=0))
    split_TA = np.where(random.random(shape) < 0.02, 2.0, 1.0)
    dividend_TA = np.where(random.random(shape) < 0.05, 0.5, 0.0)
    tradable_TA = random.random(shape) > 0.03
    tradable_TA[:20, -1] = num_assets == 1
    if last is not None:
        later = slice(last + 1, None)
        close_TA[later] = random.uniform(1.0, 100.0, close_TA[later].shape)
        split_TA[later], dividend_TA[later] = 3.0, 2.0
        tradable_TA[later] = random.random(close_TA[later].shape) > 0.5
    return MarketArrays.from_arrays(
        ts_event=np.arange(90) * DAY,
        open_TA=close_TA * 1.001,
        close_TA=close_TA,
        volume_TA=np.full(shape, 1e7),
        tradable_TA=tradable_TA,
        split_TA=split_TA,
        dividend_TA=dividend_TA,
    )


def trading(action: ActionConfig) -> TradingConfig:
    return TradingConfig(
        action=action,
        observation=ObservationConfig(kind="index", window=1),
        episode=EpisodeConfig(length=60),
    )


def rule_itself(name: str, market: MarketArrays) -> rules.Rule:
    """The rule as a baseline is made."""
    tradable, growth = market.tradable_TA, growth_factors(market)
    made: dict[str, Callable[[], rules.Rule]] = {
        "cash": lambda: rules.Cash(tradable),
        "equal_weight": lambda: rules.EqualWeight(tradable),
        "inverse_volatility": lambda: rules.InverseVolatility(
            tradable, trailing_volatility(growth, WINDOW)
        ),
        "momentum": lambda: rules.TimeSeriesMomentum(tradable, trailing_momentum(growth, WINDOW)),
        "mean_reversion": lambda: rules.MeanReversion(tradable, trailing_momentum(growth, WINDOW)),
    }
    return made[name]()


def option(name: Any, window: int = WINDOW) -> RuleOption:
    return RuleOption(name=name, window=window)


def agent_of(name: str, market: MarketArrays, action: ActionConfig) -> HierarchicalPolicy:
    """An agent whose only option is a rule, always chosen."""
    low, high = np.zeros(3, np.float32), np.ones(3, np.float32)
    if action == LOGITS:
        low, high = np.full(4, -10, np.float32), np.full(4, 10, np.float32)
    network = OptionActorCritic(
        OptionNetworkConfig(),
        MetaControllerConfig(controller=FixedController(option=0)),
        (option(name),),
        num_features=0,
        account_size=market.num_assets + 3,
        outputs=len(low),
        num_regimes=0,
        continuous=True,
        generator=torch.Generator().manual_seed(0),
    )
    features = np.zeros((0, 0), np.float32)
    injected = {0: rule_option(option(name), market, action, "agent.options[0]")}
    beliefs, kind = BeliefSource("features", ()), blend_kind(action)
    return HierarchicalPolicy(
        network, features, beliefs, kind=kind, low=low, high=high, injected=injected
    )


@pytest.mark.parametrize("action", [WEIGHTS, LOGITS], ids=["weights", "logits"])
@pytest.mark.parametrize("name", NAMES)
def test_an_agent_of_one_rule_trades_as_the_rule_itself(name: str, action: SimplexAction) -> None:
    market, rows = make_market(), (0, 90)
    expected = backtest(rule_itself(name, market), market, on_simplex(trading(action)), rows)
    found = backtest(agent_of(name, market, action), market, trading(action), rows)
    # Logits give what is not held 3e-7 of the largest weight.
    atol = 1e-6 if action == WEIGHTS else 3e-6
    np.testing.assert_allclose(found.weights, expected.weights, atol=atol)
    assert name == "cash" or np.ptp(expected.weights, axis=0).max() > 0.2


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_knows_nothing_of_the_future(name: str) -> None:
    now = 60
    before, other = make_market(), make_market(last=now)
    assert not np.array_equal(before.close_TA[now + 1], other.close_TA[now + 1])
    held = [0.2, 0.1, 0.3, 0.4, 0.0, 1.0]
    for bar in range(now + 1):
        observation = np.array([[bar, *held]], np.float32)
        actions = []
        for market in (before, other):
            policy = rule_option(option(name), market, LOGITS, "")
            policy.reset(1)
            actions.append(policy.act(observation))
        np.testing.assert_array_equal(actions[0], actions[1])


@pytest.mark.parametrize(
    ("name", "weights"),
    [("momentum", 0.0), ("mean_reversion", 0.0), ("inverse_volatility", 0.5)],
)
def test_before_its_window_a_rule_does_what_it_does_with_what_is_unknown(
    name: str, weights: float
) -> None:
    market = make_market()
    policy = rule_option(option(name, window=50), market, WEIGHTS, "")
    policy.reset(1)
    tradable = market.tradable_TA[2, :2].all()
    assert tradable
    found = policy.act(np.array([[2, 0, 0, 0, 1, 0, 1]], np.float32))
    np.testing.assert_array_equal(found, [[weights, weights, 0.0]])


@pytest.mark.parametrize(
    ("action", "weights", "expected"),
    [
        (LongShortAction(gross=2.0, net=2.0, scale=2.0), [0.5, 0.25, 0.0], [0.25, 0.125, 0.0]),
        (LevelsAction(levels=(0.0, 0.5, 1.0)), [0.7], [1]),
        (LevelsAction(levels=(1.0, -0.5, 0.0)), [0.6], [0]),
        (LevelsAction(levels=(1.0, 0.0)), [0.5], [1]),
        (SharesAction(), [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    ],
)
def test_weights_as_actions_by_hand(
    action: ActionConfig, weights: list[float], expected: list[float]
) -> None:
    np.testing.assert_allclose(actions_of(np.array([weights]), action), [expected])


@pytest.mark.parametrize(
    "action",
    [WEIGHTS, LOGITS, LongShortAction(gross=1.0, net=1.0, scale=1.5)],
    ids=["weights", "logits", "long_short"],
)
@pytest.mark.parametrize(
    "weights", [[0.5, 0.2, 0.1], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.4, 0.6, 0.0]]
)
def test_the_account_holds_what_the_weights_ask_for(
    action: ActionConfig, weights: list[float]
) -> None:
    """The inverse of the environment's own mapping, in the environment."""
    price = np.full((5, 3), 10.0)
    market = MarketArrays.from_arrays(ts_event=np.arange(5) * DAY, open_TA=price, close_TA=price)
    rules_of_trade = TradingConfig.frictionless(
        action=action,
        observation=ObservationConfig(kind="index", window=1),
        episode=EpisodeConfig(length=2, random_start=False),
    )
    simulator = Simulator(market, rules_of_trade, 1, seed=0)
    asked = actions_of(np.array([weights]), action).astype(np.float32)
    simulator.step(asked.astype(np.float64))
    held = simulator.observe_index()[0, 1:4]
    np.testing.assert_allclose(held, weights, atol=2e-6)


@pytest.mark.parametrize(
    "world", [GarleanuPedersen(), OrnsteinUhlenbeck(), RegimeGBM()], ids=lambda world: world.kind
)
def test_cash_on_a_synthetic_market_sells_within_the_limits_of_a_trade(world: Any) -> None:
    dead_zone = 0.0 if isinstance(world, RegimeGBM) else 0.2
    problem = Problem(world=world, dead_zone=dead_zone)
    rules_of_trade = problem.trading()
    index = replace(rules_of_trade.observation, kind="index")
    simulator = Simulator(problem.stream(), replace(rules_of_trade, observation=index), 16, seed=1)
    random = np.random.default_rng(0)
    for _ in range(4):
        simulator.step(random.uniform(0.4, 1.0, (16, simulator.action_size)))
    before = problem.holdings(simulator).copy()
    assert np.abs(before).max(axis=1).min() > 0.1
    cash = rule_option(option("cash"), problem.stream(), rules_of_trade.action, "")
    cash.reset(16)
    for _ in range(20):
        action = cash.act(simulator.observe_index())
        wanted = problem.action(np.zeros_like(before), problem.holdings(simulator))
        np.testing.assert_allclose(action, wanted, atol=1e-6)
        assert np.abs(action).max() <= 1.0
        simulator.step(action)
    np.testing.assert_allclose(problem.holdings(simulator), 0.0, atol=1e-6 * np.abs(before).max())


@pytest.mark.parametrize(
    ("market", "action", "chosen", "message"),
    [
        (
            Problem(world=GarleanuPedersen()).stream(),
            Problem(world=GarleanuPedersen()).trading().action,
            option("momentum"),
            r"\[2\]: expected cash on a synthetic market .*, found momentum, which needs returns",
        ),
        (
            make_market(1),
            WEIGHTS,
            option("mean_reversion"),
            "with returns of 12 bars of at least 2 assets for the rule mean_reversion, found 90",
        ),
        (make_market(), WEIGHTS, option("momentum", 500), "with returns of 500 bars for the rule"),
        (
            make_market(),
            WEIGHTS,
            option("inverse_volatility", 500),
            "with volatilities over 500 bars for the rule",
        ),
        (
            make_market(),
            LongShortAction(scale=0.5),
            option("momentum"),
            "env.action: expected a scale of at least 1, .* found scale 0.5",
        ),
        (
            make_market(),
            SharesAction(),
            option("equal_weight"),
            "env.action: expected a kind of weights, as the equity is not observed.* found shares",
        ),
        (
            make_market(1),
            LevelsAction(levels=(0.5, 1.0)),
            option("momentum"),
            "env.action: expected a level of 0",
        ),
    ],
)
def test_a_rule_that_its_market_cannot_serve_is_refused(
    market: Any, action: ActionConfig, chosen: RuleOption, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        rule_option(chosen, market, action, "agent.options[2]")


def test_cash_needs_nothing_and_can_be_asked_for_in_shares() -> None:
    cash = rule_option(option("cash"), make_market(), SharesAction(), "")
    cash.reset(2)
    observation: NDArray[np.float32] = np.array([[5, 0.5, 0.5, 0, 0, 0, 1]] * 2, np.float32)
    assert cash.act(observation).tolist() == [[0.0] * 3] * 2

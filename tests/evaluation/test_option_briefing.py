"""Policies are told what they ask for: the true regimes before a bar, forgone payoffs after it."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.config import EpisodeConfig, ObservationConfig, TradingConfig
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator
from evaluation.backtest import Run, backtest, backtest_many
from evaluation.bootstrap import BootstrapConfig
from evaluation.briefing import Briefing, Informed
from evaluation.optimality import OptimalityConfig, measure
from markets.synthetic.base import regimes_of
from meta_controller.config import (
    MultiplicativeWeightsController,
    OracleController,
    UniformController,
)
from meta_controller.policy import HierarchicalPolicy
from tests.evaluation.option_policies import PROBLEM, Always, Solver, hierarchy, on_market

Array = NDArray[np.float64]

CONFIG = OptimalityConfig(episodes=16, length=300, bootstrap=BootstrapConfig(resamples=100))
EXPERTS = MultiplicativeWeightsController(rate=8.0, share=0.0)
TRADING = TradingConfig.frictionless(observation=ObservationConfig(kind="index", window=1))
BARS = 120


class Watched:
    """A policy that keeps what it executed and what it was told."""

    def __init__(self, policy: HierarchicalPolicy) -> None:
        self.policy = policy
        self.weights: list[Array] = []
        self.payoffs: list[Array] = []
        self.told: list[NDArray[np.int64]] = []

    wants_regimes = property(lambda self: self.policy.wants_regimes)
    wants_payoffs = property(lambda self: self.policy.wants_payoffs)
    last = property(lambda self: self.policy.last)

    def reset(self, num_envs: int) -> None:
        self.policy.reset(num_envs)

    def tell(self, regime_N: NDArray[np.int64]) -> None:
        self.told.append(regime_N)
        self.policy.tell(regime_N)

    def learn(self, payoff_NK: Array) -> None:
        self.payoffs.append(payoff_NK)
        self.policy.learn(payoff_NK)

    def act(self, observation_NO: NDArray[np.float32]) -> Array:
        actions = self.policy.act(observation_NO)
        assert self.policy.last is not None
        self.weights.append(self.policy.last.weights_NK.numpy().astype(np.float64))
        return actions


def make_market(*, noise_after: int | None = None, crash: bool = False) -> MarketArrays:
    """Two assets, of which the first rises; noise or a crash comes later."""
    rng = np.random.default_rng(0)
    returns_TA = rng.normal(size=(BARS, 2)) * 0.01 + [0.004, -0.004]
    if noise_after is not None:
        returns_TA[noise_after + 1 :] *= -3.0
    if crash:
        returns_TA[30, 0] = -8.0
    close_TA = 50.0 * np.exp(np.cumsum(returns_TA, axis=0))
    return MarketArrays.from_arrays(
        ts_event=np.arange(BARS) * 86_400_000_000_000,
        open_TA=np.vstack([close_TA[:1], close_TA[:-1]]),
        close_TA=close_TA,
        volume_TA=np.full((BARS, 2), 1e6),
    )


def expert_weights() -> HierarchicalPolicy:
    options = [Always(1.0, 0.0), Always(0.0, 1.0), Always(0.0, 0.0)]
    return hierarchy(EXPERTS, options, account_size=5, outputs=2, low=0.0)


def test_weights_go_to_the_option_that_is_best_on_a_synthetic_market() -> None:
    policy = Watched(on_market(EXPERTS, [Always(1.0), Solver(), Always(-1.0)]))
    assert isinstance(policy, Informed)
    measure(policy, PROBLEM, CONFIG)
    assert len(policy.payoffs) == len(policy.weights) == 300
    assert policy.weights[0].tolist() == [[pytest.approx(1 / 3)] * 3] * 16
    assert policy.weights[-1].mean(axis=0)[1] > 0.9
    assert policy.told == []


def test_what_an_option_would_have_earned_is_what_it_earns() -> None:
    """The only one of two equal options is paid the very rewards of the account."""
    policy = Watched(hierarchy(EXPERTS, [Always(0.7, 0.1)] * 2, account_size=5, outputs=2, low=0.0))
    market = make_market()
    ledger = backtest(policy, market, TRADING, (10, 110))
    paid_TK = np.concatenate(policy.payoffs)
    assert paid_TK[:, 0].tolist() == paid_TK[:, 1].tolist() == ledger.reward[1:].tolist()


def test_policies_side_by_side_are_told_their_own() -> None:
    market = make_market()
    alone, beside = Watched(expert_weights()), Watched(expert_weights())
    other = Watched(hierarchy(EXPERTS, [Always(1.0, 0.0)] * 2, account_size=5, outputs=2, low=0.0))
    expected = backtest(alone, market, TRADING, (10, 110))
    runs = [Run(name="other", policy=other, lanes=2), Run(name="agent", policy=beside)]
    found = backtest_many(runs, market, TRADING, (10, 110))[1][0]
    assert found.equity.tolist() == expected.equity.tolist()
    assert np.array(beside.payoffs).tolist() == np.array(alone.payoffs).tolist()
    assert alone.weights[-1][0, 0] > 0.8


def test_weights_do_not_depend_on_the_future() -> None:
    plain, noisy = Watched(expert_weights()), Watched(expert_weights())
    bar = 60
    backtest(plain, make_market(), TRADING, (10, 110))
    backtest(noisy, make_market(noise_after=bar), TRADING, (10, 110))
    decided = bar - 10  # in this bar the decision falls at the close of `bar`
    left, right = np.concatenate(plain.weights), np.concatenate(noisy.weights)
    assert left[: decided + 1].tolist() == right[: decided + 1].tolist()
    assert (left[decided + 1] != right[decided + 1]).any()


def test_ruin_leaves_the_other_accounts_and_the_memory_sound() -> None:
    ruinous = replace(TRADING, episode=replace(TRADING.episode, ruin_fraction=0.05))
    market = make_market(crash=True)
    policy = Watched(expert_weights())
    ledger = backtest_many([Run(name="agent", policy=policy)], market, ruinous, (10, 110))[0][0]
    all_in = Watched(hierarchy(EXPERTS, [Always(1.0, 0.0)] * 2, account_size=5, outputs=2, low=0.0))
    both = backtest_many(
        [Run(name="ruined", policy=all_in), Run(name="agent", policy=Watched(expert_weights()))],
        market,
        ruinous,
        (10, 110),
    )
    assert both[0][0].closed.any()
    assert both[1][0].equity.tolist() == ledger.equity.tolist()
    # The calls that only reset an account teach nothing; each new episode is ruined by that crash.
    idle = [bool(np.isnan(payoff).all()) for payoff in all_in.payoffs]
    assert idle.count(True) == 4
    assert np.isfinite(np.concatenate(all_in.weights)).all()


def test_an_option_that_failed_is_told_of_as_unknown() -> None:
    policy = Watched(
        hierarchy(
            EXPERTS, [Always(1.0, 0.0), Always(np.nan, 0.0)], account_size=5, outputs=2, low=0.0
        )
    )
    backtest(policy, make_market(), TRADING, (10, 40))
    paid_TK = np.concatenate(policy.payoffs)
    assert np.isnan(paid_TK[:, 1]).all()
    assert np.isfinite(paid_TK[:, 0]).all()
    assert np.isfinite(np.concatenate(policy.weights)).all()


def test_an_oracle_is_told_the_regime_of_the_bar() -> None:
    policy = Watched(on_market(OracleController(), [Always(1.0), Always(-1.0)]))
    measure(policy, PROBLEM, replace(CONFIG, length=40))
    trading = PROBLEM.trading()
    simulator = Simulator(
        PROBLEM.stream(),
        replace(trading, episode=EpisodeConfig(length=40, random_start=False)),
        16,
        seed=CONFIG.seed,
    )
    for bar, (told_N, weights_NK) in enumerate(zip(policy.told, policy.weights, strict=True)):
        assert told_N.tolist() == regimes_of(simulator.world_NS).tolist(), bar
        assert weights_NK.argmax(axis=1).tolist() == told_N.tolist()
        simulator.step(np.zeros((16, 1)))
    assert policy.payoffs == []


def test_recorded_markets_do_not_know_regimes() -> None:
    policy = hierarchy(OracleController(), [Always(1.0, 0.0)] * 2, account_size=5, outputs=2)
    with pytest.raises(ValueError, match="no true regimes on a recorded market"):
        backtest(policy, make_market(), TRADING, (10, 40))


def test_nothing_is_told_to_a_policy_that_does_not_ask() -> None:
    whole = replace(TRADING, episode=EpisodeConfig(length=None, random_start=False))
    simulator = Simulator(make_market(), whole, 1, seed=0)
    for policy in (
        Always(1.0, 0.0),
        Watched(hierarchy(UniformController(), [Always(1.0, 0.0)] * 2, account_size=5, outputs=2)),
    ):
        briefing = Briefing(policy, simulator)
        briefing.before()
        briefing.look(np.zeros((1, 2)))
        briefing.after()
        assert getattr(policy, "told", []) == getattr(policy, "payoffs", []) == []

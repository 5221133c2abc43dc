"""The record of who acted is what the policy did, in the very account that is judged."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.config import ObservationConfig, TradingConfig
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator
from evaluation.backtest import backtest
from evaluation.optimality import OptimalityConfig, measure
from evaluation.option_history import (
    OptionHistory,
    equal_weight_index,
    history_on_data,
    history_on_market,
)
from markets.synthetic.base import closes_of, regimes_of
from meta_controller.beliefs import BeliefSource
from meta_controller.config import (
    FixedController,
    MultiplicativeWeightsController,
    OracleController,
    ResidualController,
)
from meta_controller.policy import HierarchicalPolicy
from tests.evaluation.option_policies import PROBLEM, Always, Solver, hierarchy, on_market

Array = NDArray[np.float64]

CONFIG = OptimalityConfig(episodes=3, length=60)
TRADING = TradingConfig(observation=ObservationConfig(kind="index", window=1))
BARS, ROWS = 80, (10, 70)
BELIEF = np.random.default_rng(1).dirichlet([1.0, 1.0], BARS).astype(np.float32)


def make_market(crash: float = 0.0) -> MarketArrays:
    rng = np.random.default_rng(0)
    returns_TA = rng.normal(size=(BARS, 2)) * 0.01
    returns_TA[30] += crash
    close_TA = 50.0 * np.exp(np.cumsum(returns_TA, axis=0))
    split_TA, dividend_TA = np.ones((BARS, 2)), np.zeros((BARS, 2))
    split_TA[40, 0], dividend_TA[50, 1] = 2.0, 1.0
    close_TA[40:, 0] /= 2.0
    return MarketArrays.from_arrays(
        ts_event=np.arange(BARS) * 86_400_000_000_000,
        open_TA=np.vstack([close_TA[:1], close_TA[:-1] / split_TA[1:]]),
        close_TA=close_TA,
        volume_TA=np.full((BARS, 2), 1e6),
        split_TA=split_TA,
        dividend_TA=dividend_TA,
        features=BELIEF,
        symbols=("AAA", "BBB"),
    )


def gated() -> HierarchicalPolicy:
    return hierarchy(
        ResidualController(hidden=(4,)),
        [Always(0.6, 0.2), Always(0.1, 0.5), None],
        features_TC=BELIEF,
        beliefs=BeliefSource("features", (0, 1)),
        account_size=5,
        outputs=2,
        low=0.0,
        noise=0.5,
    )


@pytest.fixture(scope="module")
def found() -> OptionHistory:
    return history_on_data(gated(), make_market(), TRADING, ROWS, names=("up", "down", "own"))


def test_the_chain_can_be_read_from_the_history(found: OptionHistory) -> None:
    kept_TK = (1.0 - found.termination_TK) * found.previous_TK
    ended_T1 = (found.termination_TK * found.previous_TK).sum(axis=1, keepdims=True)
    moved_TK = kept_TK + ended_T1 * found.proposal_TK
    np.testing.assert_allclose(found.weights_TK[1:], moved_TK[1:], atol=1e-6)
    np.testing.assert_allclose(found.previous_TK[1:], found.weights_TK[:-1], atol=1e-7)
    assert found.previous_TK[0].tolist() == found.fallback_TK[0].tolist()
    tilted_TK = np.maximum(found.fallback_TK, 0.01) * np.exp(found.deviation_TK)
    np.testing.assert_allclose(
        found.proposal_TK, tilted_TK / tilted_TK.sum(axis=1, keepdims=True), atol=1e-6
    )
    assert np.abs(found.deviation_TK).max() > 0.01


def test_names_times_beliefs_and_actions(found: OptionHistory) -> None:
    assert found.names == ("up", "down", "own")
    assert found.regime_names == ("regime 0", "regime 1")
    assert found.actions == ("AAA", "BBB")
    assert found.times.tolist() == make_market().ts_event[10:69].tolist()
    np.testing.assert_array_equal(found.belief_TR, BELIEF[10:69].astype(np.float64))
    np.testing.assert_allclose(found.option_action_TKD[:, 0], [[0.6, 0.2]] * 59, atol=1e-6)
    mixed_TD = (found.weights_TK[..., None] * found.option_action_TKD).sum(axis=1)
    plain_T = (found.option_action_TKD[:, 2] > 0.0).all(axis=1)  # not cut off at 0
    np.testing.assert_allclose(found.action_TD[plain_T], mixed_TD[plain_T], atol=1e-6)
    assert found.regime_T is None


def test_recording_changes_nothing(found: OptionHistory) -> None:
    ledger = backtest(gated(), make_market(), TRADING, ROWS)
    assert found.reward_T.tolist() == ledger.reward[1:].tolist()


def test_the_index_is_of_total_returns_in_equal_weights() -> None:
    market = make_market()
    index_T = equal_weight_index(market, 38, 53)
    close_TA = market.close_TA
    split = 2.0 * close_TA[40, 0] / close_TA[39, 0]
    other = close_TA[40, 1] / close_TA[39, 1]
    assert index_T[0] == 1.0
    assert index_T[2] / index_T[1] == pytest.approx(0.5 * (split + other))
    paid = (close_TA[50, 1] + 1.0) / close_TA[49, 1]
    assert index_T[12] / index_T[11] == pytest.approx(
        0.5 * (paid + close_TA[50, 0] / close_TA[49, 0])
    )
    assert len(index_T) == 15


def test_a_ruined_account_has_no_rows_from_then_on() -> None:
    fatal = replace(TRADING, episode=replace(TRADING.episode, ruin_fraction=0.5))
    policy = hierarchy(FixedController(), [Always(0.5, 0.5)] * 2, account_size=5, outputs=2)
    history = history_on_data(policy, make_market(-5.0), fatal, ROWS)
    assert len(history.times) == len(history.weights_TK) == len(history.price_T) == 20
    assert history.reward_T[-1] < -1.0
    assert history.regime_names == ()
    assert not history.deviation_TK.any()


@pytest.mark.parametrize(
    ("lane", "controller"),
    [(0, OracleController()), (2, MultiplicativeWeightsController(rate=5.0))],
)
def test_on_a_market_it_is_an_episode_of_its_measure(
    lane: int, controller: OracleController | MultiplicativeWeightsController
) -> None:
    policy = on_market(controller, [Solver(), Always(-0.2)])
    history = history_on_market(policy, PROBLEM, CONFIG, lane=lane)
    scores = measure(policy, PROBLEM, CONFIG)
    assert history.reward_T.mean() == pytest.approx(scores.realised.mean_E[lane], rel=1e-9)
    trading = PROBLEM.trading()
    whole = replace(trading, episode=replace(trading.episode, length=60))
    simulator = Simulator(PROBLEM.stream(belief=True), whole, 3, seed=CONFIG.seed)
    assert history.regime_T is not None
    for bar, action_D in enumerate(history.action_TD):
        assert history.regime_T[bar] == regimes_of(simulator.world_NS)[lane]
        assert history.price_T[bar] == closes_of(simulator.world_NS, 1)[lane, 0]
        simulator.step(np.tile(action_D, (3, 1)))
        assert history.reward_T[bar] == simulator.reward_N[lane]
    assert history.times.tolist() == list(range(60))
    assert history.actions == ("asset 0",)
    if isinstance(controller, OracleController):
        assert history.weights_TK.argmax(axis=1).tolist() == history.regime_T.tolist()
    else:
        assert history.weights_TK[0].tolist() == [0.5, 0.5]
        assert history.weights_TK[-1, 0] > 0.5


def test_names_must_be_as_many_as_options() -> None:
    with pytest.raises(ValueError, match="names: expected 3 names, found 2"):
        history_on_data(gated(), make_market(), TRADING, ROWS, names=("a", "b"))

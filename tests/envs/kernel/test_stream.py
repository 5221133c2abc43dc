"""Streams: the paths of the markets, the ledger of the reference, and nothing between lanes."""

import copy
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.config import (
    BorrowConfig,
    DrawdownReward,
    EpisodeConfig,
    ImpactConfig,
    MarginConfig,
    MeanVarianceReward,
    ObservationConfig,
    ParticipationConfig,
    QuadraticCostConfig,
    QuadraticUtilityReward,
    SimplexAction,
    TradeAction,
    TradingConfig,
)
from envs.simulator import TERM_SIGNS, Simulator
from tests.envs.kernel.interpreted import interpret, interpreted_kernel
from tests.envs.kernel.markets import random_market
from tests.envs.kernel.streams import LENGTH, MARKETS, rules, table
from tests.envs.kernel.test_interpreted import assert_same
from tests.envs.kernel.test_reference import compare
from tests.envs.reference import Reference


def open_accounts(name: str, lanes: int, **options: Any) -> Simulator:
    market = MARKETS[name]
    config = options.pop("config", None) or rules(market)
    return Simulator(market.stream(), config, lanes, **({"seed": 7} | options))


def draw(rng: np.random.Generator, simulator: Simulator) -> NDArray[np.float64]:
    return rng.uniform(-1.2, 1.2, (simulator.num_envs, simulator.action_size))


@pytest.mark.parametrize("name", MARKETS)
def test_plays_the_market_s_own_paths(name: str) -> None:
    lane, offset = 2, 5
    simulator = open_accounts(name, 4, autoreset="same_step", lane_offset=offset)
    rng = np.random.default_rng(1)
    for episode in range(3):
        path = MARKETS[name].path(
            LENGTH + 1, seed=7, lane=lane + offset, episode=episode, belief=False
        )
        features = path.features_TC.shape[1]
        for bar in range(LENGTH):
            assert simulator.world_NS[lane].tobytes() == path.state_TS[bar].tobytes()
            row = simulator.observe_index()[lane]
            assert row[0] == simulator.bar_N[lane] == bar
            assert row[1 : 1 + features].tobytes() == path.features_TC[bar].tobytes()
            assert simulator.observe_window()[lane].tobytes() == row[1:].tobytes()
            simulator.step(draw(rng, simulator))
        final = simulator.observe_index(final=True)[lane]
        assert final[0] == LENGTH == simulator.final_bar_N[lane]
        assert final[1 : 1 + features].tobytes() == path.features_TC[LENGTH].tobytes()
        assert simulator.truncated_N.all()


@pytest.mark.parametrize("fill", ["next_open", "close"])
@pytest.mark.parametrize("name", MARKETS)
def test_agrees_with_the_reference(name: str, fill: Any) -> None:
    market, lanes = MARKETS[name], 6
    config = replace(rules(market), fill=fill)
    simulator = open_accounts(name, lanes, config=config, record_terms=True)
    stream = market.stream()
    references = []
    for lane in range(lanes):
        path = market.path(LENGTH + 1, seed=7, lane=lane)
        laws = [
            (stream.cost_KAA[k].tolist(), stream.covariance_KAA[k].tolist())
            for k in path.world.regime_N
        ]
        references.append(Reference(table(market, path), config, 0, LENGTH, laws=laws))
    rng = np.random.default_rng(3)
    signals = stream.num_features
    for _ in range(LENGTH):
        actions = draw(rng, simulator)
        simulator.step(actions)
        rewards = [r.step(row) for r, row in zip(references, actions.tolist(), strict=True)]
        compare(simulator, references, rewards, signals=signals)
    assert any(reference.projected for reference in references)


@pytest.mark.parametrize("name", MARKETS)
@pytest.mark.parametrize("autoreset", ["same_step", "next_step"])
def test_equity_changes_by_the_terms(name: str, autoreset: Any) -> None:
    simulator = open_accounts(name, 8, record_terms=True, autoreset=autoreset)
    rng = np.random.default_rng(1)
    for _ in range(3 * LENGTH):
        before, waiting = simulator.equity_N.copy(), simulator.ended_N.copy()
        simulator.step(draw(rng, simulator))
        explained = before + (simulator.terms_N7 * TERM_SIGNS).sum(axis=1)
        going = ~(waiting | (simulator.bar_N == 0))
        np.testing.assert_allclose(simulator.equity_N[going], explained[going], rtol=1e-12)
        assert (simulator.terms_N7[waiting] == 0.0).all()
        assert np.isnan(simulator.expected_N[waiting]).all()
        assert np.isfinite(simulator.expected_N[~waiting]).all()


@pytest.mark.parametrize("name", ["ornstein_uhlenbeck", "three_assets"])
def test_lanes_do_not_touch_each_other(name: str) -> None:
    wide = open_accounts(name, 300, autoreset="same_step", record_terms=True)
    parts = [
        open_accounts(name, size, autoreset="same_step", record_terms=True, lane_offset=first)
        for first, size in ((0, 1), (1, 130), (131, 169))
    ]
    rng = np.random.default_rng(2)
    for step in range(LENGTH + 5):
        actions = draw(rng, wide)
        wide.step(actions)
        for part, rows in zip(parts, np.split(actions, [1, 131]), strict=True):
            part.step(rows)
        if step % 6 == 0:
            for key, whole in wide.state_dict().items():
                axis = 0 if key in {"shares", "current", "final", "record", "world"} else -1
                pieces = [part.state_dict()[key] for part in parts]
                assert np.concatenate(pieces, axis=axis).tobytes() == whole.tobytes(), key


@pytest.mark.parametrize("name", MARKETS)
def test_continues_with_the_same_bits(name: str) -> None:
    simulator = open_accounts(name, 5, autoreset="next_step", record_terms=True)
    rng = np.random.default_rng(2)
    for _ in range(LENGTH - 3):
        simulator.step(draw(rng, simulator))
    loaded = open_accounts(name, 5, autoreset="next_step", record_terms=True, seed=1)
    loaded.load_state_dict(simulator.state_dict())
    twins = [loaded, copy.deepcopy(simulator), pickle.loads(pickle.dumps(simulator))]
    for _ in range(LENGTH):
        actions = draw(rng, simulator)
        simulator.step(actions)
        for twin in twins:
            twin.step(actions)
            for key, value in simulator.state_dict().items():
                assert twin.state_dict()[key].tobytes() == value.tobytes(), key


@pytest.mark.parametrize("name", ["regime_gbm", "three_assets"])
@pytest.mark.parametrize("autoreset", ["same_step", "next_step", "disabled"])
def test_options_equal_repeated_steps(name: str, autoreset: Any) -> None:
    option = open_accounts(name, 1, autoreset=autoreset)
    steps = open_accounts(name, 1, autoreset=autoreset)
    rng = np.random.default_rng(4)
    for _ in range(9):
        if autoreset == "disabled" and option.ended_N[0]:
            option.reset()
            steps.reset()
        actions = draw(rng, option)
        result = option.step_option(actions, 6, gamma=0.9)
        total = 0.0
        for bar in range(max(int(result.duration_N[0]), 1)):
            steps.step(actions)
            total += 0.9**bar * steps.reward_N[0]
        assert result.reward_N[0] == pytest.approx(total, rel=1e-12, abs=1e-15)
        assert option.world_NS.tobytes() == steps.world_NS.tobytes()
        assert option.observe_index().tobytes() == steps.observe_index().tobytes()


def test_reset_begins_the_next_path_of_the_chosen_lanes() -> None:
    simulator = open_accounts("ornstein_uhlenbeck", 3)
    first = simulator.world_NS.copy()
    simulator.step(np.ones((3, 1)))
    moved = simulator.world_NS.copy()
    simulator.reset([1])
    assert simulator.world_NS[[0, 2]].tobytes() == moved[[0, 2]].tobytes()
    path = MARKETS["ornstein_uhlenbeck"].path(1, seed=7, lane=1, episode=1, belief=False)
    assert simulator.world_NS[1].tobytes() == path.state_TS[0].tobytes()
    simulator.reset(seed=7)
    assert simulator.world_NS.tobytes() == first.tobytes()
    assert not simulator.world_NS.flags.writeable
    with pytest.raises(ValueError, match=r"start: expected a bar in \[0, 0\], found 3"):
        simulator.reset(start=3)


@pytest.mark.parametrize("name", MARKETS)
def test_python_equals_compiled(name: str) -> None:
    options: dict[str, Any] = {"record_terms": True, "autoreset": "same_step"}
    compiled = open_accounts(name, 3, **options)
    rng = np.random.default_rng(4)
    with interpreted_kernel():
        python = interpret(open_accounts(name, 3, **options))
        for step in range(LENGTH + 4):
            actions = draw(rng, compiled)
            if step % 5 == 4:
                compiled.step_option(actions, [3, 1, 2], 0.1, 0.9, rebalance=False)
                python.step_option(actions, [3, 1, 2], 0.1, 0.9, rebalance=False)
            else:
                compiled.step(actions)
                python.step(actions)
            assert_same(compiled, python)
        compiled.reset([1])
        python.reset([1])
        assert_same(compiled, python)


OTHER: list[tuple[str, dict[str, Any], str]] = [
    ("gp", {"impact": ImpactConfig(coefficient=1.0)}, r"impact.coefficient: expected 0.*found 1"),
    ("gp", {"participation": ParticipationConfig(maximum=0.1)}, "participation.maximum.*found 0.1"),
    ("gp", {"margin": MarginConfig(maintenance=0.2)}, "margin.maintenance: expected 0.*found 0.2"),
    ("gp", {"borrow": BorrowConfig(annual_rate=0.1)}, "borrow.annual_rate: expected 0.*found 0.1"),
    ("gp", {"observation": ObservationConfig(window=3)}, "observation.window: expected 1.*found 3"),
    ("gp", {"action": SimplexAction()}, "action.kind: expected 'trade' .*found 'simplex'"),
    ("gp", {"episode": EpisodeConfig(length=None, random_start=False)}, "episode.length.*None"),
    ("gp", {"episode": EpisodeConfig(length=2**24)}, "episode.length: expected fewer"),
    ("gbm", {"action": TradeAction(size=1, limit=2)}, "action.kind: expected another.*'trade'"),
    ("gbm", {"quadratic": QuadraticCostConfig(coefficient=2)}, "quadratic.coefficient.*found 2"),
    ("gbm", {"reward": QuadraticUtilityReward(risk_aversion=1)}, "expected an additive market"),
    ("gbm", {"reward": DrawdownReward(), "expected_reward": True}, "found the reward 'drawdown'"),
    ("gp", {"reward": MeanVarianceReward(), "expected_reward": True}, "found the reward"),
]


@pytest.mark.parametrize(("name", "changes", "message"), OTHER, ids=lambda value: str(value)[:30])
def test_refuses_what_a_stream_cannot_do(name: str, changes: dict[str, Any], message: str) -> None:
    market = MARKETS["garleanu_pedersen" if name == "gp" else "regime_gbm"]
    with pytest.raises(ValueError, match=message):
        Simulator(market.stream(), replace(rules(market), **changes), 2, seed=1)


def test_refuses_rows_and_expected_rewards_of_bars() -> None:
    market = MARKETS["garleanu_pedersen"]
    with pytest.raises(ValueError, match="rows: expected None on a stream"):
        Simulator(market.stream(), rules(market), 2, seed=1, rows=(0, 9))
    config = TradingConfig(expected_reward=True)
    with pytest.raises(ValueError, match=r"expected_reward: .*found a table of bars"):
        Simulator(random_market(1), config, 2, seed=1)


def test_a_stream_has_no_rows_to_view() -> None:
    assert open_accounts("regime_gbm", 2).window_view(1).shape == (1, 0)

"""What must hold in every market: the accounting identity, independence, causality, no trace."""

import dataclasses
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from envs.config import (
    DrawdownReward,
    EpisodeConfig,
    FinancingConfig,
    LevelsAction,
    LogReturnReward,
    LongShortAction,
    ObservationConfig,
    SharesAction,
    SimplexAction,
    TradingConfig,
)
from envs.market_arrays import MarketArrays
from envs.simulator import TERM_SIGNS, Simulator
from tests.envs.kernel.markets import random_market
from tests.envs.kernel.test_reference import CASES, draw_actions, full_config

ACTIONS = [
    SimplexAction(),
    LongShortAction(gross=3.0, net=3.0, scale=3.0),
    LongShortAction(net=0.0),
    SharesAction(minimum=-300, maximum=300, gross=2.0),
]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**20),
    action=st.sampled_from(ACTIONS),
    fill=st.sampled_from(["next_open", "close"]),
    volatility=st.sampled_from([0.0, 0.02, 0.1, 0.4]),
    lots=st.sampled_from([0.0, 1.0, 100.0]),
    assets=st.integers(1, 4),
    minimum=st.sampled_from([0.0, 1.0, 500.0]),
)
def test_equity_changes_by_the_terms(
    seed: int, action: Any, fill: Any, volatility: float, lots: float, assets: int, minimum: float
) -> None:
    market = random_market(seed, 60, assets, volatility=volatility, lots=lots)
    config = full_config(action, fill, LogReturnReward(), minimum=minimum)
    config = dataclasses.replace(
        config, episode=EpisodeConfig(length=None, random_start=False, initial_cash=50_000.0)
    )
    simulator = Simulator(market, config, 16, seed=seed, record_terms=True, autoreset="next_step")
    rng = np.random.default_rng(seed)
    for _ in range(simulator.end_N[0] - simulator.start_N[0]):
        before, waiting = simulator.equity_N.copy(), simulator.ended_N.copy()
        simulator.step(draw_actions(rng, config, simulator))
        value = (simulator.shares_NA * market.close_TA[simulator.bar_N]).sum(axis=1)
        scale = 1.0 + np.abs(before) + np.abs(simulator.shares_NA).sum(axis=1)
        gap = simulator.equity_N - simulator.cash_N - value
        assert (np.abs(gap) <= 1e-9 * scale).all()
        explained = before + (simulator.terms_N7 * TERM_SIGNS).sum(axis=1)
        gap = np.where(waiting, 0.0, simulator.equity_N - explained)
        assert (np.abs(gap) <= 1e-9 * scale).all()
        costs = simulator.terms_N7[:, 2:6]
        assert (costs >= 0.0).all()
        if fill == "next_open":
            halted = ~market.tradable_TA[simulator.bar_N]
            assert (simulator.trades_NA[halted] == 0.0).all()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**20), lots=st.sampled_from([0.0, 10.0]), assets=st.integers(1, 9))
def test_a_long_only_account_never_owes_cash(seed: int, lots: float, assets: int) -> None:
    market = random_market(seed, 60, assets, volatility=0.1, lots=lots)
    config = full_config(SimplexAction(), "next_open", LogReturnReward(), minimum=20.0)
    simulator = Simulator(market, dataclasses.replace(config, episode=EpisodeConfig(length=40)), 8,
                          seed=seed)  # fmt: skip
    rng = np.random.default_rng(seed)
    for _ in range(40):
        simulator.step(rng.uniform(0.0, 1.0, size=(8, assets)))
        assert (simulator.cash_N >= 0.0).all()
        assert (simulator.shares_NA >= 0.0).all()
        if simulator.ended_N.any():
            break


def run_lanes(
    market: MarketArrays, config: TradingConfig, actions: NDArray[Any], offset: int
) -> dict[str, NDArray[Any]]:
    simulator = Simulator(
        market, config, actions.shape[1], seed=9, autoreset="same_step", lane_offset=offset,
        record_terms=True,
    )  # fmt: skip
    for row in actions:
        simulator.step(row)
    return simulator.state_dict()


@pytest.mark.parametrize("case", CASES)
def test_lanes_do_not_depend_on_their_number(case: str) -> None:
    action, assets, lots, fill, reward = CASES[case]
    market = random_market(5, 200, assets, volatility=0.04, lots=lots)
    config = full_config(action, fill, reward)
    many = 4096 if case == "one_asset" else 700
    probe = Simulator(market, config, many, seed=9)
    rng = np.random.default_rng(2)
    actions = np.stack([draw_actions(rng, config, probe) for _ in range(120)])
    whole = run_lanes(market, config, actions, 0)
    for first, size in ((0, 1), (many - 1, 1), (130, 1), (127, 3), (201, 13), (64, 257)):
        part = run_lanes(market, config, actions[:, first : first + size], first)
        for name, values in part.items():
            lanes_last = name in {"state", "clock", "keys", "flags"}
            expected = whole[name].T if lanes_last else whole[name]
            found = values.T if lanes_last else values
            assert found.tobytes() == expected[first : first + size].copy().tobytes(), name


@pytest.mark.parametrize("case", CASES)
def test_recording_changes_nothing(case: str) -> None:
    action, assets, lots, fill, reward = CASES[case]
    market = random_market(6, 150, assets, volatility=0.05, lots=lots)
    config = full_config(action, fill, reward)
    first = Simulator(market, config, 50, seed=1, autoreset="same_step", record_terms=True)
    second = Simulator(market, config, 50, seed=1, autoreset="same_step")
    rng = np.random.default_rng(3)
    for _ in range(100):
        actions = draw_actions(rng, config, first)
        first.step(actions)
        second.step(actions)
    assert first.equity_N.tobytes() == second.equity_N.tobytes()
    assert first.reward_N.tobytes() == second.reward_N.tobytes()


@pytest.mark.parametrize("case", CASES)
def test_the_future_has_no_influence(case: str) -> None:
    action, assets, lots, fill, reward = CASES[case]
    market = random_market(7, 200, assets, lots=lots, events=False)
    noise = random_market(8, 200, assets, lots=lots, events=False)
    now = 110

    def joined(name: str) -> NDArray[Any]:
        past, future = getattr(market, name), getattr(noise, name)
        return np.concatenate([past[: now + 1], future[now + 1 :]])

    other = MarketArrays.from_arrays(
        ts_event=market.ts_event, open_TA=joined("open_TA"), close_TA=joined("close_TA"),
        volume_TA=joined("volume_TA"), features=joined("features_TC"), lot_A=market.lot_A,
    )  # fmt: skip
    config = full_config(action, fill, reward)
    simulators = [Simulator(m, config, 8, seed=1, record_terms=True) for m in (market, other)]
    for simulator in simulators:
        simulator.reset(start=now - 60)
    rng = np.random.default_rng(3)
    for _ in range(60):
        actions = draw_actions(rng, config, simulators[0])
        for simulator in simulators:
            simulator.step(actions)
        past, changed = simulators
        for name, values in past.state_dict().items():
            assert values.tobytes() == changed.state_dict()[name].tobytes(), name
        assert past.observe_window().tobytes() == changed.observe_window().tobytes()
        if past.ended_N.any():
            lanes = np.flatnonzero(past.ended_N)
            for simulator in simulators:
                simulator.reset(lanes, start=int(past.bar_N.min()))
    assert (market.close_TA[now + 1 :] != other.close_TA[now + 1 :]).all()


def test_frictionless_leaves_no_trace() -> None:
    market = random_market(1, 200, 3)
    config = TradingConfig.frictionless(episode=EpisodeConfig(length=100))
    simulator = Simulator(market, config, 20, seed=1, record_terms=True)
    rng = np.random.default_rng(1)
    for _ in range(100):
        simulator.step(rng.dirichlet(np.ones(4), size=20)[:, :3])
        assert (simulator.terms_N7[:, 2:] == 0.0).all()
        assert not simulator.liquidated_N.any()


def test_rewards_sum_to_the_log_growth() -> None:
    market = random_market(1, 200, 2)
    config = full_config(SimplexAction(), "next_open", LogReturnReward())
    simulator = Simulator(market, config, 8, seed=1)
    rng, total = np.random.default_rng(1), np.zeros(8)
    for _ in range(90):
        simulator.step(rng.uniform(0, 0.5, size=(8, 2)))
        total += simulator.reward_N
    np.testing.assert_allclose(total, np.log(simulator.equity_N / 50_000.0), atol=1e-12)


def test_interest_accumulates() -> None:
    """Peers overwrote it: here a loan of one times equity costs 0.1 % a day for 250 days."""
    flat = np.full((252, 1), 10.0)
    market = MarketArrays.from_arrays(
        ts_event=np.arange(252) * 86_400 * 10**9, open_TA=flat, close_TA=flat
    )
    config = dataclasses.replace(
        TradingConfig.frictionless(
            action=LevelsAction(levels=(0.0, 2.0)),
            observation=ObservationConfig(window=1),
            episode=EpisodeConfig(length=None, random_start=False, initial_cash=1_000.0),
        ),
        financing=FinancingConfig(debit_annual_rate=0.36525),
    )
    simulator = Simulator(market, config, 1, seed=0)
    before = equity = 1_000.0
    simulator.step([[1]])
    for _ in range(250):
        simulator.step([[1]])
        # The position is twice the equity at the decision; interest is paid on what it owes.
        before, equity = equity, equity - 0.001 * (2.0 * before - equity)
    assert simulator.equity_N[0] == pytest.approx(equity, rel=1e-12)
    assert equity == pytest.approx(1_000 * (1 - 0.001) ** 250, rel=1e-3)


PROCESS = """
import json, numpy as np
from envs.config import TradingConfig
from envs.simulator import Simulator
from tests.envs.kernel.markets import random_market
s = Simulator(random_market(1, 900, 1), TradingConfig(), 5, seed=11, autoreset="same_step")
rng = np.random.default_rng(0)
for _ in range(600):
    s.step(rng.random((5, 1)))
print(json.dumps([s.start_N.tolist(), [x.hex() for x in s.equity_N.tolist()]]))
"""


def test_same_seed_same_bits_over_processes() -> None:
    outputs = [
        subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    first, second = (json.loads(output.stdout) for output in outputs)
    assert first == second
    assert len(set(first[0])) == 5  # each lane starts elsewhere


def test_starts_are_uniform_and_differ_over_episodes() -> None:
    market = random_market(1, 140, 1)
    config = TradingConfig(episode=EpisodeConfig(length=100))
    simulator = Simulator(market, config, 2_000, seed=3)
    starts = []
    for _ in range(10):
        starts.append(simulator.start_N.copy())
        simulator.reset()
    counts = np.bincount(np.concatenate(starts) - simulator.first_start)
    span = simulator.last_start - simulator.first_start + 1
    assert counts.size == span
    expected = 20_000 / span
    assert ((counts - expected) ** 2 / expected).sum() < 40.0  # chi-square, 10 degrees of freedom
    assert not np.array_equal(starts[0], starts[1])


def test_drawdown_reward_needs_no_peak_of_another_episode() -> None:
    market = random_market(1, 140, 1)
    config = TradingConfig(reward=DrawdownReward(), episode=EpisodeConfig(length=20))
    simulator = Simulator(market, config, 4, seed=3, autoreset="same_step")
    for _ in range(20):
        simulator.step(np.full((4, 1), 1.0))
    assert (simulator.peak_N == config.episode.initial_cash).all()
    assert (simulator.account_NP[:, 2] == 0.0).all()

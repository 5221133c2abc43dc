"""Options equal repeated steps, end for the right reason and discount from the first bar."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.config import EpisodeConfig, LogReturnReward, LongShortAction, TradingConfig
from envs.market_arrays import MarketArrays
from envs.simulator import Reason, Simulator
from tests.envs.kernel.markets import DAY, random_market
from tests.envs.kernel.test_reference import CASES, draw_actions, full_config


def repeated_steps(
    simulator: Simulator, action: NDArray[np.float64], max_bars: int, stop: float, gamma: float
) -> tuple[float, int, Reason]:
    entry, total, discount = simulator.equity_N[0], 0.0, 1.0
    for bars in range(1, max_bars + 1):
        simulator.step(action)
        total += discount * simulator.reward_N[0]
        discount *= gamma
        if simulator.terminated_N[0]:
            return total, bars, Reason.TERMINATED
        if simulator.truncated_N[0]:
            return total, bars, Reason.TRUNCATED
        if simulator.equity_N[0] <= (1 - stop) * entry:
            return total, bars, Reason.STOP
    return total, max_bars, Reason.MAX_BARS


@pytest.mark.parametrize("case", CASES)
def test_equals_repeated_steps(case: str) -> None:
    action, assets, lots, fill, reward = CASES[case]
    market = random_market(4, 300, assets, volatility=0.05, lots=lots)
    config = full_config(action, fill, reward)
    lanes = 300
    many = Simulator(market, config, lanes, seed=2, record_terms=True)
    ones = [Simulator(market, config, 1, seed=2, lane_offset=lane) for lane in range(lanes)]
    rng = np.random.default_rng(1)
    reasons = set()
    for _ in range(4):
        actions = draw_actions(rng, config, many)
        max_bars = rng.integers(1, 40, size=lanes) if _ % 2 else np.full(lanes, 25)
        result = many.step_option(actions, max_bars, 0.08, 0.97)
        for lane, one in enumerate(ones):
            expected = repeated_steps(
                one, actions[lane : lane + 1], int(max_bars[lane]), 0.08, 0.97
            )
            found = (result.duration_N[lane], result.reason_N[lane])
            assert found == expected[1:]
            assert result.reward_N[lane] == pytest.approx(expected[0], rel=1e-12, abs=1e-15)
            assert many.equity_N[lane] == one.equity_N[0]
            reasons.add(expected[2])
        ended = np.flatnonzero(many.ended_N)
        if ended.size:
            many.reset(ended)
            for lane in ended.tolist():
                ones[lane].reset()
    assert {Reason.MAX_BARS, Reason.TRUNCATED} <= reasons
    if config.gross_limit > 1.0:
        assert Reason.STOP in reasons


def flat(changes: list[float]) -> MarketArrays:
    close = 100.0 * np.cumprod([1.0, *changes])
    return MarketArrays.from_arrays(
        ts_event=np.arange(close.size) * DAY, open_TA=np.r_[100.0, close[:-1]][:, None],
        close_TA=close[:, None],
    )  # fmt: skip


def test_discounts_and_stops() -> None:
    config = dataclasses.replace(
        TradingConfig.frictionless(episode=EpisodeConfig(length=None, random_start=False)),
        observation=dataclasses.replace(TradingConfig().observation, window=1),
    )
    simulator = Simulator(flat([1.1, 0.8, 1.0, 1.0]), config, 1, seed=0)
    result = simulator.step_option([[1.0]], 10, 0.1, 0.5)
    assert result.reason_N.tolist() == [Reason.STOP]  # 1.1 * 0.8 = 0.88 is 12 % down
    assert result.duration_N.tolist() == [2]
    assert result.reward_N[0] == pytest.approx(np.log(1.1) + 0.5 * np.log(0.8))
    result = simulator.step_option([[1.0]], 10)
    assert result.reason_N.tolist() == [Reason.TRUNCATED]
    assert result.duration_N.tolist() == [2]


def test_drift_trades_only_once() -> None:
    market = random_market(1, 100, 2, events=False)
    config = full_config(LongShortAction(), "next_open", LogReturnReward())
    drifting, rebalanced = (Simulator(market, config, 1, seed=0, record_terms=True) for _ in "ab")
    drifting.step_option([[0.4, -0.3]], 10, rebalance=False)
    once = Simulator(market, config, 1, seed=0, record_terms=True)
    once.step([[0.4, -0.3]])
    np.testing.assert_array_equal(drifting.trades_NA, once.trades_NA)
    rebalanced.step_option([[0.4, -0.3]], 10)
    assert (rebalanced.trades_NA != once.trades_NA).any()


def test_next_step_autoreset_resets_instead() -> None:
    config = full_config(LongShortAction(), "next_open", LogReturnReward())
    simulator = Simulator(random_market(1, 200, 1), config, 3, seed=0, autoreset="next_step")
    first = simulator.step_option(np.zeros((3, 1)), 90)
    assert first.reason_N.tolist() == [Reason.TRUNCATED] * 3
    second = simulator.step_option(np.ones((3, 1)), [90, 1, 2])
    assert second.reason_N.tolist() == [Reason.RESET] * 3
    assert second.duration_N.tolist() == [0] * 3
    assert second.reward_N.tolist() == [0.0] * 3
    assert simulator.episode_N.tolist() == [1] * 3
    third = simulator.step_option(np.ones((3, 1)), [90, 1, 2])
    assert third.duration_N.tolist() == [90, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "max_bars: expected at least 1, found 0"),
        ((3, 1.5), "stop: expected a number in .*, found 1.5"),
        ((3, 0.0, -0.1), "gamma: expected a number in .*, found -0.1"),
    ],
)
def test_faulty_arguments(arguments: tuple[Any, ...], message: str) -> None:
    config = full_config(LongShortAction(), "next_open", LogReturnReward())
    simulator = Simulator(random_market(1, 200, 1), config, 1, seed=0)
    with pytest.raises(ValueError, match=message):
        simulator.step_option([[0.0]], *arguments)

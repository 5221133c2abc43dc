"""The simulator: observations, resets, autoreset, state, and errors that say what is wrong."""

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from envs.config import (
    EpisodeConfig,
    LevelsAction,
    LogReturnReward,
    LongShortAction,
    ObservationConfig,
    ParticipationConfig,
    SharesAction,
    SimplexAction,
    TradingConfig,
)
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator
from tests.envs.kernel.markets import DAY, random_market
from tests.envs.kernel.test_reference import full_config

CONFIG = full_config(SimplexAction(), "next_open", LogReturnReward())


def test_window_is_the_last_rows_and_the_account() -> None:
    market = random_market(1, 200, 3, num_features=5)
    simulator = Simulator(market, CONFIG, 7, seed=1)
    simulator.step(np.random.default_rng(0).random((7, 3)))
    window = simulator.observe_window()
    index = simulator.observe_index()
    assert window.shape == (7, simulator.window_size) == (7, 3 * 5 + 6)
    for lane, bar in enumerate(simulator.bar_N):
        rows = market.features_TC[bar - 2 : bar + 1]
        np.testing.assert_array_equal(window[lane, :15], rows.ravel())
        np.testing.assert_array_equal(simulator.window_view(lane), rows)
        assert index[lane, 0] == bar
    np.testing.assert_array_equal(window[:, 15:], simulator.account_NP)
    np.testing.assert_array_equal(index[:, 1:], simulator.account_NP)


def test_observations_are_copies_and_views_are_read_only() -> None:
    market = random_market(1, 200, 1)
    simulator = Simulator(market, CONFIG, 2, seed=1)
    before = market.features_TC.copy()
    simulator.observe_window()[...] = 7.0
    simulator.observe_index()[...] = 7.0
    np.testing.assert_array_equal(market.features_TC, before)
    for view in (simulator.window_view(), simulator.equity_N, simulator.shares_NA, market.close_TA):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 1.0


def test_output_arrays_are_filled_and_checked() -> None:
    simulator = Simulator(random_market(1, 200, 1), CONFIG, 2, seed=1)
    out = np.zeros((2, simulator.window_size), dtype=np.float32)
    assert simulator.observe_window(out) is out
    np.testing.assert_array_equal(out, simulator.observe_window())
    for wrong in (out[:1], out.astype(np.float64), np.asfortranarray(out)):
        with pytest.raises(ValueError, match=r"out: expected a C-contiguous float32 .* \(2, 10\)"):
            simulator.observe_window(wrong)  # type: ignore[arg-type] # refuses float64


def test_same_step_keeps_the_final_observation() -> None:
    simulator = Simulator(random_market(1, 300, 1), CONFIG, 2, seed=1, autoreset="same_step")
    ends = simulator.end_N.copy()
    for _ in range(90):
        assert not simulator.truncated_N.any()
        simulator.step(np.full((2, 1), 0.5))
    assert simulator.truncated_N.all()
    final, current = simulator.observe_index(final=True), simulator.observe_index()
    np.testing.assert_array_equal(final[:, 0], ends)
    np.testing.assert_array_equal(simulator.final_bar_N, ends)
    assert (final[:, -1] == 0.0).all()
    assert (final[:, 1] > 0.0).all()
    np.testing.assert_array_equal(current[:, 1:], [[0.0, 1.0, 0.0, 1.0]] * 2)
    np.testing.assert_array_equal(current[:, 0], simulator.start_N)
    assert simulator.observe_window(final=True).shape == (2, simulator.window_size)
    assert simulator.episode_N.tolist() == [1, 1]


def test_next_step_resets_on_the_next_call() -> None:
    simulator = Simulator(random_market(1, 300, 1), CONFIG, 2, seed=1, autoreset="next_step",
                          record_terms=True)  # fmt: skip
    for _ in range(90):
        simulator.step(np.full((2, 1), 0.5))
    assert simulator.truncated_N.all()
    assert simulator.ended_N.all()
    simulator.step(np.full((2, 1), 5.0))  # ignored
    assert not simulator.truncated_N.any()
    assert not simulator.projected_N.any()
    assert (simulator.reward_N == 0.0).all()
    assert (simulator.terms_N7 == 0.0).all()
    np.testing.assert_array_equal(simulator.bar_N, simulator.start_N)


def test_reset_of_some_lanes_leaves_the_others() -> None:
    simulator = Simulator(random_market(1, 300, 1), CONFIG, 4, seed=1)
    simulator.step(np.full((4, 1), 0.5))
    bars = simulator.bar_N.copy()
    simulator.reset([False, True, False, True], start=[40, 50])
    assert simulator.bar_N.tolist() == [bars[0], 40, bars[2], 50]
    assert simulator.episode_N.tolist() == [0, 1, 0, 1]
    simulator.reset(2, seed=99)
    assert simulator.seed_N.tolist() == [1, 1, 99, 1]
    assert simulator.episode_N.tolist() == [0, 1, 0, 1]
    again = Simulator(random_market(1, 300, 1), CONFIG, 4, seed=99)
    assert simulator.bar_N[2] == again.bar_N[2]


@pytest.mark.parametrize("lanes", [[3, 1], np.array([-1, -3])])
def test_reset_gives_each_lane_its_own_start_and_seed(lanes: Any) -> None:
    simulator = Simulator(random_market(1, 300, 1), CONFIG, 4, seed=1)
    bars = simulator.bar_N.copy()
    simulator.reset(lanes, start=[20, 5])
    assert simulator.bar_N.tolist() == [bars[0], 5, bars[2], 20]
    assert simulator.episode_N.tolist() == [0, 1, 0, 1]
    simulator.reset(lanes, seed=[30, 40])
    assert simulator.seed_N.tolist() == [1, 40, 1, 30]
    assert simulator.episode_N.tolist() == [0, 0, 0, 0]
    for lane, seed in ((3, 30), (1, 40)):
        again = Simulator(random_market(1, 300, 1), CONFIG, 4, seed=seed)
        assert simulator.bar_N[lane] == again.bar_N[lane]


@pytest.mark.parametrize("assets", [1, 2])
@pytest.mark.parametrize("lanes", [1, 19])
@pytest.mark.parametrize("autoreset", ["same_step", "next_step"])
def test_time_that_is_not_told_is_one(assets: int, lanes: int, autoreset: Any) -> None:
    market = random_market(1, 300, assets)
    silent = dataclasses.replace(
        CONFIG, observation=dataclasses.replace(CONFIG.observation, time_left=False)
    )
    simulator, telling = (
        Simulator(market, config, lanes, seed=1, autoreset=autoreset) for config in (silent, CONFIG)
    )
    for _ in range(200):
        for final in (False, True) if autoreset == "same_step" else (False,):
            if final and simulator.episode_N.max() == 0:
                continue  # no episode has ended yet
            found, told = (s.observe_index(final=final) for s in (simulator, telling))
            assert (found[:, -1] == 1.0).all()
            assert found[:, :-1].tobytes() == told[:, :-1].tobytes(), "nothing else changes"
        assert (simulator.observe_window()[:, -1] == 1.0).all()
        for each in (simulator, telling):
            each.step(np.full((lanes, assets), 0.3))
    assert simulator.episode_N.min() >= 2
    simulator.reset()
    assert (simulator.account_NP[:, -1] == 1.0).all()


def test_state_resumes_exactly() -> None:
    market = random_market(1, 300, 2)
    arguments: dict[str, Any] = {"seed": 1, "autoreset": "same_step", "record_terms": True}
    simulator = Simulator(market, CONFIG, 5, **arguments)
    rng = np.random.default_rng(0)
    for _ in range(120):
        simulator.step(rng.random((5, 2)))
    saved = simulator.state_dict()
    resumed = Simulator(market, CONFIG, 5, **(arguments | {"seed": 77}))
    resumed.load_state_dict(saved)
    for _ in range(120):
        actions = rng.random((5, 2))
        simulator.step(actions)
        resumed.step(actions)
    for name, values in simulator.state_dict().items():
        assert values.tobytes() == resumed.state_dict()[name].tobytes(), name
    with pytest.raises(ValueError, match=r"state: expected .*, found \['cash'\]"):
        resumed.load_state_dict({"cash": np.zeros(5)})
    with pytest.raises(ValueError, match=r"state\['state'\]: expected float64 of shape \(6, 5\)"):
        resumed.load_state_dict(saved | {"state": np.zeros((6, 4))})


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_continue_on_their_own(clone: Any) -> None:
    simulator = Simulator(random_market(1, 300, 2), CONFIG, 3, seed=1, lane_offset=4)
    simulator.step(np.full((3, 2), 0.3))
    twin = clone(simulator)
    before = simulator.equity_N.copy()
    twin.step(np.full((3, 2), 0.4))
    np.testing.assert_array_equal(simulator.equity_N, before)
    simulator.step(np.full((3, 2), 0.4))
    for name, values in simulator.state_dict().items():
        assert values.tobytes() == twin.state_dict()[name].tobytes(), name
    assert (simulator.equity_N != before).all()


def test_whole_span_uses_all_rows() -> None:
    config = dataclasses.replace(CONFIG, episode=EpisodeConfig(length=None, random_start=False))
    simulator = Simulator(random_market(1, 300, 1), config, 1, seed=1, rows=(100, 160))
    assert simulator.start_N.tolist() == [100]  # the window looks back before the rows
    for _ in range(59):
        assert not simulator.truncated_N[0]
        simulator.step([[0.2]])
    assert simulator.truncated_N[0]
    assert simulator.bar_N.tolist() == [159]


def test_last_reward_comes_once() -> None:
    simulator = Simulator(random_market(1, 300, 1), CONFIG, 1, seed=1)
    for _ in range(90):
        simulator.step([[0.5]])
    equity = simulator.equity_N.copy()
    with pytest.raises(RuntimeError, match="lane 0: expected a running episode"):
        simulator.step([[0.5]])
    assert simulator.equity_N == equity


def test_nan_action_changes_nothing() -> None:
    simulator = Simulator(random_market(1, 300, 2), CONFIG, 3, seed=1)
    actions = np.zeros((3, 2))
    actions[2, 1] = np.inf
    before = simulator.state_dict()
    with pytest.raises(ValueError, match=r"actions\[2, 1\]: .* lane 2, found inf"):
        simulator.step(actions)
    for name, values in simulator.state_dict().items():
        assert values.tobytes() == before[name].tobytes()


def test_faulty_shapes() -> None:
    simulator = Simulator(random_market(1, 300, 2), CONFIG, 3, seed=1)
    with pytest.raises(ValueError, match=r"actions: expected shape \(3, 2\), found \(3,\)"):
        simulator.step(np.zeros(3))
    with pytest.raises(RuntimeError, match="record_terms=True"):
        _ = simulator.terms_N7
    with pytest.raises(ValueError, match=r"start: expected a bar in .* found 299"):
        simulator.reset(start=299)
    with pytest.raises(ValueError, match=r"seed: expected .* found -1"):
        simulator.reset(seed=-1)
    with pytest.raises(ValueError, match="num_envs: expected at least 1, found 0"):
        Simulator(random_market(1, 300, 2), CONFIG, 0, seed=1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((0, 60), "expected at least 91 bars .* found 58"),
        ((250, 300), "expected at least 91 bars .* found 50"),
        ((0, 301), "rows: expected 0 <= start < stop <= 300"),
        ((5, 5), "rows: expected 0 <= start < stop <= 300"),
    ],
)
def test_too_few_bars(rows: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Simulator(random_market(1, 300, 1), CONFIG, 1, seed=1, rows=rows)


def test_configuration_that_does_not_fit() -> None:
    config = full_config(LevelsAction(), "next_open", LogReturnReward())
    with pytest.raises(ValueError, match="expected a market of 1 asset, found 2"):
        Simulator(random_market(1, 300, 2), config, 1, seed=1)
    flat = np.full((200, 1), 5.0)
    silent = MarketArrays.from_arrays(ts_event=np.arange(200) * DAY, open_TA=flat, close_TA=flat)
    with pytest.raises(ValueError, match="A0: expected volumes"):
        Simulator(silent, CONFIG, 1, seed=1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SharesAction(minimum=5, maximum=5), "minimum must be below maximum"),
        (lambda: EpisodeConfig(length=None), "length must be a number of bars"),
        (lambda: ParticipationConfig(maximum=1.5), "less than or equal to 1"),
        (lambda: ObservationConfig(window=0), "greater than or equal to 1"),
        (
            lambda: TradingConfig(fees=3),  # type: ignore[call-arg] # must be refused
            "Unexpected keyword",
        ),
        (
            lambda: TradingConfig(action={"kind": "orders"}),  # type: ignore[arg-type] # likewise
            "'simplex', 'long_short'",
        ),
    ],
)
def test_faulty_configurations(build: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build()


def test_accounts() -> None:
    assert TradingConfig().cash_account
    assert not TradingConfig(action=LongShortAction(gross=1.5)).cash_account
    assert TradingConfig(action=LevelsAction(levels=(-2, 1))).gross_limit == 2.0
    assert TradingConfig.frictionless().fee.bps == 0.0


TIMES = np.arange(3) * DAY


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"ts_event": [0, 2, 2]}, "ts_event: expected increasing times, found 2 in row 2"),
        ({"ts_event": [0, 1]}, r"ts_event: expected shape \(3,\), found \(2,\)"),
        ({"open_TA": np.ones((2, 2))}, r"open_TA: expected shape \(3, 2\), found \(2, 2\)"),
        ({"split_TA": [[1, 1], [0, 1], [1, 1]]}, r"split_TA\[1, 0\]: expected a ratio > 0"),
        ({"dividend_TA": [[0, 0], [0, np.nan], [0, 0]]}, r"dividend_TA\[1, 1\]: expected a fin"),
        ({"features": np.ones((2, 4))}, r"features: expected shape \(3, C\), found \(2, 4\)"),
        ({"features": [[1.0], [np.nan], [1.0]]}, r"features\[1, 0\]: .* found nan"),
        ({"features": np.ones((3, 1)), "warmup": 3}, r"warmup: expected a row in \[0, 3\)"),
        ({"symbols": ["X"]}, "symbols: expected 2 names, found 1"),
        (
            {"tradable_TA": np.ones((3, 2)), "close_TA": [[1, 1], [1, np.nan], [1, 1]]},
            r"close_TA\[1, 1\]: expected a finite price, found nan",
        ),
    ],
)
def test_faulty_markets(columns: dict[str, Any], message: str) -> None:
    arguments = {"ts_event": TIMES, "open_TA": np.ones((3, 2)), "close_TA": np.ones((3, 2))}
    with pytest.raises(ValueError, match=message):
        MarketArrays.from_arrays(**(arguments | columns))


def test_warm_up_may_be_nan_and_moves_the_first_start() -> None:
    features = np.ones((200, 1), dtype=np.float32)
    features[:20] = np.nan
    flat = np.full((200, 1), 5.0)
    market = MarketArrays.from_arrays(
        ts_event=np.arange(200) * DAY, open_TA=flat, close_TA=flat, volume_TA=flat,
        features=features, warmup=20,
    )  # fmt: skip
    simulator = Simulator(market, CONFIG, 500, seed=1)
    assert simulator.first_start == 22
    assert simulator.start_N.min() == 22
    assert np.isfinite(simulator.observe_window()).all()


def test_carried_price_and_volatility() -> None:
    market = MarketArrays.from_arrays(
        ts_event=np.arange(5) * DAY,
        open_TA=[[np.nan], [10.0], [11.0], [np.nan], [6.0]],
        close_TA=[[np.nan], [10.0], [12.0], [np.nan], [6.0]],
        split_TA=[[1], [1], [1], [2], [1]],
        volatility_window=3,
    )
    assert market.close_TA[:, 0].tolist() == [0.0, 10.0, 12.0, 6.0, 6.0]  # halved by the split
    assert market.open_TA[:, 0].tolist() == [0.0, 10.0, 11.0, 6.0, 6.0]
    assert not market.delisted_TA.any()
    # Returns log 1.2, then log 1 over the halt.
    np.testing.assert_allclose(market.volatility_TA[:3, 0], [0.0, 0.0, 0.0])
    assert market.volatility_TA[4, 0] == pytest.approx(np.log(1.2) / 2)

"""The scalar environment: projection, options, step_option, copies, rendering and bad input."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from envs.config import (
    EpisodeConfig,
    LevelsAction,
    LongShortAction,
    ObservationConfig,
    SharesAction,
    SimplexAction,
    TradingConfig,
)
from envs.default_market import ConfigurationError
from envs.guards import ActionError, EpisodeError, OptionsError
from envs.market_arrays import MarketArrays
from envs.trading_env import TradingEnv

MakeMarket = Callable[..., MarketArrays]
SHORT = TradingConfig(
    episode=EpisodeConfig(length=10), observation=ObservationConfig(kind="window", window=4)
)
BOXES = [
    SimplexAction(),
    SimplexAction(parametrisation="logits"),
    LongShortAction(gross=1.5, net=0.5),
    SharesAction(minimum=-50.0, maximum=50.0, gross=2.0),
]


@pytest.fixture
def env(random_market: MakeMarket) -> TradingEnv:
    return TradingEnv(random_market(), SHORT)


def test_window_is_the_features_then_the_account(env: TradingEnv) -> None:
    observation, info = env.reset(seed=0)
    for _ in range(5):
        observation, _, _, _, info = env.step(np.array([0.5, 0.25]))
    assert isinstance(env.market, MarketArrays)
    rows = env.market.features_TC[info["bar"] - 3 : info["bar"] + 1]
    assert observation[:12].tolist() == rows.ravel().tolist()
    account = env.simulator
    price_A = env.market.close_TA[info["bar"]]
    weights_A = account.shares_NA[0] * price_A / info["equity"]
    np.testing.assert_allclose(observation[12:14], weights_A, rtol=1e-6)
    assert observation[14] == pytest.approx(account.cash_N[0] / info["equity"], rel=1e-6)
    assert observation[15] == pytest.approx(1 - info["equity"] / account.peak_N[0], abs=1e-6)
    assert observation[16] == 0.5, "five of ten steps are left"


def test_kinds_of_observation_agree(random_market: MakeMarket) -> None:
    market = random_market()
    window, index, view = (
        TradingEnv(market, replace(SHORT, observation=ObservationConfig(kind=kind, window=4)))
        for kind in ("window", "index", "view")
    )
    results = [env.reset(seed=3) for env in (window, index, view)]
    for _ in range(6):
        (flat, _), (row, info), (parts, _) = results
        assert row[0] == info["bar"]
        assert flat[-5:].tolist() == row[1:].tolist() == parts["account"].tolist()
        assert flat[:-5].tolist() == parts["market"].ravel().tolist()
        assert view.observation_space.contains(parts)
        assert np.shares_memory(parts["market"], market.features_TC), "a view copies nothing"
        results = []
        for env in (window, index, view):
            observation, *_, info = env.step(np.array([0.2, 0.2]))
            results.append((observation, info))


@pytest.mark.parametrize("action", BOXES, ids=lambda action: action.kind)
def test_outside_actions_are_projected_and_counted(random_market: MakeMarket, action: Any) -> None:
    market = random_market()
    inside, outside = (TradingEnv(market, replace(SHORT, action=action)) for _ in range(2))
    inside.reset(seed=0)
    outside.reset(seed=0)
    shape = inside.action_space.shape
    assert shape is not None
    high = getattr(inside.action_space, "high")  # noqa: B009 - Discrete has none
    low = getattr(inside.action_space, "low")  # noqa: B009 - as above
    far = np.where(np.arange(shape[0]) == 0, high + 5.0, low)
    near = np.where(np.arange(shape[0]) == 0, high, low)
    *_, far_info = outside.step(far)
    *_, near_info = inside.step(near)
    assert far_info["projected"] is True
    assert far_info["projection_count"] == 1
    assert far_info["fills"].tolist() == near_info["fills"].tolist()
    *_, info = outside.step(np.zeros(shape))
    assert info["projected"] is False
    assert info["projection_count"] == 1
    *_, info = outside.step(far)
    assert info["projection_count"] == 2


def test_levels(random_market: MakeMarket) -> None:
    levels = LevelsAction(levels=(-0.5, 0.0, 1.0))
    config = replace(TradingConfig.frictionless(action=levels), episode=SHORT.episode)
    market = random_market(num_assets=1)
    env = TradingEnv(market, config)
    env.reset(seed=0)
    for action, weight in ((0, -0.5), (np.int64(2), 1.0), (np.array(1), 0.0)):
        before = env.simulator.equity[0]
        price = market.close_TA[env.simulator.bar[0], 0]
        split = market.split_TA[env.simulator.bar[0] + 1, 0]
        *_, info = env.step(action)
        expected = weight * before / price * split
        if market.tradable_TA[info["bar"], 0]:
            assert env.simulator.shares_NA[0, 0] == pytest.approx(expected, abs=1e-9)
        assert info["projected"] is False
    *_, info = env.step(7)
    assert info["projected"] is True


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(3), r"action: expected shape \(2,\), found \(3,\)"),
        (np.zeros((1, 2)), r"action: expected shape \(2,\), found \(1, 2\)"),
        (0.5, r"action: expected shape \(2,\), found \(\)"),
        (np.array(["a", "b"]), r"action: expected real numbers, found <U1"),
        (np.array([1 + 2j, 0]), r"action: expected real numbers, found complex128"),
        (np.array([True, False]), r"action: expected real numbers, found bool"),
        (None, r"action: expected real numbers, found object"),
        (np.array([0.1, np.nan]), r"action\[1\]: expected a finite number, found nan"),
        (np.array([np.inf, 0.0]), r"action\[0\]: expected a finite number, found inf"),
    ],
)
def test_faulty_actions_change_nothing(env: TradingEnv, action: Any, message: str) -> None:
    env.reset(seed=0)
    env.step(np.array([0.5, 0.1]))
    before = {name: array.tobytes() for name, array in env.simulator.state_dict().items()}
    with pytest.raises(ActionError, match=message):
        env.step(action)
    with pytest.raises(ActionError, match=message):
        env.step_option(action, 3)
    after = {name: array.tobytes() for name, array in env.simulator.state_dict().items()}
    assert before == after


@pytest.mark.parametrize("action", [0.7, "1", np.array([0, 1]), None, True])
def test_faulty_levels(random_market: MakeMarket, action: Any) -> None:
    config = replace(SHORT, action=LevelsAction())
    env = TradingEnv(random_market(num_assets=1), config)
    env.reset(seed=0)
    with pytest.raises(ActionError, match="action: expected one integer, found"):
        env.step(action)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "u1"])
def test_real_dtypes_and_lists_are_the_same_action(env: TradingEnv, dtype: str) -> None:
    env.reset(seed=0)
    *_, expected = env.step([1, 0])
    env.reset(seed=0)
    *_, info = env.step(np.array([1, 0], dtype=dtype))
    assert info["fills"].tolist() == expected["fills"].tolist()
    assert info["fills"][0] > 0.0


def test_steps_outside_of_an_episode_are_refused(env: TradingEnv) -> None:
    with pytest.raises(EpisodeError, match="no episode has begun; call reset"):
        env.step(np.zeros(2))
    with pytest.raises(EpisodeError, match="no episode has begun; call reset"):
        env.step_option(np.zeros(2), 2)
    env.reset(seed=0)
    for _ in range(10):
        *_, truncated, _ = env.step(np.zeros(2))
    assert truncated
    for _ in range(2):
        with pytest.raises(EpisodeError, match="the episode has ended; call reset"):
            env.step(np.zeros(2))
    with pytest.raises(EpisodeError, match="the episode has ended; call reset"):
        env.step_option(np.zeros(2), 2)
    env.reset()
    env.step(np.zeros(2))


def test_ruin_terminates(flat_market: MakeMarket) -> None:
    price_T1 = np.array([[100.0], [100.0], [100.0], [4.0], [4.0], [4.0]])
    config = replace(
        TradingConfig.frictionless(observation=ObservationConfig(kind="index", window=1)),
        episode=EpisodeConfig(length=None, random_start=False, ruin_fraction=0.05),
    )
    market = flat_market(6, open_TA=price_T1, close_TA=price_T1)
    env = TradingEnv(market, config)
    env.reset(seed=0)
    flags = []
    for _ in range(3):
        _, reward, terminated, truncated, _ = env.step(np.array([1.0]))
        flags.append((terminated, truncated))
    assert flags == [(False, False), (False, False), (True, False)]
    assert reward == pytest.approx(math.log(0.04))


def test_whole_span_starts_at_the_first_bar_and_ends_at_the_last(env: TradingEnv) -> None:
    config = replace(SHORT, episode=EpisodeConfig(length=None, random_start=False))
    whole = TradingEnv(env.market, config, rows=(20, 60))
    _, info = whole.reset()
    assert info["bar"] == 20
    steps = 0
    while not whole.step(np.zeros(2))[3]:
        steps += 1
    assert steps + 1 == 39
    assert whole.simulator.bar[0] == 59


def test_start_option(env: TradingEnv) -> None:
    first, last = env.simulator.first_start, env.simulator.last_start
    for start in (first, 100, last):
        assert env.reset(seed=0, options={"start": start})[1]["bar"] == start
    for start in (first - 1, last + 1):
        message = rf"options: start: expected a bar in \[{first}, {last}\], found {start}"
        with pytest.raises(OptionsError, match=message):
            env.reset(options={"start": start})
    with pytest.raises(OptionsError, match="options: expected some of start, found 'begin'"):
        env.reset(options={"begin": 3})
    with pytest.raises(OptionsError, match=r"options\.start: expected integers .* found 3\.5"):
        env.reset(options={"start": 3.5})
    for seed in (2**63, -1, "1", 0.5):
        with pytest.raises(OptionsError, match="seed: expected integers in"):
            env.reset(seed=seed)  # type: ignore[arg-type] # wrong on purpose


def test_step_option_is_repeated_steps(env: TradingEnv) -> None:
    gamma, action = 0.9, np.array([0.6, 0.3])
    twin = copy.deepcopy(env)
    env.reset(seed=4)
    twin.reset(seed=4)
    observation, reward, terminated, truncated, info = env.step_option(action, 4, gamma=gamma)
    total, fees = 0.0, 0.0
    for k in range(4):
        expected, step_reward, _, _, step_info = twin.step(action)
        total += gamma**k * float(step_reward)
        fees += step_info["fees"]
    assert observation.tobytes() == expected.tobytes()
    assert reward == pytest.approx(total, abs=1e-15)
    assert info["fees"] == pytest.approx(fees)
    assert (info["duration"], info["reason"]) == (4, "max_bars")
    assert (terminated, truncated) == (False, False)
    *_, truncated, info = env.step_option(action, 100)
    assert truncated
    assert (info["duration"], info["reason"]) == (6, "truncated")
    with pytest.raises(EpisodeError):
        env.step_option(action, 1)


def test_step_option_parameters(env: TradingEnv) -> None:
    env.reset(seed=0)
    with pytest.raises(ValueError, match="max_bars: expected at least 1, found 0"):
        env.step_option(np.zeros(2), 0)
    with pytest.raises(ValueError, match="stop: expected a number in"):
        env.step_option(np.zeros(2), 3, stop=1.5)
    *_, info = env.step_option(np.array([1.0, 0.0]), 10, stop=1e-9)
    assert info["reason"] in {"stop", "truncated"}


def test_pictures(env: TradingEnv) -> None:
    drawn = TradingEnv(env.market, SHORT, render_mode="rgb_array")
    with pytest.raises(EpisodeError, match="no episode has begun"):
        drawn.render()
    drawn.reset(seed=0)
    for _ in range(3):
        drawn.step(np.array([0.5, 0.5]))
    image = drawn.render()
    assert isinstance(image, np.ndarray)
    assert image.shape == (700, 1000, 3)
    assert len(drawn._trace.times) == 4
    assert drawn._trace.equities[-1] == drawn.simulator.equity[0]
    assert drawn._trace.traded[1].sum() > 0.0
    drawn.reset()
    assert len(drawn._trace.times) == 1
    drawn.step_option(np.array([0.5, 0.5]), 3)
    assert len(drawn._trace.times) == 2, "one entry a call"
    with pytest.raises(ValueError, match="render_mode: expected one of rgb_array, ansi"):
        TradingEnv(env.market, SHORT, render_mode="human")
    env.reset()
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None


def test_too_few_bars(random_market: MakeMarket) -> None:
    message = "expected at least 11 bars for an episode of 10 steps after a window of 4"
    with pytest.raises(ValueError, match=message):
        TradingEnv(random_market(num_bars=18), SHORT)
    assert TradingEnv(random_market(num_bars=19), SHORT).simulator.last_start == 8
    with pytest.raises(ValueError, match=r"rows: expected 0 <= start < stop <= 300"):
        TradingEnv(random_market(), SHORT, rows=(10, 301))


def test_features_out_of_the_declared_range_are_refused(flat_market: MakeMarket) -> None:
    features = np.zeros((20, 2), dtype=np.float32)
    features[4, 1] = 3e13
    with pytest.raises(ValueError, match=r"features\[4, 1\]: expected at most 1e\+12 .* found 3"):
        TradingEnv(flat_market(features=features), SHORT)


def test_unknown_configuration_keys(random_market: MakeMarket) -> None:
    market = random_market()
    with pytest.raises(ConfigurationError, match=r"config\.fee\.bpss: .*found 3"):
        TradingEnv(market, {"fee": {"bpss": 3}})
    with pytest.raises(ConfigurationError, match=r"config\.commission: .*found 1"):
        TradingEnv(market, {"commission": 1})
    with pytest.raises(ConfigurationError, match=r"config\.episode\.length: .*found 0"):
        TradingEnv(market, {"episode": {"length": 0}})
    with pytest.raises(ConfigurationError, match=r"config\.action: .*martingale"):
        TradingEnv(market, {"action": {"kind": "martingale"}})
    env = TradingEnv(market, {"fee": {"bps": 7.0}, "episode": {"length": 10}})
    assert env.config.fee.bps == 7.0


def test_deep_copy_is_independent(env: TradingEnv) -> None:
    env.reset(seed=0)
    twin = copy.deepcopy(env)
    env.step(np.array([1.0, 0.0]))
    assert twin.simulator.bar[0] == env.simulator.bar[0] - 1
    assert twin.simulator.shares_NA.tolist() == [[0.0, 0.0]]
    assert twin.np_random.bit_generator.state == env.np_random.bit_generator.state
    fresh = copy.deepcopy(TradingEnv(env.market, SHORT))
    with pytest.raises(EpisodeError, match="no episode has begun"):
        fresh.step(np.zeros(2))

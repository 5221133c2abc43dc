"""The vector environment: both autoreset modes against Gymnasium's own, masks, infos, bad input."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from envs.config import (
    EpisodeConfig,
    LevelsAction,
    LongShortAction,
    ObservationConfig,
    TradingConfig,
)
from envs.guards import ActionError, EpisodeError, OptionsError
from envs.make import make, make_vec
from envs.market_arrays import MarketArrays
from envs.simulator import Reason
from envs.trading_env import TradingEnv
from envs.vector_env import TradingVectorEnv

MakeMarket = Callable[..., MarketArrays]
N = 4
CONFIG = TradingConfig(
    action=LongShortAction(gross=2.0),
    episode=EpisodeConfig(length=7),
    observation=ObservationConfig(window=3),
)
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]


def ruin_prone(market: MarketArrays) -> MarketArrays:
    """Some lanes are ruined before the end: prices fall by 60 % in every ninth bar."""
    factor_T1 = np.cumprod(np.where(np.arange(market.num_bars) % 9 == 8, 0.4, 1.3))[:, None]
    price_T1 = 100.0 * factor_T1
    return MarketArrays.from_arrays(
        ts_event=market.ts_event,
        open_TA=price_T1,
        close_TA=price_T1,
        volume_TA=np.full_like(price_T1, 1e15),
        features=market.features_TC,
        warmup=5,
    )


def same(one: Any, other: Any) -> None:
    """Equal contents, also of nested infos and of object arrays."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, tuple) or (isinstance(one, np.ndarray) and one.dtype == object):
        for left, right in zip(one, other, strict=True):
            same(left, right)
    elif one is None:
        assert other is None
    else:
        assert np.asarray(one).tolist() == np.asarray(other).tolist()


@pytest.mark.parametrize("kind", ["window", "index"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ruins", [False, True])
def test_equals_gymnasiums_own_vectorisation(
    random_market: MakeMarket, mode: AutoresetMode, kind: Any, ruins: bool
) -> None:
    market = random_market()
    config = CONFIG
    if ruins:
        market = ruin_prone(market)
        config = replace(CONFIG, episode=EpisodeConfig(length=30, ruin_fraction=0.5))
    ours = TradingVectorEnv(
        N, market, config, observation=kind, autoreset_mode=mode, record_terms=True
    )
    theirs = SyncVectorEnv(
        [
            lambda lane=lane: TradingEnv(market, config, observation=kind, lane=lane)  # type: ignore[misc] # bound now
            for lane in range(N)
        ],
        autoreset_mode=mode,
    )
    same(ours.reset(seed=3)[0], theirs.reset(seed=[3] * N)[0])
    ours.action_space.seed(0)
    ends = np.zeros(2)
    for _ in range(80):
        actions = ours.action_space.sample()
        found: Any = ours.step(actions)
        expected: Any = theirs.step(actions)
        for left, right in zip(found[:4], expected[:4], strict=True):
            same(left, right)
        same(found[4], expected[4])
        ends += [found[2].sum(), found[3].sum()]
    assert ends[1] > 0 or ruins
    assert (ends[0] > 0) == ruins


@pytest.mark.parametrize("kind", ["window", "index", "view"])
@pytest.mark.parametrize("mode", MODES)
def test_time_that_is_not_told_is_one(
    random_market: MakeMarket, mode: AutoresetMode, kind: Any
) -> None:
    config = replace(CONFIG, observation=ObservationConfig(window=3, time_left=False))
    market = random_market()
    scalar = TradingEnv(market, config, observation=kind)
    vector = TradingVectorEnv(
        N, market, config, observation="index" if kind == "view" else kind, autoreset_mode=mode
    )

    def left(observation: Any) -> NDArray[np.float32]:
        account = observation["account"] if isinstance(observation, dict) else observation
        return np.asarray(account)[..., -1]

    assert (left(vector.reset(seed=1)[0]) == 1.0).all()
    for episode in range(2):
        assert left(scalar.reset(seed=episode)[0]) == 1.0
        ended = False
        while not ended:
            observation, _, terminated, truncated, _ = scalar.step(scalar.action_space.sample())
            assert left(observation) == 1.0
            ended = terminated or truncated
            observations, _, _, truncations, infos = vector.step(vector.action_space.sample())
            assert (left(observations) == 1.0).all()
            if mode is AutoresetMode.SAME_STEP and truncations.any():
                assert all(left(final) == 1.0 for final in infos["final_obs"][truncations])


def test_next_step_boundaries_as_rllib_reads_them(random_market: MakeMarket) -> None:
    """RLlib cuts episodes so: after a done step, the next observation starts a new episode."""
    env = TradingVectorEnv(N, random_market(), CONFIG)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observations, _ = env.reset(seed=0)
    episodes: list[list[tuple[NDArray[np.float32], float]]] = [[] for _ in range(N)]
    lengths: list[int] = []
    done_N = np.zeros(N, dtype=bool)
    env.action_space.seed(0)
    for _ in range(3 * 8):
        before = observations
        observations, rewards, terminations, truncations, _ = env.step(env.action_space.sample())
        for lane in range(N):
            if done_N[lane]:
                assert rewards[lane] == 0.0
                assert not terminations[lane]
                assert not truncations[lane]
                assert observations[lane, -1] == 1.0, "the reset observation"
                assert observations[lane, -3] == 1.0, "all in cash"
                episodes[lane] = []
                continue
            episodes[lane].append((before[lane], float(rewards[lane])))
            if truncations[lane]:
                assert observations[lane, -1] == 0.0, "the terminal observation"
                assert episodes[lane][0][0][-1] == 1.0
                lengths.append(len(episodes[lane]))
        done_N = terminations | truncations
    assert lengths == [7] * (3 * N)


def test_next_step_ignores_the_action(random_market: MakeMarket) -> None:
    env = TradingVectorEnv(N, random_market(), CONFIG)
    env.reset(seed=0)
    for _ in range(7):
        env.step(np.zeros((N, 2)))
    twin = copy.deepcopy(env)
    found, expected = env.step(np.ones((N, 2))), twin.step(np.zeros((N, 2)))
    same(found, expected)
    assert not found[4]["projected"].any()
    same(env.step(np.zeros((N, 2))), twin.step(np.zeros((N, 2))))


def test_same_step_hands_over_the_end(random_market: MakeMarket) -> None:
    market = random_market()
    env = TradingVectorEnv(
        N, market, CONFIG, observation="index", autoreset_mode="SameStep", record_terms=True
    )
    starts = env.reset(seed=0)[0][:, 0]
    for _ in range(6):
        *_, infos = env.step(np.full((N, 2), 2.0))
        assert "final_obs" not in infos
    observations, _, _, truncations, infos = env.step(np.full((N, 2), 2.0))
    assert truncations.all()
    assert infos["_final_obs"].all()
    final = np.stack(list(infos["final_obs"]))
    assert (final[:, 0] == starts + 7).all()
    assert (final[:, -1] == 0.0).all()
    assert (observations[:, -1] == 1.0).all()
    assert infos["final_info"]["projection_count"].tolist() == [7] * N
    assert infos["projection_count"].tolist() == [0] * N
    assert (infos["final_info"]["equity"] != 100_000.0).all()
    assert (infos["equity"] == 100_000.0).all()
    assert (infos["fees"] == 0.0).all()


def test_disabled_needs_a_reset_mask(random_market: MakeMarket) -> None:
    env = TradingVectorEnv(N, random_market(), CONFIG, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    for _ in range(7):
        before, *_ = env.step(np.zeros((N, 2)))
    with pytest.raises(EpisodeError, match="lane 0: expected a running episode"):
        env.step(np.zeros((N, 2)))
    with pytest.raises(EpisodeError, match="lane 0: expected a running episode"):
        env.step_option(np.zeros((N, 2)), 2)
    mask = np.array([True, False, True, False])
    observations, _ = env.reset(options={"reset_mask": mask})
    assert (observations[mask, -1] == 1.0).all()
    same(observations[~mask], before[~mask])
    with pytest.raises(EpisodeError, match="lane 1: expected a running episode"):
        env.step(np.zeros((N, 2)))
    env.reset(options={"reset_mask": ~mask, "start": np.array([50, 60, 70, 80])})
    assert env.simulator.bar_N[~mask].tolist() == [60, 80]
    env.step(np.zeros((N, 2)))


def test_seeds_and_starts(random_market: MakeMarket) -> None:
    env = TradingVectorEnv(N, random_market(), CONFIG)
    bars = env.reset(seed=5)[1]["bar"].tolist()
    assert len(set(bars)) > 1, "one seed, but each lane draws its own starts"
    assert env.reset(seed=[5, 5, 5, 6])[1]["bar"].tolist()[:3] == bars[:3]
    assert env.reset(seed=np.int64(5))[1]["bar"].tolist() == bars  # type: ignore[arg-type] # numpy's
    assert env.reset()[1]["bar"].tolist() != bars
    assert env.reset(options={"start": 40})[1]["bar"].tolist() == [40] * N
    assert env.reset(options={"start": [40, 41, 42, 43]})[1]["bar"].tolist() == [40, 41, 42, 43]
    shifted = TradingVectorEnv(2, env.market, CONFIG, lane_offset=2)
    assert shifted.reset(seed=5)[1]["bar"].tolist() == bars[2:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"begin": 1}, "options: expected some of start, reset_mask, found 'begin'"),
        ({"start": 0}, r"reset: start: expected a bar in \[7, 292\], found 0"),
        ({"start": [40, 41]}, r"reset: expected one value or \(4,\), found \(2,\)"),
        ({"start": 1.5}, r"options\.start: expected integers"),
        ({"reset_mask": np.zeros(N, bool)}, "reset_mask: expected a bool array .* with a True"),
        ({"reset_mask": np.ones(N)}, "reset_mask: expected a bool array .* found float64"),
        ({"reset_mask": np.ones(3, bool)}, r"reset_mask: expected .* shape \(4,\).* found"),
    ],
)
def test_faulty_options(random_market: MakeMarket, options: Any, message: str) -> None:
    env = TradingVectorEnv(N, random_market(), CONFIG)
    with pytest.raises(OptionsError, match=message):
        env.reset(seed=0, options=options)
    with pytest.raises(OptionsError, match="seed: expected integers"):
        env.reset(seed=-1)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros((N, 3)), r"actions: expected shape \(4, 2\), found \(4, 3\)"),
        (np.zeros(2), r"actions: expected shape \(4, 2\), found \(2,\)"),
        (np.full((N, 2), "x"), "actions: expected real numbers, found <U1"),
        (np.full((N, 2), 1j), "actions: expected real numbers, found complex128"),
        (
            np.array([[0, 0], [0, np.nan], [0, 0], [0, 0]]),
            r"actions\[1, 1\]: expected a finite number in lane 1, found nan",
        ),
    ],
)
def test_faulty_actions_change_nothing(
    random_market: MakeMarket, actions: NDArray[Any], message: str
) -> None:
    env = TradingVectorEnv(N, random_market(), CONFIG)
    with pytest.raises(EpisodeError, match="no episode has begun; call reset"):
        env.step(np.zeros((N, 2)))
    env.reset(seed=0)
    env.step(np.ones((N, 2)))
    before = {name: array.tobytes() for name, array in env.simulator.state_dict().items()}
    with pytest.raises(ActionError, match=message):
        env.step(actions)
    after = {name: array.tobytes() for name, array in env.simulator.state_dict().items()}
    assert before == after


def test_levels_are_integers(random_market: MakeMarket) -> None:
    config = replace(CONFIG, action=LevelsAction())
    env = TradingVectorEnv(N, random_market(num_assets=1), config)
    env.reset(seed=0)
    with pytest.raises(ActionError, match="actions: expected integers, found float64"):
        env.step(np.zeros(N))
    *_, infos = env.step(np.array([0, 1, 2, 3]))
    assert infos["projected"].tolist() == [False, False, False, True]


@pytest.mark.parametrize("mode", MODES)
def test_step_option_in_every_lane(random_market: MakeMarket, mode: AutoresetMode) -> None:
    market = random_market()
    env = TradingVectorEnv(N, market, CONFIG, autoreset_mode=mode)
    singles = [TradingEnv(market, CONFIG, lane=lane) for lane in range(N)]
    env.reset(seed=2)
    targets = np.linspace(-0.6, 0.6, 2 * N).reshape(N, 2)
    expected = []
    for single, target in zip(singles, targets, strict=True):
        single.reset(seed=2)
        single.step_option(target, 3, gamma=0.9)
        expected.append(single.step_option(target, 5, gamma=0.9))
    env.step_option(targets, 3, gamma=0.9)
    observations, rewards, _, truncations, infos = env.step_option(
        targets, np.full(N, 5), gamma=0.9
    )
    assert truncations.all()
    same(rewards, [result[1] for result in expected])
    last = infos["final_info"] if mode is AutoresetMode.SAME_STEP else infos
    assert last["duration"].tolist() == [result[4]["duration"] for result in expected] == [4] * N
    assert last["reason"].tolist() == [Reason.TRUNCATED] * N
    if mode is AutoresetMode.SAME_STEP:
        same(list(infos["final_obs"]), [result[0] for result in expected])
        assert not infos["_duration"].any()
    else:
        same(observations, [result[0] for result in expected])
        *_, infos = env.step_option(targets, 3)
        assert infos["duration"].tolist() == [0] * N
        assert infos["reason"].tolist() == [Reason.RESET] * N
    with pytest.raises(ValueError, match="gamma: expected a number in"):
        env.step_option(targets, 3, gamma=2.0)
    with pytest.raises(ValueError, match=r"actions\[0, 0\]: expected a finite number"):
        env.step_option(np.full((N, 2), np.nan), 3)
    with pytest.raises(ActionError, match="actions: expected shape"):
        env.step_option(targets[:1], 3)


def test_results_belong_to_the_caller(random_market: MakeMarket) -> None:
    env = TradingVectorEnv(N, random_market(), CONFIG, record_terms=True)
    env.reset(seed=0)
    first = env.step(np.zeros((N, 2)))
    kept = copy.deepcopy(first)
    twin = copy.deepcopy(env)
    for array in (*first[:4], *(v for k, v in first[4].items() if not k.startswith("_"))):
        assert not any(np.shares_memory(array, own) for own in env.simulator._changing.values())
        array.fill(1)
    same(env.step(np.ones((N, 2))), twin.step(np.ones((N, 2))))
    assert (kept[0] != first[0]).any()


def test_without_copies_one_array_is_written_again(random_market: MakeMarket) -> None:
    market = random_market()
    reused = TradingVectorEnv(N, market, CONFIG, copy=False)
    fresh = TradingVectorEnv(N, market, CONFIG)
    first, _ = reused.reset(seed=0)
    fresh.reset(seed=0)
    second = reused.step(np.ones((N, 2)))[0]
    assert second is first
    same(second, fresh.step(np.ones((N, 2)))[0])


@pytest.mark.parametrize("mode", MODES)
def test_copies_continue_with_the_same_bits(random_market: MakeMarket, mode: AutoresetMode) -> None:
    env = TradingVectorEnv(N, random_market(), CONFIG, autoreset_mode=mode)
    env.reset(seed=0)
    for _ in range(5):
        env.step(np.ones((N, 2)))
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    expected = [env.step(np.ones((N, 2))) for _ in range(5)]
    for twin in twins:
        for step in expected:
            same(twin.step(np.ones((N, 2))), step)
    assert twins[0].market is env.market


def test_infos_without_terms_are_few(random_market: MakeMarket) -> None:
    env = TradingVectorEnv(N, random_market(), CONFIG)
    _, infos = env.reset(seed=0)
    named = {key for key in infos if not key.startswith("_")}
    assert named == {"bar", "equity", "projected", "projection_count", "liquidated"}
    listed = gymnasium.wrappers.vector.DictInfoToList(env).step(np.ones((N, 2)))[4]
    assert [info["bar"] for info in listed] == env.simulator.bar_N.tolist()


def test_construction_is_checked(random_market: MakeMarket) -> None:
    market = random_market()
    with pytest.raises(ValueError, match="expected window or index for a vector environment"):
        TradingVectorEnv(N, market, CONFIG, observation="view")
    with pytest.raises(ValueError, match="num_envs: expected at least 1, found 0"):
        TradingVectorEnv(0, market, CONFIG)
    with pytest.raises(ValueError, match="is not a valid AutoresetMode"):
        TradingVectorEnv(N, market, CONFIG, autoreset_mode="Later")
    env = make_vec("perennial/TradingIndex-v0", N, market=market, autoreset_mode="SameStep")
    assert isinstance(env, TradingVectorEnv)
    assert env.autoreset_mode is AutoresetMode.SAME_STEP
    assert env.observation_space.shape == (N, 6)
    single = make("perennial/TradingIndex-v0", market=market)
    assert isinstance(single, TradingEnv)
    assert single.observation_space == env.single_observation_space
    assert single.action_space == env.single_action_space

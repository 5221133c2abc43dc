"""One suite over every registered id: what Gymnasium, Stable-Baselines3 and our docstrings say."""

import copy
import hashlib
import inspect
import pickle
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from envs.guards import ActionError, EpisodeError
from envs.registration import ENVIRONMENTS
from envs.simulator import TERM_SIGNS, TERMS
from envs.trading_env import TradingEnv

pytestmark = [
    # exchange_calendars 4.13 reads Series.values, which pandas 3.1 deprecates for time zones.
    pytest.mark.filterwarnings("ignore:Series.values returning:pandas.errors.Pandas4Warning"),
    # Lots are the natural unit of the shares actions, and weights live in [0, 1].
    pytest.mark.filterwarnings("ignore:.*For Box action spaces, we recommend:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*symmetric and normalized Box action space:UserWarning"),
]
IDS = sorted(ENVIRONMENTS)
SYNTHETIC = [name for name in IDS if not name.startswith("perennial/Trading")]


def make(name: str, **arguments: Any) -> TradingEnv:
    env = gymnasium.make(name, **arguments)
    assert isinstance(env, TradingEnv), "no wrapper in the way of a step"
    return env


def actions_of(env: gymnasium.Env[Any, Any], count: int, seed: int = 3) -> list[Any]:
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(count)]


def rollout(env: TradingEnv, actions: list[Any], seed: int | None) -> list[Any]:
    observation, info = env.reset(seed=seed)
    seen: list[Any] = [(observation, info)]
    return seen + [env.step(action) for action in actions]


def assert_same_bits(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_bits(one[key], other[key])
    elif isinstance(one, (tuple, list)):
        for left, right in zip(one, other, strict=True):
            assert_same_bits(left, right)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()
    else:
        assert one == other


@pytest.mark.parametrize("name", IDS)
def test_passes_gymnasiums_checker(name: str) -> None:
    env = make(name)
    check_env(env)
    assert env.spec is not None
    assert not env.spec.nondeterministic


@pytest.mark.parametrize("name", IDS)
def test_passes_stable_baselines_checker(name: str) -> None:
    env = make(name)
    sb3_check_env(env)
    assert env.observation_space.shape is not None


@pytest.mark.parametrize("name", IDS)
def test_episode_ends_as_documented(name: str) -> None:
    env = make(name)
    observation, info = env.reset(seed=5)
    assert observation[-1] == 1.0, "time left"
    start, rewards, equity = info["bar"], 0.0, info["equity"]
    length = env.config.episode.length
    assert length is not None
    for number, action in enumerate(actions_of(env, length), start=1):
        observation, reward, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(observation)
        assert np.isfinite(observation).all()
        assert not terminated
        assert truncated == (number == length)
        assert info["bar"] == start + number
        change = sum(sign * info[term] for sign, term in zip(TERM_SIGNS, TERMS, strict=True))
        assert info["equity"] - equity == pytest.approx(change, abs=1e-14 * equity * len(TERMS))
        assert info["costs"] == pytest.approx(sum(info[term] for term in TERMS[2:]), abs=1e-9)
        equity = info["equity"]
        rewards += float(reward)
    assert observation[-1] == (0.0 if env.config.observation.time_left else 1.0)
    if env.config.reward.kind == "log_return":
        growth = np.log(equity / env.config.episode.initial_cash)
        assert rewards == pytest.approx(growth, abs=1e-9)
    else:
        gain = equity - env.config.episode.initial_cash
        assert rewards < gain, "risk is taken off the change of equity"
    with pytest.raises(EpisodeError, match="the episode has ended; call reset"):
        env.step(env.action_space.sample())


@pytest.mark.parametrize("name", IDS)
def test_same_seed_same_bits(name: str) -> None:
    env, other = make(name), make(name)
    actions = actions_of(env, 40)
    first = rollout(env, actions, seed=11)
    assert_same_bits(rollout(other, actions, seed=11), first)
    later = rollout(env, actions, seed=None)
    assert_same_bits(rollout(env, actions, seed=11), first)
    assert_same_bits(rollout(env, actions, seed=None), later)
    first_steps = {repr(rollout(env, actions[:1], seed)[-1]) for seed in range(8)}
    assert len(first_steps) == 8, "other seeds give other starts, or other paths"


@pytest.mark.parametrize("name", IDS)
def test_copies_continue_with_the_same_bits(name: str) -> None:
    env = make(name)
    actions = actions_of(env, 20)
    rollout(env, actions[:10], seed=2)
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    expected = [env.step(action) for action in actions[10:]] + [env.reset()]
    for twin in twins:
        found = [twin.step(action) for action in actions[10:]] + [twin.reset()]
        assert_same_bits(found, expected)
    assert twins[0].market is env.market, "a deep copy shares the immutable market"
    arrays = [part for part in vars(twins[1].market).values() if isinstance(part, np.ndarray)]
    assert arrays
    assert not any(array.flags.writeable for array in arrays)


@pytest.mark.parametrize("name", IDS)
def test_vector_lanes_equal_scalar_environments(name: str) -> None:
    vector = gymnasium.make_vec(name, num_envs=3, record_terms=True)
    told: tuple[str, ...] = ("bar", "equity", "projected", "projection_count", "liquidated", *TERMS)
    told += ("expected_reward", "regime") if name in SYNTHETIC else ()
    singles = [make(name, lane=lane) for lane in range(3)]
    observations, infos = vector.reset(seed=9)
    vector.action_space.seed(1)
    starts = [single.reset(seed=9) for single in singles]
    assert_same_bits(observations, np.stack([observation for observation, _ in starts]))
    for _ in range(30):
        actions = vector.action_space.sample()
        observations, rewards, _, _, infos = vector.step(actions)
        steps = [single.step(action) for single, action in zip(singles, actions, strict=True)]
        assert_same_bits(observations, np.stack([step[0] for step in steps]))
        assert_same_bits(rewards, np.array([step[1] for step in steps]))
        for key in told:
            assert infos[key].tolist() == [step[4][key] for step in steps]
        assert_same_bits(infos["fills"], np.stack([step[4]["fills"] for step in steps]))


@pytest.mark.parametrize("name", IDS)
def test_renders_both_ways(name: str) -> None:
    line = make(name, render_mode="ansi")
    rollout(line, actions_of(line, 3), seed=0)
    text = line.render()
    assert isinstance(text, str)
    assert text.startswith("bar     3 ")
    picture = make(name, render_mode="rgb_array")
    rollout(picture, actions_of(picture, 3), seed=0)
    image = picture.render()
    assert isinstance(image, np.ndarray)
    assert image.shape == (700, 1000, 3)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_what_comes_changes_nothing_that_was_told(name: str) -> None:
    """Neither the actions to come nor the length of the episode reach an observation."""
    short, long = make(name, episode_length=20), make(name, episode_length=400)
    actions = actions_of(short, 30)
    changed = actions[:12] + [-action for action in actions[12:]]
    expected = rollout(long, actions, seed=6)
    assert_same_bits(rollout(short, actions[:19], seed=6), expected[:20])
    assert_same_bits(rollout(long, changed, seed=6)[:13], expected[:13])


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("fault", ["shape", "text", "nan"])
def test_a_faulty_action_changes_nothing(name: str, fault: str) -> None:
    env = make(name)
    rollout(env, actions_of(env, 3), seed=1)
    before = {key: array.tobytes() for key, array in env.simulator.state_dict().items()}
    shape = env.action_space.shape or ()
    faulty: Any = {
        "shape": np.zeros((*shape, 2)),
        "text": np.full(shape, "buy"),
        "nan": np.full(shape, np.nan),
    }[fault]
    with pytest.raises(ActionError, match=r"action.*: expected"):
        env.step(faulty)
    after = {key: array.tobytes() for key, array in env.simulator.state_dict().items()}
    assert before == after


def digest_of_an_episode(name: str) -> str:
    env = gymnasium.make(name)
    env.action_space.seed(0)
    digest = hashlib.sha256(env.reset(seed=21)[0].tobytes())
    ended = False
    while not ended:
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        digest.update(observation.tobytes() + float(reward).hex().encode())
        ended = terminated or truncated
    return digest.hexdigest()


@pytest.mark.parametrize("name", ["perennial/Trading-v0", *SYNTHETIC])
def test_same_bits_in_another_process_without_a_training_stack(name: str) -> None:
    code = (
        "import hashlib, sys, warnings; warnings.simplefilter('ignore')\n"
        "import gymnasium, envs\n"
        f"{inspect.getsource(digest_of_an_episode)}"
        f"print(digest_of_an_episode({name!r}))\n"
        "heavy = {'torch', 'ray', 'mlflow', 'hydra', 'stable_baselines3', 'gym', 'matplotlib'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [digest_of_an_episode(name), "[]"]

"""SB3's face of the simulator: same trajectories, honest ends, honest refusals."""

import copy
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor

from envs.simulator import Simulator
from tests.training.sb3.scenarios import WINDOW, make_env, small_policy
from training.sb3.policy import MarketPolicy, ObservationKind


def actions(env_steps: int, num_envs: int = 8) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(env_steps, num_envs, 3)).astype(np.float32)


def test_trajectory_is_the_simulators_own() -> None:
    env = make_env(autoreset="disabled")
    env.seed(11)
    observation = env.reset()
    twin = Simulator(env.simulator.market, env.simulator.config, 8, seed=11)
    np.testing.assert_array_equal(observation, twin.observe_index())
    for action in actions(19):
        found, rewards, dones, _ = env.step(action)
        twin.step(action)
        np.testing.assert_array_equal(found, twin.observe_index())
        np.testing.assert_array_equal(rewards, twin.reward_N.astype(np.float32))
        assert not dones.any()


@pytest.mark.parametrize("observation", ["index", "window"])
def test_restart_by_the_kernel_and_from_here_are_the_same(observation: ObservationKind) -> None:
    envs = [
        make_env(autoreset="disabled", observation=observation),
        make_env(autoreset="same_step", observation=observation),
    ]
    np.testing.assert_array_equal(envs[0].reset(), envs[1].reset())
    for action in actions(50):
        first, second = (env.step(action) for env in envs)
        for left, right in zip(first[:3], second[:3], strict=True):
            np.testing.assert_array_equal(left, right)
        for left, right in zip(first[3], second[3], strict=True):
            assert left.keys() == right.keys()
            if left:
                np.testing.assert_array_equal(
                    left["terminal_observation"], right["terminal_observation"]
                )
                assert left["episode"]["r"] == right["episode"]["r"]


def test_end_of_an_episode() -> None:
    env = make_env(length=5)
    env.reset()
    starts, total = env.simulator.bar_N.copy(), np.zeros(8)
    for action in actions(5):
        observation, rewards, dones, infos = env.step(action)
        total += rewards
    assert isinstance(observation, np.ndarray)
    assert dones.all()
    for lane, info in enumerate(infos):
        assert info["terminal_observation"][0] == starts[lane] + 5
        assert info["terminal_observation"][-1] == 0.0  # no time left
        assert observation[lane, -1] == 1.0  # the next episode has all of it
        assert info["TimeLimit.truncated"] is True
        assert info["episode"]["r"] == pytest.approx(total[lane], abs=1e-6)
        assert info["episode"]["l"] == 5
    assert all(info == {} for info in env.step(actions(1)[0])[3])


def test_ruin_is_no_time_limit() -> None:
    env = make_env(length=5, ruin_fraction=0.999)
    env.reset()
    seen = []
    for action in actions(60):
        _, _, dones, infos = env.step(action)
        terminated = env.terminated_N
        for lane in np.flatnonzero(dones):
            assert infos[lane]["TimeLimit.truncated"] == (not terminated[lane])
            seen.append(bool(terminated[lane]))
    assert any(seen)
    assert not all(seen)


def test_same_seed_same_episodes() -> None:
    env = make_env()
    env.seed(4)
    first = env.reset()
    env.seed(4)
    np.testing.assert_array_equal(env.reset(), first)
    assert not np.array_equal(env.reset(), first)  # without a seed the next episodes follow
    assert len(set(env.seed())) == 1


def test_attributes() -> None:
    env = make_env()
    env.reset()
    assert env.get_attr("equity_N", indices=[0, 2]) == [1e5, 1e5]
    assert env.get_attr("num_assets") == [2] * 8
    assert env.get_attr("render_mode", 0) == [None]
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * 8
    with pytest.raises(AttributeError, match="colour"):
        env.get_attr("colour")
    with pytest.raises(AttributeError, match="config: the lanes share one simulator"):
        env.set_attr("config", None)
    with pytest.raises(AttributeError, match="reset_task: the lanes share one simulator"):
        env.env_method("reset_task")
    with pytest.raises(RuntimeError, match="expected step_async"):
        env.step_wait()
    env.close()


def test_state_resumes_bit_for_bit() -> None:
    env, plan = make_env(length=7), actions(30)
    env.reset()
    for action in plan[:10]:
        env.step(action)
    state = copy.deepcopy(env.state())
    expected = [env.step(action) for action in plan[10:]]
    other = make_env(length=7)
    other.load_state(state)
    for action, (observation, rewards, dones, infos) in zip(plan[10:], expected, strict=True):
        found = other.step(action)
        np.testing.assert_array_equal(found[0], observation)
        np.testing.assert_array_equal(found[1], rewards)
        np.testing.assert_array_equal(found[2], dones)
        assert [i["episode"]["r"] for i in found[3] if i] == [i["episode"]["r"] for i in infos if i]


@pytest.mark.parametrize("observation", ["index", "window"])
@pytest.mark.parametrize("discrete", [False, True])
def test_stable_baselines_own_ppo_runs_on_it(observation: ObservationKind, discrete: bool) -> None:
    env = make_env(observation=observation, discrete=discrete)
    model = PPO(
        MarketPolicy,
        VecMonitor(env),
        n_steps=8,
        batch_size=32,
        n_epochs=1,
        device="cpu",
        seed=0,
        policy_kwargs={
            "features_TC": env.features,
            "config": small_policy(),
            "observation": observation,
        },
    )
    policy: Any = model.policy
    before = policy.net.actor.output.weight.clone()
    model.learn(256)
    assert not before.equal(policy.net.actor.output.weight)
    assert model.ep_info_buffer
    action, _ = model.predict(env.reset(), deterministic=True)
    assert action.shape == ((8,) if discrete else (8, 3))
    assert env.observation_space.shape == (
        (1 + (4 if discrete else 5),)
        if observation == "index"
        else (WINDOW * 3 + (4 if discrete else 5),)
    )

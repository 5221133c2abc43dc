"""The learner on streams: no table of bars, features beside the account, fresh paths."""

from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.policy import TorchPolicy
from agents.returns import generalised_advantages
from envs.simulator import Simulator
from envs.synthetic import Problem
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from tests.training.sb3.scenarios import small_policy
from training.sb3.ppo import MarketPPO, PPOConfig
from training.sb3.snapshot import capture, restore
from training.sb3.vec_env import SimulatorVecEnv

PROBLEM = Problem(GarleanuPedersen(), episode_length=10)
LANES = 8


def make_env(
    autoreset: Literal["disabled", "same_step"] = "same_step",
    observation: Literal["index", "window"] = "index",
) -> SimulatorVecEnv:
    simulator = Simulator(PROBLEM.stream(), PROBLEM.trading(), LANES, seed=3, autoreset=autoreset)
    return SimulatorVecEnv(simulator, observation=observation)


def make_learner(critic_encoder: Literal["own", "shared"] = "own") -> MarketPPO:
    env = make_env()
    config = PPOConfig(steps=16, minibatch=32, epochs=2, reward_scale=30.0)
    policy = small_policy(critic_encoder=critic_encoder)
    return MarketPPO(env, env.features, config=config, policy=policy, seed=7, device="cpu")


def collected() -> MarketPPO:
    """A learner whose second rollout, with ends of episodes in it, waits for its update."""
    model = make_learner().learn(128)
    callback = model._setup_learn(1, reset_num_timesteps=False)[1]
    model.collect_rollouts(model.vec_env, callback, model.rollout, 16)
    return model


def test_nothing_is_encoded_and_the_head_sees_features_and_account() -> None:
    model = make_learner()
    net, features = model.policy.net, model.vec_env.simulator.account_size
    assert not list(net.encoder.parameters()) + list(net.critic_encoder.parameters())
    assert net.actor.fusion.in_features == net.critic.fusion.in_features == features
    rows = torch.tensor(model.vec_env.reset())
    plain = torch.relu(net.actor.fusion(rows[:, 1:]))
    for layer in net.actor.trunk:
        plain = torch.relu(layer(plain))
    far = rows.clone()
    far[:, 0] = 2.0**24  # a bar that no table holds
    for seen in (rows, far):
        found = net.act(model.policy.features, *model.policy.split(seen))
        torch.testing.assert_close(found, net.actor.output(plain))


def test_window_observations_are_index_observations_without_the_bar() -> None:
    index, window = make_env(), make_env(observation="window")
    rows, windows = index.reset(), window.reset()
    assert index.observation_space.contains(rows[0])
    assert window.observation_space.contains(windows[0])
    np.testing.assert_array_equal(windows, rows[:, 1:])


@pytest.mark.parametrize("autoreset", ["disabled", "same_step"])
def test_final_observations_are_of_the_path_that_ended(
    autoreset: Literal["disabled", "same_step"],
) -> None:
    env = make_env(autoreset)
    env.seed(3)
    out = env.reset()
    whole = Simulator(PROBLEM.stream(), PROBLEM.trading(), LANES, seed=3)
    for bar in range(2 * PROBLEM.episode_length):
        actions = np.full((LANES, 1), 0.3, np.float32)
        finished = env.advance(actions, out)
        whole.step(actions)
        assert (finished is not None) == (bar % PROBLEM.episode_length == 9)
        if finished is not None:
            np.testing.assert_array_equal(finished.final_observation_EO, whole.observe_index())
            assert not np.isclose(finished.final_observation_EO[:, 1], out[:, 1]).any()
            whole.reset()
        np.testing.assert_array_equal(out, whole.observe_index())


def test_truncation_bootstraps_with_the_value_of_the_final_state() -> None:
    model = collected()
    rollout = model.rollout
    assert rollout.done_TN.any()
    assert not rollout.terminated_TN.any()

    def value(observation: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return model.policy.predict_values(torch.tensor(observation)).numpy().squeeze(-1)

    batch, values_B = model.samples()
    following = np.stack([value(row) for row in rollout.observation_SNO[1:]])
    following[rollout.done_TN] = value(rollout.final_observations())
    expected = generalised_advantages(
        torch.tensor(rollout.rewards_TN * 30.0),
        values_B.view(16, LANES),
        torch.tensor(following),
        torch.tensor(rollout.terminated_TN),
        torch.tensor(rollout.done_TN),
        discount=0.99,
        trace=0.95,
    )
    torch.testing.assert_close(batch.advantages_B.view(16, LANES), expected, atol=1e-5, rtol=1e-5)


def test_recorded_log_probabilities_are_the_policys() -> None:
    model = collected()
    batch = model.samples()[0]
    observation = torch.cat([batch.bars_B[:, None].float(), batch.account_BP], dim=1)
    _, log_prob, _ = model.policy.evaluate_actions(observation, batch.actions_BD)
    torch.testing.assert_close(batch.log_prob_B, log_prob, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("critic_encoder", ["own", "shared"])
def test_resumed_equals_uninterrupted(critic_encoder: Literal["own", "shared"]) -> None:
    whole = make_learner(critic_encoder).learn(512)
    first = make_learner(critic_encoder)
    first.learn(512, callback=lambda seen, _: seen["self"].num_timesteps < 10**9)
    part = make_learner(critic_encoder)
    part.learn(256)
    snapshot = capture(part)
    resumed = make_learner(critic_encoder)
    restore(resumed, snapshot)
    part.learn(256, reset_num_timesteps=False)
    resumed.learn(256, reset_num_timesteps=False)
    for name, tensor in part.policy.net.state_dict().items():
        assert tensor.equal(resumed.policy.net.state_dict()[name]), name
    for name, tensor in first.policy.net.state_dict().items():
        assert tensor.equal(whole.policy.net.state_dict()[name]), name


def test_the_trained_policy_acts_as_the_learner_at_any_bar() -> None:
    model = make_learner().learn(256)
    space: Any = model.vec_env.action_space
    policy = TorchPolicy(
        model.policy.net,
        model.vec_env.features,
        low=space.low,
        high=space.high,
    )
    rows = make_env().reset()
    rows[:, 0] = 123_456.0
    np.testing.assert_allclose(
        model.predict(rows, deterministic=True)[0], policy.act(rows), atol=1e-6
    )

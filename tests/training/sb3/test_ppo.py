"""The learner behind SB3's face."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from stable_baselines3.common.callbacks import BaseCallback

from agents.policy import TorchPolicy
from agents.returns import generalised_advantages
from tests.training.sb3.scenarios import make_env, make_learner, small_policy
from training.sb3.acting import Sampler
from training.sb3.ppo import MarketPPO, PPOConfig


class Recorder(BaseCallback):
    """Counts the calls that SB3 promises."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.rows = 0
        self.stop_after = stop_after

    def _on_training_start(self) -> None:
        self.calls.append("training_start")

    def _on_rollout_start(self) -> None:
        self.calls.append("rollout_start")

    def _on_step(self) -> bool:
        self.rows += len(self.locals["infos"])
        assert self.locals["rewards"].shape == self.locals["dones"].shape == (8,)
        return self.stop_after is None or self.n_calls < self.stop_after

    def _on_rollout_end(self) -> None:
        self.calls.append("rollout_end")

    def _on_training_end(self) -> None:
        self.calls.append("training_end")


def test_callbacks_are_called_as_stable_baselines_does() -> None:
    recorder = Recorder()
    model = make_learner().learn(256, callback=recorder)
    assert recorder.calls == [
        "training_start",
        *["rollout_start", "rollout_end"] * 2,
        "training_end",
    ]
    assert recorder.rows == model.num_timesteps == 256
    assert model._n_updates == 4


def test_a_callback_can_stop_inside_a_rollout() -> None:
    model = make_learner().learn(256, callback=Recorder(stop_after=5))
    assert model.num_timesteps == 5 * 8
    assert not model.at_update_boundary


def test_a_request_stops_at_an_update_boundary() -> None:
    model = make_learner()

    class Stop(Recorder):
        def _on_rollout_start(self) -> None:
            model.stop_requested = model.num_timesteps >= 256

    model.learn(10_000, callback=Stop())
    assert model.num_timesteps == 256
    assert model.at_update_boundary


def test_same_seed_same_bits_whatever_the_global_generators() -> None:
    first = make_learner().learn(512)
    with torch.random.fork_rng():
        torch.manual_seed(999)
        second = make_learner().learn(512)
    other = make_learner(seed=8).learn(512)
    for name, tensor in first.policy.net.state_dict().items():
        assert tensor.equal(second.policy.net.state_dict()[name]), name
    assert not first.policy.net.log_std.equal(other.policy.net.log_std)


def test_recorded_log_probabilities_are_the_policys() -> None:
    for discrete in (False, True):
        model = make_learner(discrete=discrete)
        model.learn(128)
        model.collect_rollouts(
            model.vec_env, model._setup_learn(1, reset_num_timesteps=False)[1], None, 16
        )
        batch = model.samples()[0]
        observation = torch.cat([batch.bars_B[:, None].float(), batch.account_BP], dim=1)
        taken = batch.actions_BD[:, 0].long() if discrete else batch.actions_BD
        _, log_prob, _ = model.policy.evaluate_actions(observation, taken)
        torch.testing.assert_close(batch.log_prob_B, log_prob, atol=1e-5, rtol=1e-5)


def test_advantages_bootstrap_truncation_with_the_final_state() -> None:
    model = make_learner(reward_scale=10.0)
    model.learn(128)
    model.collect_rollouts(
        model.vec_env, model._setup_learn(1, reset_num_timesteps=False)[1], None, 16
    )
    rollout = model.rollout
    assert rollout.done_TN.any()
    batch, values_B = model.samples()

    def value(observation: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return model.policy.predict_values(torch.tensor(observation)).numpy().squeeze(-1)

    following = np.stack([value(row) for row in rollout.observation_SNO[1:]])
    following[rollout.done_TN] = value(rollout.final_observations())
    expected = generalised_advantages(
        torch.tensor(rollout.rewards_TN * 10.0),
        values_B.view(16, 8),
        torch.tensor(following),
        torch.tensor(rollout.terminated_TN),
        torch.tensor(rollout.done_TN),
        discount=0.99,
        trace=0.95,
    )
    torch.testing.assert_close(batch.advantages_B.view(16, 8), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(batch.returns_B, batch.advantages_B + values_B)


def test_few_bars_and_many_bars_act_the_same() -> None:
    """With a long series and few visits the bars are encoded as they come."""
    model = make_learner()
    model.learn(128)
    rollout = model.rollout
    rows = np.array(rollout.observation_SNO[0])

    def means(span: tuple[int, int]) -> NDArray[np.float32]:
        sampler = Sampler(model.policy, rollout, torch.Generator().manual_seed(0), span)
        assert (sampler._half is None) == (span[1] > 10**6)
        with torch.no_grad():
            return sampler._output(rows).numpy()

    np.testing.assert_allclose(means(model.vec_env.rows), means((0, 10**7)), atol=1e-6)


def test_predict_is_the_backtest_policy() -> None:
    model = make_learner().learn(256)
    env = make_env()
    space: Any = env.action_space
    policy = TorchPolicy(model.policy.net, env.features, low=space.low, high=space.high)
    rows = env.reset()
    np.testing.assert_allclose(
        model.predict(rows, deterministic=True)[0], policy.act(rows), atol=1e-6
    )


def test_logs_and_tensorboard(tmp_path: Path) -> None:
    env = make_env()
    model = MarketPPO(
        env,
        env.features,
        config=PPOConfig(steps=16, minibatch=32),
        policy=small_policy(),
        device="cpu",
        tensorboard_log=str(tmp_path),
    )
    model.learn(512)
    assert list(tmp_path.rglob("events.out.tfevents.*"))
    shares = model.time_shares()
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(share > 0 for share in shares.values())
    recorded = model.logger.name_to_value
    for name in ("policy_gradient_loss", "value_loss", "approx_kl", "explained_variance", "std"):
        assert np.isfinite(recorded[f"train/{name}"])


def test_learning_rates_fall_to_zero() -> None:
    model = make_learner(learning_rate=1e-3, critic_learning_rate=2e-3)
    rates = []

    class Rates(Recorder):
        def _on_rollout_start(self) -> None:
            rates.append([o.param_groups[0]["lr"] for o in model.optimizers.values()])

    model.learn(512, callback=Rates())
    assert rates[1:] == [pytest.approx([1e-3 * p, 2e-3 * p]) for p in (1.0, 0.75, 0.5)]


def test_refusals() -> None:
    env = make_env()
    features = env.features
    name: Any = "CartPole-v1"
    with pytest.raises(ValueError, match=r"minibatch: must divide .* = 128 \* 8 = 1024, was 1000"):
        MarketPPO(env, features, config=PPOConfig(minibatch=1000), policy=small_policy())
    with pytest.raises(ValueError, match=r"policy.encoder.window: must be <= .* = 4 .*, was 10"):
        MarketPPO(env, features, config=PPOConfig(minibatch=128))
    with pytest.raises(TypeError, match="expected index observations, found 'window'"):
        MarketPPO(make_env(observation="window"), features)
    with pytest.raises(TypeError, match="expected a SimulatorVecEnv, found str"):
        MarketPPO(name, features)
    with pytest.raises(TypeError, match="pickled"):
        make_learner().save("model.zip")
    with pytest.raises(TypeError, match=r"snapshot\.restore"):
        MarketPPO.load("model.zip")
    with pytest.raises(ValidationError, match="clip_range"):
        PPOConfig(clip_range=1.5)


def test_divergence_is_an_error_that_says_so() -> None:
    model = make_learner()
    with torch.no_grad():
        model.policy.net.critic.output.bias.fill_(float("nan"))
    message = r"train/\w+: expected a finite number, found nan after 128 steps; lower"
    with pytest.raises(FloatingPointError, match=message):
        model.learn(128)

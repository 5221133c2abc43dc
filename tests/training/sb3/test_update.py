"""The update: SB3's gradient, separate clipping, threads without a trace."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.training.sb3.scenarios import make_learner, small_policy
from training.sb3.buffer import Batch
from training.sb3.ppo import MarketPPO
from training.sb3.update import Learner, run_learners


def rollout(model: MarketPPO) -> Batch:
    """One collected rollout after a first update, so that ratios differ from 1."""
    model.learn(128)
    callback = model._setup_learn(128, reset_num_timesteps=False)[1]
    assert model.collect_rollouts(model.vec_env, callback, None, model.n_steps)
    with torch.no_grad():
        batch = model.samples()[0]
        for parameter in model.policy.net.parameters():
            parameter.add_(0.15 * torch.sin(torch.arange(parameter.numel()).view_as(parameter)))
    return batch


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("encoder", ["own", "shared"])
def test_gradient_is_that_of_stable_baselines(discrete: bool, encoder: str) -> None:
    model = make_learner(
        discrete=discrete, policy=small_policy(critic_encoder=encoder), entropy=0.01
    )
    batch = rollout(model)
    policy = model.policy
    # SB3's loss, as in its PPO.train, on the same minibatch.
    observation = torch.cat([batch.bars_B[:, None].float(), batch.account_BP], dim=1)
    taken = batch.actions_BD[:, 0].long() if discrete else batch.actions_BD
    values, log_prob, entropy = policy.evaluate_actions(observation, taken)
    advantages = batch.advantages_B
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    ratio = torch.exp(log_prob - batch.log_prob_B)
    clipped = advantages * torch.clamp(ratio, 0.8, 1.2)
    assert entropy is not None
    loss = -torch.min(advantages * ratio, clipped).mean() - 0.01 * entropy.mean()
    loss = loss + 0.5 * functional.mse_loss(batch.returns_B, values.flatten())
    parameters = [p for p in policy.net.parameters() if p.requires_grad]
    expected = torch.autograd.grad(loss, parameters)
    policy.net.zero_grad()
    for learner in model.learners(policy.net.encoder.plan(batch.bars_B)):
        torch.autograd.backward(learner.loss(batch)[0])
    assert ((ratio - 1).abs() > 0.2).any()  # the clip is at work
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=2e-6, rtol=1e-4)


def weights(model: MarketPPO) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.policy.net.state_dict().items()}


def test_threads_leave_no_trace() -> None:
    models = [make_learner(concurrent=concurrent) for concurrent in (True, False)]
    for model in models:
        model.learn(512)
    first, second = map(weights, models)
    assert all(first[name].equal(second[name]) for name in first)


def test_cores_leave_no_trace() -> None:
    before = torch.get_num_threads()
    models = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        models.append(make_learner(policy=small_policy(hidden=(128, 128))).learn(512))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    first, second = map(weights, models)
    assert all(first[name].equal(second[name]) for name in first)


def test_actor_and_critic_are_clipped_apart() -> None:
    model = make_learner(max_grad_norm=1e-3)
    batch = rollout(model)
    batch = batch._replace(returns_B=batch.returns_B + 1e3)  # a huge value loss
    model._set_learning_rates()
    norms = []
    for learner in model.learners(model.policy.net.encoder.plan(batch.bars_B)):
        learner.step(batch)
        for group in learner.clip_groups:
            gradients = [p.grad.flatten() for p in group if p.grad is not None]
            norms.append(torch.cat(gradients).norm().item())
    assert norms == pytest.approx([1e-3, 1e-3], rel=1e-2)


@pytest.mark.parametrize("encoder", ["own", "shared"])
def test_peaks_are_the_largest_unclipped_norms_and_losses(
    encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_learner(policy=small_policy(critic_encoder=encoder), max_grad_norm=1e-3)
    seen: dict[str, list[float]] = {"gradient_norm_actor": [], "gradient_norm_critic": []}
    losses: list[float] = []
    clip = torch.nn.utils.clip_grad_norm_

    def clips(group: Any, limit: float, **named: Any) -> torch.Tensor:
        gradients = [p.grad.flatten() for p in group if p.grad is not None]
        actor = group[0] is model.policy.net.actor_parameters()[0]
        name = "gradient_norm_actor" if actor else "gradient_norm_critic"
        seen[name].append(float(torch.cat(gradients).norm()))
        return clip(group, limit, **named)

    def steps(self: Learner, minibatch: Batch) -> None:
        step(self, minibatch)
        losses.extend(map(float, self.stats.get("value_loss", [])[-1:]))

    step = Learner.step
    monkeypatch.setattr("training.sb3.update.nn.utils.clip_grad_norm_", clips)
    monkeypatch.setattr(Learner, "step", steps)
    model.learn(256)
    expected = {name: max(values) for name, values in seen.items()} | {"value_loss": max(losses)}
    assert min(map(len, seen.values())) > 1
    assert model.peaks == pytest.approx(expected, rel=1e-5)
    assert model.peaks["gradient_norm_critic"] > 1e-2
    model.peaks = dict.fromkeys(expected, 1e9)
    model.learn(128, reset_num_timesteps=False)
    assert model.peaks == dict.fromkeys(expected, 1e9)


def test_divergence_stops_the_actor_only() -> None:
    model = make_learner(target_kl=1e-9, epochs=5, learning_rate=1e-2)
    batch = rollout(model)
    model._set_learning_rates()
    permutations = [torch.arange(128)] * 5
    learners = model.learners(model.policy.net.encoder.plan(batch.bars_B))
    run_learners(learners, batch, permutations, 32, concurrent=False)
    assert [learner.steps for learner in learners] == [4, 20]


def test_error_of_a_thread_reaches_the_caller() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))

    def faulty(_: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        raise ValueError("no loss today")

    learners = [Learner(torch.optim.Adam([parameter]), faulty, (), 1.0) for _ in range(2)]
    batch = Batch(*(torch.zeros(4) for _ in Batch._fields))
    with pytest.raises(RuntimeError, match="an update failed: no loss today"):
        run_learners(learners, batch, [torch.arange(4)], 2, concurrent=True)


def test_each_epoch_sees_every_sample_once() -> None:
    seen = []
    parameter = torch.nn.Parameter(torch.zeros(1))

    def spy(batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        seen.append(batch.returns_B.clone())
        return parameter.sum(), {"loss": parameter.detach()}

    batch = Batch(*(torch.arange(10.0) for _ in Batch._fields))
    permutation = torch.from_numpy(np.random.default_rng(0).permutation(10))
    learner = Learner(torch.optim.Adam([parameter]), spy, ((parameter,),), 1.0)
    learner.run(batch, [permutation], 4)
    assert [len(part) for part in seen] == [4, 4, 2]
    assert torch.cat(seen).tolist() == permutation.tolist()

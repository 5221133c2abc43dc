"""One option is the flat agent: same actions, values, losses, gradients and updates."""

from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from agents.encoder import EncoderConfig
from agents.networks import PolicyConfig
from tests.training.sb3.option_scenarios import (
    LANES,
    STEPS,
    Actions,
    Mode,
    collect,
    make_env,
    make_learner,
    samples,
    shaken,
)
from tests.training.sb3.scenarios import WINDOW
from training.sb3.config import PPOConfig
from training.sb3.option_ppo import OptionPPO
from training.sb3.ppo import MarketPPO

Encoders = Literal["own", "shared"]


def make_flat(actions: Actions, critic_encoder: Encoders) -> MarketPPO:
    env = make_env(actions)
    encoder = EncoderConfig(window=WINDOW, channels=4, hidden=8, embedding=8)
    policy = PolicyConfig(
        encoder=encoder, hidden=(8, 8), output_gain=1.0, critic_encoder=critic_encoder
    )
    config = PPOConfig(steps=STEPS, minibatch=32, epochs=2)
    return MarketPPO(env, env.features, config=config, policy=policy, seed=7, device="cpu")


def names_of(model: OptionPPO, flat: MarketPPO) -> dict[str, str]:
    """Name in the option agent by name in the flat one."""
    head = "option_value" if model.rollout.hard else "state_value"
    prefixes = {
        "encoder": "options.encoder",
        "own_critic_encoder": "critic.own_encoder",
        "actor": "options.trunk",
        "critic": f"critic.{head}",
        "log_std": "options.log_std",
    }
    found = {}
    for name in flat.policy.net.state_dict():
        first, dot, rest = name.partition(".")
        found[name] = prefixes[first] + dot + rest
    return found


def part(name: str, tensor: Tensor, like: Tensor) -> Tensor:
    """What of an option agent's tensor the flat agent has: not terminations, not the weight w."""
    if name == "options.log_std":
        return tensor[0]
    if name.startswith("options.trunk.output"):
        return tensor[: len(like)]
    if name == "critic.state_value.fusion.weight":
        return tensor[:, : like.shape[1]]
    return tensor


def twins(
    actions: Actions, critic_encoder: Encoders = "own", mode: Mode = "blended"
) -> tuple[MarketPPO, OptionPPO]:
    """A flat agent, and one of a single option with its weights and none for w."""
    flat = make_flat(actions, critic_encoder)
    policy = {"critic_encoder": critic_encoder}
    model = make_learner(mode, actions=actions, learned=1, policy=policy)
    saved, state = flat.policy.net.state_dict(), model.policy.net.state_dict()
    with torch.no_grad():
        for name, other in names_of(model, flat).items():
            part(other, state[other], saved[name]).copy_(saved[name])
        if mode == "blended":
            weight: Any = dict(model.policy.net.named_parameters())[
                "critic.state_value.fusion.weight"
            ]
            weight[:, -1] = 0.0
            # Where w is always 1, its column is a second bias; held at zero, it changes nothing.
            kept = torch.ones_like(weight)
            kept[:, -1] = 0.0
            weight.register_hook(lambda gradient: gradient * kept)
    return flat, model


@pytest.mark.parametrize("critic_encoder", ["own", "shared"])
@pytest.mark.parametrize("actions", ["logits", "weights", "levels"])
def test_training_is_the_flat_agents(actions: Actions, critic_encoder: Encoders) -> None:
    flat, model = twins(actions, critic_encoder)
    flat.learn(LANES * STEPS)
    model.learn(LANES * STEPS)
    assert flat.rollout.done_TN.any()
    torch.testing.assert_close(
        model.rollout.actions_TND, flat.rollout.actions_TND, atol=1e-6, rtol=1e-6
    )
    torch.testing.assert_close(
        model.rollout.log_prob_TN, flat.rollout.log_prob_TN, atol=1e-5, rtol=1e-6
    )
    saved, state = flat.policy.net.state_dict(), model.policy.net.state_dict()
    untrained = make_flat(actions, critic_encoder).policy.net.state_dict()
    for name, other in names_of(model, flat).items():
        found = part(other, state[other], saved[name])
        torch.testing.assert_close(found, saved[name], atol=1e-6, rtol=1e-6, msg=name)
        assert name == "log_std" or float((saved[name] - untrained[name]).abs().max()) > 1e-4
    logs = [m.logger.name_to_value for m in (flat, model)]
    for name in ("policy_gradient_loss", "value_loss", "entropy_loss", "explained_variance"):
        assert logs[1][f"train/{name}"] == pytest.approx(logs[0][f"train/{name}"], abs=1e-5)


@pytest.mark.parametrize("mode", ["blended", "hard"])
@pytest.mark.parametrize("actions", ["logits", "weights", "levels"])
def test_values_losses_and_gradients_are_the_flat_agents(actions: Actions, mode: Mode) -> None:
    flat, model = twins(actions, mode=mode)
    flat._setup_learn(1)
    callback = flat._setup_learn(1, reset_num_timesteps=False)[1]
    flat.collect_rollouts(flat.vec_env, callback, flat.rollout, STEPS)
    model._setup_learn(1)
    collect(model)
    with torch.no_grad():
        batch, values = flat.samples()
    option_batch, option_values = samples(model)
    torch.testing.assert_close(option_values, values, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(option_batch.advantages_B, batch.advantages_B, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(option_batch.returns_B, batch.returns_B, atol=1e-4, rtol=1e-5)
    plan = flat.policy.net.encoder.plan(batch.bars_B)
    for agent, rows in ((flat, batch), (model, option_batch)):
        for learner in agent.learners(plan):
            shifted = rows._replace(log_prob_B=rows.log_prob_B + 0.1 * torch.sin(rows.returns_B))
            torch.autograd.backward(learner.loss(shifted)[0])
    gradients = {name: p.grad for name, p in model.policy.net.named_parameters()}
    for name, parameter in flat.policy.net.named_parameters():
        other = names_of(model, flat)[name]
        if parameter.grad is None:
            assert gradients[other] is None
            continue
        found = gradients[other]
        assert found is not None
        found = part(other, found, parameter)
        torch.testing.assert_close(found, parameter.grad, atol=1e-5, rtol=1e-3, msg=name)
    ends = gradients["options.trunk.output.weight"]
    assert ends is not None
    assert float(ends[-1].abs().max()) < 1e-6  # an only option cannot end


def test_predictions_are_the_flat_agents() -> None:
    every: tuple[Actions, ...] = ("logits", "weights", "levels")
    for actions in every:
        flat, model = twins(actions)
        rows = flat.vec_env.reset()
        state = None
        for _ in range(3):
            expected, _ = flat.predict(rows, deterministic=True)
            found, state = model.predict(rows, state, deterministic=True)
            torch.testing.assert_close(
                torch.as_tensor(found), torch.as_tensor(expected), atol=1e-6, rtol=0.0
            )


def test_the_twins_differ_where_their_weights_do() -> None:
    flat, model = twins("logits")
    shaken(model, 0.01)
    flat.learn(LANES * STEPS)
    model.learn(LANES * STEPS)
    gap = model.rollout.actions_TND - flat.rollout.actions_TND
    assert float(gap.abs().max()) > 1e-4

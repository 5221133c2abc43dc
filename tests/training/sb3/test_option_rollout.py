"""Rollouts of options: what is stored is what is recomputed, and each episode stands alone."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from agents.blending import blend
from agents.losses import categorical_log_prob, gaussian_log_prob
from agents.policy import Policy
from meta_controller.hierarchy import Decision, Inputs
from tests.training.sb3.option_scenarios import (
    LANES,
    MODES,
    STEPS,
    Actions,
    Constant,
    Mode,
    collect,
    make_learner,
    samples,
    shaken,
)
from training.sb3.option_acting import OptionSampler
from training.sb3.option_buffer import OptionBatch
from training.sb3.option_ppo import OptionPPO

RULE = {"logits": [9.0, -9.0, 0.0], "weights": [0.2, 0.7], "levels": [1.0]}


def decision_of(model: OptionPPO, batch: OptionBatch) -> Decision:
    net = model.policy.network
    embedding, rows = net.encoder.table(model.policy.features, batch.bars_B)
    inputs = Inputs(
        batch.account_BP,
        batch.belief_BR,
        batch.previous_BK,
        batch.first_B,
        batch.hard_B,
        batch.injected_BKD if net.injects else None,
    )
    with torch.no_grad():
        return net.decide(net.halves(embedding), rows, inputs)


def log_probs(model: OptionPPO, batch: OptionBatch) -> tuple[Tensor, Tensor]:
    """Of actions and of choices (0 in a blend), recomputed from the samples."""
    decision = decision_of(model, batch)
    hard = batch.hard_B[:, None]
    weights = torch.where(hard, batch.executed_BK, decision.weights_BK)
    output = blend(decision.outputs_BKD, weights, model.policy.blend_kind)
    chance = (decision.weights_BK * batch.executed_BK).sum(dim=1).log()
    choice = torch.where(batch.hard_B, chance, 0.0)
    if model.policy.discrete:
        return categorical_log_prob(batch.actions_BD[:, 0].long(), output), choice
    log_std = weights @ model.policy.network.log_std.detach()
    return gaussian_log_prob(batch.actions_BD, output, log_std), choice


def worst(model: OptionPPO, batch: OptionBatch) -> tuple[float, float]:
    action, choice = log_probs(model, batch)
    return (
        float((action - batch.log_prob_B).abs().max()),
        float((choice - batch.choice_log_prob_B).abs().max()),
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("actions", ["logits", "weights", "levels"])
@pytest.mark.parametrize("rules", [0, 2])
def test_what_was_stored_is_recomputed(mode: Mode, actions: Actions, rules: int) -> None:
    injected = {3 + k: Constant(RULE[actions], broken=7 * k) for k in range(rules)}
    model = collect(shaken(make_learner(mode, actions=actions, injected=injected).learn(128)))
    batch, _ = samples(model)
    action, choice = worst(model, batch)
    assert action < 1e-5
    assert choice < 1e-5
    for other in (
        batch._replace(previous_BK=batch.previous_BK.roll(1, dims=1)),
        batch._replace(executed_BK=batch.executed_BK.roll(1, dims=1)),
    ):
        same = mode == "blended" and other.previous_BK is batch.previous_BK
        assert (max(worst(model, other)) < 1e-3) == same
    if mode != "hard":
        late = batch._replace(previous_BK=batch.executed_BK)  # weights one step too late
        rows = ~batch.hard_B & ~batch.first_B
        gap = (log_probs(model, late)[0] - batch.log_prob_B).abs()[rows]
        assert float(gap.max()) > 1e-3


@pytest.mark.parametrize("mode", MODES)
def test_the_update_starts_at_a_ratio_of_one(mode: Mode) -> None:
    model = collect(shaken(make_learner(mode).learn(128)))
    batch, _ = samples(model)
    plan = model.policy.net.encoder.plan(batch.bars_B)
    actor = model.learners(plan)[0]
    _, stats = actor.loss(batch)
    assert float(stats["approx_kl"]) == pytest.approx(0.0, abs=1e-6)
    assert float(stats["clip_fraction"]) == 0.0
    if mode != "blended":
        assert float(stats["choice_approx_kl"]) == pytest.approx(0.0, abs=1e-6)
    _, stats = actor.loss(batch._replace(executed_BK=batch.executed_BK.roll(1, dims=1)))
    if mode != "blended":
        assert float(stats["approx_kl"]) > 1e-3


@pytest.mark.parametrize("mode", MODES)
def test_weights_carry_over_steps_rollouts_and_resume(mode: Mode) -> None:
    model = collect(shaken(make_learner(mode).learn(128)))
    rollout = model.rollout
    for step in range(1, STEPS):
        first = torch.from_numpy(rollout.done_TN[step - 1])
        assert rollout.first_TN[step].equal(first)
        before, after = rollout.executed_TNK[step - 1], rollout.previous_TNK[step]
        assert after[~first].equal(before[~first])
        fallback = rollout.belief_TNR[step]  # as many options as regimes
        torch.testing.assert_close(after[first], fallback[first])
    assert rollout.first_TN[1:].any()
    last, done = rollout.executed_TNK[-1].clone(), torch.from_numpy(rollout.done_TN[-1].copy())
    assert model.memory()["weights"].tolist() == last.tolist()
    collect(model)
    assert model.rollout.first_TN[0].equal(done)
    assert model.rollout.previous_TNK[0][~done].equal(last[~done])


def test_a_rollout_that_was_broken_off_leaves_the_weights_where_they_are() -> None:
    model = shaken(make_learner())

    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 3

    model.learn(1024, callback=Stop())
    assert model.num_timesteps == 3 * LANES
    done = torch.from_numpy(model.rollout.done_TN[2].copy())
    last = model.rollout.executed_TNK[2].clone()
    assert not done.all()
    collect(model)
    assert model.rollout.previous_TNK[0][~done].equal(last[~done])


def test_few_bars_and_many_bars_decide_the_same() -> None:
    """With a long series and few visits the bars are encoded as they come."""
    model = shaken(make_learner().learn(128))
    rows = np.array(model.rollout.observation_SNO[0])
    found: list[Decision] = []
    for span in (model.vec_env.rows, (0, 10**7)):
        env: Any = SimpleNamespace(rows=span, simulator=model.vec_env.simulator)
        sampler = OptionSampler(
            model.policy,
            model.rollout,
            torch.Generator().manual_seed(0),
            env,
            started_N=np.ones(LANES, np.bool_),
            forced=False,
        )
        assert (sampler._halves is None) == (span[1] > 10**6)
        with torch.no_grad():
            found.append(sampler._decide(torch.from_numpy(rows), 0)[0])
    torch.testing.assert_close(found[0].outputs_BKD, found[1].outputs_BKD, atol=1e-6, rtol=0.0)
    torch.testing.assert_close(found[0].weights_BK, found[1].weights_BK, atol=1e-6, rtol=0.0)


# -- advantages against a plain reference ------------------------------------------------------


class Reference:
    """Advantages of a lane, step by step, from the definitions (DAC, and the blend's own)."""

    def __init__(self, model: OptionPPO) -> None:
        self.model, self.net, self.rollout = model, model.policy.network, model.rollout
        self.scale = model.config.reward_scale
        self.cost = model.agent.meta_controller.terms.switch_cost

    def critic(self, row: Any, weights: Tensor) -> tuple[float, Tensor]:
        """v(s, w) (0 without one), and q(s, .) (zeros without one)."""
        bars, account = self.model.policy.split(torch.as_tensor(row)[None])
        critic = self.net.critic
        embedding, rows = self.net.critic_encoder.table(self.model.policy.features, bars)
        v, q = 0.0, torch.zeros(self.net.num_options)
        if critic.state_value is not None:
            v = float(critic.state_values(embedding, rows, account, weights[None]))
        if critic.option_value is not None:
            q = critic.option_values(embedding, rows, account)[0]
        return v, q

    def arrival(self, row: Any, held: Tensor) -> float:
        """v_high(s, o) = sum_k P(k | s, o) q(s, k)."""
        decision = self.model.policy.decide(
            torch.as_tensor(row)[None], held[None], torch.zeros(1, dtype=torch.bool), hard=True
        )
        return float((decision.weights_BK[0] * self.critic(row, held)[1]).sum())

    def lane(self, lane: int, finals: dict[tuple[int, int], Any]) -> tuple[list[float], ...]:
        """Advantages of actions, of choices, and what the critic fits."""
        rollout, hard = self.rollout, lane < self.rollout.hard
        deltas: list[tuple[float, float, float, bool]] = []
        for step in range(STEPS):
            row = rollout.observation_SNO[step, lane]
            previous, executed = (
                x[step, lane] for x in (rollout.previous_TNK, rollout.executed_TNK)
            )
            done, over = rollout.done_TN[step, lane], rollout.terminated_TN[step, lane]
            following = finals[step, lane] if done else rollout.observation_SNO[step + 1, lane]
            reward = float(rollout.rewards_TN[step, lane]) * self.scale
            v, q = self.critic(row, previous)
            if hard:
                first = bool(rollout.first_TN[step, lane])
                switched = not first and int(executed.argmax()) != int(previous.argmax())
                reward -= self.cost * self.scale * switched
                value, beyond = float(q[executed.argmax()]), self.arrival(following, executed)
                high = float((rollout.chance_TNK[step, lane] * q).sum())
            else:
                value, beyond, high = v, self.critic(following, executed)[0], 0.0
            target = reward + (0.0 if over else 0.99 * beyond)
            deltas.append((target - value, (target - high) if hard else 0.0, value, bool(done)))
        low, up, returns = [0.0] * STEPS, [0.0] * STEPS, [0.0] * STEPS
        running_low = running_high = 0.0
        for step in reversed(range(STEPS)):
            delta_low, delta_high, value, done = deltas[step]
            if done:
                running_low = running_high = 0.0
            running_low = delta_low + 0.99 * 0.95 * running_low
            running_high = delta_high + 0.99 * 0.95 * running_high
            low[step], up[step], returns[step] = running_low, running_high, running_low + value
        return low, up, returns


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("injected", [None, {3: Constant([0.4, 0.3, 0.2], broken=3)}])
@pytest.mark.parametrize("head_start", [0, 10_000])
def test_advantages_are_those_of_the_plain_reference(
    mode: Mode, head_start: int, injected: dict[int, Policy] | None
) -> None:
    """Also where an option fails in the states that lie beyond an episode or the rollout."""
    meta = {"terms": {"switch_cost": 0.02}, "head_start": head_start}
    meta["execution"] = {"mode": mode, "hard_share": 0.5, "beta_max": 0.6}
    model = shaken(make_learner(mode, meta=meta, injected=injected).learn(128))
    model = collect(model)
    rollout = model.rollout
    ended = np.argwhere(rollout.done_TN)
    truncated = rollout.done_TN & ~rollout.terminated_TN
    assert rollout.terminated_TN.sum() > 3
    assert truncated.sum() > 3
    finals = {
        (int(step), int(lane)): row
        for (step, lane), row in zip(ended, rollout.final_observations(), strict=True)
    }
    batch, _ = samples(model)
    reference = Reference(model)
    with torch.no_grad():
        for lane in range(LANES):
            low, high, returns = reference.lane(lane, finals)
            for column, expected in (
                (batch.advantages_B, low),
                (batch.choice_advantages_B, high),
                (batch.returns_B, returns),
            ):
                found = column.view(STEPS, LANES)[:, lane].numpy()
                if head_start and column is not batch.advantages_B:
                    continue
                if head_start and lane < rollout.hard:
                    continue  # the arrival under a head start has a test of its own
                np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-5)
    assert batch.hard_B.view(STEPS, LANES)[0].sum() == rollout.hard


def test_a_head_start_values_the_option_that_will_act() -> None:
    """The likeliest regime's option is certain to act, so that v_high(s, o) = q(s, likeliest)."""
    meta = {"head_start": 10_000, "execution": {"mode": "hard", "beta_max": 0.6}}
    model = collect(shaken(make_learner("hard", meta=meta).learn(128)))
    rollout = model.rollout
    likeliest = rollout.belief_TNR.argmax(dim=2)
    assert rollout.executed_TNK.argmax(dim=2).equal(likeliest)
    batch, _ = samples(model)
    torch.testing.assert_close(batch.choice_advantages_B, batch.advantages_B)
    reference, steps = Reference(model), []
    with torch.no_grad():
        for step in range(STEPS):
            row, option = rollout.observation_SNO[step, 0], int(likeliest[step, 0])
            steps.append(float(reference.critic(row, rollout.previous_TNK[step, 0])[1][option]))
    low = batch.advantages_B.view(STEPS, LANES)[:, 0]
    ends = rollout.done_TN[:, 0]
    for step in range(STEPS - 1):
        if not ends[step]:
            reward = float(rollout.rewards_TN[step, 0]) * model.config.reward_scale
            delta = reward + 0.99 * steps[step + 1] - steps[step]
            expected = delta + 0.99 * 0.95 * float(low[step + 1])
            assert float(low[step]) == pytest.approx(expected, abs=2e-5)


def test_a_head_start_values_no_option_that_fails_beyond_the_rollout() -> None:
    owners = ((1, 0, 0), (0, 0, 0), (0, 0, 0), (0, 1, 1))  # the injected option has two
    meta = {"head_start": 10_000, "regime_map": owners, "execution": {"mode": "hard"}}
    broken = {3: Constant([0.4, 0.3, 0.2], broken=1)}
    model = shaken(make_learner("hard", meta=meta, injected=broken, length=100).learn(128))
    rollout = collect(model).rollout
    batch, _ = samples(model)
    reference, passed_over = Reference(model), 0
    with torch.no_grad():
        for lane in range(LANES):
            row, beyond = rollout.observation_SNO[-2:, lane]
            belief = model.policy.features[int(beyond[0]), 3:6]
            passed_over += int(belief[1:].sum() > belief[0])  # to the first, of what is left
            held = rollout.executed_TNK[-1, lane]
            value = reference.critic(beyond, held)[1][0]
            value = 0.99 * value - reference.critic(row, held)[1][held.argmax()]
            expected = float(rollout.rewards_TN[-1, lane]) * model.config.reward_scale + value
            if not rollout.done_TN[-1, lane]:
                found = batch.advantages_B.view(STEPS, LANES)[-1, lane]
                torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
    assert passed_over


@pytest.mark.parametrize("mode", MODES)
def test_a_rollout_in_which_no_episode_ends(mode: Mode) -> None:
    model = shaken(make_learner(mode, length=100))
    model._setup_learn(1)
    collect(model)
    assert not model.rollout.done_TN.any()
    batch, _ = samples(model)
    reference = Reference(model)
    with torch.no_grad():
        for lane in (0, LANES - 1):
            found = batch.advantages_B.view(STEPS, LANES)[:, lane].numpy()
            np.testing.assert_allclose(found, reference.lane(lane, {})[0], atol=2e-5, rtol=1e-5)

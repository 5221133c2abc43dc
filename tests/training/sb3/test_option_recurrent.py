"""Options that remember: what was remembered is stored, replayed, valued, resumed and forgotten."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agents.blending import blend
from agents.losses import categorical_log_prob, gaussian_log_prob
from meta_controller.hierarchy import Inputs
from tests.training.sb3.option_scenarios import (
    LANES,
    MODES,
    STEPS,
    Actions,
    Constant,
    Mode,
    collect,
    make_agent,
    make_learner,
    samples,
    shaken,
)
from tests.training.sb3.test_snapshot import Keep, assert_same
from training.agents import policy_of
from training.checkpoint import CheckpointError, CheckpointStore, load
from training.errors import ConfigError
from training.option_frozen import _require_memoryless
from training.sb3.option_buffer import OptionBatch
from training.sb3.option_ppo import OptionPPO
from training.sb3.snapshot import capture, restore

UNITS = 6
RULE = {3: Constant([0.4, 0.3], broken=4)}


def remembering(mode: Mode = "blended", **parts: Any) -> OptionPPO:
    policy = {"recurrent": UNITS} | parts.pop("policy", {})
    return make_learner(mode, policy=policy, **parts)


def played(mode: Mode = "blended", **parts: Any) -> OptionPPO:
    return collect(shaken(remembering(mode, **parts).learn(128)))


def log_probs(model: OptionPPO, batch: OptionBatch) -> tuple[Tensor, Tensor]:
    """Of actions and of choices (0 in a blend), recomputed from the samples."""
    net = model.policy.network
    embedding, rows = net.encoder.table(model.policy.features, batch.bars_B)
    inputs = Inputs(
        batch.account_BP,
        batch.belief_BR,
        batch.previous_BK,
        batch.first_B,
        batch.hard_B,
        batch.injected_BKD if net.injects else None,
        hidden_BM=batch.hidden_BM,
    )
    with torch.no_grad():
        decision = net.decide(net.halves(embedding), rows, inputs)
    weights = torch.where(batch.hard_B[:, None], batch.executed_BK, decision.weights_BK)
    output = blend(decision.outputs_BKD, weights, model.policy.blend_kind)
    chance = (decision.weights_BK * batch.executed_BK).sum(dim=1).log()
    choice = torch.where(batch.hard_B, chance, 0.0)
    if model.policy.discrete:
        return categorical_log_prob(batch.actions_BD[:, 0].long(), output), choice
    log_std = weights @ net.log_std.detach()
    return gaussian_log_prob(batch.actions_BD, output, log_std), choice


def gap(model: OptionPPO, batch: OptionBatch) -> tuple[Tensor, Tensor]:
    """Distances (B,) from what was stored."""
    action, choice = log_probs(model, batch)
    return (action - batch.log_prob_B).abs(), (choice - batch.choice_log_prob_B).abs()


@pytest.mark.parametrize(
    ("mode", "actions", "injected"),
    [("blended", "logits", None), ("hard", "logits", None), ("alternate", "levels", None),
     ("blended", "weights", RULE)],
)  # fmt: skip
def test_what_was_stored_is_recomputed(mode: Mode, actions: Actions, injected: Any) -> None:
    model = played(mode, actions=actions, injected=injected)
    batch, _ = samples(model)
    assert batch.hidden_BM.shape == (STEPS * LANES, UNITS)
    action, choice = gap(model, batch)
    assert float(action.max()) < 1e-5
    assert float(choice.max()) < 1e-5
    later = ~batch.first_B
    after = model.rollout.hidden_after_TNM.flatten(end_dim=1)
    for wrong in (
        torch.zeros_like(batch.hidden_BM),
        batch.hidden_BM.roll(1, dims=0),
        after,  # one step too late
    ):
        action, choice = gap(model, batch._replace(hidden_BM=wrong))
        assert float((action + choice)[later].max()) > 1e-3
        assert float(action[batch.first_B].max()) < 1e-5  # it is not read there
    if mode != "blended":
        _, choice = gap(model, batch._replace(hidden_BM=torch.zeros_like(batch.hidden_BM)))
        assert float(choice[later].max()) > 1e-3


@pytest.mark.parametrize("mode", MODES)
def test_the_update_starts_at_a_ratio_of_one(mode: Mode) -> None:
    model = played(mode)
    batch, _ = samples(model)
    actor = model.learners(model.policy.net.encoder.plan(batch.bars_B))[0]
    _, stats = actor.loss(batch)
    assert float(stats["approx_kl"]) == pytest.approx(0.0, abs=1e-6)
    if mode != "blended":
        assert float(stats["choice_approx_kl"]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_it_carries_over_steps_and_rollouts_and_ends_with_its_episode(mode: Mode) -> None:
    model = played(mode)
    rollout = model.rollout
    for step in range(1, STEPS):
        first = torch.from_numpy(rollout.done_TN[step - 1])
        before, after = rollout.hidden_TNM[step], rollout.hidden_after_TNM[step - 1]
        assert before[~first].equal(after[~first])
        assert not before[first].any()
    assert rollout.first_TN[1:].any()
    assert (rollout.hidden_after_TNM.abs().amax(dim=2) > 0.0).all()
    last, done = rollout.hidden_after_TNM[-1].clone(), torch.from_numpy(rollout.done_TN[-1].copy())
    assert model.memory()["hidden"].tolist() == last.tolist()
    collect(model)
    assert model.rollout.hidden_TNM[0][~done].equal(last[~done])
    assert not model.rollout.hidden_TNM[0][done].any()


def test_the_losses_train_what_they_should() -> None:
    """The actor's reaches the unit; the critic's reads its state and leaves it alone."""
    model = played()
    net, (batch, _) = model.policy.network, samples(model)
    assert net.options.cell is not None
    cell = list(net.options.cell.parameters())
    actor, critic = model.learners(net.encoder.plan(batch.bars_B))
    slopes = torch.autograd.grad(actor.loss(batch)[0], cell)
    assert all(float(slope.abs().sum()) > 0.0 for slope in slopes)
    loss, _ = critic.loss(batch)
    assert all(
        s is None for s in torch.autograd.grad(loss, cell, allow_unused=True, retain_graph=True)
    )
    assert net.critic.state_value is not None
    (slope,) = torch.autograd.grad(loss, [net.critic.state_value.fusion.weight])
    at = net.options.embedding + net.account_size
    assert (slope[:, at : at + UNITS].abs().sum(dim=0) > 0.0).all()


@pytest.mark.parametrize("shared", [False, True])
def test_training_moves_it_and_threads_leave_no_trace(shared: bool) -> None:
    policy = {"critic_encoder": "shared" if shared else "own"}
    before = remembering(policy=policy).policy.net.state_dict()
    first, second = (
        remembering(policy=policy, ppo={"concurrent": c}).learn(256).policy.net.state_dict()
        for c in (True, False)
    )
    for name, tensor in first.items():
        assert tensor.equal(second[name])
        if name.startswith("options.cell."):
            assert not tensor.equal(before[name])


# -- values against a plain reference ----------------------------------------------------------


class Reference:
    """Advantages of a lane, bar by bar, with the library's own unit fed from the observations."""

    def __init__(self, model: OptionPPO) -> None:
        self.model, self.net, self.rollout = model, model.policy.network, model.rollout
        self.features = model.policy.features

    def after(self, row: Any, hidden: Tensor) -> Tensor:
        bars, account = self.model.policy.split(torch.as_tensor(row)[None])
        embedding, rows = self.net.encoder.table(self.features, bars)
        cell = self.net.options.cell
        assert cell is not None
        joined = torch.cat([embedding[rows], account], dim=1)
        return nn.GRUCell.forward(cell, joined, hidden[None])[0]

    def values(self, row: Any, weights: Tensor, hidden: Tensor) -> tuple[float, Tensor]:
        """v(s, w, m) and q(s, m, .) (zeros for what there is not)."""
        bars, account = self.model.policy.split(torch.as_tensor(row)[None])
        critic = self.net.critic
        embedding, rows = self.net.critic_encoder.table(self.features, bars)
        state, v, q = torch.cat([account, hidden[None]], dim=1), 0.0, torch.zeros(3)
        if critic.state_value is not None:
            v = float(critic.state_values(embedding, rows, state, weights[None]))
        if critic.option_value is not None:
            q = critic.option_values(embedding, rows, state)[0]
        return v, q

    def beyond(self, row: Any, weights: Tensor, hidden: Tensor, *, hard: bool) -> float:
        v, q = self.values(row, weights, hidden)
        if not hard:
            return v
        decision = self.model.policy.decide(
            torch.as_tensor(row)[None],
            weights[None],
            torch.zeros(1, dtype=torch.bool),
            hard=True,
            hidden_NM=hidden[None],
        )
        return float((decision.weights_BK[0] * q).sum())

    def lane(
        self, lane: int, finals: dict[tuple[int, int], Any]
    ) -> tuple[list[float], list[float]]:
        """Advantages of the actions, and values."""
        rollout, hard = self.rollout, lane < self.rollout.hard
        hidden, deltas, values = rollout.hidden_TNM[0, lane], [], []
        for step in range(STEPS):
            row, done = rollout.observation_SNO[step, lane], rollout.done_TN[step, lane]
            executed = rollout.executed_TNK[step, lane]
            v, q = self.values(row, rollout.previous_TNK[step, lane], hidden)
            values.append(float(q[executed.argmax()]) if hard else v)
            hidden = self.after(row, hidden)
            following = finals[step, lane] if done else rollout.observation_SNO[step + 1, lane]
            ahead = self.beyond(following, executed, hidden, hard=hard)
            reward = float(rollout.rewards_TN[step, lane]) * self.model.config.reward_scale
            ruined = bool(rollout.terminated_TN[step, lane])
            deltas.append(reward + (0.0 if ruined else 0.99 * ahead) - values[-1])
            if done:
                hidden = torch.zeros(UNITS)
        advantages, running = [0.0] * STEPS, 0.0
        for step in reversed(range(STEPS)):
            carried = 0.0 if rollout.done_TN[step, lane] else running
            advantages[step] = running = deltas[step] + 0.99 * 0.95 * carried
        return advantages, values


@pytest.mark.parametrize("mode", MODES)
def test_values_beyond_an_end_know_what_was_remembered(mode: Mode) -> None:
    model = played(mode)
    rollout = model.rollout
    finals = {
        (int(step), int(lane)): row
        for (step, lane), row in zip(
            np.argwhere(rollout.done_TN), rollout.final_observations(), strict=True
        )
    }
    assert (rollout.done_TN & ~rollout.terminated_TN).sum() > 3
    assert not rollout.done_TN[-1].all()  # some go on behind the rollout
    batch, values_B = samples(model)
    reference = Reference(model)
    with torch.no_grad():
        for lane in range(LANES):
            advantages, values = reference.lane(lane, finals)
            for column, expected in ((batch.advantages_B, advantages), (values_B, values)):
                found = column.view(STEPS, LANES)[:, lane].numpy()
                np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-5)


def test_no_episode_ends() -> None:
    model = shaken(remembering("alternate", length=100))
    model._setup_learn(1)
    collect(model)
    assert not model.rollout.done_TN.any()
    batch, _ = samples(model)
    with torch.no_grad():
        for lane in (0, LANES - 1):
            found = batch.advantages_B.view(STEPS, LANES)[:, lane].numpy()
            np.testing.assert_allclose(found, Reference(model).lane(lane, {})[0], atol=2e-5)


# -- acting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "actions"), [("blended", "logits"), ("hard", "logits"), ("blended", "levels")]
)
def test_a_sequence_of_predictions_is_the_policy_that_remembers(
    mode: Mode, actions: Actions
) -> None:
    model = played(mode, actions=actions)
    policy: Any = policy_of(model, "blended" if mode == "blended" else "mode")
    policy.reset(LANES)
    rows, state, moved = model.rollout.observation_SNO, None, 0.0
    for step in range(6):
        action, state = model.predict(rows[step], state, deterministic=True)
        acted = policy.act(rows[step])
        np.testing.assert_allclose(action.reshape(LANES, -1), acted, atol=1e-6)
        assert state is not None
        np.testing.assert_allclose(state[1], policy.last.decision.hidden_BM, atol=1e-6)
        moved = max(moved, float(np.abs(state[1]).max()))
    assert moved > 1e-2


def test_single_is_batch_and_a_beginning_forgets() -> None:
    model = played()
    rows, second = model.rollout.observation_SNO[:2]
    _, state = model.predict(rows, deterministic=True)
    assert state is not None
    later, after = model.predict(second, state, deterministic=True)
    assert after is not None
    for lane in range(LANES):
        _, held = model.predict(rows[lane], deterministic=True)
        alone, held = model.predict(second[lane], held, deterministic=True)
        np.testing.assert_allclose(alone, later[lane], atol=1e-6)
        assert held is not None
        np.testing.assert_allclose(held[1][0], after[1][lane], atol=1e-6)
    forgetful, _ = model.predict(second, (state[0], np.zeros_like(state[1])), deterministic=True)
    assert float(np.abs(forgetful - later).max()) > 1e-3
    starts = np.arange(LANES) % 2 == 0
    mixed, _ = model.predict(second, state, episode_start=starts, deterministic=True)
    fresh, _ = model.predict(second, deterministic=True)
    np.testing.assert_array_equal(mixed[starts], fresh[starts])
    np.testing.assert_array_equal(mixed[~starts], later[~starts])


def test_the_first_steps_distribution_is_that_of_the_rollout() -> None:
    model = played()
    batch, values_B = samples(model)
    first = batch.first_B
    observation = torch.cat([batch.bars_B[:, None].float(), batch.account_BP], dim=1)[first]
    with torch.no_grad():
        values, log_prob, _ = model.policy.evaluate_actions(observation, batch.actions_BD[first])
    torch.testing.assert_close(log_prob, batch.log_prob_B[first], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(values[:, 0], values_B[first], atol=1e-5, rtol=1e-5)


def test_states_that_do_not_fit_are_refused() -> None:
    model = remembering().learn(128)
    rows, weights = model.rollout.observation_SNO[0], np.zeros((8, 3), np.float32)
    wanted = r"state: expected weights \(8, 3\), hidden \(8, 6\) .*, found "
    with pytest.raises(ValueError, match=wanted + r"\(8, 3\)$"):
        model.predict(rows, (weights,))
    with pytest.raises(ValueError, match=wanted + r"\(8, 3\), \(8, 5\)$"):
        model.predict(rows, (weights, np.zeros((8, 5), np.float32)))


# -- resume ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["blended", "alternate"])
def test_resumed_equals_uninterrupted(tmp_path: Path, mode: Mode) -> None:
    store = CheckpointStore(tmp_path, keep_last=100)
    whole = remembering(mode).learn(512, callback=Keep(store))
    for step, path in store.steps().items():
        resumed = remembering(mode)
        restore(resumed, load(path))
        resumed.learn(512 - step, reset_num_timesteps=False)
        assert_same(whole, resumed)
    forgetful = remembering(mode)
    restore(forgetful, load(store.steps()[256]))
    forgetful.rollout.carried_hidden_NM.zero_()  # what would be lost without it
    forgetful.learn(256, reset_num_timesteps=False)
    with pytest.raises(AssertionError):
        assert_same(whole, forgetful)


@pytest.mark.parametrize(("units", "other"), [(UNITS, 0), (0, UNITS), (UNITS, UNITS + 1)])
def test_checkpoints_of_another_memory_are_refused(tmp_path: Path, units: int, other: int) -> None:
    model = make_learner(policy={"recurrent": other}).learn(128)
    path = CheckpointStore(tmp_path).save(128, capture(model))
    with pytest.raises(CheckpointError, match=f"recurrent: expected {units}, found {other}"):
        restore(make_learner(policy={"recurrent": units}), load(path))


def test_without_a_unit_nothing_is_carried() -> None:
    model = make_learner().learn(128)
    assert list(model.memory()) == ["weights"]
    assert samples(model)[0].hidden_BM.numel() == 0
    assert model.predict(model.rollout.observation_SNO[0])[1][0].shape == (LANES, 3)  # type: ignore[index]
    assert len(model.predict(model.rollout.observation_SNO[0])[1] or ()) == 1


def test_an_agent_that_remembers_is_no_option_of_another() -> None:
    meta = {"controller": {"kind": "fallback"}}
    _require_memoryless(make_agent(meta=meta))
    with pytest.raises(ConfigError, match=r"each bar by itself, found a recurrent unit of 6 \("):
        _require_memoryless(make_agent(meta=meta, policy={"recurrent": UNITS}))

"""The option learner behind SB3's face: callbacks, predict, logs, warnings, refusals."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnMaxEpisodes
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from agents.losses import explained_variance
from envs.simulator import Simulator
from envs.synthetic import Problem
from evaluation.option_scores import holdings_share
from markets.synthetic.base import regimes_of
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from meta_controller.beliefs import BeliefSource
from tests.training.sb3.option_scenarios import (
    LANES,
    MODES,
    STEPS,
    Actions,
    Constant,
    Mode,
    collect,
    make_agent,
    make_env,
    make_learner,
    samples,
    shaken,
)
from tests.training.sb3.test_ppo import Recorder
from training.agents import policy_of
from training.sb3.option_ppo import OptionPPO
from training.sb3.snapshot import capture, restore
from training.sb3.vec_env import SimulatorVecEnv

CASH = {3: Constant([0.4, 0.3], broken=4)}


def test_callbacks_are_called_as_stable_baselines_does() -> None:
    recorder = Recorder()
    model = make_learner().learn(256, callback=recorder)
    kinds = ["rollout_start", "rollout_end"] * 2
    assert recorder.calls == ["training_start", *kinds, "training_end"]
    assert recorder.rows == model.num_timesteps == 256


@pytest.mark.parametrize("mode", MODES)
def test_the_librarys_own_callbacks_work(mode: Mode) -> None:
    evaluation = EvalCallback(make_env(), n_eval_episodes=16, eval_freq=16, verbose=0, warn=False)
    few = StopTrainingOnMaxEpisodes(max_episodes=3, verbose=0)
    model = make_learner(mode)
    model.learn(256, callback=evaluation)
    assert np.isfinite(evaluation.last_mean_reward)
    stopped = make_learner(mode).learn(10_000, callback=few)
    assert stopped.num_timesteps < 10_000
    assert int(stopped.rollout.done_TN[: stopped.num_timesteps // LANES].sum()) >= 24


@pytest.mark.parametrize("mode", ["blended", "hard"])
@pytest.mark.parametrize("actions", ["logits", "weights", "levels"])
def test_a_sequence_of_predictions_is_the_policy_that_remembers(
    mode: Mode, actions: Actions
) -> None:
    injected = CASH if actions == "weights" else None
    model = collect(shaken(make_learner(mode, actions=actions, injected=injected).learn(128)))
    policy = policy_of(model, "blended" if mode == "blended" else "mode")
    policy.reset(LANES)
    rows = model.rollout.observation_SNO
    state, moved = None, 0.0
    for step in range(6):
        _, fresh = model.predict(rows[step], deterministic=True)
        action, state = model.predict(rows[step], state, deterministic=True)
        expected = policy.act(rows[step])
        np.testing.assert_allclose(action.reshape(expected.shape), expected, atol=1e-6)
        assert state is not None
        assert fresh is not None
        moved = max(moved, float(np.abs(state[0] - fresh[0]).max()))
    assert moved > 1e-2  # it is not an episode's first bar each time


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("actions", ["logits", "levels"])
def test_single_is_batch_and_deterministic(mode: Mode, actions: Actions) -> None:
    model = collect(shaken(make_learner(mode, actions=actions).learn(128)))
    rows, second = model.rollout.observation_SNO[:2]
    action, state = model.predict(rows, deterministic=True)
    assert state is not None
    later, after = model.predict(second, state, deterministic=True)
    again, _ = model.predict(second, state, deterministic=True)
    np.testing.assert_array_equal(later, again)
    for lane in range(LANES):
        alone, held = model.predict(rows[lane], deterministic=True)
        assert np.shape(alone) == np.shape(action[lane])
        np.testing.assert_allclose(alone, action[lane], atol=1e-6)
        alone, held = model.predict(second[lane], held, deterministic=True)
        np.testing.assert_allclose(alone, later[lane], atol=1e-6)
        assert after is not None
        assert held is not None
        np.testing.assert_allclose(held[0][0], after[0][lane], atol=1e-6)
    starts = np.arange(LANES) % 2 == 0
    mixed, _ = model.predict(second, state, episode_start=starts, deterministic=True)
    fresh, _ = model.predict(second, deterministic=True)
    np.testing.assert_array_equal(mixed[starts], fresh[starts])
    np.testing.assert_array_equal(mixed[~starts], later[~starts])


def test_chance_is_torchs_and_only_where_it_is_asked_for() -> None:
    model = collect(shaken(make_learner("hard").learn(128)))
    rows = model.rollout.observation_SNO[0]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first, state = model.predict(rows)
        torch.manual_seed(1)
        second, _ = model.predict(rows)
        third, _ = model.predict(rows)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)
    assert state is not None
    assert sorted(set(state[0].flatten().tolist())) == [0.0, 1.0]


def test_the_first_steps_distribution_is_that_of_the_rollout() -> None:
    """SB3's calls without a state are those of an episode's first bar."""
    for mode in ("blended", "hard"):
        model = collect(shaken(make_learner(mode).learn(128)))
        batch, values_B = samples(model)
        first = batch.first_B
        observation = torch.cat([batch.bars_B[:, None].float(), batch.account_BP], dim=1)[first]
        with torch.no_grad():
            values, log_prob, entropy = model.policy.evaluate_actions(
                observation, batch.actions_BD[first]
            )
        assert entropy is not None
        if mode == "blended":
            torch.testing.assert_close(log_prob, batch.log_prob_B[first], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(values[:, 0], values_B[first], atol=1e-5, rtol=1e-5)
        actions, _, again = model.policy(observation, deterministic=True)
        assert actions.shape == (int(first.sum()), 3)
        assert torch.isfinite(again).all()


def test_logs_and_tensorboard(tmp_path: Path) -> None:
    model = make_learner("alternate", tensorboard_log=str(tmp_path))
    model.learn(512)
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    accumulator = EventAccumulator(str(events.parent)).Reload()
    names = {name for name in accumulator.Tags()["scalars"] if name.startswith("option/")}
    expected = {f"usage_{k}" for k in range(3)} | {f"explained_variance_{k}" for k in range(3)}
    expected |= {"usage_entropy", "blend_entropy", "churn", "mean_duration", "disruption_p99"}
    expected |= {"disruption_max", "termination_mean", "termination_saturation", "hellinger"}
    expected |= {"regime_information", "holdings_disruption", "hard/churn", "hard/usage_entropy"}
    assert names >= {f"option/{name}" for name in expected}
    for name in names:
        assert np.isfinite([event.value for event in accumulator.Scalars(name)]).all(), name
    recorded = model.logger.name_to_value
    for name in ("choice_gradient_loss", "choice_approx_kl", "policy_gradient_loss", "value_loss"):
        assert np.isfinite(recorded[f"train/{name}"])


def test_where_executions_alternate_figures_are_of_one_kind_of_lanes() -> None:
    model = shaken(make_learner("alternate")).learn(128)
    rollout, logged = model.rollout, model.logger.name_to_value
    moved_TN = 0.5 * (rollout.executed_TNK - rollout.previous_TNK).abs().sum(dim=2)
    moved_TN[rollout.first_TN] = torch.nan
    blended, hard = moved_TN[:, rollout.hard :], moved_TN[:, : rollout.hard]
    assert logged["option/churn"] == pytest.approx(float(blended.nanmean()), rel=1e-5)
    assert logged["option/hard/churn"] == pytest.approx(float(hard.nanmean()), rel=1e-5)
    assert logged["option/churn"] != logged["option/hard/churn"]
    plain = make_learner().learn(128).logger.name_to_value
    assert not [name for name in plain if name.startswith("option/hard")]


def test_the_holdings_that_the_controller_moves_by_hand() -> None:
    model = shaken(make_learner("blended")).learn(128)
    rollout = model.rollout
    share_NKA = holdings_share(
        rollout.outputs_NKD.double().numpy(), model.vec_env.simulator.config.action
    )
    weights_NK, before_NK = rollout.executed_TNK[-1].numpy(), rollout.previous_TNK[-1].numpy()
    caused = [
        0.5 * sum(abs(float((now - before) @ share_KA[:, a])) for a in range(share_KA.shape[1]))
        for now, before, share_KA, first in zip(
            weights_NK, before_NK, share_NKA, rollout.first_TN[-1], strict=True
        )
        if not first
    ]
    logged = model.logger.name_to_value["option/holdings_disruption"]
    assert logged == pytest.approx(np.mean(caused), rel=1e-5)
    assert logged > 0.0


def test_a_head_start_keeps_options_apart() -> None:
    meta = {"head_start": 10_000, "terms": {"diversity": 0.1}}
    model = make_learner("blended", meta=meta).learn(128)
    assert model.rollout.forced
    assert 0.0 <= model.logger.name_to_value["train/diversity"] <= 1.0


def test_a_warning_is_given_once_over_resumes(caplog: pytest.LogCaptureFixture) -> None:
    def build() -> OptionPPO:
        return make_learner("hard", injected=CASH, actions="weights")

    first = build().learn(512)
    words = "gave outputs that are not finite"
    assert sum(words in text for text in caplog.messages) == 1
    again = build()
    restore(again, capture(first))
    again.learn(256, reset_num_timesteps=False)
    assert sum(words in text for text in caplog.messages) == 1
    assert again.warned == first.warned != set()


def test_the_critic_is_explained_option_by_option() -> None:
    model = collect(shaken(make_learner("alternate").learn(128)))
    batch, values_B = samples(model)
    found = model._explained(values_B, batch.returns_B)
    assert len(found) == 3
    for option in range(3):
        rows = batch.hard_B & (batch.executed_BK[:, option] == 1.0)
        share = explained_variance(values_B[rows], batch.returns_B[rows])
        assert found[f"explained_variance_{option}"] == pytest.approx(float(share), abs=1e-5)
    assert collect(make_learner().learn(128))._explained(values_B, batch.returns_B) == {}


def test_failures_of_injected_options_are_counted_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_learner(actions="weights", injected=CASH)
    with caplog.at_level(logging.WARNING):
        model.learn(512)
    bars = model.rollout.observation_SNO[:-1, :, 0].astype(int)
    broken = int((bars % 4 == 0).sum())
    assert model.rollout.failures_K.tolist() == [0, 0, 0, broken]
    assert model.logger.name_to_value["option/failures_3"] == broken > 0
    told = [r.getMessage() for r in caplog.records if "not finite" in r.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("option 3 gave outputs that are not finite in ")
    executed = model.rollout.executed_TNK[torch.from_numpy(bars % 4 == 0)]
    assert (executed[:, 3] == 0.0).all()
    torch.testing.assert_close(executed.sum(dim=1), torch.ones(len(executed)))


def test_a_head_start_passes_over_an_option_that_fails() -> None:
    meta = {"head_start": 10_000, "regime_map": ((0, 0, 0), (0, 0, 0), (0, 0, 1), (1, 1, 0))}
    model = collect(make_learner(actions="weights", injected=CASH, meta=meta))
    bars = model.rollout.observation_SNO[:-1, :, 0].astype(int)
    acting = model.rollout.executed_TNK.argmax(dim=2)
    broken = torch.from_numpy(bars % 4 == 0)
    assert (acting[~broken] == 3).any()
    assert (acting[broken] != 3).all()


def test_a_collapse_is_told_once_and_not_before_a_quarter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    alike = {"output_gain": 0.0}
    with caplog.at_level(logging.WARNING):
        make_learner(policy=alike, ppo={"learning_rate": 1e-9}).learn(1280)
    told = [r.getMessage() for r in caplog.records if "options act alike" in r.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("after 512 steps: ")  # the first rollout that begins beyond 320


@pytest.mark.parametrize(("lanes", "share"), [(8, 0.05), (8, 0.95), (1, 0.5), (1, 0.25)])
def test_lanes_that_cannot_be_shared_are_refused(lanes: int, share: float) -> None:
    meta = {"execution": {"mode": "alternate", "hard_share": share}}
    message = rf"execution.hard_share: expected 1 .. N - 1 of the N = {lanes} .*, found {share} of"
    with pytest.raises(ValueError, match=message):
        make_learner("alternate", lanes=lanes, meta=meta, ppo={"minibatch": 8})


@pytest.mark.parametrize("terms", [{}, {"all_options": 1.0, "advantages": "option"}])
@pytest.mark.parametrize("share", [0.125, 0.25, 0.875])
def test_minibatches_without_a_row_of_one_kind(share: float, terms: dict[str, Any]) -> None:
    execution = {"mode": "alternate", "hard_share": share}
    meta = {"execution": execution, "terms": terms | {"balance": 0.01, "termination": 0.01}}
    model = make_learner("alternate", meta=meta, ppo={"minibatch": 2}).learn(256)
    assert all(torch.isfinite(p).all() for p in model.policy.net.parameters())
    assert np.isfinite(model.logger.name_to_value["train/choice_approx_kl"])


@pytest.mark.parametrize("mode", ["blended", "hard"])
def test_one_environment_is_enough(mode: Mode) -> None:
    model = make_learner(mode, lanes=1, ppo={"minibatch": 8}).learn(64)
    assert model.num_timesteps == 64


@pytest.mark.parametrize("mode", MODES)
def test_threads_leave_no_trace(mode: Mode) -> None:
    first, second = (make_learner(mode, ppo={"concurrent": c}).learn(512) for c in (True, False))
    other = second.policy.net.state_dict()
    assert all(tensor.equal(other[name]) for name, tensor in first.policy.net.state_dict().items())


@pytest.mark.parametrize("mode", MODES)
def test_a_shared_encoder_is_trained_by_both_losses(mode: Mode) -> None:
    model = make_learner(mode, policy={"critic_encoder": "shared"})
    net = model.policy.network
    assert net.critic_encoder is net.encoder
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    model.learn(256)
    still = {name for name, tensor in net.state_dict().items() if tensor.equal(before[name])}
    assert still == {"controller.fallback.map_KR"} & still
    batch, _ = samples(model)
    (learner,) = model.learners(net.encoder.plan(batch.bars_B))
    parameter = next(net.encoder.parameters())
    gradients = []
    for loss in (learner.loss.__self__.policy, learner.loss.__self__.value):  # type: ignore[attr-defined]
        (gradient,) = torch.autograd.grad(loss(batch)[0], [parameter])
        gradients.append(float(gradient.abs().sum()))
    assert min(gradients) > 0.0


@pytest.mark.parametrize("mode", MODES)
def test_a_head_start_longer_than_the_training_leaves_the_gate(mode: Mode) -> None:
    execution = {"mode": mode, "hard_share": 0.5, "beta_max": 0.6}
    model = make_learner(mode, meta={"head_start": 10**6, "execution": execution})
    net = model.policy.network
    gate = [p.clone() for p in net.controller.parameters()]
    ends = net.options.trunk.output.weight[net.options.heads :].clone()
    heads = net.options.trunk.output.weight[: net.options.heads].clone()
    model.learn(512)
    assert all(a.equal(b) for a, b in zip(gate, net.controller.parameters(), strict=True))
    assert net.options.trunk.output.weight[net.options.heads :].equal(ends)
    assert not net.options.trunk.output.weight[: net.options.heads].equal(heads)


PROBLEM = Problem(GarleanuPedersen(regime="hidden"), episode_length=10)


def told_learner() -> OptionPPO:
    simulator = Simulator(PROBLEM.stream(), PROBLEM.trading(), LANES, seed=3, autoreset="same_step")
    env = SimulatorVecEnv(simulator)
    return OptionPPO(
        env,
        env.features,
        agent=make_agent(meta={"controller": {"kind": "oracle"}}),
        beliefs=BeliefSource("account", ()),
        num_regimes=3,
        seed=7,
        device="cpu",
    )


def test_an_oracle_is_told_the_regime_that_reigns() -> None:
    model = told_learner()
    seen: list[Any] = []

    class Regimes(Recorder):
        def _on_step(self) -> bool:
            seen.append(regimes_of(model.vec_env.simulator.world_NS).copy())
            return True

    model.learn(LANES * STEPS)
    model.learn(LANES * STEPS, callback=Regimes(), reset_num_timesteps=False)
    told = model.rollout.belief_TNR.argmax(dim=2).numpy()
    np.testing.assert_array_equal(told[1:], np.stack(seen)[:-1])
    assert len(np.unique(told)) > 1
    assert model.rollout.executed_TNK.equal(model.rollout.belief_TNR)  # K = R, at once
    with pytest.raises(RuntimeError, match=r"expected the true regimes.*policy_of"):
        model.predict(model.rollout.observation_SNO[0])
    policy: Any = policy_of(model)
    policy.reset(LANES)
    policy.tell(seen[0])
    assert policy.act(model.rollout.observation_SNO[1]).shape == (LANES, 1)


def test_refusals() -> None:
    model = make_learner().learn(128)
    rows = model.rollout.observation_SNO[0]
    with pytest.raises(ValueError, match=r"state: expected weights \(8, 3\).*found \(8, 2\)"):
        model.predict(rows, (np.zeros((8, 2), np.float32),))
    with pytest.raises(ValueError, match=r"state: expected weights \(1, 3\).*found \(8, 3\)"):
        model.predict(rows[0], (np.zeros((8, 3), np.float32),))
    with pytest.raises(TypeError, match="pickled"):
        model.save("model.zip")
    with pytest.raises(TypeError, match=r"snapshot\.restore"):
        OptionPPO.load("model.zip")
    with pytest.raises(ValidationError, match="head_start: expected 0 without learned options"):
        make_agent(learned=0, rules=2, meta={"head_start": 10})
    with pytest.raises(ValidationError, match=r"all_options: expected 0\.0 where all .* was 0\.5"):
        make_agent("blended", meta={"terms": {"all_options": 0.5}})
    with pytest.raises(TypeError, match="expected one flat tensor, found dict"):
        model.policy.predict_values({})

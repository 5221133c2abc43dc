"""The gate over a stream: what harms nobody passes, what harms is undone to the bit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.acceptance import Decision
from tests.training.continual.streams import (
    FLAT,
    GATE,
    LENIENT,
    OPTIONS,
    Follower,
    assert_same_snapshot,
    configuration,
    run,
    stream_of,
)
from training.checkpoint import Snapshot, load
from training.config import TrainConfig
from training.continual.champions import golden_weights, kept_states
from training.continual.judgement import read_streams
from training.continual.phases import MarketRegime, Scores
from training.continual.stream import Stream
from training.continual.updates import GatedPhase, last_champion, read_decisions
from training.errors import ConfigError
from training.sb3.ppo import MarketPPO
from training.sb3.snapshot import capture, restore

EWC = {"kind": "ewc", "states": 32}
SCORED = GATE | {
    "acceptance": {
        "episodes": 16,
        "resamples": 1000,
        "improvement": "none",
        "floor": 0.02,
        "spending": "none",
        "vitals": {"kl_mean": 1e6, "kl_q99": 1e6},
    }
}
"""A gate whose vital signs let everything finite pass: episodes alone decide."""
Harm = Callable[[MarketPPO], None]


def decisions_of(stream: Stream) -> list[list[Decision]]:
    return [read_decisions(stream.phase_folder(phase)) for phase in stream.plan.phases]


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return configuration(remedies=[EWC], gate=LENIENT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, config: TrainConfig) -> Path:
    """Two phases of two updates each, all of them accepted."""
    folder = tmp_path_factory.mktemp("gated")
    run(config, folder)
    return folder


def test_a_harmless_series_is_accepted(config: TrainConfig, finished: Path) -> None:
    first, second = decisions_of(stream_of(config, finished))
    assert all(each.accepted for each in first + second)
    assert [each.update for each in first + second] == [1, 2, 3, 4]
    alphas = [0.05 / (t * (t + 1)) for t in (1, 2, 3, 4)]
    assert [each.alpha for each in first + second] == pytest.approx(alphas)
    assert [each.active for each in first + second] == ["regime 0"] * 2 + ["regime 1"] * 2
    # Nothing is asked of the active regime here, and there was no other one in the first phase.
    assert all(not each.evidence for each in first)
    for each in second:
        assert {(row.regime, row.against) for row in each.evidence} == {
            ("regime 0", "champion"),
            ("regime 0", "golden"),
        }
        assert {row.episodes for row in each.evidence} == {8}
        names = {check.name for check in each.checks}
        assert "regime regime 0: mean KL from the champion" in names


def test_golden_policies_and_kept_states_travel(config: TrainConfig, finished: Path) -> None:
    stream = stream_of(config, finished)
    first, second = (stream.accepted(phase) for phase in stream.plan.phases)
    assert list(kept_states(first)) == [0]
    assert list(kept_states(second)) == [0, 1]
    for name, rows in kept_states(first)[0].items():
        assert len(rows) == 32
        assert torch.equal(rows, kept_states(second)[0][name])
    for snapshot, regimes in ((first, {"regime 0"}), (second, {"regime 0", "regime 1"})):
        registry = json.loads(snapshot.files["golden.json"])["regimes"]
        assert registry.keys() == regimes
    registry = json.loads(second.files["golden.json"])["regimes"]
    weights = golden_weights(second, 0)
    if registry["regime 0"]["checkpoint"].startswith("phase 0"):
        kept = golden_weights(first, 0)
        assert all(torch.equal(tensor, kept[name]) for name, tensor in weights.items())
    assert weights.keys() == second.weights.keys()
    assert golden_weights(second, 2) == {}


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (FLAT, ("agent.ppo.noise_final=-3.0",)),
        (OPTIONS, ("agent.meta_controller.head_start=256", "agent.ppo.noise_final=-3.0")),
    ],
    ids=["flat", "options"],
)
def test_a_gate_that_rejects_nothing_changes_nothing(
    base: tuple[str, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    """Rates, noise and head start follow the steps of the phase, not those of an update."""
    phases = {"kind": "regimes", "order": [0]}
    gated = configuration(*words, base=base, gate=LENIENT, phases=phases)
    plain = configuration(*words, base=base, phases=phases)
    found = []
    for name, config in (("gated", gated), ("plain", plain)):
        run(config, tmp_path / name)
        stream = stream_of(config, tmp_path / name)
        found.append(stream.accepted(stream.plan.phases[0]))
    one, other = found
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(tensor, other.weights[name]) for name, tensor in one.weights.items())
    assert all(torch.equal(tensor, other.optimizer[n]) for n, tensor in one.optimizer.items())
    assert all(np.array_equal(array, one.arrays[name]) for name, array in other.arrays.items())


def test_curves_are_drawn_of_accepted_policies(config: TrainConfig, tmp_path: Path) -> None:
    logged = run(config, tmp_path).logged
    steps = [(n, step) for n, step, values in logged if "curve/regime 2" in values]
    assert steps == [(0, 256), (0, 512), (1, 256), (1, 512)]
    trained = [(n, step) for n, step, values in logged if "train/value_loss" in values]
    # The library writes an update's figures after the next rollout.
    assert trained == [(n, step) for n in (0, 1) for step in (256, 384, 512)]


def spread(model: MarketPPO) -> None:
    """Outputs at random, and large."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.policy.net.actor_parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))


def nan(model: MarketPPO) -> None:
    """One number of the network is none."""
    with torch.no_grad():
        model.policy.net.actor_parameters()[0].view(-1)[0] = torch.nan


def broken_moment(model: MarketPPO) -> None:
    """The next step would break the network."""
    state = next(iter(model.optimizers["actor"].state.values()))
    state["exp_avg"].view(-1)[0] = torch.inf


def diverges(model: MarketPPO) -> None:
    """As the learner says so."""
    raise FloatingPointError("train/value_loss: expected a finite number, found nan")


def harmed(monkeypatch: pytest.MonkeyPatch, harm: Harm, *updates: int) -> list[dict[str, Any]]:
    """Harm updates of the second phase after they were learned; returns what each began with."""
    learn = GatedPhase._learn
    seen: list[dict[str, Any]] = []

    def learns(self: GatedPhase, number: int, rejected: int, watch: Any) -> bool:
        model, phase = self._model, self._phase.number
        state = capture(model)
        over = learn(self, number, rejected, watch)
        seen.append(
            {
                "phase": phase,
                "number": number,
                "rejected": rejected,
                "state": state,
                "rate": model.rate_factor,
                "learned": capture(model),
            }
        )
        if phase == 1 and number in updates:
            harm(model)
        return over

    monkeypatch.setattr(GatedPhase, "_learn", learns)
    return seen


@pytest.mark.parametrize("harm", [spread, nan, broken_moment, diverges])
def test_a_harmful_update_is_rejected_undone_and_tried_again(
    harm: Harm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(remedies=[EWC, {"kind": "si"}], gate=SCORED)
    seen = harmed(monkeypatch, harm, 0)
    run(config, tmp_path)
    stream = stream_of(config, tmp_path)
    _, second = decisions_of(stream)
    assert [each.accepted for each in second[:2]] == [False, True]
    reasons = " ".join(second[0].reasons)
    assert ("regime 0: a loss of" if harm is spread else "finite") in reasons
    first, again = [each for each in seen if each["phase"] == 1][:2]
    assert_same_snapshot(first["state"], again["state"])
    assert (first["rejected"], again["rejected"]) == (0, 1)
    assert (first["rate"], again["rate"]) == (1.0, 0.5)
    generators = [each["learned"].arrays["generator"] for each in (first, again)]
    assert not np.array_equal(*generators)
    learned = [each["learned"].weights for each in (first, again)]
    assert any(not torch.equal(tensor, learned[1][name]) for name, tensor in learned[0].items())


def test_every_attempt_is_tracked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(remedies=[EWC], gate=SCORED)
    harmed(monkeypatch, spread, 0, 2)
    logged = [(s, v) for n, s, v in run(config, tmp_path).logged if n == 1]
    names = [(step, name) for step, values in logged for name in values]
    found = {step: v["gate/accepted"] for step, v in logged if "gate/accepted" in v}
    # Further attempts stand a step behind; of 128 steps each rollout has.
    assert found == {256: 0.0, 257: 1.0, 512: 0.0, 513: 1.0}
    told = [each for each in names if not each[1].startswith("time/")]
    assert len(told) == len(set(told)), "no figure is there twice"
    # The library writes an update's figures after the next rollout; what is undone leaves none.
    for name in ("train/value_loss", "retry-1/train/value_loss"):
        assert [step for step, each in names if each == name] == [256, 512]
    last = dict(logged)[513]
    assert last["gate/check/value loss over its median"] > 0.0
    row = "gate/regime 0/champion"
    assert last[f"{row}_low"] <= last[f"{row}_difference"]
    assert last[f"{row}_low"] > -last[f"{row}_tolerated"]


def test_a_decision_is_told_before_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill in between repeats it; a figure that is told afterwards would be lost."""
    stream, follower = stream_of(configuration(gate=SCORED), tmp_path), Follower()

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.continual.updates.write_decisions", dies)
    with pytest.raises(KeyboardInterrupt):
        stream.run(follower)
    assert [step for _, step, v in follower.logged if "gate/accepted" in v] == [256]
    assert read_decisions(stream.phase_folder(stream.plan.phases[0])) == []


def test_reasons_stand_beside_the_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(gate=SCORED)
    harmed(monkeypatch, spread, 0)
    run(config, tmp_path)
    stream = stream_of(config, tmp_path)
    folder = stream.phase_folder(stream.plan.phases[1])
    records = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    decisions = read_decisions(folder)
    assert [tuple(record["reasons"]) for record in records] == [each.reasons for each in decisions]
    assert records[0]["reasons"][0].startswith("regime regime 0: a loss of")
    (told,) = read_streams(config, stream.plan, tmp_path)
    assert [each.reasons for each in told.decisions if each.phase == 1] == [
        each.reasons for each in decisions
    ]


def test_a_broken_candidate_is_rejected_where_fewer_episodes_are_held_out_than_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = MarketRegime.judge

    def fewer(self: MarketRegime, policy: Any, *, seed: int, episodes: int) -> Scores:
        found = judge(self, policy, seed=seed, episodes=episodes)
        return Scores(found.earned_E[:12], found.nothing_E[:12], None)

    monkeypatch.setattr(MarketRegime, "judge", fewer)
    config = configuration(gate=SCORED)
    harmed(monkeypatch, nan, 0)
    run(config, tmp_path)
    _, second = decisions_of(stream_of(config, tmp_path))
    assert [each.accepted for each in second[:2]] == [False, True]
    assert {row.episodes for each in second for row in each.evidence} == {12}


def test_after_its_retries_a_phase_ends_with_the_champion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(remedies=[EWC], gate=SCORED)
    seen = harmed(monkeypatch, spread, 1, 2)
    run(config, tmp_path)
    stream = stream_of(config, tmp_path)
    phase = stream.plan.phases[1]
    first, second = decisions_of(stream)
    assert [each.accepted for each in second] == [True, False, False]
    assert [each.update for each in second] == [len(first) + n for n in (1, 2, 3)]
    assert [each["rate"] for each in seen if each["phase"] == 1] == [1.0, 1.0, 0.5]
    champion, ended = last_champion(stream.phase_folder(phase)), stream.accepted(phase)
    assert all(torch.equal(tensor, ended.weights[n]) for n, tensor in champion.weights.items())
    scores = json.loads((stream.phase_folder(phase) / "scores.json").read_text())
    assert scores["steps"] == champion.trainer["num_timesteps"] == 256


def test_a_learning_rate_that_destroys_is_rejected(tmp_path: Path) -> None:
    """Nothing is injected: the update itself is a bad one."""
    words = ("agent.ppo.learning_rate=1.0", "agent.ppo.epochs=4")
    config = configuration(*words, gate=GATE | {"retries": 0})
    run(config, tmp_path)
    _, second = decisions_of(stream_of(config, tmp_path))
    assert not any(each.accepted for each in second)
    assert any("KL from the champion" in reason for reason in second[0].reasons)


# -- roll-back -------------------------------------------------------------------------------


def _tensors(tensors: dict[str, torch.Tensor], random: np.random.Generator) -> None:
    """Change one number of one tensor, at least."""
    floats = sorted(n for n, t in tensors.items() if t.is_floating_point() and t.numel())
    tensor = tensors[floats[random.integers(len(floats))]]
    with torch.no_grad():
        place = int(random.integers(tensor.numel()))
        tensor.view(-1)[place] = float(random.choice([np.nan, np.inf, 1e6 * random.normal()]))


def corrupt(model: MarketPPO, kind: str, random: np.random.Generator) -> None:
    """Damage a part of a learner's state."""
    if kind == "weights":
        _tensors(dict(model.policy.net.state_dict()), random)
    elif kind == "optimizer":
        moments = {
            f"{role}/{number}/{name}": tensor
            for role, optimizer in model.optimizers.items()
            for number, state in enumerate(optimizer.state.values())
            for name, tensor in state.items()
            if tensor.ndim
        }
        _tensors(moments, random)
    elif kind == "remedies":
        assert model.remedy is not None
        state = {name: tensor.clone() for name, tensor in model.remedy.state().items()}
        _tensors(state, random)
        model.remedy.load_state(state)
    elif kind == "environments":
        for _ in range(int(random.integers(1, 4))):
            shape = (model.n_envs, *(model.action_space.shape or ()))
            model.vec_env.step(random.normal(size=shape).astype(np.float32))
    elif kind == "generator":
        model.generator.manual_seed(int(random.integers(2**31)))
    else:
        model.num_timesteps += int(random.integers(1, 100))
        model._n_updates += 1
        model._last_obs = np.asarray(model._last_obs) + 1.0


KINDS = ("weights", "optimizer", "remedies", "environments", "generator", "counters")


@pytest.mark.parametrize("base", [FLAT, OPTIONS], ids=["flat", "options"])
def test_a_hundred_of_a_hundred_corruptions_are_rolled_back(
    base: tuple[str, ...], tmp_path: Path
) -> None:
    remedies = [EWC, {"kind": "si"}, {"kind": "cloning", "states": 32, "batch": 16}]
    config = configuration(base=base, remedies=remedies, gate=LENIENT | {"every": None})
    run(config, tmp_path, stop_at=(1, 0))
    stream = stream_of(config, tmp_path)
    model, _ = stream._learner(stream.plan.phases[1])
    path = max(tmp_path.rglob("phase-01/update-000/step-*"))
    champion = load(path)
    restore(model, champion)
    before, random = capture(model), np.random.default_rng(0)
    for number in range(100):
        kind = KINDS[number % len(KINDS)]
        corrupt(model, kind, random)
        with pytest.raises(AssertionError):  # it is damage
            assert_same_snapshot(before, capture(model))
        restore(model, champion)
        assert_same_snapshot(before, capture(model))
    assert_same_snapshot(before, Snapshot(**{**vars(champion), "files": {}}))


@pytest.mark.parametrize(
    ("acceptance", "words"),
    [
        ({"tolerance": 0.0}, "tolerate no loss at all"),
        ({"resamples": 1000, "alpha": 0.01}, "resamples: from update"),
    ],
)
def test_a_gate_that_can_never_be_passed_is_refused_before_training(
    acceptance: dict[str, Any], words: str, tmp_path: Path
) -> None:
    gate = GATE | {"acceptance": {"episodes": 8, "resamples": 100_000} | acceptance}
    stream = stream_of(configuration(gate=gate), tmp_path)
    with pytest.raises(ConfigError, match=rf"continual\.gate\.acceptance: .*{words}"):
        stream.check()
    stream_of(configuration(gate=GATE | {"acceptance": {"episodes": 8}}), tmp_path).check()

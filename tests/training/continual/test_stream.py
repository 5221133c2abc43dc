"""A stream goes through its phases: what each begins with, and what it leaves behind."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.continual.streams import (
    FLAT,
    LENIENT,
    OPTIONS,
    Follower,
    assert_same_snapshot,
    assert_same_streams,
    configuration,
    run,
    stream_of,
)
from training.checkpoint import CheckpointError, CheckpointStore, load
from training.config import TrainConfig
from training.continual.phases import Phase
from training.continual.stream import Stream
from training.learning import learn
from training.tasks.choice import open_task

ALONE = ("market.world.transition=1.0", "market.world.start=[1.0,0.0,0.0]")
"""A market that is the first phase's."""
PLAIN = {"reset_optimizer": False, "reset_noise": False}


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return configuration()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, config: TrainConfig) -> Path:
    """Plain fine-tuning through two phases."""
    folder = tmp_path_factory.mktemp("stream")
    assert run(config, folder).begun == [(0, 0), (1, 0)]
    return folder


def scores_of(stream: Stream) -> list[dict[str, Any]]:
    return [
        json.loads((stream.phase_folder(phase) / "scores.json").read_text())
        for phase in stream.plan.phases
    ]


def test_every_phase_is_judged_on_every_regime(config: TrainConfig, finished: Path) -> None:
    stream = stream_of(config, finished)
    first, second = scores_of(stream)
    names = ["regime 0", "regime 1", "regime 2"]
    for number, scores in enumerate((first, second)):
        assert (scores["phase"], scores["regime"], scores["steps"]) == (number, number, 512)
        assert scores["regimes"] == names
        assert scores["stored_floats"] == 0
        for row in ("ratio", "earned", "nothing", "best"):
            assert len(scores[row]) == 3
        for j in range(3):
            gain = scores["best"][j] - scores["nothing"][j]
            assert gain > 0.0
            found = (scores["earned"][j] - scores["nothing"][j]) / gain
            assert scores["ratio"][j] == pytest.approx(found)
    assert len(first["before"]) == 3
    assert "before" not in second
    assert first["best"] == second["best"]
    assert first["ratio"] != second["ratio"]
    assert first["before"] != first["ratio"]


def test_a_second_run_changes_nothing(config: TrainConfig, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert run(config, finished).begun == []
    assert before == {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}


def test_the_same_seed_makes_the_same_bits(
    config: TrainConfig, finished: Path, tmp_path: Path
) -> None:
    run(config, tmp_path)
    assert_same_streams(config, finished, tmp_path)


def test_the_first_phase_is_an_ordinary_training(tmp_path: Path) -> None:
    config = configuration(*ALONE, phases={"kind": "regimes", "order": [0]})
    run(config, tmp_path)
    follower = Follower()
    with follower(Phase(0, 0), 0) as watch:
        learn(config, open_task(config), 0, tmp_path, watch)
    plain = CheckpointStore(tmp_path / "checkpoints").steps()[512]
    stream = stream_of(config, tmp_path)
    assert_same_snapshot(load(plain), stream.accepted(stream.plan.phases[0]))


def test_curves_are_drawn_on_other_episodes_than_tables(tmp_path: Path) -> None:
    """As many of them: what differs is which."""
    config = configuration(curve_episodes=8)
    assert config.evaluation.optimality.episodes == 8
    logged = run(config, tmp_path).logged
    for number in (0, 1):
        curve = [(s, v) for n, s, v in logged if n == number and "curve/regime 0" in v]
        assert [step for step, _ in curve] == [128, 256, 384, 512]
        scores = {name for name in curve[0][1] if name.startswith("curve/")}
        assert scores == {f"curve/regime {regime}" for regime in range(3)}
        (table,) = [v for n, _, v in logged if n == number and "score/regime 0" in v]
        assert table["score/regime 0"] != curve[-1][1]["curve/regime 0"]


@pytest.mark.parametrize(
    ("words", "base", "heads"),
    [
        ((), FLAT, {"actor"}),
        (
            ("agent.policy.experts=networks",),
            OPTIONS,
            {"options.trunk", "controller.gate", *(f"options.bank.{k}" for k in range(3))},
        ),
        (("agent.policy.experts=heads",), OPTIONS, {"options.trunk", "controller.gate"}),
    ],
    ids=["flat", "networks", "heads"],
)
def test_plasticity_is_looked_at_with_every_point_of_the_curves(
    words: tuple[str, ...], base: tuple[str, ...], heads: set[str], tmp_path: Path
) -> None:
    logged = run(configuration(*words, base=base), tmp_path).logged
    found = [
        (n, s, {k.removeprefix("plasticity/"): x for k, x in v.items() if "plasticity/" in k})
        for n, s, v in logged
        if "plasticity/dormant_share" in v
    ]
    assert [(n, s) for n, s, _ in found] == [(n, s) for n in (0, 1) for s in (128, 256, 384, 512)]
    for _, _, values in found:
        assert {name.partition("/")[0] for name in values if "/" in name} == heads
        assert 0.0 <= values["dormant_share"] <= 1.0
        assert values["effective_rank"] >= 1.0
        assert values["weight_norm"] > 0.0
    assert len({values["weight_norm"] for _, _, values in found}) == len(found)


def test_plasticity_is_looked_at_under_a_gate_too(tmp_path: Path) -> None:
    logged = run(configuration(gate=LENIENT), tmp_path).logged
    at = {key: [(n, s) for n, s, v in logged if key in v]
          for key in ("curve/regime 0", "plasticity/effective_rank")}  # fmt: skip
    assert at["plasticity/effective_rank"] == at["curve/regime 0"] != []


def begun(config: TrainConfig, folder: Path) -> Any:
    """The learner of the second phase before its first step."""
    stream = stream_of(config, folder)
    model, remedies = stream._learner(stream.plan.phases[1])
    return stream.accepted(stream.plan.phases[0]), model, remedies


@pytest.mark.parametrize("reset", [True, False])
def test_a_phase_begins_where_the_one_before_ended(tmp_path: Path, reset: bool) -> None:
    config = configuration(reset_optimizer=reset, reset_noise=reset)
    run(config, tmp_path, stop_at=(1, 0))
    before, model, _ = begun(config, tmp_path)
    for name, tensor in model.policy.net.state_dict().items():
        if name != "log_std":
            assert torch.equal(tensor, before.weights[name])
    log_std, ended = model.policy.net.log_std, before.weights["log_std"]
    assert not torch.equal(ended, torch.full_like(ended, -1.0))
    assert torch.equal(log_std, torch.full_like(ended, -1.0) if reset else ended)
    moments = {
        f"{role}/{number}/{name}": tensor
        for role, optimizer in model.optimizers.items()
        for number, state in optimizer.state_dict()["state"].items()
        for name, tensor in state.items()
    }
    assert moments.keys() == (set() if reset else before.optimizer.keys())
    assert all(torch.equal(tensor, before.optimizer[name]) for name, tensor in moments.items())


FLAT_REMEDIES = [
    {"kind": "ewc", "states": 64},
    {"kind": "online_ewc", "states": 64},
    {"kind": "l2"},
    {"kind": "mas", "states": 64},
    {"kind": "si"},
    {"kind": "initial_weights"},
    {"kind": "cloning", "states": 64, "batch": 16},
    {"kind": "rehearsal"},
    {"kind": "packnet", "phases": 2},
]
"""All that fit one network."""
OPTION_REMEDIES = [
    {"kind": "ewc", "states": 64, "protect": ["trunk"]},
    {"kind": "mas", "states": 64, "protect": ["gate"], "form": "penalty"},
    {"kind": "cloning", "states": 64, "batch": 16},
    {"kind": "rehearsal"},
    {"kind": "grow"},
]


@pytest.mark.parametrize(
    ("base", "remedies"),
    [(FLAT, FLAT_REMEDIES), (OPTIONS, OPTION_REMEDIES)],
    ids=["flat", "options"],
)
def test_remedies_remember_each_phase(
    base: tuple[str, ...], remedies: list[dict[str, Any]], tmp_path: Path
) -> None:
    config = configuration(base=base, remedies=remedies)
    run(config, tmp_path)
    stream = stream_of(config, tmp_path)
    first, second = (stream.accepted(phase).continual for phase in stream.plan.phases)
    kinds = {each["kind"] for each in remedies}
    assert {name.partition("/")[0] for name in first} == kinds
    changed = {
        name.partition("/")[0]
        for name, tensor in second.items()
        if name not in first or not torch.equal(tensor, first[name])
    }
    assert changed == kinds - {"initial_weights"}
    assert [each["stored_floats"] for each in scores_of(stream)] == [
        sum(tensor.numel() for tensor in state.values()) for state in (first, second)
    ]
    assert second["rehearsal/regimes"].tolist() == [0, 1]


def test_rehearsal_gives_earlier_regimes_environments(tmp_path: Path) -> None:
    config = configuration(
        remedies=[{"kind": "rehearsal", "share": 0.5}],
        phases={"kind": "regimes", "order": [0, 1, 2, 0]},
    )
    stream = stream_of(config, tmp_path)
    lanes = [stream._lanes(phase) for phase in stream.plan.phases]
    assert lanes == [{0: 8}, {1: 4, 0: 4}, {2: 4, 0: 2, 1: 2}, {0: 4, 1: 2, 2: 2}]


def test_joint_training_takes_the_steps_of_all_phases(tmp_path: Path) -> None:
    config = configuration("schedule.total_steps=256", joint=True)
    run(config, tmp_path)
    stream = stream_of(config, tmp_path)
    (scores,) = scores_of(stream)
    assert scores["steps"] == 512
    assert stream._lanes(stream.plan.phases[0]) == {0: 4, 1: 4}


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One phase under L2."""
    folder = tmp_path_factory.mktemp("protected")
    run(configuration(remedies=[{"kind": "l2"}]), folder, stop_at=(1, 0))
    return folder


def test_a_checkpoint_of_another_configuration_is_refused(
    config: TrainConfig, finished: Path, protected: Path
) -> None:
    for other, folder in ((config, protected), (replace(config, seed=0), protected)):
        stream = stream_of(other, folder)
        with pytest.raises(CheckpointError, match=r"continual\.remedies"):
            stream.accepted(stream.plan.phases[0])
    stream = stream_of(configuration(remedies=[{"kind": "l2"}]), finished)
    with pytest.raises(CheckpointError, match=r"continual\.remedies"):
        stream.accepted(stream.plan.phases[0])


@pytest.mark.parametrize(
    ("remedies", "message"),
    [
        ([{"kind": "mas"}], r"continual\.safetensors: .*expected that of \['mas'\], found l2/"),
        ([], r"continual\.safetensors: .*expected that of no remedy, found l2/"),
        ([{"kind": "l2"}, {"kind": "si"}], r"continual\.safetensors: si: expected the state"),
        ([{"kind": "l2", "protect": ["trunk"]}], r"continual\.safetensors: l2: expected"),
    ],
    ids=["other", "none", "one more", "other part"],
)
def test_the_state_of_other_remedies_is_refused(
    remedies: list[dict[str, Any]], message: str, protected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the configuration beside it says."""
    stream = stream_of(configuration(remedies=remedies), protected)
    text = load(next(iter(protected.rglob("accepted/step-*")))).files["config.yaml"]
    monkeypatch.setattr(Stream, "_text", text)
    with pytest.raises(CheckpointError, match=message):
        stream._learner(stream.plan.phases[1])


def test_a_checkpoint_without_the_remedies_state_is_refused(
    finished: Path, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = stream_of(configuration(remedies=[{"kind": "l2"}]), finished)
    monkeypatch.setattr(Stream, "_text", stream_of(config, finished)._text)
    message = r"continual\.safetensors: l2: expected the state .* found \[\]"
    with pytest.raises(CheckpointError, match=message):
        stream._learner(stream.plan.phases[1])


def test_a_damaged_accepted_state_is_named(config: TrainConfig, tmp_path: Path) -> None:
    run(config, tmp_path, stop_at=(1, 0))
    (path,) = tmp_path.rglob("phase-00/accepted/step-*/weights.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"accepted/step-.*truncated"):
        run(config, tmp_path)

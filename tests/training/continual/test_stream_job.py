"""The job of a stream: a run for each seed, phase and reference, and what is judged of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from perennial import main
from tests.training.continual.streams import FLAT, assert_same_snapshot, configuration
from training.checkpoint import CheckpointStore, load
from training.config import TrainConfig
from training.continual.job import check_streams, train_streams
from training.continual.phases import open_plan
from training.continual.references import references_of
from training.errors import ConfigError
from training.resume import resumed_config
from training.signals import StopRequest
from training.tasks.choice import open_task
from training.tracking.tracker import RunTracker

WORDS = (
    *FLAT,
    "continual=regimes",
    "continual.phases.order=[2,0]",
    "continual.phases.cycles=1",
    "continual.curve_episodes=2",
    "continual.remedies=[{kind: l2}]",
    "continual.references=[scratch,joint]",
    "schedule.total_steps=256",
)
REFERENCES = ("reference-regime-0", "reference-regime-2", "reference-joint")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole small stream with its references."""
    folder = tmp_path_factory.mktemp("stream") / "run"
    tracking = f"tracking.uri=sqlite:///{folder.parent}/mlflow.db"
    assert main(["train", *WORDS, f"run={folder}", tracking]) == 0
    return folder


def document(path: Path) -> Any:
    return json.loads(path.read_text())


def test_seeds_phases_and_references_are_runs_within_each_other(finished: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{finished.parent}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'perennial'")
    runs = {run.info.run_id: run for run in client.search_runs([experiment.experiment_id])}
    assert all(run.info.status == "FINISHED" for run in runs.values())

    def path(run: Any) -> str:
        above = run.data.tags.get("mlflow.parentRunId")
        return "/".join([*([path(runs[above])] if above else []), run.info.run_name])

    found = {path(run): run for run in runs.values()}
    phases = [f"run/seed-0/phase-{number:02d}" for number in range(2)]
    references = [f"run/seed-0/{name}" for name in REFERENCES]
    assert found.keys() == {
        "run", "run/seed-0", *phases, *references, *(f"{name}/phase-00" for name in references),
    }  # fmt: skip
    assert [found[name].data.tags.get("regime") for name in phases] == ["2", "0"]
    assert [found[name].data.tags.get("regime") for name in references] == ["0", "2", None]
    second = found[phases[1]].info.run_id
    for name in ("curve/regime 2", "plasticity/dormant_share", "plasticity/actor/srank"):
        assert [x.step for x in client.get_metric_history(second, name)] == [384, 512]
    assert "continual/intransigence" in found["run"].data.metrics


def scalars(folder: Path, name: str) -> list[int]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [event.step for event in events.Scalars(name)]


def test_curves_of_tensorboard_go_on_from_phase_to_phase(finished: Path) -> None:
    for name in ("curve/regime 0", "plasticity/effective_rank"):
        steps = [scalars(finished / "seed-0" / f"phase-{n:02d}", name) for n in range(2)]
        assert steps == [[128, 256], [384, 512]]
    joint = finished / "seed-0" / "reference-joint" / "phase-00"
    assert scalars(joint, "curve/regime 0") == [128, 256, 384, 512]


def test_the_judgement_holds_the_stream_against_its_references(finished: Path) -> None:
    metrics = document(finished / "evaluation" / "metrics.json")
    scores = {
        name: document(finished / "seed-0" / name / "phase-00" / "scores.json")
        for name in REFERENCES
    }
    assert [scores[name]["regime"] for name in REFERENCES] == [0, 2, 2]
    assert [scores[name]["steps"] for name in REFERENCES] == [256, 256, 512]
    assert all(each["stored_floats"] == 0 for each in scores.values())
    alone = {j: scores[f"reference-regime-{j}"]["ratio"][j] for j in (0, 2)}
    joint = scores["reference-joint"]["ratio"]
    found = metrics["seeds"]["0"]["references"]
    assert found["scratch"] == [alone[0], None, alone[2]]
    assert found["joint"] == joint
    ratio = metrics["seeds"]["0"]["ratio"]
    missed = np.mean([joint[0] - ratio[1][0], joint[2] - ratio[0][2]])
    assert metrics["headline"]["continual/intransigence"] == pytest.approx(missed)
    assert metrics["figures"]["forward_transfer"]["estimate"] is not None


def test_the_first_regime_from_scratch_is_the_first_phase(finished: Path, tmp_path: Path) -> None:
    """Same seed, same steps: where nothing protects, the two are the same to the bit."""
    words = [word for word in WORDS if "remedies" not in word]
    assert main(["train", *words, f"run={tmp_path / 'run'}", "tracking.mlflow=false"]) == 0
    seed = tmp_path / "run" / "seed-0"
    left, right = (document(seed / f"{name}phase-00/scores.json")
                   for name in ("", "reference-regime-2/"))  # fmt: skip
    assert left == right
    protected = finished / "seed-0" / "reference-regime-2" / "phase-00" / "scores.json"
    assert document(protected) == right


def streams(config: TrainConfig, folder: Path, stop: StopRequest) -> None:
    task = open_task(config)
    assert config.continual is not None
    plan = open_plan(config, config.continual, task)
    tracker = RunTracker(folder, config.tracking)
    again = (folder / "journal.jsonl").exists()
    tracker.start(config.to_container(), {}, resume_step=0 if again else None)
    with tracker:
        train_streams(config, plan, task, tracker, stop, references_of(config, plan))


class Later(StopRequest):
    """A request that comes in the middle of a phase: before the second of its rollouts."""

    def __init__(self, phase: Path) -> None:
        super().__init__()
        self._phase, self._looks = phase, 0

    @property
    def requested(self) -> bool:
        """Whether it was looked for before the training and before the first rollout."""
        self._looks += (self._phase / "journal.jsonl").exists()
        return self._looks > 2


def test_an_interrupted_reference_goes_on_to_the_same_bits(finished: Path, tmp_path: Path) -> None:
    config = resumed_config(finished, ["tracking.mlflow=false", "tracking.tensorboard=false"])
    folder = tmp_path / "run"
    reference = folder / "seed-0" / "reference-regime-0" / "phase-00"
    streams(config, folder, Later(reference))
    (checkpoint,) = (reference / "checkpoints").iterdir()
    assert checkpoint.name == "step-000000128"
    assert not (reference / "scores.json").exists()
    assert not (folder / "seed-0" / "reference-regime-2").exists()
    streams(config, folder, StopRequest())
    for name in ("phase-01", *(f"{name}/phase-00" for name in REFERENCES)):
        one, other = folder / "seed-0" / name, finished / "seed-0" / name
        assert (one / "scores.json").read_text() == (other / "scores.json").read_text()
        left, right = (load(*CheckpointStore(at / "accepted").steps().values())
                       for at in (one, other))  # fmt: skip
        assert_same_snapshot(left, right)


def test_references_change_nothing_of_the_stream(finished: Path, tmp_path: Path) -> None:
    words = [word for word in WORDS if "references" not in word]
    assert main(["train", *words, f"run={tmp_path / 'run'}", "tracking.mlflow=false"]) == 0
    for phase in ("phase-00", "phase-01"):
        one, other = (at / "seed-0" / phase / "scores.json" for at in (tmp_path / "run", finished))
        assert one.read_text() == other.read_text()


@pytest.mark.parametrize(
    ("continual", "words"),
    [
        ({"references": ["scratch"], "joint": True}, "references: expected none with joint=true"),
        ({"references": ["joint", "joint"]}, "references: expected each once"),
        ({"references": ["alone"]}, "references"),
    ],
)
def test_references_without_sense_are_refused(continual: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        configuration(**continual)


def refused(config: TrainConfig, folder: Path) -> str:
    assert config.continual is not None
    task = open_task(config)
    with pytest.raises(ConfigError) as caught:
        check_streams(config, open_plan(config, config.continual, task), task, folder)
    assert not list(folder.iterdir())
    return str(caught.value)


def test_a_stream_of_one_regime_has_no_reference(tmp_path: Path) -> None:
    phases = {"kind": "regimes", "order": [1], "cycles": 2}
    told = refused(configuration(phases=phases, references=["scratch"]), tmp_path)
    assert "continual.references: expected none where all phases are of one regime" in told


def test_all_regimes_at_once_need_an_environment_each(tmp_path: Path) -> None:
    small = ("schedule.num_envs=2", "agent.ppo.steps=32")
    for continual in ({"references": ["joint"]}, {"joint": True}):
        config = configuration(*small, phases={"kind": "regimes"}, **continual)
        told = refused(config, tmp_path)
        assert "schedule.num_envs: expected at least 3, one for each regime that" in told
        assert "rehears" not in told

"""The judgement of a stream reads what its seeds left behind, and says what is missing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf, open_dict

from training.checkpoint import CheckpointError
from training.config import TrainConfig
from training.continual.judgement import _setting, judge_streams, read_streams
from training.continual.phases import Plan, open_plan
from training.tasks.choice import open_task
from training.tracking.journal import Journal

TOTAL, TAKEN = 1000, 1024
ORDER = (0, 1, 0)
NAMES = ("regime 0", "regime 1", "regime 2")


def configuration(**continual: object) -> TrainConfig:
    with initialize_config_module("conf", version_base="1.3"):
        words = ["market=garleanu_pedersen", "debug=tiny", "seeds=2", "seed=3"]
        cfg = compose("train", overrides=[*words, f"schedule.total_steps={TOTAL}"])
    with open_dict(cfg):
        cfg.pop("resume")
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    phases = {"kind": "regimes", "order": list(ORDER)}
    return TrainConfig.from_container({**plain, "continual": {"phases": phases, **continual}})


def score(seed: int, phase: int) -> list[float]:
    return [0.5 + 0.1 * phase + 0.01 * seed, 0.9 - 0.1 * phase, -0.2]


def write_phase(folder: Path, seed: int, phase: int, **changes: object) -> None:
    """What a phase of 1,024 steps, counted by the journal as 1,000, leaves behind."""
    path = folder / f"seed-{seed}" / f"phase-{phase:02d}"
    path.mkdir(parents=True)
    found: dict[str, Any] = {
        "phase": phase,
        "regime": ORDER[phase],
        "regimes": list(NAMES),
        "steps": TAKEN,
        "ratio": score(seed, phase),
        "earned": [0.01, 0.02, 0.0],
        "nothing": [0.0, 0.0, 0.001],
        "best": [0.02, 0.02, 0.011],
        "stored_floats": 7 * phase,
    }
    if not phase:
        found["before"] = [0.0, -0.1, -0.2]
    (path / "scores.json").write_text(json.dumps(found | changes))
    journal = Journal(path / "journal.jsonl")
    journal.append("start", run="a")
    for taken in (512, 512, 1024):  # a resume has repeated the first one
        curve = {f"curve/{name}": taken / 1000 + regime for regime, name in enumerate(NAMES)}
        looked = {"dormant_share": 0.1 * phase, "effective_rank": 5.0, "weight_norm": taken}
        looked |= {"actor/dormant_share": 1.0}
        figures = {f"plasticity/{name}": value for name, value in looked.items()}
        journal.append_metrics(TOTAL * phase + taken, {**curve, **figures, "train/loss": 1.0})
    journal.close()


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return configuration()


@pytest.fixture(scope="module")
def plan(config: TrainConfig) -> Plan:
    assert config.continual is not None
    return open_plan(config, config.continual)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in (3, 4):
        for phase in range(3):
            write_phase(tmp_path, seed, phase)
    return tmp_path


def test_records_are_what_the_seeds_wrote(config: TrainConfig, plan: Plan, folder: Path) -> None:
    first, second = read_streams(config, plan, folder)
    assert (first.seed, second.seed) == (3, 4)
    assert (first.regimes, first.order, first.together) == (NAMES, ORDER, ())
    np.testing.assert_array_equal(second.ratio_IJ, [score(4, phase) for phase in range(3)])
    np.testing.assert_array_equal(first.before_J, [0.0, -0.1, -0.2])
    assert first.stored_floats == (0, 7, 14)
    assert first.gain_J is not None
    np.testing.assert_allclose(first.gain_J, [0.02, 0.02, 0.01])
    assert first.decisions == ()


def test_curves_are_joined_by_the_steps_that_were_taken(
    config: TrainConfig, plan: Plan, folder: Path
) -> None:
    """A phase of 1,000 steps ends with the rollout at 1,024; the next one begins there."""
    first, _ = read_streams(config, plan, folder)
    assert first.borders == (1024, 2048, 3072)
    assert list(first.curve_step_P) == [0, 512, 1024, 1536, 2048, 2560, 3072]
    np.testing.assert_allclose(first.curve_PJ[:, 0], [0.0, *(0.512, 1.024) * 3])
    np.testing.assert_allclose(first.curve_PJ[:, 2], [-0.2, *(2.512, 3.024) * 3])


def test_plasticity_is_read_beside_the_curves(
    config: TrainConfig, plan: Plan, folder: Path
) -> None:
    first, _ = read_streams(config, plan, folder)
    assert list(first.plasticity_step_Q) == [512, 1024, 1536, 2048, 2560, 3072]
    np.testing.assert_allclose(first.plasticity_QF[:, 0], [0.0, 0.0, 0.1, 0.1, 0.2, 0.2])
    np.testing.assert_allclose(first.plasticity_QF[:, 1:], [[5.0, 512], [5.0, 1024]] * 3)


def write_reference(folder: Path, seed: int, name: str, regime: int, **changes: object) -> None:
    """What a reference leaves behind; its scores tell seed and regime."""
    path = folder / f"seed-{seed}" / name / "phase-00"
    path.mkdir(parents=True)
    found = {
        "phase": 0,
        "regime": regime,
        "regimes": list(NAMES),
        "steps": TAKEN,
        "ratio": [seed + 0.1, seed + 0.2, seed + 0.3],
        "nothing": [0.0, 0.0, 0.001],
        "best": [0.02, 0.02, 0.011],
        "stored_floats": 0,
        "before": [0.0, -0.1, -0.2],
    }
    (path / "scores.json").write_text(json.dumps(found | changes))
    with Journal(path / "journal.jsonl") as journal:
        journal.append("start", run="a")
        for taken in (512, 1024) if regime else (256, 1024):
            curve = {f"curve/{each}": taken / 1024 + j for j, each in enumerate(NAMES)}
            journal.append_metrics(taken, curve)


def test_references_are_read(plan: Plan, folder: Path) -> None:
    config = configuration(references=["scratch", "joint"])
    for seed in (3, 4):
        for regime in (0, 1):
            write_reference(folder, seed, f"reference-regime-{regime}", regime)
        with pytest.raises(CheckpointError, match="reference-joint/phase-00/scores"):
            read_streams(config, plan, folder)
        write_reference(folder, seed, "reference-joint", 0, ratio=[0.9, 0.8, 0.7])
        if seed == 3:
            with pytest.raises(CheckpointError, match="seed-4/reference-regime-0/phase-00"):
                read_streams(config, plan, folder)
    _, second = read_streams(config, plan, folder)
    found = second.references
    np.testing.assert_allclose(np.asarray(found.scratch_J), [4.1, 4.2, np.nan])
    np.testing.assert_allclose(np.asarray(found.joint_J), [0.9, 0.8, 0.7])
    assert np.asarray(found.scratch_step_P).tolist() == [0, 256, 512, 1024]
    # Each in its own regime, from what it was worth before; between two points a straight line.
    np.testing.assert_allclose(
        np.asarray(found.scratch_PJ),
        [[0.0, -0.1, np.nan], [0.25, 0.7, np.nan], [0.5, 1.5, np.nan], [1.0, 2.0, np.nan]],
    )
    assert read_streams(configuration(), plan, folder)[1].references.scratch_J is None


def test_a_reference_of_its_own_is_read_alone(plan: Plan, folder: Path) -> None:
    for seed in (3, 4):
        write_reference(folder, seed, "reference-joint", 0)
    found = read_streams(configuration(references=["joint"]), plan, folder)[0].references
    assert found.scratch_J is found.scratch_step_P is found.scratch_PJ is None
    np.testing.assert_allclose(np.asarray(found.joint_J), [3.1, 3.2, 3.3])


def test_without_journals_there_are_no_curves(
    config: TrainConfig, plan: Plan, folder: Path
) -> None:
    for path in folder.glob("seed-*/phase-*/journal.jsonl"):
        path.unlink()
    first, _ = read_streams(config, plan, folder)
    assert (first.curve_step_P.shape, first.curve_PJ.shape) == ((0,), (0, 3))


def test_without_an_optimum_scores_are_gains(
    config: TrainConfig, plan: Plan, tmp_path: Path
) -> None:
    for seed in (3, 4):
        for phase in range(3):
            write_phase(tmp_path, seed, phase, best=[0.1, None, 0.1])
    assert all(each.gain_J is None for each in read_streams(config, plan, tmp_path))


def test_a_joint_training_is_one_phase_of_all_regimes(plan: Plan, tmp_path: Path) -> None:
    config = configuration(joint=True)
    for seed in (3, 4):
        write_phase(tmp_path, seed, 0, steps=3072)
    first, _ = read_streams(config, plan, tmp_path)
    assert (first.order, first.together, first.played) == ((0,), (1,), (0, 1))
    assert first.phase_steps == (3072,)


def test_decisions_of_a_gate_are_read(config: TrainConfig, plan: Plan, folder: Path) -> None:
    path = folder / "seed-4" / "phase-01" / "decisions.jsonl"
    evidence = {"regime": "regime 0", "against": "champion", "estimate": -0.1, "low": -0.2}
    rejected = {"accepted": False, "reasons": ["a loss"], "evidence": [evidence], "update": 1}
    path.write_text(json.dumps(rejected) + '\n{"accepted": true}\n{"accepted": fal')
    first, second = read_streams(config, plan, folder)
    assert first.decisions == ()
    assert [(each.phase, each.accepted) for each in second.decisions] == [(1, False), (1, True)]
    assert second.decisions[0].reasons == ("a loss",)
    assert second.decisions[0].evidence == (evidence,)
    path.write_text('{"accepted": "yes"}\n')
    with pytest.raises(CheckpointError, match=r"decisions\.jsonl: expected accepted"):
        read_streams(config, plan, folder)


def test_an_unfinished_phase_is_named(config: TrainConfig, plan: Plan, folder: Path) -> None:
    (folder / "seed-4" / "phase-01" / "scores.json").unlink()
    with pytest.raises(CheckpointError) as caught:
        read_streams(config, plan, folder)
    told = str(caught.value)
    assert "seed-4/phase-01/scores.json: expected the scores of seed 4, phase 1 (regime 1)" in told
    assert f"perennial train resume={folder}" in told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"regime": 1}, r"scores\.json: expected phase, regime and regimes \(2, 0,"),
        ({"regimes": ["other"]}, "of the configuration, found"),
        ({"ratio": [0.1]}, "seed-3"),
        ({"ratio": [0.1, float("nan"), 0.2]}, "ratio_IJ: expected finite"),
    ],
)
def test_scores_of_something_else_are_refused(
    config: TrainConfig, plan: Plan, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    write_phase(tmp_path, 3, 0)
    write_phase(tmp_path, 3, 1)
    write_phase(tmp_path, 3, 2, **change)
    with pytest.raises(CheckpointError, match=words):
        read_streams(replace(config, seeds=1), plan, tmp_path)


def test_damaged_scores_are_named(config: TrainConfig, plan: Plan, folder: Path) -> None:
    path = folder / "seed-3" / "phase-00" / "scores.json"
    whole = json.loads(path.read_text())
    for text, words in (
        ("{", "expected JSON"),
        ("[]", "expected phase, regime"),
        (
            json.dumps({k: v for k, v in whole.items() if k != "ratio"}),
            "expected ratio, found none",
        ),
        (json.dumps({k: v for k, v in whole.items() if k != "before"}), "expected 'before'"),
    ):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=words):
            read_streams(config, plan, folder)


@pytest.mark.parametrize(
    ("continual", "words"),
    [
        ({}, "fine-tuning, the agent"),
        ({"remedies": [{"kind": "online_ewc"}, {"kind": "l2"}]}, "online ewc + l2, the agent"),
        ({"gate": {}}, "fine-tuning, gated, the agent"),
        ({"joint": True}, "all phases at once, the agent"),
    ],
)
def test_the_page_says_how_it_was_learned(
    plan: Plan, continual: dict[str, object], words: str
) -> None:
    assert f"agent flat, {words} is told the regime" in _setting(configuration(**continual), plan)


def test_the_judgement_is_written_into_the_run(
    config: TrainConfig, plan: Plan, folder: Path
) -> None:
    (folder / "config.yaml").write_text("seed: 3\n")
    result = judge_streams(config, plan, open_task(config), folder)
    target = folder / "evaluation"
    assert sorted(path.name for path in target.iterdir()) == [
        "curves.csv", "figures", "metrics.json", "plasticity.csv", "report.html", "scores.csv",
    ]  # fmt: skip
    metrics = json.loads((target / "metrics.json").read_text())
    assert result.headline == metrics["headline"]
    # Regime 0 is that of the last phase; of regime 1, 0.1 of 0.8 is lost.
    assert result.headline["continual/degradation"] == pytest.approx(12.5)
    assert result.verdict == f"{metrics['verdict']} {metrics['evidence']}"
    page = (target / "report.html").read_text()
    assert metrics["verdict"] in page
    assert "garleanu pedersen" in page
    assert "fine-tuning" in page
    assert len(list((target / "figures").glob("*.png"))) == 4

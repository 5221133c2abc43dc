"""The judgement of a stream: what its seeds left behind is read, measured and written down."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.continual_record import PLASTICITY, GateDecision
from evaluation.continual_result import ContinualEvaluation, StreamRecord
from evaluation.report_continual import (
    ContinualInputs,
    write_continual_figures,
    write_continual_report,
)
from training.checkpoint import CheckpointError
from training.config import TrainConfig
from training.continual.phases import Phase, Plan
from training.continual.references import Reference, read_references
from training.continual.stream import SCORES
from training.continual.updates import DECISIONS
from training.record import RunRecord
from training.tasks.task import Result, Task
from training.tracking.journal import FILE_NAME, first_metrics, read_journal

_CURVE, _PLASTICITY = "curve/", "plasticity/"
_NEEDED = ("phase", "regime", "regimes", "steps", "ratio", "nothing", "best", "stored_floats")

Array = NDArray[np.float64]


def judge_streams(config: TrainConfig, plan: Plan, task: Task, folder: Path) -> Result:
    """Measure the streams of a run, and write tables, figures and report into its `evaluation`.

    Args:
        config: of the run.
        plan: its phases.
        task: the market as a whole.
        folder: of the run.

    Raises:
        CheckpointError: a phase of a seed is not over, or what it left cannot be read.
    """
    found = ContinualEvaluation(
        records=read_streams(config, plan, folder), config=config.evaluation.optimality.bootstrap
    )
    target, record = folder / "evaluation", RunRecord.read(folder)
    found.save(target)
    write_continual_figures(target / "figures", found)
    inputs = ContinualInputs(
        title=folder.name,
        setting=_setting(config, plan),
        config_text=record.config_text,
        versions=record.versions | {"data_sha256": task.sha256},
        command=record.command,
    )
    write_continual_report(target / "report.html", found, inputs)
    return Result(f"{found.verdict} {found.evidence}", found.headline)


def read_streams(config: TrainConfig, plan: Plan, folder: Path) -> tuple[StreamRecord, ...]:
    """What the streams of all seeds of a run left behind.

    Args:
        config: of the run.
        plan: its phases.
        folder: of the run.

    Raises:
        CheckpointError: a phase of a seed is not over, or what it left cannot be read.
    """
    steps = config.schedule.total_steps
    if config.continual is not None and config.continual.joint:
        plan = plan.joint()
    records = []
    for seed in range(config.seed, config.seed + config.seeds):
        path = folder / f"seed-{seed}"
        record = _record(seed, plan, steps, path)
        found = read_references(config, plan, path, partial(_reference, seed))
        records.append(replace(record, references=found))
    return tuple(records)


def _reference(seed: int, reference: Reference, folder: Path) -> tuple[Array, dict[int, Array]]:
    """Final scores of a reference, and its curves by step."""
    joint = reference.regime is None
    plan = reference.plan.joint() if joint else reference.plan
    found = _record(seed, plan, reference.steps, folder)
    steps = found.curve_step_P.astype(int).tolist()
    return found.ratio_IJ[-1], dict(zip(steps, found.curve_PJ, strict=True))


def _record(seed: int, plan: Plan, total_steps: int, folder: Path) -> StreamRecord:
    """The stream of one seed, each phase of so many steps or a few more."""
    names = tuple(regime.name for regime in plan.regimes)
    phases = [(phase, folder / f"phase-{phase.number:02d}") for phase in plan.phases]
    scores = [_scores(seed, phase, path, names) for phase, path in phases]
    steps = [int(each["steps"]) for each in scores]
    first = scores[0]
    if "before" not in first:
        raise CheckpointError(f"{phases[0][1] / SCORES}: expected 'before', found {sorted(first)}")
    before_J = np.array(first["before"], np.float64)
    points: dict[int, Array] = {}
    lively: dict[int, Array] = {}
    for (phase, path), start in zip(phases, np.cumsum([0, *steps[:-1]]), strict=True):
        # Rollouts may end behind the configured steps, which the journal counts phases by.
        behind = int(start) - phase.number * total_steps
        curve, looked = _curve(path, _CURVE, names), _curve(path, _PLASTICITY, PLASTICITY)
        points |= {behind + at: values for at, values in curve.items()}
        lively |= {behind + at: values for at, values in looked.items()}
    if points:
        points = {0: before_J} | points
    try:
        return StreamRecord(
            seed=seed,
            regimes=names,
            order=tuple(phase.regime for phase in plan.phases),
            before_J=before_J,
            ratio_IJ=np.array([each["ratio"] for each in scores], np.float64),
            phase_steps=tuple(steps),
            curve_step_P=np.array(sorted(points), np.float64),
            curve_PJ=np.array([points[at] for at in sorted(points)]).reshape(-1, len(names)),
            plasticity_step_Q=np.array(sorted(lively), np.float64),
            plasticity_QF=np.array([lively[at] for at in sorted(lively)]).reshape(
                -1, len(PLASTICITY)
            ),
            stored_floats=tuple(int(each["stored_floats"]) for each in scores),
            gain_J=_gain(first),
            together=plan.phases[0].beside,
            decisions=tuple(each for phase, path in phases for each in _decisions(phase, path)),
        )
    except ValueError as error:
        raise CheckpointError(f"{folder}: {error}") from error


def _scores(seed: int, phase: Phase, folder: Path, names: tuple[str, ...]) -> Mapping[str, Any]:
    """What was written down at a phase's end.

    Raises:
        CheckpointError: the phase is not over, or this is not a phase of the plan.
    """
    path = folder / SCORES
    if not path.exists():
        raise CheckpointError(
            f"{path}: expected the scores of seed {seed}, phase {phase.number} "
            f"({names[phase.regime]}), found none: the phase is not over; go on with: perennial "
            f"train resume={folder.parent.parent}"
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: expected JSON, found {error}") from error
    missing = [name for name in _NEEDED if not isinstance(found, dict) or name not in found]
    if missing:
        raise CheckpointError(f"{path}: expected {', '.join(missing)}, found none")
    expected = (phase.number, phase.regime, list(names))
    if (found["phase"], found["regime"], found["regimes"]) != expected:
        raise CheckpointError(
            f"{path}: expected phase, regime and regimes {expected} of the configuration, found "
            f"{(found['phase'], found['regime'], found['regimes'])}"
        )
    scores: Mapping[str, Any] = found
    return scores


def _gain(scores: Mapping[str, Any]) -> Array | None:
    """What the optimum earns more than doing nothing; None where one regime's is not known."""
    if any(best is None for best in scores["best"]):
        return None
    return np.array(scores["best"], np.float64) - np.array(scores["nothing"], np.float64)


def _curve(folder: Path, prefix: str, names: tuple[str, ...]) -> dict[int, Array]:
    """Metrics of all these names by step, as the phase's journal counts it."""
    found: dict[int, dict[str, float]] = {}
    for each in first_metrics(folder / FILE_NAME):
        values = {k.removeprefix(prefix): v for k, v in each.values.items() if k.startswith(prefix)}
        found.setdefault(each.step, {}).update(values)
    return {
        step: np.array([values[name] for name in names])
        for step, values in found.items()
        if set(names) <= set(values)
    }


def _decisions(phase: Phase, folder: Path) -> list[GateDecision]:
    """Decisions of the acceptance gate within a phase; none without one."""
    path, found = folder / DECISIONS, []
    for entry in read_journal(path):
        accepted, evidence = entry.data.get("accepted"), entry.data.get("evidence", [])
        reasons = entry.data.get("reasons", [])
        if not (
            isinstance(accepted, bool) and isinstance(evidence, list) and isinstance(reasons, list)
        ):
            raise CheckpointError(
                f"{path}: expected accepted (true or false), evidence and reasons (lists), found "
                f"{dict(entry.data)}"
            )
        kept = tuple(row for row in evidence if isinstance(row, dict))
        found.append(
            GateDecision(
                phase=phase.number,
                accepted=accepted,
                reasons=tuple(str(reason) for reason in reasons),
                evidence=kept,
            )
        )
    return found


def _setting(config: TrainConfig, plan: Plan) -> str:
    """What was trained, and how, in a line."""
    assert config.continual is not None  # noqa: S101 - the caller has asked
    market = "recorded data" if config.market is None else config.market.world.kind
    kinds = [remedy.kind.replace("_", " ") for remedy in config.continual.remedies]
    how = "all phases at once" if config.continual.joint else " + ".join(kinds) or "fine-tuning"
    how += ", gated" if config.continual.gate is not None else ""
    told = "is told the regime" if plan.known else "is not told the regime"
    agent = config.agent.kind
    return f"{market.replace('_', ' ')}, agent {agent}, {how}, the agent {told}"

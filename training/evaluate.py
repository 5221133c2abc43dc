"""Judgement of a trained run: its chosen checkpoints, baselines, ledgers, report."""

import argparse
import json
import platform
import shlex
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import yaml

from evaluation.judge import Evaluation, judge
from evaluation.report import ReportInputs, write_figures, write_report
from training.config import TrainConfig
from training.learning import build_learner, checkpoints, choose, chosen, policy_of
from training.preparation import Prepared, keep_manifest, learner_env, prepare, warnings_of
from training.runtime import limit_torch_threads
from training.tracking.journal import FILE_NAME, read_journal

PACKAGES = ("perennial", "numpy", "numba", "torch", "gymnasium", "stable-baselines3")
"""Packages whose versions the report names."""


@dataclass(frozen=True)
class Result:
    """What the judgement came to."""

    verdict: str
    """In words."""
    headline: dict[str, float]
    """Figures by which runs are compared."""


def evaluate_run(config: TrainConfig, prepared: Prepared, folder: Path) -> Result:
    """Judge all seeds of a run and write `evaluation/`: ledgers, metrics, figures, report.

    Raises:
        CheckpointError: a seed has no complete checkpoint, or a damaged one.
    """
    agents = {}
    for seed in range(config.seed, config.seed + config.seeds):
        model = build_learner(config, prepared, seed)
        store = checkpoints(config, folder / f"seed-{seed}")
        store.require_complete()
        choose(chosen(config, store), model)
        agents[seed] = policy_of(model, prepared)
    validation = prepared.split.validation
    evaluation = judge(
        agents,
        prepared.market,
        learner_env(config),
        test=prepared.split.test,
        validation=validation if validation.size else None,
        config=config.evaluation,
        data_sha256=prepared.manifest.sha256,
    )
    target = folder / "evaluation"
    evaluation.save(target)
    write_figures(target / "figures", evaluation)
    write_report(target / "report.html", _report_inputs(prepared, folder, evaluation))
    return Result(evaluation.comparison.verdict, _headline(evaluation))


def main(argv: list[str]) -> int:
    """Run `perennial evaluate RUN`.

    Raises:
        ConfigError: no such run.
        ManifestError: the data is not the one that the run was trained on.
        CheckpointError: a seed was not trained to a checkpoint.
    """
    parser = argparse.ArgumentParser(prog="perennial evaluate", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    folder = parser.parse_args(argv).run
    config = TrainConfig.from_yaml(folder / "config.yaml")
    limit_torch_threads(config.threads)
    prepared = prepare(config)
    keep_manifest(prepared, folder)
    result = evaluate_run(config, prepared, folder)
    report = folder / "evaluation" / "report.html"
    print(f"{result.verdict}\n\nreport  {report}")  # noqa: T201 - the verb talks to its user
    return 0


def _report_inputs(prepared: Prepared, folder: Path, evaluation: Evaluation) -> ReportInputs:
    """What the report says about the run besides its figures, from the run's own record."""
    overrides = folder / "overrides.yaml"
    words = yaml.safe_load(overrides.read_text()) if overrides.exists() else []
    versions = {"python": platform.python_version()}
    return ReportInputs(
        evaluation=evaluation,
        title=folder.name,
        config_text=(folder / "config.yaml").read_text(),
        manifest=json.loads(prepared.manifest.to_json()),
        versions=versions | {name: version(name) for name in PACKAGES} | _provenance(folder),
        command=shlex.join(["perennial", "train", *words]),
        notes=[f"Look at the data: {warning}." for warning in warnings_of(prepared)],
    )


def _provenance(folder: Path) -> dict[str, str]:
    """Commit and lock that the run was started with, from its journal."""
    path = folder / FILE_NAME
    first = next(iter(read_journal(path)), None) if path.exists() else None
    tags = first.data.get("tags") if first is not None else None
    known = tags if isinstance(tags, dict) else {}
    return {name: known[name] for name in ("commit", "dirty", "lock_sha256") if name in known}


def _headline(evaluation: Evaluation) -> dict[str, float]:
    figures, best = evaluation.figures(), evaluation.comparison.best
    gap = evaluation.comparison.headline.growth
    return {
        "test/log_growth": figures["agent"]["log_growth"],
        "test/sharpe": figures["agent"]["sharpe"],
        "test/max_drawdown": figures["agent"]["max_drawdown"],
        "test/best_baseline_log_growth": figures[best]["log_growth"],
        "test/difference": gap.estimate,
        "test/difference_low": gap.low,
        "test/difference_high": gap.high,
    }

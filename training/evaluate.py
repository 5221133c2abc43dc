"""Judgement of a trained run: its chosen checkpoints, baselines, ledgers, report."""

import argparse
from pathlib import Path

from training.agents import build_learner, policy_of
from training.config import TrainConfig
from training.learning import checkpoints, choose, chosen, saved_fits
from training.runtime import limit_torch_threads
from training.tasks.choice import open_task
from training.tasks.task import Result, Task


def evaluate_run(config: TrainConfig, task: Task, folder: Path) -> Result:
    """Judge all seeds of a run and write `evaluation/`: metrics, figures, report.

    Raises:
        CheckpointError: a seed has no complete checkpoint, a damaged one, or one that learned with
            another detector of regimes than the task's.
    """
    agents = {}
    for seed in range(config.seed, config.seed + config.seeds):
        model = build_learner(config, task, seed)
        store = checkpoints(config, folder / f"seed-{seed}")
        store.require_complete()
        choose(chosen(config, store), model, task)
        agents[seed] = policy_of(model)
    return task.judge(agents, folder)


def main(argv: list[str]) -> int:
    """Run `perennial evaluate RUN`.

    Raises:
        ConfigError: no such run.
        ManifestError: the data or the market is not the one that the run was trained on.
        CheckpointError: a seed was not trained to a checkpoint.
    """
    parser = argparse.ArgumentParser(prog="perennial evaluate", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    folder = parser.parse_args(argv).run
    config = TrainConfig.from_yaml(folder / "config.yaml")
    limit_torch_threads(config.threads)
    task = open_task(config, saved_fits(config, folder))
    task.keep_provenance(folder)
    result = evaluate_run(config, task, folder)
    report = folder / "evaluation" / "report.html"
    print(f"{result.verdict}\n\nreport  {report}")  # noqa: T201 - the verb talks to its user
    return 0

"""Judgement of a trained run: its chosen checkpoints, baselines, ledgers, report."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from agents.policy import Policy
from evaluation.option_variants import under
from meta_controller.config import (
    ControllerConfig,
    FallbackController,
    FixedController,
    MultiplicativeWeightsController,
    UniformController,
)
from meta_controller.policy import Execution, HierarchicalPolicy
from training.agents import build_learner, policy_of
from training.config import TrainConfig
from training.continual.adapt_evaluate import evaluate_result
from training.continual.adapt_request import is_result
from training.continual.judgement import judge_streams
from training.continual.phases import open_plan
from training.errors import ConfigError
from training.learning import checkpoints, choose, chosen, saved_fits
from training.runtime import limit_torch_threads
from training.tasks.choice import open_task
from training.tasks.task import Result, Task

CONTROLLERS: dict[str, ControllerConfig] = {
    "multiplicative_weights": MultiplicativeWeightsController(),
    "fallback": FallbackController(),
    "uniform": UniformController(),
}
"""Controllers without training, by name; besides them `fixed:K`."""

WAYS: dict[Execution, str] = {
    "blended": "all act, by their weights",
    "sampled": "one at a time, drawn by its weight, as runs with execution.mode=hard are judged",
    "mode": "one at a time, the likeliest",
}
"""How trained options can act, by name."""


@dataclass(frozen=True)
class Instead:
    """What decides about trained options instead of what they were trained under."""

    controller: ControllerConfig | None = None
    """None keeps the run's."""
    execution: Execution | None = None
    """None keeps the run's."""
    into: str = "evaluation"
    """Folder of the judgement."""

    @classmethod
    def read(cls, controller: str | None, way: str | None) -> "Instead":
        """From the words of a command.

        Raises:
            ConfigError: a controller or an execution that there is not.
        """
        execution = _execution(way)
        words = [controller.replace(":", "-")] if controller else []
        words += [execution] if execution else []
        into = "-".join(["evaluation", *words])
        if controller is None:
            return cls(None, execution, into)
        kind, _, number = controller.partition(":")
        if kind == "fixed" and number.isdecimal():
            return cls(FixedController(option=int(number)), execution, into)
        if controller not in CONTROLLERS:
            raise ConfigError(
                f"--controller: expected {', '.join(CONTROLLERS)} or fixed:K, found {controller!r}"
            )
        return cls(CONTROLLERS[controller], execution, into)

    def applied(self, policy: Policy) -> Policy:
        """The policy as it is to be judged.

        Raises:
            ConfigError: it is not made of options, or has no such option.
        """
        if self.controller is None and self.execution is None:
            return policy
        if not isinstance(policy, HierarchicalPolicy):
            raise ConfigError(
                "--controller, --execution: expected a run of an agent made of options, found one "
                "of a flat agent; leave them out, or train with agent=options"
            )
        try:
            return under(policy, self.controller, self.execution)
        except ValueError as error:
            raise ConfigError(f"--controller: {error}") from error


def _execution(way: str | None) -> Execution | None:
    found = next((execution for execution in WAYS if execution == way), None)
    if way is not None and found is None:
        known = ", ".join(f"{name} ({meaning})" for name, meaning in WAYS.items())
        raise ConfigError(f"--execution: expected {known}, found {way!r}")
    return found


def evaluate_run(
    config: TrainConfig, task: Task, folder: Path, instead: Instead | None = None
) -> Result:
    """Judge all seeds of a run and write `evaluation/`: metrics, figures, report.

    Args:
        config: of the run.
        task: what it is judged on.
        folder: of the run.
        instead: another controller or execution, judged in a folder of its own.

    Raises:
        ConfigError: another controller or execution of an agent that is not made of options.
        CheckpointError: a seed has no complete checkpoint, a damaged one, or one that learned with
            another detector of regimes than the task's.
    """
    if config.continual is not None:
        if instead is not None and instead != Instead():
            raise ConfigError(
                "--controller, --execution: expected a run of one training, found a stream of "
                "phases, whose agents are judged as they were trained"
            )
        return judge_streams(config, open_plan(config, config.continual, task), task, folder)
    asked, agents = instead or Instead(), {}
    for seed in range(config.seed, config.seed + config.seeds):
        model = build_learner(config, task, seed)
        store = checkpoints(config, folder / f"seed-{seed}")
        store.require_complete()
        choose(chosen(config, store), model, task)
        agents[seed] = asked.applied(policy_of(model))
    return task.judge(agents, folder, asked.into)


def main(argv: list[str]) -> int:
    """Run `perennial evaluate RUN`.

    Raises:
        ConfigError: no such run, or another controller or execution that does not fit it.
        ManifestError: the data or the market is not the one that the run was trained on.
        CheckpointError: a seed was not trained to a checkpoint.
    """
    parser = argparse.ArgumentParser(prog="perennial evaluate", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--controller")
    parser.add_argument("--execution")
    words = parser.parse_args(argv)
    folder, instead = words.run, Instead.read(words.controller, words.execution)
    if is_result(folder):
        limit_torch_threads(TrainConfig.from_yaml(folder / "config.yaml").threads)
        print(evaluate_result(folder, instead.into, instead.applied))  # noqa: T201 - as below
        return 0
    config = TrainConfig.from_yaml(folder / "config.yaml")
    limit_torch_threads(config.threads)
    task = open_task(config, saved_fits(config, folder))
    task.keep_provenance(folder)
    result = evaluate_run(config, task, folder, instead)
    report = folder / instead.into / "report.html"
    print(f"{result.verdict}\n\nreport  {report}")  # noqa: T201 - the verb talks to its user
    return 0

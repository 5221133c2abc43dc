"""The main job: prepare, train every seed, judge, report; or go on with what was interrupted."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from training.agents import build_learner
from training.callbacks import Watch
from training.config import TrainConfig
from training.continual.job import check_streams, train_streams
from training.continual.phases import open_plan
from training.continual.references import references_of
from training.errors import ConfigError
from training.evaluate import evaluate_run
from training.learning import checkpoints, learn, saved_fits
from training.progress import TrainingProgress
from training.resume import resumed_config
from training.runtime import limit_torch_threads, resolve_device
from training.signals import StopRequest
from training.tasks.choice import open_task
from training.tasks.task import Task
from training.tracking.tracker import RunTracker


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop, has written its checkpoint and can be resumed."""


def start_job(config: TrainConfig, overrides: Sequence[str]) -> Path:
    """Run the main job in a new folder.

    Args:
        config: of the run.
        overrides: the command line's words, for the record.

    Returns:
        The run's folder.

    Raises:
        ConfigError: the configuration does not fit the data; no folder is made.
        DeviceError: the machine has no such device; likewise.
        Interrupted: SIGINT or SIGTERM came; the run can be resumed.
    """
    task = open_task(config)
    _settle(config)
    # What does not fit leaves no folder behind.
    if config.continual is None:
        build_learner(config, task, config.seed)
    else:
        plan = open_plan(config, config.continual, task)
        check_streams(config, plan, task, Path(config.runs))
    return _run(config, task, _new_folder(config), overrides)


def resume_job(folder: Path, words: Sequence[str]) -> Path:
    """Go on with an interrupted run, under its own configuration.

    Args:
        folder: of the run.
        words: the command line's overrides; only what does not change the training may differ.

    Returns:
        The run's folder.

    Raises:
        ConfigError: no such run, or words that would make it another one.
        ManifestError: the data has changed since the run was started.
        Interrupted: as `start_job`.
    """
    config = resumed_config(folder, words)
    task = open_task(config, saved_fits(config, folder))
    _settle(config)
    return _run(config, task, folder, None)


def _settle(config: TrainConfig) -> None:
    """Where the training computes.

    Raises:
        DeviceError: the machine has no such device.
    """
    resolve_device(config.device)
    limit_torch_threads(config.threads)


def _run(config: TrainConfig, task: Task, folder: Path, overrides: Sequence[str] | None) -> Path:
    """Train and judge in a folder; `overrides` is None when the run is resumed."""
    task.keep_provenance(folder)
    plan = None if config.continual is None else open_plan(config, config.continual, task)
    tags = {"data_sha256": task.sha256, "seed": str(config.seed)}
    tracker = RunTracker(folder, config.tracking)
    with StopRequest() as stop:
        tracker.start(
            config.to_container(),
            tags,
            overrides=overrides,
            resume_step=None if overrides is not None else 0,
        )
        with tracker:
            _say(_opening(config, task, folder, () if plan is None else plan.opening))
            if plan is None:
                _train(config, task, tracker, stop)
            else:
                references = references_of(config, plan)
                train_streams(config, plan, task, tracker, stop, references)
            if stop.signal is not None:
                raise Interrupted(
                    f"{stop.signal.name}; go on with: perennial train resume={tracker.folder}"
                )
            _say("judging what was learned")
            result = evaluate_run(config, task, folder)
            tracker.log_metrics(result.headline, step=config.schedule.total_steps)
            tracker.log_artifact(folder / "evaluation")
            if tracker.status is not None:
                tracker.status.headline(result.headline)
    _say(_closing(folder, result.verdict))
    return folder


def _train(config: TrainConfig, task: Task, tracker: RunTracker, stop: StopRequest) -> None:
    """Train all seeds, one after the other; returns when a stop request has ended one early."""
    with TrainingProgress(config.schedule.total_steps, seeds=config.seeds) as progress:
        for number in range(config.seeds):
            _train_seed(config, task, number, tracker, progress, stop)
            if stop.requested:
                return


def _train_seed(
    config: TrainConfig,
    task: Task,
    number: int,
    tracker: RunTracker,
    progress: TrainingProgress,
    stop: StopRequest,
) -> None:
    seed = config.seed + number
    child = tracker.child(f"seed-{seed}")
    done = max(checkpoints(config, child.folder).steps(), default=0)
    child.start(
        config.to_container(),
        {"seed": str(seed), "data_sha256": task.sha256},
        resume_step=done if (child.folder / "journal.jsonl").exists() else None,
    )

    def saved(path: Path) -> None:
        if tracker.status is not None:
            tracker.status.checkpoint(path)

    with child:
        progress.begin_seed(number + 1, seed, done)
        watch = Watch(child.log_metrics, progress.update, stop, saved)
        learn(config, task, seed, child.folder, watch)
        child.finish("KILLED" if stop.requested else "FINISHED")


def _new_folder(config: TrainConfig) -> Path:
    """Make the run's folder; two runs of the same second get two folders."""
    if config.run is not None:
        path = Path(config.run)
        path.mkdir(parents=True, exist_ok=True)
        return path
    stamp = datetime.now(tz=UTC).strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        path = Path(config.runs) / f"{config.name}-{stamp}{suffix}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise ConfigError(f"runs: expected a free name for the run, found {path} taken")


def _opening(config: TrainConfig, task: Task, folder: Path, phases: Sequence[str]) -> str:
    """What is about to happen, in a few lines."""
    seeds = "1 seed" if config.seeds == 1 else f"{config.seeds} seeds"
    each = " a phase" if config.continual is not None else ""
    agent = f"{config.agent.kind}, {seeds} of {config.schedule.total_steps:,} steps{each}"
    return "\n".join([f"run     {folder}", f"agent   {agent}", *task.opening(), *phases])


def _closing(folder: Path, verdict: str) -> str:
    """The result, and what to open next."""
    return (
        f"\n{verdict}\n\n"
        f"report       {folder / 'evaluation' / 'report.html'}\n"
        "runs         make mlflow        (perennial ui mlflow)\n"
        "curves       make tensorboard   (perennial ui tensorboard)\n"
        f"judge again  perennial evaluate {folder}"
    )


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the job talks to the one who started it

"""The job of a stream: every seed's phases, tracked, and their judgement."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.callbacks import Watch
from training.config import TrainConfig
from training.continual.phases import Phase, Plan
from training.continual.stream import Follow, Stream
from training.progress import TrainingProgress
from training.signals import StopRequest
from training.tasks.task import Task
from training.tracking.journal import FILE_NAME
from training.tracking.tracker import RunTracker


def open_stream(config: TrainConfig, plan: Plan, task: Task, seed: int, folder: Path) -> Stream:
    """The stream of one seed.

    Args:
        config: of the run.
        plan: its phases.
        task: the market as a whole.
        seed: of the stream.
        folder: of the run.
    """
    assert config.continual is not None  # noqa: S101 - the caller has asked
    return Stream(config, config.continual, plan, task, seed=seed, folder=folder / f"seed-{seed}")


def train_streams(
    config: TrainConfig, plan: Plan, task: Task, tracker: RunTracker, stop: StopRequest
) -> None:
    """Take every seed through all phases, one seed after the other; returns early on a stop.

    Args:
        config: of the run.
        plan: its phases.
        task: the market as a whole.
        tracker: of the run; each seed is a run within it, and each phase one within that.
        stop: asks to end at the next update.
    """
    total = config.schedule.total_steps * len(plan.phases)
    with TrainingProgress(total, seeds=config.seeds) as progress:
        for number in range(config.seeds):
            seed = config.seed + number
            stream = open_stream(config, plan, task, seed, tracker.folder)
            child = tracker.child(f"seed-{seed}")
            again = (child.folder / FILE_NAME).exists()
            child.start(
                config.to_container(),
                {"seed": str(seed), "data_sha256": task.sha256},
                resume_step=0 if again else None,
            )
            with child:
                progress.begin_seed(number + 1, seed)
                stream.run(_follower(config, child, tracker, progress, stop))
                child.finish("KILLED" if stop.requested else "FINISHED")
            if stop.requested:
                return


def _follower(
    config: TrainConfig,
    child: RunTracker,
    root: RunTracker,
    progress: TrainingProgress,
    stop: StopRequest,
) -> Follow:
    """Makes every phase a run within its seed's, with steps counted from the stream's start."""

    @contextmanager
    def follow(phase: Phase, done: int) -> Iterator[Watch]:
        first = phase.number * config.schedule.total_steps
        tracker = child.child(f"phase-{phase.number:02d}")
        again = (tracker.folder / FILE_NAME).exists()
        tracker.start(
            config.to_container(),
            {"phase": str(phase.number), "regime": str(phase.regime)},
            resume_step=first + done if again else None,
        )

        def saved(path: Path) -> None:
            if root.status is not None:
                root.status.checkpoint(path)

        with tracker:
            yield Watch(
                log=lambda values, step: tracker.log_metrics(values, first + step),
                advance=lambda step, reward: progress.update(first + step, reward),
                stop=stop,
                saved=saved,
            )
            tracker.finish("KILLED" if stop.requested else "FINISHED")

    return follow

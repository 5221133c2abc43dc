"""The job of a stream: every seed's phases and references, tracked."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from training.callbacks import Watch
from training.config import TrainConfig
from training.continual.phases import Phase, Plan
from training.continual.references import Reference, references_of
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


def check_streams(config: TrainConfig, plan: Plan, task: Task, folder: Path) -> None:
    """See that stream and references fit, before anything is written.

    Args:
        config: of the run.
        plan: its phases.
        task: the market as a whole.
        folder: where the run will be.

    Raises:
        ConfigError: they do not (`Stream.check`, `references_of`).
    """
    open_stream(config, plan, task, config.seed, folder).check()
    for reference in references_of(config, plan):
        reference.stream(task, config.seed, folder).check()


def train_streams(
    config: TrainConfig,
    plan: Plan,
    task: Task,
    tracker: RunTracker,
    stop: StopRequest,
    references: Sequence[Reference] = (),
    *,
    adopted: int = 0,
) -> None:
    """Take every seed through all phases, one seed after the other; returns early on a stop.

    Args:
        config: of the run.
        plan: its phases.
        task: the market as a whole.
        tracker: of the run; each seed is a run within it, and each phase one within that.
        stop: asks to end at the next update.
        references: what every seed's stream is held against; learned after it.
        adopted: how many of the first phases another run has learned, which count as no steps.
    """
    skipped = config.schedule.total_steps * adopted
    stream_steps = config.schedule.total_steps * len(plan.phases) - skipped
    total = stream_steps + sum(reference.steps for reference in references)
    with TrainingProgress(total, seeds=config.seeds) as progress:
        for number in range(config.seeds):
            seed = config.seed + number
            stream = open_stream(config, plan, task, seed, tracker.folder)
            child = _begun(
                tracker.child(f"seed-{seed}"),
                config,
                {"seed": str(seed), "data_sha256": task.sha256},
            )
            with child:
                progress.begin_seed(number + 1, seed)
                follow = partial(_follower, root=tracker, progress=progress, stop=stop)
                over, done = stream.run(follow(config, child, done=-skipped)), stream_steps
                for reference in references if over else ():
                    over = over and _learn(reference, task, seed, child, partial(follow, done=done))
                    done += reference.steps
                child.finish("FINISHED" if over else "KILLED")
            if stop.requested:
                return


def _learn(
    reference: Reference,
    task: Task,
    seed: int,
    child: RunTracker,
    follow: Callable[[TrainConfig, RunTracker], Follow],
) -> bool:
    """Learn a reference as a run within its seed's; returns whether it is over.

    Args:
        reference: which.
        task: the market as a whole.
        seed: of the stream.
        child: the seed's run.
        follow: makes its phases runs within its own.
    """
    tags = {"seed": str(seed), **reference.tags}
    run = _begun(child.child(reference.name), reference.config, tags)
    with run:
        over = reference.stream(task, seed, child.folder).run(follow(reference.config, run))
        run.finish("FINISHED" if over else "KILLED")
    return over


def _begun(tracker: RunTracker, config: TrainConfig, tags: dict[str, str]) -> RunTracker:
    """A run of several phases, begun or gone on with."""
    again = (tracker.folder / FILE_NAME).exists()
    return tracker.start(config.to_container(), tags, resume_step=0 if again else None)


def _follower(
    config: TrainConfig,
    child: RunTracker,
    *,
    root: RunTracker,
    progress: TrainingProgress,
    stop: StopRequest,
    done: int = 0,
) -> Follow:
    """Makes every phase a run within its stream's, with steps counted from the stream's start.

    Progress counts `done` steps more: those of the seed's trainings before this one.
    """

    @contextmanager
    def follow(phase: Phase, taken: int) -> Iterator[Watch]:
        first = phase.number * config.schedule.total_steps
        tracker = child.child(f"phase-{phase.number:02d}")
        again = (tracker.folder / FILE_NAME).exists()
        tracker.start(
            config.to_container(),
            {"phase": str(phase.number), "regime": str(phase.regime)},
            resume_step=first + taken if again else None,
        )

        def saved(path: Path) -> None:
            if root.status is not None:
                root.status.checkpoint(path)

        with tracker:
            yield Watch(
                log=lambda values, step: tracker.log_metrics(values, first + step),
                advance=lambda step, reward: progress.update(done + first + step, reward),
                stop=stop,
                saved=saved,
            )
            tracker.finish("KILLED" if stop.requested else "FINISHED")

    return follow

"""The agents that an adaptation goes on from."""

from dataclasses import dataclass
from pathlib import Path

from training.checkpoint import CheckpointError, CheckpointStore, Snapshot, load
from training.config import TrainConfig
from training.continual.adapt_request import is_result
from training.continual.stream import SCORES
from training.continual.updates import read_decisions
from training.learning import checkpoints, chosen


@dataclass(frozen=True)
class Champion:
    """The agent that a seed goes on from."""

    snapshot: Snapshot
    """What the run has left."""
    source: Path
    """Where it comes from."""
    before: Snapshot | None
    """An earlier checkpoint of the run, which tells how much neighbouring policies differ."""
    update: int
    """Number of the next update: the error rate is spent over all, the run's own included."""


def champion_of(run: Path, config: TrainConfig, seed: int) -> Champion:
    """The agent of a seed to go on from.

    Args:
        run: its folder.
        config: of the run.
        seed: of the agent.

    Raises:
        CheckpointError: there is no complete checkpoint, or a damaged one.
    """
    folder = run / f"seed-{seed}"
    if is_result(run):
        source, before = _of_result(run, seed), _previous(folder)
    elif config.continual is None:
        store = checkpoints(config, folder)
        store.require_complete()
        _require_trained(run, config, store)
        source = chosen(config, store)
        others = [path for path in store.steps().values() if path != source]
        before = others[-1] if others else None
    else:
        source, before = _of_stream(run, seed), _previous(folder)
    return Champion(
        load(source),
        source,
        None if before is None else load(before),
        update=1 + sum(map(len, map(read_decisions, folder.glob("phase-*")))),
    )


def result_store(result: Path, seed: int) -> CheckpointStore:
    """Where a result keeps the accepted agent of a seed, or the old one."""
    return CheckpointStore(result / f"seed-{seed}" / "checkpoint", keep_last=1)


def _of_result(run: Path, seed: int) -> Path:
    store = result_store(run, seed)
    store.require_complete()
    path = store.latest()
    if path is None:
        raise CheckpointError(f"{store.folder}: expected a complete checkpoint, found none")
    return path


def _of_stream(run: Path, seed: int) -> Path:
    """What the last phase of a stream that is over has left."""
    folders = sorted(path.parent for path in (run / f"seed-{seed}").glob(f"phase-*/{SCORES}"))
    store = CheckpointStore(folders[-1] / "accepted") if folders else None
    if store is not None:
        store.require_complete()
    source = None if store is None else store.latest()
    if source is None:
        raise CheckpointError(_unfinished(run / f"seed-{seed}", run))
    return source


def require_phase(run: Path, seed: int, number: int) -> None:
    """Refuse a stream that was interrupted.

    Args:
        run: its folder.
        seed: of the stream.
        number: of a phase that must be over.

    Raises:
        CheckpointError: it is not.
    """
    folder = run / f"seed-{seed}" / f"phase-{number:02d}"
    if not (folder / SCORES).exists():
        raise CheckpointError(_unfinished(folder, run))


def _unfinished(where: Path, run: Path) -> str:
    return (
        f"{where}: expected a stream whose phases are all over, found one that is not; go on with "
        f"it: perennial train resume={run}"
    )


def _require_trained(run: Path, config: TrainConfig, store: CheckpointStore) -> None:
    """Refuse a training that was interrupted.

    Raises:
        CheckpointError: its last checkpoint is not that of its end.
    """
    reached, total = max(store.steps(), default=0), config.schedule.total_steps
    if reached < total:
        raise CheckpointError(
            f"{store.folder}: expected a finished training of {total:,} steps, found {reached:,}; "
            f"go on with it: perennial train resume={run}"
        )


def _previous(folder: Path) -> Path | None:
    """What the phase before the last one has left, if there is one."""
    over = sorted(path.parent for path in folder.glob(f"phase-*/{SCORES}"))
    return CheckpointStore(over[-2] / "accepted").latest() if len(over) > 1 else None

"""Training of one seed: its learner, its checkpoints, exact resume."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import yaml
from stable_baselines3.common.logger import Logger

from regimes.config import RegimeConfig
from training.agents import build_learner, policy_of
from training.callbacks import CheckpointCallback, MetricWriter, Watch
from training.checkpoint import CheckpointError, CheckpointStore, Snapshot, load
from training.config import TrainConfig
from training.regime_block import REGIMES
from training.sb3.ppo import MarketPPO
from training.sb3.snapshot import check_fits, restore
from training.tasks.task import Task

IRRELEVANT = ("name", "seeds", "runs", "run", "threads", "device", "evaluation", "tracking")
"""Parts of the configuration that do not change what a seed learns."""


def learn(config: TrainConfig, task: Task, seed: int, folder: Path, watch: Watch) -> None:
    """Train one seed, or go on from its last checkpoint; its checkpoints are the result.

    Args:
        config: of the run.
        task: what is learned on.
        seed: of networks, noise and episodes.
        folder: the seed's; checkpoints are written into `checkpoints/` below it.
        watch: who is told.

    Raises:
        CheckpointError: a checkpoint is damaged, of another configuration, or cannot be written.
    """
    store = checkpoints(config, folder)
    model = build_learner(config, task, seed)
    model.set_logger(Logger(folder=None, output_formats=[MetricWriter(watch.log)]))
    text = learner_text(config, seed)
    latest = store.latest()
    if latest is not None:
        snapshot = load(latest, configuration=text)
        _require_same_regimes(latest, snapshot, task)
        restore(model, snapshot)
    files = {"config.yaml": text, **task.files}
    callback = CheckpointCallback(config.schedule, store, files, watch, _score_on(task, watch))
    left = config.schedule.total_steps - model.num_timesteps
    if left > 0 and not watch.stop.requested:
        model.learn(left, callback=callback, reset_num_timesteps=latest is None)
        callback.finish()


def _score_on(task: Task, watch: Watch) -> Callable[[MarketPPO], float | None]:
    """What a checkpoint is worth where the task keeps something to choose by."""

    def score(model: MarketPPO) -> float | None:
        found = task.score(policy_of(model))
        if found is None:
            return None
        watch.log({found.name: found.value}, model.num_timesteps)
        return found.value

    return score


def checkpoints(config: TrainConfig, folder: Path) -> CheckpointStore:
    """The checkpoints of the seed whose folder this is."""
    return CheckpointStore(folder / "checkpoints", keep_last=config.schedule.keep)


def chosen(config: TrainConfig, store: CheckpointStore) -> Path:
    """The checkpoint that is judged, the last or the best one.

    Raises:
        CheckpointError: there is none yet.
    """
    best = store.best() if config.schedule.select == "best" else None
    path = best or store.latest()
    if path is None:
        raise CheckpointError(f"{store.folder}: expected a complete checkpoint, found none")
    return path


def choose(path: Path, model: MarketPPO, task: Task | None = None) -> None:
    """Load the weights of a checkpoint.

    Args:
        path: of the checkpoint.
        model: takes the weights.
        task: that it will be judged on; None = the one that it learned on.

    Raises:
        CheckpointError: it is damaged, it is of another kind of agent, or it learned with another
            detector of regimes than the task's.
    """
    snapshot = load(path)
    if task is not None:
        _require_same_regimes(path, snapshot, task)
    check_fits(model, snapshot)
    model.policy.net.load_state_dict(dict(snapshot.weights))


def saved_fits(config: TrainConfig, folder: Path) -> Mapping[str, str]:
    """What the seeds of a run were fitted with, by name of the file, for `open_task`.

    Only the detector of regimes: its fit is a search, whose last bits may differ on another
    machine, and what was learned belongs to the one at that time.

    Args:
        config: of the run.
        folder: of the run.

    Raises:
        CheckpointError: the first seed's newest checkpoint is damaged.
    """
    if not isinstance(config.regime, RegimeConfig):
        return {}
    for seed in range(config.seed, config.seed + config.seeds):
        for store in _stores(config, folder / f"seed-{seed}"):
            latest = store.latest()
            if latest is not None:
                return {name: text for name, text in load(latest).files.items() if name == REGIMES}
    return {}


def _stores(config: TrainConfig, folder: Path) -> Iterator[CheckpointStore]:
    """Where a seed keeps checkpoints: those of one training, or of the phases of a stream."""
    yield checkpoints(config, folder)
    for path in sorted(folder.glob("phase-*/*/")):
        yield CheckpointStore(path)


def learner_text(config: TrainConfig, seed: int) -> str:
    """The part of the configuration that decides what a seed learns, as YAML."""
    kept = {k: v for k, v in config.to_container().items() if k not in IRRELEVANT}
    if config.continual is not None:  # what a stream is held against does not change it
        kept["continual"] = {k: v for k, v in kept["continual"].items() if k != "references"}
    return yaml.safe_dump(kept | {"seed": seed}, sort_keys=True)


def _require_same_regimes(path: Path, snapshot: Snapshot, task: Task) -> None:
    saved, now = snapshot.files.get(REGIMES), task.files.get(REGIMES)
    if saved == now:
        return
    expected = "no detector of regimes" if now is None else "the task's detector of regimes"
    found = "none" if saved is None else "another one"
    raise CheckpointError(f"{path / REGIMES}: expected {expected}, found {found}")

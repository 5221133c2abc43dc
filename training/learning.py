"""Training of one seed: learner, callbacks, checkpoints, exact resume."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

from regimes.config import RegimeConfig
from training.agents import build_learner, policy_of
from training.checkpoint import CheckpointError, CheckpointStore, Snapshot, load
from training.config import TrainConfig
from training.regime_block import REGIMES
from training.sb3.ppo import MarketPPO
from training.sb3.snapshot import capture, check_fits, restore
from training.signals import StopRequest
from training.tasks.task import Task

Log = Callable[[Mapping[str, float], int], None]
"""Takes metrics by name and the environment steps so far."""
Advance = Callable[[int, float | None], None]
"""Takes the environment steps so far and the mean episode reward, None when unknown."""

IRRELEVANT = ("name", "seeds", "runs", "run", "threads", "device", "evaluation", "tracking")
"""Parts of the configuration that do not change what a seed learns."""


@dataclass(frozen=True)
class Watch:
    """What a training tells others while it runs."""

    log: Log
    advance: Advance
    stop: StopRequest
    saved: Callable[[Path], None]
    """Takes the folder of each new checkpoint."""


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
    model.set_logger(Logger(folder=None, output_formats=[_MetricWriter(watch.log)]))
    text = learner_text(config, seed)
    latest = store.latest()
    if latest is not None:
        snapshot = load(latest, configuration=text)
        _require_same_regimes(latest, snapshot, task)
        restore(model, snapshot)
    callback = _Callback(config, task, store, {"config.yaml": text, **task.files}, watch)
    left = config.schedule.total_steps - model.num_timesteps
    if left > 0 and not watch.stop.requested:
        model.learn(left, callback=callback, reset_num_timesteps=latest is None)
        callback.finish()


def checkpoints(config: TrainConfig, folder: Path) -> CheckpointStore:
    """The checkpoints of the seed whose folder this is."""
    return CheckpointStore(folder / "checkpoints", keep_last=config.schedule.keep)


def chosen(config: TrainConfig, store: CheckpointStore) -> Path | None:
    """The checkpoint that is judged, the last or the best one; None where there is none yet."""
    best = store.best() if config.schedule.select == "best" else None
    return best or store.latest()


def choose(path: Path | None, model: MarketPPO, task: Task | None = None) -> None:
    """Load the weights of a checkpoint.

    Args:
        path: of the checkpoint.
        model: takes the weights.
        task: that it will be judged on; None = the one that it learned on.

    Raises:
        CheckpointError: there is none, it is damaged, it is of another kind of agent, or it
            learned with another detector of regimes than the task's.
    """
    if path is None:
        raise CheckpointError("checkpoints: expected a complete one, found none")
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
        latest = checkpoints(config, folder / f"seed-{seed}").latest()
        if latest is not None:
            return {name: text for name, text in load(latest).files.items() if name == REGIMES}
    return {}


def learner_text(config: TrainConfig, seed: int) -> str:
    """The part of the configuration that decides what a seed learns, as YAML."""
    kept = {k: v for k, v in config.to_container().items() if k not in IRRELEVANT}
    return yaml.safe_dump(kept | {"seed": seed}, sort_keys=True)


def _require_same_regimes(path: Path, snapshot: Snapshot, task: Task) -> None:
    saved, now = snapshot.files.get(REGIMES), task.files.get(REGIMES)
    if saved == now:
        return
    expected = "no detector of regimes" if now is None else "the task's detector of regimes"
    found = "none" if saved is None else "another one"
    raise CheckpointError(f"{path / REGIMES}: expected {expected}, found {found}")


class _Callback(BaseCallback):
    """Progress at every step; stop requests and checkpoints between two updates."""

    def __init__(
        self,
        config: TrainConfig,
        task: Task,
        store: CheckpointStore,
        files: Mapping[str, str],
        watch: Watch,
    ) -> None:
        super().__init__()
        self._config, self._task = config, task
        self._store, self._files, self._watch = store, files, watch
        self._period = config.schedule.checkpoint_steps

    def _on_training_start(self) -> None:
        latest = self._store.latest()
        self._saved = self.num_timesteps if latest else None
        self._periods = self.num_timesteps // self._period

    def _on_rollout_start(self) -> None:
        model, stop = self._learner, self._watch.stop
        model.stop_requested = stop.requested
        # Multiples of the period, whatever was resumed where: the same candidates to choose from.
        if model.num_timesteps // self._period > self._periods:
            self._periods = model.num_timesteps // self._period
            self._save(judged=True)
        rewards = [episode["r"] for episode in model.ep_info_buffer or ()]
        self._watch.advance(model.num_timesteps, float(np.mean(rewards)) if rewards else None)

    def _on_step(self) -> bool:
        return True

    def finish(self) -> None:
        """Keep the end of the training, or where a stop request has ended it."""
        self._watch.advance(self._learner.num_timesteps, None)
        complete = self._learner.num_timesteps >= self._config.schedule.total_steps
        if self._saved != self._learner.num_timesteps:
            self._save(judged=complete)

    @property
    def _learner(self) -> MarketPPO:
        assert isinstance(self.model, MarketPPO)  # noqa: S101 - SB3 types the base class
        return self.model

    def _save(self, *, judged: bool) -> None:
        model = self._learner
        score = self._score(model) if judged else None
        path = self._store.save(model.num_timesteps, capture(model, self._files), score=score)
        self._saved = model.num_timesteps
        self._watch.saved(path)

    def _score(self, model: MarketPPO) -> float | None:
        score = self._task.score(policy_of(model))
        if score is None:
            return None
        self._watch.log({score.name: score.value}, model.num_timesteps)
        return score.value


class _MetricWriter(KVWriter):
    """SB3's logger as a source of metrics for a tracker."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Hand on what is a number."""
        del key_excluded
        numbers = {k: float(v) for k, v in key_values.items() if isinstance(v, int | float)}
        self._log(numbers, step)

    def close(self) -> None:
        """Nothing to release."""

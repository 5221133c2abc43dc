"""What watches a training: progress, checkpoints between two updates, metrics for a tracker."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter

from training.checkpoint import CheckpointStore
from training.config import ScheduleConfig
from training.sb3.ppo import MarketPPO
from training.sb3.snapshot import capture
from training.signals import StopRequest

Log = Callable[[Mapping[str, float], int], None]
"""Takes metrics by name and the environment steps so far."""
Advance = Callable[[int, float | None], None]
"""Takes the environment steps so far and the mean episode reward, None when unknown."""


@dataclass(frozen=True)
class Watch:
    """What a training tells others while it runs."""

    log: Log
    advance: Advance
    stop: StopRequest
    saved: Callable[[Path], None]
    """Takes the folder of each new checkpoint."""


class CheckpointCallback(BaseCallback):
    """Progress at every rollout; stop requests and checkpoints between two updates.

    Args:
        schedule: how long, and how often something is kept.
        store: takes the checkpoints.
        files: the caller's own files of a checkpoint, by name.
        watch: who is told.
        score: what a checkpoint is worth; None where nothing tells.
        until: steps at which the training is ended early; None = by its own length.
    """

    def __init__(
        self,
        schedule: ScheduleConfig,
        store: CheckpointStore,
        files: Mapping[str, str],
        watch: Watch,
        score: Callable[[MarketPPO], float | None],
        *,
        until: int | None = None,
    ) -> None:
        super().__init__()
        self._until = until
        self._schedule, self._score = schedule, score
        self._store, self._files, self._watch = store, files, watch

    def _on_training_start(self) -> None:
        latest = self._store.latest()
        self._saved = self.num_timesteps if latest else None
        self._periods = self.num_timesteps // self._schedule.checkpoint_steps

    def _on_rollout_start(self) -> None:
        model, period = self.learner, self._schedule.checkpoint_steps
        over = self._until is not None and model.num_timesteps >= self._until
        model.stop_requested = over or self._watch.stop.requested
        # Multiples of the period, whatever was resumed where: the same candidates to choose from.
        if model.num_timesteps // period > self._periods:
            self._periods = model.num_timesteps // period
            self._save(judged=True)
        rewards = [episode["r"] for episode in model.ep_info_buffer or ()]
        self._watch.advance(model.num_timesteps, float(np.mean(rewards)) if rewards else None)

    def _on_step(self) -> bool:
        return True

    def finish(self) -> None:
        """Keep the end of the training, or where a stop request has ended it."""
        self._watch.advance(self.learner.num_timesteps, None)
        complete = self.learner.num_timesteps >= self._schedule.total_steps
        if self._saved != self.learner.num_timesteps:
            self._save(judged=complete)

    @property
    def learner(self) -> MarketPPO:
        """Who is trained."""
        assert isinstance(self.model, MarketPPO)  # noqa: S101 - SB3 types the base class
        return self.model

    def _save(self, *, judged: bool) -> None:
        model = self.learner
        score = self._score(model) if judged else None
        path = self._store.save(model.num_timesteps, capture(model, self._files), score=score)
        self._saved = model.num_timesteps
        self._watch.saved(path)


class MetricWriter(KVWriter):
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

"""Small streams of phases, and what they leave behind."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from signal import SIGTERM
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf, open_dict

from training.callbacks import Watch
from training.checkpoint import Snapshot
from training.config import TrainConfig
from training.continual.job import open_stream
from training.continual.phases import Phase, open_plan
from training.continual.stream import Stream
from training.signals import StopRequest
from training.tasks.choice import open_task

MARKET = (
    "market=garleanu_pedersen",
    "market.episode_length=16",
    "device=cpu",
    "threads=1",
    "seeds=1",
    "schedule.total_steps=512",
    "schedule.num_envs=8",
    "schedule.checkpoint_steps=128",
    "schedule.keep=2",
    "agent.policy.hidden=[8]",
    "agent.ppo.steps=16",
    "agent.ppo.minibatch=64",
    "agent.ppo.epochs=2",
    "evaluation.optimality.episodes=8",
    "evaluation.optimality.length=20",
    "evaluation.optimality.bootstrap.resamples=100",
)
FLAT = MARKET
OPTIONS = (
    *MARKET,
    "agent=options",
    "market.world.regime=belief",
    "agent.policy.expert_hidden=[8]",
    "agent.policy.critic_hidden=[8]",
)
GATE: dict[str, Any] = {
    "acceptance": {"episodes": 8, "resamples": 1000, "improvement": "none"},
    "every": 256,
    "retries": 1,
    "states": 32,
}
"""A gate that asks little of the active regime."""
LENIENT: dict[str, Any] = GATE | {
    "acceptance": GATE["acceptance"]
    | {"floor": 1e3, "vitals": {"kl_mean": 1e3, "kl_q99": 1e3, "largest_share": 1.0}}
}
"""A gate that a harmless update passes, however few its episodes are."""


@cache
def _composed(words: tuple[str, ...]) -> Any:
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=list(words))
    with open_dict(cfg):
        cfg.pop("resume")
    return OmegaConf.to_container(cfg, resolve=True)


def configuration(*words: str, base: tuple[str, ...] = FLAT, **continual: Any) -> TrainConfig:
    """A small run of a stream."""
    container = _composed((*base, *words))
    given = {"phases": {"kind": "regimes", "order": [0, 1]}, "curve_episodes": 2}
    return TrainConfig.from_container({**container, "continual": {**given, **continual}})


def stream_of(config: TrainConfig, folder: Path) -> Stream:
    """The first seed's stream."""
    assert config.continual is not None
    task = open_task(config)
    return open_stream(config, open_plan(config, config.continual, task), task, 0, folder)


@dataclass
class Follower:
    """Watches phases, and asks to stop where it is told to."""

    stop_at: tuple[int, int] | None = None
    """Number of a phase, and the steps in it at which the stop request comes."""
    stop: StopRequest = field(default_factory=StopRequest)
    logged: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)
    """Phase, step and values of each entry."""
    begun: list[tuple[int, int]] = field(default_factory=list)
    """Phases, and the steps that were taken when they began or went on."""

    @contextmanager
    def __call__(self, phase: Phase, done: int) -> Iterator[Watch]:
        self.begun.append((phase.number, done))

        def advance(step: int, reward: float | None) -> None:
            del reward
            if self.stop_at == (phase.number, step):
                self.stop.signal = SIGTERM

        def log(values: Mapping[str, float], step: int) -> None:
            self.logged.append((phase.number, step, dict(values)))

        yield Watch(log=log, advance=advance, stop=self.stop, saved=lambda _: None)


def run(config: TrainConfig, folder: Path, stop_at: tuple[int, int] | None = None) -> Follower:
    """Go through a stream, or on; returns who watched."""
    follower = Follower(stop_at)
    over = stream_of(config, folder).run(follower)
    assert over is not follower.stop.requested
    return follower


def assert_same_snapshot(one: Snapshot, other: Snapshot) -> None:
    """All that was captured is equal to the bit."""
    for name in ("weights", "optimizer", "continual"):
        left, right = getattr(one, name), getattr(other, name)
        assert left.keys() == right.keys(), name
        for key, tensor in left.items():
            assert tensor.dtype == right[key].dtype
            assert torch.equal(tensor, right[key]), f"{name}: {key}"
    assert one.arrays.keys() == other.arrays.keys()
    for key, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[key], err_msg=key)
    assert _timeless(one) == _timeless(other)
    assert one.files == other.files


def _timeless(snapshot: Snapshot) -> dict[str, Any]:
    """Counters, without what the machine decides: threads, and the seconds of the last episodes."""
    kept = {name: value for name, value in snapshot.trainer.items() if name != "threads"}
    returns = [(each["r"], each["l"]) for each in snapshot.trainer["episodes"]]
    return kept | {"episodes": returns}


def assert_same_streams(config: TrainConfig, one: Path, other: Path) -> None:
    """Accepted states, scores and decisions of two runs are the same to the bit."""
    left, right = stream_of(config, one), stream_of(config, other)
    for phase in left.plan.phases:
        assert_same_snapshot(left.accepted(phase), right.accepted(phase))
        folders = left.phase_folder(phase), right.phase_folder(phase)
        for name in ("scores.json", "decisions.jsonl"):
            found = [
                (path / name).read_text() if (path / name).exists() else None for path in folders
            ]
            assert found[0] == found[1], name
        assert (folders[0] / "scores.json").exists()

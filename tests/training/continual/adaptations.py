"""Small runs on recorded data, adaptations of them, and what they leave behind."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from markets.bars import Bars
from markets.manifest import Manifest
from markets.sources.protocol import Dataset
from perennial import main
from training.checkpoint import CheckpointStore, Snapshot, load
from training.continual.adapt_request import Request

TINY = ("debug=tiny", "seeds=1", "device=cpu", "threads=1", "tracking=journal")
AAPL = ("data=aapl_adjusted", "data.end=2023-06-30", "split=fractions", "env.episode.length=21")
BEARABLE = {"floor": "0.01", "resamples": "2000"}


def train(folder: Path, *words: str) -> Path:
    """A small run on Apple's bars up to the middle of 2023."""
    steps = ("schedule.total_steps=2048", "schedule.checkpoint_steps=1024")
    assert main(["train", *TINY, *AAPL, *steps, f"run={folder}", *words]) == 0
    return folder


def request(run: Path, data: str = "aapl_adjusted", **gate: str) -> Request:
    """A short adaptation whose gate asks little."""
    return Request(run=run, data=data, steps=1024, gate=BEARABLE | gate)


def files(folder: Path) -> dict[str, str]:
    """Digests of all files below a folder."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def kept(folder: Path, seed: int = 0) -> Snapshot:
    """The agent that an adaptation has left."""
    path = CheckpointStore(folder / f"seed-{seed}" / "checkpoint").latest()
    assert path is not None
    return load(path)


def of_seed(folder: Path, seed: int = 0) -> Any:
    """What was written down of a seed."""
    found = json.loads((folder / "decision.json").read_text())
    own = found["seeds"][str(seed)]
    assert seed in found["accepted" if own["accepted"] else "rejected"]
    return own


def left(run: Path, seed: int = 0) -> Snapshot:
    """The agent that a run has left."""
    path = CheckpointStore(run / f"seed-{seed}" / "checkpoints").latest()
    assert path is not None
    return load(path)


def same(one: Snapshot, two: Snapshot) -> bool:
    """Whether two agents have the same weights to the bit."""
    return all(torch.equal(one.weights[name], two.weights[name]) for name in two.weights)


def dataset(bars: Bars, adjusted: Literal["none", "split"] = "none") -> Dataset:
    """Bars with a manifest."""
    manifest = Manifest.of(bars, dataset="d", source="s", licence="l")
    return Dataset(bars=bars, manifest=replace(manifest, adjusted=adjusted))


def written(bars: Bars, path: Path) -> str:
    """Write bars as a CSV file; returns its path."""
    frame = bars.to_pandas().reset_index()
    frame.to_csv(path, index=False)
    return str(path)

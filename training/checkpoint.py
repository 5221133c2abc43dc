"""Checkpoints: a directory that is complete or absent, verified file by file, nothing pickled.

    step-000000000/
        weights.safetensors     parameters of the networks
        optimizer.safetensors   moments and step counts of the optimisers
        continual.safetensors   what remedies against forgetting remember, where there are any
        simulator.npz           simulator, episode accumulators, generators (arrays only)
        trainer.json            counters and schedules
        config.yaml, ...        the caller's own files (configuration, fitted feature pipeline)
        manifest.json           size and SHA-256 of every file, and of itself

A checkpoint is written to a hidden directory beside its place, synced to disk and renamed, so that
a process killed at any instant leaves either the whole of it or none.
"""

import errno
import hashlib
import io
import json
import logging
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

_LOG = logging.getLogger(__name__)
_MANIFEST = "manifest.json"
_CONFIGURATION = "config.yaml"
_FORMAT = 1
_CONTINUAL = "continual.safetensors"
_OWN = {
    "weights.safetensors",
    "optimizer.safetensors",
    "simulator.npz",
    "trainer.json",
    _CONTINUAL,
}


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written, or must not be read."""


@dataclass(frozen=True)
class Snapshot:
    """The whole state of a training, as plain values."""

    weights: Mapping[str, Tensor]
    """Parameters by name."""
    optimizer: Mapping[str, Tensor]
    """Optimiser state by name."""
    arrays: Mapping[str, NDArray[Any]]
    """Simulator, accumulators and generators, by name."""
    trainer: Mapping[str, Any]
    """Counters and schedules, as JSON."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The caller's own text files by name; ``config.yaml`` is compared on loading."""
    continual: Mapping[str, Tensor] = field(default_factory=dict)
    """What remedies against forgetting remember, by name; nothing where there are none."""


class CheckpointStore:
    """The checkpoints of one training, in one folder.

    Args:
        folder: made when the first checkpoint is saved.
        keep_last: newest checkpoints to keep, >= 1; the best one is kept besides.

    Raises:
        ValueError: ``keep_last`` is below 1.
    """

    def __init__(self, folder: Path, *, keep_last: int = 3) -> None:
        if keep_last < 1:
            raise ValueError(f"keep_last: must be >= 1, was {keep_last}")
        self.folder = folder
        self.keep_last = keep_last

    def save(self, step: int, snapshot: Snapshot, *, score: float | None = None) -> Path:
        """Write a checkpoint atomically, then remove those that are neither recent nor the best.

        Args:
            step: environment steps taken so far, >= 0; names the directory.
            snapshot: what to write.
            score: its worth, higher is better; None = not judged.

        Returns:
            The checkpoint's directory.

        Raises:
            CheckpointError: the disk is full or refuses; earlier checkpoints are untouched.
            ValueError: a score that is not finite, or a file name that is not the caller's own.
        """
        if score is not None and not math.isfinite(score):
            raise ValueError(f"score: expected a finite number or None, found {score}")
        target = self.folder / f"step-{step:09d}"
        partial = self.folder / f".partial-{target.name}"
        contents = _contents(snapshot)
        try:
            self._sweep()
            partial.mkdir(parents=True)
            manifest = _manifest(step, score, contents)
            for name, content in (contents | {_MANIFEST: manifest}).items():
                _write_synced(partial / name, content)
            _sync_directory(partial)
            if target.exists():
                target.rename(self.folder / f".replaced-{target.name}")
            partial.rename(target)
            _sync_directory(self.folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise CheckpointError(_write_failure(target, contents, error)) from error
        self._prune()
        return target

    def steps(self) -> dict[int, Path]:
        """Complete checkpoints by step, oldest first."""
        self._recover()
        found: dict[int, Path] = {}
        for path in sorted(self.folder.glob("step-*")):
            number = path.name.removeprefix("step-")
            if number.isdigit() and is_complete(path):
                found[int(number)] = path
        return dict(sorted(found.items()))

    def latest(self) -> Path | None:
        """The newest complete checkpoint; incomplete ones are skipped with a warning."""
        complete = self.steps()
        for path in self.folder.glob("step-*"):
            if path not in complete.values():
                _LOG.warning("checkpoint %s is incomplete and is skipped", path)
        return complete[max(complete)] if complete else None

    def require_complete(self) -> None:
        """Refuse to go on beside a damaged checkpoint, where an older one would stand in unseen.

        Raises:
            CheckpointError: a checkpoint is incomplete or of another size than it was written.
        """
        for path in sorted(self.folder.glob("step-*")):
            if not is_complete(path):
                raise CheckpointError(
                    f"{path}: expected a complete checkpoint, found a truncated or incomplete one; "
                    "`perennial train resume=RUN` makes it again"
                )

    def best(self) -> Path | None:
        """The complete checkpoint with the highest score (the newest among equals), if any."""
        scored = [
            (score, step, path)
            for step, path in self.steps().items()
            if (score := read_manifest(path)["score"]) is not None
        ]
        return max(scored)[2] if scored else None

    def _prune(self) -> None:
        complete = self.steps()
        keep = set(list(complete.values())[-self.keep_last :]) | {self.best()}
        for path in complete.values():
            if path not in keep:
                path.rename(self.folder / f".removed-{path.name}")
        self._sweep()

    def _recover(self) -> None:
        # Killed between the two renames of a replacement: the old one is still the checkpoint.
        for path in self.folder.glob(".replaced-*"):
            place = self.folder / path.name.removeprefix(".replaced-")
            if not place.exists() and is_complete(path):
                path.rename(place)

    def _sweep(self) -> None:
        self._recover()
        for pattern in (".partial-*", ".replaced-*", ".removed-*"):
            for path in self.folder.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)


def load(path: Path, *, configuration: str | None = None) -> Snapshot:
    """Read a checkpoint after verifying every file against its manifest.

    Args:
        path: the checkpoint's directory.
        configuration: text of the ``config.yaml`` that the caller runs under; None = any.

    Returns:
        What was saved.

    Raises:
        CheckpointError: something is missing, altered or foreign, or another configuration made the
            checkpoint; the message names the file or key, the expected and the found.
    """
    manifest = read_manifest(path)
    contents = {
        name: _read_verified(path, name, entry) for name, entry in manifest["files"].items()
    }
    known = set(contents) | {_MANIFEST}
    for foreign in sorted({entry.name for entry in path.iterdir()} - known):
        raise CheckpointError(f"{path / foreign}: expected only files of the manifest, found this")
    files = {name: content.decode() for name, content in contents.items() if name not in _OWN}
    if configuration is not None:
        _compare_configuration(path, files.get(_CONFIGURATION, ""), configuration)
    return Snapshot(
        weights=load_tensors(contents["weights.safetensors"]),
        optimizer=load_tensors(contents["optimizer.safetensors"]),
        arrays=_arrays(contents["simulator.npz"]),
        trainer=json.loads(contents["trainer.json"]),
        files=files,
        continual=load_tensors(contents[_CONTINUAL]) if _CONTINUAL in contents else {},
    )


def read_manifest(path: Path) -> dict[str, Any]:
    """Read and verify a checkpoint's manifest: ``format``, ``step``, ``score``, ``files``.

    Raises:
        CheckpointError: it is missing, damaged or altered.
    """
    file = path / _MANIFEST
    try:
        manifest = json.loads(file.read_text())
        stated = manifest.pop("sha256")
    except OSError as error:
        raise CheckpointError(f"{file}: expected a manifest, found none ({error})") from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CheckpointError(
            f"{file}: expected a JSON manifest, found damage ({error})"
        ) from error
    found = _manifest_digest(manifest)
    if found != stated:
        raise CheckpointError(f"{file}: expected SHA-256 {stated}, found {found}")
    if manifest["format"] != _FORMAT:
        raise CheckpointError(f"{file}: expected format {_FORMAT}, found {manifest['format']}")
    return dict(manifest)


def is_complete(path: Path) -> bool:
    """Whether the manifest is sound and every file is there in its full size."""
    try:
        files = read_manifest(path)["files"]
    except CheckpointError:
        return False
    sizes = {name: entry["bytes"] for name, entry in files.items()}
    return all(
        (path / name).is_file() and (path / name).stat().st_size == size
        for name, size in sizes.items()
    )


def _contents(snapshot: Snapshot) -> dict[str, bytes]:
    own = {
        "weights.safetensors": save_tensors(_plain(snapshot.weights)),
        "optimizer.safetensors": save_tensors(_plain(snapshot.optimizer)),
        "simulator.npz": _npz(snapshot.arrays),
        "trainer.json": json.dumps(dict(snapshot.trainer), indent=1, sort_keys=True).encode(),
    }
    if snapshot.continual:
        own[_CONTINUAL] = save_tensors(_plain(snapshot.continual))
    for name in snapshot.files:
        if name in _OWN or name == _MANIFEST or Path(name).name != name or name.startswith("."):
            raise ValueError(f"files: expected a plain name of the caller's own, found {name!r}")
    return own | {name: text.encode() for name, text in snapshot.files.items()}


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:

    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue()


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:

    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _manifest(step: int, score: float | None, contents: Mapping[str, bytes]) -> bytes:
    files = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    manifest: dict[str, Any] = {"format": _FORMAT, "step": step, "score": score, "files": files}
    return json.dumps(manifest | {"sha256": _manifest_digest(manifest)}, indent=1).encode()


def _manifest_digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(manifest), sort_keys=True).encode()).hexdigest()


def _read_verified(path: Path, name: str, entry: Mapping[str, Any]) -> bytes:
    file = path / name
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{file}: expected {entry['bytes']} bytes, found none") from error
    if len(content) != entry["bytes"]:
        raise CheckpointError(f"{file}: expected {entry['bytes']} bytes, found {len(content)}")
    found = hashlib.sha256(content).hexdigest()
    if found != entry["sha256"]:
        raise CheckpointError(f"{file}: expected SHA-256 {entry['sha256']}, found {found}")
    return content


def _compare_configuration(path: Path, found: str, expected: str) -> None:
    saved, current = _flat(yaml.safe_load(found)), _flat(yaml.safe_load(expected))
    absent = "nothing"
    differences = [
        f"{key}: expected {current.get(key, absent)!r}, found {saved.get(key, absent)!r}"
        for key in sorted(saved.keys() | current.keys())
        if saved.get(key, absent) != current.get(key, absent)
    ]
    if differences:
        shown = "; ".join(differences[:5])
        more = f"; and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise CheckpointError(f"{path / _CONFIGURATION}: another configuration: {shown}{more}")


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if isinstance(value, dict) and value:
        flat: dict[str, object] = {}
        for key, inner in value.items():
            flat |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
        return flat
    return {prefix or "(all)": value}


def _write_synced(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_failure(target: Path, contents: Mapping[str, bytes], error: OSError) -> str:
    needed = sum(map(len, contents.values()))
    message = f"{target}: the checkpoint was not written ({error.strerror or error})"
    if error.errno == errno.ENOSPC:
        free = shutil.disk_usage(target.parent if target.parent.exists() else Path.cwd()).free
        message += f": expected {needed} bytes free on the disk, found {free}"
    return message

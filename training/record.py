"""What a run's folder tells about it: the part of every report that is not a figure."""

import platform
import shlex
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import yaml

from training.continual.adapt_request import is_result
from training.tracking.journal import FILE_NAME, read_journal

PACKAGES = ("perennial", "numpy", "numba", "torch", "gymnasium", "stable-baselines3")
"""Packages whose versions a report names."""


@dataclass(frozen=True)
class RunRecord:
    """How a run was started, and with which code."""

    config_text: str
    """Its `config.yaml`."""
    versions: dict[str, str]
    """Of Python and the packages here; commit and lock as the run was started."""
    command: str
    """The command line that started it."""

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """Read the record of the run in a folder."""
        overrides = folder / "overrides.yaml"
        words = yaml.safe_load(overrides.read_text()) if overrides.exists() else []
        versions = {"python": platform.python_version()}
        return cls(
            config_text=(folder / "config.yaml").read_text(),
            versions=versions | {name: version(name) for name in PACKAGES} | _started_with(folder),
            command=shlex.join(["perennial", "adapt" if is_result(folder) else "train", *words]),
        )


def _started_with(folder: Path) -> dict[str, str]:
    """Commit and lock that the run was started with, from its journal."""
    path = folder / FILE_NAME
    first = next(iter(read_journal(path)), None) if path.exists() else None
    tags = first.data.get("tags") if first is not None else None
    known = tags if isinstance(tags, dict) else {}
    return {name: known[name] for name in ("commit", "dirty", "lock_sha256") if name in known}

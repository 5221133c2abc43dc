"""Which code, which packages: the facts that make a run's figures traceable."""

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

LOCK_NAME = "constraints.txt"
"""The file of exact package versions in the repository's root."""


@dataclass(frozen=True)
class GitState:
    """The state of a checkout.

    Attributes:
        commit: Full hash of the commit.
        dirty: Whether tracked files differ from it.
    """

    commit: str
    dirty: bool


def repository_root() -> Path:
    """The folder above the packages; a repository unless they were installed as a wheel."""
    return Path(__file__).resolve().parents[2]


def git_state(folder: Path | None = None) -> GitState | None:
    """Return the checkout's state, or None without git or outside a repository."""
    root = repository_root() if folder is None else folder
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return None
    return GitState(commit.strip(), bool(changes.strip()))


def lock_sha256(folder: Path | None = None) -> str | None:
    """SHA-256 of the lock file, or None where there is none."""
    path = (repository_root() if folder is None else folder) / LOCK_NAME
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def provenance_tags(folder: Path | None = None) -> dict[str, str]:
    """Return the tags ``commit``, ``dirty`` and ``lock_sha256``, each only where it is known."""
    tags: dict[str, str] = {}
    state = git_state(folder)
    if state is not None:
        tags |= {"commit": state.commit, "dirty": str(state.dirty).lower()}
    lock = lock_sha256(folder)
    return tags | ({"lock_sha256": lock} if lock else {})


def _git(folder: Path, *arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program with fixed arguments
            [program, "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None

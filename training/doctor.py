"""Is this machine ready? One line for each check, and how to mend what is not."""

import json
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil

from training import collisions, packages, runtime
from training.tracking.mlflow_store import resolve_uri, sqlite_path
from training.tracking.provenance import git_state, repository_root
from training.tracking.redact import redact_uri

Status = Literal["ok", "warn", "fail"]
"""Fine; works but look at it; has to be mended."""

_GIB = 1024.0**3


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: What was looked at.
        status: ok, warn or fail.
        found: What was found, in words.
        remedy: How to mend it; empty where nothing has to be mended.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""


def diagnose(runs: Path = Path("runs"), uri: str | None = None) -> list[Check]:
    """Run every check; one that breaks is a failure of its own and stops no other.

    Args:
        runs: Folder of the runs.
        uri: Tracking store; None: as the training chooses it.
    """
    checks: tuple[tuple[str, Callable[[], Iterable[Check]]], ...] = (
        ("python", check_python),
        ("packages", check_packages),
        ("names", check_names),
        ("threads", check_threads),
        ("memory", check_memory),
        ("disk", lambda: check_disk(runs)),
        ("runs folder", lambda: check_folder(runs)),
        ("tracking store", lambda: check_store(uri)),
        ("kernel cache", check_kernel_cache),
        ("data", check_data),
        ("device", check_device),
        ("figures", check_matplotlib),
        ("git", check_git),
        ("privacy", check_privacy),
    )
    found: list[Check] = []
    for name, check in checks:
        try:
            found += check()
        except Exception as error:  # noqa: BLE001 - the doctor reports whatever is ill
            what = f"the check broke: {type(error).__name__}: {error}"
            found.append(Check(name, "fail", what, "perennial doctor --debug; pip install again"))
    return found


def render(checks: list[Check]) -> str:
    """The checks as text: one line each, the remedy below what is not fine."""
    width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        lines.append(f"{check.status:<4}  {check.name:<{width}}  {check.found}")
        if check.remedy:
            lines += [f"{'':<{width + 6}}  -> {line}" for line in check.remedy.splitlines()]
    counts = {s: sum(check.status == s for check in checks) for s in ("ok", "warn", "fail")}
    lines.append("")
    lines.append(", ".join(f"{count} {status}" for status, count in counts.items()))
    return "\n".join(lines)


def to_json(checks: list[Check]) -> str:
    """The checks as a JSON list."""
    return json.dumps([asdict(check) for check in checks], indent=2)


def check_python() -> list[Check]:
    """CPython 3.11 in an environment of its own."""
    version, name = platform.python_version(), platform.python_implementation()
    found = f"{name} {version}, {sys.prefix}"
    if name != "CPython" or sys.version_info[:2] != (3, 11):
        return [Check("python", "fail", found, "CPython 3.11 is expected: make setup")]
    if sys.prefix == sys.base_prefix:
        return [Check("python", "warn", f"{found} (no environment of its own)", "make setup")]
    return [Check("python", "ok", found)]


def check_packages() -> list[Check]:
    """Installed versions against the lock, and against what the packages need at least."""
    mend = "make setup, or pip install --constraint constraints.txt --editable '.[dev]'"
    checks = []
    unmet = packages.unmet_requirements()
    if unmet:
        checks.append(Check("packages", "fail", "; ".join(unmet), mend))
    lock = packages.find_lock()
    if lock is None:
        what = "no constraints.txt beside the packages: versions cannot be compared"
        return [*checks, Check("packages", "warn", what, "work in a clone of the repository")]
    differing = packages.differences(lock)
    if differing:
        return [*checks, Check("packages", "warn", f"not as locked: {'; '.join(differing)}", mend)]
    locked = len(packages.read_lock(lock))
    return [*checks, Check("packages", "ok", f"{locked} packages as locked in {lock.name}")]


def check_names() -> list[Check]:
    """No other distribution provides our top-level names."""
    found = collisions.find_collisions()
    if not found:
        return [Check("names", "ok", f"{len(collisions.TOP_LEVEL_NAMES)} top-level names are ours")]
    remedy = "pip uninstall what is named, or an environment of its own: make setup"
    return [Check("names", "fail", str(collision), remedy) for collision in found]


def check_threads() -> list[Check]:
    """No more threads than cores, and every library has the same number."""
    cores = runtime.available_cores()
    values = {name: os.environ.get(name, "") for name in runtime.THREAD_VARIABLES}
    text = ", ".join(f"{name}={value or 'not set'}" for name, value in values.items())
    if len(set(values.values())) > 1:
        remedy = "set OMP_NUM_THREADS alone; the others follow it"
        return [Check("threads", "warn", f"{cores} cores; {text}", remedy)]
    wanted = values["OMP_NUM_THREADS"]
    if wanted.isdecimal() and int(wanted) > cores:
        what = f"{wanted} threads on {cores} cores: they will wait for each other"
        return [Check("threads", "warn", what, f"export OMP_NUM_THREADS={cores}")]
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    return [Check("threads", "ok", f"{wanted or cores} of {cores} cores, {load}")]


def check_memory() -> list[Check]:
    """At least two GiB are free."""
    free = psutil.virtual_memory().available / _GIB
    found = f"{free:.1f} GiB available"
    if free < 0.5:
        return [Check("memory", "fail", found, "close programs: a training needs about 1 GiB")]
    if free < 2.0:
        return [Check("memory", "warn", found, "close programs, or train with fewer environments")]
    return [Check("memory", "ok", found)]


def check_disk(runs: Path) -> list[Check]:
    """At least two GiB are free where runs are written."""
    folder = _existing(runs)
    free = shutil.disk_usage(folder).free / _GIB
    found = f"{free:.1f} GiB free at {folder}"
    if free < 0.5:
        return [Check("disk", "fail", found, "free some space: a run takes tens of megabytes")]
    if free < 2.0:
        return [Check("disk", "warn", found, "free some space")]
    return [Check("disk", "ok", found)]


def check_folder(runs: Path) -> list[Check]:
    """The folder of the runs can be written to."""
    folder = _existing(runs)
    problem = _unwritable(folder)
    if problem:
        remedy = f"chown or chmod {folder}, or train with runs=ANOTHER_FOLDER"
        return [Check("runs folder", "fail", problem, remedy)]
    state = "writable" if runs.is_dir() else f"will be made in {folder}"
    return [Check("runs folder", "ok", f"{runs}: {state}")]


def check_store(uri: str | None) -> list[Check]:
    """The tracking store takes writes; without it trainings go on and are sent later."""
    store = resolve_uri(uri)
    path = sqlite_path(store)
    name = "tracking store"
    if path is not None:
        problem = _sqlite_problem(path)
        remedy = f"move {path} away or mend its rights; runs are sent again by: perennial sync RUN"
        found = f"{path}: {'writable' if path.exists() else 'will be made by the first run'}"
        return [Check(name, "fail", problem, remedy) if problem else Check(name, "ok", found)]
    if not store.startswith(("http://", "https://")):
        return [Check(name, "ok", f"{redact_uri(store)} (not tried)")]
    try:
        with urllib.request.urlopen(f"{store.rstrip('/')}/health", timeout=3) as answer:  # noqa: S310 - http(s), checked above
            return [Check(name, "ok", f"{redact_uri(store)} answers {answer.status}")]
    except (OSError, urllib.error.URLError) as error:
        remedy = "start it; until then runs keep their metrics, then: perennial sync RUN"
        return [Check(name, "warn", f"{redact_uri(store)} does not answer: {error}", remedy)]


def check_kernel_cache() -> list[Check]:
    """Compiled kernels can be kept; otherwise every start compiles again."""
    cache = os.environ.get("NUMBA_CACHE_DIR")
    folder = _existing(Path(cache)) if cache else repository_root() / "envs"
    problem = _unwritable(folder)
    if problem:
        remedy = "export NUMBA_CACHE_DIR=~/.cache/numba"
        return [Check("kernel cache", "warn", f"{problem}: each start compiles anew", remedy)]
    return [Check("kernel cache", "ok", f"{folder}: writable")]


def check_data() -> list[Check]:
    """Every embedded data set has the SHA-256 that it was taken up with."""
    from markets.sources.catalog import (  # noqa: PLC0415 - an import that fails is a finding
        list_datasets,
        verify_embedded,
    )

    wrong = verify_embedded()
    checks = []
    for name, problem in wrong.items():
        if problem is None:
            checks.append(Check("data", "ok", f"{name}: SHA-256 as pinned"))
        else:
            found, _, remedy = problem.rpartition("; ")
            checks.append(Check("data", "fail", found or problem, remedy or "make setup"))
    for entry in list_datasets():
        if entry.id not in wrong:
            state = "ready" if entry.available else f"optional: pip install 'perennial[{entry.id}]'"
            checks.append(Check("data", "ok", f"{entry.id}: {state}"))
    return checks


def check_device() -> list[Check]:
    """What torch computes on."""
    import torch  # noqa: PLC0415 - takes seconds; only this check needs it

    name = f"torch {torch.__version__}"
    if torch.cuda.is_available():
        return [Check("device", "ok", f"{name}, {torch.cuda.get_device_name(0)}")]
    if torch.version.cuda is not None and shutil.which("nvidia-smi"):
        what = f"{name} sees no GPU although a driver is installed"
        return [Check("device", "warn", what, "compare nvidia-smi's CUDA version with torch's")]
    return [Check("device", "ok", f"{name}, CPU")]


def check_matplotlib() -> list[Check]:
    """Figures can be drawn without a screen."""
    import matplotlib as mpl  # noqa: PLC0415 - only this check needs it

    backend = str(mpl.get_backend())
    screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    windows = backend.lower().startswith(("gtk", "qt", "tk", "wx"))
    if windows and sys.platform.startswith("linux") and not screen:
        what = f"matplotlib backend {backend} needs a screen, there is none"
        return [Check("figures", "warn", what, "export MPLBACKEND=Agg")]
    return [Check("figures", "ok", f"matplotlib {mpl.__version__}, backend {backend}")]


def check_git() -> list[Check]:
    """The commit that runs are tagged with."""
    state = git_state()
    if state is None:
        what = "no git checkout: runs are not tagged with a commit"
        return [Check("git", "warn", what, "install git and work in a clone")]
    if state.dirty:
        what = f"{state.commit[:12]} with changed files: runs are tagged dirty"
        return [Check("git", "ok", what)]
    return [Check("git", "ok", f"{state.commit[:12]}, nothing changed")]


def check_privacy() -> list[Check]:
    """Usage statistics of dependencies are off unless the user wants them."""
    on = [
        f"{name}={os.environ.get(name)}"
        for name, off in runtime.PRIVACY_VARIABLES.items()
        if os.environ.get(name, off).lower() != off
    ]
    if on:
        remedy = f"unset {' '.join(item.partition('=')[0] for item in on)}"
        return [Check("privacy", "warn", f"usage statistics may be sent: {', '.join(on)}", remedy)]
    return [Check("privacy", "ok", "usage statistics of dependencies are off")]


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _unwritable(folder: Path) -> str:
    """Why a file cannot be made in the folder; empty if it can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{folder}: expected a writable folder, found: {error.strerror or error}"


def _sqlite_problem(path: Path) -> str:
    """Why a SQLite store cannot be written to; empty if it can or may be made."""
    if not path.exists():
        return _unwritable(_existing(path.parent))
    try:
        with closing(sqlite3.connect(path, timeout=3, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        return f"{path}: expected a writable MLflow store, found: {error}"
    names = {str(row[0]) for row in tables}
    torn = {name for name in names if name.startswith("_alembic_tmp")}
    if torn or (names and "experiments" not in names):
        return f"{path}: expected an MLflow store, found a torn or foreign database"
    return ""

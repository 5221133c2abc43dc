"""Send a run's journals after the fact: ``perennial sync RUN``."""

import os
from pathlib import Path

from training.status import FILE_NAME as STATUS_NAME
from training.status import StatusFile, read_status
from training.tracking.journal import FILE_NAME, Entry, Journal, read_journal
from training.tracking.mlflow_store import MlflowStore, TrackingError, resolve_uri
from training.tracking.redact import MASK
from training.tracking.sender import JournalSender, find_journals


def sync_journals(folder: Path, uri: str | None = None) -> int:
    """Send what a run's journals hold and the store has not; calling it again sends nothing.

    A run whose process is gone without an end (SIGKILL, power) is closed as KILLED first.

    Args:
        folder: The run's folder.
        uri: The store; None: ``MLFLOW_TRACKING_URI``, then the one that the run was started with.

    Returns:
        The number of records that were sent.

    Raises:
        FileNotFoundError: The folder holds no journal.
        TrackingError: The journal does not say which store, or the store refuses.
        Exception: Whatever an unreachable store raises.
    """
    folders = find_journals(folder) if folder.is_dir() else []
    if folder not in folders:
        raise FileNotFoundError(f"{folder}: expected a run with a {FILE_NAME}, found none")
    start = _start(folder)
    _close_abandoned(folder, folders)
    store = MlflowStore(_store_uri(start, uri), str(start.data.get("experiment")))
    return sum(JournalSender(path, store).send() for path in folders)


def _start(folder: Path) -> Entry:
    start = next(iter(read_journal(folder / FILE_NAME)), None)
    if start is None or start.kind != "start":
        raise TrackingError(f"{folder / FILE_NAME}: expected a start record first, found none")
    return start


def _store_uri(start: Entry, uri: str | None) -> str:
    recorded = str(start.data.get("store") or "")
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or recorded or None
    if chosen and MASK in chosen:
        raise TrackingError(
            f"{chosen}: expected a tracking URI with its password, found the masked one of the "
            "journal; give it with --uri or in MLFLOW_TRACKING_URI"
        )
    return resolve_uri(chosen)


def _close_abandoned(folder: Path, folders: list[Path]) -> None:
    if not (folder / STATUS_NAME).exists():
        return
    status = read_status(folder)
    if status.state != "RUNNING" or status.effective != "KILLED":
        return
    for path in folders:
        last = [entry.kind for entry in read_journal(path / FILE_NAME)][-1:]
        if last != ["finish"]:
            with Journal(path / FILE_NAME) as journal:
                journal.append("finish", status="KILLED", error="the process is gone")
    StatusFile(folder).finish("KILLED", "the process is gone")

"""The run's state in one small file, ``status.json``, replaced atomically at each change."""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psutil

from markets.atomic import write_whole
from training.tracking.redact import Redactor

FILE_NAME = "status.json"
"""Name of the file in a run's folder."""

State = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
"""A run's states, named as MLflow names them."""


class StatusError(ValueError):
    """A status file that is not one. Names the path, what was expected and what was found."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """What is known about a run.

    Attributes:
        state: RUNNING, FINISHED, FAILED or KILLED.
        pid: Process that runs or ran it.
        process_started: When that process began, seconds since the epoch: tells it from a later
            process that was given the same number.
        host: Machine of that process.
        started: Beginning of the run, ISO 8601, UTC.
        updated: Last change of this file, ISO 8601, UTC.
        ended: End of the run, or None.
        error: Why it failed, or None.
        checkpoint: Last complete checkpoint, relative to the run's folder, or None.
        headline: The figures shown in a list of runs, name to value.
    """

    state: State
    pid: int
    process_started: float
    host: str
    started: str
    updated: str
    ended: str | None = None
    error: str | None = None
    checkpoint: str | None = None
    headline: Mapping[str, float] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether the process is there; processes of other machines are taken to be."""
        if self.host != socket.gethostname():
            return True
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.process_started) < 2.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    @property
    def effective(self) -> State:
        """The state, where a RUNNING whose process is gone (SIGKILL, power) counts as KILLED."""
        return "KILLED" if self.state == "RUNNING" and not self.alive else self.state


class StatusFile:
    """Writes the state of one run.

    Args:
        folder: The run's folder; made when absent.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._folder = folder
        self._status: RunStatus | None = None

    def running(self) -> RunStatus:
        """Say that this process runs it; a resumed run keeps its beginning and its checkpoint."""
        now = _now()
        before = read_status(self._folder) if self.path.exists() else None
        status = RunStatus(
            state="RUNNING",
            pid=os.getpid(),
            process_started=psutil.Process().create_time(),
            host=socket.gethostname(),
            started=before.started if before else now,
            updated=now,
            checkpoint=before.checkpoint if before else None,
            headline=before.headline if before else {},
        )
        return self._write(status)

    def checkpoint(self, path: Path) -> RunStatus:
        """Name the last complete checkpoint; a path inside the run's folder is kept relative."""
        inside = path.is_relative_to(self._folder)
        name = path.relative_to(self._folder) if inside else path
        return self._write(replace(self._current(), checkpoint=name.as_posix()))

    def headline(self, values: Mapping[str, float]) -> RunStatus:
        """Set the figures that a list of runs shows, such as the net return out of sample."""
        numbers = {name: float(value) for name, value in values.items()}
        return self._write(replace(self._current(), headline=numbers))

    def finish(self, state: State, error: str | None = None) -> RunStatus:
        """Close the run.

        Args:
            state: FINISHED, FAILED or KILLED.
            error: Why it failed; secrets of the environment are masked.
        """
        now = _now()
        masked = None if error is None else Redactor().text(error)
        return self._write(replace(self._current(), state=state, ended=now, error=masked))

    def _current(self) -> RunStatus:
        if self._status is None:
            self._status = read_status(self._folder) if self.path.exists() else self.running()
        return self._status

    def _write(self, status: RunStatus) -> RunStatus:
        self._status = replace(status, updated=_now())
        values = {
            name: value if not isinstance(value, float) or value == value else None  # noqa: PLR0124 - NaN
            for name, value in asdict(self._status).items()
        }
        values["headline"] = {k: str(v) if v != v else v for k, v in status.headline.items()}  # noqa: PLR0124 - NaN
        write_whole(self.path, json.dumps(values, indent=2) + "\n")
        return self._status


def read_status(folder: Path) -> RunStatus:
    """Read a run's state.

    Raises:
        FileNotFoundError: There is no status file.
        StatusError: The file does not hold a status.
    """
    path = folder / FILE_NAME
    text = path.read_text(encoding="utf-8")
    try:
        values = json.loads(text)
        values["headline"] = {k: float(v) for k, v in values.get("headline", {}).items()}
        return RunStatus(**values)
    except (TypeError, ValueError, AttributeError) as error:
        raise StatusError(
            f"{path}: expected a run's status as JSON, found {text[:60]!r} ({error})"
        ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

"""The one thing that a training talks to about its progress."""

import json
import logging
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import yaml

from markets.atomic import write_whole
from training.status import StatusFile
from training.tracking.config import TrackingConfig
from training.tracking.courier import Courier
from training.tracking.events import RunEvents
from training.tracking.journal import (
    FILE_NAME,
    Journal,
    JournalError,
    Recording,
    first_metrics,
    read_journal,
)
from training.tracking.mlflow_store import MlflowStore, TrackingError, preload, resolve_uri
from training.tracking.provenance import provenance_tags
from training.tracking.redact import MASK, Redactor, redact_uri
from training.tracking.sender import JournalSender

_log = logging.getLogger(__name__)

EndState = Literal["FINISHED", "FAILED", "KILLED"]
"""How a run may end."""


class TrackingSession:
    """What the tracker of a run shares with its children: the store and the way to it.

    Args:
        config: Where and how to track.

    Raises:
        TrackingError: The store's URI is a masked one, read back from a run's ``config.yaml``.
    """

    def __init__(self, config: TrackingConfig) -> None:
        self.config = config
        self.redactor = Redactor()
        self.store = MlflowStore(_store_uri(config), config.experiment)
        self.courier = Courier(config.batch_seconds, self.store.name)


class RunTracker:
    """Records a run: journal first, then MLflow in batches and TensorBoard, filled from it.

    A run has one tracker; each seed has a child of it, a nested run in MLflow with a folder of its
    own. A store that is slow, locked or absent never holds up or ends a training. As a context
    manager it ends the run: FINISHED, KILLED (interrupt, exit) or FAILED with the error::

        with RunTracker(folder, TrackingConfig()).start(config, {"data_sha256": digest}) as tracker:
            with tracker.child("seed-0").start(config, {"seed": "0"}) as child:
                child.log_metrics({"train/reward": 0.1}, step=2048)

    Args:
        folder: The run's folder; made when absent.
        config: Where and how to track.
        parent: The tracker that this one is nested in; use :meth:`child`.

    Attributes:
        session: What a run and its children share.
        status: The run's ``status.json``; None in a child.
        key: Identifies the run in every store; set by :meth:`start`.
    """

    def __init__(
        self, folder: Path, config: TrackingConfig, *, parent: "RunTracker | None" = None
    ) -> None:
        self.folder = folder
        self.session: TrackingSession = parent.session if parent else TrackingSession(config)
        self.status = None if parent else StatusFile(folder)
        self.key = ""
        self._config = self.session.config
        self._parent = parent
        self._redactor = self.session.redactor
        self._journal: Journal | None = None
        self._events: RunEvents | None = None
        self._params: dict[str, object] = {}
        self._ended = False

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._journal is not None and not self._ended

    def child(self, name: str) -> "RunTracker":
        """Return a nested tracker with the folder ``name`` inside this one's."""
        return RunTracker(self.folder / name, self._config, parent=self)

    def start(
        self,
        config: Mapping[str, object],
        tags: Mapping[str, str] | None = None,
        *,
        overrides: Sequence[str] | None = None,
        resume_step: int | None = None,
    ) -> Self:
        """Begin the run, or go on with it where the folder has a journal.

        The commit, whether tracked files differ from it, and the lock's SHA-256 are added to the
        tags of a root run. ``config.yaml`` and ``overrides.yaml`` are written (when absent) and
        kept as artifacts by the root run, with masked secrets.

        Args:
            config: The configuration as plain nested data. Flattened, it becomes the parameters
                that runs can be searched by.
            tags: Such as ``data_sha256`` and ``seed``.
            overrides: The command line's overrides.
            resume_step: Step of the checkpoint that a resumed run goes on from. What was recorded
                behind it is recorded again; no step appears twice in any store.

        Raises:
            JournalError: The run's folder is not writable.
            FileExistsError: The folder holds a run and ``resume_step`` is None.
            RuntimeError: It was started before.
        """
        if self._journal is not None:
            raise RuntimeError(f"{self.folder}: expected a tracker that was not started, found one")
        self._journal = Journal(self.folder / FILE_NAME)
        self._params = flatten(config)
        first = next(iter(read_journal(self._journal.path)), None)
        if first is not None and resume_step is None:
            raise FileExistsError(
                f"{self.folder}: expected a folder without a run, found one with a journal; "
                "resume it or choose another name"
            )
        former: list[Recording] = []
        if first is None:
            resume_step = None
            self.key = uuid.uuid4().hex
            self._append_start(dict(tags or {}))
        else:
            self.key = str(first.data.get("run"))
            self._journal.append("resume", step=int(resume_step or 0))
            former = first_metrics(self._journal.path)
        if self._config.tensorboard:
            params = {k: self._redactor.value(v, field=k) for k, v in self._params.items()}
            self._events = RunEvents(
                self.folder / "tensorboard",
                self.key,
                params,
                resume_step=resume_step,
                former=former,
            )
        if self.status is not None:
            self.status.running()
            self._write_config(config, overrides)
        if self._config.mlflow:
            preload()
            self.session.courier.add(JournalSender(self.folder, self.session.store, self._redactor))
        return self

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record the metrics of a step; when this returns they survive a SIGKILL.

        Args:
            values: Name to number.
            step: Environment steps (or episodes, for an evaluation) so far; at least 0.

        Raises:
            JournalError: The disk does not take them.
        """
        if not values:
            return
        numbers = {name: float(value) for name, value in values.items()}
        time_ms = self._open_journal().append_metrics(step, numbers)
        if self._events is not None:
            self._events.scalars(numbers, step, time_ms)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run; secrets are masked."""
        self._open_journal().append("tags", tags=self._redactor.strings(tags))

    def log_artifact(self, path: Path, to: str = "") -> None:
        """Keep a file or a folder as an artifact; text with a secret is sent masked.

        Args:
            path: It must stay where it is until it is sent: inside the run's folder it does.
            to: Folder within the run's artifacts.

        Raises:
            FileNotFoundError: There is nothing at the path.
            ValueError: The folder leads out of the artifacts.
        """
        if to.startswith("/") or ".." in to.split("/"):
            raise ValueError(f"to: expected a folder within the artifacts, found {to!r}")
        if not path.exists():
            raise FileNotFoundError(f"{path}: expected an artifact of the run, found nothing")
        inside = path.is_relative_to(self.folder)
        name = path.relative_to(self.folder) if inside else path.absolute()
        self._open_journal().append("artifact", path=name.as_posix(), to=to)

    def log_artifacts(self, paths: Iterable[Path], to: str = "") -> None:
        """Keep several files or folders as artifacts."""
        for path in paths:
            self.log_artifact(path, to)

    def flush(self, timeout: float = 10.0) -> bool:
        """Deliver everything now.

        Args:
            timeout: Longest wait, seconds.

        Returns:
            Whether MLflow has all of it.
        """
        if self._events is not None:
            self._events.flush()
        return self.session.courier.deliver(timeout) if self._config.mlflow else False

    def finish(self, state: EndState = "FINISHED", error: str | None = None) -> bool:
        """End the run; a second call changes nothing.

        Args:
            state: How it ended.
            error: Why it failed; becomes the tag ``error``.

        Returns:
            Whether MLflow has everything; otherwise ``perennial sync RUN`` sends the rest later.
        """
        if not self.running:
            return True
        message = None if error is None else self._redactor.text(error)[:5000]
        self._open_journal().append("finish", status=state, error=message)
        self._ended = True
        if self._events is not None:
            self._events.close()
        self._open_journal().close()
        if self.status is not None:
            self.status.finish(state, message)
        if not self._config.mlflow or self._parent is not None:
            return not self._config.mlflow
        arrived = self.session.courier.close(self._config.finish_seconds)
        if not arrived:
            _log.warning(
                "tracking store %s has not taken everything; later: perennial sync %s",
                self.session.store.name,
                self.folder,
            )
        return arrived

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.finish("FINISHED")
            return
        killed = isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
        message = f"{type(error).__name__}: {error}".rstrip(": ")
        try:
            self.finish("KILLED" if killed else "FAILED", message)
        except (JournalError, OSError) as second:  # a full disk; the first error is the news
            _log.warning("%s: the end of the run is not recorded: %s", self.folder, second)

    def _append_start(self, tags: dict[str, str]) -> None:
        known = {} if self._parent else provenance_tags()
        parameters = {name: _text(value) for name, value in self._params.items()}
        self._open_journal().append(
            "start",
            run=self.key,
            name=self.folder.name,
            experiment=self._config.experiment,
            store=redact_uri(self.session.store.uri),
            parent=self._parent.key if self._parent else None,
            tags=self._redactor.strings(known | tags),
            params=self._redactor.strings(parameters),
        )

    def _write_config(self, config: Mapping[str, object], overrides: Sequence[str] | None) -> None:
        """Write the two files of the run's record unless they are there, and keep them."""
        contents: dict[str, object] = {"config.yaml": self._redactor.value(config)}
        if overrides is not None:
            contents["overrides.yaml"] = [self._override(text) for text in overrides]
        for name, content in contents.items():
            path = self.folder / name
            if not path.exists():
                write_whole(path, yaml.safe_dump(content, sort_keys=False, width=100))
            self.log_artifact(path)

    def _override(self, text: str) -> str:
        name, equals, value = text.partition("=")
        return f"{name}{equals}{self._redactor.value(value, field=name)}"

    def _open_journal(self) -> Journal:
        if self._journal is None:
            raise RuntimeError(f"{self.folder}: expected a tracker that was started, found one not")
        return self._journal


def flatten(config: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Flatten nested mappings with dots; lists stay values."""
    flat: dict[str, object] = {}
    for name, value in config.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping):
            flat |= flatten(value, path)
        else:
            flat[path] = list(value) if isinstance(value, tuple) else value
    return flat


def _store_uri(config: TrackingConfig) -> str:
    """The store; for a masked URI the environment's, as a record holds no password."""
    chosen = config.uri
    if chosen and MASK in chosen:
        chosen = os.environ.get("MLFLOW_TRACKING_URI") or chosen
    if config.mlflow and chosen and MASK in chosen:
        raise TrackingError(
            f"tracking.uri: expected a tracking URI with its password, found {chosen}, the masked "
            "one of a run's record; give tracking.uri=... again or set MLFLOW_TRACKING_URI"
        )
    return resolve_uri(chosen)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)

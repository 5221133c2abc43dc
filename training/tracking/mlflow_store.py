"""MLflow as a consumer of journals: every call may be repeated, nothing is lost or doubled.

MLflow's metric table has the whole row (key, timestamp, step, value) as its key, and a journal
keeps the timestamp, so a batch that is sent again changes nothing. Runs carry the journal's key as
a tag and are looked up by it before they are created.
"""

import contextlib
import fcntl
import logging
import os
import posixpath
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from training.runtime import PRIVACY_VARIABLES
from training.tracking.redact import redact_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

_log = logging.getLogger(__name__)
_Entity = TypeVar("_Entity")

DEFAULT_URI = "sqlite:///mlflow.db"
"""The store where neither the configuration nor ``MLFLOW_TRACKING_URI`` names one."""

RUN_KEY_TAG = "perennial.run"
"""Tag that holds the journal's key of a run."""

METRICS_PER_CALL = 1000
"""MLflow's limit of metrics in one batch."""

_SQLITE = "sqlite:///"
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_\-. :/]")
_LIMITS = {"key": 250, "param": 6000, "tag": 5000}


class TrackingError(RuntimeError):
    """The tracking store refuses what it is asked; names the store and what was found."""


def resolve_uri(uri: str | None = None) -> str:
    """Return the store's URI; for a SQLite file with an absolute path and a patient timeout.

    Args:
        uri: What the configuration says; None: ``MLFLOW_TRACKING_URI``, then the default.
    """
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    path = sqlite_path(chosen)
    if path is None:
        return chosen
    query = chosen.partition("?")[2]
    if "timeout=" not in query:
        query = f"{query}&timeout=60" if query else "timeout=60"
    return f"{_SQLITE}{path}?{query}"


def sqlite_path(uri: str) -> Path | None:
    """The file behind a ``sqlite:///`` URI as an absolute path, or None for another store."""
    if not uri.startswith(_SQLITE):
        return None
    name = uri.removeprefix(_SQLITE).partition("?")[0]
    return Path(name).absolute() if name and name != ":memory:" else None


def metric_name(name: str) -> str:
    """The nearest name that MLflow accepts: letters, digits, ``_ - . / :`` and spaces."""
    plain = posixpath.normpath(_FORBIDDEN.sub("_", name)).lstrip("/")
    return plain.replace("..", "__")[: _LIMITS["key"]]


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock over processes; the operating system frees it with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def preload() -> None:
    """Import MLflow now, in this thread: it takes seconds, and an import race is hard to find."""
    _set_defaults()
    import mlflow  # noqa: F401, PLC0415 - only where something is tracked


def client_for(uri: str) -> "MlflowClient":
    """Return a client whose store is ready; a SQLite file is made under a lock, once, in WAL mode.

    Twenty processes that create the schema at the same time destroy the file (measured), hence
    the lock. MLflow is imported here, at the first use: it takes seconds.
    """
    _set_defaults()
    from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds, and only tracking needs it

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they announce each migration
    # It prints a traceback for what it also raises; the courier gives one line for it.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    path = sqlite_path(uri)
    if path is None:
        return MlflowClient(uri)
    with file_lock(path.with_name(f"{path.name}.lock")):
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)  # creates the schema when the file is new
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    return client


def _set_defaults() -> None:
    """No usage statistics, also from a notebook; a dead server is given up after half a minute."""
    defaults = {
        **PRIVACY_VARIABLES,
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


class MlflowStore:
    """The few idempotent operations that a journal needs.

    Args:
        uri: A tracking URI from :func:`resolve_uri`.
        experiment: Name of the experiment.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        self.experiment = experiment
        self._client: MlflowClient | None = None
        self._experiment_id: str | None = None

    @property
    def name(self) -> str:
        """The URI without a password, fit for messages and files."""
        return redact_uri(self.uri)

    @property
    def client(self) -> "MlflowClient":
        """The client, connected at the first use."""
        if self._client is None:
            self._client = client_for(self.uri)
        return self._client

    def experiment_id(self) -> str:
        """Return the experiment's id; it is created when absent.

        Raises:
            TrackingError: The experiment was deleted in the store.
        """
        if self._experiment_id is None:
            found = self.client.get_experiment_by_name(self.experiment)
            if found is None:
                self._experiment_id = self._create_experiment()
            elif found.lifecycle_stage != "active":
                raise TrackingError(
                    f"{self.name}: expected the experiment {self.experiment!r} to be active, found "
                    "it deleted; restore it (mlflow experiments restore) or choose another name"
                )
            else:
                self._experiment_id = str(found.experiment_id)
        return self._experiment_id

    def _create_experiment(self) -> str:
        path = sqlite_path(self.uri)
        # Without a server MLflow would put artifacts below the working directory of the moment.
        location = None if path is None else (path.parent / "mlartifacts").as_uri()
        with _creation_lock(path):
            found = self.client.get_experiment_by_name(self.experiment)
            if found is not None:
                return str(found.experiment_id)
            try:
                return str(self.client.create_experiment(self.experiment, location))
            except Exception:
                found = self.client.get_experiment_by_name(self.experiment)  # another process won
                if found is None:
                    raise
                return str(found.experiment_id)

    def find_run(self, key: str) -> str | None:
        """Return the id of the run with this journal key, or None."""
        runs = self.client.search_runs(
            [self.experiment_id()], filter_string=f"tags.`{RUN_KEY_TAG}` = '{key}'", max_results=1
        )
        return str(runs[0].info.run_id) if runs else None

    def has_run(self, run_id: str) -> bool:
        """Whether the store knows the run and it is not deleted; other failures are raised."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - takes seconds

        try:
            return str(self.client.get_run(run_id).info.lifecycle_stage) == "active"
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def ensure_run(self, key: str, name: str, start_ms: int, parent_id: str | None) -> str:
        """Return the id of the run with this journal key; it is created when absent."""
        found = self.find_run(key)
        if found is not None:
            return found
        tags = {RUN_KEY_TAG: key, "mlflow.runName": name, "mlflow.source.name": "perennial"}
        if parent_id is not None:
            tags["mlflow.parentRunId"] = parent_id
        run = self.client.create_run(self.experiment_id(), start_time=start_ms, tags=tags)
        return str(run.info.run_id)

    def log_metrics(self, run_id: str, metrics: "Sequence[Metric]") -> None:
        """Store metrics, at most :data:`METRICS_PER_CALL` of them."""
        self.client.log_batch(run_id, metrics=metrics)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags; a tag that exists is replaced."""
        from mlflow.entities import RunTag  # noqa: PLC0415 - takes seconds

        entities = [
            RunTag(metric_name(name), text[: _LIMITS["tag"]]) for name, text in tags.items()
        ]
        for part in _parts(entities):
            self.client.log_batch(run_id, tags=part)

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Store parameters that the run does not have yet (MLflow refuses to change one)."""
        from mlflow.entities import Param  # noqa: PLC0415 - takes seconds

        known = self.client.get_run(run_id).data.params
        entities = [
            Param(metric_name(name), text[: _LIMITS["param"]])
            for name, text in params.items()
            if metric_name(name) not in known
        ]
        for part in _parts(entities):
            self.client.log_batch(run_id, params=part)

    def log_artifact(self, run_id: str, path: Path, folder: str) -> None:
        """Store a file under a folder of the run's artifacts; an existing one is replaced."""
        self.client.log_artifact(run_id, str(path), folder or None)

    def set_status(self, run_id: str, status: str, end_ms: int | None) -> None:
        """Set the run's status; with an end time it is over."""
        if end_ms is None:
            self.client.update_run(run_id, status=status)
        else:
            self.client.set_terminated(run_id, status, end_ms)


@contextlib.contextmanager
def _creation_lock(path: Path | None) -> Iterator[None]:
    if path is None:
        yield
    else:
        with file_lock(path.with_name(f"{path.name}.lock")):
            yield


def _parts(entities: list[_Entity]) -> Iterator[list[_Entity]]:
    """At most 100 at a time, MLflow's limit of parameters and tags in one batch."""
    for start in range(0, len(entities), 100):
        yield entities[start : start + 100]

"""MLflow stores under real processes: made by eight at once, and a server killed in a run."""

import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.telemetry.utils import is_telemetry_disabled

from training.tracking.config import TrackingConfig
from training.tracking.mlflow_store import (
    DEFAULT_URI,
    MlflowStore,
    TrackingError,
    client_for,
    metric_name,
    preload,
    resolve_uri,
    sqlite_path,
)
from training.tracking.tracker import RunTracker

pytestmark = pytest.mark.filterwarnings(
    # MLflow 3.17 uses a loader option that SQLAlchemy 2.1 deprecates.
    "ignore:The ``noload`` loader strategy:DeprecationWarning"
)

PROCESSES = 8
METRICS = 50

CREATE_AT_ONCE = f"""
import os, sys, time
from pathlib import Path
from training.tracking.config import TrackingConfig
from training.tracking.mlflow_store import preload
from training.tracking.tracker import RunTracker
preload()
folder = Path(sys.argv[1])
children = []
begin = time.monotonic() + 0.5
for k in range({PROCESSES}):
    pid = os.fork()
    if pid == 0:
        time.sleep(max(0.0, begin - time.monotonic()))
        config = TrackingConfig(uri=f"sqlite:///{{folder}}/mlflow.db", finish_seconds=150)
        tracker = RunTracker(folder / f"run-{{k}}", config).start({{"k": k}})
        for step in range({METRICS}):
            tracker.log_metrics({{"x": float(k)}}, step)
        os._exit(0 if tracker.finish() else 1)
    children.append(pid)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
"""


@pytest.mark.slow
def test_eight_processes_make_the_store_at_once_and_lose_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CREATE_AT_ONCE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        counts = connection.execute("SELECT count(*) FROM metrics GROUP BY run_uuid").fetchall()
        experiments = connection.execute("SELECT name FROM experiments").fetchall()
    connection.close()
    assert counts == [(METRICS,)] * PROCESSES
    assert sorted(experiments) == [("Default",), ("perennial",)]


@pytest.mark.slow
def test_server_killed_in_a_run_gets_everything_once_when_it_is_back(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_store.read_bytes())
    port = free_port()
    config = TrackingConfig(uri=f"http://127.0.0.1:{port}", batch_seconds=0.1, finish_seconds=90)
    tracker = RunTracker(tmp_path / "run", config)
    with server(database, port):
        tracker.start({"a": 1})
        for step in range(300):
            tracker.log_metrics({"x": float(step)}, step)
        assert tracker.flush(90)
    for step in range(300, 600):
        tracker.log_metrics({"x": float(step)}, step)
    assert not tracker.flush(3)
    with server(database, port):
        for step in range(600, 900):
            tracker.log_metrics({"x": float(step)}, step)
        assert tracker.finish()
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT step, value FROM metrics ORDER BY step").fetchall()
        runs = connection.execute("SELECT status FROM runs").fetchall()
    connection.close()
    assert rows == [(step, float(step)) for step in range(900)]
    assert runs == [("FINISHED",)]


def test_deleted_experiment_is_named(store_uri: str) -> None:
    store = MlflowStore(resolve_uri(store_uri), "gone")
    store.client.delete_experiment(store.experiment_id())
    with pytest.raises(TrackingError, match="expected the experiment 'gone' to be active"):
        MlflowStore(resolve_uri(store_uri), "gone").experiment_id()


def test_uris_are_resolved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri() == f"sqlite:///{tmp_path}/mlflow.db?timeout=60"
    assert resolve_uri(DEFAULT_URI) == resolve_uri()
    assert resolve_uri("sqlite:////a/b.db?x=1") == "sqlite:////a/b.db?x=1&timeout=60"
    assert resolve_uri("sqlite:////a/b.db?timeout=3") == "sqlite:////a/b.db?timeout=3"
    assert resolve_uri("http://h:1") == "http://h:1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://env:1")
    assert resolve_uri() == "http://env:1"
    assert resolve_uri("http://h:1") == "http://h:1"
    assert sqlite_path("postgresql://h/d") is None


def test_usage_statistics_are_off_without_the_command_line_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    preload()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false", "what the user set stands"
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    preload()
    assert is_telemetry_disabled()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_names_that_mlflow_refuses_are_mended() -> None:
    assert metric_name("train/kl (mean) €") == "train/kl _mean_ _"
    assert metric_name("/a//b/../c") == "a/c"
    assert metric_name("../a") == "__/a"
    assert len(metric_name("x" * 300)) == 250


def test_refused_record_does_not_hold_back_the_others(
    tmp_path: Path,
    store_uri: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = MlflowStore.set_tags

    def set_tags(self: MlflowStore, run_id: str, tags: Mapping[str, str]) -> None:
        if "bad" in tags:
            raise MlflowException("no such tag", error_code=INVALID_PARAMETER_VALUE)
        real(self, run_id, tags)

    monkeypatch.setattr(MlflowStore, "set_tags", set_tags)
    tracker = RunTracker(tmp_path / "run", TrackingConfig(uri=store_uri)).start({})
    tracker.set_tags({"bad": "x"})
    tracker.log_metrics({"x": 1.0}, 1)
    assert tracker.finish()
    assert "refuses a record (tags)" in caplog.text
    client = client_for(resolve_uri(store_uri))
    experiment = client.get_experiment_by_name("perennial")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics == {"x": 1.0}


def test_refused_metric_does_not_take_its_batch_along(
    tmp_path: Path,
    store_uri: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = MlflowStore.log_metrics

    def log_metrics(self: MlflowStore, run_id: str, metrics: Sequence[Metric]) -> None:
        if any(metric.key == "bad" for metric in metrics):
            raise MlflowException("no such metric", error_code=INVALID_PARAMETER_VALUE)
        real(self, run_id, metrics)

    monkeypatch.setattr(MlflowStore, "log_metrics", log_metrics)
    tracker = RunTracker(tmp_path / "run", TrackingConfig(uri=store_uri, batch_seconds=60))
    tracker.start({})
    for step in range(20):
        tracker.log_metrics(
            {"x": float(step), "y": 0.5} | ({"bad": 1.0} if step == 7 else {}), step
        )
    assert tracker.finish()
    warnings = [text for text in caplog.messages if "refuses" in text]
    assert len(warnings) == 1
    assert "refuses 1 of the metrics (bad)" in warnings[0]
    client = client_for(resolve_uri(store_uri))
    experiment = client.get_experiment_by_name("perennial")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics == {"x": 19.0, "y": 0.5}
    for name in ("x", "y"):
        history = client.get_metric_history(run.info.run_id, name)
        assert sorted(metric.step for metric in history) == list(range(20))


@contextmanager
def server(database: Path, port: int) -> Iterator[None]:
    """An MLflow server on loopback, killed without warning at the end."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri"]
    command += [f"sqlite:///{database}", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--artifacts-destination", str(database.parent / "artifacts")]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with subprocess.Popen(
        command,
        env=os.environ | quiet,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            await_server(port, process)
            yield
        finally:
            os.killpg(process.pid, 9)


def await_server(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the MLflow server did not start")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

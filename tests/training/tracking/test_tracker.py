"""A run's record: the journal first, MLflow and TensorBoard filled from it, whatever fails."""

import importlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy
import yaml
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped] # no types

from training.status import read_status
from training.tracking.config import TrackingConfig
from training.tracking.journal import JournalError, read_journal
from training.tracking.mlflow_store import MlflowStore, TrackingError, resolve_uri
from training.tracking.sync import sync_journals
from training.tracking.tracker import RunTracker, TrackingSession, flatten

pytestmark = pytest.mark.filterwarnings(
    # MLflow 3.17 uses a loader option that SQLAlchemy 2.1 deprecates.
    "ignore:The ``noload`` loader strategy:DeprecationWarning"
)

CONFIG: dict[str, object] = {"agent": {"kind": "ppo", "lr": 3e-4, "hidden": (64, 64)}, "seed": 3}


def tracking(uri: str, **changes: Any) -> TrackingConfig:
    values: dict[str, Any] = {"uri": uri, "batch_seconds": 0.05, "finish_seconds": 30.0}
    return TrackingConfig(**values | changes)


def client(uri: str) -> MlflowClient:
    return MlflowClient(resolve_uri(uri))


def runs_of(uri: str) -> dict[str, Any]:
    """Run name to run."""
    experiment = client(uri).get_experiment_by_name("perennial")
    assert experiment is not None
    found = client(uri).search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in found}) == len(found), "a run was doubled"
    return {run.info.run_name: run for run in found}


def history(uri: str, run_id: str, name: str) -> list[tuple[int, float]]:
    return sorted((m.step, m.value) for m in client(uri).get_metric_history(run_id, name))


def test_run_and_its_seeds_arrive_whole(tmp_path: Path, store_uri: str) -> None:
    folder = tmp_path / "runs" / "demo"
    (folder / "evaluation").mkdir(parents=True)
    (folder / "evaluation" / "report.html").write_text("<html></html>")
    tracker = RunTracker(folder, tracking(store_uri))
    with tracker.start(CONFIG, {"data_sha256": "d" * 64}, overrides=["seed=3"]):
        for seed in (3, 4):
            with tracker.child(f"seed-{seed}").start({"seed": seed}, {"seed": str(seed)}) as child:
                for step in range(0, 3000, 10):
                    child.log_metrics({"train/reward": step / 7, "train/kl": 0.5}, step)
        tracker.log_metrics({"test/return": 0.25, "test/nan": float("nan")}, 0)
        tracker.log_artifact(folder / "evaluation", "reports")
    runs = runs_of(store_uri)
    assert set(runs) == {"demo", "seed-3", "seed-4"}
    parent = runs["demo"]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["data_sha256"] == "d" * 64
    assert len(parent.data.tags["commit"]) == 40
    assert parent.data.tags["dirty"] in {"true", "false"}
    assert len(parent.data.tags["lock_sha256"]) == 64
    assert parent.data.params["agent.hidden"] == "[64, 64]"
    assert parent.data.params["agent.lr"] == "0.0003"
    assert parent.data.metrics["test/return"] == 0.25
    for seed in (3, 4):
        run = runs[f"seed-{seed}"]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["seed"] == str(seed)
        expected = [(step, step / 7) for step in range(0, 3000, 10)]
        assert history(store_uri, run.info.run_id, "train/reward") == expected
    artifacts = {f.path for f in client(store_uri).list_artifacts(parent.info.run_id)}
    assert artifacts == {"config.yaml", "overrides.yaml", "reports"}
    inner = client(store_uri).list_artifacts(parent.info.run_id, "reports/evaluation")
    assert [item.path for item in inner] == ["reports/evaluation/report.html"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["agent"]["hidden"] == [64, 64]
    assert read_status(folder).state == "FINISHED"


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (ValueError("bad data"), "FAILED", "ValueError: bad data"),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt"),
        (SystemExit(143), "KILLED", "SystemExit: 143"),
    ],
)
def test_ending_by_error_is_recorded_everywhere(
    tmp_path: Path, store_uri: str, error: BaseException, state: str, message: str
) -> None:
    folder = tmp_path / "broken"
    with pytest.raises(type(error)), RunTracker(folder, tracking(store_uri)).start({}):
        raise error
    run = runs_of(store_uri)["broken"]
    assert (run.info.status, run.data.tags["error"]) == (state, message)
    status = read_status(folder)
    assert (status.state, status.error) == (state, message)


@pytest.fixture
def short_lock_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow waits 20 s for a locked SQLite file, without a setting for it."""
    utils = importlib.import_module("mlflow.store.db.utils")

    class Impatient:
        text = staticmethod(lambda query: sqlalchemy.text(query.replace("20000", "200")))

        def __getattr__(self, name: str) -> Any:
            return getattr(sqlalchemy.sql, name)

    monkeypatch.setattr(utils, "sql", Impatient())


@pytest.mark.usefixtures("short_lock_wait")
def test_locked_store_never_stops_a_training(
    tmp_path: Path, store_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = store_uri.removeprefix("sqlite:///").partition("?")[0]
    folder = tmp_path / "run"
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    tracker = RunTracker(folder, tracking(store_uri, finish_seconds=1.0)).start(CONFIG)
    for step in range(100):
        tracker.log_metrics({"x": float(step)}, step)
    assert not tracker.flush(2.5)
    lock.execute("ROLLBACK")
    lock.close()
    assert tracker.flush(30.0)
    assert tracker.finish()
    run = runs_of(store_uri)["run"]
    assert history(store_uri, run.info.run_id, "x") == [(k, float(k)) for k in range(100)]
    warnings = [r.getMessage() for r in caplog.records if "does not take metrics" in r.getMessage()]
    assert len(warnings) == 1, "one warning, however often it fails"
    assert "training goes on" in warnings[0]
    assert "answers again" in caplog.text


def test_unreachable_server_leaves_the_journal_for_sync(
    tmp_path: Path, store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder = tmp_path / "offline"
    tracker = RunTracker(folder, tracking("http://127.0.0.1:9", finish_seconds=2.0)).start(CONFIG)
    with tracker.child("seed-0").start({"seed": 0}) as child:
        child.log_metrics({"x": 1.5}, 1)
    assert not tracker.finish()
    assert read_status(folder).state == "FINISHED"
    assert sync_journals(folder, store_uri) > 0
    assert sync_journals(folder, store_uri) == 0, "nothing is left for a second time"
    runs = runs_of(store_uri)
    assert runs["offline"].info.status == "FINISHED"
    assert history(store_uri, runs["seed-0"].info.run_id, "x") == [(1, 1.5)]


def test_store_that_fails_between_loses_and_doubles_nothing(
    tmp_path: Path, store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second call fails, half of them after the store has already done its work."""
    rng = np.random.default_rng(7)
    fates: list[str] = []

    def unreliable(name: str) -> None:
        real = getattr(MlflowStore, name)

        def call(self: MlflowStore, *args: Any) -> Any:
            fate = str(rng.choice(["works", "works", "refused", "answer lost"]))
            fates.append(fate)
            if fate == "refused":
                raise ConnectionError(fate)
            result = real(self, *args)
            if fate == "answer lost":
                raise ConnectionError(fate)
            return result

        monkeypatch.setattr(MlflowStore, name, call)

    for name in ("ensure_run", "log_metrics", "set_tags", "log_params", "set_status"):
        unreliable(name)
    folder = tmp_path / "run"
    tracker = RunTracker(folder, tracking(store_uri, mlflow=False)).start(CONFIG)
    with tracker.child("seed-0").start({"seed": 0}) as child:
        for step in range(2500):
            child.log_metrics({"x": float(step)}, step)
    tracker.finish()
    for _ in range(200):
        try:
            if sync_journals(folder, store_uri) == 0:
                break
        except ConnectionError:
            continue
    assert fates.count("refused") > 1
    assert fates.count("answer lost") > 1
    runs = runs_of(store_uri)
    assert set(runs) == {"run", "seed-0"}
    expected = [(step, float(step)) for step in range(2500)]
    assert history(store_uri, runs["seed-0"].info.run_id, "x") == expected
    assert runs["run"].info.status == "FINISHED"


def test_lost_delivery_state_and_lost_store_are_mended_by_sync(
    tmp_path: Path, store_uri: str, empty_store: Path
) -> None:
    folder = tmp_path / "run"
    with RunTracker(folder, tracking(store_uri)).start(CONFIG) as tracker:
        tracker.log_metrics({"x": 1.0}, 1)
    (folder / ".tracking.json").write_text("{ torn")
    assert sync_journals(folder, store_uri) > 0
    run = runs_of(store_uri)["run"]
    assert history(store_uri, run.info.run_id, "x") == [(1, 1.0)]
    other = tmp_path / "other.db"
    other.write_bytes(empty_store.read_bytes())
    assert sync_journals(folder, f"sqlite:///{other}") > 0
    client(store_uri).delete_run(run.info.run_id)
    assert sync_journals(folder, store_uri) > 0, "a run deleted in the store is sent anew"


def test_resume_repeats_no_step(tmp_path: Path, store_uri: str) -> None:
    folder = tmp_path / "run"
    tracker = RunTracker(folder, tracking(store_uri)).start(CONFIG)
    for step in range(10):
        tracker.log_metrics({"x": float(step)}, step)
    assert tracker.flush(30.0)
    tracker.finish("KILLED")
    assert runs_of(store_uri)["run"].info.status == "KILLED"
    with pytest.raises(FileExistsError, match="expected a folder without a run"):
        RunTracker(folder, tracking(store_uri)).start(CONFIG)
    resumed = RunTracker(folder, tracking(store_uri)).start(CONFIG, resume_step=5)
    assert resumed.flush(30.0)
    assert runs_of(store_uri)["run"].info.status == "RUNNING"
    for step in range(6, 15):
        resumed.log_metrics({"x": float(step), "late": 0.0}, step)
    assert resumed.finish()
    run = runs_of(store_uri)["run"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["resumed_at_step"] == "5"
    assert history(store_uri, run.info.run_id, "x") == [(k, float(k)) for k in range(15)]
    assert [step for step, _ in history(store_uri, run.info.run_id, "late")] == [*range(6, 15)]


KILLED_IN_A_RUN = """
import sys, time
from pathlib import Path
from training.tracking.config import TrackingConfig
from training.tracking.tracker import RunTracker
config = TrackingConfig(uri=sys.argv[2], batch_seconds=0.01)
tracker = RunTracker(Path(sys.argv[1]), config).start({"a": 1})
for step in range(10**6):
    tracker.log_metrics({"x": float(step)}, step)
    time.sleep(0.001)
"""


def test_sigkill_and_resume_give_every_step_once(tmp_path: Path, store_uri: str) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", KILLED_IN_A_RUN, str(folder), store_uri]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 60
        while delivered(folder) < 3000 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    assert delivered(folder) >= 3000
    assert read_status(folder).effective == "KILLED"
    recorded = [e.step for e in read_journal(folder / "journal.jsonl") if e.kind == "metrics"]
    checkpoint, end = recorded[len(recorded) // 2], recorded[-1] + 50
    with RunTracker(folder, tracking(store_uri)).start(CONFIG, resume_step=checkpoint) as tracker:
        for step in range(checkpoint + 1, end):
            tracker.log_metrics({"x": float(step)}, step)
    run = runs_of(store_uri)["run"]
    assert run.info.status == "FINISHED"
    expected = [(step, float(step)) for step in range(end)]
    assert history(store_uri, run.info.run_id, "x") == expected
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    scalars = [(scalar.step, scalar.value) for scalar in events.Scalars("x")]
    assert scalars == expected, "also what the killed process had not written yet"


def delivered(folder: Path) -> int:
    try:
        (state,) = json.loads((folder / ".tracking.json").read_text()).values()
    except (FileNotFoundError, ValueError):
        return 0
    return int(state["offset"])


def test_secrets_reach_no_trace_of_the_run(
    tmp_path: Path,
    store_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = "s3cr3t-value-of-the-exchange"
    monkeypatch.setenv("EXCHANGE_SECRET", secret)
    folder = tmp_path / "run"
    config = {"market": {"note": f"uses {secret}", "password": "short"}}
    tracker = RunTracker(folder, tracking(store_uri))
    overrides = [f"+market.note={secret}", "market.password=short"]
    tracker.start(config, {"note": secret, "source": "https://u:pw@h/x"}, overrides=overrides)
    (folder / "notes.txt").write_text(f"see {secret}")
    tracker.log_artifact(folder / "notes.txt")
    tracker.log_metrics({"x": 1.0}, 0)
    (folder / "notes.txt").write_text(f"see {secret}")
    tracker.finish("FAILED", f"could not log in with {secret}")
    (folder / "notes.txt").unlink()
    database = tmp_path / "mlflow.db"
    sqlite3.connect(database).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for path in [*folder.rglob("*"), *(tmp_path / "mlartifacts").rglob("*"), database]:
        if path.is_file():
            data = path.read_bytes()
            assert secret.encode() not in data, path
            assert b"u:pw@" not in data, path
    assert yaml.safe_load((folder / "config.yaml").read_text())["market"]["password"] == "***"
    assert secret not in caplog.text
    assert len(list((tmp_path / "mlartifacts").rglob("notes.txt"))) == 1


def test_sync_closes_a_run_whose_process_is_gone(tmp_path: Path, store_uri: str) -> None:
    folder = tmp_path / "run"
    tracker = RunTracker(folder, tracking(store_uri, mlflow=False)).start(CONFIG)
    tracker.log_metrics({"x": 1.0}, 1)
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"pid": 2**22 + 1}))
    sync_journals(folder, store_uri)
    run = runs_of(store_uri)["run"]
    assert (run.info.status, run.data.tags["error"]) == ("KILLED", "the process is gone")
    assert read_status(folder).state == "KILLED"
    assert [entry.kind for entry in read_journal(folder / "journal.jsonl")][-1] == "finish"


def test_without_mlflow_and_tensorboard_the_journal_stays(tmp_path: Path, store_uri: str) -> None:
    config = tracking(store_uri, mlflow=False, tensorboard=False)
    with RunTracker(tmp_path / "run", config).start({}) as tracker:
        tracker.log_metrics({"x": 1.0}, 1)
    kinds = [entry.kind for entry in read_journal(tmp_path / "run" / "journal.jsonl")]
    assert kinds == ["start", "artifact", "metrics", "finish"]
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_full_disk_does_not_hide_the_first_error(
    tmp_path: Path, store_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = RunTracker(tmp_path / "run", tracking(store_uri, mlflow=False)).start({})
    assert tracker._journal is not None
    os.close(tracker._journal._file)
    tracker._journal._file = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(JournalError, match="No space left"), tracker:
        tracker.log_metrics({"x": 1.0}, 1)
    assert "the end of the run is not recorded" in caplog.text
    os.close(tracker._journal._file)
    tracker._journal._file = -1


def test_masked_store_of_a_record_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    masked = tracking("http://***@host:5000")
    expected = (
        r"tracking\.uri: expected .* give tracking\.uri=\.\.\. again or set MLFLOW_TRACKING_URI"
    )
    with pytest.raises(TrackingError, match=expected):
        RunTracker(tmp_path / "run", masked)
    assert not (tmp_path / "run").exists()
    assert TrackingSession(tracking("http://***@host:5000", mlflow=False)).store.name
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:pw@host:5000")
    assert TrackingSession(masked).store.uri == "http://me:pw@host:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://***@host:5000")
    with pytest.raises(TrackingError, match=expected):
        TrackingSession(masked)


def test_missing_artifact_is_an_error_at_once(tmp_path: Path, store_uri: str) -> None:
    with RunTracker(tmp_path / "run", tracking(store_uri, mlflow=False)).start({}) as tracker:
        with pytest.raises(FileNotFoundError, match=r"report\.html: expected an artifact"):
            tracker.log_artifact(tmp_path / "report.html")
        with pytest.raises(ValueError, match=r"within the artifacts, found '\.\./x'"):
            tracker.log_artifact(tmp_path, to="../x")


def test_flatten_joins_names_with_dots() -> None:
    assert flatten({"a": {"b": {"c": 1}, "d": (1, 2)}, "e": None}) == {
        "a.b.c": 1,
        "a.d": [1, 2],
        "e": None,
    }

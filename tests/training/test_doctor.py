"""The doctor finds what is ill and says how to mend it."""

import http.server
import importlib.metadata
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from training import collisions, doctor, packages, runtime
from training.doctor import Check


def only(checks: list[Check]) -> Check:
    (check,) = checks
    assert bool(check.remedy) == (check.status != "ok"), "a remedy where one is needed, only there"
    return check


def test_healthy_machine_is_found_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in runtime.THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")
    checks = doctor.diagnose(tmp_path / "runs", f"sqlite:///{tmp_path}/mlflow.db")
    names = {check.name for check in checks}
    assert names >= {
        "python", "packages", "names", "threads", "memory", "disk", "runs folder",
        "tracking store", "kernel cache", "data", "device", "figures", "git", "privacy",
    }  # fmt: skip
    assert [check for check in checks if check.status == "fail"] == []
    data = [check.found for check in checks if check.name == "data"]
    assert "us_stocks: SHA-256 as pinned" in data
    text = doctor.render(checks)
    assert text.splitlines()[-1].endswith("0 fail")
    assert len(json.loads(doctor.to_json(checks))) == len(checks)
    assert not (tmp_path / "runs").exists(), "looking changes nothing"


def test_broken_check_is_a_failure_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> list[Check]:
        raise ZeroDivisionError("oh")

    for name in ("check_packages", "check_names", "check_data", "check_device", "check_git"):
        monkeypatch.setattr(doctor, name, broken)
    checks = doctor.diagnose(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    failed = [check for check in checks if check.status == "fail"]
    assert len(failed) == 5
    assert "ZeroDivisionError: oh" in failed[0].found
    assert "-> " in doctor.render(failed)
    assert {"python", "privacy"} <= {check.name for check in checks}


def test_other_python_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    assert only(doctor.check_python()).status == "fail"
    monkeypatch.undo()
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert only(doctor.check_python()).status == "warn"


def test_packages_that_differ_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = importlib.metadata.version("numpy")
    lock = tmp_path / "constraints.txt"
    lock.write_text(
        f"# exact\nnumpy=={numpy}+local\nPyYAML==0.0.1  # old\nnot_installed==1.0 ; extra\n\n"
    )
    monkeypatch.setattr(packages, "find_lock", lambda: lock)
    check = only(doctor.check_packages())
    assert check.status == "warn"
    installed = importlib.metadata.version("pyyaml")
    assert check.found == f"not as locked: pyyaml {installed} instead of 0.0.1"
    assert "constraints.txt" in check.remedy
    lock.write_text("numpy>=2\n")
    with pytest.raises(ValueError, match=r"constraints\.txt:1: expected name==version"):
        packages.read_lock(lock)


def test_missing_requirements_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_lock", lambda: None)
    lines = ["numpy>=2", "numpy<1", "no-such-package", "torch; extra == 'gpu'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: lines)
    unmet, lockless = doctor.check_packages()
    assert (unmet.status, lockless.status) == ("fail", "warn")
    assert unmet.found.startswith("numpy<1 expected, found ")
    assert unmet.found.endswith("; no-such-package is not installed")


def test_name_collisions_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    intruder = collisions.Collision("agents", "the distribution openai-agents 1.0", None)
    monkeypatch.setattr(collisions, "find_collisions", lambda: [intruder])
    check = only(doctor.check_names())
    assert check.status == "fail"
    assert "openai-agents 1.0" in check.found


@pytest.mark.parametrize(
    ("values", "status", "word"),
    [
        (["1"] * 5, "ok", "1 of"),
        (["4096"] * 5, "warn", "4096 threads on"),
        (["1", "2", "1", "1", "1"], "warn", "MKL_NUM_THREADS=2"),
    ],
)
def test_threads(
    monkeypatch: pytest.MonkeyPatch, values: list[str], status: str, word: str
) -> None:
    for name, value in zip(runtime.THREAD_VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    check = only(doctor.check_threads())
    assert (check.status, word in check.found) == (status, True)


@pytest.mark.parametrize(("free", "status"), [(8.0, "ok"), (1.0, "warn"), (0.1, "fail")])
def test_memory_and_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: float, status: str
) -> None:
    size = int(free * 1024**3)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=size))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=size))
    assert only(doctor.check_memory()).status == status
    assert only(doctor.check_disk(tmp_path / "a" / "b")).status == status


def test_unwritable_folder_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(doctor.check_folder(tmp_path / "runs")).status == "ok"
    assert list(tmp_path.iterdir()) == []

    def refuse(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    check = only(doctor.check_folder(tmp_path / "runs"))
    assert check.status == "fail"
    assert f"{tmp_path}: expected a writable folder, found: Permission denied" in check.found
    assert only(doctor.check_store(f"sqlite:///{tmp_path}/m.db")).status == "fail"
    assert only(doctor.check_kernel_cache()).status == "warn"


def test_sqlite_stores(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    assert "will be made" in only(doctor.check_store(f"sqlite:///{path}")).found
    path.write_text("no database at all, but long enough to be read as one" * 40)
    assert only(doctor.check_store(f"sqlite:///{path}")).status == "fail"
    path.unlink()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE experiments (x)")
    assert only(doctor.check_store(f"sqlite:///{path}")).status == "ok"
    connection.execute("CREATE TABLE _alembic_tmp_latest_metrics (x)")
    assert "torn or foreign" in only(doctor.check_store(f"sqlite:///{path}")).found
    connection.close()


def test_locked_sqlite_store_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mlflow.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE experiments (x)")
    holder.execute("BEGIN EXCLUSIVE")
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda p, **k: real(p, **(k | {"timeout": 0.05})))
    assert "database is locked" in only(doctor.check_store(f"sqlite:///{path}")).found
    holder.close()


@pytest.fixture
def health_server() -> Iterator[str]:
    class Healthy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silence."""

    with http.server.HTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_server_stores(health_server: str) -> None:
    assert only(doctor.check_store(health_server)).found == f"{health_server} answers 200"
    gone = only(doctor.check_store("http://me:secret@127.0.0.1:9"))
    assert gone.status == "warn"
    assert "perennial sync RUN" in gone.remedy
    assert "secret" not in gone.found
    assert (
        only(doctor.check_store("postgresql://a:b@h/d")).found == "postgresql://***@h/d (not tried)"
    )


def test_altered_data_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from markets.sources import catalog

    problem = "us_stocks: expected SHA-256 1, found 2; pip install x==1"
    monkeypatch.setattr(catalog, "verify_embedded", lambda: {"us_stocks": problem})
    first = doctor.check_data()[0]
    assert (first.status, first.remedy) == ("fail", "pip install x==1")
    assert first.found == "us_stocks: expected SHA-256 1, found 2"


def test_window_backend_without_screen_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl

    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(mpl, "get_backend", lambda: "TkAgg")
    if sys.platform.startswith("linux"):
        assert only(doctor.check_matplotlib()).remedy == "export MPLBACKEND=Agg"
    monkeypatch.setattr(mpl, "get_backend", lambda: "agg")
    assert only(doctor.check_matplotlib()).status == "ok"


def test_driver_without_usable_gpu_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    assert only(doctor.check_device()).status == "warn"
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert only(doctor.check_device()).status == "ok"


def test_git_and_privacy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "git_state", lambda: None)
    assert only(doctor.check_git()).status == "warn"
    for name in runtime.PRIVACY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert only(doctor.check_privacy()).status == "ok"
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    check = only(doctor.check_privacy())
    assert check.remedy == "unset RAY_USAGE_STATS_ENABLED"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"

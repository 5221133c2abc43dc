"""The run's status file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from markets.atomic import write_whole
from training.status import StatusError, StatusFile, read_status


def test_a_run_from_beginning_to_end(tmp_path: Path) -> None:
    file = StatusFile(tmp_path / "run")
    begun = file.running()
    assert (begun.state, begun.pid, begun.alive) == ("RUNNING", os.getpid(), True)
    file.checkpoint(tmp_path / "run" / "seed-0" / "checkpoints" / "step-000001000")
    file.headline({"net return": 0.125, "sharpe": float("nan")})
    ended = file.finish("FINISHED")
    read = read_status(tmp_path / "run")
    assert read.checkpoint == "seed-0/checkpoints/step-000001000"
    assert read.headline["net return"] == 0.125
    assert read.headline["sharpe"] != read.headline["sharpe"]
    assert read.started == begun.started
    assert read.ended is not None
    assert read.ended >= read.started
    assert (read.state, read.effective, ended.state) == ("FINISHED",) * 3


def test_resumed_run_keeps_its_beginning_and_checkpoint(tmp_path: Path) -> None:
    first = StatusFile(tmp_path)
    begun = first.running()
    first.checkpoint(tmp_path / "c")
    first.finish("FAILED", "ValueError: no")
    again = StatusFile(tmp_path).running()
    assert (again.state, again.started, again.checkpoint) == ("RUNNING", begun.started, "c")
    assert again.error is None
    assert again.ended is None


def test_killed_process_is_seen(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from training.status import StatusFile\n"
        "StatusFile(Path(sys.argv[1])).running(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -9
    status = read_status(tmp_path)
    assert (status.state, status.effective) == ("RUNNING", "KILLED")


def test_reused_process_number_is_not_taken_for_the_run(tmp_path: Path) -> None:
    StatusFile(tmp_path).running()
    values = json.loads((tmp_path / "status.json").read_text())
    values["process_started"] -= 3600.0
    (tmp_path / "status.json").write_text(json.dumps(values))
    assert read_status(tmp_path).effective == "KILLED"
    (tmp_path / "status.json").write_text(json.dumps(values | {"host": "elsewhere"}))
    assert read_status(tmp_path).effective == "RUNNING", "another machine cannot be asked"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "RUNNING"}', '{"headline": 3}'])
def test_damaged_status_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(StatusError, match=r"status\.json: expected a run's status"):
        read_status(tmp_path)


def test_failed_write_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.json"
    write_whole(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["status.json"]


def test_error_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCHANGE_TOKEN", "tok-123456789")
    file = StatusFile(tmp_path)
    file.running()
    file.finish("FAILED", "refused tok-123456789")
    assert read_status(tmp_path).error == "refused ***"

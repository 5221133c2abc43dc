"""The command line: answers fast, says one clear thing, hands over what it is given."""

import ast
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import types
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import perennial
from training.commands import main as cli
from training.commands import runs as runs_command
from training.commands import ui
from training.status import StatusFile
from training.tracking import mlflow_store
from training.tracking.config import TrackingConfig
from training.tracking.tracker import RunTracker

ROOT = Path(__file__).resolve().parents[2]
MLFLOW_WARNING = pytest.mark.filterwarnings(
    # MLflow 3.17 uses a loader option that SQLAlchemy 2.1 deprecates.
    "ignore:The ``noload`` loader strategy:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of its own, and the environment as it was."""
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    for name in ("MLFLOW_TRACKING_URI", cli.DEBUG_VARIABLE):
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['perennial', '--help']\n"
        "import perennial; code = perennial.main()\n"
        "names = {'numpy', 'torch', 'mlflow', 'ray', 'hydra', 'rich', 'pydantic', 'yaml'}\n"
        "print([code, sorted(names & set(sys.modules))])"
    )
    begin = time.process_time(), os.times().children_user
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert os.times().children_user - begin[1] < 1.0
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == [0, []]
    for verb in (verb.name for verb in cli.VERBS):
        assert re.search(rf"^  perennial {verb} .*# ", done.stdout, re.MULTILINE), verb


def test_the_help_of_train_names_every_market_and_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert perennial.main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    markets = sorted(path.stem for path in (ROOT / "conf" / "market").glob("*.yaml"))
    assert len(markets) == 3
    assert all(f"market={name}" in text for name in markets)
    assert "perennial train regime=hmm " in text
    listed = dict(re.findall(r"^  (\w+)= +(\S.*)$", text, re.MULTILINE))
    assert {"features", "regime", "market", "agent"} <= listed.keys()
    found = (ROOT / "conf").glob("*/*.yaml")
    assert {(group, name) for group in listed for name in listed[group].split(", ")} == {
        (path.parent.name, path.stem) for path in found
    }


def test_flags_of_hydra_that_exclude_each_other_are_a_user_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert perennial.main(["train", "-m", "--cfg", "job"]) == 2
    assert "perennial: Only one of --run, --multirun, --cfg" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [verb.name for verb in cli.VERBS])
def test_every_verb_has_examples_that_parse(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert perennial.main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    examples = [line for line in text.splitlines() if line.startswith(f"  perennial {verb} ")]
    examples += [line for line in text.splitlines() if line.strip() == f"perennial {verb}"]
    assert examples
    module = next(v.module for v in cli.VERBS if v.name == verb)
    for line in examples:
        words = shlex.split(line, comments=True)[1:]
        if not hasattr(module, "run_rest"):
            assert cli.build_parser().parse_args(words).verb == verb


@pytest.mark.parametrize("arguments", [[], ["fly"], ["ui", "netscape"], ["doctor", "--what"]])
def test_nonsense_is_a_user_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert perennial.main(arguments) == 2
    assert "usage: perennial" in capsys.readouterr().err


def fake_module(monkeypatch: pytest.MonkeyPatch, name: str, function: Any) -> None:
    module = types.ModuleType(name)
    module.main = function  # type: ignore[attr-defined] # a module made for the test
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys.modules["training"], name.rpartition(".")[2], module, raising=False)


def test_train_gets_its_arguments_with_the_process_prepared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def main(argv: list[str]) -> int:
        seen.append((argv, os.environ["OMP_NUM_THREADS"], os.environ["MLFLOW_DISABLE_TELEMETRY"]))
        return 7

    for name in ("OMP_NUM_THREADS", "MLFLOW_DISABLE_TELEMETRY"):
        os.environ.pop(name, None)
    fake_module(monkeypatch, "training.train", main)
    assert perennial.main(["train", "--debug", "seed=3", "-m", "threads=1"]) == 7
    assert seen == [(["seed=3", "-m", "threads=1"], "1", "true")]


def test_evaluate_gets_the_folder_of_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[list[str]] = []

    def main(argv: list[str]) -> int:
        seen.append(argv)
        return 0

    fake_module(monkeypatch, "training.evaluate", main)
    StatusFile(Path("runs/first")).running()
    time.sleep(0.01)
    StatusFile(Path("runs/second")).running()
    assert perennial.main(["evaluate", "first", "--quick"]) == 0
    assert perennial.main(["evaluate", "latest"]) == 0
    assert seen == [["runs/first", "--quick"], ["runs/second"]]
    assert perennial.main(["evaluate", "third"]) == 2
    message = "third: expected the folder of a run, found none; the newest are second, first"
    assert message in capsys.readouterr().err
    assert perennial.main(["evaluate"]) == 2


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (cli.UsageError("seed: expected 0 or more, found -1"), 2, "perennial: seed: expected"),
        (FileNotFoundError(2, "No such file", "x.csv"), 2, "x.csv"),
        (ZeroDivisionError("by zero"), 1, "unexpected ZeroDivisionError: by zero"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (KeyboardInterrupt("go on with: x"), 130, "interrupted: go on with: x\n"),
    ],
)
def test_errors_become_one_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    def fail(_: list[str]) -> int:
        raise error

    fake_module(monkeypatch, "training.train", fail)
    assert perennial.main(["train"]) == code
    text = capsys.readouterr().err
    assert message in text
    assert "Traceback" not in text
    if not isinstance(error, KeyboardInterrupt):
        assert perennial.main(["train", "--debug"]) == code
        assert "Traceback" in capsys.readouterr().err
        monkeypatch.setenv(cli.DEBUG_VARIABLE, "1")
        perennial.main(["train"])
        assert "Traceback" in capsys.readouterr().err


def test_messages_hold_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXCHANGE_SECRET", "abcdef-123456")

    def fail(_: list[str]) -> int:
        raise cli.UsageError("refused abcdef-123456")

    fake_module(monkeypatch, "training.train", fail)
    assert perennial.main(["train"]) == 2
    assert capsys.readouterr().err == "perennial: refused ***\n"


def test_value_errors_count_by_where_they_come_from() -> None:
    def raised(function: Any, *args: Any) -> Exception:
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001 - whatever comes is the subject
            return error
        raise AssertionError("expected an error")

    assert cli.is_user_error(raised(ui.check_port, 0))
    assert cli.is_user_error(raised(lambda: TrackingConfig(batch_seconds=-1.0)))
    assert not cli.is_user_error(raised(cli.run))
    ours = raised(
        lambda: RunTracker(Path("x"), TrackingConfig(mlflow=False)).log_metrics({"a": 1}, 0)
    )
    assert cli.is_user_error(ours)
    assert not cli.is_user_error(raised(json.loads, "{"))
    assert cli.is_user_error(ModuleNotFoundError("no ccxt", name="ccxt"))
    assert not cli.is_user_error(ModuleNotFoundError("no envs.x", name="envs.x"))
    assert not cli.is_user_error(ImportError("cannot import name 'x' from 'envs'", name="envs"))


def test_guard_runs_before_a_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fake_module(monkeypatch, "training.train", lambda _: 0)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("")
    (tmp_path / "envs-9.dist-info").mkdir()
    (tmp_path / "envs-9.dist-info" / "METADATA").write_text("Name: envs\nVersion: 9\n")
    (tmp_path / "envs-9.dist-info" / "RECORD").write_text("envs/__init__.py,,\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert perennial.main(["train"]) == 2
    assert "envs: expected to be of perennial" in capsys.readouterr().err


def test_runs_are_listed_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert perennial.main(["runs", "ls"]) == 0
    assert "no runs yet" in capsys.readouterr().out
    failed = StatusFile(Path("runs/a"))
    failed.running()
    failed.finish("FAILED", "ValueError: bad\nmore")
    time.sleep(0.01)
    good = StatusFile(Path("runs/multi/b"))
    good.running()
    good.headline({"test/log_growth": 0.12345, "test/sharpe": float("nan")})
    good.finish("FINISHED")
    Path("runs/broken").mkdir()
    Path("runs/broken/status.json").write_text("{")
    assert perennial.main(["runs", "ls"]) == 0
    passed, _, second, third = capsys.readouterr().out.splitlines()
    assert passed.startswith("passed over: runs/broken/status.json")
    assert re.match(r"runs/multi/b +FINISHED +2.* log growth 0\.1235, sharpe nan", second)
    assert re.match(r"runs/a +FAILED .*ValueError: bad$", third)
    Path("runs/broken/status.json").unlink()
    assert perennial.main(["runs", "ls", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [item["run"] for item in listed] == ["runs/multi/b", "runs/a"]
    assert listed[0]["headline"] == {"test/log_growth": 0.12345, "test/sharpe": None}
    assert runs_command.find_run("latest") == Path("runs/multi/b")


@MLFLOW_WARNING
def test_sync_sends_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with RunTracker(Path("runs/x"), TrackingConfig(mlflow=False)).start({}) as tracker:
        tracker.log_metrics({"a": 1.0}, 0)
    uri = f"sqlite:///{tmp_path}/other.db"
    assert perennial.main(["sync", "latest", "--uri", uri]) == 0
    assert re.search(r"runs/x: \d+ records sent", capsys.readouterr().out)
    assert perennial.main(["sync", "runs/x", "--uri", uri]) == 0
    assert "nothing left to send" in capsys.readouterr().out
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    assert perennial.main(["sync", "x", "--uri", "http://127.0.0.1:9"]) == 2
    assert "the tracking store does not take the journal" in capsys.readouterr().err
    Path("runs/empty").mkdir()
    assert perennial.main(["sync", "empty"]) == 2
    assert "expected a run with a journal.jsonl" in capsys.readouterr().err


def test_data_faces(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert perennial.main(["data", "ls"]) == 0
    assert re.search(r"^us_stocks +3,270 ", capsys.readouterr().out, re.MULTILINE)
    assert perennial.main(["data", "ls", "--long"]) == 0
    assert "licence" in capsys.readouterr().out
    assert perennial.main(["data", "check", "aapl_adjusted"]) == 0
    assert "aapl_adjusted: no faults" in capsys.readouterr().out
    (tmp_path / "bad.csv").write_text("date,open,high,low,close,volume\n2020-01-02,1,0.5,1,1,1\n")
    assert perennial.main(["data", "check", "bad.csv"]) == 1
    assert "FAULTS" in capsys.readouterr().out
    assert perennial.main(["data", "check", "nothing.csv"]) == 2
    assert "nothing.csv: expected one of" in capsys.readouterr().err
    assert perennial.main(["data", "fetch", "aapl_adjusted"]) == 0
    assert "aapl_adjusted: 1,509 bars of" in capsys.readouterr().out
    words = ["data", "fetch", "data.kind=packages", "dataset=aapl_adjusted"]
    assert perennial.main(words) == 0
    assert "1,509 bars" in capsys.readouterr().out
    assert perennial.main(["data", "fetch", "kind=yfinanc"]) == 2


def test_busy_port_is_named_with_a_free_one(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs").mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert perennial.main(["ui", "tensorboard", "--port", str(port)]) == 2
    text = capsys.readouterr().err
    assert f"port {port}: expected a free port on 127.0.0.1, found it in use; --port " in text
    assert perennial.main(["ui", "tensorboard", "--port", "99999"]) == 2
    Path("runs").rmdir()
    assert perennial.main(["ui", "tensorboard"]) == 2
    assert "runs: expected the folder of the runs" in capsys.readouterr().err


def test_server_store_needs_no_ui_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert perennial.main(["ui", "mlflow", "--uri", "http://127.0.0.1:5000"]) == 0
    assert "is a server: open it in a browser" in capsys.readouterr().out


def test_mlflow_ui_shows_the_store_on_loopback_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []
    started: list[list[str]] = []
    monkeypatch.setattr(mlflow_store, "client_for", made.append)
    monkeypatch.setattr(os, "execv", lambda _, command: started.append(command))
    port = ui.free_port()
    assert perennial.main(["ui", "mlflow", "--port", str(port)]) == 0
    store = f"sqlite:///{tmp_path}/mlflow.db?timeout=60"
    assert made == [store], "the file is made under a lock before the server opens it"
    (command,) = started
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert command[1:4] == ["-m", "mlflow", "server"]
    assert options["--host"] == "127.0.0.1"
    assert options["--backend-store-uri"] == store
    assert options["--port"] == str(port)
    assert os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert f"http://127.0.0.1:{port}" in capsys.readouterr().out


def test_tensorboard_ui_serves_the_runs(tmp_path: Path) -> None:
    with RunTracker(Path("runs/x"), TrackingConfig(mlflow=False)).start({}) as tracker:
        tracker.log_metrics({"a": 1.0}, 0)
    port = ui.free_port()
    with subprocess.Popen(
        [sys.executable, str(ROOT / "perennial.py"), "ui", "tensorboard", "--port", str(port)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert "x/tensorboard" in json.loads(fetch(f"http://127.0.0.1:{port}/data/runs"))
        finally:
            process.send_signal(signal.SIGKILL)


def fetch(url: str) -> str:
    """The page, as soon as it holds a run."""
    deadline = time.monotonic() + 60
    text = ""
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            text = ""
        if text not in ("", "[]"):
            return text
        time.sleep(0.2)
    raise AssertionError(f"{url}: no answer with a run, last {text!r}")


def test_doctor_face(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from training import doctor

    ill = [doctor.Check("disk", "fail", "0.1 GiB free", "free some space")]
    monkeypatch.setattr(doctor, "diagnose", lambda *_: ill)
    assert perennial.main(["doctor"]) == 1
    assert "-> free some space" in capsys.readouterr().out
    assert perennial.main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["status"] == "fail"
    monkeypatch.setattr(doctor, "diagnose", lambda *_: [doctor.Check("a", "ok", "b")])
    assert perennial.main(["doctor"]) == 0

"""The main job end to end, at its smallest: tracked, judged, stopped, killed, resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from evaluation.ledger import Ledger
from markets.manifest import ManifestError
from perennial import main
from training.checkpoint import CheckpointError, CheckpointStore
from training.evaluate import main as evaluate
from training.status import read_status

REPOSITORY = Path(__file__).resolve().parents[2]
LONGER = ("seeds=1", "schedule.total_steps=40960", "schedule.checkpoint_steps=4096")


def arguments(folder: Path, *overrides: str) -> list[str]:
    return [
        "debug=tiny",
        "device=cpu",
        "threads=1",
        f"run={folder}",
        f"tracking.uri=sqlite:///{folder.parent}/mlflow.db",
        *overrides,
    ]


def train(folder: Path, *overrides: str) -> None:
    assert main(["train", *arguments(folder, *overrides)]) == 0


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "perennial", "train", *overrides]
    return subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def store(folder: Path, seed: int = 0) -> CheckpointStore:
    return CheckpointStore(folder / f"seed-{seed}" / "checkpoints")


def weights(folder: Path, seed: int = 0) -> dict[str, torch.Tensor]:
    latest = store(folder, seed).latest()
    assert latest is not None
    return load_file(latest / "weights.safetensors")


def wait_for(condition: object, process: subprocess.Popen[str], seconds: float = 120.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "the run did not get there in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole small run of one seed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder, *LONGER)
    return folder


def test_a_run_leaves_ledgers_metrics_and_a_report_that_works_offline(finished: Path) -> None:
    evaluation = finished / "evaluation"
    document = json.loads((evaluation / "metrics.json").read_text())
    page = (evaluation / "report.html").read_text()
    assert document["verdict"].split(",")[0] in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    ledger = Ledger.from_parquet(evaluation / "test" / "agent-0.parquet")
    growth = np.log(ledger.equity[-1] / ledger.equity[0])
    years = ledger.num_bars / ledger.metadata.periods_per_year
    assert document["figures"]["agent"]["log_growth"] == pytest.approx(growth / years)


def test_a_run_says_that_it_has_finished_and_what_came_out(finished: Path) -> None:
    status = read_status(finished)
    assert status.state == "FINISHED"
    assert status.checkpoint is not None
    assert (finished / status.checkpoint / "manifest.json").is_file()
    assert set(status.headline) >= {"test/log_growth", "test/sharpe", "test/difference"}


def test_a_run_is_in_mlflow_with_its_seed_beneath_it(finished: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{finished.parent}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'perennial'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    root, child = runs["run"], runs["seed-0"]
    assert root.info.status == child.info.status == "FINISHED"
    assert child.data.tags["mlflow.parentRunId"] == root.info.run_id
    manifest = json.loads((finished / "data.json").read_text())
    assert root.data.tags["data_sha256"] == manifest["sha256"]
    assert {"commit", "lock_sha256", "seed"} <= set(root.data.tags)
    assert root.data.params["agent.ppo.epochs"] == "2"
    history = client.get_metric_history(child.info.run_id, "rollout/ep_rew_mean")
    assert len(history) == 39  # no episode ends in the first of 40 rollouts
    names = {file.path for file in client.list_artifacts(root.info.run_id)}
    assert {"config.yaml", "overrides.yaml", "evaluation"} <= names


def test_judging_again_gives_the_same_bytes(finished: Path) -> None:
    ledger = finished / "evaluation" / "test" / "agent-0.parquet"
    report = finished / "evaluation" / "report.html"
    before = ledger.read_bytes(), report.read_bytes()
    ledger.unlink()
    assert main(["evaluate", str(finished)]) == 0
    assert (ledger.read_bytes(), report.read_bytes()) == before


def test_a_killed_run_resumes_to_the_weights_of_the_uninterrupted_one(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = start(folder, *arguments(folder, *LONGER))
    wait_for(lambda: len(store(folder).steps()) >= 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert read_status(folder).effective == "KILLED"
    assert main(["train", f"resume={folder}"]) == 0
    assert read_status(folder).state == "FINISHED"
    resumed, whole = weights(folder), weights(finished)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    same = "evaluation/test/agent-0.parquet"
    assert (folder / same).read_bytes() == (finished / same).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_has_a_checkpoint_and_says_how_to_go_on(
    finished: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "run"
    process = start(folder, *arguments(folder, *LONGER))
    wait_for(lambda: store(folder).latest() is not None, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert f"perennial train resume={folder}" in output
    assert read_status(folder).state == "KILLED"
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'perennial'")
    states = {run.info.status for run in client.search_runs([experiment.experiment_id])}
    assert states == {"KILLED"}
    assert main(["train", f"resume={folder}"]) == 0
    resumed, whole = weights(folder), weights(finished)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_a_run_cannot_be_resumed_as_another_one(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["agent.ppo.epochs=9", "env.fee.bps=7", "seeds=2", "fold=1"]
    assert main(["train", f"resume={finished}", *words]) == 2
    message = capsys.readouterr().err
    assert "seeds: expected 1 as the run was started, was 2" in message
    assert "fold: expected 0 as the run was started, was 1" in message
    assert "agent.ppo.epochs: expected 2 as the run was started, was 9" in message
    assert "env.fee.bps: expected 1.0 as the run was started, was 7.0" in message


def test_changed_data_is_refused(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text((finished / "config.yaml").read_text())
    document = json.loads((finished / "data.json").read_text())
    (folder / "data.json").write_text(json.dumps(document | {"sha256": "0" * 64}))
    with pytest.raises(ManifestError, match="sha256: expected 0000"):
        evaluate([str(folder)])


def test_an_older_checkpoint_does_not_stand_in_for_a_truncated_one(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(folder, "seeds=1")
    latest = store(folder).latest()
    assert latest is not None
    damaged = latest / "weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=f"{latest.name}: expected a complete checkpoint"):
        evaluate([str(folder)])
    assert main(["train", f"resume={folder}"]) == 0


def test_a_split_that_no_action_explains_is_told_in_the_report(tmp_path: Path) -> None:
    rows = np.arange(700)
    close = 100.0 * np.exp(0.01 * np.sin(rows / 5.0)) / np.where(rows < 600, 1.0, 4.0)
    days = np.datetime64("2015-01-05") + rows
    lines = [
        f"{day},X,{p},{p * 1.01},{p * 0.99},{p},1000000" for day, p in zip(days, close, strict=True)
    ]
    bars = tmp_path / "bars.csv"
    bars.write_text("\n".join(["date,symbol,open,high,low,close,volume", *lines]) + "\n")
    train(tmp_path / "run", "seeds=1", "data=files", f"data.path={bars}", "split=fractions")
    page = (tmp_path / "run" / "evaluation" / "report.html").read_text()
    assert "looks like a split of 4 new shares per old one" in page


def test_a_failed_run_is_marked_with_its_error(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(folder, "seeds=1")
    for path in store(folder).steps().values():
        damaged = path / "weights.safetensors"
        content = bytearray(damaged.read_bytes())
        content[-1] ^= 1
        damaged.write_bytes(content)
    assert main(["train", f"resume={folder}"]) == 2
    status = read_status(folder)
    assert status.state == "FAILED"
    assert status.error is not None
    assert "weights.safetensors" in status.error


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("split=fractions", "env.episode.length=100000"), ("split.train", "100000")),
        (("fold=3",), ("fold", "below 1", "3")),
        (("data.symbols=[AAPL,TSLA]",), ("TSLA",)),
        (("data.start=2013-02-25",), ("split",)),
        (("agent.ppo.epochs=many",), ("agent.ppo.epochs", "many")),
        (("agent.ppo.gamma=0.9",), ("gamma",)),
        (("data=nothing",), ("data/nothing", "us_stocks")),
        (("agent.ppo.dicount=0.9",), ("agent.ppo.dicount: unknown key", "agent.ppo.discount")),
        (("data.symbols=[AAPL,FB]", "split.test=[2010-01-01,2011-01-01]"), ("data.symbols", "FB")),
    ],
)
def test_a_run_that_cannot_start_says_why(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    overrides: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    assert main(["train", *arguments(tmp_path / "run", *overrides)]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert "Traceback" not in message
    assert not (tmp_path / "run" / "status.json").exists()


EXPERIMENTS = sorted(path.stem for path in (REPOSITORY / "conf" / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_at_its_smallest_size(name: str, tmp_path: Path) -> None:
    train(tmp_path / "run", f"experiment={name}")
    recorded = yaml.safe_load((tmp_path / "run" / "overrides.yaml").read_text())
    assert f"experiment={name}" in recorded
    assert (tmp_path / "run" / "evaluation" / "report.html").is_file()

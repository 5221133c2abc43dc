"""Jobs of agents made of options: trained, killed and gone on with, judged again alike."""

import signal
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import yaml

from perennial import main
from tests.training.test_job import start, wait_for
from tests.training.test_market_job import document
from training.checkpoint import CheckpointStore, load
from training.status import read_status

OPTIONS = "agent=options"
SMALL = ("debug=tiny", "seeds=1", "device=cpu", "threads=1")
MARKET = ("market=garleanu_pedersen", OPTIONS, *SMALL)


def store(folder: Path) -> CheckpointStore:
    return CheckpointStore(folder / "seed-0" / "checkpoints")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    latest = store(folder).latest()
    assert latest is not None
    return dict(load(latest).weights)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole small run on a market with a known answer."""
    folder = tmp_path_factory.mktemp("options") / "run"
    tracking = f"tracking.uri=sqlite:///{folder.parent}/mlflow.db"
    assert main(["train", *MARKET, f"run={folder}", tracking]) == 0
    return folder


def test_a_run_is_judged_and_its_options_are_recorded(finished: Path) -> None:
    metrics = document(finished, "evaluation/metrics.json")
    assert {"agent", "oracle_known", "do_nothing"} <= {row["name"] for row in metrics["table"]}
    assert np.isfinite(read_status(finished).headline["optimality/ratio"])
    client = mlflow.MlflowClient(f"sqlite:///{finished.parent}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'perennial'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    history = client.get_metric_history(runs["seed-0"].info.run_id, "option/usage_entropy")
    # Of the update before: Stable-Baselines3 writes its log between a rollout and its update.
    assert [entry.step for entry in history] == [2048, 3072, 4096]
    assert all(0.0 <= entry.value <= 1.0 + 1e-6 for entry in history)


def test_judging_again_gives_the_same_bytes(finished: Path) -> None:
    names = [finished / "evaluation" / name for name in ("metrics.json", "report.html")]
    before = [name.read_bytes() for name in names]
    names[0].unlink()
    assert main(["evaluate", str(finished)]) == 0
    assert [name.read_bytes() for name in names] == before


def test_a_killed_run_resumes_to_the_weights_of_the_uninterrupted_one(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    words = ["train", *MARKET, "tracking=journal", f"run={folder}"]
    process = start(folder, *words[1:])
    wait_for(lambda: bool(store(folder).steps()), process, seconds=600.0)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert main(["train", f"resume={folder}"]) == 0
    resumed, whole = weights(folder), weights(finished)
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    first = (finished / "evaluation" / "metrics.json").read_bytes()
    assert (folder / "evaluation" / "metrics.json").read_bytes() == first


def test_weights_of_other_options_are_not_judged(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    saved = yaml.safe_load((finished / "config.yaml").read_text())
    saved["agent"]["options"] = saved["agent"]["options"][:2]
    (folder / "config.yaml").write_text(yaml.safe_dump(saved))
    (folder / "data.json").write_text((finished / "data.json").read_text())
    (folder / "seed-0").symlink_to(finished / "seed-0")
    assert main(["evaluate", str(folder)]) == 2
    assert "identity: options: expected 2, found 3" in capsys.readouterr().err


def test_on_recorded_data_the_belief_of_a_detector_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    detector = ("regime=hmm", "regime.detector.restarts=1")
    words = [OPTIONS, *SMALL, *detector, "tracking=journal", f"run={folder}"]
    mode = "agent.meta_controller.execution.mode=alternate"
    assert main(["train", *words, mode]) == 0
    assert (folder / "evaluation" / "report.html").is_file()
    latest = store(folder).latest()
    assert latest is not None
    identity = load(latest).trainer["identity"]
    assert identity["gate"] == "residual over 3 regimes"
    assert identity["execution"] == "alternate"
    before = (folder / "evaluation" / "report.html").read_bytes()
    assert main(["evaluate", str(folder)]) == 0
    assert (folder / "evaluation" / "report.html").read_bytes() == before

"""The main job on a market with a known answer: tracked, judged by the optimum, resumed."""

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from hydra import compose, initialize_config_module
from omegaconf import open_dict

from markets.manifest import ManifestError
from perennial import main
from training.agents import build_learner, policy_of
from training.checkpoint import CheckpointStore, load, read_manifest
from training.config import TrainConfig
from training.evaluate import main as evaluate
from training.status import read_status
from training.tasks.choice import open_task
from training.tasks.market import VALIDATION_SEED, MarketTask

MARKET = "market=garleanu_pedersen"


def configuration(*overrides: str) -> TrainConfig:
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=[MARKET, "debug=tiny", "device=cpu", *overrides])
    with open_dict(cfg):
        cfg.pop("resume")
    return TrainConfig.from_hydra(cfg)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole small run of one seed."""
    folder = tmp_path_factory.mktemp("market") / "run"
    tracking = f"tracking.uri=sqlite:///{folder.parent}/mlflow.db"
    words = [MARKET, "debug=tiny", "seeds=1", "device=cpu", "threads=1", f"run={folder}", tracking]
    assert main(["train", *words]) == 0
    return folder


def document(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text())
    return found


def test_a_run_tells_its_share_of_the_optimum_beside_the_others(finished: Path) -> None:
    metrics = document(finished, "evaluation/metrics.json")
    policies = {row["name"] for row in metrics["table"]}
    assert {"agent", "oracle_known", "do_nothing", "myopic"} <= policies
    headline = read_status(finished).headline
    low, share, high = (headline[f"optimality/ratio{end}"] for end in ("_low", "", "_high"))
    assert low < share < high
    assert share == metrics["ratio"]["estimate"]
    assert metrics["verdict"] in (finished / "evaluation" / "report.html").read_text()
    assert {"ratio.png", "policy.png", "holdings.png"} <= {
        path.name for path in (finished / "evaluation" / "figures").iterdir()
    }


def test_a_run_is_in_mlflow_with_its_market_and_its_share(finished: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{finished.parent}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'perennial'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    root, child = runs["run"], runs["seed-0"]
    assert root.data.tags["data_sha256"] == document(finished, "data.json")["sha256"]
    assert root.data.params["market.world.risk_aversion"] == "1.0"
    assert (
        root.data.metrics["optimality/ratio"] == read_status(finished).headline["optimality/ratio"]
    )
    assert len(client.get_metric_history(child.info.run_id, "validation/value_per_bar")) == 2


def test_checkpoints_hold_the_market_and_a_score(finished: Path) -> None:
    latest = CheckpointStore(finished / "seed-0" / "checkpoints").latest()
    assert latest is not None
    assert read_manifest(latest)["score"] is not None
    market = yaml.safe_load(load(latest).files["market.yaml"])
    assert market == document(finished, "data.json")["market"]
    assert market["world"]["kind"] == "garleanu_pedersen"


def test_judging_again_gives_the_same_bytes(finished: Path) -> None:
    names = [finished / "evaluation" / name for name in ("metrics.json", "report.html")]
    before = [name.read_bytes() for name in names]
    names[0].unlink()
    assert main(["evaluate", str(finished)]) == 0
    assert [name.read_bytes() for name in names] == before


def test_a_finished_run_can_be_resumed_but_not_on_another_market(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", f"resume={finished}", "agent.ppo.epochs=9"]) == 2
    assert "agent.ppo.epochs: expected 2 as the run was started" in capsys.readouterr().err
    saved = document(finished, "data.json")
    saved["market"]["world"]["risk_aversion"] = 3.0
    (tmp_path / "data.json").write_text(json.dumps(saved))
    (tmp_path / "config.yaml").write_text((finished / "config.yaml").read_text())
    with pytest.raises(ManifestError, match=r"world\.risk_aversion: expected 3\.0 .* found 1\.0"):
        evaluate([str(tmp_path)])
    assert main(["train", f"resume={finished}"]) == 0
    assert read_status(finished).state == "FINISHED"


def test_training_choice_and_judgement_play_other_paths() -> None:
    config = configuration("seeds=2")
    task = open_task(config)
    assert isinstance(task, MarketTask)
    seeds = {0, 1, config.evaluation.optimality.seed, VALIDATION_SEED}
    assert len(seeds) == 4
    policy = policy_of(build_learner(config, task, seed=0))
    one, two = (task.score(policy) for _ in range(2))
    assert one == two
    first, second = (task.simulator(seed).observe_index()[:, 1:] for seed in (0, 1))
    assert (first != second).any()


def test_the_digest_is_of_the_parameters() -> None:
    task = open_task(configuration())
    assert task.sha256 == open_task(configuration("seed=3")).sha256
    assert task.sha256 != open_task(configuration("market.world.cost=11.0")).sha256
    assert task.sha256 != open_task(configuration("market.episode_length=11")).sha256
    assert task.opening()[0].startswith("market  garleanu_pedersen: 1 assets, 3 regimes")

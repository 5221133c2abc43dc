"""Jobs of agents made of options: trained, killed and gone on with, judged again alike."""

import json
import signal
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import yaml

from evaluation.option_scores import LIMITS
from perennial import main
from tests.evaluation.option_policies import Always
from tests.training.test_job import start, wait_for
from tests.training.test_market_job import document
from training.checkpoint import CheckpointStore, load
from training.config import TrainConfig
from training.errors import ConfigError
from training.evaluate import Instead
from training.resume import resumed_config
from training.status import read_status

OPTIONS = "agent=options"
SMALL = ("debug=tiny", "seeds=1", "device=cpu", "threads=1")
SHORT = (
    "evaluation.optimality.length=40",
    "evaluation.optimality.episodes=16",
    "evaluation.optimality.bootstrap.resamples=100",
)
MARKET = ("market=garleanu_pedersen", "market.world.regime=belief", OPTIONS, *SMALL, *SHORT)
PLAIN = frozenset({"option_weights", "option_switches", "option_scores", "option_curve"})
"""Figures that every agent made of options has."""


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


def require_options(folder: Path, *figures: str, regimes: int) -> None:
    """The judgement holds scores of three options, a section of the report, and figures."""
    found = document(folder, "evaluation/options.json")
    text = json.dumps(found)
    assert all(f'"{name}"' in text for name in ("fixed_0", "uniform", "gate_frozen", "shift_2"))
    scores = found.get("scores", found)
    assert scores["names"] == ["option 0", "option 1", "option 2"]
    assert len(scores["regime_names"]) == len(scores["agent_R"]) == regimes
    assert len(scores["alone_KR"]) == 3
    assert [point["beta_max"] for point in scores["limits"]] == list(LIMITS)
    assert ">Options</h2>" in (folder / "evaluation" / "report.html").read_text()
    drawn = {path.stem for path in (folder / "evaluation" / "figures").glob("option_*.png")}
    assert drawn == PLAIN | {"option_ablations", *figures}


def test_the_judgement_tells_who_acted_and_what_options_are_worth(finished: Path) -> None:
    require_options(finished, "option_states", regimes=3)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_options_are_judged_under_other_controllers_beside_the_runs_own(finished: Path) -> None:
    before = files(finished / "evaluation")
    own = document(finished, "evaluation/options.json")
    names = ["fallback", "multiplicative_weights", "fixed:1"]
    judged = {}
    for name in names:
        assert main(["evaluate", str(finished), "--controller", name]) == 0
        folder = f"evaluation-{name.replace(':', '-')}"
        judged[name] = document(finished, f"{folder}/options.json")
        assert (finished / folder / "report.html").is_file()
    assert main(["evaluate", str(finished), "--execution", "mode"]) == 0
    judged["mode"] = document(finished, "evaluation-mode/options.json")
    # Judged as the agent, each is what it is beside the agent that was trained.
    for name, judgement in judged.items():
        variant = own["variants"][name.replace("fixed:", "fixed_")]
        assert judgement["agent"]["estimate"] == pytest.approx(
            variant["value"]["estimate"], abs=1e-9
        )
    assert len({judgement["agent"]["estimate"] for judgement in judged.values()}) == 4
    assert files(finished / "evaluation") == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--controller", "fixed:3"), "--controller: controller.option: expected one of 0 .. 2"),
        (("--controller", "best"), "or fixed:K, found 'best'"),
        (("--controller", "fixed:one"), "or fixed:K, found 'fixed:one'"),
        (
            ("--execution", "hard"),
            "--execution: expected blended (all act, by their weights), sampled (one at a time",
        ),
        (("--execution", "hard"), "mode (one at a time, the likeliest), found 'hard'"),
    ],
)
def test_controllers_that_there_are_not_are_refused(
    finished: Path, words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {path.name for path in finished.iterdir()}
    assert main(["evaluate", str(finished), *words]) == 2
    assert told in capsys.readouterr().err
    assert {path.name for path in finished.iterdir()} == folders


BETA = "agent.meta_controller.execution.beta_max"
ASKED = f"{BETA}: expected 0.22 as the run was started, was"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((f"{BETA}=0.3",), f"{ASKED} 0.3"),
        ((f"{BETA}=3",), f"{ASKED} 3"),
        (("market.world.cost=11",), "market.world.cost: expected 10.0 as the run was started, was"),
        (("+agent.meta_controller.controller={kind: fixed}",), "kind: expected 'residual' as"),
        (("agent.meta_controller.execution.beta=0.3",), "beta: unknown key, was 0.3; did you mean"),
        (("agent=ppo",), "agent.kind: expected 'options' as the run was started, was 'flat'"),
        (("agent=options", f"{BETA}=0.3"), f"{ASKED} 0.3"),
        (("debug=tiny", "seed=3"), "seed: expected 0 as the run was started, was 3"),
        (("market=regime_gbm",), "market.world.kind: expected 'garleanu_pedersen' as"),
        (("agent=nope",), "Could not find 'agent/nope'"),
        (("~agent.policy",), "agent.policy: expected name=value with a single value for a run"),
        (("seed=1,2",), "seed: expected name=value with a single value for a run that is resumed"),
    ],
)
def test_a_run_of_options_cannot_be_resumed_as_another_one(
    finished: Path, words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(finished)
    assert main(["train", f"resume={finished}", *words]) == 2
    assert told in capsys.readouterr().err
    assert files(finished) == before


def test_words_that_say_what_the_run_is_are_no_change(finished: Path) -> None:
    saved = TrainConfig.from_yaml(finished / "config.yaml")
    values = (f"{BETA}=0.22", "market.world.cost=10", "agent.ppo.epochs=2")
    assert resumed_config(finished, values) == saved
    assert resumed_config(finished, (*MARKET, f"resume={finished}")) == saved
    moved = resumed_config(finished, ("tracking=journal", "threads=2", "device=cpu"))
    assert (moved.threads, moved.tracking.mlflow) == (2, False)
    assert moved.agent == saved.agent


MAP = "agent.meta_controller.regime_map=[[1,0],[0,1]]"
RULE = "agent.options=[{kind: learned},{kind: rule,name: momentum}]"


@pytest.mark.parametrize("word", [MAP, RULE, "device=cuda"])
def test_a_run_that_is_refused_leaves_nothing(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = ["debug=tiny", "market=garleanu_pedersen", "agent=options", f"runs={tmp_path / 'runs'}"]
    assert main(["train", *words, word]) == 2
    assert not list(tmp_path.iterdir())


def test_a_flat_agent_has_no_controller_to_replace() -> None:
    flat = Always(0.0)
    with pytest.raises(ConfigError, match="expected a run of an agent made of options"):
        Instead.read("uniform", None).applied(flat)
    with pytest.raises(ConfigError, match="expected a run of an agent made of options"):
        Instead.read(None, "mode").applied(flat)
    assert Instead.read(None, None).applied(flat) is flat


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
    spans = ("split.validation=[2008-01-01,2008-06-30]", "split.test=[2012-06-01,2012-12-31]")
    words = [OPTIONS, *SMALL, *detector, *spans, "tracking=journal", f"run={folder}"]
    mode = "agent.meta_controller.execution.mode=alternate"
    assert main(["train", *words, mode]) == 0
    assert (folder / "evaluation" / "report.html").is_file()
    latest = store(folder).latest()
    assert latest is not None
    identity = load(latest).trainer["identity"]
    assert identity["gate"] == "residual over 3 regimes"
    assert identity["execution"] == "alternate"
    require_options(folder, "option_targets", regimes=3)
    before = (folder / "evaluation" / "report.html").read_bytes()
    assert main(["evaluate", str(folder)]) == 0
    assert (folder / "evaluation" / "report.html").read_bytes() == before

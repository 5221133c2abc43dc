"""Learning on new bars: accepted or not, the run stays as it was, and nothing is judged unseen."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf, open_dict

from features.pipeline import FeaturePipeline, FeatureTensor
from markets.bars import Bars
from markets.sources.config import load_dataset, parse_config
from markets.sources.protocol import Dataset
from perennial import main
from tests.training.continual.adaptations import (
    dataset,
    files,
    kept,
    left,
    of_seed,
    request,
    same,
    train,
    written,
)
from training.checkpoint import CheckpointError, CheckpointStore, load
from training.continual import adapt as module
from training.continual.adapt import adapt
from training.continual.adapt_request import Request
from training.continual.adapt_setting import prepare_adaptation
from training.continual.new_bars import extended, new_data, pause
from training.errors import ConfigError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one training, up to the middle of 2023."""
    return train(tmp_path_factory.mktemp("ordinary") / "run")


@pytest.fixture(scope="module")
def bars() -> Dataset:
    """Apple up to the end of 2024."""
    return load_dataset(parse_config({"dataset": "aapl_adjusted"}))


# -- what becomes of it ---------------------------------------------------------------------------


def test_an_update_that_does_no_harm_is_accepted_and_the_run_stays(
    run: Path, tmp_path: Path
) -> None:
    before, told = files(run), list[str]()
    folder = adapt(request(run), into=tmp_path / "new", tell=told.append)
    assert files(run) == before
    decision = of_seed(folder)
    assert decision["accepted"]
    evidence = decision["decisions"][-1]["evidence"]
    assert {row["regime"] for row in evidence} == {"before", "since 2023-07-03"}
    assert any("regime before: mean KL" in c["name"] for c in decision["decisions"][-1]["checks"])
    risks = {(row["regime"], row["of"]) for row in decision["decisions"][-1]["risks"]}
    assert {("before", "drawdown"), ("since 2023-07-03", "drawdown")} <= risks
    assert not same(kept(folder), left(run))
    assert kept(folder).files["features.json"] == left(run).files["features.json"]
    assert "new     377 bars from 2023-07-03 to 2024-12-30" in told[0]
    assert "Regime before: ruling out a loss of 5 %" in told[0]
    assert told[1] == f"result  {folder}"
    assert told[2].startswith("\nAccepted: the agent has learned 1,024 steps on the new bars.")
    assert "Accepted" in (folder / "verdict.txt").read_text()
    finished = files(folder)
    again = list[str]()
    adapt(request(run), into=folder, tell=again.append)
    assert files(folder) == finished, "what is over is told again, not done again"
    assert "Accepted: the agent has learned" in again[0]
    with pytest.raises(ConfigError, match="expected an adaptation as asked for"):
        adapt(request(run, alpha="0.1"), into=folder, tell=lambda _: None)


def test_an_interrupted_adaptation_goes_on_to_the_same_bits(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    whole = adapt(request(run), into=tmp_path / "whole", tell=lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(module, "train_streams", interrupted)
        with pytest.raises(KeyboardInterrupt):
            adapt(request(run), into=tmp_path / "again", tell=lambda _: None)
    assert not (tmp_path / "again" / "decision.json").exists()
    again = adapt(request(run), into=tmp_path / "again", tell=lambda _: None)
    assert same(kept(again), kept(whole))
    assert (again / "decision.json").read_text() == (whole / "decision.json").read_text()


def test_an_update_that_cannot_be_shown_harmless_leaves_the_old_agent(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = list[str]()
    strict = request(run, floor="1e-12", alpha="1e-6", tolerance="0")
    folder = adapt(strict, into=tmp_path / "new", tell=told.append)
    decision = of_seed(folder)
    assert not decision["accepted"]
    assert len(decision["decisions"]) == 3, "two further attempts"
    assert all("not ruled out" in " ".join(reasons) for reasons in decision["reasons"])
    assert "seed 0, 1,024 of 1,024 steps (100%)" in capsys.readouterr().err, "of the new phase"
    assert same(kept(folder), left(run))
    assert all(torch.equal(kept(folder).optimizer[k], v) for k, v in left(run).optimizer.items())
    assert f"Rejected: the agent of {run}/seed-0/checkpoints/step-" in told[2]


def test_a_gate_that_nothing_can_pass_is_told_before_anything_is_learned(
    run: Path, tmp_path: Path
) -> None:
    told, never = list[str](), request(run, floor="0", tolerance="0")
    with pytest.raises(ConfigError, match=r"never accept an update here: regime before.*--force"):
        adapt(never, into=tmp_path / "new", tell=told.append)
    assert "Can never be met" in told[0]
    assert not (tmp_path / "new").exists()
    folder = adapt(never, into=tmp_path / "new", force=True, tell=told.append)
    assert not of_seed(folder)["accepted"]


def test_a_stream_of_options_goes_on_with_its_phases_and_its_error_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(
        tmp_path / "run",
        "agent=options",
        "continual=calendar",
        "continual.phases.borders=[2020-09-01]",
        "continual.phases.names=[a,b]",
        "env.episode.length=21",
        "continual.gate={acceptance: {block: null, floor: 0.01, resamples: 2000}}",
        "continual.remedies=[{kind: rehearsal, share: 0.5}]",
        "schedule.total_steps=1024",
    )
    setting = prepare_adaptation(request(run))
    assert [regime.name for regime in setting.plan.regimes] == ["a", "b", "since 2023-07-03"]
    refused_where_it_is_not_over(run, tmp_path / "copy")
    assert setting.champions[0].update == 3, "one update of each phase came before"
    new = tmp_path / "new"
    words = ["adapt", str(run), "--data", "aapl_adjusted", "--steps", "1024", "--into", str(new)]
    assert main([*words, "--gate.floor", "0.01", "--gate.resamples", "2000"]) == 0
    assert "Update 3 is accepted: a loss" in capsys.readouterr().out
    decision = of_seed(new)
    found = {row["regime"] for row in decision["decisions"][0]["evidence"]}
    assert found == {"a", "b", "since 2023-07-03"}
    assert decision["from"].endswith("phase-01/accepted/step-000001024")


def refused_where_it_is_not_over(run: Path, copy: Path) -> None:
    shutil.copytree(run, copy)
    phase = copy / "seed-0" / "phase-01"
    scores = (phase / "scores.json").read_text()
    (phase / "scores.json").unlink()
    with pytest.raises(CheckpointError, match=r"phase-01: .* phases are all over.*train resume="):
        prepare_adaptation(request(copy))
    (phase / "scores.json").write_text(scores)
    store = CheckpointStore(phase / "accepted")
    snapshot = load(store.steps()[1024])
    foreign = {"ewc/anchor": torch.zeros(1)}
    store.save(1024, replace(snapshot, continual=foreign))
    with pytest.raises(CheckpointError, match=r"accepted/step-000001024: continual\.safetensors: "):
        prepare_adaptation(request(copy))


# -- new bars -------------------------------------------------------------------------------------


def test_new_bars_go_on_behind_the_old_ones(bars: Dataset, tmp_path: Path) -> None:
    old = dataset(bars.bars.rows(0, 1000), "split")
    whole = extended(old, bars)
    assert np.array_equal(whole.close, bars.bars.close)
    assert whole.sha256() == bars.bars.sha256()
    alone = dataset(bars.bars.rows(1000, bars.bars.num_bars), "split")
    assert np.array_equal(extended(old, alone).ts_event, bars.bars.ts_event)
    path = written(alone.bars, tmp_path / "new.csv")
    config = new_data(parse_config({"dataset": "aapl_adjusted"}), path, "split")
    assert np.array_equal(extended(old, load_dataset(config)).close, bars.bars.close)


def test_new_bars_that_do_not_extend_the_run_are_refused(bars: Dataset) -> None:
    whole, old = bars.bars, dataset(bars.bars.rows(0, 1000), "split")

    def refused(new: Dataset, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            extended(old, new)

    refused(dataset(whole.rows(0, 900), "split"), "expected bars after 2022-12-.*, found none aft")
    refused(dataset(whole), r"adjusted as the run's \(split\), found none")
    renamed = Bars.from_arrays(
        whole.ts_event,
        ("MSFT",),
        **{name: getattr(whole, name) for name in ("open", "high", "low", "close", "volume")},
    )
    refused(dataset(renamed, "split"), "expected bars of AAPL, the run's symbols, found none of A")
    fields = {name: getattr(whole, name) * 2 for name in ("open", "high", "low", "close")}
    doubled = Bars.from_arrays(whole.ts_event, whole.symbols, volume=whole.volume, **fields)
    refused(dataset(doubled, "split"), r"AAPL on 2019-01-02: expected the close 39\.\d+ of the run")
    shifted = Bars.from_arrays(
        whole.ts_event + 1,
        whole.symbols,
        **{name: getattr(whole, name) for name in ("open", "high", "low", "close", "volume")},
    )
    refused(dataset(shifted, "split"), "expected bars at the times of the run's")


def test_a_long_pause_before_the_new_bars_is_told(bars: Dataset) -> None:
    whole = bars.bars
    assert pause(whole, 1000) is None, "a weekend at most"
    parts = [whole.rows(0, 1000), whole.rows(1100, whole.num_bars)]
    joined = extended(dataset(parts[0], "split"), dataset(parts[1], "split"))
    assert joined.num_bars == whole.num_bars - 100
    told = pause(joined, 1000)
    assert told is not None
    assert told.startswith("no bars between 2022-12-19 and 2023-05-16, the longest pause by far")


def test_a_symbol_without_new_bars_is_refused() -> None:
    both = load_dataset(parse_config({"dataset": "us_stocks", "symbols": ["AAPL", "IBM"]}))
    fields = {
        name: getattr(both.bars, name).copy() for name in ("open", "high", "low", "close", "volume")
    }
    for values in fields.values():
        values[1000:, 1] = np.nan
    ended = Bars.from_arrays(both.bars.ts_event, both.bars.symbols, **fields)
    with pytest.raises(ConfigError, match="new bars of every symbol, found none of IBM"):
        extended(dataset(both.bars.rows(0, 1000)), dataset(ended))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "nowhere"}, r"expected a file, a folder, or one of aapl_adjusted, .*'nowhere'"),
        ({"seed": 7}, r"--seed: expected one of the run's, 0 \.\. 0, found 7"),
        ({"holdout": 0.0}, "--holdout: expected a share"),
        ({"steps": 0}, "--steps: expected 1 or more, found 0"),
        ({"holdout": 0.01}, r"--data: expected at least 22 new bars .* found 368 and 4 of 377"),
        ({"episode": 170}, r"split\.validation: expected at least 172 bars .* found 165"),
        ({"gate": {"tolerance": "2"}}, r"--gate\.tolerance: .*less than 1.*found '2'"),
    ],
)
def test_what_cannot_be_asked_is_told(change: dict[str, object], message: str, run: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        prepare_adaptation(replace(request(run), **change))  # type: ignore[arg-type]


def test_runs_that_are_not_over_are_refused(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    last = copy / "seed-0" / "checkpoints" / "step-000002048"
    (last / "weights.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="expected a complete checkpoint, found a truncated"):
        prepare_adaptation(request(copy))
    shutil.rmtree(last)
    with pytest.raises(CheckpointError, match="finished training of 2,048 steps, found 1,024; go"):
        prepare_adaptation(request(copy))


def test_what_was_asked_is_read_again_and_can_be_asked_again(tmp_path: Path) -> None:
    asked = Request(
        run=tmp_path, data="us_stocks", steps=5, seed=2, holdout=0.25, gate={"floor": "0.1"}
    )
    (tmp_path / "adapt.json").write_text(asked.to_json())
    assert Request.read(tmp_path) == asked
    words = "--data us_stocks --steps 5 --seed 2 --holdout 0.25 --gate.floor 0.1 --into into"
    assert asked.command(Path("into")) == f"perennial adapt {tmp_path} {words}"
    (tmp_path / "new.csv").touch()
    near = Request(run=tmp_path, data=str(tmp_path / "." / "new.csv"))
    assert near.words() == [str(tmp_path), "--data", str(tmp_path / "new.csv")]


def test_features_that_are_not_finite_are_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transform = FeaturePipeline.transform

    def poisoned(self: FeaturePipeline, bars: Bars) -> FeatureTensor:
        tensor = transform(self, bars)
        shared_TG = tensor.shared_TG.copy()
        shared_TG[-1] = np.nan
        return replace(tensor, shared_TG=shared_TG)

    monkeypatch.setattr(FeaturePipeline, "transform", poisoned)
    with pytest.raises(ValueError, match=r"features\[1508, \d+\]: expected a finite value"):
        prepare_adaptation(request(run))


def test_a_run_on_a_market_with_a_known_answer_has_no_new_bars(tmp_path: Path) -> None:
    market = tmp_path / "market"
    market.mkdir()
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=["debug=tiny", "market=garleanu_pedersen"])
    with open_dict(cfg):
        cfg.pop("resume")
    OmegaConf.save(cfg, market / "config.yaml", resolve=True)
    with pytest.raises(ConfigError, match="expected a run on recorded data, found one on garlean"):
        prepare_adaptation(request(market))


def test_help_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", "--help"]) == 0
    assert "--gate.tolerance" in capsys.readouterr().out

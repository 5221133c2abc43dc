"""Beliefs about regimes in a run: seen by the agent, kept with the weights, judged again alike."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from numpy.typing import NDArray
from omegaconf import open_dict
from safetensors.torch import load_file

from evaluation.regime_summary import rows
from features.pipeline import FeaturePipeline
from markets.splits import Rows
from perennial import main
from regimes.base import RegimeError
from regimes.belief import names_of
from regimes.config import RegimeConfig
from regimes.hmm import StudentHMM, StudentHMMConfig
from regimes.inputs import InputConfig, observations_of
from regimes.kinds import MODELS
from regimes.matching import by_volatility
from regimes.online import OnlineDetector
from tests.features.random_markets import random_bars
from training.checkpoint import CheckpointError, CheckpointStore, load
from training.config import TrainConfig
from training.errors import ConfigError
from training.evaluate import evaluate_run
from training.learning import saved_fits
from training.preparation import prepare, warnings_of
from training.regime_block import REGIMES, regime_block
from training.regime_view import _slot_names, view_of_run
from training.tasks.choice import open_task
from training.tasks.data import DataTask
from training.tasks.market import MarketTask

HMM = ("regime=hmm", "regime.detector.restarts=1", "regime.detector.nu=8.0")
REFITS = ("regime.refit_every=250", "regime.window=1500")


def configuration(*overrides: str) -> TrainConfig:
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=["debug=tiny", "seeds=1", "device=cpu", *overrides])
    with open_dict(cfg):
        cfg.pop("resume")
    return TrainConfig.from_hydra(cfg)


def train(folder: Path, *overrides: str) -> None:
    words = ["debug=tiny", "seeds=1", "device=cpu", "threads=1", f"run={folder}"]
    assert main(["train", *words, "tracking=journal", *overrides]) == 0


def last(folder: Path) -> Path:
    latest = CheckpointStore(folder / "seed-0" / "checkpoints").latest()
    assert latest is not None
    return latest


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole small run with beliefs that learn on."""
    folder = tmp_path_factory.mktemp("regimes") / "run"
    train(folder, *HMM, *REFITS)
    return folder


def test_the_block_stands_after_all_other_features() -> None:
    config, plain = configuration(*HMM, *REFITS), prepare(configuration())
    prepared = prepare(config)
    block = prepared.regimes
    assert block is not None
    assert plain.regimes is None
    assert block.names == names_of(3)
    assert prepared.market.num_features == plain.market.num_features + 6
    assert np.array_equal(prepared.market.features_TC[:, -6:], block.values_TB)
    assert np.array_equal(prepared.market.features_TC[:, :-6], plain.market.features_TC)
    assert prepared.market.first_bar == plain.market.first_bar
    tensor = block.beside(prepared.pipeline.transform(prepared.bars))
    assert tensor.shared_names[-6:] == block.names
    assert np.array_equal(tensor.flat(), prepared.market.features_TC)


def test_the_block_is_what_the_detector_believes_bar_by_bar() -> None:
    config = configuration(*HMM, *REFITS)
    prepared = prepare(config)
    block, split = prepared.regimes, config.recorded.split.splits(prepared.bars.ts_event)[0]
    assert block is not None
    detector = OnlineDetector.from_json(block.text)
    seen = observations_of(prepared.bars)
    scale = np.nanstd(seen.y_TD[split.train.start : split.train.stop])
    assert detector.detector.span.scale == pytest.approx(scale)
    assert detector.detector.bars == 0, "kept as fitted, before its first bar"
    for row, y_D in enumerate(seen.y_TD):
        belief_C = detector.update(y_D)
        assert np.array_equal(belief_C.astype(np.float32), block.values_TB[row, :3])
    assert detector.events == block.refits
    assert [event.bar for event in block.refits][:2] == [
        split.train.stop + 250,
        split.train.stop + 500,
    ]


def test_the_warm_up_of_the_block_counts() -> None:
    words = ("regime=switching_regression", "regime.inputs.lags=9", "regime.detector.noise=normal")
    shortest = "features.features=[day_of_week]"
    config = configuration(*words, shortest, "regime.detector.restarts=1")
    assert prepare(config).market.first_bar == 10
    assert prepare(configuration(shortest)).market.first_bar == 0


def test_refused_refits_are_told_once() -> None:
    strict = configuration(*HMM, *REFITS, "regime.agreement=1.0")
    prepared = prepare(strict)
    assert prepared.regimes is not None
    (fault,) = prepared.regimes.faults
    assert "refits were refused and the old model stayed, the last at bar" in fault
    assert warnings_of(prepared)[-1] == fault
    assert any(fault in line for line in DataTask(strict, prepared).opening())
    easy = prepare(configuration(*HMM))
    assert easy.regimes is not None
    assert easy.regimes.faults == []


def test_a_model_gone_wrong_is_told_and_its_belief_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(*HMM)
    assert isinstance(config.regime, RegimeConfig)
    good = prepare(config)
    whole, bars, train = good.regimes, good.bars, config.recorded.split.splits(good.bars.ts_event)
    assert whole is not None
    step, run = StudentHMM.advance, StudentHMM.filter

    def advance(self: StudentHMM, state_S: Any, y_D: Any, x_M: Any) -> Any:
        return step(self, state_S, y_D, x_M) * (np.nan if abs(y_D[0]) > 0.08 else 1.0)

    def filtered(self: StudentHMM, observations: Any, state_S: Any = None) -> Any:
        return run(self, observations, state_S) * np.nan

    monkeypatch.setattr(StudentHMM, "advance", advance)
    monkeypatch.setattr(StudentHMM, "filter", filtered)
    block = regime_block(config.regime, bars, train[0].train, whole.text)
    assert np.isfinite(block.values_TB).all()
    large = np.flatnonzero(np.abs(observations_of(bars).y_TD[:, 0]) > 0.08)
    assert len(block.lost) >= 1
    assert f"bar {large[0]}: expected probabilities" in block.lost[0]
    (fault,) = block.faults
    assert fault.startswith(f"regimes: {len(block.lost)} times without a belief, first ")
    assert np.array_equal(block.values_TB[large[0]], block.values_TB[large[0] - 1])


def test_a_span_that_no_detector_can_learn_from_is_refused_before_the_training() -> None:
    config, bars = configuration(*HMM), random_bars(num_bars=100)
    assert isinstance(config.regime, RegimeConfig)
    with pytest.raises(ConfigError, match=r"^regime: "):
        regime_block(config.regime, bars, Rows(0, 5))


def test_the_report_of_a_run_shows_what_its_agents_saw(finished: Path) -> None:
    page = (finished / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Regimes</h2>" in page
    assert (finished / "evaluation" / "figures" / "regimes.png").stat().st_size > 10_000
    seen = view_of_run(finished)
    accepted = sum(event.accepted for event in seen.refits)
    refused = len(seen.refits) - accepted
    assert f"Refits after the training span: {accepted} accepted, {refused} refused" in page
    assert f"fitted on bars up to {seen.date(seen.train.stop - 1)}, where" in page
    for row in rows(seen.history):
        assert f"</span> {row.name}</td><td>{row.share:.1%}</td>" in page


def test_the_report_gives_reasons_of_refused_refits() -> None:
    strict = configuration(*HMM, *REFITS, "regime.agreement=1.0")
    task = DataTask(strict)
    history = task._regimes("run")
    assert history is not None
    assert task.prepared.regimes is not None
    found = [(mark.bar, mark.accepted, mark.reason) for mark in history.refits]
    assert found == [(e.bar, e.accepted, e.reason) for e in task.prepared.regimes.refits]
    assert any("expected the most likely regime to agree" in reason for _, _, reason in found)
    assert DataTask(configuration())._regimes("run") is None


def test_a_run_keeps_the_detector_beside_the_weights(finished: Path) -> None:
    files = load(last(finished)).files
    detector = OnlineDetector.from_json(files[REGIMES])
    assert detector.schedule.every == 250
    assert detector.model.num_regimes == 3
    assert FeaturePipeline.from_json(files["features.json"]).names
    weights = load_file(last(finished) / "weights.safetensors")
    assert weights
    assert (finished / "evaluation" / "report.html").is_file()


def test_a_run_is_judged_again_with_its_own_detector(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    ledger = folder / "evaluation" / "test" / "agent-0.parquet"
    before = ledger.read_bytes()
    ledger.unlink()
    fit = StudentHMMConfig.fit

    def warm_only(self: StudentHMMConfig, train: Any, *, warm: Any = None, seed: int = 0) -> Any:
        if warm is None:
            raise RegimeError("fitted anew")
        return fit(self, train, warm=warm, seed=seed)

    monkeypatch.setattr(StudentHMMConfig, "fit", warm_only)
    with pytest.raises(ConfigError, match="fitted anew"):
        open_task(TrainConfig.from_yaml(folder / "config.yaml"))
    assert main(["evaluate", str(folder)]) == 0
    assert ledger.read_bytes() == before
    assert main(["train", f"resume={folder}"]) == 0
    assert ledger.read_bytes() == before


def test_weights_are_not_judged_with_another_detector(finished: Path) -> None:
    config = TrainConfig.from_yaml(finished / "config.yaml")
    saved = dict(saved_fits(config, finished))
    assert list(saved) == [REGIMES]
    document = json.loads(saved[REGIMES])
    document["detector"]["span"]["scale"] *= 2.0
    other = open_task(config, {REGIMES: json.dumps(document)})
    with pytest.raises(CheckpointError, match=r"regimes\.json: expected the task's.*another"):
        evaluate_run(config, other, finished)


def test_a_detector_of_another_configuration_is_refused(finished: Path) -> None:
    config = TrainConfig.from_yaml(finished / "config.yaml")
    saved = saved_fits(config, finished)
    changed = configuration(*HMM, *REFITS, "regime.agreement=0.5")
    with pytest.raises(ConfigError, match=r"regimes\.json: expected a detector of"):
        open_task(changed, saved)
    assert saved_fits(configuration(), finished) == {}
    assert saved_fits(config, finished / "nowhere") == {}


@pytest.mark.parametrize("market", ["regime_gbm", "garleanu_pedersen"])
def test_on_a_market_the_oracle_is_its_exact_filter(market: str) -> None:
    task = open_task(configuration(f"market={market}", "regime=oracle"))
    plain = open_task(configuration(f"market={market}"))
    asked = open_task(configuration(f"market={market}", "market.world.regime=belief"))
    assert isinstance(task, MarketTask)
    assert isinstance(plain, MarketTask)
    assert isinstance(asked, MarketTask)
    assert task.problem.world.regime == "belief"
    assert plain.problem.world.regime == "known"
    assert task.problem == asked.problem
    assert task.sha256 == asked.sha256 != plain.sha256


def test_a_run_with_the_oracle_of_a_market(tmp_path: Path) -> None:
    train(tmp_path / "run", "market=regime_gbm", "regime=oracle")
    market = json.loads((tmp_path / "run" / "data.json").read_text())["market"]
    assert market["world"]["regime"] == "belief"
    assert (tmp_path / "run" / "evaluation" / "report.html").is_file()


def test_a_detector_of_other_inputs_is_refused_with_its_file() -> None:
    task = configuration("regime=rule").regime
    assert isinstance(task, RegimeConfig)
    bars = random_bars(num_bars=400, num_assets=2, trouble=False)
    other = replace(task, inputs=InputConfig(series="assets"))
    fitted = regime_block(other, bars, Rows(0, 300)).text
    with pytest.raises(ConfigError, match=r"regimes\.json: rule: expected 2 series"):
        regime_block(task, bars, Rows(0, 300), fitted)


def test_symbols_that_lack_bars_are_named() -> None:
    config = configuration("regime=hmm", "regime.inputs.series=assets")
    message = (
        r"^regime: .*found 0.*every symbol: of the [\d,]+ bars of the training span FB has 0, "
    )
    with pytest.raises(ConfigError, match=message):
        prepare(config)
    bars = random_bars(num_bars=400, num_assets=2, trouble=False)
    task = RegimeConfig(detector=StudentHMMConfig(), inputs=InputConfig(series="assets"))
    with pytest.raises(ConfigError, match="expected at least") as short:
        regime_block(task, bars, Rows(0, 20))
    assert "series=assets" not in str(short.value), "no bar is lacking"


KINDS = sorted(set(MODELS) - {"switching_regression"})
"""The last one observes other inputs; it is named as the others are."""


def named_columns(task: DataTask) -> dict[str, NDArray[np.float32]]:
    """What agents see of the belief, (T,), by the names that the judgement gives its columns."""
    seen = task._regimes("run")
    assert seen is not None
    columns = task.features[:, list(task.beliefs.columns)]
    assert len(seen.slots) == columns.shape[1]
    return dict(zip(seen.slots, columns.T, strict=True))


def require_named_alike(task: DataTask) -> int:
    """Hold the named columns to the beliefs that the report draws under the same names."""
    seen = task._regimes("run")
    assert seen is not None
    drawn = dict(zip(seen.history.names, seen.history.belief_TK.T, strict=True))
    found = named_columns(task)
    shared = sorted(found.keys() & drawn.keys())
    for name in shared:
        known_T = np.isfinite(drawn[name])
        np.testing.assert_allclose(found[name][known_T], drawn[name][known_T], atol=1e-6)
    return len(shared)


QUICK: dict[str, tuple[str, ...]] = {
    "student_hmm": ("regime.detector.restarts=1", "regime.detector.nu=8.0"),
    "gaussian_hmm": ("regime.detector.restarts=1",),
}


@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_the_belief_are_named_as_the_report_names_them(kind: str) -> None:
    task = open_task(configuration(f"regime={kind}", *QUICK.get(kind, ())))
    assert isinstance(task, DataTask)
    assert require_named_alike(task) >= 3


def test_names_follow_slots_that_are_not_in_the_order_of_volatility() -> None:
    config = configuration("regime=gaussian_hmm", "regime.detector.restarts=1")
    moved = json.loads(fitted_text())
    moved["detector"]["labels"]["slots"] = [2, 0, 1]
    task = open_task(config, {REGIMES: json.dumps(moved)})
    assert isinstance(task, DataTask)
    assert list(named_columns(task)) == ["middle", "wild", "calm"]
    assert require_named_alike(task) == 3


def fitted_text() -> str:
    block = prepare(configuration("regime=gaussian_hmm", "regime.detector.restarts=1")).regimes
    assert block is not None
    return block.text


def test_a_slot_that_several_regimes_have_held_has_its_number() -> None:
    detector = OnlineDetector.from_json(fitted_text())
    calm, middle, wild = (detector.detector.labels.ids[k] for k in by_volatility(detector.model))
    names = ("calm", "middle", "wild")
    assert _slot_names(detector, [(wild, None, middle), (wild, calm, middle)], names) == (
        "wild", "calm", "middle",
    )  # fmt: skip
    assert _slot_names(detector, [(wild, calm, 9), (wild, 7, middle)], names) == (
        "wild", "regime 1", "regime 2",
    )  # fmt: skip
    assert _slot_names(detector, [(None, calm, 9)], names) == ("regime 0", "calm", "regime 2")

"""The main job sees nothing of the spans that it may not see, and judges on the one it should."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import open_dict
from safetensors.torch import load_file

from evaluation.ledger import Ledger
from markets.sources.config import load_dataset
from markets.sources.protocol import Dataset
from tests.features.random_markets import after_replaced_by_noise
from training import preparation
from training.callbacks import Watch
from training.checkpoint import CheckpointStore, read_manifest
from training.config import TrainConfig
from training.evaluate import evaluate_run
from training.learning import checkpoints, chosen, learn
from training.preparation import Prepared, prepare
from training.signals import StopRequest
from training.tasks.data import DataTask


def configuration(*overrides: str) -> TrainConfig:
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=["debug=tiny", "seeds=1", "device=cpu", *overrides])
    with open_dict(cfg):
        cfg.pop("resume")
    return TrainConfig.from_hydra(cfg)


def prepared_with_noise_after(
    last: int | None, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> Prepared:
    """The job's market, all bars after row `last` replaced by noise."""

    def load(data: Any) -> Dataset:
        dataset = load_dataset(data)
        if last is None:
            return dataset
        return dataclasses.replace(
            dataset, bars=after_replaced_by_noise(dataset.bars, last, seed=1)
        )

    monkeypatch.setattr(preparation, "load_dataset", load)
    return prepare(config)


def trained(config: TrainConfig, prepared: Prepared, folder: Path) -> CheckpointStore:
    watch = Watch(lambda *_: None, lambda *_: None, StopRequest(), lambda _: None)
    learn(config, DataTask(config, prepared), 0, folder / "seed-0", watch)
    return checkpoints(config, folder / "seed-0")


def weights(store: CheckpointStore) -> list[dict[str, torch.Tensor]]:
    return [load_file(path / "weights.safetensors") for path in store.steps().values()]


def scores(store: CheckpointStore) -> list[float]:
    return [read_manifest(path)["score"] for path in store.steps().values()]


def equal(one: list[dict[str, torch.Tensor]], two: list[dict[str, torch.Tensor]]) -> bool:
    pairs = list(zip(one, two, strict=True))
    return all(torch.equal(a[name], b[name]) for a, b in pairs for name in a)


@pytest.mark.parametrize("span", ["train", "validation"])
def test_noise_after_a_span_changes_nothing_that_is_learned_on_it(
    span: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration()
    true = prepared_with_noise_after(None, config, monkeypatch)
    noisy = prepared_with_noise_after(true.rows(span).stop - 1, config, monkeypatch)
    assert not np.array_equal(true.market.close_TA, noisy.market.close_TA)
    assert noisy.pipeline.to_json() == true.pipeline.to_json()
    one, two = trained(config, true, tmp_path / "true"), trained(config, noisy, tmp_path / "noisy")
    assert len(one.steps()) == 2
    assert equal(weights(one), weights(two))
    assert (scores(one) == scores(two)) == (span == "validation"), "scores are of validation bars"


@pytest.mark.parametrize("regime", ["hmm", "sticky_dpgmm", "bocpd", "jump", "rule"])
@pytest.mark.parametrize("after", [("train", 0), ("validation", -200), ("test", -400)])
def test_noise_after_a_bar_changes_nothing_that_is_known_of_regimes_up_to_it(
    regime: str, after: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    refits = ("regime.refit_every=120", "regime.window=800", "regime.agreement=0.0")
    config = configuration(f"regime={regime}", *refits)
    true = prepared_with_noise_after(None, config, monkeypatch)
    last = true.rows(after[0]).stop - 1 + after[1]
    noisy = prepared_with_noise_after(last, config, monkeypatch)
    assert true.regimes is not None
    assert noisy.regimes is not None
    assert noisy.regimes.text == true.regimes.text
    past = [event for event in true.regimes.refits if event.bar <= last + 1]
    assert list(noisy.regimes.refits[: len(past)]) == past
    assert bool(past) == (after[0] != "train")
    one, two = true.market.features_TC, noisy.market.features_TC
    assert np.array_equal(one[: last + 1], two[: last + 1])
    assert not np.array_equal(true.regimes.values_TB, noisy.regimes.values_TB)


def test_noise_in_the_training_span_changes_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration()
    true = prepared_with_noise_after(None, config, monkeypatch)
    noisy = prepared_with_noise_after(true.rows("train").stop - 500, config, monkeypatch)
    one, two = trained(config, true, tmp_path / "true"), trained(config, noisy, tmp_path / "noisy")
    assert noisy.pipeline.to_json() != true.pipeline.to_json()
    assert not equal(weights(one), weights(two))


def test_each_ledger_lies_in_its_own_span_and_begins_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration()
    prepared = prepared_with_noise_after(None, config, monkeypatch)
    trained(config, prepared, tmp_path)
    (tmp_path / "config.yaml").write_text("{}")
    evaluate_run(config, DataTask(config, prepared), tmp_path)
    for span in ("validation", "test"):
        rows, paths = prepared.rows(span), list((tmp_path / "evaluation" / span).glob("*.parquet"))
        assert len(paths) >= 7
        for path in paths:
            ledger = Ledger.from_parquet(path)
            assert np.array_equal(ledger.ts_event, prepared.bars.ts_event[rows.start : rows.stop])


def test_the_checkpoint_that_is_judged_is_the_one_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration()
    store = trained(config, prepared_with_noise_after(None, config, monkeypatch), tmp_path)
    first, last = store.steps().values()
    assert chosen(configuration("schedule.select=last"), store) == last
    better = first if scores(store)[0] > scores(store)[1] else last
    assert chosen(configuration("schedule.select=best"), store) == better

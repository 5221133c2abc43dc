"""The population stability index: by hand, without drift, and through a pipeline."""

from dataclasses import replace

import numpy as np
import pytest

from features.config import FeatureConfig, FeatureSpec
from features.definition import FeatureError
from features.drift import ColumnDrift, Reference, population_stability, report
from features.pipeline import FeaturePipeline, FeatureTensor
from features.state import PipelineState
from tests.features.random_markets import random_bars

NAMES = ("log_return", "realised_volatility", "volume_zscore", "day_of_week")


def config(scaling: str = "robust") -> FeatureConfig:
    features = tuple(FeatureSpec(name=name) for name in NAMES)
    return FeatureConfig(features=features, scaling=scaling)  # type: ignore[arg-type] # by name


def test_by_hand() -> None:
    # (0.75 - 0.5) ln 1.5 + (0.25 - 0.5) ln 0.5 = 0.25 ln 3
    psi = population_stability(np.array([0.5, 0.5]), np.array([0.75, 0.25]))
    assert psi == pytest.approx(0.25 * np.log(3.0))
    # An empty bin counts as 1e-4: (1e-4 - 0.5) ln(2e-4) + 0.5 ln 2.
    empty = population_stability(np.array([0.5, 0.5]), np.array([0.0, 1.0]))
    assert empty == pytest.approx((1e-4 - 0.5) * np.log(2e-4) + 0.5 * np.log(2.0))


def test_index_is_symmetric_and_zero_without_difference() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.full(10, 5.0)), rng.dirichlet(np.full(10, 5.0))
    assert population_stability(p, q) == pytest.approx(population_stability(q, p))
    assert population_stability(p, p) == 0.0


def test_bins_are_deciles_and_the_edge_belongs_to_its_left() -> None:
    reference = Reference.of(np.arange(1.0, 12.0))  # deciles 2 to 10
    assert reference.edges == tuple(np.arange(2.0, 11.0))
    assert reference.counts == (2, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    drift = reference.drift("x", np.array([2.0, 2.5, np.nan]))
    assert drift.count == 2
    shares = np.array([0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0])
    assert drift.psi == pytest.approx(population_stability(np.array(reference.counts) / 11, shares))
    assert drift.noise == pytest.approx(9 * (1 / 11 + 1 / 2))


def test_frequent_values_have_a_bin_of_their_own() -> None:
    flag = np.concatenate([np.zeros(90), np.ones(10)])
    reference = Reference.of(flag)
    assert sum(reference.counts) == 100
    assert reference.drift("x", flag).psi == 0.0
    inverse = reference.drift("x", 1.0 - flag)
    assert inverse.psi == pytest.approx(2 * 0.8 * np.log(9.0))
    below = Reference.of(np.concatenate([np.zeros(50), np.arange(1.0, 51.0)]))
    assert below.counts[:2] == (0, 50)
    assert Reference.of(np.full(7, 3.0)).counts == (0, 7, 0)


def test_without_drift_the_index_is_its_noise() -> None:
    rng = np.random.default_rng(5)
    found = []
    for _ in range(400):
        reference = Reference.of(rng.normal(size=2000))
        found.append(reference.drift("x", rng.normal(size=1000)))
    assert np.mean([d.psi for d in found]) == pytest.approx(found[0].noise, rel=0.05)
    assert found[0].noise == pytest.approx(9 * (1 / 2000 + 1 / 1000))
    assert all(d.reading == "stable" for d in found)


@pytest.mark.parametrize(
    ("shift", "reading"), [(0.0, "stable"), (0.4, "shifting"), (1.0, "shifted")]
)
def test_moved_laws_are_seen(shift: float, reading: str) -> None:
    rng = np.random.default_rng(6)
    reference = Reference.of(rng.normal(size=20_000))
    drift = reference.drift("x", rng.normal(shift, 1.0, 20_000))
    assert drift.reading == reading
    # For equal variances the divergence is the squared shift, a little less in ten bins.
    assert drift.psi == pytest.approx(shift**2, rel=0.12, abs=0.005)


def test_nothing_to_compare_is_said() -> None:
    drift = Reference.of(np.arange(5.0)).drift("x", np.full(3, np.nan))
    assert np.isnan(drift.psi)
    assert drift.count == 0
    assert np.isnan(Reference.of(np.full(3, np.nan)).drift("x", np.arange(3.0)).psi)


def test_report_ranks_columns() -> None:
    text = report([ColumnDrift("calm", 0.01, 0.005, 100), ColumnDrift("wild", 1.5, 0.005, 2000)])
    lines = text.splitlines()
    assert lines[1].split() == ["wild", "1.500", "0.005", "2,000", "shifted"]
    assert lines[2].split()[-1] == "stable"


@pytest.mark.parametrize("scaling", ["robust", "rank", "none"])
def test_pipeline_compares_bars_and_tensors_alike(scaling: str) -> None:
    bars = random_bars(2, 900)
    pipeline = FeaturePipeline(config(scaling)).fit(bars, (0, 600))
    training = pipeline.drift(bars, (0, 600))
    assert [d.column for d in training] == [*pipeline.names[:-1], *pipeline.shared_names]
    assert max(d.psi for d in training) < 1e-12
    raw = pipeline.drift(bars, (600, 900))
    tensor = pipeline.drift(pipeline.transform(bars), (600, 900))
    assert [d.count for d in raw] == [d.count for d in tensor]
    np.testing.assert_allclose([d.psi for d in tensor], [d.psi for d in raw], rtol=0.05, atol=0.01)


def test_state_keeps_the_distribution() -> None:
    bars = random_bars(3, 700)
    pipeline = FeaturePipeline(config()).fit(bars, (0, 500))
    read = FeaturePipeline.from_json(pipeline.to_json())
    assert read.drift(bars, (500, 700)) == pipeline.drift(bars, (500, 700))
    old = replace(pipeline.state, references={})
    assert PipelineState.from_json(old.to_json()).references == {}
    pipeline._state = old
    with pytest.raises(FeatureError, match="expected the training distribution of log_return"):
        pipeline.drift(bars)


def test_a_changed_market_is_seen_on_a_stream() -> None:
    bars = random_bars(4, 1000)
    pipeline = FeaturePipeline(config()).fit(bars, (0, 600))
    pipeline.prime(bars.rows(0, 600))
    rows = [pipeline.update(bars.rows(k, k + 1)) for k in range(600, 1000)]
    window = FeatureTensor(
        np.concatenate([row.asset_TAF for row in rows]),
        np.concatenate([row.shared_TG for row in rows]),
        pipeline.names,
        pipeline.shared_names,
        0,
    )
    calm = {d.column: d for d in pipeline.drift(window)}
    first = pipeline.names[0]
    assert calm[first].reading == "stable"
    window.asset_TAF[..., 0] *= 3.0
    wild = {d.column: d for d in pipeline.drift(window)}
    assert wild[first].psi > calm[first].psi + 0.2
    assert wild[first].reading == "shifted"

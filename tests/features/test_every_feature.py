"""One conformance suite over every declared feature: causal, scale-free, honest about its needs."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import FeatureConfig, FeaturePipeline, FeatureSpec, catalogue
from features.definition import Array, BoundFeature, Feature
from features.series import adjusted_series
from markets.bars import Bars
from tests.features.random_markets import after_replaced_by_noise, random_bars

# The package's own features; those that other tests declare are not judged here.
DECLARED = [feature for feature in catalogue() if feature.function.__module__[:9] == "features."]
ASSET = [feature for feature in DECLARED if feature.scope == "asset"]


def every(features: list[Feature]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("feature", features, ids=lambda feature: feature.name)


def values_of(bound: BoundFeature, bars: Bars, asset: int = 0) -> Array:
    return bound.compute(list(adjusted_series(bars))[asset].columns)


def everything() -> FeaturePipeline:
    specs = tuple(FeatureSpec(name=feature.name) for feature in DECLARED)
    return FeaturePipeline(FeatureConfig(features=specs))


@every(DECLARED)
def test_declaration_is_complete(feature: Feature) -> None:
    assert feature.unit
    assert len(feature.source) > 10
    assert feature.function.__doc__
    bound = feature.bind({})
    assert bound.memory > bound.warmup
    assert feature.carries_state == (bound.memory > bound.warmup + 1)


@every(DECLARED)
@pytest.mark.parametrize("seed", range(5))
def test_future_noise(feature: Feature, seed: int) -> None:
    """Prices, gaps, splits and dividends after t are replaced; values up to t keep every bit."""
    bars = random_bars(seed)
    pipeline = FeaturePipeline(FeatureConfig(features=(FeatureSpec(name=feature.name),)))
    asset_TAF, shared_TG = pipeline.raw(bars)
    last = int(np.random.default_rng(seed).integers(70, bars.num_bars - 10))
    changed = after_replaced_by_noise(bars, last, seed + 100)
    asset_changed_TAF, shared_changed_TG = pipeline.raw(changed)
    until = slice(0, last + 1)
    assert asset_TAF[until].tobytes() == asset_changed_TAF[until].tobytes()
    assert shared_TG[until].tobytes() == shared_changed_TG[until].tobytes()
    if feature.scope == "asset":
        assert asset_TAF.tobytes() != asset_changed_TAF.tobytes(), "the noise changed nothing"


@given(st.integers(0, 10**6), st.integers(70, 150))
@settings(max_examples=20)
def test_future_noise_over_the_whole_pipeline(seed: int, last: int) -> None:
    bars = random_bars(seed)
    changed = after_replaced_by_noise(bars, last, seed + 1)
    one, two = (everything().fit(b, (0, 70)).transform(b) for b in (bars, changed))
    until = slice(0, last + 1)
    assert one.flat()[until].tobytes() == two.flat()[until].tobytes()


@every(DECLARED)
def test_warmup_is_exact(feature: Feature) -> None:
    """Finite from the declared bar on (checked by compute), and without a value just before."""
    bound = feature.bind({})
    bars = random_bars(3, trouble=False)
    series = next(iter(adjusted_series(bars))).columns
    assert np.isfinite(bound.compute(series)[bound.warmup :]).all()
    inputs = [series[name] for name in feature.inputs]
    result = feature.function(*inputs, **bound.parameters)
    for part in result if feature.outputs else (result,):
        assert np.isnan(part[: bound.warmup]).all()
        assert np.isfinite(part[bound.warmup])


@every(DECLARED)
def test_too_few_bars_give_no_value(feature: Feature) -> None:
    bound = feature.bind({})
    series = next(iter(adjusted_series(random_bars(3, trouble=False)))).columns
    for count in (0, bound.warmup):
        short = {name: values[:count] for name, values in series.items()}
        values = bound.compute(short)
        assert values.shape == (count, len(bound.columns))
        assert np.isnan(values).all()


@every(DECLARED)
def test_memory_is_sufficient(feature: Feature) -> None:
    """The last ``memory`` bars give today's value, even after a past a hundred times as wild."""
    bound = feature.bind({})
    bars = random_bars(5, bound.memory + 60, 1, trouble=False)
    series = dict(next(iter(adjusted_series(bars))).columns)
    wild = np.exp(np.random.default_rng(0).normal(0.0, 1.0, 40))
    for name in ("open", "high", "low", "close"):
        series[name] = series[name].copy()
        series[name][:40] *= wild
    whole = bound.compute(series)[-1]
    tail = bound.compute({name: values[-bound.memory :] for name, values in series.items()})[-1]
    np.testing.assert_allclose(tail, whole, rtol=1e-9, atol=1e-12)


@every(ASSET)
def test_scale_of_prices_and_volume_does_not_matter(feature: Feature) -> None:
    bound = feature.bind({})
    series = next(iter(adjusted_series(random_bars(11)))).columns
    scaled = {name: values * 7.3e-4 for name, values in series.items() if name != "ts_event"}
    values = bound.compute({**scaled, "ts_event": series["ts_event"]})
    np.testing.assert_allclose(values, bound.compute(series), rtol=1e-9, atol=1e-12)


@every(ASSET)
def test_unchanged_price_and_volume_are_neutral(feature: Feature) -> None:
    bound = feature.bind({})
    count = bound.warmup + 20
    constant: dict[str, Array] = {
        name: np.full(count, 0.1) for name in ("open", "high", "low", "close", "volume")
    }
    values = bound.compute({**constant, "ts_event": np.arange(count)})
    np.testing.assert_allclose(values[bound.warmup :], 0.0, atol=1e-14)


def test_the_first_dozen_is_there() -> None:
    pipeline = FeaturePipeline()
    assert len(pipeline.names) + len(pipeline.shared_names) >= 20
    assert pipeline.warmup == 63
    assert pipeline.names[-1] == "tradable"


def test_future_noise_catches_a_look_ahead() -> None:
    """The instrument works: a value that reads one bar ahead changes with the noise."""
    bars = random_bars(0)
    changed = after_replaced_by_noise(bars, 100, 1)
    own = np.flatnonzero(~bars.missing[:101, 0])[-1]
    cheats = [np.roll(values_of(DECLARED[0].bind({}), b), -1, axis=0) for b in (bars, changed)]
    known = np.count_nonzero(~bars.missing[: own + 1, 0])
    assert cheats[0][:known].tobytes() != cheats[1][:known].tobytes()


def test_five_symbols_and_thirteen_years_take_a_moment() -> None:
    bars = random_bars(0, 3300, 5)
    pipeline = FeaturePipeline().fit(bars, (0, 2000))
    pipeline.transform(bars)
    start = time.process_time()
    pipeline.transform(bars)
    assert time.process_time() - start < 0.5  # about 0.01 s on a quiet core

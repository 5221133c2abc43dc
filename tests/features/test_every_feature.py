"""One conformance suite over every declared feature: causal, scale-free, honest about its needs.

The features share one market of 20 symbols with gaps, splits, dividends, a late start, an early end
and a halt, and a published series; each form of all features is computed once.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from annotated_types import Ge
from hypothesis import given, settings
from hypothesis import strategies as st

from features import FeatureConfig, FeaturePipeline, FeatureSpec, catalogue
from features.consistency import own_series, start_dependence
from features.definition import Array, BoundFeature, Feature, FeatureError, Parameter, Series
from features.inputs import PUBLISHED
from features.step_driver import sweep
from features.stream import FeatureStream
from markets.bars import Bars
from markets.published import PublishedSeries
from tests.features.random_markets import after_replaced_by_noise, random_bars, random_series

# The package's own features; those that other tests declare are not judged here.
DECLARED = [feature for feature in catalogue() if feature.function.__module__[:9] == "features."]
ASSET = [feature for feature in DECLARED if feature.scope == "asset"]
TOLERANCE = 1e-9
ROWS = 1400


def every(features: list[Feature]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("feature", features, ids=lambda feature: feature.name)


def spec_of(feature: Feature) -> FeatureSpec:
    chosen: dict[str, Parameter] = {"series": "vix"} if PUBLISHED & set(feature.inputs) else {}
    return FeatureSpec(name=feature.name, parameters=chosen)


def bound(feature: Feature) -> BoundFeature:
    return feature.bind(spec_of(feature).parameters)


def everything(bars: Bars, seed: int = 0) -> FeaturePipeline:
    config = FeatureConfig(features=tuple(map(spec_of, DECLARED)))
    return FeaturePipeline(config, {"vix": random_series(seed, bars)})


def without_paths(pipeline: FeaturePipeline) -> FeaturePipeline:
    specs = (spec_of(f.feature) for f in pipeline.features if not f.feature.path_dependent)
    return FeaturePipeline(FeatureConfig(features=tuple(specs)), pipeline.exogenous)


def columns_of(feature: Feature, pipeline: FeaturePipeline, values: tuple[Array, Array]) -> Array:
    """The columns of one feature, out of all: (..., columns)."""
    own = feature.scope == "asset"
    names = pipeline.names if own else pipeline.shared_names
    at = [names.index(column) for column in bound(feature).columns]
    return values[0 if own else 1][..., at]


@dataclass(frozen=True)
class Forms:
    """All features of one market, in three forms."""

    bars: Bars
    pipeline: FeaturePipeline
    batch: tuple[Array, Array]
    stream: tuple[Array, Array]
    rows: tuple[int, ...]
    tails: tuple[tuple[Array, Array], ...]
    tail_pipeline: FeaturePipeline


@pytest.fixture(scope="module")
def forms() -> Forms:
    bars = random_bars(1, ROWS, 20)
    pipeline = everything(bars)
    stream = FeatureStream(pipeline.features, bars.symbols)
    rows = [stream.update(bars.rows(row, row + 1), pipeline.exogenous) for row in range(ROWS)]
    ends = (ROWS // 2 - 5, ROWS // 2 + 40, ROWS)
    tail_pipeline = without_paths(pipeline)
    return Forms(
        bars,
        pipeline,
        pipeline.raw(bars),
        (np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])),
        tuple(end - 1 for end in ends),
        tuple(tail_pipeline.raw_tail(bars.rows(0, end)) for end in ends),
        tail_pipeline,
    )


def assert_near(found: Array, expected: Array) -> None:
    """To 1e-9 of the value, or of the column's largest one."""
    scale = np.nanmax(np.abs(expected), initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * scale)


@every(DECLARED)
def test_declaration_is_complete(feature: Feature) -> None:
    assert feature.unit
    assert len(feature.source) > 10
    assert feature.function.__doc__
    calendar = set(feature.inputs) == {"ts_event"}
    assert feature.step is not None or calendar, "a stream would compute the last bars anew"
    assert bound(feature).memory > bound(feature).warmup


class TestThreeForms:
    @every(DECLARED)
    def test_stream_equals_batch(self, feature: Feature, forms: Forms) -> None:
        batch = columns_of(feature, forms.pipeline, forms.batch)
        stream = columns_of(feature, forms.pipeline, forms.stream)
        for column in range(batch.shape[-1]):
            assert_near(stream[..., column], batch[..., column])
        assert np.isfinite(batch).any()

    @every([feature for feature in DECLARED if not feature.path_dependent])
    def test_tail_equals_batch(self, feature: Feature, forms: Forms) -> None:
        batch = columns_of(feature, forms.pipeline, forms.batch)
        for row, values in zip(forms.rows, forms.tails, strict=True):
            tail = columns_of(feature, forms.tail_pipeline, values)
            for column in range(batch.shape[-1]):
                scale = np.nanmax(np.abs(batch[..., column]))
                expected = batch[row, ..., column]
                np.testing.assert_allclose(
                    tail[..., column], expected, rtol=TOLERANCE, atol=TOLERANCE * scale
                )

    def test_all_continue_after_a_restart(self, forms: Forms) -> None:
        """From history at once or bar by bar, then from the state: the same bits."""
        stop, bars, features = 900, forms.bars, forms.pipeline.features
        published = forms.pipeline.exogenous
        primed = FeatureStream(features, bars.symbols)
        primed.prime(bars.rows(0, stop), published)
        resumed = FeatureStream.resumed(features, json.loads(json.dumps(primed.state())))
        for row in range(stop, stop + 40):
            values = resumed.update(bars.rows(row, row + 1), published)
            for found, expected in zip(values, forms.stream, strict=True):
                assert found.tobytes() == expected[row].tobytes()


class TestStep:
    """Nothing checks an index in a step: what lies beyond its places must not matter."""

    @every([feature for feature in DECLARED if feature.step is not None])
    @pytest.mark.parametrize("least", [False, True], ids=["default", "least"])
    def test_stays_in_its_places(self, feature: Feature, least: bool) -> None:
        chosen = smallest(feature) if least else bound(feature)
        series = one_series(feature)
        bar_TI = np.stack([series[name] for name in feature.inputs], axis=1).astype(np.float64)
        columns = len(chosen.columns)
        out_TK = np.full((2, len(bar_TI), columns + 2), 77.0)
        assert feature.step is not None
        size = feature.step.state(**chosen.numbers)
        for run, beyond in enumerate((0.0, np.nan)):
            state_S = np.concatenate([np.zeros(size), np.full(8, beyond)])
            parameters_P = np.array([*chosen.numbers.values(), beyond], np.float64)
            sweep(feature.step.address, bar_TI, parameters_P, state_S, out_TK[run])
            np.testing.assert_array_equal(state_S[size:], beyond)
        assert (out_TK[..., columns:] == 77.0).all()
        assert out_TK[0].tobytes() == out_TK[1].tobytes()

    @every([feature for feature in DECLARED if feature.step is not None])
    def test_equals_the_batch_at_the_least_parameters(self, feature: Feature) -> None:
        chosen, series = smallest(feature), one_series(feature)
        bar_TI = np.stack([series[name] for name in feature.inputs], axis=1).astype(np.float64)
        assert feature.step is not None
        found = feature.step.batch(tuple(bar_TI.T), len(chosen.columns), **chosen.numbers)
        for column, values in zip(chosen.compute(series).T, found, strict=True):
            assert_near(values[chosen.warmup :], column[chosen.warmup :])


def smallest(feature: Feature) -> BoundFeature:
    """The feature with its whole-numbered parameters at their least, one bar apart."""
    least: dict[str, int] = {}
    for name, field in feature.schema.model_fields.items():
        bounds = [limit.ge for limit in field.metadata if isinstance(limit, Ge)]
        if bounds and field.annotation is int:
            least[name] = int(str(bounds[0]))
    fixed = spec_of(feature).parameters
    rising = {name: value + number for number, (name, value) in enumerate(least.items())}
    falling = {name: value + len(least) - 1 - k for k, (name, value) in enumerate(least.items())}
    try:
        return feature.bind({**fixed, **rising})
    except FeatureError:
        # A lag has to be shorter than its window, which stands before it.
        return feature.bind({**fixed, **falling})


class TestCausality:
    @every(DECLARED)
    @pytest.mark.parametrize("seed", range(3))
    def test_future_noise(self, feature: Feature, seed: int) -> None:
        """Prices, gaps, actions and publications after t are replaced; the bits up to t stay."""
        last, pipeline, one, two = noise_after(seed)
        before, after = (columns_of(feature, pipeline, values) for values in (one, two))
        assert before[: last + 1].tobytes() == after[: last + 1].tobytes()
        if set(feature.inputs) != {"ts_event"}:
            assert before.tobytes() != after.tobytes(), "the noise changed nothing"

    @given(st.integers(0, 10**6), st.integers(70, 150))
    @settings(max_examples=20, deadline=None)
    def test_over_the_fitted_pipeline(self, seed: int, last: int) -> None:
        bars = random_bars(seed)
        changed = after_replaced_by_noise(bars, last, seed + 1)
        one, two = (FeaturePipeline().fit(b, (0, 70)).transform(b) for b in (bars, changed))
        until = slice(0, last + 1)
        assert one.flat()[until].tobytes() == two.flat()[until].tobytes()

    def test_catches_a_look_ahead(self) -> None:
        """The instrument works: a value that reads one bar ahead changes with the noise."""
        last, _, one, two = noise_after(0)
        cheats = [np.roll(values[0], -1, axis=0)[: last + 1] for values in (one, two)]
        assert cheats[0].tobytes() != cheats[1].tobytes()


@cache
def noise_after(
    seed: int,
) -> tuple[int, FeaturePipeline, tuple[Array, Array], tuple[Array, Array]]:
    """A random row, and all features of a market and of one that is noise after it."""
    bars = random_bars(seed, 700, 5)
    last = int(np.random.default_rng(seed).integers(450, bars.num_bars - 10))
    changed = after_replaced_by_noise(bars, last, seed + 100)
    pipeline = everything(bars, seed)
    known, noise = pipeline.exogenous["vix"], random_series(seed + 1, bars)
    now = int(bars.ts_event[last])
    old, new = known.ts_published <= now, noise.ts_published > now
    vix = PublishedSeries(
        name="vix",
        ts_published=np.concatenate([known.ts_published[old], noise.ts_published[new]]),
        values=np.concatenate([known.values[old], noise.values[new]]),
    )
    noisy = FeaturePipeline(pipeline.config, {"vix": vix})
    return last, pipeline, pipeline.raw(bars), noisy.raw(changed)


class TestNeeds:
    @every(DECLARED)
    def test_warmup_is_exact_and_sufficient(self, feature: Feature) -> None:
        """The function itself has no value just before it, and has one with not a bar more."""
        chosen, series = bound(feature), one_series(feature)
        short = {name: values[: chosen.warmup + 1] for name, values in series.items()}
        result = feature.function(*(short[name] for name in feature.inputs), **chosen.parameters)
        parts = result if feature.outputs else (result,)
        assert all(np.isfinite(part[chosen.warmup]) for part in parts)
        if chosen.warmup:
            assert any(np.isnan(part[: chosen.warmup]).all() for part in parts)
        assert np.isfinite(chosen.compute(series)[chosen.warmup :]).all()

    @every(DECLARED)
    def test_too_few_bars_give_no_value(self, feature: Feature) -> None:
        chosen, series = bound(feature), one_series(feature)
        for count in {0, chosen.warmup}:
            values = chosen.compute({name: column[:count] for name, column in series.items()})
            assert values.shape == (count, len(chosen.columns))
            assert np.isnan(values).all()

    @every([feature for feature in DECLARED if not feature.path_dependent])
    def test_memory_is_sufficient(self, feature: Feature) -> None:
        """The last bars give today's value, even after a past a hundred times as wild."""
        chosen = bound(feature)
        series = dict(one_series(feature, chosen.memory + 200))
        wild = np.exp(np.random.default_rng(0).normal(0.0, 1.0, 40))
        for name in {"open", "high", "low", "close", "market", "sector", "exogenous"} & {*series}:
            series[name] = series[name].copy()
            series[name][:40] *= wild
        whole = chosen.compute(series)
        tail = chosen.compute({name: column[-chosen.memory :] for name, column in series.items()})
        scale_K = np.abs(whole[-150:]).max(axis=0)
        assert (np.abs(tail[-1] - whole[-1]) <= TOLERANCE * scale_K).all()

    @every(DECLARED)
    def test_start_of_the_history(
        self, feature: Feature, forms: Forms, record_property: Callable[[str, object], None]
    ) -> None:
        """Three start dates: the relative deviation is in the report."""
        chosen, bars = bound(feature), forms.bars.select(["S0", "S3"])
        if chosen.memory > ROWS // 2:
            bars = random_bars(1, chosen.memory + 300, 1, trouble=False)
        apart = start_dependence(chosen, bars, random_series(0, bars))
        record_property("start_dependence", apart)
        if feature.path_dependent:
            assert apart > TOLERANCE
        else:
            assert apart <= TOLERANCE


class TestValues:
    @every(DECLARED)
    def test_scale_does_not_matter(self, feature: Feature) -> None:
        """Of prices, of volume and of the market's levels."""
        chosen, series = bound(feature), one_series(feature)
        prices = dict.fromkeys(("open", "high", "low", "close"), 7.3e-4)
        factors = {**prices, "volume": 0.37, "market": 31.0, "sector": 0.011}
        scaled = {name: column * factors.get(name, 1) for name, column in series.items()}
        for found, expected in zip(chosen.compute(scaled).T, chosen.compute(series).T, strict=True):
            assert_near(found, expected)

    @every(DECLARED)
    @pytest.mark.parametrize("volume", [0.0, 3.0])
    def test_constant_prices_are_finite(self, feature: Feature, volume: float) -> None:
        """Every value is a number, and the neutral one of the feature."""
        chosen = bound(feature)
        values = chosen.compute(quiet_series(chosen, volume))[chosen.warmup :]
        assert np.isfinite(values).all()
        if feature.name not in NOT_ZERO_WHEN_QUIET and set(feature.inputs) != {"ts_event"}:
            np.testing.assert_allclose(values, 0.0, atol=1e-12)


NOT_ZERO_WHEN_QUIET = {"exogenous_level": "it is the level itself"}
"""Features, beside the calendar's, whose value in a market at rest is not 0, and why."""


@cache
def one_series(feature: Feature, count: int = 900) -> Series:
    """What a feature reads of a market of three assets without trouble."""
    bars = random_bars(3, count + 30, 3, trouble=False)
    series = next(iter(own_series(bound(feature), bars, random_series(3, bars))))
    return {name: column[-count:] for name, column in series.items()}


def quiet_series(chosen: BoundFeature, volume: float) -> Series:
    count = chosen.warmup + 40
    series = {
        name: np.full(count, 0.1)
        for name in ("open", "high", "low", "close", "market", "sector", "exogenous")
    }
    zeros = np.zeros(count)
    half = np.full(count, 0.5)
    series |= {"volume": np.full(count, volume), "dispersion": zeros, "breadth": half, "age": zeros}
    return {**series, "ts_event": np.arange(count) * 86_400 * 10**9}


def test_the_feature_set_is_there() -> None:
    assert len(DECLARED) >= 65
    pipeline = FeaturePipeline()
    assert len(pipeline.names) + len(pipeline.shared_names) >= 20
    assert pipeline.warmup == 63
    assert pipeline.names[-1] == "tradable"

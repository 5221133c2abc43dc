"""The pipeline: fitted on the training span only, open about what is not known, exact on disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from features import FeatureConfig, FeatureError, FeaturePipeline, FeatureSpec, indicators
from features.registry import lookup
from features.scaling import Scaling
from features.state import PipelineState
from markets.bars import Bars
from markets.errors import MarketDataError
from tests.features.random_markets import FIELDS, random_bars, random_series

ROWS = (20, 110)


@pytest.fixture
def bars() -> Bars:
    return random_bars(1, 160, 3)


@pytest.fixture
def pipeline(bars: Bars) -> FeaturePipeline:
    return FeaturePipeline().fit(bars, ROWS)


class TestFit:
    @pytest.mark.parametrize("scaling", ["robust", "standard"])
    def test_ignores_data_outside_of_the_training_span(self, bars: Bars, scaling: Scaling) -> None:
        noise = random_bars(77, 160, 3)
        start, stop = ROWS
        fields: dict[str, Any] = {}
        for name in FIELDS:
            fields[name] = getattr(noise, name).copy()
            fields[name][start:stop] = getattr(bars, name)[start:stop]
        inside = bars.rows(start, stop).actions
        changed = Bars.from_arrays(bars.ts_event, bars.symbols, **fields, actions=inside)
        config = FeatureConfig(scaling=scaling)
        one, two = (FeaturePipeline(config).fit(b, ROWS) for b in (bars, changed))
        assert one.to_json() == two.to_json()

    def test_training_values_are_standardised(self, bars: Bars) -> None:
        config = FeatureConfig(scaling="standard", clip=1e6)
        pipeline = FeaturePipeline(config).fit(bars, (0, 160))
        tensor = pipeline.transform(bars)
        raw_TAF, _ = pipeline.raw(bars)
        for column in range(raw_TAF.shape[-1]):
            values = tensor.asset_TAF[..., column][np.isfinite(raw_TAF[..., column])]
            assert values.mean() == pytest.approx(0.0, abs=1e-4)
            assert values.std() == pytest.approx(1.0, abs=1e-4)

    def test_calendar_is_not_scaled(self, pipeline: FeaturePipeline, bars: Bars) -> None:
        np.testing.assert_allclose(
            pipeline.transform(bars).shared_TG, pipeline.raw(bars)[1], atol=1e-7
        )
        assert all((s.center, s.scale) == (0.0, 1.0) for s in pipeline.state.shared.values())

    @pytest.mark.parametrize("rows", [(-1, 100), (50, 50), (0, 161), (100, 50)])
    def test_refuses_rows_outside(self, bars: Bars, rows: tuple[int, int]) -> None:
        with pytest.raises(FeatureError, match=r"expected rows 0 <= start < stop <= 160, found"):
            FeaturePipeline().fit(bars, rows)

    def test_refuses_fewer_bars_than_the_warmup(self, bars: Bars) -> None:
        with pytest.raises(
            FeatureError, match=r"more than 63 bars \(the warm-up of momentum_63\), found 63"
        ):
            FeaturePipeline().fit(bars, (10, 73))

    def test_refuses_a_feature_without_any_value(self, bars: Bars) -> None:
        late = bars.select(["S1"])
        with pytest.raises(FeatureError, match=r"momentum_63 has no value in rows \(0, 80\).*S1"):
            FeaturePipeline().fit(late, (0, 80))


class TestTransform:
    def test_shapes_names_and_flat_order(self, pipeline: FeaturePipeline, bars: Bars) -> None:
        tensor = pipeline.transform(bars)
        features, shared = len(tensor.names), len(tensor.shared_names)
        assert tensor.asset_TAF.shape == (160, 3, features)
        assert tensor.asset_TAF.dtype == tensor.shared_TG.dtype == np.float32
        flat = tensor.flat()
        assert flat.shape == (160, 3 * features + shared)
        assert flat.dtype == np.float32
        assert flat.flags.c_contiguous
        np.testing.assert_array_equal(flat[:, features : 2 * features], tensor.asset_TAF[:, 1])
        np.testing.assert_array_equal(flat[:, 3 * features :], tensor.shared_TG)
        assert tensor.warmup == 63

    def test_missing_and_young_assets_are_neutral(
        self, pipeline: FeaturePipeline, bars: Bars
    ) -> None:
        tensor = pipeline.transform(bars)
        assert np.isfinite(tensor.flat()).all()
        np.testing.assert_array_equal(tensor.asset_TAF[..., -1], ~bars.missing)
        assert not tensor.asset_TAF[bars.missing].any()
        first = int(np.argmax(~bars.missing[:, 1]))
        column = tensor.names.index("momentum_63")
        own = np.cumsum(~bars.missing[:, 1])
        young_T = own <= 63
        assert first > 30
        assert not tensor.asset_TAF[young_T, 1, column].any()
        known_T = ~young_T & ~bars.missing[:, 1]
        assert np.abs(tensor.asset_TAF[known_T, 1, column]).min() > 0.0

    def test_gap_bridges_to_the_last_own_bar(self, bars: Bars) -> None:
        """Dropping the gaps of a lone asset changes nothing but the rows."""
        alone = bars.select(["S0"])
        kept = ~alone.missing[:, 0]
        dense = Bars.from_arrays(
            alone.ts_event[kept],
            alone.symbols,
            **{name: getattr(alone, name)[kept] for name in FIELDS},
            actions=alone.actions,
        )
        sparse_TAF, _ = FeaturePipeline().raw(alone)
        dense_TAF, _ = FeaturePipeline().raw(dense)
        np.testing.assert_allclose(sparse_TAF[kept], dense_TAF, rtol=1e-12, atol=1e-14)

    def test_clip(self, bars: Bars) -> None:
        tensor = FeaturePipeline(FeatureConfig(clip=0.5)).fit(bars, ROWS).transform(bars)
        assert np.abs(tensor.asset_TAF[..., :-1]).max() == np.float32(0.5)

    def test_without_scaling_the_raw_values_are_given(self, bars: Bars) -> None:
        config = FeatureConfig(scaling="none", clip=1e9)
        pipeline = FeaturePipeline(config).fit(bars, ROWS)
        raw_TAF, _ = pipeline.raw(bars)
        expected = np.nan_to_num(raw_TAF).astype(np.float32)
        np.testing.assert_array_equal(pipeline.transform(bars).asset_TAF[..., :-1], expected)

    def test_only_shared_or_only_asset_features(self, bars: Bars) -> None:
        shared = FeaturePipeline(FeatureConfig(features=(FeatureSpec(name="month"),)))
        assert shared.fit(bars, ROWS).transform(bars).flat().shape == (160, 3 * 1 + 2)
        asset = FeaturePipeline(FeatureConfig(features=(FeatureSpec(name="atr"),)))
        assert asset.fit(bars, ROWS).transform(bars).flat().shape == (160, 3 * 2)

    def test_refuses_before_the_fit_and_too_few_bars(
        self, pipeline: FeaturePipeline, bars: Bars
    ) -> None:
        with pytest.raises(FeatureError, match=r"expected a fitted pipeline; call fit"):
            FeaturePipeline().transform(bars)
        with pytest.raises(FeatureError, match=r"expected more than 63 bars .* found 40"):
            pipeline.transform(bars.rows(0, 40))


class TestTail:
    """The last row from the last bars alone."""

    def test_is_the_last_row_of_the_batch(self, pipeline: FeaturePipeline) -> None:
        bars = random_bars(4, 700, 3)
        batch = pipeline.transform(bars)
        for row in (300, 500, 699):
            tail = pipeline.tail(bars.rows(0, row + 1))
            assert tail.asset_TAF.shape == (1, *batch.asset_TAF.shape[1:])
            np.testing.assert_allclose(
                tail.flat()[0], batch.flat()[row], rtol=1e-6, atol=1e-6 * np.abs(batch.flat()).max()
            )
            assert tail.warmup == 0

    def test_needs_no_more_than_the_memory(self) -> None:
        """A history without its beginning gives the same."""
        specs = (FeatureSpec(name="realised_volatility"), FeatureSpec(name="momentum"))
        bars = random_bars(4, 300, 1, trouble=False)
        pipeline = FeaturePipeline(FeatureConfig(features=specs))
        memory = max(feature.memory for feature in pipeline.features)
        assert memory == 22
        whole, _ = pipeline.raw(bars)
        tail, _ = pipeline.raw_tail(bars.rows(300 - memory, 300))
        np.testing.assert_allclose(tail[0], whole[-1, 0], rtol=1e-11)

    def test_young_and_missing_assets_are_neutral(self, pipeline: FeaturePipeline) -> None:
        bars = random_bars(1, 160, 3)
        first = int(np.argmax(~bars.missing[:, 1]))
        tail = pipeline.tail(bars.rows(0, first + 1))
        assert tail.warmup == 1
        assert tail.asset_TAF[0, 1, -1] == 1.0
        assert not tail.asset_TAF[0, 1, tail.names.index("momentum_5")].any()
        assert not pipeline.tail(bars).asset_TAF[0, 2].any(), "S2 has ended"

    def test_refuses_what_no_number_of_bars_tells(self, bars: Bars) -> None:
        specs = (FeatureSpec(name="atr"), FeatureSpec(name="obv"))
        pipeline = FeaturePipeline(FeatureConfig(features=specs))
        with pytest.raises(FeatureError, match=r"path-dependent obv.*: prime a stream .*or resume"):
            pipeline.raw_tail(bars)


class TestExogenous:
    """Published series, by configuration or given."""

    def config(self, path: Path) -> FeatureConfig:
        return TypeAdapter(FeatureConfig).validate_python(
            {
                "features": [{"name": "exogenous_level", "parameters": {"series": "vix"}}],
                "exogenous": {
                    "vix": {"kind": "file", "path": str(path), "value": "close", "lag": "0D"}
                },
                "scaling": "none",
                "clip": 100.0,
            }
        )

    def test_from_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "vix.csv"
        path.write_text("date,close\n2015-01-05,20.5\n2015-01-07,30.5\n")
        bars = random_bars(0, 12, 1, trouble=False)
        pipeline = FeaturePipeline(self.config(path)).fit(bars, (0, 12))
        assert pipeline.shared_names == ("exogenous_level_vix",)
        # A day's value is known at its end: from the bar of the next weekday's midnight on.
        expected = [0.0] * 3 + [20.5] * 2 + [30.5] * 7
        assert pipeline.transform(bars).shared_TG[:, 0].tolist() == expected
        loaded = FeaturePipeline.from_json(pipeline.to_json())
        assert loaded.transform(bars).flat().tobytes() == pipeline.transform(bars).flat().tobytes()

    def test_the_file_is_read_when_it_is_needed(self, tmp_path: Path) -> None:
        bars = random_bars(0, 60, 1, trouble=False)
        given = random_series(0, bars)
        pipeline = FeaturePipeline(self.config(tmp_path / "none.csv"), {"vix": given})
        pipeline.fit(bars, (0, 60))
        assert pipeline.exogenous["vix"] is given
        loaded = FeaturePipeline.from_json(pipeline.to_json())
        with pytest.raises(MarketDataError, match=r"none\.csv"):
            loaded.transform(bars)

    def test_unknown_series_is_refused_at_once(self) -> None:
        specs = (FeatureSpec(name="exogenous_age", parameters={"series": "vox"}),)
        config = FeatureConfig(features=specs)
        given = {"vix": random_series(0, random_bars(0, 60, 1))}
        message = r"exogenous_age\.series: expected a published series of \['vix'\].*found 'vox'"
        with pytest.raises(FeatureError, match=message):
            FeaturePipeline(config, given)

    def test_fit_refuses_a_span_before_the_first_publication(self) -> None:
        specs = (FeatureSpec(name="exogenous_level", parameters={"series": "vix"}),)
        bars = random_bars(0, 60, 1)
        pipeline = FeaturePipeline(FeatureConfig(features=specs), {"vix": random_series(0, bars)})
        with pytest.raises(FeatureError, match=r"exogenous_level_vix has no value in .*published"):
            pipeline.fit(bars, (0, 10))


class TestConfig:
    def test_bare_name_stands_for_the_defaults(self) -> None:
        adapter = TypeAdapter(FeatureConfig)
        config = adapter.validate_python({"features": ["rsi", {"name": "macd"}]})
        assert config.features == (FeatureSpec(name="rsi"), FeatureSpec(name="macd"))
        assert adapter.validate_json(adapter.dump_json(FeatureConfig())) == FeatureConfig()

    @pytest.mark.parametrize(
        ("raw", "path"),
        [
            ({"features": []}, "features"),
            ({"clip": 0.0}, "clip"),
            ({"scaling": "minmax"}, "scaling"),
            ({"scalling": "none"}, "scalling"),
            ({"features": [{"name": "rsi", "window": 3}]}, r"features\.0\.window"),
        ],
    )
    def test_bad_values_are_refused_with_their_path(self, raw: Any, path: str) -> None:
        with pytest.raises(ValidationError, match=path):
            TypeAdapter(FeatureConfig).validate_python(raw)


class TestJson:
    def test_round_trip_is_exact(self, pipeline: FeaturePipeline, bars: Bars) -> None:
        text = pipeline.to_json()
        loaded = FeaturePipeline.from_json(text)
        assert loaded.to_json() == text
        assert loaded.state == pipeline.state
        assert loaded.transform(bars).flat().tobytes() == pipeline.transform(bars).flat().tobytes()

    def test_scalers_are_made_once(self, pipeline: FeaturePipeline) -> None:
        state = pipeline.state
        assert state.scalers is state.scalers
        assert PipelineState.from_json(state.to_json()) == state

    def test_says_where_it_was_fitted(self, pipeline: FeaturePipeline, bars: Bars) -> None:
        span = json.loads(pipeline.to_json())["span"]
        assert span["rows"] == [20, 110]
        assert span["symbols"] == ["S0", "S1", "S2"]
        assert span["ts_event"] == [int(bars.ts_event[20]), int(bars.ts_event[109])]

    def test_refuses_a_changed_definition(
        self, pipeline: FeaturePipeline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = pipeline.to_json()
        monkeypatch.setattr("features.definition.fingerprint", lambda _: "other code")
        message = r"feature log_return is defined otherwise now .*\(code: expected '[0-9a-f]{64}'"
        with pytest.raises(FeatureError, match=message):
            FeaturePipeline.from_json(text)

    def test_refuses_an_altered_parameter(self, pipeline: FeaturePipeline) -> None:
        state = json.loads(pipeline.to_json())
        state["definitions"]["rsi_14"]["parameters"]["window"] = 15
        with pytest.raises(FeatureError, match=r"rsi_14 .*parameters: expected \{'window': 15\}"):
            FeaturePipeline.from_json(json.dumps(state))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: s.update(format=1), r"pipeline JSON: format: .*found 1"),
            (lambda s: s.pop("span"), "pipeline JSON: span: .*[Mm]issing|required"),
            (lambda s: s["asset"]["atr_14"].update(scale=0.0), r"asset\.atr_14\.scale: .*found 0"),
            (
                lambda s: s["asset"]["atr_14"].update(ranks=[1.0, 3.0, 2.0]),
                r"asset\.atr_14\.ranks: .*expected ascending percentiles, found 2.0 after 3.0",
            ),
            (lambda s: s["asset"].pop("atr_14"), "expected scales of .*atr_14"),
            (lambda s: s["config"].update(clip=-1), r"config\.clip: .*found -1"),
            (
                lambda s: s["config"]["features"].append({"name": "rsy", "parameters": {}}),
                "unknown feature 'rsy': did you mean rsi",
            ),
        ],
    )
    def test_refuses_faulty_documents(
        self, pipeline: FeaturePipeline, change: Callable[[Any], Any], message: str
    ) -> None:
        state = json.loads(pipeline.to_json())
        change(state)
        with pytest.raises(FeatureError, match=message):
            FeaturePipeline.from_json(json.dumps(state))

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "NaN"])
    def test_refuses_what_is_no_document(self, text: str) -> None:
        with pytest.raises(FeatureError, match="pipeline JSON: "):
            FeaturePipeline.from_json(text)

    def test_imports_nothing_at_the_texts_request(self, pipeline: FeaturePipeline) -> None:
        state = json.loads(pipeline.to_json())
        state["config"]["modules"] = ["a_module_that_does_not_exist"]
        loaded = FeaturePipeline.from_json(json.dumps(state))
        assert loaded.config.modules == ("a_module_that_does_not_exist",)
        with pytest.raises(FeatureError, match=r"features\.modules: .*found 'a_module_that_does"):
            FeaturePipeline(loaded.config)


@pytest.mark.parametrize("family", indicators.__all__)
def test_families_declare_what_they_export(family: str) -> None:
    module = getattr(indicators, family)
    for name in module.__all__:
        declared = lookup(name)
        assert declared.function is getattr(module, name)
        assert declared.family == family

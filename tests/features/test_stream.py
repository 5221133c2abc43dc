"""A stream gives the batch's numbers, bar by bar, whatever happens to the assets."""

import dataclasses
import json
import time

import numpy as np
import pytest

from features import FeatureConfig, FeatureError, FeaturePipeline, FeatureSpec, catalogue
from features.definition import Array
from features.inputs import PUBLISHED
from features.registry import lookup
from features.stream import FeatureStream
from markets.bars import Bars
from markets.instruments import Instrument
from markets.published import PublishedError, PublishedSeries
from tests.features.random_markets import flat_bars, random_bars, random_series

EVERY = FeatureConfig(
    features=tuple(
        FeatureSpec(name=feature.name)
        for feature in catalogue()
        if feature.function.__module__.startswith("features.")
        and not PUBLISHED & set(feature.inputs)
    )
)


def streamed(
    pipeline: FeaturePipeline, bars: Bars, first: int, last: int
) -> tuple[FeatureStream, Array, Array]:
    """Values of rows first to last - 1, one bar at a time, after priming with those before."""
    stream = FeatureStream(pipeline.features, bars.symbols)
    if first:
        stream.prime(bars.rows(0, first))
    rows = [stream.update(bars.rows(row, row + 1)) for row in range(first, last)]
    return stream, np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])


@pytest.mark.parametrize("first", [0, 1, 45, 350])
@pytest.mark.parametrize("seed", [0, 1])
def test_stream_equals_batch_through_gaps_splits_and_dividends(seed: int, first: int) -> None:
    pipeline, bars = FeaturePipeline(EVERY), random_bars(seed, 400, 4)
    asset_TAF, shared_TG = pipeline.raw(bars)
    stream, streamed_TAF, streamed_TG = streamed(pipeline, bars, first, bars.num_bars)
    assert_near(streamed_TAF, asset_TAF[first:])
    np.testing.assert_allclose(streamed_TG, shared_TG[first:], rtol=1e-9, atol=1e-12)
    assert stream.num_bars == bars.num_bars
    assert np.isnan(asset_TAF[:100, 1]).all(), "asset 1 starts late"
    assert np.isfinite(asset_TAF[-40:, 1]).any()


def assert_near(found_TAF: Array, expected_TAF: Array) -> None:
    """To 1e-9 of the value, or of the column's largest one."""
    for column in range(expected_TAF.shape[-1]):
        expected = expected_TAF[..., column]
        scale = np.nanmax(np.abs(expected), initial=0.0)
        np.testing.assert_allclose(found_TAF[..., column], expected, rtol=1e-9, atol=1e-9 * scale)


def test_stream_equals_batch_over_a_real_market(us_bars: Bars) -> None:
    """Sixteen years of five stocks: through AIG 1:20, AAPL 7:1, late starts of FB and GOOG."""
    pipeline = FeaturePipeline(EVERY)
    asset_TAF, _ = pipeline.raw(us_bars)
    days = us_bars.ts_event.astype("datetime64[ns]")
    for event in ("2009-07-01", "2012-05-18", "2014-06-09"):
        row = int(np.searchsorted(days, np.datetime64(event)))
        _, streamed_TAF, _ = streamed(pipeline, us_bars, row - 20, row + 60)
        expected_TAF = asset_TAF[row - 20 : row + 60]
        assert_near(streamed_TAF, expected_TAF)


def test_long_stream_forgets_nothing_that_matters() -> None:
    """Several times the stream's capacity, so that its buffer moves and the tail is cut."""
    specs = (FeatureSpec(name="rsi", parameters={"window": 3}), FeatureSpec(name="atr"))
    pipeline = FeaturePipeline(FeatureConfig(features=specs))
    bars = random_bars(9, 1700, 2)
    asset_TAF, _ = pipeline.raw(bars)
    _, streamed_TAF, _ = streamed(pipeline, bars, 0, bars.num_bars)
    np.testing.assert_allclose(streamed_TAF, asset_TAF, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("first", [2, 3, 4, 5])
def test_actions_of_a_pause_wait_for_the_next_bar(first: int) -> None:
    """A pauses at rows 2 to 4, through a dividend, a split and a dividend; B goes on."""
    actions = [("A", 2, "dividend", 2.0), ("A", 3, "split", 2.0), ("A", 4, "dividend", 1.0)]
    nan = np.nan
    closes = [[90.0, 1.0], [100.0, 1.0], [nan, 1.0], [nan, 1.0], [nan, 1.0], [50.0, 1.0]]
    bars = flat_bars(closes, actions)
    pipeline = FeaturePipeline(FeatureConfig(features=(FeatureSpec(name="log_return"),)))
    _, streamed_TAF, _ = streamed(pipeline, bars, first, 6)
    assert streamed_TAF[-1, 0, 0] == pytest.approx(np.log(1.04), rel=1e-12)
    assert np.isnan(streamed_TAF[:-1, 0]).all()


def test_whole_action_table_or_that_of_the_day() -> None:
    """A live caller may hand over all actions with every bar; each one counts once."""
    bars = random_bars(2, 120, 2)
    pipeline = FeaturePipeline(FeatureConfig(features=(FeatureSpec(name="log_return"),)))
    stream = FeatureStream(pipeline.features, bars.symbols)
    rows = []
    for row in range(bars.num_bars):
        fields = {
            name: getattr(bars, name)[row : row + 1]
            for name in ("open", "high", "low", "close", "volume")
        }
        bar = Bars.from_arrays(
            bars.ts_event[row : row + 1], bars.symbols, **fields, actions=bars.actions
        )
        rows.append(stream.update(bar)[0])
    np.testing.assert_allclose(np.stack(rows), pipeline.raw(bars)[0], rtol=1e-9, atol=1e-13)


def test_a_bar_of_twenty_symbols_takes_a_moment() -> None:
    """Every feature there is; about 0.4 ms on a quiet core."""
    pipeline, bars = FeaturePipeline(EVERY), random_bars(0, 400, 20)
    stream = FeatureStream(pipeline.features, bars.symbols)
    stream.prime(bars.rows(0, 300))
    rows = [bars.rows(row, row + 1) for row in range(300, 400)]
    start = time.process_time()
    for row in rows:
        stream.update(row)
    assert (time.process_time() - start) / len(rows) < 2e-3


# exchange_calendars 4.13 reads Series.values, which pandas 3.1 deprecates.
@pytest.mark.filterwarnings("ignore:Series.values returning:pandas.errors.Pandas4Warning")
def test_exchange_days_decide_where_a_calendar_is_known(us_bars: Bars) -> None:
    instruments = [Instrument(symbol, calendar="XNYS") for symbol in ("AAPL", "IBM")]
    year = us_bars.select(["AAPL", "IBM"]).between("2013-01-01", "2014-12-31")
    frame = year.to_pandas().reset_index()
    frame["ts_event"] = frame["ts_event"].dt.tz_localize(None)
    bars = Bars.from_pandas(frame, instruments=instruments, actions=us_bars.actions)
    assert np.count_nonzero(bars.dividend_TA) == 16
    pipeline = FeaturePipeline(EVERY)
    asset_TAF, _ = pipeline.raw(bars)
    _, streamed_TAF, _ = streamed(pipeline, bars, 0, bars.num_bars)
    assert_near(streamed_TAF, asset_TAF)


class TestPipelineUpdate:
    def test_update_equals_transform(self) -> None:
        bars = random_bars(4, 150, 3)
        pipeline = FeaturePipeline().fit(bars, (0, 100))
        tensor = pipeline.transform(bars)
        rows = [pipeline.update(bars.rows(row, row + 1)) for row in range(bars.num_bars)]
        flat_TC = np.concatenate([row.flat() for row in rows])
        np.testing.assert_allclose(flat_TC, tensor.flat(), rtol=1e-6, atol=1e-6)
        warmups = [row.warmup for row in rows]
        assert warmups == [1] * 63 + [0] * 87
        pipeline.prime(bars.rows(0, 149))
        again = pipeline.update(bars.rows(149, 150))
        np.testing.assert_allclose(again.flat(), rows[-1].flat(), rtol=1e-6, atol=1e-6)

    def test_row_without_any_bar_is_neutral(self) -> None:
        bars = random_bars(4, 100, 1)
        row = int(np.flatnonzero(bars.missing[:, 0])[-1])
        pipeline = FeaturePipeline().fit(bars, (0, 100))
        pipeline.prime(bars.rows(0, row))
        assert not pipeline.update(bars.rows(row, row + 1)).asset_TAF.any()


class TestRefusals:
    def setup_method(self) -> None:
        self.bars = random_bars(0, 30, 2, trouble=False)
        self.pipeline = FeaturePipeline(FeatureConfig(features=(FeatureSpec(name="log_return"),)))
        self.stream = FeatureStream(self.pipeline.features, self.bars.symbols)

    def test_many_bars(self) -> None:
        with pytest.raises(FeatureError, match="expected one bar, found 30; see prime"):
            self.stream.update(self.bars)

    def test_other_symbols(self) -> None:
        with pytest.raises(FeatureError, match=r"expected the symbols .*S0.*S1.*found \('S1',\)"):
            self.stream.update(self.bars.rows(0, 1).select(["S1"]))

    def test_old_bar(self) -> None:
        self.stream.prime(self.bars.rows(0, 5))
        with pytest.raises(FeatureError, match=r"bar after 2015-01-07.*found 2015-01-07"):
            self.stream.update(self.bars.rows(4, 5))
        assert self.stream.num_bars == 5

    def test_primed_twice(self) -> None:
        self.stream.prime(self.bars)
        with pytest.raises(FeatureError, match="expected a new stream, found one that has seen 30"):
            self.stream.prime(self.bars)

    def test_unfitted_pipeline_does_not_swallow_the_bar(self) -> None:
        with pytest.raises(FeatureError, match="expected a fitted pipeline"):
            self.pipeline.update(self.bars.rows(0, 1))
        self.pipeline.fit(self.bars, (0, 30))
        assert self.pipeline.update(self.bars.rows(0, 1)).warmup == 1

    def test_a_refused_value_leaves_no_hole(self) -> None:
        """A bar whose value is refused is taken in by every feature of every asset."""
        names = ("broken_on_falls", "overnight_gap", "market_return", "dispersion")
        good = [FeatureSpec(name=name) for name in names[1:]]
        bars, modules = random_bars(0, 120, 3), ("tests.features.user_features",)
        whole = FeaturePipeline(FeatureConfig(features=tuple(good), modules=modules))
        asset_TAF, shared_TG = whole.raw(bars)
        features = (lookup(names[0]).bind({}), *whole.features)
        stream = FeatureStream(features, bars.symbols)
        refused = []
        for row in range(bars.num_bars):
            try:
                values_AF, shared_G = stream.update(bars.rows(row, row + 1))
            except FeatureError as error:
                refused.append(str(error))
                continue
            np.testing.assert_array_equal(values_AF[:, 1:], asset_TAF[row])
            np.testing.assert_array_equal(shared_G, shared_TG[row])
        assert 50 < len(refused) < 115
        assert all("feature broken_on_falls: expected finite" in text for text in refused)

    def test_other_sectors(self) -> None:
        self.stream.prime(self.bars.rows(0, 5))
        bar = dataclasses.replace(
            self.bars.rows(5, 6), instruments=(Instrument("S0", sector="banks"), Instrument("S1"))
        )
        with pytest.raises(FeatureError, match=r"the sectors \(None, None\), found \('banks'"):
            self.stream.update(bar)


class TestResume:
    """A stream that stops and continues elsewhere gives the same bits."""

    def pipeline(self, bars: Bars) -> FeaturePipeline:
        """Steps, a path-dependent feature, a user's plain one, and a published series."""
        config = FeatureConfig(features=RESUMED, modules=("tests.features.user_features",))
        return FeaturePipeline(config, {"vix": random_series(1, bars)})

    @pytest.mark.parametrize("seed", range(3))
    def test_continues_bit_for_bit(self, seed: int) -> None:
        bars = random_bars(seed, 260, 4)
        stop = int(np.random.default_rng(seed).integers(60, 240))
        one = self.pipeline(bars).fit(bars, (0, 260))
        whole = [one.update(bars.rows(row, row + 1)).flat() for row in range(260)]
        first = self.pipeline(bars).fit(bars, (0, 260))
        for row in range(stop):
            first.update(bars.rows(row, row + 1))
        second = FeaturePipeline.from_json(first.to_json(), {"vix": random_series(1, bars)})
        second.resume(first.stream_state())
        again = [second.update(bars.rows(row, row + 1)).flat() for row in range(stop, 260)]
        assert np.concatenate(again).tobytes() == np.concatenate(whole[stop:]).tobytes()

    @pytest.mark.parametrize("stop", [1, 7, 150])
    def test_history_at_once_leaves_the_state_of_bar_by_bar(self, stop: int) -> None:
        bars = random_bars(5, 160, 4)
        primed, updated = (self.pipeline(bars).fit(bars, (0, 160)) for _ in range(2))
        primed.prime(bars.rows(0, stop))
        for row in range(stop):
            updated.update(bars.rows(row, row + 1))
        one, two = (json.loads(p.stream_state())["stream"] for p in (primed, updated))
        assert one["assets"]["steps"] == two["assets"]["steps"]
        assert one == two

    def test_publications_are_part_of_it(self) -> None:
        bars = random_bars(5, 160, 2)
        first, second = (self.pipeline(bars).fit(bars, (0, 160)) for _ in range(2))
        first.prime(bars.rows(0, 159))
        first.publish("vix", int(bars.ts_event[159]), 77.0)
        second.resume(first.stream_state())
        assert second.exogenous["vix"].values[-1] == 77.0
        last = bars.rows(159, 160)
        assert first.update(last).flat().tobytes() == second.update(last).flat().tobytes()

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"stream": {}, "published": {}}', "null"])
    def test_refuses_what_is_no_state(self, text: str) -> None:
        pipeline = self.pipeline(random_bars(5, 160, 2))
        with pytest.raises(FeatureError, match="expected the text of a stream's state"):
            pipeline.resume(text)

    def test_refuses_the_state_of_other_features(self) -> None:
        bars = random_bars(5, 160, 2)
        pipeline = self.pipeline(bars)
        pipeline.prime(bars)
        state = json.loads(pipeline.stream_state())
        other = FeaturePipeline(FeatureConfig(features=(FeatureSpec(name="obv"),)))
        with pytest.raises(
            FeatureError, match=r"expected the state of the same features, .*atr_14"
        ):
            other.resume(json.dumps(state | {"published": {}}))
        state["stream"]["assets"]["features"]["obv"] = "0" * 64
        with pytest.raises(FeatureError, match=r"same features, found \['obv'\]"):
            pipeline.resume(json.dumps(state))
        state["stream"]["format"] = "perennial.stream.v0"
        with pytest.raises(FeatureError, match=r"expected 'perennial.stream.v1', found .*v0"):
            pipeline.resume(json.dumps(state))

    @pytest.mark.parametrize(
        ("part", "value", "message"),
        [
            ("steps", "AAAA", "text of a stream's state: buffer size"),
            ("steps", "AAAAAAAAAAA=", r"expected \d+ numbers of an array \(2, \d+\), found 1"),
            ("steps", "A", "text of a stream's state: Invalid base64"),
            ("bars", [1, 2, 3], "text of a stream's state: could not broadcast"),
            ("tails", [], "text of a stream's state: zip"),
        ],
    )
    def test_refuses_a_damaged_state(self, part: str, value: object, message: str) -> None:
        bars = random_bars(5, 160, 2)
        pipeline = self.pipeline(bars)
        pipeline.prime(bars)
        state = json.loads(pipeline.stream_state())
        state["stream"]["assets"][part] = value
        with pytest.raises(FeatureError, match=message):
            pipeline.resume(json.dumps(state))

    def test_refuses_before_the_first_bar(self) -> None:
        pipeline = self.pipeline(random_bars(5, 160, 2))
        with pytest.raises(FeatureError, match="expected a stream that has seen a bar"):
            pipeline.stream_state()


RESUMED = (
    *(FeatureSpec(name=name) for name in ("obv", "atr", "realised_volatility", "overnight_gap")),
    FeatureSpec(name="exogenous_zscore", parameters={"series": "vix", "window": 9}),
    FeatureSpec(name="exogenous_change", parameters={"series": "vix"}),
    FeatureSpec(name="month"),
)


class TestPublish:
    """A bar sees what was published at its time or before, and nothing later."""

    def setup_method(self) -> None:
        self.bars = random_bars(0, 30, 2, trouble=False)
        vix = PublishedSeries(
            name="vix", ts_published=self.bars.ts_event[4:5], values=np.array([20.0])
        )
        specs = (
            FeatureSpec(name="exogenous_level", parameters={"series": "vix"}),
            FeatureSpec(name="exogenous_age", parameters={"series": "vix"}),
        )
        config = FeatureConfig(features=specs, scaling="none", clip=100.0)
        self.pipeline = FeaturePipeline(config, {"vix": vix}).fit(self.bars, (0, 30))

    def rows(self, first: int, last: int) -> Array:
        bars = self.bars
        rows = [self.pipeline.update(bars.rows(t, t + 1)) for t in range(first, last)]
        return np.concatenate([row.shared_TG for row in rows])

    def test_in_time(self) -> None:
        assert not self.rows(0, 4).any(), "nothing is published"
        # Wednesday, Thursday.
        assert self.rows(4, 6).tolist() == [[20.0, 0.0], [20.0, 1.0]]
        now = self.bars.ts_event
        self.pipeline.publish("vix", int(now[6]), 30.0)
        self.pipeline.publish("vix", int(now[7]) + 1, 40.0)
        # Friday, Monday, Tuesday.
        expected = [[30.0, 0.0], [30.0, 3.0], [40.0, 1.0]]
        np.testing.assert_allclose(self.rows(6, 9), expected, rtol=1e-6)
        batch = self.pipeline.transform(self.bars).shared_TG
        np.testing.assert_allclose(batch[6:9], expected, rtol=1e-6)

    def test_refuses_what_a_bar_should_have_known(self) -> None:
        self.rows(0, 6)
        with pytest.raises(FeatureError, match=r"vix: expected a time after the last bar .*01-08"):
            self.pipeline.publish("vix", int(self.bars.ts_event[5]), 30.0)
        with pytest.raises(FeatureError, match=r"one of the series \['vix'\], found 'vox'"):
            self.pipeline.publish("vox", int(self.bars.ts_event[6]), 30.0)
        self.pipeline.publish("vix", int(self.bars.ts_event[6]), 30.0)
        with pytest.raises(PublishedError, match="publications in order of time"):
            self.pipeline.publish("vix", int(self.bars.ts_event[6]), 31.0)

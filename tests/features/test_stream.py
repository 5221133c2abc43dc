"""A stream gives the batch's numbers, bar by bar, whatever happens to the assets."""

import numpy as np
import pytest

from features import FeatureConfig, FeatureError, FeaturePipeline, FeatureSpec, catalogue
from features.definition import Array
from features.stream import FeatureStream
from markets.bars import Bars
from markets.instruments import Instrument
from tests.features.random_markets import flat_bars, random_bars

EVERY = FeatureConfig(
    features=tuple(
        FeatureSpec(name=feature.name)
        for feature in catalogue()
        if feature.function.__module__.startswith("features.")
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


@pytest.mark.parametrize("first", [0, 1, 45, 150])
@pytest.mark.parametrize("seed", [0, 1])
def test_stream_equals_batch_through_gaps_splits_and_dividends(seed: int, first: int) -> None:
    pipeline, bars = FeaturePipeline(EVERY), random_bars(seed, 200, 3)
    asset_TAF, shared_TG = pipeline.raw(bars)
    stream, streamed_TAF, streamed_TG = streamed(pipeline, bars, first, bars.num_bars)
    np.testing.assert_allclose(streamed_TAF, asset_TAF[first:], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(streamed_TG, shared_TG[first:], rtol=0, atol=0)
    assert stream.num_bars == bars.num_bars
    assert np.isnan(asset_TAF[:40, 1]).all(), "asset 1 starts late"
    assert np.isfinite(asset_TAF[-40:, 1]).any()


def test_stream_equals_batch_over_a_real_market(us_bars: Bars) -> None:
    """Sixteen years of five stocks: through AIG 1:20, AAPL 7:1, late starts of FB and GOOG."""
    pipeline = FeaturePipeline(EVERY)
    asset_TAF, _ = pipeline.raw(us_bars)
    days = us_bars.ts_event.astype("datetime64[ns]")
    for event in ("2009-07-01", "2012-05-18", "2014-06-09"):
        row = int(np.searchsorted(days, np.datetime64(event)))
        _, streamed_TAF, _ = streamed(pipeline, us_bars, row - 20, row + 60)
        expected_TAF = asset_TAF[row - 20 : row + 60]
        np.testing.assert_allclose(streamed_TAF, expected_TAF, rtol=1e-9, atol=1e-12)


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


# exchange_calendars 4.13 reads Series.values, which pandas 3.1 deprecates.
@pytest.mark.filterwarnings("ignore:Series.values returning:pandas.errors.Pandas4Warning")
def test_exchange_days_decide_where_a_calendar_is_known(us_bars: Bars) -> None:
    instruments = [Instrument(symbol, calendar="XNYS") for symbol in ("AAPL", "IBM")]
    year = us_bars.select(["AAPL", "IBM"]).between("2014-01-01", "2014-12-31")
    frame = year.to_pandas().reset_index()
    frame["ts_event"] = frame["ts_event"].dt.tz_localize(None)
    bars = Bars.from_pandas(frame, instruments=instruments, actions=us_bars.actions)
    assert np.count_nonzero(bars.dividend_TA) == 8
    pipeline = FeaturePipeline(EVERY)
    asset_TAF, _ = pipeline.raw(bars)
    _, streamed_TAF, _ = streamed(pipeline, bars, 0, bars.num_bars)
    np.testing.assert_allclose(streamed_TAF, asset_TAF, rtol=1e-9, atol=1e-12)


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

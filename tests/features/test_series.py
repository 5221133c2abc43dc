"""Adjustment for splits and dividends, worked by hand, with gaps and on real ex-dates."""

import numpy as np
import pytest

from features import FeatureError, FeaturePipeline
from features.series import adjusted_series
from features.trailing import trailing_return, trailing_volatility
from markets.bars import Bars
from markets.instruments import Instrument
from tests.features.random_markets import after_replaced_by_noise, flat_bars, random_bars

NAN = np.nan


def test_total_return_through_split_and_dividend() -> None:
    # 2:1 at row 1: 100 -> 2 x 55; dividend 1.1 at row 2: (53.9 + 1.1) / 55 = 1; both at row 3:
    # 3:1 and 2.2 a new share: 3 (16.5 + 2.2) / 53.9.
    actions = [("A", 1, "split", 2.0), ("A", 2, "dividend", 1.1)]
    actions += [("A", 3, "split", 3.0), ("A", 3, "dividend", 2.2)]
    bars = flat_bars([[100.0], [55.0], [53.9], [16.5]], actions)
    (series,) = adjusted_series(bars)
    close = series.columns["close"]
    expected = [1.1, 1.0, 3.0 * 18.7 / 53.9]
    np.testing.assert_allclose(close[1:] / close[:-1], expected, rtol=1e-14)
    np.testing.assert_allclose(series.columns["volume"], [600.0, 300.0, 300.0, 100.0])
    returns_TA = trailing_return(bars, 1)
    np.testing.assert_allclose(returns_TA[1:, 0], np.array(expected) - 1.0, atol=1e-14)


def test_actions_on_a_missing_row_reach_the_next_bar() -> None:
    # A pauses at rows 1 and 2: a dividend of 2 (old shares), then 2:1; at row 3 a dividend of 1:
    # one old share is worth 2 x 50 + 2 + 2 x 1 = 104.
    actions = [("A", 1, "dividend", 2.0), ("A", 2, "split", 2.0), ("A", 3, "dividend", 1.0)]
    actions += [("A", 4, "dividend", 9.0)]
    bars = flat_bars([[100.0, 1.0], [NAN, 1.0], [NAN, 1.0], [50.0, 1.0], [NAN, 1.0]], actions)
    series, other = adjusted_series(bars)
    close = series.columns["close"]
    assert series.rows_n.tolist() == [0, 3]
    assert close[1] / close[0] == pytest.approx(1.04, rel=1e-14)
    assert series.pending == pytest.approx(18.0, rel=1e-14)
    assert other.pending == 0.0
    assert np.isnan(trailing_return(bars, 1)[[0, 1, 2, 4], 0]).all()


def test_dividend_before_the_first_bar_is_no_return() -> None:
    bars = flat_bars([[NAN, 1.0], [10.0, 1.0], [11.0, 1.0]], [("A", 1, "dividend", 5.0)])
    returns_TA = trailing_return(bars, 1)
    assert returns_TA[2, 0] == pytest.approx(0.1, rel=1e-14)
    assert np.isnan(returns_TA[:2, 0]).all()


def test_real_ex_dates_are_no_crashes(us_bars: Bars) -> None:
    """AAPL 7:1 on 2014-06-09 rose 1.6%, AIG 1:20 on 2009-07-01 fell by a fifth."""
    returns_TA = trailing_return(us_bars, 1)
    days = us_bars.ts_event.astype("datetime64[ns]").astype("datetime64[D]")

    def at(date: str, symbol: str) -> tuple[int, int]:
        return int(np.searchsorted(days, np.datetime64(date))), us_bars.symbols.index(symbol)

    assert returns_TA[at("2014-06-09", "AAPL")] == pytest.approx(0.016, abs=1e-3)
    assert -0.25 < returns_TA[at("2009-07-01", "AIG")] < -0.15
    # The dividend of 0.47 on 2014-08-07 belongs to the return.
    row, asset = at("2014-08-07", "AAPL")
    expected = (us_bars.close[row, asset] + 0.47) / us_bars.close[row - 1, asset] - 1.0
    assert returns_TA[row, asset] == pytest.approx(expected, rel=1e-12)


def test_additive_prices_are_refused() -> None:
    bars = random_bars(0, 100, 2, trouble=False)
    fields = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
    instruments = [Instrument("S0"), Instrument("S1", additive=True)]
    additive = Bars.from_arrays(bars.ts_event, bars.symbols, **fields, instruments=instruments)
    with pytest.raises(FeatureError, match=r"expected positive prices .* instrument S1"):
        FeaturePipeline().raw(additive)


class TestTrailing:
    def test_golden_volatility(self) -> None:
        # Log returns ln 1.1 and ln 0.9: half their difference is the population deviation.
        volatility_TA = trailing_volatility(flat_bars([[100.0], [110.0], [99.0]], []), 2)
        expected = (np.log(1.1) - np.log(0.9)) / 2.0
        assert volatility_TA[2, 0] == pytest.approx(expected, rel=1e-13)
        assert np.isnan(volatility_TA[:2, 0]).all()

    def test_returns_compound(self) -> None:
        bars = random_bars(1)
        one_TA, five_TA = trailing_return(bars, 1), trailing_return(bars, 5)
        own = ~bars.missing[:, 0]
        growth = np.prod(1.0 + one_TA[own, 0][-5:])
        assert five_TA[own, 0][-1] == pytest.approx(growth - 1.0, rel=1e-12)

    @pytest.mark.parametrize("seed", range(5))
    def test_future_noise(self, seed: int) -> None:
        bars = random_bars(seed)
        last = int(np.random.default_rng(seed).integers(30, 150))
        changed = after_replaced_by_noise(bars, last, seed + 50)
        for measure in (trailing_return, trailing_volatility):
            before, after = measure(bars, 20), measure(changed, 20)
            assert before[: last + 1].tobytes() == after[: last + 1].tobytes()
            assert np.array_equal(np.isnan(before) & ~bars.missing, _young(bars, 20))

    def test_refuses_a_short_window(self) -> None:
        bars = random_bars(0, 10, 1, trouble=False)
        with pytest.raises(FeatureError, match="horizon: expected at least 1 bars, found 0"):
            trailing_return(bars, 0)
        with pytest.raises(FeatureError, match="window: expected at least 2 bars, found 1"):
            trailing_volatility(bars, 1)
        assert np.isnan(trailing_return(bars, 10)).all()


def _young(bars: Bars, needed: int) -> np.ndarray:
    """Bars before an asset's own bar number ``needed``."""
    own_TA = ~bars.missing
    return np.asarray(own_TA & (np.cumsum(own_TA, axis=0) <= needed))

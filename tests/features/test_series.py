"""Adjustment for splits and dividends, worked by hand, with gaps and on real ex-dates."""

import numpy as np
import pytest

from features import FeatureError, FeaturePipeline
from features.panel import PanelState
from features.series import adjusted_series
from markets.bars import Bars
from markets.instruments import Instrument
from tests.features.random_markets import flat_bars, random_bars

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
    returns_TA = total_return(bars)
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
    assert other.rows_n.tolist() == [0, 1, 2, 3, 4]
    state = PanelState.of(bars)
    state.take_in(bars, bars.split_TA, bars.dividend_TA)
    waiting_A = state.asset_A4[:, 2]
    np.testing.assert_allclose(waiting_A, [18.0, 0.0], rtol=1e-14)
    assert np.isnan(total_return(bars)[[0, 1, 2, 4], 0]).all()


def test_dividend_before_the_first_bar_is_no_return() -> None:
    bars = flat_bars([[NAN, 1.0], [10.0, 1.0], [11.0, 1.0]], [("A", 1, "dividend", 5.0)])
    returns_TA = total_return(bars)
    assert returns_TA[2, 0] == pytest.approx(0.1, rel=1e-14)
    assert np.isnan(returns_TA[:2, 0]).all()


def test_real_ex_dates_are_no_crashes(us_bars: Bars) -> None:
    """AAPL 7:1 on 2014-06-09 rose 1.6%, AIG 1:20 on 2009-07-01 fell by a fifth."""
    returns_TA = total_return(us_bars)
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


def total_return(bars: Bars) -> np.ndarray:
    """Return of each bar (T, A) from the adjusted closes; nan where there is none."""
    returns_TA = np.full((bars.num_bars, bars.num_assets), np.nan)
    for asset, series in enumerate(adjusted_series(bars)):
        close = series.columns["close"]
        returns_TA[series.rows_n[1:], asset] = close[1:] / close[:-1] - 1.0
    return returns_TA

"""Volatility against values worked by hand, pandas, TA-Lib and talipp."""

import math

import numpy as np
import pandas as pd
import pytest
import talib
from talipp.indicators import ATR, BB
from talipp.ohlcv import OHLCV

from features.definition import Array, BoundFeature, FeatureError
from features.indicators import volatility
from tests.features.both_forms import (
    assert_both_forms_agree,
    assert_memory_is_enough,
    bound,
    quiet_market,
)
from tests.features.own_series import KINDS, require_equal_forms, require_restart

Bars = tuple[Array, Array, Array, Array]
"""Open, high, low, close."""

CASES = [
    bound("atr"),
    bound("atr", window=2),
    bound("bollinger"),
    bound("bollinger", window=2, width=1.5),
    bound("bollinger_width"),
    bound("chaikin_volatility"),
    bound("chaikin_volatility", window=2, horizon=1),
    bound("downside_volatility"),
    bound("ewma_volatility"),
    bound("ewma_volatility", retained=0.5),
    bound("garman_klass"),
    bound("jump_share"),
    bound("jump_share", window=2),
    bound("overnight_balance"),
    bound("range_volatility"),
    bound("realised_volatility"),
    bound("realised_volatility", window=2),
    bound("rogers_satchell"),
    bound("signed_variation"),
    bound("true_range"),
    bound("volatility_of_volatility"),
    bound("volatility_ratio"),
    bound("volatility_ratio", short=1, long=2),
    bound("yang_zhang"),
    bound("yang_zhang", window=2),
]
NAMES = sorted({case.feature.name for case in CASES})

UP, DOWN = math.log(1.1), math.log(0.9)
CLOSE_T = np.array([100.0, 110.0, 99.0, 108.9])
"""Log returns UP, DOWN, UP."""
WALK = {name: values[:300] for name, values in quiet_market(7).items()}
OPEN, HIGH, LOW, CLOSE = (WALK[name] for name in ("open", "high", "low", "close"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_batch_and_step_agree(case: BoundFeature) -> None:
    assert_both_forms_agree(case)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_batch_and_step_agree_where_rounding_shows(name: str, kind: str) -> None:
    require_equal_forms(name, kind)


@pytest.mark.parametrize("name", NAMES)
def test_state_is_all_that_a_restart_needs(name: str) -> None:
    require_restart(name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_memory_is_enough(case: BoundFeature) -> None:
    assert_memory_is_enough(case)


class TestReturns:
    def test_realised_volatility(self) -> None:
        volatility_T = volatility.realised_volatility(CLOSE_T, window=2)
        assert volatility_T[2] == pytest.approx(math.sqrt((UP**2 + DOWN**2) / 2), rel=1e-14)
        assert np.isnan(volatility_T[:2]).all()

    def test_downside_volatility_leaves_rises_out(self) -> None:
        volatility_T = volatility.downside_volatility(CLOSE_T, window=2)
        np.testing.assert_allclose(volatility_T[2:], abs(DOWN) / math.sqrt(2.0), rtol=1e-14)

    def test_signed_variation(self) -> None:
        expected = (UP**2 - DOWN**2) / (UP**2 + DOWN**2)
        np.testing.assert_allclose(
            volatility.signed_variation(CLOSE_T, window=2)[2:], expected, rtol=1e-13
        )

    def test_signed_variation_is_what_downside_leaves(self) -> None:
        """Rises and falls make the whole: 1 - 2 d^2 / v^2."""
        whole_T = volatility.realised_volatility(CLOSE)[21:]
        share_T = np.square(volatility.downside_volatility(CLOSE)[21:] / whole_T)
        np.testing.assert_allclose(
            volatility.signed_variation(CLOSE)[21:], 1.0 - 2.0 * share_T, rtol=1e-10, atol=1e-13
        )

    def test_volatility_ratio(self) -> None:
        short, long = UP, math.sqrt((UP**2 + DOWN**2) / 2)
        ratio_T = volatility.volatility_ratio(CLOSE_T, short=1, long=2)
        assert ratio_T[3] == pytest.approx((short - long) / (short + long), rel=1e-12)

    def test_volatility_ratio_needs_two_windows(self) -> None:
        with pytest.raises(FeatureError, match=r"short: must be < long \(21\), was 21"):
            bound("volatility_ratio", short=21, long=21)

    def test_volatility_of_volatility_is_that_of_pandas(self) -> None:
        short = pd.Series(volatility.realised_volatility(CLOSE, window=5)).rolling(21)
        np.testing.assert_allclose(
            volatility.volatility_of_volatility(CLOSE)[25:],
            (short.std(ddof=0) / short.mean())[25:],
            rtol=1e-8,
        )

    def test_one_jump_is_all_of_the_variation(self) -> None:
        assert volatility.jump_share(np.array([1.0, 1.0, 2.0, 2.0]), window=3)[-1] == 1.0

    def test_even_moves_are_no_jump(self) -> None:
        assert volatility.jump_share(CLOSE_T, window=2)[-1] == 0.0

    def test_jump_share(self) -> None:
        # Returns 1, 0.1, 0.1: squares 1.02, neighbours 0.11, scaled by pi / 2 * 3 / 2.
        close_T = np.exp(np.cumsum([0.0, 1.0, 0.1, 0.1]))
        expected = 1.0 - 0.75 * math.pi * 0.11 / 1.02
        assert volatility.jump_share(close_T, window=3)[-1] == pytest.approx(expected, rel=1e-13)

    def test_ewma_of_two_returns(self) -> None:
        volatility_T = volatility.ewma_volatility(CLOSE_T, retained=0.5)
        expected = math.sqrt((DOWN**2 + 0.5 * UP**2) / 1.5)
        assert np.isnan(volatility_T[:2]).all()
        assert volatility_T[2] == pytest.approx(expected, rel=1e-14)

    def test_ewma_is_that_of_pandas(self) -> None:
        squares = pd.Series(np.log(CLOSE)).diff().dropna() ** 2
        expected_T = np.sqrt(squares.ewm(alpha=0.06, adjust=True).mean())
        np.testing.assert_allclose(
            volatility.ewma_volatility(CLOSE)[17:], expected_T[16:], rtol=1e-12
        )


class TestRange:
    def test_parkinson_of_a_constant_range(self) -> None:
        """A range of e^r on every bar gives r / (2 sqrt(ln 2))."""
        low_T = np.array([1.0, 2.0, 3.0])
        volatility_T = volatility.range_volatility(low_T * math.exp(0.1), low_T, window=2)
        assert volatility_T[-1] == pytest.approx(0.1 / (2.0 * math.sqrt(math.log(2.0))), rel=1e-14)

    def test_garman_klass(self) -> None:
        # One bar, twice: opens at 1, up to e^0.2, down to e^-0.1, closes at e^0.1.
        bars = (np.exp([height] * 2) for height in (0.0, 0.2, -0.1, 0.1))
        expected = math.sqrt(0.5 * 0.3**2 - (2.0 * math.log(2.0) - 1.0) * 0.1**2)
        assert volatility.garman_klass(*bars, window=2)[-1] == pytest.approx(expected, rel=1e-13)

    def test_rogers_satchell(self) -> None:
        bars = (np.exp([height] * 2) for height in (0.0, 0.2, -0.1, 0.1))
        expected = math.sqrt(0.2 * (0.2 - 0.1) + 0.1 * (0.1 + 0.1))
        assert volatility.rogers_satchell(*bars, window=2)[-1] == pytest.approx(expected, rel=1e-13)

    def test_rogers_satchell_of_a_straight_rise_is_zero(self) -> None:
        edge_T = np.exp(np.arange(6.0))
        drift_T = volatility.rogers_satchell(
            edge_T[:-1], edge_T[1:], edge_T[:-1], edge_T[1:], window=2
        )
        np.testing.assert_array_equal(drift_T[1:], 0.0)

    def test_yang_zhang_is_its_equation(self) -> None:
        night_T = np.log(OPEN[1:] / CLOSE[:-1])[-21:]
        day_T = np.log(CLOSE / OPEN)[-21:]
        within = volatility.rogers_satchell(OPEN, HIGH, LOW, CLOSE)[-1] ** 2
        share = 0.34 / (1.34 + 22.0 / 20.0)
        variance = night_T.var(ddof=1) + share * day_T.var(ddof=1) + (1.0 - share) * within
        found = volatility.yang_zhang(OPEN, HIGH, LOW, CLOSE)[-1]
        assert found == pytest.approx(math.sqrt(variance), rel=1e-12)

    def test_overnight_balance(self) -> None:
        # Nights of 0.2 and days of 0.1: (0.04 - 0.01) / (0.04 + 0.01).
        open_T = np.exp([0.0, 0.3, 0.6])
        close_T = np.exp([0.1, 0.4, 0.7])
        balance_T = volatility.overnight_balance(open_T, close_T, window=2)
        assert balance_T[-1] == pytest.approx(0.6, rel=1e-12)

    def test_true_range(self) -> None:
        high_T, low_T = np.array([10.0, 11.0, 14.0]), np.array([9.0, 10.5, 12.0])
        range_T = volatility.true_range(high_T, low_T, np.array([9.0, 10.5, 12.0]))
        np.testing.assert_allclose(range_T[1:], [2.0 / 10.5, 3.5 / 12.0], rtol=1e-15)

    def test_atr(self) -> None:
        # True ranges after the first bar: 11-9 = 2, 12-10 (previous close) = 2, 13-9 = 4;
        # window 2: first average 2, then (2 + 4) / 2 = 3; over the close 12.
        high_T = np.array([10.0, 11.0, 12.0, 13.0])
        low_T = np.array([9.0, 9.0, 11.0, 9.0])
        close_T = np.array([9.5, 10.0, 11.5, 12.0])
        atr_T = volatility.atr(high_T, low_T, close_T, window=2)
        np.testing.assert_allclose(atr_T[2:], [2.0 / 11.5, 3.0 / 12.0], rtol=1e-14)

    def test_atr_is_that_of_talipp(self) -> None:
        """Talipp seeds with the first bar's own range, which is forgotten."""
        bars = [OHLCV(*bar) for bar in zip(OPEN, HIGH, LOW, CLOSE, strict=True)]
        expected = ATR(14, bars)[-1] / CLOSE[-1]
        assert volatility.atr(HIGH, LOW, CLOSE)[-1] == pytest.approx(expected, rel=1e-8)

    def test_chaikin_volatility_is_talibs_growth_bounded(self) -> None:
        """x = E_t / E_{t-h} - 1 becomes x / (2 + x), where the price is one."""
        height_T = (HIGH - LOW) / CLOSE
        growth_T = talib.CVI(1.0 + height_T, np.ones(len(CLOSE)), 10, 10) / 100.0
        found_T = volatility.chaikin_volatility(1.0 + height_T, np.ones(300), np.ones(300))
        np.testing.assert_allclose(found_T[19:], (growth_T / (2.0 + growth_T))[19:], atol=1e-12)

    def test_chaikin_volatility_of_a_growing_range(self) -> None:
        # Window 2, average 1 after two bars, then 1 + 2/3 (4 - 1) = 3: (3 - 1) / (3 + 1).
        low_T, high_T = np.full(3, 100.0), np.array([101.0, 101.0, 104.0])
        found_T = volatility.chaikin_volatility(high_T, low_T, low_T, window=2, horizon=1)
        assert found_T[-1] == pytest.approx(0.5, rel=1e-12)


class TestBand:
    def test_bollinger(self) -> None:
        # Window (1, 2, 6): mean 3, deviation sqrt(14/3); the newest lies 3 above.
        values_T = np.array([1.0, 2.0, 6.0])
        deviation = math.sqrt(14.0 / 3.0)
        position_T = volatility.bollinger(values_T, window=3, width=2.0)
        assert position_T[-1] == pytest.approx(3.0 / deviation / 2.0, rel=1e-14)
        width_T = volatility.bollinger_width(values_T, window=3, width=2.0)
        assert width_T[-1] == pytest.approx(4.0 * deviation / 3.0, rel=1e-14)

    def test_band_is_that_of_talipp(self) -> None:
        band = BB(20, 2.0, CLOSE.tolist())[-1]
        half = band.ub - band.cb
        position, width = volatility.bollinger(CLOSE)[-1], volatility.bollinger_width(CLOSE)[-1]
        assert position == pytest.approx((CLOSE[-1] - band.cb) / half, rel=1e-9)
        assert width == pytest.approx(2.0 * half / band.cb, rel=1e-9)

    def test_a_large_quiet_price_keeps_its_band(self) -> None:
        """A deviation of a billionth of the price, which a running sum of squares loses."""
        close_T = 1e9 + np.tile([0.0, 1.0], 20)
        assert volatility.bollinger(close_T)[-1] == pytest.approx(0.5, rel=1e-12)
        assert volatility.bollinger_width(close_T)[-1] == pytest.approx(2e-9, rel=1e-6)


@pytest.fixture(scope="module")
def fine_walk() -> Bars:
    """Of 2,000 bars of 500 steps, deviation 0.02 a bar, no gaps."""
    rng = np.random.default_rng(0)
    path_TK = np.cumsum(rng.normal(0.0, 0.02 / math.sqrt(500), (2000, 500)), axis=1)
    start_T = np.concatenate([[0.0], np.cumsum(path_TK[:-1, -1])])
    top_T, bottom_T = np.maximum(path_TK.max(axis=1), 0.0), np.minimum(path_TK.min(axis=1), 0.0)
    moves = (0.0, top_T, bottom_T, path_TK[:, -1])
    open_T, high_T, low_T, close_T = (np.exp(start_T + move) for move in moves)
    return open_T, high_T, low_T, close_T


def test_every_estimator_measures_the_same_walk(fine_walk: Bars) -> None:
    """500 steps a bar miss some of the continuous range: a few per cent below 0.02."""
    _, high_T, low_T, close_T = fine_walk
    found = [
        volatility.range_volatility(high_T, low_T, window=1999)[-1],
        volatility.garman_klass(*fine_walk, window=1999)[-1],
        volatility.rogers_satchell(*fine_walk, window=1999)[-1],
        volatility.yang_zhang(*fine_walk, window=1999)[-1],
        volatility.realised_volatility(close_T, window=1999)[-1],
        volatility.downside_volatility(close_T, window=1999)[-1] * math.sqrt(2.0),
    ]
    assert 0.0180 < min(found) < max(found) < 0.0207
    assert volatility.jump_share(close_T, window=1999)[-1] < 0.05

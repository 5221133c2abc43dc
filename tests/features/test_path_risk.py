"""Path risk against values worked by hand, pandas, and identities between the features."""

import math

import numpy as np
import pandas as pd
import pytest

from features.definition import BoundFeature
from features.indicators import path_risk
from tests.features.both_forms import (
    assert_both_forms_agree,
    assert_memory_is_enough,
    bound,
    quiet_market,
)
from tests.features.own_series import KINDS, require_equal_forms, require_restart

WINDOWED = [
    "drawdown",
    "drawdown_duration",
    "high_distance",
    "low_distance",
    "max_drawdown",
    "return_over_drawdown",
    "ulcer_index",
]
CASES = [
    *(bound(name) for name in WINDOWED),
    *(bound(name, window=2) for name in WINDOWED),
    bound("peak_distance"),
    bound("time_under_water"),
]
NAMES = sorted({case.feature.name for case in CASES})

CLOSE = quiet_market(7)["close"][:300]
PATH_T = np.exp([0.0, 0.3, 0.1, 0.2, -0.1])
"""The high is the second close; it falls by 0.4 at last."""


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
    if case.feature.path_dependent:
        assert case.feature.carries_state
    else:
        assert_memory_is_enough(case)


class TestDistance:
    def test_high_distance(self) -> None:
        high_T = np.array([10.0, 20.0, 16.0, 12.0])
        distance_T = path_risk.high_distance(high_T, high_T / 2.0, window=2)
        np.testing.assert_allclose(distance_T[1:], np.log([0.5, 0.4, 0.375]), rtol=1e-14)

    def test_low_distance(self) -> None:
        low_T = np.array([10.0, 20.0, 16.0, 12.0])
        distance_T = path_risk.low_distance(low_T, low_T * 2.0, window=2)
        np.testing.assert_allclose(distance_T[1:], np.log([4.0, 2.0, 2.0]), rtol=1e-14)

    def test_low_distance_is_the_high_distance_of_the_inverse_price(self) -> None:
        np.testing.assert_allclose(
            path_risk.low_distance(CLOSE, CLOSE)[62:],
            -path_risk.high_distance(1.0 / CLOSE, 1.0 / CLOSE)[62:],
            atol=1e-14,
        )

    def test_peak_distance_is_that_of_pandas(self) -> None:
        expected_T = np.log(CLOSE / pd.Series(CLOSE).cummax())
        np.testing.assert_allclose(path_risk.peak_distance(CLOSE), expected_T, atol=1e-15)


class TestDrawdown:
    def test_drawdown(self) -> None:
        drawdown_T = path_risk.drawdown(PATH_T, window=3)
        np.testing.assert_allclose(drawdown_T[2:], [-0.2, -0.1, -0.3], rtol=1e-13)

    def test_drawdown_over_all_bars_is_the_peak_distance(self) -> None:
        assert path_risk.drawdown(CLOSE, window=300)[-1] == path_risk.peak_distance(CLOSE)[-1]

    def test_duration(self) -> None:
        duration_T = path_risk.drawdown_duration(PATH_T, window=3)
        np.testing.assert_array_equal(duration_T[2:], [0.5, 1.0, 0.5])

    def test_duration_counts_from_the_newest_of_equal_highs(self) -> None:
        # TA-Lib's MAXINDEX takes the oldest of the last three here, as a 3 has just left.
        close_T = np.array([3.0, 2.0, 2.0, 2.0])
        assert path_risk.drawdown_duration(close_T, window=3)[-1] == 0.0

    def test_time_under_water(self) -> None:
        np.testing.assert_allclose(
            path_risk.time_under_water(PATH_T), np.log([1.0, 1.0, 2.0, 3.0, 4.0]), rtol=1e-15
        )

    def test_a_close_as_high_as_the_peak_but_for_rounding_is_out_of_the_water(self) -> None:
        close_T = np.array([0.1 + 0.2, 0.2, 0.3])
        np.testing.assert_allclose(path_risk.time_under_water(close_T), [0.0, math.log(2.0), 0.0])

    def test_max_drawdown(self) -> None:
        fall_T = path_risk.max_drawdown(PATH_T, window=3)
        np.testing.assert_allclose(fall_T[2:], [-0.2, -0.2, -0.3], rtol=1e-13)
        assert path_risk.max_drawdown(PATH_T, window=5)[-1] == pytest.approx(-0.4, rel=1e-13)

    def test_max_drawdown_is_the_worst_of_all_pairs(self) -> None:
        for last in (62, 150, 299):
            log_W = np.log(CLOSE[last - 62 : last + 1])
            pairs = log_W[None, :] - log_W[:, None]  # row j, column k
            expected = np.triu(pairs).min()
            assert path_risk.max_drawdown(CLOSE)[last] == pytest.approx(expected, rel=1e-12)

    def test_ulcer_index(self) -> None:
        # Drawdowns 0, 0, -0.2, -0.1, -0.4 within the window.
        expected = math.sqrt((0.2**2 + 0.1**2 + 0.4**2) / 5.0)
        assert path_risk.ulcer_index(PATH_T, window=5)[-1] == pytest.approx(expected, rel=1e-13)

    def test_order_of_the_measures(self) -> None:
        """No drawdown is deeper than the deepest, and none of them the mean of squares."""
        deepest_T = path_risk.max_drawdown(CLOSE)[62:]
        assert (path_risk.drawdown(CLOSE)[62:] >= deepest_T - 1e-14).all()
        assert (path_risk.ulcer_index(CLOSE)[62:] <= -deepest_T + 1e-14).all()


class TestReturnOverDrawdown:
    def test_value(self) -> None:
        # From 0 to -0.1 with a fall of 0.4: -0.1 / 0.5.
        found_T = path_risk.return_over_drawdown(PATH_T, window=5)
        assert found_T[-1] == pytest.approx(-0.2, rel=1e-12)

    def test_a_rise_without_a_fall_is_one(self) -> None:
        rise_T = path_risk.return_over_drawdown(np.exp(np.arange(5.0)), window=3)
        np.testing.assert_array_equal(rise_T[2:], 1.0)

    def test_a_fall_without_a_rise_is_minus_a_half(self) -> None:
        """The return is the whole fall: -D / (D + D)."""
        fall_T = path_risk.return_over_drawdown(np.exp(-np.arange(5.0)), window=3)
        np.testing.assert_allclose(fall_T[2:], -0.5, rtol=1e-15)

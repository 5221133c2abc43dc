"""Trailing windows: golden values, exactness and independence of what lies before."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features import rolling

VALUES_T = np.array([1.0, 2.0, 4.0, 3.0])
series = arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e3, 1e3))


def test_golden() -> None:
    nan = np.nan
    np.testing.assert_array_equal(rolling.rolling_sum(VALUES_T, 3), [nan, nan, 7.0, 9.0])
    np.testing.assert_array_equal(rolling.rolling_mean(VALUES_T, 3), [nan, nan, 7 / 3, 3.0])
    # Deviations of (1, 2, 4) from 7/3: squares 16/9, 1/9, 25/9; of (2, 4, 3) from 3: 1, 1, 0.
    deviation_T = [nan, nan, np.sqrt(42 / 27), np.sqrt(2 / 3)]
    np.testing.assert_allclose(rolling.rolling_std(VALUES_T, 3), deviation_T, rtol=1e-15)
    score_T = [nan, nan, (5 / 3) / np.sqrt(42 / 27), 0.0]
    np.testing.assert_allclose(rolling.rolling_zscore(VALUES_T, 3), score_T, atol=1e-15)


@given(series, st.integers(1, 12))
def test_agrees_with_each_window_on_its_own(values_T: Any, window: int) -> None:
    """Bit for bit: the last value of a batch is that of the window alone."""
    for name in rolling.__all__:
        function = getattr(rolling, name)
        batch_T = function(values_T, window)
        assert batch_T.shape == values_T.shape
        assert np.isnan(batch_T[: window - 1]).all()
        for end in range(window, len(values_T) + 1):
            assert batch_T[end - 1] == function(values_T[end - window : end], window)[-1]


@given(series, st.integers(2, 12))
def test_agrees_with_numpy(values_T: Any, window: int) -> None:
    if len(values_T) >= window:
        tail = values_T[-window:]
        assert rolling.rolling_mean(values_T, window)[-1] == pytest.approx(tail.mean(), abs=1e-9)
        assert rolling.rolling_std(values_T, window)[-1] == pytest.approx(tail.std(), abs=1e-9)
        assert abs(rolling.rolling_zscore(values_T, window)[-1]) <= np.sqrt(window - 1) + 1e-6


def test_small_deviation_of_a_large_value_is_not_lost() -> None:
    """A running sum of squares loses all digits here."""
    values_T = 1e8 + np.tile([0.0, 1e-4], 20)
    deviation = rolling.rolling_std(values_T, 20)[-1]
    assert deviation == pytest.approx(0.5e-4, rel=1e-3)
    assert rolling.rolling_std(np.full(30, 0.1), 20)[-1] == 0.0
    assert rolling.rolling_zscore(np.full(30, 0.1), 20)[-1] == 0.0

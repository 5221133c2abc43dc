"""Steps and their parts, against TA-Lib and numpy."""

import math

import numpy as np
import pytest
import talib

from features.blocks import (
    AVERAGE_SIZE,
    average_push,
    ring_deviation,
    ring_lag,
    ring_maximum,
    ring_mean,
    ring_minimum,
    ring_push,
    ring_since_maximum,
    ring_since_minimum,
    ring_size,
)
from features.definition import Array
from features.step import Pointer, Step, step

WALK_T = 100.0 + np.cumsum(np.random.default_rng(0).normal(size=400))


@step(state=AVERAGE_SIZE)
def ema_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    window = int(parameters[0])
    out[0] = average_push(state, 0, window, 2.0 / (window + 1.0), bar[0])


@step(state=ring_size)
def window_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    out[0] = ring_mean(state, 0, window)
    out[1] = ring_deviation(state, 0, window, 0)
    out[2] = ring_maximum(state, 0, window)
    out[3] = ring_minimum(state, 0, window)
    out[4] = ring_since_maximum(state, 0, window)
    out[5] = ring_since_minimum(state, 0, window)
    out[6] = ring_lag(state, 0, window, window - 1)


def in_python(chosen: Step, values_T: Array, columns: int, window: int) -> Array:
    """The same step, bar after bar, in plain Python."""
    state, out_TK = np.zeros(chosen.state(window=window)), np.full((len(values_T), columns), np.nan)
    for value, out_K in zip(values_T, out_TK, strict=True):
        chosen.function(state, np.array([value]), np.array([float(window)]), out_K)
    return out_TK


def test_average_is_talibs() -> None:
    (ema_T,) = ema_step.batch((WALK_T,), window=20)
    np.testing.assert_allclose(ema_T, talib.EMA(WALK_T, 20), rtol=1e-14)


@pytest.mark.parametrize("window", [2, 7, 63])
def test_windows_are_talibs(window: int) -> None:
    mean, deviation, top, bottom, since_top, since_bottom, oldest = window_step.batch(
        (WALK_T,), columns=7, window=window
    )
    np.testing.assert_allclose(mean, talib.SMA(WALK_T, window), rtol=1e-13)
    np.testing.assert_allclose(deviation, talib.STDDEV(WALK_T, window), rtol=1e-8)
    np.testing.assert_array_equal(top, talib.MAX(WALK_T, window))
    np.testing.assert_array_equal(bottom, talib.MIN(WALK_T, window))
    rows = np.arange(len(WALK_T))[window - 1 :]
    np.testing.assert_array_equal(
        rows - since_top[window - 1 :], talib.MAXINDEX(WALK_T, window)[window - 1 :]
    )
    np.testing.assert_array_equal(
        rows - since_bottom[window - 1 :], talib.MININDEX(WALK_T, window)[window - 1 :]
    )
    np.testing.assert_array_equal(oldest[window - 1 :], WALK_T[: len(WALK_T) - window + 1])


@pytest.mark.parametrize(("chosen", "columns"), [(ema_step, 1), (window_step, 7)])
def test_compiled_and_plain_python_agree(chosen: Step, columns: int) -> None:
    compiled = np.stack(chosen.batch((WALK_T[:60],), columns=columns, window=9), axis=1)
    np.testing.assert_allclose(in_python(chosen, WALK_T[:60], columns, 9), compiled, rtol=1e-15)


def test_equal_values_deviate_by_exactly_nothing() -> None:
    deviation = window_step.batch((np.full(30, 0.1),), columns=7, window=20)[1]
    assert deviation[-1] == 0.0
    assert math.isnan(deviation[18])

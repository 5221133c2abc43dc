"""Steps of `features.indicators.path_risk`; the text of each says inputs; parameters."""

import math

import numpy as np

from features.blocks import (
    quotient,
    ring_at,
    ring_count,
    ring_maximum,
    ring_minimum,
    ring_push,
    ring_since_maximum,
    ring_size,
)
from features.step import Pointer, step
from markets.compiled import separate

__all__ = [
    "drawdown_duration_step",
    "drawdown_step",
    "high_distance_step",
    "low_distance_step",
    "max_drawdown_step",
    "peak_distance_step",
    "return_over_drawdown_step",
    "time_under_water_step",
    "ulcer_index_step",
]

_ROUNDING = 1e-12
"""Share of the price: a close so near to its high is at the high."""


@step(state=ring_size)
def high_distance_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """High, close; window."""
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    out[0] = math.log(bar[1] / ring_maximum(state, 0, window))


@step(state=ring_size)
def low_distance_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Low, close; window."""
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    out[0] = math.log(bar[1] / ring_minimum(state, 0, window))


@step(state=ring_size)
def drawdown_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    out[0] = math.log(bar[0] / ring_maximum(state, 0, window))


@step(state=ring_size)
def drawdown_duration_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    out[0] = ring_since_maximum(state, 0, window) / (window - 1.0)


@separate
def deepest(state: Pointer, at: int, window: int) -> float:
    """Lowest value of a full window of log prices, less the highest before it; at most 0."""
    peak, found = ring_at(state, at, window, 0), 0.0
    for rank in range(1, window):
        value = ring_at(state, at, window, rank)
        peak = max(peak, value)
        found = min(found, value - peak)
    return found


@step(state=ring_size)
def max_drawdown_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    ring_push(state, 0, window, math.log(bar[0]))
    out[0] = deepest(state, 0, window) if ring_count(state, 0) == window else np.nan


@step(state=ring_size)
def ulcer_index_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    ring_push(state, 0, window, math.log(bar[0]))
    if ring_count(state, 0) < window:
        out[0] = np.nan
        return
    peak, squares = ring_at(state, 0, window, 0), 0.0
    for rank in range(1, window):
        value = ring_at(state, 0, window, rank)
        peak = max(peak, value)
        squares += (value - peak) * (value - peak)
    out[0] = math.sqrt(squares / window)


@step(state=ring_size)
def return_over_drawdown_step(
    state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer
) -> None:
    """Close; window."""
    window = int(parameters[0])
    ring_push(state, 0, window, math.log(bar[0]))
    if ring_count(state, 0) < window:
        out[0] = np.nan
        return
    change = ring_at(state, 0, window, window - 1) - ring_at(state, 0, window, 0)
    out[0] = quotient(change, abs(change) - deepest(state, 0, window))


@step(state=1)
def peak_distance_step(state: Pointer, bar: Pointer, _: Pointer, out: Pointer) -> None:
    """Close. State: the highest close."""
    state[0] = max(state[0], bar[0])
    out[0] = math.log(bar[0] / state[0])


@step(state=2)
def time_under_water_step(state: Pointer, bar: Pointer, _: Pointer, out: Pointer) -> None:
    """Close. State: the highest close, and bars since."""
    if bar[0] >= state[0] * (1.0 - _ROUNDING):
        state[1] = 0.0
    else:
        state[1] += 1.0
    state[0] = max(state[0], bar[0])
    out[0] = math.log1p(state[1])

"""Steps of the trend family: each is a feature's newest value from its state and the new bar.

Seeds and edges are TA-Lib's where it has the function; see `features.indicators.trend` for what
each value means.
"""

import math

import numpy as np

from features.blocks import (
    AVERAGE_SIZE,
    average_push,
    ring_count,
    ring_lag,
    ring_maximum,
    ring_mean,
    ring_minimum,
    ring_path,
    ring_push,
    ring_since_maximum,
    ring_since_minimum,
    ring_size,
    ring_slope,
    ring_sum,
    ring_weighted_mean,
    share,
)
from features.step import Pointer, step
from markets.compiled import separate

__all__ = [
    "adx_step",
    "aroon_step",
    "dema_step",
    "directional_step",
    "ema_step",
    "forecast_step",
    "ichimoku_step",
    "kama_step",
    "macd_step",
    "sar_step",
    "slope_step",
    "sma_step",
    "supertrend_step",
    "tema_step",
    "trix_step",
    "vortex_step",
    "wma_step",
]

_KAMA_SLOW = 2.0 / 31.0
_KAMA_FAST = 2.0 / 3.0
# Share of the price: movements that differ by less are equal but for the rounding of prices, which
# another scale (another first bar, of which the adjustment starts) would round otherwise.
_TIE = 1e-12


@step(state=ring_size)
def sma_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `sma_distance`."""
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    out[0] = math.log(bar[0] / ring_mean(state, 0, window))


@step(state=ring_size)
def wma_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `wma_distance`."""
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    out[0] = math.log(bar[0] / ring_weighted_mean(state, 0, window))


@step(state=AVERAGE_SIZE)
def ema_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `ema_distance`."""
    window = int(parameters[0])
    out[0] = math.log(bar[0] / average_push(state, 0, window, 2.0 / (window + 1.0), bar[0]))


@step(state=2 * AVERAGE_SIZE)
def dema_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `dema_distance`."""
    window = int(parameters[0])
    weight = 2.0 / (window + 1.0)
    first = average_push(state, 0, window, weight, bar[0])
    second = average_push(state, 2, window, weight, first)
    out[0] = (bar[0] - (2.0 * first - second)) / bar[0]


@step(state=3 * AVERAGE_SIZE)
def tema_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `tema_distance`."""
    window = int(parameters[0])
    weight = 2.0 / (window + 1.0)
    first = average_push(state, 0, window, weight, bar[0])
    second = average_push(state, 2, window, weight, first)
    third = average_push(state, 4, window, weight, second)
    out[0] = (bar[0] - (3.0 * (first - second) + third)) / bar[0]


@step(state=3 * AVERAGE_SIZE + 1)
def trix_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `trix`."""
    window = int(parameters[0])
    weight = 2.0 / (window + 1.0)
    first = average_push(state, 0, window, weight, bar[0])
    second = average_push(state, 2, window, weight, first)
    third = average_push(state, 4, window, weight, second)
    # No average is 0 but the one that is not there yet.
    out[0] = (third - state[6]) / state[6] if state[6] > 0.0 else np.nan
    state[6] = 0.0 if math.isnan(third) else third


@step(state=lambda window: ring_size(window + 1) + 1)
def kama_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `kama_distance`."""
    window = int(parameters[0])
    ring, average = window + 1, window + 3
    first = ring_count(state, 0) == window
    ring_push(state, 0, ring, bar[0])
    if first:
        state[average] = ring_lag(state, 0, ring, 1)
    path = ring_path(state, 0, ring)
    # A price that has not moved is efficient, as in TA-Lib: the average goes to it.
    efficiency = 1.0
    if path > 1e-12 * bar[0]:
        efficiency = abs(bar[0] - ring_lag(state, 0, ring, window)) / path
    weight = (efficiency * (_KAMA_FAST - _KAMA_SLOW) + _KAMA_SLOW) ** 2
    state[average] += weight * (bar[0] - state[average])
    out[0] = math.log(bar[0] / state[average]) if path >= 0.0 else np.nan


@step(state=1 + 3 * AVERAGE_SIZE)
def macd_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `macd`."""
    fast, slow, signal = int(parameters[0]), int(parameters[1]), int(parameters[2])
    state[0] += 1.0
    quick = np.nan
    # Both averages have their first value at the same bar.
    if state[0] > slow - fast:
        quick = average_push(state, 1, fast, 2.0 / (fast + 1.0), bar[0])
    line = quick - average_push(state, 3, slow, 2.0 / (slow + 1.0), bar[0])
    average = average_push(state, 5, signal, 2.0 / (signal + 1.0), line)
    out[0] = np.nan if math.isnan(average) else line / bar[0]
    out[1] = (line - average) / bar[0]


@separate
def _movement_push(state: Pointer, window: int, high: float, low: float, close: float) -> None:
    """Wilder's sums of directional movement and true range.

    State: bars, last high, low and close, sums of upward and downward movement and of true range.
    """
    if state[0] > 0.0:
        up, down = high - state[1], state[2] - low
        if state[0] >= window:
            for place in range(4, 7):
                state[place] -= state[place] / window
        tie = _TIE * high
        if up > tie and up - down > tie:
            state[4] += up
        if down > tie and down - up > tie:
            state[5] += down
        state[6] += max(high, state[3]) - min(low, state[3])
    state[0] += 1.0
    state[1], state[2], state[3] = high, low, close


@step(state=7 + AVERAGE_SIZE)
def adx_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `adx`."""
    window = int(parameters[0])
    _movement_push(state, window, bar[0], bar[1], bar[2])
    directed = np.nan
    if state[0] > window:
        directed = share(abs(state[4] - state[5]), state[4] + state[5], bar[2])
    out[0] = average_push(state, 7, window, 1.0 / window, directed)


@step(state=7)
def directional_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `directional`."""
    window = int(parameters[0])
    _movement_push(state, window, bar[0], bar[1], bar[2])
    out[0] = share(state[4] - state[5], state[6], bar[2]) if state[0] > window else np.nan


@step(state=lambda window: 2 * ring_size(window + 1))
def aroon_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `aroon`."""
    window = int(parameters[0])
    low = window + 3
    ring_push(state, 0, window + 1, bar[0])
    ring_push(state, low, window + 1, bar[1])
    since_high = ring_since_maximum(state, 0, window + 1)
    out[0] = (ring_since_minimum(state, low, window + 1) - since_high) / window


@step(state=ring_size)
def slope_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `linear_slope`."""
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    out[0] = ring_slope(state, 0, window) / bar[0]


@step(state=ring_size)
def forecast_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `forecast_error`."""
    window = int(parameters[0])
    ahead = 0.5 * (window + 1)
    forecast = ring_mean(state, 0, window) + ahead * ring_slope(state, 0, window)
    out[0] = (bar[0] - forecast) / bar[0]
    ring_push(state, 0, window, bar[0])


@separate
def _sar_begin(state: Pointer, high: float, low: float) -> None:
    """Side of the trend at the second bar, by its directional movement, and the first stop."""
    falling = state[2] - low > max(0.0, high - state[1])
    state[3] = -1.0 if falling else 1.0
    state[4] = -state[1] if falling else state[2]
    state[5] = -low if falling else high
    state[6] = 0.0
    state[1], state[2] = high, low


@separate
def _sar_advance(state: Pointer, high: float, low: float, step: float, limit: float) -> float:
    """The stop for this bar; then the next one's, and its side.

    A falling trend is a rising one in negative prices. State: bars, last high and low, side; then
    in prices times the side: stop and extreme; and the acceleration.
    """
    side = state[3]
    top, bottom = (high, low) if side > 0.0 else (-low, -high)
    last_top, last_bottom = (state[1], state[2]) if side > 0.0 else (-state[2], -state[1])
    stop, extreme = state[4], state[5]
    if bottom <= stop:
        stop = max(extreme, last_top, top)
        state[3], state[5], state[6] = -side, -bottom, step
        state[4] = -max(stop + step * (bottom - stop), last_top, top)
    else:
        if top > extreme:
            state[5] = top
            state[6] = min(state[6] + step, limit)
        state[4] = min(stop + state[6] * (state[5] - stop), last_bottom, bottom)
    return float(stop * side)


@step(state=7)
def sar_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `sar_distance`."""
    high, low = bar[0], bar[1]
    out[0] = np.nan
    first = parameters[0]
    if state[0] == 1.0:
        _sar_begin(state, high, low)
        state[6] = first
    if state[0] > 0.0:
        out[0] = math.log(bar[2] / _sar_advance(state, high, low, first, parameters[1]))
    state[0] += 1.0
    state[1], state[2] = high, low


@step(state=5 + AVERAGE_SIZE)
def supertrend_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `supertrend`."""
    window = int(parameters[0])
    high, low, close, last = bar[0], bar[1], bar[2], state[0]
    true_range = max(high, last) - min(low, last) if last > 0.0 else np.nan
    width = parameters[1] * average_push(state, 4, window, 1.0 / window, true_range)
    upper, lower = 0.5 * (high + low) + width, 0.5 * (high + low) - width
    side = state[1]
    if side != 0.0:
        # A band only closes in, until the price has left it.
        upper = upper if upper < state[2] or last > state[2] else state[2]
        lower = lower if lower > state[3] or last < state[3] else state[3]
        turned = close < lower if side > 0.0 else close > upper
        side = -side if turned else side
    elif not math.isnan(width):
        side = 1.0
    state[0], state[1], state[2], state[3] = close, side, upper, lower
    out[0] = (close - (lower if side > 0.0 else upper)) / close


@step(state=lambda window: 3 + 2 * ring_size(window))
def vortex_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `vortex`."""
    window = int(parameters[0])
    high, low, close = bar[0], bar[1], bar[2]
    span = 5 + window
    if state[2] > 0.0:
        ring_push(state, 3, window, abs(high - state[1]) - abs(low - state[0]))
        ring_push(state, span, window, max(high, state[2]) - min(low, state[2]))
    state[0], state[1], state[2] = high, low, close
    out[0] = share(ring_sum(state, 3, window), ring_sum(state, span, window), close)


@separate
def _middle_push(state: Pointer, at: int, window: int, high: float, low: float) -> float:
    """Middle between the window's highest high and lowest low; two windows of state."""
    lows = at + window + 2
    ring_push(state, at, window, high)
    ring_push(state, lows, window, low)
    return 0.5 * (ring_maximum(state, at, window) + ring_minimum(state, lows, window))


def _ichimoku_size(fast: int, base: int, span: int) -> int:
    return 2 * (ring_size(fast) + ring_size(base) + ring_size(span)) + ring_size(base + 1)


@step(state=_ichimoku_size)
def ichimoku_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `ichimoku`."""
    fast, base, span = int(parameters[0]), int(parameters[1]), int(parameters[2])
    at_base = 2 * (fast + 2)
    at_span = at_base + 2 * (base + 2)
    at_cloud = at_span + 2 * (span + 2)
    quick = _middle_push(state, 0, fast, bar[0], bar[1])
    middle = _middle_push(state, at_base, base, bar[0], bar[1])
    slow = _middle_push(state, at_span, span, bar[0], bar[1])
    ring_push(state, at_cloud, base + 1, 0.25 * (quick + middle) + 0.5 * slow)
    cloud = ring_lag(state, at_cloud, base + 1, base)
    # Neither has a value before both have.
    out[0] = np.nan if math.isnan(cloud) else math.log(quick / middle)
    out[1] = math.log(bar[2] / cloud)

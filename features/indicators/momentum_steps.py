"""Steps of the momentum family: each is a feature's newest value from its state and the new bar.

Seeds are TA-Lib's where it has the function; see `features.indicators.momentum` for what each
value means and where the edges differ.
"""

import math

import numpy as np

from features.blocks import (
    AVERAGE_SIZE,
    average_push,
    position,
    ring_count,
    ring_lag,
    ring_maximum,
    ring_mean,
    ring_minimum,
    ring_path,
    ring_push,
    ring_size,
    ring_sum,
    ring_weighted_mean,
    share,
)
from features.step import Pointer, step
from markets.compiled import separate

__all__ = [
    "awesome_oscillator_step",
    "balance_of_power_step",
    "cci_step",
    "coppock_step",
    "efficiency_ratio_step",
    "intraday_momentum_step",
    "log_return_step",
    "momentum_step",
    "rsi_step",
    "skip_month_step",
    "stochastic_rsi_step",
    "stochastic_step",
    "tsi_step",
    "ultimate_oscillator_step",
    "williams_r_step",
]

# A relative strength that moved less in its window stood still: the rest is rounding.
_STILL = 1e-6


@step(state=ring_size(2))
def log_return_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:  # noqa: ARG001
    """Step of `log_return`."""
    ring_push(state, 0, 2, bar[0])
    out[0] = math.log(bar[0] / ring_lag(state, 0, 2, 1))


@step(state=lambda horizon: ring_size(horizon + 1))
def momentum_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `momentum`."""
    horizon = int(parameters[0])
    ring_push(state, 0, horizon + 1, bar[0])
    out[0] = math.log(bar[0] / ring_lag(state, 0, horizon + 1, horizon))


@step(state=lambda horizon, skip: ring_size(max(horizon, skip) + 1))
def skip_month_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `momentum_12_1`."""
    horizon, skip = int(parameters[0]), int(parameters[1])
    ring = max(horizon, skip) + 1
    ring_push(state, 0, ring, bar[0])
    out[0] = math.log(ring_lag(state, 0, ring, skip) / ring_lag(state, 0, ring, horizon))


@separate
def _strength_push(state: Pointer, window: int, close: float) -> float:
    """Relative strength, centred: (G - L) / (G + L) of Wilder's averages.

    State: the last close and two averages.
    """
    last = state[0]
    state[0] = close
    if last <= 0.0:
        return np.nan
    change = close - last
    gain = average_push(state, 1, window, 1.0 / window, max(change, 0.0))
    loss = average_push(state, 3, window, 1.0 / window, max(-change, 0.0))
    return share(gain - loss, gain + loss, close)


@step(state=1 + 2 * AVERAGE_SIZE)
def rsi_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `rsi`."""
    out[0] = _strength_push(state, int(parameters[0]), bar[0])


@step(state=lambda lookback, **_: 5 + ring_size(lookback))
def stochastic_rsi_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `stochastic_rsi`."""
    lookback = int(parameters[1])
    strength = _strength_push(state, int(parameters[0]), bar[0])
    if not math.isnan(strength):
        ring_push(state, 5, lookback, strength)
    low, high = ring_minimum(state, 5, lookback), ring_maximum(state, 5, lookback)
    still = high - low <= _STILL
    out[0] = 0.0 if still else ((strength - low) - (high - strength)) / (high - low)


@separate
def _range_push(
    state: Pointer, at: int, window: int, high: float, low: float, close: float
) -> float:
    """Place of the close in the window's range; two windows of state."""
    lows = at + window + 2
    ring_push(state, at, window, high)
    ring_push(state, lows, window, low)
    return position(close, ring_minimum(state, lows, window), ring_maximum(state, at, window))


@step(state=lambda window: 2 * ring_size(window))
def williams_r_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `williams_r`."""
    out[0] = _range_push(state, 0, int(parameters[0]), bar[0], bar[1], bar[2])


@step(state=lambda window, smooth, signal: 2 * ring_size(window) + ring_size(smooth) + signal + 2)
def stochastic_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `stochastic`."""
    window, smooth, signal = int(parameters[0]), int(parameters[1]), int(parameters[2])
    at_smooth = 2 * (window + 2)
    at_signal = at_smooth + smooth + 2
    place = _range_push(state, 0, window, bar[0], bar[1], bar[2])
    if not math.isnan(place):
        ring_push(state, at_smooth, smooth, place)
    k = ring_mean(state, at_smooth, smooth)
    if not math.isnan(k):
        ring_push(state, at_signal, signal, k)
    # Neither has a value before both have.
    d = ring_mean(state, at_signal, signal)
    out[0] = np.nan if math.isnan(d) else k
    out[1] = d


@step(state=ring_size)
def cci_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `cci`."""
    window = int(parameters[0])
    typical = (bar[0] + bar[1] + bar[2]) / 3.0
    ring_push(state, 0, window, typical)
    above = 0.0
    for lag in range(window):
        above += typical - ring_lag(state, 0, window, lag)
    above /= window
    deviation = 0.0
    for lag in range(window):
        deviation += abs(above - (typical - ring_lag(state, 0, window, lag)))
    out[0] = share(above, 1.5 * deviation / window, typical)


@separate
def _pressure(state: Pointer, at: int, ring: int, window: int, close: float) -> float:
    """Buying pressure of the last bars over their true range; 1/2 where nothing moved."""
    bought, moved = 0.0, 0.0
    for lag in range(window):
        bought += ring_lag(state, at, ring, lag)
        moved += ring_lag(state, at + ring + 2, ring, lag)
    return 0.5 + share(bought - 0.5 * moved, moved, close)


@step(state=lambda fast, medium, slow: 1 + 2 * ring_size(max(fast, medium, slow)))
def ultimate_oscillator_step(
    state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer
) -> None:
    """Step of `ultimate_oscillator`."""
    fast, medium, slow = int(parameters[0]), int(parameters[1]), int(parameters[2])
    ring = max(fast, medium, slow)
    high, low, close, last = bar[0], bar[1], bar[2], state[0]
    state[0] = close
    if last > 0.0:
        ring_push(state, 1, ring, close - min(low, last))
        ring_push(state, ring + 3, ring, max(high, last) - min(low, last))
    weighted = 4.0 * _pressure(state, 1, ring, fast, close)
    weighted += 2.0 * _pressure(state, 1, ring, medium, close)
    weighted += _pressure(state, 1, ring, slow, close)
    out[0] = weighted / 3.5 - 1.0 if ring_count(state, 1) == ring else np.nan


@step(state=1 + 4 * AVERAGE_SIZE)
def tsi_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `tsi`."""
    slow, fast = int(parameters[0]), int(parameters[1])
    slow_weight, fast_weight = 2.0 / (slow + 1.0), 2.0 / (fast + 1.0)
    change = bar[0] - state[0] if state[0] > 0.0 else np.nan
    state[0] = bar[0]
    net = average_push(state, 1, slow, slow_weight, change)
    net = average_push(state, 3, fast, fast_weight, net)
    path = average_push(state, 5, slow, slow_weight, abs(change))
    path = average_push(state, 7, fast, fast_weight, path)
    out[0] = share(net, path, bar[0])


@step(state=0)
def balance_of_power_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:  # noqa: ARG001
    """Step of `balance_of_power`."""
    out[0] = share(bar[3] - bar[0], bar[1] - bar[2], bar[1])


@step(state=lambda window: 2 * ring_size(window))
def intraday_momentum_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `intraday_momentum`."""
    window = int(parameters[0])
    change = bar[1] - bar[0]
    ring_push(state, 0, window, change)
    ring_push(state, window + 2, window, abs(change))
    out[0] = share(ring_sum(state, 0, window), ring_sum(state, window + 2, window), bar[1])


@step(state=lambda window: ring_size(window + 1))
def efficiency_ratio_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `efficiency_ratio`."""
    window = int(parameters[0])
    ring_push(state, 0, window + 1, bar[0])
    net = abs(bar[0] - ring_lag(state, 0, window + 1, window))
    out[0] = share(net, ring_path(state, 0, window + 1), bar[0])


@step(state=lambda window, short, long: ring_size(max(short, long) + 1) + ring_size(window))
def coppock_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `coppock`."""
    window, short, long = int(parameters[0]), int(parameters[1]), int(parameters[2])
    ring = max(short, long) + 1
    ring_push(state, 0, ring, bar[0])
    change = bar[0] / ring_lag(state, 0, ring, short) - 1.0
    change += bar[0] / ring_lag(state, 0, ring, long) - 1.0
    if not math.isnan(change):
        ring_push(state, ring + 2, window, change)
    out[0] = ring_weighted_mean(state, ring + 2, window)


@step(state=lambda fast, slow: ring_size(fast) + ring_size(slow))
def awesome_oscillator_step(
    state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer
) -> None:
    """Step of `awesome_oscillator`."""
    fast, slow = int(parameters[0]), int(parameters[1])
    middle = 0.5 * (bar[0] + bar[1])
    ring_push(state, 0, fast, middle)
    ring_push(state, fast + 2, slow, middle)
    out[0] = (ring_mean(state, 0, fast) - ring_mean(state, fast + 2, slow)) / bar[2]

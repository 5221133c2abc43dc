r"""Steps of the volume family: the newest value from a carried state and the new bar.

A ratio over a sum of volumes that is 0 is 0: nothing was traded, so nothing is said.
"""

import math

from features.blocks import (
    AVERAGE_SIZE,
    COMOMENTS_SIZE,
    average_push,
    change_push,
    quotient,
    ring_comoments,
    ring_count,
    ring_deviation,
    ring_lag,
    ring_mean,
    ring_push,
    ring_size,
    ring_slope,
    ring_sum,
)
from features.step import Pointer, step
from markets.compiled import separate

__all__ = [
    "ad_step",
    "adosc_step",
    "amihud_step",
    "cmf_step",
    "force_index_step",
    "mfi_step",
    "nvi_step",
    "obv_step",
    "price_volume_correlation_step",
    "pvi_step",
    "relative_volume_step",
    "up_volume_step",
    "volume_trend_step",
    "volume_zscore_step",
    "vwap_distance_step",
]

# Two typical prices closer than this share of their sum are equal: the same three prices in
# another order, or on another scale, differ by the rounding of their sum.
_EQUAL = 1e-13
# Numbers of state of a window besides its values.
_HEAD = ring_size(0)


@separate
def close_location(high: float, low: float, close: float) -> float:
    """Where the close lies in the bar's range, -1 at the low and 1 at the high; 0 for no range."""
    if high <= low:
        return 0.0
    return ((close - low) - (high - close)) / (high - low)


@separate
def mean_of_traded(state: Pointer, at: int, size: int, newest: int) -> float:
    """Mean of the newest values of a window without those below 0; 0 for none."""
    total = 0.0
    count = 0
    for lag in range(newest - 1, -1, -1):
        value = ring_lag(state, at, size, lag)
        if value >= 0.0:
            total += value
            count += 1
    return total / count if count > 0 else 0.0


@step(state=ring_size)
def volume_zscore_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.volume.volume_zscore`."""
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    above = 0.0
    for lag in range(window - 1, -1, -1):
        above += bar[0] - ring_lag(state, 0, window, lag)
    out[0] = quotient(above / window, ring_deviation(state, 0, window, 0))


@step(state=ring_size)
def relative_volume_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.volume.relative_volume`."""
    window = int(parameters[0])
    mean = ring_mean(state, 0, window)
    ring_push(state, 0, window, bar[0])
    out[0] = quotient(bar[0] - mean, bar[0] + mean)


@step(state=lambda window: 1 + 2 * ring_size(window))
def mfi_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.volume.mfi`."""
    window = int(parameters[0])
    both = 1 + window + _HEAD
    typical = (bar[0] + bar[1] + bar[2]) / 3.0
    previous = state[0]
    state[0] = typical
    if previous > 0.0:
        flow = typical * bar[3]
        if abs(typical - previous) <= _EQUAL * (typical + previous):
            flow = 0.0
        ring_push(state, 1, window, flow if typical > previous else -flow)
        ring_push(state, both, window, flow)
    out[0] = quotient(ring_sum(state, 1, window), ring_sum(state, both, window))


@step(state=5)
def obv_step(
    state: Pointer,
    bar: Pointer,
    parameters: Pointer,  # noqa: ARG001 - steps share one signature
    out: Pointer,
) -> None:
    """Step of `features.indicators.volume.obv`."""
    # Numbers of bars, volume in all, first volume, balance, and the last close.
    if state[0] == 0.0:
        state[2] = bar[1]
        state[3] = bar[1]
    elif bar[0] > state[4]:
        state[3] += bar[1]
    elif bar[0] < state[4]:
        state[3] -= bar[1]
    state[0] += 1.0
    state[1] += bar[1]
    state[4] = bar[0]
    out[0] = quotient(state[3] - state[2], state[1] / state[0])


@step(state=3)
def ad_step(
    state: Pointer,
    bar: Pointer,
    parameters: Pointer,  # noqa: ARG001 - steps share one signature
    out: Pointer,
) -> None:
    """Step of `features.indicators.volume.ad`."""
    # Number of bars, volume in all, and accumulation.
    state[0] += 1.0
    state[1] += bar[3]
    state[2] += close_location(bar[0], bar[1], bar[2]) * bar[3]
    out[0] = quotient(state[2], state[1] / state[0])


@step(state=4)
def adosc_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.volume.adosc`."""
    # Number of bars, how far the two averages lie above the line, and the average volume.
    fast = 2.0 / (parameters[0] + 1.0)
    slow = 2.0 / (parameters[1] + 1.0)
    if state[0] == 0.0:
        state[3] = bar[3]
    else:
        flow = close_location(bar[0], bar[1], bar[2]) * bar[3]
        state[1] = (1.0 - fast) * (state[1] - flow)
        state[2] = (1.0 - slow) * (state[2] - flow)
        state[3] += slow * (bar[3] - state[3])
    state[0] += 1.0
    warm = state[0] >= max(parameters[0], parameters[1])
    out[0] = quotient(state[1] - state[2], state[3]) if warm else math.nan


@step(state=lambda window: 2 * ring_size(window))
def cmf_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.volume.cmf`."""
    window = int(parameters[0])
    volumes = window + _HEAD
    ring_push(state, 0, window, close_location(bar[0], bar[1], bar[2]) * bar[3])
    ring_push(state, volumes, window, bar[3])
    out[0] = quotient(ring_sum(state, 0, window), ring_sum(state, volumes, window))


@step(state=1 + 2 * AVERAGE_SIZE)
def force_index_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.volume.force_index`."""
    window = int(parameters[0])
    weight = 2.0 / (window + 1.0)
    change = change_push(state, 0, bar[0])
    force = average_push(state, 1, window, weight, change * bar[1])
    volume = math.nan if math.isnan(change) else bar[1]
    out[0] = quotient(force, average_push(state, 1 + AVERAGE_SIZE, window, weight, volume))


@separate
def volume_index(
    state: Pointer, window: int, close: float, volume: float, direction: float
) -> float:
    """Sum of the log changes of bars whose volume rose (1) or fell (-1)."""
    change = change_push(state, 0, close)
    before = state[1]
    state[1] = volume
    if not math.isnan(change):
        ring_push(state, 2, window, change if direction * (volume - before) > 0.0 else 0.0)
    return ring_sum(state, 2, window)


@step(state=lambda horizon: 2 + ring_size(horizon))
def nvi_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.volume.nvi`."""
    out[0] = volume_index(state, int(parameters[0]), bar[0], bar[1], -1.0)


@step(state=lambda horizon: 2 + ring_size(horizon))
def pvi_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.volume.pvi`."""
    out[0] = volume_index(state, int(parameters[0]), bar[0], bar[1], 1.0)


@step(state=lambda window, multiple: 1 + ring_size(window * multiple))
def amihud_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.volume.amihud`."""
    window = int(parameters[0])
    size = window * int(parameters[1])
    change = change_push(state, 0, bar[0])
    if not math.isnan(change):
        ring_push(state, 1, size, abs(change) / (bar[0] * bar[1]) if bar[1] > 0.0 else -1.0)
    out[0] = math.nan
    if ring_count(state, 1) == size:
        now = mean_of_traded(state, 1, size, window)
        usual = mean_of_traded(state, 1, size, size)
        out[0] = math.log(now / usual) if now > 0.0 else 0.0


@step(state=lambda window: 2 * ring_size(window))
def vwap_distance_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.volume.vwap_distance`."""
    window = int(parameters[0])
    volumes = window + _HEAD
    ring_push(state, 0, window, (bar[0] + bar[1] + bar[2]) / 3.0 * bar[3])
    ring_push(state, volumes, window, bar[3])
    turnover = ring_sum(state, 0, window)
    volume = ring_sum(state, volumes, window)
    out[0] = 0.0 if volume == 0.0 else math.log(bar[2] * (volume / turnover))


@step(state=ring_size)
def volume_trend_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.volume.volume_trend`."""
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    out[0] = quotient(window * ring_slope(state, 0, window), ring_mean(state, 0, window))


@step(state=lambda window: 1 + 2 * ring_size(window) + COMOMENTS_SIZE)
def price_volume_correlation_step(
    state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer
) -> None:
    """Step of `features.indicators.volume.price_volume_correlation`."""
    window = int(parameters[0])
    volumes = 1 + window + _HEAD
    moments = volumes + window + _HEAD
    change = change_push(state, 0, bar[0])
    if not math.isnan(change):
        ring_push(state, 1, window, change)
        ring_push(state, volumes, window, bar[1])
    ring_comoments(state, 1, volumes, window, moments)
    deviations = math.sqrt(state[moments + 2]) * math.sqrt(state[moments + 4])
    out[0] = quotient(state[moments + 3], deviations)


@step(state=lambda window: 1 + 2 * ring_size(window))
def up_volume_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.volume.up_volume`."""
    window = int(parameters[0])
    volumes = 1 + window + _HEAD
    change = change_push(state, 0, bar[0])
    if not math.isnan(change):
        signed = bar[1] if change > 0.0 else -bar[1]
        ring_push(state, 1, window, signed if change != 0.0 else 0.0)
        ring_push(state, volumes, window, bar[1])
    out[0] = quotient(ring_sum(state, 1, window), ring_sum(state, volumes, window))

r"""Steps of the cycle family: Ehlers' Hilbert transformer carried from bar to bar.

The arithmetic is that of TA-Lib's functions of the same names, operation by operation; what is left
between them is whether a processor rounds a product before it is added.

Ehlers (2001), Rocket Science for Traders, chapters 6, 7, 9 to 11 (phasor, period, sine wave, trend
line, trend mode); Ehlers (2001), MESA Adaptive Moving Averages, S&C 19(10).

| state of the transformer | place |
|---|---|
| bars seen | 0 |
| sums of the weighted price, and the value that leaves it | 1 to 3 |
| the last three prices | 4 to 6 |
| smoothed price, detrended price, quadrature: newest value first | 7, 14, 24 |
| rotated phasor of the last bar, products with the one before | 31 to 34 |
| period, smoothed period | 35, 36 |
"""

import math

import numpy as np

from features.blocks import ring_lag, ring_push, ring_size
from features.step import Pointer, step
from markets.compiled import separate

__all__ = [
    "STILL",
    "TRANSFORMER_SIZE",
    "ht_period_step",
    "ht_phasor_step",
    "ht_sine_step",
    "ht_trendline_step",
    "ht_trendmode_step",
    "mama_step",
    "roofing_step",
]

STILL = 8
"""Bars without a change of the close after which there is no cycle to speak of: then the four
prices of the smoother are equal in all 6 bars of the shortest cycle."""
TRANSFORMER_SIZE = 37
"""Numbers of state of the transformer."""
# Bars before the transformer begins, after which TA-Lib gives 20 and 26 more no value.
_BEGIN = 12
_BEGIN_PHASE = 37
_LONGEST = 50  # longest period, in bars
_SMOOTH, _DETRENDED, _QUADRATURE = 7, 14, 24
_I2, _Q2, _RE, _IM, _PERIOD, _SMOOTHED = 31, 32, 33, 34, 35, 36
_DEGREES = 45.0 / math.atan(1.0)
_RADIANS = 1.0 / _DEGREES
_CIRCLE = 8.0 * math.atan(1.0)


@separate
def weighted_price(state: Pointer, price: float) -> float:
    """Average of the last four prices with weights 4, 3, 2, 1, kept as TA-Lib's running sums."""
    bar = state[0]
    if bar < 3.0:
        state[1] += price
        state[2] += price * (bar + 1.0)
        smoothed = price
    else:
        state[1] += price
        state[1] -= state[3]
        state[2] += price * 4.0
        state[3] = state[6]
        smoothed = state[2] * 0.1
        state[2] -= state[1]
    state[6] = state[5]
    state[5] = state[4]
    state[4] = price
    return float(smoothed)


@separate
def delay(state: Pointer, at: int, size: int, value: float) -> None:
    """Put a value before the older ones."""
    for place in range(at + size - 1, at, -1):
        state[place] = state[place - 1]
    state[at] = value


@separate
def transformed(state: Pointer, at: int, gain: float) -> float:
    """Hilbert transform of the delayed values from `at` on."""
    value = 0.0 - 0.0962 * state[at + 6]
    value += 0.0962 * state[at]
    value -= 0.5769 * state[at + 4]
    value += 0.5769 * state[at + 2]
    return float(value * gain)


@separate
def next_period(period: float, re: float, im: float) -> float:
    """Period from the rotation of the phasor, held near the last one and in 6 to 50 bars."""
    found = period
    if im != 0.0 and re != 0.0:
        found = 360.0 / (math.atan(im / re) * _DEGREES)
    found = min(found, 1.5 * period)
    found = max(found, 0.67 * period)
    found = min(max(found, 6.0), 50.0)
    return 0.2 * found + 0.8 * period


@separate
def transformer_push(state: Pointer, price: float, begin: int) -> bool:
    """Take in a price; whether the transformer has begun."""
    smoothed = weighted_price(state, price)
    state[0] += 1.0
    if state[0] <= begin:
        return False
    gain = 0.075 * state[_PERIOD] + 0.54
    delay(state, _SMOOTH, 7, smoothed)
    delay(state, _DETRENDED, 10, transformed(state, _SMOOTH, gain))
    delay(state, _QUADRATURE, 7, transformed(state, _DETRENDED, gain))
    quadrature, in_phase = state[_QUADRATURE], state[_DETRENDED + 3]
    ahead_i = transformed(state, _DETRENDED + 3, gain)
    ahead_q = transformed(state, _QUADRATURE, gain)
    q2 = 0.2 * (quadrature + ahead_i) + 0.8 * state[_Q2]
    i2 = 0.2 * (in_phase - ahead_q) + 0.8 * state[_I2]
    state[_RE] = 0.2 * (i2 * state[_I2] + q2 * state[_Q2]) + 0.8 * state[_RE]
    state[_IM] = 0.2 * (i2 * state[_Q2] - q2 * state[_I2]) + 0.8 * state[_IM]
    state[_Q2] = q2
    state[_I2] = i2
    state[_PERIOD] = next_period(state[_PERIOD], state[_RE], state[_IM])
    state[_SMOOTHED] = 0.33 * state[_PERIOD] + 0.67 * state[_SMOOTHED]
    return True


@separate
def next_phase(state: Pointer, at: int, phase: float) -> float:
    """Phase of the dominant cycle in degrees, by the sum over one period of smoothed prices.

    The ring of smoothed prices lies from `at` on.
    """
    period = state[_SMOOTHED]
    bars = int(period + 0.5)
    real = imaginary = 0.0
    for lag in range(bars):
        angle = lag * _CIRCLE / bars
        price = ring_lag(state, at, _LONGEST, lag) if lag < state[at] else 0.0
        real += math.sin(angle) * price
        imaginary += math.cos(angle) * price
    if abs(imaginary) > 0.0:
        phase = math.atan(real / imaginary) * _DEGREES
    elif real < 0.0:
        phase -= 90.0
    elif real > 0.0:
        phase += 90.0
    phase += 90.0
    phase += 360.0 / period
    if imaginary < 0.0:
        phase += 180.0
    if phase > 315.0:
        phase -= 360.0
    return phase


@separate
def next_trendline(state: Pointer, at: int, averages: int) -> float:
    """Mean of the prices of one period, averaged over four bars.

    The ring of prices lies from `at` on, the last three means from `averages` on.
    """
    bars = int(state[_SMOOTHED] + 0.5)
    mean = 0.0
    for lag in range(bars):
        mean += ring_lag(state, at, _LONGEST, lag)
    if bars > 0:
        mean /= bars
    older = 3.0 * state[averages] + 2.0 * state[averages + 1] + state[averages + 2]
    delay(state, averages, 3, mean)
    return float((4.0 * mean + older) / 10.0)


# The first close, the last one, and the bars since it changed.
_CLOSES = TRANSFORMER_SIZE
_AFTER = TRANSFORMER_SIZE + 3
_WARM, _WARM_PHASE = 32.0, 63.0


@separate
def closes_push(state: Pointer, at: int, close: float) -> float:
    """Take in a close; its ratio to the first, whose own level thus is no jump from 0."""
    if state[at] == 0.0:
        state[at] = close
    state[at + 2] = state[at + 2] + 1.0 if close == state[at + 1] else 0.0
    state[at + 1] = close
    return float(close / state[at])


@separate
def unless_still(state: Pointer, warm: float, value: float) -> float:
    """The value; NaN before the warm-up, 0 where the close has long not changed."""
    if state[0] <= warm:
        return np.nan
    return 0.0 if state[_CLOSES + 2] >= STILL else value


@step(state=_AFTER)
def ht_period_step(
    state: Pointer,
    bar: Pointer,
    parameters: Pointer,  # noqa: ARG001 - steps share one signature
    out: Pointer,
) -> None:
    """Step of `features.indicators.cycle.ht_period`."""
    transformer_push(state, closes_push(state, _CLOSES, bar[0]) - 1.0, _BEGIN)
    out[0] = unless_still(state, _WARM, state[_SMOOTHED] / 25.0 - 1.0)


@step(state=_AFTER)
def ht_phasor_step(
    state: Pointer,
    bar: Pointer,
    parameters: Pointer,  # noqa: ARG001 - steps share one signature
    out: Pointer,
) -> None:
    """Step of `features.indicators.cycle.ht_phasor`."""
    ratio = closes_push(state, _CLOSES, bar[0])
    transformer_push(state, ratio - 1.0, _BEGIN)
    out[0] = unless_still(state, _WARM, state[_DETRENDED + 3] / ratio)
    out[1] = unless_still(state, _WARM, state[_QUADRATURE] / ratio)


@step(state=_AFTER + 1 + ring_size(_LONGEST))
def ht_sine_step(
    state: Pointer,
    bar: Pointer,
    parameters: Pointer,  # noqa: ARG001 - steps share one signature
    out: Pointer,
) -> None:
    """Step of `features.indicators.cycle.ht_sine`."""
    price = closes_push(state, _CLOSES, bar[0]) - 1.0
    if transformer_push(state, price, _BEGIN_PHASE):
        ring_push(state, _AFTER + 1, _LONGEST, state[_SMOOTH])
        state[_AFTER] = next_phase(state, _AFTER + 1, state[_AFTER])
    phase = state[_AFTER]
    out[0] = unless_still(state, _WARM_PHASE, math.sin(phase * _RADIANS))
    out[1] = unless_still(state, _WARM_PHASE, math.sin((phase + 45.0) * _RADIANS))


@step(state=_AFTER + 3 + ring_size(_LONGEST))
def ht_trendline_step(
    state: Pointer,
    bar: Pointer,
    parameters: Pointer,  # noqa: ARG001 - steps share one signature
    out: Pointer,
) -> None:
    """Step of `features.indicators.cycle.ht_trendline`."""
    ratio = closes_push(state, _CLOSES, bar[0])
    price = ratio - 1.0
    ring_push(state, _AFTER + 3, _LONGEST, price)
    out[0] = np.nan
    if transformer_push(state, price, _BEGIN_PHASE):
        distance = (price - next_trendline(state, _AFTER + 3, _AFTER)) / ratio
        out[0] = unless_still(state, _WARM_PHASE, distance)


# Of the trend mode: phase, sine, lead of the sine, bars in the trend, three means, two windows.
_MEANS = _AFTER + 4
_SMOOTHS = _AFTER + 7
_PRICES = _SMOOTHS + ring_size(_LONGEST)


@separate
def crossed(state: Pointer, phase: float) -> float:
    """1 if the sine and its lead have crossed in this bar, else 0; keeps both for the next."""
    sine = math.sin(phase * _RADIANS)
    lead = math.sin((phase + 45.0) * _RADIANS)
    above = sine > lead and state[_AFTER + 1] <= state[_AFTER + 2]
    below = sine < lead and state[_AFTER + 1] >= state[_AFTER + 2]
    state[_AFTER + 1] = sine
    state[_AFTER + 2] = lead
    return 1.0 if above or below else 0.0


@separate
def next_mode(state: Pointer, turned: float, away: float, crossing: float) -> float:
    """1 for a trend, 0 for a cycle: by the rotation of the phase and the distance to the trend."""
    period = state[_SMOOTHED]
    mode = 1.0
    if crossing > 0.0:
        state[_AFTER + 3] = 0.0
        mode = 0.0
    state[_AFTER + 3] += 1.0
    if state[_AFTER + 3] < 0.5 * period:
        mode = 0.0
    if period != 0.0 and 0.67 * 360.0 / period < turned < 1.5 * 360.0 / period:
        mode = 0.0
    return 1.0 if away >= 0.015 else mode


@step(state=_PRICES + ring_size(_LONGEST))
def ht_trendmode_step(
    state: Pointer,
    bar: Pointer,
    parameters: Pointer,  # noqa: ARG001 - steps share one signature
    out: Pointer,
) -> None:
    """Step of `features.indicators.cycle.ht_trendmode`."""
    price = closes_push(state, _CLOSES, bar[0])
    ring_push(state, _PRICES, _LONGEST, price)
    out[0] = np.nan
    if transformer_push(state, price, _BEGIN_PHASE):
        ring_push(state, _SMOOTHS, _LONGEST, state[_SMOOTH])
        phase = next_phase(state, _SMOOTHS, state[_AFTER])
        turned = phase - state[_AFTER]
        state[_AFTER] = phase
        crossing = crossed(state, phase)
        trendline = next_trendline(state, _PRICES, _MEANS)
        away = abs((state[_SMOOTH] - trendline) / trendline) if trendline != 0.0 else 0.0
        mode = next_mode(state, turned, away, crossing)
        out[0] = unless_still(state, _WARM_PHASE, mode)


@step(state=_AFTER + 3)
def mama_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.cycle.mama`."""
    fast, slow = parameters[0], parameters[1]
    ratio = closes_push(state, _CLOSES, bar[0])
    price = ratio - 1.0
    if transformer_push(state, price, _BEGIN):
        in_phase = state[_DETRENDED + 3]
        phase = math.atan(state[_QUADRATURE] / in_phase) * _DEGREES if in_phase != 0.0 else 0.0
        turned = max(state[_AFTER] - phase, 1.0)
        state[_AFTER] = phase
        weight = max(fast / turned, slow) if turned > 1.0 else fast
        state[_AFTER + 1] = weight * price + (1.0 - weight) * state[_AFTER + 1]
        weight *= 0.5
        state[_AFTER + 2] = weight * state[_AFTER + 1] + (1.0 - weight) * state[_AFTER + 2]
    out[0] = unless_still(state, _WARM, (price - state[_AFTER + 1]) / ratio)
    out[1] = unless_still(state, _WARM, (state[_AFTER + 1] - state[_AFTER + 2]) / ratio)


@separate
def smooth_push(state: Pointer, at: int, period: float, value: float) -> float:
    """Ehlers' super smoother; its last two values and the last input lie from `at` on."""
    damping = math.exp(-math.sqrt(2.0) * math.pi / period)
    turning = 2.0 * damping * math.cos(math.sqrt(2.0) * math.pi / period)
    gain = 1.0 - turning + damping * damping
    smooth = 0.5 * gain * (value + state[at + 2])
    smooth += turning * state[at] - damping * damping * state[at + 1]
    state[at + 1] = state[at]
    state[at] = smooth
    state[at + 2] = value
    return float(smooth)


# Bars; the last two log prices against the first; the last two of the high pass; the smoother.
@step(state=9)
def roofing_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.cycle.roofing`."""
    short, long = parameters[0], parameters[1]
    if state[0] == 0.0:
        state[8] = bar[0]
    price = math.log(bar[0] / state[8])
    angle = math.sqrt(0.5) * 2.0 * math.pi / long
    weight = (math.cos(angle) + math.sin(angle) - 1.0) / math.cos(angle)
    kept = 1.0 - weight
    passed = (1.0 - 0.5 * weight) ** 2 * (price - 2.0 * state[1] + state[2])
    passed += 2.0 * kept * state[3] - kept * kept * state[4]
    state[2] = state[1]
    state[1] = price
    state[4] = state[3]
    state[3] = passed
    state[0] += 1.0
    smooth = smooth_push(state, 5, short, passed)
    out[0] = smooth if state[0] > long else np.nan

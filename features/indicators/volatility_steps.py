"""Steps of the features of `features.indicators.volatility`; their text says inputs; parameters."""

import math

import numpy as np

from features.blocks import (
    AVERAGE_SIZE,
    average_push,
    quotient,
    returns_push,
    returns_size,
    ring_deviation,
    ring_lag,
    ring_mean,
    ring_push,
    ring_size,
    ring_sum,
)
from features.step import Pointer, step
from markets.compiled import separate

__all__ = [
    "LEAST_RANGE",
    "atr_step",
    "bollinger_step",
    "bollinger_width_step",
    "chaikin_volatility_step",
    "downside_volatility_step",
    "ewma_volatility_step",
    "garman_klass_step",
    "jump_share_step",
    "overnight_balance_step",
    "range_volatility_step",
    "realised_volatility_step",
    "rogers_satchell_step",
    "signed_variation_step",
    "true_range_step",
    "volatility_of_volatility_step",
    "volatility_ratio_step",
    "yang_zhang_step",
]

LEAST_RANGE = 1e-6
"""Share of the price: smaller ranges are not told apart, so that a halted asset forgets."""


@separate
def square_push(state: Pointer, at: int, window: int, price: float, sign: float) -> None:
    """Add the squared log return since the last price; of one sign only unless `sign` is 0."""
    if state[at] > 0.0:
        change = math.log(price / state[at])
        ring_push(state, at + 1, window, change * change if change * sign >= 0.0 else 0.0)
    state[at] = price


@step(state=returns_size)
def realised_volatility_step(
    state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer
) -> None:
    """Close; window."""
    window = int(parameters[0])
    square_push(state, 0, window, bar[0], 0.0)
    out[0] = math.sqrt(ring_mean(state, 1, window))


@step(state=returns_size)
def downside_volatility_step(
    state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer
) -> None:
    """Close; window."""
    window = int(parameters[0])
    square_push(state, 0, window, bar[0], -1.0)
    out[0] = math.sqrt(ring_mean(state, 1, window))


@step(state=lambda window: 2 * returns_size(window))
def signed_variation_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    second = window + 3
    square_push(state, 0, window, bar[0], 1.0)
    square_push(state, second, window, bar[0], -1.0)
    up, down = ring_sum(state, 1, window), ring_sum(state, second + 1, window)
    out[0] = quotient(up - down, up + down)


@step(state=lambda long, **_: returns_size(long))
def volatility_ratio_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; short, long."""
    short, long = int(parameters[0]), int(parameters[1])
    square_push(state, 0, long, bar[0], 0.0)
    slow = math.sqrt(ring_mean(state, 1, long))
    squares = 0.0
    for lag in range(short - 1, -1, -1):
        squares += ring_lag(state, 1, long, lag)
    fast = math.sqrt(squares / short)
    out[0] = quotient(fast - slow, fast + slow)


@step(state=lambda short, long: returns_size(short) + ring_size(long))
def volatility_of_volatility_step(
    state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer
) -> None:
    """Close; short, long."""
    short, long = int(parameters[0]), int(parameters[1])
    second = short + 3
    square_push(state, 0, short, bar[0], 0.0)
    recent = ring_mean(state, 1, short)
    if not math.isnan(recent):
        ring_push(state, second, long, math.sqrt(recent))
    deviation = ring_deviation(state, second, long, 0)
    out[0] = quotient(deviation, ring_mean(state, second, long))


@step(state=returns_size)
def jump_share_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    returns_push(state, 0, window, bar[0])
    if state[1] < window:
        out[0] = np.nan
        return
    older = ring_lag(state, 1, window, window - 1)
    squares, products = older * older, 0.0
    for lag in range(window - 2, -1, -1):
        newer = ring_lag(state, 1, window, lag)
        squares += newer * newer
        products += abs(newer * older)
        older = newer
    smooth = 0.5 * math.pi * window / (window - 1.0) * products
    out[0] = max(0.0, 1.0 - smooth / squares) if squares > 0.0 else 0.0


@step(state=4)
def ewma_volatility_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; retained. State: last price, weighted squares, weights, returns."""
    retained = parameters[0]
    if state[0] > 0.0:
        change = math.log(bar[0] / state[0])
        state[1] = retained * state[1] + change * change
        state[2] = retained * state[2] + 1.0
        state[3] += 1.0
    state[0] = bar[0]
    warm = state[3] >= math.ceil(1.0 / (1.0 - retained))
    out[0] = math.sqrt(state[1] / state[2]) if warm else np.nan


@step(state=ring_size)
def range_volatility_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """High, low; window."""
    window = int(parameters[0])
    height = math.log(bar[0] / bar[1])
    ring_push(state, 0, window, height * height / (4.0 * math.log(2.0)))
    out[0] = math.sqrt(ring_mean(state, 0, window))


@step(state=ring_size)
def garman_klass_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Open, high, low, close; window."""
    window = int(parameters[0])
    height, change = math.log(bar[1] / bar[2]), math.log(bar[3] / bar[0])
    variance = 0.5 * height * height - (2.0 * math.log(2.0) - 1.0) * change * change
    ring_push(state, 0, window, max(0.0, variance))
    out[0] = math.sqrt(ring_mean(state, 0, window))


@separate
def rogers_satchell_variance(opened: float, high: float, low: float, closed: float) -> float:
    """Variance of one bar that no drift biases."""
    up = math.log(high / opened) * math.log(high / closed)
    down = math.log(low / opened) * math.log(low / closed)
    return max(0.0, up + down)


@step(state=ring_size)
def rogers_satchell_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Open, high, low, close; window."""
    window = int(parameters[0])
    ring_push(state, 0, window, rogers_satchell_variance(bar[0], bar[1], bar[2], bar[3]))
    out[0] = math.sqrt(ring_mean(state, 0, window))


@step(state=lambda window: 1 + 3 * ring_size(window))
def yang_zhang_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Open, high, low, close; window. State: last close; nights, days, within."""
    window = int(parameters[0])
    size = window + 2
    if state[0] > 0.0:
        ring_push(state, 1, window, math.log(bar[0] / state[0]))
        ring_push(state, 1 + size, window, math.log(bar[3] / bar[0]))
        within = rogers_satchell_variance(bar[0], bar[1], bar[2], bar[3])
        ring_push(state, 1 + 2 * size, window, within)
    state[0] = bar[3]
    share = 0.34 / (1.34 + (window + 1.0) / (window - 1.0))
    night = ring_deviation(state, 1, window, 1)
    day = ring_deviation(state, 1 + size, window, 1)
    within = ring_mean(state, 1 + 2 * size, window)
    out[0] = math.sqrt(night * night + share * day * day + (1.0 - share) * within)


@step(state=lambda window: 1 + 2 * ring_size(window))
def overnight_balance_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Open, close; window. State: last close; squares of nights, of days."""
    window = int(parameters[0])
    if state[0] > 0.0:
        night, day = math.log(bar[0] / state[0]), math.log(bar[1] / bar[0])
        ring_push(state, 1, window, night * night)
        ring_push(state, window + 3, window, day * day)
    state[0] = bar[1]
    night, day = ring_sum(state, 1, window), ring_sum(state, window + 3, window)
    out[0] = quotient(night - day, night + day)


@separate
def true_range(high: float, low: float, previous: float) -> float:
    """Range of the bar with the close before it; NaN for the first bar."""
    if previous == 0.0:
        return np.nan
    return max(high, previous) - min(low, previous)


@step(state=1)
def true_range_step(state: Pointer, bar: Pointer, _: Pointer, out: Pointer) -> None:
    """High, low, close. State: last close."""
    out[0] = true_range(bar[0], bar[1], state[0]) / bar[2]
    state[0] = bar[2]


@step(state=1 + AVERAGE_SIZE)
def atr_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """High, low, close; window. State: last close, average."""
    window = int(parameters[0])
    height = true_range(bar[0], bar[1], state[0])
    state[0] = bar[2]
    out[0] = average_push(state, 1, window, 1.0 / window, height) / bar[2]


@step(state=lambda window, **_: ring_size(window))
def bollinger_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window, width."""
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    deviation = ring_deviation(state, 0, window, 0)
    above = 0.0
    for lag in range(window - 1, -1, -1):
        above += bar[0] - ring_lag(state, 0, window, lag)
    out[0] = quotient(above / window, deviation * parameters[1])


@step(state=lambda window, **_: ring_size(window))
def bollinger_width_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window, width."""
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    deviation = ring_deviation(state, 0, window, 0)
    out[0] = 2.0 * parameters[1] * deviation / ring_mean(state, 0, window)


@step(state=lambda horizon, **_: AVERAGE_SIZE + ring_size(horizon + 1))
def chaikin_volatility_step(
    state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer
) -> None:
    """High, low, close; window, horizon. State: average, its last values."""
    window, horizon = int(parameters[0]), int(parameters[1])
    share = (bar[0] - bar[1]) / bar[2]
    now = average_push(state, 0, window, 2.0 / (window + 1.0), share)
    if not math.isnan(now):
        ring_push(state, AVERAGE_SIZE, horizon + 1, now)
    before = ring_lag(state, AVERAGE_SIZE, horizon + 1, horizon)
    out[0] = np.nan if math.isnan(before) else (now - before) / max(now + before, LEAST_RANGE)

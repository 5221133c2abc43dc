r"""Parts that steps are made of: windows and exponential averages, in a step's state.

Each part lies in the state from a place on, and begins as zeros. A window is added up in the same
order at every bar, so that its value depends on its bars alone, bit for bit. An average is seeded
as TA-Lib does it: by the mean of its first n values.

| part | numbers of state | pushed by |
|---|---|---|
| window of n values | `ring_size(n)` = n + 2 | `ring_push` |
| last price, and a window of n log returns | `returns_size(n)` = n + 3 | `returns_push` |
| exponential average | `AVERAGE_SIZE` = 2 | `average_push` |
"""

import math

import numpy as np

from features.step import Pointer
from markets.compiled import separate

__all__ = [
    "AVERAGE_SIZE",
    "COMOMENTS_SIZE",
    "average_push",
    "change_push",
    "position",
    "quotient",
    "returns_push",
    "returns_size",
    "ring_at",
    "ring_comoments",
    "ring_count",
    "ring_deviation",
    "ring_lag",
    "ring_maximum",
    "ring_mean",
    "ring_minimum",
    "ring_moment",
    "ring_path",
    "ring_push",
    "ring_since_maximum",
    "ring_since_minimum",
    "ring_size",
    "ring_slope",
    "ring_sum",
    "ring_weighted_mean",
    "share",
]

AVERAGE_SIZE = 2
"""Numbers of state of an exponential average: values taken in, and the average."""

COMOMENTS_SIZE = 5
"""Numbers that `ring_comoments` writes: two means, and three mean products of deviations."""


def ring_size(window: int) -> int:
    """Numbers of state of a window: values kept, the place of the next, and the values."""
    return window + 2


@separate
def ring_push(state: Pointer, at: int, window: int, value: float) -> None:
    """Add a value; the oldest of a full window goes."""
    place = int(state[at + 1])
    state[at + 2 + place] = value
    state[at + 1] = place + 1 if place + 1 < window else 0
    if state[at] < window:
        state[at] += 1.0


@separate
def ring_count(state: Pointer, at: int) -> int:
    """Values in the window."""
    return int(state[at])


@separate
def ring_lag(state: Pointer, at: int, window: int, lag: int) -> float:
    """Return the value pushed `lag` pushes ago, 0 being the newest; NaN where there is none."""
    if lag >= state[at]:
        return np.nan
    place = int(state[at + 1]) - 1 - lag
    if place < 0:
        place += window
    return float(state[at + 2 + place])


@separate
def ring_at(state: Pointer, at: int, window: int, rank: int) -> float:
    """Value of a full window by rank, 0 being the oldest."""
    place = int(state[at + 1]) + rank
    if place >= window:
        place -= window
    return float(state[at + 2 + place])


@separate
def ring_sum(state: Pointer, at: int, window: int) -> float:
    """Sum from the oldest value to the newest; NaN until the window is full."""
    if state[at] < window:
        return np.nan
    total = 0.0
    first = int(state[at + 1])
    for place in range(first, window):
        total += state[at + 2 + place]
    for place in range(first):
        total += state[at + 2 + place]
    return total


@separate
def ring_mean(state: Pointer, at: int, window: int) -> float:
    """Mean; NaN until the window is full."""
    return ring_sum(state, at, window) / window


@separate
def ring_deviation(state: Pointer, at: int, window: int, ddof: int) -> float:
    r"""Standard deviation, :math:`\sqrt{\sum (x - \bar x)^2 / (n - ddof)}`; NaN until full.

    In two passes over differences from the newest value, so that a small deviation of large values
    is not lost: exactly 0 for a window of equal values.
    """
    if state[at] < window:
        return np.nan
    newest = ring_lag(state, at, window, 0)
    mean = 0.0
    for lag in range(window - 1, -1, -1):
        mean += ring_lag(state, at, window, lag) - newest
    mean /= window
    squares = 0.0
    for lag in range(window - 1, -1, -1):
        squares += (ring_lag(state, at, window, lag) - newest - mean) ** 2
    return math.sqrt(squares / (window - ddof))


@separate
def ring_moment(state: Pointer, at: int, window: int, mean: float, order: int) -> float:
    r"""Moment about a mean, :math:`\tfrac1n \sum (x - m)^k`; NaN until the window is full."""
    if state[at] < window:
        return np.nan
    total = 0.0
    for rank in range(window):
        total += (ring_at(state, at, window, rank) - mean) ** order
    return total / window


@separate
def ring_maximum(state: Pointer, at: int, window: int) -> float:
    """Largest value; NaN until the window is full."""
    if state[at] < window:
        return np.nan
    found = state[at + 2]
    for place in range(1, window):
        found = max(found, state[at + 2 + place])
    return float(found)


@separate
def ring_minimum(state: Pointer, at: int, window: int) -> float:
    """Smallest value; NaN until the window is full."""
    if state[at] < window:
        return np.nan
    found = state[at + 2]
    for place in range(1, window):
        found = min(found, state[at + 2 + place])
    return float(found)


@separate
def ring_since_maximum(state: Pointer, at: int, window: int) -> float:
    """Bars since the largest value, the newest of equal ones; NaN until the window is full."""
    if state[at] < window:
        return np.nan
    found, since = ring_lag(state, at, window, 0), 0
    for lag in range(1, window):
        value = ring_lag(state, at, window, lag)
        if value > found:
            found, since = value, lag
    return float(since)


@separate
def ring_since_minimum(state: Pointer, at: int, window: int) -> float:
    """Bars since the smallest value, the newest of equal ones; NaN until the window is full."""
    if state[at] < window:
        return np.nan
    found, since = ring_lag(state, at, window, 0), 0
    for lag in range(1, window):
        value = ring_lag(state, at, window, lag)
        if value < found:
            found, since = value, lag
    return float(since)


def returns_size(window: int) -> int:
    """Numbers of state of `returns_push`: the last price, and the window of returns."""
    return 1 + ring_size(window)


@separate
def returns_push(state: Pointer, at: int, window: int, price: float) -> None:
    r"""Add the log return :math:`\ln (P_t / P_{t-1})` to the window, a ring from `at` + 1 on.

    The first price gives none.
    """
    if state[at] > 0.0:
        ring_push(state, at + 1, window, math.log(price / state[at]))
    state[at] = price


@separate
def average_push(state: Pointer, at: int, window: int, weight: float, value: float) -> float:
    r"""Exponential average :math:`E_t = E_{t-1} + w (x_t - E_{t-1})`, and its newest value.

    NaN until `window` values are there, whose mean is the first average. w is 2 / (n + 1) for an
    EMA, and 1 / n for one of Wilder's. A value that is NaN (of a part that is not warm yet) is not
    taken in.
    """
    if math.isnan(value):
        return np.nan
    if state[at] < window:
        state[at] += 1.0
        state[at + 1] += value
        if state[at] < window:
            return np.nan
        state[at + 1] /= window
        return float(state[at + 1])
    state[at + 1] += weight * (value - state[at + 1])
    return float(state[at + 1])


@separate
def ring_comoments(state: Pointer, x: int, y: int, window: int, into: int) -> None:
    r"""Means and population covariances of two windows that are pushed together.

    Writes :math:`\bar x, \bar y, s_{xx}, s_{xy}, s_{yy}` to the state from `into` on; NaN until the
    windows are full. In two passes over differences from the newest value, as `ring_deviation`:
    the covariances of a window of equal values are exactly 0.
    """
    if state[x] < window:
        for place in range(5):
            state[into + place] = np.nan
        return
    newest_x = ring_lag(state, x, window, 0)
    newest_y = ring_lag(state, y, window, 0)
    first = int(state[x + 1])
    mean_x = mean_y = 0.0
    for step in range(window):
        place = 2 + (first + step if first + step < window else first + step - window)
        mean_x += state[x + place] - newest_x
        mean_y += state[y + place] - newest_y
    mean_x /= window
    mean_y /= window
    xx = xy = yy = 0.0
    for step in range(window):
        place = 2 + (first + step if first + step < window else first + step - window)
        above_x = state[x + place] - newest_x - mean_x
        above_y = state[y + place] - newest_y - mean_y
        xx += above_x * above_x
        xy += above_x * above_y
        yy += above_y * above_y
    state[into] = newest_x + mean_x
    state[into + 1] = newest_y + mean_y
    state[into + 2] = xx / window
    state[into + 3] = xy / window
    state[into + 4] = yy / window


@separate
def change_push(state: Pointer, at: int, price: float) -> float:
    r"""Log change since the price pushed before, :math:`\ln (C_t / C_{t-1})`; NaN for the first.

    One number of state: the price.
    """
    previous = state[at]
    state[at] = price
    if previous <= 0.0:
        return np.nan
    return math.log(price / previous)


@separate
def quotient(numerator: float, denominator: float) -> float:
    """The quotient, 0 where the denominator is 0; NaN stays NaN."""
    if denominator == 0.0:
        return 0.0
    return numerator / denominator


@separate
def ring_weighted_mean(state: Pointer, at: int, window: int) -> float:
    """Mean with weights n for the newest value down to 1 for the oldest; NaN until full."""
    if state[at] < window:
        return np.nan
    total, weight = 0.0, 0.0
    first = int(state[at + 1])
    for place in range(first, window):
        weight += 1.0
        total += weight * state[at + 2 + place]
    for place in range(first):
        weight += 1.0
        total += weight * state[at + 2 + place]
    return total / (0.5 * window * (window + 1))


@separate
def ring_path(state: Pointer, at: int, window: int) -> float:
    """Sum of the absolute changes from each value to the next; NaN until the window is full."""
    if state[at] < window:
        return np.nan
    total = 0.0
    last = ring_lag(state, at, window, window - 1)
    for lag in range(window - 2, -1, -1):
        value = ring_lag(state, at, window, lag)
        total += abs(value - last)
        last = value
    return total


@separate
def ring_slope(state: Pointer, at: int, window: int) -> float:
    r"""Slope of the least-squares line per push, :math:`\sum (x - \bar x) y / \sum (x - \bar x)^2`.

    Over differences from the newest value: exactly 0 for a window of equal values. NaN until full.
    """
    if state[at] < window:
        return np.nan
    newest = ring_lag(state, at, window, 0)
    middle = 0.5 * (window - 1)
    total = 0.0
    for lag in range(window - 1, 0, -1):
        total += (middle - lag) * (ring_lag(state, at, window, lag) - newest)
    return total * 12.0 / (window * (float(window) * window - 1.0))


@separate
def share(numerator: float, denominator: float, scale: float) -> float:
    """Quotient; 0 where the denominator is but rounding, at most 1e-12 of the scale."""
    if denominator <= 1e-12 * scale:
        return 0.0
    return numerator / denominator


@separate
def position(value: float, low: float, high: float) -> float:
    """Place in a range of prices: 1 at its top, -1 at its bottom, 0 in a range without width."""
    return share((value - low) - (high - value), high - low, high)

"""Steps of `features.indicators.statistics`; the text of each says inputs; parameters."""

import math

import numpy as np

from features.blocks import (
    change_push,
    returns_push,
    returns_size,
    ring_at,
    ring_count,
    ring_deviation,
    ring_lag,
    ring_maximum,
    ring_mean,
    ring_minimum,
    ring_moment,
    ring_push,
    ring_size,
)
from features.step import Pointer, step
from markets.compiled import separate

__all__ = [
    "QUIET",
    "autocorrelation_step",
    "extreme_return_step",
    "kurtosis_step",
    "linear_fit_step",
    "percentile_rank_step",
    "permutation_entropy_step",
    "price_zscore_step",
    "return_zscore_step",
    "sign_balance_step",
    "skewness_step",
    "variance_ratio_step",
    "volatility_clustering_step",
]

QUIET = 1e-10
"""Log return: a smaller standard deviation is the rounding of prices, and counts as none."""

_PATTERNS = 8


@step(state=returns_size)
def skewness_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    returns_push(state, 0, window, bar[0])
    mean = ring_mean(state, 1, window)
    deviation = math.sqrt(ring_moment(state, 1, window, mean, 2))
    third = ring_moment(state, 1, window, mean, 3)
    out[0] = 0.0 if deviation < QUIET else third / deviation**3


@step(state=returns_size)
def kurtosis_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    returns_push(state, 0, window, bar[0])
    mean = ring_mean(state, 1, window)
    variance = ring_moment(state, 1, window, mean, 2)
    fourth = ring_moment(state, 1, window, mean, 4)
    out[0] = 0.0 if variance < QUIET * QUIET else fourth / (variance * variance) - 3.0


@separate
def lagged_correlation(state: Pointer, at: int, window: int, lag: int) -> float:
    """Autocorrelation of a window; 0 if its deviation is below `QUIET`, NaN until it is full."""
    mean = ring_mean(state, at, window)
    variance = ring_moment(state, at, window, mean, 2)
    if math.isnan(variance):
        return np.nan
    if variance < QUIET * QUIET:
        return 0.0
    products = 0.0
    for rank in range(lag, window):
        above = ring_at(state, at, window, rank) - mean
        products += above * (ring_at(state, at, window, rank - lag) - mean)
    return products / (window * variance)


@step(state=lambda window, **_: returns_size(window))
def autocorrelation_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window, lag."""
    window = int(parameters[0])
    returns_push(state, 0, window, bar[0])
    out[0] = lagged_correlation(state, 1, window, int(parameters[1]))


@step(state=lambda window, **_: 1 + ring_size(window))
def volatility_clustering_step(
    state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer
) -> None:
    """Close; window, lag."""
    window = int(parameters[0])
    change = change_push(state, 0, bar[0])
    if not math.isnan(change):
        ring_push(state, 1, window, abs(change))
    out[0] = lagged_correlation(state, 1, window, int(parameters[1]))


@separate
def newest_score(state: Pointer, at: int, window: int) -> float:
    """Newest value above the mean, in deviations; 0 if the deviation is below `QUIET`."""
    deviation = ring_deviation(state, at, window, 0)
    if deviation < QUIET:
        return 0.0
    newest = ring_lag(state, at, window, 0)
    above = 0.0
    for rank in range(window):
        above += newest - ring_at(state, at, window, rank)
    return above / window / deviation


@step(state=ring_size)
def price_zscore_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    ring_push(state, 0, window, math.log(bar[0]))
    out[0] = newest_score(state, 0, window)


@step(state=returns_size)
def return_zscore_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    returns_push(state, 0, window, bar[0])
    out[0] = newest_score(state, 1, window)


@step(state=lambda window, **_: ring_size(window + 1))
def variance_ratio_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window, horizon. State: the log prices that bound the window's returns."""
    window, horizon = int(parameters[0]), int(parameters[1])
    ring_push(state, 0, window + 1, math.log(bar[0]))
    if ring_count(state, 0) < window + 1:
        out[0] = np.nan
        return
    mean = (ring_at(state, 0, window + 1, window) - ring_at(state, 0, window + 1, 0)) / window
    short = long = 0.0
    for rank in range(1, window + 1):
        newer = ring_at(state, 0, window + 1, rank)
        short += (newer - ring_at(state, 0, window + 1, rank - 1) - mean) ** 2
        if rank >= horizon:
            change = newer - ring_at(state, 0, window + 1, rank - horizon)
            long += (change - horizon * mean) ** 2
    short /= window - 1.0
    long /= horizon * (window - horizon + 1.0) * (1.0 - horizon / window)
    out[0] = 0.0 if short < QUIET * QUIET else long / short - 1.0


@step(state=lambda window: ring_size(window + 1))
def percentile_rank_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    ring_push(state, 0, window + 1, bar[0])
    if ring_count(state, 0) < window + 1:
        out[0] = np.nan
        return
    balance = 0
    for rank in range(window):
        before = ring_at(state, 0, window + 1, rank)
        balance += int(bar[0] > before) - int(bar[0] < before)
    out[0] = balance / window


@step(state=ring_size)
def linear_fit_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    ring_push(state, 0, window, math.log(bar[0]))
    deviation = ring_deviation(state, 0, window, 0)
    newest = ring_lag(state, 0, window, 0)
    product, spread = 0.0, 0.0
    for rank in range(window):
        place = rank - 0.5 * (window - 1.0)
        product += place * (ring_at(state, 0, window, rank) - newest)
        spread += place * place
    if deviation < QUIET:
        out[0] = 0.0
    else:
        out[0] = product * abs(product) / (spread * window * deviation * deviation)


@step(state=lambda window: 1 + ring_size(window))
def sign_balance_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    if state[0] > 0.0:
        ring_push(state, 1, window, float(int(bar[0] > state[0]) - int(bar[0] < state[0])))
    state[0] = bar[0]
    out[0] = ring_mean(state, 1, window)


@step(state=lambda window: ring_size(window) + _PATTERNS)
def permutation_entropy_step(
    state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer
) -> None:
    """Close; window. State: closes, and the counts of the patterns."""
    window = int(parameters[0])
    counts = window + 2
    ring_push(state, 0, window, bar[0])
    if ring_count(state, 0) < window:
        out[0] = np.nan
        return
    for pattern in range(_PATTERNS):
        state[counts + pattern] = 0.0
    one, two = ring_at(state, 0, window, 0), ring_at(state, 0, window, 1)
    for rank in range(2, window):
        three = ring_at(state, 0, window, rank)
        state[counts + 4 * int(one <= two) + 2 * int(two <= three) + int(one <= three)] += 1.0
        one, two = two, three
    entropy = 0.0
    for pattern in range(_PATTERNS):
        if state[counts + pattern] > 0.0:
            share = state[counts + pattern] / (window - 2.0)
            entropy -= share * math.log(share)
    out[0] = entropy / math.log(6.0)


@step(state=returns_size)
def extreme_return_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Close; window."""
    window = int(parameters[0])
    returns_push(state, 0, window, bar[0])
    out[0] = ring_maximum(state, 1, window)
    out[1] = ring_minimum(state, 1, window)

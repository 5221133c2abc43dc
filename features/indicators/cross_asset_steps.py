r"""Steps of the cross-asset family: the newest value from a carried state and the new bar.

A regression on a market that did not move is 0: nothing is said about it. The market of one asset
is the asset but for the rounding of its level: the values are then exactly those of the market
itself, and no scaling makes a signal of the rest.

| state of the steps that read two returns | place |
|---|---|
| the asset's last close, and the market's last level | 0, 1 |
| window of the asset's returns | 2 |
| window of the market's returns | 2 + `ring_size(n)` |
| the two means and three covariances | 2 + 2 `ring_size(n)` |
"""

import math

from features.blocks import (
    COMOMENTS_SIZE,
    change_push,
    quotient,
    ring_at,
    ring_comoments,
    ring_count,
    ring_lag,
    ring_maximum,
    ring_mean,
    ring_push,
    ring_size,
)
from features.step import Pointer, step
from markets.compiled import separate

__all__ = [
    "average_correlation_step",
    "beta_downside_step",
    "beta_step",
    "breadth_step",
    "dispersion_step",
    "idiosyncratic_volatility_step",
    "lead_lag_step",
    "market_correlation_step",
    "market_drawdown_step",
    "market_return_step",
    "market_volatility_step",
    "relative_return_step",
]

# Numbers of state of a window besides its values.
_HEAD = ring_size(0)
# Variance of log returns that is but the rounding of a level, which moves it by 1e-16.
_ROUNDING = 1e-28
# A quotient of covariances so near to 1, and a log return so near to 0, are there but for rounding.
_ONE = 1e-10
_ZERO = 1e-12


def pair_size(window: int) -> int:
    """Numbers of state of a step that reads two returns."""
    return 2 + 2 * ring_size(window) + COMOMENTS_SIZE


@separate
def pair_push(state: Pointer, window: int, close: float, market: float) -> int:
    """Take in the returns of the asset and the market; where the covariances lie."""
    change = change_push(state, 0, close)
    move = change_push(state, 1, market)
    moves = 2 + window + _HEAD
    moments = moves + window + _HEAD
    if not math.isnan(change):
        ring_push(state, 2, window, change)
        ring_push(state, moves, window, move)
    ring_comoments(state, 2, moves, window, moments)
    return moments


@separate
def moved(variance: float) -> float:
    """The variance; 0 where it is but rounding."""
    return 0.0 if variance <= _ROUNDING else variance


@separate
def unrounded(value: float, exact: float, rounding: float) -> float:
    """The value; the exact one where only rounding lies between; NaN stays NaN."""
    return exact if abs(value - exact) <= rounding else value


@separate
def correlation(state: Pointer, moments: int) -> float:
    """Correlation of the covariances from `moments` on; 0 where one of the two is constant."""
    deviations = math.sqrt(moved(state[moments + 2])) * math.sqrt(moved(state[moments + 4]))
    found = unrounded(quotient(state[moments + 3], deviations), 1.0, _ONE)
    return min(max(unrounded(found, -1.0, _ONE), -1.0), 1.0)


@step(state=pair_size)
def beta_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.cross_asset.beta`."""
    moments = pair_push(state, int(parameters[0]), bar[0], bar[1])
    out[0] = unrounded(quotient(state[moments + 3], moved(state[moments + 4])), 1.0, _ONE)


@step(state=pair_size)
def market_correlation_step(
    state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer
) -> None:
    """Step of `features.indicators.cross_asset.market_correlation`."""
    out[0] = correlation(state, pair_push(state, int(parameters[0]), bar[0], bar[1]))


@step(state=pair_size)
def idiosyncratic_volatility_step(
    state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer
) -> None:
    """Step of `features.indicators.cross_asset.idiosyncratic_volatility`."""
    window = int(parameters[0])
    moments = pair_push(state, window, bar[0], bar[1])
    slope = quotient(state[moments + 3], moved(state[moments + 4]))
    moves = 2 + window + _HEAD
    newest = ring_lag(state, 2, window, 0) - slope * ring_lag(state, moves, window, 0)
    # About the newest residual: exactly 0 where all are equal.
    mean = squares = 0.0
    for lag in range(window - 1, -1, -1):
        residual = ring_lag(state, 2, window, lag) - slope * ring_lag(state, moves, window, lag)
        mean += residual - newest
        squares += (residual - newest) ** 2
    mean /= window
    out[0] = unrounded(math.sqrt(max(squares / window - mean * mean, 0.0)), 0.0, _ZERO)


@step(state=pair_size)
def beta_downside_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.cross_asset.beta_downside`."""
    window = int(parameters[0])
    moments = pair_push(state, window, bar[0], bar[1])
    moves = 2 + window + _HEAD
    middle = state[moments + 1]
    # Times 0 or 1 in place of a branch, which no processor can guess.
    count = mean_x = mean_y = 0.0
    for rank in range(window):
        move = ring_at(state, moves, window, rank)
        below = 1.0 if move < middle else 0.0
        count += below
        mean_x += below * ring_at(state, 2, window, rank)
        mean_y += below * move
    mean_x = quotient(mean_x, count)
    mean_y = quotient(mean_y, count)
    xy = yy = 0.0
    for rank in range(window):
        move = ring_at(state, moves, window, rank)
        above = (move - mean_y) * (1.0 if move < middle else 0.0)
        xy += (ring_at(state, 2, window, rank) - mean_x) * above
        yy += above * above
    full = ring_count(state, 2) == window
    slope = unrounded(quotient(xy, moved(yy)), 1.0, _ONE) if count > 2.0 else 0.0
    out[0] = slope if full else math.nan


@step(state=lambda window: 1 + pair_size(window))
def lead_lag_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.cross_asset.lead_lag`."""
    window = int(parameters[0])
    moves = 2 + window + _HEAD
    moments = moves + window + _HEAD
    last = moments + COMOMENTS_SIZE
    first = state[0] == 0.0
    change = change_push(state, 0, bar[0])
    before = math.nan if first else state[last]
    state[last] = change_push(state, 1, bar[1])
    if not math.isnan(before):
        ring_push(state, 2, window, change)
        ring_push(state, moves, window, before)
    ring_comoments(state, 2, moves, window, moments)
    out[0] = correlation(state, moments)


@step(state=lambda horizon: 2 * ring_size(horizon + 1))
def relative_return_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `relative_strength` and `sector_relative` in `features.indicators.cross_asset`."""
    horizon = int(parameters[0])
    levels = horizon + 1 + _HEAD
    ring_push(state, 0, horizon + 1, bar[0])
    ring_push(state, levels, horizon + 1, bar[1])
    own = math.log(bar[0] / ring_lag(state, 0, horizon + 1, horizon))
    others = math.log(bar[1] / ring_lag(state, levels, horizon + 1, horizon))
    out[0] = unrounded(own - others, 0.0, _ZERO)


@step(state=lambda horizon: ring_size(horizon + 1))
def market_return_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.cross_asset.market_return`."""
    horizon = int(parameters[0])
    ring_push(state, 0, horizon + 1, bar[0])
    out[0] = math.log(bar[0] / ring_lag(state, 0, horizon + 1, horizon))


@step(state=lambda window: 1 + ring_size(window))
def market_volatility_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.cross_asset.market_volatility`."""
    window = int(parameters[0])
    move = change_push(state, 0, bar[0])
    if not math.isnan(move):
        ring_push(state, 1, window, move * move)
    out[0] = math.sqrt(ring_mean(state, 1, window))


@step(state=ring_size)
def market_drawdown_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.cross_asset.market_drawdown`."""
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    out[0] = bar[0] / ring_maximum(state, 0, window) - 1.0


# The first bar of the common axis has no return: neither dispersion nor breadth.
@separate
def after_first_push(state: Pointer, at: int, window: int, value: float) -> None:
    """Add a value to the window after a count of bars, from the second bar on."""
    if state[at] > 0.0:
        ring_push(state, at + 1, window, value)
    state[at] = 1.0


@step(state=lambda window: 1 + ring_size(window))
def dispersion_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.cross_asset.dispersion`."""
    window = int(parameters[0])
    after_first_push(state, 0, window, bar[0])
    out[0] = ring_mean(state, 1, window)


@step(state=lambda window: 1 + ring_size(window))
def breadth_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    """Step of `features.indicators.cross_asset.breadth`."""
    window = int(parameters[0])
    after_first_push(state, 0, window, 2.0 * bar[0] - 1.0)
    out[0] = ring_mean(state, 1, window)


@step(state=lambda window: 1 + 2 * ring_size(window))
def average_correlation_step(
    state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer
) -> None:
    """Step of `features.indicators.cross_asset.average_correlation`."""
    window = int(parameters[0])
    spreads = 1 + window + _HEAD
    move = change_push(state, 0, bar[0])
    if not math.isnan(move):
        ring_push(state, 1, window, move * move)
        ring_push(state, spreads, window, bar[1] * bar[1])
    common = ring_mean(state, 1, window)
    out[0] = quotient(common, common + ring_mean(state, spreads, window))

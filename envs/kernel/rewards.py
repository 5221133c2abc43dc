"""Rewards as pure functions of the equity before (E0) and after (E1) a step.

Every simple return is R = E1 / E0 - 1. Growth factors are floored at `LEAST_GROWTH`, so that a
ruined account (E1 <= 0) has a finite reward.
"""

import math

from envs.kernel.jit import exact

LEAST_GROWTH = 1e-6
"""Floor of E1 / E0 inside logarithms: the least log return is -13.8."""
LEAST_VARIANCE = 1e-18
"""Below this moving variance the differential Sharpe ratio is 0: it is not yet defined."""


@exact
def log_return(before: float, after: float) -> float:
    """Return r = log(max(E1 / E0, 1e-6)), dimensionless."""
    return math.log(max(after / before, LEAST_GROWTH))


@exact
def differential_sharpe(
    before: float, after: float, mean: float, square: float, eta: float
) -> tuple[float, float, float]:
    """Return the differential Sharpe ratio and the two moving moments after it.

    D = (B dA - A dB / 2) / (B - A^2)^(3/2) with dA = R - A, dB = R^2 - B; then A += eta dA,
    B += eta dB. D = 0 while B - A^2 <= 1e-18.

    Source: Moody & Saffell (2001), "Learning to trade via direct reinforcement", eq. 9-11.

    Args:
        before: Equity before the step, currency, > 0.
        after: Equity after the step, currency.
        mean: Moving first moment A of the returns.
        square: Moving second moment B of the returns.
        eta: Adaptation rate in (0, 1), per bar.
    """
    simple = after / before - 1.0
    mean_change = simple - mean
    square_change = simple * simple - square
    variance = square - mean * mean
    ratio = 0.0
    if variance > LEAST_VARIANCE:
        ratio = (square * mean_change - 0.5 * mean * square_change) / (
            variance * math.sqrt(variance)
        )
    return ratio, mean + eta * mean_change, square + eta * square_change


@exact
def mean_variance(before: float, after: float, risk_aversion: float) -> float:
    """Return R - risk_aversion / 2 * R^2.

    Source: Ritter (2017), "Machine learning for trading", the reward below eq. 11.
    """
    simple = after / before - 1.0
    return simple - 0.5 * risk_aversion * simple * simple


@exact
def drawdown_penalised(before: float, after: float, peak: float, penalty: float) -> float:
    """Return log(E1 / E0) - penalty * max(0, d1 - d0), d = 1 - E / peak, before and after.

    Args:
        before: Equity before the step, currency, > 0.
        after: Equity after the step, currency.
        peak: Largest equity of the episode before the step, currency.
        penalty: Weight of the increase of the drawdown.
    """
    growth = math.log(max(after / before, LEAST_GROWTH))
    drawdown_before = 1.0 - before / peak
    drawdown_after = 1.0 - after / max(peak, after)
    return growth - penalty * max(drawdown_after - drawdown_before, 0.0)

"""Rewards as pure functions of the equity before (E0) and after (E1) a step.

Every simple return is R = E1 / E0 - 1.
"""

import math

from envs.kernel.arithmetic import larger, root
from envs.kernel.jit import exact

LEAST_GROWTH = 1e-6
"""Floor of E1 / E0 inside the logarithm: a ruined account has a log return of -13.8."""
LEAST_VARIANCE = 1e-18
"""Below this moving variance the differential Sharpe ratio is 0: it is not yet defined."""
NEAR_LOW = 0.7072
"""Growth from which `near_log` holds (sqrt(1/2) of fdlibm, rounded inwards)."""
NEAR_HIGH = 1.4142
"""Growth up to which `near_log` holds (sqrt(2), rounded inwards)."""


@exact
def near_log(growth: float) -> float:
    """Return log(x) for x in [0.7072, 1.4142], to one unit in the last place, without a call.

    With f = x - 1, s = f / (2 + f), z = s^2: log(1 + f) = f - (f^2/2 - s (f^2/2 + R(z))), R a
    minimax polynomial: fdlibm's e_log.c (Sun Microsystems, 1993). Straight-line code, which the
    compiler turns into vector instructions; calls of the C library took a third of a step.
    """
    f = growth - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (
        3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01)
    )
    odd = z * (
        6.666666666666735130e-01
        + w
        * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    half_square = 0.5 * f * f
    return f - (half_square - s * (half_square + (even + odd)))


@exact
def log_return(before: float, after: float) -> float:
    """Return r = log(max(E1 / E0, 1e-6)), dimensionless."""
    growth = after / before
    if NEAR_LOW <= growth <= NEAR_HIGH:
        return near_log(growth)
    return math.log(larger(growth, LEAST_GROWTH))


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
    defined = variance > LEAST_VARIANCE
    divisor = variance * root(variance) if defined else 1.0
    ratio = (square * mean_change - 0.5 * mean * square_change) / divisor
    return ratio if defined else 0.0, mean + eta * mean_change, square + eta * square_change


@exact
def mean_variance(before: float, after: float, risk_aversion: float) -> float:
    """Return R - risk_aversion / 2 * R^2.

    Source: Ritter (2017), "Machine learning for trading", the approximate reward of section 4.
    """
    simple = after / before - 1.0
    return simple - 0.5 * risk_aversion * simple * simple


@exact
def drawdown_penalty(before: float, after: float, peak: float, penalty: float) -> float:
    """Return penalty * max(0, d1 - d0) with drawdowns d = 1 - E / peak before and after.

    The drawdown-penalised reward is the log return less this penalty.

    Args:
        before: Equity before the step, currency.
        after: Equity after the step, currency.
        peak: Largest equity of the episode before the step, currency.
        penalty: Weight of the increase of the drawdown.
    """
    drawdown_before = 1.0 - before / peak
    drawdown_after = 1.0 - after / larger(peak, after)
    return penalty * larger(drawdown_after - drawdown_before, 0.0)

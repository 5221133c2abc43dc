r"""Risk measures as pure functions of equity, returns and weights.

Conventions, the same in reward, evaluation and the live guard:

- A loss is positive: a drawdown of 0.2 is 20% below the peak, a value at risk of 0.03 a loss of 3%.
- Returns are simple, per period, as fractions; annualised figures take ``periods_per_year``.
- Weights are market values divided by equity; shorts are negative; no cash column unless named.

Dimensions: T periods, N accounts (any number of leading axes, also none), A assets.
"""

import math

import numpy as np
from jaxtyping import Float

__all__ = [
    "concentration",
    "downside_deviation",
    "drawdown_duration",
    "drawdowns",
    "expected_shortfall",
    "gross_exposure",
    "leverage",
    "max_drawdown",
    "net_exposure",
    "turnover",
    "value_at_risk",
    "volatility",
]


def drawdowns(equity_T: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T"]:
    r"""Loss from the running peak, as a fraction of the peak.

    .. math:: DD_t = 1 - E_t / \max_{s \le t} E_s

    Source: Magdon-Ismail and Atiya (2004), "Maximum Drawdown", Risk 17(10), in relative form.

    Args:
        equity_T: account value in currency; the first is positive, later ones need not be (ruin).

    Returns:
        Drawdowns in [0, 1], above 1 only where equity is negative.

    Raises:
        ValueError: no period, a value that is not finite, or a first value that is not positive.
    """
    _require_series("equity_T", equity_T, periods=1)
    if equity_T[0] <= 0:
        raise ValueError(f"equity_T[0]: expected a positive value, found {equity_T[0]}")
    return np.asarray(1.0 - equity_T / np.maximum.accumulate(equity_T))


def max_drawdown(equity_T: Float[np.ndarray, "T"]) -> float:
    r"""Largest loss from a peak to a later trough, :math:`\max_t DD_t` (see `drawdowns`).

    Args:
        equity_T: account value in currency.

    Returns:
        Maximum drawdown as a fraction of the peak, 0 exactly if equity never falls.

    Raises:
        ValueError: as in `drawdowns`.
    """
    return float(np.max(drawdowns(equity_T)))


def drawdown_duration(equity_T: Float[np.ndarray, "T"]) -> int:
    r"""Longest time under water: most consecutive periods strictly below the running peak.

    .. math:: \max \{ j - i : DD_t > 0 \;\text{for}\; i \le t < j \}

    A time under water that has not ended counts as far as it goes. Source: Bailey and Lopez de
    Prado (2015), "Stop-Outs under Serial Correlation and the Triple Penance Rule", Journal of
    Risk 18(2), "time under water".

    Args:
        equity_T: account value in currency.

    Returns:
        Number of periods (bars), 0 exactly if equity never falls.

    Raises:
        ValueError: as in `drawdowns`.
    """
    under_water_T = drawdowns(equity_T) > 0.0
    index_T = np.arange(1, len(under_water_T) + 1)
    last_peak_T = np.maximum.accumulate(np.where(under_water_T, 0, index_T))
    return int(np.max(index_T - last_peak_T))


def value_at_risk(returns_T: Float[np.ndarray, "T"], level: float = 0.95) -> float:
    r"""Historical value at risk: the loss that is not exceeded with probability ``level``.

    .. math:: \mathrm{VaR}_\alpha = -q(1 - \alpha), \quad q(u) = \inf \{ x : \hat F(x) \ge u \}

    with the empirical distribution :math:`\hat F` of the returns: an observed return, without
    interpolation. Source: McNeil, Frey and Embrechts (2015), Quantitative Risk Management,
    section 2.3.2, written for returns instead of losses.

    Args:
        returns_T: simple returns per period.
        level: confidence in (0, 1).

    Returns:
        Loss per period as a fraction; negative if even this quantile is a gain.

    Raises:
        ValueError: no period, a value that is not finite, or a level outside (0, 1).
    """
    _require_series("returns_T", returns_T, periods=1)
    tail = _tail_count(len(returns_T), level)
    worst = math.ceil(tail) - 1
    return -float(np.partition(returns_T, worst)[worst])


def expected_shortfall(returns_T: Float[np.ndarray, "T"], level: float = 0.95) -> float:
    r"""Historical expected shortfall: the mean loss in the worst ``1 - level`` of the periods.

    .. math:: \mathrm{ES}_\alpha = -\frac{1}{1-\alpha} \int_0^{1-\alpha} q(u)\,du
              = -\frac{1}{k} \Big( \sum_{i \le \lfloor k \rfloor} r_{(i)}
                + (k - \lfloor k \rfloor)\, r_{(\lfloor k \rfloor + 1)} \Big),
              \quad k = (1-\alpha) T

    The fraction of the next return keeps the estimate coherent for every T: it is never below
    `value_at_risk`. Source: Acerbi and Tasche (2002), "On the coherence of expected shortfall",
    Journal of Banking and Finance 26(7), proposition 3.2.

    Args:
        returns_T: simple returns per period.
        level: confidence in (0, 1).

    Returns:
        Mean tail loss per period as a fraction.

    Raises:
        ValueError: as in `value_at_risk`.
    """
    _require_series("returns_T", returns_T, periods=1)
    tail = _tail_count(len(returns_T), level)
    whole = math.ceil(tail) - 1
    worst = np.sort(np.partition(returns_T, whole)[: whole + 1])
    return -float((np.sum(worst[:whole]) + (tail - whole) * worst[whole]) / tail)


def volatility(returns_T: Float[np.ndarray, "T"], periods_per_year: float) -> float:
    r"""Annualised sample standard deviation of returns.

    .. math:: \sigma = \sqrt{P} \, \sqrt{\tfrac{1}{T-1} \sum_t (r_t - \bar r)^2}

    Args:
        returns_T: returns per period.
        periods_per_year: P, for example 252 for daily bars; 1 gives the figure per period.

    Returns:
        Volatility per square root of a year.

    Raises:
        ValueError: fewer than two periods, a value that is not finite, or P not positive.
    """
    _require_series("returns_T", returns_T, periods=2)
    _require_positive("periods_per_year", periods_per_year)
    return math.sqrt(periods_per_year) * float(np.std(returns_T, ddof=1))


def downside_deviation(
    returns_T: Float[np.ndarray, "T"], target: float, periods_per_year: float
) -> float:
    r"""Annualised root mean square of the shortfalls below a target (Sortino's denominator).

    .. math:: \delta = \sqrt{P} \, \sqrt{\tfrac{1}{T} \sum_t \min(r_t - \tau, 0)^2}

    All T periods are counted, not only those below the target. Source: Sortino and Price (1994),
    "Performance Measurement in a Downside Risk Framework", Journal of Investing 3(3).

    Args:
        returns_T: returns per period.
        target: minimal acceptable return per period, as a fraction.
        periods_per_year: P; 1 gives the figure per period.

    Returns:
        Downside deviation per square root of a year, 0 exactly if no return is below the target.

    Raises:
        ValueError: no period, a value that is not finite, or P not positive.
    """
    _require_series("returns_T", returns_T, periods=1)
    _require_positive("periods_per_year", periods_per_year)
    shortfall_T = np.minimum(returns_T - target, 0.0)
    return math.sqrt(periods_per_year) * math.sqrt(float(np.mean(np.square(shortfall_T))))


def gross_exposure(weights_NA: Float[np.ndarray, "*N A"]) -> Float[np.ndarray, "*N"]:
    r"""Gross exposure :math:`\sum_a |x_a|`: longs plus shorts, in multiples of equity."""
    return np.asarray(np.sum(np.abs(weights_NA), axis=-1))


def net_exposure(weights_NA: Float[np.ndarray, "*N A"]) -> Float[np.ndarray, "*N"]:
    r"""Net exposure :math:`\sum_a x_a`: longs minus shorts, in multiples of equity."""
    return np.asarray(np.sum(weights_NA, axis=-1))


def leverage(
    values_NA: Float[np.ndarray, "*N A"], equity_N: Float[np.ndarray, "*N"]
) -> Float[np.ndarray, "*N"]:
    r"""Gross leverage :math:`\sum_a |v_a| / E` from market values and equity, both in currency.

    Returns:
        Leverage; infinite where there are positions but no positive equity, 0 without positions.
    """
    gross_N = gross_exposure(values_NA)
    solvent_N = equity_N > 0.0
    ratio_N = gross_N / np.where(solvent_N, equity_N, 1.0)
    return np.asarray(np.where(solvent_N | (gross_N == 0.0), ratio_N, np.inf))


def concentration(weights_NA: Float[np.ndarray, "*N A"]) -> Float[np.ndarray, "*N"]:
    r"""Herfindahl-Hirschman index of the shares in gross exposure.

    .. math:: H = \sum_a \Big( |x_a| / \sum_b |x_b| \Big)^2

    Its inverse is the effective number of positions. Source: Rhoades (1993), "The
    Herfindahl-Hirschman Index", Federal Reserve Bulletin 79.

    Args:
        weights_NA: weights or market values, without a cash column; the scale does not matter.

    Returns:
        Concentration in [1/A, 1], 0 for an account without positions.
    """
    largest_N1 = np.max(np.abs(weights_NA), axis=-1, initial=0.0, keepdims=True)
    # Dividing by the largest first keeps the squares of tiny and of huge values in range.
    size_NA = np.abs(weights_NA) / np.where(largest_N1 > 0.0, largest_N1, 1.0)
    gross_N = np.sum(size_NA, axis=-1)
    squares_N = np.sum(np.square(size_NA), axis=-1)
    return np.asarray(squares_N / np.square(np.where(gross_N > 0.0, gross_N, 1.0)))


def turnover(
    before_NA: Float[np.ndarray, "*N A"], after_NA: Float[np.ndarray, "*N A"]
) -> Float[np.ndarray, "*N"]:
    r"""One-way turnover :math:`\tfrac12 \lVert x' - x \rVert_1`, in multiples of equity.

    With cash as one of the columns it is the share of equity that changes hands, in [0, 1] on the
    simplex. Without cash, a purchase paid from cash counts one half.

    Args:
        before_NA: weights just before the trade (drifted with prices, not the previous targets).
        after_NA: weights just after the trade.

    Returns:
        Turnover, 0 exactly without trade.
    """
    return np.asarray(0.5 * np.sum(np.abs(after_NA - before_NA), axis=-1))


def _tail_count(periods: int, level: float) -> float:
    """Number of periods in the tail, (1 - level) T, without the rounding error of 1 - level."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: expected a confidence in (0, 1), found {level}")
    return max(round((1.0 - level) * periods, 12), 1e-12)


def _require_series(name: str, values_T: Float[np.ndarray, "T"], periods: int) -> None:
    if len(values_T) < periods:
        raise ValueError(f"{name}: expected at least {periods} periods, found {len(values_T)}")
    finite_T = np.isfinite(values_T)
    if not finite_T.all():
        first = int(np.argmin(finite_T))
        raise ValueError(f"{name}[{first}]: expected a finite value, found {values_T[first]}")


def _require_positive(name: str, value: float) -> None:
    if not value > 0.0:
        raise ValueError(f"{name}: expected a positive number, found {value}")

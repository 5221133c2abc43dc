r"""Performance metrics as pure functions of returns, weights and costs.

Conventions:

- Returns are simple, per bar, as fractions: :math:`r_t = E_t / E_{t-1} - 1`. Time is the last axis;
  leading axes (seeds, bootstrap resamples) are kept, so one call scores a whole bootstrap.
- ``periods_per_year`` P turns a figure per bar into one per year.
- A loss measured by `risk.measures` is positive: a drawdown of 0.2 is 20% below the peak.

What cannot be computed is said on purpose, never by accident:

- too few bars for the formula (volatility of one bar, skew of two): ``nan``;
- a ratio whose denominator is zero: 0 if its numerator is zero too, else ``inf`` with its sign;
- ruin (equity at or below zero): total return is what it is (-1 or less), CAGR is -1, every later
  return is 0, and log growth counts the ruinous bar as the loss of all but `RUIN_FLOOR`.

Dimensions: T bars, N any number of leading axes (also none), A assets.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from risk import measures

__all__ = [
    "RUIN_FLOOR",
    "annualised_log_growth",
    "annualised_volatility",
    "cagr",
    "calmar",
    "cost_drag_bps",
    "cost_rate_bps",
    "equity_curve",
    "exposure",
    "hit_rate",
    "log_returns",
    "max_drawdown",
    "max_drawdown_length",
    "rowwise",
    "sharpe",
    "simple_returns",
    "skewness",
    "sortino",
    "tail_ratio",
    "total_return",
    "traded_fraction",
]

RUIN_FLOOR = 1e-9
"""Fraction of equity that a ruinous bar is taken to leave, so that log growth stays finite."""

_Figures = NDArray[np.float64] | np.float64
"""Figures with any leading axes; numpy turns those without axes into scalars."""

_CONSTANT = 1e-12
"""A standard deviation below this fraction of the largest return is rounding, hence zero."""


def simple_returns(equity_NT: Float[np.ndarray, "*N E"]) -> Float[np.ndarray, "*N T"]:
    r"""Simple returns :math:`r_t = E_t / E_{t-1} - 1` of E = T + 1 account values.

    Args:
        equity_NT: account value in currency, the start included.

    Returns:
        One return less than values; 0 for every bar that starts without positive equity.

    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    if equity_NT.shape[-1] < 2 or not np.isfinite(equity_NT).all():
        raise ValueError(
            "equity: expected at least two finite values along the last axis, found shape "
            f"{equity_NT.shape} with {int(np.sum(~np.isfinite(equity_NT)))} not finite"
        )
    before_NT, after_NT = equity_NT[..., :-1], equity_NT[..., 1:]
    solvent_NT = before_NT > 0.0
    return np.asarray(
        np.where(solvent_NT, after_NT / np.where(solvent_NT, before_NT, 1.0) - 1.0, 0.0)
    )


def equity_curve(returns_NT: Float[np.ndarray, "*N T"]) -> Float[np.ndarray, "*N E"]:
    r"""Growth of one unit, :math:`E_0 = 1, E_t = \prod_{s \le t} (1 + r_s)`; T + 1 values."""
    start_N1 = np.ones((*returns_NT.shape[:-1], 1))
    return np.concatenate([start_N1, np.cumprod(1.0 + returns_NT, axis=-1)], axis=-1)


def log_returns(returns_NT: Float[np.ndarray, "*N T"]) -> Float[np.ndarray, "*N T"]:
    r"""Log returns :math:`\ln \max(1 + r_t, \epsilon)` with :math:`\epsilon` = `RUIN_FLOOR`."""
    return np.asarray(np.log(np.maximum(1.0 + returns_NT, RUIN_FLOOR)))


def total_return(returns_NT: Float[np.ndarray, "*N T"]) -> Float[np.ndarray, "*N"]:
    r"""Total return :math:`\prod_t (1 + r_t) - 1` as a fraction of the start."""
    return np.asarray(np.prod(1.0 + returns_NT, axis=-1) - 1.0)


def cagr(returns_NT: Float[np.ndarray, "*N T"], periods_per_year: float) -> Float[np.ndarray, "*N"]:
    r"""Compound annual growth rate :math:`(1 + R)^{P/T} - 1` with total return R; -1 after ruin.

    Source: GIPS standards (2020), annualised geometric return.
    """
    final_N = np.maximum(1.0 + total_return(returns_NT), 0.0)
    return np.asarray(final_N ** (periods_per_year / returns_NT.shape[-1]) - 1.0)


def annualised_log_growth(
    returns_NT: Float[np.ndarray, "*N T"], periods_per_year: float
) -> Float[np.ndarray, "*N"]:
    r"""Mean log growth :math:`g = \frac{P}{T} \sum_t \ln(1 + r_t)` per year.

    The growth-optimal criterion, and the sum of the log-return reward. Source: Kelly (1956), "A New
    Interpretation of Information Rate", Bell System Technical Journal 35(4).
    """
    return np.asarray(periods_per_year * np.mean(log_returns(returns_NT), axis=-1))


def annualised_volatility(
    returns_NT: Float[np.ndarray, "*N T"], periods_per_year: float
) -> Float[np.ndarray, "*N"]:
    r"""Annualised sample standard deviation, as `risk.measures.volatility`; nan for T = 1."""
    return np.asarray(np.sqrt(periods_per_year) * _deviation(returns_NT))


def sharpe(
    returns_NT: Float[np.ndarray, "*N T"], periods_per_year: float, risk_free: float = 0.0
) -> Float[np.ndarray, "*N"]:
    r"""Sharpe ratio :math:`\sqrt{P} \, \overline{(r - r_f/P)} / s(r)`.

    Source: Sharpe (1994), "The Sharpe Ratio", Journal of Portfolio Management 21(1).

    Args:
        returns_NT: simple returns per bar.
        periods_per_year: P.
        risk_free: riskless rate per year, as a fraction.
    """
    excess_N = np.mean(returns_NT, axis=-1) - risk_free / periods_per_year
    return np.asarray(np.sqrt(periods_per_year) * _ratio(excess_N, _deviation(returns_NT)))


def sortino(
    returns_NT: Float[np.ndarray, "*N T"], periods_per_year: float, target: float = 0.0
) -> Float[np.ndarray, "*N"]:
    r"""Sortino ratio: mean excess over its downside deviation, annualised.

    .. math:: \sqrt{P} \, \overline{(r - \tau)} \Big/ \sqrt{\overline{\min(r - \tau, 0)^2}}

    Source: Sortino and Price (1994), "Performance Measurement in a Downside Risk Framework",
    Journal of Investing 3(3). All T bars count in the denominator.

    Args:
        returns_NT: simple returns per bar.
        periods_per_year: P.
        target: minimal acceptable return per bar, as a fraction.
    """
    excess_NT = returns_NT - target
    downside_N = np.sqrt(np.mean(np.square(np.minimum(excess_NT, 0.0)), axis=-1))
    return np.asarray(np.sqrt(periods_per_year) * _ratio(np.mean(excess_NT, axis=-1), downside_N))


def max_drawdown(returns_NT: Float[np.ndarray, "*N T"]) -> Float[np.ndarray, "*N"]:
    r"""Largest loss from a peak, by `risk.measures.max_drawdown`, the start counted as a peak."""
    return rowwise(measures.max_drawdown)(equity_curve(returns_NT))


def max_drawdown_length(returns_NT: Float[np.ndarray, "*N T"]) -> Float[np.ndarray, "*N"]:
    r"""Longest time under water in bars, by `risk.measures.drawdown_duration`."""
    return rowwise(measures.drawdown_duration)(equity_curve(returns_NT))


def calmar(
    returns_NT: Float[np.ndarray, "*N T"], periods_per_year: float
) -> Float[np.ndarray, "*N"]:
    r"""Calmar ratio :math:`\mathrm{CAGR} / \mathrm{MDD}` over the whole span.

    Source: Young (1991), "Calmar Ratio: A Smoother Tool", Futures 20(1); there over three years.
    """
    return _ratio(cagr(returns_NT, periods_per_year), max_drawdown(returns_NT))


def hit_rate(returns_NT: Float[np.ndarray, "*N T"]) -> Float[np.ndarray, "*N"]:
    r"""Share of winning bars among those that moved, :math:`\#\{r_t > 0\} / \#\{r_t \ne 0\}`.

    Returns:
        A fraction in [0, 1]; nan for an account that never moved.
    """
    moved_N = np.sum(returns_NT != 0.0, axis=-1)
    won_N = np.sum(returns_NT > 0.0, axis=-1)
    return np.asarray(np.where(moved_N > 0, won_N / np.maximum(moved_N, 1), np.nan))


def skewness(returns_NT: Float[np.ndarray, "*N T"]) -> Float[np.ndarray, "*N"]:
    r"""Adjusted Fisher-Pearson skewness :math:`\frac{\sqrt{T(T-1)}}{T-2} \, m_3 / m_2^{3/2}`.

    Source: Joanes and Gill (1998), "Comparing measures of sample skewness and kurtosis", The
    Statistician 47(1), :math:`G_1`.

    Returns:
        Skewness; 0 for constant returns, nan for T < 3.
    """
    periods = returns_NT.shape[-1]
    if periods < 3:
        return np.full(returns_NT.shape[:-1], np.nan)
    deviation_N = _deviation(returns_NT)
    scale_N1 = np.where(deviation_N == 0.0, 1.0, deviation_N)[..., None]
    # Dividing first keeps the cubes of tiny returns in range.
    scores_NT = (returns_NT - np.mean(returns_NT, axis=-1, keepdims=True)) / scale_N1
    second_N = np.where(deviation_N == 0.0, 1.0, np.mean(scores_NT**2, axis=-1))
    third_N = np.where(deviation_N == 0.0, 0.0, np.mean(scores_NT**3, axis=-1))
    return np.asarray(np.sqrt(periods * (periods - 1)) / (periods - 2) * third_N / second_N**1.5)


def tail_ratio(returns_NT: Float[np.ndarray, "*N T"]) -> Float[np.ndarray, "*N"]:
    r"""Right tail over left tail, :math:`|q_{0.95}(r)| / |q_{0.05}(r)|`, interpolated quantiles.

    Source: the definition of Quantopian's empyrical, against which it is tested.
    """
    left_N, right_N = np.quantile(returns_NT, (0.05, 0.95), axis=-1)
    return _ratio(np.abs(right_N), np.abs(left_N))


def traded_fraction(
    traded_NTA: Float[np.ndarray, "*N T A"], equity_NT: Float[np.ndarray, "*N T"]
) -> Float[np.ndarray, "*N T"]:
    r"""One-way turnover of each bar, :math:`\tfrac12 \lVert \Delta x \rVert_1` with cash included.

    .. math:: \tau_t = \frac{\sum_a |v_a| + |\sum_a v_a|}{2 E_{t-1}}

    with the signed traded values :math:`v_a` (purchases positive): the change of the cash weight is
    :math:`-\sum_a v_a`, so this equals the larger of purchases and sales (`risk.measures.turnover`
    with cash as one of the columns).

    Args:
        traded_NTA: signed traded values in currency.
        equity_NT: account value before the trade, in currency; 0 where it is not positive.
    """
    gross_NT = np.sum(np.abs(traded_NTA), axis=-1) + np.abs(np.sum(traded_NTA, axis=-1))
    solvent_NT = equity_NT > 0.0
    return np.asarray(
        np.where(solvent_NT, 0.5 * gross_NT / np.where(solvent_NT, equity_NT, 1.0), 0.0)
    )


def exposure(weights_NTA: Float[np.ndarray, "*N T A"]) -> Float[np.ndarray, "*N"]:
    r"""Mean gross exposure :math:`\frac1T \sum_t \sum_a |x_{ta}|`, in multiples of equity."""
    return np.asarray(np.mean(measures.gross_exposure(weights_NTA), axis=-1))


def cost_rate_bps(
    costs_NT: Float[np.ndarray, "*N T"], notional_NM: Float[np.ndarray, "*N M"]
) -> Float[np.ndarray, "*N"]:
    r"""Trading costs in basis points of the traded value, :math:`10^4 \sum_t c_t / \sum_m |v_m|`.

    Args:
        costs_NT: trading costs of each bar, in currency.
        notional_NM: absolute value of each of M fills, in currency.
    """
    return np.asarray(1e4 * _ratio(np.sum(costs_NT, axis=-1), np.sum(notional_NM, axis=-1)))


def cost_drag_bps(
    costs_NT: Float[np.ndarray, "*N T"],
    equity_NT: Float[np.ndarray, "*N T"],
    periods_per_year: float,
) -> Float[np.ndarray, "*N"]:
    r"""Costs in basis points of equity per year, :math:`10^4 \, \frac{P}{T} \sum_t c_t / E_{t-1}`.

    Args:
        costs_NT: costs of each bar, in currency.
        equity_NT: account value before the bar, in currency; bars where it is not positive count 0.
        periods_per_year: P.
    """
    solvent_NT = equity_NT > 0.0
    share_NT = np.where(solvent_NT, costs_NT / np.where(solvent_NT, equity_NT, 1.0), 0.0)
    return np.asarray(1e4 * periods_per_year * np.mean(share_NT, axis=-1))


def rowwise(
    measure: Callable[[Float[np.ndarray, "T"]], float],
) -> Callable[[Float[np.ndarray, "*N T"]], Float[np.ndarray, "*N"]]:
    """Lift a function of one series to any leading axes."""

    def lifted(values_NT: Float[np.ndarray, "*N T"]) -> Float[np.ndarray, "*N"]:
        rows_MT = values_NT.reshape(-1, values_NT.shape[-1])
        figures_M = np.array([float(measure(row_T)) for row_T in rows_MT], dtype=np.float64)
        return figures_M.reshape(values_NT.shape[:-1])

    return lifted


def _deviation(returns_NT: Float[np.ndarray, "*N T"]) -> Float[np.ndarray, "*N"]:
    """Sample standard deviation per bar; nan for one bar, 0 exactly for constant returns."""
    if returns_NT.shape[-1] < 2:
        return np.full(returns_NT.shape[:-1], np.nan)
    deviation_N = np.std(returns_NT, axis=-1, ddof=1)
    largest_N = np.max(np.abs(returns_NT), axis=-1)
    return np.asarray(np.where(deviation_N <= _CONSTANT * largest_N, 0.0, deviation_N))


def _ratio(numerator_N: _Figures, denominator_N: _Figures) -> Float[np.ndarray, "*N"]:
    """Quotient of a non-negative denominator: 0/0 is 0, x/0 is infinite with the sign of x."""
    zero_N = np.asarray(denominator_N == 0.0)
    quotient_N = numerator_N / np.where(zero_N, 1.0, denominator_N)
    limit_N = np.where(numerator_N == 0.0, 0.0, np.copysign(np.inf, numerator_N))
    return np.asarray(np.where(zero_N, limit_N, quotient_N))

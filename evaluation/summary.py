"""One table of figures for a ledger: what is measured, in which unit, and with which interval.

`MEASURES` is the one list that the metric table, the tracking store and the report share.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation import metrics
from evaluation.bootstrap import BootstrapConfig, Interval, Statistic, combined_intervals
from evaluation.ledger import Ledger
from risk import measures

__all__ = [
    "MEASURES",
    "Figure",
    "Measure",
    "format_figure",
    "mean_figures",
    "measured_intervals",
    "returns_of",
    "summarise",
]

Unit = Literal["fraction", "fraction/year", "times/year", "ratio", "bars", "bps", "bps/year"]


@dataclass(frozen=True)
class Figure:
    """A measured value with its unit; fractions and times are of equity (0.01 is one per cent)."""

    value: float
    unit: Unit


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One line of the metric table."""

    name: str
    """Key in `summarise` and in the tracking store."""
    label: str
    """Name for readers."""
    unit: Unit
    better: Literal["high", "low", ""]
    """Which way is better; empty where neither is."""
    figure: Callable[[Ledger], float]
    """The figure of a whole ledger."""
    statistic: Callable[[NDArray[np.float64], float], NDArray[np.float64]] | None = None
    """The same figure from returns and bars per year, for redrawn histories; none for a measure
    that is shown without an interval."""


def _of_returns(
    name: str,
    label: str,
    unit: Unit,
    better: Literal["high", "low", ""],
    statistic: Callable[[NDArray[np.float64], float], NDArray[np.float64]],
    *,
    interval: bool = True,
) -> Measure:
    def figure(ledger: Ledger) -> float:
        return float(statistic(ledger.returns, ledger.metadata.periods_per_year))

    return Measure(
        name=name,
        label=label,
        unit=unit,
        better=better,
        figure=figure,
        statistic=statistic if interval else None,
    )


def _clockless(
    statistic: Statistic,
) -> Callable[[NDArray[np.float64], float], NDArray[np.float64]]:
    """A figure that needs no number of bars per year."""

    def clocked(returns_NT: NDArray[np.float64], _periods_per_year: float) -> NDArray[np.float64]:
        return statistic(returns_NT)

    return clocked


def _turnover(ledger: Ledger) -> float:
    return float(np.mean(ledger.turnover[1:])) * ledger.metadata.periods_per_year


def _cost_rate(ledger: Ledger) -> float:
    notional_M = np.abs(ledger.trades.shares * ledger.trades.price)
    return float(metrics.cost_rate_bps(ledger.trading_costs, notional_M))


def _cost_drag(ledger: Ledger) -> float:
    clock = ledger.metadata.periods_per_year
    return float(metrics.cost_drag_bps(ledger.costs[1:], ledger.equity[:-1], clock))


MEASURES: Final = (
    _of_returns(
        "total_return",
        "Total return",
        "fraction",
        "high",
        _clockless(metrics.total_return),
        interval=False,
    ),
    _of_returns("cagr", "Growth a year (CAGR)", "fraction/year", "high", metrics.cagr),
    _of_returns("log_growth", "Log growth", "fraction/year", "high", metrics.annualised_log_growth),
    _of_returns("volatility", "Volatility", "fraction/year", "low", metrics.annualised_volatility),
    _of_returns("sharpe", "Sharpe ratio", "ratio", "high", metrics.sharpe),
    _of_returns("sortino", "Sortino ratio", "ratio", "high", metrics.sortino),
    _of_returns("calmar", "Calmar ratio", "ratio", "high", metrics.calmar),
    _of_returns(
        "max_drawdown", "Largest drawdown", "fraction", "low", _clockless(metrics.max_drawdown)
    ),
    _of_returns(
        "max_drawdown_length",
        "Longest time under water",
        "bars",
        "low",
        _clockless(metrics.max_drawdown_length),
        interval=False,
    ),
    _of_returns(
        "value_at_risk",
        "Value at risk of a bar, 95%",
        "fraction",
        "low",
        _clockless(metrics.rowwise(measures.value_at_risk)),
        interval=False,
    ),
    _of_returns(
        "expected_shortfall",
        "Expected shortfall of a bar, 95%",
        "fraction",
        "low",
        _clockless(metrics.rowwise(measures.expected_shortfall)),
        interval=False,
    ),
    _of_returns(
        "hit_rate", "Winning bars", "fraction", "high", _clockless(metrics.hit_rate), interval=False
    ),
    _of_returns("skew", "Skewness", "ratio", "high", _clockless(metrics.skewness), interval=False),
    _of_returns(
        "tail_ratio", "Tail ratio", "ratio", "high", _clockless(metrics.tail_ratio), interval=False
    ),
    Measure(
        name="exposure",
        label="Mean gross exposure",
        unit="fraction",
        better="",
        figure=lambda ledger: float(metrics.exposure(ledger.weights[1:])),
    ),
    Measure(name="turnover", label="Turnover", unit="times/year", better="low", figure=_turnover),
    Measure(
        name="cost_rate",
        label="Cost of the traded value",
        unit="bps",
        better="low",
        figure=_cost_rate,
    ),
    Measure(
        name="cost_drag",
        label="Cost of the account",
        unit="bps/year",
        better="low",
        figure=_cost_drag,
    ),
)


def summarise(ledger: Ledger) -> dict[str, Figure]:
    """Every measure of a ledger.

    Args:
        ledger: what happened.

    Returns:
        Figures by the measures' names. A figure is nan where it is undefined on so few bars and
        infinite where its denominator is zero (see `metrics`).
    """
    return {m.name: Figure(m.figure(ledger), m.unit) for m in MEASURES}


def mean_figures(ledgers: Sequence[Ledger]) -> dict[str, Figure]:
    """Every measure's mean over several ledgers (seeds, or lanes of a random policy)."""
    tables = [summarise(ledger) for ledger in ledgers]
    return {
        m.name: Figure(float(np.mean([table[m.name].value for table in tables])), m.unit)
        for m in MEASURES
    }


def measured_intervals(
    ledgers: Sequence[Ledger], config: BootstrapConfig
) -> Mapping[str, Interval]:
    """Intervals of every measure that follows from returns, over seeds and histories.

    Args:
        ledgers: the same policy's ledgers on the same bars, one for each seed.
        config: how intervals are drawn.

    Returns:
        Intervals by the measures' names, `combined_intervals`.
    """
    clock = ledgers[0].metadata.periods_per_year

    def bound(
        statistic: Callable[[NDArray[np.float64], float], NDArray[np.float64]],
    ) -> Statistic:
        return lambda returns_NT: statistic(returns_NT, clock)

    statistics = {m.name: bound(m.statistic) for m in MEASURES if m.statistic is not None}
    return combined_intervals(returns_of(ledgers), statistics, config)


def returns_of(ledgers: Sequence[Ledger]) -> NDArray[np.float64]:
    """Simple returns (K, T) of ledgers on the same bars.

    Raises:
        ValueError: no ledger, or ledgers on different bars.
    """
    if not ledgers:
        raise ValueError("ledgers: expected at least one, found none")
    for ledger in ledgers[1:]:
        if not np.array_equal(ledger.ts_event, ledgers[0].ts_event):
            raise ValueError(
                f"ledgers: expected the same bars, found {len(ledgers[0])} and {len(ledger)} rows "
                f"of {ledgers[0].metadata.policy!r} and {ledger.metadata.policy!r}"
            )
    return np.stack([ledger.returns for ledger in ledgers])


def format_figure(value: float, unit: Unit) -> str:
    """A figure for readers: fractions as per cent, a dash where it is undefined.

    Args:
        value: the figure.
        unit: its unit.
    """
    if math.isnan(value):
        return "\N{EN DASH}"
    sign = "\N{MINUS SIGN}" if value < 0.0 else ""
    if math.isinf(value):
        return f"{sign}\N{INFINITY}"
    size = abs(value)
    match unit:
        case "fraction" | "fraction/year":
            text = f"{100.0 * size:,.1f}%" if size >= 0.1 else f"{100.0 * size:.2f}%"
        case "times/year":
            text = f"{size:,.1f}\N{MULTIPLICATION SIGN}"
        case "ratio":
            text = f"{size:.2f}"
        case "bars":
            text = f"{size:,.0f}"
        case "bps" | "bps/year":
            text = f"{size:,.1f}"
    if size == 0.0:
        return "0%" if text.endswith("%") else "0"
    zero = not any(digit in text for digit in "123456789")
    return text if zero else f"{sign}{text}"

"""Pure measures, the same numbers for reward, evaluation and the live guard."""

from risk.measures import (
    concentration,
    downside_deviation,
    drawdown_duration,
    drawdowns,
    expected_shortfall,
    gross_exposure,
    leverage,
    max_drawdown,
    net_exposure,
    turnover,
    value_at_risk,
    volatility,
)

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

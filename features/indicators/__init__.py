r"""The features that are there without asking, by family.

Every function of an asset reads its own bars (no gaps), adjusted for splits and with dividends
reinvested up to each bar, so that :math:`C_t / C_{t-h}` is the total return of h bars. All values
are indifferent to the scale of prices and of volume; nothing reads a later bar.
"""

from features.indicators import (
    calendar,
    cross_asset,
    cycle,
    exogenous,
    momentum,
    path_risk,
    statistics,
    trend,
    volatility,
    volume,
)

__all__ = [
    "calendar",
    "cross_asset",
    "cycle",
    "exogenous",
    "momentum",
    "path_risk",
    "statistics",
    "trend",
    "volatility",
    "volume",
]

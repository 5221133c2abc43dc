"""Names of what features may read."""

__all__ = ["ASSET_INPUTS", "INPUTS", "MARKET_INPUTS", "PUBLISHED", "SHARED_INPUTS"]

ASSET_INPUTS = ("open", "high", "low", "close", "volume", "ts_event", "market", "sector")
"""What a feature of an asset may read, at the asset's own bars: adjusted prices and volume, the
bar's time (int64, ns UTC), and the levels of the equal-weight market and of the asset's sector
(the market where no sector is known). A level's scale means nothing; its ratios are returns."""
MARKET_INPUTS = ("ts_event", "market", "dispersion", "breadth")
"""Of the common axis: the time, the market's level, the standard deviation of the assets' log
returns of the bar, and the share of them that rose."""
SHARED_INPUTS = (*MARKET_INPUTS, "exogenous", "age")
"""What a shared feature may read: the common axis, and of a published series the value known at the
bar and its age in days."""
INPUTS = {"asset": ASSET_INPUTS, "shared": SHARED_INPUTS}
"""Inputs by scope."""
PUBLISHED = frozenset({"exogenous", "age"})
"""Inputs that come from a published series, which the parameter ``series`` names."""

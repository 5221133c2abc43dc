"""Random markets with everything that can happen, for the tests."""

import numpy as np

from envs.market_arrays import MarketArrays

DAY = 86_400 * 10**9


def random_market(
    seed: int,
    num_bars: int = 300,
    num_assets: int = 3,
    *,
    volatility: float = 0.02,
    events: bool = True,
    lots: float = 0.0,
    num_features: int = 2,
) -> MarketArrays:
    """Gaps, halts, bars without volume, splits, dividends, late listings and delistings."""
    rng = np.random.default_rng(seed)
    shape = (num_bars, num_assets)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0, volatility, shape), axis=0))
    opened = close * np.exp(rng.normal(0.0, volatility, shape))
    split = np.ones(shape)
    dividend = np.zeros(shape)
    tradable = np.ones(shape, dtype=bool)
    volume = rng.uniform(100.0, 50_000.0, shape)
    if events:
        split[rng.random(shape) < 0.02] = 2.0
        split[rng.random(shape) < 0.01] = 0.1
        dividend[rng.random(shape) < 0.03] = 0.4
        tradable[rng.random(shape) < 0.03] = False
        volume[rng.random(shape) < 0.03] = 0.0
        factor = np.cumprod(split, axis=0)
        close, opened = close / factor, opened / factor
        if num_assets > 1:
            tradable[: num_bars // 5, 1] = False
            tradable[num_bars - num_bars // 4 :, 0] = False
    days = np.cumsum(rng.choice([1, 1, 1, 3], size=num_bars))
    return MarketArrays.from_arrays(
        ts_event=days * DAY,
        open_TA=opened,
        close_TA=close,
        volume_TA=volume,
        tradable_TA=tradable,
        split_TA=split,
        dividend_TA=dividend,
        lot_A=np.full(num_assets, lots),
        features=rng.normal(size=(num_bars, num_features)).astype(np.float32),
    )

"""Synthetic markets for the tests of the Gymnasium faces."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from envs.market_arrays import MarketArrays

DAY = 86_400_000_000_000
MakeMarket = Callable[..., MarketArrays]


@pytest.fixture
def random_market() -> MakeMarket:
    """Factory of markets with gaps, splits, dividends and halts; nothing in them is random."""

    def build(num_bars: int = 300, num_assets: int = 2, num_features: int = 3) -> MarketArrays:
        generator = np.random.default_rng(7)
        shape = (num_bars, num_assets)
        close_TA = 50.0 * np.exp(np.cumsum(generator.normal(0.0, 0.02, shape), axis=0))
        split_TA = np.where(generator.random(shape) < 0.01, 2.0, 1.0)
        return MarketArrays.from_arrays(
            ts_event=np.arange(num_bars) * DAY,
            open_TA=close_TA * np.exp(generator.normal(0.0, 0.005, shape)),
            close_TA=close_TA,
            volume_TA=generator.uniform(1e3, 1e6, shape),
            tradable_TA=generator.random(shape) > 0.02,
            split_TA=split_TA,
            dividend_TA=np.where(generator.random(shape) < 0.02, 0.3, 0.0),
            features=generator.normal(size=(num_bars, num_features)).astype(np.float32),
            warmup=5,
        )

    return build


@pytest.fixture
def flat_market() -> MakeMarket:
    """Factory of markets of one asset at a constant price of 100, except where given."""

    def build(num_bars: int = 20, **columns: Any) -> MarketArrays:
        price_T1 = np.full((num_bars, 1), 100.0)
        arguments: dict[str, Any] = {
            "ts_event": np.arange(num_bars) * DAY,
            "open_TA": price_T1,
            "close_TA": price_T1,
            "volume_TA": np.full((num_bars, 1), 1e9),
            "features": np.zeros((num_bars, 1), dtype=np.float32),
        }
        return MarketArrays.from_arrays(**(arguments | columns))

    return build

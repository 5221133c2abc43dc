"""Synthetic markets and how they are traded, for the tests of streams."""

from dataclasses import replace
from typing import Any

import numpy as np

from envs.config import (
    EpisodeConfig,
    FeeConfig,
    FinancingConfig,
    LogReturnReward,
    LongShortAction,
    ObservationConfig,
    QuadraticCostConfig,
    QuadraticUtilityReward,
    SpreadConfig,
    TradeAction,
    TradingConfig,
)
from envs.market_arrays import NANOSECONDS_PER_YEAR, MarketArrays
from markets.synthetic.base import Path, Stream, SyntheticMarket
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck
from markets.synthetic.regime_gbm import RegimeGBM

LENGTH = 20
"""Steps of an episode."""

MARKETS: dict[str, SyntheticMarket] = {
    "garleanu_pedersen": GarleanuPedersen(),
    "ornstein_uhlenbeck": OrnsteinUhlenbeck(regime="belief"),
    "regime_gbm": RegimeGBM(regime="hidden"),
    "three_assets": GarleanuPedersen(
        loadings=(
            ((0.2, 0.0), (0.0, 0.1), (0.1, 0.1)),
            ((-0.1, 0.0), (0.0, 0.2), (0.0, 0.0)),
        ),
        covariance=(
            ((1.0, 0.3, 0.0), (0.3, 2.0, 0.1), (0.0, 0.1, 0.5)),
            ((2.0, 0.0, 0.2), (0.0, 1.0, 0.1), (0.2, 0.1, 1.5)),
        ),
        cost=5.0,
        regime="belief",
    ),
}


def rules(market: SyntheticMarket, **changes: Any) -> TradingConfig:
    """Every model that a stream allows, switched on."""
    free = TradingConfig.frictionless(
        observation=ObservationConfig(window=1),
        episode=EpisodeConfig(length=LENGTH, initial_cash=1e6),
    )
    charged = replace(
        free,
        fee=FeeConfig(bps=2.0, per_share=0.01, minimum=0.05),
        spread=SpreadConfig(bps=4.0),
        financing=FinancingConfig(debit_annual_rate=0.05, credit_annual_rate=0.02),
    )
    if not market.stream().additive:
        action = LongShortAction(gross=market.holding_limit, net=market.holding_limit, scale=1.5)
        return replace(charged, **{"action": action, "reward": LogReturnReward(), **changes})
    scale = market.holding_scale
    trade = TradeAction(size=scale, limit=1.5 * scale, dead_zone=0.1, unit=scale)
    reward = QuadraticUtilityReward(risk_aversion=0.5)
    quadratic = QuadraticCostConfig(coefficient=0.7)
    return replace(
        charged, **{"action": trade, "reward": reward, "quadratic": quadratic, **changes}
    )


def table(market: SyntheticMarket, path: Path, **matrices: Any) -> MarketArrays:
    """The bars of a path: they open at the last close."""
    stream: Stream = market.stream()
    close = path.world.close_NA
    opened = np.concatenate([close[:1], close[:-1]])
    step = round(stream.years * NANOSECONDS_PER_YEAR)
    return MarketArrays.from_arrays(
        ts_event=np.arange(len(close)) * step,
        open_TA=opened,
        close_TA=close,
        additive=stream.additive,
        **matrices,
    )

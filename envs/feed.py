"""What the kernel reads of a market: the bars of a table, or the parameters of a stream."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel.layout import padded_width
from envs.market_arrays import MarketArrays
from markets.synthetic.base import Stream
from markets.synthetic.layout import Generator

Market = MarketArrays | Stream
"""A table of bars, or a synthetic market that is generated while it is played."""


class Feed(NamedTuple):
    """A market for N lanes, as arrays.

    Attributes:
        generator: Code of what makes the market.
        market_TK: Packed bars of a table; of a stream the state of each lane (N, S), float64.
        events_T3A: Splits, dividends and delistings; empty of a stream.
        lot_A: Lot sizes, shares (padded).
        features_S: Features of a table, flat; empty of a stream, whose features are observed with
            the account.
        num_assets: Assets, A.
        num_features: Features in a row of it, C; 0 of a stream.
        num_signals: Features of a stream, C; 0 of a table.
        model_Q: Lambda and Sigma of each regime, then the parameters of a stream's generator.
        num_regimes: Regimes of the matrices, K.
        additive: Whether prices are levels that may be negative, and holdings units.
        years: Duration of a stream's bar, years; 0 of a table, which tells that of each bar.
    """

    generator: int
    market_TK: NDArray[np.float64]
    events_T3A: NDArray[np.float64]
    lot_A: NDArray[np.float64]
    features_S: NDArray[np.float32]
    num_assets: int
    num_features: int
    num_signals: int
    model_Q: NDArray[np.float64]
    num_regimes: int
    additive: bool
    years: float


def feed_of(market: Market, lanes: int) -> Feed:
    """Return the market as the kernel reads it in so many lanes."""
    return _stream(market, lanes) if isinstance(market, Stream) else _table(market)


def _table(market: MarketArrays) -> Feed:
    lots = np.zeros(padded_width(market.num_assets))
    lots[: market.num_assets] = market.lot_A
    cost = np.eye(market.num_assets) if market.cost_AA is None else market.cost_AA
    covariance = np.zeros_like(cost) if market.covariance_AA is None else market.covariance_AA
    return Feed(
        generator=int(Generator.TABLE),
        market_TK=market.packed_TK,
        events_T3A=market.events_T3A,
        lot_A=lots,
        features_S=market.features_TC.reshape(-1),
        num_assets=market.num_assets,
        num_features=market.num_features,
        num_signals=0,
        model_Q=np.concatenate([cost.ravel(), covariance.ravel()]),
        num_regimes=1,
        additive=market.additive,
        years=0.0,
    )


def _stream(market: Stream, lanes: int) -> Feed:
    return Feed(
        generator=int(market.generator),
        market_TK=np.zeros((lanes, market.state_size)),
        events_T3A=np.zeros((0, 3, market.num_assets)),
        lot_A=np.zeros(padded_width(market.num_assets)),
        features_S=np.zeros(0, dtype=np.float32),
        num_assets=market.num_assets,
        num_features=0,
        num_signals=market.num_features,
        model_Q=np.concatenate(
            [market.cost_KAA.ravel(), market.covariance_KAA.ravel(), market.parameters_Q]
        ),
        num_regimes=len(market.cost_KAA),
        additive=market.additive,
        years=market.years,
    )

"""The arrays of a kernel call, under names."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel.jit import inlined
from envs.kernel.stack import stack_array

SINGLE_BLOCK = 128
"""Lanes that are worked on at once with one asset: their scratch stays in the nearest cache."""
BLOCK_ELEMENTS = 1024
"""Lanes times width that are worked on at once with several assets."""


class Book(NamedTuple):
    """The market and N accounts; see `envs.kernel.layout` for the rows and columns.

    Arrays that are walked along are flat (suffix M), row after row.

    Attributes:
        rules_R: Parameters of the models, in the order of `Rules`, then those of the market: Lambda
            and Sigma of each regime (K A A numbers each), then a stream's generator.
        market_TK: Packed bars of a table; of a stream the state of each lane (N, S), in the order
            of `markets.synthetic.layout`.
        events_T3A: Splits, dividends and delistings.
        lot_A: Lot sizes, shares (padded).
        levels_L: Target weights of discrete actions.
        state_SN: Money and reward of each lane.
        shares_M: Holdings of each lane and asset (padded).
        clock_CN: Bars and counters of each lane.
        keys_KN: Keys of the random starts.
        flags_FN: Flags of each lane.
        current_M: Bar and account of each lane.
        final_M: The same at the end of the lane's last ended episode.
        record_NR: Terms, trades, fill prices and unfilled shares of the last call.
    """

    rules_R: NDArray[np.float64]
    market_TK: NDArray[np.float64]
    events_T3A: NDArray[np.float64]
    lot_A: NDArray[np.float64]
    levels_L: NDArray[np.float64]
    state_SN: NDArray[np.float64]
    shares_M: NDArray[np.float64]
    clock_CN: NDArray[np.int32]
    keys_KN: NDArray[np.int64]
    flags_FN: NDArray[np.bool_]
    current_M: NDArray[np.float32]
    final_M: NDArray[np.float32]
    record_NR: NDArray[np.float64]


class Block(NamedTuple):
    """The lanes in work.

    The stages of a step walk over a block of lanes each, so that the loops are long and simple
    enough for vector instructions: over lanes with one asset, over assets otherwise.

    Attributes:
        first: First lane.
        size: Number of lanes.
        width: Elements of a lane: the number of assets, padded to whole vector registers with
            assets that never trade (a constant 1 in the kernel of one asset).
    """

    first: int
    size: int
    width: int


class Option(NamedTuple):
    """Options in progress; see `OptionCount`, `OptionSum` and `OptionSetting` for the rows.

    Attributes:
        counts_3N: Largest duration, bars so far and reason of each lane.
        sums_5N: Discounted reward and other sums of each lane.
        settings_4: What holds for all lanes.
    """

    counts_3N: NDArray[np.int64]
    sums_5N: NDArray[np.float64]
    settings_4: NDArray[np.float64]


class Work(NamedTuple):
    """Scratch of a block. Element = lane * width + asset; lanes count from the block's first.

    Elements (E,): target and order (shares), price (reference of fills), close, limit
    (shares that may fill), unit (|close| at the decision; 1 where prices are additive), impact
    (coefficient * volatility / sqrt(volume)), half (spread) and slip (slippage) of the orders,
    shares, of streams what is known at the decision of the bar's price change (drift and
    deviation), and terms of sums over a lane's assets, which are written and added up in one stage
    (term, other).

    Lanes (L,): the account (cash, equity, peak, mean, square), the sums of the fills (purchases,
    fees, spread, slippage), the value of the positions (net, gross), borrow
    and financing costs, after (new equity), growth, reward, the bar's years and event, and flags,
    0 or 1 (projected, called for margin, terminated, truncated); regime governs the bar (0 where
    an additive table has but one, unwritten in other tables).
    """

    target: NDArray[np.float64]
    order: NDArray[np.float64]
    price: NDArray[np.float64]
    close: NDArray[np.float64]
    limit: NDArray[np.float64]
    unit: NDArray[np.float64]
    impact: NDArray[np.float64]
    half: NDArray[np.float64]
    slip: NDArray[np.float64]
    shares: NDArray[np.float64]
    drift: NDArray[np.float64]
    deviation: NDArray[np.float64]
    term: NDArray[np.float64]
    other: NDArray[np.float64]
    cash: NDArray[np.float64]
    equity: NDArray[np.float64]
    peak: NDArray[np.float64]
    mean: NDArray[np.float64]
    square: NDArray[np.float64]
    purchases: NDArray[np.float64]
    fees: NDArray[np.float64]
    spread: NDArray[np.float64]
    slippage: NDArray[np.float64]
    net: NDArray[np.float64]
    gross: NDArray[np.float64]
    borrow: NDArray[np.float64]
    financing: NDArray[np.float64]
    after: NDArray[np.float64]
    growth: NDArray[np.float64]
    reward: NDArray[np.float64]
    years: NDArray[np.float64]
    event: NDArray[np.float64]
    projected: NDArray[np.float64]
    called: NDArray[np.float64]
    terminated: NDArray[np.float64]
    truncated: NDArray[np.float64]
    regime: NDArray[np.float64]


@inlined
def make_work(lanes: int, elements: int) -> Work:
    """Return scratch for so many lanes and elements."""
    return Work(
        stack_array(elements),
        stack_array(elements),
        stack_array(elements),
        stack_array(elements),
        stack_array(elements),
        stack_array(elements),
        stack_array(elements),
        stack_array(elements),
        stack_array(elements),
        stack_array(elements),
        stack_array(elements),
        stack_array(elements),
        stack_array(elements),
        stack_array(elements),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
        stack_array(lanes),
    )

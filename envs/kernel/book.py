"""The arrays of a kernel call, under names."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Book(NamedTuple):
    """The market and N accounts; see `envs.kernel.layout` for the rows and columns.

    Attributes:
        market_TK: Packed bars.
        events_T3A: Splits, dividends and delistings.
        lot_A: Lot sizes, shares.
        levels_L: Target weights of discrete actions.
        state_SN: Money and reward of each lane.
        shares_NA: Holdings.
        clock_CN: Bars and counters of each lane.
        keys_KN: Keys of the random starts.
        flags_FN: Flags of each lane.
        observation_2NO: Bar and account, of the current state and of the last ended episode.
        record_NR: Terms, trades, fill prices and unfilled shares of the last call.
        scratch_3A: Targets, orders and what they cost, of the lane in work.
    """

    market_TK: NDArray[np.float64]
    events_T3A: NDArray[np.float64]
    lot_A: NDArray[np.float64]
    levels_L: NDArray[np.float64]
    state_SN: NDArray[np.float64]
    shares_NA: NDArray[np.float64]
    clock_CN: NDArray[np.int32]
    keys_KN: NDArray[np.int64]
    flags_FN: NDArray[np.bool_]
    observation_2NO: NDArray[np.float32]
    record_NR: NDArray[np.float64]
    scratch_3A: NDArray[np.float64]


TARGET = 0
"""Row of `scratch_3A`: target holdings, shares."""
ORDER = 1
"""Row of `scratch_3A`: signed shares to trade."""
COST = 2
"""Row of `scratch_3A`: cost of the fill, currency."""

"""Positions of quantities in the kernel's packed arrays, and the codes that it writes.

The positions are named tuples, not enumerations: compiled code reads them as constants.
"""

from enum import IntEnum
from typing import NamedTuple

MARKET_HEADER = 2
"""Scalars at the start of a packed market row, before the fields of A columns each."""
MARKET_PADDING = 8
"""Rows are padded to a multiple of this many doubles: a cache line, and a vector register."""


def padded_width(num_assets: int) -> int:
    """Return the columns that A assets take in the kernel's rows: 1, or a multiple of 8."""
    return 1 if num_assets == 1 else -(-num_assets // MARKET_PADDING) * MARKET_PADDING


class _Bar(NamedTuple):
    """Row of `MarketArrays.packed_TK`: two scalars, then FIELDS blocks of padded columns.

    VOLUME is -1 where the asset is not tradable. IMPACT is volatility before the bar over
    sqrt(volume), IMPACT_AT_CLOSE the same with the volatility that includes the bar.
    """

    YEAR_FRACTION: int = 0
    EVENT: int = 1
    OPEN: int = 0
    CLOSE: int = 1
    VOLUME: int = 2
    PREVIOUS_CLOSE: int = 3
    IMPACT: int = 4
    IMPACT_AT_CLOSE: int = 5
    FIELDS: int = 6


Bar = _Bar()


class _Event(NamedTuple):
    """Rows of `MarketArrays.events_T3A`."""

    SPLIT: int = 0
    DIVIDEND: int = 1
    DELISTED: int = 2


Event = _Event()


class _Account(NamedTuple):
    """Rows of `state_SN`, float64; the last one, the expected reward, is there in streams only."""

    CASH: int = 0
    EQUITY: int = 1
    PEAK: int = 2
    REWARD: int = 3
    MEAN: int = 4
    SQUARE: int = 5
    SIZE: int = 6
    EXPECTED: int = 6
    STREAM_SIZE: int = 7


Account = _Account()


class _Clock(NamedTuple):
    """Rows of `clock_CN`, int32."""

    BAR: int = 0
    START: int = 1
    END: int = 2
    PROJECTIONS: int = 3
    SIZE: int = 4


Clock = _Clock()


class _Key(NamedTuple):
    """Rows of `keys_KN`, int64: what episodes are drawn from.

    RANDOM, the bits of the counter of the lane's random numbers, is there in streams only.
    """

    SEED: int = 0
    EPISODE: int = 1
    LANE: int = 2
    SIZE: int = 3
    RANDOM: int = 3
    STREAM_SIZE: int = 4


Key = _Key()


class _Flag(NamedTuple):
    """Rows of `flags_FN`, bool."""

    TERMINATED: int = 0
    TRUNCATED: int = 1
    PROJECTED: int = 2
    LIQUIDATED: int = 3
    ENDED: int = 4
    SIZE: int = 5


Flag = _Flag()


class _Term(NamedTuple):
    """Columns of the ledger's terms (see `envs.simulator.TERMS`)."""

    PNL: int = 0
    DIVIDENDS: int = 1
    FEES: int = 2
    SPREAD: int = 3
    SLIPPAGE: int = 4
    BORROW: int = 5
    FINANCING: int = 6
    SIZE: int = 7


Term = _Term()


class ActionKind(IntEnum):
    """How a row of actions is read."""

    WEIGHTS = 0
    LOGITS = 1
    LONG_SHORT = 2
    SHARES = 3
    LEVELS = 4
    TRADE = 5


class RewardKind(IntEnum):
    """Which reward function is used."""

    LOG_RETURN = 0
    DIFFERENTIAL_SHARPE = 1
    MEAN_VARIANCE = 2
    DRAWDOWN = 3
    QUADRATIC_UTILITY = 4


class Expectation(IntEnum):
    """Whether a stream's expected rewards are computed."""

    OFF = 0
    REPORT = 1
    """Beside the reward."""
    REWARD = 2
    """As the reward."""


class Autoreset(IntEnum):
    """What happens to a lane whose episode has ended."""

    DISABLED = 0
    NEXT_STEP = 1
    SAME_STEP = 2


class _OptionCount(NamedTuple):
    """Rows of `counts_3N`, int64."""

    MAX_BARS: int = 0
    DURATION: int = 1
    REASON: int = 2
    SIZE: int = 3


OptionCount = _OptionCount()


class _OptionSum(NamedTuple):
    """Rows of `sums_5N`: reward so far, next discount, first equity, and flags of any bar."""

    TOTAL: int = 0
    DISCOUNT: int = 1
    ENTRY: int = 2
    PROJECTED: int = 3
    LIQUIDATED: int = 4
    SIZE: int = 5


OptionSum = _OptionSum()


class _OptionSetting(NamedTuple):
    """Positions in `settings_4`: 0 = a plain step; stop; discount a bar; submit at each bar."""

    ACTIVE: int = 0
    STOP: int = 1
    GAMMA: int = 2
    REBALANCE: int = 3
    SIZE: int = 4


OptionSetting = _OptionSetting()

RUNNING = -1
"""Reason of an option that has not ended."""


class Reason(IntEnum):
    """Why an option ended."""

    RESET = 0
    """It never ran: the lane was reset instead (next-step autoreset)."""
    MAX_BARS = 1
    STOP = 2
    TERMINATED = 3
    TRUNCATED = 4

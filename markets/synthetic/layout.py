"""Positions of quantities in a synthetic market's state, as compiled code reads them.

The state of a market at the close of bar t, one row of float64 for each lane:

    [REGIME, GOVERNED, blocks of A columns each (see `Block`), features (C), private (rest)]

`REGIME` is k_t, which governs the bar t + 1; `GOVERNED` is k_{t-1}, which governed the bar t that
has just closed (k_0 at the start). The features are what an agent sees of the market at the close
of t; the private part (signals, beliefs, scratch) belongs to the market's own file.
"""

from enum import IntEnum
from typing import NamedTuple

REGIME = 0
GOVERNED = 1
HEADER = 2
"""Scalars at the start of a state."""


class _Block(NamedTuple):
    """Blocks of A columns each that follow the header.

    PREVIOUS is the close of bar t - 1, at which bar t opened: bars open at the last close. DRIFT
    is E[close_{t+1} - close_t | state at t, k_t], currency. DEVIATION is the standard deviation of
    the log return of bar t + 1 given k_t; 0 where price changes are not lognormal.
    """

    CLOSE: int = 0
    PREVIOUS: int = 1
    DRIFT: int = 2
    DEVIATION: int = 3
    SIZE: int = 4


Block = _Block()


class Generator(IntEnum):
    """Which generator the kernel calls."""

    TABLE = 0
    """None: bars are read from a table."""
    GARLEANU_PEDERSEN = 1
    ORNSTEIN_UHLENBECK = 2
    REGIME_GBM = 3


def block_start(block: int, num_assets: int) -> int:
    """Return the first column of a block."""
    return HEADER + block * num_assets


def features_start(num_assets: int) -> int:
    """Return the first column of the features."""
    return HEADER + Block.SIZE * num_assets

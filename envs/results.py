"""What a step reports."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TERMS = ("pnl", "dividends", "fees", "spread", "slippage", "borrow", "financing")
"""Equity change = pnl + dividends - fees - spread - slippage - borrow - financing."""
TERM_SIGNS = (1.0, 1.0, -1.0, -1.0, -1.0, -1.0, -1.0)
"""Sign of each term in the change of equity."""


class OptionResult(NamedTuple):
    """What `Simulator.step_option` returns; arrays (N,), owned by the caller."""

    reward_N: NDArray[np.float64]
    """Discounted reward sum_k gamma^k r_k."""
    duration_N: NDArray[np.int64]
    """Bars that the option ran; 0 where next-step autoreset reset the lane instead."""
    reason_N: NDArray[np.int64]
    """Codes of `Reason`."""

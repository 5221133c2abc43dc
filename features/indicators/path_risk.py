r"""Path risk: drawdowns, and distances from highs and lows.

Dimensions: T bars of the asset. Values before the warm-up are NaN.
"""

import numpy as np
import talib

from features.registry import Array, Window, feature

__all__ = [
    "high_distance",
]


@feature(
    unit="log return",
    warmup=lambda window: window - 1,
    source="George and Hwang (2004), The 52-Week High and Momentum Investing, JF 59(5); TA-Lib MAX",
)
def high_distance(high_T: Array, close_T: Array, *, window: Window = 63) -> Array:
    r"""Distance from the window's high, :math:`\ln (C_t / \max_{k<W} H_{t-k})`, at most 0."""
    return np.asarray(np.log(close_T / talib.MAX(high_T, window)))

r"""Trend: which way the price goes, by averages and channels.

Dimensions: T bars of the asset. Values before the warm-up are NaN.
"""

import talib

from features.indicators.parts import decay
from features.registry import Array, Window, feature

__all__ = [
    "macd",
]


def _macd_memory(fast: int, slow: int, signal: int) -> int:
    slowest = max(fast, slow, signal)
    # An average of averages forgets like m rho^m: a quarter more bars make up for the m.
    return fast + slow + signal + 5 * decay(1.0 - 2.0 / (slowest + 1.0)) // 4


@feature(
    unit="1 (share of the price)",
    warmup=lambda fast, slow, signal: max(fast, slow) + signal - 2,
    memory=_macd_memory,
    outputs=("line", "histogram"),
    source="Appel (2005), Technical Analysis: Power Tools for Active Investors; TA-Lib MACD",
)
def macd(
    close_T: Array, *, fast: Window = 12, slow: Window = 26, signal: Window = 9
) -> tuple[Array, Array]:
    r"""Difference of two exponential averages, and its distance from its own average, over price.

    .. math:: d_t = E^{fast}_t(C) - E^{slow}_t(C), \quad
              line_t = d_t / C_t, \quad histogram_t = (d_t - E^{signal}_t(d)) / C_t
    """
    line_T, _, histogram_T = talib.MACD(close_T, fast, slow, signal)
    return line_T / close_T, histogram_T / close_T

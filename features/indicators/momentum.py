r"""Momentum: how far the price has come, and how one-sidedly.

Dimensions: T bars of the asset. Values before the warm-up are NaN.
"""

import numpy as np
import talib

from features.indicators.parts import decay, log_change
from features.registry import Array, Horizon, Window, feature

__all__ = [
    "log_return",
    "momentum",
    "rsi",
]


@feature(
    unit="log return per bar",
    warmup=1,
    source="Campbell, Lo and MacKinlay (1997), The Econometrics of Financial Markets, eq. 1.4.10",
)
def log_return(close_T: Array) -> Array:
    r"""Total log return of the last bar, :math:`\ln (C_t / C_{t-1})`."""
    return log_change(close_T, 1)


@feature(
    unit="log return",
    warmup=lambda horizon: horizon,
    source="Moskowitz, Ooi and Pedersen (2012), Time series momentum, JFE 104(2)",
)
def momentum(close_T: Array, *, horizon: Horizon = 21) -> Array:
    r"""Total log return over the horizon, :math:`\ln (C_t / C_{t-h})`."""
    return log_change(close_T, horizon)


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    memory=lambda window: window + decay(1.0 - 1.0 / window),
    source="Wilder (1978), New Concepts in Technical Trading Systems; TA-Lib CMO",
)
def rsi(close_T: Array, *, window: Window = 14) -> Array:
    r"""Centred relative strength, RSI / 50 - 1 = (G - L) / (G + L) of Wilder's averages.

    TA-Lib's CMO is this ratio times 100; it gives the neutral 0 for an unchanged price, where its
    RSI gives 0 (the most oversold value).
    """
    return np.asarray(talib.CMO(close_T, window) / 100.0)

r"""Momentum: how far the price has come, how one-sidedly, and where in its range it stands.

Oscillators are centred: 0 is neutral, -1 and 1 are their ends. Where a value is a quotient of
movements and nothing moved, it is 0; less than 1e-12 of the price is no movement. TA-Lib takes one
of the ends there, or what its running sums left behind: then the step is the definition. So it is
where they drift.

A quotient of averages stands still while the price does, until what moved before is forgotten: in
its memory that time counts twice.

Dimensions: T bars of the asset. Values before the warm-up are NaN.
"""

import numpy as np
import talib

from features.indicators.momentum_steps import (
    awesome_oscillator_step,
    balance_of_power_step,
    cci_step,
    coppock_step,
    efficiency_ratio_step,
    intraday_momentum_step,
    log_return_step,
    momentum_step,
    rsi_step,
    skip_month_step,
    stochastic_rsi_step,
    stochastic_step,
    tsi_step,
    ultimate_oscillator_step,
    williams_r_step,
)
from features.indicators.parts import decay, require_below
from features.registry import Array, Horizon, Window, feature

__all__ = [
    "awesome_oscillator",
    "balance_of_power",
    "cci",
    "coppock",
    "efficiency_ratio",
    "intraday_momentum",
    "log_return",
    "momentum",
    "momentum_12_1",
    "rsi",
    "stochastic",
    "stochastic_rsi",
    "tsi",
    "ultimate_oscillator",
    "williams_r",
]


@feature(
    unit="log return per bar",
    warmup=1,
    source="Campbell, Lo and MacKinlay (1997), The Econometrics of Financial Markets, eq. 1.4.10",
    step=log_return_step,
)
def log_return(close_T: Array) -> Array:
    r"""Total log return of the last bar, :math:`\ln (C_t / C_{t-1})`."""
    return log_return_step.batch((close_T,))[0]


@feature(
    unit="log return",
    warmup=lambda horizon: horizon,
    source="Moskowitz, Ooi and Pedersen (2012), Time series momentum, JFE 104(2)",
    step=momentum_step,
)
def momentum(close_T: Array, *, horizon: Horizon = 21) -> Array:
    r"""Total log return over the horizon, :math:`\ln (C_t / C_{t-h})`."""
    return momentum_step.batch((close_T,), horizon=horizon)[0]


def _skip_month_warmup(horizon: int, skip: int) -> int:
    require_below("momentum_12_1", skip=skip, horizon=horizon)
    return horizon


@feature(
    unit="log return",
    warmup=_skip_month_warmup,
    source="Jegadeesh and Titman (1993), Returns to Buying Winners and Selling Losers, JF 48(1)",
    step=skip_month_step,
)
def momentum_12_1(close_T: Array, *, horizon: Horizon = 252, skip: Horizon = 21) -> Array:
    r"""Total log return of the year up to a month ago, :math:`\ln (C_{t-s} / C_{t-h})`.

    The last month is left out, in which returns turn back (Jegadeesh 1990, JF 45(3)).
    """
    return skip_month_step.batch((close_T,), horizon=horizon, skip=skip)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    memory=lambda window: window + 2 * decay(1.0 - 1.0 / window),
    source="Wilder (1978), New Concepts in Technical Trading Systems; TA-Lib CMO",
    step=rsi_step,
)
def rsi(close_T: Array, *, window: Window = 14) -> Array:
    r"""Centred relative strength, RSI / 50 - 1 = (G - L) / (G + L) of Wilder's averages.

    G averages the gains and L the losses. TA-Lib's CMO is this ratio times 100; its RSI of an
    unchanged price is 0, the most oversold value.
    """
    return rsi_step.batch((close_T,), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window, lookback: window + lookback - 1,
    memory=lambda window, lookback: window + lookback + 2 * decay(1.0 - 1.0 / window),
    source="Chande and Kroll (1994), The New Technical Trader; TA-Lib STOCHRSI",
    step=stochastic_rsi_step,
)
def stochastic_rsi(close_T: Array, *, window: Window = 14, lookback: Window = 14) -> Array:
    """Place of the `rsi` in its own range over the lookback: 1 at the top, -1 at the bottom.

    A range below 1e-6 has only rounding in it: then 0.
    """
    return stochastic_rsi_step.batch((close_T,), window=window, lookback=lookback)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window - 1,
    source="Williams (1973), How I Made One Million Dollars; TA-Lib WILLR",
    step=williams_r_step,
)
def williams_r(high_T: Array, low_T: Array, close_T: Array, *, window: Window = 14) -> Array:
    """Place of the close in the window's range: 1 at the highest high, -1 at the lowest low.

    It is %R / 50 + 1, and the place in a Donchian channel of the same window.
    """
    return williams_r_step.batch((high_T, low_T, close_T), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window, smooth, signal: window + smooth + signal - 3,
    outputs=("k", "d"),
    source="Lane (1984), Lane's Stochastics, TASC 2(3); TA-Lib STOCH",
    step=stochastic_step,
)
def stochastic(
    high_T: Array,
    low_T: Array,
    close_T: Array,
    *,
    window: Window = 14,
    smooth: Window = 3,
    signal: Window = 3,
) -> tuple[Array, Array]:
    """The place of `williams_r`, averaged over `smooth` bars (%K), and %K over `signal` bars (%D).

    Both are centred, % / 50 - 1.
    """
    inputs = (high_T, low_T, close_T)
    k_T, d_T = stochastic_step.batch(inputs, 2, window=window, smooth=smooth, signal=signal)
    return k_T, d_T


@feature(
    unit="1.5 mean absolute deviations",
    warmup=lambda window: window - 1,
    source="Lambert (1980), Commodity Channel Index, Commodities 9(10); TA-Lib CCI",
    step=cci_step,
)
def cci(high_T: Array, low_T: Array, close_T: Array, *, window: Window = 20) -> Array:
    r"""The typical price P = (H + L + C) / 3 against its window: a hundredth of Lambert's index.

    .. math:: (P_t - \bar P_t) \Big/ \tfrac{1.5}{W} \sum_{k<W} |P_{t-k} - \bar P_t|
    """
    return cci_step.batch((high_T, low_T, close_T), window=window)[0]


def _ultimate_warmup(fast: int, medium: int, slow: int) -> int:
    require_below("ultimate_oscillator", fast=fast, medium=medium, slow=slow)
    return slow


@feature(
    unit="1, in [-1, 1]",
    warmup=_ultimate_warmup,
    source="Williams (1985), The Ultimate Oscillator, TASC 3(4); TA-Lib ULTOSC",
    step=ultimate_oscillator_step,
)
def ultimate_oscillator(
    high_T: Array,
    low_T: Array,
    close_T: Array,
    *,
    fast: Window = 7,
    medium: Window = 14,
    slow: Window = 28,
) -> Array:
    r"""Buying pressure over true range in three windows, weighted 4 : 2 : 1 and centred.

    .. math:: \tfrac27 (4 a^{fast} + 2 a^{medium} + a^{slow}) - 1, \quad
              a^W_t = \sum_{k<W} (C - \min(L, C_{-1}))_{t-k} \Big/ \sum_{k<W} R_{t-k}

    A window without movement counts as a = 1/2.
    """
    inputs = (high_T, low_T, close_T)
    return ultimate_oscillator_step.batch(inputs, fast=fast, medium=medium, slow=slow)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda slow, fast: slow + fast - 1,
    memory=lambda slow, fast: slow + fast + 5 * decay(1.0 - 2.0 / (max(slow, fast) + 1.0)) // 2,
    source="Blau (1991), True Strength Index, TASC 9(11); TA-Lib TSI",
    step=tsi_step,
)
def tsi(close_T: Array, *, slow: Window = 25, fast: Window = 13) -> Array:
    r"""Price changes smoothed twice, over their absolute values smoothed alike.

    .. math:: E^{fast}(E^{slow}(\Delta C)) / E^{fast}(E^{slow}(|\Delta C|))
    """
    return tsi_step.batch((close_T,), slow=slow, fast=fast)[0]


@feature(
    unit="1, in [-1, 1]",
    source="Livshin (2001), Balance of Power, TASC 19(8); TA-Lib BOP",
    step=balance_of_power_step,
)
def balance_of_power(open_T: Array, high_T: Array, low_T: Array, close_T: Array) -> Array:
    """Body of the bar over its range, (C - O) / (H - L)."""
    return balance_of_power_step.batch((open_T, high_T, low_T, close_T))[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window - 1,
    source="Chande and Kroll (1994), The New Technical Trader; TA-Lib IMI",
    step=intraday_momentum_step,
)
def intraday_momentum(open_T: Array, close_T: Array, *, window: Window = 14) -> Array:
    r"""Gains less losses from open to close, :math:`\sum (C - O) / \sum |C - O|`; IMI / 50 - 1."""
    return intraday_momentum_step.batch((open_T, close_T), window=window)[0]


@feature(
    unit="1, in [0, 1]",
    warmup=lambda window: window,
    source="Kaufman (1995), Smarter Trading; TA-Lib ER",
    step=efficiency_ratio_step,
)
def efficiency_ratio(close_T: Array, *, window: Window = 10) -> Array:
    r"""Way gained over way gone, :math:`|C_t - C_{t-W}| / \sum_{k<W} |C_{t-k} - C_{t-k-1}|`."""
    return efficiency_ratio_step.batch((close_T,), window=window)[0]


@feature(
    unit="1 (sum of two simple returns)",
    warmup=lambda window, short, long: max(short, long) + window - 1,
    source="Coppock (1962), Barron's, October 15; TA-Lib COPPOCK",
    step=coppock_step,
)
def coppock(
    close_T: Array, *, window: Window = 10, short: Horizon = 11, long: Horizon = 14
) -> Array:
    r"""Weighted average of the sum of two returns, :math:`W(C / C_{-s} + C / C_{-l} - 2)`."""
    return np.asarray(talib.COPPOCK(close_T, window, short, long) / 100.0)


def _awesome_warmup(fast: int, slow: int) -> int:
    require_below("awesome_oscillator", fast=fast, slow=slow)
    return slow - 1


@feature(
    unit="1 (share of the price)",
    warmup=_awesome_warmup,
    source="Williams (1998), New Trading Dimensions; TA-Lib AO",
    step=awesome_oscillator_step,
)
def awesome_oscillator(
    high_T: Array, low_T: Array, close_T: Array, *, fast: Window = 5, slow: Window = 34
) -> Array:
    """Difference of two simple averages of the bars' middles (H + L) / 2, over price."""
    return awesome_oscillator_step.batch((high_T, low_T, close_T), fast=fast, slow=slow)[0]

"""Paths of `RegimeGBM` as ordinary daily bars, with volume and spread."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markets.bars import Bars
from markets.calendars import NS_PER_DAY
from markets.frozen import FrozenArrays
from markets.instruments import Instrument
from markets.synthetic.base import Path
from markets.synthetic.chain import SyntheticMarketError
from markets.synthetic.gbm_laws import Law
from markets.synthetic.layout import GOVERNED, Block, block_start

TYPICAL_VOLUME = 1e6
"""Shares a bar at the mean volatility."""
VOLUME_NOISE = 0.3
"""Standard deviation of a bar's log volume."""
SPREAD_NOISE = 0.2
"""Standard deviation of a bar's log spread."""
TICK = 1e-6
"""Smallest price step, currency: prices are not rounded."""
_LAST_DAY = np.datetime64("2262-04-11")
"""Last whole day that nanoseconds since 1970 can express."""


@dataclass(frozen=True, eq=False)
class SyntheticBars(FrozenArrays):
    """Bars of a synthetic market, with the truth beside them.

    Attributes:
        bars: T bars, one a business day at midnight UTC; a bar opens at the last close.
        spread_bps_TA: Full quoted spread during the bar, basis points of the price.
        regime_T: k_{t-1}, the regime that governed bar t.
        belief_TK: Filtered probabilities of k_t, which governs the bar t + 1, given the bars up
            to t.
    """

    bars: Bars
    spread_bps_TA: NDArray[np.float64]
    regime_T: NDArray[np.int64]
    belief_TK: NDArray[np.float64]


def daily_bars(
    path: Path,
    law: Law,
    symbols: tuple[str, ...],
    random: np.random.Generator,
    start: str,
    spread_bps: float,
) -> SyntheticBars:
    """Return the bars of a path; its first row is the close before the first bar.

    Volume and spread are lognormal around typical values, in proportion to s_k. Given open and
    close, each bar's high and low are drawn from the exact laws of a Brownian bridge's maximum and
    minimum (but independently of each other):

        log(high / open) = (r + sqrt(r^2 - 2 s_k^2 log U)) / 2,   U uniform.

    Args:
        path: T + 1 rows.
        law: law of its returns.
        symbols: names of the assets.
        random: draws extremes, volumes and spreads.
        start: the first day, ISO 8601; the next business day if it is none.
        spread_bps: typical full spread, basis points.
    """
    first = block_start(Block.CLOSE, law.num_assets)
    close_TA = path.state_TS[:, first : first + law.num_assets]
    open_TA, close_TA = close_TA[:-1], close_TA[1:]
    regime_T = path.state_TS[1:, GOVERNED].astype(np.int64)
    deviation_TA = law.volatility_KA[regime_T]
    relative_TA = deviation_TA / law.volatility_KA.mean(axis=0)
    change_TA = np.log(close_TA / open_TA)
    high_TA, low_TA = (
        open_TA * np.exp(0.5 * (change_TA + sign * _bridge(change_TA, deviation_TA, random)))
        for sign in (1.0, -1.0)
    )
    volume_TA = TYPICAL_VOLUME * relative_TA * _lognormal(random, VOLUME_NOISE, relative_TA.shape)
    quoted_TA = spread_bps * relative_TA * _lognormal(random, SPREAD_NOISE, relative_TA.shape)
    belief_TK = path.world.belief_NK
    if belief_TK is None:
        raise SyntheticMarketError("path: expected one with beliefs (belief=True)")
    arrays = {"spread_bps_TA": quoted_TA, "regime_T": regime_T, "belief_TK": belief_TK[1:].copy()}
    for array in arrays.values():
        array.flags.writeable = False
    bars = Bars.from_arrays(
        business_days(start, len(regime_T)),
        symbols,
        open=open_TA,
        high=np.maximum(high_TA, np.maximum(open_TA, close_TA)),
        low=np.minimum(low_TA, np.minimum(open_TA, close_TA)),
        close=close_TA,
        volume=volume_TA,
        instruments=[Instrument(symbol, tick=TICK) for symbol in symbols],
    )
    return SyntheticBars(bars=bars, **arrays)


def business_days(start: str, size: int) -> NDArray[np.int64]:
    """Return midnights UTC of `size` business days, ns since 1970.

    Raises:
        SyntheticMarketError: the start is no date, or the last day is beyond the year 2262.
    """
    try:
        days = np.busday_offset(np.datetime64(start, "D"), np.arange(size), roll="forward")
    except ValueError as error:
        raise SyntheticMarketError(f"start: expected a date, found {start!r}") from error
    if size and days[-1] > _LAST_DAY:
        raise SyntheticMarketError(
            f"num_bars: expected days up to {_LAST_DAY}, found {days[-1]}; start earlier"
        )
    return days.astype(np.int64) * NS_PER_DAY


def _bridge(
    change_TA: NDArray[np.float64], deviation_TA: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.float64]:
    """Return sqrt(r^2 - 2 s^2 log U)."""
    uniform_TA = 1.0 - random.random(change_TA.shape)
    distance_TA: NDArray[np.float64] = np.sqrt(
        change_TA**2 - 2.0 * deviation_TA**2 * np.log(uniform_TA)
    )
    return distance_TA


def _lognormal(
    random: np.random.Generator, deviation: float, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return lognormal numbers with a mean of 1."""
    return np.exp(deviation * random.standard_normal(shape) - 0.5 * deviation**2)

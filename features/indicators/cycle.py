r"""Cycle: the dominant cycle of a price, its phase, and whether there is one, after Ehlers.

The batch forms are TA-Lib's functions of the close over the asset's first close; their steps
(`features.indicators.cycle_steps`) carry the same transformer from bar to bar. TA-Lib begins with
empty filters, for which the level of the price is one great jump; less its first value the price
begins at 0 and there is none. A close that has not changed for `STILL` bars has no cycle, and its
values are the neutral 0: all that is left of the phase is rounding, which also decides how fast
the adaptive average goes on towards a price that stands still.

The period adapts to the prices themselves, with limits on its change. On 200 random walks two
starts differ by 1e-3 in the median after 100 bars, by 1e-9 after 300, and from 600 on by rounding
alone; no number of bars is always enough, so that the state is carried from the first bar.

Dimensions: T bars of the asset. Values before the warm-up are NaN.
"""

import math
from typing import Annotated

import numpy as np
import talib
from annotated_types import Ge, Le
from numpy.typing import NDArray

from features.definition import FeatureError
from features.indicators.cycle_steps import (
    STILL,
    ht_period_step,
    ht_phasor_step,
    ht_sine_step,
    ht_trendline_step,
    ht_trendmode_step,
    mama_step,
    roofing_step,
)
from features.indicators.parts import decay, require_below
from features.registry import Array, feature

__all__ = [
    "ht_period",
    "ht_phasor",
    "ht_sine",
    "ht_trendline",
    "ht_trendmode",
    "mama",
    "roofing",
]

Weight = Annotated[float, Ge(0.01), Le(0.99)]
"""Weight of the newest price in an average."""
Period = Annotated[int, Ge(6)]
"""A number of bars in which a wave repeats."""
_WARM, _WARM_PHASE = 32, 63


def _roofing_warmup(short: int, long: int) -> int:
    require_below("roofing", short=short, long=long)
    return long


def _roofing_memory(short: int, long: int) -> int:
    angle = math.sqrt(0.5) * 2.0 * math.pi / long
    slow = 1.0 - (math.cos(angle) + math.sin(angle) - 1.0) / math.cos(angle)
    fast = math.exp(-math.sqrt(2.0) * math.pi / short)
    # A double pole forgets like m rho^m: a half more bars make up for the m.
    return long + 3 * decay(max(slow, fast)) // 2


@feature(
    unit="1, in [-1, 1]",
    warmup=_WARM,
    source="Ehlers (2001), Rocket Science for Traders, chapter 7; TA-Lib HT_DCPERIOD",
    path_dependent=True,
    step=ht_period_step,
)
def ht_period(close_T: Array) -> Array:
    """Period of the dominant cycle (6 to 50 bars) over 25 bars, less 1: 1 at 50 bars."""
    return _moving(close_T, talib.HT_DCPERIOD(_ratio(close_T) - 1.0) / 25.0 - 1.0)


@feature(
    unit="1 (share of the price)",
    warmup=_WARM,
    outputs=("in_phase", "quadrature"),
    source="Ehlers (2001), Rocket Science for Traders, chapter 6; TA-Lib HT_PHASOR",
    path_dependent=True,
    step=ht_phasor_step,
)
def ht_phasor(close_T: Array) -> tuple[Array, Array]:
    """In-phase and quadrature parts of the detrended price, over the price."""
    ratio_T = _ratio(close_T)
    in_phase_T, quadrature_T = talib.HT_PHASOR(ratio_T - 1.0)
    return _moving(close_T, in_phase_T / ratio_T), _moving(close_T, quadrature_T / ratio_T)


@feature(
    unit="1, in [-1, 1]",
    warmup=_WARM_PHASE,
    outputs=("sine", "lead"),
    source="Ehlers (2001), Rocket Science for Traders, chapter 9; TA-Lib HT_SINE",
    path_dependent=True,
    step=ht_sine_step,
)
def ht_sine(close_T: Array) -> tuple[Array, Array]:
    r"""Sine of the dominant cycle's phase, and the same 45 degrees ahead."""
    sine_T, lead_T = talib.HT_SINE(_ratio(close_T) - 1.0)
    return _moving(close_T, sine_T), _moving(close_T, lead_T)


@feature(
    unit="1 (share of the price)",
    warmup=_WARM_PHASE,
    source="Ehlers (2001), Rocket Science for Traders, chapter 10; TA-Lib HT_TRENDLINE",
    path_dependent=True,
    step=ht_trendline_step,
)
def ht_trendline(close_T: Array) -> Array:
    """Close less the mean over one dominant cycle, which the cycle itself drops out of."""
    ratio_T = _ratio(close_T)
    price_T = ratio_T - 1.0
    return _moving(close_T, (price_T - talib.HT_TRENDLINE(price_T)) / ratio_T)


@feature(
    unit="0 or 1",
    warmup=_WARM_PHASE,
    scaled=False,
    source="Ehlers (2001), Rocket Science for Traders, chapter 11; TA-Lib HT_TRENDMODE",
    path_dependent=True,
    step=ht_trendmode_step,
)
def ht_trendmode(close_T: Array) -> Array:
    """1 where the price trends, 0 where it cycles.

    A trend is a phase that does not turn as a cycle's would, or a smoothed price 1.5% from the
    trend line. Of the ratio to the first close itself, since the 1.5% are of the price.
    """
    mode_T = talib.HT_TRENDMODE(_ratio(close_T)).astype(np.float64)
    mode_T[:_WARM_PHASE] = np.nan
    return _moving(close_T, mode_T)


def _mama_warmup(fast: float, slow: float) -> int:
    if slow > fast:
        raise FeatureError(f"features.mama.slow: must be <= fast ({fast}), was {slow}")
    return _WARM


@feature(
    unit="1 (share of the price)",
    warmup=_mama_warmup,
    outputs=("distance", "spread"),
    source="Ehlers (2001), MESA Adaptive Moving Averages, S&C 19(10); TA-Lib MAMA",
    path_dependent=True,
    step=mama_step,
)
def mama(close_T: Array, *, fast: Weight = 0.5, slow: Weight = 0.05) -> tuple[Array, Array]:
    r"""Close less the adaptive average, and that average less the following one, over the close.

    .. math:: M_t = w_t C_t + (1 - w_t) M_{t-1}, \quad F_t = \tfrac{w_t}{2} M_t +
              (1 - \tfrac{w_t}{2}) F_{t-1}, \quad w_t = fast / \Delta\varphi_t

    with the weight between `slow` and `fast` and the turn of the phase in degrees, at least 1.
    """
    ratio_T = _ratio(close_T)
    price_T = ratio_T - 1.0
    mama_T, fama_T = talib.MAMA(price_T, fast, slow)
    distance_T, spread_T = (price_T - mama_T) / ratio_T, (mama_T - fama_T) / ratio_T
    return _moving(close_T, distance_T), _moving(close_T, spread_T)


@feature(
    unit="log price",
    warmup=_roofing_warmup,
    memory=_roofing_memory,
    source="Ehlers (2013), Cycle Analytics for Traders, chapter 7: roofing filter",
    step=roofing_step,
)
def roofing(close_T: Array, *, short: Period = 10, long: Period = 48) -> Array:
    r"""Log price without waves longer than `long` and shorter than `short` bars.

    A high pass of two poles, then the super smoother :math:`s_t = \tfrac g2 (h_t + h_{t-1}) +
    b s_{t-1} - a^2 s_{t-2}` with :math:`a = e^{-\sqrt 2 \pi / short}`,
    :math:`b = 2 a \cos(\sqrt 2 \pi / short)`, :math:`g = 1 - b + a^2`.
    """
    return roofing_step.batch((close_T,), short=short, long=long)[0]


def _ratio(close_T: Array) -> Array:
    return close_T / close_T[:1]


def _moving(close_T: Array, values_T: Array) -> Array:
    """The values, 0 where the close has not changed for `STILL` bars."""
    bars_T: NDArray[np.int64] = np.arange(len(close_T))
    changed_T = np.append(True, close_T[1:] != close_T[:-1])[: len(close_T)]
    since_T = bars_T - np.maximum.accumulate(np.where(changed_T, bars_T, 0))
    still_T = (since_T >= STILL) & ~np.isnan(values_T)
    return np.where(still_T, 0.0, values_T)

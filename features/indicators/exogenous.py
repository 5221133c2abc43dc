r"""Exogenous: series that are published, such as a volatility index or the yield curve.

A value counts from its publication on (`markets.published`), and the last one published stays until
the next. The rows of a feature begin with the first bar at which something is published. Changes
are in the series' own unit: a yield, a spread or an index may be zero or negative.

Dimensions: T bars of the common axis.
"""

import numpy as np

from features.blocks import ring_deviation, ring_lag, ring_mean, ring_push, ring_size
from features.registry import Array, Horizon, Window, feature
from features.step import Pointer, step

__all__ = ["exogenous_age", "exogenous_change", "exogenous_level", "exogenous_zscore"]


@step(state=0)
def _level_step(
    state: Pointer,  # noqa: ARG001 - every step has the same arguments
    bar: Pointer,
    parameters: Pointer,  # noqa: ARG001
    out: Pointer,
) -> None:
    out[0] = bar[0]


@step(state=lambda horizon: ring_size(horizon + 1))
def _change_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    horizon = int(parameters[0])
    ring_push(state, 0, horizon + 1, bar[0])
    out[0] = bar[0] - ring_lag(state, 0, horizon + 1, horizon)


@step(state=ring_size)
def _zscore_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    deviation = ring_deviation(state, 0, window, 0)
    mean = ring_mean(state, 0, window)
    out[0] = 0.0 if deviation == 0.0 else (bar[0] - mean) / deviation


@feature(
    unit="the series' own",
    scope="shared",
    step=_level_step,
    source="Croushore and Stark (2001), A real-time data set, J. Econometrics 105(1)",
)
def exogenous_level(exogenous_T: Array, *, series: str = "") -> Array:
    """Value last published."""
    del series
    return exogenous_T


@feature(
    unit="the series' own",
    scope="shared",
    warmup=lambda horizon, **_: horizon,
    step=_change_step,
    source="Ang, Hodrick, Xing and Zhang (2006), JF 61(1), eq. 3: the change of the VIX",
)
def exogenous_change(exogenous_T: Array, *, series: str = "", horizon: Horizon = 5) -> Array:
    r"""Change of the last published value over a number of bars, :math:`x_t - x_{t-h}`."""
    del series
    change_T = np.full(len(exogenous_T), np.nan)
    change_T[horizon:] = exogenous_T[horizon:] - exogenous_T[:-horizon]
    return change_T


@feature(
    unit="standard deviations",
    scope="shared",
    warmup=lambda window, **_: window - 1,
    step=_zscore_step,
    source="Welch and Goyal (2008), RFS 21(4): predictors against their own past",
)
def exogenous_zscore(exogenous_T: Array, *, series: str = "", window: Window = 63) -> Array:
    r"""Value against its window, :math:`(x_t - \bar x_t) / s_t`; 0 where the window is constant."""
    del series
    return _zscore_step.batch((exogenous_T,), window=window)[0]


@feature(
    unit="days",
    scope="shared",
    step=_level_step,
    source="Croushore and Stark (2001), A real-time data set, J. Econometrics 105(1)",
)
def exogenous_age(age_T: Array, *, series: str = "") -> Array:
    """Days from the publication of the last value to the bar."""
    del series
    return age_T

"""Features as a user would declare them in a module of their own."""

import numpy as np

from features.registry import Array, Horizon, feature

GAIN = 2.0


@feature(
    unit="log return",
    warmup=lambda horizon: horizon,
    source="a user's own notes, page 1",
)
def overnight_gap(open_T: Array, close_T: Array, *, horizon: Horizon = 1) -> Array:
    """Gap between an earlier close and the open."""
    gap_T = np.full(len(open_T), np.nan)
    gap_T[horizon:] = GAIN * np.log(open_T[horizon:] / close_T[:-horizon])
    return gap_T


@feature(unit="1", warmup=1, source="a user's own notes, page 2")
def broken_on_falls(close_T: Array) -> Array:
    """Forgets a case: NaN after a fall."""
    rise_T = np.zeros(len(close_T))
    rise_T[1:] = np.diff(close_T)
    return np.where(rise_T >= 0.0, rise_T, np.nan) / close_T


@feature(unit="1", warmup=4, source="a user's own notes, page 3")
def always_three(close_T: Array) -> Array:
    """A constant."""
    return np.full(len(close_T), 3.0)


@feature(unit="1", warmup=1, source="a user's own notes, page 5")
def writes_into_its_input(close_T: Array) -> Array:
    """Would change what all other features read."""
    close_T /= close_T[0]
    return close_T


@feature(unit="1", source="a user's own notes, page 6", outputs=("a", "b"))
def no_pair(close_T: Array) -> Array:
    """One array, where a pair is declared."""
    return close_T


@feature(unit="1", warmup=lambda window: window, source="a user's own notes, page 7")
def other_name(close_T: Array, *, horizon: Horizon = 2) -> Array:
    """A warm-up of a parameter that there is not."""
    return close_T / horizon


@feature(unit="1", warmup=lambda horizon: horizon - 5, source="a user's own notes, page 8")
def negative_warmup(close_T: Array, *, horizon: Horizon = 2) -> Array:
    """A warm-up below zero for some parameters."""
    return close_T / horizon


@feature(unit="1", source="a user's own notes, page 4")
def too_short(close_T: Array) -> Array:
    """One value less than bars."""
    return close_T[1:]

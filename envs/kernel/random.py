"""Counter-based random numbers: a pure function of (seed, lane, episode), with no state."""

import numpy as np

from envs.kernel.jit import exact

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


@exact
def mix(value: np.uint64) -> np.uint64:
    """Return SplitMix64's output function of a counter (Steele, Lea & Flood, 2014)."""
    z = value + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@exact
def uniform(seed: int, lane: int, episode: int) -> float:
    """Return a number in [0, 1) with 53 random bits, the same on every machine."""
    bits = mix(mix(mix(np.uint64(seed)) ^ np.uint64(lane)) ^ np.uint64(episode))
    return float(bits >> np.uint64(11)) * 2.0**-53


@exact
def integer_below(bound: int, seed: int, lane: int, episode: int) -> int:
    """Return an integer in [0, bound); the bias is below bound * 2**-53."""
    return min(int(uniform(seed, lane, episode) * bound), bound - 1)

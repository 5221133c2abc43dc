"""Counter-based random numbers for compiled code: the same on every machine, with no global state.

A stream is a counter that every draw moves on by one: `key` holds it, draws return the new one.
"""

import math

import numpy as np

from markets.compiled import exact, separate

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
def start_key(seed: int, lane: int, episode: int) -> np.uint64:
    """Return the counter at which the random numbers of an episode begin."""
    return mix(mix(mix(np.uint64(seed)) ^ np.uint64(lane)) ^ np.uint64(episode))


@exact
def to_uniform(bits: np.uint64) -> float:
    """Return a number in [0, 1) from the upper 53 bits."""
    return float(bits >> np.uint64(11)) * 2.0**-53


@exact
def next_uniform(key: np.uint64) -> tuple[float, np.uint64]:
    """Return a number in [0, 1) and the next counter."""
    return to_uniform(mix(key)), key + _GOLDEN


@exact
def next_normal(key: np.uint64) -> tuple[float, np.uint64]:
    """Return a standard normal number and the next counter; one uniform a number.

    By inversion, so that the numbers of a path can be drawn in any order.
    """
    # Half a unit of the last place: never 0 nor 1.
    bits = mix(key)
    return normal_quantile(to_uniform(bits) + 2.0**-54), key + _GOLDEN


@exact
def normal_quantile(probability: float) -> float:
    """Return z with Phi(z) = p, to about 1e-16 relative, for p in (0, 1).

    Source: Wichura (1988), "Algorithm AS 241: the percentage points of the normal distribution".
    """
    q = probability - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        numerator = (
            ((((((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853)
                * r + 45921.953931549871457) * r + 13731.693765509461125) * r
              + 1971.5909503065514427) * r + 133.14166789178437745) * r + 3.387132872796366608
        )  # fmt: skip
        denominator = (
            ((((((5226.495278852854561 * r + 28729.085735721942674) * r + 39307.89580009271061)
                * r + 21213.794301586595867) * r + 5394.1960214247511077) * r
              + 687.1870074920579083) * r + 42.313330701600911252) * r + 1.0
        )  # fmt: skip
        return q * numerator / denominator
    return _tail_quantile(probability, q)


@separate
def _tail_quantile(probability: float, q: float) -> float:
    r = math.sqrt(-math.log(probability if q < 0.0 else 1.0 - probability))
    if r <= 5.0:
        r -= 1.6
        value = (
            ((((((7.7454501427834140764e-4 * r + 0.0227238449892691845833) * r
                 + 0.24178072517745061177) * r + 1.27045825245236838258) * r
               + 3.64784832476320460504) * r + 5.7694972214606914055) * r
             + 4.6303378461565452959) * r + 1.42343711074968357734
        ) / (
            ((((((1.05075007164441684324e-9 * r + 5.475938084995344946e-4) * r
                 + 0.0151986665636164571966) * r + 0.14810397642748007459) * r
               + 0.68976733498510000455) * r + 1.6763848301838038494) * r
             + 2.05319162663775882187) * r + 1.0
        )  # fmt: skip
    else:
        r -= 5.0
        value = (
            ((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r
                 + 0.0012426609473880784386) * r + 0.026532189526576123093) * r
               + 0.29656057182850489123) * r + 1.7848265399172913358) * r
             + 5.4637849111641143699) * r + 6.6579046435011037772
        ) / (
            ((((((2.04426310338993978564e-15 * r + 1.4215117583164458887e-7) * r
                 + 1.8463183175100546818e-5) * r + 7.868691311456132591e-4) * r
               + 0.0148753612908506148525) * r + 0.13692988092273580531) * r
             + 0.59983220655588793769) * r + 1.0
        )  # fmt: skip
    return -value if q < 0.0 else value

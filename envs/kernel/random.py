"""Random starts of episodes: a pure function of (seed, lane, episode), with no state."""

from envs.kernel.jit import exact
from markets.synthetic.random import start_key, to_uniform


@exact
def uniform(seed: int, lane: int, episode: int) -> float:
    """Return a number in [0, 1) with 53 random bits, the same on every machine."""
    return to_uniform(start_key(seed, lane, episode))


@exact
def integer_below(bound: int, seed: int, lane: int, episode: int) -> int:
    """Return an integer in [0, bound); the bias is below bound * 2**-53."""
    return min(int(uniform(seed, lane, episode) * bound), bound - 1)

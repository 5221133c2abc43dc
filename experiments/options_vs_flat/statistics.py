"""Figures over seeds: means with intervals, paired differences, and what they show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.bootstrap import BootstrapConfig, Interval
from evaluation.optimality import iqm_interval, mean_interval

MARGIN = 0.02
"""Share of the optimum that an arm may lose and still be called no worse."""
ENOUGH = 30
"""Pairs of seeds below which nothing is called no worse."""
_CONFIG = BootstrapConfig()


@dataclass(frozen=True)
class Paired:
    """Mean difference of two arms over the seeds that both were trained with."""

    interval: Interval
    """With its 95 % bootstrap interval over pairs, as wide as Student's t."""
    pairs: int
    """How many seeds they share."""

    @property
    def holds_nothing(self) -> bool:
        """Whether the interval holds 0."""
        return 0.0 in self.interval


def shares(values: Mapping[int, float] | Sequence[float]) -> Interval:
    """Interquartile mean over seeds, with its stratified bootstrap interval.

    Args:
        values: one for each seed, at least one.
    """
    numbers = values.values() if isinstance(values, Mapping) else values
    return iqm_interval(np.array([list(numbers)], dtype=np.float64), _CONFIG)


def paired(left: Mapping[int, float], right: Mapping[int, float]) -> Paired:
    """Mean of left less right over common seeds.

    The interval redraws pairs, its spread widened to that of Student's t; of a single pair it has
    no ends, and of none no middle either.

    Args:
        left: a figure by seed.
        right: another one by seed.
    """
    common = sorted(left.keys() & right.keys())
    differences = np.array([[left[seed] - right[seed]] for seed in common])
    if len(common) > 1:
        return Paired(mean_interval(differences, _CONFIG), len(common))
    middle = float(differences[0, 0]) if common else math.nan
    return Paired(Interval(middle, -math.inf, math.inf), len(common))


def non_inferior(difference: Paired, margin: float = MARGIN) -> str:
    """Whether an arm was shown to lose less than the margin, and on how many pairs if on few."""
    if difference.interval.low > -margin:
        few = difference.pairs < ENOUGH
        return f"on {difference.pairs} of {ENOUGH} pairs" if few else "yes"
    worse = difference.interval.high < -margin
    return "no" if worse else "not shown (interval)"


def added(without: Paired) -> str:
    """What a part added, in words.

    Args:
        without: the agent without the part less the agent itself.
    """
    if without.pairs < 2:
        return "not shown (one pair)" if without.pairs else "not run"
    if without.holds_nothing:
        return "added nothing"
    verb = "added" if without.interval.high < 0.0 else "cost"
    return f"{verb} {abs(without.interval.estimate):.3f}"


def shown(interval: Interval, *, sign: bool = False) -> str:
    """A figure with its interval."""
    form = "+.3f" if sign else ".3f"
    if math.isnan(interval.estimate):
        return "not run"
    ends = f" [{interval.low:{form}}, {interval.high:{form}}]"
    return f"{interval.estimate:{form}}" + (ends if math.isfinite(interval.width) else "")


def entropy(usage: Sequence[float]) -> float:
    """Entropy of the options' mean weights over log K: 1 all alike, 0 one alone; 1 for a single."""
    if len(usage) == 1:
        return 1.0
    terms = [share * math.log(share) for share in usage if share > 0.0]
    return -sum(terms) / math.log(len(usage))


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(row) + " |" for row in (heads, *rows)]
    lines.insert(1, "|---" * len(heads) + "|")
    return "\n".join(lines)


def mean_of(values: Sequence[float], form: str = ".3f") -> str:
    """A mean in words; empty without a value."""
    return f"{np.mean(values):{form}}" if len(values) else ""

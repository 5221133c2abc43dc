"""All figures of a stream by name, their meaning, and their intervals over seeds.

A figure is computed for each seed first (a mean over regimes) and then put together over seeds: the
interquartile mean and its stratified bootstrap (arXiv:2108.13264). Pooling regimes and seeds before
would trim away the one regime that was forgotten. Strata are streams that differ in more than the
seed, such as orders or markets (`joined_interval`).

Dimensions: K seeds, M strata.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from evaluation.bootstrap import BootstrapConfig, Interval
from evaluation.continual_curves import (
    Recovery,
    forward_transfer,
    mean_recovery,
    recoveries,
    regret,
    regret_share,
)
from evaluation.continual_metrics import (
    average_performance,
    backward_transfer,
    conflict,
    degradation_of,
    forgetting_between_visits,
    forgetting_of,
    intransigence,
    isolated_forgetting,
    mean_of,
    own_scores,
    peak_forgetting_of,
    plasticity,
    zero_shot_transfer,
)
from evaluation.continual_record import StreamRecord
from evaluation.optimality_statistics import iqm_interval

__all__ = [
    "MEASURES",
    "Measure",
    "figures_of",
    "joined_interval",
    "paired_difference",
    "recoveries_of",
    "seed_interval",
]

Unit = Literal["score", "per cent", "ratio", "reward", "floats"]


@dataclass(frozen=True)
class Measure:
    """A figure of a stream.

    Attributes:
        name: In tables and in the tracking store.
        label: For people.
        unit: `score` is S; `per cent`, `ratio` and `reward` likewise; `floats` are counted.
        better: Which way is better; empty where it says nothing by itself.
        meaning: In plain words.
        compute: From the record of one seed; nan where it is undefined.
    """

    name: str
    label: str
    unit: Unit
    better: Literal["higher", "lower", ""]
    meaning: str
    compute: Callable[[StreamRecord], float]


def recoveries_of(record: StreamRecord) -> tuple[Recovery, ...]:
    """How scores of one seed came back when regimes did."""
    return recoveries(
        record.curve_step_P, record.curve_PJ, record.order, record.phase_steps, record.least
    )


def figures_of(record: StreamRecord) -> dict[str, float]:
    """Every figure of one seed by name; nan where it is undefined."""
    return {measure.name: measure.compute(record) for measure in MEASURES}


def seed_interval(values: Sequence[float], config: BootstrapConfig) -> Interval:
    """Interquartile mean over seeds with its bootstrap interval; `joined_interval` of one stratum.

    Args:
        values: of each seed.
        config: level, resamples and seed.
    """
    return joined_interval([values], config)


def joined_interval(values: Sequence[Sequence[float]], config: BootstrapConfig) -> Interval:
    """Interquartile mean over strata and seeds, seeds redrawn within each stratum.

    Below four values it is the mean. A single seed has no interval (its ends are nan), and a figure
    that is undefined for one seed is undefined for all: leaving that seed out would flatter.

    Args:
        values: of each stratum, one for each of its seeds, as many in all.
        config: level, resamples and seed.

    Raises:
        ValueError: no value, or strata with different numbers of seeds.
    """
    counts = sorted({len(row) for row in values})
    if len(counts) != 1 or counts[0] == 0:
        raise ValueError(f"values: expected as many seeds in all strata, found {counts}")
    scores_MK = np.array(values, dtype=np.float64)
    if not np.isfinite(scores_MK).all():
        return Interval(math.nan, math.nan, math.nan, config.level)
    found = iqm_interval(scores_MK, config)
    if counts[0] == 1:
        return Interval(found.estimate, math.nan, math.nan, config.level)
    return found


def paired_difference(
    first: Sequence[StreamRecord],
    second: Sequence[StreamRecord],
    name: str,
    config: BootstrapConfig,
) -> Interval:
    """A figure of one run less that of another, seed by seed, with its interval.

    Args:
        first: seeds of one run.
        second: the same seeds of another one.
        name: of the figure.
        config: level, resamples and seed.

    Raises:
        ValueError: other seeds, or no such figure.
    """
    measure = next((each for each in MEASURES if each.name == name), None)
    if measure is None:
        raise ValueError(f"name: expected one of {[m.name for m in MEASURES]}, found {name!r}")
    others = {record.seed: record for record in second}
    seeds = [record.seed for record in first]
    if sorted(seeds) != sorted(others) or len(others) != len(second):
        raise ValueError(
            f"second: expected the seeds {sorted(seeds)}, found {sorted(r.seed for r in second)}"
        )
    gaps = [measure.compute(each) - measure.compute(others[each.seed]) for each in first]
    return seed_interval(gaps, config)


def _learned(record: StreamRecord) -> float:
    if record.together:
        return average_performance(record.ratio_IJ, record.played)
    return mean_of(own_scores(record.ratio_IJ, record.order))


def _conflict(record: StreamRecord) -> float:
    return math.nan if record.together else conflict(record.ratio_IJ, record.order)


def _isolated(record: StreamRecord) -> float:
    return isolated_forgetting(record.ratio_IJ, record.order, record.least)


def _zero_shot(record: StreamRecord) -> float:
    return zero_shot_transfer(record.ratio_IJ, record.order, record.before_J)


def _worst(record: StreamRecord) -> float:
    return float(record.ratio_IJ[-1, list(record.played)].min())


def _degradation(record: StreamRecord) -> float:
    return mean_of(degradation_of(record.ratio_IJ, record.order, record.least))


def _forward(record: StreamRecord) -> float:
    scratch = record.references
    known = scratch.scratch_step_P is not None and scratch.scratch_PJ is not None
    if not known or record.gain_J is None or not len(record.curve_step_P):
        return math.nan
    return forward_transfer(
        record.curve_step_P,
        record.curve_PJ,
        record.order,
        record.phase_steps,
        (np.asarray(scratch.scratch_step_P), np.asarray(scratch.scratch_PJ)),
    )


def _plasticity(record: StreamRecord) -> float:
    scratch_J = record.references.scratch_J
    if scratch_J is None:
        return math.nan
    return plasticity(record.ratio_IJ, record.order, scratch_J, record.least)


def _intransigence(record: StreamRecord) -> float:
    joint_J = record.references.joint_J
    return math.nan if joint_J is None else intransigence(record.ratio_IJ, record.order, joint_J)


def _regret_share(record: StreamRecord) -> float:
    if record.gain_J is None or record.together:
        return math.nan
    return regret_share(record.curve_step_P, record.curve_PJ, record.order, record.phase_steps)


def _regret(record: StreamRecord) -> float:
    if record.gain_J is None or record.together:
        return math.nan
    return regret(
        record.curve_step_P, record.curve_PJ, record.order, record.phase_steps, record.gain_J
    )


_LEARNED: Final = "Learned S" + 2 * "\N{LATIN SUBSCRIPT SMALL LETTER J}"

MEASURES: Final = (
    Measure(
        "average_performance", "Average performance AP", "score", "higher",
        "final score, mean over the regimes: what the agent is worth at the end",
        lambda record: average_performance(record.ratio_IJ, record.played),
    ),
    Measure(
        "worst_regime", "Worst regime", "score", "higher",
        "final score in the regime that it does worst in", _worst,
    ),
    Measure(
        "learned", _LEARNED, "score", "higher",
        "score in each regime right after it was last learned, mean over the regimes: what there "
        "was to forget", _learned,
    ),
    Measure(
        "conflict", "Conflict between regimes", "score", "",
        "lowest score in another regime after the first phase: how badly a specialist does "
        "elsewhere; where it is high, nothing can be forgotten", _conflict,
    ),
    Measure(
        "degradation", "Degradation", "per cent", "lower",
        "share of the learned score that earlier regimes have lost by the end", _degradation,
    ),
    Measure(
        "forgetting", "Forgetting F", "score", "lower",
        "learned score less final score of earlier regimes",
        lambda record: mean_of(forgetting_of(record.ratio_IJ, record.order)),
    ),
    Measure(
        "peak_forgetting", "Forgetting, from the peak", "score", "lower",
        "best score after any phase less final score of earlier regimes",
        lambda record: mean_of(peak_forgetting_of(record.ratio_IJ, record.order)),
    ),
    Measure(
        "forgetting_between_visits", "Forgetting between visits", "score", "lower",
        "what was lost of a regime between its last visit and its return",
        lambda record: forgetting_between_visits(record.ratio_IJ, record.order),
    ),
    Measure(
        "isolated_forgetting", "Isolated forgetting", "ratio", "lower",
        "share of a regime's best score that one phase of another takes away, mean over phases",
        _isolated,
    ),
    Measure(
        "backward_transfer", "Backward transfer", "score", "higher",
        "what later phases did to earlier regimes: forgetting with the other sign",
        lambda record: backward_transfer(record.ratio_IJ, record.order),
    ),
    Measure(
        "forward_transfer", "Forward transfer", "ratio", "higher",
        "area under the curve of a new regime against learning it from scratch; 0 is no help, 1 is "
        "all there was to gain", _forward,
    ),
    Measure(
        "zero_shot_transfer", "Zero-shot transfer", "score", "higher",
        "score in a regime before it is first learned, less that before any training",
        _zero_shot,
    ),
    Measure(
        "plasticity", "Plasticity", "ratio", "higher",
        "score after first learning a regime, over that of an agent that learned it alone",
        _plasticity,
    ),
    Measure(
        "intransigence", "Intransigence", "score", "lower",
        "score of learning all regimes at once less the learned score: what was never learned",
        _intransigence,
    ),
    Measure(
        "recovery", "Recovery on return", "ratio", "lower",
        "steps to regain 95% of the score when a regime returns, over those of its first learning",
        lambda record: mean_recovery(recoveries_of(record)),
    ),
    Measure(
        "regret_share", "Regret, share", "ratio", "lower",
        "share of the optimum that was missed on average over the stream, in the regime of the "
        "time: pays for slow learning and learning again alike", _regret_share,
    ),
    Measure(
        "regret", "Regret", "reward", "lower",
        "the same, summed over the steps of the stream in units of the reward", _regret,
    ),
    Measure(
        "stored_floats", "Memory", "floats", "lower",
        "numbers that the remedies keep at the end", lambda record: float(record.stored_floats[-1]),
    ),
)  # fmt: skip
"""In the order of the report's table."""

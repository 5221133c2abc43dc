r"""What the gate can see with the episodes at hand, said before anything is trained.

Paired differences count as normal: the test statistic then has a noncentral t distribution, which
for many episodes is the normal approximation

.. math:: n = \Big( \frac{(z_{1-\alpha} + z_{power}) \, s}{m - loss} \Big)^2

of Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, chapter 2. It is checked
against simulated tests (`tests/evaluation/test_acceptance_power.py`).

Dimensions: R regimes, B draws.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evaluation.acceptance_config import AcceptanceConfig
from evaluation.acceptance_statistics import margin_of

__all__ = [
    "Feasibility",
    "Sample",
    "acceptance_probability",
    "check_feasible",
    "deviation_of",
    "episodes_needed",
    "explain_power",
    "power_at",
]

_DRAWS = 20_000
"""Simulated updates behind a probability of acceptance; its standard error is below 0.004."""
_MOST = 10_000_000
"""Number of episodes above which a test counts as impossible."""
_USUAL_POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What can be known of a regime before an update.

    Attributes:
        deviation: Standard deviation of the paired differences of two policies, score units.
        episodes: Held-out episodes, n; where they overlap, as many as are independent.
        gain: Champion's mean score less that of doing nothing.
    """

    deviation: float
    episodes: int
    gain: float

    def margin(self, config: AcceptanceConfig) -> float:
        """Return the loss that is tolerated against the champion, score units."""
        return margin_of(self.gain, 0.0, config.tolerance, config.floor)


@dataclass(frozen=True)
class Feasibility:
    """Whether the gate can be passed.

    Attributes:
        never: Why no update can, whatever it is; empty where one can.
        unlikely: Why a harmless update is rather rejected than accepted.
    """

    never: tuple[str, ...]
    unlikely: tuple[str, ...]


def deviation_of(differences_or_deviation: NDArray[np.float64] | float) -> float:
    """Return the standard deviation of paired differences, given them or itself."""
    if isinstance(differences_or_deviation, float):
        return differences_or_deviation
    if len(differences_or_deviation) < 2:
        raise ValueError(
            f"differences: expected at least two, found {len(differences_or_deviation)}"
        )
    return float(np.std(differences_or_deviation, ddof=1))


def power_at(
    episodes: int, deviation: float, margin: float, true_loss: float = 0.0, alpha: float = 0.05
) -> float:
    """Probability that one test rules the margin out.

    With a true loss of the margin or more that is a false acceptance.

    Args:
        episodes: n.
        deviation: of the paired differences, score units.
        margin: m, score units.
        true_loss: how much worse the candidate really is, score units; negative for better.
        alpha: level of the test.
    """
    if episodes < 2:
        return 0.0
    if deviation == 0.0:
        return float(true_loss < margin)
    shift = (margin - true_loss) / (deviation / math.sqrt(episodes))
    edge = float(stats.t.isf(alpha, episodes - 1))
    return float(np.clip(stats.nct.sf(edge, episodes - 1, shift), 0.0, 1.0))


def episodes_needed(
    differences_or_deviation: NDArray[np.float64] | float,
    margin: float,
    *,
    alpha: float = 0.05,
    power: float = _USUAL_POWER,
    regimes: int = 1,
    config: AcceptanceConfig | None = None,
    update: int = 1,
) -> int | None:
    """Least number of paired episodes of each regime with which a harmless update passes.

    With `regimes` above 1 every one must: each test has the level alpha over their number and
    misses with probability (1 - power) over it (Bonferroni), so the number is on the safe side.

    Args:
        differences_or_deviation: paired differences of two policies of one regime, or their
            standard deviation, score units.
        margin: m, score units.
        alpha: error rate of the update; with `config` what it spends on it.
        power: probability of passing.
        regimes: number of regimes, alike in deviation and margin.
        config: of the gate; its golden hypotheses count among those that share the error rate.
        update: t, number of the update.

    Returns:
        n of each regime; None where no number suffices: the margin is 0.
    """
    if margin <= 0.0:
        return None
    deviation = deviation_of(differences_or_deviation)
    hypotheses = regimes
    if config is not None:
        alpha = config.spent(update)
        hypotheses = 2 * regimes if config.correction == "holm" else 1
    level, wanted = alpha / hypotheses, 1.0 - (1.0 - power) / regimes

    def enough(episodes: int) -> bool:
        return power_at(episodes, deviation, margin, alpha=level) >= wanted

    high = 2
    while not enough(high):
        high *= 2
        if high > _MOST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return max(high, 2)


def acceptance_probability(
    samples: Mapping[str, Sample],
    config: AcceptanceConfig,
    update: int = 1,
    losses: Mapping[str, float] | None = None,
) -> float:
    """Probability that an update passes all tests of all regimes, by simulated Student's t.

    The best accepted policy counts as the champion itself, and regimes as independent.

    Args:
        samples: by regime.
        config: of the gate.
        update: t.
        losses: true losses by regime, as shares of the champion's gain; missing ones are 0.
    """
    rng = np.random.default_rng([config.seed, update])
    alpha, p_values = config.spent(update), []
    for name, sample in samples.items():
        if sample.episodes < 2:
            return 0.0
        margin, loss = sample.margin(config), (losses or {}).get(name, 0.0) * sample.gain
        freedom = sample.episodes - 1
        error = sample.deviation / math.sqrt(sample.episodes)
        noise_B = error * rng.normal(size=_DRAWS)
        found_B = error * np.sqrt(rng.chisquare(freedom, size=_DRAWS) / freedom)
        for factor in (1.0, config.golden_factor):
            shift_B = factor * margin - loss + noise_B
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio_B = np.where(found_B > 0.0, shift_B / found_B, np.sign(shift_B) * np.inf)
            p_values.append(stats.t.sf(np.nan_to_num(ratio_B, nan=0.0), freedom))
    p_BH = np.maximum(np.array(p_values).T, 1.0 / (config.resamples + 1.0))
    if config.correction == "none":
        return float(np.mean((p_BH <= alpha).all(axis=1)))
    steps_H = alpha / np.arange(p_BH.shape[1], 0, -1)
    return float(np.mean((np.sort(p_BH, axis=1) <= steps_H).all(axis=1)))


def check_feasible(
    samples: Mapping[str, Sample], config: AcceptanceConfig, updates: int = 1
) -> Feasibility:
    """Say before training what the gate can never accept, or hardly.

    Args:
        samples: by regime.
        config: of the gate.
        updates: how many updates are planned.
    """
    never, unlikely = [], []
    for name, sample in samples.items():
        margin = sample.margin(config)
        if sample.episodes < 2:
            never.append(
                f"regime {name}: expected at least 2 held-out episodes, found {sample.episodes}"
            )
        if margin == 0.0:
            never.append(
                f"regime {name}: the champion earns {sample.gain:.4g} more than doing nothing, of "
                f"which {100 * config.tolerance:g} % tolerate no loss at all, so a candidate that "
                "leaves it as it is cannot pass; expected a floor above 0, in units of the score"
            )
            continue
        needed = episodes_needed(
            sample.deviation, margin, regimes=len(samples), config=config, update=updates
        )
        if needed is None or needed > sample.episodes:
            unlikely.append(
                f"regime {name}: update {updates} needs about {_count(needed)} episodes to pass "
                f"with a probability of {_USUAL_POWER:g} where it does no harm, found "
                f"{sample.episodes:,}"
            )
    tests = 2 * len(samples) if config.correction == "holm" else 1
    last = _last_update(config, tests)
    if config.block == 1.0 and last is not None and last < updates:
        never.append(
            f"resamples: from update {last + 1} on the least p-value, 1 in "
            f"{config.resamples + 1:,}, is above the level of {tests} hypotheses; expected "
            f"{math.ceil(tests / config.spent(updates)):,} for {updates} updates"
        )
    return Feasibility(tuple(never), tuple(unlikely))


def explain_power(
    samples: Mapping[str, Sample], config: AcceptanceConfig, update: int = 1
) -> tuple[str, ...]:
    """Say what the gate sees at the sample at hand, and what it will do about it.

    Args:
        samples: by regime; those whose losses the gate is to see.
        config: of the gate.
        update: t.

    Returns:
        Sentences, one a line.
    """
    lines = [_seen(name, sample, config) for name, sample in samples.items()]
    harmless = acceptance_probability(samples, config, update)
    large = max(2.0 * config.tolerance, 0.1)
    falsely = max(
        acceptance_probability(samples, config, update, {name: large}) for name in samples
    )
    rejected = 1.0 - harmless
    lines.append(
        f"Update {update} is tested at an error rate of {config.spent(update):.2g}. It is accepted "
        f"in about {_percent(falsely)} of the cases where it truly loses {100 * large:g} % in one "
        f"regime, and rejected in about {_percent(rejected)} where it does no harm."
    )
    lines.append(
        "Where a loss cannot be ruled out the gate keeps the champion and says why: with too few "
        "episodes it rejects updates, it does not wave them through."
    )
    if rejected > 1.0 - _USUAL_POWER:
        lines.append(
            "That is a weak test: hold out more or shorter episodes, or raise tolerance or floor "
            "if you can bear the larger loss."
        )
    found = check_feasible(samples, config, update)
    return (*lines, *(f"Can never be met: {reason}." for reason in found.never))


def _seen(name: str, sample: Sample, config: AcceptanceConfig) -> str:
    share = f"a loss of {100 * config.tolerance:g} %"
    margin = sample.margin(config)
    if margin == 0.0:
        return f"Regime {name}: no loss is tolerated, as the champion earns nothing there."
    needed = episodes_needed(sample.deviation, margin, alpha=config.alpha)
    noise = sample.deviation / sample.gain if sample.gain > 0.0 else math.inf
    word = f"{noise:.2g} of the gain" if math.isfinite(noise) else f"{sample.deviation:.2g}"
    return (
        f"Regime {name}: ruling out {share} takes about {_count(needed)} paired episodes in a "
        f"single test (80 % power, noise of an episode {word}); there are {sample.episodes:,}."
    )


def _last_update(config: AcceptanceConfig, tests: int) -> int | None:
    """Last update whose level a p-value can reach; None where there is no last one."""
    least = 1.0 / (config.resamples + 1.0)
    if config.spending == "none":
        return None if config.alpha / tests >= least else 0
    # t (t + 1) <= alpha / (tests least)
    most = config.alpha / (tests * least)
    return math.floor((math.sqrt(1.0 + 4.0 * most) - 1.0) / 2.0)


def _count(episodes: int | None) -> str:
    return "more than ten million" if episodes is None else f"{episodes:,}"


def _percent(share: float) -> str:
    return "under 1 %" if share < 0.005 else f"{100 * share:.0f} %"

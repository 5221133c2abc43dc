r"""Did the agent beat the baselines after costs, and is the difference more than chance?

The question is fixed before the test span is seen: the *best baseline* is the one with the largest
log growth on the validation span, and the answer is the paired difference of log growth on the test
span, with an interval over seeds and histories (`bootstrap.combined_intervals`). A baseline that is
best only in hindsight is shown too, with its caveat: the largest of several numbers is large partly
by luck. Against that the test for superior predictive ability of Hansen (2005), "A Test for
Superior Predictive Ability", Journal of Business and Economic Statistics 23(4), asks whether *any*
baseline truly beats the agent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from arch.bootstrap import SPA
from numpy.typing import NDArray
from scipy import stats

from evaluation import metrics
from evaluation.bootstrap import (
    BootstrapConfig,
    Interval,
    Statistic,
    block_length,
    combined_intervals,
    seed_interval,
    time_interval,
)
from evaluation.ledger import Ledger
from evaluation.summary import returns_of

__all__ = ["Comparison", "Difference", "compare"]

REFERENCES = frozenset({"random"})
"""Baselines shown but never called best: no knowledge, so that the best of them is luck."""

POWER = 0.8
"""Probability with which a `Difference.detectable` difference would have been found."""


@dataclass(frozen=True)
class Difference:
    """Agent less one baseline on the test span."""

    baseline: str
    """Name of the baseline."""
    growth: Interval
    """Log growth per year, over seeds and histories."""
    growth_over_seeds: Interval
    """Log growth per year, over seeds on this very span."""
    growth_over_time: Interval
    """Log growth per year of these very agents, over histories."""
    sharpe: Interval
    """Sharpe ratio, over seeds and histories."""
    per_seed: tuple[float, ...]
    """Log growth per year of each seed less the baseline's."""

    @property
    def detectable(self) -> float:
        r"""Smallest difference of log growth that this span would find with probability `POWER`.

        .. math:: (z_{(1+\alpha)/2} + z_{0.8}) \, \mathrm{SE}

        with the standard error that the interval's width implies. Source: Cohen (1988), Statistical
        Power Analysis for the Behavioral Sciences, chapter 2.
        """
        edge = float(stats.norm.ppf(0.5 + self.growth.level / 2.0))
        return (edge + float(stats.norm.ppf(POWER))) * self.growth.width / (2.0 * edge)


@dataclass(frozen=True)
class Comparison:
    """The judgement of an agent."""

    best: str
    """The best baseline, chosen on the validation span (in hindsight where there is none)."""
    chosen_on_validation: bool
    """Whether `best` was chosen without looking at the test span."""
    best_in_hindsight: str
    """The baseline with the largest log growth on the test span itself."""
    validation_growth: Mapping[str, float]
    """Log growth per year of each baseline on the validation span."""
    differences: Mapping[str, Difference]
    """Agent less baseline on the test span, for every baseline."""
    superior_p_value: float
    """Probability of a lead as large as the best one's if no baseline truly beats the agent."""
    num_seeds: int
    """K."""
    num_bars: int
    """T, bars of the test span."""

    @property
    def headline(self) -> Difference:
        """The difference that the verdict is about."""
        return self.differences[self.best]

    @property
    def won(self) -> bool:
        """Whether the agent's mean log growth was above the best baseline's."""
        return self.headline.growth.estimate > 0.0

    @property
    def decided(self) -> bool:
        """Whether the interval of the difference is known and does not contain zero."""
        interval = self.headline.growth
        return bool(np.isfinite([interval.low, interval.high]).all()) and 0.0 not in interval

    @property
    def verdict(self) -> str:
        """The judgement in words, the first line of every report."""
        if self.won and self.decided:
            return (
                "The agent beat the best baseline after costs, and the interval of the difference "
                "does not contain zero."
            )
        if self.won:
            return (
                "The agent came out ahead of the best baseline after costs, but the interval of "
                "the difference contains zero: this may be chance."
            )
        if self.decided:
            return (
                "The agent did not beat the best baseline after costs, and the interval of the "
                "difference does not contain zero: the baseline was better."
            )
        return (
            "The agent did not beat the best baseline after costs, but the interval of the "
            "difference contains zero: this may be chance."
        )

    @property
    def evidence(self) -> str:
        """The figures behind the verdict, in words."""
        gap = self.headline.growth
        how = (
            "chosen on the validation span" if self.chosen_on_validation else "chosen in hindsight"
        )
        seeds = (
            "one seed, which says nothing about other training runs"
            if self.num_seeds == 1
            else f"mean of {self.num_seeds} seeds"
        )
        return (
            f"Agent less {_name(self.best)} ({how}): {_points(gap.estimate)} percentage points of "
            f"log growth a year ({seeds}), {100.0 * gap.level:.0f}% interval {_points(gap.low)} to "
            f"{_points(gap.high)}, over {self.num_bars:,} bars out of sample."
        )


def compare(
    agents: Sequence[Ledger],
    baselines: Mapping[str, Sequence[Ledger]],
    validation: Mapping[str, Sequence[Ledger]] | None = None,
    config: BootstrapConfig | None = None,
) -> Comparison:
    """Judge an agent against baselines on the same bars.

    Args:
        agents: ledgers on the test span, one for each seed of the agent.
        baselines: ledgers of each baseline on the test span; several for a random one.
        validation: ledgers of the same baselines on the validation span, from which the best one is
            chosen; none chooses it in hindsight, and the verdict says so.
        config: how intervals are drawn.

    Returns:
        Differences against every baseline, the choice of the best, and the verdict.

    Raises:
        ValueError: no agent, no eligible baseline, other names in the two spans, or ledgers on
            different bars.
    """
    eligible = [name for name in baselines if name not in REFERENCES]
    if not eligible:
        raise ValueError(f"baselines: expected one beside {sorted(REFERENCES)}, found none")
    if validation is not None and set(validation) != set(baselines):
        raise ValueError(
            f"validation: expected the baselines {sorted(baselines)}, found {sorted(validation)}"
        )
    settings = config or BootstrapConfig()
    agent_KT = returns_of(agents)
    others = {name: returns_of([agents[0], *rows])[1:] for name, rows in baselines.items()}
    clock = agents[0].metadata.periods_per_year
    growth = {name: _growth(ledgers) for name, ledgers in baselines.items()}
    earlier = {name: _growth(ledgers) for name, ledgers in (validation or {}).items()}
    ranking = earlier or growth
    return Comparison(
        best=max(eligible, key=lambda name: ranking[name]),
        chosen_on_validation=validation is not None,
        best_in_hindsight=max(eligible, key=lambda name: growth[name]),
        validation_growth=earlier,
        differences={
            name: _difference(name, agent_KT, other_LT, clock, settings)
            for name, other_LT in others.items()
        },
        superior_p_value=_superior_p_value(
            agent_KT, np.stack([others[name].mean(axis=0) for name in eligible]), settings
        ),
        num_seeds=len(agents),
        num_bars=agent_KT.shape[1],
    )


def _growth(ledgers: Sequence[Ledger]) -> float:
    clock = ledgers[0].metadata.periods_per_year
    return float(np.mean(metrics.annualised_log_growth(returns_of(ledgers), clock)))


def _difference(
    name: str,
    agent_KT: NDArray[np.float64],
    other_LT: NDArray[np.float64],
    clock: float,
    config: BootstrapConfig,
) -> Difference:
    def growth(returns_NT: NDArray[np.float64]) -> NDArray[np.float64]:
        return metrics.annualised_log_growth(returns_NT, clock)

    def sharpe(returns_NT: NDArray[np.float64]) -> NDArray[np.float64]:
        # An account that never moves has the ratio 0, one with constant interest none: take 0.
        ratio = metrics.sharpe(returns_NT, clock)
        return np.where(np.isinf(ratio), 0.0, ratio)

    def mean(gaps_NT: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(clock * np.mean(gaps_NT, axis=-1))

    both: Mapping[str, Statistic] = {"growth": growth, "sharpe": sharpe}
    drawn = combined_intervals(agent_KT, both, config, other_LT)
    # The agents being fixed, their mean growth less the baseline's is the mean of one series.
    gap_T = metrics.log_returns(agent_KT).mean(axis=0) - metrics.log_returns(other_LT).mean(axis=0)
    gap_K = growth(agent_KT) - float(np.mean(growth(other_LT)))
    return Difference(
        baseline=name,
        growth=drawn["growth"],
        growth_over_seeds=seed_interval(gap_K, config.level),
        growth_over_time=time_interval(gap_T, mean, config),
        sharpe=drawn["sharpe"],
        per_seed=tuple(float(gap) for gap in gap_K),
    )


def _superior_p_value(
    agent_KT: NDArray[np.float64], others_MT: NDArray[np.float64], config: BootstrapConfig
) -> float:
    """Hansen's consistent p-value that no baseline beats the agent's mean over seeds; else nan."""
    agent_T = metrics.log_returns(agent_KT).mean(axis=0)
    gaps_MT = metrics.log_returns(others_MT) - agent_T
    # A baseline that never differs from the agent cannot be studentised, and cannot beat it.
    moving_MT = gaps_MT[np.ptp(gaps_MT, axis=1) > 1e-12]
    if len(moving_MT) == 0 or agent_KT.shape[1] < 8:
        return float("nan")
    longest = max(config.block_length or block_length(gap_T) for gap_T in moving_MT)
    test = SPA(
        np.zeros(len(agent_T)),
        -moving_MT.T,
        block_size=max(1, round(longest)),
        reps=config.resamples,
        bootstrap="stationary",
        seed=np.random.default_rng(config.seed),
    )
    test.compute()
    return float(test.pvalues["consistent"])


def _name(baseline: str) -> str:
    return baseline.replace("_", "-" if baseline == "buy_and_hold" else " ")


def _points(growth: float) -> str:
    """Log growth per year in percentage points, with its sign."""
    if not np.isfinite(growth):
        return "unknown"
    sign = "+" if growth >= 0.0 else "\N{MINUS SIGN}"
    return f"{sign}{100.0 * abs(growth):.1f}"

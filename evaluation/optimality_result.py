"""What is known about an agent's distance from the optimum: scores, intervals, table and words."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter

from evaluation.bootstrap import Interval
from evaluation.judge import finite, save_options
from evaluation.optimality_scores import NEGLECTED, Earned, OptimalityConfig, Scores
from evaluation.optimality_states import Slice, median_position
from evaluation.optimality_statistics import mean_interval, optimality_ratio, undefined_because
from evaluation.option_result import OptionReport
from markets.atomic import whole_file
from markets.synthetic.base import Information, RegimeView

__all__ = ["NOTHING", "Check", "Kind", "OptimalityEvaluation", "Row"]

Array = NDArray[np.float64]
Kind = Literal["agent", "seed", "oracle", "rule"]

NOTHING: Final = "do_nothing"
"""Name of the rule that the ratio starts from."""
SUSPICIOUS: Final = 4.0
"""Standard errors between simulated and computed value from which the report warns."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: Name of the policy.
        kind: What it is.
        seed: Seed of its training; None where it has none, or for all seeds together.
        value: J, in units of the reward a bar.
        ratio: S; nan where undefined.
        realised: J of the realised rewards.
        mean: Plain mean reward of a bar.
        regimes: Mean reward of the bars that each regime governed; nan for one that never did.
        turnover: Traded a bar, units (multiples of equity where prices are not additive).
        cost: Trading costs a bar, currency (share of equity).
    """

    name: str
    kind: Kind
    seed: int | None
    value: Interval
    ratio: Interval
    realised: float
    mean: float
    regimes: tuple[float, ...]
    turnover: float
    cost: float


@dataclass(frozen=True)
class Check:
    """An oracle's computed value beside the simulated one: a check of the ledger.

    Attributes:
        name: The oracle.
        value: By closed form or dynamic programming, a bar.
        simulated: Mean over the episodes.
        error: Its standard error.
    """

    name: str
    value: float
    simulated: float
    error: float

    @property
    def z(self) -> float:
        """Standard errors between the two; 0 where both agree to rounding."""
        gap = self.simulated - self.value
        if self.error <= 0.0:
            return 0.0 if math.isclose(self.simulated, self.value, abs_tol=1e-12) else math.inf
        return gap / self.error


@dataclass(frozen=True, kw_only=True)
class OptimalityEvaluation:
    """Everything that is known about an agent's distance from the optimum."""

    agents: tuple[Scores, ...]
    """One for each seed."""
    oracles: Mapping[Information, Scores]
    """`known` and `belief`, as far as they exist."""
    rules: Mapping[str, Scores]
    """The market's rules, `do_nothing` among them."""
    computed: Mapping[Information, float]
    """The oracles' values by closed form or dynamic programming, as far as they are known."""
    reference: Information
    """The oracle that the ratio is about."""
    view: RegimeView
    """What the agent sees of the regime."""
    missing: Mapping[Information, str]
    """Why an oracle does not exist."""
    market: Mapping[str, Any]
    """Parameters of the market."""
    problem: Mapping[str, Any]
    """How it is traded."""
    additive: bool
    """Prices are additive: rewards in currency a bar; otherwise log growth a bar."""
    length: int
    """Bars of an episode."""
    discount: float
    """delta, per bar."""
    config: OptimalityConfig
    """How it was measured."""
    slices: tuple[Slice, ...] = ()
    """Learned and optimal holdings over the state, of the seed `shown`."""
    options: OptionReport | None = None
    """Who acted, and what options are worth; None where the agent is not made of options."""

    @cached_property
    def shown(self) -> int:
        """Position of the seed whose value is the median."""
        return median_position([float(self._of(s).discounted_E.mean()) for s in self.agents])

    @property
    def expected(self) -> bool:
        """Whether values are means of expected rewards; otherwise of realised ones."""
        return all(scores.expected is not None for scores in self._all())

    @property
    def bound(self) -> bool:
        """Whether the reference knows more than the agent: S is then a lower bound."""
        return self.reference == "known" and self.view != "known" and self._regimes > 1

    @cached_property
    def undefined(self) -> str:
        """Why the ratio has no meaning; empty where it has one."""
        return undefined_because(self._nothing, self._optimal, self.config.bootstrap)

    @cached_property
    def ratio(self) -> Interval:
        """S of the agent over all seeds."""
        return self._ratio(self.agents)

    @cached_property
    def seed_ratios(self) -> tuple[float, ...]:
        """S of each seed, for `iqm_interval` over many of them; nan where undefined."""
        return tuple(self._ratio([scores]).estimate for scores in self.agents)

    @cached_property
    def value(self) -> Interval:
        """J of the agent over all seeds."""
        return mean_interval(self._values(self.agents), self.config.bootstrap)

    @cached_property
    def price_of_not_knowing(self) -> Interval | None:
        """J* with the regime known less J* with the filter's belief; None unless both exist."""
        if set(self.oracles) != {"known", "belief"}:
            return None
        known, belief = (self._values([self.oracles[name]]) for name in ("known", "belief"))
        return mean_interval(known - belief, self.config.bootstrap)

    @property
    def remainder(self) -> float:
        """Discount factor of the first bar that episodes leave out."""
        return float(self.discount**self.length)

    @property
    def comparable(self) -> bool:
        """Whether episodes are so long that computed values, which are without end, apply."""
        return self.remainder <= NEGLECTED * (1.0 + 1e-9)

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        """Oracles' computed values beside the simulated ones; none where episodes are too short.

        From a flat start the first bars earn less than later ones, so that a short episode's mean
        is another quantity than the value.
        """
        found: list[Check] = []
        if not self.comparable:
            return ()
        for name, value in self.computed.items():
            values_E = self._values([self.oracles[name]])[0]
            error = float(values_E.std(ddof=1)) / math.sqrt(len(values_E))
            found.append(Check(name, value, float(values_E.mean()), error))
        return tuple(found)

    @cached_property
    def table(self) -> tuple[Row, ...]:
        """The agent over all seeds, each seed, oracles and rules."""
        rows = [self._row("agent", "agent", self.agents, None)]
        if len(self.agents) > 1:
            rows += [self._row("agent", "seed", [s], s.seed) for s in self.agents]
        rows += [self._row(f"oracle_{n}", "oracle", [s], None) for n, s in self.oracles.items()]
        rules = [self._row(name, "rule", [s], None) for name, s in self.rules.items()]
        rules.sort(key=lambda row: (row.name == NOTHING, -row.value.estimate))
        return tuple(rows + rules)

    @cached_property
    def agreement(self) -> float:
        """R^2 of the shown seed's holdings as the optimum's, on the same paths; nan if constant."""
        optimal = self.oracles[self.reference].holding_LNA
        error = np.sum((self.agents[self.shown].holding_LNA - optimal) ** 2)
        total = np.sum((optimal - optimal.mean(axis=(0, 1))) ** 2)
        return float(1.0 - error / total) if total > 0.0 else math.nan

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        if self.undefined:
            return f"How far from the optimum is unknown: {self.undefined}."
        found = f"{_number(self.ratio.estimate)} {_range(self.ratio)}"
        if self.ratio.high < 0.0:
            return f"The agent does worse than doing nothing: {found} of what the optimum earns."
        if 0.0 in self.ratio:
            return f"The agent may as well do nothing: {found} of what the optimum earns."
        least = "at least " if self.bound else ""
        return f"The agent earns {least}{found} of what the optimum earns."

    @property
    def evidence(self) -> str:
        """What the verdict rests on, in a sentence."""
        count = len(self.agents)
        seeds = "one training seed" if count == 1 else f"mean of {count} training seeds"
        rewards = "expected" if self.expected else "realised"
        whose = {
            "known": "the optimum that knows the regime",
            "belief": "the optimum that filters the regime from the same past",
        }[self.reference]
        return (
            f"Against {whose}, {seeds}, {self.config.bootstrap.level:.0%} interval over seeds and "
            f"{self.config.episodes:,} episodes of {self.length:,} bars, {rewards} rewards on the "
            "same paths for every policy."
        )

    @property
    def headline(self) -> dict[str, float]:
        """Figures for the tracking store."""
        found = {
            "optimality/ratio": self.ratio.estimate,
            "optimality/ratio_low": self.ratio.low,
            "optimality/ratio_high": self.ratio.high,
            "optimality/value": self.value.estimate,
            "optimality/oracle": float(self._optimal.mean()),
            "optimality/do_nothing": float(self._nothing.mean()),
            "optimality/holdings_r2": self.agreement,
        }
        price = self.price_of_not_knowing
        return (
            found if price is None else found | {"optimality/price_of_not_knowing": price.estimate}
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know before believing the figures."""
        return tuple(_notes(self))

    def save(self, folder: Path) -> None:
        """Write `metrics.json`, `table.csv` and `episodes.parquet`, each whole or not at all.

        Scores of options are written to `options.json`, if the agent is made of them.

        Args:
            folder: made if it is missing.

        Raises:
            OSError: the folder cannot be written, or the disk is full.
        """
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False)
        with whole_file(folder / "metrics.json") as file:
            file.write(text.encode())
        with whole_file(folder / "table.csv") as file:
            file.write(self.frame().to_csv(index=False, lineterminator="\n").encode())
        with whole_file(folder / "episodes.parquet") as file:
            self.episodes().to_parquet(file, index=False)
        if self.options is not None:
            save_options(folder, self.options)

    def to_dict(self) -> dict[str, Any]:
        """Verdict, table and checks, as JSON has them (null for undefined)."""
        price = self.price_of_not_knowing
        document = {
            "verdict": self.verdict,
            "evidence": self.evidence,
            "notes": list(self.notes),
            "headline": self.headline,
            "reference": self.reference,
            "view": self.view,
            "ratio": asdict(self.ratio),
            "seeds": {
                str(scores.seed): ratio
                for scores, ratio in zip(self.agents, self.seed_ratios, strict=True)
            },
            "undefined": self.undefined,
            "price_of_not_knowing": None if price is None else asdict(price),
            "checks": [asdict(check) | {"z": check.z} for check in self.checks],
            "computed": dict(self.computed),
            "table": [asdict(row) for row in self.table],
            "market": self.market,
            "problem": self.problem,
            "unit": self.unit,
            "expected_rewards": self.expected,
            "length": self.length,
            "config": TypeAdapter(OptimalityConfig).dump_python(self.config, mode="json"),
        }
        plain: dict[str, Any] = finite(document)
        return plain

    def frame(self) -> pd.DataFrame:
        """The table with one column for each figure and each end of an interval."""
        records = []
        for row in self.table:
            record: dict[str, Any] = {"policy": row.name, "kind": row.kind, "seed": row.seed}
            for name, found in (("value", row.value), ("ratio", row.ratio)):
                record |= {
                    name: found.estimate,
                    f"{name}_low": found.low,
                    f"{name}_high": found.high,
                }
            record |= {"realised": row.realised, "mean": row.mean}
            record |= {f"regime_{k}": mean for k, mean in enumerate(row.regimes)}
            records.append(record | {"turnover": row.turnover, "cost": row.cost})
        return pd.DataFrame(records).astype({"seed": "Int64"})

    def episodes(self) -> pd.DataFrame:
        """Scores of every policy on every episode, one row each."""
        return pd.concat(
            [self._episode_frame(*named) for named in self._named()], ignore_index=True
        )

    @property
    def unit(self) -> str:
        """Unit of the values."""
        return "currency a bar" if self.additive else "log growth a bar"

    @property
    def _regimes(self) -> int:
        return int(self.agents[0].share_EK.shape[1])

    @property
    def _nothing(self) -> Array:
        return self._of(self.rules[NOTHING]).discounted_E

    @property
    def _optimal(self) -> Array:
        return self._of(self.oracles[self.reference]).discounted_E

    def _named(self) -> list[tuple[str, Scores]]:
        return [
            *(("agent", scores) for scores in self.agents),
            *((f"oracle_{name}", scores) for name, scores in self.oracles.items()),
            *self.rules.items(),
        ]

    def _all(self) -> list[Scores]:
        return [scores for _, scores in self._named()]

    def _of(self, scores: Scores) -> Earned:
        """The rewards that values are about, the same kind for every policy."""
        return scores.earned if self.expected else scores.realised

    def _values(self, scores: Sequence[Scores]) -> Array:
        return np.stack([self._of(each).discounted_E for each in scores])

    def _ratio(self, scores: Sequence[Scores]) -> Interval:
        values_KE = self._values(scores)
        return optimality_ratio(values_KE, self._nothing, self._optimal, self.config.bootstrap)

    def _row(self, name: str, kind: Kind, scores: Sequence[Scores], seed: int | None) -> Row:
        earned = np.mean([self._of(each).regime_EK.mean(axis=0) for each in scores], axis=0)
        share_K = scores[0].share_EK.mean(axis=0)
        regimes = np.divide(earned, share_K, out=np.full_like(earned, np.nan), where=share_K > 0.0)
        return Row(
            name=name,
            kind=kind,
            seed=seed,
            value=mean_interval(self._values(scores), self.config.bootstrap),
            ratio=self._ratio(scores),
            realised=_mean(each.realised.discounted_E for each in scores),
            mean=_mean(self._of(each).mean_E for each in scores),
            regimes=tuple(float(mean) for mean in regimes),
            turnover=_mean(each.turnover_E for each in scores),
            cost=_mean(each.cost_E for each in scores),
        )

    def _episode_frame(self, name: str, scores: Scores) -> pd.DataFrame:
        earned = self._of(scores)
        columns: dict[str, Any] = {
            "policy": name,
            "seed": scores.seed,
            "episode": np.arange(len(earned.discounted_E)),
            "value": earned.discounted_E,
            "realised": scores.realised.discounted_E,
            "mean": earned.mean_E,
            "turnover": scores.turnover_E,
            "cost": scores.cost_E,
        }
        for regime, values_E in enumerate(earned.regime_EK.T):
            columns |= {f"regime_{regime}": values_E, f"share_{regime}": scores.share_EK[:, regime]}
        return pd.DataFrame(columns)


def _notes(found: OptimalityEvaluation) -> Iterator[str]:
    if found.bound and not found.undefined and found.ratio.low > 0.0:
        why = found.missing.get("belief", "")
        yield (
            "The agent does not see the regime that the optimum knows, so its share of what it "
            f"could earn is larger than shown{f' ({why})' if why else ''}."
        )
    if found.view == "hidden" and found.reference == "belief":
        yield (
            "The optimum filters the regime from the whole past, of which the agent sees but the "
            "last bar: no policy without a memory can earn all of it."
        )
    if not found.expected:
        yield "Expected rewards are not defined on this market, so realised ones are used."
    for check in found.checks:
        if abs(check.z) > SUSPICIOUS:
            yield (
                f"The value of the oracle ({check.name}) by mathematics, {check.value:.4g}, is "
                f"{abs(check.z):.1f} standard errors from its ledger's, {check.simulated:.4g}."
            )
    if found.computed and not found.comparable:
        yield (
            "The oracles' values by mathematics are not compared: episodes too short (discount "
            f"factor {found.remainder:.2g} at their end, {NEGLECTED:g} is needed)."
        )
    yield from _ruins(found)
    outside = max(scores.projected for scores in found.agents)
    if outside > 0.01:
        yield f"Up to {outside:.0%} of the agent's actions were outside their limits."


def _ruins(found: OptimalityEvaluation) -> Iterator[str]:
    """Ruined episodes of the agent, then of the oracles and rules that it is compared with."""
    policies = {"the agent": found.agents}
    policies |= {f"the oracle ({name})": (scores,) for name, scores in found.oracles.items()}
    policies |= {f"the rule {name}": (scores,) for name, scores in found.rules.items()}
    for name, played in policies.items():
        ruined = sum(scores.ruined for scores in played)
        if ruined:
            total = len(played) * found.config.episodes
            yield f"{ruined} of {total:,} episodes of {name} ended in ruin, and earn nothing since."


def _mean(values: Iterable[Array]) -> float:
    return float(np.mean([np.mean(value) for value in values]))


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _range(interval: Interval) -> str:
    return f"[{_number(interval.low)}, {_number(interval.high)}]"

"""The phases of a stream, and the regimes that they belong to: where each is played and judged.

Dimensions: E episodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agents.continual.protocol import Remedy, Tensors
from agents.policy import Policy
from envs.joined import JoinedSimulator
from envs.simulator import Simulator
from envs.synthetic import Problem
from evaluation.optimality import OptimalityConfig, measure, reference_of
from markets.synthetic.chain import SyntheticMarketError
from markets.synthetic.phases import dominant, pooled, pure
from regimes.config import OracleRegime
from training.config import TrainConfig
from training.continual.config import ContinualConfig, RegimePhases
from training.errors import ConfigError
from training.tasks.task import Task

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What a policy earned in a regime, episode by episode, beside what bounds it."""

    earned_E: Array
    """Of the policy, reward units a bar."""
    nothing_E: Array
    """Of doing nothing in the same episodes."""
    best_E: Array | None
    """Of the optimum in the same episodes; None where nobody knows it."""
    drawdown_E: Array | None = None
    """Largest drawdown of the policy's equity, as a share of its peak; None where rewards alone are
    scored, as on markets with a known answer."""

    @property
    def ratio(self) -> float:
        """S = (J - J0) / (J* - J0); the gain over doing nothing where no optimum is known."""
        gain = float(self.earned_E.mean() - self.nothing_E.mean())
        if self.best_E is None:
            return gain
        return gain / float(self.best_E.mean() - self.nothing_E.mean())


class Regime(Protocol):
    """A regime of a stream."""

    @property
    def name(self) -> str:
        """In words."""
        ...

    def simulator(self, seed: int, *, lanes: int, offset: int = 0) -> Simulator | JoinedSimulator:
        """Environments to learn in (same-step autoreset).

        Args:
            seed: of the episodes.
            lanes: how many.
            offset: number of the first, where others play other regimes with the same seed.
        """
        ...

    def judge(self, policy: Policy, *, seed: int, episodes: int) -> Scores:
        """Play held-out episodes: the same for every policy of one seed (common random numbers)."""
        ...


@runtime_checkable
class Dated(Protocol):
    """A regime whose bars lie in time, so that those of later phases are the future."""

    def until(self, phase: int) -> Regime:
        """The regime without the bars of later phases."""
        ...


@dataclass(frozen=True)
class Phase:
    """A stretch of the stream."""

    number: int
    """0, 1, ..."""
    regime: int
    """Which of the plan's regimes governs it."""
    beside: tuple[int, ...] = ()
    """Regimes that are played beside it by as many environments each."""
    known: int | None = None
    """Phase of the stream up to whose end recorded bars may be learned from; None = its own."""


@dataclass(frozen=True)
class Plan:
    """What a stream is made of."""

    regimes: tuple[Regime, ...]
    """Each once."""
    phases: tuple[Phase, ...]
    """In the order of the stream."""
    known: bool
    """Whether the agent is told which regime it is in."""
    mixed: bool
    """Whether several regimes take turns within a phase."""
    numbers: tuple[int, ...] | None = None
    """What remedies call each regime: its column in what agents are told of regimes. None = nothing
    is told of these regimes, they are counted."""
    opening: tuple[str, ...] = ()
    """What there is to say of the phases before they are learned, in lines."""

    @property
    def played(self) -> tuple[int, ...]:
        """Regimes of all phases, each once, in the order of their first one."""
        return tuple(dict.fromkeys(phase.regime for phase in self.phases))

    def number(self, phase: Phase) -> int:
        """What remedies call the regime of a phase."""
        return phase.regime if self.numbers is None else self.numbers[phase.regime]

    def played_as(self, remedy: Remedy | None, regime: int) -> Tensors:
        """What differs in a policy when it plays a regime that its agent is told of.

        Args:
            remedy: what keeps earlier phases; None = nothing.
            regime: number of the regime.
        """
        return {} if remedy is None or not self.known else remedy.played_as(regime)

    def with_regime(self, regime: Regime, columns: int) -> "Plan":
        """The plan with one more phase, of a regime that agents are told nothing of.

        Args:
            regime: the new phase's.
            columns: how many regimes agents are told of.
        """
        numbers = self.numbers
        if numbers is not None:
            numbers = (*numbers, max(columns, *(number + 1 for number in numbers)))
        return replace(
            self,
            regimes=(*self.regimes, regime),
            phases=(*self.phases, Phase(len(self.phases), len(self.regimes))),
            numbers=numbers,
        )

    def joint(self) -> "Plan":
        """The plan with one phase, in which all its regimes are played at once."""
        return replace(self, phases=(Phase(0, self.played[0], self.played[1:]),))

    def alone(self, regime: int) -> "Plan":
        """The plan with one phase: what the first one of a regime learns, and nothing before it."""
        first = next(phase for phase in self.phases if phase.regime == regime)
        return replace(self, phases=(Phase(0, regime, known=first.number),))

    def until(self, phase: Phase) -> "Plan":
        """The plan as a phase may know it: recorded bars of later phases are left out.

        A joint phase knows all of them.
        """
        if phase.beside:
            return self
        last = phase.number if phase.known is None else phase.known
        regimes = tuple(
            each.until(last) if isinstance(each, Dated) else each for each in self.regimes
        )
        return replace(self, regimes=regimes)

    def seen(self, phase: Phase) -> tuple[int, ...]:
        """Regimes of the phases before one, its own left out, in the order of their first one."""
        before = [each.regime for each in self.phases[: phase.number]]
        return tuple(regime for regime in dict.fromkeys(before) if regime != phase.regime)

    def simulator(self, lanes: Mapping[int, int], seed: int) -> Simulator | JoinedSimulator:
        """Environments of several regimes side by side.

        Args:
            lanes: how many environments play each regime, in order.
            seed: of the episodes.
        """
        parts: list[Simulator] = []
        offset = 0
        for regime, count in lanes.items():
            if count:
                found = self.regimes[regime].simulator(seed, lanes=count, offset=offset)
                parts += found.parts if isinstance(found, JoinedSimulator) else [found]
                offset += count
        return parts[0] if len(parts) == 1 else JoinedSimulator(parts)


class MarketRegime:
    """A regime of a market with a known answer.

    Args:
        name: in words.
        problem: the market where this regime governs.
        judgement: how episodes are played.
    """

    def __init__(self, name: str, problem: Problem, judgement: OptimalityConfig) -> None:
        self._name, self.problem, self._judgement = name, problem, judgement
        self._bounds: dict[tuple[int, int], tuple[Array, Array]] = {}

    @property
    def name(self) -> str:
        """In words."""
        return self._name

    def simulator(self, seed: int, *, lanes: int, offset: int = 0) -> Simulator:
        """Environments on paths of this seed."""
        rules = self.problem.trading()
        rules = replace(rules, observation=replace(rules.observation, kind="index"))
        return Simulator(
            self.problem.stream(),
            rules,
            lanes,
            seed=seed,
            autoreset="same_step",
            lane_offset=offset,
        )

    def judge(self, policy: Policy, *, seed: int, episodes: int) -> Scores:
        """Expected rewards on the paths of a seed, beside the optimum's and doing nothing's."""
        settings = replace(self._judgement, seed=seed, episodes=episodes)
        earned = measure(policy, self.problem, settings).earned.discounted_E
        if (seed, episodes) not in self._bounds:
            # The optimum filters by the true chain, whatever the agent's filter believes.
            informed = replace(self.problem, world=self.problem.world.informed())
            world = informed.world
            nothing = measure(world.rules()["do_nothing"], informed, settings)
            best = measure(world.oracle(reference_of(world)), informed, settings)
            self._bounds[seed, episodes] = (nothing.earned.discounted_E, best.earned.discounted_E)
        return Scores(earned, *self._bounds[seed, episodes])


def open_plan(config: TrainConfig, continual: ContinualConfig, task: Task | None = None) -> Plan:
    """The phases that a configuration asks for.

    Args:
        config: of the run.
        continual: its stream.
        task: what is learned on, where it is open; recorded data is else opened once more.

    Raises:
        ConfigError: phases that the data or the market does not have.
    """
    phases = continual.phases
    if isinstance(phases, RegimePhases):
        return _market_plan(config, phases)
    from training.continual.data_phases import data_plan  # noqa: PLC0415 - it knows this module

    return data_plan(config, continual, phases, task)


def _market_plan(config: TrainConfig, phases: RegimePhases) -> Plan:
    if config.market is None:
        raise ConfigError(
            "continual.phases.kind: expected calendar or detector on recorded data, whose regimes "
            "nobody knows, found regimes"
        )
    world, count = config.market.world, config.market.world.num_regimes
    if isinstance(config.regime, OracleRegime):  # as the task has it: the exact filter's belief
        world = replace(world, regime="belief")
    if phases.mixing == "mixed" and not 1.0 / count <= phases.dominance:
        raise ConfigError(
            f"continual.phases.dominance: expected at least 1 / {count}, an even share of the "
            f"market's {count} regimes, found {phases.dominance}"
        )
    order = phases.order if phases.order is not None else tuple(range(count))
    if not order or max(order) >= count:
        raise ConfigError(
            f"continual.phases.order: expected numbers of the market's {count} regimes, found "
            f"{list(order)}"
        )
    try:
        if phases.mixing == "pure":
            worlds = tuple(pure(world, regime) for regime in range(count))
        else:
            worlds = pooled([dominant(world, k, phases.dominance) for k in range(count)])
        judgement, measured = config.evaluation.optimality, config.market.measure or world
        problems = [replace(config.market, world=each, measure=measured) for each in worlds]
    except SyntheticMarketError as error:
        raise ConfigError(f"continual.phases: {error}") from error
    return Plan(
        regimes=tuple(
            MarketRegime(f"regime {number}", problem, judgement)
            for number, problem in enumerate(problems)
        ),
        phases=tuple(Phase(number, regime) for number, regime in enumerate(order * phases.cycles)),
        known=world.regime == "known",
        mixed=phases.mixing == "mixed",
        numbers=tuple(range(count)),
    )

"""Play a policy on fresh episodes of a market with a known answer, and score every episode.

All policies play the same paths (common random numbers: the paths follow from the seed alone), and
each bar is scored by the reward that was to be expected given the state and the fill as well as by
the realised one. The expected one has the same mean and a far smaller variance.

Dimensions: E episodes (lanes), L bars, K regimes, A assets, N sampled episodes.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from agents.policy import Policy
from envs.simulator import Simulator
from envs.synthetic import Problem
from evaluation.bootstrap import BootstrapConfig
from evaluation.briefing import Briefing
from evaluation.ledger import TERMS, TRADING_COSTS
from markets.synthetic.base import Solution, regimes_of

__all__ = ["Earned", "OptimalityConfig", "Scores", "episode_length", "measure"]

Array = NDArray[np.float64]

NEGLECTED = 1e-3
"""Discount factor of the first bar that an episode leaves out."""
SAMPLED = 64
"""Episodes whose holdings are kept, bar by bar."""
_COST_COLUMNS = [TERMS.index(name) for name in TRADING_COSTS]


@pydantic_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class OptimalityConfig:
    """How the distance from the optimum is measured."""

    episodes: Annotated[int, Field(ge=2)] = 1024
    """Episodes that every policy plays, at least 2."""
    length: Annotated[int, Field(ge=1)] | None = None
    """Bars of an episode; none plays until the discount factor has fallen to 1e-3."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 10_000
    """Seed of the paths; choose one that no training used."""
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    """How intervals are drawn; episodes are independent, so the block length is 1."""


@dataclass(frozen=True)
class Earned:
    """What each episode earned, in units of the reward a bar.

    Attributes:
        discounted_E: J = (1 - delta) / (1 - delta^L) sum_t delta^t reward_t.
        mean_E: Plain mean reward of a bar.
        regime_EK: The part of J that was earned in bars that regime k governed; sums to J over k.
    """

    discounted_E: Array
    mean_E: Array
    regime_EK: Array


@dataclass(frozen=True)
class Scores:
    """How one policy did on every episode.

    Attributes:
        name: Name of the policy.
        seed: Seed of its training; 0 where it has none.
        expected: What was to be expected given the states and the fills; None where the kernel
            does not know it.
        realised: What came to be.
        share_EK: Discounted share of the bars that regime k governed; sums to 1 over k.
        turnover_E: Traded a bar: units where prices are additive, else multiples of equity.
        cost_E: Trading costs a bar: currency where prices are additive, else shares of equity.
        projected: Share of actions outside their limits.
        ruined: Number of episodes that ended in ruin; they earn nothing from then on.
        holding_LNA: Holdings after each bar of the first episodes, units or weights.
    """

    name: str
    seed: int
    expected: Earned | None
    realised: Earned
    share_EK: Array
    turnover_E: Array
    cost_E: Array
    projected: float
    ruined: int
    holding_LNA: Array

    @property
    def earned(self) -> Earned:
        """The expected rewards where they are known, else the realised ones."""
        return self.realised if self.expected is None else self.expected


@runtime_checkable
class _Acting(Protocol):
    def act(self, observation_NO: NDArray[np.float32]) -> Array: ...


def episode_length(config: OptimalityConfig, discount: float) -> int:
    """Bars of an episode: as configured, or ceil(log(1e-3) / log(discount)).

    Args:
        config: how it is measured.
        discount: delta, per bar, in (0, 1).
    """
    return config.length or max(1, math.ceil(math.log(NEGLECTED) / math.log(discount)))


def measure(
    policy: Policy | Solution,
    problem: Problem,
    config: OptimalityConfig | None = None,
    *,
    name: str = "",
    seed: int = 0,
    misled: bool = False,
) -> Scores:
    """Play a policy on fresh episodes of a market and score each of them.

    A policy acts on index observations [bar, features (C), account (P)], inside the limits of its
    actions; it is told more where it asks for it (`evaluation.briefing`). A solution is told the
    true state, with the belief of the true filter whatever that of the agents assumes (unless
    `misled`), and trades as much as it likes: it is the optimum of the market, not of the action
    space.

    Args:
        policy: what acts; deterministic.
        problem: the market and its trading rules.
        config: episodes, length and seed.
        name: name of the policy, for the record.
        seed: seed of its training, for the record.
        misled: tell a solution the belief that agents are shown, even where the market's
            `believed_transition` misleads it.

    Returns:
        Scores of E episodes; the same paths for every policy of one configuration.

    Raises:
        SyntheticMarketError: a solution that needs more than the stream tells.
    """
    settings = config or OptimalityConfig()
    played = problem if isinstance(policy, _Acting) else _ideal(problem, misled=misled)
    played = replace(played, expected_reward=False)
    length = episode_length(settings, problem.world.discount)
    trading = played.trading()
    trading = replace(trading, episode=replace(trading.episode, length=length))
    simulator = Simulator(
        played.stream(belief=True),
        trading,
        settings.episodes,
        seed=settings.seed,
        record_terms=True,
        # A ruined episode goes on in another one, which nobody reads; the others must not stop.
        autoreset="next_step",
    )
    tally = _Tally(simulator, played, length)
    if not isinstance(policy, _Acting):
        for _ in range(length):
            tally.step(played.follow(policy, simulator))
        return tally.scores(name, seed)
    policy.reset(settings.episodes)
    briefing = Briefing(policy, simulator)
    for _ in range(length):
        briefing.before()
        actions_ED = policy.act(simulator.observe_index())
        briefing.look(actions_ED)
        tally.step(actions_ED)
        briefing.after()
    return tally.scores(name, seed)


def _ideal(problem: Problem, *, misled: bool) -> Problem:
    """The same problem with the true filter, and trades of any size up to the holdings' limits."""
    if not misled:
        problem = replace(problem, world=problem.world.informed())
    if not problem.stream().additive:
        return problem
    return replace(problem, trade_size=2.0 * problem.limit, dead_zone=0.0)


class _Tally:
    """Sums over the bars of E episodes; the two rewards are [expected, realised]."""

    def __init__(self, simulator: Simulator, problem: Problem, length: int) -> None:
        self._simulator, self._problem = simulator, problem
        self._stream = problem.stream(belief=True)
        episodes, regimes = simulator.num_envs, problem.world.num_regimes
        delta = problem.world.discount
        self._weight_L = delta ** np.arange(length)
        self._weight_L /= self._weight_L.sum()
        self._bar = 0
        self._live_E = np.ones(episodes, dtype=bool)
        self._regime_2EK = np.zeros((2, episodes, regimes))
        self._mean_2E = np.zeros((2, episodes))
        self._share_EK = np.zeros((episodes, regimes))
        self._turnover_E = np.zeros(episodes)
        self._cost_E = np.zeros(episodes)
        self._projected = 0
        sampled = min(SAMPLED, episodes)
        self._holding_LNA = np.zeros((length, sampled, simulator.num_assets))

    def step(self, actions_ED: Array) -> None:
        """Take every episode one bar on, and keep what it earned in the regime's account."""
        simulator, live_E = self._simulator, self._live_E
        governing_E = regimes_of(simulator.world_NS)
        equity_E = simulator.equity_N.copy()
        simulator.step(actions_ED)
        reward_2E = np.where(live_E, np.stack([simulator.expected_N, simulator.reward_N]), 0.0)
        rows, weight = np.arange(len(live_E)), self._weight_L[self._bar]
        self._regime_2EK[:, rows, governing_E] += weight * reward_2E
        self._share_EK[rows, governing_E] += weight
        self._mean_2E += reward_2E / len(self._weight_L)
        self._add_trading(equity_E)
        holding_EA = self._problem.holdings(simulator)
        shown = self._holding_LNA[self._bar]
        shown[...] = np.where(live_E[:, None], holding_EA, 0.0)[: len(shown)]
        self._live_E = live_E & ~simulator.terminated_N
        self._bar += 1

    def _add_trading(self, equity_E: Array) -> None:
        simulator = self._simulator
        size_EA = np.abs(simulator.trades_NA)
        costs_E = simulator.terms_N7[:, _COST_COLUMNS].sum(axis=1)
        if not self._stream.additive:
            safe_E = np.where(equity_E > 0.0, equity_E, 1.0)
            size_EA = size_EA * np.nan_to_num(simulator.fill_price_NA) / safe_E[:, None]
            costs_E = costs_E / safe_E
        share = self._live_E / len(self._weight_L)
        self._turnover_E += share * size_EA.sum(axis=1)
        self._cost_E += share * costs_E
        self._projected += int(np.count_nonzero(self._live_E & simulator.projected_N))

    def scores(self, name: str, seed: int) -> Scores:
        """What has been earned so far."""
        kinds = [
            Earned(regime_EK.sum(axis=1), mean_E, regime_EK)
            for regime_EK, mean_E in zip(self._regime_2EK, self._mean_2E, strict=True)
        ]
        known = bool(np.isfinite(self._mean_2E[0]).all())
        return Scores(
            name=name,
            seed=seed,
            expected=kinds[0] if known else None,
            realised=kinds[1],
            share_EK=self._share_EK,
            turnover_E=self._turnover_E,
            cost_E=self._cost_E,
            projected=self._projected / (len(self._live_E) * len(self._weight_L)),
            ruined=int(np.count_nonzero(~self._live_E)),
            holding_LNA=self._holding_LNA,
        )

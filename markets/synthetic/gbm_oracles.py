"""Solutions of `RegimeGBM`: growth-optimal weights, the no-trade band, and the rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from markets.synthetic.base import Information, Oracle, Solution, World
from markets.synthetic.chain import SyntheticMarketError, discounted_law
from markets.synthetic.gbm_laws import Law
from markets.synthetic.growth_band import Band, solve_band
from markets.synthetic.kelly import MAX_ASSETS, growth, growth_optimal
from markets.synthetic.rules import DoNothing, belief_of, knowledge

_LATTICE = 513
"""Beliefs of two hidden regimes at which the growth-optimal weights are tabulated."""


@dataclass(frozen=True)
class Problem:
    """What the solutions depend on.

    Attributes:
        law: Law of the returns.
        cost: c, part of the traded notional.
        limit: Largest sum of absolute weights.
        discount: delta, per bar.
    """

    law: Law
    cost: float
    limit: float
    discount: float


@lru_cache(maxsize=64)
def kelly_weights(law: Law, limit: float) -> NDArray[np.float64]:
    """Return the growth-optimal weights (K, A) of each known regime."""
    weights_KA = growth_optimal(law, np.eye(law.num_regimes), limit)
    weights_KA.flags.writeable = False
    return weights_KA


@lru_cache(maxsize=64)
def _kelly_lattice(law: Law, limit: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return probabilities of the regime 1 (L,), and the growth-optimal weights there (L, A)."""
    belief_L = np.linspace(0.0, 1.0, _LATTICE)
    weights_LA = growth_optimal(law, np.stack([1.0 - belief_L, belief_L], axis=1), limit)
    return belief_L, weights_LA


def kelly_of_belief(law: Law, limit: float, belief_NK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the growth-optimal weights (N, A) of beliefs (N, K).

    Of two regimes by linear interpolation between 513 beliefs, of more by Newton's method.
    """
    if law.num_regimes == 2:
        belief_L, weights_LA = _kelly_lattice(law, limit)
        columns = [np.interp(belief_NK[:, 1], belief_L, column) for column in weights_LA.T]
        return np.stack(columns, axis=1)
    return growth_optimal(law, belief_NK, limit)


@dataclass(frozen=True)
class Kelly:
    """Growth-optimal weights that ignore costs: the oracle where trading is free.

    Attributes:
        problem: The market.
        information: What it knows of the regime.
    """

    problem: Problem
    information: Information

    def target(self, world: World, holding_NA: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weights (N, A), whatever the present ones."""
        del holding_NA
        law, limit = self.problem.law, self.problem.limit
        if self.information == "known":
            weights_NA: NDArray[np.float64] = kelly_weights(law, limit)[world.regime_N]
            return weights_NA
        return kelly_of_belief(law, limit, belief_of(world))

    @cached_property
    def value(self) -> float | None:
        """Log growth a bar where trading is free; None with costs, or of 3 hidden regimes.

        Known: sum_k p_k g_k with the growth g_k of regime k and the discounted share p_k of bars
        that it governs. Two hidden regimes: by dynamic programming over the belief.
        """
        law = self.problem.law
        if self.problem.cost > 0.0:
            return None
        if self.information == "known" or law.num_regimes == 1:
            weights_KA = kelly_weights(law, self.problem.limit)
            growth_K = growth(law, np.eye(law.num_regimes), weights_KA)
            spent_K = discounted_law(law.transition_KK, law.start_K, self.problem.discount)
            return float(spent_K @ growth_K)
        if law.num_regimes == 2 and law.num_assets == 1:
            return _band(self.problem, "belief").value
        return None


@dataclass(frozen=True)
class NoTradeBand:
    """Best policy of one asset with proportional costs: trade to the nearest edge of a band.

    Attributes:
        problem: The market.
        information: What it knows of the regime.
        low_shift: Added to the lower edge: a perturbed band, to prove the best one.
        high_shift: Added to the upper edge.
    """

    problem: Problem
    information: Information
    low_shift: float = 0.0
    high_shift: float = 0.0

    @property
    def solution(self) -> Band:
        """The solved dynamic program."""
        return _band(self.problem, self.information)

    @property
    def value(self) -> float | None:
        """Discounted log growth a bar from cash; None of a perturbed band."""
        perturbed = self.low_shift != 0.0 or self.high_shift != 0.0
        return None if perturbed else self.solution.value

    def band(
        self, belief_N: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the edges (N,), (N,) at probabilities of regime 1, as weights after the trade.

        Where the regime is known the probabilities must be 0 or 1.
        """
        low_N, high_N = self.solution.edges(belief_N)
        return low_N + self.low_shift, high_N + self.high_shift

    def target(self, world: World, holding_NA: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weights (N, 1) of the equity before costs that lead to the nearest edge."""
        law, limit = self.problem.law, self.problem.limit
        low_N, high_N = self.solution.edges_of(knowledge(world, self.information, law.num_regimes))
        low_N = np.clip(low_N + self.low_shift, -limit, limit)
        high_N = np.maximum(np.clip(high_N + self.high_shift, -limit, limit), low_N)
        held_N, cost = holding_NA[:, 0], self.problem.cost
        # A weight y after the trade is y E1 / E0 of the equity before it (see growth_band).
        buy_N = low_N * (1.0 + cost * held_N) / (1.0 + cost * low_N)
        sell_N = high_N * (1.0 - cost * held_N) / (1.0 - cost * high_N)
        target_N = np.where(held_N < low_N, buy_N, np.where(held_N > high_N, sell_N, held_N))
        return target_N[:, None]


@lru_cache(maxsize=64)
def _band(problem: Problem, information: Information) -> Band:
    # The few states of known regimes afford a finer grid.
    known = information == "known" or problem.law.num_regimes == 1
    num_weights = 400 if known else 120
    return solve_band(
        *(problem.law, problem.cost, problem.limit, problem.discount),
        known=known,
        num_weights=num_weights,
    )


def oracle_for(problem: Problem, information: Information) -> Oracle:
    """Return the growth-optimal policy under some information.

    Raises:
        SyntheticMarketError: costs with several assets, or with three regimes that are hidden; no
            costs with more than `MAX_ASSETS` assets.
    """
    law = problem.law
    if problem.cost == 0.0:
        if law.num_assets > MAX_ASSETS:
            raise SyntheticMarketError(
                f"drift: the oracle without costs exists for up to {MAX_ASSETS} assets, found"
                f" {law.num_assets} assets"
            )
        return Kelly(problem, information)
    if law.num_assets > 1:
        raise SyntheticMarketError(
            f"cost_bps: the oracle with costs exists for one asset, found {law.num_assets} assets;"
            f" without costs (cost_bps=0) it exists for up to {MAX_ASSETS}"
        )
    if information == "belief" and law.num_regimes > 2:
        raise SyntheticMarketError(
            "transition: the oracle with costs and hidden regimes exists for two regimes, found"
            f" {law.num_regimes}; it exists with the regime known, and without costs"
        )
    return NoTradeBand(problem, information)


@dataclass(frozen=True)
class BuyAndHold:
    """Buys the assets in equal parts when it holds nothing, and never trades again.

    Attributes:
        limit: Largest sum of absolute weights.
        information: What it knows of the regime; it does not look.
    """

    limit: float
    information: Information = "known"

    def target(self, world: World, holding_NA: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the present weights, or a sum of min(1, limit) where there are none."""
        del world
        part = min(1.0, self.limit) / holding_NA.shape[1]
        idle_N = np.abs(holding_NA).sum(axis=1, keepdims=True) == 0.0
        return np.where(idle_N, part, holding_NA)


def rules_for(problem: Problem, information: Information) -> Mapping[str, Solution]:
    """Return the rules to compare with, by name."""
    return {
        "do_nothing": DoNothing(),
        "myopic": Kelly(problem, information),
        "buy_and_hold": BuyAndHold(problem.limit),
    }

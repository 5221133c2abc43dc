"""Garleanu-Pedersen with regimes: mean-reverting signals, quadratic costs and risk, exact answers.

With signals f_t (S), holdings x_t (A) after the trade u_t = x_t - x_{t-1} at the close of bar t,
and the regime k = k_t, which governs the bar t + 1:

    P_{t+1} - P_t = B_k f_t + chol(Sigma_k) eps
    f_{t+1,s} = (1 - phi_{k,s}) f_{t,s} + sqrt(1 - (1 - phi_{k,s})^2) e_s
    reward = x_t' (P_{t+1} - P_t) - gamma/2 x_t' Sigma_k x_t - 1/2 u_t' Lambda_k u_t

The oracle that knows the regime is the coupled Riccati equation of `markets.synthetic.riccati`.
Where neither Sigma nor Lambda depends on the regime, it never shows in the quadratic terms, and
certainty equivalence makes the best policy under a hidden regime linear in the filter's belief:

    x_t = J^-1 (Lambda x_{t-1} + sum_k pi_{t,k} H_k f_t)

With one asset that is x_t = q x_{t-1} + sum_s f_{t,s} G_s' pi_t, in closed form

    q = (g + lam + delta lam - sqrt((g + lam + delta lam)^2 - 4 delta lam^2)) / (2 delta lam)
    G_s' = (q / lam) b_s' (I - delta q P' diag(1 - phi_s))^-1,  g = gamma sigma^2

Source: Garleanu & Pedersen (2013), "Dynamic trading with predictable returns and transaction
costs", J. Finance 68. Prices are additive and may turn negative.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from markets.synthetic.base import (
    Advance,
    Information,
    Oracle,
    RegimeView,
    Solution,
    Stream,
    SyntheticMarket,
    World,
    closes_of,
    regimes_of,
)
from markets.synthetic.chain import (
    SyntheticMarketError,
    one_hot,
    start_law,
    stationary,
)
from markets.synthetic.checks import definite_matrices, finite_array
from markets.synthetic.garleanu_pedersen_stream import Places, advance, begin, pack
from markets.synthetic.layout import Generator
from markets.synthetic.moments import (
    discounted_reward,
    holding_deviation,
    optimal_rule,
)
from markets.synthetic.quadratic import QuadraticPolicy
from markets.synthetic.riccati import JumpSystem, Riccati, solve
from markets.synthetic.rules import DoNothing, belief_of

__all__ = ["GarleanuPedersen", "advance", "begin"]

Array = NDArray[np.float64]
Vector = tuple[float, ...]
Matrix = tuple[tuple[float, ...], ...]
Matrices = tuple[tuple[tuple[float, ...], ...], ...]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]

YEARS = 1.0 / 252.0
"""Duration of a bar: a trading day."""
NEGLIGIBLE = 1e-4
"""Discount beyond which the rest of a path is left out of an estimate."""
LIMIT = 8.0
"""Holding limit in stationary standard deviations of the oracle's holdings."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class GarleanuPedersen(SyntheticMarket):
    """Parameters of the market; K regimes, A assets, S signals.

    The default is a market of three regimes and two signals whose loadings conflict.
    """

    generator: ClassVar[Generator] = Generator.GARLEANU_PEDERSEN
    counted: ClassVar[str] = "loadings"

    kind: Literal["garleanu_pedersen"] = "garleanu_pedersen"
    """Discriminator."""
    loadings: Matrix | Matrices = ((0.20, 0.0), (-0.15, 0.20), (0.05, -0.20))
    """B: expected price change of the next bar for a signal of 1, currency; K x A x S, or K x S
    for one asset."""
    reversion: Vector | Matrix = (0.05, 0.20)
    """phi: share of a signal that is lost each bar, in (0, 2); S, or K x S. Signals have zero
    mean and unit variance."""
    covariance: float | Matrix | Matrices = 1.0
    """Sigma of the price changes of a bar beside the signals, currency^2, positive definite;
    A x A, or K x A x A, or the variance of independent assets."""
    cost: float | Matrix | Matrices = 10.0
    """Lambda: trading u units costs 1/2 u' Lambda u, currency / unit^2, positive definite; A x A,
    or K x A x A, or a multiple of the covariance."""
    risk_aversion: Positive = 1.0
    """gamma: 1/2 gamma x' Sigma x is taken off each bar's reward, 1 / currency; > 0."""
    discount: Annotated[float, Field(gt=0.0, lt=1.0, allow_inf_nan=False)] = 0.99
    """delta of the objective, per bar, in (0, 1)."""
    transition: float | Matrix = 0.995
    """P[k][j], the probability of moving from regime k to j after a bar; K x K, or the probability
    of staying, others being equally likely. At 1 regimes are frozen, drawn uniformly."""
    regime: RegimeView = "known"
    """What the features tell of the regime."""
    start: Vector | None = None
    """Law of the first regime, K probabilities; None = stationary, uniform where frozen."""
    believed_transition: float | Matrix | None = None
    """What the filter that agents are shown takes for `transition`; see `SyntheticMarket`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _ = self.system
        return self

    @property
    def num_regimes(self) -> int:
        """Number of regimes, K."""
        return len(self.loadings)

    @property
    def num_assets(self) -> int:
        """Number of assets, A."""
        return int(self.system.loading_KAS.shape[1])

    @property
    def num_signals(self) -> int:
        """Number of signals, S."""
        return int(self.system.loading_KAS.shape[2])

    @cached_property
    def system(self) -> JumpSystem:
        """The matrices of the control problem."""
        loading_KAS = _loadings(self.loadings)
        num_regimes, num_assets, num_signals = loading_KAS.shape
        covariance_KAA = definite_matrices(
            "covariance", self.covariance, np.eye(num_assets), num_regimes
        )
        chain = self.chain
        return JumpSystem(
            loading_KAS=loading_KAS,
            persistence_KS=_persistence(self.reversion, num_regimes, num_signals),
            covariance_KAA=covariance_KAA,
            cost_KAA=definite_matrices("cost", self.cost, covariance_KAA, num_regimes),
            risk_aversion=self.risk_aversion,
            discount=self.discount,
            transition_KK=chain.transition_KK,
            start_K=chain.start_K,
        )

    @cached_property
    def riccati(self) -> Riccati:
        """The value function where the regime is known."""
        return solve(self.system)

    @property
    def regime_free_risk(self) -> bool:
        """Whether neither covariance nor cost depends on the regime."""
        system = self.system
        return all(
            bool((matrix_KAA == matrix_KAA[0]).all())
            for matrix_KAA in (system.covariance_KAA, system.cost_KAA)
        )

    @cached_property
    def holding_scale(self) -> float:
        """Stationary standard deviation of the known oracle's largest holding, units."""
        system = replace(self.system, start_K=None)
        return float(holding_deviation(system, optimal_rule(system, self.riccati)).max())

    @property
    def holding_limit(self) -> float:
        """Largest absolute holding: `LIMIT` standard deviations, units."""
        return LIMIT * self.holding_scale

    def stream(self, *, belief: bool = False) -> Stream:
        """Return the market as the kernel plays it."""
        places = Places.of(self.system, self.regime, filtered=belief or self.regime == "belief")
        parameters_Q = np.array(pack(self.system, self.chain, places))
        parameters_Q.flags.writeable = False
        return Stream(
            generator=self.generator,
            parameters_Q=parameters_Q,
            state_size=places.size,
            symbols=tuple(f"asset_{asset}" for asset in range(self.num_assets)),
            feature_names=(
                *(f"signal_{signal}" for signal in range(self.num_signals)),
                *_view_names(self.regime, self.num_regimes),
                *(f"change_{asset}" for asset in range(self.num_assets)),
            ),
            additive=True,
            years=YEARS,
            cost_KAA=self.system.cost_KAA,
            covariance_KAA=self.system.covariance_KAA,
        )

    def world(self, state_NS: Array) -> World:
        """Return the true state behind rows of states; the signals are the S features."""
        places = Places.of(self.system, self.regime, filtered=True)
        filtered = state_NS.shape[1] == places.size
        first = places.signal
        belief_NK = state_NS[:, places.belief : places.belief + self.num_regimes]
        return World(
            regime_N=regimes_of(state_NS),
            close_NA=closes_of(state_NS, self.num_assets),
            signal_NF=state_NS[:, first : first + self.num_signals],
            belief_NK=belief_NK if filtered else None,
        )

    def _oracle(self, information: Information) -> Oracle:
        """Return the best policy under some information.

        Raises:
            SyntheticMarketError: the regime is hidden and governs covariance or cost as well.
        """
        riccati, system = self.riccati, self.system
        if information == "belief" and not self.regime_free_risk:
            raise SyntheticMarketError(
                "oracle: expected one covariance and one cost matrix for all regimes where the "
                "regime is hidden, found matrices that differ; rules()['certainty_equivalent'] is "
                "the nearest rule"
            )
        known = information == "known"
        start_K = start_law(system.transition_KK, system.start_K)
        value = (1.0 - self.discount) * riccati.start_value(start_K)
        return QuadraticPolicy(
            information=information,
            curvature_KAA=riccati.curvature_KAA,
            cost_KAA=system.cost_KAA,
            pull_KAS=riccati.pull_KAS,
            value=value if known else None,
            solution=riccati if known else None,
        )

    def rules(self) -> Mapping[str, Solution]:
        """Return the rules to compare with.

        `do_nothing`; `myopic` (Markowitz each bar, ignoring costs, with the information of the
        view, the filter's where the regime is hidden); `blind` (long-run probabilities for a
        belief: the best that looks at signals only, where they revert alike in all regimes); and
        where covariance or cost depends on the regime `certainty_equivalent` (the filter's belief,
        with covariance and cost averaged over the regimes).
        """
        system = self.system
        myopic = QuadraticPolicy(
            information="known" if self.regime == "known" else "belief",
            curvature_KAA=self.risk_aversion * system.covariance_KAA,
            cost_KAA=np.zeros_like(system.cost_KAA),
            pull_KAS=system.loading_KAS,
        )
        averaged = self._averaged_policy()
        blind = replace(averaged, information="known", weight_K=self._long_run_K)
        rules: dict[str, Solution] = {
            "do_nothing": DoNothing(),
            "myopic": self._valued(myopic),
            "blind": self._valued(blind),
        }
        if not self.regime_free_risk:
            rules["certainty_equivalent"] = averaged
        return rules

    def price_of_not_knowing(self, *, num_paths: int = 256, seed: int = 0) -> tuple[float, float]:
        """Estimate it by simulation, as the belief oracle's value is not known; see the base class.

        With e_t = sum_k (1{k_t = k} - pi_{t,k}) H_k f_t, the gap of the two discounted sums is
        E sum_t delta^t 1/2 e_t' J^-1 e_t: both are half the discounted sum of h' J^-1 h, with h
        the pull H f under the information, and the belief's is the mean of the truth's.

        Args:
            num_paths: independent paths, as long as the discount matters.
            seed: of the paths.

        Returns:
            The gap, currency a bar, and its standard error.

        Raises:
            SyntheticMarketError: there is no belief oracle (see `oracle`).
        """
        if self.believed_transition is not None:
            return self.informed().price_of_not_knowing(num_paths=num_paths, seed=seed)
        self.oracle("belief")
        bars = math.ceil(math.log(NEGLIGIBLE) / math.log(self.discount))
        discount_T = (1.0 - self.discount) * self.discount ** np.arange(bars)
        gap_N = np.empty(num_paths)
        for lane in range(num_paths):
            world = self.path(bars, seed=seed, lane=lane).world
            surprise_TK = one_hot(world.regime_N, self.num_regimes) - belief_of(world)
            error_TAS = np.tensordot(surprise_TK, self.riccati.pull_KAS, axes=1)
            error_TA = np.einsum("tas,ts->ta", error_TAS, world.signal_NF)
            solved_AT = np.linalg.solve(self.riccati.curvature_KAA[0], error_TA.T)
            gap_N[lane] = 0.5 * discount_T @ np.einsum("ta,at->t", error_TA, solved_AT)
        return float(gap_N.mean()), float(gap_N.std(ddof=1) / math.sqrt(num_paths))

    def compiled(self) -> tuple[Advance, Advance]:
        """Return the compiled functions that begin a state, and that move it one bar on."""
        return begin, advance

    @property
    def _long_run_K(self) -> Array:  # noqa: N802 - dimension suffix
        return stationary(self.system.transition_KK, self.system.start_K)

    def _averaged_policy(self) -> QuadraticPolicy:
        system = self.system
        probability_K = self._long_run_K
        averaged = replace(
            system,
            covariance_KAA=_average(system.covariance_KAA, probability_K),
            cost_KAA=_average(system.cost_KAA, probability_K),
        )
        riccati = solve(averaged)
        return QuadraticPolicy(
            information="belief",
            curvature_KAA=riccati.curvature_KAA,
            cost_KAA=averaged.cost_KAA,
            pull_KAS=riccati.pull_KAS,
        )

    def _valued(self, policy: QuadraticPolicy) -> QuadraticPolicy:
        rule = policy.linear_rule()
        if rule is None:
            return policy
        return replace(policy, value=discounted_reward(self.system, rule))


def _average(matrix_KAA: Array, probability_K: Array) -> Array:
    average_AA = np.tensordot(probability_K, matrix_KAA, axes=1)
    return np.broadcast_to(average_AA, matrix_KAA.shape)


def _loadings(values: Matrix | Matrices) -> Array:
    loadings = finite_array("loadings", values)
    if loadings.ndim not in (2, 3):
        raise SyntheticMarketError(
            f"loadings: expected K x S, or K x A x S, found shape {loadings.shape}"
        )
    if not loadings.any():
        raise SyntheticMarketError(
            f"loadings: expected one that is not 0, found {values}: there is nothing to earn"
        )
    return loadings[:, None, :] if loadings.ndim == 2 else loadings


def _persistence(values: Vector | Matrix, num_regimes: int, num_signals: int) -> Array:
    reversion = finite_array("reversion", values)
    if reversion.shape not in ((num_signals,), (num_regimes, num_signals)):
        raise SyntheticMarketError(
            f"reversion: expected {num_signals} signals (as in loadings), or {num_regimes} "
            f"regimes of {num_signals}, found shape {reversion.shape}"
        )
    # As it will be used: a reversion of 1e-17 is none.
    faulty = np.abs(1.0 - reversion) >= 1.0
    if faulty.any():
        raise SyntheticMarketError(
            f"reversion: expected numbers in (0, 2), so that signals are stationary, "
            f"found {reversion[faulty][0]}"
        )
    return np.array(np.broadcast_to(1.0 - reversion, (num_regimes, num_signals)))


def _view_names(regime: RegimeView, num_regimes: int) -> tuple[str, ...]:
    word = {"known": "regime", "belief": "belief", "hidden": ""}[regime]
    return tuple(f"{word}_{index}" for index in range(num_regimes)) if word else ()

"""Regime-switching geometric Brownian motion, with growth-optimal solutions.

Source: Hamilton (1989) for the filter; Kelly (1956) and Merton (1969) for the fractions; Davis &
Norman (1990) for the shape of the solution with proportional costs.
"""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from markets.synthetic import gbm_bars, gbm_laws, gbm_oracles
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
from markets.synthetic.chain import SyntheticMarketError, sticky_transition
from markets.synthetic.layout import Generator, features_start
from markets.synthetic.regime_gbm_stream import START_PRICE, VIEWS, advance, begin

__all__ = ["START_PRICE", "RegimeGBM"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RegimeGBM(SyntheticMarket):
    """Prices whose drift and volatility follow a hidden Markov chain k_t.

        log(P_{t+1} / P_t) ~ N(log(1 + m_k) - s_k^2 / 2, s_k^2),   so that E[R_{t+1} | k] = m_k

    with the simple return R, k = k_t, and one correlation matrix of A assets in all regimes. The
    reward of a weight w (a part of the equity E0 before the trade) is the log growth

        log(E1 / E0),   E1 / E0 = 1 + w R - c |w - w_before|,   w_before' = w (1 + R) / (E1 / E0).

    Signal of the defaults: the growth-optimal weights without costs are 1.2 in the calm regime and
    -0.6 in the volatile one, each worth w^2 s^2 / 2 = 2.9e-4 of log growth a bar, with a one-step
    Sharpe ratio of w s = 0.024. The regimes last 50 bars on average and differ in volatility by a
    factor of two, by which the filter tells them apart within a few bars.

    Values of the defaults, 1e-4 of log growth a bar from cash:

    | what it knows | oracle | ignoring costs |
    |---|---|---|
    | the regime | 2.42 | 2.27 |
    | the filter's belief | 1.13 | 0.50 |

    Doing nothing earns 0, buying and holding -7.5. The oracles are numerically exact to 1e-3 of
    themselves by default (where hidden regimes last for 1,000 bars, to 4e-3); the rules are played:
    `measure(rule, Problem(market), OptimalityConfig(episodes=12000, seed=77))` of `evaluation`.

    Expected rewards (`Problem(expected_reward=True)`) exist for one asset only.

    Weights outside [0, 1] can lose more than everything, because lognormal returns have no bound:
    the account's growth is then floored at 1e-6. Parameters for which that can happen within 8
    standard deviations of a bar's return are refused, so that its probability is below 1e-14 a
    bar and the floor plays no part in the solutions.

    Raises:
        ValueError: a parameter makes no sense; the text names it, its value and what was expected
            (pydantic's error around a `SyntheticMarketError`).
    """

    kind: Literal["regime_gbm"] = "regime_gbm"
    """Discriminator."""
    drift: tuple[float | tuple[float, ...], ...] = (0.00048, -0.00096)
    """m_k: expected simple return of a bar in each regime, > -1; one number, or one an asset."""
    volatility: tuple[float | tuple[float, ...], ...] = (0.02, 0.04)
    """s_k: standard deviation of a bar's log return in each regime, > 0; as `drift`."""
    correlation: tuple[tuple[float, ...], ...] | None = None
    """Correlations of the assets' log returns, A x A, positive definite; None: independent."""
    transition: float | tuple[tuple[float, ...], ...] = sticky_transition(2, 0.98)
    """P[k, j] = P(k_{t+1} = j | k_t = k); rows sum to 1. Or the probability of staying, others
    being equally likely; at 1 regimes are frozen, drawn uniformly."""
    cost_bps: float = 10.0
    """c: cost of trading, basis points of the notional, in [0, 1000]."""
    limit: float = 1.5
    """Largest sum of absolute weights, multiples of equity, > 0."""
    discount: float = 0.99
    """delta of the objective E sum_t delta^t reward_t, in (0, 1), per bar."""
    regime: RegimeView = "known"
    """What the features tell of the regime: one-hot truth, filtered probabilities, nothing."""
    bars_per_year: float = 252.0
    """Bars in a year, > 0: the duration of a bar, for interest and annualised figures."""
    start: tuple[float, ...] | None = None
    """Law of the first regime, K probabilities; None = stationary, uniform where frozen."""
    believed_transition: float | tuple[tuple[float, ...], ...] | None = None
    """What the filter that agents are shown takes for `transition`; see `SyntheticMarket`."""

    generator: ClassVar[Generator] = Generator.REGIME_GBM
    counted: ClassVar[str] = "drift"

    def __post_init__(self) -> None:
        gbm_laws.check_scalars(self.cost_bps, self.limit, self.discount, self.bars_per_year)
        _ = self.chain
        gbm_laws.check_ruin(self.law, self.limit, self.cost)

    @property
    def law(self) -> gbm_laws.Law:
        """The parameters as arrays, checked."""
        return gbm_laws.build_law(
            self.drift, self.volatility, self.correlation, self.transition, self.start
        )

    @property
    def num_assets(self) -> int:
        """Number of assets, A."""
        return self.law.num_assets

    @property
    def num_regimes(self) -> int:
        """Number of regimes, K."""
        return len(self.drift)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the assets: GBM, or GBM0, GBM1, ..."""
        size = self.num_assets
        return ("GBM",) if size == 1 else tuple(f"GBM{asset}" for asset in range(size))

    @property
    def cost(self) -> float:
        """Return c as a part of the traded notional."""
        return self.cost_bps * 1e-4

    @property
    def holding_scale(self) -> float:
        """Typical absolute weight of the growth-optimal portfolio without costs."""
        weights_KA = gbm_oracles.kelly_weights(self.law, self.limit)
        mean = float(np.abs(weights_KA).mean())
        return mean if mean > 0.0 else self.limit

    @property
    def holding_limit(self) -> float:
        """Largest absolute weight that an oracle asks for."""
        return self.limit

    def stream(self, *, belief: bool = False) -> Stream:
        """Return the market as the kernel plays it.

        Features: the view of the regime (`regime_k` one-hot, `belief_k` probabilities, or none),
        then `return_<symbol>`, the log return of the last bar over the asset's mean s_k; 0 at the
        start.

        Args:
            belief: run the Bayes filter even where the features do not show it.
        """
        law, filters = self.law, belief or self.regime == "belief"
        size, regimes = law.num_assets, law.num_regimes
        prefix = {"known": "regime", "belief": "belief"}.get(self.regime)
        shown = () if prefix is None else tuple(f"{prefix}_{k}" for k in range(regimes))
        names = (*shown, *(f"return_{symbol}" for symbol in self.symbols))
        private = 2 * regimes + size if filters else 0
        packed = [
            *(float(size), float(regimes), float(VIEWS.index(self.regime)), float(filters)),
            *self.chain.packed(),
            *(1.0 / law.volatility_KA.mean(axis=0)).tolist(),
            *law.log_drift_KA.ravel().tolist(),
            *law.volatility_KA.ravel().tolist(),
            *law.drift_KA.ravel().tolist(),
            *law.root_AA.ravel().tolist(),
            *np.log(law.volatility_KA).sum(axis=1).tolist(),
        ]
        parameters_Q = np.array(packed)
        parameters_Q.flags.writeable = False
        return Stream(
            generator=self.generator,
            parameters_Q=parameters_Q,
            state_size=features_start(size) + len(names) + private,
            symbols=self.symbols,
            feature_names=names,
            additive=False,
            years=1.0 / self.bars_per_year,
            cost_KAA=np.zeros((regimes, size, size)),
            covariance_KAA=law.covariance_KAA,
        )

    def world(self, state_NS: NDArray[np.float64]) -> World:
        """Return the true state behind rows of states; there is no signal but the regime."""
        size, regimes = self.num_assets, self.num_regimes
        private = features_start(size) + size + (0 if self.regime == "hidden" else regimes)
        filtered = state_NS.shape[-1] > private
        return World(
            regime_N=regimes_of(state_NS),
            close_NA=closes_of(state_NS, size),
            signal_NF=np.zeros((len(state_NS), 0)),
            belief_NK=state_NS[:, private : private + regimes] if filtered else None,
        )

    def _oracle(self, information: Information) -> Oracle:
        """Return the growth-optimal policy under some information.

        Without costs: the Kelly weights of the belief. With costs and one asset: a no-trade band.

        Raises:
            SyntheticMarketError: costs with several assets, or with more than two regimes that
                are hidden; see `markets.synthetic.gbm_oracles.oracle_for`.
        """
        return gbm_oracles.oracle_for(self.problem, information)

    def rules(self) -> Mapping[str, Solution]:
        """Return the rules to compare with.

        `do_nothing` holds cash, `buy_and_hold` a weight of 1 (spread over the assets) that it
        never rebalances, `myopic` the growth-optimal weights as if trading were free, with the
        regime known where the features show it, and else by the filter.
        """
        return gbm_oracles.rules_for(self.problem, "known" if self.regime == "known" else "belief")

    @property
    def problem(self) -> gbm_oracles.Problem:
        """What the solutions depend on."""
        return gbm_oracles.Problem(
            law=self.law, cost=self.cost, limit=self.limit, discount=self.discount
        )

    def bars(
        self,
        num_bars: int,
        *,
        seed: int,
        lane: int = 0,
        start: str = "2000-01-03",
        spread_bps: float = 2.0,
    ) -> gbm_bars.SyntheticBars:
        """Return a path as ordinary daily bars with volume, and spread and regimes beside them.

        The closes are those of `path(num_bars + 1, seed=seed, lane=lane)`; see
        `markets.synthetic.gbm_bars.daily_bars`.

        Args:
            num_bars: number of bars T >= 1.
            seed: in [0, 2**63).
            lane: number of the path.
            start: first day, ISO 8601.
            spread_bps: typical full quoted spread, basis points, >= 0.

        Raises:
            SyntheticMarketError: no bars, a negative spread, or days beyond the year 2262.
        """
        if num_bars < 1 or not 0.0 <= spread_bps < math.inf:
            raise SyntheticMarketError(
                "bars: expected num_bars >= 1 and a finite spread_bps >= 0, found"
                f" {num_bars}, {spread_bps}"
            )
        path = self.path(num_bars + 1, seed=seed, lane=lane)
        random = np.random.default_rng([seed, lane])
        return gbm_bars.daily_bars(path, self.law, self.symbols, random, start, spread_bps)

    def compiled(self) -> tuple[Advance, Advance]:
        """Return the compiled functions that begin a state, and that move it one bar on."""
        return begin, advance

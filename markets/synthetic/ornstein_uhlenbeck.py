"""Market 2: a mean-reverting price with proportional costs, and regimes of speed, mean and risk.

    P_{t+1} = P_t + kappa_k (m_k - P_t) + sigma_k eps_{t+1},    k = k_t
    reward_t = x_t (P_{t+1} - P_t) - gamma / 2 sigma_k^2 x_t^2 - c |x_t - x_{t-1}|,  |x_t| <= limit

A spread between two instruments that are tied together: its price may turn negative. The best
policy holds still inside a no-trade band and trades to its nearest edge otherwise (`band`).
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from markets.synthetic.band import Band, Spread, solve_known
from markets.synthetic.band_policies import BandOracle, ContinuousBand, Myopic
from markets.synthetic.base import (
    Advance,
    Information,
    RegimeView,
    Solution,
    Stream,
    SyntheticMarket,
    World,
    closes_of,
    regimes_of,
)
from markets.synthetic.belief_band import solve_belief
from markets.synthetic.chain import (
    SyntheticMarketError,
    check_length,
    stationary,
)
from markets.synthetic.checks import correlation_matrix
from markets.synthetic.layout import Generator, features_start
from markets.synthetic.ornstein_uhlenbeck_stream import VIEWS, advance, begin
from markets.synthetic.rules import DoNothing

_Speed = Annotated[float, Field(gt=0.0, lt=2.0)]
_Level = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
_Matrix = tuple[tuple[float, ...], ...]

_DAYS_A_YEAR = 252.0


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class OrnsteinUhlenbeck(SyntheticMarket):
    """Mean-reverting prices with proportional costs; see the module for the equations.

    Strength of the signal: within a regime the forecast explains R^2 = kappa / 2 of the variance
    of one bar's change, and its one-step Sharpe ratio has the standard deviation
    sqrt(kappa / (2 - kappa)). By default R^2 is 0.05 and 0.15 (Sharpe ratios 0.23 and 0.42), and a
    bar is worth 0.323 to the oracle that knows the regime, 0.240 to the one that filters it (the
    difference is the price of not knowing), 0.173 to the myopic rule that knows it.

    Start of an episode: k_0 from `start`, by default the stationary law of the regimes, then
    P_0 ~ N(m_k, sigma_k^2 / (1 - (1 - kappa_k)^2)), k = k_0: the law that the price would have had
    the regime lasted for ever. The oracle's value averages over the same law.

    Several assets share the regime and its parameters; their shocks are independent unless
    `correlation` says otherwise.

    Features, for each asset: the price less its average, in standard deviations, then its last
    change in standard deviations (0 at the start); then K columns of the regime unless hidden.
    """

    generator: ClassVar[Generator] = Generator.ORNSTEIN_UHLENBECK
    counted: ClassVar[str] = "speed"

    kind: Literal["ornstein_uhlenbeck"] = "ornstein_uhlenbeck"
    """Discriminator."""
    speed: tuple[_Speed, ...] = (0.1, 0.3)
    """kappa_k, part of the distance to the mean that a bar covers, in (0, 2): stationary."""
    mean: tuple[_Level, ...] = (1.0, -2.0)
    """m_k, currency."""
    volatility: tuple[_Positive, ...] = (1.0, 1.5)
    """sigma_k, standard deviation of a bar's shock, currency."""
    transition: float | _Matrix = ((0.98, 0.02), (0.04, 0.96))
    """P[k, j] = P(k_{t+1} = j | k_t = k); rows sum to 1. Or the probability of staying, others
    being equally likely; at 1 regimes are frozen, drawn uniformly."""
    cost: _NotNegative = 0.3
    """c, cost of trading one unit, currency; 0 = none."""
    risk_aversion: _NotNegative = 0.1
    """gamma, 1 / currency; 0 = only the limit restrains."""
    limit: _Positive = 8.0
    """Largest absolute holding, units."""
    discount: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.99
    """delta of the objective, per bar, in (0, 1)."""
    regime: RegimeView = "known"
    """What the features tell of the regime."""
    assets: Annotated[int, Field(ge=1)] = 1
    """Number of spreads, A."""
    correlation: _Matrix | None = None
    """Correlation (A, A) of the shocks, positive definite; None = independent."""
    start: tuple[float, ...] | None = None
    """Law of the first regime, K probabilities; None = stationary, uniform where frozen."""
    believed_transition: float | _Matrix | None = None
    """What the filter that agents are shown takes for `transition`; see `SyntheticMarket`."""

    def __post_init__(self) -> None:
        """Check what concerns several parameters at once."""
        for name in ("mean", "volatility"):
            check_length(name, getattr(self, name), len(self.speed))
        _ = self.chain, self.shock_correlation

    @property
    def num_assets(self) -> int:
        """Number of assets, A."""
        return self.assets

    @property
    def num_regimes(self) -> int:
        """Number of regimes, K."""
        return len(self.speed)

    @property
    def holding_limit(self) -> float:
        """Largest absolute holding, units."""
        return self.limit

    @property
    def holding_scale(self) -> float:
        """Root mean square of the frictionless target at the stationary start, units."""
        speed, volatility = np.array(self.speed), np.array(self.volatility)
        if self.risk_aversion == 0.0:
            return self.limit
        target_K = np.sqrt(speed / (2.0 - speed)) / (self.risk_aversion * volatility)
        return min(float(np.sqrt(stationary(self.chain.transition_KK) @ target_K**2)), self.limit)

    @property
    def spread(self) -> Spread:
        """The numbers of one asset, for the solver."""
        return Spread(
            transition_KK=self.chain.transition_KK,
            speed_K=np.array(self.speed),
            mean_K=np.array(self.mean),
            volatility_K=np.array(self.volatility),
            cost=self.cost,
            risk_aversion=self.risk_aversion,
            limit=self.limit,
            discount=self.discount,
            start_K=self.chain.start_K,
        )

    @property
    def shock_correlation(self) -> NDArray[np.float64]:
        """Correlation of the shocks."""
        return correlation_matrix(self.correlation, self.assets)

    @property
    def price_deviation(self) -> NDArray[np.float64]:
        """Stationary standard deviation of the price within each regime, currency."""
        return self.spread.deviations

    def stream(self, *, belief: bool = False) -> Stream:
        """Return the market as the kernel plays it; see the base class."""
        filtering = belief or self.regime == "belief"
        variance_K = np.array(self.volatility) ** 2
        symbols = tuple(f"spread_{asset}" for asset in range(self.assets))
        names = [f"{symbol}.{name}" for symbol in symbols for name in ("deviation", "last_change")]
        if self.regime != "hidden":
            word = "regime" if self.regime == "known" else "belief"
            names += [f"{word}_{regime}" for regime in range(self.num_regimes)]
        return Stream(
            generator=self.generator,
            parameters_Q=_pack(self, filtering=filtering),
            state_size=self._signals_start + (2 * self.num_regimes if filtering else 0),
            symbols=symbols,
            feature_names=tuple(names),
            additive=True,
            years=1.0 / _DAYS_A_YEAR,
            cost_KAA=np.zeros((self.num_regimes, self.assets, self.assets)),
            covariance_KAA=variance_K[:, None, None] * self.shock_correlation,
        )

    def world(self, state_NS: NDArray[np.float64]) -> World:
        """Return the true state behind rows of states; see the base class."""
        first = self._signals_start
        filtered = state_NS.shape[1] > first
        return World(
            regime_N=regimes_of(state_NS),
            close_NA=closes_of(state_NS, self.assets),
            signal_NF=state_NS[:, :0],
            belief_NK=state_NS[:, first : first + self.num_regimes] if filtered else None,
        )

    @property
    def _signals_start(self) -> int:
        """First column of the belief: after the features and the shocks."""
        view = 0 if self.regime == "hidden" else self.num_regimes
        return features_start(self.assets) + 2 * self.assets + view + self.assets

    def oracle(self, information: Information) -> BandOracle:
        """Return the no-trade band under some information; see `_oracle`."""
        return cast("BandOracle", super().oracle(information))

    def _oracle(self, information: Information) -> BandOracle:
        """Return the no-trade band, solved once in a process for each set of parameters.

        With the regime hidden: for one asset and two regimes (`belief_band`). Elsewhere the
        oracle that knows the regime is an upper bound on what anyone can reach, and a share of
        its value understates an agent that cannot see the regime.

        Raises:
            SyntheticMarketError: assets are correlated (their bands depend on each other), or the
                regime is hidden and there are several assets or more than two regimes.
        """
        if not np.array_equal(self.shock_correlation, np.eye(self.assets)):
            raise SyntheticMarketError(
                "oracle: the band is solved asset by asset, which needs independent shocks: "
                f"expected correlation=None, found {self.correlation}"
            )
        hidden = information == "belief" and self.num_regimes > 1
        if hidden and (self.assets > 1 or self.num_regimes > 2):
            raise SyntheticMarketError(
                "oracle('belief'): expected one asset and at most two regimes, found "
                f"{self.assets} and {self.num_regimes}; oracle('known') is an upper bound"
            )
        # One asset's band: what is shown and how many assets there are does not change it.
        shown = replace(self, regime="known", believed_transition=None)
        alone = replace(shown, assets=1, correlation=None)
        solution = _solve(alone, "belief" if hidden else "known")
        return BandOracle(self.spread, solution, information, self.assets)

    def rules(self) -> Mapping[str, Solution]:
        """Return `do_nothing`, `myopic` and (with risk aversion) `continuous_band`.

        They know the regime where the features tell it, else the filter's probabilities.
        """
        information: Information = "known" if self.regime == "known" else "belief"
        myopic = Myopic(self.spread, self.shock_correlation, information)
        rules: dict[str, Solution] = {"do_nothing": DoNothing(), "myopic": myopic}
        if self.risk_aversion > 0.0:
            rules["continuous_band"] = ContinuousBand(myopic)
        return rules

    def compiled(self) -> tuple[Advance, Advance]:
        """Return the compiled functions that begin a state, and that move it one bar on."""
        return begin, advance


@lru_cache(maxsize=64)
def _solve(market: OrnsteinUhlenbeck, information: Information) -> Band:
    solver = solve_belief if information == "belief" else solve_known
    return solver(market.spread)


@lru_cache(maxsize=64)
def _pack(market: OrnsteinUhlenbeck, *, filtering: bool) -> NDArray[np.float64]:
    """Return what the compiled functions read."""
    weight_K = stationary(market.chain.shown_KK)
    mean_K, deviation_K = np.array(market.mean), market.price_deviation
    centre = float(weight_K @ mean_K)
    spread = math.sqrt(float(weight_K @ (deviation_K**2 + (mean_K - centre) ** 2)))
    # Variance of a change within a regime: 2 kappa s^2 by P' - P = -kappa (P - m) + sigma eps.
    change = math.sqrt(float(weight_K @ (2.0 * np.array(market.speed) * deviation_K**2)))
    lower_AA = np.linalg.cholesky(market.shock_correlation)
    parameters_Q = np.array(
        [
            market.assets,
            market.num_regimes,
            VIEWS[market.regime],
            filtering,
            centre,
            spread,
            change,
            *market.chain.packed(),
            *market.speed,
            *market.mean,
            *market.volatility,
            *deviation_K,
            *lower_AA.ravel(),
            *np.linalg.inv(lower_AA).ravel(),
        ],
        dtype=np.float64,
    )
    parameters_Q.flags.writeable = False
    return parameters_Q

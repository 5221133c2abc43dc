r"""What a belief is worth: the exact policy of a market with a known answer, fed with it.

The policy that is the best one under the Bayes filter's belief (`oracle("belief")`) is given other
beliefs instead, and scored by the rewards to be expected given the true regimes. Its share of what
it earns with the oracle filter's beliefs is the decision value of a detector. Prices may have any
noise of the market's moments; policies are price takers.

Dimensions: N paths, T closes, A assets, F signals, K regimes, Q nodes of a quadrature.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.synthetic import MarketConfig
from markets.synthetic.base import Solution, World
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.regime_gbm import RegimeGBM

__all__ = ["Decisions", "Worlds", "decide"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Worlds:
    """The truth behind N paths of one market; row t is the close of bar t.

    Attributes:
        regime_NT: k_t, which governs the bar t + 1.
        close_NTA: prices.
        signal_NTF: signals of a Garleanu-Pedersen market, else (N, T, 0).
        node_Q: equally likely values of the standardised noise, for expected log growth.
    """

    regime_NT: NDArray[np.int64]
    close_NTA: Array
    signal_NTF: Array
    node_Q: Array

    def at(self, bar: int, belief_NK: Array) -> World:
        """Return the worlds at a close, with a belief."""
        return World(
            self.regime_NT[:, bar], self.close_NTA[:, bar], self.signal_NTF[:, bar], belief_NK
        )

    def since(self, bar: int) -> "Worlds":
        """Return the same worlds from a close on."""
        rows = (self.regime_NT[:, bar:], self.close_NTA[:, bar:], self.signal_NTF[:, bar:])
        return Worlds(*rows, self.node_Q)


@dataclass(frozen=True, eq=False)
class Decisions:
    """What a policy did and earned.

    Attributes:
        reward_NT: expected reward of each bar given the state, the regime and the trades (T - 1).
        turnover_NT: sum over the assets of what was traded at each close: units, or weights.
        holding_NTA: holdings after the trade.
    """

    reward_NT: Array
    turnover_NT: Array
    holding_NTA: Array

    @property
    def mean(self) -> Array:
        """Mean expected reward of a bar of each path, (N,)."""
        return np.asarray(self.reward_NT.mean(axis=1))


def decide(
    market: MarketConfig, worlds: Worlds, belief_NTK: Array, solution: Solution | None = None
) -> Decisions:
    """Let a policy that acts on beliefs trade through given paths.

    Args:
        market: whose rules hold.
        worlds: its paths.
        belief_NTK: beliefs at each close, in the market's order of regimes.
        solution: policy; None = the best one under the Bayes filter's belief.

    Raises:
        SyntheticMarketError: no such policy is known for the market's parameters.
        ValueError: beliefs of another shape.
    """
    paths, closes, assets = worlds.close_NTA.shape
    if belief_NTK.shape != (paths, closes, market.num_regimes):
        raise ValueError(
            f"belief: expected shape {(paths, closes, market.num_regimes)}, found "
            f"{belief_NTK.shape}"
        )
    policy = solution or market.oracle("belief")
    account = _account(market, worlds)
    holding_NA = np.zeros((paths, assets))
    reward_NT, turnover_NT = np.zeros((2, paths, closes - 1))
    holding_NTA = np.zeros((paths, closes - 1, assets))
    for bar in range(closes - 1):
        wanted_NA = policy.target(worlds.at(bar, belief_NTK[:, bar]), holding_NA)
        wanted_NA = np.clip(wanted_NA, -market.holding_limit, market.holding_limit)
        reward_NT[:, bar] = account.reward(bar, wanted_NA, holding_NA)
        turnover_NT[:, bar] = np.abs(wanted_NA - holding_NA).sum(axis=1)
        holding_NTA[:, bar] = wanted_NA
        holding_NA = account.carried(bar, wanted_NA, holding_NA)
    return Decisions(reward_NT, turnover_NT, holding_NTA)


@dataclass(frozen=True, eq=False)
class _Additive:
    """Rewards x' E[dP] - gamma / 2 x' Sigma x - costs; holdings stay as they are."""

    drift_NTA: Array
    covariance_KAA: Array
    cost_KAA: Array
    proportional: float
    risk_aversion: float
    regime_NT: NDArray[np.int64]

    def reward(self, bar: int, wanted_NA: Array, holding_NA: Array) -> Array:
        """Expected reward of the bar after this close, (N,)."""
        traded_NA = wanted_NA - holding_NA
        regime_N = self.regime_NT[:, bar]
        gain_N = (wanted_NA * self.drift_NTA[:, bar]).sum(axis=1)
        risk_N = _quadratic(wanted_NA, self.covariance_KAA[regime_N])
        cost_N = 0.5 * _quadratic(traded_NA, self.cost_KAA[regime_N])
        cost_N += self.proportional * np.abs(traded_NA).sum(axis=1)
        return np.asarray(gain_N - 0.5 * self.risk_aversion * risk_N - cost_N)

    def carried(self, bar: int, wanted_NA: Array, holding_NA: Array) -> Array:
        """Holdings at the next close."""
        del bar, holding_NA
        return wanted_NA


@dataclass(frozen=True, eq=False)
class _Growth:
    """Log growth of one asset's weight; weights move with the price."""

    gross_KQ: Array
    close_NT: Array
    cost: float
    regime_NT: NDArray[np.int64]

    def reward(self, bar: int, wanted_NA: Array, holding_NA: Array) -> Array:
        """Expected log growth of the bar after this close, (N,)."""
        cost_N1 = self.cost * np.abs(wanted_NA - holding_NA)
        return_NQ = self.gross_KQ[self.regime_NT[:, bar]] - 1.0
        return np.asarray(np.log(1.0 + wanted_NA * return_NQ - cost_N1).mean(axis=1))

    def carried(self, bar: int, wanted_NA: Array, holding_NA: Array) -> Array:
        """Weights at the next close."""
        gross_N1 = (self.close_NT[:, bar + 1] / self.close_NT[:, bar])[:, None]
        cost_N1 = self.cost * np.abs(wanted_NA - holding_NA)
        return np.asarray(wanted_NA * gross_N1 / (1.0 + wanted_NA * (gross_N1 - 1.0) - cost_N1))


def _account(market: MarketConfig, worlds: Worlds) -> _Additive | _Growth:
    regime_NT, close_NTA = worlds.regime_NT, worlds.close_NTA
    if isinstance(market, RegimeGBM):
        if market.num_assets > 1:
            raise ValueError(f"market: expected one asset, found {market.num_assets}")
        law = market.law
        deviation_K1 = law.volatility_KA[:, :1]
        gross_KQ = np.exp(law.log_drift_KA[:, :1] + deviation_K1 * worlds.node_Q)
        return _Growth(gross_KQ, close_NTA[:, :, 0], market.cost, regime_NT)
    assets = close_NTA.shape[2]
    if isinstance(market, GarleanuPedersen):
        system = market.system
        drift_NTA = np.einsum(
            "ntas,nts->nta", system.loading_KAS[regime_NT], worlds.signal_NTF, optimize=True
        )
        moments = (system.covariance_KAA, system.cost_KAA, 0.0)
    else:
        speed_K, mean_K = np.array(market.speed), np.array(market.mean)
        drift_NTA = speed_K[regime_NT][..., None] * (mean_K[regime_NT][..., None] - close_NTA)
        free_KAA = np.zeros((market.num_regimes, assets, assets))
        moments = (market.stream().covariance_KAA, free_KAA, market.cost)
    covariance_KAA, cost_KAA, proportional = moments
    return _Additive(
        drift_NTA, covariance_KAA, cost_KAA, proportional, market.risk_aversion, regime_NT
    )


def _quadratic(vector_NA: Array, matrix_NAA: Array) -> Array:
    return np.asarray(np.einsum("na,nab,nb->n", vector_NA, matrix_NAA, vector_NA))

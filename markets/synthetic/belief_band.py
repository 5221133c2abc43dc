"""The no-trade band where the regime is hidden: two regimes, one asset, state (P, pi, x).

pi_t = P(k_t = second | prices up to t) is itself a Markov process together with the price: P' has
the density sum_k pi_k N(P + kappa_k (m_k - P), sigma_k^2), and pi' follows from (pi, P, P') by the
Bayes filter. The expected reward is linear in pi, so `band.solve` applies with the state (pi, P):
mu = sum_k pi_k kappa_k (m_k - P) and g = gamma sum_k pi_k sigma_k^2.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from markets.synthetic.band import Band, Prices, Resolution, Spread, solve
from markets.synthetic.chain import SyntheticMarketError

Array = NDArray[np.float64]

_LEAST, _MOST = 1e-3, 0.1
"""Smallest and largest e of the scale of beliefs."""
DEFAULT = Resolution(prices=3.0, levels=161, beliefs=25, reach=5.0)
"""Its value errs by less than 3e-4 of itself (see the tests)."""
MOST_STATES = 6_000
"""Of the price and the belief: the solver holds a matrix of their square."""


class Scale(NamedTuple):
    """A measure of the belief b that is fine near certainty: s = log((b + e_0) / (1 - b + e_1)).

    e_0 and e_1 are the probabilities of leaving a regime, which bound how certain one may be.
    """

    first: float
    """e_0."""
    second: float
    """e_1."""

    @classmethod
    def of(cls, transition_KK: Array) -> Self:
        """Return the scale of a chain of two regimes."""
        first, second = np.clip([transition_KK[0, 1], transition_KK[1, 0]], _LEAST, _MOST)
        return cls(float(first), float(second))

    def place(self, belief: Array) -> Array:
        """Return s."""
        inside = np.clip(belief, 0.0, 1.0)
        place: Array = np.log((inside + self.first) / (1.0 - inside + self.second))
        return place

    def nodes(self, size: int) -> Array:
        """Return beliefs from 0 to 1, evenly spaced in s."""
        low, high = self.place(np.array([0.0, 1.0]))
        odds_R = np.exp(np.linspace(low, high, size))
        nodes_R: Array = (odds_R * (1.0 + self.second) - self.first) / (1.0 + odds_R)
        nodes_R[0], nodes_R[-1] = 0.0, 1.0
        return nodes_R


def solve_belief(spread: Spread, resolution: Resolution = DEFAULT) -> Band:
    """Return the band where the regime is hidden: rows are probabilities of the second regime.

    Raises:
        SyntheticMarketError: there are not two regimes.
    """
    if len(spread.speed_K) != 2:
        raise SyntheticMarketError(
            f"oracle('belief'): expected two regimes, found {len(spread.speed_K)}"
        )
    prices = Prices(spread, resolution, MOST_STATES // resolution.beliefs)
    drift_KI = spread.speed_K[:, None] * (spread.mean_K[:, None] - prices.price_I)
    variance_K = spread.volatility_K**2
    scale = Scale.of(spread.transition_KK)
    belief_R = scale.nodes(resolution.beliefs)
    second_R1 = belief_R[:, None]
    step_MM = np.concatenate(
        [_steps(spread, prices, scale, belief_R, belief) for belief in belief_R]
    )
    drift_RI = (1.0 - second_R1) * drift_KI[0] + second_R1 * drift_KI[1]
    variance_R = (1.0 - belief_R) * variance_K[0] + belief_R * variance_K[1]
    band = solve(
        spread,
        resolution,
        price_I=prices.price_I,
        step_MM=step_MM,
        drift_M=drift_RI.ravel(),
        risk_M=np.repeat(spread.risk_aversion * variance_R, len(prices.price_I)),
        start_M=_start(spread, prices, scale, belief_R),
    )
    return band._replace(row_R=belief_R)


def _steps(spread: Spread, prices: Prices, scale: Scale, belief_R: Array, belief: float) -> Array:
    """Return the expectation (I, M) of a function of the next state, from one belief."""
    first_IQ, second_IQ = (
        probability
        * prices.density(prices.price_I + speed * (mean - prices.price_I), float(volatility))
        for probability, speed, mean, volatility in zip(
            (1.0 - belief, belief), spread.speed_K, spread.mean_K, spread.volatility_K, strict=True
        )
    )
    posterior_IQ = _posterior(first_IQ, second_IQ)
    into_second_K = spread.transition_KK[:, 1]
    next_IQ = (1.0 - posterior_IQ) * into_second_K[0] + posterior_IQ * into_second_K[1]
    return _spread_out(prices, scale, belief_R, first_IQ + second_IQ, next_IQ)


def _start(spread: Spread, prices: Prices, scale: Scale, belief_R: Array) -> Array:
    """Return the expectation (M,) of a function of the first state."""
    first_1Q, second_1Q = (
        weight * prices.density(np.array([mean]), float(deviation))
        for weight, mean, deviation in zip(
            spread.first_K, spread.mean_K, spread.deviations, strict=True
        )
    )
    posterior_1Q = _posterior(first_1Q, second_1Q)
    start_M: Array = _spread_out(prices, scale, belief_R, first_1Q + second_1Q, posterior_1Q)[0]
    return start_M


def _posterior(first_NQ: Array, second_NQ: Array) -> Array:
    """Return the probability of the second regime; 0 where neither has any density."""
    total_NQ = first_NQ + second_NQ
    posterior_NQ: Array = second_NQ / np.where(total_NQ > 0.0, total_NQ, 1.0)
    return posterior_NQ


def _spread_out(
    prices: Prices, scale: Scale, belief_R: Array, density_NQ: Array, next_NQ: Array
) -> Array:
    """Return sum_q density_q f(belief_q, price_q) as a linear map (N, R * I) of f on the grid.

    f is a cubic spline in both. The mass beyond the prices' ends, 1e-9, is shared out.
    """
    density_NQ = density_NQ / density_NQ.sum(axis=1, keepdims=True)
    basis_NQR: Array = CubicSpline(scale.place(belief_R), np.eye(len(belief_R)))(
        scale.place(next_NQ)
    )
    weighted_NRQ = np.swapaxes(basis_NQR * density_NQ[:, :, None], 1, 2)
    spread_NRI: Array = weighted_NRQ @ prices.interpolation_QI
    return spread_NRI.reshape(len(density_NQ), -1)

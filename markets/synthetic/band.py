"""The no-trade band of a mean-reverting price with proportional costs, by dynamic programming.

With V_k(P, x) the best value before trading from the holding x, and W_k(P, x) after trading to x,

    W_k(P, x) = x mu_k(P) - g_k / 2 x^2 + delta sum_j P_kj E[V_j(P', x)],  g_k = gamma sigma_k^2
    V_k(P, x) = max_y W_k(P, y) - c |y - x|,  |y| <= limit

W is concave in x, so the best trade goes to the nearest edge of [l, u], where G = dW/dx is c and
-c, and dV/dx = clip(G, -c, c). Differentiating, **every level x of the holding is a problem of its
own**, a game of when that unit is worth its cost:

    G_k(P, x) = mu_k(P) - g_k x + delta sum_j P_kj E[clip(G_j(P', x), -c, c)]

which has no maximisation over trades and no grid error in x. From no holding at all,

    V_k(P, 0) = W_k(P, 0) + gain_k(P),   W_k(P, 0) = delta sum_j P_kj E[V_j(P', 0)]
    gain_k(P) = int_0^limit (G - c)^+ dx + int_-limit^0 (-G - c)^+ dx

Source: Davis & Norman (1990) for the band; Karatzas & Shreve (1984) for the derivative of a
singular control problem as a problem of stopping.
"""

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.linalg import lu_factor, lu_solve

from markets.synthetic.chain import SyntheticMarketError, discounted_law, start_law, stationary

Array = NDArray[np.float64]

_LEAST_FINENESS = 2.0
"""Prices to the smallest volatility, below which nothing is solved."""
MOST_STATES = 4_000
"""Of the price and the regime: the solver holds a matrix of their square."""
_MOST_ROUNDS = 200
_FINER = 8
"""Steps, by cubic splines, to one between two levels of the holding."""


class Spread(NamedTuple):
    """A mean-reverting price, what it costs to trade it, and what is maximised."""

    transition_KK: Array
    """P[k, j] = P(k_{t+1} = j | k_t = k)."""
    speed_K: Array
    """kappa_k."""
    mean_K: Array
    """m_k, currency."""
    volatility_K: Array
    """sigma_k, currency."""
    cost: float
    """c, currency a unit."""
    risk_aversion: float
    """gamma, 1 / currency."""
    limit: float
    """Largest absolute holding, units."""
    discount: float
    """delta, per bar."""
    start_K: Array | None = None
    """Law of k_0; None = the stationary one."""

    @property
    def first_K(self) -> Array:  # noqa: N802 - dimension suffix
        """Law of k_0, (K,)."""
        return start_law(self.transition_KK, self.start_K)

    @property
    def deviations(self) -> Array:
        """Standard deviation of the price within each regime for ever, (K,), currency."""
        deviation_K: Array = self.volatility_K / np.sqrt(self.speed_K * (2.0 - self.speed_K))
        return deviation_K


class Resolution(NamedTuple):
    """How fine the grids are."""

    prices: float = 6.0
    """Prices to the smallest volatility."""
    levels: int = 161
    """Levels of the holding in [-limit, limit]."""
    beliefs: int = 17
    """Probabilities of the second regime in [0, 1] (see `belief_band`)."""
    reach: float = 6.0
    """Half width of the grid of prices, standard deviations: 2e-9 of the mass is beyond 6."""


DEFAULT = Resolution()
"""Its value errs by less than 1e-4 of itself (see the tests)."""


class Band(NamedTuple):
    """A solved problem. Rows R are regimes, or probabilities of the second regime."""

    price_I: Array
    """Grid of prices, evenly spaced, currency."""
    low_RI: Array
    """l: buy up to it from below, units."""
    high_RI: Array
    """u: sell down to it from above, units."""
    row_R: Array
    """What each row is: the number of the regime, or the probability of the second one."""
    flat_RI: Array
    """Best value with no holding, before trading, currency (summed, not a bar)."""
    value: float
    """(1 - delta) E sum_t delta^t reward_t from a flat start, currency a bar."""


class Prices:
    """A grid of prices, and expectations of functions on it under normal laws.

    A function is the cubic spline through its values, constant beyond the ends; its expectation
    is integrated by four Gauss-Legendre points in each cell.
    """

    def __init__(self, spread: Spread, resolution: Resolution, most: int) -> None:
        low, high = _range(spread, resolution.reach)
        smallest = float(spread.volatility_K.min())
        needed = (high - low) / smallest
        if needed * _LEAST_FINENESS > most:
            raise SyntheticMarketError(
                f"speed, volatility: the band is solved for prices in a range of at most "
                f"{most / _LEAST_FINENESS:.4g} times the smallest volatility, found "
                f"{high - low:.4g} with a volatility of {smallest:.4g}"
            )
        # Wide ranges are solved more coarsely, so that they stay a matter of seconds.
        affordable = max(most // 2, math.ceil(needed * _LEAST_FINENESS))
        count = min(max(math.ceil(needed * resolution.prices) + 1, 41), affordable)
        self.price_I: Array = np.linspace(low, high, count)
        node, weight = np.polynomial.legendre.leggauss(4)
        step = self.price_I[1] - self.price_I[0]
        self.node_Q: Array = (self.price_I[:-1, None] + 0.5 * step * (node + 1.0)).ravel()
        self.weight_Q: Array = np.tile(0.5 * step * weight, len(self.price_I) - 1)

    @cached_property
    def interpolation_QI(self) -> Array:  # noqa: N802 - dimension suffix
        """Values at the integration nodes as a linear map of values on the grid."""
        at_nodes: Array = CubicSpline(self.price_I, np.eye(len(self.price_I)))(self.node_Q)
        return at_nodes

    def density(self, centre_N: Array, deviation: float) -> Array:
        """Return weights (N, Q) of the integration nodes under N(centre, deviation^2)."""
        z_NQ = (self.node_Q - centre_N[:, None]) / deviation
        density_NQ: Array = np.exp(-0.5 * z_NQ**2) * (
            self.weight_Q / (deviation * math.sqrt(2.0 * math.pi))
        )
        return density_NQ

    def expectation(self, centre_N: Array, deviation: float) -> Array:
        """Return E[f(Z)] as a linear map (N, I) of f on the grid, Z ~ N(centre, deviation^2)."""
        density_NQ = self.density(centre_N, deviation)
        expectation_NI: Array = density_NQ @ self.interpolation_QI
        missing_N = 1.0 - density_NQ.sum(axis=1)
        end_N = np.where(centre_N > self.price_I.mean(), len(self.price_I) - 1, 0)
        expectation_NI[np.arange(len(centre_N)), end_N] += missing_N
        return expectation_NI


def _range(spread: Spread, reach: float) -> tuple[float, float]:
    """Return the range of prices: of the start's laws, and of the life with switches after it.

    The latter by its first two moments in the long run, and where the regime starts elsewhere
    also averaged over a discounted life.
    """
    reach_K = reach * spread.deviations
    lows = [float((spread.mean_K - reach_K).min())]
    highs = [float((spread.mean_K + reach_K).max())]
    for discount in (1.0,) if spread.start_K is None else (1.0, spread.discount):
        centre, deviation = _moments(spread, discount)
        lows.append(centre - reach * deviation)
        highs.append(centre + reach * deviation)
    return min(lows), max(highs)


def _moments(spread: Spread, discount: float) -> tuple[float, float]:
    """Return mean and deviation of the price, averaged by (1 - delta) delta^t; at 1 in the end."""
    weight_K = (
        stationary(spread.transition_KK)
        if discount == 1.0
        else discounted_law(spread.transition_KK, spread.start_K, discount)
    )
    start_K, mean_K = (1.0 - discount) * spread.first_K, spread.mean_K
    keep_K, pull_K = 1.0 - spread.speed_K, spread.speed_K * mean_K
    into_KK, one = discount * spread.transition_KK.T, np.eye(len(weight_K))
    # E[P 1{k}] and E[P^2 1{k}], from one bar to the next.
    moved_K = into_KK @ (pull_K * weight_K) + start_K * mean_K
    first_K = np.linalg.solve(one - into_KK * keep_K, moved_K)
    fresh_K = 2.0 * keep_K * pull_K * first_K + (pull_K**2 + spread.volatility_K**2) * weight_K
    moved_K = into_KK @ fresh_K + start_K * (mean_K**2 + spread.deviations**2)
    second_K = np.linalg.solve(one - into_KK * keep_K**2, moved_K)
    centre = float(first_K.sum())
    return centre, math.sqrt(float(second_K.sum()) - centre**2)


def solve_known(spread: Spread, resolution: Resolution = DEFAULT) -> Band:
    """Return the band where the regime is known: rows are regimes."""
    regimes = len(spread.speed_K)
    prices = Prices(spread, resolution, MOST_STATES // regimes)
    size = len(prices.price_I)
    drift_KI = spread.speed_K[:, None] * (spread.mean_K[:, None] - prices.price_I)
    step_MM = np.zeros((regimes, size, regimes, size))
    for regime, volatility in enumerate(spread.volatility_K):
        one_II = prices.expectation(prices.price_I + drift_KI[regime], float(volatility))
        step_MM[regime] = spread.transition_KK[regime][None, :, None] * one_II[:, None, :]
    start_KI = np.concatenate(
        [
            prices.expectation(spread.mean_K[[regime]], float(spread.deviations[regime]))
            for regime in range(regimes)
        ]
    )
    start_KI *= spread.first_K[:, None]
    risk_K = spread.risk_aversion * spread.volatility_K**2
    return solve(
        spread,
        resolution,
        price_I=prices.price_I,
        step_MM=step_MM.reshape(regimes * size, regimes * size),
        drift_M=drift_KI.ravel(),
        risk_M=np.repeat(risk_K, size),
        start_M=start_KI.ravel(),
    )


def solve(
    spread: Spread,
    resolution: Resolution,
    *,
    price_I: Array,
    step_MM: Array,
    drift_M: Array,
    risk_M: Array,
    start_M: Array,
) -> Band:
    """Return the band of a market with M = R * I states; rows are numbered.

    Args:
        spread: costs, limit and discount.
        resolution: how many levels of the holding.
        price_I: grid of prices; the states are (row, price).
        step_MM: expectation of a function of the next state, given the state.
        drift_M: expected change of the price, given the state.
        risk_M: g, risk aversion times the expected variance of the change.
        start_M: expectation of a function of the first state.
    """
    levels = resolution.levels + 1 - resolution.levels % 2
    level_X = np.linspace(-spread.limit, spread.limit, levels)
    never_sold = lu_factor(np.eye(len(step_MM)) - spread.discount * step_MM)
    kept_M2: Array = lu_solve(never_sold, np.stack([drift_M, risk_M], axis=1))
    coarse_MX = _marginal_values(spread, level_X, step_MM, drift_M, risk_M, kept_M2)
    fine_X = np.linspace(-spread.limit, spread.limit, _FINER * (levels - 1) + 1)
    marginal_MX: Array = CubicSpline(level_X, coarse_MX, axis=1)(fine_X)
    cost, discount, middle = spread.cost, spread.discount, len(fine_X) // 2
    gain_M = _area(marginal_MX[:, middle:] - cost, fine_X) + _area(
        -marginal_MX[:, middle::-1] - cost, fine_X
    )
    flat_M: Array = gain_M + lu_solve(never_sold, discount * (step_MM @ gain_M))
    shape = (-1, len(price_I))
    return Band(
        price_I=price_I,
        low_RI=_crossing(marginal_MX, fine_X, cost).reshape(shape),
        high_RI=_crossing(marginal_MX, fine_X, -cost).reshape(shape),
        row_R=np.arange(len(flat_M) / len(price_I)),
        flat_RI=flat_M.reshape(shape),
        value=float((1.0 - discount) * (start_M @ flat_M)),
    )


def _marginal_values(
    spread: Spread,
    level_X: Array,
    step_MM: Array,
    drift_M: Array,
    risk_M: Array,
    kept_M2: Array,
) -> Array:
    """Return G (M, X), the marginal value of a unit at each level.

    `kept_M2` holds the present values of drift and risk of a unit that is kept for ever.
    """
    marginal_MX = np.empty((len(drift_M), len(level_X)))
    guess_M = drift_M - risk_M * level_X[0]
    for column, level in enumerate(level_X):
        kept_M = kept_M2[:, 0] - level * kept_M2[:, 1]
        if np.abs(kept_M).max() < spread.cost:
            guess_M = kept_M
        else:
            guess_M = _play(drift_M - risk_M * level, guess_M, step_MM, spread)
        marginal_MX[:, column] = guess_M
    return marginal_MX


def _play(reward_M: Array, guess_M: Array, step_MM: Array, spread: Spread) -> Array:
    """Solve G = reward + delta T clip(G, -c, c) by Newton's method on the set where |G| < c.

    Each round solves the linear system of a guessed set exactly, and stops where the solution has
    that very set. A round is a policy iteration of a zero-sum stopping game; from the solution of
    the level before, two to six are enough.
    """
    cost, discount = spread.cost, spread.discount
    held_M = np.abs(guess_M) < cost
    value_M = np.clip(guess_M, -cost, cost)
    for _ in range(_MOST_ROUNDS):
        held = np.flatnonzero(held_M)
        if len(held):
            rows_HM = step_MM[held]
            outside_M = np.where(held_M, 0.0, value_M)
            value_M[held] = np.linalg.solve(
                np.eye(len(held)) - discount * rows_HM[:, held],
                reward_M[held] + discount * (rows_HM @ outside_M),
            )
        marginal_M: Array = reward_M + discount * (step_MM @ value_M)
        value_M = np.clip(marginal_M, -cost, cost)
        following_M = np.abs(marginal_M) < cost
        if np.array_equal(following_M, held_M):
            return marginal_M
        held_M = following_M
    raise SyntheticMarketError(
        f"the band did not settle in {_MOST_ROUNDS} rounds: cost {cost}, discount {discount}"
    )


def _area(excess_MY: Array, level_X: Array) -> Array:
    """Return the integral (M,) over equal steps of the positive part of what falls in each row."""
    step = level_X[1] - level_X[0]
    first_MY, second_MY = excess_MY[:, :-1], excess_MY[:, 1:]
    cut_MY = (first_MY > 0.0) & (second_MY < 0.0)
    fall_MY = np.where(cut_MY, first_MY - second_MY, 1.0)
    area_MY = np.where(
        cut_MY, first_MY**2 / (2.0 * fall_MY), 0.5 * np.maximum(first_MY + second_MY, 0.0)
    )
    area_M: Array = step * area_MY.sum(axis=1)
    return area_M


def _crossing(marginal_MX: Array, level_X: Array, height: float) -> Array:
    """Return the level (M,) at which each row, which falls, crosses a height; else an end."""
    return np.array([np.interp(height, row_X[::-1], level_X[::-1]) for row_X in marginal_MX])

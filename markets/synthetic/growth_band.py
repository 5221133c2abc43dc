"""Growth-optimal trading of one asset with proportional costs, by dynamic programming.

With the weight w0 before and w of the trade, both parts of the equity E0 before it, the equity
after the bar is E1 / E0 = 1 + w R - c |w - w0|. Let y = w / (1 - c |w - w0|) be the weight just
after the trade. Then the growth splits into trade and bar,

    log(E1 / E0) = log(1 - c |w - w0|) + log(1 + y R),   w0' = y (1 + R) / (1 + y R),

    H(b, y) = sum_k b_k E_k[ log(1 + y R) + delta V(b'(R), y (1 + R) / (1 + y R)) ],

and buying (1 - c (w - w0) = (1 + c w0) / (1 + c y)) or selling separates w0 from y:

    low = argmax_y H(b, y) - log(1 + c y),   high = argmax_y H(b, y) - log(1 - c y),

    V(b, w0) = log(1 + c w0) + H(b, low) - log(1 + c low)       if w0 < low:   buy
               H(b, w0)                                         between them:  hold
               log(1 - c w0) + H(b, high) - log(1 - c high)     if w0 > high:  sell.

The edges do not depend on w0: the best policy is a no-trade band (Davis & Norman, 1990), in
discrete time and under a belief too, because the value is concave in the amounts held and
homogeneous in wealth. The weight y is held to |y| <= limit, which is tighter than |w| <= limit by
at most a factor 1 - c |w - w0|, where the limit binds at all.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from markets.compiled import kernel
from markets.synthetic.chain import SyntheticMarketError, start_law
from markets.synthetic.gbm_laws import Law
from markets.synthetic.kelly import return_nodes

_REACH = 1.5
"""Largest weight of the grid in multiples of the limit: where prices may carry a holding."""
_TOLERANCE = 1e-9
"""Largest error of the iterated values, log growth (not a bar's, their discounted sum)."""
_SETTLED = 1e-7
"""Error of the iterated values from which the edges are kept."""
_SETTLING = 20.0
"""Sweeps in units of 1 / (1 - delta) after which they are kept in any case."""
_MOST_SWEEPS = 20_000


@dataclass(frozen=True, eq=False)
class Band:
    """A solved no-trade band on a grid of I states of information.

    Attributes:
        belief_I: Probability of the regime 1 of each state; of known regimes, their number.
        low_I: Weight just after buying.
        high_I: Weight just after selling.
        value: (1 - delta) V from cash under the law of k_0, log growth a bar.
        value_IW: V on the grid of weights before the trade.
        weight_W: That grid.
        known: The states are the regimes themselves.
    """

    belief_I: NDArray[np.float64]
    low_I: NDArray[np.float64]
    high_I: NDArray[np.float64]
    value: float
    value_IW: NDArray[np.float64]
    weight_W: NDArray[np.float64]
    known: bool

    def edges(
        self, belief_N: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the edges (N,), (N,) at probabilities of regime 1 (or numbers of regimes)."""
        if self.known:
            index_N = np.rint(belief_N).astype(np.int64)
            return self.low_I[index_N], self.high_I[index_N]
        return (
            np.interp(belief_N, self.belief_I, self.low_I),
            np.interp(belief_N, self.belief_I, self.high_I),
        )

    def edges_of(
        self, belief_NK: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the edges (N,), (N,) at beliefs (N, K); one-hot where the regime is known."""
        if self.known:
            return self.edges(np.argmax(belief_NK, axis=1).astype(np.float64))
        return self.edges(belief_NK[:, 1])


def solve_band(
    law: Law,
    cost: float,
    limit: float,
    discount: float,
    *,
    known: bool,
    num_weights: int = 120,
    num_beliefs: int = 49,
) -> Band:
    """Solve the dynamic program.

    Args:
        law: law of the returns, of one asset.
        cost: c, part of the traded notional.
        limit: largest absolute weight just after a trade.
        discount: delta, per bar.
        known: the regime is known; otherwise it is hidden, and one of two.
        num_weights: intervals of the grid between a weight of 0 and the limit.
        num_beliefs: points of the grid of beliefs.

    Raises:
        SyntheticMarketError: several assets, more than two hidden regimes, or no convergence.
    """
    if law.num_assets != 1 or not (known or law.num_regimes == 2):
        raise SyntheticMarketError(
            "band: expected one asset, and two regimes where they are hidden, found"
            f" {law.num_assets} assets, {law.num_regimes} regimes"
        )
    return_KQA, weight_Q = return_nodes(law)
    return_Z = return_KQA[:, :, 0].ravel()
    if known:
        belief_I = np.arange(law.num_regimes, dtype=np.float64)
        chance_KKQ = np.eye(law.num_regimes)[:, :, None] * weight_Q
        chance_IZ = chance_KKQ.reshape(law.num_regimes, -1)
        first_IZ, mix_IZM = _known_moves(law, len(weight_Q))
    else:
        belief_I = np.linspace(0.0, 1.0, num_beliefs)
        chance_IZ = np.stack([1.0 - belief_I, belief_I], axis=1)[:, :, None] * weight_Q
        chance_IZ = chance_IZ.reshape(num_beliefs, -1)
        first_IZ, mix_IZM = cubic(_bayes(law, belief_I, return_Z), 0.0, 1.0, num_beliefs)
    margin = round((_REACH - 1.0) * num_weights)
    most = num_weights + margin
    weight_W = limit / num_weights * np.arange(-most, most + 1, dtype=np.float64)
    held_Y = weight_W[margin:-margin]
    growth_YZ = 1.0 + held_Y[:, None] * return_Z
    carried_YZ = held_Y[:, None] * (1.0 + return_Z) / growth_YZ
    place_YZ, cubic_YZ4 = cubic(carried_YZ, weight_W[0], weight_W[-1], len(weight_W))
    growth_IY: NDArray[np.float64] = chance_IZ @ np.log(growth_YZ).T
    bars = _Bars(chance_IZ, first_IZ, mix_IZM, place_YZ, cubic_YZ4, growth_IY)
    value_IW, low_I, high_I = _iterate(bars, weight_W, cost, discount)
    value = (1.0 - discount) * _start(law, value_IW[:, most], known=known)
    return Band(belief_I, low_I, high_I, value, value_IW, weight_W, known)


def _start(law: Law, value_I: NDArray[np.float64], *, known: bool) -> float:
    """Return the expected value at the start, from values (I,) of a flat account."""
    start_K = start_law(law.transition_KK, law.start_K)
    if known:
        return float(start_K @ value_I)
    first_1, weight_14 = cubic(start_K[1:], 0.0, 1.0, len(value_I))
    return float(weight_14[0] @ value_I[first_1[0] : first_1[0] + 4])


def _known_moves(law: Law, num_nodes: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the first successor and the probabilities of each: those of the chain."""
    size = law.num_regimes
    mix_IZM = np.broadcast_to(
        np.repeat(law.transition_KK, num_nodes, axis=0), (size, size * num_nodes, size)
    )
    return np.zeros((size, size * num_nodes), np.int64), np.ascontiguousarray(mix_IZM)


def _bayes(
    law: Law, belief_I: NDArray[np.float64], return_Z: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the probability (I, Z) of the regime 1 after a return: Bayes, then the chain."""
    mean_K, deviation_K = law.log_drift_KA[:, 0], law.volatility_KA[:, 0]
    score_ZK = (np.log1p(return_Z)[:, None] - mean_K) / deviation_K
    log_ZK = -0.5 * score_ZK**2 - np.log(deviation_K)
    likelihood_ZK = np.exp(log_ZK - log_ZK.max(axis=1, keepdims=True))
    mass_IZK = np.stack([1.0 - belief_I, belief_I], axis=1)[:, None, :] * likelihood_ZK
    # At certainty of the regime that a node excludes nothing is left; its chance is 0 as well.
    total_IZ = np.maximum(mass_IZK.sum(axis=2), 1e-300)
    following: NDArray[np.float64] = mass_IZK @ law.transition_KK[:, 1] / total_IZ
    return following


def cubic(
    value_X: NDArray[np.float64], first: float, last: float, size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the first of four neighbours in a uniform grid and their Lagrange weights (..., 4).

    Values outside the grid are moved to its end.
    """
    place = np.clip((value_X - first) / (last - first), 0.0, 1.0) * (size - 1)
    start = np.clip(np.floor(place).astype(np.int64) - 1, 0, size - 4)
    t = place - start
    weights = [
        -(t - 1.0) * (t - 2.0) * (t - 3.0) / 6.0,
        t * (t - 2.0) * (t - 3.0) / 2.0,
        -t * (t - 1.0) * (t - 3.0) / 2.0,
        t * (t - 1.0) * (t - 2.0) / 6.0,
    ]
    return start, np.stack(weights, axis=-1)


class _Bars(NamedTuple):
    """Transitions over one bar between the grids, for I states, Z returns, Y held weights."""

    chance_IZ: NDArray[np.float64]
    """Probability of a return."""
    first_IZ: NDArray[np.int64]
    """First of the M successors of a state."""
    mix_IZM: NDArray[np.float64]
    """Their weights."""
    place_YZ: NDArray[np.int64]
    """First of the four grid weights around the carried one."""
    cubic_YZ4: NDArray[np.float64]
    """Their interpolation weights."""
    growth_IY: NDArray[np.float64]
    """E log(1 + y R)."""


@kernel
def _play_bar(
    bars: _Bars,
    discount: float,
    value_IW: NDArray[np.float64],
    mixed_W: NDArray[np.float64],
    held_IY: NDArray[np.float64],
) -> None:
    """Write H(b, y) = E[log(1 + y R) + delta V(b', y')]; `mixed_W` is scratch."""
    num_states, num_returns = bars.chance_IZ.shape
    for state in range(num_states):
        for y in range(held_IY.shape[1]):
            held_IY[state, y] = bars.growth_IY[state, y]
        for z in range(num_returns):
            chance = discount * bars.chance_IZ[state, z]
            if chance < 1e-18:
                continue
            first = bars.first_IZ[state, z]
            for w in range(value_IW.shape[1]):
                mixed_W[w] = 0.0
            for m in range(bars.mix_IZM.shape[2]):
                part = chance * bars.mix_IZM[state, z, m]
                for w in range(value_IW.shape[1]):
                    mixed_W[w] += part * value_IW[first + m, w]
            for y in range(held_IY.shape[1]):
                w = bars.place_YZ[y, z]
                held_IY[state, y] += (
                    bars.cubic_YZ4[y, z, 0] * mixed_W[w]
                    + bars.cubic_YZ4[y, z, 1] * mixed_W[w + 1]
                    + bars.cubic_YZ4[y, z, 2] * mixed_W[w + 2]
                    + bars.cubic_YZ4[y, z, 3] * mixed_W[w + 3]
                )


def _iterate(
    bars: _Bars, weight_W: NDArray[np.float64], cost: float, discount: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return V (I, W) and the edges (I,), (I,), by value iteration.

    Stops by MacQueen's bounds: V* lies within delta / (1 - delta) times the least and the largest
    change of a sweep; the result is their middle. The edges are settled well before, and then
    kept: the rounding of the grid would move them back and forth for ever.
    """
    num_states, num_held = bars.growth_IY.shape
    margin = (len(weight_W) - num_held) // 2
    held_Y = weight_W[margin : len(weight_W) - margin]
    value_IW = np.zeros((num_states, len(weight_W)))
    mixed_W, held_IY = np.empty(len(weight_W)), np.empty((num_states, num_held))
    factor, gap = discount / (1.0 - discount), np.inf
    for sweep in range(_MOST_SWEEPS):
        _play_bar(bars, discount, value_IW, mixed_W, held_IY)
        if gap > _SETTLED and sweep < _SETTLING / (1.0 - discount):
            low_I = _peak(held_IY - np.log1p(cost * held_Y), held_Y)
            # Rounding may cross the edges where trading is free.
            high_I = np.maximum(_peak(held_IY - np.log1p(-cost * held_Y), held_Y), low_I)
        new_IW = _trade(held_IY, weight_W, cost, low_I, high_I)
        least, largest = (new_IW - value_IW).min(), (new_IW - value_IW).max()
        value_IW, gap = new_IW, factor * (largest - least)
        if gap < _TOLERANCE:
            return value_IW + factor * 0.5 * (least + largest), low_I, high_I
    raise SyntheticMarketError(
        f"discount: the band did not converge in {_MOST_SWEEPS} sweeps at {discount}"
    )


def _trade(
    held_IY: NDArray[np.float64],
    weight_W: NDArray[np.float64],
    cost: float,
    low_I: NDArray[np.float64],
    high_I: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return V (I, W) of a band by the module's equation."""
    margin = (len(weight_W) - held_IY.shape[1]) // 2
    bought_I = _at(held_IY, weight_W[margin], low_I) - np.log1p(cost * low_I)
    sold_I = _at(held_IY, weight_W[margin], high_I) - np.log1p(-cost * high_I)
    value_IW = np.pad(held_IY, ((0, 0), (margin, margin)))
    buys_IW, sells_IW = weight_W < low_I[:, None], weight_W > high_I[:, None]
    value_IW = np.where(buys_IW, bought_I[:, None] + np.log1p(cost * weight_W), value_IW)
    return np.where(sells_IW, sold_I[:, None] + np.log1p(-cost * weight_W), value_IW)


def _at(
    value_IX: NDArray[np.float64], first: float, place_I: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each row's value at a place of a uniform grid from `first` to `-first`."""
    start_I, weight_I4 = cubic(place_I, first, -first, value_IX.shape[1])
    columns_I4 = start_I[:, None] + np.arange(4)
    value_I: NDArray[np.float64] = (
        np.take_along_axis(value_IX, columns_I4, axis=1) * weight_I4
    ).sum(axis=1)
    return value_I


def _peak(value_IY: NDArray[np.float64], held_Y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the place (I,) of each row's maximum, by a parabola through three points.

    At the ends of the grid, which are the limit, the maximum itself.
    """
    rows = np.arange(len(value_IY))
    best_I = np.argmax(value_IY, axis=1)
    middle_I = np.clip(best_I, 1, len(held_Y) - 2)
    left_I, right_I = value_IY[rows, middle_I - 1], value_IY[rows, middle_I + 1]
    bend_I = np.minimum(left_I + right_I - 2.0 * value_IY[rows, middle_I], -1e-300)
    shift_I = 0.5 * (left_I - right_I) / bend_I
    shift_I = np.where(best_I == middle_I, shift_I, best_I - middle_I)
    place_I: NDArray[np.float64] = held_Y[middle_I] + shift_I * (held_Y[1] - held_Y[0])
    return place_I

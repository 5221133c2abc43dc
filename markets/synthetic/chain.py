"""Hidden Markov regimes: validation, stationary law, and the compiled chain and Bayes filter.

Convention: k_t is the regime that governs the bar t + 1, and pi_t its probabilities given all that
was seen up to the close of t. Source: Hamilton (1989), Econometrica 57, eq. 4.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from markets.compiled import separate
from markets.errors import MarketDataError

TOLERANCE = 1e-9
"""Largest deviation of a row's sum from 1."""


class SyntheticMarketError(MarketDataError):
    """Parameters of a synthetic market that make no sense; names the parameter and its value."""


def check_transition(name: str, transition: ArrayLike) -> NDArray[np.float64]:
    """Return the transition matrix (K, K), P[k, j] = P(k_{t+1} = j | k_t = k).

    Raises:
        SyntheticMarketError: not square, a probability outside [0, 1], or a row that does not sum
            to 1.
    """
    matrix = np.array(transition, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise SyntheticMarketError(f"{name}: expected a square matrix, found shape {matrix.shape}")
    faulty = ~(np.isfinite(matrix) & (matrix >= 0.0) & (matrix <= 1.0))
    if faulty.any():
        row, column = np.argwhere(faulty)[0]
        raise SyntheticMarketError(
            f"{name}[{row}, {column}]: expected a probability in [0, 1], "
            f"found {matrix[row, column]}"
        )
    sums = matrix.sum(axis=1)
    faulty = np.abs(sums - 1.0) > TOLERANCE
    if faulty.any():
        row = int(np.argmax(faulty))
        raise SyntheticMarketError(
            f"{name}[{row}]: expected probabilities that sum to 1, found a sum of {sums[row]:.9g}"
        )
    return matrix


def sticky_transition(num_regimes: int, stay: float) -> tuple[tuple[float, ...], ...]:
    """Return the transition matrix that stays with probability `stay`, or moves to any other."""
    leave = (1.0 - stay) / (num_regimes - 1) if num_regimes > 1 else 0.0
    return tuple(
        tuple(stay if row == column else leave for column in range(num_regimes))
        if num_regimes > 1
        else (1.0,)
        for row in range(num_regimes)
    )


def stationary(transition_KK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the stationary probabilities (K,).

    Where there are several (regimes that are never left), the limit from uniform probabilities:
    frozen regimes are drawn uniformly.
    """
    size = len(transition_KK)
    start = np.full(size, 1.0 / size)
    # The Cesaro limit of start P^n, which every chain has, as a resolvent.
    small = 1e-9
    resolvent = np.linalg.solve((np.eye(size) * (1.0 + small) - transition_KK).T, small * start)
    positive = np.clip(resolvent, 0.0, None)
    probabilities: NDArray[np.float64] = positive / positive.sum()
    return probabilities


def pack_chain(transition_KK: NDArray[np.float64]) -> list[float]:
    """Return what the compiled chain reads: K * K probabilities, then K of the start."""
    return [*transition_KK.ravel().tolist(), *stationary(transition_KK).tolist()]


def packed_size(num_regimes: int) -> int:
    """Return the length of `pack_chain`'s result."""
    return num_regimes * num_regimes + num_regimes


@separate
def pick(parameters_Q: NDArray[np.float64], first: int, size: int, uniform: float) -> int:
    """Return the regime that a uniform number in [0, 1) picks from probabilities at `first`."""
    total = 0.0
    for regime in range(size - 1):
        total += parameters_Q[first + regime]
        if uniform < total:
            return regime
    return size - 1


@separate
def start_belief(
    parameters_Q: NDArray[np.float64],
    chain: int,
    size: int,
    state_S: NDArray[np.float64],
    belief: int,
) -> None:
    """Write the stationary probabilities into `state_S[belief : belief + size]`."""
    for regime in range(size):
        state_S[belief + regime] = parameters_Q[chain + size * size + regime]


@separate
def update_belief(
    parameters_Q: NDArray[np.float64],
    chain: int,
    size: int,
    state_S: NDArray[np.float64],
    belief: int,
    scratch: int,
) -> None:
    """Update the belief by the bar's log likelihoods, and predict the next regime.

    pi'_j = sum_k P[k, j] pi_k l_k / sum_k pi_k l_k, in place.

    Args:
        parameters_Q: packed parameters; the chain (see `pack_chain`) begins at `chain`.
        chain: first position of the chain.
        size: number of regimes, K.
        state_S: a lane's state.
        belief: first position of pi (K) in it.
        scratch: first position of the log likelihoods of the bar (K), overwritten.
    """
    highest = state_S[scratch]
    for regime in range(1, size):
        highest = max(highest, state_S[scratch + regime])
    total = 0.0
    for regime in range(size):
        weight = state_S[belief + regime] * math.exp(state_S[scratch + regime] - highest)
        state_S[scratch + regime] = weight
        total += weight
    for following in range(size):
        mass = 0.0
        for regime in range(size):
            mass += state_S[scratch + regime] * parameters_Q[chain + regime * size + following]
        state_S[belief + following] = mass / total


def one_hot(regime_N: ArrayLike, num_regimes: int) -> NDArray[np.float64]:
    """Return certainty as a belief: (N, K)."""
    belief: NDArray[np.float64] = np.eye(num_regimes)[np.asarray(regime_N, dtype=np.int64)]
    return belief


def check_length(name: str, values: Sequence[object], expected: int) -> None:
    """Refuse a parameter with another number of entries than there are regimes (or assets).

    Raises:
        SyntheticMarketError: it has.
    """
    if len(values) != expected:
        raise SyntheticMarketError(f"{name}: expected {expected} entries, found {len(values)}")

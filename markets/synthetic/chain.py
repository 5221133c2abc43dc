"""Hidden Markov regimes: validation, stationary law, and the compiled chain and Bayes filter.

Convention: k_t is the regime that governs the bar t + 1, and pi_t its probabilities given all that
was seen up to the close of t. Source: Hamilton (1989), Econometrica 57, eq. 4.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from markets.compiled import separate
from markets.synthetic.checks import SyntheticMarketError, numbers

__all__ = [
    "TOLERANCE",
    "SyntheticMarketError",
    "check_length",
    "check_transition",
    "one_hot",
    "pack_chain",
    "packed_size",
    "pick",
    "start_belief",
    "stationary",
    "sticky_transition",
    "transition_matrix",
    "update_belief",
]

TOLERANCE = 1e-9
"""Largest deviation of a row's sum from 1."""


def check_transition(name: str, transition: ArrayLike) -> NDArray[np.float64]:
    """Return the transition matrix (K, K), P[k, j] = P(k_{t+1} = j | k_t = k).

    Raises:
        SyntheticMarketError: not square, a probability outside [0, 1], or a row that does not sum
            to 1.
    """
    matrix = numbers(name, transition)
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


def transition_matrix(
    values: float | Sequence[Sequence[float]], num_regimes: int, counted: str
) -> NDArray[np.float64]:
    """Return the transition matrix (K, K) of a matrix, or of the probability of staying.

    Args:
        values: the parameter `transition`.
        num_regimes: K.
        counted: name of the parameter that tells K, for messages.

    Raises:
        SyntheticMarketError: another size, or no probabilities.
    """
    if isinstance(values, int | float):
        if not 0.0 <= values <= 1.0:
            raise SyntheticMarketError(
                f"transition: expected a probability in [0, 1], found {values}"
            )
        return check_transition("transition", sticky_transition(num_regimes, float(values)))
    transition_KK = check_transition("transition", values)
    if len(transition_KK) != num_regimes:
        raise SyntheticMarketError(
            f"transition: expected {num_regimes} regimes (as in {counted}), found "
            f"{len(transition_KK)}; a number, the probability of staying, suits any number of them"
        )
    return transition_KK


def stationary(transition_KK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the stationary probabilities (K,).

    Where there are several (regimes that are never left), the long-run average from uniform
    probabilities: frozen regimes are drawn uniformly. No step subtracts, so that even slow chains
    keep every digit. Source: Grassmann, Taksar & Heyman (1985), Operations Research 33.
    """
    rate_KK = np.array(transition_KK, dtype=np.float64)
    reach_KK = _reachable(rate_KK)
    returns_K = (reach_KK <= reach_KK.T).all(axis=1)
    mass_K = np.full(len(rate_KK), 1.0 / len(rate_KK))
    # Transient regimes, one after the other, hand on their mass and their transitions.
    for regime in np.flatnonzero(~returns_K):
        out_K = rate_KK[regime].copy()
        out_K[regime] = 0.0
        out_K /= out_K.sum()
        mass_K += mass_K[regime] * out_K
        rate_KK += np.outer(rate_KK[:, regime], out_K)
        mass_K[regime], rate_KK[:, regime] = 0.0, 0.0
    law_K = np.zeros(len(rate_KK))
    for regime in np.flatnonzero(returns_K):
        together = np.flatnonzero(reach_KK[regime])
        if regime == together[0]:
            law_K[together] = mass_K[together].sum() * _eliminate(rate_KK[together][:, together])
    return law_K


def _reachable(transition_KK: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether regime j may follow k at any time, the present included: (K, K)."""
    reach_KK = (transition_KK > 0.0) | np.eye(len(transition_KK), dtype=np.bool_)
    for _ in range(len(transition_KK).bit_length()):
        reach_KK = reach_KK @ reach_KK
    return reach_KK


def _eliminate(rate_KK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the stationary probabilities (K,) of a chain in which every regime follows any."""
    for last in range(len(rate_KK) - 1, 0, -1):
        rate_KK[:last, last] /= rate_KK[last, :last].sum()
        rate_KK[:last, :last] += np.outer(rate_KK[:last, last], rate_KK[last, :last])
    law_K = np.ones(len(rate_KK))
    for regime in range(1, len(rate_KK)):
        law_K[regime] = law_K[:regime] @ rate_KK[:regime, regime]
    normalised_K: NDArray[np.float64] = law_K / law_K.sum()
    return normalised_K


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

"""Hidden Markov regimes: validation, stationary law, and the compiled chain and Bayes filter.

Convention: k_t is the regime that governs the bar t + 1, and pi_t its probabilities given all that
was seen up to the close of t. Source: Hamilton (1989), Econometrica 57, eq. 4.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from markets.compiled import separate
from markets.synthetic.checks import SyntheticMarketError, numbers

__all__ = [
    "TOLERANCE",
    "Chain",
    "SyntheticMarketError",
    "build_chain",
    "check_length",
    "check_start",
    "check_transition",
    "discounted_law",
    "one_hot",
    "pack_chain",
    "packed_size",
    "pick",
    "start_belief",
    "start_law",
    "stationary",
    "sticky_transition",
    "transition_matrix",
    "update_belief",
]

TOLERANCE = 1e-9
"""Largest deviation of a row's sum from 1."""
IMPOSSIBLE = 700.0
"""Log likelihood ratio at which a regime counts as excluded: exp(-745) is 0 in float64."""

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False)
class Chain:
    """The chain of the regimes, and the one that agents are shown; arrays are read-only.

    Attributes:
        transition_KK: P[k, j] = P(k_{t+1} = j | k_t = k).
        start_K: Law of k_0; None = the stationary one, uniform where regimes are frozen.
        believed_KK: What the Bayes filter takes for P; None = P, and the true start.
    """

    transition_KK: NDArray[np.float64]
    start_K: NDArray[np.float64] | None = None
    believed_KK: NDArray[np.float64] | None = None

    @property
    def shown_KK(self) -> NDArray[np.float64]:  # noqa: N802 - dimension suffix
        """The chain that the filter goes by, and that scales features."""
        return self.transition_KK if self.believed_KK is None else self.believed_KK

    def packed(self) -> list[float]:
        """Return what compiled code reads: the chain of the regimes, then the filter's."""
        return [
            *pack_chain(self.transition_KK, self.start_K),
            *pack_chain(self.shown_KK, self.start_K if self.believed_KK is None else None),
        ]


@lru_cache(maxsize=256)
def build_chain(
    transition: float | Matrix,
    start: tuple[float, ...] | None,
    believed: float | Matrix | None,
    num_regimes: int,
    counted: str,
) -> Chain:
    """Check a market's parameters `transition`, `start` and `believed_transition`.

    Args:
        transition: a matrix, or the probability of staying.
        start: probabilities of k_0, or None.
        believed: a matrix, or the probability of staying, or None.
        num_regimes: K.
        counted: name of the parameter that tells K, for messages.

    Raises:
        SyntheticMarketError: another size, no probabilities, or a believed chain that leaves a
            regime for good: its filter would hold for impossible what happens.
    """
    chain = Chain(
        transition_KK=transition_matrix(transition, num_regimes, counted),
        start_K=None if start is None else check_start(start, num_regimes, counted),
        believed_KK=None
        if believed is None
        else transition_matrix(believed, num_regimes, counted, name="believed_transition"),
    )
    if chain.believed_KK is not None and not (law_K := stationary(chain.believed_KK)).all():
        raise SyntheticMarketError(
            "believed_transition: expected a chain that comes back to every regime, found one with "
            f"the stationary probabilities {law_K.tolist()}"
        )
    for array in vars(chain).values():
        if array is not None:
            array.flags.writeable = False
    return chain


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


def check_start(start: Sequence[float], num_regimes: int, counted: str) -> NDArray[np.float64]:
    """Return the law (K,) of the first regime, P(k_0 = k).

    Args:
        start: the parameter `start`.
        num_regimes: K.
        counted: name of the parameter that tells K, for messages.

    Raises:
        SyntheticMarketError: another number of entries, one outside [0, 1], or another sum than 1.
    """
    start_K = numbers("start", start)
    if start_K.shape != (num_regimes,):
        raise SyntheticMarketError(
            f"start: expected {num_regimes} probabilities (one a regime, as in {counted}), found "
            f"{start}"
        )
    faulty = ~(np.isfinite(start_K) & (start_K >= 0.0) & (start_K <= 1.0))
    if faulty.any():
        regime = int(np.argmax(faulty))
        raise SyntheticMarketError(
            f"start[{regime}]: expected a probability in [0, 1], found {start_K[regime]}"
        )
    if abs(start_K.sum() - 1.0) > TOLERANCE:
        raise SyntheticMarketError(
            f"start: expected probabilities that sum to 1, found a sum of {start_K.sum():.9g}"
        )
    return start_K


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
    values: float | Sequence[Sequence[float]],
    num_regimes: int,
    counted: str,
    *,
    name: str = "transition",
) -> NDArray[np.float64]:
    """Return the transition matrix (K, K) of a matrix, or of the probability of staying.

    Args:
        values: the parameter `transition`.
        num_regimes: K.
        counted: name of the parameter that tells K, for messages.
        name: its own name, for messages.

    Raises:
        SyntheticMarketError: another size, or no probabilities.
    """
    if isinstance(values, int | float):
        if not 0.0 <= values <= 1.0:
            raise SyntheticMarketError(f"{name}: expected a probability in [0, 1], found {values}")
        return check_transition(name, sticky_transition(num_regimes, float(values)))
    transition_KK = check_transition(name, values)
    if len(transition_KK) != num_regimes:
        raise SyntheticMarketError(
            f"{name}: expected {num_regimes} regimes (as in {counted}), found "
            f"{len(transition_KK)}; a number, the probability of staying, suits any number of them"
        )
    return transition_KK


def stationary(
    transition_KK: NDArray[np.float64], start_K: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the stationary probabilities (K,).

    Where there are several (regimes that are never left), the long-run average from the law
    `start_K` of k_0, or from uniform probabilities: frozen regimes are drawn uniformly. No step
    subtracts, so that even slow chains keep every digit. Source: Grassmann, Taksar & Heyman (1985),
    Operations Research 33.
    """
    rate_KK = np.array(transition_KK, dtype=np.float64)
    reach_KK = _reachable(rate_KK)
    returns_K = (reach_KK <= reach_KK.T).all(axis=1)
    mass_K = np.full(len(rate_KK), 1.0 / len(rate_KK))
    if start_K is not None:
        mass_K[:] = start_K
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


def start_law(
    transition_KK: NDArray[np.float64], start_K: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return the law (K,) of k_0: as told, or the stationary one for None."""
    return stationary(transition_KK) if start_K is None else start_K


def discounted_law(
    transition_KK: NDArray[np.float64], start_K: NDArray[np.float64] | None, discount: float
) -> NDArray[np.float64]:
    """Return (1 - delta) sum_t delta^t P(k_t = k), (K,): where a discounted life is spent.

    At a discount of 1 the long-run average.
    """
    if start_K is None or discount == 1.0:
        return stationary(transition_KK, start_K)
    rest_KK = np.eye(len(start_K)) - discount * transition_KK.T
    return np.asarray(np.linalg.solve(rest_KK, (1.0 - discount) * start_K), dtype=np.float64)


def pack_chain(
    transition_KK: NDArray[np.float64], start_K: NDArray[np.float64] | None = None
) -> list[float]:
    """Return what a compiled chain reads: K * K probabilities, then K of the start."""
    return [*transition_KK.ravel().tolist(), *start_law(transition_KK, start_K).tolist()]


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
    """Write the chain's law of the start into `state_S[belief : belief + size]`."""
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

    pi'_j = sum_k P[k, j] pi_k l_k / sum_k pi_k l_k, in place. A filter that is certain of a regime
    which the bar all but excludes keeps to what it holds for possible.

    Args:
        parameters_Q: packed parameters; the chain (see `pack_chain`) begins at `chain`.
        chain: first position of the chain.
        size: number of regimes, K.
        state_S: a lane's state.
        belief: first position of pi (K) in it.
        scratch: first position of the log likelihoods of the bar (K), overwritten.
    """
    highest = possible = -math.inf
    for regime in range(size):
        highest = max(highest, state_S[scratch + regime])
        if state_S[belief + regime] > 0.0:
            possible = max(possible, state_S[scratch + regime])
    if possible < highest - IMPOSSIBLE:
        highest = possible
    total = 0.0
    for regime in range(size):
        # Only what is impossible can be likelier than `highest`, and it stays impossible.
        weight = state_S[belief + regime] * math.exp(min(state_S[scratch + regime] - highest, 0.0))
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

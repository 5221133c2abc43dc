r"""What is said of beliefs: entropy, descriptors without labels, disruption, and the observation.

Dimensions: T bars, C slots of a belief (0 where no regime lives), B columns of the observation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regimes.base import Array, RegimeError

__all__ = [
    "Beliefs",
    "Disruption",
    "columns",
    "disruption",
    "expected",
    "hard",
    "names_of",
    "normalised_entropy",
]


@dataclass(frozen=True, eq=False)
class Beliefs:
    """A detector's beliefs over a span, with what they say without labels."""

    belief_TC: Array
    """Probability of each slot, >= 0, rows sum to 1."""
    drift_T: Array
    """Expected `Observations.mean` of a bar under the belief, by the model of that time."""
    volatility_T: Array
    """Expected standard deviation of `Observations.mean` of a bar, likewise, > 0."""

    def __len__(self) -> int:
        return len(self.belief_TC)


@dataclass(frozen=True)
class Disruption:
    """How much weights move from bar to bar, in total variation, in [0, 1]."""

    mean: float
    """Mean over the bars."""
    p99: float
    """99% quantile."""
    maximum: float
    """Largest."""


def normalised_entropy(belief_TC: Array) -> Array:
    r"""Entropy :math:`-\sum_c \pi(c) \log \pi(c) / \log C`, in [0, 1], shape (T,).

    0 = certain, 1 = nothing is known; 0 also where there is only one slot. The slots count and not
    the regimes that live, so that its scale stays while they come and go.
    """
    slots = belief_TC.shape[-1]
    if slots < 2:
        return np.zeros(belief_TC.shape[:-1])
    log_TC = np.log(belief_TC, out=np.zeros_like(belief_TC), where=belief_TC > 0.0)
    entropy_T = -expected(belief_TC, log_TC) / np.log(slots)
    inside_T: Array = np.clip(entropy_T, 0.0, 1.0)
    return inside_T


def expected(belief_TC: Array, value_C: Array) -> Array:
    """Mean of a value under the belief, (T,): the same however the regimes are numbered.

    Added up slot by slot, so that a row gives the same bits alone and among others.

    Args:
        belief_TC: beliefs.
        value_C: value of each slot, (C,) or (T, C).
    """
    total_T = np.zeros(belief_TC.shape[:-1])
    for slot in range(belief_TC.shape[-1]):
        total_T += belief_TC[..., slot] * value_C[..., slot]
    return total_T


def hard(belief_TC: Array) -> Array:
    """All weight on the most likely slot (the first of equals), (T, C)."""
    one_TC = np.zeros_like(belief_TC)
    np.put_along_axis(one_TC, belief_TC.argmax(axis=-1)[..., None], 1.0, axis=-1)
    return one_TC


def disruption(weight_TC: Array) -> tuple[NDArray[np.float64], Disruption]:
    r"""Total variation from bar to bar, :math:`D_t = \tfrac12 \lVert w_t - w_{t-1} \rVert_1`.

    Args:
        weight_TC: weights in the simplex, T >= 2.

    Returns:
        D_t of the bars 1 to T - 1, and its mean, 99% quantile and maximum.

    Raises:
        RegimeError: fewer than two bars.
    """
    if len(weight_TC) < 2:
        raise RegimeError(f"disruption: expected at least 2 bars, found {len(weight_TC)}")
    moved_T = 0.5 * np.abs(np.diff(weight_TC, axis=0)).sum(axis=1)
    return moved_T, Disruption(
        float(moved_T.mean()), float(np.quantile(moved_T, 0.99)), float(moved_T.max())
    )


def names_of(capacity: int) -> tuple[str, ...]:
    """Names of the observation's columns, (B,) with B = C + 3."""
    slots = (f"belief_{slot}" for slot in range(capacity))
    return (*slots, "regime_entropy", "regime_drift", "regime_volatility")


def columns(beliefs: Beliefs, scale: float) -> tuple[tuple[str, ...], Array]:
    """What a policy may see of beliefs: the probabilities, their entropy and the descriptors.

    Args:
        beliefs: of a detector.
        scale: standard deviation of the detector's input in its training span, > 0; drift and
            volatility are told in it, so that they are of order 1.

    Returns:
        Names (B,) and values (T, B), all finite.

    Raises:
        RegimeError: a scale that is not positive, or a value that is not finite.
    """
    if not (np.isfinite(scale) and scale > 0.0):
        raise RegimeError(f"columns: expected a scale > 0, found {scale}")
    values_TB = np.column_stack(
        [
            beliefs.belief_TC,
            normalised_entropy(beliefs.belief_TC),
            beliefs.drift_T / scale,
            beliefs.volatility_T / scale,
        ]
    )
    if not np.isfinite(values_TB).all():
        row = int(np.argmin(np.isfinite(values_TB).all(axis=1)))
        raise RegimeError(f"columns[{row}]: expected finite values, found {values_TB[row]}")
    return names_of(beliefs.belief_TC.shape[1]), values_TB

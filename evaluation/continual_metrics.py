r"""Metrics of continual learning that follow from the score matrix.

:math:`S_{ij}` is the score in regime j after phase i; phase i is governed by regime :math:`k_i`.
The first and the last visit of a regime are :math:`f_j = \min\{i: k_i = j\}` and
:math:`l_j = \max\{i: k_i = j\}`. In a stream without repetition both are the diagonal of the
literature. In a cyclic one (A B C A B C) a regime's **own score** is that after its last visit,

.. math:: S_{jj} := S_{l_j j},

so that forgetting counts what was lost since the regime was last learned, and *earlier regimes* are
those with :math:`l_j < I - 1`: all but that of the last phase. Regimes that no phase belongs to
count nowhere. A mean over nothing is nan.

Sources: Lopez-Paz and Ranzato 2017 (arXiv:1706.08840), Chaudhry et al. 2018 (arXiv:1801.10112),
Wolczyk et al. 2021 (Continual World, arXiv:2105.10919), Powers et al. 2021 (CORA,
arXiv:2110.10067).

Dimensions: I phases, J regimes.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = [
    "MOST_DEGRADATION",
    "average_performance",
    "backward_transfer",
    "conflict",
    "degradation_of",
    "first_visits",
    "forgetting_between_visits",
    "forgetting_of",
    "intransigence",
    "isolated_forgetting",
    "isolated_forgetting_of",
    "last_visits",
    "mean_of",
    "own_scores",
    "peak_forgetting_of",
    "plasticity",
    "returns",
    "zero_shot_transfer",
]

MOST_DEGRADATION: Final = 200.0
"""Per cent: a larger loss, or gain, of one regime counts as this one."""


def mean_of(values: Float[np.ndarray, "*shape"]) -> float:
    """Mean of what is defined; nan where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def first_visits(order: Sequence[int], regimes: int) -> Int[np.ndarray, "J"]:
    """:math:`f_j`, the first phase of each regime; -1 of one that never governs."""
    order_I = np.asarray(order)
    visits = [np.flatnonzero(order_I == regime) for regime in range(regimes)]
    return np.array([int(phases[0]) if len(phases) else -1 for phases in visits])


def last_visits(order: Sequence[int], regimes: int) -> Int[np.ndarray, "J"]:
    """:math:`l_j`, the last phase of each regime; -1 of one that never governs."""
    order_I = np.asarray(order)
    visits = [np.flatnonzero(order_I == regime) for regime in range(regimes)]
    return np.array([int(phases[-1]) if len(phases) else -1 for phases in visits])


def own_scores(ratio_IJ: Float[np.ndarray, "I J"], order: Sequence[int]) -> Float[np.ndarray, "J"]:
    """:math:`S_{jj}`, the score of each regime after its last visit; nan without one."""
    return _after(ratio_IJ, last_visits(order, ratio_IJ.shape[1]))


def average_performance(ratio_IJ: Float[np.ndarray, "I J"], played: Sequence[int]) -> float:
    r"""Mean final score, :math:`AP = \frac1J \sum_j S_{I-1,j}` (Wolczyk 2021).

    Args:
        ratio_IJ: score matrix.
        played: regimes that are learned; one that is named several times counts once.
    """
    return float(ratio_IJ[-1, sorted(set(played))].mean())


def forgetting_of(
    ratio_IJ: Float[np.ndarray, "I J"], order: Sequence[int]
) -> Float[np.ndarray, "J"]:
    r""":math:`F_j = S_{jj} - S_{I-1,j}` of earlier regimes, nan of others (Wolczyk 2021)."""
    lost_J = own_scores(ratio_IJ, order) - ratio_IJ[-1]
    return np.where(_earlier(ratio_IJ, order), lost_J, np.nan)


def peak_forgetting_of(
    ratio_IJ: Float[np.ndarray, "I J"], order: Sequence[int]
) -> Float[np.ndarray, "J"]:
    r""":math:`\max_{i<I-1} S_{ij} - S_{I-1,j}` of earlier regimes, nan of others (Chaudhry 2018).

    The peak is that of any earlier phase, be it one before the regime was learned.
    """
    if len(ratio_IJ) < 2:
        return np.full(ratio_IJ.shape[1], np.nan)
    lost_J = ratio_IJ[:-1].max(axis=0) - ratio_IJ[-1]
    return np.where(_earlier(ratio_IJ, order), lost_J, np.nan)


def forgetting_between_visits(ratio_IJ: Float[np.ndarray, "I J"], order: Sequence[int]) -> float:
    r"""Mean of :math:`S_{pj} - S_{i-1,j}` over returns of a regime at phase i, last left at p.

    What a cyclic stream had lost of a regime when it came back; nan where none comes back.
    """
    lost = [
        ratio_IJ[before, regime] - ratio_IJ[phase - 1, regime]
        for phase, regime, before in returns(order)
        if before < phase - 1
    ]
    return mean_of(np.array(lost))


def degradation_of(
    ratio_IJ: Float[np.ndarray, "I J"], order: Sequence[int], least: float
) -> Float[np.ndarray, "J"]:
    r"""Share that was lost, :math:`100 (S_{jj} - S_{I-1,j}) / S_{jj}` per cent, of earlier regimes.

    It is undefined near :math:`S_{jj} = 0`, and large losses of a regime that was learned badly
    would rule the mean: regimes below ``least`` are nan, others are capped to `MOST_DEGRADATION` at
    either side. More than 100 is worse than doing nothing, less than 0 is a gain.

    Args:
        ratio_IJ: score matrix.
        order: regime of each phase.
        least: own score from which a regime counts as learned, > 0.
    """
    own_J = own_scores(ratio_IJ, order)
    learned_J = np.where(own_J >= least, own_J, np.nan)
    lost_J = 100.0 * forgetting_of(ratio_IJ, order) / learned_J
    return np.clip(lost_J, -MOST_DEGRADATION, MOST_DEGRADATION)


def backward_transfer(ratio_IJ: Float[np.ndarray, "I J"], order: Sequence[int]) -> float:
    r""":math:`BWT = -F`, the mean of :math:`S_{I-1,j} - S_{jj}` over earlier regimes.

    Source: Lopez-Paz and Ranzato 2017.
    """
    return -mean_of(forgetting_of(ratio_IJ, order))


def zero_shot_transfer(
    ratio_IJ: Float[np.ndarray, "I J"],
    order: Sequence[int],
    before_J: Float[np.ndarray, "J"],
) -> float:
    r"""Mean of :math:`S_{f_j-1,j} - S_{\mathrm{before},j}`, what earlier phases taught (CORA).

    Over the regimes that are first met after the first phase.

    Args:
        ratio_IJ: score matrix.
        order: regime of each phase.
        before_J: scores before any training.
    """
    first_J = first_visits(order, ratio_IJ.shape[1])
    taught = [ratio_IJ[first - 1, j] - before_J[j] for j, first in enumerate(first_J) if first > 0]
    return mean_of(np.array(taught))


def isolated_forgetting_of(
    ratio_IJ: Float[np.ndarray, "I J"], order: Sequence[int], least: float
) -> Float[np.ndarray, "I J"]:
    r""":math:`IF_{ij} = (S_{i-1,j} - S_{ij}) / |\max_i S_{ij}|`, what phase i alone took (CORA).

    Of phases after the first visit of regime j that are governed by another one; nan elsewhere, and
    where the maximum is below ``least``.

    Args:
        ratio_IJ: score matrix.
        order: regime of each phase.
        least: maximum from which a regime counts as learned, > 0.
    """
    best_J = ratio_IJ.max(axis=0)
    found_IJ = np.full(ratio_IJ.shape, np.nan)
    for regime, first in enumerate(first_visits(order, ratio_IJ.shape[1])):
        if first < 0 or best_J[regime] < least:
            continue
        for phase in range(int(first) + 1, len(order)):
            if order[phase] != regime:
                taken = ratio_IJ[phase - 1, regime] - ratio_IJ[phase, regime]
                found_IJ[phase, regime] = taken / best_J[regime]
    return found_IJ


def isolated_forgetting(
    ratio_IJ: Float[np.ndarray, "I J"], order: Sequence[int], least: float
) -> float:
    """Mean of `isolated_forgetting_of` over phases and regimes."""
    return mean_of(isolated_forgetting_of(ratio_IJ, order, least))


def plasticity(
    ratio_IJ: Float[np.ndarray, "I J"],
    order: Sequence[int],
    scratch_J: Float[np.ndarray, "J"],
    least: float,
) -> float:
    r"""Mean of :math:`S_{f_j j} / S^{\mathrm{scratch}}_j`: learning after others, and alone.

    The first visit has as many steps as the training from scratch; below 1 the stream has made the
    agent learn worse.

    Args:
        ratio_IJ: score matrix.
        order: regime of each phase.
        scratch_J: scores of agents that learned one regime alone; nan where there is none.
        least: reference from which the ratio is defined, > 0.
    """
    learned_J = _after(ratio_IJ, first_visits(order, ratio_IJ.shape[1]))
    return mean_of(learned_J / np.where(scratch_J >= least, scratch_J, np.nan))


def intransigence(
    ratio_IJ: Float[np.ndarray, "I J"], order: Sequence[int], joint_J: Float[np.ndarray, "J"]
) -> float:
    r"""Mean of :math:`S^{\mathrm{joint}}_j - S_{jj}`, what was never learned (Chaudhry 2018).

    Args:
        ratio_IJ: score matrix.
        order: regime of each phase.
        joint_J: scores of an agent that learned all regimes at once.
    """
    return mean_of(joint_J - own_scores(ratio_IJ, order))


def conflict(ratio_IJ: Float[np.ndarray, "I J"], order: Sequence[int]) -> float:
    r""":math:`\min_{j \neq k_0} S_{0j}`: how badly who knows the first regime does in another.

    The lower it is, the more the regimes ask for opposite actions; near the score of the first
    regime itself there is nothing that could be forgotten. nan where there is one regime only.
    """
    others = sorted(set(order) - {order[0]})
    return float(ratio_IJ[0, others].min()) if others else float("nan")


def returns(order: Sequence[int]) -> list[tuple[int, int, int]]:
    """Phases whose regime has been before: phase, regime, and the phase of its last visit."""
    seen: dict[int, int] = {}
    found = []
    for phase, regime in enumerate(order):
        if regime in seen:
            found.append((phase, regime, seen[regime]))
        seen[regime] = phase
    return found


def _after(
    ratio_IJ: Float[np.ndarray, "I J"], phase_J: Int[np.ndarray, "J"]
) -> Float[np.ndarray, "J"]:
    regimes = np.arange(ratio_IJ.shape[1])
    return np.where(phase_J >= 0, ratio_IJ[np.maximum(phase_J, 0), regimes], np.nan)


def _earlier(ratio_IJ: Float[np.ndarray, "I J"], order: Sequence[int]) -> Bool[np.ndarray, "J"]:
    """Whether a regime was learned, and not in the last phase."""
    last_J = last_visits(order, ratio_IJ.shape[1])
    return (last_J >= 0) & (last_J < len(order) - 1)

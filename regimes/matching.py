r"""Which regime of a new model is which of the old one, and the names they keep.

Regimes are numbered by each fit as it likes. Over the bars that both models have judged, the joint
responsibility of an old and a new regime is :math:`J_{ij} = \sum_t \pi^{old}_t(i)\,
\pi^{new}_t(j)`; the assignment with the largest sum (Kuhn, 1955, Naval Research Logistics 2, 83-97)
says who continues whom. A pair that is together no more often than two independent regimes would
be, is no pair: one has gone, the other is new.

Dimensions: T bars, I old and J new regimes, K regimes of a model, C slots of a belief.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from regimes.base import Array, RegimeError, RegimeModel

__all__ = ["Labels", "Matching", "by_volatility", "match"]

NEW = -1
"""Stands for the partner of a regime that continues none."""
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Matching:
    """How the regimes of two models belong together."""

    partner_J: NDArray[np.int64]
    """Old regime that each new one continues, `NEW` where none."""
    agreement: float
    """Share of the bars whose most likely regime is the same after matching, in [0, 1]."""
    raw: float
    """The same before it, by the numbers that the fits gave."""


def match(old_TI: Array, new_TJ: Array) -> Matching:
    """Match the regimes of two models by their beliefs over the same bars.

    Args:
        old_TI: beliefs of the old model.
        new_TJ: beliefs of the new one.

    Raises:
        RegimeError: not the same bars, none at all, or beliefs that are not finite.
    """
    bars = len(old_TI)
    if bars != len(new_TJ) or not bars:
        raise RegimeError(
            f"match: expected beliefs over the same bars, found {bars} and {len(new_TJ)}"
        )
    if not (np.isfinite(old_TI).all() and np.isfinite(new_TJ).all()):
        raise RegimeError("match: expected finite beliefs, found some that are not")
    joint_IJ = old_TI.T @ new_TJ
    old, new = linear_sum_assignment(joint_IJ, maximize=True)
    chance = old_TI.sum(axis=0)[old] * new_TJ.sum(axis=0)[new] / bars
    together = joint_IJ[old, new] >= chance * (1.0 - _ROUNDING)
    partner_J = np.full(new_TJ.shape[1], NEW, np.int64)
    partner_J[new[together]] = old[together]
    old_T, new_T = old_TI.argmax(axis=1), new_TJ.argmax(axis=1)
    return Matching(
        partner_J,
        agreement=float(np.mean(partner_J[new_T] == old_T)),
        raw=float(np.mean(new_T == old_T)),
    )


@dataclass(frozen=True)
class Labels:
    """The stable names of a model's regimes, and the places of their probabilities.

    An id is given once and never again. A slot of the belief belongs to an id for as long as that
    lives; a slot whose id has gone is given to a new one only when no other is left.
    """

    ids: tuple[int, ...]
    """Id of each regime of the model, (K,)."""
    slots: tuple[int, ...]
    """Place in the belief of each regime, (K,), in [0, C)."""
    capacity: int
    """Slots of the belief, C."""
    next_id: int
    """Smallest id that was never given."""
    worn: tuple[int, ...] = field(default=())
    """Slots that had an id before, in order."""

    def __post_init__(self) -> None:
        regimes = len(self.ids)
        if not 1 <= regimes <= self.capacity:
            raise RegimeError(
                f"labels: expected 1 to {self.capacity} regimes (the capacity), found {regimes}"
            )
        for name, values, limit in (
            ("ids", self.ids, self.next_id),
            ("slots", self.slots, self.capacity),
        ):
            fits = all(0 <= value < limit for value in values)
            if len(values) != regimes or len(set(values)) != regimes or not fits:
                raise RegimeError(
                    f"labels.{name}: expected {regimes} different numbers below {limit}, found "
                    f"{values}"
                )

    @classmethod
    def fresh(cls, regimes: int, capacity: int) -> Self:
        """Name the regimes of a first fit: ids and slots in the order of the model.

        Raises:
            RegimeError: no regime, or more than the capacity.
        """
        order = tuple(range(regimes))
        return cls(order, order, capacity, regimes, order)

    def continued(self, matching: Matching) -> Self:
        """Name the regimes of the model that follows.

        Raises:
            RegimeError: more regimes than the capacity.
        """
        partners = [int(partner) for partner in matching.partner_J]
        if len(partners) > self.capacity:
            raise RegimeError(
                f"labels: expected at most {self.capacity} regimes, found {len(partners)}"
            )
        taken = {self.slots[partner] for partner in partners if partner != NEW}
        free = sorted(
            set(range(self.capacity)) - taken,
            # Slots never used, then those whose owner went earlier, then those of today's.
            key=lambda slot: (slot in self.worn, slot in self.slots, slot),
        )
        ids, slots, next_id = [], [], self.next_id
        for partner in partners:
            if partner != NEW:
                ids.append(self.ids[partner])
                slots.append(self.slots[partner])
                continue
            ids.append(next_id)
            slots.append(free.pop(0))
            next_id += 1
        worn = tuple(sorted({*self.worn, *slots}))
        return type(self)(tuple(ids), tuple(slots), self.capacity, next_id, worn)


def by_volatility(model: RegimeModel) -> NDArray[np.int64]:
    """Regimes of a model from the calmest to the wildest, (K,): the order that people read.

    >>> people = [labels.ids[regime] for regime in by_volatility(model)]  # doctest: +SKIP
    """
    return np.argsort(model.volatility, kind="stable")

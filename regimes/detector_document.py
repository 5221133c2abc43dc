"""A fitted detector's state and record, and their form on disk: all it needs to go on exactly."""

from dataclasses import dataclass as plain
from functools import cache
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from regimes.base import Array, Observations
from regimes.document import STRICT, ArrayDocument
from regimes.kinds import AnyDetectorConfig
from regimes.matching import Labels

__all__ = [
    "DetectorDocument",
    "DetectorState",
    "LabelsDocument",
    "StateDocument",
    "TrainingSpan",
    "adapter",
]


@plain(frozen=True, eq=False)
class DetectorState:
    """Where a filter stands."""

    filter_S: Array
    """State of the model's filter."""
    belief_K: Array
    """The last good belief, by the model's regimes."""
    bars: int
    """Bars seen since the start."""
    fallen: bool
    """Whether the last bar's belief was not good."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingSpan:
    """What a detector was fitted on at first, for the record and for units."""

    bars: Annotated[int, Ge(1)]
    """Bars of the span."""
    observed: Annotated[int, Ge(1)]
    """Those of them with an observation."""
    series: Annotated[int, Ge(1)]
    """Observed series, D."""
    regressors: Annotated[int, Ge(0)]
    """Regressors, M."""
    scale: Annotated[float, Gt(0.0)]
    """Standard deviation of `Observations.mean` in it: the unit of drift and volatility."""
    ts_event: tuple[int, int] | None = None
    """Times of its first and last bar, ns UTC; None = not told."""

    @classmethod
    def of(cls, train: Observations, ts_event: tuple[int, int] | None) -> "TrainingSpan":
        """Measure a span that a model could be fitted on."""
        mean_T = train.mean[train.seen]
        return cls(
            bars=len(train),
            observed=len(mean_T),
            series=train.y_TD.shape[1],
            regressors=train.x_TM.shape[1],
            scale=float(np.std(mean_T)),
            ts_event=ts_event,
        )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LabelsDocument:
    """`Labels` on disk."""

    ids: tuple[int, ...]
    slots: tuple[int, ...]
    next_id: int
    worn: tuple[int, ...]

    @classmethod
    def of(cls, labels: Labels) -> "LabelsDocument":
        """Write labels down."""
        return cls(ids=labels.ids, slots=labels.slots, next_id=labels.next_id, worn=labels.worn)

    def labels(self, capacity: int) -> Labels:
        """The labels.

        Raises:
            RegimeError: they contradict each other or the capacity.
        """
        return Labels(self.ids, self.slots, capacity, self.next_id, self.worn)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StateDocument:
    """`DetectorState` on disk."""

    filter: ArrayDocument
    belief: ArrayDocument
    bars: Annotated[int, Ge(0)]
    fallen: bool

    @classmethod
    def of(cls, state: DetectorState) -> "StateDocument":
        """Write a state down."""
        return cls(
            filter=ArrayDocument.of(state.filter_S),
            belief=ArrayDocument.of(state.belief_K),
            bars=state.bars,
            fallen=state.fallen,
        )

    def state(self) -> DetectorState:
        """The state."""
        return DetectorState(self.filter.array, self.belief.array, self.bars, self.fallen)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DetectorDocument:
    """A fitted detector on disk."""

    format: Literal[1] = 1
    """Version of this document's form."""
    config: AnyDetectorConfig
    """Kind and settings of the model."""
    seed: int
    """Of the fits."""
    span: TrainingSpan
    """Training span."""
    model: dict[str, ArrayDocument]
    """Parameters of the model by name."""
    labels: LabelsDocument
    """Names and places of its regimes."""
    state: StateDocument
    """Where its filter stands."""


@cache
def adapter() -> TypeAdapter[DetectorDocument]:
    """What reads and writes the document."""
    return TypeAdapter(DetectorDocument)

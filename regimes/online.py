"""A detector that learns on: refits over a rolling window, which only see the past.

Every n bars the model is fitted anew to the last bars, beginning at the one in use (warm start).
Its regimes are matched to the old ones on the bars that both know; a refit that does not find the
same regimes again (agreement below a threshold) or fails is refused with a `RefitRefused`, and
the old model stays. The belief of a bar comes from the model fitted before it.

Dimensions: T bars, D series, M regressors, C slots of a belief.
"""

import warnings
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Literal, Self

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import ArrayLike
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as document

from regimes.base import (
    Array,
    DetectorConfig,
    Observations,
    RefitRefused,
    RegimeError,
    RegimeModel,
)
from regimes.belief import Beliefs
from regimes.detector import Detector
from regimes.detector_document import DetectorDocument, DetectorState
from regimes.document import STRICT, ArrayDocument, read, write
from regimes.fitting import fit_model, probabilities
from regimes.matching import Labels, match
from regimes.memory import Memory

__all__ = ["OnlineDetector", "OnlineState", "Refit", "Schedule"]


@document(frozen=True, kw_only=True, config=STRICT)
class Schedule:
    """When and on what a detector is fitted anew."""

    every: Annotated[int, Ge(1)] | None = None
    """Bars between two refits; None = never."""
    window: Annotated[int, Ge(2)] | None = None
    """Last bars that a refit sees; None = as many as the training span had."""
    agreement: Annotated[float, Ge(0.0), Le(1.0)] = 0.8
    """Least share of bars with the same most likely regime after matching, in [0, 1]."""


@document(frozen=True, kw_only=True, config=STRICT)
class Refit:
    """One attempt to learn on."""

    bar: Annotated[int, Ge(0)]
    """Bars seen by then: the new model, if accepted, speaks from this bar of the stream on."""
    accepted: bool
    """Whether the new model is used."""
    agreement: float | None
    """Share of the bars whose most likely regime agrees after matching; None = no new model."""
    raw: float | None
    """The same without matching."""
    reason: str
    """Why it was refused, or that it was accepted."""
    ids: tuple[int, ...]
    """Ids of the regimes in use after it, in the order of the model."""


@dataclass(frozen=True, eq=False)
class OnlineState:
    """All that a detector which learns on has gathered; immutable."""

    model: RegimeModel
    """The model in use."""
    labels: Labels
    """Names of its regimes."""
    filter: DetectorState
    """Where its filter stands."""
    memory: Observations
    """The last bars, at most `window`."""
    known: int
    """Bars of the stream up to which the model in use has learned."""
    events: tuple[Refit, ...]
    """All attempts to learn on."""


class OnlineDetector:
    """A `Detector` with refits; without a schedule it is exactly that.

    Args:
        config: kind and settings of the model.
        schedule: when it is fitted anew.
        seed: of the fits' random restarts.
    """

    def __init__(
        self, config: DetectorConfig, schedule: Schedule | None = None, *, seed: int = 0
    ) -> None:
        self.detector = Detector(config, seed=seed)
        """The detector in use."""
        self.schedule = schedule if schedule is not None else Schedule()
        self.events: tuple[Refit, ...] = ()
        """All attempts to learn on, oldest first."""

    def fit(
        self,
        train: Observations | ArrayLike,
        *,
        until: int = 0,
        ts_event: tuple[int, int] | None = None,
    ) -> Self:
        """Fit the first model; the stream begins anew, before any bar.

        Args:
            train: the training span.
            until: bars of the stream to come that are no later than the training span: where that
                is streamed first, its last row plus 1. No refit takes place within them.
            ts_event: times of the training span's first and last bar, ns UTC.

        Raises:
            RegimeError: as `Detector.fit`, or a window that is not longer than the time between
                two refits.
        """
        observations = Observations.of(train)
        self._window = self.schedule.window or len(observations)
        every = self.schedule.every
        if every is not None and self._window <= every:
            raise RegimeError(
                f"window: expected more bars than the {every} between two refits (models are "
                f"compared on what both know), found {self._window}"
            )
        self.detector.fit(observations, ts_event=ts_event)
        self._until = self._known = until
        self._memory = Memory(self._window if every is not None else 0, observations)
        self.events = ()
        return self

    @property
    def model(self) -> RegimeModel:
        """The model in use."""
        return self.detector.model

    @property
    def ids(self) -> tuple[int | None, ...]:
        """Id of the regime in each slot, (C,); None where none lives."""
        return self.detector.ids

    @property
    def state(self) -> OnlineState:
        """All that was gathered since `fit`; setting it goes back there exactly."""
        return OnlineState(
            self.detector.model,
            self.detector.labels,
            self.detector.state,
            self._memory.observations(),
            self._known,
            self.events,
        )

    @state.setter
    def state(self, state: OnlineState) -> None:
        if not isinstance(state, OnlineState):
            raise RegimeError(f"state: expected an OnlineState, found {state!r}")
        past = state.filter
        self.detector.adopt(state.model, state.labels, past.filter_S, past.belief_K)
        self.detector.state = past
        self._memory = Memory(self._memory.capacity, state.memory)
        self._memory.extend(state.memory)
        self._known, self.events = state.known, state.events

    def filter(self, batch: Observations | ArrayLike) -> Array:
        """Take in many bars: beliefs (T, C), the same floats as an `update` for each.

        Raises:
            RegimeError: as `Detector.filter`; never because of a refit.
        """
        return self.beliefs(batch).belief_TC

    def beliefs(self, batch: Observations | ArrayLike) -> Beliefs:
        """As `filter`, with expected drift and volatility beside it."""
        observations = Observations.of(batch)
        parts = [self.detector.beliefs(observations.rows(0, 0))]
        start, bars = 0, len(observations)
        while start < bars:
            stop = min(bars, start + self._bars_left(bars))
            part = observations.rows(start, stop)
            parts.append(self.detector.beliefs(part))
            self._memory.extend(part)
            self._refit_if_due()
            start = stop
        return Beliefs(
            np.concatenate([part.belief_TC for part in parts]),
            np.concatenate([part.drift_T for part in parts]),
            np.concatenate([part.volatility_T for part in parts]),
        )

    def update(self, y: ArrayLike, x: ArrayLike | None = None) -> Array:
        """Take in the next bar: its belief, (C,); then learn on if it is time.

        Args:
            y: observation, a number or (D,); NaN = a bar without one.
            x: regressors (M,), if the model has any.

        Raises:
            RegimeError: as `Detector.update`; never because of a refit.
        """
        belief_C = self.detector.update(y, x)
        self._memory.append(y, x)
        self._refit_if_due()
        return belief_C

    def to_json(self) -> str:
        """Everything that it needs to go on exactly, as JSON text."""
        memory = self._memory.observations()
        return write(
            _adapter(),
            _OnlineDocument(
                detector=self.detector.document(),
                schedule=self.schedule,
                window=self._window,
                until=self._until,
                known=self._known,
                memory_y=ArrayDocument.of(memory.y_TD),
                memory_x=ArrayDocument.of(memory.x_TM),
                events=self.events,
            ),
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Load a detector with all that it has gathered.

        Raises:
            RegimeError: not such JSON; names the path, the expected and the found.
        """
        found = read(_adapter(), text, "regimes")
        detector = Detector.from_document(found.detector)
        online = cls(detector.config, found.schedule, seed=detector.seed)
        online.detector = detector
        online._window, online._until = found.window, found.until
        memory = Observations(found.memory_y.array, found.memory_x.array)
        capacity = found.window if found.schedule.every is not None else 0
        _require_memory(memory, capacity, detector)
        online._memory = Memory(capacity, memory)
        online._memory.extend(memory)
        online._known, online.events = found.known, found.events
        return online

    def _bars_left(self, most: int) -> int:
        """Bars up to the next date of a refit."""
        every = self.schedule.every
        if every is None:
            return most
        since = self.detector.bars - self._until
        return every - since if since < 0 else every - since % every

    def _refit_if_due(self) -> None:
        every = self.schedule.every
        if every is None or len(self._memory) < self._window:
            return
        since = self.detector.bars - self._until
        if since > 0 and since % every == 0:
            self._refit()

    def _refit(self) -> None:
        """Fit the window anew, and use the new model if it knows the old regimes."""
        window = self._memory.observations()
        try:
            event = self._learned(window)
        except RegimeError as error:
            event = self._refused(str(error))
        self.events = (*self.events, event)
        if not event.accepted:
            warnings.warn(
                f"{self.detector.config.kind}: refit at bar {event.bar} refused, the old model "
                f"stays: {event.reason}",
                RefitRefused,
                stacklevel=4,
            )

    def _learned(self, window: Observations) -> Refit:
        """Try a new model.

        Raises:
            RegimeError: it cannot be fitted, or not be used.
        """
        old = self.detector
        new = fit_model(old.config, window, warm=old.model, seed=old.seed)
        state_S = new.start()
        new_TK, old_TK = new.filter(window, state_S), old.model.filter(window)
        if not (probabilities(new_TK).all() and probabilities(old_TK).all()):
            raise RegimeError("expected probabilities over the window, found some that are not")
        # The bars that both models learned from; where those are few, half of the window.
        begin = self.detector.bars - len(window)
        common = max(self._known - begin, len(window) // 2)
        found = match(old_TK[:common], new_TK[:common])
        if found.agreement < self.schedule.agreement:
            expected, agreed = _told_apart(self.schedule.agreement, found.agreement)
            reason = (
                f"expected the most likely regime to agree on {expected} of the bars, "
                f"found {agreed}"
            )
            return replace(self._refused(reason), agreement=found.agreement, raw=found.raw)
        labels = old.labels.continued(found)
        old.adopt(new, labels, state_S, new_TK[-1].copy())
        self._known = old.bars
        return Refit(
            bar=old.bars,
            accepted=True,
            agreement=found.agreement,
            raw=found.raw,
            reason="accepted",
            ids=labels.ids,
        )

    def _refused(self, reason: str) -> Refit:
        return Refit(
            bar=self.detector.bars,
            accepted=False,
            agreement=None,
            raw=None,
            reason=reason,
            ids=self.detector.labels.ids,
        )


def _told_apart(expected: float, found: float) -> tuple[str, str]:
    """Two different shares as percentages, with as many digits as tell them apart."""
    told = "", ""
    for digits in range(16):
        told = f"{expected:.{digits}%}", f"{found:.{digits}%}"
        if told[0] != told[1]:
            break
    return told


@document(frozen=True, kw_only=True, config=STRICT)
class _OnlineDocument:
    """A detector that learns on, on disk."""

    format: Literal[1] = 1
    detector: DetectorDocument
    schedule: Schedule
    window: Annotated[int, Gt(0)]
    until: Annotated[int, Ge(0)]
    known: Annotated[int, Ge(0)]
    memory_y: ArrayDocument
    memory_x: ArrayDocument
    events: tuple[Refit, ...]


@cache
def _adapter() -> TypeAdapter[_OnlineDocument]:
    return TypeAdapter(_OnlineDocument)


def _require_memory(memory: Observations, capacity: int, detector: Detector) -> None:
    """Refuse bars that the detector cannot have seen.

    Raises:
        RegimeError: other series or regressors, more bars than the window, or not as many as seen.
    """
    span = detector.span
    shape = (memory.y_TD.shape[1], memory.x_TM.shape[1], len(memory))
    expected = (span.series, span.regressors, min(capacity, detector.bars))
    if shape != expected:
        raise RegimeError(
            f"regimes JSON: memory: expected (series, regressors, bars) = {expected}, found {shape}"
        )

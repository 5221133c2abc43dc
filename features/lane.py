"""Features of one kind of rows in a stream: those of the assets, or of the common axis.

Features with a step are carried on by it, all of them for all entities in one call. Features
without one are computed by their batch function from the last bars that they need.

Dimensions: T rows, E entities (assets, or one common axis), I inputs, K columns.
"""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.definition import BoundFeature, FeatureError, Series
from features.step import Step
from features.step_driver import drive

__all__ = ["Lane", "packed", "unpacked"]

Array = NDArray[np.float64]
State = dict[str, Any]


class Lane:
    """State of a group of features over entities whose rows they share.

    Args:
        features: the features, in the order of their columns.
        inputs: names of the inputs, in the order of a bar's numbers.
        entities: names of the entities, for messages; empty for the common axis.
    """

    def __init__(
        self, features: tuple[BoundFeature, ...], inputs: tuple[str, ...], entities: tuple[str, ...]
    ) -> None:
        self.features = features
        self._inputs = inputs
        self._entities = entities
        self._columns = [column for feature in features for column in feature.columns]
        self._warmup_K = np.array([f.warmup for f in features for _ in f.columns], np.int64)
        count = max(1, len(entities))
        self._bars_E = np.zeros(count, np.int64)
        self._out_EK = np.full((count, len(self._columns)), np.nan)
        self._plan = _Plan(features, inputs)
        self._state_ES = np.zeros((count, self._plan.size))
        self._plain = self._plan.plain
        capacity = max((feature.memory for feature, _ in self._plain), default=0)
        self._tails = [_Tail(len(inputs), capacity) for _ in range(count if capacity else 0)]

    def prime(
        self, present_TE: NDArray[np.bool_], bar_TEI: Array, ts_event: NDArray[np.int64]
    ) -> None:
        """Take in rows without asking for their values; the state is that after `update` of each.

        Args:
            present_TE: which entities have a bar in a row.
            bar_TEI: the inputs of each bar.
            ts_event: time of each row, ns UTC, (T,).
        """
        self._plan.run(present_TE, bar_TEI, self._state_ES, self._out_EK)
        self._bars_E += np.count_nonzero(present_TE, axis=0)
        for entity, tail in enumerate(self._tails):
            for row in np.flatnonzero(present_TE[:, entity])[-tail.capacity :]:
                tail.append(bar_TEI[row, entity], int(ts_event[row]))

    def update(self, present_E: NDArray[np.bool_], bar_EI: Array, ts_event: int) -> Array:
        """Take in the next row.

        Args:
            present_E: which entities have a bar.
            bar_EI: the inputs of each bar.
            ts_event: the row's time, ns UTC.

        Returns:
            Values (E, K); NaN where an entity has no bar or is in a feature's warm-up.

        Raises:
            FeatureError: a value that is not finite after the warm-up; the row has been taken in.
        """
        self._out_EK.fill(np.nan)
        self._plan.run(present_E[None], bar_EI[None], self._state_ES, self._out_EK)
        self._bars_E += present_E
        found = [int(entity) for entity in np.flatnonzero(present_E)] if self._tails else []
        # All take their bar in before a value of one can be refused.
        for entity in found:
            self._tails[entity].append(bar_EI[entity], ts_event)
        for entity in found:
            self._compute_plain(entity)
        known_EK = present_E[:, None] & (self._bars_E[:, None] > self._warmup_K)
        values_EK = np.where(known_EK, self._out_EK, np.nan)
        if np.count_nonzero(np.isfinite(values_EK)) != np.count_nonzero(known_EK):
            wrong_EK = known_EK & ~np.isfinite(values_EK)
            entity, column = (int(place) for place in np.argwhere(wrong_EK)[0])
            feature = next(f for f in self.features if self._columns[column] in f.columns)
            raise FeatureError(
                f"{self._prefix(entity)}feature {self._columns[column]}: expected finite "
                f"values from bar {feature.warmup} on (its declared warm-up), found "
                f"{values_EK[entity, column]} at bar {self._bars_E[entity] - 1} "
                f"({np.datetime64(ts_event, 'ns')})"
            )
        return values_EK

    def state(self) -> State:
        """All that continues from here, as JSON values."""
        return {
            "features": {feature.label: feature.digest for feature in self.features},
            "bars": self._bars_E.tolist(),
            "steps": packed(self._state_ES),
            "tails": [tail.state() for tail in self._tails],
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Raises:
            FeatureError: of other features, or of the same with other code.
        """
        now = {feature.label: feature.digest for feature in self.features}
        if state["features"] != now:
            differing = sorted(
                label
                for label in {*state["features"], *now}
                if state["features"].get(label) != now.get(label)
            )
            raise FeatureError(
                f"resume: expected the state of the same features, found {differing} defined "
                "otherwise or on one side only; prime the stream with its history instead"
            )
        self._bars_E[:] = state["bars"]
        unpacked(state["steps"], self._state_ES)
        for tail, kept in zip(self._tails, state["tails"], strict=True):
            tail.resume(kept)

    def _compute_plain(self, entity: int) -> None:
        tail = self._tails[entity]
        for feature, column in self._plain:
            try:
                values = feature.compute(tail.last(feature.memory, self._inputs))[-1]
            except FeatureError as error:
                raise FeatureError(f"{self._prefix(entity)}{error}") from error
            self._out_EK[entity, column : column + len(values)] = values

    def _prefix(self, entity: int) -> str:
        return f"{self._entities[entity]}: " if self._entities else ""


class _Plan:
    """Where the steps of some features lie, as `features.step_driver.drive` reads it."""

    def __init__(self, features: tuple[BoundFeature, ...], inputs: tuple[str, ...]) -> None:
        addresses: list[int] = []
        places: list[tuple[int, int, int]] = []
        read: list[list[int]] = []
        parameters: list[float] = []
        self.plain: list[tuple[BoundFeature, int]] = []
        self.size = column = 0
        for feature in features:
            step: Step | None = feature.feature.step
            if step is None:
                self.plain.append((feature, column))
            else:
                addresses.append(step.address)
                places.append((self.size, len(parameters), column))
                read.append([inputs.index(name) for name in feature.feature.inputs])
                parameters.extend(feature.numbers.values())
                self.size += max(1, step.state(**feature.numbers))
            column += len(feature.columns)
        width = max(map(len, read), default=1)
        self._address_F = np.array(addresses, np.intp)
        self._place_F3 = np.array(places, np.intp).reshape(-1, 3)
        padded = [places + [-1] * (width - len(places)) for places in read]
        self._input_FI = np.array(padded, np.intp).reshape(-1, width)
        self._parameters_P = np.array([*parameters, 0.0], np.float64)
        self._scratch_I = np.zeros(width)

    def run(
        self, present_TE: NDArray[np.bool_], bar_TEI: Array, state_ES: Array, out_EK: Array
    ) -> None:
        """Take in rows."""
        if len(self._address_F):
            drive(
                self._address_F,
                self._place_F3,
                self._input_FI,
                self._parameters_P,
                np.ascontiguousarray(present_TE),
                np.ascontiguousarray(bar_TEI),
                state_ES,
                self._scratch_I,
                out_EK,
            )


class _Tail:
    """The last bars of one entity."""

    def __init__(self, inputs: int, capacity: int) -> None:
        self.capacity = capacity
        self._kept = 0
        self._end = 0
        # Twice the capacity: the tail moves to the front only once in `capacity` bars.
        self._values = np.empty((inputs, 2 * capacity))
        self._ts_event = np.empty(2 * capacity, np.int64)

    def append(self, bar_I: Array, ts_event: int) -> None:
        """Take in a bar."""
        if self._end == len(self._ts_event):
            self._end = kept = self.capacity - 1
            self._values[:, :kept] = self._values[:, len(self._ts_event) - kept :]
            self._ts_event[:kept] = self._ts_event[len(self._ts_event) - kept :]
        self._values[:, self._end] = bar_I
        self._ts_event[self._end] = ts_event
        self._end += 1
        self._kept = min(self._kept + 1, self.capacity)

    def last(self, memory: int, inputs: tuple[str, ...]) -> Series:
        """The last bars, by input."""
        rows = self._rows(memory)
        values, times = self._values[:, rows], self._ts_event[rows]
        # A feature that wrote into them would change what the next bars read.
        values.flags.writeable = times.flags.writeable = False
        return {**dict(zip(inputs, values, strict=True)), "ts_event": times}

    def state(self) -> State:
        """The bars kept, as JSON values."""
        rows = self._rows(self.capacity)
        return {
            "bars": self._kept,
            "values": packed(self._values[:, rows]),
            "ts_event": self._ts_event[rows].tolist(),
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self._kept = self._end = int(state["bars"])
        values = np.empty((len(self._values), self._kept))
        unpacked(state["values"], values)
        self._values[:, : self._kept] = values
        self._ts_event[: self._kept] = state["ts_event"]

    def _rows(self, memory: int) -> slice:
        return slice(self._end - min(memory, self._kept), self._end)


def packed(values: Array) -> str:
    """Bytes of an array as text: float64, little-endian, in row order."""
    return base64.b64encode(np.ascontiguousarray(values, "<f8").tobytes()).decode("ascii")


def unpacked(text: str, into: Array) -> None:
    """Read what `packed` wrote into an array of the same shape.

    Raises:
        FeatureError: of another size.
    """
    found = np.frombuffer(base64.b64decode(text), "<f8")
    if found.size != into.size:
        raise FeatureError(
            f"resume: expected {into.size} numbers of an array {into.shape}, found {found.size}"
        )
    into[...] = found.reshape(into.shape)

"""A declared feature, and the same with its parameters chosen.

Dimensions: T bars on the common axis, n bars of one asset, K columns of one feature.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from features.fingerprint import fingerprint
from features.inputs import INPUTS, PUBLISHED
from features.panel import inputs_code
from features.step import Step

__all__ = [
    "INPUTS",
    "Array",
    "BoundFeature",
    "Feature",
    "FeatureError",
    "Horizon",
    "Parameter",
    "Series",
    "Window",
]

Array = NDArray[np.float64]
_MOST = 100_000
Horizon = Annotated[int, Ge(1), Le(_MOST)]
"""A distance in bars; at most as many as TA-Lib takes."""
Window = Annotated[int, Ge(2), Le(_MOST)]
"""A number of bars over which a statistic is taken; at most as many as TA-Lib takes."""

Series = Mapping[str, NDArray[Any]]
Parameter = int | float | str | bool


class FeatureError(ValueError):
    """A feature is unknown, wrongly declared or parametrised, or its data are unfit for it."""


@dataclass(frozen=True)
class Feature:
    """One declared feature, before its parameters are chosen."""

    name: str
    """Name in configurations, `[a-z_0-9]+`, unique."""
    function: Callable[..., Any]
    """Series of the inputs and keyword parameters to one array (T,), or a tuple of arrays."""
    inputs: tuple[str, ...]
    """Series that the function reads, of the `INPUTS` of its scope."""
    unit: str
    """Unit of the values before scaling."""
    source: str
    """Paper and equation, or the library's function."""
    warmup: Callable[..., int]
    """Of the parameters: number of first bars of an asset without a value."""
    memory: Callable[..., int]
    """Of the parameters: last bars that give today's value to 1e-12 of full history."""
    carries_state: bool
    """Whether a value depends on all bars before it: ever less, as an exponential average does, or
    for ever (`path_dependent`)."""
    path_dependent: bool
    """Whether no number of last bars tells the value, as with on-balance volume."""
    step: Step | None
    """Its newest value from a carried state and the new bar; None: computed from the last bars."""
    scope: Literal["asset", "shared"]
    """A value per asset, or one for all."""
    outputs: tuple[str, ...]
    """Suffixes of the columns of a function that returns a tuple; empty for a single array."""
    scaled: bool
    """Whether the pipeline's scaling applies; calendar phases and flags are left as they are."""
    schema: type[BaseModel]
    """Ranges and defaults of the parameters."""

    @property
    def family(self) -> str:
        """The family it belongs to: the last word of its module's name."""
        return self.function.__module__.rpartition(".")[2]

    def describe(self) -> dict[str, str]:
        """One row of a table of features, for people: every fact as text."""
        bound = self.bind({})
        return {
            "name": self.name,
            "family": self.family,
            "scope": self.scope,
            "inputs": ", ".join(self.inputs),
            "parameters": ", ".join(f"{key}={value}" for key, value in bound.parameters.items()),
            "unit": self.unit,
            "warmup": str(bound.warmup),
            "carries_state": "yes" if self.carries_state else "no",
            "source": self.source,
        }

    def bind(self, parameters: Mapping[str, Parameter]) -> "BoundFeature":
        """Choose the parameters.

        Args:
            parameters: values by name; those left out keep their defaults.

        Raises:
            FeatureError: unknown parameter, or one of the wrong type or out of its range.
        """
        try:
            chosen = self.schema.model_validate(dict(parameters)).model_dump()
        except ValidationError as error:
            known = ", ".join(self.schema.model_fields) or "none"
            faults = "; ".join(
                f"features.{self.name}.{'.'.join(map(str, fault['loc']))}: {fault['msg']}, "
                f"found {fault['input']!r}"
                for fault in error.errors()
            )
            raise FeatureError(f"{faults} (parameters: {known})") from error
        warmup = self._bars("warmup", self.warmup, chosen)
        memory = max(self._bars("memory", self.memory, chosen), warmup + 1)
        return BoundFeature(self, chosen, warmup, memory)

    def _bars(self, what: str, rule: Callable[..., int], chosen: dict[str, Any]) -> int:
        """Bars by a declared rule, which may refuse the parameters."""
        try:
            bars = rule(**chosen)
        except TypeError as error:
            raise FeatureError(
                f"feature {self.name!r}: {what}: expected a function of the parameters "
                f"({', '.join(chosen) or 'none'}), found: {error}"
            ) from error
        if not isinstance(bars, int) or bars < 0:
            raise FeatureError(
                f"feature {self.name!r}: {what}: expected a whole number of bars >= 0 for "
                f"{chosen}, found {bars!r}"
            )
        return bars


def _text(value: Parameter) -> str:
    """Short text of a parameter, another one for each value."""
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


@dataclass(frozen=True)
class BoundFeature:
    """A feature with its parameters, ready to compute."""

    feature: Feature
    parameters: Mapping[str, Parameter]
    warmup: int
    """First bars of an asset without a value."""
    memory: int
    """Bars that give the last value to 1e-12 of full history; more than ``warmup``."""

    @cached_property
    def label(self) -> str:
        """Name and parameters, for example ``macd_12_26_9``."""
        return "_".join((self.feature.name, *map(_text, self.parameters.values())))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it fills."""
        if not self.feature.outputs:
            return (self.label,)
        return tuple(f"{self.label}_{output}" for output in self.feature.outputs)

    @cached_property
    def numbers(self) -> dict[str, float]:
        """Parameters that a step reads: all but text, in the order of the signature."""
        return {
            name: value for name, value in self.parameters.items() if not isinstance(value, str)
        }

    @property
    def series(self) -> str | None:
        """Name of the published series that it reads."""
        return str(self.parameters["series"]) if PUBLISHED & set(self.feature.inputs) else None

    @cached_property
    def definition(self) -> dict[str, Any]:
        """All that decides the values: declaration, parameters and the code's fingerprints."""
        step = self.feature.step
        return {
            "feature": self.feature.name,
            "module": self.feature.function.__module__,
            "inputs": list(self.feature.inputs),
            "parameters": dict(self.parameters),
            "outputs": list(self.feature.outputs),
            "scope": self.feature.scope,
            "scaled": self.feature.scaled,
            "warmup": self.warmup,
            "memory": self.memory,
            "code": fingerprint(self.feature.function),
            "step": None if step is None else fingerprint(step.function),
            "inputs_code": inputs_code(frozenset(self.feature.inputs)),
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the definition."""
        text = json.dumps(self.definition, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def compute(self, series: Series) -> NDArray[np.float64]:
        """Values of one asset's own bars.

        Args:
            series: arrays (n,) by the names of its inputs, and ``ts_event``, without gaps.

        Returns:
            Values (n, columns), NaN for the first ``warmup`` bars.

        Raises:
            FeatureError: a result of the wrong shape, or not finite after the warm-up.
        """
        count = len(series["ts_event"])
        values_nK = np.full((count, len(self.columns)), np.nan)
        if count <= self.warmup:
            return values_nK
        inputs = [series[name] for name in self.feature.inputs]
        result = self.feature.function(*inputs, **self.parameters)
        parts = result if self.feature.outputs and isinstance(result, tuple) else (result,)
        if len(parts) != len(self.columns) or any(np.shape(part) != (count,) for part in parts):
            shapes = [np.shape(part) for part in parts]
            raise FeatureError(
                f"feature {self.label}: expected {len(self.columns)} array(s) of shape ({count},), "
                f"found {shapes}"
            )
        for column, part in enumerate(parts):
            values_nK[self.warmup :, column] = part[self.warmup :]
        self._require_finite(values_nK[self.warmup :], series["ts_event"][self.warmup :])
        return values_nK

    def _require_finite(self, values_nK: NDArray[np.float64], ts_event_n: NDArray[Any]) -> None:
        finite_nK = np.isfinite(values_nK)
        if finite_nK.all():
            return
        row, column = (int(index) for index in np.argwhere(~finite_nK)[0])
        raise FeatureError(
            f"feature {self.columns[column]}: expected finite values from bar {self.warmup} of an "
            f"asset on (its declared warm-up), found {values_nK[row, column]} at bar "
            f"{self.warmup + row} ({np.datetime64(int(ts_event_n[row]), 'ns')})"
        )

"""Declaration of features: each is one pure function with its inputs, unit, warm-up and source.

A feature maps the series of *one asset's own bars* (no gaps, no NaN, adjusted for splits and
dividends up to each bar) to one value per bar, or several. A user declares one of their own in any
module and names the module in `features.pipeline.FeatureConfig.modules`::

    from features.registry import Array, Horizon, feature

    @feature(unit="log return", warmup=lambda horizon: horizon, source="own notes, 2026-03-01")
    def gap(open_T: Array, close_T: Array, *, horizon: Horizon = 1) -> Array:
        gap_T = np.full(len(open_T), np.nan)
        gap_T[horizon:] = np.log(open_T[horizon:] / close_T[:-horizon])
        return gap_T

The names of the positional parameters are the inputs, the keyword-only ones the parameters with
their ranges and defaults. The values must be causal (the value at t reads bars up to t only),
indifferent to the scale of prices, and finite from bar ``warmup`` on.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from features.fingerprint import fingerprint

__all__ = [
    "INPUTS",
    "Array",
    "BoundFeature",
    "Feature",
    "FeatureError",
    "Horizon",
    "Window",
    "catalogue",
    "feature",
    "lookup",
]

Array = NDArray[np.float64]
Horizon = Annotated[int, Ge(1)]
"""A distance in bars."""
Window = Annotated[int, Ge(2)]
"""A number of bars over which a statistic is taken."""

INPUTS = ("open", "high", "low", "close", "volume", "ts_event")
"""What a feature may read: adjusted prices and volume (float64) and the bar's time (ns UTC)."""

Series = Mapping[str, NDArray[Any]]
Parameter = int | float | str | bool
Function = TypeVar("Function", bound=Callable[..., Any])


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
    """Series that the function reads, of `INPUTS`."""
    unit: str
    """Unit of the values before scaling."""
    source: str
    """Paper and equation, or the library's function."""
    warmup: Callable[..., int]
    """Of the parameters: number of first bars of an asset without a value."""
    memory: Callable[..., int]
    """Of the parameters: last bars that give today's value to 1e-12 of full history."""
    carries_state: bool
    """Whether a value depends (ever less) on all bars before it, as an exponential average does."""
    scope: Literal["asset", "shared"]
    """A value per asset, or one for all (then it reads only ``ts_event``)."""
    outputs: tuple[str, ...]
    """Suffixes of the columns of a function that returns a tuple; empty for a single array."""
    scaled: bool
    """Whether the pipeline's scaling applies; calendar phases and flags are left as they are."""
    schema: type[BaseModel]
    """Ranges and defaults of the parameters."""

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
        warmup = self.warmup(**chosen)
        memory = max(self.memory(**chosen), warmup + 1)
        return BoundFeature(self, chosen, warmup, memory)


@dataclass(frozen=True)
class BoundFeature:
    """A feature with its parameters, ready to compute."""

    feature: Feature
    parameters: Mapping[str, Parameter]
    warmup: int
    """First bars of an asset without a value."""
    memory: int
    """Bars that give the last value to 1e-12 of full history; more than ``warmup``."""

    @property
    def label(self) -> str:
        """Name and parameters, for example ``macd_12_26_9``."""
        values = self.parameters.values()
        texts = (f"{value:g}" if isinstance(value, float) else str(value) for value in values)
        return "_".join((self.feature.name, *texts))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it fills."""
        if not self.feature.outputs:
            return (self.label,)
        return tuple(f"{self.label}_{output}" for output in self.feature.outputs)

    @property
    def definition(self) -> dict[str, Any]:
        """All that decides the values: declaration, parameters and the code's fingerprint."""
        return {
            "feature": self.feature.name,
            "module": self.feature.function.__module__,
            "inputs": list(self.feature.inputs),
            "parameters": dict(self.parameters),
            "outputs": list(self.feature.outputs),
            "scope": self.feature.scope,
            "scaled": self.feature.scaled,
            "warmup": self.warmup,
            "code": fingerprint(self.feature.function),
        }

    def compute(self, series: Series) -> NDArray[np.float64]:
        """Values of one asset's own bars.

        Args:
            series: arrays (n,) by the names of `INPUTS`, without gaps.

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
        parts = result if self.feature.outputs else (result,)
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


_REGISTRY: dict[str, Feature] = {}


def feature(
    *,
    unit: str,
    source: str,
    warmup: int | Callable[..., int] = 0,
    memory: Callable[..., int] | None = None,
    scope: Literal["asset", "shared"] = "asset",
    outputs: tuple[str, ...] = (),
    scaled: bool = True,
) -> Callable[[Function], Function]:
    """Declare a function as a feature under its own name; see the module's text for an example.

    Args:
        unit: unit of the values before scaling.
        source: paper and equation, or the library's function.
        warmup: number of first bars of an asset without a value, or a function of the parameters.
        memory: for a recursive feature, bars after which an unknown past no longer matters (to
            1e-12); without it the value at t reads the last ``warmup + 1`` bars only.
        scope: "asset", or "shared" for one value for all assets from ``ts_event``.
        outputs: suffixes of the columns, for a function that returns a tuple of arrays.
        scaled: whether the pipeline's scaling applies.

    Raises:
        FeatureError: an input that does not exist, a parameter without a default, or a name that
            another function has already.
    """

    def declare(function: Function) -> Function:
        declared = Feature(
            name=function.__name__,
            function=function,
            inputs=_inputs(function),
            unit=unit,
            source=source,
            warmup=warmup if callable(warmup) else _constant(warmup),
            memory=memory if memory is not None else _constant(0),
            carries_state=memory is not None,
            scope=scope,
            outputs=outputs,
            scaled=scaled,
            schema=_schema(function),
        )
        _register(declared)
        return function

    return declare


def lookup(name: str) -> Feature:
    """Find a declared feature.

    Raises:
        FeatureError: unknown name, with the nearest known ones.
    """
    if name in _REGISTRY:
        return _REGISTRY[name]
    near = get_close_matches(name, _REGISTRY, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise FeatureError(
        f"unknown feature {name!r}: {hint}known: {', '.join(sorted(_REGISTRY))}; "
        "a feature of your own is known once its module is imported (features.modules)"
    )


def catalogue() -> tuple[Feature, ...]:
    """All declared features, by name."""
    return tuple(_REGISTRY[name] for name in sorted(_REGISTRY))


def _register(declared: Feature) -> None:
    present = _REGISTRY.get(declared.name)
    # The same place may declare again: a module reloaded, a notebook cell run twice.
    if present is not None and present.function.__module__ != declared.function.__module__:
        raise FeatureError(
            f"feature {declared.name!r} is declared twice: in {present.function.__module__} and in "
            f"{declared.function.__module__}; give one of them another name"
        )
    if declared.scope == "shared" and declared.inputs != ("ts_event",):
        raise FeatureError(
            f"feature {declared.name!r}: a shared feature reads ts_event only, "
            f"found {', '.join(declared.inputs)}"
        )
    _REGISTRY[declared.name] = declared


def _inputs(function: Callable[..., Any]) -> tuple[str, ...]:
    names = tuple(p.name.removesuffix("_T") for p in _parameters(function, keyword_only=False))
    if not names or not set(names) <= set(INPUTS):
        raise FeatureError(
            f"feature {function.__name__!r}: expected positional parameters of "
            f"{', '.join(f'{name}_T' for name in INPUTS)}, found {', '.join(names) or 'none'}"
        )
    return names


def _schema(function: Callable[..., Any]) -> type[BaseModel]:
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in _parameters(function, keyword_only=True):
        if parameter.default is inspect.Parameter.empty or parameter.name not in hints:
            raise FeatureError(
                f"feature {function.__name__!r}: parameter {parameter.name!r} needs a type and a "
                "default"
            )
        fields[parameter.name] = (hints[parameter.name], parameter.default)
    config = ConfigDict(extra="forbid", validate_default=True)
    schema: type[BaseModel] = create_model(function.__name__, __config__=config, **fields)
    return schema


def _parameters(function: Callable[..., Any], *, keyword_only: bool) -> Iterable[inspect.Parameter]:
    for parameter in inspect.signature(function).parameters.values():
        if (parameter.kind is inspect.Parameter.KEYWORD_ONLY) == keyword_only:
            yield parameter


def _constant(value: int) -> Callable[..., int]:
    return lambda **_: value

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

The names of the positional parameters are the inputs (`features.inputs`: prices, volume and time,
and the levels of the market and of the asset's sector), the keyword-only ones the parameters with
their ranges and defaults. The values must be causal (the value at t reads bars up to t only),
indifferent to the scale of prices, and finite from bar ``warmup`` on.

A feature of the scope "shared" has one value for all assets; its rows are the common axis, or from
the first publication on those of the published series that its parameter ``series`` names. A
feature with a `features.step` costs a stream a few nanoseconds a bar; one without is computed
anew from its last bars.
"""

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from features.definition import (
    Array,
    Feature,
    FeatureError,
    Horizon,
    Window,
)
from features.inputs import INPUTS, PUBLISHED
from features.step import Step

__all__ = ["Array", "Horizon", "Window", "catalogue", "feature", "lookup"]

Function = TypeVar("Function", bound=Callable[..., Any])

_REGISTRY: dict[str, Feature] = {}


def feature(  # noqa: PLR0913 - the columns of a declaration, by keyword only
    *,
    unit: str,
    source: str,
    warmup: int | Callable[..., int] = 0,
    memory: Callable[..., int] | None = None,
    scope: Literal["asset", "shared"] = "asset",
    outputs: tuple[str, ...] = (),
    scaled: bool = True,
    step: Step | None = None,
    path_dependent: bool = False,
) -> Callable[[Function], Function]:
    """Declare a function as a feature under its own name; see the module's text for an example.

    Args:
        unit: unit of the values before scaling.
        source: paper and equation, or the library's function.
        warmup: number of first bars of an asset without a value, or a function of the parameters.
        memory: for a recursive feature, bars after which an unknown past no longer matters (to
            1e-12); without it the value at t reads the last ``warmup + 1`` bars only.
        scope: "asset", or "shared" for one value for all assets; each has inputs of its own
            (`features.definition.INPUTS`).
        outputs: suffixes of the columns, for a function that returns a tuple of arrays.
        scaled: whether the pipeline's scaling applies.
        step: the newest value from a carried state and the new bar, for streams (`features.step`);
            without it a stream computes the last ``memory`` bars anew.
        path_dependent: the value depends on every bar since the asset's first and never forgets
            one (on-balance volume); it needs a step, and has no tail form but a carried state.

    Raises:
        FeatureError: an input that does not exist, a parameter without a default, or a name that
            another function has already.
    """

    def declare(function: Function) -> Function:
        if path_dependent and step is None:
            raise FeatureError(
                f"feature {function.__name__!r}: a path-dependent feature needs a step, found none"
            )
        declared = Feature(
            name=function.__name__,
            function=function,
            inputs=_inputs(function, scope),
            unit=unit,
            source=source,
            warmup=warmup if callable(warmup) else _constant(warmup),
            memory=memory if memory is not None else _constant(0),
            carries_state=memory is not None or path_dependent,
            path_dependent=path_dependent,
            step=step,
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
    if PUBLISHED & set(declared.inputs) and "series" not in declared.schema.model_fields:
        raise FeatureError(
            f"feature {declared.name!r}: a feature that reads a published series needs the "
            "parameter 'series: str', which names it, found none"
        )
    _REGISTRY[declared.name] = declared


def _inputs(function: Callable[..., Any], scope: Literal["asset", "shared"]) -> tuple[str, ...]:
    names = tuple(p.name.removesuffix("_T") for p in _parameters(function, keyword_only=False))
    if not names or not set(names) <= set(INPUTS[scope]):
        raise FeatureError(
            f"feature {function.__name__!r}: expected positional parameters of "
            f"{', '.join(f'{name}_T' for name in INPUTS[scope])} (scope {scope}), found "
            f"{', '.join(names) or 'none'}"
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
    config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)
    schema: type[BaseModel] = create_model(function.__name__, __config__=config, **fields)
    return schema


def _parameters(function: Callable[..., Any], *, keyword_only: bool) -> Iterable[inspect.Parameter]:
    for parameter in inspect.signature(function).parameters.values():
        if (parameter.kind is inspect.Parameter.KEYWORD_ONLY) == keyword_only:
            yield parameter


def _constant(value: int) -> Callable[..., int]:
    return lambda **_: value

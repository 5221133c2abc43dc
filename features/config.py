"""Configuration of the feature pipeline."""

from typing import Annotated

from annotated_types import Gt, MinLen
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from features.cache.config import CacheConfig
from features.definition import Parameter
from features.scaling import Scaling
from markets.published import ExogenousConfig

__all__ = ["FeatureConfig", "FeatureSpec"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FeatureSpec:
    """One chosen feature."""

    name: str
    """Name of a declared feature (`perennial features ls` lists them)."""
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    """Values by parameter name; those left out keep the feature's defaults."""


def _spec(value: object) -> object:
    """A bare name stands for the feature with its defaults."""
    return {"name": value} if isinstance(value, str) else value


def _default_features() -> tuple[FeatureSpec, ...]:
    return (
        FeatureSpec(name="log_return"),
        FeatureSpec(name="momentum", parameters={"horizon": 5}),
        FeatureSpec(name="momentum", parameters={"horizon": 21}),
        FeatureSpec(name="momentum", parameters={"horizon": 63}),
        FeatureSpec(name="realised_volatility", parameters={"window": 10}),
        FeatureSpec(name="realised_volatility", parameters={"window": 63}),
        FeatureSpec(name="range_volatility"),
        FeatureSpec(name="rsi"),
        FeatureSpec(name="macd"),
        FeatureSpec(name="atr"),
        FeatureSpec(name="volume_zscore"),
        FeatureSpec(name="high_distance"),
        FeatureSpec(name="bollinger"),
        FeatureSpec(name="day_of_week"),
        FeatureSpec(name="month"),
        FeatureSpec(name="turn_of_month"),
    )


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FeatureConfig:
    """Which features, and how they are scaled."""

    features: Annotated[tuple[Annotated[FeatureSpec, BeforeValidator(_spec)], ...], MinLen(1)] = (
        Field(default_factory=_default_features)
    )
    """The features in the order of their columns; a bare name means its default parameters.
    `perennial features ls` lists what there is."""
    scaling: Scaling = "robust"
    """"robust" (median, MAD), "standard" (mean, deviation), "rank" (training percentiles to equal
    steps in [-1, 1]) or "none"; pooled over assets."""
    clip: Annotated[float, Gt(0.0)] = 5.0
    """Bound on the absolute scaled value, in scales (standard deviations)."""
    exogenous: dict[str, ExogenousConfig] = Field(default_factory=dict)
    """Published series by the name that features read them by (their parameter ``series``)."""
    cache: CacheConfig = Field(default_factory=CacheConfig)
    """Where computed features are kept; it never decides a value."""
    modules: tuple[str, ...] = ()
    """Python modules with features of your own, imported before the names are looked up. Commands
    find them in the current folder too."""

"""What a fitted pipeline knows, and its form on disk: JSON without loss."""

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from features.config import FeatureConfig
from features.definition import BoundFeature, FeatureError
from features.drift import Reference
from features.scaling import NO_KNOTS, Scaler

__all__ = ["PipelineState", "Scale", "Span", "scales_of"]

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Scale:
    """Map of one column."""

    center: float
    """Subtracted, in the feature's unit."""
    scale: Annotated[float, Gt(0.0)]
    """Divided by, in the feature's unit."""
    ranks: tuple[float, ...] = ()
    """Training percentiles, ascending, in the feature's unit, in place of the two; or none."""

    @field_validator("ranks")
    @classmethod
    def _ascending(cls, ranks: tuple[float, ...]) -> tuple[float, ...]:
        if (wrong := np.flatnonzero(np.diff(ranks) < 0.0)).size:
            before, after = ranks[int(wrong[0])], ranks[int(wrong[0]) + 1]
            raise ValueError(f"expected ascending percentiles, found {after} after {before}")
        return ranks


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Span:
    """The training span, for the record."""

    rows: tuple[int, int]
    """First row and the one after the last, of the data given to `fit`."""
    ts_event: tuple[int, int]
    """Times of the first and the last bar, ns UTC."""
    symbols: tuple[str, ...]
    """The assets whose values were pooled."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PipelineState:
    """A fitted pipeline."""

    format: Literal[2] = 2
    """Version of this document's form."""
    config: FeatureConfig
    """Choice of features and scaling."""
    definitions: dict[str, dict[str, Any]]
    """`BoundFeature.definition` by label, at the time of the fit."""
    span: Span
    """The training span."""
    asset: dict[str, Scale]
    """Scale by asset column, in order, without "tradable"."""
    shared: dict[str, Scale]
    """Scale by shared column, in order."""
    references: dict[str, Reference] = Field(default_factory=dict)
    """Training distribution by column, of the assets and shared, for `FeaturePipeline.drift`."""

    def to_json(self) -> str:
        """JSON text; every float in the shortest form that reads back as the same float."""
        return TypeAdapter(PipelineState).dump_json(self, indent=1).decode()

    @classmethod
    def from_json(cls, text: str) -> "PipelineState":
        """Read and validate the text.

        Raises:
            FeatureError: names the first faulty path, what was expected and what was found.
        """
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            fault = error.errors()[0]
            path = ".".join(map(str, fault["loc"])) or "text"
            found = f"{fault['input']!r}"[:80]
            raise FeatureError(f"pipeline JSON: {path}: {fault['msg']}, found {found}") from error

    @cached_property
    def scalers(self) -> tuple[Scaler, Scaler]:
        """Scalers of the asset and of the shared columns."""
        clip = self.config.clip
        return _scaler(self.asset.values(), clip), _scaler(self.shared.values(), clip)

    def scaled_references(self) -> dict[str, Reference]:
        """Training distribution of the scaled values by column."""
        clip = self.config.clip
        scaled: dict[str, Reference] = {}
        for scaler, names in zip(self.scalers, (self.asset, self.shared), strict=True):
            most = max((len(self.references[name].edges) for name in names), default=0)
            edges_EF = np.full((most, len(names)), np.nan)
            for column, name in enumerate(names):
                edges = self.references[name].edges
                edges_EF[: len(edges), column] = edges
            mapped_EF = scaler.transform(edges_EF).astype(np.float64)
            for column, name in enumerate(names):
                reference = self.references[name]
                scaled[name] = reference.mapped(mapped_EF[: len(reference.edges), column], clip)
        return scaled

    def require_same(self, features: Iterable[BoundFeature]) -> None:
        """Refuse features that are defined otherwise now than at the time of the fit.

        Raises:
            FeatureError: names the feature and what of its definition differs.
        """
        for feature in features:
            recorded, now = self.definitions.get(feature.label, {}), feature.definition
            differing = [key for key in now if recorded.get(key) != now[key]]
            if differing:
                facts = "; ".join(
                    f"{key}: expected {recorded.get(key)!r}, found {now[key]!r}"
                    for key in differing
                )
                raise FeatureError(
                    f"pipeline JSON: feature {feature.label} is defined otherwise now than when "
                    f"the pipeline was fitted ({facts}); fit anew, or use the code of that time"
                )


def scales_of(scaler: Scaler, names: tuple[str, ...]) -> dict[str, Scale]:
    """Scale by column name."""
    scales = {}
    for column, name in enumerate(names):
        ranks_Q = scaler.knots_FQ[column]
        scales[name] = Scale(
            center=float(scaler.center_F[column]),
            scale=float(scaler.scale_F[column]),
            ranks=() if np.isnan(ranks_Q).any() else tuple(ranks_Q.tolist()),
        )
    return scales


def _scaler(scales: Iterable[Scale], clip: float) -> Scaler:
    known = list(scales)
    table = np.array([(scale.center, scale.scale) for scale in known], np.float64).reshape(-1, 2)
    knots = max((len(scale.ranks) for scale in known), default=NO_KNOTS)
    knots_FQ = np.full((len(known), knots), np.nan)
    for column, scale in enumerate(known):
        if scale.ranks:
            knots_FQ[column] = scale.ranks
    return Scaler(table[:, 0].copy(), table[:, 1].copy(), clip, knots_FQ)

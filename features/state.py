"""What a fitted pipeline knows, and its form on disk: JSON without loss."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from features.config import FeatureConfig
from features.definition import BoundFeature, FeatureError
from features.scaling import Scaler

__all__ = ["PipelineState", "Scale", "Span", "scales_of"]

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Scale:
    """Affine map of one column."""

    center: float
    """Subtracted, in the feature's unit."""
    scale: Annotated[float, Gt(0.0)]
    """Divided by, in the feature's unit."""


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

    def scalers(self) -> tuple[Scaler, Scaler]:
        """Scalers of the asset and of the shared columns."""
        clip = self.config.clip
        return _scaler(self.asset.values(), clip), _scaler(self.shared.values(), clip)

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
    pairs = zip(names, scaler.center_F.tolist(), scaler.scale_F.tolist(), strict=True)
    return {name: Scale(center=center, scale=scale) for name, center, scale in pairs}


def _scaler(scales: Iterable[Scale], clip: float) -> Scaler:
    table = np.array([(scale.center, scale.scale) for scale in scales], np.float64).reshape(-1, 2)
    return Scaler(table[:, 0].copy(), table[:, 1].copy(), clip)

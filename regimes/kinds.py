"""The kinds of detectors that there are."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from regimes.base import RegimeModel
from regimes.change_points import BOCPDConfig, BOCPDModel
from regimes.hmm import (
    GaussianHMM,
    GaussianHMMConfig,
    StudentHMM,
    StudentHMMConfig,
    SwitchingRegression,
    SwitchingRegressionConfig,
)
from regimes.jump import JumpConfig, JumpModel
from regimes.mixture import DPGMMConfig, DPGMMModel
from regimes.mixture_sticky import StickyDPGMMConfig, StickyDPGMMModel
from regimes.rule import RuleConfig, RuleModel

__all__ = ["MODELS", "AnyDetectorConfig"]

AnyDetectorConfig = Annotated[
    GaussianHMMConfig
    | StudentHMMConfig
    | SwitchingRegressionConfig
    | DPGMMConfig
    | StickyDPGMMConfig
    | BOCPDConfig
    | JumpConfig
    | RuleConfig,
    Field(discriminator="kind"),
]
"""A detector's kind and settings, or a mapping of its fields with its `kind`."""

MODELS: Mapping[str, type[RegimeModel]] = MappingProxyType(
    {
        model.kind: model
        for model in (
            GaussianHMM,
            StudentHMM,
            SwitchingRegression,
            DPGMMModel,
            StickyDPGMMModel,
            BOCPDModel,
            JumpModel,
            RuleModel,
        )
    }
)
"""The fitted models by kind."""

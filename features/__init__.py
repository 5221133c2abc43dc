"""What may be known at time t: causal indicators and a pipeline fitted on training data only."""

from features import calendar, indicators
from features.pipeline import FeatureConfig, FeaturePipeline, FeatureSpec, FeatureTensor
from features.registry import Feature, FeatureError, catalogue, feature

__all__ = [
    "Feature",
    "FeatureConfig",
    "FeatureError",
    "FeaturePipeline",
    "FeatureSpec",
    "FeatureTensor",
    "calendar",
    "catalogue",
    "feature",
    "indicators",
]

"""What may be known at time t: causal indicators and a pipeline fitted on training data only."""

from features import indicators
from features.consistency import start_dependence
from features.definition import Feature, FeatureError
from features.pipeline import FeatureConfig, FeaturePipeline, FeatureSpec, FeatureTensor
from features.registry import catalogue, feature

__all__ = [
    "Feature",
    "FeatureConfig",
    "FeatureError",
    "FeaturePipeline",
    "FeatureSpec",
    "FeatureTensor",
    "catalogue",
    "feature",
    "indicators",
    "start_dependence",
]

"""What the families share: memory of averages, order of parameters, and changes of a price."""

import math
from itertools import pairwise

import numpy as np

from features.definition import FeatureError
from features.registry import Array

__all__ = ["decay", "log_change", "require_below"]

# The influence of what came before is below this share of today's value; batch and tail then
# agree far below 1e-9 even if the past was a thousand times as volatile.
_FORGOTTEN = 1e-13


def decay(retained: float) -> int:
    """Bars after which an exponential average that retains this share a bar has forgotten."""
    return math.ceil(math.log(_FORGOTTEN) / math.log(retained))


def require_below(feature: str, **parameters: float) -> None:
    """Refuse parameters that are not each below the next one.

    Args:
        feature: name of the feature.
        parameters: values by name.

    Raises:
        FeatureError: names the first two that are not.
    """
    for (name, value), (limit, most) in pairwise(parameters.items()):
        if value >= most:
            raise FeatureError(
                f"features.{feature}.{name}: must be < {limit} ({most}), was {value}"
            )


def log_change(close_T: Array, horizon: int) -> Array:
    r"""Log change over the horizon, :math:`\ln (C_t / C_{t-h})`, NaN at first."""
    change_T = np.full(len(close_T), np.nan)
    change_T[horizon:] = np.log(close_T[horizon:] / close_T[:-horizon])
    return change_T

"""Scaling of features: centre and scale per column, measured once and then frozen.

Dimensions: N observations, F features.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scaler", "Scaling"]

Array = NDArray[np.float64]
Scaling = Literal["robust", "standard", "none"]
_MAD_TO_SIGMA = 1.482602218505602  # 1 / Phi^-1(3/4): a normal law's deviation from its MAD


@dataclass(frozen=True, eq=False)
class Scaler:
    """Affine map :math:`(x - c) / s`, then clipped."""

    center_F: Array
    scale_F: Array
    clip: float

    @classmethod
    def fit(
        cls, values_NF: Array, scaled_F: NDArray[np.bool_], *, how: Scaling, clip: float
    ) -> "Scaler":
        r"""Measure centre and scale of each column.

        ``robust``: median and 1.4826 times the median absolute deviation, which outliers do not
        move (Rousseeuw and Croux, 1993, JASA 88(424)); where more than half of the values are
        equal, their deviation is 0 and the standard deviation stands in. ``standard``: mean and
        standard deviation. A constant column has scale 1, so that it becomes 0.

        Args:
            values_NF: observations; NaN are left out, every column has at least one number.
            scaled_F: columns to scale; the others keep centre 0 and scale 1.
            how: the method.
            clip: bound on the absolute scaled value.
        """
        features = values_NF.shape[1]
        center_F, scale_F = np.zeros(features), np.ones(features)
        for column in np.flatnonzero(scaled_F) if how != "none" else ():
            values_N = values_NF[:, column]
            values_N = values_N[np.isfinite(values_N)]
            center_F[column], scale_F[column] = _measure(values_N, how)
        return cls(center_F, scale_F, clip)

    def transform(self, values: Array) -> Array:
        """Scale and clip values with the features on the last axis; NaN becomes the neutral 0."""
        scaled = np.clip((values - self.center_F) / self.scale_F, -self.clip, self.clip)
        return np.nan_to_num(scaled, copy=False, nan=0.0)


def _measure(values_N: Array, how: Scaling) -> tuple[float, float]:
    center = float(np.median(values_N) if how == "robust" else np.mean(values_N))
    deviation = float(np.std(values_N))
    # A constant's mean is rounded: what remains is no deviation but the rounding of a sum.
    if np.ptp(values_N) == 0.0:
        return float(values_N[0]), 1.0
    if how == "robust":
        absolute = float(np.median(np.abs(values_N - center)))
        return center, absolute * _MAD_TO_SIGMA or deviation
    return center, deviation

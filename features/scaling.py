"""Scaling of features: one monotone map per column, measured once and then frozen.

Dimensions: N observations, F features, Q knots of a rank map.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from markets.compiled import kernel, separate

__all__ = ["NO_KNOTS", "Scaler", "Scaling"]

Array = NDArray[np.float64]
Scaling = Literal["robust", "standard", "rank", "none"]
_MAD_TO_SIGMA = 1.482602218505602  # 1 / Phi^-1(3/4): a normal law's deviation from its MAD
_KNOTS = 101
_BLOCK = 256
_ROWS = 32
NO_KNOTS: Final = 0
"""Knots of columns without a rank map."""


@dataclass(frozen=True, eq=False)
class Scaler:
    r"""One map per column, then clipped: :math:`(x - c) / s`, or of ranks between its knots.

    A rank map sends the training quantiles :math:`q_0 \le \dots \le q_{Q-1}` to
    :math:`-1, \dots, 1` in equal steps, straight lines between them, -1 below the first and 1
    above the last. A value at which several quantiles coincide gets the mean of the first and the
    last of them, so that the map of -x is the negative of the map of x.
    """

    center_F: Array
    scale_F: Array
    clip: float
    knots_FQ: Array
    """Training quantiles of each column, ascending; NaN throughout for a column without ranks."""

    @classmethod
    def fit(
        cls, values_NF: Array, scaled_F: NDArray[np.bool_], *, how: Scaling, clip: float
    ) -> "Scaler":
        r"""Measure each column.

        ``robust``: median and 1.4826 times the median absolute deviation, which outliers do not
        move (Rousseeuw and Croux, 1993, JASA 88(424)); where more than half of the values are
        equal, their deviation is 0 and the standard deviation stands in. ``standard``: mean and
        standard deviation. A constant column has scale 1, so that it becomes 0. ``rank``: the
        percentiles (linear between order statistics, type 7 of Hyndman and Fan, 1996, American
        Statistician 50(4)).

        Args:
            values_NF: observations; NaN are left out, every column has at least one number.
            scaled_F: columns to scale; the others keep centre 0, scale 1 and no ranks.
            how: the method.
            clip: bound on the absolute scaled value.
        """
        features = values_NF.shape[1]
        center_F, scale_F = np.zeros(features), np.ones(features)
        knots_FQ = np.full((features, _KNOTS if how == "rank" else NO_KNOTS), np.nan)
        for column in np.flatnonzero(scaled_F) if how != "none" else ():
            values_N = values_NF[:, column]
            values_N = values_N[np.isfinite(values_N)]
            if how == "rank":
                knots_FQ[column] = np.quantile(values_N, np.linspace(0.0, 1.0, _KNOTS))
            else:
                center_F[column], scale_F[column] = _measure(values_N, how)
        return cls(center_F, scale_F, clip, knots_FQ)

    def transform(self, values: Array) -> NDArray[np.float32]:
        """Scale and clip values with the features on the last axis; NaN becomes the neutral 0."""
        scaled = np.empty(values.shape, np.float32)
        self.write(values, scaled)
        return scaled

    def write(self, values: Array, out: NDArray[np.float32]) -> None:
        """Do as `transform`, into an array of the same shape (a view of a wider one serves).

        Args:
            values: (N, F) or (T, A, F), in any order of memory.
            out: written.
        """
        if values.ndim == 2:
            values, out = values[:, None], out[:, None]
        _scale(values, self.center_F, self.scale_F, self.clip, out)
        if self.knots_FQ.shape[1]:
            block_2B, below_B = np.empty((2, _BLOCK)), np.empty(_BLOCK, np.int32)
            _rank(values, self.knots_FQ, self.clip, block_2B, below_B, out)


@kernel
def _scale(
    values_TAF: Array, center_F: Array, scale_F: Array, clip: float, out_TAF: NDArray[np.float32]
) -> None:
    """Centre, scale and clip in one pass, by blocks that fit into the cache in either order."""
    for start in range(0, values_TAF.shape[0], _ROWS):
        stop = min(start + _ROWS, values_TAF.shape[0])
        for asset in range(values_TAF.shape[1]):
            for column in range(values_TAF.shape[2]):
                center, scale = center_F[column], scale_F[column]
                for row in range(start, stop):
                    value = (values_TAF[row, asset, column] - center) / scale
                    # Comparisons, where min and max would not say what becomes of NaN.
                    value = clip if value > clip else value  # noqa: FURB136
                    value = -clip if value < -clip else value  # noqa: FURB136
                    out_TAF[row, asset, column] = 0.0 if np.isnan(value) else value


@kernel
def _rank(
    values_TAF: Array,
    knots_FQ: Array,
    clip: float,
    block_2B: Array,
    below_B: NDArray[np.int32],
    out_TAF: NDArray[np.float32],
) -> None:
    """Overwrite the columns that have ranks, by blocks of rows."""
    value_B, place_B = block_2B[0], block_2B[1]
    for start in range(0, values_TAF.shape[0], len(value_B)):
        rows = min(len(value_B), values_TAF.shape[0] - start)
        for asset in range(values_TAF.shape[1]):
            for column in range(knots_FQ.shape[0]):
                knots_Q = knots_FQ[column]
                if np.isnan(knots_Q[0]):
                    continue
                for row in range(rows):
                    value_B[row] = values_TAF[start + row, asset, column]
                _count_below(knots_Q, value_B, rows, below_B)
                _interpolate(knots_Q, value_B, below_B, rows, place_B)
                _centre_ties(knots_Q, value_B, below_B, rows, place_B)
                for row in range(rows):
                    scaled = min(max(2.0 * place_B[row] - 1.0, -clip), clip)
                    out_TAF[start + row, asset, column] = scaled


@separate
def _count_below(knots_Q: Array, value_B: Array, rows: int, below_B: NDArray[np.int32]) -> None:
    """Count the knots less than each value: one binary search for all values at once."""
    below_B[:rows] = 0
    width = len(knots_Q)
    while width > 1:
        half = width // 2
        for row in range(rows):
            below = below_B[row]
            below_B[row] = below + half if knots_Q[below + half - 1] < value_B[row] else below
        width -= half
    for row in range(rows):
        below_B[row] += 1 if knots_Q[below_B[row]] < value_B[row] else 0


@separate
def _interpolate(
    knots_Q: Array, value_B: Array, below_B: NDArray[np.int32], rows: int, place_B: Array
) -> None:
    """Place of each value among the knots, 0 to 1; that of NaN is the middle."""
    last = len(knots_Q) - 1
    for row in range(rows):
        value, below = value_B[row], below_B[row]
        left, right = max(below - 1, 0), min(below, last)
        width = knots_Q[right] - knots_Q[left]
        inside = (value - knots_Q[left]) / width if width > 0.0 else 0.0
        place = (left + inside) / last
        place = 1.0 if below > last else place
        place = 0.0 if value < knots_Q[0] else place
        place_B[row] = 0.5 if np.isnan(value) else place


@separate
def _centre_ties(
    knots_Q: Array, value_B: Array, below_B: NDArray[np.int32], rows: int, place_B: Array
) -> None:
    """Move a value at which several knots coincide to the mean of their places."""
    last = len(knots_Q) - 1
    tied = False
    for knot in range(last):
        tied |= knots_Q[knot] == knots_Q[knot + 1]
    for row in range(rows if tied else 0):
        below = below_B[row]
        if below >= last or knots_Q[below] != value_B[row]:
            continue
        above = below
        while above < last and knots_Q[above + 1] == value_B[row]:
            above += 1
        place_B[row] = 0.5 * (below + above) / last


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

"""Trailing-window statistics of a series, the same floats whatever lies before the window.

Running sums (add the new, subtract the old) drift and cancel; here every window is added up in the
same order, so that a long batch and the window alone agree bit for bit.

Dimensions: T bars, W window. The first W - 1 values of a result are NaN.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["rolling_mean", "rolling_std", "rolling_sum", "rolling_zscore"]

Array = NDArray[np.float64]


def rolling_sum(values_T: Array, window: int) -> Array:
    r"""Sum of the last W values, :math:`\sum_{k<W} x_{t-k}`; a window with a NaN gives NaN."""
    count = len(values_T) - window + 1
    if count <= 0:
        return np.full(len(values_T), np.nan)
    return _padded(_total([values_T[k : k + count] for k in range(window)]), len(values_T))


def rolling_mean(values_T: Array, window: int) -> Array:
    """Mean of the last W values; see `rolling_sum`."""
    return rolling_sum(values_T, window) / window


def rolling_std(values_T: Array, window: int) -> Array:
    r"""Population standard deviation of the last W values.

    .. math:: s_t = \sqrt{\tfrac1W \sum_{k<W} (x_{t-k} - \bar x_t)^2}

    In two passes, so that a small deviation of large values is not lost; exactly 0 for a window of
    equal values.
    """
    if len(values_T) < window:
        return np.full(len(values_T), np.nan)
    return _padded(_central(values_T, window)[1], len(values_T))


def rolling_zscore(values_T: Array, window: int) -> Array:
    r"""Newest value against its window, :math:`(x_t - \bar x_t) / s_t`.

    0 for a window of equal values; bounded by :math:`\sqrt{W - 1}` (Samuelson's inequality).
    """
    if len(values_T) < window:
        return np.full(len(values_T), np.nan)
    above, deviation = _central(values_T, window)
    constant = deviation == 0.0
    score = np.where(constant, 0.0, above / np.where(constant, 1.0, deviation))
    return _padded(score, len(values_T))


def _central(values_T: Array, window: int) -> tuple[Array, Array]:
    """Newest value minus the mean, and the population deviation, of each whole window."""
    newest = values_T[window - 1 :]
    # Differences from the newest value: exact for close values, exactly 0 for equal ones.
    shifts = [values_T[k : k + len(newest)] - newest for k in range(window)]
    mean = _total(shifts) / window
    squares = _total([np.square(shift - mean) for shift in shifts])
    return -mean, np.sqrt(squares / window)


def _total(parts: list[Array]) -> Array:
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def _padded(values: Array, length: int) -> Array:
    padded_T = np.full(length, np.nan)
    padded_T[length - len(values) :] = values
    return padded_T

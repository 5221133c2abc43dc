"""Means of simulated episodes with their standard errors, for the proofs through the ledger."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def error_of(values_N: Array) -> float:
    return float(values_N.std(ddof=1) / len(values_N) ** 0.5)


def adjusted(values_N: Array, control_NC: Array) -> tuple[float, float]:
    """Return the mean of values and its standard error, given controls whose mean is zero.

    The constant of their regression: what moves both alike is taken away, and the mean is kept.
    """
    scale_C = control_NC.std(axis=0)
    used_NC = control_NC[:, scale_C > 1e-12] / scale_C[scale_C > 1e-12]
    design_NC = np.column_stack([np.ones(len(values_N)), used_NC])
    coefficient_C, *_ = np.linalg.lstsq(design_NC, values_N, rcond=1e-10)
    rest_N = values_N - design_NC @ coefficient_C
    variance = float(rest_N @ rest_N) / (len(values_N) - design_NC.shape[1])
    inverse_CC = np.linalg.pinv(design_NC.T @ design_NC, rcond=1e-10)
    return float(coefficient_C[0]), float((variance * inverse_CC[0, 0]) ** 0.5)

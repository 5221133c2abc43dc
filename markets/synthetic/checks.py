"""Checks of matrices among a synthetic market's parameters."""

import numpy as np
from numpy.typing import NDArray

from markets.synthetic.chain import SyntheticMarketError

Array = NDArray[np.float64]

SINGULAR = 1e-12
"""Smallest eigenvalue, relative to the largest entry, at which a matrix counts as singular."""


def finite_array(name: str, values: object) -> Array:
    """Return nested numbers as an array.

    Raises:
        SyntheticMarketError: rows of different lengths, no numbers, or one that is not finite.
    """
    try:
        array = np.array(values, dtype=np.float64)
    except ValueError:
        raise SyntheticMarketError(f"{name}: expected rows of one length, found {values}") from None
    if array.size == 0 or not np.isfinite(array).all():
        raise SyntheticMarketError(f"{name}: expected finite numbers, found {values}")
    return array


def definite_matrices(name: str, values: object, unit: Array, num_regimes: int) -> Array:
    """Return symmetric positive definite matrices (K, A, A); a number multiplies `unit`.

    Args:
        name: the parameter, for messages.
        values: a number, or nested numbers of shape (A, A) or (K, A, A).
        unit: what a number multiplies, (A, A) or (K, A, A).
        num_regimes: K.

    Raises:
        SyntheticMarketError: another shape, not symmetric, or not positive definite.
    """
    size = unit.shape[-1]
    matrix = finite_array(name, values)
    if matrix.ndim == 0:
        matrix = matrix * unit
    elif matrix.shape not in ((size, size), (num_regimes, size, size)):
        raise SyntheticMarketError(
            f"{name}: expected a number, {size} x {size} for {size} assets (as in loadings), or "
            f"{num_regimes} x {size} x {size}, found shape {matrix.shape}"
        )
    matrix_KAA = np.array(np.broadcast_to(matrix, (num_regimes, size, size)))
    if not np.allclose(matrix_KAA, np.swapaxes(matrix_KAA, 1, 2), rtol=1e-9, atol=0.0):
        raise SyntheticMarketError(f"{name}: expected a symmetric matrix, found {values}")
    matrix_KAA = 0.5 * (matrix_KAA + np.swapaxes(matrix_KAA, 1, 2))
    smallest_K = np.linalg.eigvalsh(matrix_KAA)[:, 0]
    faulty_K = smallest_K <= SINGULAR * np.abs(matrix_KAA).max(axis=(1, 2))
    if faulty_K.any():
        raise SyntheticMarketError(
            f"{name}: expected positive definite, found {values} (smallest eigenvalue "
            f"{smallest_K[faulty_K][0]:.6g})"
        )
    return matrix_KAA

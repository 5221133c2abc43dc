"""Checks of matrices among a synthetic market's parameters."""

import operator

import numpy as np
from numpy.typing import NDArray

from markets.errors import MarketDataError

Array = NDArray[np.float64]

SINGULAR = 1e-12
"""Smallest eigenvalue, relative to the largest entry, at which a matrix counts as singular."""
ROUNDING = 1e-9
"""Largest relative difference of entries that ought to be equal."""
MOST = 2**63 - 1
"""Largest integer that compiled code reads."""


class SyntheticMarketError(MarketDataError):
    """Parameters of a synthetic market that make no sense; names the parameter and its value."""


def integer(name: str, value: object, least: int) -> int:
    """Return an integer in [least, 2**63).

    Raises:
        SyntheticMarketError: no integer, or outside.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if not least <= number <= MOST:
        raise SyntheticMarketError(
            f"{name}: expected an integer in [{least}, 2**63), found {value!r}"
        )
    return number


def numbers(name: str, values: object) -> Array:
    """Return nested numbers as an array.

    Raises:
        SyntheticMarketError: rows of different lengths.
    """
    try:
        return np.array(values, dtype=np.float64)
    except ValueError:
        raise SyntheticMarketError(f"{name}: expected rows of one length, found {values}") from None


def finite_array(name: str, values: object) -> Array:
    """Return nested numbers as an array.

    Raises:
        SyntheticMarketError: rows of different lengths, no numbers, or one that is not finite.
    """
    array = numbers(name, values)
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
    if not np.allclose(matrix_KAA, np.swapaxes(matrix_KAA, 1, 2), rtol=ROUNDING, atol=0.0):
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


def correlation_matrix(values: object, num_assets: int) -> Array:
    """Return a correlation matrix (A, A); independence for None.

    Raises:
        SyntheticMarketError: another shape, not symmetric, a diagonal that is not 1, or not
            positive definite.
    """
    if values is None:
        return np.eye(num_assets)
    matrix_AA = finite_array("correlation", values)
    if matrix_AA.shape != (num_assets, num_assets):
        raise SyntheticMarketError(
            f"correlation: expected shape {(num_assets, num_assets)}, found {matrix_AA.shape}"
        )
    if not np.allclose(np.diag(matrix_AA), 1.0, rtol=0.0, atol=ROUNDING):
        raise SyntheticMarketError(
            f"correlation: expected a diagonal of 1, found {np.diag(matrix_AA).tolist()}"
        )
    definite_KAA = definite_matrices("correlation", values, np.eye(num_assets), 1)
    correlation_AA: Array = definite_KAA[0]
    return correlation_AA

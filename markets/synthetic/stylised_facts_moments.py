"""Moments of the stylised-facts market in closed form: innovations, persistence, variances."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from markets.synthetic.stylised_facts_kernel import Nodes

Array = NDArray[np.float64]

NUM_NODES = 21
"""Quadrature nodes of a jump's size: exact to 1e-6 for deviations up to 3."""


def hermite_nodes(count: int = NUM_NODES) -> Nodes:
    """Return nodes and weights of E f(Z) = sum_n w_n f(z_n) for a standard normal Z."""
    node_N, weight_N = np.polynomial.hermite_e.hermegauss(count)
    return Nodes(node_N, weight_N / weight_N.sum())


def jump_variance(probability: float, mean: float, deviation: float) -> float:
    """Return the variance of a jump that comes with a probability: p (m^2 + d^2) - p^2 m^2."""
    return probability * (mean**2 + deviation**2) - (probability * mean) ** 2


def downside(degrees: float, probability: float, mean: float, deviation: float) -> float:
    """Return E[eta^2 1{eta < 0}], the part of an innovation's unit variance that falls.

    eta = c t + B (m + d Z) - p m, with t Student's t of unit variance, c^2 = 1 - jump variance.
    One half where eta is symmetric.

    Args:
        degrees: nu > 2.
        probability: p of a jump.
        mean: m, in units of eta.
        deviation: d, in units of eta.
    """
    diffusion = math.sqrt(1.0 - jump_variance(probability, mean, deviation))
    scale = diffusion * math.sqrt((degrees - 2.0) / degrees)
    calm = _below_zero(degrees, scale, np.array([-probability * mean]))[0]
    node_N, weight_N = hermite_nodes()
    size_N = mean + deviation * node_N - probability * mean
    jumped = float(weight_N @ _below_zero(degrees, scale, size_N))
    return float((1.0 - probability) * calm + probability * jumped)


def _below_zero(degrees: float, scale: float, shift_N: Array) -> Array:
    """E[(s t + b)^2 1{s t + b < 0}] for Student's t, by its truncated moments."""
    bound = -shift_N / scale
    probability = stats.t.cdf(bound, degrees)
    first = -(degrees + bound**2) / (degrees - 1.0) * stats.t.pdf(bound, degrees)
    # With x below b: E x^2 = nu (nu - 1) / (nu - 2) F_{nu-2}(b sqrt((nu - 2) / nu)) - nu F_nu(b).
    inner = stats.t.cdf(bound * math.sqrt((degrees - 2.0) / degrees), degrees - 2.0)
    second = degrees * (degrees - 1.0) / (degrees - 2.0) * inner - degrees * probability
    return np.asarray(scale**2 * second + 2.0 * scale * shift_N * first + shift_N**2 * probability)


def persistence_matrix(transition_KK: Array, slope_K: Array, garch_K: Array) -> Array:
    """Return M (K K, K K) of the recursion of E[h_i 1{k}], i the variance, k the regime.

    E[h'_i 1{k' = j}] = sum_k P[k, j] (omega_i pi_k + beta_i E[h_i 1{k}] + a_i E[h_k 1{k}]),
    with a = alpha + gamma E[eta^2 1{eta < 0}]. Second moments exist where the spectral radius of M
    is below 1: Haas, Mittnik & Paolella (2004), J. Financial Econometrics 2. (Squared
    differences of the regimes' means, which are small beside h, are left out.)

    Args:
        transition_KK: P.
        slope_K: a.
        garch_K: beta.
    """
    size = len(slope_K)
    matrix = np.zeros((size, size, size, size))  # [j, i, k, l]: from h_l in k to h_i in j
    for regime in range(size):
        step_KK = np.diag(garch_K)
        step_KK[:, regime] += slope_K
        matrix[:, :, regime, :] = transition_KK[regime][:, None, None] * step_KK
    return matrix.reshape(size * size, size * size)


def persistence(matrix: Array) -> float:
    """Return the spectral radius: the share of a shock's variance that a bar hands on."""
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def stationary_variances(
    matrix: Array, transition_KK: Array, weight_K: Array, omega_K: Array
) -> tuple[Array, float]:
    """Return E h_k (K,), and E h of the regime that governs.

    Args:
        matrix: M, of spectral radius below 1.
        transition_KK: P.
        weight_K: stationary probabilities pi.
        omega_K: omega.
    """
    size = len(omega_K)
    arriving_K = weight_K @ transition_KK
    source = np.outer(arriving_K, omega_K).ravel()
    moment_KK = np.linalg.solve(np.eye(size * size) - matrix, source).reshape(size, size)
    return moment_KK.sum(axis=0), float(np.trace(moment_KK))

"""Growth-optimal (Kelly) weights under lognormal returns, by quadrature.

    w*(pi) = argmax  sum_k pi_k E_k log(1 + w'R)   subject to  sum_a |w_a| <= limit

Log utility is myopic, also where the regime is hidden: without costs the best weights maximise
the growth of the next bar under the present belief. In small steps and inside the limit they are
Merton's m / s^2. Source: Kelly (1956); Merton (1969); Algoet & Cover (1988) for the myopia.
"""

import math

import numpy as np
from numpy.typing import NDArray

from markets.synthetic.chain import SyntheticMarketError
from markets.synthetic.gbm_laws import Law

_NODES = {1: 49, 2: 12, 3: 8, 4: 6}
"""Nodes along each axis: the products stay within the 8 standard deviations that cannot ruin."""
MAX_ASSETS = max(_NODES)
"""Most assets for which the growth is integrated."""
_REACH = 7.8
"""Standard deviations that the nodes of one asset span on each side."""


def normal_nodes(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes and weights (Q,) of an expectation over a standard normal number.

    Of one asset by the trapezoid rule, which converges exponentially for Gaussian integrals, and
    keeps its precision where a Bayes update bends sharply with the return; in several dimensions
    by the few nodes of Gauss and Hermite.
    """
    if size == 1:
        node_Q = np.linspace(-_REACH, _REACH, _NODES[1])
        weight_Q = np.exp(-0.5 * node_Q**2)
    else:
        node_Q, weight_Q = np.polynomial.hermite_e.hermegauss(_NODES[size])
    return node_Q, weight_Q / weight_Q.sum()


def return_nodes(law: Law) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return simple returns (K, Q, A) and weights (Q,): E_k f(R) = sum_q weight_q f(R_kq).

    Raises:
        SyntheticMarketError: more assets than `MAX_ASSETS`.
    """
    size = law.num_assets
    if size > MAX_ASSETS:
        raise SyntheticMarketError(
            f"drift: expected at most {MAX_ASSETS} assets for growth-optimal weights, found {size}"
        )
    node, weight = normal_nodes(size)
    normal_QA = np.stack(np.meshgrid(*[node] * size, indexing="ij"), axis=-1).reshape(-1, size)
    weight_QA = np.stack(np.meshgrid(*[weight] * size, indexing="ij"), axis=-1)
    log_KQA = (
        law.log_drift_KA[:, None, :]
        + law.volatility_KA[:, None, :] * (normal_QA @ law.root_AA.T)[None]
    )
    return np.expm1(log_KQA), weight_QA.reshape(-1, size).prod(axis=1)


def growth(
    law: Law, belief_NK: NDArray[np.float64], weights_NA: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the expected log growth of the next bar without costs, (N,)."""
    return_KQA, weight_Q = return_nodes(law)
    gain_NKQ = np.einsum("na,kqa->nkq", weights_NA, return_KQA)
    expected: NDArray[np.float64] = np.einsum(
        "nk,nkq,q->n", belief_NK, np.log1p(gain_NKQ), weight_Q
    )
    return expected


def growth_optimal(law: Law, belief_NK: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Return the growth-optimal weights (N, A) of beliefs (N, K).

    Newton's method; where a step leaves the limit, the quadratic model is maximised inside it
    (sequential quadratic programming). The growth is concave, and near quadratic where returns
    cannot ruin, so that ten steps reach rounding.
    """
    return_KQA, weight_Q = return_nodes(law)
    weights_NA = np.zeros((len(belief_NK), law.num_assets))
    mass_NKQ = belief_NK[:, :, None] * weight_Q
    for _ in range(50):
        inverse_NKQ = 1.0 / (1.0 + np.einsum("na,kqa->nkq", weights_NA, return_KQA))
        slope_NA = np.einsum("nkq,kqa->na", mass_NKQ * inverse_NKQ, return_KQA)
        curvature_NAA = np.einsum(
            "nkq,kqa,kqb->nab", mass_NKQ * inverse_NKQ**2, return_KQA, return_KQA, optimize=True
        )
        moved_NA = _quadratic_step(weights_NA, slope_NA, curvature_NAA, limit)
        change = np.abs(moved_NA - weights_NA).max(initial=0.0)
        weights_NA = moved_NA
        if change < 1e-12:
            break
    return weights_NA


def _quadratic_step(
    weights_NA: NDArray[np.float64],
    slope_NA: NDArray[np.float64],
    curvature_NAA: NDArray[np.float64],
    limit: float,
) -> NDArray[np.float64]:
    """Return argmax over sum |v| <= limit of slope'(v - w) - (v - w)'curvature(v - w)/2."""
    moved_NA = weights_NA + np.linalg.solve(curvature_NAA, slope_NA[:, :, None])[:, :, 0]
    outside_N = np.abs(moved_NA).sum(axis=1) > limit
    if not outside_N.any():
        return moved_NA
    if weights_NA.shape[1] == 1:
        return np.clip(moved_NA, -limit, limit)
    base, slope, curvature = weights_NA[outside_N], slope_NA[outside_N], curvature_NAA[outside_N]
    step_N = 1.0 / np.linalg.eigvalsh(curvature)[:, -1:]
    value, ahead, momentum = base, base, 1.0
    # Nesterov's accelerated projected gradient.
    for _ in range(300):
        gradient = slope - np.einsum("nab,nb->na", curvature, ahead - base)
        following = project_gross(ahead + step_N * gradient, limit)
        later = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * momentum**2))
        ahead = following + (momentum - 1.0) / later * (following - value)
        value, momentum = following, later
    moved_NA[outside_N] = value
    return moved_NA


def project_gross(weights_NA: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Return the nearest weights with sum |w| <= limit (Duchi et al., 2008, figure 1)."""
    size_NA = np.abs(weights_NA)
    sorted_NA = -np.sort(-size_NA, axis=1)
    excess_NA = np.cumsum(sorted_NA, axis=1) - limit
    count_A = np.arange(1, weights_NA.shape[1] + 1)
    last_N = (sorted_NA * count_A > excess_NA).sum(axis=1)
    rows = np.arange(len(weights_NA))
    threshold_N = np.maximum(excess_NA[rows, last_N - 1] / last_N, 0.0)
    size_NA = np.maximum(size_NA - threshold_N[:, None], 0.0)
    projected_NA: NDArray[np.float64] = np.copysign(size_NA, weights_NA)
    return projected_NA

"""Quadratic trading of predictable assets under a Markov regime: the coupled matrix Riccati.

The problem, with x_t the holdings after the trade u_t = x_t - x_{t-1} at the close of bar t:

    maximise E sum_t delta^t [ x_t' B_k f_t - gamma/2 x_t' Sigma_k x_t - 1/2 u_t' Lambda_k u_t ]
    f_{t+1} = Phi_k f_t + noise,  Phi_k = diag(1 - phi_k),  noise variance Q_k = I - Phi_k^2
    k = k_t,  k_{t+1} ~ P[k_t, .]

Its value is quadratic, and its optimum a linear rule (a Markov jump linear system):

    V(x_{t-1}, f_t, k) = -1/2 x' A_k x + x' C_k f + 1/2 f' D_k f + d_k
    J_k = gamma Sigma_k + Lambda_k + delta sum_j P_kj A_j
    H_k = B_k + delta sum_j P_kj C_j Phi_k
    x_t = J_k^-1 (Lambda_k x_{t-1} + H_k f_t)

    A_k = Lambda_k - Lambda_k J_k^-1 Lambda_k
    C_k = Lambda_k J_k^-1 H_k
    D_k = H_k' J_k^-1 H_k + delta Phi_k (sum_j P_kj D_j) Phi_k
    d_k = delta ( 1/2 tr(Q_k sum_j P_kj D_j) + sum_j P_kj d_j )

Sources: Garleanu & Pedersen (2013), "Dynamic trading with predictable returns and transaction
costs", J. Finance 68, eqs. 6 to 16 (one regime); Costa, Fragoso & Marques (2005), "Discrete-time
Markov jump linear systems", chapter 4.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markets.synthetic.chain import SyntheticMarketError

Array = NDArray[np.float64]

TOLERANCE = 1e-14
"""Relative change of A_k at which the iteration has settled."""
MAX_ITERATIONS = 200_000
"""Iterations after which the recursion is given up."""


@dataclass(frozen=True)
class JumpSystem:
    """The problem's matrices; K regimes, A assets, S signals.

    Attributes:
        loading_KAS: B_k, expected price change of the next bar for a unit signal, currency.
        persistence_KS: Diagonal of Phi_k, in (-1, 1).
        covariance_KAA: Sigma_k of the price change of a bar, currency^2.
        cost_KAA: Lambda_k, currency / unit^2.
        risk_aversion: gamma, 1 / currency.
        discount: delta per bar, in (0, 1).
        transition_KK: P.
        start_K: Law of k_0; None = the stationary law of P.
    """

    loading_KAS: Array
    persistence_KS: Array
    covariance_KAA: Array
    cost_KAA: Array
    risk_aversion: float
    discount: float
    transition_KK: Array
    start_K: Array | None = None

    def __post_init__(self) -> None:
        """Make the matrices read-only."""
        for matrix in vars(self).values():
            if isinstance(matrix, np.ndarray):
                matrix.flags.writeable = False


@dataclass(frozen=True)
class Riccati:
    """The value function and the rule that attains it, named as in the module's equations.

    Attributes:
        holding_KAA: A_k, currency / unit^2.
        cross_KAS: C_k, currency / unit.
        signal_KSS: D_k, currency.
        constant_K: d_k, currency.
        curvature_KAA: J_k, currency / unit^2.
        pull_KAS: H_k, currency / unit.
    """

    holding_KAA: Array
    cross_KAS: Array
    signal_KSS: Array
    constant_K: Array
    curvature_KAA: Array
    pull_KAS: Array

    def value(self, holding_NA: Array, signal_NS: Array, regime_N: NDArray[np.int64]) -> Array:
        """Return V(x_{t-1}, f_t, k_t), (N,), the discounted sum of rewards to come, currency."""
        return np.asarray(
            -0.5 * _quadratic(holding_NA, self.holding_KAA[regime_N], holding_NA)
            + _quadratic(holding_NA, self.cross_KAS[regime_N], signal_NS)
            + 0.5 * _quadratic(signal_NS, self.signal_KSS[regime_N], signal_NS)
            + self.constant_K[regime_N]
        )

    def start_value(self, probability_K: Array) -> float:
        """Return E V(0, f, k) over f ~ N(0, I) and k ~ `probability_K`, currency."""
        traces_K = np.trace(self.signal_KSS, axis1=1, axis2=2)
        return float(probability_K @ (0.5 * traces_K + self.constant_K))


def solve(system: JumpSystem) -> Riccati:
    """Return the fixed point: A by iteration from zero, then C, D and d by linear equations.

    Raises:
        SyntheticMarketError: the iteration did not settle.
    """
    holding_KAA = _holding_matrix(system)
    curvature_KAA = _curvature(system, holding_KAA)
    cross_KAS = _cross_matrix(system, curvature_KAA)
    pull_KAS = _pull(system, cross_KAS)
    signal_KSS = _signal_matrix(system, curvature_KAA, pull_KAS)
    variance_KS = 1.0 - system.persistence_KS**2
    noise_K = 0.5 * np.einsum("ks,kss->k", variance_KS, _mix(system, signal_KSS))
    size = len(noise_K)
    constant_K = np.linalg.solve(
        np.eye(size) - system.discount * system.transition_KK, system.discount * noise_K
    )
    return Riccati(holding_KAA, cross_KAS, signal_KSS, constant_K, curvature_KAA, pull_KAS)


def bellman(system: JumpSystem, ahead: Riccati) -> Riccati:
    """Return the value with one more bar to go: one backward step of the module's equations.

    Iterated from `nothing(system)` it gives the finite-horizon values, which tend to `solve`'s.
    """
    curvature_KAA = _curvature(system, ahead.holding_KAA)
    pull_KAS = _pull(system, ahead.cross_KAS)
    persistence_KS = system.persistence_KS
    aim_KAS = np.linalg.solve(curvature_KAA, pull_KAS)
    mixed_KSS = _mix(system, ahead.signal_KSS)
    carried_KSS = persistence_KS[:, :, None] * mixed_KSS * persistence_KS[:, None, :]
    noise_K = 0.5 * np.einsum("ks,kss->k", 1.0 - persistence_KS**2, mixed_KSS)
    return Riccati(
        holding_KAA=_carried(system, curvature_KAA),
        cross_KAS=system.cost_KAA @ aim_KAS,
        signal_KSS=np.swapaxes(pull_KAS, 1, 2) @ aim_KAS + system.discount * carried_KSS,
        constant_K=system.discount * (noise_K + system.transition_KK @ ahead.constant_K),
        curvature_KAA=curvature_KAA,
        pull_KAS=pull_KAS,
    )


def nothing(system: JumpSystem) -> Riccati:
    """Return the value with no bar to go: zero."""
    num_regimes, num_assets, num_signals = system.loading_KAS.shape
    return Riccati(
        holding_KAA=np.zeros((num_regimes, num_assets, num_assets)),
        cross_KAS=np.zeros((num_regimes, num_assets, num_signals)),
        signal_KSS=np.zeros((num_regimes, num_signals, num_signals)),
        constant_K=np.zeros(num_regimes),
        curvature_KAA=np.zeros((num_regimes, num_assets, num_assets)),
        pull_KAS=np.zeros((num_regimes, num_assets, num_signals)),
    )


def _holding_matrix(system: JumpSystem) -> Array:
    holding_KAA = np.zeros_like(system.cost_KAA)
    for _ in range(MAX_ITERATIONS):
        updated_KAA = _carried(system, _curvature(system, holding_KAA))
        change = float(np.abs(updated_KAA - holding_KAA).max())
        holding_KAA = updated_KAA
        if change <= TOLERANCE * float(np.abs(holding_KAA).max()):
            return holding_KAA
    raise SyntheticMarketError(
        f"cost: expected a Riccati equation that settles within {MAX_ITERATIONS} iterations, "
        f"found a change of {change:.3g}"
    )


def _curvature(system: JumpSystem, holding_KAA: Array) -> Array:
    return np.asarray(
        system.risk_aversion * system.covariance_KAA
        + system.cost_KAA
        + system.discount * _mix(system, holding_KAA)
    )


def _pull(system: JumpSystem, cross_KAS: Array) -> Array:
    ahead_KAS = _mix(system, cross_KAS) * system.persistence_KS[:, None, :]
    return np.asarray(system.loading_KAS + system.discount * ahead_KAS)


def _carried(system: JumpSystem, curvature_KAA: Array) -> Array:
    # Lambda - Lambda J^-1 Lambda, written as Lambda J^-1 (J - Lambda): no cancellation.
    share_KAA = np.linalg.solve(curvature_KAA, curvature_KAA - system.cost_KAA)
    carried_KAA = system.cost_KAA @ share_KAA
    return np.asarray(0.5 * (carried_KAA + np.swapaxes(carried_KAA, 1, 2)))


def _cross_matrix(system: JumpSystem, curvature_KAA: Array) -> Array:
    # C_k = W_k (B_k + delta sum_j P_kj C_j Phi_k), W_k = Lambda_k J_k^-1: linear, one signal at
    # a time, in the K * A unknowns of its column.
    num_regimes, num_assets, num_signals = system.loading_KAS.shape
    weight_KAA = np.swapaxes(np.linalg.solve(curvature_KAA, system.cost_KAA), 1, 2)
    size = num_regimes * num_assets
    cross_KAS = np.empty((num_regimes, num_assets, num_signals))
    for signal in range(num_signals):
        link_KAKA = np.einsum(
            "k,kab,kj->kajb",
            system.discount * system.persistence_KS[:, signal],
            weight_KAA,
            system.transition_KK,
        )
        right_KA = np.einsum("kab,kb->ka", weight_KAA, system.loading_KAS[:, :, signal])
        solved = np.linalg.solve(np.eye(size) - link_KAKA.reshape(size, size), right_KA.ravel())
        cross_KAS[:, :, signal] = solved.reshape(num_regimes, num_assets)
    return cross_KAS


def _signal_matrix(system: JumpSystem, curvature_KAA: Array, pull_KAS: Array) -> Array:
    # D_k: linear in the K unknowns of each pair of signals.
    num_regimes, _, num_signals = pull_KAS.shape
    direct_KSS = np.swapaxes(pull_KAS, 1, 2) @ np.linalg.solve(curvature_KAA, pull_KAS)
    signal_KSS = np.empty_like(direct_KSS)
    for row in range(num_signals):
        for column in range(num_signals):
            both_K = system.persistence_KS[:, row] * system.persistence_KS[:, column]
            link_KK = system.discount * both_K[:, None] * system.transition_KK
            signal_KSS[:, row, column] = np.linalg.solve(
                np.eye(num_regimes) - link_KK, direct_KSS[:, row, column]
            )
    return signal_KSS


def _mix(system: JumpSystem, values_K: Array) -> Array:
    return np.asarray(np.tensordot(system.transition_KK, values_K, axes=1))


def _quadratic(left_NI: Array, middle_NIJ: Array, right_NJ: Array) -> Array:
    return np.asarray(np.einsum("ni,nij,nj->n", left_NI, middle_NIJ, right_NJ))

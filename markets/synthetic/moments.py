"""What a linear rule earns on a `JumpSystem`, exactly: by second moments, forward in time.

The rule trades to x_t = R_k x_{t-1} + G_k f_t, k = k_t. With z_t = (x_{t-1}, f_t) and
M_{t,k} = E[z_t z_t' 1{k_t = k}],

    z_{t+1} = F_k z_t + (0, noise),  F_k = [[R_k, G_k], [0, Phi_k]]
    M_{t+1,j} = sum_k P_kj (F_k M_{t,k} F_k' + p_{t,k} diag(0, I - Phi_k^2))
    E reward_t = sum_k tr(W_k M_{t,k}),  reward_t = z_t' W_k z_t

with p_t the law of k_t, which starts as the system says. Discounted, M and p stand for their
averages (1 - delta) sum_t delta^t. This runs forward where the Riccati equation
runs backward: the two agree on the oracle's value, and this one values every other rule too.

Source: Costa, Fragoso & Marques (2005), "Discrete-time Markov jump linear systems", chapter 3.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from markets.synthetic.chain import SyntheticMarketError, discounted_law, start_law
from markets.synthetic.riccati import JumpSystem, Riccati

Array = NDArray[np.float64]

TOLERANCE = 1e-13
"""Change of the moments, relative to the largest, at which the recursion has settled."""
MAX_ITERATIONS = 200_000
"""Bars after which the recursion is given up."""


class LinearRule(NamedTuple):
    """x_t = R_k x_{t-1} + G_k f_t."""

    carry_KAA: Array
    """R_k."""
    gain_KAS: Array
    """G_k, units for a unit signal."""

    @classmethod
    def of(cls, curvature_KAA: Array, cost_KAA: Array, pull_KAS: Array) -> Self:
        """Return R_k = J_k^-1 Lambda_k and G_k = J_k^-1 H_k."""
        return cls(
            np.asarray(np.linalg.solve(curvature_KAA, cost_KAA)),
            np.asarray(np.linalg.solve(curvature_KAA, pull_KAS)),
        )


def optimal_rule(system: JumpSystem, solution: Riccati) -> LinearRule:
    """Return the oracle's rule."""
    return LinearRule.of(solution.curvature_KAA, system.cost_KAA, solution.pull_KAS)


def discounted_reward(system: JumpSystem, rule: LinearRule) -> float:
    """Return (1 - delta) E sum_t delta^t reward_t from a flat start, currency a bar."""
    return _mean_reward(system, rule, _moments(system, rule, system.discount))


def stationary_reward(system: JumpSystem, rule: LinearRule) -> float:
    """Return E reward_t in the long run, currency a bar."""
    return _mean_reward(system, rule, _moments(system, rule, 1.0))


def holding_deviation(system: JumpSystem, rule: LinearRule) -> Array:
    """Return the stationary standard deviation of each asset's holding, (A,), units."""
    num_assets = rule.carry_KAA.shape[1]
    moment_ZZ = _moments(system, rule, 1.0).sum(axis=0)
    return np.asarray(np.sqrt(np.diagonal(moment_ZZ)[:num_assets]))


def _moments(system: JumpSystem, rule: LinearRule, discount: float) -> Array:
    """Return (1 - delta) sum_t delta^t M_t, (K, Z, Z); the limit of M_t where delta is 1."""
    motion_KZZ, noise_KZZ, start_KZZ = _motion(system, rule, discount)
    moment_KZZ = start_KZZ
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(MAX_ITERATIONS):
            moved_KZZ = motion_KZZ @ moment_KZZ @ np.swapaxes(motion_KZZ, 1, 2) + noise_KZZ
            mixed_KZZ = np.tensordot(system.transition_KK.T, moved_KZZ, axes=1)
            following_KZZ = (1.0 - discount) * start_KZZ + discount * mixed_KZZ
            change = float(np.abs(following_KZZ - moment_KZZ).max())
            moment_KZZ = following_KZZ
            if change <= TOLERANCE * float(np.abs(moment_KZZ).max()):
                return moment_KZZ
            if not np.isfinite(change):
                break
    raise SyntheticMarketError(
        f"rule: expected holdings whose variance settles within {MAX_ITERATIONS} bars, found a "
        f"change of {change:.3g} in the last"
    )


def _motion(system: JumpSystem, rule: LinearRule, discount: float) -> tuple[Array, Array, Array]:
    """Return F_k, p_k diag(0, I - Phi_k^2), and M_0 from a flat start; (K, Z, Z) each."""
    num_regimes, num_assets, num_signals = system.loading_KAS.shape
    size = num_assets + num_signals
    first_K = start_law(system.transition_KK, system.start_K)
    spent_K = discounted_law(system.transition_KK, system.start_K, discount)
    motion_KZZ = np.zeros((num_regimes, size, size))
    motion_KZZ[:, :num_assets, :num_assets] = rule.carry_KAA
    motion_KZZ[:, :num_assets, num_assets:] = rule.gain_KAS
    noise_KZZ = np.zeros_like(motion_KZZ)
    start_KZZ = np.zeros_like(motion_KZZ)
    for place, persistence_K in enumerate(system.persistence_KS.T, start=num_assets):
        motion_KZZ[:, place, place] = persistence_K
        noise_KZZ[:, place, place] = spent_K * (1.0 - persistence_K**2)
        start_KZZ[:, place, place] = first_K
    return motion_KZZ, noise_KZZ, start_KZZ


def _mean_reward(system: JumpSystem, rule: LinearRule, moment_KZZ: Array) -> float:
    """Return sum_k tr(W_k M_k): profit less risk less cost."""
    num_assets = rule.carry_KAA.shape[1]
    holding_KAZ = np.concatenate((rule.carry_KAA, rule.gain_KAS), axis=2)
    trade_KAZ = holding_KAZ.copy()
    trade_KAZ[:, :, :num_assets] -= np.eye(num_assets)
    drift_KAZ = np.zeros_like(holding_KAZ)
    drift_KAZ[:, :, num_assets:] = system.loading_KAS
    risk_KAZ = system.risk_aversion * (system.covariance_KAA @ holding_KAZ)
    reward_KZZ = np.swapaxes(holding_KAZ, 1, 2) @ (drift_KAZ - 0.5 * risk_KAZ)
    reward_KZZ -= 0.5 * np.swapaxes(trade_KAZ, 1, 2) @ (system.cost_KAA @ trade_KAZ)
    return float(np.einsum("kyz,kzy->", reward_KZZ, moment_KZZ))

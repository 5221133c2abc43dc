"""Compiled filter and expectation step of Markov-switching models with normal or t noise.

Both read one law of the observations: in regime k

    y_t = B_k [1, x_t] + e,   e ~ N(0, S_k), or t with nu degrees of freedom and scatter S_k.

Dimensions: T bars, D series, M regressors, P = 1 + M coefficients, K regimes, Q = P + D columns of
the rows z_t = [1, x_t, y_t].
"""

import math
from typing import NamedTuple

import numpy as np

from markets.compiled import kernel, separate
from regimes.base import Array

__all__ = ["Law", "Moments", "Room", "expect", "filter_rows", "law_of"]

FAR = 1e150
"""Largest whitened residual, so that its square is finite: beyond it regimes look alike."""


class Law(NamedTuple):
    """What the compiled functions read of a model; C-contiguous and writable."""

    transition_KK: Array
    """P[k, j] = P(next = j | now = k)."""
    loading_KDP: Array
    """B_k, the first column the intercept."""
    root_KDD: Array
    """Lower Cholesky root of S_k."""
    offset_K: Array
    """Log density at the centre."""
    nu: float
    """Degrees of freedom; infinite: normal."""


class Moments(NamedTuple):
    """What the maximisation step reads."""

    moment_KQQ: Array
    """sum_t gamma_tk u_tk z_t z_t', u the weights of the t distribution (1 of the normal)."""
    mass_K: Array
    """sum_t gamma_tk over the bars with an observation."""
    count_KK: Array
    """Expected transitions."""


class Room(NamedTuple):
    """Working memory of the expectation step."""

    forward_TK: Array
    density_TK: Array
    weight_TK: Array
    white_D: Array
    row_Q: Array


def law_of(transition_KK: Array, loading_KDP: Array, scatter_KDD: Array, nu: float) -> Law:
    """Build a law.

    Raises:
        numpy.linalg.LinAlgError: a scatter is not positive definite.
    """
    root_KDD = np.linalg.cholesky(scatter_KDD)
    size = root_KDD.shape[1]
    if math.isinf(nu):
        constant = -0.5 * size * math.log(2.0 * math.pi)
    else:
        constant = math.lgamma(0.5 * (nu + size)) - math.lgamma(0.5 * nu)
        constant -= 0.5 * size * math.log(nu * math.pi)
    offset_K = constant - np.log(np.diagonal(root_KDD, axis1=1, axis2=2)).sum(axis=1)
    # Copies, as compiled functions take what may be written only.
    return Law(
        transition_KK=np.array(transition_KK, order="C"),
        loading_KDP=np.array(loading_KDP, order="C"),
        root_KDD=np.array(root_KDD, order="C"),
        offset_K=np.array(offset_K, order="C"),
        nu=float(nu),
    )


@separate
def _seen(y_TD: Array, x_TM: Array, row: int) -> bool:
    """Tell whether a bar has an observation."""
    for series in range(y_TD.shape[1]):
        if not math.isfinite(y_TD[row, series]):
            return False
    for regressor in range(x_TM.shape[1]):  # noqa: SIM110 - compiled without allocation
        if not math.isfinite(x_TM[row, regressor]):
            return False
    return True


@separate
def _distance(y_TD: Array, x_TM: Array, row: int, regime: int, law: Law, white_D: Array) -> float:
    """Return the squared Mahalanobis distance of a bar from a regime's centre."""
    loading_KDP, root_KDD = law.loading_KDP, law.root_KDD
    total = 0.0
    for series in range(y_TD.shape[1]):
        rest = y_TD[row, series] - loading_KDP[regime, series, 0]
        for regressor in range(x_TM.shape[1]):
            rest -= loading_KDP[regime, series, 1 + regressor] * x_TM[row, regressor]
        for earlier in range(series):
            rest -= root_KDD[regime, series, earlier] * white_D[earlier]
        rest /= root_KDD[regime, series, series]
        if not abs(rest) < FAR:
            rest = math.copysign(FAR, rest)
        white_D[series] = rest
        total += rest * rest
    return total


@separate
def _log_density(distance: float, regime: int, size: int, law: Law) -> float:
    """Return log p(y | regime) from the squared distance."""
    if math.isinf(law.nu):
        return float(law.offset_K[regime] - 0.5 * distance)
    return float(law.offset_K[regime] - 0.5 * (law.nu + size) * math.log1p(distance / law.nu))


@kernel
def filter_rows(
    y_TD: Array,
    x_TM: Array,
    law: Law,
    belief_K: Array,
    scratch_Z: Array,
    belief_TK: Array,
    score_T: Array,
) -> None:
    """Take in T bars: update the belief by the density of each, then predict the next regime.

    Args:
        y_TD: series.
        x_TM: regressors.
        law: the model.
        belief_K: probabilities of the regime that governs the first of the bars, changed into
            those of the regime that governs the bar after the last.
        scratch_Z: room for K + D numbers.
        belief_TK: beliefs after each bar, written.
        score_T: log p(y_t | all before), written; 0 for a bar without an observation.
    """
    regimes, size = len(belief_K), y_TD.shape[1]
    weight_K, white_D = scratch_Z[:regimes], scratch_Z[regimes:]
    for row in range(len(y_TD)):
        score_T[row] = 0.0
        if _seen(y_TD, x_TM, row):
            # The largest among the regimes that are possible: the sum below cannot be 0.
            highest = -math.inf
            for regime in range(regimes):
                distance = _distance(y_TD, x_TM, row, regime, law, white_D)
                weight_K[regime] = _log_density(distance, regime, size, law)
                if belief_K[regime] > 0.0:
                    highest = max(highest, weight_K[regime])
            total = 0.0
            for regime in range(regimes):
                if belief_K[regime] > 0.0:
                    belief_K[regime] *= math.exp(weight_K[regime] - highest)
                    total += belief_K[regime]
            score_T[row] = highest + math.log(total)
            for regime in range(regimes):
                belief_K[regime] /= total
        _predict(law.transition_KK, belief_K, weight_K)
        for regime in range(regimes):
            belief_TK[row, regime] = belief_K[regime]


@separate
def _predict(transition_KK: Array, belief_K: Array, next_K: Array) -> None:
    """Move a belief by one transition, in place; its sum is made 1 again."""
    total = 0.0
    for following in range(len(belief_K)):
        mass = 0.0
        for regime in range(len(belief_K)):
            mass += belief_K[regime] * transition_KK[regime, following]
        next_K[following] = mass
        total += mass
    for regime in range(len(belief_K)):
        belief_K[regime] = next_K[regime] / total


@kernel
def expect(y_TD: Array, x_TM: Array, law: Law, room: Room, moments: Moments) -> float:
    """Run the scaled forward-backward recursion; every transition must have a probability > 0.

    Source: Rabiner (1989), Proc. IEEE 77, section V-A (scaling); Peel & McLachlan (2000),
    Statistics and Computing 10 (weights of the t distribution).

    Args:
        y_TD: series.
        x_TM: regressors.
        law: the model; the regime of the first bar is drawn uniformly.
        room: working memory; holds afterwards in `weight_TK` gamma_tk u_tk.
        moments: written.

    Returns:
        The log likelihood.
    """
    score = 0.0
    for row in range(len(y_TD)):
        score += _densities(y_TD, x_TM, row, law, room)
        score += _forward(row, law.transition_KK, room)
    moments.moment_KQQ[:] = 0.0
    moments.mass_K[:] = 0.0
    moments.count_KK[:] = 0.0
    last = len(y_TD) - 1
    for row in range(last, -1, -1):
        _backward(row, last, law.transition_KK, room, moments.count_KK)
        _collect(y_TD, x_TM, row, room, moments)
    _mirror(moments.moment_KQQ)
    return score


@separate
def _densities(y_TD: Array, x_TM: Array, row: int, law: Law, room: Room) -> float:
    """Write a bar's densities over their largest, and its weights; return the largest's log."""
    density_TK, weight_TK = room.density_TK, room.weight_TK
    regimes, size = density_TK.shape[1], y_TD.shape[1]
    if not _seen(y_TD, x_TM, row):
        for regime in range(regimes):
            density_TK[row, regime] = 1.0
            weight_TK[row, regime] = 0.0
        return 0.0
    highest = -math.inf
    for regime in range(regimes):
        distance = _distance(y_TD, x_TM, row, regime, law, room.white_D)
        density_TK[row, regime] = _log_density(distance, regime, size, law)
        highest = max(highest, density_TK[row, regime])
        weight_TK[row, regime] = 1.0
        if not math.isinf(law.nu):
            weight_TK[row, regime] = (law.nu + size) / (law.nu + distance)
    for regime in range(regimes):
        density_TK[row, regime] = math.exp(density_TK[row, regime] - highest)
    return highest


@separate
def _forward(row: int, transition_KK: Array, room: Room) -> float:
    """Write a bar's filtered probabilities; return the log of what they were divided by."""
    forward_TK = room.forward_TK
    regimes = len(transition_KK)
    total = 0.0
    for regime in range(regimes):
        mass = 1.0 / regimes
        if row > 0:
            mass = 0.0
            for before in range(regimes):
                mass += forward_TK[row - 1, before] * transition_KK[before, regime]
        forward_TK[row, regime] = mass * room.density_TK[row, regime]
        total += forward_TK[row, regime]
    for regime in range(regimes):
        forward_TK[row, regime] /= total
    return math.log(total)


@separate
def _backward(row: int, last: int, transition_KK: Array, room: Room, count_KK: Array) -> None:
    """Turn a bar's filtered probabilities into smoothed ones, and count transitions to the next.

    The densities of the bars behind are multiplied by the backward variables on the way.
    """
    forward_TK, density_TK = room.forward_TK, room.density_TK
    regimes = len(transition_KK)
    if row == last:
        return
    total = 0.0
    for regime in range(regimes):
        for following in range(regimes):
            total += (
                forward_TK[row, regime]
                * transition_KK[regime, following]
                * density_TK[row + 1, following]
            )
    for regime in range(regimes):
        behind = 0.0
        for following in range(regimes):
            part = transition_KK[regime, following] * density_TK[row + 1, following] / total
            count_KK[regime, following] += forward_TK[row, regime] * part
            behind += part
        forward_TK[row, regime] *= behind
        density_TK[row, regime] *= behind


@separate
def _collect(y_TD: Array, x_TM: Array, row: int, room: Room, moments: Moments) -> None:
    """Add a bar with an observation to the moments, of which the lower triangles are written."""
    weight_TK, row_Q, moment_KQQ = room.weight_TK, room.row_Q, moments.moment_KQQ
    regimes, columns = len(moment_KQQ), moment_KQQ.shape[1]
    if weight_TK[row, 0] == 0.0:
        return
    for regime in range(regimes):
        moments.mass_K[regime] += room.forward_TK[row, regime]
        weight_TK[row, regime] *= room.forward_TK[row, regime]
    for column in range(columns):
        row_Q[column] = _column(y_TD, x_TM, row, column)
    for regime in range(regimes):
        for first in range(columns):
            part = weight_TK[row, regime] * row_Q[first]
            for second in range(first + 1):
                moment_KQQ[regime, first, second] += part * row_Q[second]


@separate
def _mirror(moment_KQQ: Array) -> None:
    """Write the upper triangles, equal to the lower ones."""
    regimes, columns = moment_KQQ.shape[:2]
    for regime in range(regimes):
        for first in range(columns):
            for second in range(first):
                moment_KQQ[regime, second, first] = moment_KQQ[regime, first, second]


@separate
def _column(y_TD: Array, x_TM: Array, row: int, column: int) -> float:
    """Return an entry of z_t = [1, x_t, y_t]."""
    if column == 0:
        return 1.0
    if column <= x_TM.shape[1]:
        return float(x_TM[row, column - 1])
    return float(y_TD[row, column - 1 - x_TM.shape[1]])

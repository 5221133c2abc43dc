r"""What detectors on trailing statistics share: fit data that are checked, windows, descriptors.

Every statistic is of the mean return of a bar over its series, standardised by its mean and
standard deviation in the training span and bounded to `BOUND` of them, so that sums of squares
stay finite for every finite observation.
"""

import dataclasses
import math
import warnings
from typing import TypeVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from threadpoolctl import threadpool_limits

from features.blocks import ring_count, ring_deviation, ring_mean, ring_push, ring_size
from markets.compiled import kernel, separate
from regimes.base import Array, Observations, RegimeError
from regimes.trailing_model import ArrayModel

__all__ = [
    "BOUND",
    "FLOOR",
    "class_probabilities",
    "described",
    "mean_scale",
    "quiet_fit",
    "require_window_state",
    "require_windows",
    "standard_mean",
    "training_rows",
    "window_features",
    "window_memory",
    "window_statistics",
]

BOUND = 1e6
"""Largest standardised observation, in standard deviations of the training span."""
FLOOR = 1e-3
"""Smallest trailing volatility, in standard deviations of the training span."""
LONGEST = 1000
"""Longest window, bars."""
COLLINEAR = 1e-10
"""Least eigenvalue of the correlation matrix of series that are not collinear."""

ModelT = TypeVar("ModelT", bound=ArrayModel)
MixtureT = TypeVar("MixtureT", BayesianGaussianMixture, GaussianMixture)


def training_rows(train: Observations, least: int) -> Array:
    """Rows with an observation, (n, D), after the checks that every fit makes.

    Args:
        train: the training span.
        least: number of observed bars that the fit needs.

    Raises:
        RegimeError: too few bars, a constant series or collinear series.
    """
    y_ND = train.y_TD[train.seen]
    if len(y_ND) < least:
        raise RegimeError(
            f"training span: expected >= {least} bars with an observation, found {len(y_ND)}"
        )
    y_ND = y_ND / np.maximum(np.abs(y_ND).max(axis=0), np.finfo(np.float64).tiny)
    spread_D = y_ND.std(axis=0)
    if (spread_D <= 1e-12).any():
        column = int(np.argmin(spread_D))
        raise RegimeError(f"training span: expected a series that varies, y[:, {column}] does not")
    if y_ND.shape[1] > 1:
        least_eigenvalue = float(np.linalg.eigvalsh(np.corrcoef(y_ND.T))[0])
        if least_eigenvalue < COLLINEAR:
            raise RegimeError(
                "training span: expected series that are not collinear, found a correlation "
                f"matrix with the eigenvalue {least_eigenvalue:.1e}"
            )
    return train.y_TD[train.seen]


def mean_scale(y_ND: Array) -> tuple[float, float]:
    """Mean and standard deviation of the mean return.

    Raises:
        RegimeError: the mean return is constant, or too large for its square to be a number.
    """
    mean_N = y_ND.mean(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        centre, scale = float(mean_N.mean()), float(mean_N.std())
    if not (math.isfinite(scale) and scale > 1e-12 * float(np.abs(mean_N).max())):
        raise RegimeError(
            f"training span: expected a mean return that varies, found a deviation of {scale}"
        )
    return centre, scale


@separate
def standard_mean(y_TD: Array, row: int, centre: float, scale: float) -> float:
    """Mean of a row, standardised and bounded; NaN where a number of the row is not finite."""
    total = 0.0
    for column in range(y_TD.shape[1]):
        if not math.isfinite(y_TD[row, column]):
            return np.nan
        total += y_TD[row, column] / y_TD.shape[1]
    return min(max((total - centre) / scale, -BOUND), BOUND)


def window_memory(fast: int, slow: int) -> int:
    """Numbers of state of `window_statistics`."""
    return ring_size(fast) + ring_size(slow)


def require_windows(kind: str, windows_W: Array) -> None:
    """Refuse windows of a stored model that no configuration has.

    Raises:
        RegimeError: not two whole numbers of bars within the limits.
    """
    fits = windows_W.shape == (2,) and (windows_W == np.round(windows_W)).all()
    if not (fits and (windows_W >= 2.0).all() and (windows_W <= LONGEST).all()):
        raise RegimeError(
            f"{kind}: windows_W: expected two windows of 2 to {LONGEST} bars, found {windows_W}"
        )


def require_window_state(kind: str, state_S: Array, at: int, windows_W: Array) -> None:
    """Refuse a state in which the windows of `window_statistics` have no such places.

    Raises:
        RegimeError: a number of values kept, or the place of the next, is out of range.
    """
    for window in (int(windows_W[0]), int(windows_W[1])):
        kept, place = float(state_S[at]), float(state_S[at + 1])
        if not (0.0 <= kept <= window and 0.0 <= place < window):
            raise RegimeError(
                f"{kind}: state: expected a place in a window of {window} bars, found {place} "
                f"with {kept} kept"
            )
        at += ring_size(window)


@separate
def window_statistics(
    state_S: Array, at: int, windows_W: Array, value: float, out_F: Array
) -> bool:
    """Take in a value; mean and log deviation over a fast and a slow window.

    Args:
        state_S: the state, (S,); the windows lie in it from `at` on.
        at: where they begin.
        windows_W: bars of the fast and of the slow window, (2,).
        value: standardised return of the bar.
        out_F: receives (fast mean, fast log deviation, slow mean, slow log deviation).

    Returns:
        Whether both windows are full; `out_F` is not written before.
    """
    fast, slow = int(windows_W[0]), int(windows_W[1])
    after = at + fast + 2
    ring_push(state_S, at, fast, value)
    ring_push(state_S, after, slow, value)
    if ring_count(state_S, after) < slow or ring_count(state_S, at) < fast:
        return False
    out_F[0] = ring_mean(state_S, at, fast)
    out_F[1] = math.log(max(ring_deviation(state_S, at, fast, 0), FLOOR))
    out_F[2] = ring_mean(state_S, after, slow)
    out_F[3] = math.log(max(ring_deviation(state_S, after, slow, 0), FLOOR))
    return True


@separate
def class_probabilities(point_F: Array, classes: tuple[Array, Array, Array], out_K: Array) -> None:
    r"""Write :math:`p_k \propto \exp(o_k - \tfrac12 |(x - m_k) R_k|^2)` to the first K places.

    Args:
        point_F: the point x, finite and small enough for its square.
        classes: log weights and log densities at the centres o, (K,); the centres m, (K, F); and
            R, upper roots of the precisions, :math:`R R' = \Sigma^{-1}`, (K, F, F).
        out_K: receives the probabilities.
    """
    offset_K, mean_KF, root_KFG = classes
    count, size = mean_KF.shape
    highest = -math.inf
    for regime in range(count):
        squares = 0.0
        for column in range(size):
            rest = 0.0
            for feature in range(column + 1):
                gap = point_F[feature] - mean_KF[regime, feature]
                rest += gap * root_KFG[regime, feature, column]
            squares += rest * rest
        out_K[regime] = offset_K[regime] - 0.5 * squares
        highest = max(highest, out_K[regime])
    total = 0.0
    for regime in range(count):
        out_K[regime] = math.exp(out_K[regime] - highest)
        total += out_K[regime]
    for regime in range(count):
        out_K[regime] /= total


def quiet_fit(mixture: MixtureT, points_NF: Array, what: str) -> MixtureT:
    """Fit a mixture of scikit-learn; with ten times the iterations where it did not converge.

    It runs on one thread: the matrices have a handful of columns, and more threads wait for each
    other, at ten times the CPU time of the fit.

    Raises:
        RegimeError: it did not converge, or diverged; `what` begins the text.
    """
    for _ in range(2):
        with warnings.catch_warnings(), threadpool_limits(1):
            # Told by `converged_`, and by k-means of the start, whose result is only a start.
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                mixture.fit(points_NF)
            except ValueError as error:
                raise RegimeError(f"{what}: the fit diverged ({error})") from error
        if mixture.converged_:
            return mixture
        mixture.max_iter *= 10
    raise RegimeError(f"{what}: expected to converge in {mixture.max_iter // 10} iterations")


def described(model: ModelT, train: Observations) -> ModelT:
    r"""The model with descriptors measured on the training span.

    The return of a bar is weighted by the belief of the bar *before* it, which by the convention
    of `regimes.base` is about that very bar; nothing of the bar selects it. With w its weight and
    one bar of the whole sample added, so that an empty regime has the sample's moments:
    :math:`m_k = (\sum_t w_{t-1,k}\, y_t + \bar y) / (\sum_t w_{t-1,k} + 1)`, the variance alike.
    """
    belief_TK = model.filter(train)
    seen_T = train.seen
    weight_NK, y_N = belief_TK[:-1][seen_T[1:]], train.mean[1:][seen_T[1:]]
    sample = train.mean[seen_T]
    total_K = weight_NK.sum(axis=0) + 1.0
    drift_K = (weight_NK.T @ y_N + sample.mean()) / total_K
    squares_NK = (y_N[:, None] - drift_K) ** 2
    variance_K = ((weight_NK * squares_NK).sum(axis=0) + sample.var()) / total_K
    return dataclasses.replace(
        model,
        start_K=belief_TK[seen_T].mean(axis=0) / belief_TK[seen_T].mean(axis=0).sum(),
        drift_K=drift_K,
        volatility_K=np.sqrt(variance_K),
        transition_KK=counted_transition(belief_TK),
    )


def counted_transition(belief_TK: Array) -> Array:
    """Transitions of the most likely regimes plus one half a pair, as probabilities, (K, K)."""
    num_regimes = belief_TK.shape[1]
    label_T = belief_TK.argmax(axis=1)
    count_KK = np.full((num_regimes, num_regimes), 0.5)
    np.add.at(count_KK, (label_T[:-1], label_T[1:]), 1.0)
    transition_KK: Array = count_KK / count_KK.sum(axis=1, keepdims=True)
    return transition_KK


def window_features(y_ND: Array, windows_W: Array, centre: float, scale: float) -> Array:
    """Statistics of `window_statistics` at every bar at which the windows are full, (n, 4)."""
    statistics_NF = np.full((len(y_ND), 4), np.nan)
    state_S = np.zeros(window_memory(int(windows_W[0]), int(windows_W[1])))
    _window_rows(np.array(y_ND, order="C"), windows_W, centre, scale, state_S, statistics_NF)
    full_NF: Array = statistics_NF[np.isfinite(statistics_NF).all(axis=1)]
    return full_NF


@kernel
def _window_rows(
    y_TD: Array, windows_W: Array, centre: float, scale: float, state_S: Array, out_TF: Array
) -> None:
    for row in range(len(y_TD)):
        value = standard_mean(y_TD, row, centre, scale)
        if not np.isnan(value):
            window_statistics(state_S, 0, windows_W, value, out_TF[row])

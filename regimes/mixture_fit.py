r"""Dirichlet-process Gaussian mixtures, fitted by scikit-learn's variational Bayes.

Source: Blei & Jordan (2006), Bayesian Analysis 1, as in `sklearn.mixture.BayesianGaussianMixture`.
Points are standardised before the fit: priors are in standard deviations.

Dimensions: n points, F features, K components.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import digamma
from sklearn.mixture import BayesianGaussianMixture

from regimes.base import Array, RegimeError
from regimes.trailing import quiet_fit

__all__ = ["Components", "MixtureSettings", "Standard", "fitted_components"]

TOLERANCE = 1e-4
"""Gain of the lower bound at which a fit ends, a tenth of scikit-learn's, so that a warm refit
begins where nothing moves by itself."""


@dataclass(frozen=True)
class MixtureSettings:
    """What the fit is told."""

    max_components: int
    concentration: float
    least_weight: float
    num_starts: int


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of each feature in the training span."""

    shift_F: Array
    spread_F: Array

    @classmethod
    def of(cls, points_NF: Array) -> "Standard":
        """Measure them.

        Raises:
            RegimeError: a feature does not vary, or is too large for its square to be a number.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            standard = cls(points_NF.mean(axis=0), points_NF.std(axis=0))
        varies_F = standard.spread_F > 1e-12 * np.abs(points_NF).max(axis=0)
        if not (varies_F & np.isfinite(standard.spread_F)).all():
            raise RegimeError(
                f"training span: expected features that vary, found deviations {standard.spread_F}"
            )
        return standard

    @classmethod
    def none(cls, features: int) -> "Standard":
        """The one that changes nothing."""
        return cls(np.zeros(features), np.ones(features))

    def applied(self, points_NF: Array) -> Array:
        """Standardised points."""
        scaled_NF: Array = (points_NF - self.shift_F) / self.spread_F
        return scaled_NF


@dataclass(frozen=True)
class Components:
    """Components of a fitted mixture, in units of the points unless `standardised`."""

    weight_K: Array
    """Shares, that sum to 1."""
    offset_K: Array
    """Expected log weight and log density at the centre, as in scikit-learn's responsibilities."""
    mean_KF: Array
    covariance_KFF: Array

    def __len__(self) -> int:
        return len(self.weight_K)

    def precision_roots(self) -> Array:
        """Upper roots of the precisions, (K, F, F): R R' is the inverse of the covariance."""
        eye_FF = np.eye(self.mean_KF.shape[1])
        return np.array(
            [
                solve_triangular(np.linalg.cholesky(covariance_FF), eye_FF, lower=True).T
                for covariance_FF in self.covariance_KFF
            ]
        )

    def moved(self, before: Standard, after: Standard | None) -> "Components":
        """The same components from one standardisation into another (None: into raw units)."""
        shift_F, spread_F = before.shift_F, before.spread_F
        if after is not None:
            shift_F, spread_F = (
                (shift_F - after.shift_F) / after.spread_F,
                spread_F / after.spread_F,
            )
        return Components(
            self.weight_K,
            self.offset_K,
            shift_F + spread_F * self.mean_KF,
            self.covariance_KFF * np.outer(spread_F, spread_F),
        )


def fitted_components(
    points_NF: Array, settings: MixtureSettings, start: Components | None, seed: int
) -> Components:
    """Fit a mixture and drop its light components.

    Args:
        points_NF: standardised points.
        settings: see there.
        start: where a warm fit begins, standardised alike; its components keep their order, and
            as many empty ones are added as there is room for. None = k-means of random starts.
        seed: of the random starts.

    Raises:
        RegimeError: too few points, or no convergence.
    """
    mixture = BayesianGaussianMixture(
        n_components=settings.max_components,
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=settings.concentration,
        n_init=settings.num_starts,
        max_iter=1000,
        tol=TOLERANCE,
        random_state=seed,
    )
    if start is not None:
        _begin_at(mixture, start, points_NF)
    quiet_fit(mixture, points_NF, "the Dirichlet-process mixture")
    kept_K = mixture.weights_ >= min(settings.least_weight, mixture.weights_.max())
    return Components(
        mixture.weights_[kept_K] / mixture.weights_[kept_K].sum(),
        _offsets(mixture)[kept_K],
        mixture.means_[kept_K],
        mixture.covariances_[kept_K],
    )


def _begin_at(mixture: BayesianGaussianMixture, start: Components, points_NF: Array) -> None:
    """Give an unfitted mixture the posterior that `start` would have in as many points.

    scikit-learn continues at a mixture's own attributes when `warm_start` is set.
    """
    size, features = points_NF.shape
    extra = mixture.n_components - len(start)
    if extra < 0:
        raise RegimeError(
            f"warm: expected <= {mixture.n_components} components, found {len(start)}"
        )
    count_K = np.concatenate((size * start.weight_K, np.zeros(extra)))
    behind_K = np.cumsum(count_K[::-1])[::-1] - count_K
    prior_FF = np.atleast_2d(np.cov(points_NF.T))
    mixture.weight_concentration_ = (
        1.0 + count_K,
        mixture.weight_concentration_prior + behind_K,
    )
    mixture.mean_precision_ = 1.0 + count_K
    mixture.degrees_of_freedom_ = features + count_K
    mixture.means_ = np.concatenate((start.mean_KF, np.zeros((extra, features))))
    mixture.covariances_ = np.concatenate((start.covariance_KFF, np.tile(prior_FF, (extra, 1, 1))))
    mixture.covariances_[len(start) :] /= features
    padded = Components(count_K, count_K, mixture.means_, mixture.covariances_)
    mixture.precisions_cholesky_ = padded.precision_roots()
    mixture.lower_bound_ = -math.inf
    mixture.converged_ = False
    mixture.warm_start = True


def _offsets(mixture: BayesianGaussianMixture) -> Array:
    """Log responsibilities at the centres, up to a constant, (K,).

    Bishop (2006), Pattern Recognition and Machine Learning, (10.46), (10.64) and (10.65), with the
    stick-breaking expectation of the weights (Blei & Jordan 2006, section 4).
    """
    features = mixture.means_.shape[1]
    stick_K, rest_K = mixture.weight_concentration_
    total_K = digamma(stick_K + rest_K)
    before_K = np.concatenate(([0.0], np.cumsum(digamma(rest_K) - total_K)[:-1]))
    log_weight_K = digamma(stick_K) - total_K + before_K
    roots_KF = np.diagonal(mixture.precisions_cholesky_, axis1=1, axis2=2)
    freedom_K = mixture.degrees_of_freedom_
    halves_FK = 0.5 * (freedom_K - np.arange(features)[:, None])
    log_lambda_K = features * math.log(2.0) + digamma(halves_FK).sum(axis=0)
    offset_K: Array = (
        log_weight_K
        + np.log(roots_KF).sum(axis=1)
        - 0.5 * features * np.log(freedom_K)
        + 0.5 * (log_lambda_K - features / mixture.mean_precision_)
    )
    return offset_K

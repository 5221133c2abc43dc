"""A fitted Markov-switching model and its causal filter."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from markets.synthetic.chain import stationary
from regimes.base import Array, Observations, RegimeError
from regimes.hmm_kernel import Law, filter_rows, law_of

__all__ = ["GaussianHMM", "MarkovSwitching", "StudentHMM", "SwitchingRegression"]

TOLERANCE = 1e-9
"""Largest deviation of a sum of probabilities from 1."""


@dataclass(frozen=True, eq=False)
class MarkovSwitching:
    """Regimes that follow a Markov chain, each with its own law of the next bar.

    With k = k_{t-1}, the regime that governs bar t, and regressors x_t known before it

        y_t = B_k [1, x_t] + e,   e ~ N(0, S_k), or t with nu degrees of freedom and scatter S_k.

    The filter is Hamilton's (1989, Econometrica 57, eq. 4): the belief is multiplied by the
    densities of the bar, normalised, and predicted one transition. Nothing is smoothed.

    Dimensions: K regimes, D series, M regressors, P = 1 + M.

    Raises:
        RegimeError: shapes that do not fit, probabilities that do not sum to 1, a scatter or a
            covariance that is not positive definite, nu <= 2, or numbers that are not finite.
    """

    kind: ClassVar[str]
    """Discriminator, the same as its configuration's."""

    loading_KDP: Array
    """B_k; the first column is the intercept."""
    scatter_KDD: Array
    """S_k: the covariance of e where it is normal, else that times (nu - 2) / nu."""
    transition: Array
    """P[k, j] = P(k_{t+1} = j | k_t = k), (K, K)."""
    start_K: Array
    """Belief of a filter that has seen nothing: of the regime that governs the first bar."""
    regressor_mean_M: Array
    """Mean of the regressors in the sample, for `drift`."""
    regressor_covariance_MM: Array
    """Their covariance, for `volatility`."""
    nu: float = math.inf
    """Degrees of freedom of the noise, > 2; infinite: normal."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "nu":
                array = np.array(getattr(self, field.name), dtype=np.float64, order="C")
                array.flags.writeable = False
                object.__setattr__(self, field.name, array)
        self._check_shapes()
        _check_probabilities("transition", self.transition)
        _check_probabilities("start", self.start_K[None])
        _check_numbers(self)
        _ = self._law

    def _check_shapes(self) -> None:
        if self.loading_KDP.ndim != 3 or 0 in self.loading_KDP.shape:
            raise RegimeError(
                f"loading: expected shape (K, D, 1 + M), found {self.loading_KDP.shape}"
            )
        regimes, size, inputs = self.loading_KDP.shape
        expected = {
            "scatter_KDD": (regimes, size, size),
            "transition": (regimes, regimes),
            "start_K": (regimes,),
            "regressor_mean_M": (inputs - 1,),
            "regressor_covariance_MM": (inputs - 1, inputs - 1),
        }
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise RegimeError(f"{name}: expected shape {shape}, found {found}")

    @classmethod
    def from_parameters(
        cls,
        *,
        transition: ArrayLike,
        mean: ArrayLike,
        covariance: ArrayLike,
        loadings: ArrayLike | None = None,
        nu: float = math.inf,
        start: ArrayLike | None = None,
    ) -> Self:
        """Build a model from known parameters: the oracle filter of a market that is simulated.

        Args:
            transition: P[k, j] = P(k_{t+1} = j | k_t = k), (K, K).
            mean: intercept of each regime, (K, D), or (K,) for one series.
            covariance: of the noise (not the scatter), (K, D, D), or variances (K,) for one series.
            loadings: of the regressors, (K, D, M), or (K, M) for one series; None = no regressors.
                Their sample is then taken to have mean 0, variance 1 and no correlation.
            nu: degrees of freedom of the noise, > 2; infinite: normal. Its covariance is
                `covariance` all the same.
            start: belief before the first bar, (K,); None = the stationary law.

        Raises:
            RegimeError: see the class.
        """
        mean_KD = np.array(mean, dtype=np.float64)
        mean_KD = mean_KD[:, None] if mean_KD.ndim == 1 else mean_KD
        covariance_KDD = np.array(covariance, dtype=np.float64)
        if covariance_KDD.ndim == 1:
            covariance_KDD = covariance_KDD[:, None, None]
        loading_KDM = np.zeros((*mean_KD.shape, 0))
        if loadings is not None:
            loading_KDM = np.array(loadings, dtype=np.float64)
        if loading_KDM.ndim == 2:
            loading_KDM = loading_KDM[:, None, :]
        if mean_KD.ndim != 2 or loading_KDM.shape[:2] != mean_KD.shape:
            raise RegimeError(
                f"mean, loadings: expected shapes (K, D) and (K, D, M), found {mean_KD.shape} and "
                f"{loading_KDM.shape}"
            )
        transition_KK = np.array(transition, dtype=np.float64)
        _check_probabilities("transition", transition_KK)
        return cls(
            loading_KDP=np.concatenate([mean_KD[:, :, None], loading_KDM], axis=2),
            scatter_KDD=covariance_KDD / _inflation(nu),
            transition=transition_KK,
            start_K=stationary(transition_KK) if start is None else np.array(start, dtype=float),
            regressor_mean_M=np.zeros(loading_KDM.shape[2]),
            regressor_covariance_MM=np.eye(loading_KDM.shape[2]),
            nu=nu,
        )

    @property
    def num_regimes(self) -> int:
        """Number of regimes, K."""
        return len(self.transition)

    @property
    def num_series(self) -> int:
        """Number of series, D."""
        return int(self.loading_KDP.shape[1])

    @property
    def num_regressors(self) -> int:
        """Number of regressors, M."""
        return int(self.loading_KDP.shape[2]) - 1

    @property
    def covariance_KDD(self) -> Array:  # noqa: N802 - dimension suffix
        """Covariance of the noise in each regime."""
        covariance_KDD: Array = self.scatter_KDD * _inflation(self.nu)
        return covariance_KDD

    @property
    def drift(self) -> Array:
        """Expected `Observations.mean` of a bar at the sample's mean regressors, (K,)."""
        at_mean_KD = self.loading_KDP[:, :, 0] + self.loading_KDP[:, :, 1:] @ self.regressor_mean_M
        drift_K: Array = at_mean_KD.mean(axis=1)
        return drift_K

    @property
    def volatility(self) -> Array:
        """Standard deviation of `Observations.mean`, of noise and regressors together, (K,)."""
        slope_KM = self.loading_KDP[:, :, 1:].mean(axis=1)
        explained_K = np.einsum("km,mn,kn->k", slope_KM, self.regressor_covariance_MM, slope_KM)
        noise_K = self.covariance_KDD.mean(axis=(1, 2))
        volatility_K: Array = np.sqrt(noise_K + np.maximum(explained_K, 0.0))
        return volatility_K

    @cached_property
    def _law(self) -> Law:
        try:
            return law_of(self.transition, self.loading_KDP, self.scatter_KDD, self.nu)
        except np.linalg.LinAlgError as error:
            raise RegimeError(
                "scatter: expected positive definite matrices, found one that is not"
            ) from error

    def start(self) -> Array:
        """State (K,) of a filter that has seen nothing: its belief; a new array."""
        start_K: Array = self.start_K.copy()
        return start_K

    def advance(self, state_S: Array, y_D: Array, x_M: Array) -> Array:
        """Take in one bar: change the state in place, return the belief (K,), a new array.

        A bar with a number that is not finite has no observation: the belief is predicted on.

        Args:
            state_S: the belief before, (K,).
            y_D: series of the bar.
            x_M: regressors known before it; not read where the model has none.

        Raises:
            RegimeError: another number of series, regressors or regimes.
        """
        y_1D = np.asarray(y_D, dtype=np.float64).reshape(1, -1)
        x_1M = np.asarray(x_M, dtype=np.float64).reshape(1, -1)
        belief_K: Array = self._run(y_1D, x_1M, state_S)[0][0]
        return belief_K

    def filter(self, observations: Observations, state_S: Array | None = None) -> Array:
        """Beliefs (T, K), row by row the same floats as `advance`.

        Args:
            observations: T bars.
            state_S: where to begin, changed in place; None = `start()`.

        Raises:
            RegimeError: another number of series, regressors or regimes.
        """
        state_K = self.start() if state_S is None else state_S
        return self._run(observations.y_TD, observations.x_TM, state_K)[0]

    def predictive_log_likelihood(
        self, observations: Observations, state_S: Array | None = None
    ) -> Array:
        """Natural logs of the densities p(y_t | all bars before), (T,).

        They tell how well a model foresees bars that it was not fitted to: to choose between
        models, and to notice that one has gone stale. A bar without an observation gives 0.

        Args:
            observations: T bars.
            state_S: where to begin, changed in place; None = `start()`.

        Raises:
            RegimeError: another number of series, regressors or regimes.
        """
        state_K = self.start() if state_S is None else state_S
        return self._run(observations.y_TD, observations.x_TM, state_K)[1]

    def _run(self, y_TD: Array, x_TM: Array, state_K: Array) -> tuple[Array, Array]:
        regimes, size, inputs = self.loading_KDP.shape
        if inputs == 1:
            x_TM = np.empty((len(y_TD), 0))
        if y_TD.shape[1] != size or x_TM.shape[1] != inputs - 1 or state_K.shape != (regimes,):
            raise RegimeError(
                f"{self.kind}: expected {size} series, {inputs - 1} regressors and a state of "
                f"{regimes}, found {y_TD.shape[1]}, {x_TM.shape[1]} and {state_K.shape}"
            )
        # Copies of one layout, so that there is one compiled form.
        y_TD, x_TM, belief_K = (np.array(array, order="C") for array in (y_TD, x_TM, state_K))
        belief_TK, score_T = np.empty((len(y_TD), regimes)), np.empty(len(y_TD))
        filter_rows(y_TD, x_TM, self._law, belief_K, np.empty(regimes + size), belief_TK, score_T)
        state_K[:] = belief_K
        return belief_TK, score_T

    def permuted(self, order_K: NDArray[np.int64]) -> Self:
        """The same model with the regime `order_K[k]` in place k."""
        return replace(
            self,
            loading_KDP=self.loading_KDP[order_K],
            scatter_KDD=self.scatter_KDD[order_K],
            transition=self.transition[np.ix_(order_K, order_K)],
            start_K=self.start_K[order_K],
        )

    def to_arrays(self) -> dict[str, Array]:
        """All fields by name, in float64; an infinite nu is written as 0, to keep them finite."""
        arrays = {field.name: np.array(getattr(self, field.name)) for field in fields(self)}
        arrays["nu"] = np.array(0.0 if math.isinf(self.nu) else self.nu)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """Build the model from `to_arrays`.

        Raises:
            RegimeError: a field is missing, or see the class.
        """
        names = {field.name for field in fields(cls)}
        if set(arrays) != names:
            raise RegimeError(
                f"{cls.kind}: expected the fields {sorted(names)}, found {sorted(arrays)}"
            )
        if np.shape(arrays["nu"]) != ():
            raise RegimeError(f"nu: expected a number, found shape {np.shape(arrays['nu'])}")
        rest = {name: array for name, array in arrays.items() if name != "nu"}
        return cls(**rest, nu=float(arrays["nu"]) or math.inf)


@dataclass(frozen=True, eq=False)
class GaussianHMM(MarkovSwitching):
    """Normal noise, no regressors: a hidden Markov model. Regressors of a bar are not read."""

    kind: ClassVar[str] = "gaussian_hmm"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_regressors or not math.isinf(self.nu):
            raise RegimeError(
                f"{self.kind}: expected no regressors and an infinite nu, found "
                f"{self.num_regressors} and {self.nu}"
            )


@dataclass(frozen=True, eq=False)
class StudentHMM(MarkovSwitching):
    """Noise with fat tails, no regressors. Regressors of a bar are not read."""

    kind: ClassVar[str] = "student_hmm"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_regressors or math.isinf(self.nu):
            raise RegimeError(
                f"{self.kind}: expected no regressors and a finite nu, found "
                f"{self.num_regressors} and {self.nu}"
            )


@dataclass(frozen=True, eq=False)
class SwitchingRegression(MarkovSwitching):
    """Series that load on regressors by regime, with normal noise or fat tails."""

    kind: ClassVar[str] = "switching_regression"


def _inflation(nu: float) -> float:
    """Return the covariance of a t distribution in parts of its scatter.

    Raises:
        RegimeError: it has none.
    """
    if not nu > 2.0:
        raise RegimeError(f"nu: expected a number > 2, so that a variance exists, found {nu}")
    return 1.0 if math.isinf(nu) else nu / (nu - 2.0)


def _check_probabilities(name: str, rows_RK: Array) -> None:
    if rows_RK.ndim != 2 or rows_RK.size == 0:
        raise RegimeError(f"{name}: expected rows of probabilities, found shape {rows_RK.shape}")
    if name == "transition" and rows_RK.shape[0] != rows_RK.shape[1]:
        raise RegimeError(f"{name}: expected a square matrix, found shape {rows_RK.shape}")
    sound_R = (rows_RK >= 0.0).all(axis=1) & (np.abs(rows_RK.sum(axis=1) - 1.0) <= TOLERANCE)
    if not sound_R.all():
        row_K = rows_RK[int(np.argmin(sound_R))]
        raise RegimeError(f"{name}: expected probabilities that sum to 1, found {row_K}")


def _check_numbers(model: MarkovSwitching) -> None:
    _inflation(model.nu)
    for field in fields(model):
        unfit = int((~np.isfinite(np.asarray(getattr(model, field.name)))).sum())
        if field.name != "nu" and unfit:
            raise RegimeError(f"{field.name}: expected finite numbers, found {unfit} that are not")

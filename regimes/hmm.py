"""Hidden Markov models and Markov-switching regression, with a sticky prior and a causal filter.

Sources: Hamilton (1989), Econometrica 57 (filter, switching regression); Fox, Sudderth, Jordan &
Willsky (2011), Annals of Applied Statistics 5 (sticky prior); Peel & McLachlan (2000), Statistics
and Computing 10 (t distributions by expectation maximisation).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from markets.synthetic.chain import stationary
from regimes.base import Observations, RegimeError, RegimeModel
from regimes.hmm_fit import Parameters, RegimePrior, Sample, Search, StickyPrior, climb, search
from regimes.hmm_model import GaussianHMM, MarkovSwitching, StudentHMM, SwitchingRegression

__all__ = [
    "GaussianHMM",
    "GaussianHMMConfig",
    "MarkovSwitching",
    "StudentHMM",
    "StudentHMMConfig",
    "SwitchingConfig",
    "SwitchingRegression",
    "SwitchingRegressionConfig",
    "choose_num_regimes",
    "held_out_log_likelihood",
]

HELD_OUT = 0.25
"""Last part of a training span, by which degrees of freedom and numbers of regimes are chosen."""

RARE = 1e-8
"""Smallest transition probability of a model to begin at."""

Nu = Annotated[float, Field(gt=2.0, le=1000.0)]
Model = TypeVar("Model", bound=MarkovSwitching)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SwitchingConfig(ABC):
    """What the configurations of Markov-switching models share."""

    num_regimes: Annotated[int, Field(ge=1, le=32)] = 3
    """Number of regimes, K."""
    persistence_bars: Annotated[float, Field(gt=1.0, le=1e6)] = 100.0
    """Sticky prior: expected duration of a regime, bars, in (1, 1e6]."""
    prior_bars: Annotated[float, Field(ge=1e-3, le=1e9)] = 300.0
    """Its weight: pseudo-transitions added to those counted from each regime, in [1e-3, 1e9]."""
    restarts: Annotated[int, Field(ge=1, le=1000)] = 6
    """Starting values of a fresh fit, of which the highest posterior is kept."""
    max_iterations: Annotated[int, Field(ge=1)] = 300
    """Steps of expectation maximisation from each."""
    warm_iterations: Annotated[int, Field(ge=1)] = 50
    """Steps of a fit that begins at the model before."""
    tolerance: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1e-6
    """Gain of the log posterior in a step, nats a bar, at which a fit ends."""

    @property
    def capacity(self) -> int:
        """Number of regimes, K."""
        return self.num_regimes

    @abstractmethod
    def fit(
        self, train: Observations, *, warm: RegimeModel | None = None, seed: int = 0
    ) -> MarkovSwitching:
        """Fit a model; see `regimes.base.DetectorConfig`."""

    def _plan(self, nu: float) -> Search:
        return Search(
            num_regimes=self.num_regimes,
            nu=nu,
            prior=StickyPrior(self.persistence_bars, self.prior_bars),
            restarts=self.restarts,
            max_iterations=self.max_iterations,
            tolerance=self.tolerance,
        )

    def _fit(
        self,
        form: type[Model],
        train: Observations,
        warm: RegimeModel | None,
        nu: float,
        seed: int,
    ) -> Model:
        """Fit with the given degrees of freedom."""
        sample = Sample.of(train, self.num_regimes)
        plan = self._plan(nu)
        if warm is None:
            model = _model(form, train, sample.restore(search(sample, plan, seed)))
            return model.permuted(np.argsort(model.volatility, kind="stable").astype(np.int64))
        start = sample.scale(_warm_parameters(form, train, warm, plan))
        few = replace(plan, max_iterations=self.warm_iterations)
        found, _ = climb(sample, start, few, RegimePrior.around(start))
        return _model(form, train, sample.restore(found))

    def _degrees(
        self,
        form: type[Model],
        train: Observations,
        warm: RegimeModel | None,
        wanted: tuple[float | None, tuple[float, ...]],
        seed: int,
    ) -> float:
        """Return the degrees of freedom: given, those of the model before, or the best of a grid.

        The grid is searched at its middle, from which the others are climbed to.

        Raises:
            RegimeError: the span, or the first part of it, is unfit.
        """
        nu, grid = wanted
        if nu is not None:
            return nu
        if isinstance(warm, form) and math.isfinite(warm.nu):
            return warm.nu
        Sample.of(train, self.num_regimes)
        first, rest = _split(train)
        with _first_part():
            sample = Sample.of(first, self.num_regimes)
            middle = search(sample, self._plan(grid[len(grid) // 2]), seed)
        best, highest = grid[0], -math.inf
        for candidate in grid:
            found, _ = climb(sample, replace(middle, nu=candidate), self._plan(candidate))
            score = _foresight(_model(form, first, sample.restore(found)), first, rest)
            if score > highest:
                best, highest = candidate, score
        return best


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class GaussianHMMConfig(SwitchingConfig):
    """A hidden Markov model with normal noise; regressors are not read."""

    kind: Literal["gaussian_hmm"] = "gaussian_hmm"
    """Discriminator."""

    def fit(
        self, train: Observations, *, warm: RegimeModel | None = None, seed: int = 0
    ) -> GaussianHMM:
        """Fit by expectation maximisation; see `regimes.base.DetectorConfig`.

        Args:
            train: the training span.
            warm: a `GaussianHMM` to begin at; its order of regimes is kept.
            seed: of the random starting values.

        Raises:
            RegimeError: too few bars, a constant series, collinear ones, or divergence.
        """
        return self._fit(GaussianHMM, _series_only(train), warm, math.inf, seed)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StudentHMMConfig(SwitchingConfig):
    """A hidden Markov model whose noise has fat tails; regressors are not read."""

    kind: Literal["student_hmm"] = "student_hmm"
    """Discriminator."""
    nu: Nu | None = None
    """Degrees of freedom of the noise, > 2; None = that of `nu_grid` which foresees best the last
    quarter of the training span, and with a model to begin at that model's."""
    nu_grid: Annotated[tuple[Nu, ...], Field(min_length=1)] = (4.0, 6.0, 10.0, 20.0, 50.0)
    """Degrees of freedom to choose from."""

    def fit(
        self, train: Observations, *, warm: RegimeModel | None = None, seed: int = 0
    ) -> StudentHMM:
        """Fit by expectation maximisation; see `regimes.base.DetectorConfig`.

        Args:
            train: the training span.
            warm: a `StudentHMM` to begin at; its order of regimes is kept.
            seed: of the random starting values.

        Raises:
            RegimeError: too few bars, a constant series, collinear ones, or divergence.
        """
        series = _series_only(train)
        nu = self._degrees(StudentHMM, series, warm, (self.nu, self.nu_grid), seed)
        return self._fit(StudentHMM, series, warm, nu, seed)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SwitchingRegressionConfig(SwitchingConfig):
    """Series that load on regressors by regime; without regressors a hidden Markov model."""

    kind: Literal["switching_regression"] = "switching_regression"
    """Discriminator."""
    noise: Literal["normal", "student"] = "normal"
    """Law of what the regressors leave."""
    nu: Nu | None = None
    """Degrees of freedom of Student noise; as in `StudentHMMConfig`."""
    nu_grid: Annotated[tuple[Nu, ...], Field(min_length=1)] = (4.0, 6.0, 10.0, 20.0, 50.0)
    """Degrees of freedom to choose from."""

    def fit(
        self, train: Observations, *, warm: RegimeModel | None = None, seed: int = 0
    ) -> SwitchingRegression:
        """Fit by expectation maximisation; see `regimes.base.DetectorConfig`.

        Args:
            train: the training span; the regressors of a row were known before its bar.
            warm: a `SwitchingRegression` to begin at; its order of regimes is kept.
            seed: of the random starting values.

        Raises:
            RegimeError: too few bars, a constant column, collinear ones, or divergence.
        """
        nu = math.inf
        if self.noise == "student":
            nu = self._degrees(SwitchingRegression, train, warm, (self.nu, self.nu_grid), seed)
        return self._fit(SwitchingRegression, train, warm, nu, seed)


def held_out_log_likelihood(train: Observations, config: SwitchingConfig, seed: int = 0) -> float:
    """Fit to the first three quarters of a span; return how well the rest is foreseen.

    Args:
        train: the span.
        config: what to fit.
        seed: of the fit.

    Returns:
        Mean log density of the bars of the last quarter that have an observation, each given all
        before, nats a bar.

    Raises:
        RegimeError: the fit refuses the first part.
    """
    first, rest = _split(train)
    with _first_part():
        model = config.fit(first, seed=seed)
    return _foresight(model, first, rest)


def choose_num_regimes(
    train: Observations, candidates: Sequence[int], config: SwitchingConfig, seed: int = 0
) -> int:
    """Choose the number of regimes by `held_out_log_likelihood`; the smallest where equal.

    Args:
        train: the training span; nothing else is read.
        candidates: numbers of regimes.
        config: what to fit, with each of them for `num_regimes`.
        seed: of the fits.

    Raises:
        RegimeError: no candidates, or see `held_out_log_likelihood`.
    """
    if not candidates:
        raise RegimeError("candidates: expected at least one number of regimes, found none")
    score = {
        number: held_out_log_likelihood(train, replace(config, num_regimes=number), seed)
        for number in sorted(candidates)
    }
    return max(score, key=lambda number: score[number])


@contextmanager
def _first_part() -> Iterator[None]:
    """Say of errors that they are those of the part of a span to which a choice is fitted."""
    try:
        yield
    except RegimeError as error:
        raise RegimeError(f"first three quarters of the span, fitted to choose: {error}") from error


def _series_only(train: Observations) -> Observations:
    return Observations(train.y_TD, np.empty((len(train), 0)))


def _split(train: Observations) -> tuple[Observations, Observations]:
    """Cut before the last quarter of the bars with an observation.

    Raises:
        RegimeError: no bar has one.
    """
    seen_N = np.flatnonzero(train.seen)
    if len(seen_N) == 0:
        raise RegimeError("train: expected bars with an observation, found none")
    cut = int(seen_N[-max(int(HELD_OUT * len(seen_N)), 1)])
    return train.rows(0, cut), train.rows(cut, len(train))


def _foresight(model: MarkovSwitching, first: Observations, rest: Observations) -> float:
    """Return the mean log density of the rest, with the filter warmed up on the first part."""
    state_K = model.start()
    model.filter(first, state_K)
    return float(model.predictive_log_likelihood(rest, state_K)[rest.seen].mean())


def _model(form: type[Model], train: Observations, parameters: Parameters) -> Model:
    """Return a model; what it says of the regressors is taken from the training span."""
    x_NM = train.x_TM[train.seen]
    centred_NM = x_NM - x_NM.mean(axis=0)
    return form(
        loading_KDP=parameters.loading_KDP,
        scatter_KDD=parameters.scatter_KDD,
        transition=parameters.transition_KK,
        start_K=stationary(parameters.transition_KK),
        regressor_mean_M=x_NM.mean(axis=0),
        regressor_covariance_MM=centred_NM.T @ centred_NM / len(x_NM),
        nu=parameters.nu,
    )


def _warm_parameters(
    form: type[Model], train: Observations, warm: RegimeModel, plan: Search
) -> Parameters:
    """Return the parameters of a model to begin at.

    Raises:
        RegimeError: it is of another kind or size.
    """
    if not isinstance(warm, form):
        raise RegimeError(f"warm: expected a {form.kind} model, found {warm.kind}")
    found = (warm.num_regimes, warm.num_series, warm.num_regressors)
    expected = (plan.num_regimes, train.y_TD.shape[1], train.x_TM.shape[1])
    if found != expected:
        raise RegimeError(
            f"warm: expected (regimes, series, regressors) = {expected}, found {found}"
        )
    # A transition that is impossible in the model would stay so.
    transition_KK = np.maximum(warm.transition, RARE)
    transition_KK /= transition_KK.sum(axis=1, keepdims=True)
    return Parameters(transition_KK, warm.loading_KDP, warm.scatter_KDD, plan.nu)

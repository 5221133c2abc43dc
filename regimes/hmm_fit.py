"""Maximum a posteriori fits of Markov-switching models by expectation maximisation.

Prior (in units in which every column has centre 0 and scale 1, so that units do not matter):

- rows of the transition matrix: a Dirichlet law whose mode adds pseudo-transitions to the counts,
  most of them on the diagonal (the "sticky" prior; Fox, Sudderth, Jordan & Willsky 2011, Annals of
  Applied Statistics 5, eq. 4, with a finite number of regimes);
- scatters and coefficients: the conjugate normal-inverse-Wishart law, of a fresh fit worth one
  bar, around no loadings and one tenth of the correlations of the series. It keeps a regime that no
  bar belongs to finite, and a scatter above 0 however alike the regime's bars are. A warm fit
  centres it on the model before with a larger weight: a regime that the span does not show stays
  what it was.

The maximisation step adds the prior to the moments, and is exact; the weights of the t
distribution are those of Peel & McLachlan (2000), Statistics and Computing 10. The objective
therefore never falls, and one that does is a numerical failure.

Dimensions: see `regimes.hmm_kernel`.
"""

import math
from dataclasses import dataclass

import numpy as np

from regimes.base import Array, Observations, RegimeError
from regimes.hmm_kernel import Law, Moments, Room, expect, law_of

__all__ = ["Parameters", "RegimePrior", "Sample", "Search", "StickyPrior", "climb", "search"]

PRIOR_BARS = 1.0
"""Weight of the prior of coefficients and scatter, bars."""
WARM_BARS = 50.0
"""Its weight where it is the model before, bars."""
PRIOR_SCATTER = 0.1
"""Its scatter, part of the correlations of the sample."""
COLLINEAR = 1e-10
"""Smallest eigenvalue of a correlation matrix that is not taken for zero."""
CONSTANT = 1e-13
"""Deviations of a series, parts of its size, that are rounding errors."""
HUGE, TINY = 1e100, 1e-100
"""Sizes and scales beyond which squares come close to the limits of floats."""
TAILS = (0.05, 0.95)
"""Quantiles of a column; the scale is their distance over"""
NORMAL_WIDTH = 3.2897
"""the distance between these quantiles of a standard normal law."""
BARS_A_PARAMETER = 10
"""Bars needed for each column and regime."""
FALL = 1e-9
"""Largest fall of the objective, part of itself, that is a rounding error."""


@dataclass(frozen=True, eq=False)
class Parameters:
    """A Markov-switching model, as plain arrays."""

    transition_KK: Array
    """P[k, j] = P(next = j | now = k)."""
    loading_KDP: Array
    """B_k, the first column the intercept."""
    scatter_KDD: Array
    """S_k."""
    nu: float
    """Degrees of freedom; infinite: normal."""

    @property
    def law(self) -> Law:
        """The same for compiled functions."""
        return law_of(self.transition_KK, self.loading_KDP, self.scatter_KDD, self.nu)


@dataclass(frozen=True)
class StickyPrior:
    """Pseudo-transitions that are added to the counted ones."""

    persistence_bars: float
    """Duration of a regime that they speak for, bars."""
    bars: float
    """Their number from each regime."""

    def counts(self, num_regimes: int) -> Array:
        """Return the pseudo-transitions (K, K), all > 0."""
        leave = self.bars / self.persistence_bars
        counts_KK = np.full((num_regimes, num_regimes), leave / max(num_regimes - 1, 1))
        np.fill_diagonal(counts_KK, self.bars - leave)
        return counts_KK


@dataclass(frozen=True, eq=False)
class RegimePrior:
    """What is believed of coefficients and scatters before the sample is seen."""

    loading_KDP: Array
    """Mode of the coefficients."""
    scatter_KDD: Array
    """Mode of the scatters."""
    bars: float
    """Weight."""

    @classmethod
    def around(cls, parameters: "Parameters") -> "RegimePrior":
        """Return the prior of a fit that begins at a model."""
        return cls(parameters.loading_KDP, parameters.scatter_KDD, WARM_BARS)

    def moments(self) -> Array:
        """Return what it adds to the moments, (K, Q, Q): those of `bars` rows like its modes."""
        regimes, size, inputs = self.loading_KDP.shape
        moment_KQQ: Array = np.tile(np.eye(inputs + size), (regimes, 1, 1))
        turned_KPD = self.loading_KDP.swapaxes(1, 2)
        moment_KQQ[:, inputs:, :inputs] = self.loading_KDP
        moment_KQQ[:, :inputs, inputs:] = turned_KPD
        moment_KQQ[:, inputs:, inputs:] = self.loading_KDP @ turned_KPD + self.scatter_KDD
        return self.bars * moment_KQQ


@dataclass(frozen=True, eq=False)
class Sample:
    """A training span in units in which every column has centre 0 and scale 1.

    Centre and scale are the median and the range between the 5% and 95% quantiles (the standard
    deviation where that is 0), which a few wrong prices do not move.
    """

    observations: Observations
    """The scaled rows; regressors of bars without an observation may be NaN."""
    centre_R: Array
    """Medians of the columns [x, y], (M + D,)."""
    scale_R: Array
    """Their scales."""
    correlation_DD: Array
    """Correlations of the series."""

    @classmethod
    def of(cls, train: Observations, num_regimes: int) -> "Sample":
        """Check and scale a training span.

        Raises:
            RegimeError: too few bars, a constant column, or collinear ones.
        """
        rows_TR = np.concatenate([train.x_TM, train.y_TD], axis=1)
        seen_NR = rows_TR[train.seen]
        needed = BARS_A_PARAMETER * num_regimes * (rows_TR.shape[1] + 1)
        if len(seen_NR) < needed:
            raise RegimeError(
                f"train: expected at least {needed} bars with an observation for {num_regimes} "
                f"regimes, found {len(seen_NR)}"
            )
        regressors = train.x_TM.shape[1]
        names = [f"regressor {index}" for index in range(regressors)]
        names += [f"series {index}" for index in range(train.y_TD.shape[1])]
        centre_R, scale_R = _robust_scale(seen_NR, names)
        scaled_TR = (rows_TR - centre_R) / scale_R
        correlation_RR = _correlations(scaled_TR[train.seen], names)
        scaled = Observations(scaled_TR[:, regressors:], scaled_TR[:, :regressors])
        return cls(scaled, centre_R, scale_R, correlation_RR[regressors:, regressors:])

    def prior(self, num_regimes: int) -> RegimePrior:
        """Return the prior of a fresh fit."""
        size = len(self.correlation_DD)
        inputs = 1 + len(self.centre_R) - size
        scatter_KDD = np.tile(PRIOR_SCATTER * self.correlation_DD, (num_regimes, 1, 1))
        return RegimePrior(np.zeros((num_regimes, size, inputs)), scatter_KDD, PRIOR_BARS)

    def restore(self, parameters: Parameters) -> Parameters:
        """Return scaled parameters in the units of the training span."""
        return _rescale(parameters, -self.centre_R / self.scale_R, 1.0 / self.scale_R)

    def scale(self, parameters: Parameters) -> Parameters:
        """Return parameters in the units of the training span as scaled ones."""
        return _rescale(parameters, self.centre_R, self.scale_R)


@dataclass(frozen=True)
class Search:
    """How to look for the best fit."""

    num_regimes: int
    """K."""
    nu: float
    """Degrees of freedom; infinite: normal."""
    prior: StickyPrior
    restarts: int
    """Starting values that are tried."""
    max_iterations: int
    """Steps from each."""
    tolerance: float
    """Gain of the objective in a step, per bar, at which a climb ends."""


def search(sample: Sample, plan: Search, seed: int) -> Parameters:
    """Climb from several starting values; return the highest point, regimes in arbitrary order.

    Raises:
        RegimeError: every climb diverged.
    """
    random = np.random.default_rng(seed)
    best: Parameters | None = None
    highest, failure = -math.inf, ""
    for attempt in range(plan.restarts):
        try:
            found, heights = climb(sample, _starting_values(sample, plan, attempt, random), plan)
        except RegimeError as error:
            failure = str(error)
            continue
        if heights[-1] > highest:
            best, highest = found, heights[-1]
    if best is None:
        raise RegimeError(f"fit: all {plan.restarts} starting values diverged; the last: {failure}")
    return best


def climb(
    sample: Sample, start: Parameters, plan: Search, prior: RegimePrior | None = None
) -> tuple[Parameters, list[float]]:
    """Maximise the posterior from starting values.

    Args:
        sample: the training span.
        start: where to begin.
        plan: how far to go.
        prior: of coefficients and scatters; None = that of a fresh fit.

    Returns:
        The best parameters, and the objective (log likelihood + log prior, up to a constant) at
        each point on the way.

    Raises:
        RegimeError: the objective fell or is not finite, or a scatter degenerated.
    """
    y_TD = np.array(sample.observations.y_TD, order="C")
    x_TM = np.array(sample.observations.x_TM, order="C")
    (bars, size), regimes = y_TD.shape, plan.num_regimes
    columns = 1 + x_TM.shape[1] + size
    moments = Moments(
        np.empty((regimes, columns, columns)), np.empty(regimes), np.empty((regimes, regimes))
    )
    room = Room(
        forward_TK=np.empty((bars, regimes)),
        density_TK=np.empty((bars, regimes)),
        weight_TK=np.empty((bars, regimes)),
        white_D=np.empty(size),
        row_Q=np.empty(columns),
    )
    prior_KK = plan.prior.counts(regimes)
    prior = prior if prior is not None else sample.prior(regimes)
    heights: list[float] = []
    now = best = start
    for _ in range(plan.max_iterations + 1):
        try:
            height = expect(y_TD, x_TM, now.law, room, moments) + _log_prior(now, prior_KK, prior)
            following = _maximise(moments, prior_KK, prior, plan.nu)
        except np.linalg.LinAlgError as error:
            raise RegimeError("fit: diverged, a scatter is not positive definite") from error
        if not math.isfinite(height):
            raise RegimeError(f"fit: diverged, the objective is {height}")
        if heights and height < heights[-1] - FALL * (abs(heights[-1]) + bars):
            raise RegimeError(
                f"fit: diverged, the objective fell from {heights[-1]:.9g} to {height:.9g}"
            )
        best = now
        heights.append(height)
        if len(heights) > 1 and heights[-1] - heights[-2] < plan.tolerance * bars:
            break
        now = following
    return best, heights


def _maximise(moments: Moments, prior_KK: Array, prior: RegimePrior, nu: float) -> Parameters:
    """Return the parameters that maximise the expected log posterior.

    With the prior added to the moments M, B = M_yz M_zz^-1 and the scatter is the rest
    M_yy - B M_zy over the mass.
    """
    inputs = prior.loading_KDP.shape[2]
    moment_KQQ = moments.moment_KQQ + prior.moments()
    cross_KPD = moment_KQQ[:, :inputs, inputs:]
    turned_KPD = np.asarray(np.linalg.solve(moment_KQQ[:, :inputs, :inputs], cross_KPD), np.float64)
    loading_KDP = turned_KPD.swapaxes(1, 2)
    rest_KDD = moment_KQQ[:, inputs:, inputs:] - loading_KDP @ cross_KPD
    scatter_KDD = 0.5 * (rest_KDD + rest_KDD.swapaxes(1, 2))
    scatter_KDD /= (moments.mass_K + prior.bars)[:, None, None]
    counts_KK = moments.count_KK + prior_KK
    transition_KK = counts_KK / counts_KK.sum(axis=1, keepdims=True)
    return Parameters(transition_KK, loading_KDP, scatter_KDD, nu)


def _log_prior(parameters: Parameters, prior_KK: Array, prior: RegimePrior) -> float:
    """Return the log prior up to a constant."""
    scatter_KDD = parameters.scatter_KDD
    moved_KDP = parameters.loading_KDP - prior.loading_KDP
    spread_KDD = prior.bars * (moved_KDP @ moved_KDP.swapaxes(1, 2) + prior.scatter_KDD)
    trace_K = np.trace(np.linalg.solve(scatter_KDD, spread_KDD), axis1=1, axis2=2)
    log_det_K = np.linalg.slogdet(scatter_KDD).logabsdet
    sticky = float((prior_KK * np.log(parameters.transition_KK)).sum())
    return sticky - 0.5 * float((prior.bars * log_det_K + trace_K).sum())


def _starting_values(
    sample: Sample, plan: Search, attempt: int, random: np.random.Generator
) -> Parameters:
    """Return the fit to bars that were dealt out to regimes.

    First by equal quantiles of the trailing volatility over 20 and over 10 bars; then in turn in
    random stretches, and by random quantiles over a random window.
    """
    seen = sample.observations.seen
    y_ND, x_NM = sample.observations.y_TD[seen], sample.observations.x_TM[seen]
    bars, regimes = len(y_ND), plan.num_regimes
    if attempt >= 2 and attempt % 2 == 0:
        stretches = np.sort(random.integers(0, bars, size=3 * regimes))
        order = random.permutation(np.arange(3 * regimes + 1) % regimes)
        label_N = order[np.searchsorted(stretches, np.arange(bars), side="right")]
    else:
        equal_C = np.arange(1, regimes) / regimes
        drawn_C = np.cumsum(random.dirichlet(np.full(regimes, 2.0)))[:-1]
        window = (20, 10)[attempt] if attempt < 2 else int(random.integers(5, 60))
        volatility_N = _trailing_volatility(y_ND, window)
        cuts_C = np.quantile(volatility_N, equal_C if attempt < 2 else drawn_C)
        label_N = np.searchsorted(cuts_C, volatility_N, side="right")
    rows_NQ = np.concatenate([np.ones((bars, 1)), x_NM, y_ND], axis=1)
    share_NK = (label_N[:, None] == np.arange(regimes)).astype(np.float64)
    moment_KQQ = np.einsum("nk,np,nq->kpq", share_NK, rows_NQ, rows_NQ, optimize=True)
    moments = Moments(moment_KQQ, share_NK.sum(axis=0), np.zeros((regimes, regimes)))
    return _maximise(moments, plan.prior.counts(regimes), sample.prior(regimes), plan.nu)


def _trailing_volatility(y_ND: Array, window: int) -> Array:
    """Return the root mean square of the last bars, over all series, (N,)."""
    total_N = np.concatenate([[0.0], np.cumsum((y_ND**2).mean(axis=1))])
    last_N = np.arange(1, len(total_N))
    first_N = np.maximum(last_N - window, 0)
    mean_N = (total_N[last_N] - total_N[first_N]) / (last_N - first_N)
    volatility_N: Array = np.sqrt(np.maximum(mean_N, 0.0))
    return volatility_N


def _robust_scale(seen_NR: Array, names: list[str]) -> tuple[Array, Array]:
    """Return centre and scale of every column.

    Raises:
        RegimeError: a column is constant, or has huge numbers.
    """
    size_R = np.abs(seen_NR).max(axis=0)
    if not size_R.max() < HUGE:
        first = int(np.argmax(size_R))
        raise RegimeError(
            f"train: {names[first]}: expected numbers within {HUGE:g}, found {size_R[first]:.6g}"
        )
    centre_R = np.median(seen_NR, axis=0)
    lower_R, upper_R = np.quantile(seen_NR, TAILS, axis=0)
    scale_R = (upper_R - lower_R) / NORMAL_WIDTH
    least_R = np.maximum(CONSTANT * size_R, TINY)
    scale_R = np.where(scale_R > least_R, scale_R, np.std(seen_NR, axis=0))
    constant_R = ~(scale_R > least_R)
    if constant_R.any():
        first = int(np.argmax(constant_R))
        raise RegimeError(
            f"train: {names[first]}: expected numbers that differ, found a constant column "
            f"around {centre_R[first]:.6g}"
        )
    return centre_R, scale_R


def _correlations(scaled_NR: Array, names: list[str]) -> Array:
    """Return the correlations of the columns.

    Raises:
        RegimeError: one column follows linearly from the others.
    """
    unit_NR = scaled_NR - scaled_NR.mean(axis=0)
    unit_NR /= np.sqrt((unit_NR**2).mean(axis=0))
    correlation_RR: Array = unit_NR.T @ unit_NR / len(unit_NR)
    np.fill_diagonal(correlation_RR, 1.0)
    value_R, vector_RR = np.linalg.eigh(correlation_RR)
    if value_R[0] < COLLINEAR:
        involved = [names[column] for column in np.flatnonzero(np.abs(vector_RR[:, 0]) > 1e-3)]
        raise RegimeError(
            f"train: expected columns that do not follow from each other, found collinear ones: "
            f"{', '.join(involved)}"
        )
    return correlation_RR


def _rescale(parameters: Parameters, centre_R: Array, scale_R: Array) -> Parameters:
    """Return the parameters for columns (z - centre) / scale in place of z."""
    size = parameters.scatter_KDD.shape[1]
    regressors = len(scale_R) - size
    (x_M, y_D), (dx_M, dy_D) = (
        (values[:regressors], values[regressors:]) for values in (centre_R, scale_R)
    )
    loading_KDP = np.array(parameters.loading_KDP)
    loading_KDP[:, :, 0] += loading_KDP[:, :, 1:] @ x_M - y_D
    loading_KDP[:, :, 1:] *= dx_M
    loading_KDP /= dy_D[:, None]
    scatter_KDD = parameters.scatter_KDD / np.outer(dy_D, dy_D)
    return Parameters(parameters.transition_KK, loading_KDP, scatter_KDD, parameters.nu)

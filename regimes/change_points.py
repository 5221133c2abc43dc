r"""Bayesian online change-point detection (BOCPD), and what kind of run the present one is.

The posterior of the run length r (bars since the last change) follows Adams & MacKay (2007),
arXiv:0710.3742, with a constant hazard and a normal-inverse-gamma prior; see
`regimes.change_points_kernel`. Run lengths up to `max_run` are told apart. The probability of all
longer ones is kept, to the last digit, at `max_run`, and such a run is described by its last
`max_run` bars.

BOCPD knows changes, not identities. The map to regimes is a Gaussian mixture over the run's
expected mean / volatility and log volatility, fitted on the training span; the belief is its
responsibilities.
`BOCPDModel.alarm` and `BOCPDModel.expected_run` read the run length itself.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pydantic
from annotated_types import Ge, Gt, Le
from pydantic import ConfigDict
from scipy.special import softmax
from sklearn.mixture import GaussianMixture

from regimes.base import Array, Observations, RegimeError, RegimeModel
from regimes.change_points_kernel import RUN_NUMBERS, RunLaw, run, run_law, summary_rows
from regimes.trailing import described, mean_scale, quiet_fit, training_rows
from regimes.trailing_model import ArrayModel

__all__ = ["BOCPDConfig", "BOCPDModel"]

LONGEST = 2000
"""Longest run length that can be told apart, bars."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BOCPDModel(ArrayModel):
    """A prior of runs, a hazard, and a map from runs to regimes.

    Attributes:
        centre: mean of the mean return in the training span.
        scale: its standard deviation.
        hazard: probability that a run ends at a bar, in (0, 1).
        kappa: weight of the prior mean in bars, > 0.
        alpha: shape of the prior of the variance, > 1.
        longest: longest run length that is told apart, in bars.
        offset_K: log weight and log density at the centre of each regime's runs.
        mean_KF: centres: (mean / volatility, log standardised volatility).
        root_KFF: upper roots of the precisions.
    """

    kind: ClassVar[str] = "bocpd"

    centre: Array
    scale: Array
    hazard: Array
    kappa: Array
    alpha: Array
    longest: Array
    offset_K: Array
    mean_KF: Array
    root_KFF: Array

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0.0 < self.hazard < 1.0 and min(self.scale, self.kappa, self.alpha - 1.0) > 0.0):
            raise RegimeError(
                "bocpd: expected a hazard in (0, 1), scale and kappa > 0 and alpha > 1, found "
                f"{self.hazard}, {self.scale}, {self.kappa}, {self.alpha}"
            )
        if not 1 <= self.longest <= LONGEST or self.longest != round(float(self.longest)):
            raise RegimeError(
                f"bocpd: longest: expected a whole number in [1, {LONGEST}], found {self.longest}"
            )
        if self.mean_KF.shape[1] != 2:
            raise RegimeError(f"bocpd: mean_KF: expected 2 statistics, found {self.mean_KF.shape}")
        law = run_law(
            float(self.centre),
            float(self.scale),
            float(self.hazard),
            (float(self.kappa), float(self.alpha)),
            int(self.longest),
        )
        object.__setattr__(self, "_law", law)

    @property
    def memory(self) -> int:
        """Numbers of state after the belief, see `regimes.change_points_kernel`."""
        return RUN_NUMBERS * (int(self.longest) + 1)

    def start(self) -> Array:
        """State of a filter at the beginning of a run."""
        state_S = super().start()
        state_S[self.num_regimes :] = _first_run(self._law_of())
        return state_S

    def _law_of(self) -> RunLaw:
        law: RunLaw = self._law  # type: ignore[attr-defined]
        return law

    def _run(self, y_TD: Array, state_S: Array, belief_TK: Array) -> None:
        law = self._law_of()
        room = np.empty(len(law.constant_R)), np.empty(self.mean_KF.shape[1])
        classes = self.offset_K, self.mean_KF, self.root_KFF
        run(y_TD, law, classes, room, state_S, belief_TK)

    def run_probabilities(self, state_S: Array) -> Array:
        """Posterior of the run length: 0 (the next bar begins a run) to `longest` or more, (R,)."""
        first = self.num_regimes
        return state_S[first : first + int(self.longest) + 1].copy()

    def alarm(self, state_S: Array, within: int) -> float:
        """Probability of a change within the last `within` bars: that the run is shorter.

        The first bar of a series counts as a change.

        Raises:
            RegimeError: `within` beyond the run lengths that are told apart.
        """
        if not 1 <= within <= self.longest:
            raise RegimeError(f"within: expected 1 to {int(self.longest)} bars, found {within}")
        return min(1.0, float(self.run_probabilities(state_S)[:within].sum()))

    def expected_run(self, state_S: Array) -> float:
        """Expected run length in bars; runs beyond `longest` count as that."""
        run_R = self.run_probabilities(state_S)
        return float(run_R @ np.arange(len(run_R)))

    def trace(self, observations: Observations, within: int = 10) -> tuple[Array, Array]:
        """Alarm and expected run length after each bar from a fresh start, both (T,)."""
        state_S = self.start()
        alarm_T, length_T = np.empty(len(observations)), np.empty(len(observations))
        for bar, (y_D, x_M) in enumerate(zip(observations.y_TD, observations.x_TM, strict=True)):
            self.advance(state_S, y_D, x_M)
            alarm_T[bar] = self.alarm(state_S, within)
            length_T[bar] = self.expected_run(state_S)
        return alarm_T, length_T


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BOCPDConfig:
    """Online change points with a map from runs to regimes."""

    kind: Literal["bocpd"] = "bocpd"
    num_regimes: Annotated[int, Ge(1), Le(10)] = 3
    """Number of regimes of the map."""
    expected_run: Annotated[float, Gt(1.0), Le(1e6)] = 100.0
    """Bars between changes: the inverse of the hazard."""
    max_run: Annotated[int, Ge(10), Le(LONGEST)] = 300
    """Longest run length that is told apart, in bars; the time of a bar grows with it."""
    prior_bars: Annotated[float, Gt(0.0), Le(1e6)] = 10.0
    """Weight in bars of the training span's mean as the prior mean of a run, kappa_0."""
    prior_shape: Annotated[float, Gt(1.0), Le(1e6)] = 2.0
    """Shape of the prior of a run's variance, alpha_0; its mean is the training span's variance."""
    num_starts: Annotated[int, Ge(1), Le(100)] = 5
    """Random starts of the map's fit."""

    @property
    def capacity(self) -> int:
        """Number of regimes."""
        return self.num_regimes

    def fit(
        self, train: Observations, *, warm: RegimeModel | None = None, seed: int = 0
    ) -> BOCPDModel:
        """Fit the map; see `DetectorConfig.fit`.

        The prior comes from the training span's moments and the hazard from the configuration. A
        warm fit starts the map at that of `warm` and keeps its order.

        Raises:
            RegimeError: too few bars, a constant series, collinear series, or a map that did not
                converge.
        """
        before = BOCPDModel.warm(warm)
        if before is not None and before.num_regimes != self.num_regimes:
            raise RegimeError(
                f"warm: expected {self.num_regimes} regimes, found {before.num_regimes}"
            )
        y_ND = training_rows(train, 50 + 20 * self.num_regimes)
        centre, scale = mean_scale(y_ND)
        prior = (self.prior_bars, self.prior_shape)
        law = run_law(centre, scale, 1.0 / self.expected_run, prior, self.max_run)
        # The first bars' runs are short because the series is.
        summary_NF = _summaries(y_ND, law)[50:]
        mixture = self._fitted_map(summary_NF, before, seed)
        num_regimes = len(mixture.means_)
        model = described(
            BOCPDModel(
                start_K=np.full(num_regimes, 1.0 / num_regimes),
                drift_K=np.zeros(num_regimes),
                volatility_K=np.ones(num_regimes),
                transition_KK=np.eye(num_regimes),
                centre=np.array(centre),
                scale=np.array(scale),
                hazard=np.array(law.hazard),
                kappa=np.array(self.prior_bars),
                alpha=np.array(self.prior_shape),
                longest=np.array(float(self.max_run)),
                offset_K=np.log(mixture.weights_) + _log_det(mixture.precisions_cholesky_),
                mean_KF=mixture.means_,
                root_KFF=mixture.precisions_cholesky_,
            ),
            train,
        )
        return model if before is not None else model.ordered()

    def _fitted_map(
        self, summary_NF: Array, before: BOCPDModel | None, seed: int
    ) -> GaussianMixture:
        mixture = GaussianMixture(
            self.num_regimes,
            n_init=self.num_starts,
            max_iter=1000,
            random_state=seed,
            reg_covar=1e-4,
        )
        if before is not None:
            root_KFF = before.root_KFF
            mixture.n_init = 1
            mixture.means_init = before.mean_KF
            mixture.precisions_init = root_KFF @ root_KFF.transpose(0, 2, 1)
            log_weight_K = before.offset_K - _log_det(root_KFF)
            mixture.weights_init = softmax(log_weight_K)
        return quiet_fit(mixture, summary_NF, "bocpd: the map from runs to regimes")


def _log_det(root_KFF: Array) -> Array:
    """Logarithms of the determinants of triangular matrices, (K,)."""
    log_det_K: Array = np.log(np.diagonal(root_KFF, axis1=1, axis2=2)).sum(axis=1)
    return log_det_K


def _first_run(law: RunLaw) -> Array:
    """Numbers of state of a run that begins, (4 R,)."""
    state_S = np.zeros(RUN_NUMBERS * len(law.constant_R)).reshape(RUN_NUMBERS, -1)
    state_S[0, 0] = 1.0
    # Run lengths that have not been reached need a scatter of which there is a logarithm.
    state_S[2] = law.beta_0
    state_S[3] = math.log(law.beta_0)
    return state_S.ravel()


def _summaries(y_ND: Array, law: RunLaw) -> Array:
    """Summary of the run after each bar, (n, 2)."""
    summary_NF = np.empty((len(y_ND), 2))
    density_R = np.empty(len(law.constant_R))
    summary_rows(np.array(y_ND, order="C"), law, density_R, _first_run(law), summary_NF)
    return summary_NF

r"""Dirichlet-process Gaussian mixture (DPGMM): the documented baseline among the detectors.

A mixture has no memory of regimes: the belief after a bar is the responsibilities of the bar's
point, :math:`p_k \propto \pi_k N(z_t; m_k, \Sigma_k)` in expectation over the variational
posterior, exactly scikit-learn's. The point is either the bar's standardised returns, or trailing
statistics of the mean return, which are causal but overlap: the mixture counts the same evidence
many times, uses nearly all of its components and is over-confident. That is why it is a baseline.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
import pydantic
from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, model_validator

from regimes.base import Array, Observations, RegimeError, RegimeModel
from regimes.mixture_fit import Components, MixtureSettings, Standard, fitted_components
from regimes.mixture_kernel import run_returns, run_trailing
from regimes.trailing import (
    described,
    mean_scale,
    require_window_state,
    require_windows,
    training_rows,
    window_features,
    window_memory,
)
from regimes.trailing_model import ArrayModel

__all__ = ["DPGMMConfig", "DPGMMModel"]

RETURNS_WINDOWS = (0.0, 0.0)
"""Windows of a mixture that reads returns."""


@dataclass(frozen=True, eq=False, kw_only=True)
class DPGMMModel(ArrayModel):
    """A fitted mixture.

    Attributes:
        windows_W: bars of the fast and slow window of the trailing statistics; zeros when the
            mixture reads returns, (2,).
        scale_P: mean and standard deviation of the mean return in the training span, (2,).
        standard_XF: means and standard deviations of the features, (2, F).
        weight_K: shares of the components.
        offset_K: expected log weight and log density at the centre.
        mean_KF: centres, standardised.
        covariance_KFG: covariances, standardised (G = F).
        root_KFG: upper roots of their inverses.
    """

    kind: ClassVar[str] = "dpgmm"

    windows_W: Array
    scale_P: Array
    standard_XF: Array
    weight_K: Array
    offset_K: Array
    mean_KF: Array
    covariance_KFG: Array
    root_KFG: Array

    def __post_init__(self) -> None:
        super().__post_init__()
        features = self.mean_KF.shape[1]
        if not np.array_equal(self.windows_W, RETURNS_WINDOWS):
            require_windows(self.kind, self.windows_W)
        if self.trailing and features != 4:
            raise RegimeError(f"dpgmm: mean_KF: expected four features, found {features}")
        if self.standard_XF.shape != (2, features) or not (self.standard_XF[1] > 0.0).all():
            raise RegimeError(f"dpgmm: standard_XF: expected deviations > 0: {self.standard_XF}")
        if self.scale_P.shape != (2,) or not self.scale_P[1] > 0.0:
            raise RegimeError(f"dpgmm: scale_P: expected a deviation > 0, found {self.scale_P}")
        if self.root_KFG.shape != (self.num_regimes, features, features):
            raise RegimeError(f"dpgmm: root_KFG: expected square roots: {self.root_KFG.shape}")

    @property
    def trailing(self) -> bool:
        """Whether the mixture reads trailing statistics; else returns."""
        return bool(self.windows_W.any())

    @property
    def inputs(self) -> tuple[str, int]:
        """What it reads, see `DPGMMConfig.inputs`, and the number of features."""
        return "trailing" if self.trailing else "returns", self.mean_KF.shape[1]

    @property
    def memory(self) -> int:
        """Numbers of state after the belief: the windows."""
        return window_memory(*self.windows_W.astype(int)) if self.trailing else 0

    @property
    def components(self) -> Components:
        """The components, standardised."""
        return Components(self.weight_K, self.offset_K, self.mean_KF, self.covariance_KFG)

    @property
    def standard(self) -> Standard:
        """The standardisation of the features."""
        return Standard(self.standard_XF[0], self.standard_XF[1])

    def _check_state(self, state_S: Array) -> None:
        if self.trailing:
            require_window_state(self.kind, state_S, self.num_regimes, self.windows_W)

    def _run(self, y_TD: Array, state_S: Array, belief_TK: Array) -> None:
        features = self.mean_KF.shape[1]
        classes = self.offset_K, self.mean_KF, self.root_KFG
        point_F = np.empty(features)
        if self.trailing:
            run_trailing(
                y_TD,
                (self.windows_W, self.scale_P),
                self.standard_XF,
                classes,
                point_F,
                state_S,
                belief_TK,
            )
            return
        if y_TD.shape[1] != features:
            raise RegimeError(f"dpgmm: expected {features} series, found {y_TD.shape[1]}")
        run_returns(y_TD, self.standard_XF, classes, point_F, state_S, belief_TK)


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DPGMMConfig:
    """Dirichlet-process Gaussian mixture on trailing statistics or on returns."""

    kind: Literal["dpgmm"] = "dpgmm"
    inputs: Literal["trailing", "returns"] = "trailing"
    """"trailing": mean and log volatility of the mean return over two windows; "returns": those of
    the bar itself."""
    max_components: Annotated[int, Ge(1), Le(50)] = 5
    """Most components; the process leaves some empty."""
    least_weight: Annotated[float, Ge(0.0), Lt(1.0)] = 0.01
    """Share under which a component is dropped."""
    concentration: Annotated[float, Gt(0.0)] = 0.1
    """Concentration of the Dirichlet process: the larger, the more components."""
    fast_window: Annotated[int, Ge(2), Le(1000)] = 10
    """Bars of the fast window of the trailing statistics."""
    slow_window: Annotated[int, Ge(2), Le(1000)] = 40
    """Bars of the slow window, more than `fast_window`."""
    num_starts: Annotated[int, Ge(1), Le(100)] = 2
    """Random starts of a fresh fit."""

    @model_validator(mode="after")
    def _windows(self) -> "DPGMMConfig":
        if self.slow_window <= self.fast_window:
            raise RegimeError(
                f"slow_window: expected > fast_window = {self.fast_window}, "
                f"found {self.slow_window}"
            )
        return self

    @property
    def capacity(self) -> int:
        """Largest number of regimes."""
        return self.max_components

    def fit(
        self, train: Observations, *, warm: RegimeModel | None = None, seed: int = 0
    ) -> DPGMMModel:
        """Fit by variational Bayes; see `DetectorConfig.fit`.

        A fit that does not converge in 1,000 iterations is given 10,000. A warm fit begins at the
        components of `warm`, keeps their order, and may fill new ones behind them or drop some.

        Raises:
            RegimeError: too few bars, a constant series, collinear series, or no convergence.
        """
        trailing = self.inputs == "trailing"
        windows = (self.fast_window, self.slow_window) if trailing else RETURNS_WINDOWS
        windows_W = np.array(windows, np.float64)
        y_ND = training_rows(train, 10 * self.max_components + 2 * int(windows_W[1]))
        centre, scale = mean_scale(y_ND)
        points_NF = window_features(y_ND, windows_W, centre, scale) if trailing else y_ND
        standard = Standard.of(points_NF)
        before, start = DPGMMModel.warm(warm), None
        if before is not None:
            found, expected = before.inputs, (self.inputs, points_NF.shape[1])
            if found != expected:
                raise RegimeError(f"warm: expected inputs and features {expected}, found {found}")
            start = before.components.moved(before.standard, standard)
        settings = MixtureSettings(
            self.max_components, self.concentration, self.least_weight, self.num_starts
        )
        parts = fitted_components(standard.applied(points_NF), settings, start, seed)
        count = len(parts)
        model = described(
            DPGMMModel(
                start_K=parts.weight_K,
                drift_K=np.zeros(count),
                volatility_K=np.ones(count),
                transition_KK=np.eye(count),
                windows_W=windows_W,
                scale_P=np.array([centre, scale]),
                standard_XF=np.stack((standard.shift_F, standard.spread_F)),
                weight_K=parts.weight_K,
                offset_K=parts.offset_K,
                mean_KF=parts.mean_KF,
                covariance_KFG=parts.covariance_KFF,
                root_KFG=parts.precision_roots(),
            ),
            train,
        )
        if not trailing:
            model = _with_component_moments(model)
        return model if start is not None else model.ordered()


def _with_component_moments(model: DPGMMModel) -> DPGMMModel:
    """Descriptors from the components: a belief about one return says nothing of the next."""
    raw = model.components.moved(model.standard, None)
    return replace(
        model,
        drift_K=raw.mean_KF.mean(axis=1),
        volatility_K=np.sqrt(raw.covariance_KFF.mean(axis=(1, 2))),
    )

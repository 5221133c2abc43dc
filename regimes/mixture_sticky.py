r"""DPGMM emissions with a sticky transition filter: the baseline mixture, given a memory.

Emissions are the components of a Dirichlet-process mixture of the bar's returns
(`regimes.mixture_fit`); they stay as they are. The transition matrix alone is estimated by
expectation-maximisation, with a Dirichlet prior on its rows that has `stickiness` more
pseudo-transitions on the diagonal (Fox, Sudderth, Jordan & Willsky 2011, in its maximum a
posteriori form): :math:`A_{kj} \propto n_{kj} + \rho + \kappa 1\{k = j\}`. The belief is filtered
and then predicted by one step, see `regimes.base`.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pydantic
from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict

from markets.synthetic.chain import stationary
from regimes.base import Array, Observations, RegimeError, RegimeModel
from regimes.hmm_kernel import Law, Moments, Room, expect, filter_rows, law_of
from regimes.mixture_fit import Components, MixtureSettings, Standard, fitted_components
from regimes.trailing import training_rows
from regimes.trailing_model import ArrayModel

__all__ = ["StickyDPGMMConfig", "StickyDPGMMModel"]

ITERATIONS = 500
"""Most iterations of the transition matrix."""
TOLERANCE = 1e-5
"""Change of a transition probability at which they end."""


@dataclass(frozen=True, eq=False, kw_only=True)
class StickyDPGMMModel(ArrayModel):
    """Emissions of a mixture and a transition matrix.

    Attributes:
        weight_K: shares of the components in the mixture.
        mean_KD: means of the returns.
        covariance_KDE: their covariances (E = D).
    """

    kind: ClassVar[str] = "sticky_dpgmm"

    weight_K: Array
    mean_KD: Array
    covariance_KDE: Array

    def __post_init__(self) -> None:
        super().__post_init__()
        size = self.mean_KD.shape[1]
        if self.covariance_KDE.shape[1:] != (size, size):
            raise RegimeError(
                f"sticky_dpgmm: covariance_KDE: expected (K, {size}, {size}), found "
                f"{self.covariance_KDE.shape}"
            )
        try:
            law = law_of(
                self.transition_KK, self.mean_KD[:, :, None], self.covariance_KDE, math.inf
            )
        except np.linalg.LinAlgError as error:
            raise RegimeError(f"sticky_dpgmm: covariance_KDE: {error}") from error
        object.__setattr__(self, "_law", law)

    def components(self, series: int) -> Components:
        """The emissions in units of the returns.

        Raises:
            RegimeError: they are of another number of series.
        """
        if self.mean_KD.shape[1] != series:
            raise RegimeError(f"warm: expected {series} series, found {self.mean_KD.shape[1]}")
        return Components(self.weight_K, self.weight_K, self.mean_KD, self.covariance_KDE)

    def _run(self, y_TD: Array, state_S: Array, belief_TK: Array) -> None:
        law: Law = self._law  # type: ignore[attr-defined]
        bars, size = y_TD.shape
        if size != self.mean_KD.shape[1]:
            raise RegimeError(
                f"sticky_dpgmm: expected {self.mean_KD.shape[1]} series, found {size}"
            )
        scratch_Z = np.empty(len(state_S) + size)
        filter_rows(y_TD, np.empty((bars, 0)), law, state_S, scratch_Z, belief_TK, np.empty(bars))


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StickyDPGMMConfig:
    """Dirichlet-process mixture of returns with a sticky transition filter."""

    kind: Literal["sticky_dpgmm"] = "sticky_dpgmm"
    max_components: Annotated[int, Ge(1), Le(50)] = 5
    """Most components; the process leaves some empty."""
    least_weight: Annotated[float, Ge(0.0), Lt(1.0)] = 0.01
    """Share under which a component is dropped."""
    concentration: Annotated[float, Gt(0.0)] = 0.1
    """Concentration of the Dirichlet process: the larger, the more components."""
    stickiness: Annotated[float, Ge(0.0)] = 50.0
    """Pseudo-transitions from each regime to itself, kappa."""
    smoothing: Annotated[float, Gt(0.0)] = 0.1
    """Pseudo-transitions of every pair of regimes, rho."""
    num_starts: Annotated[int, Ge(1), Le(100)] = 2
    """Random starts of a fresh fit."""

    @property
    def capacity(self) -> int:
        """Largest number of regimes."""
        return self.max_components

    def fit(
        self, train: Observations, *, warm: RegimeModel | None = None, seed: int = 0
    ) -> StickyDPGMMModel:
        """Fit the mixture, then the transition matrix; see `DetectorConfig.fit`.

        A warm fit begins at the components of `warm` and keeps their order.

        Raises:
            RegimeError: too few bars, a constant series, collinear series, or no convergence.
        """
        y_ND = training_rows(train, 10 * self.max_components)
        standard = Standard.of(y_ND)
        before, start = StickyDPGMMModel.warm(warm), None
        if before is not None:
            start = before.components(y_ND.shape[1]).moved(Standard.none(y_ND.shape[1]), standard)
        settings = MixtureSettings(
            self.max_components, self.concentration, self.least_weight, self.num_starts
        )
        scaled = fitted_components(standard.applied(y_ND), settings, start, seed)
        parts = scaled.moved(standard, None)
        transition_KK = self._transition(train, parts)
        model = StickyDPGMMModel(
            start_K=stationary(transition_KK),
            drift_K=parts.mean_KF.mean(axis=1),
            volatility_K=np.sqrt(parts.covariance_KFF.mean(axis=(1, 2))),
            transition_KK=transition_KK,
            weight_K=parts.weight_K,
            mean_KD=parts.mean_KF,
            covariance_KDE=parts.covariance_KFF,
        )
        return model if start is not None else model.ordered()

    def _transition(self, train: Observations, parts: Components) -> Array:
        """Estimate the transition matrix with the emissions fixed, (K, K)."""
        count, size = parts.mean_KF.shape
        prior_KK = self.smoothing + self.stickiness * np.eye(count)
        bars = len(train)
        shape = (bars, count)
        room = Room(
            forward_TK=np.empty(shape),
            density_TK=np.empty(shape),
            weight_TK=np.empty(shape),
            white_D=np.empty(size),
            row_Q=np.empty(1 + size),
        )
        moments = Moments(
            np.empty((count, 1 + size, 1 + size)), np.empty(count), np.empty((count, count))
        )
        y_TD, x_TM = np.array(train.y_TD, order="C"), np.empty((bars, 0))
        transition_KK: Array = prior_KK / prior_KK.sum(axis=1, keepdims=True)
        for _ in range(ITERATIONS):
            law = law_of(transition_KK, parts.mean_KF[:, :, None], parts.covariance_KFF, math.inf)
            expect(y_TD, x_TM, law, room, moments)
            counted_KK = moments.count_KK + prior_KK
            following_KK: Array = counted_KK / counted_KK.sum(axis=1, keepdims=True)
            change = float(np.abs(following_KK - transition_KK).max())
            transition_KK = following_KK
            if change < TOLERANCE:
                break
        if not np.isfinite(transition_KK).all():
            raise RegimeError("sticky_dpgmm: the transition matrix diverged")
        return transition_KK

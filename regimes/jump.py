r"""Statistical jump model: clusters of trailing statistics, with a price for every change.

The fit minimises :math:`\sum_t \tfrac12 |z_t - c_{k_t}|^2 + \lambda\, \#\{t: k_t \ne k_{t-1}\}`
over centres and paths (Nystrup, Lindström & Madsen 2020; fitted by the package `jumpmodels`). The
statistics z are those of Shu, Yu & Mulvey (2024), arXiv:2402.05272: exponentially weighted downside
deviation and Sortino ratios, or volatility; clipped and standardised by the training span.

Online, the regime of bar t is the one of least value in the forward recursion
:math:`V_t(k) = \tfrac12|z_t - c_k|^2 + \min_j (V_{t-1}(j) + \lambda 1\{j \ne k\})`, which reads no
later bar and is `jumpmodels`' `predict_online`. The discrete model's belief is one-hot. The
continuous one (Aydinhan, Kolm, Mulvey & Shu 2024) moves on a grid over the simplex; its weights are
not calibrated probabilities either.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pydantic
from annotated_types import Ge, Gt, Le
from pydantic import ConfigDict, model_validator

from regimes.base import Array, Observations, RegimeError, RegimeModel
from regimes.jump_kernel import (
    DOWNSIDE,
    SORTINO,
    SUMS,
    VOLATILITY,
    JumpLaw,
    run,
    statistics_rows,
)
from regimes.trailing import described, mean_scale, training_rows
from regimes.trailing_model import ArrayModel

# The package silences numpy's warnings for the whole process when it is imported.
with np.errstate():
    from jumpmodels.jump import JumpModel as PackageModel

__all__ = ["JumpConfig", "JumpModel"]

CLIP = 3.0
"""Standard deviations beyond which a statistic is clipped, as in Shu, Yu & Mulvey (2024)."""
HalfLives = tuple[Annotated[float, Gt(0.0), Le(1000.0)], ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class JumpModel(ArrayModel):
    """A fitted jump model.

    Attributes:
        unit: standard deviation of the mean return in the training span.
        code_F: kind of each statistic, see `regimes.jump_kernel`.
        decay_F: weight of a bar against that of the bar after it, in (0, 1).
        lower_F: smallest raw value; below it is clipped.
        upper_F: largest raw value.
        centre_F: mean of the clipped values in the training span.
        spread_F: their standard deviation, > 0.
        mean_KF: centres of the regimes, standardised.
        vertex_NK: beliefs between which the model jumps; one-hot for the discrete one.
        penalty_NN: price of jumping from one to another.
    """

    kind: ClassVar[str] = "jump"

    unit: Array
    code_F: Array
    decay_F: Array
    lower_F: Array
    upper_F: Array
    centre_F: Array
    spread_F: Array
    mean_KF: Array
    vertex_NK: Array
    penalty_NN: Array

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.unit > 0.0 and (self.spread_F > 0.0).all()):
            raise RegimeError("jump: expected a unit and spreads > 0")
        if ((self.decay_F <= 0.0) | (self.decay_F >= 1.0)).any():
            raise RegimeError(f"jump: decay_F: expected values in (0, 1), found {self.decay_F}")
        if not np.allclose(self.vertex_NK.sum(axis=1), 1.0) or (self.vertex_NK < 0.0).any():
            raise RegimeError("jump: vertex_NK: expected probabilities that sum to 1")
        law = JumpLaw(
            float(self.unit),
            *(getattr(self, name) for name in JumpLaw._fields if name != "unit"),
        )
        object.__setattr__(self, "_law", law)

    @property
    def memory(self) -> int:
        """Numbers of state after the belief: sums of the statistics, values of the vertices."""
        return SUMS * len(self.code_F) + len(self.vertex_NK)

    def _run(self, y_TD: Array, state_S: Array, belief_TK: Array) -> None:
        law: JumpLaw = self._law  # type: ignore[attr-defined]
        scaled_F, next_N = np.empty(len(self.code_F)), np.empty(len(self.vertex_NK))
        run(y_TD, law, scaled_F, next_N, state_S, belief_TK)

    def features(self, observations: Observations) -> Array:
        """Clipped and standardised statistics of each bar, (T, F); NaN without an observation."""
        raw_TF = _statistics(observations.y_TD, float(self.unit), self.code_F, self.decay_F)
        scaling = _Scaling(self.lower_F, self.upper_F, self.centre_F, self.spread_F)
        return scaling.applied(raw_TF)


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class JumpConfig:
    """Statistical jump model on exponentially weighted statistics of the mean return."""

    kind: Literal["jump"] = "jump"
    num_regimes: Annotated[int, Ge(1), Le(8)] = 3
    """Number of regimes; those that the fit leaves empty are dropped."""
    penalty: Annotated[float, Ge(0.0)] = 5.0
    """Price of a change of regime, lambda, in half squared standard deviations."""
    continuous: bool = False
    """Whether beliefs move on a grid over the simplex instead of jumping between its corners."""
    grid: Annotated[int, Ge(2), Le(20)] = 10
    """Steps of the grid along an edge of the simplex; only of the continuous model."""
    volatility_half_lives: HalfLives = (5.0,)
    """Half-lives in bars of log volatilities."""
    downside_half_lives: HalfLives = ()
    """Half-lives in bars of log downside deviations; Shu, Yu & Mulvey (2024): (10,)."""
    sortino_half_lives: HalfLives = ()
    """Half-lives in bars of Sortino ratios; Shu, Yu & Mulvey (2024): (20, 60)."""
    num_starts: Annotated[int, Ge(1), Le(100)] = 5
    """Random starts of a fresh fit."""

    @model_validator(mode="after")
    def _statistics(self) -> "JumpConfig":
        if not self._half_lives:
            raise RegimeError("expected at least one half-life of a statistic, found none")
        if self.continuous and self.num_regimes > 4:
            raise RegimeError(
                f"num_regimes: expected <= 4 for a continuous model, found {self.num_regimes}"
            )
        return self

    @property
    def _half_lives(self) -> list[tuple[int, float]]:
        """Code and half-life of each statistic."""
        return [
            *((VOLATILITY, bars) for bars in self.volatility_half_lives),
            *((DOWNSIDE, bars) for bars in self.downside_half_lives),
            *((SORTINO, bars) for bars in self.sortino_half_lives),
        ]

    @property
    def capacity(self) -> int:
        """Largest number of regimes."""
        return self.num_regimes

    def fit(
        self, train: Observations, *, warm: RegimeModel | None = None, seed: int = 0
    ) -> JumpModel:
        """Fit by coordinate descent; see `DetectorConfig.fit`.

        The first bars, one longest half-life, are left out: their statistics rest on little. A
        warm fit has one start, the centres of `warm`, and keeps their order.

        Raises:
            RegimeError: too few bars, a constant series, collinear series, or a statistic that
                does not vary.
        """
        before = JumpModel.warm(warm)
        half_lives = self._half_lives
        skip = round(max(bars for _, bars in half_lives))
        y_ND = training_rows(train, 2 * skip + 20 * self.num_regimes)
        unit = mean_scale(y_ND)[1]
        code_F = np.array([float(code) for code, _ in half_lives])
        decay_F = np.array([0.5 ** (1.0 / bars) for _, bars in half_lives])
        if before is not None:
            self._require_alike(before, code_F)
        raw_NF = _statistics(y_ND, unit, code_F, decay_F)[skip:]
        scaling = _Scaling.of(raw_NF)
        scaled_NF = scaling.applied(raw_NF)
        start_KF = None if before is None else scaling.rescaled(before.mean_KF, before)
        mean_KF, vertex_NK, penalty_NN = self._fitted(scaled_NF, start_KF, seed)
        num_regimes = len(mean_KF)
        model = described(
            JumpModel(
                start_K=np.full(num_regimes, 1.0 / num_regimes),
                drift_K=np.zeros(num_regimes),
                volatility_K=np.ones(num_regimes),
                transition_KK=np.eye(num_regimes),
                unit=np.array(unit),
                code_F=code_F,
                decay_F=decay_F,
                lower_F=scaling.lower_F,
                upper_F=scaling.upper_F,
                centre_F=scaling.centre_F,
                spread_F=scaling.spread_F,
                mean_KF=mean_KF,
                vertex_NK=vertex_NK,
                penalty_NN=penalty_NN,
            ),
            train,
        )
        return model if start_KF is not None else model.ordered()

    def _require_alike(self, before: JumpModel, code_F: Array) -> None:
        """Refuse to begin at a model of other statistics, or of more regimes.

        Raises:
            RegimeError: it is such a model.
        """
        alike = np.array_equal(before.code_F, code_F)
        if not alike or before.num_regimes > self.num_regimes:
            raise RegimeError(
                f"warm: expected <= {self.num_regimes} regimes of the statistics {code_F}, found "
                f"{before.num_regimes} of {before.code_F}"
            )

    def _fitted(
        self, scaled_NF: Array, start_KF: Array | None, seed: int
    ) -> tuple[Array, Array, Array]:
        """Centres (K, F), vertices (N, K) and penalties (N, N) of the package's fit."""
        package = PackageModel(
            self.num_regimes if start_KF is None else len(start_KF),
            self.penalty,
            cont=self.continuous,
            grid_size=1.0 / self.grid,
            random_state=seed,
            n_init=self.num_starts,
        )
        if start_KF is not None:
            # It takes centres that it already has as one more start.
            package.n_init, package.centers_ = 0, start_KF
        with np.errstate(all="ignore"):
            # Without an order of its own the package keeps that of the start.
            package.fit(scaled_NF, ret_ser=scaled_NF[:, 0], sort_by=None)
        full_K = np.isfinite(package.centers_).all(axis=1)
        if not full_K.any():
            raise RegimeError("jump: the fit diverged, no regime has a finite centre")
        package.n_components = int(full_K.sum())
        penalty_NN = package.check_jump_penalty_mx()
        vertex_NK = package.prob_vecs
        if vertex_NK is None:
            vertex_NK = np.eye(package.n_components)
        return package.centers_[full_K], vertex_NK, penalty_NN


@dataclass(frozen=True)
class _Scaling:
    """Clipping and standardisation of the statistics."""

    lower_F: Array
    upper_F: Array
    centre_F: Array
    spread_F: Array

    @classmethod
    def of(cls, raw_NF: Array) -> "_Scaling":
        centre_F, spread_F = raw_NF.mean(axis=0), raw_NF.std(axis=0)
        lower_F, upper_F = centre_F - CLIP * spread_F, centre_F + CLIP * spread_F
        clipped_NF = np.clip(raw_NF, lower_F, upper_F)
        spread_F = clipped_NF.std(axis=0)
        if not (spread_F > 1e-12).all():
            raise RegimeError(
                f"training span: expected statistics that vary, found deviations {spread_F}"
            )
        return cls(lower_F, upper_F, clipped_NF.mean(axis=0), spread_F)

    def applied(self, raw_NF: Array) -> Array:
        scaled_NF: Array = (
            np.clip(raw_NF, self.lower_F, self.upper_F) - self.centre_F
        ) / self.spread_F
        return scaled_NF

    def rescaled(self, mean_KF: Array, before: JumpModel) -> Array:
        """Centres that were standardised by `before`, in this standardisation."""
        raw_KF = before.centre_F + before.spread_F * mean_KF
        rescaled_KF: Array = (raw_KF - self.centre_F) / self.spread_F
        return rescaled_KF


def _statistics(y_TD: Array, unit: float, code_F: Array, decay_F: Array) -> Array:
    """Raw statistics of each bar, (T, F)."""
    raw_TF = np.empty((len(y_TD), len(code_F)))
    state_S = np.zeros(SUMS * len(code_F))
    statistics_rows(np.array(y_TD, order="C"), unit, code_F, decay_F, state_S, raw_TF)
    return raw_TF

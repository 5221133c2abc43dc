r"""A rule of four regimes on trailing return and volatility: sideways, bull, bear and crisis.

No likelihood is involved. With m and s the mean and standard deviation of the last bars,

| regime | volatility s (of the fast window) | return m (of the slow window) |
|---|---|---|
| crisis | above its quantile in the training span | any |
| bull | below | above the band |
| bear | below | under minus the band |
| sideways | below | within the band |

The band is a quantile of |m| in the training span. The belief is one-hot: a rule has no doubts,
and its log score shows it.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pydantic
from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, model_validator

from markets.compiled import kernel
from regimes.base import Array, Observations, RegimeError, RegimeModel
from regimes.trailing import (
    described,
    mean_scale,
    require_window_state,
    require_windows,
    standard_mean,
    training_rows,
    window_features,
    window_memory,
    window_statistics,
)
from regimes.trailing_model import ArrayModel

__all__ = ["NAMES", "RuleConfig", "RuleModel"]

NAMES = ("sideways", "bull", "bear", "crisis")
"""Names of the rule's regimes; `RuleModel.code_K` indexes them."""
SIDEWAYS, BULL, BEAR, CRISIS = range(4)


@kernel
def _run(
    y_TD: Array,
    windows_W: Array,
    limits_P: Array,
    code_K: Array,
    statistics_F: Array,
    state_S: Array,
    belief_TK: Array,
) -> None:
    num_regimes = belief_TK.shape[1]
    for row in range(len(y_TD)):
        value = standard_mean(y_TD, row, limits_P[0], limits_P[1])
        if not np.isnan(value) and window_statistics(
            state_S, num_regimes, windows_W, value, statistics_F
        ):
            code = SIDEWAYS
            if statistics_F[1] > limits_P[2]:
                code = CRISIS
            elif statistics_F[2] > limits_P[3]:
                code = BULL
            elif statistics_F[2] < -limits_P[3]:
                code = BEAR
            for regime in range(num_regimes):
                state_S[regime] = 1.0 if int(code_K[regime]) == code else 0.0
        for regime in range(num_regimes):
            belief_TK[row, regime] = state_S[regime]


@dataclass(frozen=True, eq=False, kw_only=True)
class RuleModel(ArrayModel):
    """The rule's thresholds and what its regimes were like in the training span.

    Attributes:
        windows_W: bars of the fast window (volatility) and of the slow one (return), (2,).
        limits_P: mean and standard deviation of the return in the training span, the limit of the
            log standardised volatility, and the band of the standardised mean return, (4,).
        code_K: index into `NAMES` of each regime.
    """

    kind: ClassVar[str] = "rule"

    windows_W: Array
    limits_P: Array
    code_K: Array

    def __post_init__(self) -> None:
        super().__post_init__()
        if sorted(self.code_K) != [0.0, 1.0, 2.0, 3.0]:
            raise RegimeError(f"rule: code_K: expected 0, 1, 2, 3 in some order: {self.code_K}")
        require_windows(self.kind, self.windows_W)
        if self.limits_P.shape != (4,):
            raise RegimeError(f"rule: limits_P: expected four limits, found {self.limits_P}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regimes in their order."""
        return tuple(NAMES[int(code)] for code in self.code_K)

    @property
    def memory(self) -> int:
        """Numbers of state after the belief: two windows."""
        return window_memory(int(self.windows_W[0]), int(self.windows_W[1]))

    def _check_state(self, state_S: Array) -> None:
        require_window_state(self.kind, state_S, self.num_regimes, self.windows_W)

    def _run(self, y_TD: Array, state_S: Array, belief_TK: Array) -> None:
        scratch_F = np.empty(4)
        _run(y_TD, self.windows_W, self.limits_P, self.code_K, scratch_F, state_S, belief_TK)


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RuleConfig:
    """Trailing return and volatility against thresholds of the training span."""

    kind: Literal["rule"] = "rule"
    volatility_window: Annotated[int, Ge(2), Le(1000)] = 20
    """Bars of the trailing volatility."""
    return_window: Annotated[int, Ge(2), Le(1000)] = 60
    """Bars of the trailing mean return, at least `volatility_window`."""
    crisis_quantile: Annotated[float, Gt(0.0), Lt(1.0)] = 0.85
    """Share of the training span with a volatility below that of a crisis."""
    band_quantile: Annotated[float, Ge(0.0), Lt(1.0)] = 0.4
    """Share of the training span with a smaller absolute mean return than the band's edge."""

    @model_validator(mode="after")
    def _windows(self) -> "RuleConfig":
        if self.return_window < self.volatility_window:
            raise RegimeError(
                f"return_window: expected >= volatility_window = {self.volatility_window}, "
                f"found {self.return_window}"
            )
        return self

    @property
    def capacity(self) -> int:
        """Four regimes."""
        return len(NAMES)

    def fit(
        self, train: Observations, *, warm: RegimeModel | None = None, seed: int = 0
    ) -> RuleModel:
        """Measure the thresholds; see `DetectorConfig.fit`.

        Regimes are ordered by the volatility that their bars had in the training span; `names`
        tells which is which. All four exist even when one never occurred. A warm fit begins
        nowhere else, and keeps the order of `warm`.

        Raises:
            RegimeError: fewer observed bars than twice the return window, a constant series,
                collinear series, or a warm model of another kind.
        """
        del seed
        before = RuleModel.warm(warm)
        y_ND = training_rows(train, 2 * self.return_window)
        fast, slow = self.volatility_window, self.return_window
        centre, scale = mean_scale(y_ND)
        statistics_NF = window_features(y_ND, np.array([fast, slow], np.float64), centre, scale)
        limits = (
            centre,
            scale,
            float(np.quantile(statistics_NF[:, 1], self.crisis_quantile)),
            float(np.quantile(np.abs(statistics_NF[:, 2]), self.band_quantile)),
        )
        model = described(
            RuleModel(
                start_K=np.full(4, 0.25),
                drift_K=np.zeros(4),
                volatility_K=np.ones(4),
                transition_KK=np.full((4, 4), 0.25),
                windows_W=np.array([fast, slow], np.float64),
                limits_P=np.array(limits),
                code_K=np.arange(4.0),
            ),
            train,
        )
        if before is not None:
            return model.permuted(before.code_K.astype(np.int64))
        return model.ordered()

"""A small model of regimes whose every number is known, and configurations that fit as told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from regimes.base import Array, Observations, RegimeError, RegimeModel


@dataclass(frozen=True, eq=False)
class FakeModel:
    """A chain of normal laws, filtered with plain numpy."""

    kind: ClassVar[str] = "fake"

    drift: Array
    volatility: Array
    transition: Array

    @property
    def num_regimes(self) -> int:
        return len(self.drift)

    def start(self) -> Array:
        return np.full(self.num_regimes, 1.0 / self.num_regimes)

    def advance(self, state_S: Array, y_D: Array, x_M: Array) -> Array:
        if np.isfinite(y_D).all():
            score_K = -0.5 * ((y_D.mean() - self.drift) / self.volatility) ** 2
            likelihood_K = np.exp(score_K - score_K.max()) / self.volatility
            state_S *= likelihood_K
            state_S /= state_S.sum()
        belief_K = np.zeros(self.num_regimes)
        for regime in range(self.num_regimes):
            belief_K += state_S[regime] * self.transition[regime]
        state_S[:] = belief_K
        return belief_K

    def filter(self, observations: Observations, state_S: Array | None = None) -> Array:
        state_S = self.start() if state_S is None else state_S
        rows = zip(observations.y_TD, observations.x_TM, strict=True)
        return np.array([self.advance(state_S, y_D, x_M) for y_D, x_M in rows])

    def permuted(self, order_K: NDArray[np.int64]) -> Self:
        inner = self.transition[np.ix_(order_K, order_K)]
        return type(self)(self.drift[order_K], self.volatility[order_K], inner)

    def to_arrays(self) -> dict[str, Array]:
        return {
            "drift": self.drift, "volatility": self.volatility, "transition": self.transition
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> Self:
        return cls(arrays["drift"], arrays["volatility"], arrays["transition"])


def fake_model(volatility: list[float], stay: float = 0.98) -> FakeModel:
    regimes = len(volatility)
    leave = (1.0 - stay) / max(regimes - 1, 1)
    transition = np.full((regimes, regimes), leave)
    np.fill_diagonal(transition, stay if regimes > 1 else 1.0)
    return FakeModel(-0.1 * np.array(volatility), np.array(volatility), transition)


class BrokenModel(FakeModel):
    """Its beliefs are NaN where the observation is above 1, and its state with them."""

    def advance(self, state_S: Array, y_D: Array, x_M: Array) -> Array:
        if y_D[0] > 1.0:
            state_S[:] = np.nan
            return np.full(self.num_regimes, np.nan)
        return super().advance(state_S, y_D, x_M)


def estimated(train: Observations, warm: RegimeModel | None) -> RegimeModel:
    """Two regimes about 1 % and 3 %, moved a little by the volatility of the training span."""
    y_n = train.mean[train.seen]
    if len(y_n) < 10:
        raise RegimeError(f"fake: expected 10 bars, found {len(y_n)}")
    moved = 0.9 + 0.1 * float(y_n.std()) / 0.02
    return fake_model([0.01 * moved, 0.03 * moved])


@dataclass(frozen=True)
class FakeConfig:
    """Fits as it is told; counts nothing, remembers nothing."""

    how: Callable[[Observations, RegimeModel | None], RegimeModel] = estimated
    capacity: int = 4
    kind: str = "fake"

    def fit(
        self, train: Observations, *, warm: RegimeModel | None = None, seed: int = 0
    ) -> RegimeModel:
        return self.how(train, warm)


def volatile(bars: int, seed: int = 0, *, stay: float = 0.98) -> Array:
    """Log returns of two regimes, volatility 1 % and 3 %."""
    rng = np.random.default_rng(seed)
    regime_T = np.cumsum(rng.random(bars) > stay) % 2
    return rng.standard_normal(bars) * np.where(regime_T == 1, 0.03, 0.01)

"""Configuration of regime detection: which detector, what it reads, when it learns on."""

from typing import Annotated, Literal, Self

from annotated_types import Ge, Le
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from regimes.inputs import InputConfig
from regimes.kinds import AnyDetectorConfig
from regimes.online import OnlineDetector, Schedule

__all__ = ["AnyDetectorConfig", "OracleRegime", "RegimeConfig"]

REGRESSIONS = ("switching_regression",)
"""Kinds that read regressors."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RegimeConfig:
    """A detector whose beliefs an agent sees: probabilities, their entropy, drift, volatility."""

    kind: Literal["detected"] = "detected"
    """Discriminator."""
    detector: AnyDetectorConfig
    """Which model, and its settings."""
    inputs: InputConfig = Field(default_factory=InputConfig)
    """What it observes."""
    refit_every: Annotated[int, Ge(1)] | None = None
    """Bars after the training span between two refits; None = fitted once."""
    window: Annotated[int, Ge(2)] | None = None
    """Last bars that a refit sees, more than `refit_every`; None = as many as the training span."""
    agreement: Annotated[float, Ge(0.0), Le(1.0)] = 0.8
    """Least agreement of a refit's regimes with the old ones after matching, in [0, 1]; a refit
    below is refused with a warning."""
    seed: Annotated[int, Ge(0)] = 0
    """Of the fit's random restarts; the same for all agents of a run."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.inputs.lags and self.detector.kind not in REGRESSIONS:
            raise ValueError(
                f"inputs.lags: expected 0 for {self.detector.kind}, which reads no regressors, "
                f"was {self.inputs.lags}"
            )
        every, window = self.refit_every, self.window
        if every is not None and window is not None and window <= every:
            raise ValueError(
                f"window: expected more bars than refit_every = {every}, so that models share "
                f"what they know, was {window}"
            )
        return self

    @property
    def schedule(self) -> Schedule:
        """When the detector learns on."""
        return Schedule(every=self.refit_every, window=self.window, agreement=self.agreement)

    def build(self) -> OnlineDetector:
        """A detector that is not fitted yet."""
        return OnlineDetector(self.detector, self.schedule, seed=self.seed)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class OracleRegime:
    """The exact Bayes filter of a synthetic market, whose parameters are known."""

    kind: Literal["oracle"] = "oracle"
    """Discriminator."""

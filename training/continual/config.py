"""Which phases a stream is made of, and what keeps earlier ones from being forgotten."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from agents.continual.config import RemedyConfig
from evaluation.acceptance_config import AcceptanceConfig

_STRICT = ConfigDict(extra="forbid")
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RegimePhases:
    """Phases of a market with a known answer: each belongs to one of its regimes."""

    kind: Literal["regimes"] = "regimes"
    """Discriminator."""
    mixing: Literal["pure", "mixed"] = "pure"
    """`pure`: a phase's regime never changes; `mixed`: it governs `dominance` of the bars, and the
    others come between."""
    dominance: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.8
    """Share of the bars that a mixed phase's regime governs."""
    order: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Regimes of the phases of a cycle; None = 0, 1, ..."""
    cycles: Count = 1
    """How often the cycle is played."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CalendarPhases:
    """Phases of recorded data between dates."""

    kind: Literal["calendar"] = "calendar"
    """Discriminator."""
    borders: Annotated[tuple[date, ...], Field(min_length=1)]
    """First days of the phases from the second on, ascending, inside the training span."""
    names: tuple[str, ...] = ()
    """Of the phases; phases of one name are one regime. None = their first days, each its own."""
    holdout: Annotated[float, Field(gt=0.0, lt=0.9)] = 0.2
    """Last share of a phase's bars, which is judged on and not learned from."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if list(self.borders) != sorted(set(self.borders)):
            found = ", ".join(map(str, self.borders))
            raise ValueError(f"borders: expected ascending dates, found {found}")
        if self.names and len(self.names) != len(self.borders) + 1:
            raise ValueError(
                f"names: expected {len(self.borders) + 1}, one for each phase, found "
                f"{len(self.names)}"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DetectorPhases:
    """Phases of recorded data where the detector of regimes has seen another one for a while.

    The borders are causal: a phase ends at a bar by what was known at that bar.
    """

    kind: Literal["detector"] = "detector"
    """Discriminator."""
    confirm: Count = 20
    """Bars in a row in which another regime is the likeliest, before a new phase begins."""
    minimum: Count = 250
    """Least bars of a phase; a change within them is waited out."""
    holdout: Annotated[float, Field(gt=0.0, lt=0.9)] = 0.2
    """Last share of a phase's bars, which is judged on and not learned from."""


PhasesConfig = Annotated[
    RegimePhases | CalendarPhases | DetectorPhases, Field(discriminator="kind")
]
"""Where phases come from."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class GateConfig:
    """Every update must be accepted, or everything returns to the state that last was."""

    acceptance: AcceptanceConfig = Field(default_factory=AcceptanceConfig)
    """What an update must show."""
    every: Count | None = None
    """Steps of an update; rounded up to whole rollouts. None = a whole phase."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Updates in a row that may be rejected before the phase ends with the champion."""
    slower: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Factor on the learning rates of each further attempt after a rejection."""
    states: Count = 1024
    """States kept of a regime, on which the divergence from the champion is measured."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ContinualConfig:
    """A stream of phases; `schedule.total_steps` are those of one phase."""

    phases: PhasesConfig = Field(default_factory=RegimePhases)
    """Where they come from."""
    remedies: tuple[RemedyConfig, ...] = ()
    """What protects earlier phases; none is plain fine-tuning."""
    gate: GateConfig | None = None
    """Judge every update before it is accepted; None accepts all."""
    references: tuple[Literal["scratch", "joint"], ...] = ()
    """Trainings beside the stream that it is held against, with the same seeds and without remedies
    and gate. `scratch`: each regime alone, from the beginning, for the steps of a phase, which
    tells forward transfer and plasticity; `joint`: all regimes at once for the steps of the whole
    stream, which tells intransigence. They cost as many phases as there are regimes, or as the
    stream has."""
    joint: bool = False
    """Play all phases' regimes at once for as many steps as the whole stream: an upper reference
    for streams, not one itself."""
    reset_optimizer: bool = True
    """Forget the optimiser's moments at a phase's beginning."""
    reset_noise: bool = True
    """Start each phase with the first deviations of the actions (`log_std_init`)."""
    curve_episodes: Annotated[int, Field(ge=2)] = 64
    """Episodes of the judgements at checkpoints within a phase, of which the curves are drawn."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if len(set(self.references)) < len(self.references):
            raise ValueError(f"references: expected each once, found {list(self.references)}")
        if self.references and self.joint:
            raise ValueError(
                f"references: expected none with joint=true, which is one itself, found "
                f"{list(self.references)}"
            )
        return self

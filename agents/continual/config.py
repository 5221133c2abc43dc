"""Which remedies against forgetting, and their settings."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Strength = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Parts = Annotated[tuple[str, ...], Field(min_length=1)]
"""Parts of a policy: `all`, `trunk`, `heads`, `head:k`, `gate`."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class _Anchored:
    """What all remedies share that pull parameters to where a phase left them."""

    strength: Strength = 100.0
    """Lambda, at an importance whose mean over each layer is 1; 0 protects nothing."""
    protect: Parts = ("all",)
    """Parts of the policy that are protected."""
    form: Literal["proximal", "penalty"] = "proximal"
    """`proximal`: theta <- (theta + lr Lambda F theta*) / (1 + lr Lambda F) after each step of the
    optimiser, stable for any Lambda; `penalty`: Lambda / 2 sum F (theta - theta*)^2 in the loss."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EWCConfig(_Anchored):
    """Elastic weight consolidation: the Fisher information of every earlier phase."""

    kind: Literal["ewc"] = "ewc"
    """Discriminator."""
    states: Count = 2048
    """States of a phase that its Fisher information is taken of, at most."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class OnlineEWCConfig(_Anchored):
    """Online EWC: one anchor, and Fisher information that fades."""

    kind: Literal["online_ewc"] = "online_ewc"
    """Discriminator."""
    states: Count = 2048
    """States of a phase that its Fisher information is taken of, at most."""
    decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.95
    """gamma in F <- gamma F + F_i."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class L2Config(_Anchored):
    """A pull to the end of every earlier phase, the same for all parameters."""

    kind: Literal["l2"] = "l2"
    """Discriminator."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class MASConfig(_Anchored):
    """Memory aware synapses: how much the outputs move with a parameter."""

    kind: Literal["mas"] = "mas"
    """Discriminator."""
    states: Count = 2048
    """States of a phase that importance is taken of, at most."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SIConfig(_Anchored):
    """Synaptic intelligence: what a parameter's path has done for the loss."""

    kind: Literal["si"] = "si"
    """Discriminator."""
    damping: Annotated[float, Field(gt=0.0)] = 1e-3
    """xi, in squared units of a parameter."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class InitialWeightsConfig:
    """A pull to the initial weights: plasticity is kept by staying near where learning was easy."""

    kind: Literal["initial_weights"] = "initial_weights"
    """Discriminator."""
    strength: Strength = 1e-3
    """Lambda of Lambda / 2 sum (theta - theta_0)^2, applied as a proximal step."""
    protect: Parts = ("all",)
    """Parts of the policy that are pulled."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PackNetConfig:
    """PackNet: after a phase the largest free weights are kept for it for good."""

    kind: Literal["packnet"] = "packnet"
    """Discriminator."""
    phases: Annotated[int, Field(ge=2)]
    """Regimes that must find room; each takes an equal share of the weights."""
    protect: Parts = ("all",)
    """Parts of the policy that are shared out."""
    retrain: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Last share of a phase's steps: learned after the pruning, with the kept weights only."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CloningConfig:
    """Behaviour cloning of the policies that earlier phases ended with, on states kept of them."""

    kind: Literal["cloning"] = "cloning"
    """Discriminator."""
    strength: Strength = 1.0
    """c of c E KL(kept law || policy), reward units a nat."""
    states: Count = 2048
    """States that are kept of a phase."""
    batch: Count = 256
    """Of them, how many enter a gradient step."""
    belief: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Only states in which the phase's own regime is believed in more than this are kept."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RehearsalConfig:
    """Some of the environments play earlier phases."""

    kind: Literal["rehearsal"] = "rehearsal"
    """Discriminator."""
    share: Share = 1.0 / 3.0
    """Of the environments, from the second phase on; earlier regimes share them evenly."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class GrowConfig:
    """An option for each new regime: one more learns when it comes, earlier ones are frozen."""

    kind: Literal["grow"] = "grow"
    """Discriminator."""
    copy: bool = True
    """Start a new option where the latest one stands, instead of at its own initial weights."""
    freeze: tuple[str, ...] = ()
    """Parts that are frozen with the options after the first phase: `trunk`, `gate`."""


RemedyConfig = Annotated[
    EWCConfig
    | OnlineEWCConfig
    | L2Config
    | MASConfig
    | SIConfig
    | InitialWeightsConfig
    | PackNetConfig
    | CloningConfig
    | RehearsalConfig
    | GrowConfig,
    Field(discriminator="kind"),
]
"""What protects earlier phases."""

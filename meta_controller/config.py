"""Which controller chooses among options, how its choice is executed, and what is charged for."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

_FROZEN = ConfigDict(extra="forbid")
_NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
_Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class ResidualController:
    """Learned deviation from the regime-proportional fallback: softmax(log max(C pi, floor) + g).

    At g = 0, where it starts, it is the floored fallback.
    """

    kind: Literal["residual"] = "residual"
    """Discriminator."""
    hidden: _Widths = (32,)
    """Widths of the gate."""
    floor: Annotated[float, Field(gt=0.0, le=0.5)] = 0.01
    """Least weight of the fallback inside the logarithm, (0, 0.5]."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class FreeController:
    """Learned gate softmax(g), which starts uniform and is told nothing of the regimes' meaning."""

    kind: Literal["free"] = "free"
    """Discriminator."""
    hidden: _Widths = (32,)
    """Widths of the gate."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class FallbackController:
    """Weights in proportion to the belief about regimes, C pi, without learning."""

    kind: Literal["fallback"] = "fallback"
    """Discriminator."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class OracleController:
    """The fallback of the true regime, on synthetic markets: an upper reference, not an agent."""

    kind: Literal["oracle"] = "oracle"
    """Discriminator."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class FixedController:
    """Always one option."""

    kind: Literal["fixed"] = "fixed"
    """Discriminator."""
    option: Annotated[int, Field(ge=0)] = 0
    """Its number."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class UniformController:
    """Always the mean of all options."""

    kind: Literal["uniform"] = "uniform"
    """Discriminator."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class MultiplicativeWeightsController:
    r"""Expert weights by what each option would have earned (fixed share of Hedge), no gradient.

        w <- (1 - share) w exp(rate x) / sum + share / K,   x in [0, 1] the scaled payoffs

    A bar's payoffs are scaled by the range of all payoffs up to and with it. With share = 0 the
    regret in x against the best option after T bars,

        max_k sum_t x_t(k) - sum_t sum_k w_t(k) x_t(k)  <=  log K / rate + rate T / 8,

    is at most sqrt(T log K / 2) at rate = sqrt(8 log K / T). In units of the payoffs it is at most
    that, plus one for each bar before the range was complete, times the range. With a share it
    tracks the best sequence of options.

    Source: Cesa-Bianchi & Lugosi 2006, "Prediction, Learning, and Games", theorem 2.2; Herbster &
    Warmuth 1998, "Tracking the best expert".
    """

    kind: Literal["multiplicative_weights"] = "multiplicative_weights"
    """Discriminator."""
    rate: Annotated[float, Field(gt=0.0, le=100.0)] = 0.5
    """Learning rate on payoffs scaled to [0, 1], > 0."""
    share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    """Weight that is shared out evenly in each bar, 0 .. 1."""


ControllerConfig = Annotated[
    ResidualController
    | FreeController
    | FallbackController
    | OracleController
    | FixedController
    | UniformController
    | MultiplicativeWeightsController,
    Field(discriminator="kind"),
]
"""Who decides which option acts."""
LEARNED = ("residual", "free")
"""Controllers with a gate that is trained."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class ExecutionConfig:
    """How the controller's choice becomes an action."""

    mode: Literal["blended", "hard", "alternate"] = "blended"
    """`blended`: all options act by their weights; `hard`: one at a time (call-and-return);
    `alternate`: both are trained, each in its share of the environments, and blended is judged."""
    hard_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.25
    """Share of the environments in hard mode while alternating, (0, 1)."""
    beta_max: Annotated[float, Field(gt=0.0, le=1.0)] = 0.22
    """Largest probability that an option ends in a bar, and so the largest disruption of a blended
    step, (0, 1]."""
    initial_termination: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Probability at the start of the training, below `beta_max`."""
    capped: bool = False
    """Controllers that do not learn move by `beta_max` a bar too, instead of at once."""

    @model_validator(mode="after")
    def _starts_below(self) -> Self:
        if self.initial_termination >= self.beta_max:
            raise ValueError(
                f"initial_termination: expected below beta_max = {self.beta_max}, was "
                f"{self.initial_termination}"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class TermsConfig:
    """What is added to the loss, and taken off the reward."""

    switch_cost: _NonNegative = 0.0
    """Taken off the reward of a bar with a switch in hard mode (deliberation cost), in units of
    the reward before `reward_scale`."""
    termination: _NonNegative = 0.0
    """Weight of the mean ending weight B in blended mode: the same there."""
    balance: _NonNegative = 0.0
    """Weight of KL(mean weights || uniform): against one option taking all."""
    diversity: _NonNegative = 0.0
    """Weight of the mean squared Hellinger distance between options, maximised."""
    anchor: _NonNegative = 0.0
    """Weight of the mean square of the gate's deviation g from the fallback."""
    anneal: bool = True
    """Let balance and anchor fall linearly to zero over the training."""
    all_options: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Part of the action's loss in hard mode that trains every option which could have taken the
    action, by P(option | state, option before, action), instead of the one that did, 0 .. 1."""
    advantages: Literal["batch", "option"] = "batch"
    """Advantages of actions are standardised over the minibatch, or under each option apart."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class MetaControllerConfig:
    """The policy over options."""

    controller: ControllerConfig = Field(default_factory=ResidualController)
    """Who decides."""
    execution: ExecutionConfig = Field(default_factory=ExecutionConfig)
    """How it is done."""
    terms: TermsConfig = Field(default_factory=TermsConfig)
    """What is charged for."""
    regime_map: tuple[tuple[_NonNegative, ...], ...] | None = None
    """C, a row for each option and a column for each regime: weight of the option there. None
    gives regime r to option r (the options r, r + R, ... evenly, when there are more of them; to
    option r mod K when there are fewer)."""
    head_start: Annotated[int, Field(ge=0)] = 0
    """First environment steps in which the option of the likeliest regime acts alone, so that each
    learns where it is meant to act; the gate does not learn meanwhile. Of several options of a
    regime (`regime_map`) it is the first."""

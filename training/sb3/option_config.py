"""Configuration of an agent made of options."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from agents.options import LearnedOption, OptionConfig, OptionNetworkConfig
from meta_controller.config import LEARNED, MetaControllerConfig
from training.sb3.config import PPOConfig


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class OptionAgentConfig:
    """Options under a meta-controller, trained by PPO."""

    kind: Literal["options"] = "options"
    """Discriminator."""
    options: Annotated[tuple[OptionConfig, ...], Field(min_length=1)] = (LearnedOption(),) * 3
    """What each option is: learned, a rule, or a frozen agent; at least one."""
    meta_controller: MetaControllerConfig = Field(default_factory=MetaControllerConfig)
    """Who decides which of them acts, and how."""
    policy: OptionNetworkConfig = Field(default_factory=OptionNetworkConfig)
    """Networks."""
    ppo: PPOConfig = Field(default_factory=PPOConfig)
    """Hyper-parameters."""

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        controller, execution = self.meta_controller.controller, self.meta_controller.execution
        if controller.kind == "multiplicative_weights":
            raise ValueError(
                "meta_controller.controller: expected another kind for training, found "
                "multiplicative_weights, which learns while it acts; train the options under "
                "fallback or residual and judge them under it"
            )
        if controller.kind == "oracle" and execution.mode != "blended":
            raise ValueError(
                "meta_controller.execution.mode: expected blended for the oracle controller, "
                f"found {execution.mode}"
            )
        if self.meta_controller.terms.all_options > 0.0 and execution.mode == "blended":
            raise ValueError(
                "meta_controller.terms.all_options: expected 0.0 where all options act together "
                f"(mode blended), was {self.meta_controller.terms.all_options}"
            )
        learned = any(isinstance(option, LearnedOption) for option in self.options)
        if not learned and self.meta_controller.head_start:
            raise ValueError(
                "meta_controller.head_start: expected 0 without learned options, which it is for, "
                f"was {self.meta_controller.head_start}"
            )
        if not learned and controller.kind not in LEARNED:
            raise ValueError(
                "options: expected a learned option, or a controller that learns "
                f"({' or '.join(LEARNED)}), found nothing to train"
            )
        return self

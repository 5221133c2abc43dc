"""Hyper-parameters of PPO."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PPOConfig:
    """Hyper-parameters of PPO."""

    steps: Count = 128
    """Steps of each environment between two updates, >= 1."""
    minibatch: Annotated[int, Field(ge=2)] = 2048
    """Samples of a gradient step; must divide steps * environments."""
    epochs: Count = 4
    """Passes over a rollout, >= 1."""
    learning_rate: Positive = 1e-3
    """Adam's step size of the actor."""
    critic_learning_rate: Positive = 1e-3
    """Adam's step size of the critic."""
    anneal: bool = True
    """Let both step sizes fall linearly to zero over the training."""
    discount: Fraction = 0.99
    """Discount gamma a bar, 0 .. 1."""
    trace: Fraction = 0.95
    """Lambda of generalised advantages, 0 .. 1."""
    clip_range: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Clip range of the probability ratio, 0 .. 1."""
    entropy: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the entropy bonus, reward units a nat."""
    value: Positive = 0.5
    """Weight of the value loss (only its ratio to others matters when the encoder is shared)."""
    max_grad_norm: Positive = 0.5
    """Largest gradient norm, of the actor and of the critic apart."""
    target_kl: Positive | None = None
    """Stop the actor's epochs when an epoch's mean KL is above this, nats; None = never."""
    reward_scale: Positive = 100.0
    """Factor on the reward before learning (100: log returns in percent), not on statistics."""
    noise_final: Annotated[float, Field(ge=-5.0, le=2.0)] | None = None
    """Log standard deviation of the actions at the end, reached linearly from
    `policy.log_std_init`; None = it is learned."""
    threads: Count = 1
    """Threads of a single torch operation; results do not depend on the machine's cores when 1."""
    concurrent: bool = True
    """Update actor and critic in two threads; the same bits as one after the other."""

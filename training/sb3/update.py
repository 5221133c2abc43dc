"""The update of PPO: epochs of minibatches, actor and critic side by side.

With encoders of their own the actor and the critic share no parameter, so their updates are
independent and run in two threads, each operation on one core. The result has the same bits as one
after the other. With a shared encoder both losses are one, and run in one thread.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from agents.continual.protocol import Remedy
from agents.encoder import EncodingPlan, MarketEncoder, NoEncoder
from agents.losses import (
    approximate_kl,
    categorical_entropy,
    categorical_log_prob,
    clip_fraction,
    clipped_surrogate,
    gaussian_entropy,
    gaussian_log_prob,
    squared_value_error,
    standardised,
)
from agents.networks import ActorCritic
from training.sb3.buffer import Batch, rows_of, taken

Samples = Any
"""A `Batch`, or one with more columns (`OptionBatch`): what a learner's loss takes."""
Encoder = MarketEncoder | NoEncoder
Loss = Callable[[Samples], tuple[Tensor, dict[str, Tensor]]]


class LossWeights(NamedTuple):
    """Weights and ranges of PPO's loss."""

    clip_range: float
    entropy: float
    value: float


class Losses(ABC):
    """The losses of an actor and of a critic, apart or together, each over encoded bars.

    Args:
        encoders: of the actor and of the critic; the same one where they share it.
        features_TC: features of the market.
        plan: how the rollout's bars are encoded.
    """

    def __init__(
        self, encoders: tuple[Encoder, Encoder], features_TC: Tensor, plan: EncodingPlan
    ) -> None:
        self._encoders, self._features_TC, self._plan = encoders, features_TC, plan

    def policy(self, batch: Samples) -> tuple[Tensor, dict[str, Tensor]]:
        """The actor's loss and its diagnostics."""
        return self._policy(batch, *self._encoded(self._encoders[0], batch))

    def value(self, batch: Samples) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's loss and its diagnostics."""
        return self._value(batch, *self._encoded(self._encoders[1], batch))

    def both(self, batch: Samples) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum of the two losses, over one encoding of the bars."""
        encoded = self._encoded(self._encoders[0], batch)
        policy, policy_stats = self._policy(batch, *encoded)
        value, value_stats = self._value(batch, *encoded)
        return policy + value, policy_stats | value_stats

    def _encoded(self, encoder: Encoder, batch: Samples) -> tuple[Tensor, Tensor]:
        return encoder.table(self._features_TC, batch.bars_B, self._plan)

    @abstractmethod
    def _policy(
        self, batch: Samples, embedding: Tensor, rows: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]: ...

    @abstractmethod
    def _value(
        self, batch: Samples, embedding: Tensor, rows: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]: ...


class Objective(Losses):
    """PPO's losses of the flat networks on a batch: clipped surrogate less entropy, squared error.

    Args:
        net: actor and critic.
        features_TC: features of the market.
        plan: how the rollout's bars are encoded.
        weights: clip range and weights.
        discrete: categorical instead of Gaussian actions.
    """

    def __init__(
        self,
        net: ActorCritic,
        features_TC: Tensor,
        plan: EncodingPlan,
        weights: LossWeights,
        *,
        discrete: bool,
    ) -> None:
        super().__init__((net.encoder, net.critic_encoder), features_TC, plan)
        self._net, self._weights, self._discrete = net, weights, discrete

    def _policy(
        self, batch: Batch, embedding: Tensor, rows: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        actor, weights = self._net.actor, self._weights
        half = actor.market_half(embedding)
        output = actor.from_market_half(half, rows, batch.account_BP)
        log_prob, entropy = self._log_prob(batch.actions_BD, output)
        log_ratio = log_prob - batch.log_prob_B
        surrogate = clipped_surrogate(
            log_ratio, standardised(batch.advantages_B), weights.clip_range
        )
        fixed = log_ratio.detach()
        stats = {
            "policy_gradient_loss": surrogate.detach(),
            "entropy_loss": -entropy.detach(),
            "approx_kl": approximate_kl(fixed),
            "clip_fraction": clip_fraction(fixed, weights.clip_range),
        }
        return surrogate - weights.entropy * entropy, stats

    def _log_prob(self, actions_BD: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        if self._discrete:
            log_prob = categorical_log_prob(actions_BD[:, 0].long(), output)
            return log_prob, categorical_entropy(output).mean()
        log_std = self._net.log_std
        return gaussian_log_prob(actions_BD, output, log_std), gaussian_entropy(log_std)

    def _value(
        self, batch: Batch, embedding: Tensor, rows: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        critic = self._net.critic
        half = critic.market_half(embedding)
        values = critic.from_market_half(half, rows, batch.account_BP).squeeze(1)
        error = squared_value_error(values, batch.returns_B)
        return self._weights.value * error, {"value_loss": error.detach()}


@dataclass
class Learner:
    """An optimiser with its loss and the groups of parameters that are clipped apart.

    SB3 clips actor and critic by their common norm, so that a large value loss slows the actor;
    here each has its own.
    """

    optimizer: torch.optim.Optimizer
    loss: Loss
    clip_groups: Sequence[Sequence[nn.Parameter]]
    max_grad_norm: float
    target_kl: float | None = None
    remedy: Remedy | None = None
    """What keeps earlier phases from being forgotten (`agents.continual`); None = nothing."""
    stats: dict[str, list[Tensor]] = field(default_factory=dict)
    steps: int = 0
    """Gradient steps taken."""
    norms: list[list[Tensor]] = field(default_factory=list)
    """Of each step, the gradient's norm in each of `clip_groups`, remedies included, unclipped."""

    def run(self, batch: Samples, permutations_EB: Sequence[Tensor], minibatch: int) -> None:
        """Take a gradient step for each minibatch of each epoch.

        Args:
            batch: samples of the rollout.
            permutations_EB: one permutation of the samples for each epoch.
            minibatch: samples of a gradient step.
        """
        for permutation in permutations_EB:
            shuffled = taken(batch, permutation)
            for start in range(0, len(permutation), minibatch):
                self.step(rows_of(shuffled, start, start + minibatch))
            if self._diverged(-(-len(permutation) // minibatch)):
                return

    def step(self, minibatch: Samples) -> None:
        """One gradient step."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, stats = self.loss(minibatch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        if self.remedy is not None:
            _remember(self.remedy)
        self.norms.append(
            [
                nn.utils.clip_grad_norm_(group, self.max_grad_norm, foreach=True).to(loss.device)
                for group in self.clip_groups
            ]
        )
        self.optimizer.step()
        if self.remedy is not None:
            self.remedy.after_step(self.optimizer.param_groups[0]["lr"])
        self.steps += 1
        for name, value in stats.items():
            self.stats.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        """Mean of each diagnostic over the gradient steps."""
        return {name: float(torch.stack(values).mean()) for name, values in self.stats.items()}

    def largest_norms(self) -> list[float]:
        """Largest norm of each group over the gradient steps; nan where one is."""
        return [float(torch.stack(norms).amax()) for norms in zip(*self.norms, strict=True)]

    def largest(self, name: str) -> float | None:
        """Largest value of a diagnostic over the gradient steps; None where it has none."""
        values = self.stats.get(name)
        return None if values is None else float(torch.stack(values).amax())

    def _diverged(self, steps: int) -> bool:
        # Read once an epoch: reading a number of every minibatch would make an accelerator wait.
        if self.target_kl is None or "approx_kl" not in self.stats:
            return False
        recent = torch.stack(self.stats["approx_kl"][-steps:]).mean()
        return float(recent) > self.target_kl


def _remember(remedy: Remedy) -> None:
    """Let a remedy see the task's gradients, add its own, and change the sum."""
    remedy.observe()
    term = remedy.penalty()
    if term is not None and term.requires_grad:
        term.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    remedy.mask()


def run_learners(
    learners: Sequence[Learner],
    batch: Samples,
    permutations_EB: Sequence[Tensor],
    minibatch: int,
    *,
    concurrent: bool,
) -> None:
    """Run learners that share no parameter, side by side or one after the other.

    Raises:
        RuntimeError: the error of a learner's thread, raised again here.
    """
    if not concurrent or len(learners) == 1:
        for learner in learners:
            learner.run(batch, permutations_EB, minibatch)
        return
    errors: list[BaseException] = []

    def work(learner: Learner) -> None:
        try:
            learner.run(batch, permutations_EB, minibatch)
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(learner,), name=f"learner-{number}")
        for number, learner in enumerate(learners[1:], start=1)
    ]
    for thread in threads:
        thread.start()
    work(learners[0])
    for thread in threads:
        thread.join()
    if errors:
        raise RuntimeError(f"an update failed: {errors[0]}") from errors[0]

"""What a remedy against forgetting sees of a policy, and what it may do to a training.

Dimensions: B states, R regimes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from agents.continual.law import ActionLaw

States = Mapping[str, Tensor]
"""States by what is known of them (`bars`, `account`, ...), each with B rows."""
Tensors = Mapping[str, Tensor]
"""Tensors by the name of their parameter."""


class PolicyFunction(Protocol):
    """A policy as a pure function of its parameters."""

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """What the policy loss trains, log deviations left out, by the name in `state_dict`."""
        ...

    def part(self, group: str) -> Tensors:
        """Which numbers of which parameters make a part of the policy, as boolean masks.

        Groups: `all`; `trunk` (what all share: market encoder, trunk, recurrent unit), `heads` (all
        outputs), `head:k` (those of option k), `gate` (gate and terminations). A flat policy has
        one head.

        Raises:
            ValueError: the policy has no such part.
        """
        ...

    def law(self, parameters: Tensors, states: States) -> ActionLaw:
        """The law of the action in B states under given parameters, differentiable, `vmap`-able.

        Args:
            parameters: by name, as `parameters`; what is missing is taken from there.
            states: B of them.
        """
        ...

    def belief(self, states: States) -> Tensor | None:
        """Belief (B, R) about regimes in the states; None where nothing is known of them."""
        ...


def trained_parameters(
    net: nn.Module, actor: Iterable[nn.Parameter], log_std: Tensor
) -> dict[str, nn.Parameter]:
    """A policy's `parameters`, out of its networks.

    Args:
        net: the networks.
        actor: what the policy loss trains of them.
        log_std: log deviations, which are left out.
    """
    trained = {id(parameter) for parameter in actor} - {id(log_std)}
    return {name: each for name, each in net.named_parameters() if id(each) in trained}


@dataclass(frozen=True)
class Experience:
    """What a phase leaves behind when it has ended, under the policy that it ended with."""

    phase: int
    """Its number, 0, 1, ..."""
    regime: int
    """The regime that governed it, 0 .. R - 1."""
    states: States
    """States of the last rollouts, in random order, no two of one batch related by position."""
    generator: torch.Generator
    """Source of randomness of the consolidation."""


class Remedy:
    """What protects earlier phases while the policy learns another.

    `progress` is called before each update. Order of the calls in a gradient step: backward of the
    task's loss, `observe`, backward of `penalty`, `mask`, clipping, the optimiser's step,
    `after_step`. All methods do nothing here; a remedy overrides what it needs.
    """

    name: str
    """Word by which its figures are logged."""

    def begin(self, phase: int, regime: int) -> None:
        """A phase begins (or goes on after a resume, with the state it had)."""

    def progress(self, done: float) -> None:
        """So much of the phase's steps is taken, 0 .. 1."""

    def observe(self) -> None:
        """Look at the gradients of the task's loss alone."""

    def penalty(self) -> Tensor | None:
        """A term of the actor's loss; None adds nothing."""
        return None

    def mask(self) -> None:
        """Change the gradients before they are clipped and applied."""

    def after_step(self, rate: float) -> None:
        """Change parameters after the optimiser's step of this size."""

    def consolidate(self, experience: Experience) -> None:
        """Take in a phase that has ended."""

    def played_as(self, regime: int) -> Tensors:
        """Parameters that differ when the policy is played in an earlier regime that is known."""
        del regime
        return {}

    def state(self) -> dict[str, Tensor]:
        """All that it remembers, by name, for a checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the result of `state`.

        Raises:
            ValueError: it is of another remedy or another policy.
        """
        if state:
            raise ValueError(f"{self.name}: expected no state, found {sorted(state)}")

    def figures(self) -> dict[str, float]:
        """Numbers to log of the last update (`continual/<name>/...`)."""
        return {}

    @property
    def floats(self) -> int:
        """Numbers that it stores: its memory."""
        return sum(tensor.numel() for tensor in self.state().values())

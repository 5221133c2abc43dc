"""Numbers of a policy that a step of the optimiser must leave as they are, to the bit."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from agents.continual.protocol import PolicyFunction, Tensors


def union(function: PolicyFunction, groups: Sequence[str]) -> dict[str, Tensor]:
    """Masks of all numbers that belong to one of the parts.

    Raises:
        ValueError: the policy has no such part, or no number belongs to any.
    """
    joined: dict[str, Tensor] = {}
    for group in groups:
        for name, mask in function.part(group).items():
            joined[name] = joined[name] | mask if name in joined else mask
    if not joined:
        raise ValueError(f"protect: expected parts that learn, found nothing in {list(groups)}")
    return joined


def refuse_foreign(name: str, state: Tensors, expected: Tensors) -> None:
    """Compare names and shapes of a remedy's state with those it has.

    Raises:
        ValueError: they differ.
    """
    if state.keys() != expected.keys():
        raise ValueError(f"{name}: expected the state {sorted(expected)}, found {sorted(state)}")
    for key, tensor in expected.items():
        if state[key].shape != tensor.shape:
            raise ValueError(
                f"{name}: expected {key} of {tuple(tensor.shape)}, found {tuple(state[key].shape)}"
            )


class Frozen:
    """Holds numbers still: no gradient, and after the step the values from before it.

    Gradients alone would not do: Adam's moments move a number on that has none.

    Args:
        parameters: of the policy.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = parameters
        self._before: dict[str, tuple[Tensor, Tensor]] = {}

    def mask(self, held: Tensors) -> None:
        """Take the gradients of what is held, and note its values."""
        self._before = {}
        for name, mask in held.items():
            parameter = self._parameters[name]
            if parameter.grad is not None:
                parameter.grad.masked_fill_(mask, 0.0)
            self._before[name] = (mask, parameter.detach().clone())

    @torch.no_grad()
    def restore(self) -> None:
        """Put the values back that `mask` noted."""
        for name, (mask, before) in self._before.items():
            parameter = self._parameters[name]
            parameter.copy_(torch.where(mask, before, parameter))
        self._before = {}

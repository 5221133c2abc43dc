"""The same trained options under other controllers and executions, without training.

Each variant is a policy of its own: networks are copied before they are changed.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from meta_controller.config import (
    ControllerConfig,
    FallbackController,
    FixedController,
    MultiplicativeWeightsController,
    ResidualController,
    UniformController,
)
from meta_controller.controllers import Controller, Fixed, GatedController, make_controller
from meta_controller.hierarchy import OptionActorCritic
from meta_controller.policy import Execution, HierarchicalPolicy

__all__ = [
    "EXECUTIONS",
    "constant_side_by_side",
    "limited",
    "limited_side_by_side",
    "under",
    "variants",
]

EXECUTIONS: Final[tuple[Execution, ...]] = ("blended", "sampled", "mode")


def under(
    policy: HierarchicalPolicy,
    controller: ControllerConfig | None = None,
    execution: Execution | None = None,
) -> HierarchicalPolicy:
    """The same options under another controller, another execution, or both.

    Args:
        policy: what was trained; it does not change.
        controller: who decides, without a gate; None keeps it.
        execution: how it is done; None keeps it.

    Raises:
        ValueError: an option's number that there is not.
    """
    twin = _copy(policy)
    if controller is not None:
        twin.network.controller = _fresh(twin, controller)
        twin.reset(0)
    twin.execution = execution or policy.execution
    return twin


def limited(policy: HierarchicalPolicy, beta_max: float) -> HierarchicalPolicy:
    """The same networks with another largest probability of an ending, (0, 1].

    Controllers without a gate move by ``beta_max`` a bar, as capped ones do.
    """
    twin = _copy(policy)
    twin.network.controller.beta_max = twin.network.controller.constant = beta_max
    return twin


def limited_side_by_side(policy: HierarchicalPolicy, limits: Sequence[float]) -> HierarchicalPolicy:
    """As `limited`, an account for each of the limits."""
    twin = _copy(policy)
    controller, device = twin.network.controller, twin.network.log_std.device
    controller.beta_max = controller.constant = torch.tensor(limits, device=device)[:, None]
    return twin


def constant_side_by_side(policy: HierarchicalPolicy) -> tuple[tuple[str, ...], HierarchicalPolicy]:
    """What weighs options alike in every bar, an account each, and the accounts' names.

    The same as the `variants` of these names.
    """
    twin, options = under(policy, UniformController()), policy.network.num_options
    device = policy.network.log_std.device
    even_1K = torch.full((1, options), 1.0 / options, device=device)
    weights_NK = torch.cat([torch.eye(options, device=device), even_1K])
    twin.network.controller = _Constant(twin.network, weights_NK)
    twin.reset(0)
    return (*(f"fixed_{option}" for option in range(options)), "uniform"), twin


class _Constant(Controller):
    """Weights that never change, of each account its own.

    Args:
        network: whose execution and fallback it takes over.
        weights_NK: a row for each account.
    """

    def __init__(self, network: OptionActorCritic, weights_NK: Tensor) -> None:
        super().__init__(network.meta.execution, network.controller.fallback)
        self._weights_NK = weights_NK

    def propose(
        self, fallback_BK: Tensor, deviation_BK: Tensor | None, memory_BK: Tensor | None
    ) -> Tensor:
        """The account's own."""
        del fallback_BK, deviation_BK, memory_BK
        return self._weights_NK


def variants(policy: HierarchicalPolicy) -> dict[str, HierarchicalPolicy]:
    """Everything that the agent may be compared with, by name; see `WORDS` of the scores.

    Args:
        policy: what was trained; it does not change.
    """
    network = policy.network
    controller, options = network.controller, network.num_options
    found: dict[str, HierarchicalPolicy] = {
        f"fixed_{option}": under(policy, FixedController(option=option))
        for option in range(options)
    }
    found["uniform"] = under(policy, UniformController())
    found["multiplicative_weights"] = under(policy, MultiplicativeWeightsController())
    if policy.beliefs.columns:
        found["fallback"] = under(policy, FallbackController())
    if isinstance(controller, GatedController):
        found["gate_frozen"] = _frozen(policy)
        found["gate_and_terminations_frozen"] = _constant_terminations(_frozen(policy))
    if isinstance(controller, GatedController | Fixed) or policy.beliefs.columns:
        found |= {f"shift_{shift}": _shifted(policy, shift) for shift in range(1, options)}
    found |= {
        execution: under(policy, execution=execution)
        for execution in EXECUTIONS
        if execution != policy.execution
    }
    return found


def _copy(policy: HierarchicalPolicy) -> HierarchicalPolicy:
    """A policy with networks of its own; the encoded market and injected options are shared."""
    twin = copy.copy(policy)
    twin.network = copy.deepcopy(policy.network)
    twin.failures_K = policy.failures_K * 0
    twin.last = None
    twin.reset(0)
    return twin


def _fresh(policy: HierarchicalPolicy, controller: ControllerConfig) -> Controller:
    network = policy.network
    # An oracle is told regimes that the others do not see.
    seen = len(policy.beliefs.columns)
    regime_map = network.meta.regime_map if seen == network.num_regimes else None
    made = make_controller(
        replace(network.meta, controller=controller, regime_map=regime_map),
        num_options=network.num_options,
        num_regimes=seen,
        embedding=network.options.embedding,
        account_size=network.state_size,
        generator=torch.Generator().manual_seed(0),
    )
    made.beta_max = network.controller.beta_max
    return made.to(network.log_std.device)


def _frozen(policy: HierarchicalPolicy) -> HierarchicalPolicy:
    """The gate at g = 0, where a residual one starts: the floored fallback."""
    config = policy.network.meta.controller
    if isinstance(config, ResidualController):
        return under(policy, config)
    # The encoded market has the shape of the gate that was trained.
    hidden = getattr(config, "hidden", (32,))
    return under(policy, ResidualController(hidden=hidden))


@torch.no_grad()
def _constant_terminations(policy: HierarchicalPolicy) -> HierarchicalPolicy:
    """Terminations at their initial probability in every state; changes ``policy``."""
    network, execution = policy.network, policy.network.meta.execution
    odds = execution.initial_termination / (execution.beta_max - execution.initial_termination)
    output, heads = network.options.trunk.output, network.options.heads
    output.weight[heads:] = 0.0
    output.bias[heads:] = float(torch.tensor(odds).log())
    return policy


@torch.no_grad()
def _shifted(policy: HierarchicalPolicy, shift: int) -> HierarchicalPolicy:
    """Options permuted: what decided about option k decides about option k + shift."""
    twin = _copy(policy)
    network = twin.network
    controller, options = network.controller, network.num_options
    controller.fallback.map_KR.copy_(controller.fallback.map_KR.roll(shift, 0))
    output, heads = network.options.trunk.output, network.options.heads
    rows = [(output, heads)]
    if isinstance(controller, GatedController):
        rows.append((controller.gate.output, 0))
    for layer, first in rows:
        layer.weight[first:] = layer.weight[first:].roll(shift, 0)
        layer.bias[first:] = layer.bias[first:].roll(shift, 0)
    if isinstance(controller, Fixed):
        controller.option = (controller.option + shift) % options
    return twin

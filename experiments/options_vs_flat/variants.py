"""Trained agents of options with a part taken away or exchanged; nothing is trained here."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meta_controller.config import (
    ControllerConfig,
    MultiplicativeWeightsController,
    UniformController,
)
from meta_controller.controllers import Controller, GatedController, make_controller
from meta_controller.hierarchy import Decision, OptionActorCritic
from meta_controller.policy import Execution, HierarchicalPolicy, one_hot_rows
from training.sb3.option_ppo import OptionPPO
from training.sb3.ppo import MarketPPO


class Permuted(HierarchicalPolicy):
    """Options that answer to each other's names: what was meant for k goes to k + `shift`."""

    shift = 0

    def _decide(self, observation_NO: NDArray[np.float32]) -> tuple[Decision, Tensor]:
        decision, belief_NR = super()._decide(observation_NO)
        moved_NKD = decision.outputs_BKD.roll(-self.shift, dims=1)
        return decision._replace(outputs_BKD=moved_NKD), belief_NR


class Routed(Controller):
    """Hard routing: the option of the largest fallback weight acts alone, at once."""

    def propose(
        self, fallback_BK: Tensor, deviation_BK: Tensor | None, memory_BK: Tensor | None
    ) -> Tensor:
        """One-hot."""
        del deviation_BK, memory_BK
        return one_hot_rows(fallback_BK.argmax(dim=1), fallback_BK)


def option_learner(model: MarketPPO) -> OptionPPO:
    """The learner, which must be one of options.

    Raises:
        TypeError: it is flat.
    """
    if not isinstance(model, OptionPPO):
        raise TypeError(f"model: expected a learner of options, found {type(model).__name__}")
    return model


def playing(
    model: OptionPPO,
    network: OptionActorCritic,
    execution: Execution = "blended",
    kind: type[HierarchicalPolicy] = HierarchicalPolicy,
) -> HierarchicalPolicy:
    """A network in the place of the learner's own, as a policy."""
    policy = model.policy
    return kind(
        network,
        model.vec_env.features,
        policy.beliefs,
        kind=policy.blend_kind,
        low=getattr(model.action_space, "low", None),
        high=getattr(model.action_space, "high", None),
        injected=policy.injected.options,
        execution=execution,
    )


def under(model: OptionPPO, controller: ControllerConfig) -> HierarchicalPolicy:
    """The learner's options under another controller that need not be trained, blended."""
    network = copy.deepcopy(model.policy.network)
    network.controller = make_controller(
        replace(network.meta, controller=controller),
        num_options=network.num_options,
        num_regimes=network.num_regimes,
        embedding=network.options.embedding,
        account_size=network.state_size,
        generator=torch.Generator(),
    )
    return playing(model, network)


def routed(model: OptionPPO) -> HierarchicalPolicy:
    """The learner's options under hard routing by the likeliest regime."""
    network = copy.deepcopy(model.policy.network)
    network.controller = Routed(network.meta.execution, network.controller.fallback)
    return playing(model, network)


def frozen_gate(model: OptionPPO) -> HierarchicalPolicy:
    """The agent with g = 0: the fallback inside its gate, and the terminations as learned.

    Raises:
        TypeError: its controller has no gate.
    """
    network = copy.deepcopy(model.policy.network)
    controller = network.controller
    if not isinstance(controller, GatedController):
        raise TypeError(f"controller: expected a gate, found {type(controller).__name__}")
    with torch.no_grad():
        controller.gate.output.weight.zero_()
        controller.gate.output.bias.zero_()
    return playing(model, network)


def permuted(model: OptionPPO) -> Sequence[Permuted]:
    """The agent with its options shifted cyclically, by each number but 0."""
    found = []
    for shift in range(1, model.policy.network.num_options):
        policy = playing(model, model.policy.network, kind=Permuted)
        assert isinstance(policy, Permuted)
        policy.shift = shift
        found.append(policy)
    return found


Variant = Callable[[OptionPPO], Sequence[HierarchicalPolicy]]
ITSELF = "the agent itself"
VARIANTS: Mapping[str, Variant] = {
    ITSELF: lambda model: [playing(model, model.policy.network)],
    "gate frozen at the fallback": lambda model: [frozen_gate(model)],
    "options permuted": permuted,
    "uniform weights": lambda model: [under(model, UniformController())],
    "executed hard, sampled": lambda model: [playing(model, model.policy.network, "sampled")],
    "executed hard, mode": lambda model: [playing(model, model.policy.network, "mode")],
}
"""Policies whose mean score counts, by name."""
RIVALS: Mapping[str, Variant] = {
    ITSELF: VARIANTS[ITSELF],
    "multiplicative weights": lambda model: [under(model, MultiplicativeWeightsController())],
}
"""The same for options that were trained under the fallback."""

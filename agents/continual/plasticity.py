"""Whether a policy can still learn: units that have died, rank of the features, size of weights.

Read at phase borders and logged; a policy that keeps the past by losing these keeps it for nothing.

Dimensions: B states, H units.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from agents.continual.protocol import PolicyFunction, States
from agents.networks import FusionHead

Layers = dict[str, list[Tensor]]
"""Activations (B, H) of each hidden layer, by the name of their head."""


def dormant_share(layers: list[Tensor], tau: float = 0.025) -> float:
    """Share of units that hardly ever act.

        s_i = E_B |h_i| / (1 / H sum_j E_B |h_j|) <= tau

    Source: Sokar et al. 2023, "The dormant neuron phenomenon", arXiv:2302.12902, definition 3.1. A
    layer in which nothing acts is dormant as a whole.

    Args:
        layers: activations (B, H) of each layer.
        tau: least score of a unit that is awake; 0 counts dead units only.
    """
    dormant = units = 0
    for activation_BH in layers:
        size_H = activation_BH.abs().mean(dim=0)
        dormant += int((size_H <= tau * size_H.mean()).sum())
        units += len(size_H)
    return dormant / units if units else 0.0


def effective_rank(feature_BH: Tensor) -> float:
    """exp(- sum_i p_i log p_i) of singular values p_i = sigma_i / sum_j sigma_j, 1 .. min(B, H).

    Source: Roy & Vetterli 2007, "The effective rank". 0 for a matrix of zeros.
    """
    sigma = torch.linalg.svdvals(feature_BH.double())
    total = sigma.sum()
    if not total > 0.0:
        return 0.0
    share = sigma / total
    return float(torch.exp(-torch.xlogy(share, share).sum()))


def srank(feature_BH: Tensor, delta: float = 0.01) -> float:
    """Singular values, largest first, that make up 1 - delta of their sum.

    Source: Kumar et al. 2021, arXiv:2010.14498, srank_delta. 0 for a matrix of zeros.
    """
    sigma = torch.linalg.svdvals(feature_BH.double())
    total = sigma.sum()
    if not total > 0.0:
        return 0.0
    return float((sigma.cumsum(dim=0) < (1.0 - delta) * total).sum()) + 1.0


def weight_magnitude(parameters: list[nn.Parameter]) -> float:
    """Mean absolute number of all parameters; 0 without any."""
    count = sum(parameter.numel() for parameter in parameters)
    total = sum(float(parameter.detach().abs().sum()) for parameter in parameters)
    return total / count if count else 0.0


@contextmanager
def activations(net: nn.Module) -> Iterator[Layers]:
    """Note what the hidden layers of all heads give while the block runs.

    The rectified output of a hidden layer is what goes into the next one: a head's first layer is
    split over market and account, and no module of its own is called for it. Expert networks
    (`ExpertBank`) compute side by side without modules, and are not seen.
    """
    layers: Layers = {}
    hooks: list[RemovableHandle] = []

    def note(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def keep(module: nn.Module, given: tuple[Any, ...]) -> None:
            del module
            layers.setdefault(name, []).append(given[0].detach().clone())

        return keep

    for name, head in net.named_modules():
        if isinstance(head, FusionHead):
            following = [*head.trunk, head.output]
            hooks += [layer.register_forward_pre_hook(note(name)) for layer in following]
    try:
        yield layers
    finally:
        for hook in hooks:
            hook.remove()


def plasticity(
    net: nn.Module,
    function: PolicyFunction,
    states: States,
    *,
    tau: float = 0.025,
    delta: float = 0.01,
) -> dict[str, float]:
    """Figures to log of a policy in B states; rank is at most B, so take more states than units.

    For each head that acts (`actor`, `options.trunk`, `controller.gate`): `<head>/dormant`,
    `<head>/effective_rank` and `<head>/srank` of the features that its output reads, and
    `weight_magnitude` of all parameters of the policy.

    Args:
        net: the networks that `function` is of.
        function: the policy.
        states: B of them.
        tau: of `dormant_share`.
        delta: of `srank`.

    Raises:
        ValueError: no states.
    """
    rows = min((len(tensor) for tensor in states.values()), default=0)
    if not rows:
        raise ValueError("plasticity: expected states, found none")
    with torch.no_grad(), activations(net) as layers:
        function.law(function.parameters, states)
    figures = {"weight_magnitude": weight_magnitude(list(function.parameters.values()))}
    for name, found in layers.items():
        figures[f"{name}/dormant"] = dormant_share(found, tau)
        figures[f"{name}/effective_rank"] = effective_rank(found[-1])
        figures[f"{name}/srank"] = srank(found[-1], delta)
    return figures

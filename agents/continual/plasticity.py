"""Whether a policy can still learn: units that have died, rank of the features, size of weights.

Read at every point of a stream's curves and logged; a policy that keeps the past by losing these
keeps it for nothing.

Dimensions: B states, H units.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from agents.continual.protocol import PolicyFunction, States
from agents.networks import FusionHead
from agents.options import ExpertBank

Layers = dict[str, list[Tensor]]
"""Activations (B, H) of each hidden layer, by the name of their head or expert."""


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

    Source: Roy & Vetterli 2007, "The effective rank". 0 for a matrix of zeros, nan for one that is
    not finite.
    """
    if not torch.isfinite(feature_BH).all():
        return math.nan
    sigma = torch.linalg.svdvals(feature_BH.double())
    total = sigma.sum()
    if not total > 0.0:
        return 0.0
    share = sigma / total
    return float(torch.exp(-torch.xlogy(share, share).sum()))


def srank(feature_BH: Tensor, delta: float = 0.01) -> float:
    """Singular values, largest first, that make up 1 - delta of their sum.

    Source: Kumar et al. 2021, arXiv:2010.14498, srank_delta. 0 for a matrix of zeros, nan for one
    that is not finite.
    """
    if not torch.isfinite(feature_BH).all():
        return math.nan
    sigma = torch.linalg.svdvals(feature_BH.double())
    total = sigma.sum()
    if not total > 0.0:
        return 0.0
    return float((sigma.cumsum(dim=0) < (1.0 - delta) * total).sum()) + 1.0


def weight_norm(parameters: list[nn.Parameter]) -> float:
    """Euclidean norm of all parameters together; 0 without any."""
    return math.sqrt(sum(float(p.detach().double().square().sum()) for p in parameters))


@contextmanager
def activations(net: nn.Module) -> Iterator[Layers]:
    """Note what the hidden layers of all heads and expert networks give while the block runs.

    The rectified output of a head's hidden layer is what goes into the next one: its first layer is
    split over market and account, and no module of its own is called for it. Expert networks
    (`ExpertBank`) compute side by side; each of them is noted by its number, `options.bank.0`.
    """
    layers: Layers = {}
    hooks: list[RemovableHandle] = []

    def head_of(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def keep(module: nn.Module, given: tuple[Any, ...]) -> None:
            del module
            layers.setdefault(name, []).append(given[0].detach().clone())

        return keep

    def experts_of(name: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        def keep(module: nn.Module, given: tuple[Any, ...], active_KBH: Tensor) -> None:
            del module, given
            for expert, active_BH in enumerate(active_KBH.detach().clone()):
                layers.setdefault(f"{name}.{expert}", []).append(active_BH)

        return keep

    for name, part in net.named_modules():
        if isinstance(part, FusionHead):
            following = [*part.trunk, part.output]
            hooks += [layer.register_forward_pre_hook(head_of(name)) for layer in following]
        elif isinstance(part, ExpertBank):
            hooks.append(part.rectify.register_forward_hook(experts_of(name)))
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

    `dormant_share` of all hidden units that act, `weight_norm` of all parameters of the policy, and
    `effective_rank` of the features that outputs read, the mean over heads. For each head (`actor`;
    `options.trunk`, `controller.gate`, and `options.bank.0`, ... of expert networks) also
    `<head>/dormant_share`, `<head>/effective_rank` and `<head>/srank`. No randomness is used.

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
    ranks = {name: effective_rank(found[-1]) for name, found in layers.items()}
    figures = {
        "dormant_share": dormant_share([x for found in layers.values() for x in found], tau),
        "effective_rank": sum(ranks.values()) / len(ranks) if ranks else 0.0,
        "weight_norm": weight_norm(list(function.parameters.values())),
    }
    for name, found in layers.items():
        figures[f"{name}/dormant_share"] = dormant_share(found, tau)
        figures[f"{name}/effective_rank"] = ranks[name]
        figures[f"{name}/srank"] = srank(found[-1], delta)
    return figures

"""How the outputs of several options become those of one policy.

| kind | outputs of an option | blend of weights w |
|---|---|---|
| `mean` | means of a box | sum_k w_k mu_k |
| `simplex` | logits of portfolio weights | log sum_k w_k softmax(mu_k) + sum_k w_k lse(mu_k) |
| `categorical` | logits of discrete actions | the same: probabilities are mixed |

Weights on a simplex stay on it when they are mixed (it is convex), logits do not; the last term
keeps the scale of the logits, and leaves a single option as it is.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

BlendKind = Literal["mean", "simplex", "categorical"]
_LEAST = 1e-30
"""Least mixed probability: logits of about -69 below the options' own."""


def blend(
    outputs_BKD: Float[Tensor, "B K D"], weights_BK: Float[Tensor, "B K"], kind: BlendKind
) -> Float[Tensor, "B D"]:
    """Blend the outputs of K options.

    Args:
        outputs_BKD: of each option.
        weights_BK: on the simplex of options.
        kind: what outputs are.

    Returns:
        Outputs of the blended policy; those of a single option (K = 1) as they are.
    """
    if outputs_BKD.shape[1] == 1:
        return outputs_BKD[:, 0]
    if kind == "mean":
        return mix(outputs_BKD, weights_BK)
    # Probabilities are exp(logits - largest) / total: the totals divide the weights, which are K
    # numbers a row in place of K D.
    largest_BK1 = outputs_BKD.detach().amax(dim=2, keepdim=True)
    raised_BKD = torch.exp(outputs_BKD - largest_BK1)
    total_BK = raised_BKD.sum(dim=2)
    mixed_BD = mix(raised_BKD, weights_BK / total_BK)
    level_B = (weights_BK * (total_BK.log() + largest_BK1.squeeze(2))).sum(dim=1, keepdim=True)
    return mixed_BD.clamp_min(_LEAST).log() + level_B


def mix(
    values_BKD: Float[Tensor, "B K D"], weights_BK: Float[Tensor, "B K"]
) -> Float[Tensor, "B D"]:
    """Sum of the rows' K vectors by weight."""
    return torch.bmm(weights_BK[:, None, :], values_BKD).squeeze(1)


def choose(values_BKD: Float[Tensor, "B K D"], option_B: Tensor) -> Float[Tensor, "B D"]:
    """The vectors of one option in each row (int64)."""
    return values_BKD[torch.arange(len(option_B), device=option_B.device), option_B]

r"""The chain of options: its transition, its mean field, and the bound on what a step can change.

Hard execution (call-and-return) draws the option from

    P(o | s, o') = (1 - beta_{o'}(s)) 1{o = o'} + beta_{o'}(s) pi(o | s)

and blended execution carries the chain's marginal distribution,

    w(k) = (1 - beta_k) w'(k) + B pi(k),   B = sum_j beta_j w'(j)

which for a one-hot w' is P( . | s, o'): one function serves both. Since
w - w' = sum_j beta_j w'(j) (pi - e_j), the total variation of a step is at most B <= max beta.

(Bacon et al. 2017, arXiv:1609.05140 for call-and-return.)
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def propagate(
    previous_BK: Float[Tensor, "B K"],
    termination_BK: Float[Tensor, "B K"],
    proposal_BK: Float[Tensor, "B K"],
) -> Float[Tensor, "B K"]:
    """Distribution of the option after a step.

    Args:
        previous_BK: weights before, w'; one-hot for the option held.
        termination_BK: probability beta that each option ends here, 0 .. 1.
        proposal_BK: pi( . | s) of the controller.

    Returns:
        w, rows on the simplex if the arguments' are.
    """
    ended_BK = termination_BK * previous_BK
    return torch.addcmul(previous_BK - ended_BK, ended_BK.sum(dim=1, keepdim=True), proposal_BK)


def ending(
    previous_BK: Float[Tensor, "B K"], termination_BK: Float[Tensor, "B K"]
) -> Float[Tensor, " B"]:
    """B = sum_j beta_j w'(j): the weight that is given to the controller anew in a step."""
    return (termination_BK * previous_BK).sum(dim=1)


def total_variation(
    left_BK: Float[Tensor, "B K"], right_BK: Float[Tensor, "B K"]
) -> Float[Tensor, " B"]:
    """Disruption 1/2 sum_k |w(k) - w'(k)|, 0 .. 1."""
    return 0.5 * (left_BK - right_BK).abs().sum(dim=1)


def without(
    weights_BK: Float[Tensor, "B K"],
    failed_BK: Bool[Tensor, "B K"],
    fallback_BK: Float[Tensor, "B K"],
) -> Float[Tensor, "B K"]:
    """Weights with those of failed options given to the fallback.

    The weight of failed options is shared among the others in proportion to the fallback's weights,
    or evenly where the fallback gives them none. Rows in which every option failed are zeros.

    Args:
        weights_BK: on the simplex.
        failed_BK: options that cannot act.
        fallback_BK: weights of the fallback.
    """
    sound_BK = (~failed_BK).to(weights_BK.dtype)
    lost_B1 = (weights_BK * failed_BK).sum(dim=1, keepdim=True)
    share_BK = fallback_BK * sound_BK
    empty_B1 = share_BK.sum(dim=1, keepdim=True) <= 0.0
    share_BK = torch.where(empty_B1, sound_BK, share_BK)
    share_BK = share_BK / share_BK.sum(dim=1, keepdim=True).clamp_min(1e-12)
    return weights_BK * sound_BK + lost_B1 * share_BK


def draw_option(probability_BK: Float[Tensor, "B K"], noise_B: Float[Tensor, " B"]) -> Tensor:
    """Options (int64, (B,)) drawn by inversion from uniform noise in [0, 1).

    An option of probability 0 is never drawn.
    """
    cumulative_BK = probability_BK.cumsum(dim=1)
    reach_B1 = noise_B[:, None] * cumulative_BK[:, -1:]
    return (cumulative_BK <= reach_B1).sum(dim=1).clamp_max(probability_BK.shape[1] - 1)

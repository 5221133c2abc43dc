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

_LEAST = 1e-30
"""Least weight that can be shared out in proportion, in single precision."""


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
    kept_BK = torch.addcmul(previous_BK, termination_BK, previous_BK, value=-1.0)
    # B as what is missing from 1, so that rounding does not add up over an episode's bars.
    anew_B1 = (1.0 - kept_BK.sum(dim=1, keepdim=True)).clamp_min(0.0)
    return torch.addcmul(kept_BK, anew_B1, proposal_BK)


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
    or evenly where the fallback gives them none. Rows in which every option failed stay as they
    are: nobody can act, and what is remembered is still a distribution when they can again.

    Args:
        weights_BK: on the simplex.
        failed_BK: options that cannot act.
        fallback_BK: weights of the fallback.
    """
    sound_BK = (~(failed_BK & ~failed_BK.all(dim=1, keepdim=True))).to(weights_BK.dtype)
    lost_B1 = (weights_BK * (1.0 - sound_BK)).sum(dim=1, keepdim=True)
    share_BK = fallback_BK * sound_BK
    # Weights too small to be divided by count as none.
    empty_B1 = share_BK.sum(dim=1, keepdim=True) < _LEAST
    share_BK = torch.where(empty_B1, sound_BK, share_BK)
    share_BK = share_BK / share_BK.sum(dim=1, keepdim=True)
    return weights_BK * sound_BK + lost_B1 * share_BK


def draw_option(probability_BK: Float[Tensor, "B K"], noise_B: Float[Tensor, " B"]) -> Tensor:
    """Options (int64, (B,)) drawn by inversion from uniform noise in [0, 1).

    An option of probability 0 is never drawn.
    """
    cumulative_BK = probability_BK.cumsum(dim=1)
    reach_B1 = noise_B[:, None] * cumulative_BK[:, -1:]
    return (cumulative_BK <= reach_B1).sum(dim=1).clamp_max(probability_BK.shape[1] - 1)

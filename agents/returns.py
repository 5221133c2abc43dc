"""Advantages of trajectories, as pure functions of tensors (time first, environments second)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def generalised_advantages(
    rewards_TN: Float[Tensor, "T N"],
    values_TN: Float[Tensor, "T N"],
    next_values_TN: Float[Tensor, "T N"],
    terminated_TN: Bool[Tensor, "T N"],
    done_TN: Bool[Tensor, "T N"],
    *,
    discount: float,
    trace: float,
) -> Float[Tensor, "T N"]:
    r"""Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438, equation 16).

        delta_t = r_t + gamma (1 - terminated_t) V'_t - V(s_t)
        A_t     = delta_t + gamma lambda (1 - done_t) A_{t+1}

    where V'_t is the value of the state that step t led to: V(s_{t+1}) inside an episode, and at
    its last step the value of the *final* state, not of the next episode's first one. A truncated
    episode therefore bootstraps, a terminated one does not (Pardo et al. 2018, arXiv:1712.00378).

    Args:
        rewards_TN: reward of step t.
        values_TN: V(s_t).
        next_values_TN: V'_t as above; ignored where terminated.
        terminated_TN: the episode ended inside the task (ruin).
        done_TN: the episode ended at step t, for whatever reason (terminated or truncated).
        discount: gamma, 0 .. 1.
        trace: lambda, 0 .. 1.

    Returns:
        Advantages (T, N); ``advantages + values_TN`` are the returns that the critic fits.
    """
    next_values = next_values_TN.masked_fill(terminated_TN, 0.0)
    advantages = torch.add(rewards_TN, next_values, alpha=discount).sub_(values_TN)
    decay_TN = (~done_TN).to(rewards_TN.dtype).mul_(discount * trace)
    for step in range(len(rewards_TN) - 2, -1, -1):
        advantages[step].addcmul_(decay_TN[step], advantages[step + 1])
    return advantages


def next_state_values(
    values_SN: Float[Tensor, "S N"],
    done_TN: Bool[Tensor, "T N"],
    final_values_E: Float[Tensor, " E"],
) -> Float[Tensor, "T N"]:
    """The value of the state that each step led to.

    Args:
        values_SN: V(s_0) .. V(s_T) (S = T + 1); after an episode's end the row is of the next one.
        done_TN: the episode ended at step t; E entries are true.
        final_values_E: values of the final states, in the order of ``done_TN`` read row by row.

    Returns:
        ``values_SN[1:]`` with the final states' values where an episode ended, (T, N).
    """
    following = values_SN[1:].clone()
    following[done_TN] = final_values_E
    return following

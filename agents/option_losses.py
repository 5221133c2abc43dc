"""Losses of options, as pure functions of tensors.

Terms that keep options apart, in use and near a fallback; and what shares an action among all the
options that could have taken it.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from agents.losses import LOG_TWO_PI

_LEAST = 1e-8


def balance_loss(weights_BK: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
    """KL( mean over the batch of w || uniform ), nats: 0 when all options are used alike.

    Of the batch, not of each state: a state may commit itself to one option.
    """
    usage_K = weights_BK.mean(dim=0)
    return (usage_K * (usage_K.clamp_min(_LEAST).log() + math.log(len(usage_K)))).sum()


def usage_entropy(usage_K: Float[Tensor, " K"]) -> Float[Tensor, ""]:
    """Entropy of the mean weights over log K: 1 = all alike, 0 = one alone (1 for one option)."""
    if len(usage_K) == 1:
        return torch.ones_like(usage_K[0])
    return -(usage_K * usage_K.clamp_min(_LEAST).log()).sum() / math.log(len(usage_K))


def squared_hellinger(
    mean_BKD: Float[Tensor, "B K D"], log_std_KD: Float[Tensor, "K D"]
) -> Float[Tensor, "B J"]:
    r"""Squared Hellinger distances between the options' Gaussians, of the J = K (K - 1) / 2 pairs.

        H^2 = 1 - prod_d sqrt(2 s_j s_k / (s_j^2 + s_k^2)) exp(-(m_j - m_k)^2 / (4 (s_j^2 + s_k^2)))

    in 0 .. 1 (Gaussians with diagonal covariance).
    """
    first, second = torch.triu_indices(mean_BKD.shape[1], mean_BKD.shape[1], offset=1)
    left, right = log_std_KD[first], log_std_KD[second]
    variance_JD = torch.exp(2.0 * left) + torch.exp(2.0 * right)
    scale_JD = 0.5 * (math.log(2.0) + left + right - variance_JD.log())
    gap_BJD = (mean_BKD[:, first] - mean_BKD[:, second]).square() / (4.0 * variance_JD)
    return -torch.expm1((scale_JD - gap_BJD).sum(dim=2))


def squared_hellinger_categorical(logits_BKD: Float[Tensor, "B K D"]) -> Float[Tensor, "B J"]:
    """Squared Hellinger distances between the options' categorical policies: 1 - sum sqrt(p q)."""
    first, second = torch.triu_indices(logits_BKD.shape[1], logits_BKD.shape[1], offset=1)
    # Halved logarithms: the square root of a probability that underflows has no finite slope.
    root_BKD = torch.exp(0.5 * torch.log_softmax(logits_BKD, dim=2))
    return 1.0 - (root_BKD[:, first] * root_BKD[:, second]).sum(dim=2)


def option_log_probs(
    outputs_BKD: Float[Tensor, "B K D"],
    actions_BA: Float[Tensor, "B A"],
    log_std_KD: Float[Tensor, "K D"] | None,
) -> Float[Tensor, "B K"]:
    """Log probability of the action under each option alone.

    Args:
        outputs_BKD: means, or logits of discrete actions.
        actions_BA: the action (A = D), or the number of a discrete one (A = 1).
        log_std_KD: of the options' Gaussians; None for discrete actions.
    """
    if log_std_KD is None:
        chosen_BK1 = actions_BA.long()[:, None, :].expand(-1, outputs_BKD.shape[1], -1)
        return torch.log_softmax(outputs_BKD, dim=2).gather(2, chosen_BK1).squeeze(2)
    deviation_BKD = (actions_BA[:, None, :] - outputs_BKD) * torch.exp(-log_std_KD)
    constant_K = log_std_KD.sum(dim=1) + 0.5 * LOG_TWO_PI * log_std_KD.shape[1]
    return -0.5 * deviation_BKD.square().sum(dim=2) - constant_K


def responsibilities(
    chance_BK: Float[Tensor, "B K"], log_prob_BK: Float[Tensor, "B K"]
) -> Float[Tensor, "B K"]:
    """P(o | s, o', a): which option took the action, given it; chance times likelihood, normalised.

    Args:
        chance_BK: P(o | s, o') before the action is known.
        log_prob_BK: log probability of the action under each option.
    """
    shares_BK = torch.softmax(chance_BK.log() + log_prob_BK, dim=1)
    return torch.where(chance_BK > 0.0, shares_BK, 0.0)  # zeros where no option could act


def all_options_surrogate(
    log_ratio_BK: Float[Tensor, "B K"],
    advantages_B: Float[Tensor, " B"],
    share_BK: Float[Tensor, "B K"],
    clip_range: float,
) -> Float[Tensor, ""]:
    r"""Clipped surrogate of every option that could have taken the action, by its share in it.

        L = -mean_b sum_k share_k min( rho_k A, clip(rho_k, 1 - c, 1 + c) A )

    With one-hot shares it is the surrogate of the option that acted. With shares P(o | s, o', a) it
    is that one's expectation over the options given the action, as far as A is one of the action
    (Klissarov & Precup 2021, arXiv:2112.03097, whose options are weighted by P(o | s, o') and a
    ratio of likelihoods; here both are one posterior, so that the weights sum to 1).
    """
    ratio_BK, gain_B1 = log_ratio_BK.exp(), advantages_B[:, None]
    clipped_BK = ratio_BK.clamp(1.0 - clip_range, 1.0 + clip_range)
    return -(share_BK * torch.minimum(ratio_BK * gain_B1, clipped_BK * gain_B1)).sum(dim=1).mean()


def standardised_by_option(
    advantages_B: Float[Tensor, " B"], weights_BK: Float[Tensor, "B K"]
) -> Float[Tensor, " B"]:
    r"""Advantages with mean 0 and deviation 1 under each option, so that none drowns another.

        m_k = sum_b w_bk A_b / W_k,  s_k^2 = sum_b w_bk (A_b - m_k)^2 / (W_k - 1),  W_k = sum_b w_bk
        A'_b = sum_k w_bk (A_b - m_k) / s_k

    For one option it is `agents.losses.standardised`. Options of less than two samples' weight
    take part by the moments of all samples.
    """
    if len(advantages_B) < 2:
        return advantages_B
    mass_K = weights_BK.sum(dim=0)
    few_K = mass_K < 2.0
    mean_K = (advantages_B @ weights_BK) / mass_K.clamp_min(_LEAST)
    mean_K = torch.where(few_K, advantages_B.mean(), mean_K)
    centred_BK = advantages_B[:, None] - mean_K
    variance_K = (weights_BK * centred_BK.square()).sum(dim=0) / (mass_K - 1.0).clamp_min(1.0)
    std_K = torch.where(few_K, advantages_B.std(), variance_K.sqrt())
    return (weights_BK * centred_BK / (std_K + _LEAST)).sum(dim=1)

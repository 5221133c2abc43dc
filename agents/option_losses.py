"""Loss terms that keep options apart, in use and near a fallback; pure functions of tensors."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

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

"""Losses of proximal policy optimisation, as pure functions of tensors (one entry per sample)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

LOG_TWO_PI = math.log(2.0 * math.pi)


def gaussian_log_prob(
    actions_BD: Float[Tensor, "B D"],
    mean_BD: Float[Tensor, "B D"],
    log_std_D: Float[Tensor, "*B D"],
) -> Float[Tensor, " B"]:
    r"""Log density of independent Gaussians, summed over the action's dimensions.

    log p(a) = sum_d [ -(a_d - mu_d)^2 / (2 sigma_d^2) - log sigma_d - log(2 pi) / 2 ]

    The deviations are the same in all rows (D,), or each row's own (B, D).
    """
    deviations = (actions_BD - mean_BD) * torch.exp(-log_std_D)
    constant = log_std_D.sum(dim=-1) + 0.5 * LOG_TWO_PI * actions_BD.shape[1]
    return deviations.square().sum(dim=1).mul(-0.5) - constant


def gaussian_entropy(log_std_D: Float[Tensor, "*B D"]) -> Float[Tensor, "*B"]:
    """Entropy in nats of independent Gaussians: sum_d [ log sigma_d + (1 + log(2 pi)) / 2 ]."""
    return log_std_D.sum(dim=-1) + 0.5 * (1.0 + LOG_TWO_PI) * log_std_D.shape[-1]


def categorical_log_prob(actions_B: Tensor, logits_BK: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
    """Log probability of the chosen actions (int64) under softmax of the logits."""
    chosen: Tensor = torch.log_softmax(logits_BK, dim=1).gather(1, actions_B[:, None])
    return chosen.squeeze(1)


def categorical_entropy(logits_BK: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
    """Entropy in nats of softmax of the logits, for each sample."""
    log_prob = torch.log_softmax(logits_BK, dim=1)
    return -(log_prob.exp() * log_prob).sum(dim=1)


def clipped_surrogate(
    log_ratio_B: Float[Tensor, " B"], advantages_B: Float[Tensor, " B"], clip_range: float
) -> Float[Tensor, ""]:
    r"""Policy loss to be minimised (Schulman et al. 2017, arXiv:1707.06347, equation 7).

    L = -mean( min( rho A, clip(rho, 1 - c, 1 + c) A ) ),  rho = exp(log_ratio)
    """
    ratio = log_ratio_B.exp()
    clipped = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    return -torch.minimum(ratio * advantages_B, clipped * advantages_B).mean()


def squared_value_error(
    values_B: Float[Tensor, " B"], returns_B: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Value loss: mean (V - R)^2."""
    return (values_B - returns_B).square().mean()


def approximate_kl(log_ratio_B: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """Estimate of KL(old || new) in nats: mean(rho - 1 - log rho) (Schulman 2020, k3)."""
    return (torch.expm1(log_ratio_B) - log_ratio_B).mean()


def clip_fraction(log_ratio_B: Float[Tensor, " B"], clip_range: float) -> Float[Tensor, ""]:
    """Share of the samples whose ratio lies outside 1 - c .. 1 + c."""
    return ((log_ratio_B.exp() - 1.0).abs() > clip_range).float().mean()


def standardised(advantages: Tensor) -> Tensor:
    """Advantages with mean 0 and (sample) standard deviation 1; a single one is left as it is."""
    if advantages.numel() < 2:
        return advantages
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def explained_variance(
    values: Float[Tensor, "..."], returns: Float[Tensor, "..."]
) -> Float[Tensor, ""]:
    """1 - Var(R - V) / Var(R): 1 perfect, 0 as a constant; NaN when the returns are constant."""
    variance = returns.var()
    ratio = 1.0 - (returns - values).var() / variance
    return torch.where(variance > 0, ratio, torch.nan)

"""From a rollout to samples: values, advantages and returns, in large batches after the rollout."""

import torch
from torch import Tensor

from agents.networks import ActorCritic
from agents.returns import generalised_advantages, next_state_values
from training.sb3.buffer import Batch, Rollout

_CHUNK = 8192
"""Samples of one forward pass of the critic over a rollout: its activations stay in the cache."""


def advantage_samples(
    rollout: Rollout,
    net: ActorCritic,
    features_TC: Tensor,
    *,
    discount: float,
    trace: float,
    reward_scale: float,
) -> tuple[Batch, Tensor]:
    """Evaluate the critic on a whole rollout and estimate the advantages of its actions.

    Args:
        rollout: T steps of N environments.
        net: its critic is read.
        features_TC: features of the market, on the network's device.
        discount: gamma, 0 .. 1.
        trace: lambda, 0 .. 1.
        reward_scale: factor on the rewards.

    Returns:
        Samples (B = T * N, step by step) and the critic's values (B,) of them.
    """
    device = features_TC.device
    bars_SN, account_SNP = rollout.split(rollout.observation_SNO, device)
    final_bars_E, final_account_EP = rollout.split(rollout.final_observations(), device)
    values = _values(
        net,
        features_TC,
        torch.cat([bars_SN.flatten(), final_bars_E]),
        torch.cat([account_SNP.flatten(end_dim=1), final_account_EP]),
    )
    values_SN = values[: bars_SN.numel()].view(bars_SN.shape)
    done_TN = torch.from_numpy(rollout.done_TN).to(device)
    advantages_TN = generalised_advantages(
        torch.from_numpy(rollout.rewards_TN).to(device) * reward_scale,
        values_SN[:-1],
        next_state_values(values_SN, done_TN, values[bars_SN.numel() :]),
        torch.from_numpy(rollout.terminated_TN).to(device),
        done_TN,
        discount=discount,
        trace=trace,
    )
    batch = Batch(
        bars_B=bars_SN[:-1].flatten(),
        account_BP=account_SNP[:-1].flatten(end_dim=1),
        actions_BD=rollout.actions_TND.to(device).flatten(end_dim=1),
        log_prob_B=rollout.log_prob_TN.to(device).flatten(),
        advantages_B=advantages_TN.flatten(),
        returns_B=(advantages_TN + values_SN[:-1]).flatten(),
    )
    return batch, values_SN[:-1].flatten()


def _values(net: ActorCritic, features_TC: Tensor, bars_B: Tensor, account_BP: Tensor) -> Tensor:
    embedding, rows = net.critic_encoder.table(features_TC, bars_B)
    half = net.critic.market_half(embedding)
    chunks = zip(torch.split(rows, _CHUNK), torch.split(account_BP, _CHUNK), strict=True)
    return torch.cat([net.critic.from_market_half(half, *chunk) for chunk in chunks]).squeeze(1)

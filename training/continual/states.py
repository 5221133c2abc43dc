"""What a policy did in the phase that has just ended: states for the remedies that look back.

Dimensions: T steps, N lanes, B states, P account, K options.
"""

import math

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from torch import Tensor

from agents.continual.flat import FlatFunction
from agents.continual.protocol import PolicyFunction, States
from meta_controller.beliefs import BeliefSource
from meta_controller.continual import OptionFunction
from training.sb3.option_buffer import OptionRollout
from training.sb3.option_ppo import OptionPPO
from training.sb3.ppo import MarketPPO

LEAST_ROLLOUTS = 2
"""Rollouts that states are taken of, at least: those of a single one are close in time."""


def function_of(model: MarketPPO, beliefs: BeliefSource) -> PolicyFunction:
    """The policy of a learner as remedies see it.

    Args:
        model: the learner; its parameters are meant, not copies.
        beliefs: where the belief about regimes stands in what is observed.
    """
    if isinstance(model, OptionPPO):
        policy = model.policy
        return OptionFunction(policy.network, policy.features, policy.blend_kind)
    return FlatFunction(
        model.policy.net,
        model.policy.features,
        discrete=model.policy.discrete,
        belief=beliefs.read if beliefs.columns else None,
    )


def collect_states(model: MarketPPO, wanted: int, episode: int, seed: int) -> States:
    """Play a fresh learner that has the trained weights, and keep states of its rollouts.

    Args:
        model: a learner of the phase's environments that was never trained, with the weights that
            the phase ended with; it is used up.
        wanted: states B to keep, at most.
        episode: bars of an episode: rollouts are played until one is over.
        seed: of the choice among the states.

    Returns:
        Up to B states in random order.
    """
    model.set_logger(Logger(folder=None, output_formats=[]))
    per_rollout = model.n_steps * model.n_envs
    rollouts = max(
        LEAST_ROLLOUTS, math.ceil(wanted / per_rollout), math.ceil(episode / model.n_steps)
    )
    _, callback = model._setup_learn(rollouts * per_rollout, _Silent())  # noqa: SLF001 - SB3 has no other door
    # The end of the training: the noise is the last one's, and no head start is left.
    model.num_timesteps = model._total_timesteps = 2**62  # noqa: SLF001 - see above
    generator = np.random.default_rng(seed)
    share, kept = math.ceil(wanted / rollouts), []
    for _ in range(rollouts):
        model.collect_rollouts(model.vec_env, callback, None, model.n_steps)
        chosen = torch.from_numpy(generator.permutation(per_rollout)[:share])
        kept.append({name: rows[chosen].clone() for name, rows in _rows(model).items()})
    order = torch.from_numpy(generator.permutation(sum(len(part["bars"]) for part in kept)))
    return {
        name: torch.cat([part[name] for part in kept])[order[:wanted]].to(model.device)
        for name in kept[0]
    }


def rollout_states(model: MarketPPO, most: int) -> States:
    """States of a learner's present rollout, evenly spaced over its steps and environments.

    Nothing is drawn: the training that goes on is the same to the bit.

    Args:
        model: the learner, between two updates.
        most: states B, at most.
    """
    rows = _rows(model)
    count = len(rows["bars"])
    chosen = torch.arange(min(most, count)) * count // min(most, count)
    return {name: tensor[chosen].to(model.device) for name, tensor in rows.items()}


def _rows(model: MarketPPO) -> dict[str, Tensor]:
    """States of the present rollout, (T N, ...)."""
    rollout = model.rollout
    bars_SN, account_SNP = rollout.split(rollout.observation_SNO, torch.device("cpu"))
    rows = {"bars": bars_SN[:-1], "account": account_SNP[:-1]}
    if isinstance(rollout, OptionRollout):
        rows |= {
            "belief": rollout.belief_TNR,
            "previous": rollout.previous_TNK,
            "first": rollout.first_TN,
        }
        if rollout.injects:
            rows["injected"] = rollout.injected_TNKD
        if rollout.recurrent:
            rows["hidden"] = rollout.hidden_TNM
    return {name: tensor.flatten(end_dim=1) for name, tensor in rows.items()}


class _Silent(BaseCallback):
    def _on_step(self) -> bool:
        return True

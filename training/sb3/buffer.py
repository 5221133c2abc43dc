"""Rollouts in preallocated tensors: time first, environments second."""

from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Batch(NamedTuple):
    """Samples of a rollout, one row each, contiguous."""

    bars_B: Tensor
    """Decision bar, int64."""
    account_BP: Tensor
    """Account state, float32."""
    actions_BD: Tensor
    """Sampled actions before clipping, float32 (discrete: the number of the action)."""
    log_prob_B: Tensor
    """Their log probability when they were sampled."""
    advantages_B: Tensor
    """Generalised advantages, not standardised."""
    returns_B: Tensor
    """What the critic fits: advantages + values."""


Samples = TypeVar("Samples", bound=tuple[Tensor, ...])
"""A `Batch`, or one with more columns."""


def taken(samples: Samples, index: Tensor) -> Samples:
    """The rows ``index`` of every column, copied into contiguous tensors."""
    return type(samples)(*(tensor.index_select(0, index) for tensor in samples))


def rows_of(samples: Samples, start: int, stop: int) -> Samples:
    """Rows start .. stop - 1 of every column, as views."""
    return type(samples)(*(tensor[start:stop] for tensor in samples))


@dataclass
class Rollout:
    """T steps of N environments, refilled in place.

    Observations have T + 1 rows: row T is where the next rollout begins. The tensors share their
    memory with the arrays that the environment writes.

    Args:
        num_steps: T.
        num_envs: N.
        account_size: numbers P of the account state.
        action_size: numbers D of an action.
    """

    num_steps: int
    num_envs: int
    account_size: int
    action_size: int
    observation_SNO: NDArray[np.float32] = field(init=False)
    rewards_TN: NDArray[np.float32] = field(init=False)
    terminated_TN: NDArray[np.bool_] = field(init=False)
    done_TN: NDArray[np.bool_] = field(init=False)
    actions_TND: Tensor = field(init=False)
    log_prob_TN: Tensor = field(init=False)
    finals: list[NDArray[np.float32]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        steps, envs = self.num_steps, self.num_envs
        self.observation_SNO = np.zeros((steps + 1, envs, self.account_size + 1), np.float32)
        self.rewards_TN = np.zeros((steps, envs), np.float32)
        self.terminated_TN = np.zeros((steps, envs), np.bool_)
        self.done_TN = np.zeros((steps, envs), np.bool_)
        self.actions_TND = torch.zeros(steps, envs, self.action_size)
        self.log_prob_TN = torch.zeros(steps, envs)

    def reset(self, observation_NO: NDArray[np.float32]) -> None:
        """Begin at ``observation_NO``."""
        self.observation_SNO[0] = observation_NO
        self.finals.clear()

    def split(
        self, observation: NDArray[np.float32], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Observations (..., O) as bars int64 (...) and account states float32 (..., P)."""
        tensor = torch.from_numpy(observation).to(device)
        return tensor[..., 0].long(), tensor[..., 1:].contiguous()

    def final_observations(self) -> NDArray[np.float32]:
        """Observations of the final states of the finished episodes, in order of time and lane."""
        if not self.finals:
            return np.zeros((0, self.account_size + 1), np.float32)
        return np.concatenate(self.finals)

"""Sampling actions for a whole rollout: the market is encoded before its first step."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from agents.encoder import NoEncoder
from agents.losses import categorical_log_prob, gaussian_log_prob
from training.sb3.buffer import Rollout
from training.sb3.policy import MarketPolicy


class Sampler:
    """Draws the actions of one rollout, under parameters that do not change meanwhile.

    Args:
        policy: whose actions.
        rollout: its observations are read, its actions and log probabilities written.
        generator: source of the action noise, on the CPU, so that every device draws the same.
        rows: first and one past the last bar that an observation can name.
    """

    def __init__(
        self,
        policy: MarketPolicy,
        rollout: Rollout,
        generator: torch.Generator,
        rows: tuple[int, int],
    ) -> None:
        self._net, self._rollout = policy.net, rollout
        self._features_TC = policy.features
        self._device = policy.device
        space = policy.action_space
        self._box = space if isinstance(space, spaces.Box) else None
        self._std_D = self._net.log_std.detach().exp()
        self._half, self._first = self._encode(rows)
        self._noise_TND = self._draw(generator).to(self._device)
        if self._box is not None:
            self._low = torch.as_tensor(self._box.low.ravel(), device=self._device)
            self._high = torch.as_tensor(self._box.high.ravel(), device=self._device)

    def sample(self, step: int) -> NDArray[Any]:
        """Actions of a step, clipped to the box: (N, D) float32, or (N,) int64 discrete."""
        output = self._output(self._rollout.observation_SNO[step])
        if self._box is None:
            return self._sample_discrete(step, output)
        sampled = torch.addcmul(output, self._noise_TND[step], self._std_D)
        log_prob = gaussian_log_prob(sampled, output, self._net.log_std)
        self._rollout.actions_TND[step].copy_(sampled)
        self._rollout.log_prob_TN[step].copy_(log_prob)
        clipped: NDArray[Any] = torch.clamp(sampled, self._low, self._high).cpu().numpy()
        return clipped

    def _sample_discrete(self, step: int, logits_NK: Tensor) -> NDArray[Any]:
        # Gumbel's trick: the largest of logits less the log of exponential variates.
        choice = (logits_NK - self._noise_TND[step].log()).argmax(dim=1)
        self._rollout.actions_TND[step].copy_(choice[:, None])
        self._rollout.log_prob_TN[step].copy_(categorical_log_prob(choice, logits_NK))
        chosen: NDArray[Any] = choice.cpu().numpy()
        return chosen

    def _output(self, observation_NO: NDArray[np.float32]) -> Tensor:
        observation = torch.from_numpy(observation_NO).to(self._device)
        bars, account = observation[:, 0].long(), observation[:, 1:]
        if self._half is None:
            return self._net.act(self._features_TC, bars, account)
        return self._net.actor.from_market_half(self._half, bars - self._first, account)

    def _encode(self, rows: tuple[int, int]) -> tuple[Tensor | None, int]:
        encoder, rollout = self._net.encoder, self._rollout
        if isinstance(encoder, NoEncoder):
            return None, 0
        start, stop = max(0, rows[0] - encoder.config.window + 1), rows[1]
        visits = rollout.num_steps * rollout.num_envs
        if encoder.series_cost(stop - start) > encoder.window_cost(visits):
            return None, 0
        embedding = encoder.encode_series(self._features_TC[start:stop])
        return self._net.actor.market_half(embedding), start

    def _draw(self, generator: torch.Generator) -> Tensor:
        rollout = self._rollout
        steps, envs = rollout.num_steps, rollout.num_envs
        if self._box is None:
            outputs = self._net.log_std.shape[0]
            return torch.empty(steps, envs, outputs).exponential_(generator=generator)
        return torch.randn(steps, envs, rollout.action_size, generator=generator)

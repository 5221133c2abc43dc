"""The actor-critic as a Stable-Baselines3 policy, usable by SB3's own PPO as well."""

from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.distributions import (
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor

from agents.networks import ActorCritic, PolicyConfig
from agents.options import OptionNetworkConfig

ObservationKind = Literal["index", "window"]


class MarketPolicy(ActorCriticPolicy):
    """``ActorCritic`` behind SB3's interface.

    | observation | layout (float32) |
    |---|---|
    | ``index``  | bar number, account (P) |
    | ``window`` | W rows of C features, oldest first, account (P) |

    With index observations the features extractor gathers windows from the shared feature tensor,
    or convolves it, whichever is cheaper (``MarketEncoder.table``).

    Args:
        observation_space: flat box of one of the layouts above.
        action_space: box (independent Gaussians, clipped by the caller) or discrete.
        lr_schedule: learning rate of ``optimizer``, which only SB3's own PPO uses.
        features_TC: features of the whole market, float32 (T, C); (0, 0) where there are none.
        config: networks.
        observation: which layout.
        network_seed: seed of the initial weights, independent of any global generator.
        use_sde: must be False (SB3 passes it).

    Raises:
        ValueError: a space that does not fit the features and the configuration.
    """

    action_dist: DiagGaussianDistribution | CategoricalDistribution

    def __init__(  # noqa: PLR0913 - SB3 gives the first three and use_sde
        self,
        observation_space: spaces.Box,
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        features_TC: NDArray[np.float32],
        config: PolicyConfig | OptionNetworkConfig | None = None,
        observation: ObservationKind = "index",
        network_seed: int = 0,
        use_sde: bool = False,
    ) -> None:
        if use_sde:
            raise ValueError("use_sde: expected False, state-dependent exploration is not offered")
        self._plan = (features_TC, config or PolicyConfig(), observation, network_seed)
        super().__init__(observation_space, action_space, lr_schedule)

    def _build(self, lr_schedule: Schedule) -> None:
        features_TC, config, observation, seed = self._plan
        self.observation_kind = observation
        self._window_shape = (config.encoder.window, features_TC.shape[1])
        self._market_width = 1 if observation == "index" else int(np.prod(self._window_shape))
        account_size = self._account_size()
        self.register_buffer("features_TC", torch.tensor(features_TC), persistent=False)
        generator = torch.Generator().manual_seed(seed)
        self.net = self.make_network(features_TC.shape[1], account_size, generator)
        self.log_std = self.net.log_std
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=lr_schedule(1), eps=1e-5)

    def make_network(
        self, num_features: int, account_size: int, generator: torch.Generator
    ) -> ActorCritic:
        """The networks, with initial weights."""
        config = self._plan[1]
        assert isinstance(config, PolicyConfig)  # noqa: S101 - of the flat agent
        return ActorCritic(
            config,
            num_features,
            account_size,
            action_outputs(self.action_space),
            continuous=not self.discrete,
            generator=generator,
        )

    def _account_size(self) -> int:
        assert isinstance(self.observation_space, spaces.Box)  # noqa: S101 - narrows SB3's type
        width = int(np.prod(self.observation_space.shape))
        if width <= self._market_width:
            raise ValueError(
                f"observation: expected more than {self._market_width} numbers for "
                f"{self.observation_kind} observations, found {width}"
            )
        return width - self._market_width

    @property
    def features(self) -> Tensor:
        """Features of the market (T, C), on the policy's device."""
        features = self.features_TC
        assert isinstance(features, Tensor)  # noqa: S101 - a registered buffer
        return features

    @property
    def discrete(self) -> bool:
        """Whether actions are chosen from a list."""
        return isinstance(self.action_space, spaces.Discrete)

    def split(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Market part (bars int64 (B,), or windows (B, W, C)) and account part (B, P)."""
        market, account = obs[:, : self._market_width], obs[:, self._market_width :]
        if self.observation_kind == "index":
            return market[:, 0].long(), account
        return market.reshape(len(obs), *self._window_shape), account

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:  # noqa: FBT001, FBT002 - SB3's signature
        """Actions (B, D), values (B, 1) and log probabilities (B,)."""
        distribution = self.get_distribution(obs)
        actions = distribution.get_actions(deterministic=deterministic)
        log_prob = distribution.log_prob(actions)
        shape = self.action_space.shape or ()
        return actions.reshape((-1, *shape)), self.predict_values(obs), log_prob

    def evaluate_actions(
        self, obs: PyTorchObs, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values (B, 1), log probabilities (B,) and entropies (B,) of given actions."""
        distribution = self.get_distribution(obs)
        return self.predict_values(obs), distribution.log_prob(actions), distribution.entropy()

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """Distribution of the actions."""
        market, account = self.split(flat_tensor(obs))
        if self.observation_kind == "index":
            output = self.net.act(self.features, market, account)
        else:
            output = self.net.act_windows(market, account)
        if isinstance(self.action_dist, DiagGaussianDistribution):
            return self.action_dist.proba_distribution(output, self.net.log_std)
        return self.action_dist.proba_distribution(action_logits=output)

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """State values (B, 1)."""
        market, account = self.split(flat_tensor(obs))
        if self.observation_kind == "index":
            return self.net.value(self.features, market, account)[:, None]
        return self.net.value_windows(market, account)[:, None]


def action_outputs(space: spaces.Space[Any]) -> int:
    """Outputs that the actor needs: dimensions of a box, or the number of discrete actions.

    Raises:
        ValueError: a space of another kind.
    """
    if isinstance(space, spaces.Box):
        return int(np.prod(space.shape))
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return int(space.n)
    raise ValueError(f"action space: expected Box or Discrete from 0, found {space}")


def flat_tensor(obs: PyTorchObs) -> Tensor:
    """The observations as one float tensor.

    Raises:
        TypeError: anything else than one tensor.
    """
    if not isinstance(obs, Tensor):
        raise TypeError(f"observation: expected one flat tensor, found {type(obs).__name__}")
    return obs.float()

"""What acts: the protocol of a policy over index observations, and a trained network as one."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from agents.networks import ActorCritic


class Policy(Protocol):
    """Chooses actions for N accounts from index observations."""

    def reset(self, num_envs: int) -> None:
        """Forget all episodes; ``num_envs`` accounts follow."""
        ...

    def act(self, observation_NO: NDArray[np.float32]) -> NDArray[np.float64]:
        """Choose actions (N, D), deterministically.

        Args:
            observation_NO: rows [bar, account (P)], float32, O = P + 1.
        """
        ...


class TorchPolicy:
    """A trained actor as a ``Policy``: the mean action, clipped to its box, or the likeliest one.

    The market is encoded once, when the policy is made; later changes of the network are not seen.

    Args:
        network: trained networks; only the encoder and the actor are read.
        features_TC: features of the market that the observations' bars number, float32 (T, C);
            (0, 0) for a network without market features, to which bars mean nothing.
        low: lower bounds of the actions (D,), or None for a discrete network.
        high: upper bounds of the actions (D,), or None for a discrete network.

    Raises:
        ValueError: the market has another number of features than the network was made for.
    """

    def __init__(
        self,
        network: ActorCritic,
        features_TC: NDArray[np.float32],
        *,
        low: NDArray[np.float32] | None = None,
        high: NDArray[np.float32] | None = None,
    ) -> None:
        if features_TC.ndim != 2 or features_TC.shape[1] != network.num_features:
            raise ValueError(
                f"features: expected (T, {network.num_features}) for this network, "
                f"found {features_TC.shape}"
            )
        if (low is None) != (high is None):
            raise ValueError("low, high: expected both or neither, found one of them")
        self._actor = network.actor
        self._device = network.log_std.device
        self._account_size = network.account_size
        self._looks_up = network.num_features > 0
        self._low, self._high = low, high
        with torch.no_grad():
            features = torch.tensor(features_TC, device=self._device)
            self._half_TH = network.actor.market_half(network.encoder.encode_series(features))

    def reset(self, num_envs: int) -> None:
        """Nothing to forget: the policy has no memory."""

    @torch.no_grad()
    def act(self, observation_NO: NDArray[np.float32]) -> NDArray[np.float64]:
        """Choose actions: (N, D) continuous, or (N, 1) holding the number of a discrete action.

        Raises:
            ValueError: an observation of another width, or a bar outside the market.
        """
        expected = self._account_size + 1
        if observation_NO.ndim != 2 or observation_NO.shape[1] != expected:
            raise ValueError(
                f"observation: expected (N, {expected}) as [bar, account], "
                f"found {observation_NO.shape}"
            )
        bars_N = observation_NO[:, 0].astype(np.int64)
        if (
            self._looks_up
            and len(bars_N)
            and not 0 <= bars_N.min() <= bars_N.max() < len(self._half_TH)
        ):
            raise ValueError(
                f"observation: expected bars 0 .. {len(self._half_TH) - 1}, "
                f"found {bars_N.min()} .. {bars_N.max()}"
            )
        rows = torch.as_tensor(bars_N, device=self._device)
        account = torch.tensor(observation_NO[:, 1:], device=self._device)
        output: NDArray[np.float32] = (
            self._actor.from_market_half(self._half_TH, rows, account).cpu().numpy()
        )
        if self._low is None or self._high is None:
            choice: NDArray[np.float64] = output.argmax(axis=1, keepdims=True).astype(np.float64)
            return choice
        clipped: NDArray[np.float64] = np.clip(output, self._low, self._high).astype(np.float64)
        return clipped

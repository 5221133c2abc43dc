"""Rehearsal: some of the environments play earlier regimes while a new one is learned."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from agents.continual.config import RehearsalConfig
from agents.continual.protocol import Experience, PolicyFunction, Remedy


def shared_lanes(share: float, num_envs: int, regimes_seen: Sequence[int]) -> dict[int, int]:
    """Environments for each earlier regime; those left play the present one.

    The share is rounded, at least one for each regime and never all; what does not divide evenly
    goes to the regimes named first.

    Args:
        share: of the environments that earlier regimes get together, 0 .. 1.
        num_envs: environments N in all.
        regimes_seen: earlier regimes, without the present one.

    Raises:
        ValueError: a regime twice, or too few environments for one each.
    """
    seen = list(regimes_seen)
    if len(set(seen)) < len(seen):
        raise ValueError(f"rehearsal: expected each earlier regime once, found {seen}")
    if not seen:
        return {}
    if num_envs <= len(seen):
        raise ValueError(
            f"rehearsal: expected at least {len(seen) + 1} environments, one for each of the "
            f"earlier regimes {seen} and one for the present, found {num_envs}"
        )
    rounded = int(share * num_envs + 0.5)
    total = min(max(rounded, len(seen)), num_envs - 1)
    each, over = divmod(total, len(seen))
    return {regime: each + (place < over) for place, regime in enumerate(seen)}


class Rehearsal(Remedy):
    """Which regimes have been, and how many environments play each of them again.

    It adds nothing to the loss: the trainer builds the environments by `lanes`. Where markets are
    stored, as they are in trading, this is the simplest remedy, and the one others are compared
    with (Rolnick et al. 2019, arXiv:1811.11682, replay in a reinforcement learner).

    Args:
        config: the share of the environments.
        function: the policy; nothing of it is read.
    """

    name = "rehearsal"

    def __init__(self, config: RehearsalConfig, function: PolicyFunction) -> None:
        del function
        self._config = config
        self._regimes: list[int] = []

    @property
    def regimes(self) -> tuple[int, ...]:
        """Regimes whose phases have ended, in the order of their first end."""
        return tuple(self._regimes)

    def lanes(self, num_envs: int, regimes_seen: Sequence[int]) -> dict[int, int]:
        """Environments for each earlier regime, by `shared_lanes`."""
        return shared_lanes(self._config.share, num_envs, regimes_seen)

    def consolidate(self, experience: Experience) -> None:
        """Remember that the regime has been."""
        if experience.regime not in self._regimes:
            self._regimes.append(experience.regime)

    def state(self) -> dict[str, Tensor]:
        """Regimes whose phases have ended."""
        return {"regimes": torch.tensor(self._regimes, dtype=torch.int64)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the result of `state`.

        Raises:
            ValueError: it is of another remedy.
        """
        if state.keys() != {"regimes"} or state["regimes"].ndim != 1:
            shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
            raise ValueError(f"rehearsal: expected the state regimes (J,), found {shapes}")
        self._regimes = state["regimes"].tolist()

    def figures(self) -> dict[str, float]:
        """How many regimes can be rehearsed."""
        return {"regimes": float(len(self._regimes))}

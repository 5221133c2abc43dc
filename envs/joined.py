"""Several simulators side by side as one: lanes of one market, then lanes of the next.

For learners that play several phases of a market at once (rehearsal): every lane belongs to one of
the parts, in their order, and is what it would be in a part alone.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.simulator import Simulator
from markets.synthetic.base import Stream


class JoinedSimulator:
    """The lanes of several simulators, N in all, behind the calls that a learner makes.

    Args:
        parts: at least one; they trade alike and are observed alike.

    Raises:
        ValueError: none, or parts of different rules, features or assets.

    Attributes:
        num_envs: lanes N of all parts.
        num_assets: assets A.
        action_size: numbers of a lane's action, D.
        account_size: numbers of a lane's account observation, P.
        config: rules of the first part; the others differ in nothing that a learner sees.
        market: of the first part.
    """

    def __init__(self, parts: Sequence[Simulator]) -> None:
        if not parts:
            raise ValueError("parts: expected at least one simulator, found none")
        first = parts[0]
        for part in parts[1:]:
            _require_alike(first, part)
        self.parts = tuple(parts)
        self.config, self.market = first.config, first.market
        self.num_assets, self.action_size = first.num_assets, first.action_size
        self.account_size = first.account_size
        self.num_envs = sum(part.num_envs for part in parts)
        stops = list(accumulate(part.num_envs for part in parts))
        self._lanes = [slice(a, b) for a, b in zip([0, *stops], stops, strict=False)]

    @property
    def first_start(self) -> int:
        """First bar at which an episode of any part may start."""
        return min(part.first_start for part in self.parts)

    @property
    def last_start(self) -> int:
        """Last bar at which an episode of any part may start."""
        return max(part.last_start for part in self.parts)

    @property
    def bar_N(self) -> NDArray[np.int32]:  # noqa: N802 - dimension suffix
        """Decision bar of each lane."""
        return self._together(lambda part: part.bar_N)

    @property
    def reward_N(self) -> NDArray[np.float64]:  # noqa: N802 - dimension suffix
        """Reward of the last step."""
        return self._together(lambda part: part.reward_N)

    @property
    def terminated_N(self) -> NDArray[np.bool_]:  # noqa: N802 - dimension suffix
        """Ruined in the last step."""
        return self._together(lambda part: part.terminated_N)

    @property
    def truncated_N(self) -> NDArray[np.bool_]:  # noqa: N802 - dimension suffix
        """Reached the episode's end in the last step."""
        return self._together(lambda part: part.truncated_N)

    @property
    def ended_N(self) -> NDArray[np.bool_]:  # noqa: N802 - dimension suffix
        """Waits for a reset."""
        return self._together(lambda part: part.ended_N)

    @property
    def world_NS(self) -> NDArray[np.float64]:  # noqa: N802 - dimension suffix
        """State of each lane of streams of one layout."""
        return self._together(lambda part: part.world_NS)

    def step(self, actions_ND: ArrayLike) -> None:
        """Take every lane one bar on.

        Raises:
            ValueError: as `Simulator.step`; parts before the faulty one have moved then.
            RuntimeError: likewise.
        """
        actions = np.asarray(actions_ND)
        for part, lanes in zip(self.parts, self._lanes, strict=True):
            part.step(actions[lanes])

    def reset(self, lanes: ArrayLike | None = None, *, seed: int | None = None) -> None:
        """Begin a new episode in the chosen lanes; None = all.

        Lanes of later parts have the numbers that they have here (`lane_offset`), so that with one
        seed no two of them play the same path.
        """
        if lanes is None:
            for part in self.parts:
                part.reset(seed=seed)
            return
        chosen_N = np.zeros(self.num_envs, dtype=np.bool_)
        chosen_N[np.atleast_1d(lanes)] = True
        for part, mine in zip(self.parts, self._lanes, strict=True):
            if chosen_N[mine].any():
                part.reset(np.flatnonzero(chosen_N[mine]), seed=seed)

    def observe_index(
        self, out_NO: NDArray[np.float32] | None = None, *, final: bool = False
    ) -> NDArray[np.float32]:
        """Copy `[bar, account (P)]` of every lane, as `Simulator.observe_index`."""
        return self._observe(lambda part, out: part.observe_index(out, final=final), out_NO)

    def observe_window(
        self, out_NK: NDArray[np.float32] | None = None, *, final: bool = False
    ) -> NDArray[np.float32]:
        """Copy the windows of every lane, as `Simulator.observe_window`."""
        return self._observe(lambda part, out: part.observe_window(out, final=final), out_NK)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything that the next step depends on, part by part."""
        return {
            f"{number}/{name}": array
            for number, part in enumerate(self.parts)
            for name, array in part.state_dict().items()
        }

    def load_state_dict(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue from the result of `state_dict`."""
        for number, part in enumerate(self.parts):
            prefix = f"{number}/"
            part.load_state_dict(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )

    def _observe(
        self,
        observe: Callable[[Simulator, NDArray[np.float32] | None], NDArray[np.float32]],
        out: NDArray[np.float32] | None,
    ) -> NDArray[np.float32]:
        if out is None:
            return np.concatenate([observe(part, None) for part in self.parts])
        for part, lanes in zip(self.parts, self._lanes, strict=True):
            observe(part, out[lanes])
        return out

    def _together(self, read: Callable[[Simulator], NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([read(part) for part in self.parts])


def _require_alike(first: Simulator, other: Simulator) -> None:
    """Refuse a part that a learner would see or trade differently."""
    pairs: list[tuple[str, object, object]] = [
        ("action", first.config.action, other.config.action),
        ("observation", first.config.observation, other.config.observation),
        ("symbols", first.market.symbols, other.market.symbols),
    ]
    if isinstance(first.market, Stream) and isinstance(other.market, Stream):
        pairs.append(("features", first.market.feature_names, other.market.feature_names))
    elif first.market is not other.market:
        raise ValueError("parts: expected one market of bars for all, found another")
    for name, expected, found in pairs:
        if expected != found:
            raise ValueError(f"parts: expected the {name} {expected} of the first, found {found}")

"""Branches: what each of several alternative actions would earn in the present bar."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.simulator import Simulator
from markets.synthetic.base import Stream


class Branches:
    """A shadow of a simulator, in which alternatives are tried; the original does not change.

    A branch is exact, bit for bit, on recorded markets and on streams: what happens depends on the
    state, and on a stream on (seed, lane, episode) besides, which the shadow copies. It is a look
    into the next bar: who acts may be told of it only after that bar.

    Args:
        simulator: the original.
        expected: pay the expected rewards of a stream in place of the realised ones.

    Raises:
        ValueError: expected rewards of a recorded market.
    """

    def __init__(self, simulator: Simulator, *, expected: bool = False) -> None:
        if expected and not isinstance(simulator.market, Stream):
            raise ValueError("expected: expected False on a recorded market, found True")
        options: dict[str, Any] = dict(simulator.__getstate__()["options"])
        # Terms are not read here; whatever the original keeps of a bar, rewards are the same.
        options |= {"record_terms": False, "record_expected": expected}
        self._original, self._expected = simulator, expected
        self._shadow = Simulator(simulator.market, simulator.config, simulator.num_envs, **options)

    def payoffs(self, actions_NKD: ArrayLike) -> NDArray[np.float64]:
        """Rewards (N, K) of the bar that the original is about to take.

        A lane that waits for a reset is paid what its reset pays, 0.

        Args:
            actions_NKD: K alternatives for each lane, (N, K, D).

        Raises:
            ValueError: another shape, or an action that is not finite.
            RuntimeError: a lane has ended and autoreset is disabled.
        """
        actions = np.asarray(actions_NKD, dtype=np.float64)
        lanes, size = self._original.num_envs, self._original.action_size
        if actions.ndim != 3 or actions.shape[0] != lanes or actions.shape[2] != size:
            raise ValueError(f"actions: expected shape ({lanes}, K, {size}), found {actions.shape}")
        state = self._original.state_dict()
        state["record"] = state["record"][:0]
        found_NK = np.empty(actions.shape[:2])
        for branch in range(actions.shape[1]):
            self._shadow.load_state_dict(state)
            self._shadow.step(np.ascontiguousarray(actions[:, branch]))
            shadow = self._shadow
            found_NK[:, branch] = shadow.expected_N if self._expected else shadow.reward_N
        return found_NK

"""SB3's ``VecEnv`` over the compiled simulator: no Python for each environment in a step."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from envs.joined import JoinedSimulator
from envs.simulator import Simulator
from envs.spaces import action_space, observation_space
from markets.synthetic.base import Stream


class Finished(NamedTuple):
    """Episodes that ended in a step, in order of their lanes."""

    lanes: NDArray[np.int64]
    final_observation_EO: NDArray[np.float32]
    episodes: list[dict[str, float]]


class SimulatorVecEnv(VecEnv):
    """N accounts of one simulator, or of several joined, as SB3 sees them (same-step autoreset).

    ``step`` returns the first observation of the next episode where one ended; the info of that
    lane has ``terminal_observation``, ``TimeLimit.truncated`` (true only without termination) and
    ``episode`` (``r`` return, ``l`` steps, ``t`` seconds since this object was made). All other
    lanes share one empty info, which nobody may write to.

    Args:
        simulator: the kernel; this object drives it alone. It is restarted by itself (autoreset
            "same_step", the fastest) or from here ("disabled"); the results are the same.
        observation: "index" (bar and account) or "window" (copied feature rows and account).
    """

    def __init__(
        self,
        simulator: Simulator | JoinedSimulator,
        *,
        observation: Literal["index", "window"] = "index",
    ) -> None:
        self.simulator = simulator
        self.observation_kind = observation
        self._render_mode = None
        super().__init__(
            simulator.num_envs,
            _observation_space(simulator, observation),
            action_space(simulator.config.action, simulator.num_assets),
        )
        self._width = int(np.prod(self.observation_space.shape or ()))
        self._discrete = isinstance(self.action_space, spaces.Discrete)
        self._return_N = np.zeros(self.num_envs)
        self._length_N = np.zeros(self.num_envs, np.int64)
        self._actions: NDArray[Any] | None = None
        self._no_info: dict[str, Any] = {}
        self._born = time.monotonic()

    @property
    def features(self) -> NDArray[np.float32]:
        """Features that all lanes share, (T, C); (0, 0) on a stream, where each has its own."""
        market = self.simulator.market
        if isinstance(market, Stream):
            return np.zeros((0, 0), np.float32)
        return market.features_TC

    @property
    def rows(self) -> tuple[int, int]:
        """First and one past the last bar of the table that an observation can name."""
        simulator, length = self.simulator, self.simulator.config.episode.length
        if isinstance(simulator.market, Stream):
            return 0, 0
        bars = simulator.market.num_bars
        stop = bars if length is None else min(bars, simulator.last_start + length + 1)
        return simulator.first_start, stop

    # -- the fast face ------------------------------------------------------------------------

    def advance(
        self, actions: NDArray[Any], observation_NO: NDArray[np.float32]
    ) -> Finished | None:
        """Step all lanes, restart those that ended, and write the observations that follow.

        Rewards and flags are read from ``simulator.reward_N``, ``terminated_N``, ``truncated_N``
        before the restart touches them: they are copied into this object's ``reward_N``,
        ``terminated_N`` and ``done_N``.

        Args:
            actions: (N, D) within the action space, or (N,) discrete.
            observation_NO: receives the observations, float32, C-contiguous.

        Returns:
            What ended, or None.
        """
        simulator = self.simulator
        simulator.step(actions.reshape(self.num_envs, -1))
        self.reward_N = simulator.reward_N.copy()
        self.terminated_N = simulator.terminated_N.copy()
        self.done_N = simulator.truncated_N | self.terminated_N
        self._return_N += self.reward_N
        self._length_N += 1
        finished = self._finish(observation_NO) if self.done_N.any() else None
        self._observe(observation_NO)
        return finished

    def _finish(self, scratch_NO: NDArray[np.float32]) -> Finished:
        lanes = np.flatnonzero(self.done_N)
        waiting = bool(self.simulator.ended_N[lanes].any())  # not restarted by the kernel itself
        self._observe(scratch_NO, final=not waiting)
        final = scratch_NO[lanes]
        if waiting:
            self.simulator.reset(lanes)
        seconds = round(time.monotonic() - self._born, 6)
        episodes = [
            {"r": float(total), "l": int(length), "t": seconds}
            for total, length in zip(self._return_N[lanes], self._length_N[lanes], strict=True)
        ]
        self._return_N[lanes] = 0.0
        self._length_N[lanes] = 0
        return Finished(lanes, final, episodes)

    def _observe(self, out_NO: NDArray[np.float32], *, final: bool = False) -> None:
        if self.observation_kind == "index":
            self.simulator.observe_index(out_NO, final=final)
        else:
            self.simulator.observe_window(out_NO, final=final)

    # -- SB3's face ---------------------------------------------------------------------------

    def reset(self) -> NDArray[np.float32]:
        """Start all episodes anew, from the seed given by ``seed`` when there is one."""
        self.simulator.reset(seed=self._seeds[0])
        self._reset_seeds()
        self._return_N[:] = 0.0
        self._length_N[:] = 0
        observation = np.empty((self.num_envs, self._width), np.float32)
        self._observe(observation)
        return observation

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the next ``reset``; all lanes draw from one counter-based generator of this seed."""
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        self._seeds = [seed] * self.num_envs
        return self._seeds

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Observations, rewards, dones and infos of the step begun by ``step_async``."""
        if self._actions is None:
            raise RuntimeError("step_wait: expected step_async before it, found no actions")
        actions, self._actions = self._actions, None
        observation = np.empty((self.num_envs, self._width), np.float32)
        infos = self.infos(self.advance(actions, observation))
        return observation, self.reward_N.astype(np.float32), self.done_N, infos

    def infos(self, finished: Finished | None) -> list[dict[str, Any]]:
        """SB3's infos of a step: one dictionary a lane."""
        infos = [self._no_info] * self.num_envs
        if finished is not None:
            for lane, final, episode in zip(*finished, strict=True):
                infos[lane] = {
                    "terminal_observation": final,
                    "TimeLimit.truncated": not self.terminated_N[lane],
                    "episode": episode,
                }
        return infos

    def close(self) -> None:
        """Nothing to release."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The simulator's attribute for each lane; arrays with one entry a lane are split.

        Raises:
            AttributeError: the simulator has no such attribute.
        """
        lanes = list(self._get_indices(indices))
        if attr_name == "render_mode":
            return [None] * len(lanes)
        value = getattr(self.simulator, attr_name)
        if isinstance(value, np.ndarray) and value.shape[:1] == (self.num_envs,):
            return [value[lane] for lane in lanes]
        return [value] * len(lanes)

    def set_attr(self, attr_name: str, value: object, indices: VecEnvIndices = None) -> None:
        """Refused: the lanes share one kernel.

        Raises:
            AttributeError: always.
        """
        del value, indices
        raise AttributeError(
            f"{attr_name}: the lanes share one simulator, whose configuration is fixed; "
            "make another simulator instead"
        )

    def env_method(
        self,
        method_name: str,
        *method_args: object,
        indices: VecEnvIndices = None,
        **method_kwargs: object,
    ) -> list[Any]:
        """Refused: a lane is no environment object of its own.

        Raises:
            AttributeError: always.
        """
        del method_args, method_kwargs, indices
        raise AttributeError(
            f"{method_name}: the lanes share one simulator and have no methods of their own; "
            "call the simulator"
        )

    def env_is_wrapped(
        self,
        wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]],
        indices: VecEnvIndices = None,
    ) -> list[bool]:
        """False for each lane: gymnasium wrappers cannot wrap a lane."""
        del wrapper_class
        return [False for _ in self._get_indices(indices)]

    # -- exact resume -------------------------------------------------------------------------

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that the next step depends on, as arrays."""
        simulator = {f"simulator/{k}": v for k, v in self.simulator.state_dict().items()}
        return simulator | {"episode/return": self._return_N, "episode/length": self._length_N}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue from the result of ``state``."""
        prefix = "simulator/"
        self.simulator.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        self._return_N[:] = state["episode/return"]
        self._length_N[:] = state["episode/length"]


def _observation_space(
    simulator: Simulator | JoinedSimulator, observation: Literal["index", "window"]
) -> spaces.Space[Any]:
    market = simulator.market
    return observation_space(
        replace(simulator.config.observation, kind=observation),
        market.num_features,
        simulator.num_assets,
        streamed=isinstance(market, Stream),
    )

"""N trading accounts behind the Gymnasium vector interface, one compiled call a step."""

import copy as copying
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.config import TradingConfig
from envs.default_market import (
    ActionKind,
    ObservationKind,
    Part,
    resolve_config,
    resolve_market,
)
from envs.guards import (
    NOT_STARTED,
    ActionError,
    EpisodeError,
    OptionsError,
    frozen,
    read_options,
    require_integers,
)
from envs.market_arrays import MarketArrays
from envs.simulator import TERMS, Simulator
from envs.spaces import action_space, observation_space
from markets.synthetic.base import Stream, regimes_of

if TYPE_CHECKING:
    from markets.bars import Bars

Observations = NDArray[np.float32]
Infos = dict[str, Any]
Step = tuple[
    Observations, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]

_MODES: dict[AutoresetMode, Literal["disabled", "next_step"]] = {
    AutoresetMode.DISABLED: "disabled",
    AutoresetMode.NEXT_STEP: "next_step",
    # This face resets the ended lanes itself, because Gymnasium wants their whole last info.
    AutoresetMode.SAME_STEP: "disabled",
}
_INFOS = ("bar", "equity", "projected", "projection_count", "liquidated")
_BOUND = frozenset({"simulator", "_levels", "_windows", "_every_N", "_masks", "_buffer"})
"""Attributes that `_open` makes anew; the rest is a copy's state."""


class TradingVectorEnv(VectorEnv[Observations, NDArray[Any], NDArray[Any]]):
    """N independent copies of `TradingEnv` over one market, without Python per environment.

    Spaces, order of events, rewards and ends of episodes are those of `envs.trading_env.TradingEnv`
    with a leading axis N. Lane i equals `TradingEnv(..., lane=i)` under the same seed, bit for
    bit, whatever N is. The `view` observation is not offered: windows of several lanes cannot be
    one view.

    ## Autoreset (`metadata["autoreset_mode"]`)
    | mode | the step that ends an episode | that lane in the step after it |
    |---|---|---|
    | `NEXT_STEP` (default) | last observation, flags set | action ignored, first observation of |
    | | | the next episode, reward 0, flags clear |
    | `SAME_STEP` | first observation of the next episode; reward and flags of | an ordinary |
    | | the last step; `final_obs` and `final_info` | step |
    | `DISABLED` | last observation, flags set | raises `EpisodeError`; first call |
    | | | `reset(options={"reset_mask": mask})` |

    Stable-Baselines3 needs `SAME_STEP`, RLlib needs `NEXT_STEP`.

    ## Infos
    Arrays (N,) owned by the caller, each with its mask `_key` (Gymnasium's convention).

    | key | content |
    |---|---|
    | `bar`, `equity` | row of the market; equity at its close, currency |
    | `projected`, `projection_count` | the action was outside; how many were in this episode |
    | `liquidated` | a margin call closed the positions |
    | terms, `costs`, `fills` (N, A) | with `record_terms` only; see `TradingEnv` |
    | `expected_reward`, `regime` | streams of fresh paths only; see `TradingEnv` |
    | `duration`, `reason` | after `step_option` only; codes of `envs.simulator.Reason` |
    | `final_obs` | `SAME_STEP`, where an episode ended: object array of the last observations |
    | `final_info` | the same: a dict of the infos above, as of the end of the episode |

    In `SAME_STEP`, the infos of a lane whose episode ended are those of the new episode's start
    (amounts 0); what happened in the last step is in `final_info`.

    ## Arguments
    As `TradingEnv` (without `lane` and `render_mode`), and:

    | name | default | meaning |
    |---|---|---|
    | `num_envs` | 1 | lanes N |
    | `autoreset_mode` | NEXT_STEP | an `AutoresetMode`, or its value as text |
    | `record_terms` | False | accounting terms, costs and fills in the infos; slower |
    | `copy` | True | False: observations are written into one array that the next call overwrites |
    | `lane_offset` | 0 | number of the first lane, where several processes share one seed |

    ## Version history
    - v0: first version.
    """

    def __init__(  # noqa: PLR0913 - keyword-only options of one object
        self,
        num_envs: int = 1,
        market: "MarketArrays | Stream | Bars | str" = "us_stocks",
        config: TradingConfig | Mapping[str, Any] | None = None,
        *,
        action: ActionKind | None = None,
        observation: ObservationKind | None = None,
        part: Part | None = None,
        rows: tuple[int, int] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        record_terms: bool = False,
        copy: bool = True,
        lane_offset: int = 0,
    ) -> None:
        self.market, self._rows = resolve_market(market, part, rows)
        self.streamed = isinstance(self.market, Stream)
        self.config = resolve_config(config, action, observation, streamed=self.streamed)
        if self.config.observation.kind == "view":
            msg = "observation: expected window or index for a vector environment, found 'view'"
            raise ValueError(msg)
        self.num_envs = num_envs
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_modes": []}
        self.record_terms = record_terms
        self._copy = copy
        self._lane_offset = lane_offset
        self.single_observation_space = observation_space(
            self.config.observation,
            self.market.num_features,
            self.market.num_assets,
            streamed=self.streamed,
        )
        self.single_action_space = action_space(self.config.action, self.market.num_assets)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._started = False
        self._seeded = False
        self._open()

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observations, Infos]:
        """Begin an episode in every lane.

        Args:
            seed: One for all lanes (each still draws its own starts), or one for each lane;
                starts the sequences of episodes anew. None continues them (at first: with a seed
                from the operating system).
            options: `start`: first decision bar, one or (N,), instead of the configured choice;
                `reset_mask`: only these lanes, (N,) bool.

        Returns:
            Observations and infos of all lanes; amounts in the infos are 0.

        Raises:
            OptionsError: An unknown option, or one out of range.
        """
        found = read_options(options, ("start", "reset_mask"))
        mask_N = self._read_mask(found.get("reset_mask"))
        require_integers("seed", seed)
        require_integers("options.start", found.get("start"))
        super().reset(seed=None if seed is None or np.ndim(seed) else int(np.asarray(seed)))
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**63 - 1))
        seeds, start = self._chosen(seed, mask_N), self._chosen(found.get("start"), mask_N)
        try:
            self.simulator.reset(mask_N, seed=seeds, start=start)
        except ValueError as error:
            raise OptionsError(f"reset: {error}") from None
        self._started = self._seeded = True
        return self._observe(), self._infos()

    def step(self, actions: NDArray[Any]) -> Step:
        """Take every lane one bar on; see `TradingEnv` for the order of events.

        Args:
            actions: (N, D), or (N,) for `levels`.

        Returns:
            Observations, rewards (float64), terminations, truncations, infos.

        Raises:
            ActionError: A wrong shape or type, or not finite; nothing has changed then.
            EpisodeError: Before the first reset; `DISABLED`: a lane's episode has ended.
        """
        loaded = self._read_actions(actions)
        try:
            self.simulator.step(loaded)
        except ValueError as error:
            raise ActionError(str(error)) from None
        except RuntimeError as error:
            raise EpisodeError(str(error)) from None
        return self._result(self.simulator.reward_N.copy(), {})

    def step_option(
        self,
        actions: NDArray[Any],
        max_bars: int | NDArray[np.int64],
        stop: float = 0.0,
        gamma: float = 1.0,
        *,
        rebalance: bool = True,
    ) -> Step:
        """Hold each lane's target for several bars in one call: a semi-Markov step.

        Args:
            actions: As in `step`.
            max_bars: Largest duration, bars, one or (N,).
            stop: End where equity is at or below (1 - stop) times the equity now; 0 = no stop.
            gamma: Discount a bar, in [0, 1].
            rebalance: Submit the target at every bar; otherwise only now.

        Returns:
            As `step`, with rewards sum_k gamma^k r_k; infos also have `duration` (0 where
            `NEXT_STEP` reset the lane instead) and `reason`.

        Raises:
            ActionError: A wrong shape or type.
            EpisodeError: As `step`.
            ValueError: An action that is not finite, or a parameter out of range.
        """
        loaded = self._read_actions(actions)
        try:
            result = self.simulator.step_option(loaded, max_bars, stop, gamma, rebalance=rebalance)
        except RuntimeError as error:
            raise EpisodeError(str(error)) from None
        return self._result(
            result.reward_N, {"duration": result.duration_N, "reason": result.reason_N}
        )

    def _open(self) -> None:
        """Make the simulator and what depends on it."""
        self.simulator = Simulator(
            self.market,
            self.config,
            self.num_envs,
            seed=0,
            rows=self._rows,
            record_terms=self.record_terms,
            record_expected=self.streamed,
            autoreset=_MODES[self.autoreset_mode],
            lane_offset=self._lane_offset,
        )
        self._levels = self.config.action.kind == "levels"
        self._windows = self.config.observation.kind == "window"
        self._every_N = np.ones(self.num_envs, dtype=np.bool_)
        self._every_N.flags.writeable = False
        names: tuple[str, ...] = _INFOS
        if self.streamed:
            names += ("expected_reward", "regime")
        if self.record_terms:
            names += (*TERMS, "costs", "fills")
        self._masks = {f"_{name}": self._every_N for name in names}
        self._buffer = None if self._copy else np.empty(self.observation_space.shape or (), "f4")

    def _read_mask(self, mask: Any) -> NDArray[np.bool_]:  # noqa: ANN401 - checked here
        if mask is None:
            return self._every_N
        mask_N = np.asarray(mask)
        if mask_N.shape != (self.num_envs,) or mask_N.dtype != np.bool_ or not mask_N.any():
            msg = (
                f"options.reset_mask: expected a bool array of shape ({self.num_envs},) with a True"
                f" in it, found {mask_N.dtype} of shape {mask_N.shape}"
            )
            raise OptionsError(msg)
        return mask_N

    def _chosen(self, values: Any, mask_N: NDArray[np.bool_]) -> Any:  # noqa: ANN401 - one or (N,)
        if values is None or np.ndim(values) == 0:
            return values
        values_N = np.asarray(values)
        if values_N.shape != (self.num_envs,):
            msg = f"reset: expected one value or ({self.num_envs},), found {values_N.shape}"
            raise OptionsError(msg)
        return values_N[mask_N]

    def _read_actions(self, actions: NDArray[Any]) -> NDArray[Any]:
        if not self._started:
            raise EpisodeError(NOT_STARTED)
        found = np.asarray(actions)
        kinds = "iu" if self._levels else "fiu"
        if found.dtype.kind not in kinds:
            wanted = "integers" if self._levels else "real numbers"
            raise ActionError(f"actions: expected {wanted}, found {found.dtype}")
        if found.shape != self.action_space.shape:
            msg = f"actions: expected shape {self.action_space.shape}, found {found.shape}"
            raise ActionError(msg)
        return found

    def _observe(self) -> Observations:
        if self._windows:
            return self.simulator.observe_window(self._buffer)
        return self.simulator.observe_index(self._buffer)

    def _observe_lane(self, lane: int) -> Observations:
        simulator = self.simulator
        account_P = simulator.account_NP[lane]
        if self._windows and self.streamed:
            return np.array(account_P)
        if self._windows:
            return np.concatenate((simulator.window_view(lane).reshape(-1), account_P))
        return np.append(np.float32(simulator.bar_N[lane]), account_P)

    def _result(self, rewards: NDArray[np.float64], extra: Infos) -> Step:
        simulator = self.simulator
        terminations, truncations = simulator.terminated_N.copy(), simulator.truncated_N.copy()
        infos = self._infos(extra)
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            ended_N = terminations | truncations
            if ended_N.any():
                infos = self._begin_again(ended_N, infos, extra)
        return self._observe(), rewards, terminations, truncations, infos

    def _begin_again(self, ended_N: NDArray[np.bool_], infos: Infos, extra: Infos) -> Infos:
        """Reset the ended lanes; return infos with their last observations and infos apart."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        for lane in np.flatnonzero(ended_N):
            final_obs[lane] = self._observe_lane(int(lane))
        final_info: Infos = {}
        for key, value in infos.items():
            if not key.startswith("_"):
                final_info[key] = np.zeros_like(value)
                final_info[key][ended_N] = value[ended_N]
                final_info[f"_{key}"] = ended_N
        self.simulator.reset(ended_N)
        infos = self._infos(extra)
        infos.update((f"_{key}", ~ended_N) for key in extra)
        infos.update(final_obs=final_obs, final_info=final_info)
        infos.update(_final_obs=ended_N, _final_info=ended_N)
        return infos

    def _infos(self, extra: Infos | None = None) -> Infos:
        simulator = self.simulator
        infos: Infos = {
            "bar": simulator.bar_N.copy(),
            "equity": simulator.equity_N.copy(),
            "projected": simulator.projected_N.copy(),
            "projection_count": simulator.projection_count_N.copy(),
            "liquidated": simulator.liquidated_N.copy(),
        }
        if self.streamed:
            # Every path starts at bar 0, where nothing has been earned yet.
            infos["expected_reward"] = np.where(simulator.bar_N == 0, 0.0, simulator.expected_N)
            infos["regime"] = regimes_of(simulator.world_NS)
        if self.record_terms:
            terms_N7 = simulator.terms_N7
            infos.update((name, terms_N7[:, i].copy()) for i, name in enumerate(TERMS))
            infos["costs"] = terms_N7[:, 2:].sum(axis=1)
            infos["fills"] = simulator.trades_NA.copy()
        infos.update(self._masks)
        for key, value in (extra or {}).items():
            infos[key], infos[f"_{key}"] = value, self._every_N
        return infos

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name not in _BOUND}
        state["simulator"] = self.simulator.state_dict()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        changing = state.pop("simulator")
        vars(self).update(state)
        self.market = frozen(self.market)
        self._open()
        self.simulator.load_state_dict(changing)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        memo[id(self.market)] = self.market
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__(copying.deepcopy(self.__getstate__(), memo))
        return twin

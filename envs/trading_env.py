"""One trading account behind the Gymnasium interface."""

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

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
from envs.kernel.run import NO_FAULT
from envs.market_arrays import MarketArrays
from envs.rendering import EpisodeTrace, ansi_line, rgb_array
from envs.simulator import Reason
from envs.single_account import SingleAccount
from envs.spaces import action_space, observation_space
from markets.synthetic.base import Stream
from markets.synthetic.layout import REGIME

if TYPE_CHECKING:
    from markets.bars import Bars

Observation = Any  # an array, or for `view` a dict of arrays: fixed by the configuration
Action = ArrayLike

_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)
_BOUND = frozenset(
    {"simulator", "_arguments", "_target", "_target_D", "_shape", "_bar", "_terms", "_fills"}
    | {"_account_P", "_account_bytes", "_features", "_row_bytes", "_window_bytes"}
    | {"_window_shape", "_expected", "_state_S"}
    | {"_load", "_observe", "_kernel"}
)
"""Attributes that `_open` makes anew; the rest is a copy's state."""


def _refuse(*_: Any) -> NoReturn:  # noqa: ANN401 - stands in for the kernel
    raise EpisodeError(NOT_STARTED)


class TradingEnv(gymnasium.Env[Observation, Action]):
    """Trade A assets from one cash account over the bars of one market.

    `market` is a table of bars, or a stream of fresh paths of a synthetic market (the subclasses in
    `envs.synthetic_env` are three of them with known optimal policies).

    ## Action space
    By `config.action`; an action outside of its space is projected, reported and counted
    (`info["projected"]`, `info["projection_count"]`). A wrong shape or type, NaN and infinity
    raise `ActionError` and change nothing.

    | kind | space | index | meaning | range, unit |
    |---|---|---|---|---|
    | `simplex`, weights | `Box (A,)` | i | target weight of asset i, rest cash | 0 .. 1, equity |
    | `simplex`, logits | `Box (A+1,)` | i; A | softmax of assets; cash | -10 .. 10 |
    | `long_short` | `Box (A,)` | i | target weight of asset i over `scale` | -1 .. 1, equity |
    | `shares` | `Box (A,)` | i | target holding of i | `minimum` .. `maximum`, lots |
    | `levels` | `Discrete` | | index of the weight in `levels`, one asset | 0 .. n - 1 |
    | `trade` | `Box (A,)` | i | part of `size` to trade of asset i | -1 .. 1, units |

    Weights above the limits (sum 1 for `simplex`, gross and net for `long_short`, gross for
    `shares`) are scaled down.

    ## Observation space
    By `config.observation`, float32. Each observation belongs to the caller, except the read-only
    market part of `view`.

    | kind | index | content | range, unit |
    |---|---|---|---|
    | `window` | 0 .. WC - 1 | features of bars t-W+1 .. t, oldest first | +-1e12, the features' |
    | | WC .. | account, see below | |
    | `index` | 0 | bar t, exact | 0 .. 2**24, row of the market |
    | | 1 .. | account, see below | |
    | `view` | `market` (W, C) | as `window`; writing raises | +-1e12, the features' |
    | | `account` | account, see below | |

    A stream of fresh paths has a window of one row, and no `view`; its `index` observation has the
    features between the bar and the account, because they are in no table.

    | account index | content | range | unit |
    |---|---|---|---|
    | 0 .. A - 1 | holding's value at the close of t | +-1e6 | equity |
    | | in an additive market: holding | +-1e6 | `TradeAction.unit` |
    | A | cash (negative: borrowed) | +-1e6 | equity |
    | A + 1 | drawdown from the episode's highest equity | 0 .. 1 (above: debt) | that equity |
    | A + 2 | time left (1 with `time_left=False`) | 1 .. 0 | episode |

    ## Order of events in `step`
    1. The agent has seen everything up to the close of bar t. The order is sized with the equity
       and the closes of t.
    2. With `fill="close"` it fills at that close, which the agent has seen: optimistic.
    3. Bar u = t + 1 begins: borrow fee and interest since t; splits and dividends of u; delisted
       positions settle.
    4. With `fill="next_open"` (default) the order fills at the open of u, as far as trading,
       volume, lots and cash allow; fee, half the spread and impact are paid; the rest lapses.
    5. Positions are marked at the close of u; a margin call liquidates there.
    6. Reward of the change of equity from t to u, then the observation of u.

    Formulae: `envs.simulator.Simulator`.

    ## Reward
    By `config.reward`; the default log(E_u / E_t) sums to the log growth of equity over the
    episode. Costs are in it because they are in the equity.

    ## Start of an episode
    All cash, at a bar drawn uniformly from those with a full window before and the whole episode
    after them (`config.episode.random_start`), or at the first of them. `reset(seed=s)` starts
    the sequence of episodes anew: the k-th start depends on (s, lane, k) alone, in every process.
    `reset(options={"start": row})` starts at the given bar. In a stream every episode starts at
    the bar 0 of a path of its own, drawn from (s, lane, k) alone.

    ## End of an episode
    - *Terminated*: equity at or below `ruin_fraction` of the initial cash.
    - *Truncated*: `config.episode.length` steps done, or the last bar reached where that is None.
      Never both; a further `step` raises `EpisodeError`.

    ## Info
    The same keys after `reset` (amounts 0) and `step`; amounts in currency, of this step.

    | key | content |
    |---|---|
    | `bar`, `equity` | row of the market; equity at its close |
    | `pnl`, `dividends` | gains; change of equity = pnl + dividends - costs |
    | `fees`, `spread`, `slippage`, `borrow`, `financing` | losses (financing < 0: received) |
    | `costs` | fees + spread + slippage + borrow + financing |
    | `fills` | signed shares traded, (A,) float64, forced ones included |
    | `projected`, `projection_count` | this action was outside; how many were in this episode |
    | `liquidated` | a margin call closed the positions |
    | `duration`, `reason` | after `step_option` only: bars, and why it ended |
    | `expected_reward` | streams only: expectation of the last bar's reward given the state at |
    | | its decision, the true regime and the fills; NaN where there is no formula for it |
    | `regime` | streams only: the true regime k_t, which governs the next bar |

    ## Arguments
    | name | default | meaning |
    |---|---|---|
    | `market` | `"us_stocks"` | `MarketArrays`, a `Stream` of fresh paths, `Bars`, or the name of |
    | | | an embedded data set |
    | `config` | `TradingConfig()` | a `TradingConfig` or a nested mapping of its fields |
    | `action`, `observation` | None | kinds that replace those of `config` |
    | `part` | None: `"train"` | part of a data set or of `Bars`: train, validation, test, all |
    | `rows` | None | first row and the row after the last that may be touched, instead of `part` |
    | `lane` | 0 | this environment equals lane `lane` of `TradingVectorEnv`, bit for bit |
    | `render_mode` | None | `"rgb_array"` (700 x 1000 figure) or `"ansi"` (a line of text) |

    Environments can be pickled and deep-copied in the middle of an episode; copies continue with
    the same bits. Deep copies share the immutable market.

    ## Version history
    - v0: first version.
    """

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}  # noqa: RUF012 - Gymnasium
    _kernel: Callable[..., int]

    def __init__(  # noqa: PLR0913 - keyword-only options of one object
        self,
        market: "MarketArrays | Stream | Bars | str" = "us_stocks",
        config: TradingConfig | Mapping[str, Any] | None = None,
        *,
        action: ActionKind | None = None,
        observation: ObservationKind | None = None,
        part: Part | None = None,
        rows: tuple[int, int] | None = None,
        lane: int = 0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            known = ", ".join(self.metadata["render_modes"])
            msg = f"render_mode: expected one of {known}, found {render_mode!r}"
            raise ValueError(msg)
        self.market, self._rows = resolve_market(market, part, rows)
        self.streamed = isinstance(self.market, Stream)
        self.config = resolve_config(config, action, observation, streamed=self.streamed)
        self._lane = lane
        self.render_mode = render_mode
        self.observation_space = observation_space(
            self.config.observation,
            self.market.num_features,
            self.market.num_assets,
            streamed=self.streamed,
        )
        space: Any = action_space(self.config.action, self.market.num_assets)
        self.action_space = space
        self._trace = EpisodeTrace(
            self.market.symbols,
            dated=not self.streamed,
            additive=self.market.additive,
        )
        self._seeded = False
        self._started = False
        self._open()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Starts the sequence of episodes anew, in [0, 2**63); None continues it (at
                first: with a seed from the operating system).
            options: `start`: first decision bar, instead of the configured choice.

        Returns:
            Observation and info; amounts in the info are 0.

        Raises:
            OptionsError: An unknown option, or a seed or start out of range.
        """
        start = read_options(options, ("start",)).get("start")
        require_integers("seed", seed)
        require_integers("options.start", start)
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**63 - 1))
        try:
            self.simulator.reset(seed=seed, start=start)
        except ValueError as error:
            msg = f"options: {error}" if start is not None else str(error)
            raise OptionsError(msg) from None
        self._seeded = self._started = True
        self._kernel = self.simulator.kernel
        if self.render_mode is not None:
            self._trace.clear()
            self._draw_later()
        return self._observe(), self._info()

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take the account one bar on; see the class for the order of events.

        Args:
            action: In `action_space`; outside of it, it is projected and counted.

        Returns:
            Observation, reward, terminated, truncated, info.

        Raises:
            ActionError: A wrong shape or type, or not finite; nothing has changed then.
            EpisodeError: Before the first reset, or after the end of the episode.
        """
        self._load(action)
        code = self._kernel(*self._arguments)
        account = self.simulator
        if code != NO_FAULT:
            account.refuse(code)
        if self.render_mode is not None:
            self._draw_later()
        return (
            self._observe(),
            account.reward[0],
            account.terminated[0],
            account.truncated[0],
            self._info(),
        )

    def step_option(
        self,
        action: Action,
        max_bars: int,
        stop: float = 0.0,
        gamma: float = 1.0,
        *,
        rebalance: bool = True,
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Hold a target for several bars in one call: a step of a semi-Markov process.

        Args:
            action: As in `step`.
            max_bars: Largest duration, bars.
            stop: End where equity is at or below (1 - stop) times the equity now; 0 = no stop.
            gamma: Discount a bar, in [0, 1].
            rebalance: Submit the target at every bar; otherwise only now.

        Returns:
            As `step`, with the reward sum_k gamma^k r_k. `info["duration"]` is the number of
            bars, `info["reason"]` is max_bars, stop, terminated or truncated; amounts are sums.

        Raises:
            ActionError: As `step`.
            EpisodeError: As `step`.
            ValueError: A parameter out of range.
        """
        self._load(action)
        account = self.simulator
        if not self._started:
            raise EpisodeError(NOT_STARTED)
        target_1D = account.action_D[None].copy()
        result = account.step_option(target_1D, max_bars, stop, gamma, rebalance=rebalance)
        if self.render_mode is not None:
            self._draw_later()
        info = self._info()
        info["duration"] = int(result.duration_N[0])
        info["reason"] = Reason(result.reason_N[0]).name.lower()
        reward = float(result.reward_N[0])
        return self._observe(), reward, account.terminated[0], account.truncated[0], info

    def render(self) -> NDArray[np.uint8] | str | None:  # type: ignore[override] # TypeVar default
        """Draw the episode so far: pixels (700, 1000, 3) or a line of text, by `render_mode`.

        Returns:
            None without a render mode (with Gymnasium's warning).

        Raises:
            EpisodeError: Before the first reset.
        """
        if self.render_mode is None:
            gymnasium.logger.warn(
                "render() does nothing without a render mode; give render_mode='rgb_array' or "
                "'ansi' to the constructor."
            )
            return None
        if not self._started:
            raise EpisodeError(NOT_STARTED)
        return rgb_array(self._trace) if self.render_mode == "rgb_array" else ansi_line(self._trace)

    def _open(self) -> None:
        """Make the simulator and bind what a step needs."""
        self.simulator = SingleAccount(self.market, self.config, rows=self._rows, lane=self._lane)
        account = self.simulator
        self._arguments = account.arguments
        self._target, self._target_D = account.target, account.action_D
        self._shape = account.action_D.shape
        self._bar, self._terms, self._fills = account.bar, account.terms_7, account.trades_A
        self._account_P = account.observation_O[1:]
        self._account_bytes = self._account_P.data.cast("B")
        if isinstance(self.market, Stream):
            self._expected, self._state_S = account.expected_N, account.world_NS[0]
        else:
            self._features = self.market.features_TC.reshape(-1).data.cast("B")
            self._row_bytes = self.market.num_features * _FLOAT32.itemsize
            self._window_bytes = self.config.observation.window * self._row_bytes
            self._window_shape = (account.window_size,)
        discrete = self.config.action.kind == "levels"
        self._load = self._load_level if discrete else self._load_box
        self._observe = {
            "index": account.observation_O.copy,
            "window": self._account_P.copy if self.streamed else self._observe_window,
            "view": self._observe_view,
        }[self.config.observation.kind]
        self._kernel = account.kernel if self._started else _refuse

    def _load_box(self, action: Any) -> None:  # noqa: ANN401 - checked here
        if (
            type(action) is not np.ndarray
            or action.shape != self._shape
            or (action.dtype is not _FLOAT32 and action.dtype is not _FLOAT64)
        ):
            action = np.asarray(action)
            if action.dtype.kind not in "fiu":
                raise ActionError(f"action: expected real numbers, found {action.dtype}")
            if action.shape != self._shape:
                raise ActionError(f"action: expected shape {self._shape}, found {action.shape}")
        if self._shape == (1,):
            self._target[0] = action.item()  # a third of the time of an array assignment
        else:
            self._target_D[:] = action

    def _load_level(self, action: Any) -> None:  # noqa: ANN401 - checked here
        if type(action) is not int:
            found = np.asarray(action)
            if found.size != 1 or found.dtype.kind not in "iu":
                msg = f"action: expected one integer, found {found.dtype} of shape {found.shape}"
                raise ActionError(msg)
            action = found.item()
        self._target[0] = action

    def _observe_window(self) -> NDArray[np.float32]:
        stop = (self._bar[0] + 1) * self._row_bytes
        rows = self._features[stop - self._window_bytes : stop]
        # Two memcpys into fresh memory; numpy's concatenate takes twice the time.
        fresh = bytearray().join((rows, self._account_bytes))
        return np.ndarray(self._window_shape, _FLOAT32, fresh)

    def _observe_view(self) -> dict[str, NDArray[np.float32]]:
        return {"market": self.simulator.window_view(), "account": self._account_P.copy()}

    def _info(self) -> dict[str, Any]:
        account = self.simulator
        pnl, dividends, fees, spread, slippage, borrow, financing = self._terms.tolist()
        info = {
            "bar": self._bar[0],
            "equity": account.equity[0],
            "pnl": pnl,
            "dividends": dividends,
            "fees": fees,
            "spread": spread,
            "slippage": slippage,
            "borrow": borrow,
            "financing": financing,
            "costs": fees + spread + slippage + borrow + financing,
            "fills": self._fills.copy(),
            "projected": account.projected[0],
            "projection_count": account.projection_count[0],
            "liquidated": account.liquidated[0],
        }
        if self.streamed:
            # Every path starts at bar 0, where nothing has been earned yet.
            info["expected_reward"] = self._expected.item() if self._bar[0] else 0.0
            info["regime"] = int(self._state_S.item(REGIME))
        return info

    def _draw_later(self) -> None:
        account, market = self.simulator, self.market
        if market.additive:
            holdings_A, traded_A = account.shares_NA[0], account.trades_A
        else:
            first = -3 - market.num_assets
            holdings_A = self._account_P[first:-3].astype(np.float64)
            traded_A = account.fill_values()
        bar = account.bar[0]
        time = bar if isinstance(market, Stream) else int(market.ts_event[bar])
        self._trace.append(time, account.equity[0], holdings_A, traded_A)

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
        twin.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return twin

"""N trading accounts over one market, or N fresh ones; one compiled call a step, no gymnasium."""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.account_arrays import AccountArrays
from envs.config import TradingConfig
from envs.feed import Market, feed_of
from envs.fit import action_size, check_market, episode_span, expectation_of
from envs.kernel.copying import build_gather
from envs.kernel.jit import entry_point
from envs.kernel.layout import Autoreset, Key, OptionCount, OptionSum, Reason
from envs.kernel.rules import pack_rules
from envs.kernel.run import ENDED, NO_FAULT, build_reset, build_run
from envs.results import TERM_SIGNS, TERMS, OptionResult
from markets.synthetic.base import Stream

OPTIONS = ("seed", "rows", "record_terms", "record_expected", "autoreset", "lane_offset")
"""Keyword arguments of `Simulator`, kept so that a copy can be built."""
AUTORESETS = {
    "disabled": Autoreset.DISABLED,
    "next_step": Autoreset.NEXT_STEP,
    "same_step": Autoreset.SAME_STEP,
}

__all__ = ["TERMS", "TERM_SIGNS", "OptionResult", "Reason", "Simulator"]


class Simulator(AccountArrays):
    """N accounts over one market, or over one synthetic market each.

    **Step.** From the decision at the close of bar t to the mark at the close of bar u = t + 1
    (E equity, h holdings, c cash, P open, C close, V volume, sigma trailing volatility at t):

    1. *Decision at the close of t.* The action is projected into its limits (counted where it was
       outside) and becomes target shares: `w E_t / |C_t|` for weights, `lots * lot` for shares,
       `h + u` for trades (see `TradeAction`). Order = target - h; orders below 1e-9 of E_t (of the
       action's unit, for trades) are not sent.
    2. *Fill at the close of t* if `fill = "close"`: as 6, at C_t with the volume of t.
    3. *Accrual* on what was held since the close of t, for the year fraction y of u:
       `borrow = rate y sum max(-h, 0) |C_t|`,
       `financing = y (debit max(-c, 0) - credit max(c, 0))`.
    4. *Corporate actions of u.* A split multiplies holdings and orders; a dividend pays
       `h * dividend` in the shares of that day (short positions pay); a delisted position settles
       at its last price.
    5. *Cash* changes by dividends + settlement - borrow - financing.
    6. *Fill at the open of u* if `fill = "next_open"`, q shares of each order: none in a bar that
       is not tradable; `|q| <= maximum V_u` (the rest lapses); whole lots, except to close a
       position. Costs with notional n = |q| P:
       `half spread = bps / 2 1e-4 n`, `slippage = coefficient sigma sqrt(|q| / V_u) n` (both
       together at most n), `fee = max(minimum, bps 1e-4 n + per_share |q|)`; `quadratic cost =
       1/2 coefficient q' Lambda_k q` of all assets is a part of the slippage. With impact on, an
       order does not fill in a bar without volume. Cash account (gross limit <= 1): all buys are
       scaled by one factor so that cash stays >= 0, and sales that cost more than they bring are
       not sent.
    7. *Mark* at C_u: E_u = c + sum h C_u.
    8. *Margin*: if E_u < maintenance sum |h| C_u, every position is closed at C_u with all costs
       and the liquidation fee, without a participation limit, and the lane is flagged.
    9. *Reward* of E_t -> E_u (see `envs.kernel.rewards`).
    10. *Flags*: terminated where E_u <= ruin_fraction * initial_cash; else truncated where u is
        the episode's last bar.

    **Terms** (with `record_terms`): E_u - E_t = pnl + dividends - fees - spread - slippage -
    borrow - financing; negative financing is interest received.

    **Episodes.** Starts are drawn from (seed, lane, episode) alone; an episode of length L that
    starts at s ends at the close of s + L. Nothing of a lane depends on the other lanes, bit for
    bit.

    **Observation** (float32): `[bar, account]` or `[window rows, account]`, account = `[weights
    (A), cash weight, drawdown from the episode's peak, time left]` (1 if not told).

    **Additive markets** have prices that may turn negative; they are traded by `TradeAction` alone,
    and `holdings / unit` are observed in place of weights.

    **Streams** (`markets.synthetic.base.Stream`). Every lane plays a path of its own in every
    episode, which depends on (seed, lane, episode) alone: the one that the market's `path` returns
    for them, bit for bit. It is generated bar by bar and not stored. Episodes start at bar 0. A bar
    opens at the last close, any number of units fills there, and regime k_t at the decision governs
    the bar and its Lambda_k and Sigma_k. There are no corporate actions and no margin. Account =
    `[features (C), holdings or weights (A), cash weight, drawdown, time left]`; there are no window
    rows.

    **Expected reward** of a stream's step: its expectation given the market's state at the
    decision, k_t included, and the fills. With cash c and holdings x after the fills, prices C_t,
    drift d: `c + x'(C_t + d) - E_t - risk_aversion / 2 x' Sigma_k x` for quadratic utility; for the
    log return of one asset with lognormal returns `E log(E_u / E_t)` by quadrature; NaN otherwise.

    The public arrays are read-only views of the state after the last call.

    Attributes:
        num_envs: Lanes, N.
        num_assets: Assets, A.
        action_size: Numbers in a lane's action, D.
        num_features: Columns of a window's rows, C; 0 of a stream, which shows its C features with
            the account.
        account_size: Numbers of a lane's account observation, P = A + 3; of a stream C + A + 3.
        window_size: Numbers of a window observation, K = W C + P; of a stream K = P.
        first_start: First bar at which an episode may start.
        last_start: Last bar at which an episode may start.
        bar_N: Decision bar t of each lane, int32.
        start_N: First decision bar of the episode, int32.
        end_N: Last bar of the episode, int32.
        episode_N: Number of the lane's episode since its seed, int64.
        seed_N: Seed of each lane, int64.
        cash_N: Cash, currency.
        equity_N: Equity at the close of bar_N, currency.
        peak_N: Largest equity of the episode, currency.
        shares_NA: Holdings, shares.
        reward_N: Reward of the last step, float64.
        expected_N: Expected reward of the last step (of an option's last bar), float64; NaN where
            it is not kept or not defined, and after a reset.
        world_NS: State of each lane of a stream, float64 (see `markets.synthetic.layout`); (N, 0)
            of a table.
        terminated_N: Ruined in the last step.
        truncated_N: Reached the episode's end in the last step.
        ended_N: Waits for a reset.
        projected_N: The last action was outside its limits.
        projection_count_N: Number of such actions in the episode, int32.
        liquidated_N: A margin call in the last step.
        final_bar_N: Last bar of the lane's last episode that same-step autoreset ended, float32.
        account_NP: Account observation, float32.
    """

    def __init__(  # noqa: PLR0913 - keyword-only options of one object
        self,
        market: Market,
        config: TradingConfig,
        num_envs: int,
        *,
        seed: int,
        rows: tuple[int, int] | None = None,
        record_terms: bool = False,
        record_expected: bool = False,
        autoreset: Literal["disabled", "next_step", "same_step"] = "disabled",
        lane_offset: int = 0,
    ) -> None:
        """Open N accounts and start their first episodes.

        Args:
            market: Bars, or a stream of a synthetic market.
            config: The models and their parameters.
            num_envs: Number of lanes, N >= 1.
            seed: Seed of the starts, in [0, 2**63).
            rows: First and one past the last bar that episodes may touch (windows may look
                further back, into warmed-up rows); None = all, and the only choice of a stream.
            record_terms: Keep the terms and trades of each step (`terms_N7`, `trades_NA`,
                `fill_price_NA`, `unfilled_NA`), and of a stream the expected reward.
            record_expected: Keep the expected reward of each step of a stream (`expected_N`).
            autoreset: What happens to a lane after its end. `disabled`: a further step is an
                error. `next_step`: the next call resets it, ignores its action and rewards 0.
                `same_step`: the same call resets it and keeps the last observation (`final`).
            lane_offset: Number of the first lane: lane i here equals lane i + offset of a
                larger simulator.

        Raises:
            ValueError: Too few bars, or a configuration that does not fit the market.
        """
        if num_envs < 1:
            msg = f"num_envs: expected at least 1, found {num_envs}"
            raise ValueError(msg)
        check_market(market, config)
        self.market = market
        self.config = config
        self._options = (seed, rows, record_terms, record_expected, autoreset, lane_offset)
        span = episode_span(market, config, rows)
        self.first_start, self.last_start, self._last_bar = span
        feed = feed_of(market, num_envs)
        self.num_features = feed.num_features
        rules = pack_rules(
            config,
            span,
            feed,
            autoreset=AUTORESETS[autoreset],
            record=record_terms,
            expectation=expectation_of(market, config, report=record_terms or record_expected),
        )
        super().__init__(
            feed,
            rules_R=rules,
            levels_L=_levels(config),
            num_envs=num_envs,
            action_size=action_size(config, market),
            record_terms=record_terms,
        )
        self.window_size = config.observation.window * feed.num_features + self.account_size
        self._keys[Key.LANE] = np.arange(lane_offset, lane_offset + num_envs)
        self._load_kernel(feed.generator)
        self.reset(seed=seed)

    def _load_kernel(self, generator: int) -> None:
        self._run = entry_point(
            build_run(single=self.num_assets == 1, generator=generator),
            (self._actions.reshape(-1), *self._plain_step),
        )
        self._reset = build_reset(generator=generator)
        self._gather = build_gather()

    def reset(
        self,
        lanes: ArrayLike | None = None,
        *,
        seed: ArrayLike | None = None,
        start: ArrayLike | None = None,
    ) -> None:
        """Begin a new episode in the chosen lanes.

        Args:
            lanes: Lane numbers or a mask (N,); None = all.
            seed: New seed, one or one for each chosen lane; the lanes' episodes count from 0
                again. None = the next episode of the present seed.
            start: First decision bar, one or one for each chosen lane; None = as configured.

        Raises:
            ValueError: A lane, a seed or a start out of range.
        """
        numbers = np.arange(self.num_envs)[slice(None) if lanes is None else np.atleast_1d(lanes)]
        chosen = np.zeros(self.num_envs, dtype=np.bool_)
        chosen[numbers] = True
        if seed is None:
            self._keys[Key.EPISODE, numbers] += 1
        else:
            seeds = np.asarray(seed)
            if (seeds < 0).any():
                msg = f"seed: expected a number in [0, 2**63), found {seeds.min()}"
                raise ValueError(msg)
            self._keys[Key.SEED, numbers] = seeds
            self._keys[Key.EPISODE, numbers] = 0
        starts = np.full(self.num_envs, -1, dtype=np.int64)
        if start is not None:
            starts[numbers] = start
            latest = self.last_start if self.config.episode.length else self._last_bar - 1
            faulty = chosen & ((starts < self.first_start) | (starts > latest))
            if faulty.any():
                found = starts[faulty][0]
                msg = f"start: expected a bar in [{self.first_start}, {latest}], found {found}"
                raise ValueError(msg)
        self._reset(chosen, starts, *self._arrays)

    def step(self, actions_ND: ArrayLike) -> None:
        """Take every lane one bar on.

        Args:
            actions_ND: Actions (N, D), any real dtype; (N,) where D = 1.

        Raises:
            ValueError: A wrong shape, or an action that is not finite; nothing has changed then.
            RuntimeError: A lane has ended and autoreset is disabled; nothing has changed then.
        """
        actions_M = self._flat_actions(actions_ND)
        code = self._run(actions_M, *self._plain_step)
        if code != NO_FAULT:
            self._raise_fault(code, actions_M)

    def step_option(
        self,
        targets_ND: ArrayLike,
        max_bars: ArrayLike,
        stop: float = 0.0,
        gamma: float = 1.0,
        *,
        rebalance: bool = True,
    ) -> OptionResult:
        """Hold each lane's target until it ends, in one call: a semi-Markov step.

        Args:
            targets_ND: Actions, as for `step`.
            max_bars: Largest duration, bars >= 1; one or one for each lane.
            stop: End where equity is at or below (1 - stop) times the equity at the option's
                start; 0 = no stop, in [0, 1].
            gamma: Discount a bar, in [0, 1].
            rebalance: Submit the target at each bar (the same as repeated `step`s); otherwise
                only at the first, and the position drifts.

        Returns:
            Discounted reward, duration and reason of each lane. Terms and trades are summed over
            the bars.

        Raises:
            ValueError: As `step`; or a parameter out of range.
            RuntimeError: As `step`.
        """
        bars = np.asarray(max_bars, dtype=np.int64)
        for name, value, faulty in (
            ("max_bars: expected at least 1", bars.min(), bars.min() < 1),
            ("stop: expected a number in [0, 1]", stop, not 0.0 <= stop <= 1.0),
            ("gamma: expected a number in [0, 1]", gamma, not 0.0 <= gamma <= 1.0),
        ):
            if faulty:
                msg = f"{name}, found {value}"
                raise ValueError(msg)
        actions_M = self._flat_actions(targets_ND)
        settings = np.array([1.0, stop, gamma, rebalance], dtype=np.float64)
        counts = np.empty((OptionCount.SIZE, self.num_envs), dtype=np.int64)
        counts[OptionCount.MAX_BARS] = bars
        sums = np.empty((OptionSum.SIZE, self.num_envs))
        code = self._run(actions_M, counts, sums, settings, *self._arrays)
        if code != NO_FAULT:
            self._raise_fault(code, actions_M)
        return OptionResult(
            self.reward_N.copy(), counts[OptionCount.DURATION], counts[OptionCount.REASON]
        )

    def observe_index(
        self, out_NO: NDArray[np.float32] | None = None, *, final: bool = False
    ) -> NDArray[np.float32]:
        """Copy `[bar, account (P)]` of every lane.

        Args:
            out_NO: Where to write, (N, 1 + P) float32; None = a new array.
            final: The last observation of each lane's last episode that same-step autoreset
                ended, instead of the present one.
        """
        plane = self._final if final else self._current
        if out_NO is None:
            out_NO = np.empty_like(plane)
        out_NO[...] = plane
        return out_NO

    def observe_window(
        self, out_NK: NDArray[np.float32] | None = None, *, final: bool = False
    ) -> NDArray[np.float32]:
        """Copy `[feature rows t - W + 1 .. t, oldest first (W C), account (P)]` of every lane.

        Args:
            out_NK: Where to write, (N, K) float32, C-contiguous; None = a new array.
            final: As in `observe_index`.

        Raises:
            ValueError: An output of another shape, dtype or layout.
        """
        shape = (self.num_envs, self.window_size)
        if out_NK is None:
            out_NK = np.empty(shape, dtype=np.float32)
        if out_NK.shape != shape or out_NK.dtype != np.float32 or not out_NK.flags.c_contiguous:
            found = f"{out_NK.dtype} of shape {out_NK.shape}"
            msg = f"out: expected a C-contiguous float32 array of shape {shape}, found {found}"
            raise ValueError(msg)
        plane = self._final if final else self._current
        self._gather(
            self._features,
            self.num_features,
            self.config.observation.window,
            plane,
            plane.reshape(-1),
            out_NK.reshape(-1),
        )
        return out_NK

    def window_view(self, lane: int = 0) -> NDArray[np.float32]:
        """Return a read-only view of the lane's feature rows, (W, C); nothing is copied.

        A stream has no rows: (1, 0).
        """
        if isinstance(self.market, Stream):
            return np.zeros((1, 0), dtype=np.float32)
        last = int(self.bar_N[lane]) + 1
        return self.market.features_TC[last - self.config.observation.window : last]

    def __getstate__(self) -> dict[str, Any]:
        return {
            "arguments": (self.market, self.config, self.num_envs),
            "options": dict(zip(OPTIONS, self._options, strict=True)),
            "state": self.state_dict(),
        }

    def __setstate__(self, saved: dict[str, Any]) -> None:
        Simulator.__init__(self, *saved["arguments"], **saved["options"])
        self.load_state_dict(saved["state"])

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # The market is immutable and stays shared; the rest is rebuilt, as by pickling.
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__(self.__getstate__())
        return twin

    def _flat_actions(self, actions_ND: ArrayLike) -> NDArray[np.float64]:
        """Return the actions as the kernel takes them; copied only where they have to be."""
        actions = np.asarray(actions_ND)
        shape = self._actions.shape
        if actions.shape != shape and (actions.shape != shape[:1] or shape[1] != 1):
            msg = f"actions: expected shape {shape}, found {actions.shape}"
            raise ValueError(msg)
        if actions.dtype != np.float64 or not actions.flags.c_contiguous:
            self._actions[...] = actions.reshape(shape)
            actions = self._actions
        return actions.reshape(-1)

    def _raise_fault(self, code: int, actions_M: NDArray[np.float64]) -> None:
        if code < NO_FAULT:
            lane = ENDED - code
            msg = f"lane {lane}: expected a running episode, found an ended one; call reset"
            raise RuntimeError(msg)
        lane, column = divmod(code, self.action_size)
        found = actions_M[code]
        msg = f"actions[{lane}, {column}]: expected a finite number in lane {lane}, found {found}"
        raise ValueError(msg)


def _levels(config: TradingConfig) -> NDArray[np.float64]:
    """Return the target weights of discrete actions."""
    levels = config.action.levels if config.action.kind == "levels" else (0.0,)
    return np.array(levels, dtype=np.float64)

"""One bar of one lane, and the compiled entry points that walk over all lanes."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from envs.kernel.accounting import accrue, apply_events, liquidate, mark, position_value
from envs.kernel.book import Book
from envs.kernel.episode import begin_episode, clear_lane
from envs.kernel.execution import Costs, Venue, fill_orders, write_orders
from envs.kernel.jit import SOURCE_DIGEST, Compiled, inlined, kernel
from envs.kernel.layout import (
    Account,
    Autoreset,
    Bar,
    Clock,
    Flag,
    Key,
    RewardKind,
    Term,
)
from envs.kernel.observation import CURRENT, FINAL, write_observation
from envs.kernel.projection import first_faulty, project
from envs.kernel.rewards import (
    differential_sharpe,
    drawdown_penalised,
    log_return,
    mean_variance,
)
from envs.kernel.rules import Rules, unpack_rules

NO_FAULT = -1
"""Return value of a kernel call that went well."""
ENDED = -2
"""Kernel code - lane: the lane has ended and autoreset is disabled (see `step_lanes`)."""


@inlined
def reward_step(lane: int, equity: float, book: Book, rules: Rules) -> float:
    """Return the reward of the step to the new equity, and update the moving moments."""
    before = book.state_SN[Account.EQUITY, lane]
    kind = rules.reward_kind
    if kind == RewardKind.LOG_RETURN:
        return log_return(before, equity)
    if kind == RewardKind.MEAN_VARIANCE:
        return mean_variance(before, equity, rules.reward_parameter)
    if kind == RewardKind.DRAWDOWN:
        peak = book.state_SN[Account.PEAK, lane]
        return drawdown_penalised(before, equity, peak, rules.reward_parameter)
    ratio, mean, square = differential_sharpe(
        before,
        equity,
        book.state_SN[Account.MEAN, lane],
        book.state_SN[Account.SQUARE, lane],
        rules.reward_parameter,
    )
    book.state_SN[Account.MEAN, lane] = mean
    book.state_SN[Account.SQUARE, lane] = square
    return ratio


@inlined
def record_terms(
    lane: int, book: Book, fills: Costs, forced: Costs, gains: tuple[float, float, float, float]
) -> None:
    """Add the bar's terms; gains = (pnl, dividends, borrow, financing)."""
    pnl, dividends, borrow, financing = gains
    book.record_NR[lane, Term.PNL] += pnl
    book.record_NR[lane, Term.DIVIDENDS] += dividends
    book.record_NR[lane, Term.FEES] += fills.fees + forced.fees
    book.record_NR[lane, Term.SPREAD] += fills.spread + forced.spread
    book.record_NR[lane, Term.SLIPPAGE] += fills.slippage + forced.slippage
    book.record_NR[lane, Term.BORROW] += borrow
    book.record_NR[lane, Term.FINANCING] += financing


@inlined
def finish_bar(lane: int, bar: int, equity: float, book: Book, rules: Rules) -> float:
    """Reward, flags and clock of the bar; return the reward."""
    reward = reward_step(lane, equity, book, rules)
    book.state_SN[Account.EQUITY, lane] = equity
    book.state_SN[Account.PEAK, lane] = max(book.state_SN[Account.PEAK, lane], equity)
    book.clock_CN[Clock.BAR, lane] = bar
    terminated = equity <= rules.ruin
    truncated = bar >= book.clock_CN[Clock.END, lane] and not terminated
    book.flags_FN[Flag.TERMINATED, lane] = terminated
    book.flags_FN[Flag.TRUNCATED, lane] = truncated
    book.flags_FN[Flag.ENDED, lane] = terminated or truncated
    return reward


@inlined
def advance(
    lane: int,
    book: Book,
    rules: Rules,
    assets: int,
    record: bool,  # noqa: FBT001 - compiled
) -> float:
    """Take the lane one bar on with the orders in the scratch; return the reward."""
    last = book.clock_CN[Clock.BAR, lane]
    bar = last + 1
    no_costs = Costs(0.0, 0.0, 0.0, 0.0, 0.0)
    fills = no_costs
    forced = no_costs
    value_before = position_value(lane, bar, Bar.PREVIOUS_CLOSE, book, assets) if record else 0.0
    if rules.fill_close:
        at_close = Venue(
            bar, Bar.PREVIOUS_CLOSE, last, bar, rules.order_base, rules.order_slope, 0.0
        )
        fills = fill_orders(lane, at_close, book, rules, assets, record)
        book.state_SN[Account.CASH, lane] += fills.cash
    borrow, financing = accrue(lane, bar, book, rules, assets)
    dividends = 0.0
    proceeds = 0.0
    if book.market_TK[bar, Bar.EVENT] != 0.0:
        dividends, proceeds = apply_events(lane, bar, book, assets)
    cash = book.state_SN[Account.CASH, lane] + (dividends + proceeds - borrow - financing)
    book.state_SN[Account.CASH, lane] = cash
    if not rules.fill_close:
        at_open = Venue(bar, Bar.OPEN, bar, bar, rules.order_base, rules.order_slope, 0.0)
        fills = fill_orders(lane, at_open, book, rules, assets, record)
        cash += fills.cash
        book.state_SN[Account.CASH, lane] = cash
    net, gross = mark(lane, bar, book, assets)
    if cash + net < rules.maintenance * gross:
        forced = liquidate(lane, bar, book, rules, assets, record)
        cash += forced.cash
        book.state_SN[Account.CASH, lane] = cash
        net, gross = mark(lane, bar, book, assets)
    if record:
        purchases = fills.purchases + forced.purchases
        pnl = net - value_before - purchases + proceeds
        record_terms(lane, book, fills, forced, (pnl, dividends, borrow, financing))
    return finish_bar(lane, bar, cash + net, book, rules)


@inlined
def end_lane(lane: int, book: Book, rules: Rules, assets: int) -> None:
    """Write the lane's observation; in same-step autoreset also keep the last and begin anew."""
    if book.flags_FN[Flag.ENDED, lane] and rules.autoreset == Autoreset.SAME_STEP:
        write_observation(lane, FINAL, book, assets)
        book.keys_KN[Key.EPISODE, lane] += 1
        begin_episode(lane, -1, book, rules, assets)
    else:
        write_observation(lane, CURRENT, book, assets)


@inlined
def first_ended(book: Book) -> int:
    """Return the first lane whose episode has ended, or -1."""
    for lane in range(book.flags_FN.shape[1]):
        if book.flags_FN[Flag.ENDED, lane]:
            return lane
    return -1


@cache
def build_step(*, single: bool, record: bool) -> Compiled[..., int]:
    """Return the compiled step over all lanes.

    Args:
        single: One asset: the loops over assets vanish.
        record: Write terms and trades.

    Returns:
        A function of (actions_ND, rules_R, the arrays of `Book`) that returns `NO_FAULT`, the
        flat index of an action that is not finite, or `ENDED` - lane; then nothing has changed.
    """
    digest = SOURCE_DIGEST

    @kernel
    def step_lanes(  # noqa: PLR0913, PLR0917 - numba unboxes flat arguments fastest
        actions_ND: NDArray[np.float64],
        rules_R: NDArray[np.float64],
        market_TK: NDArray[np.float64],
        events_T3A: NDArray[np.float64],
        lot_A: NDArray[np.float64],
        levels_L: NDArray[np.float64],
        state_SN: NDArray[np.float64],
        shares_NA: NDArray[np.float64],
        clock_CN: NDArray[np.int32],
        keys_KN: NDArray[np.int64],
        flags_FN: NDArray[np.bool_],
        observation_2NO: NDArray[np.float32],
        record_NR: NDArray[np.float64],
        scratch_3A: NDArray[np.float64],
    ) -> int:
        digest  # noqa: B018 - a free variable: part of the key of numba's cache
        book = Book(
            market_TK, events_T3A, lot_A, levels_L, state_SN, shares_NA,
            clock_CN, keys_KN, flags_FN, observation_2NO, record_NR, scratch_3A,
        )  # fmt: skip
        rules = unpack_rules(rules_R)
        assets = 1 if single else shares_NA.shape[1]
        fault = first_faulty(actions_ND)
        if fault >= 0:
            return fault
        if rules.autoreset == Autoreset.DISABLED:
            ended = first_ended(book)
            if ended >= 0:
                return ENDED - ended
        for lane in range(shares_NA.shape[0]):
            was_ended = flags_FN[Flag.ENDED, lane]
            clear_lane(lane, book, record)
            if was_ended:
                keys_KN[Key.EPISODE, lane] += 1
                begin_episode(lane, -1, book, rules, assets)
            else:
                bar = clock_CN[Clock.BAR, lane] + 1
                outside = project(lane, bar, actions_ND, book, rules, assets)
                flags_FN[Flag.PROJECTED, lane] = outside
                clock_CN[Clock.PROJECTIONS, lane] += outside
                write_orders(lane, bar, book, assets)
                state_SN[Account.REWARD, lane] = advance(lane, book, rules, assets, record)
                end_lane(lane, book, rules, assets)
        return NO_FAULT

    return step_lanes


@cache
def build_reset() -> Compiled[..., None]:
    """Return the compiled reset of chosen lanes.

    Returns:
        A function of (chosen_N, start_N, rules_R, the arrays of `Book`); a start of -1 is drawn.
    """
    digest = SOURCE_DIGEST

    @kernel
    def reset_lanes(  # noqa: PLR0913, PLR0917 - numba unboxes flat arguments fastest
        chosen_N: NDArray[np.bool_],
        start_N: NDArray[np.int64],
        rules_R: NDArray[np.float64],
        market_TK: NDArray[np.float64],
        events_T3A: NDArray[np.float64],
        lot_A: NDArray[np.float64],
        levels_L: NDArray[np.float64],
        state_SN: NDArray[np.float64],
        shares_NA: NDArray[np.float64],
        clock_CN: NDArray[np.int32],
        keys_KN: NDArray[np.int64],
        flags_FN: NDArray[np.bool_],
        observation_2NO: NDArray[np.float32],
        record_NR: NDArray[np.float64],
        scratch_3A: NDArray[np.float64],
    ) -> None:
        digest  # noqa: B018 - a free variable: part of the key of numba's cache
        book = Book(
            market_TK, events_T3A, lot_A, levels_L, state_SN, shares_NA,
            clock_CN, keys_KN, flags_FN, observation_2NO, record_NR, scratch_3A,
        )  # fmt: skip
        rules = unpack_rules(rules_R)
        for lane in range(shares_NA.shape[0]):
            if chosen_N[lane]:
                clear_lane(lane, book, record_NR.shape[0] > 0)
                begin_episode(lane, start_N[lane], book, rules, shares_NA.shape[1])

    return reset_lanes

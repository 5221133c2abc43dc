"""Options: hold a target over several bars inside one call (a semi-Markov step)."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from envs.kernel.book import ORDER, Book
from envs.kernel.episode import begin_episode, clear_lane
from envs.kernel.execution import write_orders
from envs.kernel.jit import SOURCE_DIGEST, Compiled, inlined, kernel
from envs.kernel.layout import Account, Autoreset, Clock, Flag, Key, Reason
from envs.kernel.projection import first_faulty, project
from envs.kernel.rules import Rules, unpack_rules
from envs.kernel.step import ENDED, NO_FAULT, advance, end_lane, first_ended


# Compiled code reads plain integers, not members of an enumeration.
RESET = int(Reason.RESET)
MAX_BARS = int(Reason.MAX_BARS)
STOP = int(Reason.STOP)
TERMINATED = int(Reason.TERMINATED)
TRUNCATED = int(Reason.TRUNCATED)


@inlined
def ending(lane: int, equity: float, stop: float, book: Book) -> int:
    """Return why the option ends after this bar, or `Reason.RESET` where it goes on.

    Args:
        lane: Lane.
        equity: Equity when the option began, currency.
        stop: Loss that ends the option, as a part of that equity; 0 = no stop.
        book: Arrays.
    """
    if book.flags_FN[Flag.TERMINATED, lane]:
        return TERMINATED
    if book.flags_FN[Flag.TRUNCATED, lane]:
        return TRUNCATED
    if stop > 0.0 and book.state_SN[Account.EQUITY, lane] <= (1.0 - stop) * equity:
        return STOP
    return RESET


@inlined
def run_option(
    lane: int,
    actions_ND: NDArray[np.float64],
    terms: tuple[int, float, float, bool],
    book: Book,
    rules: Rules,
    assets: int,
    record: bool,  # noqa: FBT001 - compiled
) -> tuple[float, int, int]:
    """Run one lane's option; terms = (max_bars, stop, gamma, rebalance).

    Returns:
        sum_k gamma^k r_k, number of bars, reason.
    """
    max_bars, stop, gamma, rebalance = terms
    equity = book.state_SN[Account.EQUITY, lane]
    total = 0.0
    discount = 1.0
    duration = 0
    reason = RESET
    while reason == RESET:
        if rebalance or duration == 0:
            bar = book.clock_CN[Clock.BAR, lane] + 1
            outside = project(lane, bar, actions_ND, book, rules, assets)
            book.flags_FN[Flag.PROJECTED, lane] |= outside
            book.clock_CN[Clock.PROJECTIONS, lane] += outside
            write_orders(lane, bar, book, assets)
        else:
            for j in range(assets):
                book.scratch_3A[ORDER, j] = 0.0
        total += discount * advance(lane, book, rules, assets, record)
        discount *= gamma
        duration += 1
        reason = ending(lane, equity, stop, book)
        if reason == RESET and duration >= max_bars:
            reason = MAX_BARS
    return total, duration, reason


@cache
def build_option(*, single: bool, record: bool) -> Compiled[..., int]:
    """Return the compiled option over all lanes.

    Args:
        single: One asset: the loops over assets vanish.
        record: Write terms (summed over the bars) and trades.

    Returns:
        A function of (actions_ND, max_bars_N, settings = [stop, gamma, rebalance], duration_N,
        reason_N, rules_R, the arrays of `Book`) that returns what the step kernel returns.
    """
    digest = SOURCE_DIGEST

    @kernel
    def option_lanes(  # noqa: PLR0913, PLR0917 - numba unboxes flat arguments fastest
        actions_ND: NDArray[np.float64],
        max_bars_N: NDArray[np.int64],
        settings_3: NDArray[np.float64],
        duration_N: NDArray[np.int64],
        reason_N: NDArray[np.int64],
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
            duration_N[lane] = 0
            reason_N[lane] = RESET
            if was_ended:
                keys_KN[Key.EPISODE, lane] += 1
                begin_episode(lane, -1, book, rules, assets)
            else:
                terms = (max_bars_N[lane], settings_3[0], settings_3[1], settings_3[2] != 0.0)
                total, duration, reason = run_option(
                    lane, actions_ND, terms, book, rules, assets, record
                )
                state_SN[Account.REWARD, lane] = total
                duration_N[lane] = duration
                reason_N[lane] = reason
                end_lane(lane, book, rules, assets)
        return NO_FAULT

    return option_lanes

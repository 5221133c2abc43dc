"""One bar of a block of lanes."""

import math

import numpy as np
from numpy.typing import NDArray

from envs.kernel.accounting import (
    accrue_interest,
    apply_events,
    call_margins,
    gather_market,
    load_accounts,
    mark_positions,
    record_value,
    store_accounts,
    value_before,
    write_forced_orders,
)
from envs.kernel.arithmetic import larger
from envs.kernel.book import Block, Book, Work
from envs.kernel.episode import next_episode, reset_lane
from envs.kernel.execution import fill_orders
from envs.kernel.expectation import expect_rewards, replace_rewards
from envs.kernel.jit import inlined, separate
from envs.kernel.layout import Autoreset, Clock, Flag, RewardKind
from envs.kernel.observation import keep_final, observe_block
from envs.kernel.projection import project_actions, write_no_orders, write_orders
from envs.kernel.quadratic import utilities
from envs.kernel.rewards import (
    LEAST_GROWTH,
    NEAR_HIGH,
    NEAR_LOW,
    differential_sharpe,
    drawdown_penalty,
    mean_variance,
    near_log,
)
from envs.kernel.rules import Rule
from envs.kernel.stream import generate, observe_features, subtract_value


@inlined
def log_returns(block: Block, work: Work) -> None:
    """Write the log return of every lane; `rewards.log_return`, in two loops for speed."""
    for lane in range(block.size):
        after = work.after[lane]
        growth = after / work.equity[lane]
        work.growth[lane] = growth
        work.reward[lane] = near_log(growth)
    for lane in range(block.size):
        growth = work.growth[lane]
        if not NEAR_LOW <= growth <= NEAR_HIGH:
            work.reward[lane] = math.log(larger(growth, LEAST_GROWTH))


@inlined
def reward_block(block: Block, work: Work, book: Book) -> None:
    """Write the reward of every lane into the scratch, and update the moving moments."""
    kind = int(book.rules_R[Rule.reward_kind])
    parameter = book.rules_R[Rule.reward_parameter]
    for lane in range(block.size):
        work.after[lane] = work.cash[lane] + work.net[lane]
    if kind in (RewardKind.LOG_RETURN, RewardKind.DRAWDOWN):
        log_returns(block, work)
    if kind == RewardKind.MEAN_VARIANCE:
        for lane in range(block.size):
            work.reward[lane] = mean_variance(work.equity[lane], work.after[lane], parameter)
    elif kind == RewardKind.DRAWDOWN:
        for lane in range(block.size):
            work.reward[lane] -= drawdown_penalty(
                work.equity[lane], work.after[lane], work.peak[lane], parameter
            )
    elif kind == RewardKind.DIFFERENTIAL_SHARPE:
        sharpe_ratios(block, work, parameter)
    elif kind == RewardKind.QUADRATIC_UTILITY:
        utilities(block, work, book, parameter)


@separate
def sharpe_ratios(block: Block, work: Work, eta: float) -> None:
    """Write the differential Sharpe ratio of every lane, and update the moving moments."""
    for lane in range(block.size):
        ratio, mean, square = differential_sharpe(
            work.equity[lane], work.after[lane], work.mean[lane], work.square[lane], eta
        )
        work.reward[lane] = ratio
        work.mean[lane] = mean
        work.square[lane] = square


@inlined
def finish_bar(block: Block, work: Work, book: Book) -> None:
    """Write equity, peak and flags at the bar's close."""
    ruin = book.rules_R[Rule.ruin]
    bar_L = book.clock_CN[Clock.BAR, block.first :]
    end_L = book.clock_CN[Clock.END, block.first :]
    for lane in range(block.size):
        equity = work.after[lane]
        work.equity[lane] = equity
        work.peak[lane] = larger(work.peak[lane], equity)
        ended = bar_L[lane] + 1 >= end_L[lane]
        ruined = 1.0 if equity <= ruin else 0.0
        work.terminated[lane] = ruined
        work.truncated[lane] = 1.0 - ruined if ended else 0.0


@inlined
def trade_block(block: Block, work: Work, book: Book) -> None:
    """Accrue, trade and mark; then, where margins are called, trade and mark once more."""
    closing = book.rules_R[Rule.fill_close] != 0.0
    if not closing:
        accrue_interest(block, work, book)
        apply_events(block, work, book)
    forced = False
    trading = True
    while trading:
        fill_orders(block, work, book, forced)
        if closing and not forced:
            accrue_interest(block, work, book)
            apply_events(block, work, book)
        mark_positions(block, work)
        trading = not forced and call_margins(block, work, book)
        if trading:
            write_forced_orders(block, work, book)
            forced = True


@inlined
def step_block(
    actions_M: NDArray[np.float64],
    submit: bool,  # noqa: FBT001 - numba has no keyword-only arguments
    block: Block,
    work: Work,
    book: Book,
) -> None:
    """Take a block of lanes one bar on; without `submit` their positions drift.

    Lanes that have ended and wait for their reset are stepped too, into nothing: `end_block`
    begins them anew. Loops without exceptions are worth more than the few wasted steps.
    """
    load_accounts(block, work, book)
    gather_market(block, work, book)
    if submit:
        project_actions(actions_M, block, work, book)
        write_orders(block, work, book)
    else:
        write_no_orders(block, work)
    if book.rules_R[Rule.record] != 0.0:
        value_before(block, work, book)
    trade_block(block, work, book)
    if book.rules_R[Rule.record] != 0.0:
        record_value(block, work, book)
    reward_block(block, work, book)
    finish_bar(block, work, book)
    observe_block(block, work, book, 0)
    store_accounts(block, work, book)


@inlined
def step_stream(
    generator: int,
    actions_M: NDArray[np.float64],
    submit: bool,  # noqa: FBT001 - numba has no keyword-only arguments
    block: Block,
    work: Work,
    book: Book,
) -> None:
    """Take a block of lanes and the markets that they play one bar on; see `step_block`.

    A stream has no corporate actions, and no margin is called.
    """
    load_accounts(block, work, book)
    generate(generator, block, work, book)
    if submit:
        project_actions(actions_M, block, work, book)
        write_orders(block, work, book)
    else:
        write_no_orders(block, work)
    if book.rules_R[Rule.record] != 0.0:
        subtract_value(block, work, book)
    if book.rules_R[Rule.fill_close] == 0.0:
        accrue_interest(block, work, book)
    forced = False
    fill_orders(block, work, book, forced)
    if book.rules_R[Rule.fill_close] != 0.0:
        accrue_interest(block, work, book)
    mark_positions(block, work)
    if book.rules_R[Rule.record] != 0.0:
        record_value(block, work, book)
    reward_block(block, work, book)
    if book.rules_R[Rule.expectation] != 0.0:
        expect_rewards(block, work, book)
        replace_rewards(block, work, book)
    finish_bar(block, work, book)
    observe_block(block, work, book, int(book.rules_R[Rule.features]))
    for lane in range(block.size):
        observe_features(block.first + lane, book)
    store_accounts(block, work, book)


@separate
def end_block(block: Block, book: Book) -> None:
    """Begin the lanes anew that are due."""
    same_step = int(book.rules_R[Rule.autoreset]) == Autoreset.SAME_STEP
    for row in range(block.first, block.first + block.size):
        if book.flags_FN[Flag.ENDED, row]:
            reset_lane(row, book)
        elif book.flags_FN[Flag.TERMINATED, row] | book.flags_FN[Flag.TRUNCATED, row]:
            if same_step:
                keep_final(row, book)
                next_episode(row, book)
            else:
                book.flags_FN[Flag.ENDED, row] = True

"""Market data, corporate actions, interest, valuation and margin of a block over one bar."""

import numpy as np
from numpy.typing import NDArray

from envs.kernel.arithmetic import larger
from envs.kernel.book import Block, Book, Work
from envs.kernel.execution import fillable
from envs.kernel.jit import inlined, separate
from envs.kernel.layout import (
    MARKET_HEADER,
    Account,
    Bar,
    Clock,
    Event,
    Flag,
    Term,
)
from envs.kernel.rules import Rule
from envs.kernel.sums import row_sum


@inlined
def next_bar(lane: int, book: Book) -> int:
    """Return the bar after the lane's; at the market's end the last one (see `step_block`)."""
    bar = max(int(book.clock_CN[Clock.BAR, lane]) + 1, 0)
    return min(bar, int(book.market_TK.shape[0]) - 1)


@separate
def copy(target_L: NDArray[np.float64], source_L: NDArray[np.float64], size: int) -> None:
    """Copy the first `size` numbers."""
    for index in range(size):
        target_L[index] = source_L[index]


@separate
def load_accounts(block: Block, work: Work, book: Book) -> None:
    """Copy the block's accounts into the scratch."""
    first = block.first
    state_SN = book.state_SN
    copy(work.cash, state_SN[Account.CASH, first:], block.size)
    copy(work.equity, state_SN[Account.EQUITY, first:], block.size)
    copy(work.peak, state_SN[Account.PEAK, first:], block.size)
    copy(work.mean, state_SN[Account.MEAN, first:], block.size)
    copy(work.square, state_SN[Account.SQUARE, first:], block.size)
    copy(work.shares, book.shares_M[first * block.width :], block.size * block.width)


@inlined
def gather_market(block: Block, work: Work, book: Book) -> None:
    """Copy what the block's step reads from the market into the scratch."""
    closing = book.rules_R[Rule.fill_close] != 0.0
    price = MARKET_HEADER + (Bar.PREVIOUS_CLOSE if closing else Bar.OPEN) * block.width
    impact = MARKET_HEADER + (Bar.IMPACT_AT_CLOSE if closing else Bar.IMPACT) * block.width
    close = MARKET_HEADER + Bar.CLOSE * block.width
    volume = MARKET_HEADER + Bar.VOLUME * block.width
    previous = MARKET_HEADER + Bar.PREVIOUS_CLOSE * block.width
    market_TK = book.market_TK
    last = market_TK.shape[0] - 1
    coefficient = book.rules_R[Rule.impact]
    base = book.rules_R[Rule.order_base]
    slope = book.rules_R[Rule.order_slope]
    bar_L = book.clock_CN[Clock.BAR, block.first :]
    for lane in range(block.size):
        bar = min(max(bar_L[lane] + 1, 0), last)
        traded = max(bar - 1, 0) if closing else bar
        work.years[lane] = market_TK[bar, Bar.YEAR_FRACTION]
        work.event[lane] = market_TK[bar, Bar.EVENT]
        for asset in range(block.width):
            element = lane * block.width + asset
            work.price[element] = market_TK[bar, price + asset]
            work.close[element] = market_TK[bar, close + asset]
            work.limit[element] = fillable(market_TK[traded, volume + asset], base, slope)
            work.unit[element] = abs(market_TK[bar, previous + asset])
            work.impact[element] = coefficient * market_TK[traded, impact + asset]
    if book.rules_R[Rule.additive] != 0.0:
        count_units(block, work)


@separate
def count_units(block: Block, work: Work) -> None:
    """Size positions by units, whatever their price; one regime governs an additive table."""
    for element in range(block.size * block.width):
        work.unit[element] = 1.0
    for lane in range(block.size):
        work.regime[lane] = 0.0


@separate
def value_before(block: Block, work: Work, book: Book) -> None:
    """Subtract the value of the positions at the last close from the recorded profit."""
    close = MARKET_HEADER + Bar.PREVIOUS_CLOSE * block.width
    for lane in range(block.size):
        bar = next_bar(block.first + lane, book)
        value = 0.0
        for asset in range(block.width):
            price = book.market_TK[bar, close + asset]
            value += work.shares[lane * block.width + asset] * price
        book.record_NR[block.first + lane, Term.PNL] -= value


@inlined
def accrue_interest(block: Block, work: Work, book: Book) -> None:
    """Charge the borrow fee and the financing since the last close.

    borrow = rate * years * sum max(-shares, 0) * |close|; financing = debit * years *
    max(-cash, 0) - credit * years * max(cash, 0), which is negative where interest is received.
    """
    rate = book.rules_R[Rule.borrow]
    debit = book.rules_R[Rule.debit]
    credit = book.rules_R[Rule.credit]
    for lane in range(block.size):
        cash = work.cash[lane]
        first = lane * block.width
        for element in range(first, first + block.width):
            work.term[element] = larger(-work.shares[element], 0.0) * work.unit[element]
        short = row_sum(work.term, first, block.width)
        work.borrow[lane] = rate * work.years[lane] * short
        interest = debit * larger(-cash, 0.0) - credit * larger(cash, 0.0)
        work.financing[lane] = work.years[lane] * interest
        work.cash[lane] = cash - (work.borrow[lane] + work.financing[lane])
    if book.rules_R[Rule.record] != 0.0:
        record_interest(block, work, book)


@separate
def record_interest(block: Block, work: Work, book: Book) -> None:
    """Add the borrow fee and the financing to the record."""
    for lane in range(block.size):
        book.record_NR[block.first + lane, Term.BORROW] += work.borrow[lane]
        book.record_NR[block.first + lane, Term.FINANCING] += work.financing[lane]


@separate
def apply_events(block: Block, work: Work, book: Book) -> None:
    """Apply splits, dividends and delistings, in this order, to holdings, orders and cash."""
    assets = int(book.rules_R[Rule.assets])
    for lane in range(block.size):
        if work.event[lane] != 0.0:
            row = block.first + lane
            bar = next_bar(row, book)
            dividends = 0.0
            proceeds = 0.0
            for asset in range(assets):
                element = lane * block.width + asset
                split = book.events_T3A[bar, Event.SPLIT, asset]
                shares = work.shares[element] * split
                work.order[element] *= split
                work.target[element] *= split
                dividends += shares * book.events_T3A[bar, Event.DIVIDEND, asset]
                if book.events_T3A[bar, Event.DELISTED, asset] != 0.0:
                    proceeds += shares * work.close[element]
                    shares = 0.0
                work.shares[element] = shares
            work.cash[lane] += dividends + proceeds
            if book.rules_R[Rule.record] != 0.0:
                book.record_NR[row, Term.DIVIDENDS] += dividends
                book.record_NR[row, Term.PNL] += proceeds


@inlined
def mark_positions(block: Block, work: Work) -> None:
    """Value the block's positions at the close, net and gross."""
    for lane in range(block.size):
        first = lane * block.width
        for element in range(first, first + block.width):
            value = work.shares[element] * work.close[element]
            work.term[element] = value
            work.other[element] = abs(value)
        work.net[lane] = row_sum(work.term, first, block.width)
        work.gross[lane] = row_sum(work.other, first, block.width)


@inlined
def call_margins(block: Block, work: Work, book: Book) -> bool:
    """Flag lanes whose equity is below their maintenance margin; return whether there is one."""
    maintenance = book.rules_R[Rule.maintenance]
    calls = 0
    for lane in range(block.size):
        called = work.cash[lane] + work.net[lane] < maintenance * work.gross[lane]
        work.called[lane] = 1.0 if called else 0.0
        calls += called
    return calls > 0


@separate
def write_forced_orders(block: Block, work: Work, book: Book) -> None:
    """Write orders that close the positions of the called lanes at the bar's close."""
    volume = MARKET_HEADER + Bar.VOLUME * block.width
    impact = MARKET_HEADER + Bar.IMPACT * block.width
    coefficient = book.rules_R[Rule.impact]
    base = book.rules_R[Rule.forced_base]
    slope = book.rules_R[Rule.forced_slope]
    for lane in range(block.size):
        bar = next_bar(block.first + lane, book)
        for asset in range(block.width):
            element = lane * block.width + asset
            order = -work.shares[element] if work.called[lane] > 0.0 else 0.0
            work.target[element] = 0.0
            work.order[element] = order
            work.price[element] = work.close[element]
            work.limit[element] = fillable(book.market_TK[bar, volume + asset], base, slope)
            work.impact[element] = coefficient * book.market_TK[bar, impact + asset]


@separate
def record_value(block: Block, work: Work, book: Book) -> None:
    """Add the value of the positions at the close to the recorded profit."""
    for lane in range(block.size):
        book.record_NR[block.first + lane, Term.PNL] += work.net[lane]


@separate
def store_flags(flag_L: NDArray[np.bool_], source_L: NDArray[np.float64], size: int) -> None:
    """Write numbers 0 and 1 as flags."""
    for lane in range(size):
        flag_L[lane] = source_L[lane] > 0.0


@separate
def store_accounts(block: Block, work: Work, book: Book) -> None:
    """Write the block's accounts, clocks and flags back."""
    first = block.first
    size = block.size
    state_SN = book.state_SN
    copy(state_SN[Account.CASH, first:], work.cash, size)
    copy(state_SN[Account.EQUITY, first:], work.equity, size)
    copy(state_SN[Account.PEAK, first:], work.peak, size)
    copy(state_SN[Account.MEAN, first:], work.mean, size)
    copy(state_SN[Account.SQUARE, first:], work.square, size)
    copy(state_SN[Account.REWARD, first:], work.reward, size)
    copy(book.shares_M[first * block.width :], work.shares, size * block.width)
    store_flags(book.flags_FN[Flag.PROJECTED, first:], work.projected, size)
    store_flags(book.flags_FN[Flag.LIQUIDATED, first:], work.called, size)
    store_flags(book.flags_FN[Flag.TERMINATED, first:], work.terminated, size)
    store_flags(book.flags_FN[Flag.TRUNCATED, first:], work.truncated, size)
    bar_L = book.clock_CN[Clock.BAR, first:]
    for lane in range(size):
        bar_L[lane] += 1
    count_L = book.clock_CN[Clock.PROJECTIONS, first:]
    for lane in range(size):
        count_L[lane] += int(work.projected[lane])

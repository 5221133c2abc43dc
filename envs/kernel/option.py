"""Options in progress: holding a target over several bars inside one call (a semi-Markov step)."""

from envs.kernel.book import Block, Book, Option
from envs.kernel.episode import reset_lane
from envs.kernel.jit import separate
from envs.kernel.layout import (
    RUNNING,
    Account,
    Flag,
    OptionCount,
    OptionSetting,
    OptionSum,
    Reason,
)

# Compiled code reads plain integers, not members of an enumeration.
RESET = int(Reason.RESET)
MAX_BARS = int(Reason.MAX_BARS)
STOP = int(Reason.STOP)
TERMINATED = int(Reason.TERMINATED)
TRUNCATED = int(Reason.TRUNCATED)


@separate
def begin_options(book: Book, option: Option) -> None:
    """Begin the option of every lane; lanes that waited for their reset are reset instead."""
    for lane in range(book.state_SN.shape[1]):
        option.counts_3N[OptionCount.DURATION, lane] = 0
        option.counts_3N[OptionCount.REASON, lane] = RUNNING
        option.sums_5N[OptionSum.TOTAL, lane] = 0.0
        option.sums_5N[OptionSum.DISCOUNT, lane] = 1.0
        option.sums_5N[OptionSum.ENTRY, lane] = book.state_SN[Account.EQUITY, lane]
        option.sums_5N[OptionSum.PROJECTED, lane] = 0.0
        option.sums_5N[OptionSum.LIQUIDATED, lane] = 0.0
        if book.flags_FN[Flag.ENDED, lane]:
            reset_lane(lane, book)
            option.counts_3N[OptionCount.REASON, lane] = RESET


@separate
def ending(lane: int, book: Book, option: Option) -> int:
    """Return why the lane's option ends after its last bar, or `RUNNING`."""
    if book.flags_FN[Flag.TERMINATED, lane]:
        return TERMINATED
    if book.flags_FN[Flag.TRUNCATED, lane]:
        return TRUNCATED
    stop = option.settings_4[OptionSetting.STOP]
    floor = (1.0 - stop) * option.sums_5N[OptionSum.ENTRY, lane]
    if stop > 0.0 and book.state_SN[Account.EQUITY, lane] <= floor:
        return STOP
    duration = option.counts_3N[OptionCount.DURATION, lane]
    if duration >= option.counts_3N[OptionCount.MAX_BARS, lane]:
        return MAX_BARS
    return RUNNING


@separate
def update_options(block: Block, book: Book, option: Option) -> int:
    """Account for one more bar of the block's options; return how many still run."""
    running = 0
    gamma = option.settings_4[OptionSetting.GAMMA]
    sums_5N = option.sums_5N
    for lane in range(block.first, block.first + block.size):
        reward = book.state_SN[Account.REWARD, lane]
        sums_5N[OptionSum.TOTAL, lane] += sums_5N[OptionSum.DISCOUNT, lane] * reward
        sums_5N[OptionSum.DISCOUNT, lane] *= gamma
        option.counts_3N[OptionCount.DURATION, lane] += 1
        book.state_SN[Account.REWARD, lane] = sums_5N[OptionSum.TOTAL, lane]
        sums_5N[OptionSum.PROJECTED, lane] += book.flags_FN[Flag.PROJECTED, lane]
        sums_5N[OptionSum.LIQUIDATED, lane] += book.flags_FN[Flag.LIQUIDATED, lane]
        book.flags_FN[Flag.PROJECTED, lane] = sums_5N[OptionSum.PROJECTED, lane] > 0.0
        book.flags_FN[Flag.LIQUIDATED, lane] = sums_5N[OptionSum.LIQUIDATED, lane] > 0.0
        reason = ending(lane, book, option)
        option.counts_3N[OptionCount.REASON, lane] = reason
        running += reason == RUNNING
    return running


@separate
def next_run(block: Block, limit: int, lanes: int, option: Option) -> Block:
    """Return the next lanes in a row whose options run; of size 0 where there are none.

    They have all run for the same number of bars: blocks start at multiples of `limit`, and are
    only ever divided.
    """
    first = block.first
    while first < lanes and option.counts_3N[OptionCount.REASON, first] != RUNNING:
        first += 1
    last = first
    stop = min(first - first % limit + limit, lanes)
    while last < stop and option.counts_3N[OptionCount.REASON, last] == RUNNING:
        last += 1
    return Block(first, last - first, block.width)

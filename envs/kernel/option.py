"""Options in progress: holding a target over several bars inside one call (a semi-Markov step)."""

from envs.kernel.book import Block, Book, Option
from envs.kernel.episode import reset_lane
from envs.kernel.jit import separate
from envs.kernel.layout import RUNNING, Account, Flag, Reason

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
        option.duration_N[lane] = 0
        option.total_N[lane] = 0.0
        option.discount_N[lane] = 1.0
        option.entry_N[lane] = book.state_SN[Account.EQUITY, lane]
        option.flags_2N[0, lane] = False
        option.flags_2N[1, lane] = False
        option.reason_N[lane] = RUNNING
        if book.flags_FN[Flag.ENDED, lane]:
            reset_lane(lane, book)
            option.reason_N[lane] = RESET


@separate
def ending(lane: int, book: Book, option: Option) -> int:
    """Return why the lane's option ends after its last bar, or `RUNNING`."""
    if book.flags_FN[Flag.TERMINATED, lane]:
        return TERMINATED
    if book.flags_FN[Flag.TRUNCATED, lane]:
        return TRUNCATED
    stop = option.settings_4[1]
    equity = book.state_SN[Account.EQUITY, lane]
    if stop > 0.0 and equity <= (1.0 - stop) * option.entry_N[lane]:
        return STOP
    if option.duration_N[lane] >= option.max_bars_N[lane]:
        return MAX_BARS
    return RUNNING


@separate
def update_options(block: Block, book: Book, option: Option) -> int:
    """Account for one more bar of the block's options; return how many still run."""
    running = 0
    for lane in range(block.first, block.first + block.size):
        option.total_N[lane] += option.discount_N[lane] * book.state_SN[Account.REWARD, lane]
        option.discount_N[lane] *= option.settings_4[2]
        option.duration_N[lane] += 1
        option.flags_2N[0, lane] |= book.flags_FN[Flag.PROJECTED, lane]
        option.flags_2N[1, lane] |= book.flags_FN[Flag.LIQUIDATED, lane]
        reason = ending(lane, book, option)
        option.reason_N[lane] = reason
        running += reason == RUNNING
        book.state_SN[Account.REWARD, lane] = option.total_N[lane]
        book.flags_FN[Flag.PROJECTED, lane] = option.flags_2N[0, lane]
        book.flags_FN[Flag.LIQUIDATED, lane] = option.flags_2N[1, lane]
    return running


@separate
def next_running(first: int, stop: int, option: Option) -> int:
    """Return the first lane in [first, stop) whose option runs, or `stop`."""
    while first < stop and option.reason_N[first] != RUNNING:
        first += 1
    return first


@separate
def all_running(first: int, stop: int, option: Option) -> bool:
    """Return whether every option in [first, stop) runs."""
    running = 0
    for lane in range(first, stop):
        running += option.reason_N[lane] == RUNNING
    return running == stop - first

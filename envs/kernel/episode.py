"""Starts of episodes."""

import numpy as np

from envs.kernel.book import Book
from envs.kernel.jit import separate
from envs.kernel.layout import Account, Clock, Flag, Key
from envs.kernel.observation import observe_start
from envs.kernel.random import integer_below
from envs.kernel.rules import Rule

DRAW = -1
"""Requested start that means: as the configuration says."""


@separate
def begin_episode(lane: int, start: int, book: Book) -> None:
    """Put the lane at its episode's start, all in cash.

    The start is drawn from (seed, lane, episode) where starts are random; a lane's episodes
    therefore do not depend on any other lane.
    """
    if start == DRAW:
        first = int(book.rules_R[Rule.first_start])
        start = first
        if book.rules_R[Rule.random_start] != 0.0:
            start += integer_below(
                int(book.rules_R[Rule.last_start]) - first + 1,
                book.keys_KN[Key.SEED, lane],
                book.keys_KN[Key.LANE, lane],
                book.keys_KN[Key.EPISODE, lane],
            )
    length = int(book.rules_R[Rule.length])
    end = start + length if length > 0 else int(book.rules_R[Rule.last_bar])
    money = book.rules_R[Rule.initial_cash]
    book.clock_CN[Clock.BAR, lane] = start
    book.clock_CN[Clock.START, lane] = start
    book.clock_CN[Clock.END, lane] = end
    book.clock_CN[Clock.PROJECTIONS, lane] = 0
    book.state_SN[Account.CASH, lane] = money
    book.state_SN[Account.EQUITY, lane] = money
    book.state_SN[Account.PEAK, lane] = money
    book.state_SN[Account.MEAN, lane] = 0.0
    book.state_SN[Account.SQUARE, lane] = 0.0
    book.flags_FN[Flag.ENDED, lane] = False
    width = book.lot_A.shape[0]
    for element in range(lane * width, (lane + 1) * width):
        book.shares_M[element] = 0.0
    observe_start(lane, book)


@separate
def next_episode(lane: int, book: Book) -> None:
    """Begin the lane's next episode at a start drawn for it."""
    book.keys_KN[Key.EPISODE, lane] += 1
    begin_episode(lane, DRAW, book)


@separate
def clear_report(lane: int, book: Book) -> None:
    """Clear what the last call reported of the lane."""
    book.state_SN[Account.REWARD, lane] = 0.0
    book.flags_FN[Flag.TERMINATED, lane] = False
    book.flags_FN[Flag.TRUNCATED, lane] = False
    book.flags_FN[Flag.PROJECTED, lane] = False
    book.flags_FN[Flag.LIQUIDATED, lane] = False


@separate
def clear_record(lane: int, book: Book) -> None:
    """Clear the lane's terms and trades; fill prices become NaN."""
    assets = int(book.rules_R[Rule.assets])
    size = book.record_NR.shape[1]
    for column in range(size):
        book.record_NR[lane, column] = 0.0
    for column in range(size - 2 * assets, size - assets):
        book.record_NR[lane, column] = np.nan


@separate
def reset_lane(lane: int, book: Book) -> None:
    """Begin the next episode of a lane that waited for it, with nothing to report."""
    clear_report(lane, book)
    if book.rules_R[Rule.record] != 0.0:
        clear_record(lane, book)
    next_episode(lane, book)

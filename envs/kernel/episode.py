"""Starts of episodes."""

import numpy as np

from envs.kernel.book import Book
from envs.kernel.jit import inlined
from envs.kernel.layout import Account, Clock, Flag, Key
from envs.kernel.observation import CURRENT, write_observation
from envs.kernel.random import integer_below
from envs.kernel.rules import Rules

DRAW = -1
"""Requested start that means: as the configuration says."""


@inlined
def begin_episode(lane: int, start: int, book: Book, rules: Rules, assets: int) -> None:
    """Put the lane at its episode's start, all in cash.

    The start is drawn from (seed, lane, episode) where starts are random; a lane's episodes
    therefore do not depend on any other lane.
    """
    if start == DRAW:
        start = rules.first_start
        if rules.random_start:
            start += integer_below(
                rules.last_start - rules.first_start + 1,
                book.keys_KN[Key.SEED, lane],
                book.keys_KN[Key.LANE, lane],
                book.keys_KN[Key.EPISODE, lane],
            )
    end = start + rules.length if rules.length > 0 else rules.last_bar
    book.clock_CN[Clock.BAR, lane] = start
    book.clock_CN[Clock.START, lane] = start
    book.clock_CN[Clock.END, lane] = end
    book.clock_CN[Clock.PROJECTIONS, lane] = 0
    book.state_SN[Account.CASH, lane] = rules.initial_cash
    book.state_SN[Account.EQUITY, lane] = rules.initial_cash
    book.state_SN[Account.PEAK, lane] = rules.initial_cash
    book.state_SN[Account.MEAN, lane] = 0.0
    book.state_SN[Account.SQUARE, lane] = 0.0
    book.flags_FN[Flag.ENDED, lane] = False
    for j in range(assets):
        book.shares_NA[lane, j] = 0.0
    write_observation(lane, CURRENT, book, assets)


@inlined
def clear_lane(lane: int, book: Book, record: bool) -> None:  # noqa: FBT001 - compiled
    """Clear what the last call reported of the lane."""
    book.state_SN[Account.REWARD, lane] = 0.0
    book.flags_FN[Flag.TERMINATED, lane] = False
    book.flags_FN[Flag.TRUNCATED, lane] = False
    book.flags_FN[Flag.PROJECTED, lane] = False
    book.flags_FN[Flag.LIQUIDATED, lane] = False
    if record:
        assets = book.shares_NA.shape[1]
        size = book.record_NR.shape[1]
        for j in range(size):
            book.record_NR[lane, j] = 0.0
        for j in range(size - 2 * assets, size - assets):
            book.record_NR[lane, j] = np.nan

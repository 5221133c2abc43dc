"""What a lane observes of itself: the bar and its account, in float32."""

from envs.kernel.book import Book
from envs.kernel.jit import inlined
from envs.kernel.layout import MARKET_HEADER, Account, Bar, Clock

CURRENT = 0
"""Plane of `observation_2NO`: the state now."""
FINAL = 1
"""Plane of `observation_2NO`: the last state of the lane's last ended episode."""


@inlined
def write_observation(lane: int, plane: int, book: Book, assets: int) -> None:
    """Write [bar, weights (A), cash weight, drawdown, time left], all as of the bar's close.

    weights = shares * close / equity, cash weight = cash / equity (all 0 where equity <= 0),
    drawdown = 1 - equity / peak, time left = (end - bar) / (end - start).
    """
    bar = book.clock_CN[Clock.BAR, lane]
    start = book.clock_CN[Clock.START, lane]
    end = book.clock_CN[Clock.END, lane]
    equity = book.state_SN[Account.EQUITY, lane]
    inverse = 1.0 / equity if equity > 0.0 else 0.0
    offset = MARKET_HEADER + Bar.CLOSE * assets
    out_2NO = book.observation_2NO
    out_2NO[plane, lane, 0] = bar
    for j in range(assets):
        value = book.shares_NA[lane, j] * book.market_TK[bar, offset + j]
        out_2NO[plane, lane, 1 + j] = value * inverse
    out_2NO[plane, lane, assets + 1] = book.state_SN[Account.CASH, lane] * inverse
    out_2NO[plane, lane, assets + 2] = 1.0 - equity / book.state_SN[Account.PEAK, lane]
    out_2NO[plane, lane, assets + 3] = (end - bar) / (end - start)

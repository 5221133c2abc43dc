"""What a lane observes of itself: the bar and its account, in float32."""

from envs.kernel.book import Block, Book, Work
from envs.kernel.jit import inlined, separate
from envs.kernel.layout import Clock
from envs.kernel.rules import Rule

EXTRA = 4
"""Columns beside features and holdings: bar, cash weight, drawdown, time left."""


@inlined
def observe_block(block: Block, work: Work, book: Book, features: int) -> None:
    """Write [bar, weights (A), cash weight, drawdown, time left], all as of the bar's close.

    Between the bar and the weights `features` columns are left out, for those of a stream.

    weights = shares * close / equity, cash weight = cash / equity (all 0 where equity <= 0),
    drawdown = 1 - equity / peak, time left = (end - bar) / (end - start), or 1 where it is not
    told. Where prices are additive: shares / unit in place of weights.
    """
    bar_L = book.clock_CN[Clock.BAR, block.first :]
    start_L = book.clock_CN[Clock.START, block.first :]
    end_L = book.clock_CN[Clock.END, block.first :]
    assets = 1 if block.width == 1 else int(book.rules_R[Rule.assets])
    columns = features + assets + EXTRA
    out_M = book.current_M[block.first * columns :]
    least = 1.0 - book.rules_R[Rule.time_left]
    for lane in range(block.size):
        equity = work.equity[lane]
        inverse = 1.0 / (equity if equity > 0.0 else 1.0)
        work.growth[lane] = inverse if equity > 0.0 else 0.0
        work.gross[lane] = 1.0 - equity / work.peak[lane]
        left = (end_L[lane] - bar_L[lane] - 1) / (end_L[lane] - start_L[lane])
        work.net[lane] = max(left, least)
    for lane in range(block.size):
        column = lane * columns
        out_M[column] = bar_L[lane] + 1
        column += features
        for asset in range(assets):
            element = lane * block.width + asset
            value = work.shares[element] * work.close[element]
            out_M[column + 1 + asset] = value * work.growth[lane]
        out_M[column + assets + 1] = work.cash[lane] * work.growth[lane]
        out_M[column + assets + 2] = work.gross[lane]
        out_M[column + assets + 3] = work.net[lane]
    if book.rules_R[Rule.additive] != 0.0:
        observe_units(block, work, book)


@separate
def observe_units(block: Block, work: Work, book: Book) -> None:
    """Write shares / unit in place of weights."""
    features = int(book.rules_R[Rule.features])
    assets = int(book.rules_R[Rule.assets])
    unit = book.rules_R[Rule.unit]
    for lane in range(block.size):
        column = (block.first + lane) * (features + assets + EXTRA) + 1 + features
        for asset in range(assets):
            book.current_M[column + asset] = work.shares[lane * block.width + asset] / unit


@separate
def observe_start(lane: int, book: Book) -> None:
    """Write the observation of a lane at its start: all in cash, the whole time left."""
    out_M = book.current_M
    assets = int(book.rules_R[Rule.assets])
    features = int(book.rules_R[Rule.features])
    column = lane * (features + assets + EXTRA)
    out_M[column] = book.clock_CN[Clock.BAR, lane]
    column += features
    for asset in range(assets):
        out_M[column + 1 + asset] = 0.0
    out_M[column + assets + 1] = 1.0
    out_M[column + assets + 2] = 0.0
    out_M[column + assets + 3] = 1.0


@separate
def keep_final(lane: int, book: Book) -> None:
    """Keep the lane's observation as the last one of its episode."""
    size = int(book.rules_R[Rule.features]) + int(book.rules_R[Rule.assets]) + EXTRA
    for column in range(lane * size, (lane + 1) * size):
        book.final_M[column] = book.current_M[column]

"""Corporate actions, interest, valuation and margin of one account over one bar."""

from envs.kernel.book import ORDER, TARGET, Book
from envs.kernel.execution import Costs, Venue, fill_orders, write_closing_orders
from envs.kernel.jit import inlined
from envs.kernel.layout import MARKET_HEADER, Account, Bar, Event, Flag
from envs.kernel.rules import Rules


@inlined
def position_value(lane: int, bar: int, field: int, book: Book, assets: int) -> float:
    """Return sum shares * price at a bar's price field, currency."""
    offset = MARKET_HEADER + field * assets
    value = 0.0
    for j in range(assets):
        value += book.shares_NA[lane, j] * book.market_TK[bar, offset + j]
    return value


@inlined
def short_value(lane: int, bar: int, book: Book, assets: int) -> float:
    """Return sum max(-shares, 0) * |close| at the close before the bar, currency."""
    offset = MARKET_HEADER + Bar.PREVIOUS_CLOSE * assets
    value = 0.0
    for j in range(assets):
        borrowed = max(-book.shares_NA[lane, j], 0.0)
        value += borrowed * abs(book.market_TK[bar, offset + j])
    return value


@inlined
def accrue(lane: int, bar: int, book: Book, rules: Rules, assets: int) -> tuple[float, float]:
    """Return the borrow fee and the financing cost since the close before the bar, currency.

    borrow = rate * years * short value; financing = debit * years * max(-cash, 0) - credit *
    years * max(cash, 0), which is negative where interest is received.
    """
    years = book.market_TK[bar, Bar.YEAR_FRACTION]
    cash = book.state_SN[Account.CASH, lane]
    borrow = rules.borrow * years * short_value(lane, bar, book, assets)
    financing = years * (rules.debit * max(-cash, 0.0) - rules.credit * max(cash, 0.0))
    return borrow, financing


@inlined
def apply_events(lane: int, bar: int, book: Book, assets: int) -> tuple[float, float]:
    """Apply the bar's splits, dividends and delistings, in this order, to holdings and orders.

    Returns:
        Dividends received (negative where short positions pay) and proceeds of settled positions
        at the last price; currency.
    """
    offset = MARKET_HEADER + Bar.CLOSE * assets
    dividends = 0.0
    proceeds = 0.0
    for j in range(assets):
        split = book.events_T3A[bar, Event.SPLIT, j]
        shares = book.shares_NA[lane, j] * split
        book.scratch_3A[ORDER, j] *= split
        book.scratch_3A[TARGET, j] *= split
        dividends += shares * book.events_T3A[bar, Event.DIVIDEND, j]
        if book.events_T3A[bar, Event.DELISTED, j] != 0.0:
            proceeds += shares * book.market_TK[bar, offset + j]
            shares = 0.0
        book.shares_NA[lane, j] = shares
    return dividends, proceeds


@inlined
def mark(lane: int, bar: int, book: Book, assets: int) -> tuple[float, float]:
    """Return the net and the gross value of the positions at the bar's close, currency."""
    offset = MARKET_HEADER + Bar.CLOSE * assets
    net = 0.0
    gross = 0.0
    for j in range(assets):
        value = book.shares_NA[lane, j] * book.market_TK[bar, offset + j]
        net += value
        gross += abs(value)
    return net, gross


@inlined
def liquidate(
    lane: int,
    bar: int,
    book: Book,
    rules: Rules,
    assets: int,
    record: bool,  # noqa: FBT001 - compiled
) -> Costs:
    """Close every position at the bar's close, without a participation limit, and flag it.

    Positions in halted bars (and, where impact needs it, without volume) stay.
    """
    venue = Venue(
        bar, Bar.CLOSE, bar, bar, rules.forced_base, rules.forced_slope, rules.liquidation_fee
    )
    write_closing_orders(lane, book, assets)
    book.flags_FN[Flag.LIQUIDATED, lane] = True
    return fill_orders(lane, venue, book, rules, assets, record)

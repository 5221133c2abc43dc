"""Filling orders, and what it costs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel.arithmetic import larger, root, smaller
from envs.kernel.book import Block, Book, Work
from envs.kernel.jit import exact, inlined, separate
from envs.kernel.layout import Term
from envs.kernel.projection import whole_lots
from envs.kernel.quadratic import add_quadratic_costs
from envs.kernel.rules import Rule
from envs.kernel.sums import row_sum

CASH_TOLERANCE = 1e-12
"""Buys are scaled this much further down, so that rounding cannot overdraw the account."""


@exact
def fillable(volume: float, base: float, slope: float) -> float:
    """Return the shares that may fill, base + slope * volume; 0 where not tradable (volume -1)."""
    limit = base + slope * volume
    return limit if volume >= 0.0 else 0.0


@inlined
def limit_orders(block: Block, work: Work, book: Book) -> None:
    """Cut orders to what may fill, in whole lots.

    An order that closes a position fully may trade an odd lot (left by a split, for example).
    """
    if book.rules_R[Rule.lots] != 0.0:
        limit_to_lots(block, work, book)
        return
    for element in range(block.size * block.width):
        limit = work.limit[element]
        work.order[element] = smaller(larger(work.order[element], -limit), limit)


@separate
def limit_to_lots(block: Block, work: Work, book: Book) -> None:
    """Do what `limit_orders` does, where some asset has a lot size."""
    for lane in range(block.size):
        for asset in range(block.width):
            element = lane * block.width + asset
            limit = work.limit[element]
            order = work.order[element]
            cut = smaller(larger(order, -limit), limit)
            if cut != order or work.target[element] != 0.0:
                cut = whole_lots(cut, book.lot_A[asset])
            work.order[element] = cut


class Tariff(NamedTuple):
    """What orders cost, as fractions of the notional and in currency; see `FeeConfig`."""

    rate: float
    per_share: float
    minimum: float
    half_spread: float
    cash_account: bool


@exact
def tariff_of(rules_R: NDArray[np.float64], extra_fee: float) -> Tariff:
    """Return the tariff of a configuration, with `extra_fee` on top of its rate."""
    return Tariff(
        rules_R[Rule.fee_rate] + extra_fee,
        rules_R[Rule.fee_per_share],
        rules_R[Rule.fee_minimum],
        rules_R[Rule.half_spread],
        rules_R[Rule.cash_account] != 0.0,
    )


@exact
def price_order(
    order: float, price: float, impact: float, tariff: Tariff
) -> tuple[float, float, float, float]:
    """Return what one order costs; the first number is 1.0, or 0.0 where it is not sent.

    With notional n = |order| * price: half spread = bps / 2 * 1e-4 * n, slippage = impact * n
    (together at most n), fee = max(minimum, rate * n + per_share * |order|). In a cash account a
    sale that costs more than it brings is not sent.

    Returns:
        sent, half spread, slippage, fee; currency.
    """
    flow = order * price
    notional = abs(flow)
    half = tariff.half_spread * notional
    slippage = smaller(impact, 1.0 - tariff.half_spread) * notional
    variable_fee = tariff.rate * notional + tariff.per_share * abs(order)
    fee = larger(variable_fee, tariff.minimum)
    worthwhile = flow + half + slippage + fee < 0.0
    unsent = (order == 0.0) | (tariff.cash_account & (order < 0.0) & (not worthwhile))
    sent = 0.0 if unsent else 1.0
    return sent, sent * half, sent * slippage, sent * fee


@inlined
def price_orders(block: Block, work: Work, book: Book, extra_fee: float) -> None:
    """Cost the block's orders, and sum for each lane. Pricing an order again changes nothing.

    impact = coefficient * volatility * sqrt(|order| / volume), with the last two from the market.
    """
    tariff = tariff_of(book.rules_R, extra_fee)
    for lane in range(block.size):
        first = lane * block.width
        for element in range(first, first + block.width):
            order = work.order[element]
            price = work.price[element]
            impact = work.impact[element] * root(abs(order))
            sent, half, slip, paid = price_order(order, price, impact, tariff)
            work.order[element] = sent * order
            work.half[element] = half
            work.slip[element] = slip
            work.term[element] = sent * (order * price)
            work.other[element] = paid
        work.purchases[lane] = row_sum(work.term, first, block.width)
        work.fees[lane] = row_sum(work.other, first, block.width)
        work.spread[lane] = row_sum(work.half, first, block.width)
        work.slippage[lane] = row_sum(work.slip, first, block.width)


@inlined
def cash_change(lane: int, work: Work) -> float:
    """Return the change of cash by the fills of a lane of the block, currency."""
    costs: float = work.fees[lane] + work.spread[lane] + work.slippage[lane]
    return -(float(work.purchases[lane]) + costs)


@inlined
def scale_buys(
    lane: int, block: Block, work: Work, book: Book, left: float, extra_fee: float
) -> None:
    """Scale the buys of a lane of the block by one factor so that `left` (< 0) becomes 0.

    Without minimum fees costs shrink at least as fast as orders, so with v the buys' spending
    before minimum fees, m the sum of their minimum fees and s their spending with the fees that
    they pay, the factor is (left + s - m) / v.
    """
    first = lane * block.width
    lots = book.rules_R[Rule.lots] != 0.0
    tariff = tariff_of(book.rules_R, extra_fee)
    buys = 0
    for element in range(first, first + block.width):
        order = work.order[element]
        flow = order * work.price[element]
        variable = tariff.rate * abs(flow) + tariff.per_share * abs(order)
        cost = flow + work.half[element] + work.slip[element]
        work.term[element] = cost + variable if order > 0.0 else 0.0
        work.other[element] = cost + larger(variable, tariff.minimum) if order > 0.0 else 0.0
        buys += order > 0.0
    minimum = tariff.minimum * buys
    scalable = row_sum(work.term, first, block.width)
    available = left + row_sum(work.other, first, block.width)
    factor = (available - minimum) / scalable if scalable > 0.0 else 0.0
    factor = smaller(larger(factor, 0.0), 1.0) * (1.0 - CASH_TOLERANCE)
    for asset in range(block.width):
        order = work.order[first + asset]
        scaled = order * factor
        if lots:
            scaled = whole_lots(scaled, book.lot_A[asset])
        work.order[first + asset] = scaled if order > 0.0 else order


@inlined
def scale_overdrafts(block: Block, work: Work, book: Book, extra_fee: float) -> bool:
    """Scale down the buys of every lane whose cash they would overdraw; return whether any was."""
    overdrafts = 0
    for lane in range(block.size):
        overdrafts += work.cash[lane] + cash_change(lane, work) < 0.0
    if overdrafts == 0:
        return False
    for lane in range(block.size):
        left = work.cash[lane] + cash_change(lane, work)
        if left < 0.0:
            scale_buys(lane, block, work, book, left, extra_fee)
    return True


@inlined
def apply_fills(block: Block, work: Work, book: Book) -> None:
    """Add the fills to holdings, cash and the record."""
    for lane in range(block.size):
        work.cash[lane] += cash_change(lane, work)
        for asset in range(block.width):
            order = work.order[lane * block.width + asset]
            work.shares[lane * block.width + asset] += order
    if book.rules_R[Rule.record] != 0.0:
        record_fills(block, work, book)


@separate
def record_orders(block: Block, work: Work, book: Book) -> None:
    """Count the orders as unfilled, until `record_fills` subtracts what was filled."""
    assets = int(book.rules_R[Rule.assets])
    column = Term.SIZE + 2 * assets
    for lane in range(block.size):
        for asset in range(assets):
            order = work.order[lane * block.width + asset]
            book.record_NR[block.first + lane, column + asset] += order


@separate
def record_fills(block: Block, work: Work, book: Book) -> None:
    """Write trades, fill prices and costs of the fills."""
    assets = int(book.rules_R[Rule.assets])
    for lane in range(block.size):
        row = block.first + lane
        for asset in range(assets):
            element = lane * block.width + asset
            filled = work.order[element]
            if filled != 0.0:
                price = work.price[element]
                price += (work.half[element] + work.slip[element]) / filled
                column = Term.SIZE + asset
                book.record_NR[row, column] += filled
                book.record_NR[row, column + assets] = price
                book.record_NR[row, column + 2 * assets] -= filled
        book.record_NR[row, Term.PNL] -= work.purchases[lane]
        book.record_NR[row, Term.FEES] += work.fees[lane]
        book.record_NR[row, Term.SPREAD] += work.spread[lane]
        book.record_NR[row, Term.SLIPPAGE] += work.slippage[lane]


@inlined
def fill_orders(
    block: Block,
    work: Work,
    book: Book,
    forced: bool,  # noqa: FBT001 - numba has no keyword-only arguments
) -> None:
    """Fill the block's orders at the prices in the scratch; forced ones pay an extra fee.

    In a cash account orders are priced a second time after buys were scaled down. Quadratic costs
    come last: no account that trades units is a cash account.
    """
    if book.rules_R[Rule.record] != 0.0:
        record_orders(block, work, book)
    extra_fee = book.rules_R[Rule.liquidation_fee] if forced else 0.0
    limit_orders(block, work, book)
    may_scale = book.rules_R[Rule.cash_account] != 0.0
    pricing = True
    while pricing:
        price_orders(block, work, book, extra_fee)
        pricing = may_scale and scale_overdrafts(block, work, book, extra_fee)
        may_scale = False
    if book.rules_R[Rule.quadratic] != 0.0:
        add_quadratic_costs(block, work, book)
    apply_fills(block, work, book)

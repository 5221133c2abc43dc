"""Orders, and what filling them costs."""

import math
from typing import NamedTuple

from envs.kernel.book import COST, ORDER, TARGET, Book
from envs.kernel.jit import inlined
from envs.kernel.layout import MARKET_HEADER, Account, Bar, Term
from envs.kernel.rules import Rules

LEAST_ORDER = 1e-9
"""Orders below this part of equity are not sent: they are rounding, and would pay minimum fees."""
LEAST_VOLUME = 1e-12
"""Keeps the participation finite where the volume is 0."""
LOT_TOLERANCE = 1e-9
"""Part of a lot that counts as rounding when shares are cut to whole lots."""
CASH_TOLERANCE = 1e-12
"""Buys are scaled this much further down, so that rounding cannot overdraw the account."""


class Venue(NamedTuple):
    """Where orders fill: a bar's volume, a price column, and the limits there.

    Attributes:
        price_bar: Row of the reference price.
        price_field: Field of the reference price.
        volume_bar: Row of the volume.
        volatility_bar: Row of the volatility.
        base: Shares that may fill at any volume.
        slope: Shares that may fill per share of volume.
        extra_fee: Additional fee, part of the notional.
    """

    price_bar: int
    price_field: int
    volume_bar: int
    volatility_bar: int
    base: float
    slope: float
    extra_fee: float


class Costs(NamedTuple):
    """What the fills of one bar cost: changes of cash, and its parts, all in currency."""

    cash: float
    purchases: float
    fees: float
    spread: float
    slippage: float


@inlined
def write_orders(lane: int, bar: int, book: Book, assets: int) -> None:
    """Write order = target - holdings, 0 below `LEAST_ORDER` of equity at the decision's close."""
    dust = LEAST_ORDER * book.state_SN[Account.EQUITY, lane]
    offset = MARKET_HEADER + Bar.PREVIOUS_CLOSE * assets
    for j in range(assets):
        order = book.scratch_3A[TARGET, j] - book.shares_NA[lane, j]
        value = abs(order * book.market_TK[bar, offset + j])
        book.scratch_3A[ORDER, j] = order if value > dust else 0.0


@inlined
def write_closing_orders(lane: int, book: Book, assets: int) -> None:
    """Write orders that close every position."""
    for j in range(assets):
        book.scratch_3A[TARGET, j] = 0.0
        book.scratch_3A[ORDER, j] = -book.shares_NA[lane, j]


@inlined
def whole_lots(shares: float, lot: float) -> float:
    """Return the shares cut toward zero to a multiple of the lot (0 = fractions are allowed)."""
    if lot > 0.0:
        return math.copysign(math.floor(abs(shares) / lot + LOT_TOLERANCE) * lot, shares)
    return shares


@inlined
def limit_orders(venue: Venue, book: Book, rules: Rules, assets: int) -> None:
    """Cut orders to what the bar's volume allows, in whole lots; nothing fills in a halt.

    An order that closes a position fully may trade an odd lot (left by a split, for example).
    """
    offset = MARKET_HEADER + Bar.VOLUME * assets
    for j in range(assets):
        volume = book.market_TK[venue.volume_bar, offset + j]
        limit = venue.base + venue.slope * volume if volume >= 0.0 else 0.0
        order = book.scratch_3A[ORDER, j]
        book.scratch_3A[ORDER, j] = min(max(order, -limit), limit)
        if rules.lots:
            cut = book.scratch_3A[ORDER, j]
            if cut != order or book.scratch_3A[TARGET, j] != 0.0:
                book.scratch_3A[ORDER, j] = whole_lots(cut, book.lot_A[j])


@inlined
def price_order(
    order: float, price: float, participation: float, volatility: float, rate: float, rules: Rules
) -> tuple[float, float, float, float, float]:
    """Return what one order costs; the first number is 1.0, or 0.0 where it is not sent.

    half spread = bps / 2 * 1e-4 * notional, slippage = coefficient * volatility *
    sqrt(participation) * notional (together at most the notional), fee = max(minimum, rate *
    notional + per_share * shares). In a cash account a sale that costs more than it brings is
    not sent.

    Returns:
        sent, half spread, slippage, fee, fee before the minimum; currency.
    """
    notional = abs(order * price)
    impact = rules.impact * volatility * math.sqrt(participation)
    half = rules.half_spread * notional
    slippage = min(impact, 1.0 - rules.half_spread) * notional
    variable_fee = rate * notional + rules.fee_per_share * abs(order)
    fee = max(variable_fee, rules.fee_minimum)
    worthwhile = (not rules.cash_account) or order * price + half + slippage + fee < 0.0
    sent = 1.0 if order > 0.0 or (order < 0.0 and worthwhile) else 0.0
    return sent, sent * half, sent * slippage, sent * fee, sent * variable_fee


@inlined
def price_orders(
    venue: Venue, book: Book, rules: Rules, assets: int
) -> tuple[Costs, float, float, float]:
    """Compute what filling the orders in the scratch costs.

    Returns:
        Costs of all fills; what buys spend, the same with fees before the minimum, and the sum of
        the minimum fees of all buys.
    """
    price_offset = MARKET_HEADER + venue.price_field * assets
    volume_offset = MARKET_HEADER + Bar.VOLUME * assets
    volatility_offset = MARKET_HEADER + Bar.VOLATILITY * assets
    rate = rules.fee_rate + venue.extra_fee
    purchases, fees, spread, slippage = 0.0, 0.0, 0.0, 0.0
    spending, scalable, fixed = 0.0, 0.0, 0.0
    for j in range(assets):
        order = book.scratch_3A[ORDER, j]
        price = book.market_TK[venue.price_bar, price_offset + j]
        volume = max(book.market_TK[venue.volume_bar, volume_offset + j], LEAST_VOLUME)
        volatility = book.market_TK[venue.volatility_bar, volatility_offset + j]
        sent, half, slip, fee, variable_fee = price_order(
            order, price, abs(order) / volume, volatility, rate, rules
        )
        flow = sent * order * price
        bought = sent if order > 0.0 else 0.0
        book.scratch_3A[ORDER, j] = sent * order
        book.scratch_3A[COST, j] = half + slip
        purchases += flow
        fees += fee
        spread += half
        slippage += slip
        spending += bought * (flow + half + slip + fee)
        scalable += bought * (flow + half + slip + variable_fee)
        fixed += bought * rules.fee_minimum
    cash = -(purchases + (fees + spread + slippage))
    return Costs(cash, purchases, fees, spread, slippage), spending, scalable, fixed


@inlined
def scale_buys(book: Book, rules: Rules, assets: int, factor: float) -> None:
    """Multiply all buys by the factor, in whole lots."""
    for j in range(assets):
        order = book.scratch_3A[ORDER, j]
        if order > 0.0:
            order *= factor
            if rules.lots:
                order = whole_lots(order, book.lot_A[j])
            book.scratch_3A[ORDER, j] = order


@inlined
def apply_fills(
    lane: int,
    venue: Venue,
    book: Book,
    assets: int,
    record: bool,  # noqa: FBT001 - compiled
) -> None:
    """Add the fills to the holdings, and to the record."""
    offset = MARKET_HEADER + venue.price_field * assets
    for j in range(assets):
        book.shares_NA[lane, j] += book.scratch_3A[ORDER, j]
    if record:
        for j in range(assets):
            filled = book.scratch_3A[ORDER, j]
            if filled != 0.0:
                price = book.market_TK[venue.price_bar, offset + j]
                column = Term.SIZE + j
                book.record_NR[lane, column] += filled
                book.record_NR[lane, column + assets] = price + book.scratch_3A[COST, j] / filled
                book.record_NR[lane, column + 2 * assets] -= filled


@inlined
def fill_orders(
    lane: int,
    venue: Venue,
    book: Book,
    rules: Rules,
    assets: int,
    record: bool,  # noqa: FBT001 - compiled
) -> Costs:
    """Fill the orders in the scratch at the venue; return the change of cash and its parts.

    In a cash account buys are scaled down by one factor so that cash stays >= 0. Costs grow no
    faster than the order, except for the minimum fee: with v the spending before minimum fees and
    m the sum of the minimum fees, the factor is (cash after sales - m) / v.
    """
    if record:
        for j in range(assets):
            book.record_NR[lane, Term.SIZE + 2 * assets + j] += book.scratch_3A[ORDER, j]
    limit_orders(venue, book, rules, assets)
    costs, spending, scalable, fixed = price_orders(venue, book, rules, assets)
    if rules.cash_account:
        available = book.state_SN[Account.CASH, lane] + costs.cash + spending
        if spending > available and scalable > 0.0:
            factor = max((available - fixed) / scalable, 0.0) * (1.0 - CASH_TOLERANCE)
            scale_buys(book, rules, assets, min(factor, 1.0))
            costs, _, _, _ = price_orders(venue, book, rules, assets)
    apply_fills(lane, venue, book, assets, record)
    return costs

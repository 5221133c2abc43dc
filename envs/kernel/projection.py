"""From actions to target shares inside the limits."""

import math

import numpy as np
from numpy.typing import NDArray

from envs.kernel.arithmetic import larger, smaller
from envs.kernel.book import Block, Book, Work
from envs.kernel.jit import exact, inlined, separate
from envs.kernel.layout import ActionKind
from envs.kernel.rules import Rule
from envs.kernel.sums import row_sum

TOLERANCE = 1e-6
"""Excess over a limit that is scaled away without being counted: float32 rounding."""
LEAST_ORDER = 1e-9
"""Orders below this part of equity are not sent: they are rounding, and would pay minimum fees."""
LOT_TOLERANCE = 1e-9
"""Part of a lot that counts as rounding when shares are cut to whole lots."""


@exact
def whole_lots(shares: float, lot: float) -> float:
    """Return the shares cut toward zero to a multiple of the lot (0 = fractions are allowed)."""
    if lot > 0.0:
        return math.copysign(math.floor(abs(shares) / lot + LOT_TOLERANCE) * lot, shares)
    return shares


@inlined
def clip_actions(
    actions_M: NDArray[np.float64], extra: int, block: Block, work: Work, book: Book
) -> None:
    """Write scale * clip(action, low, high); flag lanes with an action outside.

    A lane's row of actions has `extra` columns after those of the assets.
    """
    low = book.rules_R[Rule.low]
    high = book.rules_R[Rule.high]
    scale = book.rules_R[Rule.scale]
    assets = 1 if block.width == 1 else int(book.rules_R[Rule.assets])
    columns = assets + extra
    own_M = actions_M[block.first * columns :]
    for lane in range(block.size):
        outside = 0
        for asset in range(assets):
            value = own_M[lane * columns + asset]
            clipped = smaller(larger(value, low), high)
            outside += abs(value - clipped) > TOLERANCE
            work.target[lane * block.width + asset] = clipped * scale
        for padding in range(assets, block.width):
            work.target[lane * block.width + padding] = 0.0
        work.projected[lane] = 1.0 if outside > 0 else 0.0


@inlined
def scale_to_gross(block: Block, work: Work, gross: float) -> None:
    """Scale each lane's weights radially so that sum |w| <= gross; flag lanes above it."""
    for lane in range(block.size):
        first = lane * block.width
        for element in range(first, first + block.width):
            work.term[element] = abs(work.target[element])
        total = row_sum(work.term, first, block.width)
        factor = gross / total if total > gross else 1.0
        work.projected[lane] = larger(
            work.projected[lane], 1.0 if total > gross * (1.0 + TOLERANCE) else 0.0
        )
        for element in range(first, first + block.width):
            work.target[element] *= factor


@separate
def scale_to_net(block: Block, work: Work, net: float) -> None:
    """Shrink the heavier side of each lane so that |sum w| <= net; flag lanes above it."""
    for lane in range(block.size):
        longs = 0.0
        shorts = 0.0
        for asset in range(block.width):
            weight = work.target[lane * block.width + asset]
            longs += larger(weight, 0.0)
            shorts += larger(-weight, 0.0)
        excess = larger(abs(longs - shorts) - net, 0.0)
        heavier = larger(longs, shorts)
        factor = 1.0 - excess / (heavier if heavier > 0.0 else 1.0)
        heavy = 1.0 if longs > shorts else -1.0
        work.projected[lane] = larger(work.projected[lane], 1.0 if excess > TOLERANCE else 0.0)
        for asset in range(block.width):
            weight = work.target[lane * block.width + asset]
            scaled = weight * factor if weight * heavy > 0.0 else weight
            work.target[lane * block.width + asset] = scaled


@separate
def softmax(actions_M: NDArray[np.float64], block: Block, work: Work, book: Book) -> None:
    """Replace clipped logits by softmax weights; cash, the last logit, takes its part.

    An asset that has no price yet takes no part, so that a late starter leaves no money idle.
    """
    low = book.rules_R[Rule.low]
    high = book.rules_R[Rule.high]
    assets = int(book.rules_R[Rule.assets])
    for lane in range(block.size):
        first = lane * block.width
        logit = actions_M[(block.first + lane) * (assets + 1) + assets]
        cash = smaller(larger(logit, low), high)
        work.projected[lane] = larger(
            work.projected[lane], 1.0 if abs(logit - cash) > TOLERANCE else 0.0
        )
        highest = cash
        for element in range(first, first + assets):
            highest = larger(highest, work.target[element])
        total = math.exp(cash - highest)
        for element in range(first, first + assets):
            listed = 1.0 if work.unit[element] > 0.0 else 0.0
            part = math.exp(work.target[element] - highest) * listed
            work.target[element] = part
            total += part
        for element in range(first, first + assets):
            work.target[element] /= total


@separate
def choose_levels(actions_M: NDArray[np.float64], block: Block, work: Work, book: Book) -> None:
    """Write the weight of the level that each lane's index names; flag indices outside."""
    low = book.rules_R[Rule.low]
    high = book.rules_R[Rule.high]
    for lane in range(block.size):
        index = actions_M[block.first + lane]
        clipped = smaller(larger(index, low), high)
        work.projected[lane] = 1.0 if index != clipped else 0.0
        work.target[lane] = book.levels_L[int(clipped)]


@inlined
def weights_to_shares(block: Block, work: Work) -> None:
    """Replace target weights by target shares w * E / |close|; 0 where there is no price yet."""
    for lane in range(block.size):
        equity = work.equity[lane]
        for asset in range(block.width):
            element = lane * block.width + asset
            price = work.unit[element]
            value = work.target[element] * equity
            shares = value / (price if price > 0.0 else 1.0)
            work.target[element] = shares if price > 0.0 else 0.0


@separate
def limit_shares(block: Block, work: Work, book: Book, gross: float) -> None:
    """Turn target lots into shares, and scale them toward zero into the gross limit."""
    for lane in range(block.size):
        first = lane * block.width
        value = 0.0
        for asset in range(block.width):
            lot = book.lot_A[asset]
            target = work.target[first + asset]
            target = np.rint(target) * lot if lot > 0.0 else target
            work.target[first + asset] = target
            value += abs(target) * work.unit[first + asset]
        limit = gross * work.equity[lane]
        if value > limit:
            work.projected[lane] = 1.0
            for asset in range(block.width):
                scaled = work.target[first + asset] * (limit / value)
                work.target[first + asset] = whole_lots(scaled, book.lot_A[asset])


@separate
def trade_to_units(block: Block, work: Work, book: Book) -> None:
    """Replace clipped actions, times the size, by target units.

    u = size sign(a) max(|a| - dead zone, 0) / (1 - dead zone), target = clip(x + u, -limit, limit);
    lanes with a target beyond the limit are flagged.
    """
    size = book.rules_R[Rule.scale]
    dead_zone = book.rules_R[Rule.dead_zone]
    limit = book.rules_R[Rule.limit]
    assets = int(book.rules_R[Rule.assets])
    for lane in range(block.size):
        for element in range(lane * block.width, lane * block.width + assets):
            asked = work.target[element]
            units = larger(abs(asked) - dead_zone * size, 0.0) / (1.0 - dead_zone)
            target = work.shares[element] + math.copysign(units, asked)
            clipped = smaller(larger(target, -limit), limit)
            if abs(target - clipped) > TOLERANCE * limit:
                work.projected[lane] = 1.0
            work.target[element] = clipped


@inlined
def project_actions(actions_M: NDArray[np.float64], block: Block, work: Work, book: Book) -> None:
    """Write the block's target shares; flag lanes whose action was outside its limits."""
    kind = int(book.rules_R[Rule.action_kind])
    if kind == ActionKind.LEVELS:
        choose_levels(actions_M, block, work, book)
    elif kind == ActionKind.LOGITS:
        clip_actions(actions_M, 1, block, work, book)
        softmax(actions_M, block, work, book)
    else:
        clip_actions(actions_M, 0, block, work, book)
    if kind in (ActionKind.WEIGHTS, ActionKind.LONG_SHORT):
        scale_to_gross(block, work, book.rules_R[Rule.gross])
    if kind == ActionKind.LONG_SHORT and book.rules_R[Rule.net] < book.rules_R[Rule.gross]:
        scale_to_net(block, work, book.rules_R[Rule.net])
    if kind == ActionKind.SHARES:
        limit_shares(block, work, book, book.rules_R[Rule.gross])
    elif kind == ActionKind.TRADE:
        trade_to_units(block, work, book)
    else:
        weights_to_shares(block, work)


@inlined
def write_orders(block: Block, work: Work, book: Book) -> None:
    """Write order = target - holdings, 0 below `LEAST_ORDER` of equity at the decision's close.

    Where prices are additive: below that part of the action's unit.
    """
    additive = book.rules_R[Rule.additive] != 0.0
    unit = book.rules_R[Rule.unit]
    for lane in range(block.size):
        dust = LEAST_ORDER * (unit if additive else work.equity[lane])
        for asset in range(block.width):
            element = lane * block.width + asset
            order = work.target[element] - work.shares[element]
            value = abs(order) * work.unit[element]
            work.order[element] = order if value > dust else 0.0


@inlined
def write_no_orders(block: Block, work: Work) -> None:
    """Write orders of 0 shares."""
    for element in range(block.size * block.width):
        work.target[element] = 0.0
        work.order[element] = 0.0
        work.projected[element // block.width] = 0.0


@separate
def first_faulty(actions_M: NDArray[np.float64]) -> int:
    """Return the index of the first action that is not finite, or -1."""
    faulty = 0
    for index in range(actions_M.size):
        faulty += not abs(actions_M[index]) < np.inf
    if faulty > 0:
        for index in range(actions_M.size):
            if not abs(actions_M[index]) < np.inf:
                return index
    return -1

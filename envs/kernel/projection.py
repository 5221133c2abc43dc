"""From an action to target weights or target shares inside the limits."""

import math

import numpy as np
from numpy.typing import NDArray

from envs.kernel.book import TARGET, Book
from envs.kernel.jit import inlined
from envs.kernel.layout import MARKET_HEADER, Account, ActionKind, Bar
from envs.kernel.rules import Rules

TOLERANCE = 1e-6
"""Excess over a limit that is scaled away without being counted: float32 rounding."""


@inlined
def clip_row(
    actions_ND: NDArray[np.float64], lane: int, size: int, rules: Rules, out_A: NDArray[np.float64]
) -> bool:
    """Write clip(action, low, high) of the first `size` numbers; return whether any was outside."""
    outside = 0
    for j in range(size):
        value = actions_ND[lane, j]
        clipped = min(max(value, rules.low), rules.high)
        outside += abs(value - clipped) > TOLERANCE
        out_A[j] = clipped
    return outside > 0


@inlined
def scale_to_gross(weights_A: NDArray[np.float64], size: int, gross: float) -> bool:
    """Scale the row radially so that sum |w| <= gross; return whether it was above."""
    total = 0.0
    for j in range(size):
        total += abs(weights_A[j])
    if total > gross:
        factor = gross / total
        for j in range(size):
            weights_A[j] *= factor
        return total > gross * (1.0 + TOLERANCE)
    return False


@inlined
def scale_to_net(weights_A: NDArray[np.float64], size: int, net: float) -> bool:
    """Shrink the heavier side so that |sum w| <= net; return whether it was above."""
    longs = 0.0
    shorts = 0.0
    for j in range(size):
        longs += max(weights_A[j], 0.0)
        shorts -= min(weights_A[j], 0.0)
    excess = abs(longs - shorts) - net
    if excess <= 0.0:
        return False
    heavy_is_long = longs > shorts
    factor = 1.0 - excess / max(longs, shorts)
    for j in range(size):
        if (weights_A[j] > 0.0) == heavy_is_long:
            weights_A[j] *= factor
    return excess > TOLERANCE


@inlined
def softmax_row(weights_A: NDArray[np.float64], size: int, cash_logit: float) -> None:
    """Replace logits by softmax weights; the logit of cash takes its part and is dropped."""
    highest = cash_logit
    for j in range(size):
        highest = max(highest, weights_A[j])
    total = math.exp(cash_logit - highest)
    for j in range(size):
        weights_A[j] = math.exp(weights_A[j] - highest)
        total += weights_A[j]
    for j in range(size):
        weights_A[j] /= total


@inlined
def weights_to_shares(
    lane: int, bar: int, book: Book, assets: int, target_A: NDArray[np.float64]
) -> None:
    """Replace target weights by target shares w * E / |close|; 0 where there is no price yet."""
    equity = book.state_SN[Account.EQUITY, lane]
    offset = MARKET_HEADER + Bar.PREVIOUS_CLOSE * assets
    for j in range(assets):
        price = abs(book.market_TK[bar, offset + j])
        target_A[j] = target_A[j] * equity / price if price > 0.0 else 0.0


@inlined
def limit_shares(lane: int, bar: int, book: Book, assets: int, gross: float) -> bool:
    """Turn target lots into shares and scale them toward zero so that the gross limit holds."""
    offset = MARKET_HEADER + Bar.PREVIOUS_CLOSE * assets
    value = 0.0
    for j in range(assets):
        lot = book.lot_A[j]
        if lot > 0.0:
            book.scratch_3A[TARGET, j] = np.rint(book.scratch_3A[TARGET, j]) * lot
        value += abs(book.scratch_3A[TARGET, j] * book.market_TK[bar, offset + j])
    limit = gross * book.state_SN[Account.EQUITY, lane]
    if value <= limit:
        return False
    factor = limit / value
    for j in range(assets):
        scaled = book.scratch_3A[TARGET, j] * factor
        lot = book.lot_A[j]
        if lot > 0.0:
            scaled = math.copysign(math.floor(abs(scaled) / lot + 1e-9) * lot, scaled)
        book.scratch_3A[TARGET, j] = scaled
    return bool(value > limit * (1.0 + TOLERANCE))


@inlined
def project(
    lane: int,
    bar: int,
    actions_ND: NDArray[np.float64],
    book: Book,
    rules: Rules,
    assets: int,
) -> bool:
    """Write the lane's target shares into the scratch; return whether the action was outside.

    Args:
        lane: Lane.
        bar: Bar after the decision (its row holds the decision's close).
        actions_ND: Actions.
        book: Arrays.
        rules: Parameters.
        assets: Number of assets.
    """
    target_A = book.scratch_3A[TARGET]
    kind = rules.action_kind
    if kind == ActionKind.LEVELS:
        level = actions_ND[lane, 0]
        clipped = min(max(level, rules.low), rules.high)
        target_A[0] = book.levels_L[int(clipped)]
        weights_to_shares(lane, bar, book, assets, target_A)
        return bool(level != clipped)
    outside = clip_row(actions_ND, lane, assets, rules, target_A)
    if kind == ActionKind.SHARES:
        return limit_shares(lane, bar, book, assets, rules.gross) or outside
    if kind == ActionKind.LOGITS:
        logit = actions_ND[lane, assets]
        cash_logit = min(max(logit, rules.low), rules.high)
        outside = outside or abs(logit - cash_logit) > TOLERANCE
        softmax_row(target_A, assets, cash_logit)
    elif kind == ActionKind.LONG_SHORT:
        for j in range(assets):
            target_A[j] *= rules.scale
        outside = scale_to_gross(target_A, assets, rules.gross) or outside
        outside = scale_to_net(target_A, assets, rules.net) or outside
    else:
        outside = scale_to_gross(target_A, assets, rules.gross) or outside
    weights_to_shares(lane, bar, book, assets, target_A)
    return outside


@inlined
def first_faulty(actions_ND: NDArray[np.float64]) -> int:
    """Return the flat index of the first action that is not finite, or -1."""
    faulty = 0
    flat = actions_ND.ravel()
    for j in range(flat.size):
        faulty += not abs(flat[j]) < np.inf
    if faulty > 0:
        for j in range(flat.size):
            if not abs(flat[j]) < np.inf:
                return j
    return -1

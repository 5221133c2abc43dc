"""Quadratic trading costs and quadratic utility: forms in a market's matrices."""

import numpy as np
from numpy.typing import NDArray

from envs.kernel.book import Block, Book, Work
from envs.kernel.jit import separate
from envs.kernel.rules import NUM_RULES, Rule


@separate
def half_form(
    vector_E: NDArray[np.float64],
    first: int,
    assets: int,
    rules_R: NDArray[np.float64],
    matrix: int,
) -> float:
    """Return 1/2 x' M x of the `assets` numbers from `first`, M (A, A) from `matrix` in rules_R."""
    total = 0.0
    for row in range(assets):
        product = 0.0
        for column in range(assets):
            product += rules_R[matrix + row * assets + column] * vector_E[first + column]
        total += vector_E[first + row] * product
    return 0.5 * total


@separate
def add_quadratic_costs(block: Block, work: Work, book: Book) -> None:
    """Add 1/2 coefficient u' Lambda_k u of each lane's orders u to its slippage.

    An order's own part is 1/2 coefficient u_i (Lambda_k u)_i.
    """
    coefficient = book.rules_R[Rule.quadratic]
    assets = int(book.rules_R[Rule.assets])
    for lane in range(block.size):
        first = lane * block.width
        matrix = NUM_RULES + int(work.regime[lane]) * assets * assets
        for row in range(assets):
            product = 0.0
            for column in range(assets):
                product += book.rules_R[matrix + row * assets + column] * work.order[first + column]
            cost = 0.5 * coefficient * work.order[first + row] * product
            work.slip[first + row] += cost
            work.slippage[lane] += cost


@separate
def utilities(block: Block, work: Work, book: Book, risk_aversion: float) -> None:
    """Write the reward E1 - E0 - risk_aversion / 2 x' Sigma_k x of every lane."""
    for lane in range(block.size):
        change = work.after[lane] - work.equity[lane]
        work.reward[lane] = change - risk_aversion * half_variance(lane, block, work, book)


@separate
def half_variance(lane: int, block: Block, work: Work, book: Book) -> float:
    """Return 1/2 x' Sigma_k x of a lane of the block, currency^2."""
    assets = int(book.rules_R[Rule.assets])
    regimes = int(book.rules_R[Rule.regimes])
    matrix = NUM_RULES + (regimes + int(work.regime[lane])) * assets * assets
    return half_form(work.shares, lane * block.width, assets, book.rules_R, matrix)

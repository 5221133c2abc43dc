"""Expected rewards of a stream's step, given the market's state at the decision and the fills."""

import math

import numpy as np

from envs.kernel.arithmetic import larger
from envs.kernel.book import Block, Book, Work
from envs.kernel.jit import separate
from envs.kernel.layout import Account, Expectation, RewardKind
from envs.kernel.quadratic import half_variance
from envs.kernel.rewards import LEAST_GROWTH
from envs.kernel.rules import Rule

NUM_NODES = 9


def _hermite(size: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(size)
    return tuple(nodes.tolist()), tuple((weights / weights.sum()).tolist())


NODES, WEIGHTS = _hermite(NUM_NODES)
"""Gauss-Hermite quadrature: E f(z) = sum weight f(node) for a standard normal z; exact for
polynomials up to degree 17."""


@separate
def expect_utility(lane: int, block: Block, work: Work, book: Book) -> float:
    """Return c + x'(P + drift) - E0 - risk_aversion / 2 x' Sigma_k x, currency.

    c is the cash and x the holdings after the fills and their costs, P the last close.
    """
    value: float = work.cash[lane] - work.equity[lane]
    for element in range(lane * block.width, (lane + 1) * block.width):
        value += work.shares[element] * (work.price[element] + work.drift[element])
    value -= book.rules_R[Rule.reward_parameter] * half_variance(lane, block, work, book)
    return value


@separate
def expect_log_return(lane: int, work: Work) -> float:
    """Return E log(E1 / E0) of one asset with a lognormal return.

    E1 = c + x (P + drift) exp(s z - s^2 / 2), z standard normal, by quadrature.
    """
    deviation = work.deviation[lane]
    ahead = work.shares[lane] * (work.price[lane] + work.drift[lane])
    total = 0.0
    for node in range(NUM_NODES):
        factor = math.exp(deviation * NODES[node] - 0.5 * deviation * deviation)
        growth = (work.cash[lane] + ahead * factor) / work.equity[lane]
        total += WEIGHTS[node] * math.log(larger(growth, LEAST_GROWTH))
    return total


@separate
def expect_rewards(block: Block, work: Work, book: Book) -> None:
    """Write the expected reward of every lane; NaN where there is no formula."""
    kind = int(book.rules_R[Rule.reward_kind])
    lognormal = kind == RewardKind.LOG_RETURN and block.width == 1
    lognormal = lognormal and book.rules_R[Rule.additive] == 0.0
    for lane in range(block.size):
        expected = np.nan
        if kind == RewardKind.QUADRATIC_UTILITY:
            expected = expect_utility(lane, block, work, book)
        elif lognormal:
            expected = expect_log_return(lane, work)
        book.state_SN[Account.EXPECTED, block.first + lane] = expected


@separate
def replace_rewards(block: Block, work: Work, book: Book) -> None:
    """Reward the expectation, where that is asked for."""
    if int(book.rules_R[Rule.expectation]) == Expectation.REWARD:
        for lane in range(block.size):
            work.reward[lane] = book.state_SN[Account.EXPECTED, block.first + lane]

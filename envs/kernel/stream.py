"""Markets that are generated while they are played: nothing of them is stored but their state.

The generator's code is a constant where these functions are compiled, so that one generator (or
none) is a part of a kernel.
"""

import numpy as np
from numpy.typing import NDArray

from envs.kernel.book import Block, Book, Work
from envs.kernel.jit import inlined, separate
from envs.kernel.layout import Account, Clock, Flag, Key, Term
from envs.kernel.observation import EXTRA
from envs.kernel.rules import NUM_RULES, UNLIMITED, Rule
from markets.synthetic import garleanu_pedersen_stream as garleanu_pedersen
from markets.synthetic import ornstein_uhlenbeck_stream as ornstein_uhlenbeck
from markets.synthetic import regime_gbm_stream as regime_gbm
from markets.synthetic.layout import HEADER, REGIME, Generator
from markets.synthetic.layout import Block as Column
from markets.synthetic.random import start_key

# Compiled code reads plain integers, not members of an enumeration.
TABLE = int(Generator.TABLE)
GARLEANU_PEDERSEN = int(Generator.GARLEANU_PEDERSEN)
ORNSTEIN_UHLENBECK = int(Generator.ORNSTEIN_UHLENBECK)
REGIME_GBM = int(Generator.REGIME_GBM)


@inlined
def begin_state(
    generator: int, parameters_Q: NDArray[np.float64], state_S: NDArray[np.float64], key: np.uint64
) -> np.uint64:
    """Write a path's first state; return the next random key."""
    if generator == GARLEANU_PEDERSEN:
        key = garleanu_pedersen.begin(parameters_Q, state_S, key)
    if generator == ORNSTEIN_UHLENBECK:
        key = ornstein_uhlenbeck.begin(parameters_Q, state_S, key)
    if generator == REGIME_GBM:
        key = regime_gbm.begin(parameters_Q, state_S, key)
    return key


@inlined
def advance_state(
    generator: int, parameters_Q: NDArray[np.float64], state_S: NDArray[np.float64], key: np.uint64
) -> np.uint64:
    """Take a state one bar on; return the next random key."""
    if generator == GARLEANU_PEDERSEN:
        key = garleanu_pedersen.advance(parameters_Q, state_S, key)
    if generator == ORNSTEIN_UHLENBECK:
        key = ornstein_uhlenbeck.advance(parameters_Q, state_S, key)
    if generator == REGIME_GBM:
        key = regime_gbm.advance(parameters_Q, state_S, key)
    return key


@inlined
def generate(generator: int, block: Block, work: Work, book: Book) -> None:
    """Keep what the block's decisions saw of their markets, and take these one bar on.

    The bar opens at the last close, and any number of units fills there.
    """
    rules_R = book.rules_R
    assets = 1 if block.width == 1 else int(rules_R[Rule.assets])
    matrices = 2 * int(rules_R[Rule.regimes]) * assets * assets
    parameters_Q = rules_R[NUM_RULES + matrices :]
    additive = rules_R[Rule.additive] != 0.0
    close = HEADER + Column.CLOSE * assets
    for lane in range(block.size):
        row = block.first + lane
        state_S = book.market_TK[row]
        work.years[lane] = rules_R[Rule.years]
        work.called[lane] = 0.0
        work.regime[lane] = state_S[REGIME]
        for asset in range(assets):
            element = lane * block.width + asset
            price = state_S[close + asset]
            work.price[element] = price
            work.unit[element] = 1.0 if additive else abs(price)
            work.drift[element] = state_S[HEADER + Column.DRIFT * assets + asset]
            work.deviation[element] = state_S[HEADER + Column.DEVIATION * assets + asset]
        key = np.uint64(book.keys_KN[Key.RANDOM, row])
        key = advance_state(generator, parameters_Q, state_S, key)
        book.keys_KN[Key.RANDOM, row] = np.int64(key)
        for asset in range(assets):
            element = lane * block.width + asset
            work.close[element] = state_S[close + asset]
            work.limit[element] = UNLIMITED
            work.impact[element] = 0.0
        for element in range(lane * block.width + assets, (lane + 1) * block.width):
            clear_element(element, work)


@inlined
def clear_element(element: int, work: Work) -> None:
    """Write an asset that is not there."""
    work.price[element] = 0.0
    work.close[element] = 0.0
    work.unit[element] = 0.0
    work.limit[element] = 0.0
    work.impact[element] = 0.0
    work.drift[element] = 0.0
    work.deviation[element] = 0.0


@separate
def subtract_value(block: Block, work: Work, book: Book) -> None:
    """Subtract the value of the positions at the last close from the recorded profit."""
    for lane in range(block.size):
        value = 0.0
        for element in range(lane * block.width, (lane + 1) * block.width):
            value += work.shares[element] * work.price[element]
        book.record_NR[block.first + lane, Term.PNL] -= value


@inlined
def begin_paths(generator: int, first: int, size: int, book: Book) -> None:
    """Begin the markets of the lanes that are at the start of an episode, and observe them.

    To begin a path again changes nothing: it depends on (seed, lane, episode) alone.
    """
    rules_R = book.rules_R
    assets = int(rules_R[Rule.assets])
    matrices = 2 * int(rules_R[Rule.regimes]) * assets * assets
    parameters_Q = rules_R[NUM_RULES + matrices :]
    for lane in range(first, first + size):
        if book.clock_CN[Clock.BAR, lane] == book.clock_CN[Clock.START, lane]:
            key = start_key(
                book.keys_KN[Key.SEED, lane],
                book.keys_KN[Key.LANE, lane],
                book.keys_KN[Key.EPISODE, lane],
            )
            state_S = book.market_TK[lane]
            state_S[:] = 0.0
            key = begin_state(generator, parameters_Q, state_S, key)
            book.keys_KN[Key.RANDOM, lane] = np.int64(key)
            observe_features(lane, book)
            if not (book.flags_FN[Flag.TERMINATED, lane] | book.flags_FN[Flag.TRUNCATED, lane]):
                book.state_SN[Account.EXPECTED, lane] = np.nan


@inlined
def observe_features(lane: int, book: Book) -> None:
    """Write the market's features into the lane's observation, after the bar."""
    assets = int(book.rules_R[Rule.assets])
    features = int(book.rules_R[Rule.features])
    source = HEADER + Column.SIZE * assets
    column = lane * (features + assets + EXTRA) + 1
    for feature in range(features):
        book.current_M[column + feature] = book.market_TK[lane, source + feature]

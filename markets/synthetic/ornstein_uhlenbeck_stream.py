"""The compiled generator of `markets.synthetic.ornstein_uhlenbeck`, and its Bayes filter."""

import math

import numpy as np
from numpy.typing import NDArray

from markets.compiled import separate
from markets.synthetic.chain import packed_size, pick, start_belief, update_belief
from markets.synthetic.layout import GOVERNED, REGIME, Block, block_start, features_start
from markets.synthetic.random import next_normal, next_uniform

_HIDDEN, _KNOWN, _BELIEF = 0, 1, 2
VIEWS = {"hidden": _HIDDEN, "known": _KNOWN, "belief": _BELIEF}

# Packed parameters: a header, the chain of the regimes, the chain that the filter goes by, then
# arrays of K, then two matrices of A * A.
_ASSETS, _REGIMES, _VIEW, _FILTER, _CENTRE, _SPREAD, _CHANGE, _CHAIN = range(8)

_block_start = separate(block_start)
_features_start = separate(features_start)
_packed_size = separate(packed_size)


@separate
def begin(
    parameters_Q: NDArray[np.float64], state_S: NDArray[np.float64], key: np.uint64
) -> np.uint64:
    """Draw the start of an episode into a state; returns the next random key."""
    assets, regimes = int(parameters_Q[_ASSETS]), int(parameters_Q[_REGIMES])
    uniform, key = next_uniform(key)
    regime = pick(parameters_Q, _CHAIN + regimes * regimes, regimes, uniform)
    state_S[REGIME] = regime
    arrays = _arrays_start(regimes)
    mean = parameters_Q[arrays + regimes + regime]
    deviation = parameters_Q[arrays + 3 * regimes + regime]
    key = _draw_shocks(parameters_Q, state_S, key)
    shocks = _shocks_start(parameters_Q)
    close, previous = _block_start(Block.CLOSE, assets), _block_start(Block.PREVIOUS, assets)
    for asset in range(assets):
        state_S[close + asset] = mean + deviation * state_S[shocks + asset]
        state_S[previous + asset] = state_S[close + asset]
    if parameters_Q[_FILTER] != 0.0:
        trusted = _CHAIN + _packed_size(regimes)
        start_belief(parameters_Q, trusted, regimes, state_S, shocks + assets)
        _weigh_start(parameters_Q, state_S)
    _derive(parameters_Q, state_S, regime)
    return key


@separate
def advance(
    parameters_Q: NDArray[np.float64], state_S: NDArray[np.float64], key: np.uint64
) -> np.uint64:
    """Move a state one bar on; returns the next random key."""
    assets, regimes = int(parameters_Q[_ASSETS]), int(parameters_Q[_REGIMES])
    regime = int(state_S[REGIME])
    arrays = _arrays_start(regimes)
    speed, mean = parameters_Q[arrays + regime], parameters_Q[arrays + regimes + regime]
    volatility = parameters_Q[arrays + 2 * regimes + regime]
    key = _draw_shocks(parameters_Q, state_S, key)
    shocks = _shocks_start(parameters_Q)
    close, previous = _block_start(Block.CLOSE, assets), _block_start(Block.PREVIOUS, assets)
    for asset in range(assets):
        price = state_S[close + asset]
        state_S[previous + asset] = price
        state_S[close + asset] = (
            price + speed * (mean - price) + volatility * state_S[shocks + asset]
        )
    if parameters_Q[_FILTER] != 0.0:
        belief, trusted = shocks + assets, _CHAIN + _packed_size(regimes)
        for other in range(regimes):
            state_S[belief + regimes + other] = _log_likelihood(parameters_Q, state_S, other)
        update_belief(parameters_Q, trusted, regimes, state_S, belief, belief + regimes)
    uniform, key = next_uniform(key)
    state_S[REGIME] = pick(parameters_Q, _CHAIN + regime * regimes, regimes, uniform)
    _derive(parameters_Q, state_S, regime)
    return key


@separate
def _arrays_start(regimes: int) -> int:
    return _CHAIN + 2 * _packed_size(regimes)


@separate
def _shocks_start(parameters_Q: NDArray[np.float64]) -> int:
    assets = int(parameters_Q[_ASSETS])
    view = 0 if parameters_Q[_VIEW] == _HIDDEN else int(parameters_Q[_REGIMES])
    return _features_start(assets) + 2 * assets + view


@separate
def _matrices_start(parameters_Q: NDArray[np.float64]) -> int:
    regimes = int(parameters_Q[_REGIMES])
    return _arrays_start(regimes) + 4 * regimes


@separate
def _draw_shocks(
    parameters_Q: NDArray[np.float64], state_S: NDArray[np.float64], key: np.uint64
) -> np.uint64:
    """Write correlated standard normal numbers into the state: L z, from the last to the first."""
    assets = int(parameters_Q[_ASSETS])
    shocks, lower = _shocks_start(parameters_Q), _matrices_start(parameters_Q)
    for asset in range(assets):
        state_S[shocks + asset], key = next_normal(key)
    for asset in range(assets - 1, -1, -1):
        total = 0.0
        for other in range(asset + 1):
            total += parameters_Q[lower + asset * assets + other] * state_S[shocks + other]
        state_S[shocks + asset] = total
    return key


@separate
def _squared_distance(
    parameters_Q: NDArray[np.float64],
    state_S: NDArray[np.float64],
    origin: int,
    speed: float,
    mean: float,
) -> float:
    """Return e' C^-1 e of e = P - (Q + speed (mean - Q)), Q at column `origin` of the state."""
    assets = int(parameters_Q[_ASSETS])
    inverse = _matrices_start(parameters_Q) + assets * assets
    close = _block_start(Block.CLOSE, assets)
    squared = 0.0
    for asset in range(assets):
        total = 0.0
        for other in range(asset + 1):
            before = state_S[origin + other]
            error = state_S[close + other] - before - speed * (mean - before)
            total += parameters_Q[inverse + asset * assets + other] * error
        squared += total * total
    return squared


@separate
def _log_likelihood(
    parameters_Q: NDArray[np.float64], state_S: NDArray[np.float64], regime: int
) -> float:
    """Return log N(P_{t+1}; P_t + kappa_k (m_k - P_t), sigma_k^2 C), up to a constant."""
    assets, regimes = int(parameters_Q[_ASSETS]), int(parameters_Q[_REGIMES])
    arrays = _arrays_start(regimes)
    speed, mean = parameters_Q[arrays + regime], parameters_Q[arrays + regimes + regime]
    volatility = parameters_Q[arrays + 2 * regimes + regime]
    origin = _block_start(Block.PREVIOUS, assets)
    squared = _squared_distance(parameters_Q, state_S, origin, speed, mean)
    likelihood: float = -assets * math.log(volatility) - 0.5 * squared / volatility**2
    return likelihood


@separate
def _weigh_start(parameters_Q: NDArray[np.float64], state_S: NDArray[np.float64]) -> None:
    """Update the belief of k_0 by the first price, which k_0 drew: pi_k ~ pi_k N(P_0; m_k, s_k)."""
    assets, regimes = int(parameters_Q[_ASSETS]), int(parameters_Q[_REGIMES])
    arrays = _arrays_start(regimes)
    belief = _shocks_start(parameters_Q) + assets
    scratch = belief + regimes
    origin = _block_start(Block.CLOSE, assets)
    highest = -math.inf
    for regime in range(regimes):
        deviation = parameters_Q[arrays + 3 * regimes + regime]
        # At speed 1 the price forgets where it was: what is left is its distance to the mean.
        squared = _squared_distance(
            parameters_Q, state_S, origin, 1.0, parameters_Q[arrays + regimes + regime]
        )
        state_S[scratch + regime] = -assets * math.log(deviation) - 0.5 * squared / deviation**2
        highest = max(highest, state_S[scratch + regime])
    total = 0.0
    for regime in range(regimes):
        state_S[belief + regime] *= math.exp(state_S[scratch + regime] - highest)
        total += state_S[belief + regime]
    for regime in range(regimes):
        state_S[belief + regime] /= total


@separate
def _derive(parameters_Q: NDArray[np.float64], state_S: NDArray[np.float64], governed: int) -> None:
    """Write what follows from the prices and the next regime: drift, deviation and features."""
    assets, regimes = int(parameters_Q[_ASSETS]), int(parameters_Q[_REGIMES])
    regime = int(state_S[REGIME])
    arrays = _arrays_start(regimes)
    speed, mean = parameters_Q[arrays + regime], parameters_Q[arrays + regimes + regime]
    state_S[GOVERNED] = governed
    close, previous = _block_start(Block.CLOSE, assets), _block_start(Block.PREVIOUS, assets)
    drift, deviation = _block_start(Block.DRIFT, assets), _block_start(Block.DEVIATION, assets)
    feature = _features_start(assets)
    for asset in range(assets):
        price = state_S[close + asset]
        state_S[drift + asset] = speed * (mean - price)
        state_S[deviation + asset] = 0.0
        state_S[feature] = (price - parameters_Q[_CENTRE]) / parameters_Q[_SPREAD]
        state_S[feature + 1] = (price - state_S[previous + asset]) / parameters_Q[_CHANGE]
        feature += 2
    if parameters_Q[_VIEW] == _KNOWN:
        for other in range(regimes):
            state_S[feature + other] = 1.0 if other == regime else 0.0
    elif parameters_Q[_VIEW] == _BELIEF:
        belief = feature + regimes + assets
        for other in range(regimes):
            state_S[feature + other] = state_S[belief + other]

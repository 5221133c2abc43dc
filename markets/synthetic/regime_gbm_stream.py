"""The compiled generator of `markets.synthetic.regime_gbm`, and its Bayes filter."""

import math

import numpy as np
from numpy.typing import NDArray

from markets.compiled import separate
from markets.synthetic.chain import packed_size, pick, start_belief, update_belief
from markets.synthetic.layout import GOVERNED, REGIME, Block, block_start, features_start
from markets.synthetic.random import next_normal, next_uniform

START_PRICE = 100.0
"""Close of bar 0, currency."""
VIEWS = ("hidden", "known", "belief")

# Packed parameters: a header, the chain of the regimes, the one that the filter goes by, scales of
# the returns (A), means, deviations and drifts (K x A each), the correlation's root
# (A x A), and sum_a log s_ka (K).
_ASSETS = 0
_REGIMES = 1
_VIEW = 2
_FILTERS = 3
_CHAIN = 4

_block_start = separate(block_start)
_packed_size = separate(packed_size)
_features_start = separate(features_start)


@separate
def begin(
    parameters_Q: NDArray[np.float64], state_S: NDArray[np.float64], key: np.uint64
) -> np.uint64:
    """Draw k_0 from its law and set prices, belief and features of the start."""
    assets, regimes = int(parameters_Q[_ASSETS]), int(parameters_Q[_REGIMES])
    uniform, key = next_uniform(key)
    regime = pick(parameters_Q, _CHAIN + regimes * regimes, regimes, uniform)
    state_S[REGIME] = regime
    state_S[GOVERNED] = regime
    close = _block_start(Block.CLOSE, assets)
    previous = _block_start(Block.PREVIOUS, assets)
    returns = _returns_start(parameters_Q)
    for asset in range(assets):
        state_S[close + asset] = START_PRICE
        state_S[previous + asset] = START_PRICE
        state_S[returns + asset] = 0.0
    if parameters_Q[_FILTERS] != 0.0:
        trusted = _CHAIN + _packed_size(regimes)
        start_belief(parameters_Q, trusted, regimes, state_S, returns + assets)
    _show(parameters_Q, state_S)
    return key


@separate
def advance(
    parameters_Q: NDArray[np.float64], state_S: NDArray[np.float64], key: np.uint64
) -> np.uint64:
    """Play the bar that k_t governs, filter it, and draw k_{t+1}."""
    assets, regimes = int(parameters_Q[_ASSETS]), int(parameters_Q[_REGIMES])
    regime = int(state_S[REGIME])
    close = _block_start(Block.CLOSE, assets)
    previous = _block_start(Block.PREVIOUS, assets)
    noise = _block_start(Block.DRIFT, assets)
    returns = _returns_start(parameters_Q)
    blocks = _CHAIN + 2 * _packed_size(regimes) + assets
    mean = blocks + regime * assets
    deviation = blocks + (regimes + regime) * assets
    root = blocks + 3 * regimes * assets
    scale = blocks - assets
    for asset in range(assets):
        # The drifts are rewritten below; until then their place holds the normal numbers.
        state_S[noise + asset], key = next_normal(key)
        shock = 0.0
        for factor in range(asset + 1):
            shock += parameters_Q[root + asset * assets + factor] * state_S[noise + factor]
        change = parameters_Q[mean + asset] + parameters_Q[deviation + asset] * shock
        state_S[previous + asset] = state_S[close + asset]
        state_S[close + asset] *= math.exp(change)
        state_S[returns + asset] = change
    if parameters_Q[_FILTERS] != 0.0:
        _filter(parameters_Q, state_S, returns, blocks)
    for asset in range(assets):
        state_S[returns + asset] *= parameters_Q[scale + asset]
    state_S[GOVERNED] = regime
    uniform, key = next_uniform(key)
    state_S[REGIME] = pick(parameters_Q, _CHAIN + regime * regimes, regimes, uniform)
    _show(parameters_Q, state_S)
    return key


@separate
def _returns_start(parameters_Q: NDArray[np.float64]) -> int:
    """Return the first column of the log returns, behind the view of the regime."""
    view = int(parameters_Q[_REGIMES]) if parameters_Q[_VIEW] != 0.0 else 0
    return _features_start(int(parameters_Q[_ASSETS])) + view


@separate
def _filter(
    parameters_Q: NDArray[np.float64], state_S: NDArray[np.float64], returns: int, blocks: int
) -> None:
    """Update the belief by the bar's log returns.

    log l_k = -sum_a log s_ka - |y|^2 / 2 with L y = (r - mu_k) / s_k, L L' the correlation.
    """
    assets, regimes = int(parameters_Q[_ASSETS]), int(parameters_Q[_REGIMES])
    belief = returns + assets
    scratch, white = belief + regimes, belief + 2 * regimes
    root = blocks + 3 * regimes * assets
    normaliser = root + assets * assets
    for regime in range(regimes):
        mean = blocks + regime * assets
        deviation = blocks + (regimes + regime) * assets
        likelihood = -parameters_Q[normaliser + regime]
        for asset in range(assets):
            rest = state_S[returns + asset] - parameters_Q[mean + asset]
            rest /= parameters_Q[deviation + asset]
            for factor in range(asset):
                rest -= parameters_Q[root + asset * assets + factor] * state_S[white + factor]
            state_S[white + asset] = rest / parameters_Q[root + asset * assets + asset]
            likelihood -= 0.5 * state_S[white + asset] ** 2
        state_S[scratch + regime] = likelihood
    trusted = _CHAIN + _packed_size(regimes)
    update_belief(parameters_Q, trusted, regimes, state_S, belief, scratch)


@separate
def _show(parameters_Q: NDArray[np.float64], state_S: NDArray[np.float64]) -> None:
    """Write what follows from the regime: drift and deviation of the next bar, and the view."""
    assets, regimes = int(parameters_Q[_ASSETS]), int(parameters_Q[_REGIMES])
    regime = int(state_S[REGIME])
    close = _block_start(Block.CLOSE, assets)
    drift = _block_start(Block.DRIFT, assets)
    deviation = _block_start(Block.DEVIATION, assets)
    blocks = _CHAIN + 2 * _packed_size(regimes) + assets
    for asset in range(assets):
        expected = parameters_Q[blocks + (2 * regimes + regime) * assets + asset]
        state_S[drift + asset] = state_S[close + asset] * expected
        state_S[deviation + asset] = parameters_Q[blocks + (regimes + regime) * assets + asset]
    view = int(parameters_Q[_VIEW])
    first = _features_start(assets)
    belief = _returns_start(parameters_Q) + assets
    for other in range(regimes):
        if view == 1:
            state_S[first + other] = 1.0 if other == regime else 0.0
        elif view == 2:
            state_S[first + other] = state_S[belief + other]

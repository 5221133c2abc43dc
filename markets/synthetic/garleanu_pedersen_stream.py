"""The compiled generator of `markets.synthetic.garleanu_pedersen`, and its Bayes filter."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from markets.compiled import separate
from markets.synthetic.base import RegimeView
from markets.synthetic.chain import (
    Chain,
    packed_size,
    pick,
    start_belief,
    stationary,
    update_belief,
)
from markets.synthetic.layout import GOVERNED, REGIME, Block, block_start, features_start
from markets.synthetic.random import next_normal, next_uniform
from markets.synthetic.riccati import JumpSystem

Array = NDArray[np.float64]

START = 100.0
"""Price of every asset at the start, currency."""


class Places(NamedTuple):
    """Sizes, then positions in a lane's state, then positions in the packed parameters.

    Packed in this order at the start of the parameters, so that compiled code reads them there.
    """

    assets: int
    signals: int
    regimes: int
    known: int
    """Whether the features show the true regime."""
    filtered: int
    """Whether the filter runs."""
    informative: int
    """Whether the filter reads the signals' own moves: they depend on the regime."""

    close: int
    previous: int
    drift: int
    spread: int
    """The block DEVIATION, unused here."""
    signal: int
    """f (S), the first features."""
    shown: int
    """What the features tell of the regime (K, or none where it is hidden)."""
    change: int
    """Last price changes in unconditional standard deviations (A), the last features."""
    noise: int
    """Scratch (A)."""
    belief: int
    """pi (K): among the features, or private."""
    likelihood: int
    """Log likelihoods of the last bar (K), scratch."""
    size: int
    """Length of a state."""

    chain: int
    """The chain of the regimes; see `pack_chain`."""
    trusted: int
    """The chain that the filter goes by."""
    persistence: int
    """Diagonals of Phi_k (K, S)."""
    deviation: int
    """Deviations of the signals' noise (K, S)."""
    loading: int
    """B_k (K, A, S)."""
    root: int
    """chol(Sigma_k) (K, A, A)."""
    offset: int
    """Constants of the log likelihoods (K)."""
    scale: int
    """1 / standard deviations of price changes (A)."""

    @classmethod
    def of(cls, system: JumpSystem, regime: RegimeView, *, filtered: bool) -> Self:
        """Return the layout of a market with this view; `filtered` where it keeps the belief."""
        num_regimes, num_assets, num_signals = system.loading_KAS.shape
        persistence_KS = system.persistence_KS
        signal = features_start(num_assets)
        shown = signal + num_signals
        change = shown + (0 if regime == "hidden" else num_regimes)
        noise = change + num_assets
        end = noise + num_assets
        own = num_regimes if filtered and regime != "belief" else 0
        likelihood = end + own
        chain = len(cls._fields)
        trusted = chain + packed_size(num_regimes)
        persistence = trusted + packed_size(num_regimes)
        deviation = persistence + num_regimes * num_signals
        loading = deviation + num_regimes * num_signals
        root = loading + num_regimes * num_assets * num_signals
        offset = root + num_regimes * num_assets * num_assets
        return cls(
            assets=num_assets,
            signals=num_signals,
            regimes=num_regimes,
            known=int(regime == "known"),
            filtered=int(filtered),
            informative=int(filtered and bool((persistence_KS != persistence_KS[0]).any())),
            close=block_start(Block.CLOSE, num_assets),
            previous=block_start(Block.PREVIOUS, num_assets),
            drift=block_start(Block.DRIFT, num_assets),
            spread=block_start(Block.DEVIATION, num_assets),
            signal=signal,
            shown=shown,
            change=change,
            noise=noise,
            belief=shown if regime == "belief" else end,
            likelihood=likelihood,
            size=likelihood + (num_regimes if filtered else 0),
            chain=chain,
            trusted=trusted,
            persistence=persistence,
            deviation=deviation,
            loading=loading,
            root=root,
            offset=offset,
            scale=offset + num_regimes,
        )


_AT = Places(*range(len(Places._fields)))


def pack(system: JumpSystem, chain: Chain, places: Places) -> list[float]:
    """Return the packed parameters, each block where `places` says."""
    probability_K = stationary(chain.shown_KK)
    deviation_KS = np.sqrt(1.0 - system.persistence_KS**2)
    root_KAA = np.linalg.cholesky(system.covariance_KAA)
    offset_K = -np.log(np.diagonal(root_KAA, axis1=1, axis2=2)).sum(axis=1)
    if places.informative:
        offset_K = offset_K - np.log(deviation_KS).sum(axis=1)
    variance_KA = np.diagonal(system.covariance_KAA, axis1=1, axis2=2) + (
        system.loading_KAS**2
    ).sum(axis=2)
    blocks = (
        system.persistence_KS,
        deviation_KS,
        system.loading_KAS,
        root_KAA,
        offset_K,
        1.0 / np.sqrt(probability_K @ variance_KA),
    )
    return [
        *(float(place) for place in places),
        *chain.packed(),
        *(number for block in blocks for number in np.asarray(block).ravel().tolist()),
    ]


@separate
def begin(parameters_Q: Array, state_S: Array, key: np.uint64) -> np.uint64:
    """Draw the regime of the start from its law, and the signals from their stationary one."""
    assets, regimes = int(parameters_Q[_AT.assets]), int(parameters_Q[_AT.regimes])
    chain, signal = int(parameters_Q[_AT.chain]), int(parameters_Q[_AT.signal])
    change = int(parameters_Q[_AT.change])
    uniform, key = next_uniform(key)
    regime = pick(parameters_Q, chain + regimes * regimes, regimes, uniform)
    state_S[REGIME] = regime
    state_S[GOVERNED] = regime
    for index in range(int(parameters_Q[_AT.signals])):
        state_S[signal + index], key = next_normal(key)
    for asset in range(assets):
        state_S[int(parameters_Q[_AT.close]) + asset] = START
        state_S[int(parameters_Q[_AT.previous]) + asset] = START
        state_S[int(parameters_Q[_AT.spread]) + asset] = 0.0
        state_S[change + asset] = 0.0
    if parameters_Q[_AT.filtered]:
        trusted, belief = int(parameters_Q[_AT.trusted]), int(parameters_Q[_AT.belief])
        start_belief(parameters_Q, trusted, regimes, state_S, belief)
    _look_ahead(parameters_Q, state_S, regime)
    return key


@separate
def advance(parameters_Q: Array, state_S: Array, key: np.uint64) -> np.uint64:
    """Move prices and signals under k_t, update the belief, then draw k_{t+1}."""
    regimes, chain = int(parameters_Q[_AT.regimes]), int(parameters_Q[_AT.chain])
    governing = int(state_S[REGIME])
    key = _move_prices(parameters_Q, state_S, governing, key)
    if parameters_Q[_AT.filtered]:
        _weigh_prices(parameters_Q, state_S)
    key = _move_signals(parameters_Q, state_S, governing, key)
    if parameters_Q[_AT.filtered]:
        belief, likelihood = int(parameters_Q[_AT.belief]), int(parameters_Q[_AT.likelihood])
        trusted = int(parameters_Q[_AT.trusted])
        update_belief(parameters_Q, trusted, regimes, state_S, belief, likelihood)
    uniform, key = next_uniform(key)
    regime = pick(parameters_Q, chain + governing * regimes, regimes, uniform)
    state_S[GOVERNED] = governing
    state_S[REGIME] = regime
    _look_ahead(parameters_Q, state_S, regime)
    return key


@separate
def _look_ahead(parameters_Q: Array, state_S: Array, regime: int) -> None:
    """Write the drift B_k f of the next bar, and the true regime where it is shown."""
    assets, signals = int(parameters_Q[_AT.assets]), int(parameters_Q[_AT.signals])
    signal = int(parameters_Q[_AT.signal])
    loading = int(parameters_Q[_AT.loading]) + regime * assets * signals
    drift = int(parameters_Q[_AT.drift])
    for asset in range(assets):
        total = 0.0
        for index in range(signals):
            total += parameters_Q[loading + asset * signals + index] * state_S[signal + index]
        state_S[drift + asset] = total
    if parameters_Q[_AT.known]:
        shown = int(parameters_Q[_AT.shown])
        for index in range(int(parameters_Q[_AT.regimes])):
            state_S[shown + index] = 1.0 if index == regime else 0.0


@separate
def _move_prices(parameters_Q: Array, state_S: Array, regime: int, key: np.uint64) -> np.uint64:
    """Add the drift and chol(Sigma_k) eps to the prices."""
    assets = int(parameters_Q[_AT.assets])
    noise, change = int(parameters_Q[_AT.noise]), int(parameters_Q[_AT.change])
    root = int(parameters_Q[_AT.root]) + regime * assets * assets
    scale = int(parameters_Q[_AT.scale])
    close, previous = int(parameters_Q[_AT.close]), int(parameters_Q[_AT.previous])
    drift = int(parameters_Q[_AT.drift])
    for asset in range(assets):
        state_S[noise + asset], key = next_normal(key)
        move = state_S[drift + asset]
        for other in range(asset + 1):
            move += parameters_Q[root + asset * assets + other] * state_S[noise + other]
        state_S[previous + asset] = state_S[close + asset]
        state_S[close + asset] += move
        state_S[change + asset] = move * parameters_Q[scale + asset]
    return key


@separate
def _move_signals(parameters_Q: Array, state_S: Array, regime: int, key: np.uint64) -> np.uint64:
    """Move the signals; where they tell of the regime, add log N(f'; Phi_j f, Q_j) by regime j."""
    weigh = parameters_Q[_AT.informative] != 0.0
    signals, regimes = int(parameters_Q[_AT.signals]), int(parameters_Q[_AT.regimes])
    signal, likelihood = int(parameters_Q[_AT.signal]), int(parameters_Q[_AT.likelihood])
    persistence, deviation = int(parameters_Q[_AT.persistence]), int(parameters_Q[_AT.deviation])
    for index in range(signals):
        own = regime * signals + index
        normal, key = next_normal(key)
        before = state_S[signal + index]
        after = parameters_Q[persistence + own] * before + parameters_Q[deviation + own] * normal
        state_S[signal + index] = after
        if weigh:
            for other in range(regimes):
                at = other * signals + index
                residual = after - parameters_Q[persistence + at] * before
                residual /= parameters_Q[deviation + at]
                state_S[likelihood + other] -= 0.5 * residual * residual
    return key


@separate
def _weigh_prices(parameters_Q: Array, state_S: Array) -> None:
    """Write log N(change; B_j f, Sigma_j) of the last price change, by regime j, up to a constant.

    Before the signals move; the noise serves as scratch.
    """
    assets, signals = int(parameters_Q[_AT.assets]), int(parameters_Q[_AT.signals])
    signal, noise = int(parameters_Q[_AT.signal]), int(parameters_Q[_AT.noise])
    likelihood, offset = int(parameters_Q[_AT.likelihood]), int(parameters_Q[_AT.offset])
    change, scale = int(parameters_Q[_AT.change]), int(parameters_Q[_AT.scale])
    for regime in range(int(parameters_Q[_AT.regimes])):
        loading = int(parameters_Q[_AT.loading]) + regime * assets * signals
        root = int(parameters_Q[_AT.root]) + regime * assets * assets
        total = 0.0
        for asset in range(assets):
            residual = state_S[change + asset] / parameters_Q[scale + asset]
            for index in range(signals):
                weight = parameters_Q[loading + asset * signals + index]
                residual -= weight * state_S[signal + index]
            for other in range(asset):
                residual -= parameters_Q[root + asset * assets + other] * state_S[noise + other]
            residual /= parameters_Q[root + asset * assets + asset]
            state_S[noise + asset] = residual
            total += residual * residual
        state_S[likelihood + regime] = parameters_Q[offset + regime] - 0.5 * total

"""Paths of the markets with Gaussian or Student-t noise, what detectors see of them, and the truth.

Dimensions: N paths, T closes, D observed series, M regressors, K regimes, S signals.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from envs.synthetic import MarketConfig
from evaluation.decision_value import Worlds
from markets.synthetic.chain import stationary
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck
from markets.synthetic.regime_gbm import RegimeGBM

Array = NDArray[np.float64]
Noise = Literal["gaussian", "t4"]

NOISES: tuple[Noise, ...] = ("gaussian", "t4")
DEGREES = 4.0
"""Degrees of freedom of the heavy-tailed noise."""
BOUND = 10.0
"""Standard deviations at which noise is cut off, so that no account is ruined by a single bar."""
NODES = 2000
"""Equally likely values of the noise over which expected growth is averaged."""
DAILY = RegimeGBM(
    drift=(0.0008, 0.0, -0.0015),
    volatility=(0.007, 0.011, 0.022),
    transition=((0.992, 0.006, 0.002), (0.01, 0.985, 0.005), (0.01, 0.02, 0.97)),
    cost_bps=0.0,
    regime="belief",
)
"""A daily index in three regimes; without costs its best policy under a belief is known."""
MARKETS: dict[str, MarketConfig] = {
    "regime_gbm": RegimeGBM(regime="belief"),
    "garleanu_pedersen": GarleanuPedersen(regime="belief"),
    "ornstein_uhlenbeck": OrnsteinUhlenbeck(regime="belief"),
}
"""The default markets, their regime hidden."""


@dataclass(frozen=True, eq=False)
class Sample:
    """N paths of one market.

    Attributes:
        market: whose paths.
        worlds: the truth.
        y_NTD: what a detector observes at each close: the log return of the bar, or the price
            change where prices are additive; NaN at the first.
        x_NTM: regressors that were known before the bar: signals, or the price; zeros at the first.
    """

    market: MarketConfig
    worlds: Worlds
    y_NTD: Array
    x_NTM: Array


def transition_of(market: MarketConfig) -> Array:
    """Transition matrix (K, K) of the regimes."""
    if isinstance(market, RegimeGBM):
        found = market.law.transition_KK
    elif isinstance(market, GarleanuPedersen):
        found = market.system.transition_KK
    else:
        found = market.spread.transition_KK
    return found


def simulate(market: MarketConfig, noise: Noise, paths: int, closes: int, *, seed: int) -> Sample:
    """Draw paths; k_t governs the bar t + 1, as in the markets themselves."""
    random = np.random.default_rng(seed)
    regime_NT = _regimes(transition_of(market), paths, closes, random)
    shock_NTA = _shocks(noise, (paths, closes, market.num_assets), random)
    if isinstance(market, RegimeGBM):
        return _growth(market, regime_NT, shock_NTA, noise)
    if isinstance(market, GarleanuPedersen):
        return _signals(market, regime_NT, shock_NTA, noise, random)
    return _reverting(market, regime_NT, shock_NTA, noise, random)


def nodes(noise: Noise) -> Array:
    """Equally likely values of the noise, of mean 0 and variance 1."""
    level_Q = (np.arange(NODES) + 0.5) / NODES
    if noise == "gaussian":
        node_Q = stats.norm.ppf(level_Q)
    else:
        node_Q = np.clip(stats.t.ppf(level_Q, DEGREES) / np.sqrt(2.0), -BOUND, BOUND)
    return np.asarray(node_Q / node_Q.std())


def _shocks(noise: Noise, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if noise == "gaussian":
        return random.standard_normal(shape)
    # A variance of nu / (nu - 2) = 2 is scaled to 1.
    return np.asarray(np.clip(random.standard_t(DEGREES, shape) / np.sqrt(2.0), -BOUND, BOUND))


def _regimes(
    transition_KK: Array, paths: int, closes: int, random: np.random.Generator
) -> NDArray[np.int64]:
    uniform_NT = random.uniform(size=(paths, closes))
    edge_KK = np.cumsum(transition_KK, axis=1)[:, :-1]
    start_K = np.cumsum(stationary(transition_KK))[:-1]
    regime_NT = np.zeros((paths, closes), np.int64)
    regime_NT[:, 0] = (uniform_NT[:, :1] >= start_K).sum(axis=1)
    for bar in range(1, closes):
        edges_NK = edge_KK[regime_NT[:, bar - 1]]
        regime_NT[:, bar] = (uniform_NT[:, bar : bar + 1] >= edges_NK).sum(axis=1)
    return regime_NT


def _growth(
    market: RegimeGBM, regime_NT: NDArray[np.int64], shock_NTA: Array, noise: Noise
) -> Sample:
    law = market.law
    governing = regime_NT[:, :-1]
    log_NTA = law.log_drift_KA[governing] + law.volatility_KA[governing] * shock_NTA[:, 1:]
    y_NTD = np.concatenate([np.full_like(shock_NTA[:, :1], np.nan), log_NTA], axis=1)
    close_NTA = 100.0 * np.exp(np.cumsum(np.nan_to_num(y_NTD), axis=1))
    none = np.zeros((*regime_NT.shape, 0))
    return Sample(market, Worlds(regime_NT, close_NTA, none, nodes(noise)), y_NTD, none)


def _signals(
    market: GarleanuPedersen,
    regime_NT: NDArray[np.int64],
    shock_NTA: Array,
    noise: Noise,
    random: np.random.Generator,
) -> Sample:
    system = market.system
    paths, closes = regime_NT.shape
    signal_NTS = np.zeros((paths, closes, market.num_signals))
    innovation_NTS = random.standard_normal(signal_NTS.shape)
    signal_NTS[:, 0] = innovation_NTS[:, 0]
    for bar in range(1, closes):
        keep_NS = system.persistence_KS[regime_NT[:, bar - 1]]
        fresh_NS = np.sqrt(1.0 - keep_NS**2) * innovation_NTS[:, bar]
        signal_NTS[:, bar] = keep_NS * signal_NTS[:, bar - 1] + fresh_NS
    governing = regime_NT[:, :-1]
    root_KAA = np.linalg.cholesky(system.covariance_KAA)
    change_NTA = np.einsum("ntas,nts->nta", system.loading_KAS[governing], signal_NTS[:, :-1])
    change_NTA += np.einsum("ntab,ntb->nta", root_KAA[governing], shock_NTA[:, 1:])
    return _additive(market, regime_NT, change_NTA, signal_NTS, noise)


def _reverting(
    market: OrnsteinUhlenbeck,
    regime_NT: NDArray[np.int64],
    shock_NTA: Array,
    noise: Noise,
    random: np.random.Generator,
) -> Sample:
    spread = market.spread
    paths, closes = regime_NT.shape
    price_NTA = np.zeros((paths, closes, market.num_assets))
    first_N1 = regime_NT[:, :1]
    spreads_N1 = market.price_deviation[first_N1]
    price_NTA[:, 0] = spread.mean_K[first_N1] + spreads_N1 * random.standard_normal((paths, 1))
    for bar in range(1, closes):
        regime_N1 = regime_NT[:, bar - 1 : bar]
        pull_NA = spread.speed_K[regime_N1] * (spread.mean_K[regime_N1] - price_NTA[:, bar - 1])
        noise_NA = spread.volatility_K[regime_N1] * shock_NTA[:, bar]
        price_NTA[:, bar] = price_NTA[:, bar - 1] + pull_NA + noise_NA
    worlds = Worlds(regime_NT, price_NTA, np.zeros((paths, closes, 0)), nodes(noise))
    return Sample(market, worlds, *_observed(np.diff(price_NTA, axis=1), price_NTA))


def _additive(
    market: GarleanuPedersen,
    regime_NT: NDArray[np.int64],
    change_NTA: Array,
    signal_NTS: Array,
    noise: Noise,
) -> Sample:
    start = np.full_like(change_NTA[:, :1], 100.0)
    close_NTA = np.cumsum(np.concatenate([start, change_NTA], axis=1), axis=1)
    worlds = Worlds(regime_NT, close_NTA, signal_NTS, nodes(noise))
    return Sample(market, worlds, *_observed(change_NTA, signal_NTS))


def _observed(change_NTA: Array, known_NTM: Array) -> tuple[Array, Array]:
    """Changes, and what was known before each of them."""
    y_NTD = np.concatenate([np.full_like(change_NTA[:, :1], np.nan), change_NTA], axis=1)
    x_NTM = np.concatenate([np.zeros_like(known_NTM[:, :1]), known_NTM[:, :-1]], axis=1)
    return y_NTD, x_NTM

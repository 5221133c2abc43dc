"""Compiled recursions of the stylised-facts market: its paths, and its filter and likelihood.

Equations and symbols: `markets.synthetic.stylised_facts`. Nothing here allocates.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from markets.compiled import exact, kernel, separate

Array = NDArray[np.float64]

MEAN_SHOCK = math.sqrt(2.0 / math.pi)
"""Mean absolute value of a standard normal number: a bar's usual shock."""


class Setup(NamedTuple):
    """Parameters as compiled code reads them; names as in `StylisedFacts`."""

    transition_KK: Array
    weight_K: Array
    """Stationary probabilities of the regimes."""
    mean_K: Array
    omega_K: Array
    arch_K: Array
    asymmetry_K: Array
    garch_K: Array
    variance_K: Array
    """E h_k, where paths and filters start."""
    lower_AA: Array
    """Cholesky factor of the correlation."""
    centre: float
    """Stationary mean of a return."""
    deviation: float
    """Stationary standard deviation of a return."""
    degrees: float
    diffusion: float
    """c, the part of an innovation's deviation that no jump brings."""
    jump_probability: float
    jump_mean: float
    jump_deviation: float
    overnight_share: float
    bridge_variance: float
    volume_level: float
    volume_persistence: float
    volume_shock: float
    volume_elasticity: float
    volume_noise: float
    spread_bps: float


class Draws(NamedTuple):
    """Random numbers of T bars and A assets; one row is one bar."""

    start: float
    """Uniform in [0, 1), as the next two; picks the regime of the first bar."""
    regime_T: Array
    jump_T: Array
    mixing_T: Array
    """Chi-squared with the market's degrees of freedom."""
    shock_TA: Array
    """Standard normal, as the next three."""
    size_TA: Array
    gap_TA: Array
    volume_TA: Array
    high_TA: Array
    """Standard exponential, as the next."""
    low_TA: Array


class Record(NamedTuple):
    """What a path writes; rows are bars."""

    regime_T: NDArray[np.int64]
    jump_T: NDArray[np.bool_]
    open_TA: Array
    """Logarithm of the price, as the next three."""
    high_TA: Array
    low_TA: Array
    close_TA: Array
    volume_TA: Array
    spread_TA: Array
    volatility_TA: Array


class Memory(NamedTuple):
    """What a path carries from bar to bar."""

    variance_AK: Array
    volume_A: Array
    """Logarithm of the volume over its level."""
    close_A: Array
    """Logarithm of the price."""


@exact
def _next_variance(setup: Setup, regime: int, variance: float, shock: float) -> float:
    """GJR-GARCH: h' = omega + (alpha + gamma 1{e < 0}) e^2 + beta h."""
    slope = setup.arch_K[regime] + (setup.asymmetry_K[regime] if shock < 0.0 else 0.0)
    return float(setup.omega_K[regime] + slope * shock * shock + setup.garch_K[regime] * variance)


@separate
def _pick(probability_K: Array, uniform: float) -> int:
    total = 0.0
    for regime in range(len(probability_K) - 1):
        total += probability_K[regime]
        if uniform < total:
            return regime
    return len(probability_K) - 1


@separate
def _correlated(lower_AA: Array, normal_A: Array, asset: int) -> float:
    total = 0.0
    for other in range(asset + 1):
        total += lower_AA[asset, other] * normal_A[other]
    return total


@separate
def _trade(
    setup: Setup, draws: Draws, record: Record, memory: Memory, bar: int, asset: int, regime: int
) -> None:
    """Write one bar of one asset, and move its memory on."""
    deviation = math.sqrt(memory.variance_AK[asset, regime])
    mixing = math.sqrt((setup.degrees - 2.0) / draws.mixing_T[bar])
    diffusion = setup.diffusion * mixing * deviation
    move = diffusion * _correlated(setup.lower_AA, draws.shock_TA[bar], asset)
    jump = -setup.jump_probability * setup.jump_mean
    if record.jump_T[bar]:
        size = _correlated(setup.lower_AA, draws.size_TA[bar], asset)
        jump += setup.jump_mean + setup.jump_deviation * size
    change = setup.mean_K[regime] + move + deviation * jump

    share = setup.overnight_share
    gap = share * change
    gap += math.sqrt(share * (1.0 - share)) * diffusion * draws.gap_TA[bar, asset]
    day = change - gap
    # Extremes of a Brownian bridge by inversion of their law, e.g. Glasserman (2003), sec. 6.4.
    bridge = 2.0 * setup.bridge_variance * (1.0 - share) * diffusion * diffusion
    rise = 0.5 * (day + math.sqrt(day * day + bridge * draws.high_TA[bar, asset]))
    fall = 0.5 * (day - math.sqrt(day * day + bridge * draws.low_TA[bar, asset]))
    before = memory.close_A[asset]
    opening, close = before + gap, before + change
    record.open_TA[bar, asset] = opening
    record.close_TA[bar, asset] = close
    record.high_TA[bar, asset] = max(opening + rise, opening, close)
    record.low_TA[bar, asset] = min(opening + fall, opening, close)
    memory.close_A[asset] = close

    relative = deviation / setup.deviation
    volume = setup.volume_persistence * memory.volume_A[asset]
    volume += setup.volume_shock * (abs(move / deviation + jump) - MEAN_SHOCK)
    volume += setup.volume_elasticity * math.log(relative)
    volume += setup.volume_noise * draws.volume_TA[bar, asset]
    memory.volume_A[asset] = volume
    record.volume_TA[bar, asset] = setup.volume_level * math.exp(volume)
    record.spread_TA[bar, asset] = setup.spread_bps * relative * math.exp(-0.5 * volume)

    shock = change - setup.centre
    for each in range(len(setup.mean_K)):
        variance = memory.variance_AK[asset, each]
        memory.variance_AK[asset, each] = _next_variance(setup, each, variance, shock)


@kernel
def simulate(setup: Setup, draws: Draws, record: Record, memory: Memory, first: int) -> None:
    """Write the path of all draws, of which the bars before `first` are a warm-up.

    Args:
        setup: the parameters.
        draws: the random numbers of all bars, warm-up included.
        record: where to write, a row for each row of draws.
        memory: where the path starts; it ends there as well.
        first: the bar before which the prices are set back to their start.
    """
    regime = _pick(setup.weight_K, draws.start)
    for bar in range(len(draws.regime_T)):
        if bar == first:
            memory.close_A[:] = 0.0
        record.jump_T[bar] = draws.jump_T[bar] < setup.jump_probability
        for asset in range(len(memory.close_A)):
            _trade(setup, draws, record, memory, bar, asset, regime)
        regime = _pick(setup.transition_KK[regime], draws.regime_T[bar])
        record.regime_T[bar] = regime
        for asset in range(len(memory.close_A)):
            record.volatility_TA[bar, asset] = math.sqrt(memory.variance_AK[asset, regime])


@kernel
def to_prices(logarithm_TA: Array, level: float) -> None:
    """Turn logarithms into prices, in place; one by one, so that no bar depends on their number."""
    for bar in range(logarithm_TA.shape[0]):
        for asset in range(logarithm_TA.shape[1]):
            logarithm_TA[bar, asset] = level * math.exp(logarithm_TA[bar, asset])


class Filter(NamedTuple):
    """What the filter writes; row t is what was known at the close of bar t."""

    belief_TK: Array
    """P(k_t | returns to t), of the regime that governs the bar t + 1."""
    variance_TK: Array
    """h_k of the bar t + 1, should k govern it."""
    scratch_K: Array


class Nodes(NamedTuple):
    """Gauss-Hermite quadrature of a standard normal number."""

    node_N: Array
    weight_N: Array


@separate
def _density(setup: Setup, nodes: Nodes, shock: float) -> float:
    """Density of an innovation, up to Student's constant: jumps are integrated out."""
    degrees, chance = setup.degrees, setup.jump_probability
    scale = setup.diffusion * math.sqrt((degrees - 2.0) / degrees)
    power = -0.5 * (degrees + 1.0)
    centred = shock + chance * setup.jump_mean
    density = (1.0 - chance) * (1.0 + (centred / scale) ** 2 / degrees) ** power
    if chance > 0.0:
        for node in range(len(nodes.node_N)):
            size = setup.jump_mean + setup.jump_deviation * nodes.node_N[node]
            tail = (1.0 + ((centred - size) / scale) ** 2 / degrees) ** power
            density += chance * nodes.weight_N[node] * tail
    return float(density)


@kernel
def log_likelihood(setup: Setup, nodes: Nodes, return_T: Array, result: Filter) -> float:
    """Run Hamilton's filter over the returns; return their log likelihood."""
    degrees, regimes = setup.degrees, len(setup.mean_K)
    scale = setup.diffusion * math.sqrt((degrees - 2.0) / degrees)
    constant = math.lgamma(0.5 * (degrees + 1.0)) - math.lgamma(0.5 * degrees)
    constant -= 0.5 * math.log(degrees * math.pi) + math.log(scale)
    total: float = len(return_T) * constant
    for bar in range(len(return_T)):
        mass = 0.0
        for regime in range(regimes):
            prior = result.belief_TK[bar - 1, regime] if bar else setup.weight_K[regime]
            variance = result.variance_TK[bar - 1, regime] if bar else setup.variance_K[regime]
            deviation = math.sqrt(variance)
            shock = (return_T[bar] - setup.mean_K[regime]) / deviation
            result.scratch_K[regime] = prior * _density(setup, nodes, shock) / deviation
            mass += result.scratch_K[regime]
            result.variance_TK[bar, regime] = _next_variance(
                setup, regime, variance, return_T[bar] - setup.centre
            )
        total += float(math.log(mass))
        for following in range(regimes):
            belief = 0.0
            for regime in range(regimes):
                belief += setup.transition_KK[regime, following] * result.scratch_K[regime]
            result.belief_TK[bar, following] = belief / mass
    return total

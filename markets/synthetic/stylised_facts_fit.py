"""Calibration of the stylised-facts market on real bars, and its exact filter.

The steps, each on the given bars only:

1. `arch` estimates a GJR-GARCH with Student's t: the scale of gamma and of the degrees of freedom.
2. Regimes, leverage and jumps: the highest likelihood of the market's own law among markets that
   have the stylised facts. The likelihood is exact, by Hamilton's filter (every regime's variance
   follows from the returns alone). A market has a fact where the median over paths as long as the
   series lies well inside the series' block-bootstrap interval; a fact outside costs the square of
   its excess. Likelihood alone judges forecasts of one bar, and its paths have too little leverage
   effect and too short a memory; facts alone leave jumps and the regimes' means undetermined.
   Sources: Hamilton (1989), Econometrica 57; Franke & Westerhoff (2012), J. Economic Dynamics and
   Control 36 (simulated moments). Regimes share alpha, gamma and beta; omega and mu differ.
3. Overnight share: slope of the opening gap on the return. Bridge variance: ratio of the mean range
   to the mean move from open to close. Both are exact for the law within a bar.
4. Volume: least squares of its logarithm, less a linear trend, on its past, |eta| and volatility,
   both by the filter.
5. Correlation of several assets: the mean over pairs of returns standardised by `arch`.
"""

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from arch import arch_model
from numpy.typing import NDArray
from scipy import integrate, optimize, stats

from markets.bars import Bars
from markets.synthetic.chain import SyntheticMarketError
from markets.synthetic.stylised_facts import StylisedFacts
from markets.synthetic.stylised_facts_kernel import MEAN_SHOCK, Filter, Nodes, log_likelihood
from markets.synthetic.stylised_facts_moments import downside, hermite_nodes
from markets.synthetic.stylised_facts_statistics import (
    ABSOLUTE_LAGS,
    LEVERAGE_LAGS,
    LINEAR_LAGS,
    facts,
    intervals,
)

Array = NDArray[np.float64]

LEAST_BARS = 500
"""Shortest series that is calibrated."""
INSIDE = 0.8
"""How far from a fact's estimate to the end of its interval a median may lie without a cost."""
FACTS_WEIGHT = 500.0
"""Cost of the whole of that distance squared, nats: at the very end of an interval, 20."""
BOX = {
    "calm_mean": (0.0, 0.08),
    "turbulent_mean": (-0.08, 0.0),
    "calm_stay": (0.994, 0.999),
    "turbulent_stay": (0.994, 0.999),
    "memory": (0.95, 0.99),
    "arch": (0.0, 0.05),
    "asymmetry": (1.2, 2.2),
    "ratio": (2.0, 10.0),
    "level": (0.85, 1.15),
    "tail": (0.4, 1.4),
    "jump_probability": (0.002, 0.02),
    "jump_mean": (-2.5, 0.0),
    "jump_deviation": (0.8, 2.2),
}
"""Where step 2 searches. Means and the level of the stationary deviation are in standard deviations
of the series; asymmetry is relative to that of `arch`, which takes the regimes' memory for its own;
memory is alpha + beta + gamma E[eta^2 1{eta < 0}]; ratio is that of the omegas; tail is 1 / nu,
relative to that of `arch`, which takes jumps for its own. Regimes stay 170 to 1,000 bars: what is
shorter is GARCH's, what is longer comes once or twice in ten years. At most five jumps a year: what
is more frequent belongs to Student's t."""
DEGREES = (2.5, 60.0)
"""Bounds of the degrees of freedom."""
EVALUATIONS = 2000
"""Evaluations of the loss, about 0.25 seconds each for ten years of days."""
SPREAD = 0.3
"""Share of them that is spread over the box before the climb."""
PATHS = 128
"""Simulated paths behind each median."""
FINE_EVALUATIONS, FINE_PATHS = 0.0175, 512
"""Share of further evaluations at the end, and their paths: a climb learns the noise of few."""
FIRST_SEED = 50_000
"""Seed of the first of them; the others follow. No figure of the record comes from these."""
FIRST_STEP, FINE_STEP, LEAST_STEP = 0.15, 0.05, 0.01
"""Standard deviation of the climb's steps, in sides of the box; below the least it begins anew."""
LONGER, SHORTER = 1.5, 0.9
"""Factors of that deviation after a success and a failure: in balance where one in five succeeds
(Rechenberg's rule; 1.5 is about 0.9 to the power of -4)."""
FITTED = (
    "kurtosis",
    "skewness",
    *(f"acf_abs_{lag}" for lag in ABSOLUTE_LAGS),
    *(f"leverage_{lag}" for lag in LEVERAGE_LAGS),
    *(f"acf_{lag}" for lag in LINEAR_LAGS if lag != 2),
)
"""The facts of step 2: not the autocorrelation at lag 2, which no such market has."""
_REFUSED = 1e9


@dataclass(frozen=True)
class Filtered:
    """What the filter knows at the close of each bar.

    Attributes:
        belief_TK: P(k_t | returns to t), of the regime that governs the bar t + 1.
        variance_TK: h_k of the bar t + 1, should k govern it.
        log_likelihood: Of all returns.
    """

    belief_TK: Array
    variance_TK: Array
    log_likelihood: float

    @property
    def deviation_T(self) -> Array:  # noqa: N802 - dimension suffix
        """Standard deviation of the bar t + 1 (differences of the regimes' means left out)."""
        return np.asarray(np.sqrt((self.belief_TK * self.variance_TK).sum(axis=1)))


def filtered(market: StylisedFacts, return_T: Array) -> Filtered:
    """Run the exact filter of one asset: the yardstick of regime detectors.

    Args:
        market: the true parameters.
        return_T: log returns from close to close.
    """
    return _run(market, np.ascontiguousarray(return_T, dtype=np.float64), hermite_nodes())


def _run(market: StylisedFacts, return_T: Array, nodes: Nodes) -> Filtered:
    shape = (len(return_T), market.num_regimes)
    output = Filter(np.empty(shape), np.empty(shape), np.empty(market.num_regimes))
    value = log_likelihood(market.setup, nodes, return_T, output)
    return Filtered(output.belief_TK, output.variance_TK, value)


def calibrate(
    bars: Bars, panel: Bars | None = None, *, evaluations: int = EVALUATIONS
) -> StylisedFacts:
    """Return the market that fits one real series.

    Args:
        bars: of one symbol, split-adjusted, without missing bars; the training span only.
        panel: of several symbols, for the correlation between assets; None keeps the default.
        evaluations: most evaluations of the loss of step 2.

    Raises:
        SyntheticMarketError: Not one symbol, missing bars or volumes, or too short a series.
    """
    _check(bars)
    return_T = np.diff(np.log(bars.close[:, 0]))
    volume_T = bars.volume[1:, 0]
    market = fit_returns(return_T, volume_T, evaluations=evaluations)
    share, bridge = _within_bar(bars)
    volume = _volume(market, return_T, volume_T)
    return replace(
        market,
        overnight_share=share,
        bridge_variance=bridge,
        volume_level=volume.level,
        volume_persistence=volume.persistence,
        volume_shock=volume.shock,
        volume_elasticity=volume.elasticity,
        volume_noise=volume.noise,
        correlation=StylisedFacts().correlation if panel is None else mean_correlation(panel),
    )


def _check(bars: Bars) -> None:
    if bars.num_assets != 1 or bars.num_bars < LEAST_BARS:
        raise SyntheticMarketError(
            f"calibrate: expected one symbol and at least {LEAST_BARS} bars, found "
            f"{list(bars.symbols)} and {bars.num_bars}"
        )
    if bars.missing.any() or (bars.volume <= 0.0).any():
        row = int(np.argmax(bars.missing[:, 0] | ~(bars.volume[:, 0] > 0.0)))
        raise SyntheticMarketError(
            f"calibrate: expected a price and a volume in every bar, found none in row {row}"
        )


def fit_returns(return_T: Array, volume_T: Array, *, evaluations: int) -> StylisedFacts:
    """Return the market of step 2, its calm regime first.

    The search tries points spread over `BOX`, then climbs from the best of them.

    Args:
        return_T: log returns.
        volume_T: volumes of the same bars.
        evaluations: evaluations of the loss in both parts of the search, each at least once.
    """
    known = _first_step(return_T)
    excess = _Excess(return_T, volume_T)
    nodes = hermite_nodes()

    def loss(place_P: Array, hopeless: float, paths: int = PATHS) -> float:
        market = _decode(place_P, known)
        if market is None:
            return _REFUSED
        value = -_run(market, return_T, nodes).log_likelihood
        # Paths can only add to it.
        return value if value > hopeless else value + FACTS_WEIGHT * excess(market, paths)

    rng = np.random.default_rng(0)
    tried = max(round(SPREAD * evaluations), 1)
    best_P, lowest = np.full(len(BOX), 0.5), math.inf
    for place_P in stats.qmc.LatinHypercube(len(BOX), rng=rng).random(tried):
        value = loss(place_P, lowest)
        if value < lowest:
            best_P, lowest = place_P, value
    best_P = _climb(loss, best_P, lowest, max(evaluations - tried, 1), rng, FIRST_STEP)
    fine = functools.partial(loss, paths=FINE_PATHS)
    count, again = max(round(FINE_EVALUATIONS * evaluations), 1), np.random.default_rng(1)
    best_P = _climb(fine, best_P, fine(best_P, math.inf), count, again, FINE_STEP)
    market = _decode(best_P, known)
    if market is None:
        raise SyntheticMarketError("fit_returns: expected a stationary market, found none")
    return _in_order(market)


def _climb(
    loss: Callable[[Array, float], float],
    best_P: Array,
    lowest: float,
    count: int,
    rng: np.random.Generator,
    first_step: float,
) -> Array:
    """Random hill climb in the box: a step in about half of the coordinates, kept where it helps.

    The loss has no slopes (regimes and jumps of simulated paths switch at thresholds), and many
    parameters only pay together.
    """
    size = first_step
    for _ in range(count):
        step_P = size * rng.standard_normal(len(best_P)) * (rng.random(len(best_P)) < 0.5)
        place_P = np.clip(best_P + step_P, 0.0, 1.0)
        value = loss(place_P, lowest)
        if value < lowest:
            best_P, lowest = place_P, value
            size = min(LONGER * size, first_step)
        else:
            size = SHORTER * size if size > LEAST_STEP else first_step
    return best_P


class _Excess:
    """Squared distances by which simulated facts leave the insides of their intervals."""

    def __init__(self, return_T: Array, volume_T: Array) -> None:
        real = intervals(return_T, volume_T)
        self._estimate_S = np.array([real[name].estimate for name in FITTED])
        self._below_S = self._estimate_S - np.array([real[name].low for name in FITTED])
        self._above_S = np.array([real[name].high for name in FITTED]) - self._estimate_S
        self._num_bars = len(return_T)

    def __call__(self, market: StylisedFacts, paths: int) -> float:
        table_NS = np.empty((paths, len(FITTED)))
        # The same seeds for every market: close markets have close paths.
        for number, row_S in enumerate(table_NS):
            path = market.path(self._num_bars, seed=FIRST_SEED + number)
            found = facts(path.return_TA[:, 0], path.volume_TA[:, 0])
            row_S[:] = [found[name] for name in FITTED]
        error_S = np.median(table_NS, axis=0) - self._estimate_S
        place_S = np.abs(error_S) / np.where(error_S < 0.0, self._below_S, self._above_S)
        excess_S = np.maximum(place_S - INSIDE, 0.0)
        return float(excess_S @ excess_S)


def _first_step(return_T: Array) -> dict[str, float]:
    """Estimates of one regime without jumps, by `arch`."""
    scale = float(return_T.std())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = arch_model(
            return_T / scale, mean="Constant", p=1, o=1, q=1, dist="t", rescale=False
        )
        found = model.fit(disp="off").params
    return {
        "deviation": scale,
        "asymmetry": max(float(found["gamma[1]"]), 0.02),
        "degrees": float(np.clip(found["nu"], *DEGREES)),
    }


def _decode(place_P: Array, known: dict[str, float]) -> StylisedFacts | None:
    """The market of a place in the box, each coordinate in [0, 1]; None where there is none."""
    value = {
        name: low + (high - low) * float(place)
        for (name, (low, high)), place in zip(BOX.items(), np.clip(place_P, 0.0, 1.0), strict=True)
    }
    deviation = known["deviation"]
    degrees = float(np.clip(known["degrees"] / value["tail"], *DEGREES))
    asymmetry = value["asymmetry"] * known["asymmetry"]
    jumps = (value["jump_probability"], value["jump_mean"], value["jump_deviation"])
    garch = value["memory"] - value["arch"] - downside(degrees, *jumps) * asymmetry
    unit = (1e-6, 1e-6 * value["ratio"])
    first, second = value["calm_stay"], value["turbulent_stay"]
    try:
        market = StylisedFacts(
            transition=((first, 1.0 - first), (1.0 - second, second)),
            mean=(value["calm_mean"] * deviation, value["turbulent_mean"] * deviation),
            omega=unit,
            arch=(value["arch"],) * 2,
            asymmetry=(asymmetry,) * 2,
            garch=(garch,) * 2,
            degrees_of_freedom=degrees,
            jump_probability=jumps[0],
            jump_mean=jumps[1],
            jump_deviation=jumps[2],
        )
    except ValueError:
        return None
    scale = (value["level"] * deviation / market.deviation) ** 2
    return replace(market, omega=(unit[0] * scale, unit[1] * scale))


def _in_order(market: StylisedFacts) -> StylisedFacts:
    """The regime of the lowest variance first, so that names keep their meaning over refits."""
    order = [int(regime) for regime in np.argsort(market.setup.variance_K)]
    return replace(
        market,
        transition=tuple(tuple(market.transition[k][j] for j in order) for k in order),
        mean=tuple(market.mean[k] for k in order),
        omega=tuple(market.omega[k] for k in order),
        arch=tuple(market.arch[k] for k in order),
        asymmetry=tuple(market.asymmetry[k] for k in order),
        garch=tuple(market.garch[k] for k in order),
    )


def _within_bar(bars: Bars) -> tuple[float, float]:
    """Overnight share and bridge variance."""
    opening_T, close_T = np.log(bars.open[1:, 0]), np.log(bars.close[:, 0])
    return_T, gap_T = np.diff(close_T), opening_T - close_T[:-1]
    share = float(np.cov(gap_T, return_T)[0, 1] / return_T.var(ddof=1))
    range_T = np.log(bars.high[1:, 0] / bars.low[1:, 0])
    ratio = float(range_T.mean() / np.abs(close_T[1:] - opening_T).mean())
    bridge = optimize.brentq(lambda variance: range_ratio(variance) - ratio, 0.0, 4.0)
    return min(max(share, 0.0), 1.0), float(bridge)


def range_ratio(bridge_variance: float) -> float:
    """Return E[high - low] / E|close - open| of the logarithms of a bar's prices.

    The range is (sqrt(d^2 + 2 q E) + sqrt(d^2 + 2 q E')) / 2 with d the move, E and E' standard
    exponential; q = 1 is Brownian motion, where the ratio is exactly 2.
    """

    def mean_root(move: float) -> float:
        density = math.exp(-0.5 * move * move) * math.sqrt(2.0 / math.pi)
        inner = integrate.quad(
            lambda x: math.sqrt(move * move + 2.0 * bridge_variance * x) * math.exp(-x), 0.0, 40.0
        )
        return density * float(inner[0])

    return float(integrate.quad(mean_root, 0.0, 8.0)[0]) / MEAN_SHOCK


class _Volume(NamedTuple):
    level: float
    persistence: float
    shock: float
    elasticity: float
    noise: float


def _volume(market: StylisedFacts, return_T: Array, volume_T: Array) -> _Volume:
    """Least squares of the volume equation; the trend belongs to the epoch, not to the market."""
    result = filtered(market, return_T)
    deviation_T = result.deviation_T[:-1]
    shock_T = np.abs(return_T[1:] - market.setup.centre) / deviation_T - MEAN_SHOCK
    log_T = np.log(volume_T)
    columns = (
        np.ones(len(shock_T)),
        np.arange(len(shock_T)) / len(shock_T),
        log_T[:-1],
        shock_T,
        np.log(deviation_T / market.deviation),
    )
    design_TC = np.stack(columns, axis=1)
    weight_C = np.linalg.lstsq(design_TC, log_T[1:], rcond=None)[0]
    noise_T = log_T[1:] - design_TC @ weight_C
    keep = 1.0 - float(weight_C[2])
    return _Volume(
        level=math.exp(float(weight_C[0] + 0.5 * weight_C[1]) / keep),
        persistence=float(weight_C[2]),
        shock=float(weight_C[3]),
        elasticity=float(weight_C[4]),
        noise=float(noise_T.std(ddof=len(columns))),
    )


def mean_correlation(panel: Bars) -> float:
    """Return the mean correlation over pairs of standardised returns, on their common bars.

    Raises:
        SyntheticMarketError: Less than two symbols, or too few bars that all of them have.
    """
    complete_T = ~panel.missing.any(axis=1)
    if panel.num_assets < 2 or complete_T.sum() < LEAST_BARS:
        raise SyntheticMarketError(
            f"mean_correlation: expected two symbols and {LEAST_BARS} common bars, found "
            f"{list(panel.symbols)} and {int(complete_T.sum())}"
        )
    return_TA = np.diff(np.log(panel.close[complete_T]), axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shock_TA = np.stack(
            [
                arch_model(100.0 * return_T, p=1, o=1, q=1, dist="t").fit(disp="off").std_resid
                for return_T in return_TA.T
            ],
            axis=1,
        )
    matrix = np.corrcoef(shock_TA.T)
    return float(matrix[np.triu_indices(panel.num_assets, 1)].mean())

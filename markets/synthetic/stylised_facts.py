"""Market 4: no oracle, but a market that looks real, with the truth beside its bars.

With the regime k = k_t, which governs the bar t + 1, and one innovation eta for each asset:

    log P_{t+1} - log P_t = mu_k + sqrt(h_{k,t+1}) eta_{t+1}
    eta = c sqrt((nu - 2) / chi2_nu) z + B (m + d y) - p m,  B ~ Bernoulli(p),  Var eta = 1
    h_{i,t+2} = omega_i + (alpha_i + gamma_i 1{e < 0}) e^2 + beta_i h_{i,t+1},  i = 1..K

where e is the return less its stationary mean: every regime runs its own GJR-GARCH on the same
returns, and the regime says which of them is the market's variance. Assets share the regime, the
bar's chi2 and the times of jumps, and z and y have the given correlation.

Sources: Haas, Mittnik & Paolella (2004), J. Financial Econometrics 2 (regimes); Glosten,
Jagannathan & Runkle (1993), J. Finance 48 (leverage effect, gamma). Within a bar the logarithm of
the price is a Brownian motion of variance (c^2 (nu - 2) / chi2) h, of which a share passes
overnight. The logarithm of volume over its level is

    v_{t+1} = phi v_t + b (|eta| - sqrt(2 / pi)) + g log(sqrt(h) / sigma) + s n

with sigma the stationary deviation, and the quoted spread is S sqrt(h) / sigma exp(-v / 2): in
proportion to the volatility of a trade (Wyart et al., 2008, Quantitative Finance 8).

`markets.synthetic.stylised_facts_fit.calibrate` made the default parameters from the NASDAQ
Composite's daily bars of 1999 to 2009 (`experiments/stylised_facts`).
"""

import math
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from markets.bars import Bars
from markets.calendars import NS_PER_DAY
from markets.frozen import FrozenArrays
from markets.synthetic.chain import (
    SyntheticMarketError,
    check_length,
    check_transition,
    stationary,
)
from markets.synthetic.stylised_facts_kernel import (
    Draws,
    Memory,
    Record,
    Setup,
    simulate,
    to_prices,
)
from markets.synthetic.stylised_facts_moments import (
    downside,
    jump_variance,
    persistence,
    persistence_matrix,
    stationary_variances,
)
from markets.times import to_ns

Array = NDArray[np.float64]
_Matrix = tuple[tuple[float, ...], ...]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
_Probability = Annotated[float, Field(ge=0.0, le=1.0)]

WARM_UP = 1000
"""Bars before the first, so that a path starts from the stationary law of its variance."""
_LARGEST_NS = 2**63 - 1


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StylisedFacts:
    """Parameters of the market; K regimes, A assets of the same law. See the module's equations."""

    kind: Literal["stylised_facts"] = "stylised_facts"
    """Discriminator."""
    assets: Annotated[int, Field(ge=1)] = 1
    """Number of assets, A."""
    correlation: _Finite | _Matrix = 0.3606
    """Correlation of the assets' shocks: one for all pairs, or a matrix (A, A); positive
    definite."""
    transition: _Matrix = ((0.9956, 0.0044), (0.0045, 0.9955))
    """P[k, j] = P(k_{t+1} = j | k_t = k); rows sum to 1."""
    mean: Annotated[tuple[_Finite, ...], Field(min_length=1)] = (0.0008378, -0.00111)
    """mu_k, mean log return of a bar."""
    omega: tuple[_Positive, ...] = (2.413e-06, 1.233e-05)
    """omega_k, variance that each bar adds, squared log return."""
    arch: tuple[_NotNegative, ...] = (0.0, 0.0)
    """alpha_k, weight of any squared shock, >= 0."""
    asymmetry: tuple[_NotNegative, ...] = (0.126, 0.126)
    """gamma_k, further weight of a squared shock that fell (leverage effect), >= 0."""
    garch: tuple[_Probability, ...] = (0.9131, 0.9131)
    """beta_k, weight of the last variance, in [0, 1]. All three: stationary."""
    degrees_of_freedom: Annotated[float, Field(gt=2.0, allow_inf_nan=False)] = 17.55
    """nu of the diffusive shocks, > 2; a kurtosis exists above 4."""
    jump_probability: _Probability = 0.009497
    """p, of a jump in a bar, in [0, 1]; 0 = none. All assets jump in the same bars."""
    jump_mean: _Finite = -1.998
    """m, mean size of a jump, conditional standard deviations of the bar's return."""
    jump_deviation: _NotNegative = 0.987
    """d, standard deviation of that size, in the same unit."""
    overnight_share: _Probability = 0.2324
    """Share of a bar's variance (and of each move) that passes before the open, in [0, 1]."""
    bridge_variance: _NotNegative = 0.6192
    """Variance on the way from open to close over that of a Brownian motion; sets high and low."""
    volume_level: _Positive = 1786000000.0
    """Volume of a bar of usual volatility and shock, shares."""
    volume_persistence: Annotated[float, Field(gt=-1.0, lt=1.0)] = 0.6707
    """phi of the logarithm of volume, in (-1, 1)."""
    volume_shock: _Finite = 0.07155
    """b, response of the logarithm of volume to |eta|."""
    volume_elasticity: _Finite = 0.03352
    """g, its response to the logarithm of volatility."""
    volume_noise: _NotNegative = 0.1634
    """s, standard deviation of its noise."""
    spread_bps: _NotNegative = 2.0
    """S, full quoted spread at usual volatility and volume, basis points (not calibrated: daily
    bars have no quotes)."""
    initial_price: _Positive = 100.0
    """Close before the first bar, currency."""
    bars_per_year: Annotated[float, Field(gt=0.0, le=1e6)] = 252.0
    """Bars in a year of 365.25 days, which are evenly spaced."""
    start: str = "1800-01-01"
    """Time before the first bar, ISO 8601, UTC; ends before 2262."""

    def __post_init__(self) -> None:
        """Check what concerns several parameters at once."""
        for name in ("transition", "omega", "arch", "asymmetry", "garch"):
            check_length(name, getattr(self, name), len(self.mean))
        check_transition("transition", self.transition)
        self._check_correlation()
        self._check_jumps()
        if self.persistence >= 1.0:
            raise SyntheticMarketError(
                "persistence of the variance (spectral radius over arch, asymmetry, garch and "
                f"transition): expected < 1, found {self.persistence:.6g}"
            )

    def _check_correlation(self) -> None:
        matrix = self.correlation_AA
        if matrix.shape != (self.assets, self.assets):
            raise SyntheticMarketError(
                f"correlation: expected shape {(self.assets, self.assets)}, found {matrix.shape}"
            )
        if not (np.array_equal(matrix, matrix.T) and (np.diag(matrix) == 1.0).all()):
            raise SyntheticMarketError(
                "correlation: expected a symmetric matrix of unit diagonal, "
                f"found {matrix.tolist()}"
            )
        smallest = float(np.linalg.eigvalsh(matrix)[0])
        if smallest <= 1e-12:
            raise SyntheticMarketError(
                "correlation: expected a positive definite matrix, "
                f"found the smallest eigenvalue {smallest:.3g}"
            )

    def _check_jumps(self) -> None:
        variance = self._jump_variance
        if variance >= 1.0:
            raise SyntheticMarketError(
                "jump_probability, jump_mean, jump_deviation: expected a variance of jumps "
                f"below 1 (the innovation's), found {variance:.6g}"
            )

    @property
    def num_assets(self) -> int:
        """Number of assets, A."""
        return self.assets

    @property
    def num_regimes(self) -> int:
        """Number of regimes, K."""
        return len(self.mean)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the assets."""
        return tuple(f"SYN{asset}" for asset in range(self.assets))

    @cached_property
    def correlation_AA(self) -> Array:  # noqa: N802 - dimension suffix
        """Correlation of the assets' shocks, (A, A)."""
        if isinstance(self.correlation, tuple):
            return np.array(self.correlation, dtype=np.float64)
        matrix = np.full((self.assets, self.assets), self.correlation)
        np.fill_diagonal(matrix, 1.0)
        return matrix

    @property
    def _jump_variance(self) -> float:
        return jump_variance(self.jump_probability, self.jump_mean, self.jump_deviation)

    @cached_property
    def _second_moments(self) -> Array:
        falling = downside(
            self.degrees_of_freedom, self.jump_probability, self.jump_mean, self.jump_deviation
        )
        slope_K = np.array(self.arch) + falling * np.array(self.asymmetry)
        return persistence_matrix(np.array(self.transition), slope_K, np.array(self.garch))

    @cached_property
    def persistence(self) -> float:
        """Share of a shock to the variance that a bar hands on; stationary below 1."""
        return persistence(self._second_moments)

    @property
    def deviation(self) -> float:
        """sigma, stationary standard deviation of a bar's log return."""
        return self.setup.deviation

    @cached_property
    def setup(self) -> Setup:
        """Parameters as compiled code reads them."""
        transition_KK, mean_K = np.array(self.transition), np.array(self.mean)
        weight_K, omega_K = stationary(transition_KK), np.array(self.omega)
        variance_K, variance = stationary_variances(
            self._second_moments, transition_KK, weight_K, omega_K
        )
        return Setup(
            transition_KK=transition_KK,
            weight_K=weight_K,
            mean_K=mean_K,
            omega_K=omega_K,
            arch_K=np.array(self.arch),
            asymmetry_K=np.array(self.asymmetry),
            garch_K=np.array(self.garch),
            variance_K=variance_K,
            lower_AA=np.asarray(np.linalg.cholesky(self.correlation_AA), dtype=np.float64),
            centre=float(weight_K @ mean_K),
            deviation=math.sqrt(variance),
            degrees=self.degrees_of_freedom,
            diffusion=math.sqrt(1.0 - self._jump_variance),
            jump_probability=self.jump_probability,
            jump_mean=self.jump_mean,
            jump_deviation=self.jump_deviation,
            overnight_share=self.overnight_share,
            bridge_variance=self.bridge_variance,
            volume_level=self.volume_level,
            volume_persistence=self.volume_persistence,
            volume_shock=self.volume_shock,
            volume_elasticity=self.volume_elasticity,
            volume_noise=self.volume_noise,
            spread_bps=self.spread_bps,
        )

    def path(self, num_bars: int, *, seed: int) -> "StylisedPath":
        """Generate a path; a longer one of the same seed begins with the same bars.

        Args:
            num_bars: T >= 1.
            seed: At least 0.

        Raises:
            SyntheticMarketError: Less than one bar, or a negative seed.
        """
        if num_bars < 1 or seed < 0:
            raise SyntheticMarketError(
                f"path: expected num_bars >= 1 and seed >= 0, found {num_bars} and {seed}"
            )
        draws = draw(self, WARM_UP + num_bars, seed)
        return play(self, draws, WARM_UP)


@plain_dataclass(frozen=True, eq=False, repr=False)
class StylisedPath(FrozenArrays):
    """T bars of A assets with the truth beside them; row t is the close of bar t. Read-only.

    Attributes:
        market: What generated it.
        regime_T: k_t, which governs the bar t + 1.
        volatility_TA: Standard deviation of the log return of the bar t + 1, given all to t and
            k_t.
        jump_T: Whether the bar t jumped.
        open_TA: First price, currency, not rounded to ticks.
        high_TA: Highest price.
        low_TA: Lowest price.
        close_TA: Last price.
        volume_TA: Shares traded.
        spread_TA: Full quoted spread during the bar, basis points of the price.
    """

    market: StylisedFacts
    regime_T: NDArray[np.int64]
    volatility_TA: Array
    jump_T: NDArray[np.bool_]
    open_TA: Array
    high_TA: Array
    low_TA: Array
    close_TA: Array
    volume_TA: Array
    spread_TA: Array

    @cached_property
    def return_TA(self) -> Array:  # noqa: N802 - dimension suffix
        """Log returns from close to close, (T, A); the first is from the initial price."""
        before = np.full((1, self.market.assets), self.market.initial_price)
        return np.diff(np.log(np.concatenate([before, self.close_TA])), axis=0)

    @cached_property
    def bars(self) -> Bars:
        """The ordinary bars, evenly spaced from the market's start.

        Raises:
            SyntheticMarketError: The last would be later than nanoseconds can count.
        """
        step = round(365.25 * NS_PER_DAY / self.market.bars_per_year)
        start, count = to_ns(self.market.start), len(self.regime_T)
        if start + count * step > _LARGEST_NS:
            raise SyntheticMarketError(
                f"start: expected a time from which {count} bars end before 2262, "
                f"found {self.market.start}"
            )
        return Bars.from_arrays(
            start + step * np.arange(1, count + 1, dtype=np.int64),
            self.market.symbols,
            open=self.open_TA,
            high=self.high_TA,
            low=self.low_TA,
            close=self.close_TA,
            volume=self.volume_TA,
        )


def draw(market: StylisedFacts, num_bars: int, seed: int) -> Draws:
    """Draw the random numbers of bars, each kind from a generator of its own."""
    names = Draws._fields
    children = np.random.SeedSequence(seed).spawn(len(names))
    random = {
        name: np.random.default_rng(child) for name, child in zip(names, children, strict=True)
    }
    shape = (num_bars, market.assets)
    return Draws(
        start=float(random["start"].random()),
        regime_T=random["regime_T"].random(num_bars),
        jump_T=random["jump_T"].random(num_bars),
        mixing_T=random["mixing_T"].chisquare(market.degrees_of_freedom, num_bars),
        shock_TA=random["shock_TA"].standard_normal(shape),
        size_TA=random["size_TA"].standard_normal(shape),
        gap_TA=random["gap_TA"].standard_normal(shape),
        volume_TA=random["volume_TA"].standard_normal(shape),
        high_TA=random["high_TA"].standard_exponential(shape),
        low_TA=random["low_TA"].standard_exponential(shape),
    )


def play(market: StylisedFacts, draws: Draws, warm_up: int) -> StylisedPath:
    """Turn random numbers into a path; its first `warm_up` bars are left out."""
    shape, setup = draws.shock_TA.shape, market.setup
    record = Record(
        regime_T=np.empty(shape[0], np.int64),
        jump_T=np.empty(shape[0], np.bool_),
        **{name: np.empty(shape) for name in Record._fields[2:]},
    )
    memory = Memory(
        variance_AK=np.tile(setup.variance_K, (market.assets, 1)),
        volume_A=np.zeros(market.assets),
        close_A=np.zeros(market.assets),
    )
    simulate(setup, draws, record, memory, warm_up)
    for name in ("open_TA", "high_TA", "low_TA", "close_TA"):
        to_prices(getattr(record, name), market.initial_price)
    columns = {name: getattr(record, name)[warm_up:] for name in Record._fields}
    for array in columns.values():
        array.flags.writeable = False
    return StylisedPath(market=market, **columns)

"""What to do with a mean-reverting price: the no-trade band of the oracle, and simpler rules."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from markets.synthetic.band import Band, Spread
from markets.synthetic.base import Information, World
from markets.synthetic.chain import one_hot
from markets.synthetic.rules import belief_of, knowledge

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BandOracle:
    """Trades to the nearest edge of the no-trade band, asset by asset; the best policy.

    Attributes:
        spread: The market's numbers, the same for every asset.
        solution: The solved band of one asset.
        information: What it knows of the regime.
        num_assets: Number of independent assets, A.
    """

    spread: Spread
    solution: Band
    information: Information
    num_assets: int

    @property
    def value(self) -> float:
        """(1 - discount) E sum_t discount^t reward_t from a flat start, currency a bar.

        By dynamic programming, averaged over the law of an episode's start; numerically exact to
        1e-4 of itself where the regime is known, to 3e-4 where it is hidden (see the tests).
        """
        return self.num_assets * self.solution.value

    def band(self, regime: ArrayLike, prices: ArrayLike) -> tuple[Array, Array]:
        """Return the edges (low, high) of the band, units: hold inside, trade to it outside.

        Args:
            regime: number of the regime, or with the information `belief` the probability of the
                second of two regimes; broadcasts with the prices.
            prices: closes, currency.
        """
        row_R = self.solution.row_R
        known = np.asarray(regime, dtype=np.float64)
        position = np.interp(known, row_R, np.arange(float(len(row_R))))
        return (
            _between(self.solution, self.solution.low_RI, position, prices),
            _between(self.solution, self.solution.high_RI, position, prices),
        )

    def frictionless(self, regime: ArrayLike, prices: ArrayLike) -> Array:
        """Return the best holding, units, if trading cost nothing; arguments as of `band`."""
        regimes = len(self.spread.speed_K)
        if self.information == "known":
            belief = one_hot(np.asarray(regime), regimes)
        else:
            second = np.asarray(regime, dtype=np.float64)
            belief = np.stack([1.0 - second, second], axis=-1)[..., -regimes:]
        drift, variance = _forecast(self.spread, belief, np.asarray(prices, dtype=np.float64))
        return _one_step_best(self.spread, drift, variance)

    def target(self, world: World, holding_NA: Array) -> Array:
        """Return the holdings to trade to; see `Solution`.

        Raises:
            SyntheticMarketError: it acts on beliefs and the stream did not filter.
        """
        if self.information == "known":
            regime_N: Array = world.regime_N.astype(np.float64)
        else:
            regime_N = belief_of(world)[:, -1]
        low_NA, high_NA = self.band(regime_N[:, None], world.close_NA)
        return np.clip(holding_NA, low_NA, high_NA)


@dataclass(frozen=True)
class Myopic:
    """Maximises the expected reward of the next bar as if trading cost nothing.

    x = (gamma E[sigma^2] C)^-1 E[mu], clipped to the limit (Markowitz, every bar).

    Attributes:
        spread: The market's numbers.
        correlation_AA: C of the shocks.
        information: What it knows of the regime.
    """

    spread: Spread
    correlation_AA: Array
    information: Information

    def target(self, world: World, holding_NA: Array) -> Array:
        """Return the frictionless holdings; see `Solution`."""
        del holding_NA
        belief_NK = self.belief(world)
        drift_NA, variance_N1 = _forecast(self.spread, belief_NK[:, None, :], world.close_NA)
        alone_NA = np.linalg.solve(self.correlation_AA, drift_NA.T).T.astype(np.float64, copy=False)
        return _one_step_best(self.spread, alone_NA, variance_N1)

    def belief(self, world: World) -> Array:
        """Return what it knows of the regimes as probabilities (N, K)."""
        return knowledge(world, self.information, len(self.spread.speed_K))


@dataclass(frozen=True)
class ContinuousBand:
    """The band of continuous trading at small costs, around the myopic holding.

    Half width (3 c eta^2 / (2 g))^(1/3), eta = kappa / (gamma sigma) the standard deviation of one
    bar's move of the myopic holding, g = gamma sigma^2. The true band in discrete time is narrower
    by about 0.58 eta, as one waits for the next bar anyway. Sources: Rogers (2004); Martin &
    Schoeneborn (2011), arXiv:1103.4934; de Lataillade et al. (2012), arXiv:1203.5957.

    Attributes:
        myopic: The rule at its centre; needs risk aversion above 0.
    """

    myopic: Myopic

    @property
    def information(self) -> Information:
        """What it knows of the regime."""
        return self.myopic.information

    def half_width(self, belief_NK: Array) -> Array:
        """Return half the width of the band (N, A), units."""
        spread = self.myopic.spread
        variance_N1 = (belief_NK @ spread.volatility_K**2)[:, None]
        risk_N1 = spread.risk_aversion * variance_N1
        precision_A = np.diag(np.linalg.inv(self.myopic.correlation_AA))
        speed_N1 = (belief_NK @ spread.speed_K)[:, None]
        eta_NA = speed_N1 * np.sqrt(variance_N1 * precision_A) / risk_N1
        return np.cbrt(1.5 * spread.cost * eta_NA**2 / risk_N1)

    def target(self, world: World, holding_NA: Array) -> Array:
        """Return the holdings to trade to; see `Solution`."""
        centre_NA = self.myopic.target(world, holding_NA)
        half_NA = self.half_width(self.myopic.belief(world))
        limit = self.myopic.spread.limit
        return np.clip(np.clip(holding_NA, centre_NA - half_NA, centre_NA + half_NA), -limit, limit)


def _forecast(spread: Spread, belief: Array, price: Array) -> tuple[Array, Array]:
    """Return the mean and the variance of the shock of the next change: `belief` is (..., K)."""
    distance = spread.mean_K - price[..., None]
    drift: Array = (belief * spread.speed_K * distance).sum(axis=-1)
    variance: Array = belief @ spread.volatility_K**2
    return drift, variance


def _one_step_best(spread: Spread, drift: Array, variance: Array) -> Array:
    """Return the x in [-limit, limit] that maximises x drift - gamma / 2 variance x^2."""
    if spread.risk_aversion == 0.0:
        return spread.limit * np.sign(drift)
    best: Array = drift / (spread.risk_aversion * variance)
    return np.clip(best, -spread.limit, spread.limit)


def _between(solution: Band, table_RI: Array, row: ArrayLike, price: ArrayLike) -> Array:
    """Interpolate a table bilinearly, constant beyond its ends."""
    grid_I = solution.price_I
    rows, columns = table_RI.shape
    row_N, price_N = np.broadcast_arrays(
        np.asarray(row, dtype=np.float64), np.asarray(price, dtype=np.float64)
    )
    column_N = np.clip((price_N - grid_I[0]) / (grid_I[1] - grid_I[0]), 0.0, columns - 1.0)
    left_N = np.minimum(column_N.astype(np.int64), columns - 2)
    upper_N = np.minimum(np.clip(row_N, 0.0, rows - 1.0).astype(np.int64), max(rows - 2, 0))
    below_N = np.minimum(upper_N + 1, rows - 1)
    across_N, down_N = column_N - left_N, row_N - upper_N
    value_N: Array = (1.0 - down_N) * (
        (1.0 - across_N) * table_RI[upper_N, left_N] + across_N * table_RI[upper_N, left_N + 1]
    ) + down_N * (
        (1.0 - across_N) * table_RI[below_N, left_N] + across_N * table_RI[below_N, left_N + 1]
    )
    return value_N

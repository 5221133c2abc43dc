"""Stylised facts of a daily series as numbers, with block-bootstrap intervals.

Each is a function of means of products such as r_t^4 or r_t |r_{t+h}|. A redrawn history is a set
of blocks of bars, and every bar carries its own later values along: no pair is torn at the joint of
two blocks (Kuensch, 1989, Annals of Statistics 17: blocks of blocks). So a history is a weight for
each bar, and all histories are one product of matrices.

Source of the facts: Cont (2001), Quantitative Finance 1, 223-236.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from arch.bootstrap import StationaryBootstrap, optimal_block_length
from numpy.typing import NDArray

from markets.errors import MarketDataError

Array = NDArray[np.float64]

ABSOLUTE_LAGS = (1, 5, 10, 20, 50)
"""Lags of the autocorrelation of |r|, bars."""
LEVERAGE_LAGS = (1, 5, 10, 20)
"""Lags h of corr(r_t, |r_{t+h}|), bars."""
LINEAR_LAGS = (1, 2, 5, 10)
"""Lags of the autocorrelation of r, bars."""
USUAL_BARS = 20
"""Volume is compared with its mean over so many bars before."""


@dataclass(frozen=True)
class Fact:
    """A statistic with its interval.

    Attributes:
        estimate: Of the series.
        low: 2.5% quantile over redrawn histories.
        high: 97.5% quantile.
    """

    estimate: float
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def relative_volume(volume_T: Array) -> Array:
    """Return the logarithm of volume less its mean over the `USUAL_BARS` before (NaN at first).

    It has no trend, and uses no later bar. Bars without volume count as the one before.
    """
    traded_T = volume_T > 0.0
    row_T = np.maximum.accumulate(np.where(traded_T, np.arange(len(volume_T)), 0))
    log_T = np.log(np.maximum(volume_T[row_T], 1.0))
    total_T = np.concatenate([[0.0], np.cumsum(log_T)])
    usual_T = (total_T[USUAL_BARS:-1] - total_T[: -USUAL_BARS - 1]) / USUAL_BARS
    return np.concatenate([np.full(USUAL_BARS, np.nan), log_T[USUAL_BARS:] - usual_T])


def facts(return_T: Array, volume_T: Array) -> dict[str, float]:
    """Return the statistics of a series.

    Args:
        return_T: log returns of bars.
        volume_T: volumes of the same bars.

    Returns:
        By name: deviation (standard deviation of a return, per cent), kurtosis, skewness,
        acf_abs_H, leverage_H, acf_H for the lags H, volume_volatility.
    """
    mean = _means(_columns(return_T, volume_T), None)
    return {name: float(value) for name, value in _from_means(mean, return_T.std()).items()}


def intervals(
    return_T: Array, volume_T: Array, *, resamples: int = 2000, seed: int = 0
) -> dict[str, Fact]:
    """Return the statistics of a series with their 95% block-bootstrap intervals.

    Args:
        return_T: log returns of bars.
        volume_T: volumes of the same bars.
        resamples: number of redrawn histories, at least 100.
        seed: of the redrawn histories.
    """
    columns = _columns(return_T, volume_T)
    rows = len(columns["r"])
    mean_block = mean_block_length(return_T)
    random = np.random.default_rng(seed)
    bootstrap = StationaryBootstrap(mean_block, np.arange(rows), seed=random)
    weight_BT = np.stack(
        [
            np.bincount(indices, minlength=rows) / rows
            for (indices,), _ in bootstrap.bootstrap(resamples)
        ]
    )
    scale = float(return_T.std())
    estimate = _from_means(_means(columns, None), scale)
    redrawn = _from_means(_means(columns, weight_BT), scale)
    ends = {name: np.quantile(values, (0.025, 0.975)) for name, values in redrawn.items()}
    return {
        name: Fact(float(estimate[name]), float(low), float(high))
        for name, (low, high) in ends.items()
    }


def mean_block_length(return_T: Array) -> float:
    """Return the mean length of blocks, bars: Politis & White's optimum for |r|, the slowest.

    Source: Patton, Politis & White (2009), Econometric Reviews 28, by `arch`.
    """
    return float(optimal_block_length(np.abs(return_T))["stationary"].iloc[0])


def _columns(return_T: Array, volume_T: Array) -> dict[str, Array]:
    """Series side by side, each bar with its later values."""
    first, last = USUAL_BARS, len(return_T) - max(ABSOLUTE_LAGS)
    if last - first < 2 * max(ABSOLUTE_LAGS):
        raise MarketDataError(
            f"stylised facts: expected at least {USUAL_BARS + 3 * max(ABSOLUTE_LAGS)} returns, "
            f"found {len(return_T)}"
        )
    # In standard deviations: fourth powers of raw returns lose digits.
    scaled_T = return_T / return_T.std()
    size_T = np.abs(scaled_T)
    columns = {"r": scaled_T[first:last], "a": size_T[first:last]}
    for lag in sorted({*ABSOLUTE_LAGS, *LEVERAGE_LAGS}):
        columns[f"a+{lag}"] = size_T[first + lag : last + lag]
    for lag in LINEAR_LAGS:
        columns[f"r+{lag}"] = scaled_T[first + lag : last + lag]
    columns["v"] = relative_volume(volume_T)[first:last]
    return columns


def _pairs() -> dict[str, tuple[str, str]]:
    """Statistics that are a correlation of two columns."""
    return {
        **{f"acf_abs_{lag}": ("a", f"a+{lag}") for lag in ABSOLUTE_LAGS},
        **{f"leverage_{lag}": ("r", f"a+{lag}") for lag in LEVERAGE_LAGS},
        **{f"acf_{lag}": ("r", f"r+{lag}") for lag in LINEAR_LAGS},
        "volume_volatility": ("a", "v"),
    }


def _means(columns: Mapping[str, Array], weight_BT: Array | None) -> dict[str, Array]:
    """Means of the products that the statistics need, of the series or of each history."""
    products = {f"{name} {power}": x**power for name, x in columns.items() for power in (1, 2)}
    products |= {f"r {power}": columns["r"] ** power for power in (3, 4)}
    products |= {f"{x} {y}": columns[x] * columns[y] for x, y in _pairs().values()}
    table_TC = np.stack(list(products.values()), axis=1)
    mean_CB = table_TC.mean(axis=0) if weight_BT is None else (weight_BT @ table_TC).T
    return dict(zip(products, mean_CB, strict=True))


def _from_means(mean: Mapping[str, Array], scale: float) -> dict[str, Array]:
    """Statistics, where returns were divided by a scale."""
    first, second, third, fourth = (mean[f"r {power}"] for power in (1, 2, 3, 4))
    variance = second - first**2
    moment_3 = third - 3.0 * first * second + 2.0 * first**3
    moment_4 = fourth - 4.0 * first * third + 6.0 * first**2 * second - 3.0 * first**4
    result = {
        "deviation": 100.0 * scale * np.sqrt(variance),
        "kurtosis": moment_4 / variance**2,
        "skewness": moment_3 / variance**1.5,
    }
    for name, (x, y) in _pairs().items():
        covariance = mean[f"{x} {y}"] - mean[f"{x} 1"] * mean[f"{y} 1"]
        spread = (mean[f"{x} 2"] - mean[f"{x} 1"] ** 2) * (mean[f"{y} 2"] - mean[f"{y} 1"] ** 2)
        result[name] = covariance / np.sqrt(spread)
    return result

"""The parameters of `RegimeGBM` as checked arrays."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from markets.synthetic.chain import SyntheticMarketError, build_chain, check_length
from markets.synthetic.checks import correlation_matrix

SAFE_DEVIATIONS = 8.0
"""Returns within so many standard deviations must not ruin an account at its limit."""

PerRegime = tuple[float | tuple[float, ...], ...]
"""For each regime a number, or one for each asset."""


@dataclass(frozen=True, eq=False)
class Law:
    """Law of the log returns r ~ N(log(1 + m_k) - s_k^2 / 2, diag(s_k) C diag(s_k)).

    Attributes:
        drift_KA: m_k, expected simple returns of a bar.
        volatility_KA: s_k, standard deviations of a bar's log returns.
        root_AA: Lower Cholesky root L of the correlation C.
        transition_KK: P[k, j] = P(k_{t+1} = j | k_t = k).
        start_K: Law of k_0; None = the stationary one.
    """

    drift_KA: NDArray[np.float64]
    volatility_KA: NDArray[np.float64]
    root_AA: NDArray[np.float64]
    transition_KK: NDArray[np.float64]
    start_K: NDArray[np.float64] | None = None

    @property
    def num_regimes(self) -> int:
        """Number of regimes, K."""
        return len(self.drift_KA)

    @property
    def num_assets(self) -> int:
        """Number of assets, A."""
        return int(self.drift_KA.shape[1])

    @property
    def log_drift_KA(self) -> NDArray[np.float64]:  # noqa: N802 - dimension suffix
        """Expected log returns of a bar."""
        return np.log1p(self.drift_KA) - 0.5 * self.volatility_KA**2

    @property
    def covariance_KAA(self) -> NDArray[np.float64]:  # noqa: N802 - dimension suffix
        """Covariances of simple returns: (1 + m_a)(1 + m_b)(exp(s_a s_b C_ab) - 1)."""
        log_KAA = self.volatility_KA[:, :, None] * self.volatility_KA[:, None, :]
        gross_KA = 1.0 + self.drift_KA
        covariance: NDArray[np.float64] = (
            gross_KA[:, :, None]
            * gross_KA[:, None, :]
            * np.expm1(log_KAA * (self.root_AA @ self.root_AA.T))
        )
        return covariance


@lru_cache(maxsize=256)
def build_law(
    drift: PerRegime,
    volatility: PerRegime,
    correlation: tuple[tuple[float, ...], ...] | None,
    transition: float | tuple[tuple[float, ...], ...],
    start: tuple[float, ...] | None,
) -> Law:
    """Check the parameters against each other and return them as read-only arrays.

    Raises:
        SyntheticMarketError: shapes disagree, drift <= -1, volatility <= 0, a correlation that is
            not positive definite, a transition matrix or a start that is none.
    """
    check_length("volatility", volatility, len(drift))
    chain = build_chain(transition, start, None, len(drift), "drift")
    size = _num_assets(drift, volatility, correlation)
    drift_KA = _broadcast("drift", drift, size)
    _refuse("drift", drift_KA, drift_KA > -1.0, "> -1")
    volatility_KA = _broadcast("volatility", volatility, size)
    _refuse("volatility", volatility_KA, volatility_KA > 0.0, "> 0")
    root_AA = np.linalg.cholesky(correlation_matrix(correlation, size)).astype(np.float64)
    law = Law(
        drift_KA,
        volatility_KA,
        root_AA,
        chain.transition_KK,
        chain.start_K,
    )
    for array in (drift_KA, volatility_KA, root_AA):
        array.flags.writeable = False
    return law


def check_scalars(cost_bps: float, limit: float, discount: float, bars_per_year: float) -> None:
    """Refuse costs, limits and discounts outside their ranges.

    Raises:
        SyntheticMarketError: one is.
    """
    ranges = (
        ("cost_bps", cost_bps, 0.0 <= cost_bps <= 1000.0, "in [0, 1000] basis points"),
        ("limit", limit, 0.0 < limit < math.inf, "finite and > 0"),
        ("discount", discount, 0.0 < discount < 1.0, "in (0, 1)"),
        ("bars_per_year", bars_per_year, 0.0 < bars_per_year < math.inf, "finite and > 0"),
    )
    for name, value, good, expected in ranges:
        if not good:
            raise SyntheticMarketError(f"{name}: expected a number {expected}, found {value!r}")


def check_ruin(law: Law, limit: float, cost: float) -> None:
    """Refuse what could ruin an account at its limit within 8 standard deviations of a bar.

    The worst bar follows a trade from one limit to the other.

    Raises:
        SyntheticMarketError: they could.
    """
    width_KA = SAFE_DEVIATIONS * law.volatility_KA
    equity = 1.0 - 2.0 * cost * limit
    down = equity - limit * -np.expm1(law.log_drift_KA - width_KA)
    up = equity - limit * np.expm1(law.log_drift_KA + width_KA)
    if min(down.min(), up.min()) <= 0.0:
        regime, asset = np.unravel_index(np.argmin(np.minimum(down, up)), down.shape)
        raise SyntheticMarketError(
            f"limit: with volatility[{regime}] = {law.volatility_KA[regime, asset]:.4g} a return of"
            f" {SAFE_DEVIATIONS:g} standard deviations ruins a weight of {limit:g} that was traded"
            f" at {cost * 1e4:g} basis points; expected a smaller limit, volatility or cost"
        )


def _num_assets(
    drift: PerRegime,
    volatility: PerRegime,
    correlation: tuple[tuple[float, ...], ...] | None,
) -> int:
    sizes = {len(row) for row in (*drift, *volatility) if isinstance(row, tuple)}
    if correlation is not None:
        sizes.add(len(correlation))
    if len(sizes) > 1 or 0 in sizes:
        raise SyntheticMarketError(
            "drift, volatility, correlation: expected one number of assets >= 1, found"
            f" {sorted(sizes)}"
        )
    return sizes.pop() if sizes else 1


def _broadcast(name: str, values: PerRegime, size: int) -> NDArray[np.float64]:
    rows = [value if isinstance(value, tuple) else (value,) * size for value in values]
    array = np.array(rows, dtype=np.float64)
    _refuse(name, array, np.isfinite(array), "finite")
    return array


def _refuse(
    name: str, array_KA: NDArray[np.float64], good_KA: NDArray[np.bool_], expected: str
) -> None:
    if not good_KA.all():
        regime, asset = np.argwhere(~good_KA)[0]
        raise SyntheticMarketError(
            f"{name}[{regime}]: expected {expected}, found {array_KA[regime, asset]}"
            f" (asset {asset})"
        )

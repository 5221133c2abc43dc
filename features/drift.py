r"""Drift of features against their training distribution: the population stability index.

.. math:: PSI = \sum_b (q_b - p_b) \ln (q_b / p_b)

over bins b that the training deciles bound, with shares p in training and q now: the symmetrised
Kullback-Leibler divergence of binned distributions (Lewis, 1994, An Introduction to Credit
Scoring). The customary reading is Siddiqi's (2006, Credit Risk Scorecards): below 0.1 stable, to
0.25 shifting, above it shifted. Both bounds know nothing of the sample's size: without any drift
the expectation is about :math:`(B - 1)(1/n + 1/m)` for B bins, n values in training and m now
(Yurdakul and Naranjo, 2020, Journal of Risk Model Validation 14(4)), reported as ``noise``. Values
of neighbouring bars resemble each other, so that far fewer than n of them are independent: a short
window of a slow feature always looks shifted.

Dimensions: N values of a column, B bins.
"""

from collections.abc import Iterable
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

__all__ = ["ColumnDrift", "Reference", "population_stability", "report"]

Array = NDArray[np.float64]
_BINS = 10
_FLOOR = 1e-4
_SHIFTING, _SHIFTED = 0.1, 0.25


@plain_dataclass(frozen=True)
class ColumnDrift:
    """Drift of one column."""

    column: str
    """Its name."""
    psi: float
    """Population stability index."""
    noise: float
    """Its expectation without drift, for independent values."""
    count: int
    """Number of values that were compared."""

    @property
    def reading(self) -> Literal["stable", "shifting", "shifted"]:
        """The customary words; see the module's text for what they do not know."""
        if self.psi < _SHIFTING:
            return "stable"
        return "shifting" if self.psi <= _SHIFTED else "shifted"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Reference:
    """A column's distribution in training: bins and how many values lay in each.

    A value x lies in the bin of the first edge e with x <= e. An edge that occurs twice bounds a
    bin of its own for the values equal to it, as for a feature that is often exactly 0.
    """

    edges: tuple[float, ...]
    """Bounds of the bins, ascending, unscaled."""
    counts: tuple[Annotated[int, Ge(0)], ...]
    """Training values in each bin, one more than edges."""

    @classmethod
    def of(cls, values_N: Array) -> "Reference":
        """Bins between the deciles of a column's training values; NaN are left out."""
        known_n = values_N[np.isfinite(values_N)]
        if not len(known_n):
            return cls(edges=(), counts=(0,))
        # Values that occur, not interpolated ones: equal values stay in one bin.
        shares = np.arange(1, _BINS) / _BINS
        deciles = np.quantile(known_n, shares, method="inverted_cdf")
        _, first_E, times_E = np.unique(_rounded(deciles), return_index=True, return_counts=True)
        edges = np.repeat(deciles[first_E], np.minimum(times_E, 2))
        return cls(edges=tuple(edges.tolist()), counts=tuple(_counts(known_n, edges).tolist()))

    def drift(self, column: str, values_N: Array) -> ColumnDrift:
        """Compare other values with these; NaN are left out.

        Args:
            column: name of the column.
            values_N: unscaled values.

        Returns:
            The drift; an index of NaN where there is no value to compare.
        """
        known_n = values_N[np.isfinite(values_N)]
        trained = np.array(self.counts)
        if not len(known_n) or not trained.sum():
            return ColumnDrift(column, float("nan"), float("nan"), len(known_n))
        now = _counts(known_n, np.array(self.edges))
        return ColumnDrift(
            column,
            population_stability(trained / trained.sum(), now / now.sum()),
            (len(trained) - 1) * (1.0 / trained.sum() + 1.0 / now.sum()),
            len(known_n),
        )

    def mapped(self, scaled_E: Array, clip: float) -> "Reference":
        """The same bins for values under a monotone map that is clipped at both ends.

        Args:
            scaled_E: the map's values at the edges.
            clip: its bound; bins that it makes one are joined.
        """
        inner_E = np.abs(scaled_E) < clip
        if not inner_E.any():
            return Reference(edges=(), counts=(sum(self.counts),))
        first = int(np.argmax(inner_E))
        last = first + int(np.count_nonzero(inner_E))
        counts = (sum(self.counts[: first + 1]), *self.counts[first + 1 : last])
        edges = tuple(scaled_E[inner_E].tolist())
        return Reference(edges=edges, counts=(*counts, sum(self.counts[last:])))


def population_stability(trained_B: Array, now_B: Array) -> float:
    """Population stability index of shares; a share below 1e-4 counts as 1e-4.

    Args:
        trained_B: shares of the bins in training, with sum 1.
        now_B: shares now, with sum 1.
    """
    p_B, q_B = np.maximum(trained_B, _FLOOR), np.maximum(now_B, _FLOOR)
    return float(np.sum((q_B - p_B) * np.log(q_B / p_B)))


def report(drifts: Iterable[ColumnDrift]) -> str:
    """A table for people, the most shifted column first."""
    ranked = sorted(drifts, key=lambda drift: -np.nan_to_num(drift.psi, nan=np.inf))
    lines = [f"{'COLUMN':<40} {'PSI':>8} {'NOISE':>8} {'VALUES':>9}  READING"]
    lines += [
        f"{d.column:<40} {d.psi:>8.3f} {d.noise:>8.3f} {d.count:>9,}  {d.reading}" for d in ranked
    ]
    return "\n".join(lines)


def _counts(values_n: Array, edges: Array) -> NDArray[np.int64]:
    bounds, rounded_n = _rounded(edges), _rounded(values_n)
    left_n = np.searchsorted(bounds, rounded_n, side="left")
    equal_n = np.searchsorted(bounds, rounded_n, side="right") - left_n
    # Two equal edges i and i + 1: below them is bin i, between them i + 1, above them i + 2.
    return np.bincount(left_n + (equal_n == 2), minlength=len(edges) + 1)


def _rounded(values: Array) -> NDArray[np.float32]:
    """Single precision, as in a tensor: values that differ by rounding are equal."""
    return values.astype(np.float32)

"""Series that are published, such as a volatility index or a yield: known from a moment on.

An observation belongs to a day or a month, but nobody knows it before it is published. A
`PublishedSeries` holds publications alone, so that joining it to bars cannot look ahead: at
``ts_event`` the value is the last one published at or before it::

    vix = load_published(PackagedSeriesConfig(series="vix"))
    values_T, age_ns_T = vix.as_of(bars.ts_event)

A revision is a publication like any other: from then on the revised value is the last one
published, also where it revises an earlier observation (``revisions: ignore`` keeps the value of
the newest observation instead).

Dimensions: N publications, T bars.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from markets.errors import MarketDataError
from markets.frozen import FrozenArrays
from markets.sources.packaged_series import PackagedSeriesConfig
from markets.sources.series_files import FileSeriesConfig
from markets.times import show

__all__ = [
    "ExogenousConfig",
    "FileSeriesConfig",
    "PackagedSeriesConfig",
    "PublishedError",
    "PublishedSeries",
    "load_published",
]


class PublishedError(MarketDataError):
    """A published series is faulty; names the place, what was expected and what was found."""


@dataclass(frozen=True, eq=False)
class PublishedSeries(FrozenArrays):
    """Values and the moments at which they became known; immutable.

    Raises:
        PublishedError: no publication, times that do not increase, or a value that is not finite.
    """

    name: str
    """Name by which it is read."""
    ts_published: NDArray[np.int64]
    """Moments of publication, ns UTC, strictly increasing, shape (N,)."""
    values: NDArray[np.float64]
    """Value published at each moment, finite, shape (N,)."""
    unit: str = ""
    """Unit of the values."""
    source: str = ""
    """Where it comes from: package and file, or path."""
    licence: str = ""
    """Terms of the data, if known."""
    notes: tuple[str, ...] = ()
    """How publication times were found, and what is wrong with the data."""

    def __post_init__(self) -> None:
        times = np.array(self.ts_published, np.int64)
        values = np.array(self.values, np.float64)
        if times.ndim != 1 or times.shape != values.shape or not len(times):
            raise PublishedError(
                f"{self.name}: expected one time and one value of each of 1 or more publications, "
                f"found shapes {times.shape} and {values.shape}"
            )
        if (wrong := np.flatnonzero(np.diff(times) <= 0)).size:
            before, after = (show(int(times[wrong[0] + k])) for k in (0, 1))
            raise PublishedError(
                f"{self.name}: expected publications in order of time, found {after} after {before}"
            )
        if (wrong := np.flatnonzero(~np.isfinite(values))).size:
            raise PublishedError(
                f"{self.name}: expected finite values, found {values[wrong[0]]} published "
                f"{show(int(times[wrong[0]]))}"
            )
        times.flags.writeable = values.flags.writeable = False
        object.__setattr__(self, "ts_published", times)
        object.__setattr__(self, "values", values)

    def as_of(self, ts_event: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """What was known at each time.

        Args:
            ts_event: times, ns UTC, in any order, shape (T,).

        Returns:
            The last value published at or before each time (T,), NaN before the first publication,
            and its age in ns (T,), -1 there.
        """
        place_T = np.searchsorted(self.ts_published, ts_event, side="right") - 1
        known_T = place_T >= 0
        values_T = np.where(known_T, self.values[place_T], np.nan)
        age_T = np.where(known_T, ts_event - self.ts_published[place_T], -1)
        return values_T, age_T.astype(np.int64)

    def extended(self, ts_published: int, value: float) -> "PublishedSeries":
        """The series with one more publication.

        Raises:
            PublishedError: not after the last one, or not a finite value.
        """
        times = np.append(self.ts_published, np.int64(ts_published))
        return replace(self, ts_published=times, values=np.append(self.values, value))

    @property
    def sha256(self) -> str:
        """SHA-256 over the publications' times and values."""
        digest = hashlib.sha256(self.ts_published.astype("<i8").tobytes())
        digest.update(self.values.astype("<f8").tobytes())
        return digest.hexdigest()


ExogenousConfig = Annotated[FileSeriesConfig | PackagedSeriesConfig, Field(discriminator="kind")]
"""A published series, by ``kind``: file, package."""


def load_published(
    config: FileSeriesConfig | PackagedSeriesConfig, name: str | None = None
) -> PublishedSeries:
    """Read a published series.

    Args:
        config: where it is, and when its values became known.
        name: name to give to it; None: that of the packaged series, or of the file's column.

    Raises:
        MarketDataError: the file or the package is not there or not the known one, a cell cannot be
            read, rows out of order, repeated or empty; names file, row and column.
    """
    known = config.read()
    return PublishedSeries(
        name=name if name is not None else known.name,
        ts_published=known.ts_published,
        values=known.values,
        unit=known.unit,
        source=known.source,
        licence=known.licence,
        notes=known.notes,
    )

"""Raw features by way of the cache: read what is known, compute and keep the rest.

The name of an entry is a SHA-256 over everything that decides its values: the content of the bars
(prices, volume, missing bars, actions, symbols, instruments), the publications of the series that
the feature reads, its definition, the code that runs (`features.cache.code`), and the versions of
what computes. So nothing is ever invalidated, and nothing stale is ever found; what is no longer
asked for is removed in time.

Dimensions: T bars, A assets, K columns of one feature, F asset columns, G shared columns.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property

import numba
import numpy as np
import talib

from features.batch import Batch
from features.cache.code import running_code
from features.cache.config import CacheConfig, cache_folder, redis_url
from features.cache.disk import DiskStore
from features.cache.entry import Array, Entry, Store
from features.cache.redis_store import RedisStore
from features.definition import BoundFeature
from features.series import require_positive_prices
from markets.bars import Bars
from markets.published import PublishedSeries

__all__ = ["FeatureCache", "Statistics", "store_of"]

_FORMAT = "perennial.features.v1"
Published = Mapping[str, PublishedSeries]


@dataclass
class Statistics:
    """What a cache did in this process."""

    hits: int = 0
    """Features that were read."""
    misses: int = 0
    """Features that were computed."""


def store_of(config: CacheConfig) -> Store | None:
    """The store that a configuration names; None for no cache.

    Raises:
        FeatureError: Redis is asked for without its client, or with a faulty address.
    """
    if config.kind == "disk":
        return DiskStore(cache_folder(config.path), config.cap_bytes)
    if config.kind == "redis":
        return RedisStore(redis_url(config.url), config.cap_bytes)
    return None


class FeatureCache:
    """Raw values of features over histories.

    Args:
        config: where they are kept.
    """

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self.statistics = Statistics()
        """What it did so far."""

    @cached_property
    def _store(self) -> Store | None:
        return store_of(self.config)

    def raw(
        self,
        bars: Bars,
        asset: Sequence[BoundFeature],
        shared: Sequence[BoundFeature],
        published: Published,
    ) -> tuple[Array, Array]:
        """Unscaled values of features.

        Args:
            bars: the history.
            asset: features of each asset.
            shared: features of the common axis.
            published: the published series that they read, by name.

        Returns:
            Values (T, A, F) and (T, G), NaN where there is none; both are views of arrays that lie
            column after column in memory.

        Raises:
            FeatureError: additive prices, or a value that is not finite after its warm-up.
        """
        require_positive_prices(bars)
        asset_FAT = np.empty((_width(asset), bars.num_assets, bars.num_bars))
        shared_G1T = np.empty((_width(shared), 1, bars.num_bars))
        history = _History(bars, published)
        batch = _Lazy(lambda: Batch(bars, published))
        self._fill(history, asset, asset_FAT, lambda missing: _of_assets(batch.get(), missing))
        self._fill(history, shared, shared_G1T, lambda missing: _of_axis(batch.get(), missing))
        return asset_FAT.transpose(2, 1, 0), shared_G1T[:, 0].T

    def _fill(
        self,
        history: "_History",
        features: Sequence[BoundFeature],
        out_FAT: Array,
        compute: Callable[[Sequence[BoundFeature]], Array],
    ) -> None:
        """Read the features that are known, then compute and keep the others."""
        store = self._store
        missing: list[tuple[BoundFeature, Array, Entry | None]] = []
        first = 0
        for feature in features:
            out_KAT = out_FAT[first : first + len(feature.columns)]
            first += len(feature.columns)
            entry = None if store is None else history.entry(feature, out_KAT.shape)
            if store is None or entry is None or not store.read(entry, out_KAT):
                missing.append((feature, out_KAT, entry))
        self.statistics.hits += len(features) - len(missing)
        self.statistics.misses += len(missing)
        if not missing:
            return
        values_FAT = compute([feature for feature, _, _ in missing])
        first = 0
        for feature, out_KAT, entry in missing:
            out_KAT[...] = values_FAT[first : first + len(feature.columns)]
            first += len(feature.columns)
            if store is not None and entry is not None:
                store.write(entry, out_KAT, history.description)
        if store is not None:
            store.tidy()


class _History:
    """Names of entries over one history."""

    def __init__(self, bars: Bars, published: Published) -> None:
        self._bars = bars
        self._published = published

    @cached_property
    def data(self) -> str:
        """SHA-256 of the bars and their instruments."""
        instruments = [asdict(instrument) for instrument in self._bars.instruments]
        return _sha256([self._bars.sha256(), instruments])

    @cached_property
    def _frame(self) -> str:
        """The code that makes the features' inputs and calls them."""
        return running_code((Batch,))

    @property
    def description(self) -> str:
        """Symbols, bars and span."""
        bars = self._bars
        names = ", ".join(bars.symbols[:6]) + (", ..." if bars.num_assets > 6 else "")
        first, last = (str(stamp.date()) for stamp in bars.span)
        return f"{bars.num_bars} bars of {names}, {first} to {last}"

    def entry(self, feature: BoundFeature, shape: tuple[int, ...]) -> Entry:
        """Name of a feature's values over this history."""
        series = None if feature.series is None else self._published[feature.series].sha256
        code = [running_code((feature.feature.function, feature.feature.step)), self._frame]
        parts = [_FORMAT, self.data, series, feature.digest, code, list(shape), _versions()]
        columns, assets, bars = shape
        return Entry(self.data, _sha256(parts), (columns, assets, bars))


class _Lazy:
    """A batch that is made when the first feature has to be computed."""

    def __init__(self, make: Callable[[], Batch]) -> None:
        self._make = make
        self._made: Batch | None = None

    def get(self) -> Batch:
        """The batch."""
        if self._made is None:
            self._made = self._make()
        return self._made


def _of_assets(batch: Batch, features: Sequence[BoundFeature]) -> Array:
    return batch.of_assets(features).transpose(2, 1, 0)


def _of_axis(batch: Batch, features: Sequence[BoundFeature]) -> Array:
    return batch.of_axis(features).T[:, None]


def _width(features: Sequence[BoundFeature]) -> int:
    return sum(len(feature.columns) for feature in features)


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def _versions() -> dict[str, str]:
    """What computes, apart from the features' own code."""
    return {
        "talib": f"{talib.__version__} {talib.__ta_version__!r}",
        "numpy": np.__version__,
        "numba": numba.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }

"""Values of features over a whole history, and of its last row from the last bars alone.

Dimensions: T rows, A assets, F asset columns, G shared columns.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from features.definition import BoundFeature, FeatureError
from features.panel import Panel
from features.series import OwnSeries, asset_series, panel_of, shared_series
from markets.bars import Bars
from markets.published import PublishedSeries

__all__ = ["Batch"]

Array = NDArray[np.float64]


class Batch:
    """What some features read of a history.

    Args:
        bars: the history.
        published: published series by name.

    Raises:
        FeatureError: additive prices.
    """

    def __init__(self, bars: Bars, published: Mapping[str, PublishedSeries]) -> None:
        self._bars = bars
        self._panel: Panel = panel_of(bars)
        self._assets = tuple(asset_series(self._panel))
        self._axis: dict[str | None, OwnSeries] = {None: shared_series(self._panel)}
        for name, series in published.items():
            self._axis[name] = shared_series(self._panel, series)

    def of_assets(self, features: Sequence[BoundFeature]) -> Array:
        """Values (T, A, F), a view of columns after each other; NaN where there is no value.

        Raises:
            FeatureError: a value that is not finite after the warm-up; names the asset.
        """
        columns = sum(len(feature.columns) for feature in features)
        values_FAT = np.full((columns, *self._panel.present_TA.shape[::-1]), np.nan)
        for asset, series in enumerate(self._assets):
            first = 0
            for feature in features:
                last = first + len(feature.columns)
                values_FAT[first:last, asset, series.rows_n] = self._values(
                    feature, series, asset
                ).T
                first = last
        return values_FAT.transpose(2, 1, 0)

    def of_axis(self, features: Sequence[BoundFeature]) -> Array:
        """Values (T, G) of shared features; NaN in the warm-up and before anything is published.

        Raises:
            FeatureError: a value that is not finite after the warm-up.
        """
        rows = len(self._panel.ts_event)
        values = []
        for feature in features:
            series = self._axis[feature.series]
            values_TK = np.full((rows, len(feature.columns)), np.nan)
            values_TK[series.rows_n] = feature.compute(series.columns)
            values.append(values_TK)
        return _beside(values, rows)

    def last_of_assets(self, features: Sequence[BoundFeature]) -> Array:
        """Values (A, F) of the last row, each from the last bars that it needs.

        Raises:
            FeatureError: a path-dependent feature, or as in `of_assets`.
        """
        _require_tails(features)
        columns = sum(len(feature.columns) for feature in features)
        values_AF = np.full((len(self._assets), columns), np.nan)
        for asset in np.flatnonzero(self._panel.present_TA[-1]):
            series = self._assets[asset]
            values = [self._values(f, series.last(f.memory), int(asset))[-1:] for f in features]
            values_AF[asset] = _beside(values, 1)[0]
        return values_AF

    def last_of_axis(self, features: Sequence[BoundFeature]) -> Array:
        """Values (G,) of the last row, each from the last rows that it needs.

        Raises:
            FeatureError: a path-dependent feature, or as in `of_axis`.
        """
        _require_tails(features)
        values = []
        for feature in features:
            series = self._axis[feature.series].last(feature.memory)
            unknown = np.full((1, len(feature.columns)), np.nan)
            values.append(feature.compute(series.columns)[-1:] if len(series.rows_n) else unknown)
        return _beside(values, 1).ravel()

    def _values(self, feature: BoundFeature, series: OwnSeries, asset: int) -> Array:
        try:
            return feature.compute(series.columns)
        except FeatureError as error:
            raise FeatureError(f"{self._bars.symbols[asset]}: {error}") from error


def _require_tails(features: Sequence[BoundFeature]) -> None:
    if carried := [feature.label for feature in features if feature.feature.path_dependent]:
        raise FeatureError(
            f"tail: expected features that some last bars tell, found the path-dependent "
            f"{', '.join(carried)}: prime a stream with the history or resume its state, then "
            "update it with the bar"
        )


def _beside(values: Sequence[Array], rows: int) -> Array:
    """Columns beside each other, (rows, columns), also where there are none."""
    return np.concatenate([np.empty((rows, 0)), *values], axis=1)

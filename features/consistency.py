"""How much a feature's value depends on where its history begins.

A recursive feature (an exponential average) remembers every bar, ever less. A value that a backtest
took from years of history and a live service from its last bars is the same only if the feature
forgets: this measures whether it does within the memory that it declares.
"""

from collections.abc import Iterator

import numpy as np

from features.definition import BoundFeature, FeatureError, Series
from features.series import asset_series, panel_of, shared_series
from markets.bars import Bars
from markets.published import PublishedSeries

__all__ = ["own_series", "start_dependence"]


def start_dependence(
    feature: BoundFeature, bars: Bars, published: PublishedSeries | None = None, starts: int = 3
) -> float:
    """Largest deviation between values of a history and of the same from later dates on.

    Each of some start dates gives a history of its own; its values count from the bar on that has
    the feature's memory (`BoundFeature.memory`) before it. A path-dependent feature has no memory:
    its values count from the warm-up on, and tell how far two histories are apart.

    Args:
        feature: the feature.
        bars: the history.
        published: the series that the feature reads, if it reads a published one.
        starts: number of start dates, evenly over those that leave a value.

    Returns:
        Deviation relative to the largest absolute value of the column in the whole history; the
        largest of all columns, assets and start dates. 0 for bit-identical values.

    Raises:
        FeatureError: no asset has more bars than the memory.
    """
    worst, most = None, 0
    for series in own_series(feature, bars, published):
        most = max(most, len(series["ts_event"]))
        latest = len(series["ts_event"]) - feature.memory
        if latest < 1:
            continue
        whole_nK = feature.compute(series)
        scale_K = np.abs(whole_nK[feature.warmup :]).max(axis=0)
        for start in sorted({int(s) for s in np.linspace(1, latest, starts)}):
            later = {name: values[start:] for name, values in series.items()}
            settled_nK = feature.compute(later)[feature.memory - 1 :]
            apart_K = np.abs(settled_nK - whole_nK[start + feature.memory - 1 :]).max(axis=0)
            share_K = np.divide(apart_K, scale_K, out=np.zeros_like(apart_K), where=apart_K > 0.0)
            worst = max(worst or 0.0, float(share_K.max()))
    if worst is None:
        raise FeatureError(
            f"{feature.label}: expected an asset with more bars than the feature's memory of "
            f"{feature.memory}, found at most {most}"
        )
    return worst


def own_series(
    feature: BoundFeature, bars: Bars, published: PublishedSeries | None = None
) -> Iterator[Series]:
    """What a feature reads of a history: the series of each asset, or that of the common axis.

    Raises:
        FeatureError: it reads a published series, and none is given.
    """
    panel = panel_of(bars)
    if feature.feature.scope == "asset":
        for series in asset_series(panel):
            yield series.columns
        return
    if feature.series is not None and published is None:
        raise FeatureError(f"{feature.label}: expected the published series that it reads")
    yield shared_series(panel, None if feature.series is None else published).columns

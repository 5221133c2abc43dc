"""The published series that a pipeline's features read, and what is published while it runs."""

from collections.abc import Iterable, Mapping

import numpy as np

from features.definition import BoundFeature, FeatureError
from markets.published import ExogenousConfig, PublishedSeries, load_published

__all__ = ["Publications"]

State = dict[str, list[tuple[int, float]]]


class Publications:
    """Published series by name: given, or loaded when they are first needed.

    Args:
        features: the features that may read them.
        sources: where to load series from.
        given: series that stand in for them.

    Raises:
        FeatureError: a feature reads a series that is not known.
    """

    def __init__(
        self,
        features: Iterable[BoundFeature],
        sources: Mapping[str, ExogenousConfig],
        given: Mapping[str, PublishedSeries] | None,
    ) -> None:
        self._sources = dict(sources)
        self._known = dict(given or {})
        self._added: State = {}
        names: list[str] = []
        known = {*self._sources, *self._known}
        for feature in features:
            name = feature.series
            if name is not None and name not in known:
                raise FeatureError(
                    f"features.{feature.feature.name}.series: expected a published series of "
                    f"{sorted(known)} (features.exogenous declares them), found {name!r}"
                )
            if name is not None and name not in names:
                names.append(name)
        self.names = tuple(names)
        """Series that the features read."""

    @property
    def series(self) -> Mapping[str, PublishedSeries]:
        """The series that the features read, with all publications so far.

        Raises:
            MarketDataError: one cannot be loaded.
        """
        for name in self.names:
            if name not in self._known:
                self._known[name] = load_published(self._sources[name], name)
        return {name: self._known[name] for name in self.names}

    def add(self, name: str, ts_published: int, value: float, *, after: int | None) -> None:
        """Add a publication.

        Args:
            name: the series.
            ts_published: when it becomes known, ns UTC.
            value: the value.
            after: time of the last bar that has been, which cannot have known it.

        Raises:
            FeatureError: no feature reads such a series, or its time has passed.
            PublishedError: the time is not after the last publication, or the value not finite.
        """
        if name not in self.names:
            raise FeatureError(
                f"publish: expected one of the series {sorted(self.names)}, found {name!r}"
            )
        if after is not None and ts_published <= after:
            raise FeatureError(
                f"publish: {name}: expected a time after the last bar "
                f"({np.datetime64(after, 'ns')}), found {np.datetime64(ts_published, 'ns')}"
            )
        self._known[name] = self.series[name].extended(ts_published, value)
        self._added.setdefault(name, []).append((ts_published, value))

    def state(self) -> State:
        """Publications that were added, as JSON values."""
        return self._added

    def resume(self, state: Mapping[str, Iterable[tuple[int, float]]]) -> None:
        """Add the publications of a state that the series do not have yet."""
        for name, publications in state.items():
            for ts_published, value in publications:
                if ts_published > self.series[name].ts_published[-1]:
                    self.add(name, int(ts_published), float(value), after=None)

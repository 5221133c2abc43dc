"""The feature pipeline: chosen features, scaled by what the training span knows, as one tensor.

    pipeline = FeaturePipeline(FeatureConfig()).fit(bars, rows=(0, 2000))
    tensor = pipeline.transform(bars)              # the whole history at once
    pipeline.prime(bars)                           # or live: take in the history, then
    row = pipeline.update(next_bar)                # one bar at a time, to 1e-9 the same numbers
    row = pipeline.tail(last_bars)                 # or the last row from the last bars alone
    Path("features.json").write_text(pipeline.to_json())

The three forms are one definition. What a stream carries outlives the process, for features such as
on-balance volume that no last bars tell::

    Path("stream.json").write_text(pipeline.stream_state())
    pipeline = FeaturePipeline.from_json(Path("features.json").read_text())
    pipeline.resume(Path("stream.json").read_text())

Published series are declared in `FeatureConfig.exogenous` or given to the constructor, and joined
as of their publication times; in a stream `publish` adds what is published between two bars.

Dimensions: T bars, A assets, F columns per asset, G shared columns.
"""

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.batch import Batch
from features.cache.store import FeatureCache
from features.config import FeatureConfig, FeatureSpec
from features.definition import BoundFeature, FeatureError
from features.drift import ColumnDrift, Reference
from features.publications import Publications
from features.registry import lookup
from features.scaling import Scaler
from features.state import PipelineState, Span, scales_of
from features.stream import FeatureStream
from markets.bars import Bars
from markets.published import PublishedSeries

__all__ = ["TRADABLE", "FeatureConfig", "FeaturePipeline", "FeatureSpec", "FeatureTensor"]

Array = NDArray[np.float64]
TRADABLE = "tradable"
"""Last column of each asset: 1 where it has a bar, 0 where it has none."""


@dataclass(frozen=True, eq=False)
class FeatureTensor:
    """Scaled features of a span of bars; every value is finite."""

    asset_TAF: NDArray[np.float32]
    """Per asset; the last column is `TRADABLE`. Where it is 0, the other values are 0 (neutral),
    and so they are until the asset has enough bars of its own."""
    shared_TG: NDArray[np.float32]
    """The same for all assets."""
    names: tuple[str, ...]
    """Names of the F columns."""
    shared_names: tuple[str, ...]
    """Names of the G columns."""
    warmup: int
    """First row in which an asset that had every bar has a value of every feature."""

    def flat(self) -> NDArray[np.float32]:
        """One row a bar, (T, A F + G), C-contiguous: asset 0's columns, asset 1's, ..., shared."""
        bars, assets, features = self.asset_TAF.shape
        columns = (self.asset_TAF.reshape(bars, assets * features), self.shared_TG)
        return np.ascontiguousarray(np.concatenate(columns, axis=1))


class FeaturePipeline:
    """Chosen features with a scaler that is fitted once, on the training span only.

    Args:
        config: choice of features and scaling; the default set if left out.
        exogenous: published series by name; they stand in for those of the configuration, whose
            other ones are loaded when they are first needed.

    Raises:
        FeatureError: unknown feature (with suggestions) or parameter, a parameter out of its
            range, a column that occurs twice, a published series that is not known, or a module
            that cannot be imported.
    """

    def __init__(
        self,
        config: FeatureConfig | None = None,
        exogenous: Mapping[str, PublishedSeries] | None = None,
    ) -> None:
        self.config = config if config is not None else FeatureConfig()
        for module in self.config.modules:
            _import(module)
        specs = self.config.features
        self.features = tuple(lookup(spec.name).bind(spec.parameters) for spec in specs)
        """The features with their parameters."""
        self._asset = tuple(f for f in self.features if f.feature.scope == "asset")
        self._shared = tuple(f for f in self.features if f.feature.scope == "shared")
        self.names = (*_columns(self._asset), TRADABLE)
        """Names of the asset columns."""
        self.shared_names = _columns(self._shared)
        """Names of the shared columns."""
        columns = (*self.names, *self.shared_names)
        if twice := sorted({name for name in columns if columns.count(name) > 1}):
            raise FeatureError(f"features: expected each column once, found twice: {twice}")
        self.warmup = max(feature.warmup for feature in self.features)
        """First row in which an asset that had every bar has a value of every feature."""
        self._publications = Publications(self._shared, self.config.exogenous, exogenous)
        self.cache = FeatureCache(self.config.cache)
        """Where `raw` looks for computed features."""
        self._state: PipelineState | None = None
        self._stream: FeatureStream | None = None

    @property
    def exogenous(self) -> Mapping[str, PublishedSeries]:
        """The published series that the features read, by name, with all publications so far.

        Raises:
            MarketDataError: one cannot be loaded.
        """
        return self._publications.series

    @property
    def state(self) -> PipelineState:
        """What was fitted.

        Raises:
            FeatureError: not fitted.
        """
        if self._state is None:
            raise FeatureError("features: expected a fitted pipeline; call fit(bars, rows) first")
        return self._state

    def fit(self, bars: Bars, rows: tuple[int, int]) -> "FeaturePipeline":
        """Measure the scales on a span of rows; nothing outside of it is read.

        Args:
            bars: the data.
            rows: (start, stop) of the training span, in row numbers.

        Returns:
            This pipeline.

        Raises:
            FeatureError: rows outside of the data, fewer than the warm-up needs, or a feature
                without a single value in the span.
        """
        start, stop = rows
        if not 0 <= start < stop <= bars.num_bars:
            raise FeatureError(
                f"fit: expected rows 0 <= start < stop <= {bars.num_bars}, found {rows}"
            )
        span = bars.rows(start, stop)
        asset_TAF, shared_TG = self.raw(span)
        # Column after column in memory: nothing is copied, and each column is read in one go.
        shape = (len(self.names) - 1, span.num_bars * span.num_assets)
        asset_NF = asset_TAF.transpose(2, 1, 0).reshape(shape).T
        reason = f"no symbol has enough bars of its own there ({', '.join(bars.symbols)})"
        _require_values(asset_NF, self.names, rows, reason)
        reason = "too few bars, or nothing was published before its end"
        _require_values(shared_TG, self.shared_names, rows, reason)
        how, clip = self.config.scaling, self.config.clip
        asset = Scaler.fit(asset_NF, _scaled(self._asset), how=how, clip=clip)
        shared = Scaler.fit(shared_TG, _scaled(self._shared), how=how, clip=clip)
        self._state = PipelineState(
            config=self.config,
            definitions={feature.label: feature.definition for feature in self.features},
            span=Span(
                rows=(start, stop),
                ts_event=(int(span.ts_event[0]), int(span.ts_event[-1])),
                symbols=span.symbols,
            ),
            asset=scales_of(asset, self.names[:-1]),
            shared=scales_of(shared, self.shared_names),
            references={
                name: Reference.of(values_N)
                for names, values_NF in (
                    (self.names[:-1], asset_NF),
                    (self.shared_names, shared_TG),
                )
                for name, values_N in zip(names, values_NF.T, strict=True)
            },
        )
        return self

    def raw(self, bars: Bars) -> tuple[Array, Array]:
        """Unscaled values (T, A, F - 1), all columns but `TRADABLE`, and shared ones (T, G).

        NaN where an asset has no bar, or not yet enough of its own. Features that the cache knows
        over these very bars are read from it. Both arrays lie column after column in memory.

        Raises:
            FeatureError: not more bars than the warm-up, additive prices, or a feature whose
                values are not finite after its warm-up.
        """
        self._require_length(bars)
        return self.cache.raw(bars, self._asset, self._shared, self.exogenous)

    def transform(self, bars: Bars) -> FeatureTensor:
        """Scaled features of all bars.

        Raises:
            FeatureError: not fitted; otherwise as in `raw`.
        """
        scalers = self.state.scalers
        asset_TAF, shared_TG = self.raw(bars)
        return self._tensor(scalers, asset_TAF, shared_TG, bars.missing, self.warmup)

    def tail(self, bars: Bars) -> FeatureTensor:
        """Scaled features of the last row from the last bars alone, a tensor of one row.

        Each feature reads the last bars that it needs, `BoundFeature.memory`, of each asset's own:
        `bars` may be the end of a history, if it holds that many. The market and the sectors are
        those of `bars`: where an asset pauses, they need its last bar before the first that counts.

        Raises:
            FeatureError: not fitted, or as in `raw_tail`.
        """
        scalers = self.state.scalers
        asset_AF, shared_G = self.raw_tail(bars)
        warmup = int(bars.num_bars <= self.warmup)
        return self._tensor(scalers, asset_AF[None], shared_G[None], bars.missing[-1:], warmup)

    def raw_tail(self, bars: Bars) -> tuple[Array, Array]:
        """Unscaled values of the last row (A, F - 1) and (G,); see `tail`.

        Raises:
            FeatureError: a path-dependent feature, which no number of bars tells: its value needs
                the state of a stream (`prime` or `resume`, then `update`); otherwise as in `raw`.
        """
        batch = Batch(bars, self.exogenous)
        return batch.last_of_assets(self._asset), batch.last_of_axis(self._shared)

    def prime(self, history: Bars) -> None:
        """Begin a new stream with the bars that have been; `update` continues from there.

        Raises:
            FeatureError: additive prices.
        """
        self._stream = FeatureStream(self.features, history.symbols)
        self._stream.prime(history, self.exogenous)

    def publish(self, name: str, ts_published: int, value: float) -> None:
        """Add a publication to a series; bars from its time on see it.

        Args:
            name: the series.
            ts_published: when it becomes known, ns UTC; after the series' last publication and
                after the stream's last bar (a bar that has been cannot have known it).
            value: the value.

        Raises:
            FeatureError: no feature reads such a series, or its time has passed.
            PublishedError: the time is not after the last publication, or the value not finite.
        """
        last = None if self._stream is None else self._stream.last_ts
        self._publications.add(name, ts_published, value, after=last)

    def stream_state(self) -> str:
        """All that the stream carries, as JSON text: `resume` continues bit for bit from it.

        Raises:
            FeatureError: no bar has been seen yet.
        """
        if self._stream is None:
            raise FeatureError("stream state: expected a stream that has seen a bar, found none")
        state = {"stream": self._stream.state(), "published": self._publications.state()}
        return json.dumps(state)

    def resume(self, state: str) -> None:
        """Continue the stream of another pipeline with the same features, after a restart.

        Args:
            state: what `stream_state` returned.

        Raises:
            FeatureError: not a stream's state, or that of other features or other code.
        """
        try:
            document = json.loads(state)
            stream = FeatureStream.resumed(self.features, document["stream"])
            self._publications.resume(document["published"])
        except FeatureError:
            raise
        except (TypeError, KeyError, ValueError) as error:
            raise FeatureError(f"resume: expected the text of a stream's state: {error}") from error
        self._stream = stream

    def update(self, bar: Bars) -> FeatureTensor:
        """Scaled features of the next bar, a tensor of one row.

        Args:
            bar: one row. Without `prime`, the first one begins a new stream.

        Returns:
            The row; its ``warmup`` is 1 while the stream is in its warm-up, then 0.

        Raises:
            FeatureError: not fitted, more than one row, other symbols than before, or a time that
                is not after the previous one: the bar is not taken in. Or a value that is not
                finite after its warm-up: the bar is taken in, and the next one continues from it.
        """
        scalers = self.state.scalers
        if self._stream is None:
            self._stream = FeatureStream(self.features, bar.symbols)
        asset_AF, shared_G = self._stream.update(bar, self.exogenous)
        warmup = int(self._stream.num_bars <= self.warmup)
        return self._tensor(scalers, asset_AF[None], shared_G[None], bar.missing, warmup)

    def drift(
        self, values: Bars | FeatureTensor, rows: tuple[int, int] | None = None
    ) -> tuple[ColumnDrift, ...]:
        """How far each column's distribution has moved from that of the training span.

        Args:
            values: bars, whose features are computed, or a tensor of this pipeline; its rows before
                ``warmup`` and assets without a bar are left out. In a tensor the first bars of an
                asset that joined later are zeros that cannot be told from values.
            rows: (start, stop) of the rows that count; all if left out. Bars before them warm the
                features up.

        Returns:
            The drift of each asset column, pooled over assets, and of each shared one;
            `features.drift.report` makes a table of them.

        Raises:
            FeatureError: not fitted, fitted before distributions were kept, or as in `raw`.
        """
        names = (*self.names[:-1], *self.shared_names)
        references = self.state.references
        if missing := [name for name in names if name not in references]:
            raise FeatureError(
                f"drift: expected the training distribution of {missing[0]}, found none in the "
                "pipeline's state; fit anew"
            )
        span = slice(*(rows if rows is not None else (0, None)))
        if isinstance(values, Bars):
            raw_TAF, shared_TG = self.raw(values)
            columns = (*np.moveaxis(raw_TAF[span], -1, 0), *shared_TG[span].T)
        else:
            references = self.state.scaled_references()
            warm = slice(max(span.start, values.warmup), span.stop)
            rows_TAF = values.asset_TAF[warm]
            present_NF = rows_TAF[rows_TAF[..., -1] > 0.0].astype(np.float64)
            columns = (*present_NF.T[:-1], *values.shared_TG[warm].T.astype(np.float64))
        return tuple(
            references[name].drift(name, column.ravel())
            for name, column in zip(names, columns, strict=True)
        )

    def to_json(self) -> str:
        """Configuration, definitions and fitted scales as JSON text; floats round-trip exactly.

        Raises:
            FeatureError: not fitted.
        """
        return self.state.to_json()

    @classmethod
    def from_json(
        cls, text: str, exogenous: Mapping[str, PublishedSeries] | None = None
    ) -> "FeaturePipeline":
        """Load a fitted pipeline.

        Nothing is imported at the text's request: import the modules of your own features first.

        Args:
            text: what `to_json` returned.
            exogenous: published series by name, as in the constructor.

        Raises:
            FeatureError: not a pipeline's JSON, an unknown feature, or one that is defined
                otherwise now than when the pipeline was fitted.
        """
        state = PipelineState.from_json(text)
        pipeline = cls(replace(state.config, modules=()), exogenous)
        pipeline.config = state.config
        state.require_same(pipeline.features)
        columns = (tuple(state.asset), tuple(state.shared))
        if columns != (pipeline.names[:-1], pipeline.shared_names):
            raise FeatureError(
                f"pipeline JSON: expected scales of {pipeline.names[:-1]} and "
                f"{pipeline.shared_names}, found {columns[0]} and {columns[1]}"
            )
        pipeline._state = state
        return pipeline

    def _tensor(
        self,
        scalers: tuple[Scaler, Scaler],
        asset_TAF: Array,
        shared_TG: Array,
        missing_TA: NDArray[np.bool_],
        warmup: int,
    ) -> FeatureTensor:
        asset, shared = scalers
        tensor_TAF = np.empty((*missing_TA.shape, len(self.names)), np.float32)
        asset.write(asset_TAF, tensor_TAF[..., :-1])
        tensor_TAF[..., -1] = ~missing_TA
        scaled_TG = shared.transform(shared_TG)
        return FeatureTensor(tensor_TAF, scaled_TG, self.names, self.shared_names, warmup)

    def _require_length(self, bars: Bars) -> None:
        if bars.num_bars <= self.warmup:
            longest = max(self.features, key=lambda feature: feature.warmup)
            raise FeatureError(
                f"features: expected more than {self.warmup} bars (the warm-up of "
                f"{longest.label}), found {bars.num_bars}"
            )


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise FeatureError(
            f"features.modules: expected Python modules that can be imported, found {module!r}: "
            f"{error}"
        ) from error


def _columns(features: tuple[BoundFeature, ...]) -> tuple[str, ...]:
    return tuple(column for feature in features for column in feature.columns)


def _scaled(features: tuple[BoundFeature, ...]) -> NDArray[np.bool_]:
    return np.array([f.feature.scaled for f in features for _ in f.columns], bool)


def _require_values(
    values_NF: Array, names: tuple[str, ...], rows: tuple[int, int], reason: str
) -> None:
    known_F = np.isfinite(values_NF).any(axis=0)
    if not known_F.all():
        raise FeatureError(
            f"fit: {names[int(np.argmin(known_F))]} has no value in rows {rows}: {reason}"
        )

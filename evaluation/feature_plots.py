"""A feature on data: prices above, its raw values below, beside them their distributions.

Dimensions: T bars, A assets (one line for a shared feature), K columns of the feature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from evaluation.axes import date_axis, round_ticks
from evaluation.drawing import COLOURS, PALETTE, bare
from features.cache.config import CacheConfig
from features.config import FeatureConfig, FeatureSpec
from features.definition import FeatureError
from features.drift import ColumnDrift, Reference
from features.pipeline import FeaturePipeline
from markets.bars import Bars
from markets.published import ExogenousConfig

__all__ = ["FeatureHistory", "feature_figure", "feature_history"]

Array = NDArray[np.float64]
_WIDTH: Final = 10.8
_MARKET: Final = "all assets"
_SHARE: Final = ": share of ones"
_MOST_FLIPS: Final = 150
"""Changes of a flag between 0 and 1 that a line can show; more are a comb."""
_SHARE_BARS: Final = 63
_LONG_SHARE_BARS: Final = 252
"""Bars of which the share of ones is taken; the longer one where ten times so many are drawn."""


@dataclass(frozen=True, eq=False)
class FeatureHistory:
    """One feature over a history."""

    title: str
    """Name, unit and data, for people."""
    ts_event: NDArray[np.int64]
    """Times, ns UTC, (T,)."""
    symbols: tuple[str, ...]
    """The assets whose prices are drawn."""
    price_TA: Array
    """Their split-adjusted closes; NaN where one has no bar."""
    lines: tuple[str, ...]
    """Whose values are drawn: the assets, or all of them together."""
    columns: tuple[str, ...]
    """The feature's columns."""
    values_TAK: Array
    """Raw values of each line; NaN where there is none."""
    train: int
    """Rows of the training span, the first ones."""
    warmup: int
    """Declared warm-up in bars."""
    unit: str
    """Unit of the values."""

    def of(self, symbols: Sequence[str]) -> "FeatureHistory":
        """The same for some of the assets; they were computed with the others about them.

        Raises:
            FeatureError: a symbol that is not there.
        """
        if unknown := [symbol for symbol in symbols if symbol not in self.symbols]:
            raise FeatureError(
                f"symbols: expected some of {', '.join(self.symbols)}, found {unknown[0]!r}"
            )
        assets = [self.symbols.index(symbol) for symbol in symbols]
        if self.lines != self.symbols:
            return replace(self, symbols=tuple(symbols), price_TA=self.price_TA[:, assets])
        return replace(
            self,
            symbols=tuple(symbols),
            lines=tuple(symbols),
            price_TA=self.price_TA[:, assets],
            values_TAK=self.values_TAK[:, assets],
        )


def feature_history(
    bars: Bars, spec: FeatureSpec, *, train: float, exogenous: Mapping[str, ExogenousConfig]
) -> FeatureHistory:
    """Compute a feature for drawing.

    Args:
        bars: the history.
        spec: the feature.
        train: share of the rows that count as training, within (0, 1].
        exogenous: published series that it may read.

    Raises:
        FeatureError: unknown feature or parameter, or a history that is too short.
    """
    config = FeatureConfig(
        features=(spec,), exogenous=dict(exogenous), cache=CacheConfig(kind="none")
    )
    pipeline = FeaturePipeline(config)
    asset_TAF, shared_TG = pipeline.raw(bars)
    (feature,) = pipeline.features
    shared = feature.feature.scope == "shared"
    return FeatureHistory(
        title=feature.label,
        ts_event=bars.ts_event,
        symbols=bars.symbols,
        price_TA=bars.split_adjusted().close,
        lines=(_MARKET,) if shared else bars.symbols,
        columns=feature.columns,
        values_TAK=shared_TG[:, None] if shared else asset_TAF,
        train=max(1, round(train * bars.num_bars)),
        warmup=feature.warmup,
        unit=feature.feature.unit,
    )


def feature_figure(history: FeatureHistory, *, last: int | None = None) -> Figure:
    """Draw a feature; training values and distributions are those of the whole history.

    A flag of 0 and 1 that changes too often for a line is drawn as its share of ones over the
    last bars; its drift is still that of the flag.

    Args:
        history: what to draw.
        last: number of last bars drawn; all if left out.
    """
    panels = len(history.columns)
    heights = [2.1] + [1.9] * panels
    figure = Figure(figsize=(_WIDTH, 1.05 + sum(heights)))
    grid = figure.add_gridspec(
        1 + panels, 2, height_ratios=heights, width_ratios=(4.6, 1.0), hspace=0.28, wspace=0.03
    )
    shown = slice(max(0, len(history.ts_event) - last) if last else 0, None)
    # matplotlib leaves its dates unannotated.
    times_T = date2num(history.ts_event.astype("datetime64[ns]"))[shown]  # type: ignore[no-untyped-call]
    price = figure.add_subplot(grid[0, 0])
    colours = _colours(history.symbols)
    drawn = _readable(history, shown)
    _draw_prices(price, drawn, times_T, shown, colours)
    lowest = price
    for column in range(panels):
        lowest = figure.add_subplot(grid[1 + column, 0], sharex=price)
        _draw_values(lowest, drawn, column, times_T, shown)
        beside = figure.add_subplot(grid[1 + column, 1], sharey=lowest)
        reading = _reading(_training(history, column), _later(history, column))
        _draw_distributions(beside, drawn, column, reading)
        if column < panels - 1:
            lowest.tick_params(labelbottom=False)
    price.tick_params(labelbottom=False)
    price.set_xlim(times_T[0], times_T[-1])
    date_axis(lowest)
    inches = figure.get_figheight()
    _draw_head(figure, history, inches)
    figure.subplots_adjust(left=0.07, right=0.985, top=1.0 - 0.78 / inches, bottom=0.32 / inches)
    return figure


def _readable(history: FeatureHistory, shown: slice) -> FeatureHistory:
    """The history with the share of ones in the place of flags that would be a comb."""
    values_TAK, columns = history.values_TAK.copy(), list(history.columns)
    rows = len(history.ts_event[shown])
    bars = _LONG_SHARE_BARS if rows > 10 * _LONG_SHARE_BARS else _SHARE_BARS
    for column, name in enumerate(columns):
        if _comb(values_TAK[shown, :, column]):
            columns[column] = f"{name}{_SHARE} in the last {bars} bars"
            for line in range(len(history.lines)):
                values_T = values_TAK[:, line, column]
                known_T = np.isfinite(values_T)
                values_T[known_T] = _trailing_mean(values_T[known_T], bars)
    return replace(history, values_TAK=values_TAK, columns=tuple(columns))


def _comb(values_TA: Array) -> bool:
    """Whether some line alternates between 0 and 1, and takes no other value, too often."""
    known_TA = np.isfinite(values_TA)
    if not np.isin(values_TA[known_TA], (0.0, 1.0)).all():
        return False
    flips = (
        np.count_nonzero(np.diff(values_TA[known_T, line]))
        for line, known_T in enumerate(known_TA.T)
    )
    return bool(max(flips) > _MOST_FLIPS)


def _trailing_mean(values_T: Array, bars: int) -> Array:
    """Means of the last bars; NaN before there are so many."""
    sums_T = np.concatenate([[0.0], np.cumsum(values_T)])
    means_T = np.full(len(values_T), np.nan)
    means_T[bars - 1 :] = (sums_T[bars:] - sums_T[:-bars]) / bars
    return means_T


def _colours(names: tuple[str, ...]) -> list[str]:
    if len(names) == 1:
        return [COLOURS["blue"]]
    return [COLOURS[PALETTE[place % len(PALETTE)]] for place in range(len(names))]


def _draw_head(figure: Figure, history: FeatureHistory, inches: float) -> None:
    place = 1.0 - 0.16 / inches
    figure.text(0.012, place, history.title, va="top", fontsize=13, fontweight="bold")
    first, last = (
        str(history.ts_event[k].astype("datetime64[ns]").astype("datetime64[D]")) for k in (0, -1)
    )
    facts = f"{history.unit}; warm-up {history.warmup} bars; {first} to {last}"
    figure.text(0.985, place, facts, va="top", ha="right", color=COLOURS["muted"])


def _draw_prices(
    axes: Axes,
    history: FeatureHistory,
    times_T: NDArray[np.float64],
    shown: slice,
    colours: list[str],
) -> None:
    several = len(history.symbols) > 1
    drawn: list[Array] = []
    for asset, symbol in enumerate(history.symbols):
        price_T = history.price_TA[shown, asset]
        known_T = np.isfinite(price_T)
        if not known_T.any():
            continue
        level_T = price_T / (price_T[known_T][0] if several else 1.0)
        axes.plot(
            times_T[known_T], level_T[known_T], color=colours[asset], linewidth=1.1, label=symbol
        )
        drawn.append(level_T[known_T])
    levels = np.concatenate(drawn)
    low, high = float(levels.min()), float(levels.max())
    margin = max(high / low, 1.02) ** 0.05
    axes.set_yscale("log")
    axes.set_ylim(low / margin, high * margin)
    axes.yaxis.set_major_locator(FixedLocator(round_ticks(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    what = "Price, first bar = 1" if several else f"{history.symbols[0]}, close, splits taken out"
    axes.set_title(f"{what} (log scale)")
    _draw_key(axes, history, shown, colours)
    _mark_training(axes, history, times_T, shown)
    bare(axes)


def _draw_key(axes: Axes, history: FeatureHistory, shown: slice, colours: list[str]) -> None:
    """What the colours of that which is drawn mean, beside the prices."""
    names = history.symbols if len(history.symbols) > 1 else ()
    lines = [
        Line2D([], [], color=colour, label=name)
        for name, colour in zip(names, colours, strict=False)
    ]
    if len(names) > 1 and history.lines == (_MARKET,):
        lines.append(Line2D([], [], color=COLOURS["blue"], label="the feature"))
    columns = range(len(history.columns))
    drawn: list[Patch | Line2D] = []
    compared = any(len(_training(history, column)) for column in columns)
    if compared:
        drawn += [
            Patch(color=COLOURS["sky"], alpha=0.3, lw=0, label="90% of training values"),
            Line2D([], [], color=COLOURS["sky"], linestyle="--", label="training median"),
        ]
    if _training_end(history, shown) is not None:
        ends = Line2D([], [], color=COLOURS["ink"], linestyle=":", lw=0.9, label="training ends")
        drawn.append(ends)
    if compared and any(len(_later(history, column)) for column in columns):
        where = " (right)" if len(history.lines) > 1 else ""
        drawn.append(Line2D([], [], color=COLOURS["vermilion"], label=f"values after it{where}"))
    if any(_warmups(history, column, shown) for column in columns):
        drawn.append(Patch(color=COLOURS["grey"], alpha=0.3, lw=0, label="no value yet"))
    axes.legend(
        handles=[*lines, *drawn],
        loc="upper left",
        bbox_to_anchor=(1.012, 1.06),
        frameon=False,
        handlelength=1.3,
        labelcolor=COLOURS["ink"],
        borderaxespad=0.0,
        labelspacing=0.35,
        fontsize=8.8,
    )


def _draw_values(
    axes: Axes,
    history: FeatureHistory,
    column: int,
    times_T: NDArray[np.float64],
    shown: slice,
) -> None:
    training = _training(history, column)
    low = high = np.nan
    if len(training):
        low, middle, high = np.quantile(training, (0.05, 0.5, 0.95))
        axes.axhspan(low, high, color=COLOURS["sky"], alpha=0.16, lw=0)
        axes.axhline(middle, color=COLOURS["sky"], linewidth=1.0, linestyle="--")
    colours = _colours(history.lines)
    for line, colour in enumerate(colours):
        values_T = history.values_TAK[shown, line, column]
        known = np.flatnonzero(np.isfinite(values_T))
        for part, shade in _parts(history, column, known, shown, colour):
            axes.plot(times_T[part], values_T[part], color=shade, linewidth=0.9)
    # A share is read from nought: its ripple is one of counting.
    nought = (0.0,) if _SHARE in history.columns[column] else ()
    _limit(axes, np.append(history.values_TAK[shown, :, column], (low, high, *nought)))
    for first, end in _warmups(history, column, shown):
        axes.axvspan(times_T[first], times_T[end], color=COLOURS["grey"], alpha=0.22, lw=0)
    axes.set_title(history.columns[column])
    axes.yaxis.set_major_locator(MaxNLocator(6))
    _mark_training(axes, history, times_T, shown)
    bare(axes)


def _parts(
    history: FeatureHistory, column: int, known: NDArray[np.int64], shown: slice, colour: str
) -> list[tuple[NDArray[np.int64], str]]:
    """Drawn rows and their colours: a line alone has the later values in that of the legend."""
    if len(history.lines) > 1 or not len(_training(history, column)):
        return [(known, colour)]
    first = int(np.searchsorted(known, history.train - (shown.start or 0)))
    later = known[max(first - 1, 0) :] if first < len(known) else known[:0]
    parts = ((known[:first], colour), (later, COLOURS["vermilion"]))
    return [(rows, shade) for rows, shade in parts if len(rows)]


def _limit(axes: Axes, values: Array) -> None:
    """An axis for what is drawn and the training band, not for all that ever was."""
    known = values[np.isfinite(values)]
    lowest, highest = (known.min(), known.max()) if len(known) else (0.0, 0.0)
    margin = 0.05 * (highest - lowest) or 1.0
    axes.set_ylim(lowest - margin, highest + margin)


def _draw_distributions(axes: Axes, history: FeatureHistory, column: int, reading: str) -> None:
    """Shares of values in training and later, sideways at the values' axis."""
    before, after = _training(history, column), _later(history, column)
    axes.spines["left"].set_visible(False)
    axes.tick_params(labelleft=False, labelbottom=False, bottom=False)
    axes.grid(visible=False)
    if not len(before):
        return
    bins = np.linspace(*axes.get_ylim(), 45)
    for values, colour, alpha in ((before, "sky", 0.55), (after, "vermilion", 0.0)):
        if len(values):
            share, _ = np.histogram(values, bins=bins)
            axes.stairs(
                share / len(values),
                bins,
                orientation="horizontal",
                fill=alpha > 0.0,
                color=COLOURS[colour],
                alpha=alpha or 1.0,
                linewidth=1.2,
            )
    axes.set_xlim(left=0.0)
    axes.set_title(reading, fontsize=8.5, fontweight="normal")
    bare(axes)


def _reading(before: Array, after: Array) -> str:
    if not len(after):
        return "training"
    drift: ColumnDrift = Reference.of(before).drift("", after)
    return f"PSI {drift.psi:.2f}, {drift.reading}"


def _training(history: FeatureHistory, column: int) -> Array:
    values = history.values_TAK[: history.train, :, column]
    known: Array = values[np.isfinite(values)]
    return known


def _later(history: FeatureHistory, column: int) -> Array:
    values = history.values_TAK[history.train :, :, column]
    known: Array = values[np.isfinite(values)]
    return known


def _warmups(history: FeatureHistory, column: int, shown: slice) -> list[tuple[int, int]]:
    """Drawn rows from the first bar to the first value of each line, each span once."""
    first_row, last_row = shown.start or 0, len(history.ts_event) - 1
    spans = set()
    for line in range(len(history.lines)):
        values = np.flatnonzero(np.isfinite(history.values_TAK[:, line, column]))
        alone = history.lines != history.symbols
        bars = [0] if alone else np.flatnonzero(np.isfinite(history.price_TA[:, line]))
        if len(values) and len(bars):
            start, stop = (max(int(row), first_row) for row in (bars[0], values[0]))
            if stop > start:
                spans.add((start - first_row, min(stop, last_row) - first_row))
    return sorted(spans)


def _training_end(history: FeatureHistory, shown: slice) -> int | None:
    """Drawn row at which the training span ends; None where it is not among them."""
    first_row = shown.start or 0
    return history.train - first_row if first_row < history.train < len(history.ts_event) else None


def _mark_training(
    axes: Axes, history: FeatureHistory, times_T: NDArray[np.float64], shown: slice
) -> None:
    row = _training_end(history, shown)
    if row is not None:
        axes.axvline(times_T[row], color=COLOURS["ink"], linewidth=0.9, linestyle=":")

"""A regime detector at work: price by regime, stacked beliefs, transitions, and a table."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from evaluation.axes import date_axis, round_ticks
from evaluation.drawing import COLOURS, bare
from evaluation.regime_summary import RegimeHistory, rows, table

__all__ = ["regime_colours", "regime_figure"]

_BY_RISK: Final = ("green", "sky", "blue", "yellow", "orange", "vermilion", "purple")
"""From calm to violent."""


def regime_colours(count: int) -> list[str]:
    """Colours of regimes in order of their volatility, the calmest green, the wildest red."""
    if count == 1:
        return [COLOURS["green"]]
    ends = {2: (0, 5), 3: (0, 4, 5), 4: (0, 1, 4, 5), 5: (0, 1, 3, 4, 5)}
    chosen = ends.get(count, tuple(place % len(_BY_RISK) for place in range(count)))
    return [COLOURS[_BY_RISK[place]] for place in chosen]


def regime_figure(history: RegimeHistory) -> Figure:
    """Draw a history as a detector saw it.

    Args:
        history: T >= 2 bars, levels above zero.

    Raises:
        ValueError: fewer bars, or a level that is not positive.
    """
    if len(history.level_T) < 2 or not (history.level_T > 0.0).all():
        raise ValueError("history: expected at least 2 bars with levels above 0, found others")
    figure = Figure(figsize=(10.8, 7.6))
    grid = figure.add_gridspec(
        3, 2, height_ratios=(3.2, 1.5, 1.35), width_ratios=(1.0, 2.6), hspace=0.34, wspace=0.12
    )
    price = figure.add_subplot(grid[0, :])
    stacked = figure.add_subplot(grid[1, :], sharex=price)
    figure.suptitle(history.title, x=0.065, y=0.985, ha="left", fontsize=13, fontweight="bold")
    times_T = _places(history.ts_event.astype("datetime64[ns]"))
    colours = regime_colours(len(history.names))
    _price(price, history, times_T, colours)
    _beliefs(stacked, history, times_T, colours)
    _transitions(figure.add_subplot(grid[2, 0]), history)
    _table(figure.add_subplot(grid[2, 1]), history, colours)
    figure.subplots_adjust(left=0.065, right=0.98, top=0.905, bottom=0.04)
    return figure


def _places(times: NDArray[np.datetime64]) -> NDArray[np.float64]:
    # matplotlib leaves its dates unannotated.
    return np.asarray(date2num(times), np.float64)  # type: ignore[no-untyped-call]


def _price(
    axes: Axes, history: RegimeHistory, times_T: NDArray[np.float64], colours: list[str]
) -> None:
    points_T2 = np.stack([times_T, history.level_T], axis=1)
    segments = np.stack([points_T2[:-1], points_T2[1:]], axis=1)
    shades = np.array([*colours, COLOURS["grey"]])
    # A bar is drawn in the colour of the regime that was believed at its opening.
    axes.add_collection(
        LineCollection(list(segments), colors=list(shades[history.chosen[:-1]]), linewidths=1.3)
    )
    low, high = float(history.level_T.min()), float(history.level_T.max())
    margin = max(high / low, 1.02) ** 0.05
    axes.set_yscale("log")
    axes.set_xlim(times_T[0], times_T[-1])
    axes.set_ylim(low / margin, high * margin**2.2)
    axes.yaxis.set_major_locator(FixedLocator(round_ticks(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    axes.set_title("Market level, by the most believed regime")
    _crises(axes, history, times_T)
    if 0 < history.known_from < len(times_T):
        start = times_T[history.known_from]
        axes.axvline(start, color=COLOURS["ink"], linewidth=0.9, linestyle=":")
        axes.annotate(
            "fitted on the left",
            (start, 0.03),
            xycoords=("data", "axes fraction"),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            color=COLOURS["muted"],
            fontsize=8.5,
        )
    bare(axes)
    axes.tick_params(labelbottom=False)


def _crises(axes: Axes, history: RegimeHistory, times_T: NDArray[np.float64]) -> None:
    for crisis in history.crises:
        first, last = _places(np.array([crisis.start, crisis.end], "datetime64[ns]"))
        if last < times_T[0] or first > times_T[-1]:
            continue
        first, last = max(first, times_T[0]), min(last, times_T[-1])
        axes.axvspan(first, last, color=COLOURS["grid"], alpha=0.6, linewidth=0.0, zorder=0)
        axes.annotate(
            crisis.name,
            ((first + last) / 2.0, 0.985),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="top",
            color=COLOURS["muted"],
            fontsize=8,
        )


def _beliefs(
    axes: Axes, history: RegimeHistory, times_T: NDArray[np.float64], colours: list[str]
) -> None:
    axes.stackplot(
        times_T,
        np.nan_to_num(history.belief_TK).T,
        colors=colours,
        labels=history.names,
        linewidth=0.0,
        step="post",
    )
    axes.set_ylim(0.0, 1.0)
    axes.yaxis.set_major_locator(FixedLocator([0.0, 0.5, 1.0]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.grid(visible=False)
    axes.set_title("Belief at each close (filtered)")
    date_axis(axes)
    bare(axes)


def _transitions(axes: Axes, history: RegimeHistory) -> None:
    matrix_KK, count = history.transition_KK, len(history.names)
    shades = LinearSegmentedColormap.from_list("belief", ["#ffffff", COLOURS["sky"]])
    axes.imshow(matrix_KK, cmap=shades, vmin=0.0, vmax=1.0, aspect="auto")
    size = 8.5 if count <= 4 else 6.5
    for row in range(count):
        for column in range(count):
            value = matrix_KK[row, column]
            text = f"{value:.3f}" if count <= 4 else f"{value:.2f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=size)
    axes.set_xticks(range(count), history.names, fontsize=size)
    axes.set_yticks(range(count), history.names, fontsize=size)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title("From (row) to (column), a bar")


def _table(axes: Axes, history: RegimeHistory, colours: list[str]) -> None:
    axes.set_axis_off()
    heading, *body = table(rows(history))
    places = (0.02, 0.27, 0.46, 0.58, 0.79, 1.0)
    lines = len(body) + 1
    for line, cells in enumerate([heading, *body]):
        height = 0.93 - line / max(lines, 4)
        for column, (place, cell) in enumerate(zip(places, cells, strict=True)):
            axes.text(
                place,
                height,
                cell.capitalize() if line == 0 else cell,
                ha="left" if column == 0 else "right",
                va="center",
                fontsize=8.5 if lines <= 6 else 7.0,
                color=COLOURS["muted"] if line == 0 else COLOURS["ink"],
                transform=axes.transAxes,
            )
        if line:
            axes.plot(
                [-0.005],
                [height],
                marker="s",
                markersize=7,
                color=colours[line - 1],
                transform=axes.transAxes,
                clip_on=False,
            )

"""A regime detector at work: price by regime, stacked beliefs, transitions, and a table."""

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from evaluation.axes import date_axis, kept_rows, round_ticks
from evaluation.drawing import COLOURS, bare, style
from evaluation.regime_summary import RegimeHistory, rows, table
from markets.atomic import write_whole

__all__ = [
    "colours_of",
    "figure_format",
    "regime_colours",
    "regime_figure",
    "regime_panels",
    "write_regime_figure",
]

_BY_RISK: Final = ("green", "sky", "yellow", "orange", "vermilion", "purple")
"""From calm to violent."""
_FEW: Final = {1: (0,), 2: (0, 4), 3: (0, 3, 4), 4: (0, 1, 3, 4), 5: (0, 1, 2, 3, 4)}
_FORMATS: Final = ("png", "svg")
_WIDTH: Final = 10.8
"""Of the figure in inches."""
_MOST_ROWS: Final = 800
"""Bars drawn in a page; areas take several times the bytes of lines."""
_LEFT, _RIGHT = 0.075, 0.98
"""Edges of the panels, as shares of it."""
_LETTER: Final = 0.0068
"""Width of a letter of a crisis's name, as a share of the panel."""


def regime_colours(count: int) -> list[str]:
    """Colours of regimes in order of their volatility, the calmest green, the wildest red.

    More than six are shades between those of six.
    """
    if count in _FEW:
        return [COLOURS[_BY_RISK[place]] for place in _FEW[count]]
    between = LinearSegmentedColormap.from_list("risk", [COLOURS[name] for name in _BY_RISK])
    return [to_hex(between(place)) for place in np.linspace(0.0, 1.0, count)]


def write_regime_figure(history: RegimeHistory, path: Path) -> None:
    """Draw a history into a file, which appears whole or not at all; the same bytes each time.

    Args:
        history: see `regime_figure`.
        path: ends in .png or .svg.

    Raises:
        ValueError: another ending, or a history that cannot be drawn.
        OSError: the file cannot be written.
    """
    kind = figure_format(path)
    buffer = io.BytesIO()
    with style():
        figure = regime_figure(history)
        unstamped = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
        figure.savefig(buffer, format=kind, dpi=120, facecolor="white", metadata=unstamped)
    write_whole(path, buffer.getvalue())


def figure_format(path: Path) -> str:
    """The format that a file's ending asks for.

    Raises:
        ValueError: none that is known.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _FORMATS:
        raise ValueError(f"{path}: expected a file ending in .png or .svg, found {path.suffix!r}")
    return kind


def regime_figure(history: RegimeHistory) -> Figure:
    """Draw a history as a detector saw it.

    Args:
        history: T >= 2 bars, levels above zero.

    Raises:
        ValueError: fewer bars, or a level that is not positive.
    """
    return _figure(history, whole=True)


def regime_panels(history: RegimeHistory) -> Figure:
    """Price, beliefs and alarm of a history alone, for a page that has title and tables itself.

    Args:
        history: see `regime_figure`; a long one is thinned, as the report's other figures are.

    Raises:
        ValueError: as `regime_figure`.
    """
    return _figure(_thinned(history), whole=False)


def _thinned(history: RegimeHistory) -> RegimeHistory:
    keep, _ = kept_rows(history.ts_event, _MOST_ROWS)
    # Alarms last for a few bars: those between the rows that are kept count.
    alarm_T = history.alarm_T
    return replace(
        history,
        ts_event=history.ts_event[keep],
        level_T=history.level_T[keep],
        belief_TK=history.belief_TK[keep],
        alarm_T=None if alarm_T is None else np.maximum.reduceat(alarm_T, keep),
        known_from=int(np.searchsorted(keep, history.known_from)),
        refits=tuple(
            replace(mark, bar=int(np.searchsorted(keep, mark.bar))) for mark in history.refits
        ),
    )


def _figure(history: RegimeHistory, *, whole: bool) -> Figure:
    """All panels, or those along time without the title."""
    if len(history.level_T) < 2 or not (history.level_T > 0.0).all():
        raise ValueError("history: expected at least 2 bars with levels above 0, found others")
    lines = max(len(history.names), 4) + 1
    # Heights of the panels in inches, with the room above each for its title and the dates before.
    alarm = [0.55] if history.alarm_T is not None else []
    rooms = [0.75 if whole else 0.4, 0.48, *alarm, *([0.82] if whole else [])]
    heights = [3.1, 1.25, *alarm, *([0.24 * lines] if whole else [])]
    total = sum(rooms) + sum(heights) + (0.15 if whole else 0.35)
    figure = Figure(figsize=(_WIDTH, total))
    bottoms = total - np.cumsum(rooms) - np.cumsum(heights)

    def panel(row: int, left: float, right: float, shared: Axes | None = None) -> Axes:
        place = (left, bottoms[row] / total, right - left, heights[row] / total)
        return figure.add_axes(place, sharex=shared)

    times_T = _places(history.ts_event.astype("datetime64[ns]"))
    colours = colours_of(history)
    price = panel(0, _LEFT, _RIGHT)
    _price(price, history, times_T, colours)
    beliefs = panel(1, _LEFT, _RIGHT, price)
    _beliefs(beliefs, history, times_T, colours, step="post" if whole else None)
    if history.alarm_T is not None:
        _alarm(panel(2, _LEFT, _RIGHT, price), history, times_T, history.alarm_T)
    if whole:
        place = 1.0 - 0.1 / total
        figure.text(_LEFT, place, history.title, va="top", fontsize=13, fontweight="bold")
        _transitions(panel(len(heights) - 1, _LEFT, 0.33), history)
        _table(panel(len(heights) - 1, 0.4, _RIGHT), history, colours)
    return figure


def colours_of(history: RegimeHistory) -> list[str]:
    """Colours of a history's regimes, (K,); what is no longer used is muted."""
    used = len(history.names) - int(history.gone)
    return [*regime_colours(used), *([COLOURS["muted"]] if history.gone else [])]


def _places(times: NDArray[np.datetime64]) -> NDArray[np.float64]:
    # matplotlib leaves its dates unannotated.
    return np.asarray(date2num(times), np.float64)  # type: ignore[no-untyped-call]


def _price(
    axes: Axes, history: RegimeHistory, times_T: NDArray[np.float64], colours: list[str]
) -> None:
    shades = [*colours, COLOURS["grid"]]
    # A bar is drawn in the colour of the regime that was believed at its opening: a line of
    # each stretch of them.
    chosen = history.chosen[:-1]
    edges = [0, *(np.flatnonzero(np.diff(chosen)) + 1), len(chosen)]
    points_T2 = np.stack([times_T, history.level_T], axis=1)
    lines = [points_T2[a : b + 1] for a, b in pairwise(edges)]
    axes.add_collection(
        LineCollection(lines, colors=[shades[chosen[a]] for a in edges[:-1]], linewidths=1.3)
    )
    low, high = float(history.level_T.min()), float(history.level_T.max())
    margin = max(high / low, 1.02) ** 0.05
    axes.set_yscale("log")
    axes.set_xlim(times_T[0], times_T[-1])
    rows = _crises(axes, history, times_T)
    axes.set_ylim(low / margin**1.6, high * margin ** (1.0 + 1.2 * rows))
    axes.yaxis.set_major_locator(FixedLocator(round_ticks(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    axes.set_title("Market (1 at the start), coloured by the most believed regime")
    _fit_edge(axes, history, times_T)
    _refits(axes, history, times_T)
    bare(axes)
    axes.tick_params(labelbottom=False)


def _fit_edge(axes: Axes, history: RegimeHistory, times_T: NDArray[np.float64]) -> None:
    if not 0 < history.known_from < len(times_T):
        return
    start = times_T[history.known_from]
    early = (start - times_T[0]) / (times_T[-1] - times_T[0]) < 0.12
    axes.axvline(start, ymax=0.89, color=COLOURS["ink"], linewidth=0.9, linestyle=":")
    axes.annotate(
        "fitted to the left" if not early else "fitted up to here",
        (start, 0.045),
        xycoords=("data", "axes fraction"),
        xytext=(4 if early else -4, 0),
        textcoords="offset points",
        ha="left" if early else "right",
        color=COLOURS["muted"],
        fontsize=8.5,
    )


def _refits(axes: Axes, history: RegimeHistory, times_T: NDArray[np.float64]) -> None:
    """Short marks on the time axis: a bar for a new model, a cross for one that was refused."""
    if not history.refits:
        return
    looks = {True: ("|", COLOURS["ink"], 1.0), False: ("x", COLOURS["vermilion"], 1.2)}
    told = []
    for accepted, (marker, colour, width) in looks.items():
        bars = [mark.bar for mark in history.refits if mark.accepted is accepted]
        places = times_T[np.minimum(np.array(bars, np.int64), len(times_T) - 1)]
        axes.plot(
            places,
            np.zeros(len(places)),
            linestyle="none",
            marker=marker,
            markersize=7 if accepted else 5,
            markeredgewidth=width,
            color=colour,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            zorder=5,
        )
        told.append(f"{len(bars):,} {'accepted (|)' if accepted else 'refused (x)'}")
    axes.set_title(f"Refits: {', '.join(told)}", loc="right", fontsize=8.5, fontweight="normal")


def _crises(axes: Axes, history: RegimeHistory, times_T: NDArray[np.float64]) -> int:
    """Shade the crises and name them; returns the number of rows that the names take."""
    span = times_T[-1] - times_T[0]
    taken: list[float] = []
    for crisis in history.crises:
        first, last = _places(np.array([crisis.start, crisis.end], "datetime64[ns]"))
        if last < times_T[0] or first > times_T[-1]:
            continue
        first, last = max(first, times_T[0]), min(last, times_T[-1])
        axes.axvspan(first, last, color=COLOURS["grid"], alpha=0.6, linewidth=0.0, zorder=0)
        half = len(crisis.name) * _LETTER / 2.0
        # A name keeps within the panel, and goes a row down where another one is in its way.
        middle = min(max(((first + last) / 2.0 - times_T[0]) / span, half), 1.0 - half)
        row = next((k for k, end in enumerate(taken) if middle - half > end), len(taken))
        taken[row : row + 1] = [middle + half + _LETTER]
        axes.text(
            middle,
            0.985 - 0.05 * row,
            crisis.name,
            transform=axes.transAxes,
            ha="center",
            va="top",
            color=COLOURS["muted"],
            fontsize=8,
        )
    return len(taken)


def _beliefs(
    axes: Axes,
    history: RegimeHistory,
    times_T: NDArray[np.float64],
    colours: list[str],
    step: Literal["post"] | None,
) -> None:
    axes.stackplot(
        times_T,
        np.nan_to_num(history.belief_TK).T,
        colors=colours,
        labels=history.names,
        linewidth=0.0,
        step=step,
    )
    _share_axis(axes)
    axes.yaxis.set_major_locator(FixedLocator([0.0, 0.5, 1.0]))
    axes.set_title("Belief at each close (filtered forward, never smoothed)")
    date_axis(axes)


def _alarm(
    axes: Axes,
    history: RegimeHistory,
    times_T: NDArray[np.float64],
    alarm_T: NDArray[np.float64],
) -> None:
    axes.plot(times_T, alarm_T, color=COLOURS["ink"], linewidth=0.7)
    _share_axis(axes)
    axes.yaxis.set_major_locator(FixedLocator([0.0, 1.0]))
    axes.set_title(f"Probability of a change within the last {history.alarm_bars} bars")
    axes.tick_params(labelbottom=False)


def _share_axis(axes: Axes) -> None:
    axes.set_ylim(0.0, 1.0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.grid(visible=False)
    bare(axes)


def _transitions(axes: Axes, history: RegimeHistory) -> None:
    count = len(history.names) - int(history.gone)
    matrix_KK, names = history.transition_KK[:count, :count], history.names[:count]
    shades = LinearSegmentedColormap.from_list("belief", ["#ffffff", COLOURS["sky"]])
    axes.imshow(matrix_KK, cmap=shades, vmin=0.0, vmax=1.0, aspect="auto")
    size, digits = (8.5, 3) if count <= 4 else (6.5, 2)
    for row, column in np.ndindex(count, count):
        text = f"{matrix_KK[row, column]:.{digits}f}"
        if count > 4:
            text = text.removeprefix("0") if matrix_KK[row, column] >= 0.005 else ""
        axes.text(column, row, text, ha="center", va="center", fontsize=size)
    short = names if count <= 4 else tuple(str(rank + 1) for rank in range(count))
    axes.set_xticks(range(count), short, fontsize=size)
    axes.set_yticks(range(count), short, fontsize=size)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=2)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title("Transitions in a bar, from row to column", pad=6)


def _table(axes: Axes, history: RegimeHistory, colours: list[str]) -> None:
    axes.set_axis_off()
    heading, *body = table(rows(history))
    places = (0.035, 0.27, 0.46, 0.56, 0.78, 1.0)
    lines = max(len(body), 4) + 1
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(lines - 0.5, -0.5)
    for line, cells in enumerate([heading, *body]):
        for column, (place, cell) in enumerate(zip(places, cells, strict=True)):
            axes.text(
                place,
                line,
                cell.capitalize() if line == 0 else cell,
                ha="left" if column == 0 else "right",
                va="center",
                fontsize=8.5,
                color=COLOURS["muted"] if line == 0 else COLOURS["ink"],
            )
        if line:
            axes.plot([0.012], [line], marker="s", markersize=7, color=colours[line - 1])

"""Parts that the figures of options share: colours, blocks of bars, stacks, strips, tinted cells.

Dimensions: T bars, C blocks of bars (columns of a figure), K options, X values of a block.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgba
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from numpy.typing import NDArray

from evaluation.axes import date_axis
from evaluation.drawing import COLOURS, bare, to_svg

__all__ = [
    "Blocks",
    "cell_text",
    "key",
    "matrix_axes",
    "option_colours",
    "page_svg",
    "short",
    "stack",
    "strip",
    "time_axis",
    "tint",
]

Array = NDArray[np.float64]

_COLOURS: Final = ("blue", "yellow", "purple", "grey", "sky", "orange", "green", "vermilion")
"""Of options; the first four are not among those of two or three regimes."""
_VISIBLE: Final = 0.003
"""Steps of a stack smaller than this share of its height are not drawn."""
_STRONGEST: Final = 0.55
"""Opacity of the strongest tint: text on it is read on a light page and on a dark one."""
_FIRST_DATE: Final = 10**15
"""Times from here on are ns UTC, smaller ones are bar numbers."""
_KIND: Final = re.compile(r"^(option \d+) \((.+)\)$")
_PATH: Final = re.compile(r' d="[^"]*"')


def option_colours(count: int) -> list[str]:
    """Colours of options; more than eight are shades between those of eight."""
    if count <= len(_COLOURS):
        return [COLOURS[name] for name in _COLOURS[:count]]
    between = LinearSegmentedColormap.from_list("options", [COLOURS[name] for name in _COLOURS])
    return [to_hex(between(place)) for place in np.linspace(0.0, 1.0, count)]


def short(name: str, most: int = 18) -> str:
    """A name that fits beside a figure; of "option 2 (momentum)" what tells most comes first."""
    kind = _KIND.match(name)
    if kind is not None:
        full = f"{kind[2]}, {kind[1]}"
        name = full if len(full) <= most else kind[2]
    return name if len(name) <= most else name[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def page_svg(draw: Callable[[], Figure], *, name: str) -> str:
    """A figure as an SVG element for a page, its places rounded to a hundredth of a point.

    Args:
        draw: makes the figure.
        name: prefix of the element ids.
    """
    element = to_svg(draw, name=name)
    return _PATH.sub(lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), element)


@dataclass(frozen=True)
class Blocks:
    """Bars put together, for a long history has more of them than a figure has columns.

    Attributes:
        start_C: first bar of each block.
        edges_X: where blocks begin and the last one ends, on the time axis, (C + 1,).
        dated: whether the axis is of dates; otherwise of bar numbers.
        bars: bars of the history.
        size: bars of a block; the last one may have fewer.
    """

    start_C: NDArray[np.int64]
    edges_X: Array
    dated: bool
    bars: int
    size: int

    @classmethod
    def of(cls, times_T: NDArray[np.int64], most: int) -> "Blocks":
        """Blocks of the same number of bars, `most` of them at most.

        Args:
            times_T: ns UTC, or bar numbers.
            most: columns of the figure.
        """
        bars = len(times_T)
        size = -(-bars // most)
        start_C = np.arange(0, bars, size)
        dated = bool(times_T[0] >= _FIRST_DATE)
        # matplotlib leaves its dates unannotated.
        places_T = np.asarray(
            date2num(times_T.astype("datetime64[ns]")) if dated else times_T,  # type: ignore[no-untyped-call]
            np.float64,
        )
        width = float(np.median(np.diff(places_T))) if bars > 1 else 1.0
        return cls(start_C, np.append(places_T[start_C], places_T[-1] + width), dated, bars, size)

    def mean(self, values_TX: Array) -> Array:
        """Mean of each block, (C, X)."""
        counts_C1 = np.diff(np.append(self.start_C, self.bars))[:, None]
        return np.asarray(np.add.reduceat(values_TX, self.start_C, axis=0) / counts_C1)

    def peak(self, values_T: Array) -> Array:
        """Largest value of each block, (C,)."""
        return np.asarray(np.maximum.reduceat(values_T, self.start_C))

    def usual(self, number_T: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Most frequent number of each block, (C,); -1 counts as the last one."""
        return np.asarray(self.mean(np.eye(count)[number_T]).argmax(axis=1))


def time_axis(axes: Axes, blocks: Blocks, *, named: bool) -> None:
    """Dates or bar numbers along the base line, from the first bar to the end of the last.

    Args:
        axes: the panel.
        blocks: what is drawn.
        named: whether the ticks are labelled; panels above the last one leave that to it.
    """
    if blocks.dated:
        date_axis(axes)
    elif named:
        axes.set_xlabel("bar")
    axes.set_xlim(blocks.edges_X[0], blocks.edges_X[-1])
    axes.tick_params(labelbottom=named)
    axes.xaxis.offsetText.set_visible(named)
    bare(axes)


def stack(axes: Axes, edges_X: Array, share_CK: Array, colours: Sequence[str]) -> None:
    """Shares that sum to 1, on each other, with steps from block to block.

    Args:
        axes: the panel.
        edges_X: edges of the blocks, (C + 1,).
        share_CK: rows on the simplex; the first column lies lowest.
        colours: one a column.
    """
    # Each layer reaches down to zero behind those before it, so that no seam shows between them.
    top_CK = np.clip(np.nan_to_num(share_CK).cumsum(axis=1), 0.0, 1.0)
    for layer in range(top_CK.shape[1])[::-1]:
        points_P2 = _outline(edges_X, top_CK[:, layer])
        axes.add_patch(Polygon(points_P2, closed=True, facecolor=colours[layer], linewidth=0.0))
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([0.0, 0.5, 1.0], ["0%", "50%", "100%"])
    axes.grid(visible=False)


def strip(
    axes: Axes,
    edges_X: Array,
    number_C: NDArray[np.int64],
    colours: Sequence[str],
    span: tuple[float, float] = (0.0, 1.0),
) -> None:
    """Which of several it was, as a coloured strip.

    Args:
        axes: the panel.
        edges_X: edges of the blocks, (C + 1,).
        number_C: which one; negative ones are left blank.
        colours: of each number.
        span: bottom and top of the strip.
    """
    low, high = span
    for number, colour in enumerate(colours):
        inside_C = (number_C == number).astype(np.float64)
        if inside_C.any():
            points_P2 = _outline(edges_X, inside_C)
            points_P2[:, 1] = low + (high - low) * points_P2[:, 1]
            axes.add_patch(Polygon(points_P2, closed=True, facecolor=colour, linewidth=0.0))


def _outline(edges_X: Array, height_C: Array) -> Array:
    """Corners (P, 2) of a step function above zero, without the steps that nobody sees."""
    kept = [0]
    for column, height in enumerate(height_C):
        if abs(height - height_C[kept[-1]]) > _VISIBLE:
            kept.append(column)
    x_P = np.repeat(np.append(edges_X[kept], edges_X[-1]), 2)
    y_P = np.concatenate([[0.0], np.repeat(height_C[kept], 2), [0.0]])
    return np.column_stack([x_P, y_P])


def key(axes: Axes, names: Sequence[str], colours: Sequence[str], *, top: bool = True) -> None:
    """Names of a stack's layers to the right of it, in the order in which they lie.

    Args:
        axes: the panel.
        names: of the layers, the lowest first.
        colours: likewise.
        top: whether the last one stands first, as in a stack.
    """
    handles = [Rectangle((0, 0), 1, 1, facecolor=colour) for colour in colours]
    order = range(len(names))[::-1] if top else range(len(names))
    axes.legend(
        [handles[k] for k in order],
        [short(names[k]) for k in order],
        loc="center left",
        bbox_to_anchor=(1.008, 0.5),
        borderaxespad=0.0,
        borderpad=0.0,
        frameon=False,
        handlelength=0.9,
        handleheight=0.9,
        labelspacing=0.3 if len(names) <= 6 else 0.12,
        labelcolor=COLOURS["ink"],
        fontsize=8.5,
    )


def tint(axes: Axes, column: int, row: int, strength: float) -> None:
    """Colour a unit cell: vermilion below zero, blue above, blank at zero and where undefined.

    Args:
        axes: the panel, whose cells are centred on whole numbers.
        column: of the cell.
        row: likewise.
        strength: -1 .. 1; NaN is hatched by no colour but a frame.
    """
    corner = (column - 0.5, row - 0.5)
    if not np.isfinite(strength):
        axes.add_patch(
            Rectangle(corner, 1, 1, facecolor="none", edgecolor=COLOURS["grid"], linewidth=0.8)
        )
        return
    colour = COLOURS["blue" if strength >= 0.0 else "vermilion"]
    opacity = _STRONGEST * min(1.0, abs(strength)) ** 0.8
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=to_rgba(colour, opacity), linewidth=0.0))


def cell_text(
    axes: Axes, column: float, row: float, text: str, *, size: float = 9.0, muted: bool = False
) -> None:
    """Write into a cell, in ink that every tint lets through."""
    axes.text(
        column,
        row,
        text.replace("-", "\N{MINUS SIGN}"),
        ha="center",
        va="center",
        fontsize=size,
        color=COLOURS["muted" if muted else "ink"],
    )


def matrix_axes(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Cells centred on whole numbers, rows from above, names beside and above them."""
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), [short(name, 12) for name in columns], fontsize=8.5)
    axes.set_yticks(range(len(rows)), rows, fontsize=9)
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=3)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)

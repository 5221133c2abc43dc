"""Who acted, along time: weights of options beside price and belief, and switches.

Long histories are drawn in blocks of bars, by their means and by their largest disruption; numbers
in tables never are.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from evaluation.drawing import COLOURS, bare
from evaluation.option_drawing import Blocks, key, option_colours, stack, strip, time_axis
from evaluation.option_history import OptionHistory
from evaluation.regime_plots import regime_colours

__all__ = ["believed", "disruption", "switches", "switches_figure", "weights_figure"]

Array = NDArray[np.float64]

_WIDTH: Final = 10.4
_LEFT, _RIGHT = 0.078, 0.852
_MOST_COLUMNS: Final = 800
"""Blocks of bars in a figure."""
_MOST_STEPS: Final = 4800
"""Steps of all layers together, for the size of the page."""


def disruption(history: OptionHistory) -> Array:
    """D_t = 1/2 sum_k |w_t(k) - w_{t-1}(k)| of every bar; 0 of the first, which none precedes."""
    moved_T = np.asarray(0.5 * np.abs(history.weights_TK - history.previous_TK).sum(axis=1))
    moved_T[:1] = 0.0
    return moved_T


def believed(history: OptionHistory) -> NDArray[np.int64]:
    """Most believed regime of each bar, -1 where there is no belief, (T,)."""
    if not history.belief_TR.shape[1]:
        return np.full(len(history.times), -1, np.int64)
    known_T = np.isfinite(history.belief_TR).all(axis=1) & history.belief_TR.any(axis=1)
    return np.where(known_T, np.nan_to_num(history.belief_TR).argmax(axis=1), -1)


def switches(history: OptionHistory) -> NDArray[np.int64]:
    """Bars in which another option leads than in the bar before."""
    return np.flatnonzero(np.diff(history.weights_TK.argmax(axis=1))) + 1


def weights_figure(history: OptionHistory) -> Figure:
    """Price, regimes and weights of options over one account's time.

    Args:
        history: T >= 1 bars.
    """
    options, regimes = history.weights_TK.shape[1], history.belief_TR.shape[1]
    told = regimes > 1
    columns = min(_MOST_COLUMNS, _MOST_STEPS // (options + regimes))
    blocks = Blocks.of(history.times, columns)
    # Heights of the panels in inches.
    heights = [1.55, *([0.85] if told else []), 1.9]
    figure, panels = _panels(heights)
    _price(panels[0], history, blocks)
    colours = option_colours(options)
    if told:
        shades = regime_colours(regimes)
        stack(panels[1], blocks.edges_X, blocks.mean(history.belief_TR), shades)
        key(panels[1], history.regime_names, shades)
        panels[1].set_title("Belief about the regime")
    lowest = panels[-1]
    stack(lowest, blocks.edges_X, blocks.mean(history.weights_TK), colours)
    key(lowest, history.names, colours)
    lowest.set_title("Weight of each option" + _thinned(blocks, "means of"))
    for axes in panels:
        time_axis(axes, blocks, named=axes is lowest)
    return figure


def switches_figure(history: OptionHistory, cap: float | None = None) -> Figure:
    """Which option leads, what the gate proposes, the regime, and the disruption of each bar.

    Args:
        history: T >= 1 bars.
        cap: largest disruption of a blended step, beta_max; None draws no line.
    """
    options, regimes = history.weights_TK.shape[1], history.belief_TR.shape[1]
    blocks = Blocks.of(history.times, _MOST_COLUMNS)
    rows = [
        (name, blocks.mean(weights_TK).argmax(axis=1), option_colours(options))
        for name, weights_TK in (
            ("acts most", history.weights_TK),
            ("gate wants", history.proposal_TK),
        )
    ]
    if regimes > 1:
        rows.append(("believed", _believed(history, blocks), regime_colours(regimes)))
    if history.regime_T is not None and _count(history) > 1:
        true_C = blocks.usual(history.regime_T, _count(history))
        rows.append(("true", true_C, regime_colours(_count(history))))
    figure, (upper, lower) = _panels([0.3 + 0.34 * len(rows), 1.25])
    for place, (_, number_C, colours) in enumerate(rows):
        strip(upper, blocks.edges_X, number_C, colours, (-place - 0.36, -place + 0.36))
    _mark_switches(upper, history, blocks)
    upper.set_ylim(0.5 - len(rows), 0.88)
    upper.set_yticks([-place for place in range(len(rows))], [name for name, *_ in rows])
    upper.tick_params(axis="y", labelcolor=COLOURS["ink"], labelsize=9)
    upper.grid(visible=False)
    upper.set_title("The option that acts most, and switches" + _thinned(blocks, "in blocks of"))
    names = [*history.names, *(history.regime_names if len(rows) > 2 else ())]
    shades = [*option_colours(options), *(rows[-1][2] if len(rows) > 2 else ())]
    key(upper, names, shades, top=False)
    _disruption(lower, history, blocks, cap)
    for axes in (upper, lower):
        time_axis(axes, blocks, named=axes is lower)
    return figure


def _panels(heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """Panels below each other with room for their titles, heights in inches."""
    room, foot = 0.36, 0.48
    total = sum(heights) + room * len(heights) + foot
    figure = Figure(figsize=(_WIDTH, total))
    panels: list[Axes] = []
    top = total
    for height in heights:
        top -= room + height
        place = (_LEFT, top / total, _RIGHT - _LEFT, height / total)
        panels.append(figure.add_axes(place, sharex=panels[0] if panels else None))
    return figure, panels


def _thinned(blocks: Blocks, what: str) -> str:
    return f" ({what} {blocks.size} bars)" if blocks.size > 1 else ""


def _count(history: OptionHistory) -> int:
    """Regimes, of those that are named and those that came."""
    came = 0 if history.regime_T is None else int(history.regime_T.max()) + 1
    return max(came, len(history.regime_names))


def _believed(history: OptionHistory, blocks: Blocks) -> NDArray[np.int64]:
    """Most believed regime of each block, -1 where there is no belief."""
    regimes = history.belief_TR.shape[1]
    return np.where(
        (found_C := blocks.usual(believed(history), regimes + 1)) == regimes, -1, found_C
    )


def _price(axes: Axes, history: OptionHistory, blocks: Blocks) -> None:
    """The line in the colours of the regime believed most, above a strip of the true one."""
    price_C = history.price_T[blocks.start_C]
    points_C2 = np.column_stack([blocks.edges_X[:-1], price_C])
    regimes = history.belief_TR.shape[1]
    title = "Price" if history.regime_T is not None else "Market (1 at the start)"
    if regimes > 1:
        chosen_C = _believed(history, blocks)
        edges = [0, *(np.flatnonzero(np.diff(chosen_C)) + 1), len(chosen_C)]
        lines = [points_C2[a : b + 1] for a, b in pairwise(edges)]
        palette = [*regime_colours(regimes), COLOURS["grid"]]
        shades = [palette[chosen_C[a]] for a in edges[:-1]]
        axes.add_collection(LineCollection(lines, colors=shades, linewidths=1.4))
        title += ", coloured by the most believed regime"
    else:
        axes.plot(*points_C2.T, color=COLOURS["ink"], linewidth=1.2)
    low, high = float(price_C.min()), float(price_C.max())
    margin = 0.06 * max(high - low, 1e-9 * max(1.0, abs(high)))
    bottom = low - margin
    if history.regime_T is not None and _count(history) > 1:
        thick = 2.0 * margin
        bottom = low - 2.4 * margin - thick
        true_C = blocks.usual(history.regime_T, _count(history))
        strip(axes, blocks.edges_X, true_C, regime_colours(_count(history)),
              (bottom, bottom + thick))  # fmt: skip
        title += "; strip: the true one" if regimes > 1 else "; strip: the true regime"
    axes.set_ylim(bottom, high + margin)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_title(title)


def _mark_switches(axes: Axes, history: OptionHistory, blocks: Blocks) -> None:
    """A short mark above the strip at every switch, one for all those of a block."""
    block_S = np.unique(np.searchsorted(blocks.start_C, switches(history), side="right") - 1)
    if not len(block_S):
        return
    x_S = blocks.edges_X[block_S]
    axes.plot(
        np.column_stack([x_S, x_S, np.full(len(x_S), np.nan)]).ravel(),
        np.tile([0.48, 0.78, np.nan], len(x_S)),
        color=COLOURS["ink"],
        linewidth=0.8,
        solid_capstyle="butt",
    )


def _disruption(axes: Axes, history: OptionHistory, blocks: Blocks, cap: float | None) -> None:
    moved_C = blocks.peak(disruption(history))
    edges_X = blocks.edges_X
    x_P, y_P = np.repeat(edges_X, 2), np.concatenate([[0.0], np.repeat(moved_C, 2), [0.0]])
    axes.add_patch(
        Polygon(np.column_stack([x_P, y_P]), closed=True, facecolor=COLOURS["muted"], linewidth=0.0)
    )
    highest = max(float(moved_C.max()), 0.0 if cap is None else cap)
    if cap is not None:
        axes.axhline(cap, color=COLOURS["vermilion"], linewidth=1.2, linestyle="--")
        axes.annotate(
            f"largest allowed,\nβ_max = {cap:g}",
            (1.008, cap),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=8.5,
            color=COLOURS["vermilion"],
            annotation_clip=False,
        )
    axes.set_ylim(0.0, 1.08 * highest if highest > 0.0 else 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.set_title(
        "Disruption D: share of the weight that moved in a bar" + _thinned(blocks, "largest of")
    )
    bare(axes)

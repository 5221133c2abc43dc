"""The figures of an optimality report: shares, policies over the state, bands, holdings.

Heat maps fade into the page at zero, so that they are right on a light page and on a dark one.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evaluation.bootstrap import Interval
from evaluation.drawing import COLOURS, bare
from evaluation.optimality_result import NOTHING, OptimalityEvaluation, Row
from evaluation.optimality_states import Slice

__all__ = [
    "band_figure",
    "contours",
    "figures",
    "heat",
    "holdings_figure",
    "policy_figure",
    "policy_label",
    "ratio_figure",
    "scale_bar",
]

Array = NDArray[np.float64]

LABELS: Final = {
    "agent": "Agent",
    "oracle_known": "Optimum, regime known",
    "oracle_belief": "Optimum, regime filtered",
    "do_nothing": "Do nothing",
    "myopic": "Myopic (ignores costs)",
    "buy_and_hold": "Buy and hold",
    "blind": "Blind to regimes",
}
"""Names of policies for readers."""

_LEAST_SHARE = -0.25
"""Shares further below zero are drawn as an arrow at the edge."""
_BINS = 72


def policy_label(name: str) -> str:
    """A policy's name for readers."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def figures(found: OptimalityEvaluation) -> dict[str, Callable[[], Figure]]:
    """What draws each figure that this market has, by name."""
    drawn: dict[str, Callable[[], Figure]] = {}
    if not found.undefined:
        drawn["ratio"] = lambda: ratio_figure(found)
    if found.slices:
        drawn["policy"] = lambda: policy_figure(found.slices, found.additive)
    if any(part.band_2X is not None and not part.flat for part in found.slices):
        drawn["band"] = lambda: band_figure(found.slices, found.additive)
    drawn["holdings"] = lambda: holdings_figure(found)
    return drawn


def ratio_figure(found: OptimalityEvaluation) -> Figure:
    """Share of the optimum with its interval: the agent, its seeds as dots, oracles and rules."""
    seeds = [row for row in found.table if row.kind == "seed"]
    rows = [row for row in found.table if row.kind != "seed"]
    rows = sorted(rows, key=lambda row: (row.kind == "agent", row.ratio.estimate))
    height = 1.1 + 0.36 * len(rows)
    figure = Figure(figsize=(10.4, height))
    axes = figure.subplots()
    top = max(1.0, *(row.ratio.high for row in rows), *(row.ratio.high for row in seeds))
    low = min(0.0, *(row.ratio.low for row in rows))
    low = max(low, _LEAST_SHARE) - 0.04
    for place, row in enumerate(rows):
        _draw_share(axes, place, row, low, top)
    dots = np.clip([row.ratio.estimate for row in seeds], low, top)
    axes.plot(dots, np.full(len(dots), len(rows) - 0.72), "o", ms=4, mew=0, alpha=0.55,
              color=COLOURS["blue"])  # fmt: skip
    for end in (0.0, 1.0):
        axes.axvline(end, color=COLOURS["ink"], linewidth=0.9, zorder=0.9)
    axes.set_yticks(range(len(rows)), [policy_label(row.name) for row in rows])
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_color(COLOURS["ink"])
        tick.set_fontweight("bold" if row.kind == "agent" else "normal")
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_ylim(-0.6, len(rows) - 0.3)
    axes.set_xlim(low, top + 0.04 * (top - low))
    axes.set_xlabel("share of what the optimum earns (0: do nothing, 1: the optimum)")
    axes.set_title("Share of the optimum", x=-0.222)
    bare(axes)
    figure.subplots_adjust(left=0.185, right=0.84, top=1.0 - 0.36 / height, bottom=0.52 / height)
    return figure


def policy_figure(parts: Sequence[Slice], additive: bool) -> Figure:  # noqa: FBT001 - one flag
    """Target holdings over the state: learned, optimal, and their difference.

    Args:
        parts: slices, of two coordinates (heat maps) or of one (curves).
        additive: holdings are units; otherwise weights of equity.
    """
    unit = "units" if additive else "weight"
    if parts[0].flat:
        return _curves(parts, unit)
    rows = len(parts)
    figure, inches = _panels(rows, 3)
    reach = max(float(np.abs([part.learned_YX, part.oracle_YX]).max()) for part in parts) or 1.0
    for row, part in enumerate(parts):
        gap_YX = part.learned_YX - part.oracle_YX
        drawn = (("Agent", part.learned_YX), ("Optimum", part.oracle_YX), ("Difference", gap_YX))
        for column, (name, values_YX) in enumerate(drawn):
            axes = figure.add_subplot(rows, 3, 3 * row + column + 1)
            heat(axes, part, values_YX, reach)
            contours(axes, part, values_YX, reach)
            title = f"{name}" if not part.title else f"{name}, {_lower(part.title)}"
            axes.set_title(title)
            _name_axes(axes, part, bottom=row == rows - 1, left=column == 0)
    _arrange(figure, inches, rows)
    scale_bar(figure, reach, f"target holding, {unit}")
    return figure


def band_figure(parts: Sequence[Slice], additive: bool) -> Figure:  # noqa: FBT001 - one flag
    """Direction and size of the agent's trades, with the optimum's no-trade band drawn over.

    Args:
        parts: slices; those without a band are left out.
        additive: holdings are units; otherwise weights of equity.
    """
    banded = [part for part in parts if part.band_2X is not None and not part.flat]
    drawn = [(part.title, part, part.learned_YX - part.start_YX) for part in banded]
    if len(banded) == 1:
        part = banded[0]
        drawn = [("Agent", *drawn[0][1:]), ("Optimum", part, part.oracle_YX - part.start_YX)]
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    figure, inches = _panels(rows, columns)
    # Far from the band trades are large; the picture is about where they change their sign.
    reach = max(float(np.quantile(np.abs(trade_YX), 0.8)) for *_, trade_YX in drawn) or 1.0
    for number, (title, part, trade_YX) in enumerate(drawn):
        axes = figure.add_subplot(rows, columns, number + 1)
        heat(axes, part, trade_YX, reach)
        _draw_band(axes, part)
        axes.set_title(title)
        _name_axes(axes, part, bottom=number >= len(drawn) - columns, left=number % columns == 0)
    _arrange(figure, inches, rows)
    scale_bar(figure, reach, f"bought (sold), {'units' if additive else 'weight'}")
    return figure


def holdings_figure(found: OptimalityEvaluation) -> Figure:
    """Holdings of the agent against the optimum's on the same paths, and one episode of both."""
    learned_LNA = found.agents[found.shown].holding_LNA
    optimal_LNA = found.oracles[found.reference].holding_LNA
    figure = Figure(figsize=(10.4, 3.7))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.0, 1.9)})
    unit = "units" if found.additive else "weight of equity"
    both = np.concatenate([learned_LNA.ravel(), optimal_LNA.ravel()])
    reach = 1.08 * float(np.quantile(np.abs(both), 0.9995)) or 1.0
    counts_XY, *_ = np.histogram2d(
        optimal_LNA.ravel(), learned_LNA.ravel(), bins=_BINS, range=[[-reach, reach]] * 2
    )
    shade = np.log1p(counts_XY.T) / max(float(np.log1p(counts_XY.max())), 1e-12)
    left.imshow(shade, cmap=_fading("blue"), vmin=0.0, vmax=1.0, origin="lower", aspect="equal",
                extent=(-reach, reach, -reach, reach), interpolation="none")  # fmt: skip
    left.plot([-reach, reach], [-reach, reach], color=COLOURS["ink"], linewidth=0.9)
    fit = "" if np.isnan(found.agreement) else f", R² = {found.agreement:.2f}"
    left.set_title(f"Agent against optimum{fit}")
    left.set_xlabel(f"optimum holds, {unit}")
    left.set_ylabel(f"agent holds, {unit}")
    left.grid(visible=True, axis="both")
    bare(left)
    bars_L = np.arange(1, len(learned_LNA) + 1)
    right.axhline(0.0, color=COLOURS["muted"], linewidth=0.8)
    right.plot(
        bars_L, optimal_LNA[:, 0, 0], color=COLOURS["orange"], linewidth=1.6, label="Optimum"
    )
    right.plot(bars_L, learned_LNA[:, 0, 0], color=COLOURS["blue"], linewidth=1.3, label="Agent")
    right.set_title(f"Holdings in one episode, {unit}")
    right.set_xlabel("bar")
    right.margins(x=0.0)
    right.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False,
                 handlelength=1.2, borderaxespad=0.1)  # fmt: skip
    bare(right)
    figure.subplots_adjust(left=0.06, right=0.985, top=0.9, bottom=0.15, wspace=0.16)
    return figure


def _draw_share(axes: Axes, place: int, row: Row, low: float, top: float) -> None:
    colours = {"agent": "blue", "oracle": "orange", "rule": "muted"}
    colour, strong = COLOURS[colours[row.kind]], row.kind == "agent"
    found = row.ratio
    if found.estimate < low:
        axes.annotate("", (low, place), (low + 0.06 * (top - low), place),
                      arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.5})  # fmt: skip
    else:
        ends = np.clip([found.low, found.high], low, None)
        axes.plot(ends, [place] * 2, color=colour, linewidth=3.0 if strong else 1.8)
        axes.plot([found.estimate], [place], "o", ms=8 if strong else 6, color=colour, mew=0)
    axes.text(
        1.015,
        place,
        _share_text(found, row.name),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=9,
        fontweight="bold" if strong else "normal",
        color=COLOURS["ink"] if strong else COLOURS["muted"],
    )


def _share_text(found: Interval, name: str) -> str:
    text = f"{found.estimate:.2f}"
    if name != NOTHING and found.width > 1e-9:
        text += f"  [{found.low:.2f}, {found.high:.2f}]"
    return text.replace("-", "\N{MINUS SIGN}")


def _curves(parts: Sequence[Slice], unit: str) -> Figure:
    figure = Figure(figsize=(10.4, 3.7))
    panels = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    for axes, part in zip(panels, parts, strict=True):
        if part.band_2X is not None:
            low, high = float(part.band_2X[0].min()), float(part.band_2X[1].max())
            axes.axhspan(low, high, color=COLOURS["orange"], alpha=0.16, lw=0)
        axes.plot(part.x_X, part.x_X, color=COLOURS["muted"], linewidth=0.9, linestyle=":")
        axes.plot(part.x_X, part.oracle_YX[0], color=COLOURS["orange"], linewidth=2.0,
                  label="Optimum")  # fmt: skip
        axes.plot(part.x_X, part.learned_YX[0], color=COLOURS["blue"], linewidth=2.0,
                  label="Agent")  # fmt: skip
        axes.set_title(part.title or "Target holding")
        axes.set_xlabel(part.x_label)
        axes.margins(x=0.0)
        bare(axes)
    panels[0].set_ylabel(f"target holding, {unit}")
    panels[-1].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2,
                      frameon=False, handlelength=1.2, borderaxespad=0.1)  # fmt: skip
    figure.subplots_adjust(left=0.07, right=0.985, top=0.91, bottom=0.14, wspace=0.08)
    return figure


def _panels(rows: int, columns: int) -> tuple[Figure, float]:
    inches = 0.85 + rows * (2.75 if columns == 3 else 3.6)
    return Figure(figsize=(10.4, inches)), inches


def _arrange(figure: Figure, inches: float, rows: int) -> None:
    figure.subplots_adjust(
        left=0.065, right=0.9, top=1.0 - 0.32 / inches, bottom=0.52 / inches,
        wspace=0.13, hspace=0.26 if rows > 1 else 0.2,
    )  # fmt: skip


def heat(axes: Axes, part: Slice, values_YX: Array, reach: float) -> None:
    """Values over the state of a slice, blank at zero and strongest at `reach`."""
    half_x, half_y = ((axis[1] - axis[0]) / 2.0 for axis in (part.x_X, part.y_Y))
    extent = (part.x_X[0] - half_x, part.x_X[-1] + half_x,
              part.y_Y[0] - half_y, part.y_Y[-1] + half_y)  # fmt: skip
    axes.imshow(values_YX, cmap=_diverging(), vmin=-reach, vmax=reach, origin="lower",
                aspect="auto", extent=extent, interpolation="none")  # fmt: skip
    axes.grid(visible=False)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(True)
        axes.spines[side].set_color(COLOURS["grid"])
    axes.tick_params(length=0)


def contours(axes: Axes, part: Slice, values_YX: Array, reach: float) -> None:
    """The same levels in every panel, so that shapes can be compared."""
    levels = np.array([-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75]) * reach
    inside = levels[(levels > values_YX.min()) & (levels < values_YX.max())]
    if len(inside):
        widths = [1.5 if abs(level) < 1e-12 * reach else 0.6 for level in inside]
        axes.contour(part.x_X, part.y_Y, values_YX, levels=inside, colors=COLOURS["ink"],
                     linewidths=widths, linestyles="solid", alpha=0.75)  # fmt: skip


def _draw_band(axes: Axes, part: Slice) -> None:
    assert part.band_2X is not None  # noqa: S101 - the caller chose those that have one
    limits = axes.get_ylim()
    low_X, high_X = part.band_2X
    for edge_X in (low_X, high_X):
        axes.plot(part.x_X, edge_X, color=COLOURS["ink"], linewidth=1.8)
    widest = int(np.argmax(np.where(np.abs(part.x_X - part.x_X.mean()) < 0.3 * np.ptp(part.x_X),
                                    high_X - low_X, -1.0)))  # fmt: skip
    # Only where the words fit between the lines.
    if high_X[widest] - low_X[widest] > 0.16 * (limits[1] - limits[0]):
        axes.annotate("no trade", (part.x_X[widest], 0.5 * (low_X[widest] + high_X[widest])),
                      ha="center", va="center", fontsize=8.5, color=COLOURS["ink"])  # fmt: skip
    axes.set_ylim(limits)


def _name_axes(axes: Axes, part: Slice, *, bottom: bool, left: bool) -> None:
    axes.tick_params(labelbottom=bottom, labelleft=left)
    if bottom:
        axes.set_xlabel(part.x_label)
    if left:
        axes.set_ylabel(part.y_label)


def scale_bar(figure: Figure, reach: float, name: str) -> None:
    """A colour scale of its own: matplotlib's is made of stripes that show in an SVG."""
    height = figure.get_figheight()
    axes = figure.add_axes((0.922, 0.5 - 0.8 / height, 0.013, 1.6 / height))
    axes.imshow(np.linspace(-1.0, 1.0, 128)[:, None], cmap=_diverging(), origin="lower",
                aspect="auto", extent=(0.0, 1.0, -reach, reach), interpolation="none")  # fmt: skip
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_ylabel(name, fontsize=8.5)
    axes.tick_params(length=0, labelsize=8.5)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _diverging() -> ListedColormap:
    """Vermilion below zero, blue above, nothing at zero."""
    strength = np.linspace(-1.0, 1.0, 255)
    colours = np.where(
        (strength < 0.0)[:, None], to_rgb(COLOURS["vermilion"]), to_rgb(COLOURS["blue"])
    )
    return ListedColormap(np.column_stack([colours, np.abs(strength) ** 0.8]))


def _fading(colour: str) -> LinearSegmentedColormap:
    """From nothing to a colour."""
    rgb = to_rgb(COLOURS[colour])
    return LinearSegmentedColormap.from_list("fading", [(*rgb, 0.0), (*rgb, 1.0)])


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]

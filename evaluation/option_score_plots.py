"""What options are worth: scores by regime, what a limit on disruption costs, and ablations.

Dimensions: S rows (options and the agent), R columns (regimes).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from evaluation.bootstrap import Interval
from evaluation.drawing import COLOURS, bare
from evaluation.option_drawing import cell_text, matrix_axes, short, tint

__all__ = ["CurvePoint", "ablations_figure", "curve_figure", "matrix_figure", "scale_of", "shown"]

Array = NDArray[np.float64]

_WIDTH: Final = 10.4
_POWERS: Final = {3: "³", 6: "⁶", 9: "⁹"}
_LIMITS: Final = (0.02, 0.05, 0.1, 0.22, 0.5, 1.0)
"""Ticks of disruption."""
_NEAR: Final = 1.3
"""Ratio of disruptions below which names of points would overlap."""
_NONE: Final = "\N{EN DASH}"


@dataclass(frozen=True)
class CurvePoint:
    """An agent under one limit on its disruption.

    Attributes:
        cap: the limit beta_max; None where one option acts at a time.
        disruption: the largest one that came.
        score: what it earns.
    """

    cap: float | None
    disruption: float
    score: Interval


def scale_of(values: Array) -> tuple[float, str]:
    """A power of a thousand that makes small scores readable, and how it is written before a unit.

    Args:
        values: of any shape; not a number is left out.
    """
    finite = np.abs(values[np.isfinite(values)])
    size = float(finite.max()) if finite.size else 0.0
    if not 1e-9 < size < 0.1:
        return 1.0, ""
    power = min(9, 3 * int(np.ceil(-np.log10(size) / 3.0)))
    return 10.0**power, f"10\N{SUPERSCRIPT MINUS}{_POWERS[power]} "


def shown(value: float, factor: float = 1.0) -> str:
    """A number with three digits or so, a dash where there is none."""
    scaled = factor * value
    if not np.isfinite(scaled):
        return _NONE
    digits = 0 if abs(scaled) >= 100.0 else 1 if abs(scaled) >= 10.0 else 2
    text = f"{scaled:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0.0 else text.replace("-", "\N{MINUS SIGN}")


def matrix_figure(
    scores: Mapping[str, Sequence[Interval]], regimes: Sequence[str], *, own: str, unit: str
) -> Figure:
    """Score of each row in each regime, tinted by how much it is above the agent's own there.

    Args:
        scores: of each row, an interval a column; not a number where a regime never came.
        regimes: names of the columns.
        own: the row of the agent itself; tints are of the scores themselves where there is none.
        unit: of the scores.
    """
    names = list(scores)
    value_SR = np.array([[cell.estimate for cell in scores[name]] for name in names])
    base_R = value_SR[names.index(own)] if own in scores else np.zeros(len(regimes))
    gap_SR = value_SR - base_R
    known = np.abs(gap_SR[np.isfinite(gap_SR)])
    reach = float(known.max()) if known.size and known.max() > 0.0 else 1.0
    factor, prefix = scale_of(value_SR)
    height = 0.46 * len(names)
    total, left = height + 0.72, 0.19
    figure = Figure(figsize=(_WIDTH, total))
    width = min(0.79, 1.9 * len(regimes) / _WIDTH)
    axes = figure.add_axes((left, 0.06 / total, width, height / total))
    for row, column in np.ndindex(value_SR.shape):
        tint(axes, column, row, float(gap_SR[row, column]) / reach)
        _write(axes, column, row, scores[names[row]][column], factor)
    matrix_axes(axes, [short(name, 24) for name in names], regimes)
    if own in scores:
        axes.get_yticklabels()[names.index(own)].set_fontweight("bold")
    axes.set_title(f"Score in each regime, {prefix}{unit}", pad=20)
    return figure


def _write(axes: Axes, column: int, row: int, cell: Interval, factor: float) -> None:
    ranged = np.isfinite(cell.width) and cell.width > 0.0
    cell_text(axes, column, row - (0.15 if ranged else 0.0), shown(cell.estimate, factor))
    if ranged:
        text = f"[{shown(cell.low, factor)}, {shown(cell.high, factor)}]"
        cell_text(axes, column, row + 0.23, text, size=7.2)


def curve_figure(
    points: Sequence[CurvePoint], *, cap: float | None, unit: str, switching: bool = False
) -> Figure:
    """Score against the largest disruption: a blended agent under several limits, and the hard one.

    Args:
        points: at least one.
        cap: the limit of the agent as it was trained; None where it has none.
        unit: of the scores.
        switching: points stand at their rate of switches instead, for one option at a time.
    """
    figure = Figure(figsize=(_WIDTH, 3.7))
    axes = figure.subplots()
    values = np.array([[p.score.low, p.score.estimate, p.score.high] for p in points])
    factor, prefix = scale_of(values)
    blended = sorted(
        (point for point in points if point.cap is not None), key=lambda point: point.disruption
    )
    if blended:
        axes.plot(
            [max(point.disruption, 1e-3) for point in blended],
            [factor * point.score.estimate for point in blended],
            color=COLOURS["blue"],
            linewidth=1.4,
        )
    for point, above in zip(blended, _sides(blended), strict=True):
        _draw_point(axes, point, factor, above=above)
    for point in points:
        if point.cap is None:
            _draw_point(axes, point, factor, above=False)
    axes.set_xscale("log")
    lowest = min([0.02, *(max(point.disruption, 1e-3) for point in points)])
    axes.set_xlim(0.8 * lowest, 1.3)
    if cap is not None:
        axes.axvline(cap, color=COLOURS["vermilion"], linewidth=1.2, linestyle="--", zorder=0.9)
        axes.text(
            cap,
            1.015,
            f"allowed in training, β_max = {cap:g}",
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=8.5,
            color=COLOURS["vermilion"],
        )
    ticks = [tick for tick in (0.001, 0.002, 0.005, 0.01, *_LIMITS) if tick >= 0.8 * lowest]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(visible=True, axis="x")
    axes.margins(y=0.18)
    axes.set_xlabel(
        "churn (log scale): share of the bars in which another option takes over"
        if switching
        else "largest disruption of a bar (log scale): share of the weight that moved"
    )
    axes.set_ylabel(f"{prefix}{unit}")
    axes.set_title("Score by the limit on disruption", pad=16)
    bare(axes)
    figure.subplots_adjust(left=0.078, right=0.985, top=0.85, bottom=0.135)
    return figure


def _sides(points: Sequence[CurvePoint]) -> list[bool]:
    """Whether each name stands above its point; it changes sides where two would overlap."""
    sides: list[bool] = []
    for number, point in enumerate(points):
        before = points[number - 1] if number else None
        close = before is not None and point.disruption < _NEAR * before.disruption
        sides.append(not sides[-1] if close else True)
    return sides


def _draw_point(axes: Axes, point: CurvePoint, factor: float, *, above: bool) -> None:
    if not np.isfinite(point.score.estimate):
        return
    hard = point.cap is None
    colour = COLOURS["orange" if hard else "blue"]
    x, y = max(point.disruption, 1e-3), factor * point.score.estimate
    if np.isfinite(point.score.width):
        axes.plot([x, x], [factor * point.score.low, factor * point.score.high],
                  color=colour, linewidth=2.2, alpha=0.75)  # fmt: skip
    axes.plot([x], [y], "D" if hard else "o", ms=7, mew=0, color=colour)
    end = point.score.high if above else point.score.low
    axes.annotate(
        "one option at a time" if hard else f"β_max {point.cap:g}",
        (x, factor * end if np.isfinite(end) else y),
        xytext=(0, 5 if above else -5),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        fontsize=8.5,
        color=COLOURS["ink"],
    )


def ablations_figure(gaps: Mapping[str, Interval], *, unit: str) -> Figure:
    """What each change of the agent adds to its score or takes away, paired, with intervals.

    Args:
        gaps: score with the change less the agent's own, by what was changed.
        unit: of the scores.
    """
    names = list(gaps)[::-1]
    ends = np.array([[gaps[name].low, gaps[name].estimate, gaps[name].high] for name in names])
    factor, prefix = scale_of(ends)
    height = 0.95 + 0.3 * len(names)
    figure = Figure(figsize=(_WIDTH, height))
    axes = figure.subplots()
    for place, (name, (low, middle, high)) in enumerate(zip(names, factor * ends, strict=True)):
        # A change that adds is as remarkable as one that takes: something is left to be had.
        apart = low > 0.0 or high < 0.0
        colour = COLOURS["muted" if not apart else "blue" if middle > 0.0 else "vermilion"]
        axes.plot([low, high], [place] * 2, color=colour, linewidth=2.4)
        axes.plot([middle], [place], "o", ms=6.5, mew=0, color=colour)
        gap = gaps[name]
        text = _told(gap, factor)
        axes.text(1.015, place, text, transform=axes.get_yaxis_transform(), va="center",
                  fontsize=9, color=COLOURS["ink" if apart else "muted"])  # fmt: skip
    axes.axvline(0.0, color=COLOURS["ink"], linewidth=0.9, zorder=0.9)
    axes.set_yticks(range(len(names)), [short(name, 46) for name in names])
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(f"less the agent as it is, {prefix}{unit}")
    axes.set_title("What changes would add or take away", x=-0.65)
    bare(axes)
    figure.subplots_adjust(left=0.33, right=0.835, top=1.0 - 0.36 / height, bottom=0.52 / height)
    return figure


def _told(gap: Interval, factor: float) -> str:
    """A gap and its interval; one that leaves out zero is never written as zero."""
    ends = (gap.estimate, gap.low, gap.high)
    texts = [shown(value, factor) for value in ends]
    apart = gap.low > 0.0 or gap.high < 0.0
    if apart and any(float(text.replace("\N{MINUS SIGN}", "-")) == 0.0 for text in texts):
        texts = [f"{factor * value:.2g}".replace("-", "\N{MINUS SIGN}") for value in ends]
    if np.isfinite(gap.width) and gap.width > 0.0:
        return f"{texts[0]}  [{texts[1]}, {texts[2]}]"
    return texts[0]

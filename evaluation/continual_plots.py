"""The figures of a stream: scores, curves of every regime, learned beside kept, plasticity.

Dimensions: I phases, J regimes, K seeds, P points, F figures of plasticity.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from evaluation.bootstrap import Interval
from evaluation.continual_figures import seed_interval
from evaluation.continual_record import StreamRecord
from evaluation.continual_result import ContinualEvaluation
from evaluation.drawing import COLOURS, bare
from evaluation.optimality_statistics import iqm
from evaluation.option_drawing import cell_text, matrix_axes, short, tint
from evaluation.option_score_plots import scale_of, shown

__all__ = [
    "curves_figure",
    "figures",
    "matrix_figure",
    "phase_name",
    "plasticity_figure",
    "retention_figure",
]

Array = NDArray[np.float64]

_WIDTH: Final = 10.4
_LEAST_SHARE: Final = -1.0
"""Shares below are cut off in curves and bars: how far below is in the matrix."""
_PLASTICITY: Final = (
    "dormant units, share",
    "effective rank of the features",
    "norm of the weights",
)
"""Titles of `PLASTICITY`."""
_LEAST_HEIGHT: Final = 0.01
"""Of the axis of a figure of plasticity: a share of nothing still has one."""
_MOST_NAMED: Final = 8
"""Phases beyond so many are named by their number alone."""


def figures(found: ContinualEvaluation) -> dict[str, Callable[[], Figure]]:
    """What draws each figure that there is something to draw for, by name."""
    drawn: dict[str, Callable[[], Figure]] = {"scores": lambda: matrix_figure(found)}
    if any(len(record.curve_step_P) > 1 for record in found.records):
        drawn["curves"] = lambda: curves_figure(found)
    if len(found.order) > 1:
        drawn["retention"] = lambda: retention_figure(found)
    if any(len(record.plasticity_step_Q) > 1 for record in found.records):
        drawn["plasticity"] = lambda: plasticity_figure(found)
    return drawn


def phase_name(found: ContinualEvaluation, phase: int, most: int = 18) -> str:
    """A phase for people: its number and regime."""
    if found.records[0].together:
        return "all at once"
    return f"phase {phase}: {short(found.regimes[found.order[phase]], most)}"


def matrix_figure(found: ContinualEvaluation) -> Figure:
    """Scores of every regime (columns) before and after each phase (rows), its own one framed."""
    stacked_KIJ = np.stack([np.vstack([r.before_J, r.ratio_IJ]) for r in found.records])
    _, rows, columns = stacked_KIJ.shape
    size = 1.0 if found.optimal else float(np.abs(stacked_KIJ).max()) or 1.0
    factor, prefix = (1.0, "") if found.optimal else scale_of(stacked_KIJ)
    height, left = 0.46 * rows, 0.22
    total = height + 0.8
    figure = Figure(figsize=(_WIDTH, total))
    width = min(0.99 - left, 1.9 * columns / _WIDTH)
    axes = figure.add_axes((left, 0.06 / total, width, height / total))
    for row, column in np.ndindex(rows, columns):
        cell = seed_interval(stacked_KIJ[:, row, column].tolist(), found.config)
        tint(axes, column, row, float(np.clip(cell.estimate / size, -1.0, 1.0)))
        _write(axes, column, row, cell, factor, wide=columns <= 6)
    names = ["before training", *(phase_name(found, i) for i in range(rows - 1))]
    matrix_axes(axes, names, found.regimes)
    for phase, regime in enumerate(found.order):
        for learned in (regime, *found.records[0].together):
            axes.add_patch(
                Rectangle(
                    (learned - 0.47, phase + 0.54),
                    0.94,
                    0.92,
                    facecolor="none",
                    edgecolor=COLOURS["ink"],
                    linewidth=1.4,
                )
            )
    unit = "share of the optimum" if found.optimal else f"{prefix}reward a bar"
    axes.set_title(f"Score S of each regime after each phase, {unit}", pad=22, x=0.0)
    return figure


def curves_figure(found: ContinualEvaluation) -> Figure:
    """A panel for each regime: its score over the steps of the stream; its own phases shaded."""
    regimes, borders = len(found.regimes), _borders(found)
    step_P, score_KPJ = _curves(found)
    factor, prefix = (1.0, "") if found.optimal else scale_of(score_KPJ)
    height = 1.45 * regimes + 0.95
    figure = Figure(figsize=(_WIDTH, height))
    panels = figure.subplots(regimes, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    low, high = _limits(factor * score_KPJ, optimal=found.optimal)
    for regime, axes in enumerate(panels):
        _shade(axes, found, regime, borders)
        score_KP = factor * score_KPJ[:, :, regime]
        axes.fill_between(
            step_P, score_KP.min(axis=0), score_KP.max(axis=0), color=COLOURS["blue"], alpha=0.2,
            linewidth=0.0,
        )  # fmt: skip
        middle_P = np.apply_along_axis(iqm, 0, score_KP)
        axes.plot(step_P, middle_P, color=COLOURS["blue"], linewidth=1.8)
        _draw_scratch(axes, found, regime, borders, factor)
        for level in (0.0, 1.0) if found.optimal else (0.0,):
            axes.axhline(level, color=COLOURS["ink"], linewidth=0.7, zorder=0.9)
        axes.set_ylim(low, high)
        axes.set_xlim(0.0, borders[-1])
        axes.set_title(short(found.regimes[regime], 40), pad=4, fontsize=9.5)
        bare(axes)
    _name_phases(panels[0], found, borders)
    _count_steps(panels[-1])
    unit = "share of the optimum" if found.optimal else f"gain, {prefix}reward a bar"
    figure.supylabel(unit, color=COLOURS["muted"], fontsize=9.5, x=0.004)
    figure.subplots_adjust(
        left=0.07, right=0.955, top=1.0 - 0.62 / height, bottom=0.55 / height, hspace=0.34
    )
    return figure


def retention_figure(found: ContinualEvaluation) -> Figure:
    """Score of each regime when it was last learned, and at the end, with intervals over seeds."""
    pairs = [(found.own[regime], found.final[regime]) for regime in found.records[0].played]
    names = [found.regimes[regime] for regime in found.records[0].played]
    ends = np.array([[each.estimate, each.low, each.high] for pair in pairs for each in pair])
    ends = ends[np.isfinite(ends)]
    factor, prefix = (1.0, "") if found.optimal else scale_of(ends)
    figure = Figure(figsize=(_WIDTH, 3.5))
    axes = figure.subplots()
    low, high = _limits(factor * ends, optimal=found.optimal)
    for place, pair in enumerate(pairs):
        for side, cell, colour in zip((-0.19, 0.19), pair, ("sky", "blue"), strict=True):
            _draw_bar(
                axes, place + side, cell, factor, (low, high), COLOURS[colour],
                optimal=found.optimal,
            )  # fmt: skip
    for level in (0.0, 1.0) if found.optimal else (0.0,):
        axes.axhline(level, color=COLOURS["ink"], linewidth=0.9, zorder=0.9)
    axes.set_xticks(range(len(names)), [short(name, max(4, 104 // len(names))) for name in names])
    axes.tick_params(axis="x", length=0, labelcolor=COLOURS["ink"])
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(low, high)
    axes.set_ylabel("share of the optimum" if found.optimal else f"gain, {prefix}reward a bar")
    axes.set_title("Learned and kept", pad=10)
    keys = [
        Patch(color=COLOURS["sky"], label="when it was last learned"),
        Patch(color=COLOURS["blue"], label="at the end of the stream"),
    ]
    axes.legend(
        handles=keys, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False,
        borderaxespad=0.3, fontsize=9,
    )  # fmt: skip
    bare(axes)
    figure.subplots_adjust(left=0.07, right=0.985, top=0.88, bottom=0.1)
    return figure


def plasticity_figure(found: ContinualEvaluation) -> Figure:
    """A panel for each figure of plasticity over the steps of the stream, with phase borders."""
    borders = _borders(found)
    looked = [record for record in found.records if len(record.plasticity_step_Q)]
    step_P, value_KPF = _aligned(
        [_placed(r, r.plasticity_step_Q, r.plasticity_QF, borders) for r in looked]
    )
    height = 3.6
    figure = Figure(figsize=(_WIDTH, height))
    panels = figure.subplots(len(_PLASTICITY), 1, sharex=True, squeeze=False)[:, 0]
    for number, (axes, title) in enumerate(zip(panels, _PLASTICITY, strict=True)):
        value_KP = value_KPF[:, :, number]
        axes.fill_between(
            step_P, value_KP.min(axis=0), value_KP.max(axis=0), color=COLOURS["blue"], alpha=0.2,
            linewidth=0.0,
        )  # fmt: skip
        middle_P = np.apply_along_axis(iqm, 0, value_KP)
        axes.plot(step_P, middle_P, color=COLOURS["blue"], linewidth=1.8)
        axes.set_xlim(0.0, borders[-1])
        axes.set_ylim(0.0, 1.15 * max(float(np.nanmax(value_KP, initial=0.0)), _LEAST_HEIGHT))
        axes.set_title(title, pad=4, fontsize=9.5)
        _mark_borders(axes, borders)
        bare(axes)
    _name_phases(panels[0], found, borders)
    _count_steps(panels[-1])
    figure.subplots_adjust(
        left=0.07, right=0.955, top=1.0 - 0.62 / height, bottom=0.55 / height, hspace=0.5
    )
    return figure


def _write(axes: Axes, column: int, row: int, cell: Interval, factor: float, *, wide: bool) -> None:
    ranged = wide and np.isfinite(cell.width) and cell.width > 0.0
    cell_text(axes, column, row - (0.15 if ranged else 0.0), shown(cell.estimate, factor))
    if ranged:
        text = f"[{shown(cell.low, factor)}, {shown(cell.high, factor)}]"
        cell_text(axes, column, row + 0.23, text, size=7.2)


def _curves(found: ContinualEvaluation) -> tuple[Array, Array]:
    drawn = [record for record in found.records if len(record.curve_step_P)]
    borders = _borders(found)
    return _aligned([_placed(r, r.curve_step_P, r.curve_PJ, borders) for r in drawn])


def _borders(found: ContinualEvaluation) -> tuple[int, ...]:
    """Where phases begin and the last one ends on the axis of steps, for all seeds alike.

    A gate may end a phase early. It is as wide as in the seed that took most steps, and as the
    widest of all where none took any.
    """
    steps_KI = np.array([record.phase_steps for record in found.records])
    most_I = steps_KI.max(axis=0)
    ends_I = np.cumsum(np.where(most_I > 0, most_I, max(int(most_I.max()), 1)))
    return (0, *(int(end) for end in ends_I))


def _placed(
    record: StreamRecord, step_P: Array, value_PX: Array, borders: Sequence[int]
) -> tuple[Array, Array]:
    """A seed's curves on the common axis: from the end of a phase on the last policy stands."""
    own = (0, *record.borders)
    places = {(0.0, 0.0)} if step_P[0] == 0.0 else set()
    for phase in range(len(record.order)):
        start, end = own[phase], own[phase + 1]
        inside = step_P[(step_P > start) & (step_P <= end)]
        places |= {(borders[phase] + float(step) - start, float(step)) for step in inside}
        if end >= step_P[0]:
            places.add((float(borders[phase + 1]), float(end)))
    at, steps = np.array(sorted(places)).T
    return at, np.stack([np.interp(steps, step_P, column) for column in value_PX.T], axis=1)


def _aligned(curves: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Curves (K, P, ...) of all seeds at the steps of any, those between taken as linear."""
    step_P = np.unique(np.concatenate([steps for steps, _ in curves]))
    rows = [
        np.stack([np.interp(step_P, steps, column) for column in values.T], 1)
        for steps, values in curves
    ]
    return step_P, np.stack(rows)


def _draw_scratch(
    axes: Axes, found: ContinualEvaluation, regime: int, borders: Sequence[int], factor: float
) -> None:
    """How the regime is learned from scratch, over its first phase; nothing without references."""
    curves = [
        (record.references.scratch_step_P, record.references.scratch_PJ[:, [regime]])
        for record in found.records
        if record.references.scratch_step_P is not None and record.references.scratch_PJ is not None
    ]
    if len(curves) < len(found.records) or regime not in found.order:
        return
    step_P, score_KP1 = _aligned([(steps, values) for steps, values in curves if steps is not None])
    middle_P = factor * np.apply_along_axis(iqm, 0, score_KP1[:, :, 0])
    start = borders[found.order.index(regime)]
    axes.plot(start + step_P, middle_P, color=COLOURS["vermilion"], linewidth=1.3, dashes=(4, 2))


def _count_steps(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.set_xlabel("steps of the stream")


def _limits(values: Array, *, optimal: bool) -> tuple[float, float]:
    """Ends of the axis of scores; shares far below zero are cut off."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if optimal:
        low, high = max(low, _LEAST_SHARE), max(1.0, high)
    room = 0.12 * (high - low or 1.0)
    return low - room, high + room


def _shade(axes: Axes, found: ContinualEvaluation, regime: int, borders: Sequence[int]) -> None:
    for phase, governs in enumerate(found.order):
        if regime in (governs, *found.records[0].together):
            axes.axvspan(
                borders[phase], borders[phase + 1], color=COLOURS["orange"], alpha=0.18, lw=0
            )
    _mark_borders(axes, borders)


def _mark_borders(axes: Axes, borders: Sequence[int]) -> None:
    for border in borders[1:-1]:
        axes.axvline(border, color=COLOURS["muted"], linewidth=0.8, linestyle=(0, (3, 3)))


def _name_phases(axes: Axes, found: ContinualEvaluation, borders: Sequence[int]) -> None:
    """Names above the first panel, in the middle of each phase."""
    phases = len(found.order)
    for phase in range(phases):
        middle = 0.5 * (borders[phase] + borders[phase + 1]) / borders[-1]
        few = phases <= _MOST_NAMED
        name = phase_name(found, phase, max(4, 60 // phases)) if few else str(phase)
        axes.annotate(
            name,
            (middle, 1.0),
            xycoords="axes fraction",
            xytext=(0, 20),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8.5,
            color=COLOURS["muted"],
        )


def _draw_bar(
    axes: Axes,
    place: float,
    cell: Interval,
    factor: float,
    limits: tuple[float, float],
    colour: str,
    *,
    optimal: bool,
) -> None:
    low, high = limits
    value = factor * cell.estimate
    if not np.isfinite(value):
        return
    top = float(np.clip(value, low, high))
    axes.bar(place, top, width=0.36, color=colour, linewidth=0.0)
    ends = [value]
    if np.isfinite(cell.width) and cell.width > 0.0:
        ends = [float(np.clip(factor * end, low, high)) for end in (cell.low, cell.high)]
        axes.plot([place, place], ends, color=COLOURS["ink"], linewidth=1.3)
    beyond = value < low
    at = max(0.0, top, *ends)
    if optimal and at < 1.0 < at + 0.08 * (high - low):
        at = 1.0  # above the line of the optimum rather than on it
    text = f"\N{DOWNWARDS ARROW} {shown(value)}" if beyond else shown(value)
    axes.annotate(
        text,
        (place, at),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8.5,
        color=COLOURS["ink"],
    )

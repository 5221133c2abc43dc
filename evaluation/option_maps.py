"""What each option does: targets over the state of a market, and mean targets by regime on data.

Dimensions: T bars, K options, R regimes, D numbers of an action.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evaluation.drawing import COLOURS, bare
from evaluation.optimality_plots import contours, heat, scale_bar
from evaluation.optimality_states import OptionSlice, Slice
from evaluation.option_drawing import cell_text, key, matrix_axes, option_colours, short, tint
from evaluation.option_history import OptionHistory
from evaluation.option_plots import believed

__all__ = ["MeanTargets", "mean_targets", "states_figure", "targets_figure"]

Array = NDArray[np.float64]

_WIDTH: Final = 10.4
_MOST_IN_ROW: Final = 6
_MOST_ACTIONS: Final = 10
"""Assets drawn of a larger portfolio, those in which options differ most."""
_BOLD: Final = {"Agent", "Optimum"}


def states_figure(parts: Sequence[Slice], names: Sequence[str], *, additive: bool) -> Figure:
    """Where each option, the agent and the optimum trade to, over the states of a market.

    Args:
        parts: slices of an agent that is made of options.
        names: of the options.
        additive: holdings are units; otherwise weights of equity.

    Raises:
        ValueError: slices without options.
    """
    told = [(part, part.options) for part in parts if part.options is not None]
    if not told:
        raise ValueError("slices: expected those of an agent made of options, found others")
    unit = "units" if additive else "weight of equity"
    if told[0][0].flat:
        return _curves(told, names, unit)
    drawn = [[*_alone(options, names), *_whole(part)] for part, options in told]
    panels = len(drawn[0])
    rows_each = -(-panels // _MOST_IN_ROW)
    columns = -(-panels // rows_each)
    rows = rows_each * len(told)
    inches = 0.75 + rows * (1.75 if columns > 3 else 2.6)
    figure = Figure(figsize=(_WIDTH, inches))
    reach = max(float(np.abs(values).max()) for row in drawn for _, values in row) or 1.0
    for number, (part, _) in enumerate(told):
        for place, (name, values_YX) in enumerate(drawn[number]):
            below, column = divmod(place, columns)
            row = number * rows_each + below
            axes = figure.add_subplot(rows, columns, row * columns + column + 1)
            # Every panel is drawn more coarsely where there are many, for the size of the page.
            _draw(axes, part, values_YX, reach, step=1 if rows * columns <= 15 else 2)
            axes.set_title(name, fontsize=9.5, fontweight="bold" if name in _BOLD else "normal")
            last = number == len(told) - 1 and place + columns >= panels
            axes.tick_params(labelbottom=last, labelleft=column == 0, labelsize=8)
            if last:
                axes.set_xlabel(part.x_label, fontsize=8.5)
            if column == 0:
                _name_row(axes, part)
    figure.subplots_adjust(
        left=0.1, right=0.905, top=1.0 - 0.3 / inches, bottom=0.45 / inches, wspace=0.1, hspace=0.28
    )
    scale_bar(figure, reach, f"target holding, {unit}")
    return figure


def _draw(axes: Axes, part: Slice, values_YX: Array, reach: float, *, step: int) -> None:
    coarse = replace(part, x_X=part.x_X[::step], y_Y=part.y_Y[::step])
    heat(axes, coarse, values_YX[::step, ::step], reach)
    contours(axes, coarse, values_YX[::step, ::step], reach)


def _alone(options: OptionSlice, names: Sequence[str]) -> list[tuple[str, Array]]:
    """Title and targets of each option."""
    shares_K = options.share_KYX.mean(axis=(1, 2))
    return [
        (f"{short(name, 10)} ({share:.0%})", target_YX)
        for name, share, target_YX in zip(names, shares_K, options.target_KYX, strict=True)
    ]


def _whole(part: Slice) -> list[tuple[str, Array]]:
    return [("Agent", part.learned_YX), ("Optimum", part.oracle_YX)]


def _name_row(axes: Axes, part: Slice) -> None:
    axes.set_ylabel(part.y_label, fontsize=8.5)
    if part.title:
        axes.annotate(
            part.title,
            (0.0, 0.5),
            xycoords="axes fraction",
            xytext=(-56, 0),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="center",
            fontsize=9.5,
            fontweight="bold",
            annotation_clip=False,
        )


def _curves(told: Sequence[tuple[Slice, OptionSlice]], names: Sequence[str], unit: str) -> Figure:
    """Markets whose state is the holding alone: a line an option."""
    figure = Figure(figsize=(_WIDTH, 3.6))
    panels = figure.subplots(1, len(told), sharey=True, squeeze=False)[0]
    colours = option_colours(len(names))
    for axes, (part, options) in zip(panels, told, strict=True):
        axes.plot(part.x_X, part.x_X, color=COLOURS["muted"], linewidth=0.9, linestyle=":")
        for colour, target_YX in zip(colours, options.target_KYX, strict=True):
            axes.plot(part.x_X, target_YX[0], color=colour, linewidth=1.6)
        agent = axes.plot(part.x_X, part.learned_YX[0], color=COLOURS["ink"], linewidth=2.2)
        optimum = axes.plot(
            part.x_X, part.oracle_YX[0], color=COLOURS["ink"], linewidth=1.4, linestyle="--"
        )
        axes.set_title(part.title or "Target holding")
        axes.set_xlabel(part.x_label)
        axes.margins(x=0.0)
        bare(axes)
    panels[0].set_ylabel(f"target holding, {unit}")
    key(panels[-1], names, colours)
    figure.legend(
        [*agent, *optimum],
        ["Agent", "Optimum"],
        loc="upper right",
        bbox_to_anchor=(0.852, 1.0),
        ncols=2,
        frameon=False,
        handlelength=1.6,
        fontsize=8.5,
    )
    figure.subplots_adjust(left=0.07, right=0.852, top=0.9, bottom=0.14, wspace=0.1)
    return figure


@dataclass(frozen=True)
class MeanTargets:
    """Mean targets of each option by the regime believed most.

    Attributes:
        regimes: names of the regimes that were believed most in some bar; "" without a belief.
        share_R: share of the bars of each of them.
        actions: names of the assets shown, those in which options differ most.
        target_RKD: what each option would have held on average.
        done_RD: what the agent asked for on average.
        weight_RK: mean weight of each option.
        left_out: assets that are not shown.
    """

    regimes: tuple[str, ...]
    share_R: Array
    actions: tuple[str, ...]
    target_RKD: Array
    done_RD: Array
    weight_RK: Array
    left_out: int


def mean_targets(history: OptionHistory) -> MeanTargets:
    """Mean targets of each option by the regime believed most.

    Args:
        history: T >= 1 bars.
    """
    several = history.belief_TR.shape[1] > 1
    chosen_T = believed(history) if several else np.zeros(len(history.times), np.int64)
    came = np.unique(chosen_T[chosen_T >= 0])
    inside = [chosen_T == regime for regime in came]
    target_RKD = np.array([history.option_action_TKD[rows].mean(axis=0) for rows in inside])
    done_RD = np.array([history.action_TD[rows].mean(axis=0) for rows in inside])
    spread_D = np.ptp(target_RKD, axis=(0, 1))
    kept = np.sort(np.argsort(-spread_D, kind="stable")[:_MOST_ACTIONS])
    return MeanTargets(
        regimes=tuple(history.regime_names[regime] if several else "" for regime in came),
        share_R=np.array([rows.mean() for rows in inside]),
        actions=tuple(history.actions[action] for action in kept),
        target_RKD=target_RKD[:, :, kept],
        done_RD=done_RD[:, kept],
        weight_RK=np.array([history.weights_TK[rows].mean(axis=0) for rows in inside]),
        left_out=len(spread_D) - len(kept),
    )


def targets_figure(history: OptionHistory) -> Figure:
    """Mean target of each option and of the agent, in each regime, as numbers on a tint.

    Args:
        history: T >= 1 bars.
    """
    found = mean_targets(history)
    options, actions = len(history.names), len(found.actions)
    height, room = 0.31 * (options + 1), 0.62
    total = len(found.regimes) * (height + room) + 0.12
    figure = Figure(figsize=(_WIDTH, total))
    reach = max(float(np.nanmax(np.abs(found.target_RKD))), 1e-9)
    # Columns no wider than an inch and a quarter.
    right = 0.15 + min(0.74, 1.25 * actions / _WIDTH)
    for row, regime in enumerate(found.regimes):
        bottom = total - (row + 1) * (height + room)
        axes = figure.add_axes((0.15, (bottom + 0.06) / total, right - 0.15, height / total))
        values_KD = np.vstack([found.target_RKD[row], found.done_RD[row]])
        for (k, d), value in np.ndenumerate(values_KD):
            tint(axes, d, k, value / reach)
            cell_text(axes, d, k, _percent(value), size=8.5)
        for k, weight in enumerate(found.weight_RK[row]):
            cell_text(axes, actions - 0.05, k, f"{weight:.0%}", size=8.5, muted=True)
        cell_text(axes, actions - 0.05, -0.85, "weight", size=8.5, muted=True)
        matrix_axes(axes, [*(short(name) for name in history.names), "Agent"], found.actions)
        told = f"{regime} believed most, {found.share_R[row]:.0%} of bars" if regime else "All bars"
        axes.set_title(told, pad=18)
    return figure


def _percent(value: float) -> str:
    return f"{100.0 * value:.0f}%" if np.isfinite(value) else "\N{EN DASH}"

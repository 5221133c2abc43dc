"""The figures of a report, each from ledgers and a comparison alone.

Long ledgers are thinned to `axes.MOST_POINTS` bars for drawing; numbers in tables never are.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from evaluation.axes import date_axis, end_labels, growth_axis, kept_rows
from evaluation.comparison import Comparison
from evaluation.drawing import COLOURS, PALETTE, bare
from evaluation.ledger import TERMS, Ledger
from evaluation.metrics import equity_curve, log_returns
from evaluation.summary import returns_of
from risk.measures import drawdowns

__all__ = [
    "LABELS",
    "costs_figure",
    "differences_figure",
    "equity_figure",
    "label",
    "lead_figure",
    "median_seed",
    "weights_figure",
]

LABELS: Final = {
    "agent": "Agent",
    "cash": "Cash",
    "buy_and_hold": "Buy and hold",
    "equal_weight": "Equal weight",
    "equal_weight_monthly": "Equal weight monthly",
    "inverse_volatility": "Inverse volatility",
    "momentum": "Momentum",
    "random": "Random trades",
}
"""Names of policies for readers."""

_LINES: Final = {
    "cash": ("muted", ":"),
    "buy_and_hold": ("orange", "-"),
    "equal_weight": ("green", "-"),
    "equal_weight_monthly": ("green", "--"),
    "inverse_volatility": ("purple", "-"),
    "momentum": ("vermilion", "-"),
    "random": ("grey", "-"),
}

_COSTS: Final = {
    "fees": "orange",
    "spread": "sky",
    "slippage": "purple",
    "borrow": "green",
    "financing": "grey",
}

_WIDE = (10.4, 5.6)
_HALF = (5.1, 3.5)
_MOST_ASSETS = 6


def label(policy: str) -> str:
    """A policy's name for readers."""
    return LABELS.get(policy, policy.replace("_", " ").capitalize())


def median_seed(ledgers: Sequence[Ledger]) -> Ledger:
    """The ledger whose final equity is the median (the lower one of an even number)."""
    order = np.argsort([ledger.equity[-1] for ledger in ledgers], kind="stable")
    return ledgers[int(order[(len(ledgers) - 1) // 2])]


def equity_figure(
    agents: Sequence[Ledger], baselines: Mapping[str, Sequence[Ledger]], comparison: Comparison
) -> Figure:
    """Growth of one unit, agent's median and range over seeds against baselines; drawdown below.

    Args:
        agents: ledgers of the agent's seeds.
        baselines: ledgers of each baseline.
        comparison: names the best baseline, which is drawn stronger.
    """
    figure = Figure(figsize=_WIDE)
    panels = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1), "hspace": 0.16}
    )
    upper, lower = panels[0], panels[1]
    keep, times = kept_rows(agents[0].ts_event)
    labels = []
    for name, ledgers in baselines.items():
        colour, dashes = _LINES.get(name, ("grey", "-."))
        middle = np.median(equity_curve(returns_of(ledgers)), axis=0)[keep]
        width = 1.9 if name == comparison.best else 1.0
        upper.plot(times, middle, color=COLOURS[colour], linestyle=dashes, linewidth=width)
        labels.append((middle[-1], label(name), colour, name == comparison.best))
    curves = equity_curve(returns_of(agents))[:, keep]
    middle = np.median(curves, axis=0)
    upper.fill_between(
        times, curves.min(axis=0), curves.max(axis=0), color=COLOURS["blue"], alpha=0.18, lw=0
    )
    upper.plot(times, middle, color=COLOURS["blue"], linewidth=2.4)
    labels.append((middle[-1], _agent_label(agents), "blue", True))
    growth_axis(upper, curves, [middle for middle, *_ in labels])
    end_labels(upper, labels)
    upper.set_title("Growth of 1, after costs (log scale)")
    upper.margins(x=0.0)
    _draw_drawdowns(lower, times, keep, agents, baselines[comparison.best])
    date_axis(lower)
    figure.subplots_adjust(left=0.05, right=0.8, top=0.95, bottom=0.06)
    return figure


def lead_figure(
    agents: Sequence[Ledger], baselines: Mapping[str, Sequence[Ledger]], comparison: Comparison
) -> Figure:
    """Log growth of the agent less that of the best baseline, summed up over the span."""
    figure = Figure(figsize=_HALF)
    axes = figure.subplots()
    keep, times = kept_rows(agents[0].ts_event)
    other_T = log_returns(returns_of(baselines[comparison.best])).mean(axis=0)
    gap_KT = np.cumsum(log_returns(returns_of(agents)) - other_T, axis=1)
    lead_KE = 100.0 * np.concatenate([np.zeros((len(agents), 1)), gap_KT], axis=1)[:, keep]
    low, high = lead_KE.min(axis=0), lead_KE.max(axis=0)
    axes.fill_between(times, low, high, color=COLOURS["blue"], alpha=0.18, lw=0)
    axes.plot(times, np.median(lead_KE, axis=0), color=COLOURS["blue"], linewidth=2.0)
    axes.axhline(0.0, color=COLOURS["ink"], linewidth=0.9)
    axes.set_title(f"Lead over {label(comparison.best).lower()}")
    axes.set_ylabel("log growth, percentage points")
    bare(axes)
    date_axis(axes)
    figure.subplots_adjust(left=0.12, right=0.98, top=0.9, bottom=0.1)
    return figure


def differences_figure(comparison: Comparison) -> Figure:
    """Agent less each baseline: interval over seeds and histories, and each seed as a dot."""
    rows = list(comparison.differences.values())[::-1]
    figure = Figure(figsize=_HALF)
    axes = figure.subplots()
    for height, row in enumerate(rows):
        best = row.baseline == comparison.best
        colour = COLOURS["blue"] if best else COLOURS["muted"]
        gap = row.growth
        axes.plot(
            [100.0 * gap.low, 100.0 * gap.high], [height] * 2, color=colour, lw=2.4 if best else 1.5
        )
        seeds = 100.0 * np.array(row.per_seed)
        axes.plot(
            seeds, np.full(len(seeds), height + 0.22), "o", ms=2.6, color=colour, alpha=0.7, mew=0
        )
        axes.plot([100.0 * gap.estimate], [height], "o", ms=6, color=colour, mew=0)
    axes.axvline(0.0, color=COLOURS["ink"], linewidth=0.9)
    axes.set_yticks(range(len(rows)), [label(row.baseline) for row in rows])
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_color(COLOURS["ink"] if row.baseline == comparison.best else COLOURS["muted"])
        tick.set_fontweight("bold" if row.baseline == comparison.best else "normal")
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_ylim(-0.6, len(rows) - 0.3)
    axes.set_xlabel("log growth a year, percentage points")
    axes.set_title("Agent less baseline", x=-0.47)
    bare(axes)
    figure.subplots_adjust(left=0.315, right=0.97, top=0.9, bottom=0.15)
    return figure


def weights_figure(ledger: Ledger) -> Figure:
    """Weights of one account over time: stacked if it is long only, else as lines."""
    figure = Figure(figsize=(10.4, 3.0))
    axes = figure.subplots()
    keep, times = kept_rows(ledger.ts_event)
    # The start holds nothing but cash; the picture begins with the first fill.
    keep, times = keep[1:], times[1:]
    names, weights_EA = _largest(ledger)
    cash_E = 1.0 - ledger.weights.sum(axis=1)
    short = float(ledger.weights.min()) < -1e-9 or float(cash_E.min()) < -0.01
    colours = [COLOURS[name] for name in PALETTE[: len(names)]]
    columns = 100.0 * np.column_stack([weights_EA, cash_E])[keep]
    names, colours = [*names, "Cash"], [*colours, COLOURS["grid"]]
    if short:
        colours[-1] = COLOURS["grey"]
        for column, colour, name in zip(columns.T, colours, names, strict=True):
            axes.plot(times, column, color=colour, linewidth=1.3, label=name)
        axes.axhline(0.0, color=COLOURS["ink"], linewidth=0.9)
    else:
        stack = np.maximum(columns.T, 0.0)
        axes.stackplot(times, stack, colors=colours, labels=names, lw=0, alpha=0.8)
        axes.set_ylim(0.0, 100.0)
    axes.margins(x=0.0)
    handles, texts = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1],
        texts[::-1],
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        frameon=False,
        handlelength=1.0,
        labelcolor=COLOURS["ink"],
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}%"))
    axes.set_title("Weights at each close")
    bare(axes)
    date_axis(axes)
    figure.subplots_adjust(left=0.05, right=0.86, top=0.9, bottom=0.1)
    return figure


def costs_figure(agents: Sequence[Ledger], baselines: Mapping[str, Sequence[Ledger]]) -> Figure:
    """Costs of each policy by kind, in basis points of equity a year, mean over seeds."""
    policies = {"agent": agents, **baselines}
    names = [name for name in policies if name != "cash" or _drag(policies[name]).any()][::-1]
    figure = Figure(figsize=(10.4, 0.9 + 0.3 * len(names)))
    axes = figure.subplots()
    drag = np.array([_drag(policies[name]) for name in names])
    spent = np.zeros(len(names))
    received = np.zeros(len(names))
    for column, (kind, colour) in enumerate(_COSTS.items()):
        values = drag[:, column]
        if not values.any():
            continue
        left = np.where(values >= 0.0, spent, received)
        axes.barh(names, values, left=left, height=0.62, color=COLOURS[colour], label=kind)
        spent += np.maximum(values, 0.0)
        received += np.minimum(values, 0.0)
    for height, end in enumerate(spent):
        total = float(drag[height].sum())
        axes.annotate(
            f" {total:,.1f}", (end, height), va="center", fontsize=8.5, color=COLOURS["muted"]
        )
    axes.set_yticks(range(len(names)), [label(name) for name in names])
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.margins(x=0.08)
    axes.set_title("Costs, basis points of equity a year", x=-0.187)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=len(_COSTS),
            frameon=False,
            handlelength=1.0,
            borderaxespad=0.2,
        )
    bare(axes)
    inches = figure.get_figheight()
    figure.subplots_adjust(left=0.16, right=0.98, top=1.0 - 0.36 / inches, bottom=0.3 / inches)
    return figure


def _agent_label(agents: Sequence[Ledger]) -> str:
    return "Agent" if len(agents) == 1 else f"Agent, median of {len(agents)}"


def _draw_drawdowns(
    axes: Axes,
    times: NDArray[np.datetime64],
    keep: NDArray[np.int64],
    agents: Sequence[Ledger],
    best: Sequence[Ledger],
) -> None:
    loss_KE = np.array([-100.0 * drawdowns(ledger.equity) for ledger in agents])[:, keep]
    other_E = np.median([-100.0 * drawdowns(ledger.equity) for ledger in best], axis=0)[keep]
    middle = np.median(loss_KE, axis=0)
    axes.fill_between(times, middle, 0.0, color=COLOURS["blue"], alpha=0.22, lw=0)
    axes.plot(times, middle, color=COLOURS["blue"], linewidth=1.2)
    colour, dashes = _LINES.get(best[0].metadata.policy, ("grey", "-."))
    axes.plot(times, other_E, color=COLOURS[colour], linestyle=dashes, linewidth=1.2)
    axes.set_title("Loss from the peak, agent and best baseline")
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:.0f}%".replace("-", "\N{MINUS SIGN}"))
    )
    axes.set_ylim(top=0.0)
    bare(axes)


def _largest(ledger: Ledger) -> tuple[list[str], NDArray[np.float64]]:
    """Names and weights of the largest assets, the rest summed up."""
    order = np.argsort(-np.abs(ledger.weights).mean(axis=0), kind="stable")
    if len(order) <= _MOST_ASSETS:
        return list(ledger.symbols), ledger.weights
    first, rest = np.sort(order[: _MOST_ASSETS - 1]), order[_MOST_ASSETS - 1 :]
    names = [ledger.symbols[asset] for asset in first]
    others = ledger.weights[:, rest].sum(axis=1)
    return [*names, f"{len(rest)} others"], np.column_stack([ledger.weights[:, first], others])


def _drag(ledgers: Sequence[Ledger]) -> NDArray[np.float64]:
    """Each kind of cost in basis points of equity a year, mean over ledgers."""
    columns = [TERMS.index(kind) for kind in _COSTS]
    shares = [
        ledger.metadata.periods_per_year
        * np.mean(ledger.terms[1:, columns] / np.maximum(ledger.equity[:-1, None], 1e-12), axis=0)
        for ledger in ledgers
    ]
    return np.asarray(1e4 * np.mean(shares, axis=0))

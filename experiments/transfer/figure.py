"""The figure of the record: share of the optimum over the steps on the third market."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.drawing import COLOURS, to_png
from experiments.options_vs_flat.journal import Row, chosen
from experiments.options_vs_flat.statistics import shares
from experiments.transfer.tables import LEVEL, VIEWS
from experiments.transfer.training import ARMS
from experiments.transfer.worlds import THIRD

_COLOURS = dict(zip(ARMS, ("muted", "blue", "green", "vermilion", "purple"), strict=True))


def curves_figure(markets: Mapping[str, Sequence[Row]]) -> Figure:
    """One panel a market: the interquartile mean over seeds of each arm, with its interval.

    Args:
        markets: rows of each market, by its title.
    """
    figure = Figure(figsize=(5.2 * max(1, len(markets)), 3.8), layout="constrained")
    panels = figure.subplots(1, max(1, len(markets)), sharey=True, squeeze=False).ravel()
    for axes, (title, rows) in zip(panels, markets.items(), strict=False):
        axes.set_title(title, fontsize=9.5)
        for arm in ARMS:
            _curve(axes, arm, chosen(rows, arm=arm))
        axes.axhline(LEVEL, color=COLOURS["ink"], linewidth=0.8, linestyle=(0, (4, 3)))
        axes.axhline(1.0, color=COLOURS["ink"], linewidth=0.8)
        axes.set_xlabel("steps on the third market, thousands")
    panels[0].set_ylim(-0.5, 1.03)
    panels[0].set_ylabel("share of the optimum S")
    panels[-1].legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def _curve(axes: Axes, arm: str, rows: Sequence[Row]) -> None:
    if not rows:
        return
    colour = COLOURS[_COLOURS[arm]]
    at = np.array(rows[0]["at"]) / 1e3
    table = np.array([row["shares"] for row in rows if len(row["shares"]) == len(at)])
    found = [shares(list(column)) for column in table.T]
    if len(at) == 1:
        axes.axhline(found[0].estimate, color=colour, linewidth=1.2, linestyle=":", label=arm)
        return
    axes.fill_between(
        at, [i.low for i in found], [i.high for i in found], color=colour, alpha=0.15, linewidth=0
    )
    axes.plot(at, [i.estimate for i in found], color=colour, linewidth=1.7, label=arm)


def plot(rows: Sequence[Row], steps: int, path: Path) -> None:
    """Draw what there is."""
    found = {
        f"{title}; {third}": chosen(rows, market=market, third=third, steps=steps)
        for market, title in VIEWS.items()
        for third in THIRD
    }
    to_png(lambda: curves_figure({title: each for title, each in found.items() if each}), path)

"""The figure of the record: share of the optimum over the largest disruption."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.bootstrap import Interval
from evaluation.drawing import COLOURS, to_png
from experiments.meta_controller.settings import CAPS, CLAIM, HARD_CAPS, ROUTED
from experiments.options_vs_flat.arms import TITLES
from experiments.options_vs_flat.journal import Row, by_seed, chosen
from experiments.options_vs_flat.statistics import shares

Points = Mapping[str, tuple[float, Interval]]
"""Largest disruption and share of the optimum of each setting."""
_TICKS = (0.02, 0.05, 0.1, 0.22, 0.5, 1.0)
_HARD = (("o", "vermilion"), ("s", "orange"), ("D", "purple"))


def frontier_figure(markets: Mapping[str, Points]) -> Figure:
    """One panel a market: blended execution as a line over its caps, hard switching as points.

    Args:
        markets: points of each market's title.
    """
    figure = Figure(figsize=(5.2 * max(1, len(markets)), 4.0), layout="constrained")
    panels = figure.subplots(1, max(1, len(markets)), squeeze=False).ravel()
    for axes, (title, points) in zip(panels, markets.items(), strict=False):
        axes.set_title(title, fontsize=9.5)
        _panel(axes, points)
        axes.set_xscale("log")
        axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
        axes.set_xlim(0.013, 1.2)
        axes.minorticks_off()
        axes.set_xlabel("largest disruption of a bar")
    panels[0].set_ylabel("share of the optimum S")
    panels[-1].legend(frameon=False, fontsize=8)
    return figure


def _panel(axes: Axes, points: Points) -> None:
    curve = [points[name] for name in (f"blended {cap:g}" for cap in CAPS) if name in points]
    places = [place for place, _ in curve]
    axes.fill_between(
        places, [i.low for _, i in curve], [i.high for _, i in curve],
        color=COLOURS["blue"], alpha=0.15, linewidth=0,
    )  # fmt: skip
    axes.plot(
        places, [i.estimate for _, i in curve], "o-", color=COLOURS["blue"], markersize=4.5,
        linewidth=1.6, label="blended, by its cap",
    )  # fmt: skip
    hard = {f"hard {cap:g}": f"hard, ends by at most {cap:g}" for cap in HARD_CAPS}
    hard[f"{CLAIM} {ROUTED}"] = f"options of {CLAIM}, hard routing"
    for (name, words), (marker, colour) in zip(hard.items(), _HARD, strict=True):
        if name in points:
            place, share = points[name]
            ends = np.array([[share.estimate - share.low], [share.high - share.estimate]])
            axes.errorbar(
                [place], [share.estimate], yerr=ends, fmt=marker, color=COLOURS[colour],
                markersize=5, linewidth=1.4, label=words,
            )  # fmt: skip


def plot(rows: Sequence[Row], steps: int, path: Path) -> None:
    """Draw what there is."""
    markets: dict[str, Points] = {}
    for market, title in TITLES.items():
        found = chosen(rows, market=market, steps=steps)
        names = dict.fromkeys(row["setting"] for row in found)
        points = {
            name: (
                max(row["disruption_max"] for row in chosen(found, setting=name)),
                shares(by_seed(found, "share", setting=name)),
            )
            for name in names
        }
        if points:
            markets[title] = points
    to_png(lambda: frontier_figure(markets), path)

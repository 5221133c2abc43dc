"""The figure of the record: share of the optimum of every arm, a panel a market.

python -m experiments.options_vs_flat.figure     # shares.png
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.drawing import COLOURS, bare, to_png
from experiments.options_vs_flat.arms import ARMS, TITLES
from experiments.options_vs_flat.journal import by_seed
from experiments.options_vs_flat.run import STEPS
from experiments.options_vs_flat.statistics import shares
from experiments.options_vs_flat.tables import RIVAL, lines

FIGURE = Path(__file__).with_name("shares.png")
LOWEST = 0.7
"""Shares below are drawn here, as an arrow."""
Found = Mapping[str, Mapping[int, float]]


def shares_figure(markets: Mapping[str, Found]) -> Figure:
    """Arms as rows: every seed a dot, the interquartile mean with its interval a bar.

    Args:
        markets: share of the optimum by seed, for each arm of each market's title.
    """
    arms = list(dict.fromkeys(arm for found in markets.values() for arm in found))
    rows = -(-len(markets) // 2)
    figure = Figure(figsize=(10.0, 0.6 + (0.55 + 0.24 * len(arms)) * rows), layout="constrained")
    panels = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (title, found) in zip(panels, markets.items(), strict=False):
        axes.set_title(title, fontsize=9)
        for place, arm in enumerate(arms):
            if found.get(arm):
                _arm(axes, place, found[arm], flat=arm == "flat")
        axes.axvline(1.0, color=COLOURS["ink"], linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(arms)), arms, fontsize=8)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        bare(axes)
    for axes in panels[len(markets) :]:
        axes.set_axis_off()
    panels[0].set_xlim(LOWEST - 0.01, 1.02)
    panels[0].set_ylim(len(arms) - 0.5, -0.5)
    figure.supxlabel("share of the optimum S", color=COLOURS["muted"], fontsize=9.5)
    return figure


def _arm(axes: Axes, place: int, found: Mapping[int, float], *, flat: bool) -> None:
    values = np.array(list(found.values()))
    inside = values >= LOWEST
    for chosen, marker in ((inside, "o"), (~inside, "<")):
        seen = np.maximum(values[chosen], LOWEST)
        axes.plot(
            seen, np.full(len(seen), place), marker, color=COLOURS["grey" if flat else "sky"],
            markersize=4, alpha=0.7, markeredgewidth=0,
        )  # fmt: skip
    middle = shares(found)
    colour = COLOURS["ink" if flat else "blue"]
    ends = np.maximum([middle.low, middle.high], LOWEST)
    axes.plot(ends, [place, place], color=colour, linewidth=1.6)
    axes.plot(max(middle.estimate, LOWEST), place, "|", color=colour, markersize=9, mew=1.8)


def main() -> None:
    """Draw what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of a training ({STEPS:,})")
    steps = parser.parse_args().steps
    rows = lines()
    markets: dict[str, Found] = {}
    for market, title in TITLES.items():
        arms = {
            arm: by_seed(rows, "share", market=market, arm=arm, steps=steps)
            for arm in (*ARMS, RIVAL)
        }
        markets[title] = {arm: found for arm, found in arms.items() if found}
    to_png(lambda: shares_figure(markets), FIGURE)


if __name__ == "__main__":
    main()

"""The figure of the record: share of the optimum over the number of steps."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evaluation.bootstrap import BootstrapConfig
from evaluation.drawing import COLOURS
from evaluation.optimality import iqm_interval

_LOWEST = 0.7


def curves_figure(curves: Mapping[str, Mapping[int, NDArray[np.float64]]]) -> Figure:
    """One panel a market: every seed a dot, the interquartile mean with its interval a line.

    Args:
        curves: share of the optimum by seed, for each market and number of steps.
    """
    figure = Figure(figsize=(10.0, 5.6), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    for axis, (title, budgets) in zip(axes, curves.items(), strict=True):
        axis.set_title(title.replace(", ", "\n", 1), fontsize=9)
        axis.axhline(1.0, color=COLOURS["ink"], linewidth=0.8, linestyle=(0, (4, 3)))
        found = {steps: scores for steps, scores in budgets.items() if scores.size}
        for steps, scores in found.items():
            axis.plot(
                np.full(scores.size, steps), np.maximum(scores, _LOWEST), "o",
                color=COLOURS["sky"], markersize=4, alpha=0.6, markeredgewidth=0,
            )  # fmt: skip
        middle = [iqm_interval(scores[None], BootstrapConfig()) for scores in found.values()]
        lows, highs = [i.low for i in middle], [i.high for i in middle]
        axis.fill_between(list(found), lows, highs, color=COLOURS["blue"], alpha=0.15, linewidth=0)
        axis.plot(list(found), [i.estimate for i in middle], color=COLOURS["blue"], linewidth=1.8)
        axis.set_xscale("log")
        axis.set_xticks([300_000, 1_000_000, 3_000_000], ["0.3 M", "1 M", "3 M"])
        axis.minorticks_off()
    axes[0].set_ylim(_LOWEST, 1.02)
    figure.supxlabel("environment steps", color=COLOURS["muted"], fontsize=9.5)
    figure.supylabel("share of the optimum S", color=COLOURS["muted"], fontsize=9.5)
    return figure

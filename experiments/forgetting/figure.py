"""The figure of the record: what becomes of the first regime, and what each arm ends with.

python -m experiments.forgetting.figure
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.continual_result import ContinualEvaluation
from evaluation.drawing import COLOURS, to_png
from experiments.forgetting.arms import ARMS, TITLES
from experiments.forgetting.run import RESULTS
from experiments.forgetting.tables import evaluations
from experiments.options_vs_flat.journal import Journal

PICTURE = Path(__file__).with_name("forgetting.png")
SHOWN: Final = ("gp known", "gp mixed")
"""Problems, one column each."""
FOLLOWED: Final = {
    "flat, fine-tuning": "grey",
    "flat, EWC": "orange",
    "flat, cloning": "sky",
    "heads, EWC of the trunk": "blue",
    "heads, rehearsal + EWC + cloning": "vermilion",
}
"""Arms whose curves are drawn, and their colours."""
_NETWORKS: Final = {"flat": "orange", "heads": "blue", "experts": "green"}
_LEAST: Final = -1.0


def forgetting_figure(problems: Mapping[str, Mapping[str, ContinualEvaluation]]) -> Figure:
    """Above the first regime's score over the stream, below the score of each regime at the end.

    Args:
        problems: arms by name, by the problem's title.
    """
    count = max(1, len(problems))
    rows = max((len(arms) for arms in problems.values()), default=1)
    figure = Figure(figsize=(6.4 * count, 3.0 + 0.24 * rows), layout="constrained")
    panels = figure.subplots(2, count, squeeze=False, height_ratios=(3.0, 0.3 * rows))
    for column, (title, arms) in enumerate(problems.items()):
        panels[0, column].set_title(title, fontsize=9.5)
        _follow(panels[0, column], arms)
        _compare(panels[1, column], arms)
    panels[0, 0].set_ylabel("S in regime 0")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, ncols=5, loc="outside upper center")
    return figure


def _follow(axes: Axes, arms: Mapping[str, ContinualEvaluation]) -> None:
    """The median over seeds of the first regime's score, and the phases behind it."""
    for arm, colour in FOLLOWED.items():
        found = arms.get(arm)
        if found is None:
            continue
        records = found.records
        if not ARMS[arm].joint:
            _shade(axes, records[0].order, records[0].borders)
        curve = np.median([record.curve_PJ[:, 0] for record in records], axis=0)
        at = records[0].curve_step_P / 1e6
        axes.plot(at, curve, color=COLOURS[colour], linewidth=1.6, label=arm)
    axes.set_ylim(_LEAST, 1.05)
    axes.margins(x=0.01)
    axes.set_xlabel("steps of the stream, millions; shaded: regime 0 is learned")


def _shade(axes: Axes, order: Sequence[int], borders: Sequence[int]) -> None:
    if axes.patches:
        return
    for number, regime in enumerate(order):
        if regime == 0:
            start = borders[number - 1] if number else 0
            axes.axvspan(start / 1e6, borders[number] / 1e6, color=COLOURS["grid"], alpha=0.5, lw=0)


def _compare(axes: Axes, arms: Mapping[str, ContinualEvaluation]) -> None:
    """Average performance with its interval, and every regime's final score as a small dot."""
    for place, (arm, found) in enumerate(arms.items()):
        colour = COLOURS[_NETWORKS[ARMS[arm].network]]
        whole = found.intervals["average_performance"]
        finals = np.clip([each.estimate for each in found.final], _LEAST, None)
        axes.plot(finals, [place] * len(finals), "|", color=colour, markersize=8, alpha=0.8)
        axes.plot([whole.low, whole.high], [place, place], color=colour, linewidth=2.2)
        axes.plot(whole.estimate, place, "o", color=colour, markersize=5)
    for arm, found in arms.items():
        if arm == "heads, joint":
            joint = found.intervals["average_performance"].estimate
            axes.axvline(joint, color=COLOURS["ink"], linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(arms)), list(arms), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(_LEAST - 0.03, 1.05)
    axes.grid(visible=True, axis="x")
    axes.set_xlabel("final S: mean (dot, 95 %), each regime (ticks); dashed: joint")


def main() -> None:
    """Draw what there is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--output", type=Path, default=PICTURE)
    given = parser.parse_args()
    rows = Journal(given.results).rows()
    found = {TITLES[problem]: evaluations(rows, problem) for problem in SHOWN}
    to_png(lambda: forgetting_figure({t: arms for t, arms in found.items() if arms}), given.output)


if __name__ == "__main__":
    main()

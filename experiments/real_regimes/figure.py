"""The figure of the record: the regimes, what is left of each, and what the last agents earn.

python -m experiments.real_regimes.figure     # regimes.png
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from evaluation import metrics
from evaluation.drawing import COLOURS, bare, to_png
from evaluation.option_drawing import cell_text, matrix_axes, tint
from experiments.options_vs_flat.journal import Journal, Row, chosen
from experiments.real_regimes.arms import ARMS, RULES, STEPS
from experiments.real_regimes.run import RESULTS, UNIT, configuration, prepared
from experiments.real_regimes.streams import LATER, SERIES
from experiments.real_regimes.tables import A_YEAR, FITTED, HELD, HOLD, Streams, streams_of
from markets.sources.config import load_dataset, parse_config
from training.continual.data_phases import DataRegime
from training.continual.phases import open_plan
from training.tasks.data import DataTask

Array = NDArray[np.float64]

FIGURE: Final = Path(__file__).with_name("regimes.png")
_REGIME: Final = {"wild rise": "orange", "bear": "vermilion", "calm rise": "sky"}
_WRAPPED: Final = {
    "dot-com rise": "dot-com\nrise",
    "dot-com bust": "dot-com\nbust",
    "financial crisis": "financial\ncrisis",
    "rebound and debt crisis": "rebound and\ndebt crisis",
}
"""Names that are too long for their phase."""
_STRONG: Final = 40.0
"""Per cent a year of the strongest tint."""
_CURVES: Final = {
    "fine-tuning": "vermilion",
    "EWC": "orange",
    "heads, rehearsal + EWC + cloning": "blue",
    "joint training": "green",
}
"""Arms whose accounts are drawn, with their colours."""


def record_figure(rows: Sequence[Row]) -> Figure:
    """The index with its phases, a heat map for each stream, accounts on the later bars.

    Args:
        rows: results.
    """
    figure = Figure(figsize=(11.6, 11.4), layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=(2.3, 5.2, 3.2))
    _phases(figure.add_subplot(grid[0, :]))
    for column, series in enumerate(SERIES):
        found = streams_of(rows, series)
        rules = [row for name in RULES for row in chosen(rows, series=series, arm=name)]
        heat = figure.add_subplot(grid[1, column])
        _heat(heat, SERIES[series].title, found, rules)
        heat.tick_params(labelleft=column == 0)  # both have the same rows
        hold = next(row for row in rules if row["arm"] == HOLD)
        accounts = figure.add_subplot(grid[2, column])
        _accounts(accounts, series, found, hold)
        if column == 0:
            handles, names = accounts.get_legend_handles_labels()
            figure.legend(
                handles, names, loc="outside lower center", ncols=5, frameon=False, fontsize=9
            )
    return figure


def _phases(axes: Axes) -> None:
    """The index on a logarithmic scale; what is held out of each phase is shaded darker."""
    config = configuration("nasdaq", ARMS["fine-tuning"], STEPS)
    assert config.continual is not None
    task, series = DataTask(config, prepared("nasdaq")), SERIES["nasdaq"]
    plan, bars = open_plan(config, config.continual, task), task.prepared.bars
    day_T = bars.ts_event.astype("datetime64[ns]").astype("datetime64[D]")
    stretches = [s for each in plan.regimes if isinstance(each, DataRegime) for s in each.stretches]
    for stretch in stretches:
        colour = COLOURS[_REGIME[series.names[stretch.phase]]]
        for rows, opacity in ((stretch.learned, 0.22), (stretch.held, 0.42)):
            span = day_T[rows.start], day_T[rows.stop - 1]
            axes.axvspan(*span, color=colour, alpha=opacity, linewidth=0.0)
        axes.annotate(
            _WRAPPED.get(series.events[stretch.phase], series.events[stretch.phase]),
            (day_T[(stretch.learned.start + stretch.held.stop) // 2], 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -4),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8,
        )
    axes.plot(day_T, bars.close[:, 0], color=COLOURS["ink"], linewidth=0.9)
    axes.set_yscale("log")
    axes.set_ylim(1_000, 16_000)
    axes.yaxis.set_major_locator(FixedLocator([1_000, 2_000, 4_000, 8_000]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda level, _: f"{level:,.0f}"))
    axes.set_xlim(day_T[0], day_T[-1])
    axes.set_title("NASDAQ Composite: phases, darker where held out; 2017 and 2018 were never seen")
    handles = [Patch(color=COLOURS[colour], alpha=0.42) for colour in _REGIME.values()]
    axes.legend(
        handles, list(_REGIME), loc="lower right", ncols=3, frameon=False, fontsize=8.5,
    )  # fmt: skip
    bare(axes)


def _heat(axes: Axes, title: str, found: Mapping[str, Streams], rules: Sequence[Row]) -> None:
    """Final scores of every regime, and what changed since regimes were last learned."""
    names = tuple(rules[0]["regimes"])
    columns = [f"{name}\nat the end" for name in names]
    columns += ["change,\nheld out", "change,\nlearned bars"]
    lines: dict[str, list[float]] = {}
    for arm, each in found.items():
        cells = [each.final(regime) for regime in range(len(names))]
        cells += [-each.interval("forgetting", entry).estimate for entry in (HELD, FITTED)]
        lines[arm] = cells
    for row in rules:
        lines[row["arm"]] = [*(A_YEAR * score for score in row["final"]), np.nan, np.nan]
    matrix_axes(axes, list(lines), columns)
    axes.set_xticks(range(len(columns)), columns, fontsize=8.5)
    for place, cells in enumerate(lines.values()):
        for column, value in enumerate(cells):
            if np.isfinite(value):
                tint(axes, column, place, float(np.clip(value / _STRONG, -1.0, 1.0)))
                cell_text(axes, column, place, f"{value:+.0f}", size=8.5)
    axes.axvline(len(names) - 0.5, color=COLOURS["ink"], linewidth=1.0)
    axes.axhline(len(found) - 0.5, color=COLOURS["ink"], linewidth=1.0)
    axes.set_title(f"{title}: % a year over cash", fontsize=9.5, pad=8)


def _accounts(axes: Axes, series: str, found: Mapping[str, Streams], hold: Row) -> None:
    """Mean account over seeds of some arms; the band holds all seeds of the combination."""
    days = load_dataset(parse_config({"kind": "packages", "dataset": LATER}, where="data")).bars
    count = len(hold["later"]["returns"])
    day_T = days.ts_event[-count:].astype("datetime64[ns]").astype("datetime64[D]")
    account_T = np.exp(np.cumsum(metrics.log_returns(UNIT * np.array(hold["later"]["returns"]))))
    axes.plot(day_T, account_T, color=COLOURS["ink"], linewidth=1.2, label="buy and hold")
    for arm, colour in _CURVES.items():
        if arm not in found:
            continue
        path_KT = np.cumsum(metrics.log_returns(found[arm].returns("later")), axis=1)
        axes.plot(
            day_T, np.exp(path_KT.mean(axis=0)), color=COLOURS[colour], linewidth=1.6, label=arm
        )
        if ARMS[arm].network == "heads":
            low_T, high_T = np.exp(path_KT.min(axis=0)), np.exp(path_KT.max(axis=0))
            axes.fill_between(
                day_T, low_T, high_T, color=COLOURS[colour], alpha=0.14, linewidth=0.0
            )
    axes.axhline(1.0, color=COLOURS["muted"], linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylim(0.4, 7.0)
    axes.yaxis.set_major_locator(FixedLocator([0.5, 1.0, 2.0, 4.0]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda level, _: f"{level:g}"))
    axes.set_xlim(day_T[0], day_T[-1])
    where = "index" if series == "nasdaq" else "stocks"
    axes.set_title(f"Apple 2019 to 2024, unseen: agents of the {where}", fontsize=9.5)
    bare(axes)


def main() -> None:
    """Draw what there is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--output", type=Path, default=FIGURE)
    given = parser.parse_args()
    rows = Journal(given.results).rows()
    to_png(lambda: record_figure(rows), given.output)


if __name__ == "__main__":
    main()

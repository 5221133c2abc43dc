"""The record's table and picture: paths of the default market against the real series.

python -m experiments.stylised_facts.compare        # half a minute
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.drawing import to_png
from experiments.stylised_facts.calibrate import training_bars
from experiments.stylised_facts.figure import Series, draw_figure
from markets import Bars
from markets.sources.packages import PackagesSource
from markets.synthetic.stylised_facts import StylisedFacts, StylisedPath
from markets.synthetic.stylised_facts_statistics import Fact, facts, intervals

PICTURE = Path(__file__).with_name("facts.png")
PATHS = 1000
FIRST_SEED = 42_000_000
"""Seed of the first path; the others follow. Nothing was calibrated or chosen on these."""


@dataclass(frozen=True)
class Row:
    """A fact of the simulated paths, and of two real spans."""

    simulated: NDArray[np.float64]
    fitted: Fact
    later: Fact


def real_series(bars: Bars) -> Series:
    """Returns and volumes of one symbol; the day before the first gives the first return."""
    return Series(np.diff(np.log(bars.close[:, 0])), bars.volume[1:, 0], bars.ts_event[1:])


def simulated_series(path: StylisedPath) -> Series:
    """The same of a path."""
    return Series(path.return_TA[:, 0], path.volume_TA[:, 0], path.bars.ts_event)


def rows_of(paths: list[StylisedPath], fitted: Series, later: Series) -> Mapping[str, Row]:
    """Every fact."""
    found = [facts(path.return_TA[:, 0], path.volume_TA[:, 0]) for path in paths]
    first = intervals(fitted.return_T, fitted.volume_T)
    second = intervals(later.return_T, later.volume_T)
    return {
        name: Row(np.array([each[name] for each in found]), first[name], second[name])
        for name in first
    }


def cell(fact: Fact, value: float) -> str:
    """A real span's figure, and whether its interval holds the simulated median."""
    mark = "yes" if value in fact else "**no**"
    return f"{fact.estimate:.3f} [{fact.low:.3f}, {fact.high:.3f}] | {mark}"


def table(rows: Mapping[str, Row]) -> str:
    """The record's table."""
    lines = [
        "| fact | simulated: median [5 %, 95 %] | 1999 to 2009 | inside | 2010 to 2018 | inside |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        low, median, high = np.quantile(row.simulated, (0.05, 0.5, 0.95))
        value = float(median)
        lines.append(
            f"| {name} | {value:.3f} [{low:.3f}, {high:.3f}] | {cell(row.fitted, value)} "
            f"| {cell(row.later, value)} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table, draw the picture."""
    fitted = real_series(training_bars())
    later = real_series(PackagesSource(dataset="nasdaq", start="2010-01-01").load().bars)
    market = StylisedFacts()
    length = len(fitted.return_T)
    paths = [market.path(length, seed=FIRST_SEED + number) for number in range(PATHS)]
    print(table(rows_of(paths, fitted, later)))
    series = [simulated_series(path) for path in paths]
    example = typical(series, fitted)
    to_png(lambda: draw_figure(fitted, series, paths[example].regime_T, example), PICTURE)
    print(f"\nThe picture's path has the seed {FIRST_SEED + example}.")


def typical(series: list[Series], real: Series) -> int:
    """The path whose quantiles of |r| are nearest to the real ones, relative: one to look at."""
    levels = np.linspace(0.1, 0.99, 40)
    wanted = np.log(np.quantile(np.abs(real.return_T), levels))
    distance = [
        float(np.abs(np.log(np.quantile(np.abs(each.return_T), levels)) - wanted).mean())
        for each in series
    ]
    return int(np.argmin(distance))


if __name__ == "__main__":
    main()

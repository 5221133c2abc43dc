"""The tables of the record, from `results.jsonl`: what was learned, lost, and earned afterwards.

python -m experiments.real_regimes.tables

Scores are log growth less that of cash, here in per cent a year of 252 bars.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from evaluation import metrics
from evaluation.bootstrap import BootstrapConfig, Interval, combined_interval
from evaluation.continual_figures import figures_of, joined_interval, seed_interval
from evaluation.continual_metrics import degradation_of
from evaluation.continual_record import StreamRecord
from experiments.options_equities.compare import lead, ratio_returns
from experiments.options_vs_flat.journal import Journal, Row, chosen
from experiments.options_vs_flat.statistics import markdown, paired
from experiments.real_regimes.arms import ARMS, RULES, STEPS
from experiments.real_regimes.run import CLOCK, RESULTS, UNIT
from experiments.real_regimes.streams import SERIES

Array = NDArray[np.float64]

A_YEAR: Final = 100.0 * CLOCK
"""Log growth a bar in per cent a year."""
HELD: Final = "ratio"
"""Entry of the scores on bars that were held out of each phase."""
FITTED: Final = "fitted"
"""Entry of the scores on the bars that were learned from."""
RIVAL, HOLD = "fine-tuning", "buy and hold"
SPANS: Final = {"next": "the same assets, the years after", "later": "Apple, 2019 to 2024"}
"""What no agent of a stream has learned from, by its entry."""
_CONFIG: Final = BootstrapConfig(resamples=1000)


@dataclass(frozen=True)
class Streams:
    """All seeds of an arm on a stream."""

    arm: str
    rows: tuple[Row, ...]

    def record(self, row: Row, entry: str) -> StreamRecord:
        """A seed's stream, scores in per cent a year."""
        names, joint = tuple(row["regimes"]), ARMS[self.arm].joint
        return StreamRecord(
            seed=int(row["seed"]),
            regimes=names,
            order=tuple(row["order"]),
            before_J=A_YEAR * np.array(row["before"]),
            ratio_IJ=A_YEAR * np.array(row[entry], dtype=np.float64),
            phase_steps=tuple(row["phase_steps"]),
            curve_step_P=np.zeros(0),
            curve_PJ=np.zeros((0, len(names))),
            stored_floats=tuple(row["floats"]),
            together=tuple(k for k in range(len(names)) if k != row["order"][0]) if joint else (),
        )

    @cached_property
    def records(self) -> Mapping[str, tuple[StreamRecord, ...]]:
        """Of every seed, by entry."""
        return {e: tuple(self.record(row, e) for row in self.rows) for e in (HELD, FITTED)}

    def by_seed(self, figure: str, entry: str = HELD) -> dict[int, float]:
        """A figure of `evaluation.continual_figures`."""
        return {each.seed: figures_of(each)[figure] for each in self.records[entry]}

    def interval(self, figure: str, entry: str = HELD) -> Interval:
        """Interquartile mean over seeds with its bootstrap interval."""
        return seed_interval(list(self.by_seed(figure, entry).values()), _CONFIG)

    def final(self, regime: int, entry: str = HELD) -> float:
        """Mean final score in a regime."""
        return float(np.mean([each.ratio_IJ[-1, regime] for each in self.records[entry]]))

    def degradation(self, entry: str) -> tuple[Interval, int, int]:
        """Per cent of the learned score that was lost, and where it is defined.

        Returns:
            Its mean over regimes, put together over seeds, as far as it is defined; of how many
            earlier regimes of a seed it is; and how many there are.
        """
        found_KJ = np.array(
            [degradation_of(each.ratio_IJ, each.order, each.least) for each in self.records[entry]]
        )
        earlier_KJ = [
            set(each.order) - {each.order[-1]} if len(each.order) > 1 else set()
            for each in self.records[entry]
        ]
        known_K = np.isfinite(found_KJ).any(axis=1)
        means = [float(np.nanmean(row)) for row in found_KJ[known_K]]
        if not means:
            value = Interval(math.nan, math.nan, math.nan)
        elif known_K.all():
            value = seed_interval(means, _CONFIG)
        else:
            value = Interval(float(np.mean(means)), math.nan, math.nan)
        return value, int(np.isfinite(found_KJ).sum()), sum(map(len, earlier_KJ))

    def returns(self, span: str) -> Array:
        """Daily returns (K, T) of the last agents on a span that nobody has learned from."""
        return np.array([UNIT * np.array(row[span]["returns"]) for row in self.rows])

    def mean(self, span: str, figure: str) -> float:
        """Mean over seeds of a figure of the accounts."""
        return float(np.mean([row[span][figure] for row in self.rows]))


def streams_of(rows: Sequence[Row], series: str, steps: int = STEPS) -> dict[str, Streams]:
    """What there is of every arm on a stream, in the arms' order."""
    found = {}
    for arm in ARMS:
        mine = sorted(
            chosen(rows, series=series, arm=arm, steps=steps), key=lambda row: int(row["seed"])
        )
        if mine:
            found[arm] = Streams(arm, tuple(mine))
    return found


def told(interval: Interval, digits: int = 1, *, sign: bool = True) -> str:
    """A figure with its interval as far as there is one; nothing where it is undefined."""
    if not math.isfinite(interval.estimate):
        return ""
    form = f"{'+' if sign else ''}.{digits}f"
    ends = (interval.estimate, interval.low, interval.high)
    # Adding 0 turns a rounded -0 into 0.
    estimate, low, high = (f"{round(number, digits) + 0.0:{form}}" for number in ends)
    return f"{estimate} [{low}, {high}]" if math.isfinite(interval.width) else estimate


def share(found: tuple[Interval, int, int]) -> str:
    """Degradation, and of how many regimes and seeds it is defined."""
    interval, known, all_of_them = found
    if not all_of_them:
        return ""
    return f"{told(interval, 0, sign=False)} ({known} of {all_of_them})".strip()


def stream_table(found: Mapping[str, Streams], rules: Sequence[Row]) -> str:
    """Held-out bars: what was learned and lost, one line an arm."""
    rival, body = found.get(RIVAL), []
    for arm, each in found.items():
        names = each.rows[0]["regimes"]
        joint = ARMS[arm].joint
        saved = ""
        if rival is not None and arm != RIVAL and not joint:
            gap = paired(each.by_seed("forgetting"), rival.by_seed("forgetting"))
            saved = told(gap.interval)
        body.append(
            [
                arm,
                told(each.interval("average_performance")),
                "" if joint else told(each.interval("learned")),
                "" if joint else told(each.interval("forgetting")),
                saved,
                share(each.degradation(HELD)),
                " / ".join(f"{each.final(k):+.0f}" for k in range(len(names))),
                str(len(each.rows)),
            ]
        )
    for row in rules:
        final = [A_YEAR * score for score in row["final"]]
        cells = [f"{np.mean(final):+.1f}", "", "", "", ""]
        body.append([row["arm"], *cells, " / ".join(f"{score:+.0f}" for score in final), ""])
    names = " / ".join(rules[0]["regimes"]) if rules else "by regime"
    heads = (
        "arm", "AP", "learned S_jj", "lost F", "F less fine-tuning's", "degradation, %",
        f"at the end in {names}", "seeds",
    )  # fmt: skip
    return markdown(heads, body)


def fitted_table(found: Mapping[str, Streams]) -> str:
    """The bars that were learned from: what was learned and lost, one line an arm."""
    rival, body = found.get(RIVAL), []
    for arm, each in found.items():
        if ARMS[arm].joint:
            performance = told(each.interval("average_performance", FITTED))
            body.append([arm, performance, "", "", "", ""])
            continue
        saved = ""
        if rival is not None and arm != RIVAL:
            mine, others = (s.by_seed("forgetting", FITTED) for s in (each, rival))
            saved = told(paired(mine, others).interval)
        body.append(
            [
                arm,
                told(each.interval("average_performance", FITTED)),
                told(each.interval("learned", FITTED)),
                told(each.interval("forgetting", FITTED)),
                saved,
                share(each.degradation(FITTED)),
            ]
        )
    heads = ("arm", "AP", "learned S_jj", "lost F", "F less fine-tuning's", "degradation, %")
    return markdown(heads, body)


def both_table(rows: Sequence[Row]) -> str:
    """Loss over both streams, seeds redrawn within each (stratified), one line an arm."""
    found, body = {series: streams_of(rows, series) for series in SERIES}, []
    for arm in ARMS:
        mine = [each[arm] for each in found.values() if arm in each]
        if len(mine) < len(found) or ARMS[arm].joint or len({len(s.rows) for s in mine}) > 1:
            continue
        cells = []
        for entry in (HELD, FITTED):
            for figure in ("average_performance", "forgetting"):
                values = [list(each.by_seed(figure, entry).values()) for each in mine]
                cells.append(told(joined_interval(values, _CONFIG)))
        body.append([arm, *cells])
    heads = ("arm", "AP", "lost F", "AP, learned bars", "lost F, learned bars")
    return markdown(heads, body)


def growth(returns_NT: Array) -> Array:
    """Per cent of log growth a year along the last axis."""
    return 100.0 * metrics.annualised_log_growth(returns_NT, CLOCK)


def later_table(found: Mapping[str, Streams], rules: Sequence[Row], span: str) -> str:
    """A span that nobody has learned from: one line an arm, intervals over seeds and histories."""
    hold = next((row for row in rules if row["arm"] == HOLD), None)
    rival, body = found.get(RIVAL), []
    for arm, each in found.items():
        returns_KT = each.returns(span)
        cells = [told(combined_interval(returns_KT, growth, _CONFIG))]
        if hold is not None:
            hold_1T = UNIT * np.array([hold[span]["returns"]])
            cells.append(told(combined_interval(returns_KT, growth, _CONFIG, hold_1T)))
        cells.append("")
        if rival is not None and arm != RIVAL:
            ratio_KT = ratio_returns(returns_KT, rival.returns(span))
            gap = lead(ratio_KT, CLOCK, _CONFIG)["over seeds and histories"]
            scaled = Interval(100.0 * gap.estimate, 100.0 * gap.low, 100.0 * gap.high)
            cells[-1] = told(scaled)
        body.append([arm, *cells, *account(returns_KT, each.rows, span)])
    for row in rules:
        returns_1T = UNIT * np.array([row[span]["returns"]])
        cells = [told(combined_interval(returns_1T, growth, _CONFIG)), "", ""]
        body.append([row["arm"], *cells, *account(returns_1T, [row], span)])
    heads = (
        "arm", "growth", "less buy and hold", "less fine-tuning", "volatility", "drawdown, %",
        "turnover a year", "net held, %",
    )  # fmt: skip
    return markdown(heads, body)


def account(returns_KT: Array, rows: Sequence[Row], span: str) -> list[str]:
    """Means over seeds of figures of an account."""
    figures: list[Any] = [
        100.0 * metrics.annualised_volatility(returns_KT, CLOCK).mean(),
        100.0 * metrics.max_drawdown(returns_KT).mean(),
        np.mean([row[span]["turnover"] for row in rows]),
        100.0 * np.mean([row[span]["held"] for row in rows]),
    ]
    return [f"{figure:.0f}" for figure in figures]


def main() -> None:
    """Print every table that there are results for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    rows = Journal(parser.parse_args().results).rows()
    for series, market in SERIES.items():
        found = streams_of(rows, series)
        if not found:
            continue
        rules = [row for name in RULES for row in chosen(rows, series=series, arm=name)]
        print(f"**{market.title}: held-out bars**\n\n{stream_table(found, rules)}\n")
        print(f"**{market.title}: the bars that were learned from**\n\n{fitted_table(found)}\n")
        for span, words in SPANS.items():
            print(f"**{market.title}: {words}**\n\n{later_table(found, rules, span)}\n")
    print(f"**Both streams**\n\n{both_table(rows)}")


if __name__ == "__main__":
    main()

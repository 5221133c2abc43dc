"""The tables of the record, and the verdict on the claim, from the lines of `results.jsonl`."""

from collections.abc import Sequence

import numpy as np

from evaluation.bootstrap import Interval
from experiments.meta_controller.settings import (
    CLAIM,
    MOST_CHURN,
    MOST_DISRUPTION,
    REFERENCES,
    ROUTED,
    SETTINGS,
)
from experiments.meta_controller.watching import switch_rate
from experiments.options_vs_flat.arms import TITLES
from experiments.options_vs_flat.journal import Row, by_seed, chosen
from experiments.options_vs_flat.statistics import (
    Paired,
    entropy,
    markdown,
    mean_of,
    paired,
    shares,
    shown,
)
from experiments.options_vs_flat.training import configuration

_ROUNDING = 1e-6
"""What single precision may add to the largest disruption."""
_FIGURES = (
    ("disruption_p99", ".3f"), ("disruption_max", ".3f"), ("churn", ".4f"),
)  # fmt: skip


def true_rate(market: str) -> float:
    """How often a market's regime changes, a bar."""
    problem = configuration(market, "blended", 1).market
    assert problem is not None
    return switch_rate(problem.world)


def table(rows: Sequence[Row], market: str) -> str:
    """All settings on one market, each against hard switching."""
    rate = true_rate(market)
    hard = {name: by_seed(rows, "share", market=market, setting=name) for name in REFERENCES}
    body = []
    for name in [each for setting in SETTINGS for each in (setting, f"{setting} {ROUTED}")]:
        found = chosen(rows, market=market, setting=name)
        if not found:
            continue
        values = by_seed(found, "share")
        cells = [name, shown(shares(values)), str(len(values))]
        for figure, form in _FIGURES:
            take = max if figure == "disruption_max" else np.mean
            cells.append(f"{take([row[figure] for row in found]):{form}}")
        cells.append(mean_of([row["churn"] / rate for row in found], ".2f"))
        cells.append(mean_of([100.0 * row["holdings_mean"] for row in found], ".4f"))
        cells.append(mean_of([100.0 * row["holdings_p99"] for row in found], ".3f"))
        cells.append(mean_of([entropy(row["usage"]) for row in found], ".2f"))
        cells.append(mean_of([row["information"] for row in found], ".2f"))
        cells += [
            "" if name == other else shown(paired(values, hard[other]).interval, sign=True)
            for other in REFERENCES
        ]
        body.append(cells)
    heads = ("setting", "share of the optimum", "seeds", "p99 D", "max D", "churn (mean D)",
             "churn / true switches", "DH mean, %", "DH p99, %", "usage entropy", "NMI with belief",
             *(f"less {name}" for name in REFERENCES))  # fmt: skip
    return markdown(heads, body)


def verdict(rows: Sequence[Row], market: str) -> str:
    """Whether the claim holds on a market, in words made of the numbers."""
    found = chosen(rows, market=market, setting=CLAIM)
    title = TITLES[market]
    if not found:
        return f"{title}: not run."
    disruption = max(row["disruption_max"] for row in found)
    churn = shares([row["churn"] for row in found])
    values = by_seed(found, "share")
    parts, reached = [], True
    for words, met in (
        (
            f"max disruption {disruption:.3f} (at most {MOST_DISRUPTION:g})",
            disruption <= MOST_DISRUPTION + _ROUNDING,
        ),
        (f"churn {_percent(churn)} (below {MOST_CHURN:.0%})", churn.high < MOST_CHURN),
    ):
        reached &= met
        parts.append(f"{words}: {'reached' if met else 'missed'}")
    for name in REFERENCES:
        other = by_seed(rows, "share", market=market, setting=name)
        difference = paired(values, other)
        met, words = _compared(difference)
        reached &= met
        parts.append(f"less {name} {shown(difference.interval, sign=True)}: {words}")
    return f"{title}, {CLAIM}: {'reached' if reached else 'not reached'}. {'; '.join(parts)}."


def _compared(difference: Paired) -> tuple[bool, str]:
    """Whether the share is at least that of hard switching, by the interval."""
    if difference.pairs < 2:
        return False, "not run" if not difference.pairs else "one pair only"
    if difference.interval.low >= 0.0:
        return True, "at least as good"
    return False, "worse" if difference.interval.high < 0.0 else "not told apart"


def _percent(interval: Interval) -> str:
    return f"{interval.estimate:.2%} [{interval.low:.2%}, {interval.high:.2%}]"


def print_tables(rows: Sequence[Row], steps: int) -> None:
    """A table and a verdict for each market that has results."""
    found = chosen(rows, steps=steps)
    for market, title in TITLES.items():
        if chosen(found, market=market):
            rate = true_rate(market)
            print(f"**{title}** (the regime changes in {rate:.2%} of the bars)\n")
            print(table(found, market), verdict(found, market), sep="\n\n", end="\n\n")

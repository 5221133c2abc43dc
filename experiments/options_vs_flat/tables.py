"""The tables of the record, from the lines of `results.jsonl`.

python -m experiments.options_vs_flat.tables
python -m experiments.options_vs_flat.tables --steps 3000000
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.options_vs_flat.ablations import RESULTS as ABLATIONS
from experiments.options_vs_flat.arms import ARMS, TITLES
from experiments.options_vs_flat.journal import Journal, Row, by_seed, chosen
from experiments.options_vs_flat.run import RESULTS, STEPS
from experiments.options_vs_flat.statistics import (
    MARGIN,
    entropy,
    markdown,
    mean_of,
    non_inferior,
    paired,
    shares,
    shown,
)

RIVAL = "multiplicative weights"
"""The controller that is only judged, over the options of the arm `fallback`."""
_HEADS = (
    "arm", "share of the optimum", "seeds", "less flat", f"worse by less than {MARGIN:g}", "churn",
    "p99 D", "max D", "usage entropy", "actor parameters", "seconds",
)  # fmt: skip
HARD_REACH = 0.05
"""What hard execution may lose to blended execution where the regime is visible."""


def lines(results: Path = RESULTS, ablations: Path = ABLATIONS) -> list[Row]:
    """Rows of all arms; the rival's are those of the ablations, with its name as the arm."""
    judged = chosen(Journal(ablations).rows(), arm="fallback", variant=RIVAL)
    return [*Journal(results).rows(), *({**row, "arm": RIVAL} for row in judged)]


def arm_table(rows: Sequence[Row], market: str, steps: int) -> str:
    """All arms on one market: share, difference to flat, and how the options acted."""
    flat = by_seed(rows, "share", market=market, arm="flat", steps=steps)
    body = []
    for arm in (*ARMS, RIVAL):
        found = chosen(rows, market=market, arm=arm, steps=steps)
        if found:
            body.append(_row(arm, found, flat))
    return markdown(_HEADS, body)


def _row(arm: str, found: Sequence[Row], flat: Mapping[int, float]) -> list[str]:
    values = by_seed(found, "share")
    difference = paired(values, flat)
    cells = [arm, shown(shares(values)), str(len(values))]
    cells += (
        ["", ""]
        if arm == "flat"
        else [shown(difference.interval, sign=True), non_inferior(difference)]
    )
    for name, form in (("churn", ".4f"), ("disruption_p99", ".3f")):
        cells.append(mean_of([row[name] for row in found if name in row], form))
    moved = [row["disruption_max"] for row in found if "disruption_max" in row]
    cells.append(f"{max(moved):.3f}" if moved else "")
    cells.append(mean_of([entropy(row["usage"]) for row in found if "usage" in row], ".2f"))
    parameters = sorted({row["parameters"] for row in found if "parameters" in row})
    cells.append(" / ".join(f"{count:,}" for count in parameters))
    seconds = [row["seconds"] for row in found if "seconds" in row]
    cells.append(f"{np.median(seconds):.0f}" if seconds else "")
    return cells


def hard_table(rows: Sequence[Row], steps: int) -> str:
    """Hard less blended execution, over common seeds."""
    body = []
    for market, title in TITLES.items():
        hard, blended = (
            by_seed(rows, "share", market=market, arm=arm, steps=steps)
            for arm in ("hard", "blended")
        )
        difference = paired(hard, blended)
        if not difference.pairs:
            continue
        near = "reached" if difference.interval.low >= -HARD_REACH else "not shown"
        reach = "" if market.endswith("belief") else near
        cells = [shown(difference.interval, sign=True), str(difference.pairs), reach]
        body.append([title, *cells])
    heads = ("market", "hard less blended", "pairs", f"at most {HARD_REACH:g} below")
    return markdown(heads, body)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of a training ({STEPS:,})")
    given = parser.parse_args()
    rows = lines()
    for market, title in TITLES.items():
        if chosen(rows, market=market, steps=given.steps):
            print(f"**{title}**", arm_table(rows, market, given.steps), sep="\n\n", end="\n\n")
    print(hard_table(rows, given.steps))


if __name__ == "__main__":
    main()

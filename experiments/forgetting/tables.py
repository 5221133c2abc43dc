"""The tables of the record, from `results.jsonl`, and whether what was wanted is reached.

python -m experiments.forgetting.tables
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from evaluation.bootstrap import Interval
from evaluation.continual_result import ContinualEvaluation, StreamRecord
from experiments.forgetting.arms import ARMS, GATED, MIXED, PROBLEMS, STEPS, TITLES
from experiments.forgetting.run import RESULTS
from experiments.options_vs_flat.journal import Journal, Row, chosen
from experiments.options_vs_flat.statistics import markdown, paired

COLUMNS: Final = {
    "average_performance": "AP at the end",
    "worst_regime": "worst regime",
    "learned": "learned S_jj",
    "degradation": "degradation, %",
    "forgetting_between_visits": "lost between visits",
    "recovery": "recovery on return",
    "conflict": "conflict",
}
"""Figures of `evaluation.continual_figures`, by name, with their heads."""
LOST, KEPT, NEAR = 1.0, 0.94, 0.02
"""Per cent that may be lost, AP wanted with it; distance in AP to joint training."""
LEFT = 0.05
"""Part of joint training's score that a regime may lack."""
QUICK = 0.25
"""Of the first learning's steps, for the return."""


def record_of(row: Row) -> StreamRecord:
    """The stream behind a line of the results."""
    names = tuple(f"regime {number}" for number in range(len(row["before"])))
    joint = ARMS[row["arm"]].joint
    curve = np.array([[0.0, *row["before"]], *row["curve"]], dtype=np.float64)
    return StreamRecord(
        seed=int(row["seed"]),
        regimes=names,
        order=tuple(row["order"]),
        before_J=np.array(row["before"], dtype=np.float64),
        ratio_IJ=np.array(row["ratio"], dtype=np.float64),
        phase_steps=tuple(row["phase_steps"]),
        curve_step_P=curve[:, 0],
        curve_PJ=curve[:, 1:],
        stored_floats=tuple(row["floats"]),
        # Only shares are read here, no regret in units of the reward.
        gain_J=np.ones(len(names)),
        together=tuple(k for k in range(len(names)) if k != row["order"][0]) if joint else (),
    )


def evaluations(rows: Sequence[Row], problem: str) -> dict[str, ContinualEvaluation]:
    """What is known of every arm of a problem, in the arms' order."""
    found = {}
    for arm in ARMS:
        mine = chosen(rows, problem=problem, arm=arm, steps=STEPS[problem])
        if mine:
            found[arm] = ContinualEvaluation(records=tuple(record_of(row) for row in mine))
    return found


def told(interval: Interval, digits: int = 3) -> str:
    """A figure with its interval if it has one; nothing where it is undefined."""
    if not math.isfinite(interval.estimate):
        return ""
    numbers = [f"{n:.{digits}f}" for n in (interval.estimate, interval.low, interval.high)]
    if not math.isfinite(interval.low) or not math.isfinite(interval.high):
        return numbers[0]
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"


def table(found: dict[str, ContinualEvaluation]) -> str:
    """One line an arm."""
    body = []
    for arm, each in found.items():
        cells = []
        for name in COLUMNS:
            digits = 1 if name == "degradation" else 3
            cells.append(told(each.intervals[name], digits))
        regimes = " ".join(f"{interval.estimate:.2f}" for interval in each.final)
        floats = f"{each.records[0].stored_floats[-1]:,}"
        body.append([arm, *cells, regimes, floats, str(len(each.records))])
    heads = ("arm", *COLUMNS.values(), "final S by regime", "floats stored", "seeds")
    return markdown(heads, body)


def known_verdict(found: dict[str, ContinualEvaluation]) -> list[str]:
    """Whether options with EWC keep what they learn where the regime is known."""
    lines = []
    for arm, each in found.items():
        if not arm.startswith("heads") or "EWC" not in arm:
            continue
        lost, kept = each.intervals["degradation"], each.intervals["average_performance"]
        reached = lost.estimate <= LOST and kept.estimate >= KEPT
        sure = lost.high <= LOST and kept.low >= KEPT
        word = "reached beyond the interval" if sure else "reached" if reached else "not reached"
        lines.append(
            f"{arm}: degradation {told(lost, 1)} % (at most {LOST:g}), AP {told(kept)} (at least "
            f"{KEPT:g}): {word}."
        )
    return lines


def mixed_verdict(found: dict[str, ContinualEvaluation]) -> list[str]:
    """How near the combinations come to joint training of the same network."""
    lines = []
    for arm, each in found.items():
        joint = found.get(f"{ARMS[arm].network}, joint")
        if joint is None or ARMS[arm].joint or not ARMS[arm].remedies:
            continue
        mine = dict(
            zip((r.seed for r in each.records), each.figures["average_performance"], strict=True)
        )
        theirs = dict(
            zip((r.seed for r in joint.records), joint.figures["average_performance"], strict=True)
        )
        gap = paired(mine, theirs)
        parts = [
            own.estimate / other.estimate
            for own, other in zip(each.final, joint.final, strict=True)
        ]
        near = gap.interval.estimate >= -NEAR and min(parts) >= 1.0 - LEFT
        sure = gap.interval.low >= -NEAR and min(parts) >= 1.0 - LEFT
        word = "reached beyond the interval" if sure else "reached" if near else "not reached"
        lines.append(
            f"{arm}: AP less joint training's {told(gap.interval)} on {gap.pairs} pairs (at least "
            f"-{NEAR:g}); least part of its score in a regime {min(parts):.3f} (at least "
            f"{1.0 - LEFT:g}): {word}."
        )
    return lines


def gate_verdict(rows: Sequence[Row], problem: str) -> list[str]:
    """What the gate has let pass."""
    lines = []
    for arm in ARMS:
        mine = chosen(rows, problem=problem, arm=arm, steps=STEPS[problem])
        decisions = [each for row in mine for phase in row["accepted"] for each in phase]
        if decisions:
            lines.append(f"{arm}: {sum(decisions)} of {len(decisions)} updates accepted.")
    return lines


def main() -> None:
    """Print every table that there are results for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    rows = Journal(parser.parse_args().results).rows()
    for problem in PROBLEMS:
        found = evaluations(rows, problem)
        if not found:
            continue
        print(f"**{TITLES[problem]}**\n\n{table(found)}\n")
        lines = mixed_verdict(found) if problem in MIXED else []
        if problem.startswith(("gp known", "ou known")):
            lines = known_verdict(found)
        lines += gate_verdict(rows, problem) if problem in GATED else []
        for line in lines:
            print(f"- {line}")
        print()


if __name__ == "__main__":
    main()

"""The tables of the record, and the verdict, from the lines of `results.jsonl`."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.bootstrap import BootstrapConfig, Interval
from evaluation.optimality import mean_interval
from experiments.options_vs_flat.journal import Row, chosen
from experiments.options_vs_flat.statistics import markdown, shares, shown
from experiments.transfer.training import ARMS
from experiments.transfer.worlds import THIRD

VIEWS = {
    "gp": "Gârleanu-Pedersen, regime seen",
    "gp belief": "Gârleanu-Pedersen, belief seen",
}
"""What the markets tell of their regimes."""
LEVEL = 0.8
"""Share of the optimum that the steps are counted to."""
REACH = 0.5
"""Share of the steps from scratch that were hoped for."""
SCRATCH = "from scratch"


def steps_to(row: Row, level: float = LEVEL) -> float:
    """Steps until the share first reaches a level, between judgements by a line; inf if never."""
    at, found = row["at"], row["shares"]
    for place, share in enumerate(found):
        if share >= level:
            if not place:
                return float(at[0])
            part = (level - found[place - 1]) / (share - found[place - 1])
            return float(at[place - 1] + part * (at[place] - at[place - 1]))
    return math.inf


def counted(rows: Sequence[Row]) -> dict[int, tuple[float, bool]]:
    """Steps to the level by seed, and whether they are the whole budget for want of an end."""
    found = {}
    for row in rows:
        steps = steps_to(row)
        never = math.isinf(steps)
        found[int(row["seed"])] = (float(row["at"][-1]) if never else steps, never)
    return dict(sorted(found.items()))


def ratio(
    left: Mapping[int, tuple[float, bool]], right: Mapping[int, tuple[float, bool]], least: float
) -> tuple[Interval, int]:
    """Geometric mean of the seeds' ratios of steps with its interval over pairs, and their number.

    Args:
        left: steps by seed.
        right: those that they are divided by.
        least: steps that are taken where a level is reached before the first update.
    """
    common = sorted(left.keys() & right.keys())
    logs = [math.log(max(left[s][0], least) / max(right[s][0], least)) for s in common]
    if len(common) < 2:
        middle = math.exp(logs[0]) if logs else math.nan
        return Interval(middle, -math.inf, math.inf), len(common)
    found = mean_interval(np.array(logs)[:, None], BootstrapConfig())
    ends = (math.exp(x) for x in (found.estimate, found.low, found.high))
    return Interval(*ends), len(common)


def table(rows: Sequence[Row]) -> str:
    """All arms on one naming of the third market, against learning from scratch."""
    scratch = counted(chosen(rows, arm=SCRATCH))
    body = []
    for arm in ARMS:
        found = chosen(rows, arm=arm)
        if not found:
            continue
        first = {int(row["seed"]): float(row["shares"][0]) for row in found}
        last = {int(row["seed"]): float(row["shares"][-1]) for row in found}
        cells = [arm, str(len(found)), shown(shares(first))]
        if len(found[0]["at"]) == 1:
            body.append([*cells, "", "", "", ""])
            continue
        mine = counted(found)
        steps = [count for count, _ in mine.values()]
        never = sum(late for _, late in mine.values())
        words = f"{np.median(steps):,.0f} ({min(steps):,.0f} to {max(steps):,.0f})"
        cells += [shown(shares(last)), words, f"{never} of {len(mine)}"]
        compared, _ = ratio(mine, scratch, least=float(found[0]["at"][1]))
        body.append([*cells, "" if arm == SCRATCH else shown(compared)])
    heads = ("on the third market", "seeds", "S at the start", "S at the end",
             f"steps to S = {LEVEL:g}, median", "never", "of the steps from scratch")  # fmt: skip
    return markdown(heads, body)


def verdict(rows: Sequence[Row]) -> str:
    """Whether a new gate over old options needs half of the steps, in words made of numbers."""
    gate, scratch = (counted(chosen(rows, arm=arm)) for arm in ("new gate", SCRATCH))
    if not gate.keys() & scratch.keys():
        return "Not run."
    least = min(float(row["at"][1]) for row in chosen(rows, arm="new gate"))
    found, pairs = ratio(gate, scratch, least)
    late, slow = (sum(never for _, never in each.values()) for each in (gate, scratch))
    if late:
        words = (
            f"not reached: the new gate never came to {LEVEL:g} with {late} of {len(gate)} seeds"
        )
    elif pairs < 2:
        words = "not shown: one pair"
    elif found.high <= REACH:
        words = "reached, by the whole interval"
    elif found.estimate <= REACH:
        words = "reached by the mean, not by the whole interval"
    else:
        words = "not reached"
    censored = f" ({slow} of {len(scratch)} from scratch never did: their ratio is at most that)"
    return (
        f"Steps of a new gate over those from scratch {shown(found)}, {pairs} "
        f"pairs{censored if slow else ''}; at most {REACH:g} {words}."
    )


def print_tables(rows: Sequence[Row], steps: int) -> None:
    """A table and a verdict for each view that has results."""
    found = chosen(rows, steps=steps)
    for market, title in VIEWS.items():
        for third in THIRD:
            here = chosen(found, market=market, third=third)
            if here:
                print(f"**{title}; {third}**", table(here), verdict(here), "", sep="\n\n")

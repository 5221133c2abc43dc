"""Tables of the record, with exact intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from evaluation.acceptance import AcceptanceConfig
from evaluation.acceptance_power import episodes_needed
from experiments.acceptance.law import Pool

Row = dict[str, Any]
HARMLESS, BORDER, BAD, DRIFT = (
    "harmless",
    "loses 5 % in one regime",
    "loses 10 % in one regime",
    "loses 2 % in all regimes",
)


def tables(rows: Sequence[Row], tests: Sequence[Row], pools: dict[str, Pool]) -> str:
    """All tables of README.md."""
    parts = (laws_table(pools), rates_table(rows), needed_table(pools), drift_table(rows))
    return "\n\n".join((*parts, methods_table(tests)))


def share(count: int, total: int) -> str:
    """A share with its exact 95 % interval (Clopper and Pearson 1934), in per cent."""
    low, high = stats.binomtest(count, total).proportion_ci(0.95, method="exact")
    return f"{100 * count / total:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def laws_table(pools: dict[str, Pool]) -> str:
    """Spread and shape of paired differences, by regime."""
    lines = [
        "| rewards | equal policies | one loses 10 % | its skewness | its kurtosis | not paired |",
        "|---|---|---|---|---|---|",
    ]
    for name, pool in pools.items():
        columns = (pool.deviation, pool.bad_deviation, pool.skewness, pool.kurtosis, pool.unpaired)
        cells = [", ".join(f"{value:.2g}" for value in column) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rates_table(rows: Sequence[Row]) -> str:
    """False rejections and acceptances by rewards, episodes and settings."""
    lines = [
        (
            "| rewards | episodes | settings | harmless: rejected | the same, first update | "
            'loses 5 %: accepted | loses 10 %: accepted | by "no significant loss" |'
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    keys = {(row["rewards"], row["episodes"], str(row["changes"])): row for row in rows}
    for key in keys:
        mine = {
            row["losses"]: row
            for row in rows
            if (row["rewards"], row["episodes"], str(row["changes"])) == key
        }
        if HARMLESS not in mine:
            continue
        calm = mine[HARMLESS]
        total = calm["sequences"] * calm["updates"]
        cells = [
            share(total - sum(calm["accepted"]), total),
            share(calm["sequences"] - calm["accepted"][0], calm["sequences"]),
            *(
                share(sum(mine[each]["accepted"]), total) if each in mine else ""
                for each in (BORDER, BAD)
            ),
            share(sum(mine[BAD]["wrong"]), total) if BAD in mine else "",
        ]
        settings = ", ".join(f"{name}: {value}" for name, value in calm["changes"]) or "default"
        lines.append(f"| {key[0]} | {key[1]} | {settings} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def needed_table(pools: dict[str, Pool]) -> str:
    """Episodes of each regime with which harmless updates pass, by the noise of this market."""
    noises = {
        "expected, paired": pools["expected"].deviation,
        "realised, paired": pools["realised"].deviation,
        "realised, not paired": pools["realised"].unpaired,
    }
    lines = [
        (
            "| rewards | noise of a difference | one test of 5 %, power 80 % | "
            "first update of 3 regimes, 95 % | tenth update |"
        ),
        "|---|---|---|---|---|",
    ]
    config = AcceptanceConfig()
    for name, deviation in noises.items():
        noise = float(np.max(deviation))
        numbers = [
            episodes_needed(noise, config.tolerance),
            *(
                episodes_needed(
                    noise, config.tolerance, power=0.95, regimes=3, config=config, update=update
                )
                for update in (1, 10)
            ),
        ]
        lines.append(f"| {name} | {noise:.2g} | " + " | ".join(f"{n:,}" for n in numbers) + " |")
    return "\n".join(lines)


def drift_table(rows: Sequence[Row]) -> str:
    """What a series of small losses comes to, with and without golden policies."""
    lines = [
        (
            "| golden policies | accepted before the first rejection, median (range) | "
            "value of the last champion, mean (least) |"
        ),
        "|---|---|---|",
    ]
    for row in rows:
        if row["losses"] != DRIFT:
            continue
        until = row["before_first_rejection"]
        word = "not tested" if row["changes"] else "tested"
        lines.append(
            f"| {word} | {np.median(until):g} ({min(until)} to {max(until)}) of {row['updates']} | "
            f"{np.mean(row['values']):.3f} ({min(row['values']):.3f}) |"
        )
    return "\n".join(lines)


def methods_table(rows: Sequence[Row]) -> str:
    """Size and power of tests on known laws."""
    if not rows:
        return ""
    names = list(rows[0]["rates"])
    lines = [
        "| law of the differences | level | episodes | " + " | ".join(names) + " |",
        "|---|---|---|" + "---|" * len(names),
    ]
    for row in rows:
        cells = [f"{size:.3f} / {power:.2f}" for size, power in row["rates"].values()]
        head = f"| {row['law']} | {row['level']:.4f} | {row['episodes']} | "
        lines.append(head + " | ".join(cells) + " |")
    return "\n".join(lines)

"""The tables of an experiment's record, from its `metrics.json`.

python -m experiments.table experiments/default_agent
"""

import json
import sys
from pathlib import Path
from typing import Any


def points(interval: dict[str, float]) -> str:
    """An estimate with its interval, in percentage points."""
    low, high = 100 * interval["low"], 100 * interval["high"]
    return f"{100 * interval['estimate']:+.1f} [{low:+.1f}, {high:+.1f}]"


def figures_table(document: dict[str, Any]) -> str:
    """Mean figures by policy."""
    lines = [
        "| policy | growth | volatility | Sharpe | drawdown | turnover a year | costs, bps |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in document["figures"].items():
        lines.append(
            f"| {name} | {100 * row['log_growth']:.1f} % | {100 * row['volatility']:.1f} % "
            f"| {row['sharpe']:.2f} | {100 * row['max_drawdown']:.1f} % | {row['turnover']:.1f} "
            f"| {row['cost_drag']:.0f} |"
        )
    return "\n".join(lines)


def differences_table(document: dict[str, Any]) -> str:
    """Agent less each baseline, percentage points of log growth a year."""
    lines = [
        "| agent less | over seeds and histories | over seeds | over histories |",
        "|---|---|---|---|",
    ]
    for name, row in document["comparison"]["differences"].items():
        kinds = ("growth", "growth_over_seeds", "growth_over_time")
        lines.append(f"| {name} | " + " | ".join(points(row[kind]) for kind in kinds) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables and the lead of each seed over the best baseline."""
    document = json.loads((Path(sys.argv[1]) / "metrics.json").read_text())
    best = document["comparison"]["best"]
    seeds = document["comparison"]["differences"][best]["per_seed"]
    print(figures_table(document), differences_table(document), sep="\n\n")
    print(f"\nLead over {best} by seed: " + ", ".join(f"{100 * x:+.1f}" for x in seeds))


if __name__ == "__main__":
    main()

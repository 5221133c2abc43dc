"""The share of the optimum that flat PPO earns on markets whose best policy is known.

Every market is learned from scratch with each budget (the step sizes fall to zero within it) and
each of ten seeds, and judged on the same 1,024 fresh episodes by expected rewards. Results are
appended to `results.jsonl`; what is there is not repeated, so the study can be stopped and gone on
with.

    python -m experiments.optimality_gap.run                      # run what is missing
    python -m experiments.optimality_gap.run --steps 300000       # the smallest budget only
    python -m experiments.optimality_gap.run --table              # the tables of README.md
    python -m experiments.optimality_gap.run --rules              # what simple rules earn there
    python -m experiments.optimality_gap.run --plot               # curves.png
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from evaluation.bootstrap import BootstrapConfig, Interval
from evaluation.drawing import to_png
from evaluation.optimality import OptimalityConfig, iqm_interval, measure
from experiments.optimality_gap.figure import curves_figure
from experiments.optimality_gap.scores import MARKETS, bounds, configuration, trained_share
from training.runtime import limit_torch_threads

RESULTS = Path(__file__).with_name("results.jsonl")
FIGURE = Path(__file__).with_name("curves.png")
SEEDS = tuple(range(10))
BUDGETS = (300_000, 1_000_000, 3_000_000)
JUDGED = OptimalityConfig()
TITLES = {
    "gp frozen": "Gârleanu-Pedersen, frozen regimes, regime shown",
    "gp": "Gârleanu-Pedersen, switching, regime shown",
    "gp belief": "Gârleanu-Pedersen, switching, filter's belief shown",
    "ou": "Ornstein-Uhlenbeck, regime shown",
    "gbm": "Regime-switching GBM, regime shown",
    "gbm belief": "Regime-switching GBM, filter's belief shown",
}
REACH = {"gp frozen": 0.95, "gp belief": 0.90, "ou": 0.90, "gbm": 0.90}
"""Share of the optimum that was hoped for."""


def results() -> list[dict[str, Any]]:
    """What has been run."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return [json.loads(line) for line in lines]


def missing(markets: Sequence[str], budgets: Sequence[int]) -> Iterator[tuple[str, int, int]]:
    """What has not been run yet, the small budgets first."""
    done = {(row["market"], row["steps"], row["seed"]) for row in results()}
    for steps in budgets:
        for seed in SEEDS:
            for market in markets:
                if (market, steps, seed) not in done:
                    yield market, steps, seed


def shares(rows: Sequence[dict[str, Any]], market: str, steps: int) -> NDArray[np.float64]:
    """Shares of a market and budget, by seed."""
    chosen = [row for row in rows if (row["market"], row["steps"]) == (market, steps)]
    return np.array([row["share"] for row in sorted(chosen, key=lambda row: row["seed"])])


def shown(interval: Interval) -> str:
    """An interquartile mean with its interval."""
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def table() -> str:
    """Interquartile mean of the share over seeds for each market and budget, with its reach."""
    rows, config = results(), BootstrapConfig()
    names = [f"{steps / 1e6:g} M steps" for steps in BUDGETS]
    lines = [
        "| market | optimum a bar | " + " | ".join(names) + " | reach |",
        "|---|---|" + "---|" * (len(BUDGETS) + 1),
    ]
    for market, title in TITLES.items():
        found = [shares(rows, market, steps) for steps in BUDGETS]
        cells = [shown(iqm_interval(s[None], config)) if s.size else "not run" for s in found]
        best = next((f"{row['oracle']:.4g}" for row in rows if row["market"] == market), "")
        reach = f"{REACH[market]:.2f}" if market in REACH else ""
        lines.append(f"| {title} | {best} | " + " | ".join(cells) + f" | {reach} |")
    return "\n".join(lines)


def seed_table() -> str:
    """Every seed's share at the largest budget, and the median wall time of a training."""
    rows = results()
    lines = ["| market | seeds from 0 on, 3 M steps | seconds, 0.3 / 1 / 3 M |", "|---|---|---|"]
    for market, title in TITLES.items():
        walls = [
            [r["seconds"] for r in rows if (r["market"], r["steps"]) == (market, steps)]
            for steps in BUDGETS
        ]
        times = " / ".join(f"{np.median(wall):.0f}" if wall else "-" for wall in walls)
        last = ", ".join(f"{share:.2f}" for share in shares(rows, market, BUDGETS[-1]))
        lines.append(f"| {title} | {last} | {times} |")
    return "\n".join(lines)


def rules_table() -> str:
    """The share of the optimum that each market's simple rules earn on the judged episodes."""
    lines = ["| market | rules |", "|---|---|"]
    for market, title in TITLES.items():
        problem = configuration(market, 1).market
        assert problem is not None
        nothing, best = bounds(problem, JUDGED)
        earned = {
            name: float(np.mean(measure(rule, problem, JUDGED).earned.discounted_E))
            for name, rule in problem.world.rules().items()
            if name != "do_nothing"
        }
        words = (f"{name} {(it - nothing) / (best - nothing):.2f}" for name, it in earned.items())
        lines.append(f"| {title} | {', '.join(words)} |")
    return "\n".join(lines)


def plot() -> None:
    """Draw the share over the budget."""
    rows = results()
    curves = {
        title: {steps: shares(rows, market, steps) for steps in BUDGETS}
        for market, title in TITLES.items()
    }
    to_png(lambda: curves_figure(curves), FIGURE)


def main() -> None:
    """Run what is missing, or show what there is."""
    parser = argparse.ArgumentParser(description="Flat PPO's share of the optimum.")
    parser.add_argument("--table", action="store_true", help="print the tables and stop")
    parser.add_argument("--rules", action="store_true", help="print what rules earn and stop")
    parser.add_argument("--plot", action="store_true", help=f"draw {FIGURE.name} and stop")
    parser.add_argument("--market", choices=MARKETS, action="append", help="only this one")
    parser.add_argument("--steps", type=int, choices=BUDGETS, action="append", help="only this")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(), seed_table(), sep="\n\n")
        return
    if arguments.rules:
        print(rules_table())
        return
    if arguments.plot:
        plot()
        return
    limit_torch_threads()
    todo = list(missing(arguments.market or tuple(TITLES), arguments.steps or BUDGETS))
    for market, steps, seed in track(todo, "trainings"):
        found = trained_share(configuration(market, steps), seed, JUDGED)
        row = json.dumps({"market": market, "steps": steps, "seed": seed, **found})
        with RESULTS.open("a") as file:
            file.write(row + "\n")


if __name__ == "__main__":
    main()

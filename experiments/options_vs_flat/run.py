"""Options against a flat agent: share of the optimum on six switching markets.

Every arm is learned from scratch on every market and seed, with the same steps and about the same
number of the actor's parameters, and judged on the same fresh episodes. Results are appended to
`results.jsonl`; what is there is not repeated, so the study can be stopped and gone on with, and
several workers can share it.

    python -m experiments.options_vs_flat.run                     # run what is missing
    python -m experiments.options_vs_flat.run --worker 0/2        # the first half of it
    python -m experiments.options_vs_flat.run --arm flat --seeds 30
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evaluation.optimality import OptimalityConfig
from experiments.options_vs_flat.arms import ARMS, MARKETS, ONLY
from experiments.options_vs_flat.training import run
from training.runtime import limit_torch_threads

RESULTS = Path(__file__).with_name("results.jsonl")
STEPS = 500_000
SEEDS = 10
JUDGED = OptimalityConfig()


def results() -> list[dict[str, Any]]:
    """What has been run."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return [json.loads(line) for line in lines]


def missing(
    markets: Sequence[str], arms: Sequence[str], steps: int, seeds: range
) -> Iterator[tuple[str, str, int]]:
    """What has not been run yet: market, arm, seed; all arms of a seed before the next seed."""
    for seed in seeds:
        for arm in arms:
            for market in [name for name in markets if name in ONLY.get(arm, MARKETS)]:
                done = {(r["market"], r["arm"], r["steps"], r["seed"]) for r in results()}
                if (market, arm, steps, seed) not in done:
                    yield market, arm, seed


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--market", choices=MARKETS, action="append", help="only this one")
    parser.add_argument("--arm", choices=ARMS, action="append", help="only this one")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of a training ({STEPS:,})")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"0 .. SEEDS - 1 ({SEEDS})")
    parser.add_argument("--worker", default="0/1", help="i/n: every n-th training from the i-th on")
    parser.add_argument("--weights", type=Path, help="folder that keeps the trained weights")
    given = parser.parse_args()
    limit_torch_threads()
    number, workers = (int(part) for part in given.worker.split("/"))
    todo = missing(
        given.market or tuple(MARKETS), given.arm or tuple(ARMS), given.steps, range(given.seeds)
    )
    for market, arm, seed in todo:
        if (seed + list(MARKETS).index(market)) % workers != number:
            continue
        found = run(market, arm, given.steps, seed, JUDGED, keep=given.weights)
        row = {"market": market, "arm": arm, "steps": given.steps, "seed": seed, **found}
        with RESULTS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{market:12s} {arm:14s} seed {seed:2d}  {found['share']:.3f}", flush=True)


if __name__ == "__main__":
    main()

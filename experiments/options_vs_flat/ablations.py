"""What the parts of a trained agent are worth: each taken away or exchanged, without training.

The agents are those whose weights `run.py --weights FOLDER` kept; all variants play the episodes
that the agents were judged on. Results are appended to `ablations.jsonl`.

    python -m experiments.options_vs_flat.ablations --weights FOLDER   # run what is missing
    python -m experiments.options_vs_flat.ablations --table            # the tables of README.md
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.optimality import OptimalityConfig
from experiments.options_vs_flat.arms import MARKETS, TITLES
from experiments.options_vs_flat.journal import (
    Journal,
    Row,
    by_seed,
    chosen,
    seeds_of,
    study_parser,
    worker_of,
)
from experiments.options_vs_flat.run import JUDGED, SEEDS, STEPS
from experiments.options_vs_flat.statistics import added, markdown, paired, shares, shown
from experiments.options_vs_flat.training import judged, reloaded, weights_name
from experiments.options_vs_flat.variants import (
    ITSELF,
    RIVALS,
    VARIANTS,
    Variant,
    option_learner,
)
from training.runtime import limit_torch_threads

RESULTS = Path(__file__).with_name("ablations.jsonl")
ARMS: Mapping[str, Mapping[str, Variant]] = {
    "blended": VARIANTS,
    "blended 0.22": VARIANTS,
    "fallback": RIVALS,
}
"""Variants of each arm that is looked at."""


def missing(
    journal: Journal, agents: Sequence[Row], folder: Path, worker: str
) -> Iterator[tuple[Row, list[str]]]:
    """Agents whose weights are kept, each with the variants that have not been judged."""
    number, workers = worker_of(worker)
    for place, agent in enumerate(agents):
        if place % workers != number or not (folder / weights_name(**agent)).exists():
            continue
        wanted = [v for v in ARMS[agent["arm"]] if not journal.has({**agent, "variant": v})]
        if wanted:
            yield agent, wanted


def scores(
    agent: Row, folder: Path, variants: Sequence[str], paths: OptimalityConfig
) -> Iterator[dict[str, Any]]:
    """Judge variants of one trained agent.

    Args:
        agent: market, arm, steps and seed of the training.
        folder: of the weights.
        variants: names.
        paths: of the judgement.

    Yields:
        For each variant its share, the mean over `shares` where it is made of several policies,
        and the options' counts of the first.
    """
    model, task = reloaded(**agent, folder=folder)
    for name in variants:
        policies = ARMS[agent["arm"]][name](option_learner(model))
        found = [judged(policy, task, paths) for policy in policies]
        each = [one["share"] for one in found]
        mean = {"share": float(np.mean(each)), "shares": each}
        yield {**agent, "variant": name, **found[0], **mean}


def table(rows: Sequence[Row], arm: str, steps: int) -> str:
    """Every variant of an arm on every market, against the agent itself."""
    body = []
    for market, title in TITLES.items():
        found = chosen(rows, market=market, arm=arm, steps=steps)
        itself = by_seed(found, "share", variant=ITSELF)
        for name in ARMS[arm]:
            values = by_seed(found, "share", variant=name)
            if not values:
                continue
            less = paired(values, itself)
            compared = (
                ["", ""] if name == ITSELF else [shown(less.interval, sign=True), added(less)]
            )
            body.append([title, name, shown(shares(values)), str(len(values)), *compared])
    heads = ("market", "variant", "share of the optimum", "seeds", "less the agent itself",
             "what was taken away")  # fmt: skip
    return markdown(heads, body)


def print_tables(rows: Sequence[Row], steps: int) -> None:
    """One table an arm that has results."""
    for arm in ARMS:
        if chosen(rows, arm=arm, steps=steps):
            print(f"**{arm}**", table(rows, arm, steps), sep="\n\n", end="\n\n")


def main() -> None:
    """Judge what is missing, or print the tables."""
    parser = study_parser(__doc__, steps=STEPS, seeds=SEEDS)
    parser.add_argument("--market", choices=MARKETS, action="append", help="only this one")
    parser.add_argument("--arm", choices=ARMS, action="append", help="only this one")
    given = parser.parse_args()
    journal = Journal(given.output or RESULTS)
    if given.table:
        print_tables(journal.rows(), given.steps)
        return
    if given.weights is None:
        parser.error("--weights: expected the folder of the trained weights, found none")
    limit_torch_threads()
    agents = [
        {"market": market, "arm": arm, "steps": given.steps, "seed": seed}
        for seed in seeds_of(given)
        for arm in given.arm or ARMS
        for market in given.market or MARKETS
    ]
    for agent, variants in missing(journal, agents, given.weights, given.worker):
        for row in scores(agent, given.weights, variants, JUDGED):
            journal.add(row)
            print(*(row[k] for k in ("market", "arm", "seed", "variant")), f"{row['share']:.3f}")


if __name__ == "__main__":
    main()

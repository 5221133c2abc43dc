"""Options against a flat agent: share of the optimum on six switching markets.

Every arm is learned from scratch on every market and seed, with the same steps and about the same
number of the actor's parameters, and judged on the same fresh episodes. Results are appended to
`results.jsonl`; what is there is not repeated, so the study can be stopped and gone on with, and
several workers can share it. The tables are printed by `experiments.options_vs_flat.tables`.

    python -m experiments.options_vs_flat.run                     # run what is missing
    python -m experiments.options_vs_flat.run --worker 0/2        # the first half of it
    python -m experiments.options_vs_flat.run --arm flat --seeds 30
"""

from pathlib import Path

from evaluation.optimality import OptimalityConfig
from experiments.options_vs_flat.arms import ARMS, MARKETS, ONLY
from experiments.options_vs_flat.journal import Journal, seeds_of, study_parser
from experiments.options_vs_flat.training import run
from training.runtime import limit_torch_threads

RESULTS = Path(__file__).with_name("results.jsonl")
STEPS = 500_000
SEEDS = 10
JUDGED = OptimalityConfig()


def main() -> None:
    """Run what is missing."""
    parser = study_parser(__doc__, steps=STEPS, seeds=SEEDS, tables=False)
    parser.add_argument("--market", choices=MARKETS, action="append", help="only this one")
    parser.add_argument("--arm", choices=ARMS, action="append", help="only this one")
    given = parser.parse_args()
    journal = Journal(given.output or RESULTS)
    limit_torch_threads()
    wanted = [
        {"market": market, "arm": arm, "steps": given.steps, "seed": seed}
        for seed in seeds_of(given)
        for arm in given.arm or ARMS
        for market in given.market or MARKETS
        if market in ONLY.get(arm, tuple(MARKETS))
    ]
    for key in journal.missing(wanted, given.worker):
        found = run(**key, paths=JUDGED, keep=given.weights)
        journal.add({**key, **found})
        print(f"{key['market']:12s} {key['arm']:14s} seed {key['seed']:2d}  {found['share']:.3f}")


if __name__ == "__main__":
    main()

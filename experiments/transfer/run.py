"""Options learned on two markets, a new gate on a third, against learning from scratch.

Phase 1 learns options on the markets A and B, a rollout each in turn; phase 2 learns on the third
market with them, or without. All are judged on the same fresh episodes after every few rollouts.
Results are appended to `results.jsonl`; what is there is not repeated.

    python -m experiments.transfer.run                   # run what is missing
    python -m experiments.transfer.run --worker 0/2      # every other seed of it
    python -m experiments.transfer.run --table           # the tables of README.md
    python -m experiments.transfer.run --plot            # curves.png
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from evaluation.optimality import OptimalityConfig
from experiments.options_vs_flat.journal import Journal, seeds_of, study_parser, worker_of
from experiments.transfer.figure import plot
from experiments.transfer.tables import VIEWS, print_tables
from experiments.transfer.training import (
    ARMS,
    PERFECT,
    STILL,
    TRANSFERRED,
    curve,
    learned_options,
)
from experiments.transfer.tune import LINEAR, way_of
from experiments.transfer.worlds import THIRD
from training.runtime import limit_torch_threads

RESULTS = Path(__file__).with_name("results.jsonl")
WEIGHTS = Path("runs") / "transfer"
"""Folder of the options of phase 1, unless told otherwise."""
OPTION_STEPS = 500_000
"""Of phase 1, on both markets together."""
STEPS, SEEDS = 12_288, 10
"""Of phase 2."""
CHOSEN: Final[Mapping[str, str]] = {
    "from scratch": "1,024, minibatch 64, 5e-3",
    "new gate": "512, minibatch 64, 5e-3",
    "fine-tuned": "1,024, minibatch 64, 5e-3",
    STILL: "512, minibatch 64, 5e-3",
    PERFECT: "512, minibatch 64, 5e-3",
}
"""How each arm learns, by `tune`'s choices; going on with options is done as from scratch."""
JUDGED = OptimalityConfig(episodes=256, length=256)
"""Shorter than elsewhere, for there are many of them."""
SHOWN = ("gp",)
"""Views that are run unless others are asked for."""


def main() -> None:
    """Run what is missing, or show what there is."""
    parser = study_parser(__doc__, steps=STEPS, seeds=SEEDS)
    parser.add_argument("--plot", action="store_true", help="draw the figure and stop")
    parser.add_argument("--market", choices=VIEWS, action="append", help="only this one")
    parser.add_argument("--third", choices=THIRD, action="append", help="only this one")
    parser.add_argument("--arm", choices=ARMS, action="append", help="only this one")
    parser.add_argument("--option-steps", type=int, default=OPTION_STEPS, help="of phase 1")
    given = parser.parse_args()
    journal = Journal(given.output or RESULTS)
    if given.table:
        print_tables(journal.rows(), given.steps)
        return
    if given.plot:
        plot(journal.rows(), given.steps, journal.path.with_name("curves.png"))
        return
    limit_torch_threads()
    number, workers = worker_of(given.worker)
    for seed in seeds_of(given):
        if seed % workers != number:  # all arms of a seed share its options
            continue
        keys = [
            {"market": market, "third": third, "arm": arm, "steps": given.steps, "seed": seed}
            | ({"option_steps": given.option_steps} if arm in TRANSFERRED else {})
            for market in given.market or SHOWN
            for third in given.third or THIRD
            for arm in given.arm or ARMS
        ]
        for key in journal.missing(keys):
            options = None
            if key["arm"] in TRANSFERRED:
                folder = given.weights or WEIGHTS
                options = learned_options(key["market"], given.option_steps, seed, folder, LINEAR)
            every, words = way_of(CHOSEN[key["arm"]])
            found = curve(
                key["arm"], key["third"], key["market"], given.steps, seed,
                options=options, paths=JUDGED, every=every, changes=words,
            )  # fmt: skip
            journal.add({**key, **found})
            print(
                *(key[k] for k in ("market", "third", "arm", "seed")),
                *(f"{s:.2f}" for s in found["shares"]),
            )


if __name__ == "__main__":
    main()

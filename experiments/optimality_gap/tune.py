"""Choice of hyper-parameters on the markets with a known answer, on seeds reported nowhere.

Seeds are 100 and 101, and the paths of the judgement are not those of a report. Each candidate
changes the configuration of `conf/market` in one respect or a few. Results are appended to
`tuning.jsonl`; what is there is not repeated, so the study can be stopped and gone on with.

    python -m experiments.optimality_gap.tune             # run what is missing
    python -m experiments.optimality_gap.tune --table     # the table of README.md
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from evaluation.optimality import OptimalityConfig
from experiments.optimality_gap.scores import configuration, trained_share
from training.runtime import limit_torch_threads

RESULTS = Path(__file__).with_name("tuning.jsonl")
SEEDS = (100, 101)
STEPS = 300_000
MARKETS = ("gp frozen", "gp belief", "ou", "gbm")
JUDGED = OptimalityConfig(episodes=256, seed=20_000)
START = (
    "agent.policy.hidden=[64,64]",
    "agent.policy.log_std_init=-1.0",
    "agent.ppo.steps=64",
    "agent.ppo.minibatch=1024",
    "agent.ppo.epochs=10",
    "agent.ppo.learning_rate=1e-3",
    "agent.ppo.critic_learning_rate=1e-3",
    "agent.ppo.trace=0.95",
)
CANDIDATES: dict[str, tuple[str, ...]] = {
    "start": (),
    "epochs 4": ("agent.ppo.epochs=4",),
    "epochs 4, noise -2": ("agent.ppo.epochs=4", "agent.policy.log_std_init=-2.0"),
    "no dead zone": ("market.dead_zone=0.0",),
    "epochs 4, discount 0.95": ("agent.ppo.epochs=4", "agent.ppo.discount=0.95"),
    "noise -2": ("agent.policy.log_std_init=-2.0",),
    "trace 0.8": ("agent.ppo.trace=0.8",),
    "trace 0.6": ("agent.ppo.trace=0.6",),
    "rates 3e-3": ("agent.ppo.learning_rate=3e-3", "agent.ppo.critic_learning_rate=3e-3"),
    "rates 3e-4": ("agent.ppo.learning_rate=3e-4", "agent.ppo.critic_learning_rate=3e-4"),
    "critic rate 3e-3": ("agent.ppo.critic_learning_rate=3e-3",),
    "minibatch 4096": ("agent.ppo.minibatch=4096",),
    **{
        f"1 M, epochs 4, {name}": (
            "schedule.total_steps=1000000",
            "agent.ppo.epochs=4",
            *changes,
        )
        for name, changes in {
            "trace 0.95": (),
            "trace 0.8": ("agent.ppo.trace=0.8",),
        }.items()
    },
}


def missing(chosen: Sequence[str], seeds: Sequence[int]) -> Iterator[tuple[str, str, int]]:
    """What has not been run yet: candidate, market, seed."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    done = {(r["candidate"], r["market"], r["seed"]) for r in map(json.loads, lines)}
    for seed in seeds:
        for candidate in chosen:
            for market in MARKETS:
                changed = market == "ou" or candidate != "no dead zone"
                if changed and (candidate, market, seed) not in done:
                    yield candidate, market, seed


def table() -> str:
    """Mean share of the optimum by candidate and market, over seeds."""
    shares: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in map(json.loads, RESULTS.read_text().splitlines()):
        shares[record["candidate"], record["market"]].append(record["share"])
    lines = ["| candidate | " + " | ".join(MARKETS) + " |", "|---" * (len(MARKETS) + 1) + "|"]
    for candidate in CANDIDATES:
        cells = []
        for market in MARKETS:
            found = shares[candidate, market]
            cells.append(f"{statistics.mean(found):.3f} ({len(found)})" if found else "")
        lines.append(f"| {candidate} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="only print the table")
    parser.add_argument("--candidate", choices=CANDIDATES, action="append", help="only this one")
    parser.add_argument("--seed", type=int, choices=SEEDS, action="append", help="only this one")
    options = parser.parse_args()
    if not options.table:
        limit_torch_threads()
        for candidate, market, seed in missing(
            options.candidate or tuple(CANDIDATES), options.seed or SEEDS
        ):
            config = configuration(market, STEPS, (*START, *CANDIDATES[candidate]))
            found = trained_share(config, seed, JUDGED)
            record = {"candidate": candidate, "market": market, "seed": seed, **found}
            with RESULTS.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(record, flush=True)
    print(table())


if __name__ == "__main__":
    main()

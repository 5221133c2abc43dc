"""Error rates of the acceptance gate, over simulated sequences of updates.

Results are appended to `results.jsonl`; what is there is not repeated.

    python -m experiments.acceptance.run              # run what is missing, about 15 minutes
    python -m experiments.acceptance.run --methods    # compare tests on known laws, 15 minutes
    python -m experiments.acceptance.run --tables     # the tables of README.md
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import track

from evaluation.acceptance import AcceptanceConfig
from experiments.acceptance import methods
from experiments.acceptance.law import Pool, pools
from experiments.acceptance.simulate import Losses, drifts, harmless, loses, simulate
from experiments.acceptance.tables import tables

RESULTS = Path(__file__).with_name("results.jsonl")
METHODS = Path(__file__).with_name("methods.jsonl")
SEQUENCES = 100
REPETITIONS = 2000
LOSSES: dict[str, Losses] = {
    "harmless": harmless,
    "loses 5 % in one regime": loses(0.05),
    "loses 10 % in one regime": loses(0.1),
    "loses 2 % in all regimes": drifts(0.02),
}
EPISODES = {"expected": (32, 64, 128), "realised": (512, 1024, 1536)}
RESAMPLES = 20_000
"""Fewer than the gate's own; the least p-value, 5.0e-5, is still below the least level, 5.3e-5."""


@dataclass(frozen=True)
class Condition:
    """What is simulated.

    Attributes:
        rewards: Which scores: expected or realised rewards, on paired episodes.
        episodes: Of each regime and update.
        updates: Of a sequence.
        losses: Name of the true losses.
        changes: Settings of the gate that are not the default ones.
    """

    rewards: str
    episodes: int
    losses: str
    updates: int = 10
    changes: tuple[tuple[str, Any], ...] = ()


def conditions() -> list[Condition]:
    """Everything that is measured, the most important first."""
    calm, border, bad, drifting = LOSSES
    drift = Condition("expected", 128, drifting, updates=12)
    settings = (("correction", "none"), ("spending", "none"))
    return [
        *_grid("expected", (calm, bad, border)),
        *_grid("realised", (calm,)),
        drift,
        replace(drift, changes=(("golden_factor", 1000.0),)),
        *(
            Condition("expected", 64, losses, changes=(each,))
            for each in settings
            for losses in (calm, border, bad)
        ),
        *_grid("realised", (bad, border)),
    ]


def _grid(rewards: str, losses: tuple[str, ...]) -> list[Condition]:
    return [Condition(rewards, episodes, each) for each in losses for episodes in EPISODES[rewards]]


def run(condition: Condition, pool: Pool, sequences: int = SEQUENCES) -> dict[str, Any]:
    """Simulate a condition.

    Returns:
        The condition; `accepted` updates by number, those that the champion's tests alone (`alone`)
        and "no significant loss" (`wrong`) would have accepted; `sequences`, how many of them
        accepted anything (`any`), and `values`, the mean true value of each last champion.
    """
    changes: dict[str, Any] = dict(condition.changes)
    config = AcceptanceConfig(episodes=condition.episodes, resamples=RESAMPLES, **changes)
    found = simulate(
        pool,
        LOSSES[condition.losses],
        config,
        sequences=sequences,
        updates=condition.updates,
        seed=condition.episodes,
    )
    return {
        **asdict(condition),
        "sequences": sequences,
        "accepted": found.accepted_TS.sum(axis=1).tolist(),
        "alone": found.champion_TS.sum(axis=1).tolist(),
        "wrong": found.wrong_TS.sum(axis=1).tolist(),
        "any": int(found.accepted_TS.any(axis=0).sum()),
        "before_first_rejection": [
            int(taken_T.argmin()) if not taken_T.all() else len(taken_T)
            for taken_T in found.accepted_TS.T
        ],
        "values": found.value_SR.mean(axis=1).round(4).tolist(),
    }


def run_missing() -> None:
    """Run what is not in the record yet."""
    done = [_condition(row) for row in read(RESULTS)]
    measured = pools()
    for condition in track([each for each in conditions() if each not in done]):
        row = run(condition, measured[condition.rewards])
        with RESULTS.open("a") as file:
            file.write(json.dumps(row) + "\n")


def run_methods() -> None:
    """Size and power of tests on known laws, into `methods.jsonl`."""
    done = [(row["law"], row["episodes"], row["level"]) for row in read(METHODS)]
    for level in (0.05, 0.05 / 6.0):
        for name, law in methods.LAWS.items():
            for episodes in (8, 16, 32, 64, 200):
                if (name, episodes, level) in done:
                    continue
                row = {
                    "law": name,
                    "episodes": episodes,
                    "level": level,
                    "repetitions": REPETITIONS,
                    "rates": methods.rates(law, episodes, level, REPETITIONS, seed=1),
                }
                with METHODS.open("a") as file:
                    file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a record."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _condition(row: dict[str, Any]) -> Condition:
    changes = tuple((name, value) for name, value in row["changes"])
    return Condition(row["rewards"], row["episodes"], row["losses"], row["updates"], changes)


def main() -> None:
    """Run or show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", action="store_true")
    parser.add_argument("--tables", action="store_true")
    words = parser.parse_args()
    if words.methods:
        run_methods()
    elif words.tables:
        print(tables(read(RESULTS), read(METHODS), pools()))
    else:
        run_missing()


if __name__ == "__main__":
    main()

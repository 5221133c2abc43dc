"""Choice of rollouts, minibatches and learning rates, on seeds that are reported nowhere.

Every arm has its own best setting of one list: the agent from scratch as much as the new gate, so
that neither is compared with a rival that was tuned less. Judged by the geometric mean of the steps
to S = 0.8 on `far` (never: the whole budget).
Results are appended to `tuning.jsonl`; what is there is not repeated.

    python -m experiments.transfer.tune             # run what is missing
    python -m experiments.transfer.tune --table     # the table of README.md
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from evaluation.optimality import OptimalityConfig
from experiments.options_vs_flat.journal import Journal, Row, chosen, study_parser
from experiments.options_vs_flat.statistics import markdown
from experiments.transfer.tables import steps_to
from experiments.transfer.training import curve, learned_options
from training.runtime import limit_torch_threads

RESULTS = Path(__file__).with_name("tuning.jsonl")
WEIGHTS = Path("runs") / "transfer" / "tuning"
SEEDS: Final = (100, 101)
STEPS, OPTION_STEPS, EVERY = 12_288, 500_000, 1_024
"""Of phase 2, of phase 1, and between judgements: a whole rollout where those are longer."""
ARMS: Final = ("from scratch", "new gate")
JUDGED = OptimalityConfig(episodes=128, length=256)
LINEAR = ("agent.policy.expert_hidden=[]",)
"""Experts of all arms and both phases: the best policy is linear, regime by regime."""


def setting(steps: int, minibatch: int, rate: float, epochs: int = 4) -> tuple[str, ...]:
    """Words of one way to learn, of 64 environments.

    Args:
        steps: of each environment in a rollout.
        minibatch: samples of a gradient step.
        rate: learning rate of actor and critic.
        epochs: passes over a rollout.
    """
    return (
        f"agent.ppo.steps={steps}",
        f"agent.ppo.minibatch={minibatch}",
        f"agent.ppo.learning_rate={rate}",
        f"agent.ppo.critic_learning_rate={rate}",
        f"agent.ppo.epochs={epochs}",
    )


CANDIDATES: Final[Mapping[str, tuple[str, ...]]] = {
    "4,096, minibatch 1,024, 1e-3": setting(64, 1024, 1e-3),
    "1,024, minibatch 256, 5e-3": setting(16, 256, 5e-3),
    "1,024, minibatch 64, 5e-3": setting(16, 64, 5e-3),
    "512, minibatch 64, 5e-3": setting(8, 64, 5e-3),
}
"""Ways to learn by name: steps of a rollout, minibatch, learning rates."""


def way_of(candidate: str) -> tuple[int, tuple[str, ...]]:
    """Rollouts between judgements, and words of a candidate."""
    words = CANDIDATES[candidate]
    rollout = 64 * int(words[0].partition("=")[2])
    return max(1, EVERY // rollout), (*LINEAR, *words)


def row_of(arm: str, candidate: str, seed: int, weights: Path) -> dict[str, Any]:
    """Learn once on `far`."""
    options = None
    if arm != "from scratch":
        options = learned_options("gp", OPTION_STEPS, seed, weights, LINEAR)
    every, words = way_of(candidate)
    return curve(
        arm, "far", "gp", STEPS, seed, options=options, paths=JUDGED, every=every, changes=words
    )


def score(rows: Sequence[Row]) -> float:
    """Geometric mean of the steps to the level; who never comes there counts the whole budget."""
    steps = [min(steps_to(row), float(STEPS)) for row in rows]
    return math.exp(sum(math.log(max(count, EVERY)) for count in steps) / len(steps))


def best(rows: Sequence[Row], arm: str) -> str:
    """The candidate of the fewest steps among those with all seeds."""
    found = {name: chosen(rows, arm=arm, candidate=name) for name in CANDIDATES}
    whole = {name: score(each) for name, each in found.items() if len(each) == len(SEEDS)}
    return min(whole, key=lambda name: whole[name])


def table(rows: Sequence[Row]) -> str:
    """Steps of both arms by candidate, and the choices."""
    body = []
    for name in CANDIDATES:
        cells = [name]
        for arm in ARMS:
            found = chosen(rows, arm=arm, candidate=name)
            each = ", ".join(
                "never" if math.isinf(steps_to(row)) else f"{steps_to(row):,.0f}" for row in found
            )
            cells += [f"{score(found):,.0f} ({each})" if found else ""]
        body.append(cells)
    heads = ("rollout, minibatch, learning rate", *(f"{arm}: steps to S = 0.8" for arm in ARMS))
    choices = "; ".join(f"{arm}: {best(rows, arm)}" for arm in ARMS)
    return f"{markdown(heads, body)}\n\nChosen: {choices}."


def main() -> None:
    """Run what is missing, or print the table."""
    given = study_parser(__doc__, steps=STEPS, seeds=len(SEEDS)).parse_args()
    journal = Journal(given.output or RESULTS)
    if not given.table:
        limit_torch_threads()
        keys = [
            {"arm": arm, "candidate": name, "seed": seed}
            for seed in SEEDS
            for name in CANDIDATES
            for arm in ARMS
        ]
        for key in journal.missing(keys, given.worker):
            found = row_of(**key, weights=given.weights or WEIGHTS)
            journal.add({**key, **found})
            print(*key.values(), f"{steps_to(found):.0f}", f"{found['shares'][-1]:.2f}", flush=True)
    print(table(journal.rows()))


if __name__ == "__main__":
    main()

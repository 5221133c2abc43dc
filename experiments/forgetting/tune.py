"""Choice of the remedies' strengths, on seeds that are reported nowhere.

Every remedy has a list of its own, the plain one head as much as the combinations, and the best of
a list by average performance at the end (mean over the seeds) is what `arms` uses.
Results are appended to `tuning.jsonl`; what is there is not repeated.

    python -m experiments.forgetting.tune             # run what is missing
    python -m experiments.forgetting.tune --table     # the table of README.md
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from experiments.forgetting.arms import Arm, anchored
from experiments.forgetting.run import run
from experiments.options_vs_flat.journal import Journal, chosen, seeds_of, study_parser
from experiments.options_vs_flat.statistics import markdown
from training.runtime import limit_torch_threads

RESULTS = Path(__file__).with_name("tuning.jsonl")
SEEDS: Final = (100,)
STEPS: Final = {"gp known": 150_000, "gp mixed": 250_000}
"""Of a phase."""


def _rehearsal(share: float) -> Mapping[str, Any]:
    return {"kind": "rehearsal", "share": share}


def _cloning(strength: float, belief: float = 0.0) -> Mapping[str, Any]:
    return {"kind": "cloning", "strength": strength, "belief": belief}


def _pulls(network: str, kind: str, *protect: str) -> dict[str, Arm]:
    return {
        f"{strength:g}": Arm(network, (anchored(strength, *protect, kind=kind),))
        for strength in (1.0, 10.0, 100.0, 1000.0)
    }


def _clones(network: str) -> dict[str, Arm]:
    return {f"{c:g}": Arm(network, (_cloning(c),)) for c in (0.3, 1.0, 3.0, 10.0)}


def _rehearsals(network: str) -> dict[str, Arm]:
    return {f"{share:.2f}": Arm(network, (_rehearsal(share),)) for share in (0.33, 0.5, 0.67)}


def _rate(rate: float) -> tuple[str, ...]:
    return (f"agent.ppo.learning_rate={rate}", f"agent.ppo.critic_learning_rate={rate}")


CANDIDATES: Final[Mapping[str, Mapping[str, Mapping[str, Arm]]]] = {
    "gp known": {
        "flat, EWC": _pulls("flat", "ewc"),
        "flat, L2": _pulls("flat", "l2"),
        "flat, MAS": _pulls("flat", "mas"),
        "flat, SI": _pulls("flat", "si"),
        "flat, cloning": _clones("flat"),
        "flat, rehearsal": _rehearsals("flat"),
        "heads, EWC of the trunk": _pulls("heads", "ewc", "trunk"),
    },
    "gp mixed": {
        "flat, EWC": _pulls("flat", "ewc"),
        "flat, cloning": _clones("flat"),
        "flat, rehearsal": _rehearsals("flat"),
        "heads, EWC of the trunk": _pulls("heads", "ewc", "trunk"),
        "heads, rehearsal": _rehearsals("heads"),
        "heads, rehearsal + EWC of the trunk": {
            f"{share:.2f}, {strength:g}": Arm(
                "heads", (_rehearsal(share), anchored(strength, "trunk"))
            )
            for share, strength in ((0.5, 10.0), (0.67, 1.0), (0.67, 10.0), (0.67, 100.0))
        },
        "heads, rehearsal + EWC + cloning": {
            f"{share:.2f}, {strength:g}, {c:g}": Arm(
                "heads", (_rehearsal(share), anchored(strength, "trunk"), _cloning(c, 0.8))
            )
            for share, strength, c in ((0.5, 10.0, 0.3), (0.67, 10.0, 0.1), (0.67, 10.0, 1.0))
        },
        "heads, rehearsal + EWC + cloning, resets": {
            name: Arm(
                "heads",
                (_rehearsal(0.67), anchored(10.0, "trunk"), _cloning(0.1, 0.8)),
                stream=stream,
            )
            for name, stream in {
                "noise kept": {"reset_noise": False},
                "optimiser kept": {"reset_optimizer": False},
                "both kept": {"reset_noise": False, "reset_optimizer": False},
            }.items()
        },
        "heads, joint": {
            name: Arm("heads", joint=True, words=words)
            for name, words in {
                "rate 1e-3": (),
                "rate 3e-4": _rate(3e-4),
                "rollouts of 256": ("agent.ppo.steps=256", "agent.ppo.minibatch=4096"),
            }.items()
        },
    },
}
"""Problem, remedy, setting: the arm."""


def table() -> str:
    """Average performance of every candidate; the best of each list in bold."""
    rows = Journal(RESULTS).rows()
    body = []
    for problem, families in CANDIDATES.items():
        for family, arms in families.items():
            found = {}
            for setting in arms:
                mine = chosen(
                    rows, problem=problem, arm=family, setting=setting, steps=STEPS[problem]
                )
                if mine:
                    found[setting] = (np.mean([np.mean(row["ratio"][-1]) for row in mine]), mine)
            best = max(found, key=lambda setting: found[setting][0], default=None)
            for setting, (score, mine) in found.items():
                bold = "**" if setting == best else ""
                body.append([problem, family, setting, f"{bold}{score:.3f}{bold}", str(len(mine))])
    return markdown(("problem", "remedy", "setting", "AP", "seeds"), body)


def main() -> None:
    """Run what is missing, or show what there is."""
    parser = study_parser(__doc__, steps=0, seeds=len(SEEDS))
    parser.add_argument("--problem", choices=CANDIDATES, action="append", help="only this one")
    given = parser.parse_args()
    if given.table:
        print(table())
        return
    journal = Journal(given.output or RESULTS)
    limit_torch_threads()
    keys = [
        {
            "problem": problem,
            "arm": family,
            "setting": setting,
            "steps": given.steps or STEPS[problem],
            "seed": seed,
        }
        for seed in (given.seed and seeds_of(given)) or SEEDS
        for problem in given.problem or CANDIDATES
        for family, arms in CANDIDATES[problem].items()
        for setting in arms
    ]
    for key in journal.missing(keys, given.worker):
        arm = CANDIDATES[key["problem"]][key["arm"]][key["setting"]]
        found = run(key["problem"], arm, key["steps"], key["seed"])
        kept = {name: found[name] for name in ("order", "ratio", "cpu_seconds")}
        journal.add({**key, **kept})
        print(
            f"{key['arm']:36s} {key['setting']:16s} {np.mean(found['ratio'][-1]):.3f}", flush=True
        )


if __name__ == "__main__":
    main()

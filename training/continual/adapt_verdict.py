"""What became of an adaptation: the agents that are left, and why, for people and programs.

runs/adapt-NAME-time/seed-0/checkpoint/   the accepted agent, or the old one
                     decision.json        which, with all evidence, by seed
                     verdict.txt          the same in words
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evaluation.acceptance import Decision
from markets.atomic import write_whole
from training.checkpoint import Snapshot
from training.commands.output import columns
from training.continual.adapt_champion import result_store
from training.continual.adapt_request import DECISION, VERDICT
from training.continual.adapt_setting import Setting
from training.continual.champions import extras
from training.continual.job import open_stream
from training.continual.updates import REGISTRY, read_decisions


@dataclass(frozen=True)
class Outcome:
    """What became of a seed."""

    accepted: bool
    """Whether an update was."""
    source: Path
    """The old agent."""
    checkpoint: Path
    """The agent that is left."""
    decisions: tuple[Decision, ...]
    """Of the gate, in their order."""

    @property
    def why(self) -> str:
        """The last decision in a few words."""
        if not self.decisions:
            return "no update was judged"
        reasons = self.decisions[-1].reasons
        return "" if self.accepted else "; ".join(reasons[:1]) + (" ..." if reasons[1:] else "")


def conclude(setting: Setting, folder: Path, lines: Sequence[str]) -> str:
    """Keep the agents, and write down what became of each seed.

    Args:
        setting: what was learned on.
        folder: of the result; all phases are over.
        lines: what the gate could see.

    Returns:
        The verdict.
    """
    outcomes = {seed: _keep(setting, folder, seed) for seed in setting.champions}
    verdict = _words(outcomes, setting)
    record = {
        "accepted": [seed for seed, each in outcomes.items() if each.accepted],
        "rejected": [seed for seed, each in outcomes.items() if not each.accepted],
        "seeds": {str(seed): _record(each, folder) for seed, each in outcomes.items()},
    }
    write_whole(folder / VERDICT, "\n".join([*lines, verdict]) + "\n")
    write_whole(folder / DECISION, json.dumps(record, indent=1) + "\n")
    return verdict


def headline(folder: Path) -> dict[str, float]:
    """Figures of a result that a list of runs shows."""
    record = json.loads((folder / DECISION).read_text(encoding="utf-8"))
    return {
        "adapt/accepted": float(len(record["accepted"])),
        "adapt/rejected": float(len(record["rejected"])),
    }


def _keep(setting: Setting, folder: Path, seed: int) -> Outcome:
    """Keep the agent that a seed is left with."""
    plan, champion = setting.plan, setting.champions[seed]
    stream = open_stream(setting.config, plan, setting.task, seed, folder)
    phase = plan.phases[-1]
    decisions = read_decisions(stream.phase_folder(phase))
    accepted = any(decision.accepted for decision in decisions)
    left = stream.accepted(phase)
    snapshot = left if accepted else _old(champion.snapshot, left)
    path = result_store(folder, seed).save(int(snapshot.trainer["num_timesteps"]), snapshot)
    return Outcome(accepted, champion.source, path, tuple(decisions))


def _old(snapshot: Snapshot, left: Snapshot) -> Snapshot:
    """The old agent to the bit, with what later gates need to know of the regimes so far."""
    files = {**snapshot.files, REGISTRY: left.files[REGISTRY]}
    return replace(snapshot, arrays={**snapshot.arrays, **extras(left)}, files=files)


def _record(outcome: Outcome, folder: Path) -> dict[str, object]:
    return {
        "accepted": outcome.accepted,
        "from": str(outcome.source),
        "checkpoint": outcome.checkpoint.relative_to(folder).as_posix(),
        "decisions": [json.loads(decision.to_json()) for decision in outcome.decisions],
        "reasons": [list(decision.reasons) for decision in outcome.decisions],
    }


def _words(outcomes: Mapping[int, Outcome], setting: Setting) -> str:
    """The outcome of every seed, and every attempt."""
    steps = setting.config.schedule.total_steps
    if len(outcomes) == 1:
        return "\n".join(_told(next(iter(outcomes.values())), steps))
    rows = [("SEED", "VERDICT", "ATTEMPTS", "WHY")]
    rows += [
        (
            str(seed),
            "accepted" if each.accepted else "rejected",
            str(len(each.decisions)),
            each.why,
        )
        for seed, each in outcomes.items()
    ]
    lines = [columns(rows)]
    for seed, each in outcomes.items():
        lines += ["", f"seed {seed}", *_told(each, steps)]
    return "\n".join(lines)


def _told(outcome: Outcome, steps: int) -> list[str]:
    first = (
        f"Accepted: the agent has learned {steps:,} steps on the new bars."
        if outcome.accepted
        else f"Rejected: the agent of {outcome.source} stays as it was."
    )
    return [first, *(decision.verdict for decision in outcome.decisions)]

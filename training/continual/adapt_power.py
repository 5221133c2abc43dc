"""What the gate of an adaptation can see with the bars at hand, told before anything is learned."""

from dataclasses import dataclass

import numpy as np

from evaluation.acceptance_config import AcceptanceConfig
from evaluation.acceptance_power import (
    Sample,
    check_feasible,
    deviation_of,
    episodes_needed,
    explain_power,
)
from training.agents import policy_of
from training.checkpoint import Snapshot
from training.continual.adapt_champion import Champion
from training.continual.adapt_setting import Setting, learner, regimes_of
from training.continual.phases import Scores


@dataclass(frozen=True)
class Power:
    """What the gate can see."""

    lines: tuple[str, ...]
    """In words, for the user."""
    never: tuple[str, ...]
    """Why no update can pass, if so."""


def explain(setting: Setting) -> Power:
    """What the gate sees at the sample at hand, and why no update can pass it, if so.

    Where there are several seeds, what is alike for all of them is told once.
    """
    told, never = {}, list[str]()
    for seed, champion in setting.champions.items():
        lines, reasons = _of_seed(setting, seed, champion)
        told[seed] = lines
        never += [
            f"seed {seed}, {reason}" if len(setting.champions) > 1 else reason for reason in reasons
        ]
    if len(told) == 1:
        return Power(tuple(f"gate    {line}" for line in next(iter(told.values()))), tuple(never))
    common = [line for line in next(iter(told.values())) if all(line in x for x in told.values())]
    own = [
        f"gate    seed {seed}: {line}"
        for seed, lines in told.items()
        for line in lines
        if line not in common
    ]
    return Power((*own, *(f"gate    {line}" for line in common)), tuple(never))


def acceptance_of(setting: Setting) -> AcceptanceConfig:
    """What an update must show."""
    continual = setting.config.continual
    assert continual is not None and continual.gate is not None  # noqa: S101, PT018 - made so
    return continual.gate.acceptance


def _of_seed(setting: Setting, seed: int, champion: Champion) -> tuple[list[str], tuple[str, ...]]:
    acceptance, regimes = acceptance_of(setting), regimes_of(setting.plan)
    own = _scores(setting, seed, champion.snapshot)
    other = None if champion.before is None else _scores(setting, seed, champion.before)
    if other is not None and _same(own, other):  # a rejected update left what was there
        other = None
    samples, apart = {}, []
    for number, regime in enumerate(regimes):
        before = None if other is None else other[number]
        sample = sample_of(own[number], before, regime.independent, acceptance.tolerance)
        samples[regime.name] = sample
        gain_E = own[number].earned_E - own[number].nothing_E
        margin = sample.margin(acceptance)
        needed = episodes_needed(deviation_of(gain_E), margin, alpha=acceptance.alpha)
        if needed is not None:
            apart.append(f"{needed:,} in {regime.name}")
    lines = list(explain_power(samples, acceptance, champion.update))
    if other is not None and apart:
        lines.append(f"An update that changes much takes more episodes: {', '.join(apart)}.")
    taken = (
        "the champion's own gain, which is more than neighbouring policies differ by"
        if other is None
        else "what separates the champion from the run's checkpoint before it"
    )
    lines.append(
        f"The noise is that of {taken}, and of the gain that the tolerance is a share of; of "
        "overlapping episodes as many count as there is room for side by side."
    )
    return lines, check_feasible(samples, acceptance, champion.update).never


def sample_of(
    champion: Scores, before: Scores | None, independent: int, tolerance: float
) -> Sample:
    """What can be known of a regime before an update.

    The tolerance is a share of a measured gain, whose noise the gate's test allows for
    (`evaluation.acceptance_statistics.contrasts`), and so does this one.

    Args:
        champion: its scores.
        before: those of a policy near it; None takes the champion's gain for the difference.
        independent: how many of the episodes do not overlap.
        tolerance: share of the gain that may be lost.
    """
    gain_E = champion.earned_E - champion.nothing_E
    difference_E = gain_E if before is None else champion.earned_E - before.earned_E
    gain = float(gain_E.mean())
    share = tolerance if gain > 0.0 else 0.0
    return Sample(
        deviation=deviation_of(difference_E + share * gain_E),
        episodes=min(independent, len(gain_E)),
        gain=gain,
    )


def _same(one: list[Scores], other: list[Scores]) -> bool:
    return all(
        np.array_equal(left.earned_E, right.earned_E)
        for left, right in zip(one, other, strict=True)
    )


def _scores(setting: Setting, seed: int, snapshot: Snapshot) -> list[Scores]:
    """What a checkpoint is worth in every regime."""
    model = learner(setting, seed)
    model.policy.net.load_state_dict(dict(snapshot.weights))
    policy, episodes = policy_of(model), acceptance_of(setting).episodes
    return [regime.judge(policy, seed=0, episodes=episodes) for regime in setting.plan.regimes]

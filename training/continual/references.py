"""Trainings that a stream is held against: each regime from scratch, and all of them at once.

    seed-0/reference-regime-1/phase-00/   the second regime alone, with a phase's steps
           reference-joint/phase-00/      all regimes at once, with those of the whole stream

A reference is itself a stream of one phase, of the seed's networks, noise and episodes: it is
resumed, judged and kept as one. It has no remedy and no gate.

Dimensions: J regimes, P points of the curves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.continual_record import References
from training.config import TrainConfig
from training.continual.phases import Plan
from training.continual.stream import Stream
from training.errors import ConfigError
from training.tasks.task import Task

Array = NDArray[np.float64]

_JOINT = "reference-joint"


@dataclass(frozen=True)
class Reference:
    """A training beside a stream."""

    name: str
    """Of its folder, within the seed's."""
    regime: int | None
    """Which it learns alone; None = all at once."""
    config: TrainConfig
    """Of its stream."""
    plan: Plan
    """Its phases; joint ones are put together by the stream."""

    @property
    def steps(self) -> int:
        """Environment steps that it takes."""
        return self.config.schedule.total_steps * len(self.plan.phases)

    @property
    def tags(self) -> dict[str, str]:
        """Of its run in the tracking store."""
        if self.regime is None:
            return {"reference": "joint"}
        return {"reference": "scratch", "regime": str(self.regime)}

    def stream(self, task: Task, seed: int, folder: Path) -> Stream:
        """Its stream of one phase.

        Args:
            task: the market as a whole.
            seed: of the stream that it is a reference of.
            folder: that one's.
        """
        assert self.config.continual is not None  # noqa: S101 - see `references_of`
        return Stream(
            self.config,
            self.config.continual,
            self.plan,
            task,
            seed=seed,
            folder=folder / self.name,
        )


def references_of(config: TrainConfig, plan: Plan) -> tuple[Reference, ...]:
    """The references that a configuration asks for.

    Args:
        config: of the run.
        plan: the phases of its stream.

    Raises:
        ConfigError: the stream has one regime only: it is its own reference.
    """
    assert config.continual is not None  # noqa: S101 - the caller has asked
    wanted = config.continual.references
    if not wanted:
        return ()
    if len(plan.played) < 2:
        raise ConfigError(
            f"continual.references: expected none where all phases are of one regime, which is "
            f"learned from scratch anyhow, found {list(wanted)}"
        )
    plain = replace(config.continual, remedies=(), gate=None, references=())
    found = []
    if "scratch" in wanted:
        alone = replace(config, continual=plain)
        found += [
            Reference(f"reference-regime-{regime}", regime, alone, plan.alone(regime))
            for regime in sorted(plan.played)
        ]
    if "joint" in wanted:
        together = replace(config, continual=replace(plain, joint=True))
        found.append(Reference(_JOINT, None, together, plan))
    return tuple(found)


Read = Callable[[Reference, Path], tuple[Array, Mapping[int, Array]]]
"""Final scores (J,) of a reference, and its curves: scores (J,) by step from its own start."""


def read_references(config: TrainConfig, plan: Plan, folder: Path, read: Read) -> References:
    """What the references of a seed came to; all of it None where there are none.

    Args:
        config: of the run.
        plan: the phases of its stream.
        folder: the seed's.
        read: reads what one of them has left.

    Raises:
        CheckpointError: one is not over, or cannot be read.
    """
    scratch, joint_J = {}, None
    for reference in references_of(config, plan):
        final_J, curves = read(reference, folder / reference.name)
        if reference.regime is None:
            joint_J = final_J
        else:
            scratch[reference.regime] = final_J, curves
    if not scratch:
        return References(joint_J=joint_J)
    scratch_J = np.full(len(plan.regimes), np.nan)
    steps = sorted({step for _, curves in scratch.values() for step in curves})
    scratch_PJ = np.full((len(steps), len(plan.regimes)), np.nan)
    for regime, (final_J, curves) in scratch.items():
        scratch_J[regime] = final_J[regime]
        if curves:
            at = sorted(curves)
            scratch_PJ[:, regime] = np.interp(steps, at, [curves[step][regime] for step in at])
    return References(
        scratch_J=scratch_J,
        scratch_step_P=np.array(steps, np.float64) if steps else None,
        scratch_PJ=scratch_PJ if steps else None,
        joint_J=joint_J,
    )

"""Several remedies as one: what a learner calls, and what a checkpoint keeps."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from agents.continual.config import RemedyConfig
from agents.continual.grow import Grow
from agents.continual.kinds import make_remedy
from agents.continual.packnet import PackNet
from agents.continual.protocol import Experience, PolicyFunction, Remedy, Tensors


class Remedies(Remedy):
    """Remedies that act together, in their order; none is plain fine-tuning.

    Args:
        configs: what protects earlier phases.
        function: the policy that learns.

    Raises:
        ValueError: two of one kind, or one that does not fit the policy.
    """

    name = "remedies"

    def __init__(self, configs: Sequence[RemedyConfig], function: PolicyFunction) -> None:
        kinds = [config.kind for config in configs]
        twice = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if twice:
            raise ValueError(f"remedies: expected each kind once, found several of {twice}")
        self.each: tuple[Remedy, ...] = tuple(make_remedy(config, function) for config in configs)

    def begin(self, phase: int, regime: int) -> None:
        """A phase begins, or goes on."""
        for remedy in self.each:
            remedy.begin(phase, regime)

    def progress(self, done: float) -> None:
        """So much of the phase's steps is taken, 0 .. 1."""
        for remedy in self.each:
            remedy.progress(done)

    def observe(self) -> None:
        """Look at the gradients of the task's loss alone."""
        for remedy in self.each:
            remedy.observe()

    def penalty(self) -> Tensor | None:
        """Sum of the terms; None where nobody adds one."""
        terms = [term for remedy in self.each if (term := remedy.penalty()) is not None]
        return sum(terms[1:], start=terms[0]) if terms else None

    def mask(self) -> None:
        """Change the gradients, one remedy after the other."""
        for remedy in self.each:
            remedy.mask()

    def after_step(self, rate: float) -> None:
        """Change parameters after the optimiser's step of this size.

        Those that hold numbers to the bit come last: others may have moved them.
        """
        for remedy in sorted(self.each, key=lambda each: isinstance(each, PackNet | Grow)):
            remedy.after_step(rate)

    def consolidate(self, experience: Experience) -> None:
        """Take in a phase that has ended."""
        for remedy in self.each:
            remedy.consolidate(experience)

    def played_as(self, regime: int) -> Tensors:
        """What differs when the policy is played in an earlier regime that is known."""
        played: dict[str, Tensor] = {}
        for remedy in self.each:
            played |= remedy.played_as(regime)
        return played

    def state(self) -> dict[str, Tensor]:
        """What all remember, under their names."""
        return {
            f"{remedy.name}/{key}": tensor
            for remedy in self.each
            for key, tensor in remedy.state().items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the result of `state`.

        Raises:
            ValueError: it is of other remedies.
        """
        parts: dict[str, dict[str, Tensor]] = {remedy.name: {} for remedy in self.each}
        for key, tensor in state.items():
            owner, _, rest = key.partition("/")
            if owner not in parts:
                raise ValueError(
                    f"continual state: expected that of {sorted(parts) or 'no remedy'}, found {key}"
                )
            parts[owner][rest] = tensor
        for remedy in self.each:
            remedy.load_state(parts[remedy.name])

    def figures(self) -> dict[str, float]:
        """Numbers to log of the last update."""
        return {
            f"{remedy.name}/{key}": value
            for remedy in self.each
            for key, value in remedy.figures().items()
        }

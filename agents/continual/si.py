"""Synaptic intelligence: parameters are held by what their path has done for the loss."""

from collections.abc import Mapping

import torch
from torch import Tensor

from agents.continual.anchors import Anchored
from agents.continual.config import SIConfig
from agents.continual.fisher import normalised
from agents.continual.protocol import Experience, PolicyFunction

_NONE = -1


class SI(Anchored):
    r"""Synaptic intelligence (Zenke et al. 2017, arXiv:1703.04200).

        w_p = - sum_steps g_p (theta_p after - before)
        Omega_p <- Omega_p + max(w_p, 0) / (d_p^2 + xi),   d_p = sum_steps (theta_p after - before)
        penalty = Lambda / 2 sum_p Omega_p (theta_p - theta*_p)^2

    g is the gradient of the task's loss alone; the step is the one that was taken, after clipping,
    by Adam, with this remedy's own pull. d is the way from the phase's start to its end, without
    what other remedies set at its border (a pruning, the start of an option). theta* is where the
    latest phase ended, as published. The importance that a phase adds has mean 1 over each layer
    here, as of the other remedies. A number on which nothing depends has no path and is not held. A
    regime that comes back adds once more (see `Anchored`).

    Memory: four floats a protected number, and two more within a gradient step.

    Args:
        config: strength, parts, form and xi.
        function: the policy.

    Raises:
        ValueError: a part that the policy does not have.
    """

    def __init__(self, config: SIConfig, function: PolicyFunction) -> None:
        super().__init__(config, function)
        self._damping = config.damping
        self._phase = _NONE
        self._path = self.quadratic.zeros()
        self._way = self.quadratic.zeros()
        self._seen: dict[str, tuple[Tensor, Tensor]] = {}

    def begin(self, phase: int, regime: int) -> None:
        """A path begins, or goes on."""
        del regime
        if phase != self._phase:
            self._phase = phase
            self._restart()

    def observe(self) -> None:
        """Note gradients and parameters before the step."""
        self._seen = {
            name: (parameter.grad.clone(), parameter.detach().clone())
            for name, parameter in self.quadratic.parameters.items()
            if parameter.grad is not None
        }

    def after_step(self, rate: float) -> None:
        """The proximal step, and then what the whole step did for the loss."""
        super().after_step(rate)
        with torch.no_grad():
            for name, (gradient, before) in self._seen.items():
                moved = self.quadratic.parameters[name] - before
                self._path[name].addcmul_(gradient, moved, value=-1.0)
                self._way[name].add_(moved)
        self._seen = {}

    def consolidate(self, experience: Experience) -> None:
        """Add the importance of the path, and anchor all of it at the present.

        Raises:
            ValueError: a path that is not finite.
        """
        found = {}
        for name, path in self._path.items():
            found[name] = path.relu() / (self._way[name].square() + self._damping)
            if not bool(torch.isfinite(found[name][self.quadratic.masks[name]]).all()):
                raise ValueError(
                    f"si: expected a finite path of {name} in phase {experience.phase}, found one "
                    "that is not"
                )
        self._move(normalised(found, self.quadratic.masks))
        self._restart()

    def state(self) -> dict[str, Tensor]:
        """Importance and anchors, path and way so far, and the phase."""
        packed = self.quadratic.packed
        path = packed("path", self._path) | packed("way", self._way)
        return super().state() | path | {"position": torch.tensor([self._phase])}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the result of `state`.

        Raises:
            ValueError: it is of another remedy, another policy or other protected parts.
        """
        super().load_state(state)
        self._path = self.quadratic.unpacked("path", state)
        self._way = self.quadratic.unpacked("way", state)
        self._phase = int(state["position"])
        self._seen = {}

    def _restart(self) -> None:
        self._path = self.quadratic.zeros()
        self._way = self.quadratic.zeros()

"""Pulls of parameters to where they were: quadratics, and the remedies that are nothing more."""

from collections.abc import Mapping

import torch
from torch import Tensor

from agents.continual.config import (
    EWCConfig,
    InitialWeightsConfig,
    L2Config,
    MASConfig,
    OnlineEWCConfig,
    SIConfig,
)
from agents.continual.frozen import refuse_foreign, union
from agents.continual.protocol import Experience, PolicyFunction, Remedy, Tensors

AnchoredConfig = EWCConfig | OnlineEWCConfig | L2Config | MASConfig | SIConfig
"""Settings of a remedy whose pull grows with the phases."""


class Quadratic:
    """1/2 sum_p F_p (theta_p - a_p)^2 over the protected numbers of a policy.

    Several quadratics are one, up to a constant (Huszar 2018, arXiv:1712.03847, makes the same
    point of EWC's):

        sum_i F_i (theta - a_i)^2 = F (theta - a)^2 + const,   F = sum_i F_i,  a = sum_i F_i a_i / F

    so memory is two floats a protected number whatever the number of phases.

    Args:
        remedy: whose it is, for messages.
        function: the policy.
        groups: parts of it that are protected.

    Raises:
        ValueError: a part that the policy does not have.
    """

    def __init__(self, remedy: str, function: PolicyFunction, groups: tuple[str, ...]) -> None:
        self._remedy = remedy
        self.masks = union(function, groups)
        self.parameters = {name: function.parameters[name] for name in self.masks}
        # In whole tensors, zero where nothing is protected: no look-up in each gradient step.
        self.importance = self.zeros()
        self.anchor = self.zeros()
        self._shares: tuple[float, dict[str, Tensor]] | None = None

    def zeros(self) -> dict[str, Tensor]:
        """Zeros in the shapes of the parameters."""
        return {name: torch.zeros_like(p.detach()) for name, p in self.parameters.items()}

    def present(self) -> dict[str, Tensor]:
        """Copies of the parameters, zero where nothing is protected.

        Raises:
            ValueError: a protected number is not finite.
        """
        found = {}
        for name, parameter in self.parameters.items():
            found[name] = torch.where(self.masks[name], parameter.detach(), 0.0)
            if not bool(torch.isfinite(found[name]).all()):
                raise ValueError(
                    f"{self._remedy}: expected finite parameters at the end of a phase, found "
                    f"others in {name}"
                )
        return found

    @property
    def empty(self) -> bool:
        """Whether nothing is pulled."""
        return not any(bool(importance.any()) for importance in self.importance.values())

    def add(self, importance: Tensors) -> None:
        """Add the quadratic of this importance around the present parameters."""
        for name, now in self.present().items():
            total = self.importance[name] + importance[name]
            share = torch.where(total > 0.0, importance[name] / total, 0.0)
            self.anchor[name] = torch.lerp(self.anchor[name], now, share)
            self.importance[name] = total
        self._shares = None

    def move(self, importance: Tensors, decay: float = 1.0) -> None:
        """Let what there is fade, add this importance, and put all around the present parameters.

        Args:
            importance: to add.
            decay: what is kept of the importance so far, 0 .. 1.
        """
        self.importance = {n: decay * old + importance[n] for n, old in self.importance.items()}
        self.anchor = self.present()
        self._shares = None

    def value(self) -> Tensor:
        """The sum, differentiable in the parameters; units of the importance times theirs^2."""
        terms = [
            (self.importance[name] * (parameter - self.anchor[name]).square()).sum()
            for name, parameter in self.parameters.items()
        ]
        return 0.5 * torch.stack(terms).sum()

    @torch.no_grad()
    def pull(self, weight: float) -> None:
        """The proximal step, theta <- (theta + weight F a) / (1 + weight F), for any weight >= 0.

        Source: Parikh & Boyd 2014, "Proximal algorithms", section 6.1.1. The result lies between
        theta and a, whereas a gradient step overshoots where weight F > 1.

        Args:
            weight: step size times strength.
        """
        if self._shares is None or self._shares[0] != weight:
            # 1 / (1 + 1 / x) = x / (1 + x), also where x is 0 or too large to be a number.
            each = {
                name: (1.0 / (1.0 + 1.0 / (weight * importance.double()))).to(importance.dtype)
                for name, importance in self.importance.items()
            }
            self._shares = weight, each
        for name, share in self._shares[1].items():
            self.parameters[name].lerp_(self.anchor[name], share)

    @torch.no_grad()
    def distance(self) -> float:
        """Mean squared distance from the anchors of the numbers that are pulled; 0 without any."""
        total, count = 0.0, 0
        for name, parameter in self.parameters.items():
            pulled = self.importance[name] > 0.0
            total += float((parameter - self.anchor[name])[pulled].double().square().sum())
            count += int(pulled.sum())
        return total / count if count else 0.0

    def state(self) -> dict[str, Tensor]:
        """Importance and anchor of the protected numbers alone, flat."""
        return self.packed("importance", self.importance) | self.packed("anchor", self.anchor)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the result of `state`, whose names and shapes fit."""
        self.importance = self.unpacked("importance", state)
        self.anchor = self.unpacked("anchor", state)
        self._shares = None

    def packed(self, word: str, tensors: Tensors) -> dict[str, Tensor]:
        """The protected numbers of some tensors, for a checkpoint."""
        return {f"{word}/{name}": tensors[name][mask] for name, mask in self.masks.items()}

    def unpacked(self, word: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors that `packed` was given, zero where nothing is protected."""
        tensors = self.zeros()
        for name, mask in self.masks.items():
            tensors[name][mask] = state[f"{word}/{name}"].to(tensors[name])
        return tensors


class Anchored(Remedy):
    """A pull to where earlier phases left the parameters, by how much each number matters.

    A subclass says what importance a phase adds (`consolidate`), and adds it to `quadratic`. A
    regime that comes back is a phase like any other and adds to what is there: quadratics that were
    put together cannot be taken apart. Where regimes recur, the pull grows without bound by
    repetition; `online_ewc`, whose importance fades, is the one for that.

    Args:
        config: strength, parts and form.
        function: the policy.

    Raises:
        ValueError: a part that the policy does not have.
    """

    def __init__(self, config: AnchoredConfig, function: PolicyFunction) -> None:
        self.name = config.kind
        self._strength, self._form = config.strength, config.form
        self._protect, self._function = config.protect, function
        self.quadratic = Quadratic(config.kind, function, config.protect)
        self._pulls = False

    def penalty(self) -> Tensor | None:
        """Lambda / 2 sum F (theta - a)^2 in the form of a penalty; None in the other."""
        if self._form != "penalty" or not self._active():
            return None
        return self._strength * self.quadratic.value()

    def after_step(self, rate: float) -> None:
        """The proximal step, in that form."""
        if self._form == "proximal" and self._active():
            self.quadratic.pull(rate * self._strength)

    def state(self) -> dict[str, Tensor]:
        """Importance and anchors."""
        return self.quadratic.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the result of `state`.

        Raises:
            ValueError: it is of another remedy, another policy or other protected parts.
        """
        refuse_foreign(self.name, state, self.state())
        self.quadratic.load_state(state)
        self._pulls = not self.quadratic.empty

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """The penalty, in whatever form it acts, and the mean squared distance from the anchors."""
        penalty = self._strength * float(self.quadratic.value())
        return {"penalty": penalty, "distance": self.quadratic.distance()}

    def _active(self) -> bool:
        return self._pulls and self._strength > 0.0

    def _add(self, importance: Tensors) -> None:
        """Add a phase's quadratic around where it ended."""
        self.quadratic.add(importance)
        self._pulls = not self.quadratic.empty

    def _move(self, importance: Tensors, decay: float = 1.0) -> None:
        """Add importance, around where the latest phase ended."""
        self.quadratic.move(importance, decay)
        self._pulls = not self.quadratic.empty


class L2(Anchored):
    """The same pull for all numbers, to the mean of where the phases ended: F = 1 each."""

    def __init__(self, config: L2Config, function: PolicyFunction) -> None:
        super().__init__(config, function)

    def consolidate(self, experience: Experience) -> None:
        """Add a pull to the present parameters."""
        del experience
        masks, parameters = self.quadratic.masks, self.quadratic.parameters
        self._add({name: mask.to(parameters[name].dtype) for name, mask in masks.items()})


class InitialWeights(Remedy):
    """A pull to the initial weights (Kumar et al. 2023, arXiv:2308.11958), as a proximal step.

    Initial are the weights that the policy has when this is made; a stream hands them from phase to
    phase with the state. What it is for is learning later phases, not keeping earlier ones.

    Args:
        config: strength and parts.
        function: the policy, not trained yet.

    Raises:
        ValueError: a part that the policy does not have.
    """

    name = "initial_weights"

    def __init__(self, config: InitialWeightsConfig, function: PolicyFunction) -> None:
        self._strength = config.strength
        self.quadratic = Quadratic(self.name, function, config.protect)
        masks, parameters = self.quadratic.masks, self.quadratic.parameters
        self.quadratic.add({name: mask.to(parameters[name].dtype) for name, mask in masks.items()})

    def after_step(self, rate: float) -> None:
        """The proximal step."""
        if self._strength > 0.0:
            self.quadratic.pull(rate * self._strength)

    def state(self) -> dict[str, Tensor]:
        """The initial weights."""
        return self.quadratic.packed("anchor", self.quadratic.anchor)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the result of `state`.

        Raises:
            ValueError: it is of another remedy, another policy or other parts.
        """
        refuse_foreign(self.name, state, self.state())
        self.quadratic.anchor = self.quadratic.unpacked("anchor", state)

    def figures(self) -> dict[str, float]:
        """The mean squared distance from the initial weights."""
        return {"distance": self.quadratic.distance()}

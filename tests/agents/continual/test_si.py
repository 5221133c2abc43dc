"""Synaptic intelligence: the path's integral, by hand and against the loss that it accounts for."""

from typing import Any

import pytest
import torch
from torch import Tensor

from agents.continual.config import SIConfig
from agents.continual.si import SI
from tests.agents.continual.policies import Linear, experience, inputs

NAMES = ("weight", "bias")


def make(function: Any, **settings: Any) -> SI:
    return SI(SIConfig(**{"protect": ("trunk",), **settings}), function)


class Trainer:
    """Squared error of the mean to a target, by Adam and with clipping."""

    def __init__(self, remedy: SI, function: Linear, rate: float = 1e-2) -> None:
        self.remedy, self.function, self.rate = remedy, function, rate
        self.adam = torch.optim.Adam(list(function.parameters.values()), lr=rate)
        self.states = inputs(20)
        self.target = self.states["x"] @ torch.tensor([[1.0, -1.0], [0.5, 2.0], [0.0, 1.0]])

    def loss(self) -> Tensor:
        output = self.function.law(self.function.parameters, self.states).output_BOD[:, 0]
        return (output - self.target).square().mean()

    def step(self) -> dict[str, tuple[Tensor, Tensor]]:
        """A step; the gradients of the task's loss, and how far parameters moved."""
        self.adam.zero_grad()
        self.loss().backward()  # type: ignore[no-untyped-call]
        parameters = self.function.parameters
        seen = {
            name: (p.grad.clone(), p.detach().clone())
            for name, p in parameters.items()
            if p.grad is not None
        }
        self.remedy.observe()
        term = self.remedy.penalty()
        if term is not None:
            term.backward()  # type: ignore[no-untyped-call]
        self.remedy.mask()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 0.1)
        self.adam.step()
        self.remedy.after_step(self.rate)
        return {n: (g, parameters[n].detach() - before) for n, (g, before) in seen.items()}


@pytest.mark.parametrize("form", ["proximal", "penalty"])
def test_importance_is_the_paths_over_the_way(form: str) -> None:
    """Of two phases, the second with the pull of the first: the step that was taken counts."""
    function = Linear()
    remedy = make(function, form=form, damping=0.02, strength=30.0)
    wanted = {name: torch.zeros_like(function.parameters[name]) for name in NAMES}
    for phase in range(2):
        trainer = Trainer(remedy, function)
        trainer.target = trainer.target + phase
        remedy.begin(phase, phase)
        start = {name: function.parameters[name].detach().clone() for name in NAMES}
        path = {name: torch.zeros_like(function.parameters[name]) for name in NAMES}
        for _ in range(15):
            for name, (gradient, moved) in trainer.step().items():
                path[name] -= gradient * moved
        for name in NAMES:
            way = function.parameters[name].detach() - start[name]
            importance = path[name].clamp_min(0.0) / (way.square() + 0.02)
            wanted[name] = wanted[name] + importance / importance.mean()
        remedy.consolidate(experience({}, phase, phase))
        for name in NAMES:
            torch.testing.assert_close(
                remedy.quadratic.importance[name], wanted[name], rtol=1e-4, atol=1e-5
            )
            assert torch.equal(remedy.quadratic.anchor[name], function.parameters[name])


def test_the_path_accounts_for_the_loss() -> None:
    """By small steps its sum is what the loss fell (Zenke et al. 2017, equation 3)."""
    function = Linear()
    remedy = make(function)
    trainer = Trainer(remedy, function, rate=1e-4)
    remedy.begin(0, 0)
    before = float(trainer.loss().detach())
    for _ in range(200):
        trainer.step()
    fallen = before - float(trainer.loss().detach())
    path = sum(float(remedy.state()[f"path/{name}"].sum()) for name in NAMES)
    assert fallen > 0.01
    assert path == pytest.approx(fallen, rel=0.01)


def test_a_number_that_made_the_loss_worse_is_free() -> None:
    function = Linear()
    remedy = make(function)
    remedy.begin(0, 0)
    for parameter in function.parameters.values():
        parameter.grad = torch.ones_like(parameter)
    remedy.observe()
    with torch.no_grad():
        function.parameters["weight"][0] += 1.0  # along the gradient
        function.parameters["weight"][1] -= 1.0
        function.parameters["bias"].add_(1.0)
    remedy.after_step(1.0)
    remedy.consolidate(experience({}))
    importance = remedy.quadratic.importance
    torch.testing.assert_close(importance["weight"], torch.tensor([[0.0] * 3, [2.0] * 3]))
    assert not importance["bias"].any()


def test_a_border_is_no_part_of_the_way() -> None:
    """What other remedies set between steps is neither path nor way; a phase starts from none."""
    function = Linear()
    remedy = make(function)
    trainer = Trainer(remedy, function)
    remedy.begin(0, 0)
    trainer.step()
    state = remedy.state()
    with torch.no_grad():
        function.parameters["weight"].add_(5.0)
    assert torch.equal(remedy.state()["way/weight"], state["way/weight"])
    remedy.begin(0, 0)  # goes on
    assert torch.equal(remedy.state()["path/weight"], state["path/weight"])
    assert bool(state["path/weight"].any())
    remedy.begin(1, 0)
    assert not any(t.any() for k, t in remedy.state().items() if k.startswith(("path", "way")))


def test_no_gradient_no_path() -> None:
    function = Linear()
    remedy = make(function, protect=("all",))
    trainer = Trainer(remedy, function)
    remedy.begin(0, 0)
    for _ in range(3):
        trainer.step()
    remedy.consolidate(experience({}))
    assert not remedy.quadratic.importance["unused"].any()
    assert bool(remedy.quadratic.importance["bias"].any())


def test_memory_is_four_floats_a_number() -> None:
    assert make(Linear()).floats == 4 * 8 + 1


def test_a_path_that_is_not_finite_is_refused() -> None:
    function = Linear()
    remedy = make(function)
    remedy.begin(0, 0)
    for parameter in function.parameters.values():
        parameter.grad = torch.full_like(parameter, torch.inf)
    remedy.observe()
    with torch.no_grad():
        function.parameters["weight"].sub_(1.0)
    remedy.after_step(1.0)
    with pytest.raises(ValueError, match="si: expected a finite path of weight in phase 4"):
        remedy.consolidate(experience({}, phase=4))

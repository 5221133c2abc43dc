"""EWC and its online form: what a phase adds, and what a regime that comes back does."""

from typing import Any

import pytest
import torch

from agents.continual.config import EWCConfig, OnlineEWCConfig
from agents.continual.ewc import EWC, OnlineEWC
from agents.continual.fisher import fisher_information, normalised
from meta_controller.config import FallbackController
from tests.agents.continual.policies import (
    Linear,
    experience,
    flat,
    inputs,
    option_net,
    options,
    seeded,
    states_of,
)

NAMES = ("weight", "bias")


def both(function: Any, **settings: Any) -> list[EWC | OnlineEWC]:
    settings = {"protect": ("trunk",), **settings}
    return [
        EWC(EWCConfig(**settings), function),
        OnlineEWC(OnlineEWCConfig(decay=0.5, **settings), function),
    ]


def shift(function: Any, by: float) -> None:
    with torch.no_grad():
        for parameter in function.parameters.values():
            parameter.add_(by)


@pytest.mark.parametrize("number", [0, 1])
def test_a_phase_adds_its_information_with_mean_one_over_each_layer(number: int) -> None:
    function, states = Linear(), inputs(40)
    remedy = both(function)[number]
    remedy.consolidate(experience(states, seed=3))
    found = fisher_information(function, states, seeded(3))
    expected = normalised(found, function.part("trunk"))
    for name in NAMES:
        importance = remedy.quadratic.importance[name]
        torch.testing.assert_close(importance, expected[name])
        assert float(importance.mean()) == pytest.approx(1.0, rel=1e-5)
        assert torch.equal(remedy.quadratic.anchor[name], function.parameters[name])


def test_ewc_adds_and_online_ewc_fades() -> None:
    function, states = Linear(), inputs(40)
    ewc, online = both(function)
    found = normalised(fisher_information(function, states, seeded(3)), function.part("trunk"))
    start = {name: function.parameters[name].detach().clone() for name in NAMES}
    for remedy in (ewc, online):
        remedy.consolidate(experience(states, phase=0, seed=3))
    shift(function, 1.0)
    for remedy in (ewc, online):
        remedy.consolidate(experience(states, phase=1, regime=1, seed=3))
    for name in NAMES:  # a Gaussian's information does not depend on where its mean is
        torch.testing.assert_close(ewc.quadratic.importance[name], 2.0 * found[name])
        torch.testing.assert_close(online.quadratic.importance[name], 1.5 * found[name])
        torch.testing.assert_close(ewc.quadratic.anchor[name], start[name] + 0.5)
        torch.testing.assert_close(online.quadratic.anchor[name], start[name] + 1.0)


def test_a_regime_that_comes_back_adds_to_ewc_and_is_bounded_online() -> None:
    function, states = Linear(), inputs(20)
    ewc, online = both(function)
    for phase in range(40):
        for remedy in (ewc, online):
            remedy.consolidate(experience(states, phase=phase, regime=phase % 2))
    for name in NAMES:
        assert float(ewc.quadratic.importance[name].mean()) == pytest.approx(40.0, rel=1e-4)
        assert float(online.quadratic.importance[name].mean()) == pytest.approx(2.0, rel=1e-4)


@pytest.mark.parametrize("number", [0, 1])
def test_only_so_many_states_are_taken(number: int) -> None:
    states = inputs(50)
    one, other = (both(Linear(), states=most)[number] for most in (10, 100))
    one.consolidate(experience(states))
    other.consolidate(experience({"x": states["x"][:10]}))
    whole = both(Linear(), states=100)[number]
    whole.consolidate(experience(states))
    assert torch.equal(one.quadratic.importance["weight"], other.quadratic.importance["weight"])
    assert not torch.allclose(
        one.quadratic.importance["weight"], whole.quadratic.importance["weight"]
    )


def test_what_matters_more_moves_less() -> None:
    """An input that is always zero in a phase leaves its weights free."""
    function, states = Linear(), inputs(60)
    states["x"][:, 1] = 0.0
    remedy = EWC(EWCConfig(strength=1e6, protect=("trunk",)), function)
    remedy.consolidate(experience(states))
    before = function.parameters["weight"].detach().clone()
    shift(function, 1.0)
    remedy.after_step(1e-2)
    moved = (function.parameters["weight"].detach() - before)[:, :]
    torch.testing.assert_close(moved[:, 1], torch.ones(2))
    assert float(moved[:, [0, 2]].abs().max()) < 1e-3


def test_heads_of_options_that_do_not_act_are_free() -> None:
    function = options(option_net(controller=FallbackController()))
    states = {**states_of(16), "first": torch.ones(16, dtype=torch.bool)}
    states["belief"] = torch.tensor([[0.0, 1.0, 0.0]]).repeat(16, 1)
    remedy = EWC(EWCConfig(strength=1e12, protect=("trunk", "heads")), function)
    remedy.consolidate(experience(states))
    ended = {name: p.detach().clone() for name, p in function.parameters.items()}
    shift(function, 1.0)
    remedy.after_step(1.0)
    for option in range(3):
        for name, mask in function.part(f"head:{option}").items():
            moved = (function.parameters[name].detach() - ended[name])[mask]
            assert bool((moved > 0.9).all()) == (option != 1)


def test_a_part_without_a_gradient_is_refused_and_nothing_is_remembered() -> None:
    for remedy in both(Linear(), protect=("trunk", "gate")):
        before = remedy.state()
        with pytest.raises(ValueError, match=rf"{remedy.name}.protect: .*found 'gate'"):
            remedy.consolidate(experience(inputs(10)))
        assert all(torch.equal(tensor, before[key]) for key, tensor in remedy.state().items())


def test_no_gate_to_protect_under_a_controller_that_does_not_learn() -> None:
    function = options(option_net(controller=FallbackController()))
    with pytest.raises(ValueError, match=r"found 'gate' with the controller 'fallback'"):
        EWC(EWCConfig(protect=("trunk", "gate")), function)


def test_a_phase_without_states() -> None:
    for remedy in both(flat()):
        with pytest.raises(ValueError, match="states: expected those of the phase"):
            remedy.consolidate(experience({}))


def test_consolidating_leaves_no_gradient_and_no_graph() -> None:
    function = options(option_net(hard=True))
    for remedy in both(function, form="penalty", protect=("head:1",)):
        remedy.consolidate(experience(states_of(12)))
        assert all(p.grad is None for p in function.parameters.values())
        assert not any(tensor.requires_grad for tensor in remedy.state().values())
        shift(function, 0.1)
        term = remedy.penalty()
        assert term is not None
        gradients = torch.autograd.grad(term, list(function.parameters.values()), allow_unused=True)
        masks = function.part("head:1")
        for name, gradient in zip(function.parameters, gradients, strict=True):
            assert (gradient is None) == (name not in masks)

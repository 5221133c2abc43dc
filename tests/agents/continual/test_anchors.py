"""Quadratics: their sum, their two forms, what they protect and what they remember."""

from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from agents.continual.anchors import L2, InitialWeights, Quadratic
from agents.continual.config import InitialWeightsConfig, L2Config
from tests.agents.continual.policies import (
    Linear,
    experience,
    flat,
    inputs,
    option_net,
    options,
    seeded,
)

NAMES = ("weight", "bias")


def place(function: Any, seed: int) -> dict[str, Tensor]:
    """Put parameters anywhere."""
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in function.parameters.values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return copied(function)


def copied(function: Any) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in function.parameters.items()}


def importance_of(function: Any, seed: int) -> dict[str, Tensor]:
    """Of zero for about a third of the numbers."""
    generator = seeded(seed)
    return {
        name: torch.randn(p.shape, generator=generator).add(0.4).relu()
        for name, p in function.parameters.items()
    }


def make_l2(
    function: Any,
    *,
    strength: float = 2.0,
    form: Literal["proximal", "penalty"] = "proximal",
    protect: tuple[str, ...] = ("trunk",),
) -> L2:
    return L2(L2Config(strength=strength, form=form, protect=protect), function)


# -- the quadratic ----------------------------------------------------------------------------


def explicit(terms: list[tuple[dict[str, Tensor], dict[str, Tensor]]], now: Any) -> Tensor:
    """1/2 sum_i sum_p F_i (theta - a_i)^2, term by term in double precision."""
    return 0.5 * sum(
        (
            (importance[name].double() * (now[name].double() - anchor[name]).square()).sum()
            for importance, anchor in terms
            for name in NAMES
        ),
        start=torch.zeros((), dtype=torch.float64),
    )


@settings(max_examples=20, deadline=None)
@given(phases=st.integers(1, 6), seed=st.integers(0, 1000))
def test_several_are_one_up_to_a_constant(phases: int, seed: int) -> None:
    """Differences between two points, and gradients, are those of the explicit list."""
    function = Linear()
    quadratic = Quadratic("ewc", function, ("trunk",))
    terms = []
    for phase in range(phases):
        anchor = place(function, seed + phase)
        importance = importance_of(function, seed + 100 + phase)
        quadratic.add(importance)
        terms.append((importance, anchor))
    values, wanted = [], []
    for point in (1, 2):
        now = place(function, seed + 200 + point)
        values.append(float(quadratic.value().detach()))
        wanted.append(float(explicit(terms, now)))
    assert values[0] - values[1] == pytest.approx(wanted[0] - wanted[1], rel=1e-3, abs=1e-3)
    gradient = torch.autograd.grad(quadratic.value(), [function.parameters[name] for name in NAMES])
    leaves = {name: function.parameters[name].detach().double().requires_grad_() for name in NAMES}
    expected = torch.autograd.grad(explicit(terms, leaves), [leaves[name] for name in NAMES])
    for one, other in zip(gradient, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


def test_one_phase_is_anchored_to_the_bit() -> None:
    function = Linear()
    quadratic = Quadratic("ewc", function, ("trunk",))
    ended = place(function, 1)
    quadratic.add({name: tensor + 0.1 for name, tensor in importance_of(function, 2).items()})
    assert all(torch.equal(quadratic.anchor[name], ended[name]) for name in NAMES)
    assert float(quadratic.value().detach()) == quadratic.distance() == 0.0


def test_memory_does_not_grow_with_the_phases() -> None:
    net = option_net()
    function = options(net)
    remedy = make_l2(function, protect=("head:1", "gate"))
    protected = sum(
        int(mask.sum()) for part in ("head:1", "gate") for mask in function.part(part).values()
    )
    for phase in range(3):
        remedy.consolidate(experience({}, phase))
        assert remedy.floats == 2 * protected


def test_moving_keeps_the_latest_anchor_alone() -> None:
    function = Linear()
    quadratic = Quadratic("online_ewc", function, ("trunk",))
    place(function, 1)
    first, second = importance_of(function, 2), importance_of(function, 3)
    quadratic.move(first, 0.5)
    latest = place(function, 4)
    quadratic.move(second, 0.5)
    for name in NAMES:
        assert torch.equal(quadratic.anchor[name], latest[name])
        torch.testing.assert_close(quadratic.importance[name], 0.5 * first[name] + second[name])


@settings(max_examples=30, deadline=None)
@given(
    weight=st.one_of(st.just(0.0), st.floats(1e-12, 1e300)),
    seed=st.integers(0, 1000),
)
def test_the_proximal_step_never_overshoots_and_never_retreats(weight: float, seed: int) -> None:
    function = Linear()
    quadratic = Quadratic("ewc", function, ("trunk",))
    place(function, seed)
    quadratic.add(importance_of(function, seed + 1))
    before = place(function, seed + 2)
    value, distance = float(quadratic.value().detach()), quadratic.distance()
    quadratic.pull(weight)
    for name in NAMES:
        now, anchor = function.parameters[name].detach(), quadratic.anchor[name]
        low, high = torch.minimum(before[name], anchor), torch.maximum(before[name], anchor)
        free = quadratic.importance[name] == 0.0
        assert bool(((now >= low - 1e-6) & (now <= high + 1e-6))[~free].all())
        assert torch.equal(now[free], before[name][free])
    assert 0.0 <= float(quadratic.value().detach()) <= value * (1.0 + 1e-5)
    assert 0.0 <= quadratic.distance() <= distance * (1.0 + 1e-5)


def test_the_proximal_step_to_the_digit() -> None:
    """(theta + rate Lambda F a) / (1 + rate Lambda F), also when rate and importance change."""
    function = Linear()
    quadratic = Quadratic("ewc", function, ("trunk",))
    for turn, weight in enumerate((0.3, 0.3, 20.0, 20.0, 0.1, 5.0)):
        place(function, 10 + turn)
        if turn < 4:
            quadratic.add(importance_of(function, 20 + turn))
        before = place(function, 30 + turn)
        quadratic.pull(weight)
        for name in NAMES:
            pull = weight * quadratic.importance[name]
            expected = (before[name] + pull * quadratic.anchor[name]) / (1.0 + pull)
            torch.testing.assert_close(function.parameters[name].detach(), expected)


# -- the remedies -----------------------------------------------------------------------------


def test_the_penaltys_gradient_is_that_of_finite_differences() -> None:
    function = Linear()
    remedy = make_l2(function, form="penalty", strength=3.0)
    for phase in range(2):
        place(function, phase)
        remedy.consolidate(experience({}, phase))
    place(function, 5)
    term = remedy.penalty()
    assert term is not None
    for name in NAMES:
        parameter = function.parameters[name]
        (gradient,) = torch.autograd.grad(term, [parameter], retain_graph=True)
        for index in range(parameter.numel()):
            values = []
            for step in (1e-2, -2e-2):
                with torch.no_grad():
                    parameter.view(-1)[index] += step
                found = remedy.penalty()
                assert found is not None
                values.append(float(found.detach()))
            with torch.no_grad():
                parameter.view(-1)[index] += 1e-2
            slope = (values[0] - values[1]) / 2e-2
            assert slope == pytest.approx(float(gradient.view(-1)[index]), rel=1e-2, abs=2e-2)


def test_both_forms_pull_to_the_mean_of_the_phases_ends() -> None:
    function = Linear()
    proximal, penalty = make_l2(function), make_l2(function, form="penalty")
    ends = []
    for phase in range(3):
        ends.append(place(function, phase))
        for remedy in (proximal, penalty):
            remedy.consolidate(experience({}, phase))
    mean = {name: torch.stack([end[name] for end in ends]).mean(dim=0) for name in NAMES}
    before = place(function, 9)
    assert proximal.penalty() is None
    term = penalty.penalty()
    assert term is not None
    gradient = torch.autograd.grad(term, [function.parameters[name] for name in NAMES])
    penalty.after_step(1e-2)
    assert all(torch.equal(before[name], function.parameters[name]) for name in NAMES)
    proximal.after_step(1e-2)
    for name, slope in zip(NAMES, gradient, strict=True):
        pull = 1e-2 * 2.0 * 3.0  # rate, strength, phases
        expected = (before[name] + pull * mean[name]) / (1.0 + pull)
        torch.testing.assert_close(function.parameters[name].detach(), expected)
        torch.testing.assert_close(slope, 2.0 * 3.0 * (before[name] - mean[name]))
    assert torch.equal(function.parameters["unused"], before["unused"])


@pytest.mark.parametrize("form", ["proximal", "penalty"])
@pytest.mark.parametrize(("strength", "consolidated"), [(0.0, True), (5.0, False)])
def test_nothing_is_done_without_strength_or_past(
    form: Literal["proximal", "penalty"], strength: float, consolidated: bool
) -> None:
    function = Linear()
    remedy = make_l2(function, form=form, strength=strength)
    if consolidated:
        remedy.consolidate(experience({}))
    before = place(function, 3)
    assert remedy.penalty() is None
    remedy.after_step(1.0)
    assert all(torch.equal(before[name], p) for name, p in function.parameters.items())
    assert remedy.figures()["penalty"] == 0.0


@pytest.mark.parametrize("part", ["trunk", "heads", "head:0", "head:2", "gate"])
def test_only_what_is_protected_is_held(part: str) -> None:
    function = options(option_net(linear_path=True))
    remedy = make_l2(function, strength=1e30, protect=(part,))
    ended = place(function, 1)
    remedy.consolidate(experience({}))
    moved = place(function, 2)
    remedy.after_step(1.0)
    masks = function.part(part)
    for name, parameter in function.parameters.items():
        mask = masks.get(name, torch.zeros_like(parameter, dtype=torch.bool))
        assert torch.equal(parameter[mask], ended[name][mask])
        assert torch.equal(parameter[~mask], moved[name][~mask])


def test_parts_are_protected_together() -> None:
    function = options(option_net())
    remedy = make_l2(function, protect=("head:0", "heads", "head:2"))
    wanted = sum(int(mask.sum()) for mask in function.part("heads").values())
    assert remedy.floats == 2 * wanted


def test_figures() -> None:
    function = Linear()
    remedy = make_l2(function, strength=4.0)
    assert remedy.figures() == {"penalty": 0.0, "distance": 0.0}
    remedy.consolidate(experience({}))
    with torch.no_grad():
        for name in NAMES:
            function.parameters[name].add_(0.5)
    assert remedy.figures()["distance"] == pytest.approx(0.25)
    assert remedy.figures()["penalty"] == pytest.approx(4.0 / 2.0 * 8 * 0.25)


@pytest.mark.parametrize("form", ["proximal", "penalty"])
def test_a_loaded_state_goes_on(form: Literal["proximal", "penalty"]) -> None:
    function = Linear()
    remedy = make_l2(function, form=form)
    for phase in range(2):
        place(function, phase)
        remedy.consolidate(experience({}, phase))
    again = make_l2(function, form=form)
    again.load_state(remedy.state())
    place(function, 6)
    terms = [each.penalty() for each in (remedy, again)]
    if form == "penalty":
        assert terms[0] is not None
        assert terms[1] is not None
        assert torch.equal(terms[0], terms[1])
    remedy.after_step(0.1)
    after = copied(function)
    place(function, 6)
    again.after_step(0.1)
    assert all(torch.equal(after[name], function.parameters[name]) for name in NAMES)


def test_the_state_of_something_else_is_refused() -> None:
    state = make_l2(Linear()).state()
    with pytest.raises(ValueError, match=r"l2: expected importance/weight of \(8,\), found \(6,\)"):
        make_l2(Linear(inputs=4)).load_state(state)
    with pytest.raises(ValueError, match="l2: expected the state"):
        make_l2(Linear(), protect=("all",)).load_state(state)


def test_an_exploded_policy_is_not_anchored() -> None:
    function = Linear()
    remedy = make_l2(function)
    with torch.no_grad():
        function.parameters["bias"][0] = torch.nan
    with pytest.raises(ValueError, match=r"l2: expected finite parameters .* others in bias"):
        remedy.consolidate(experience({}))


def test_a_part_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="found 'gate'"):
        make_l2(flat(), protect=("gate",))


# -- initial weights --------------------------------------------------------------------------


def test_initial_weights_survive_a_resume() -> None:
    """Made anew around other parameters, the first ones are what is pulled to."""
    function = Linear()
    start = place(function, 1)
    config = InitialWeightsConfig(strength=1e30, protect=("trunk",))
    first = InitialWeights(config, function)
    assert first.floats == 8
    place(function, 2)
    again = InitialWeights(config, function)
    again.load_state(first.state())
    again.consolidate(experience(inputs(3)))
    assert again.figures()["distance"] > 0.0
    again.after_step(1e-3)
    assert all(torch.equal(function.parameters[name], start[name]) for name in NAMES)
    assert again.figures() == {"distance": 0.0}
    with pytest.raises(ValueError, match=r"initial_weights: expected anchor/weight of \(8,\)"):
        InitialWeights(config, Linear(inputs=4)).load_state(first.state())


def test_the_pull_to_initial_weights_is_there_from_the_first_step() -> None:
    function = Linear()
    start = place(function, 1)
    remedy = InitialWeights(InitialWeightsConfig(strength=0.5), function)
    away = place(function, 2)
    remedy.after_step(0.1)
    for name, parameter in function.parameters.items():
        expected = (away[name] + 0.05 * start[name]) / 1.05
        torch.testing.assert_close(parameter.detach(), expected)
    assert remedy.penalty() is None

"""Fisher information against its formula, and gradients of each state against a plain loop."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from agents.continual import fisher
from agents.continual.fisher import (
    fisher_information,
    mean_over_states,
    normalised,
    output_sensitivity,
    require_gradient,
)
from agents.continual.law import ActionLaw, Draw
from agents.continual.protocol import PolicyFunction, States
from meta_controller.config import FallbackController
from tests.agents.continual.policies import (
    OUTPUTS,
    UNITS,
    Linear,
    flat,
    inputs,
    option_net,
    options,
    seeded,
    states_of,
)

ROWS = 11
POLICIES: dict[str, Callable[[], tuple[PolicyFunction, States]]] = {
    "flat": lambda: (flat(), states_of(ROWS)),
    "flat without market": lambda: (flat(features=0), states_of(ROWS)),
    "flat discrete": lambda: (flat(discrete=True), states_of(ROWS)),
    "blended": lambda: (options(option_net()), states_of(ROWS)),
    "blended simplex": lambda: (options(option_net(), "simplex"), states_of(ROWS)),
    "blended categorical": lambda: (
        options(option_net(continuous=False), "categorical"),
        states_of(ROWS),
    ),
    "hard": lambda: (options(option_net(hard=True)), states_of(ROWS)),
    "hard categorical": lambda: (
        options(option_net(hard=True, continuous=False), "categorical"),
        states_of(ROWS),
    ),
    "hard networks": lambda: (
        options(option_net(hard=True, networks=True, linear_path=True)),
        states_of(ROWS),
    ),
    "blended with a rule": lambda: (
        options(option_net(injects=True)),
        states_of(ROWS, injects=True),
    ),
    "recurrent": lambda: (options(option_net(recurrent=UNITS)), states_of(ROWS, units=UNITS)),
}


def by_loop(
    function: PolicyFunction, states: States, score: Callable[[ActionLaw, int], Tensor], power: int
) -> dict[str, Tensor]:
    """E_s |gradient|^power, state by state."""
    rows = len(next(iter(states.values())))
    names, parameters = list(function.parameters), list(function.parameters.values())
    total = {name: torch.zeros_like(p) for name, p in function.parameters.items()}
    for row in range(rows):
        law = function.law(function.parameters, {k: t[row : row + 1] for k, t in states.items()})
        gradients = torch.autograd.grad(score(law, row), parameters, allow_unused=True)
        for name, gradient in zip(names, gradients, strict=True):
            if gradient is not None:
                total[name] += gradient.abs() ** power / rows
    return total


@pytest.mark.parametrize("case", POLICIES)
def test_each_state_by_itself_as_a_plain_loop_has_it(case: str) -> None:
    function, states = POLICIES[case]()
    draw = function.law(function.parameters, states).draw(seeded(9))
    found = fisher_information(function, states, seeded(9))
    expected = by_loop(
        function,
        states,
        lambda law, row: law.log_prob(
            Draw(draw.alternative_B[row : row + 1], draw.action_BD[row : row + 1])
        ).sum(),
        2,
    )
    assert found.keys() == function.parameters.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=2e-4, atol=1e-7)
        assert not found[name].requires_grad
    assert sum(bool(tensor.any()) for tensor in found.values()) > len(found) // 2
    assert all(parameter.grad is None for parameter in function.parameters.values())


@pytest.mark.parametrize("case", POLICIES)
def test_sensitivity_as_a_plain_loop_has_it(case: str) -> None:
    function, states = POLICIES[case]()
    found = output_sensitivity(function, states)

    def score(law: ActionLaw, row: int) -> Tensor:
        del row
        total = torch.zeros(())
        for option in range(law.choice_BO.shape[1]):
            chance = law.choice_BO[0, option]
            total = total + chance * law.output_BOD[0, option].square().sum() + chance**2
        return total

    expected = by_loop(function, states, score, 1)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=2e-4, atol=1e-6)


def test_a_linear_policys_information_is_known() -> None:
    """Mean W x + b: F of W is E x_p^2 / sigma_d^2, F of b is 1 / sigma_d^2."""
    function, states = Linear(), inputs(500)
    found = fisher_information(function, states, seeded(), draws=40)
    precision_D1 = torch.exp(-2.0 * function.log_std)[:, None]
    expected = precision_D1 * states["x"].square().mean(dim=0)
    torch.testing.assert_close(found["weight"], expected, rtol=0.06, atol=0.0)
    torch.testing.assert_close(found["bias"], precision_D1[:, 0], rtol=0.03, atol=0.0)
    assert not found["unused"].any()


def test_a_draw_of_a_linear_policy_to_the_digit() -> None:
    """d log pi / d W = x epsilon / sigma for the noise that was drawn."""
    function, states = Linear(), inputs(30)
    generator = seeded(3)
    torch.multinomial(torch.ones(30, 1), 1, generator=generator)
    noise_BD = torch.randn(30, OUTPUTS, generator=generator)
    score_BD = noise_BD * torch.exp(-function.log_std)
    expected = (score_BD[:, :, None] * states["x"][:, None, :]).square().mean(dim=0)
    found = fisher_information(function, states, seeded(3))
    torch.testing.assert_close(found["weight"], expected, rtol=1e-4, atol=0.0)
    torch.testing.assert_close(found["bias"], score_BD.square().mean(dim=0), rtol=1e-4, atol=0.0)


def test_the_square_of_a_minibatchs_mean_gradient_is_another_number() -> None:
    function, states = Linear(), inputs(64)
    draw = function.law(function.parameters, states).draw(seeded())
    mean = function.law(function.parameters, states).log_prob(draw).mean()
    (gradient,) = torch.autograd.grad(mean, [function.parameters["weight"]])
    found = fisher_information(function, states, seeded())["weight"]
    assert float(gradient.square().sum()) < 0.1 * float(found.sum())


@pytest.mark.parametrize("case", ["flat", "blended", "hard"])
@pytest.mark.parametrize("chunk", [1, 4, 10])
def test_the_chunk_does_not_matter(case: str, chunk: int) -> None:
    function, states = POLICIES[case]()
    whole = fisher_information(function, states, seeded(2), draws=2)
    part = fisher_information(function, states, seeded(2), draws=2, chunk=chunk)
    for name, tensor in whole.items():
        torch.testing.assert_close(part[name], tensor, rtol=1e-5, atol=1e-8)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    function, states = flat(), states_of(40)
    numbers = sum(p.numel() for p in function.parameters.values())
    monkeypatch.setattr(fisher, "PER_CHUNK", 6 * numbers)
    held: list[int] = []

    def size(gradient: Tensor) -> Tensor:
        held.append(len(gradient))
        return gradient.abs()

    mean_over_states(function, states, lambda law, _: law.output_BOD.sum(dim=(1, 2)), size)
    assert max(held) == 6
    held.clear()
    monkeypatch.setattr(fisher, "PER_CHUNK", 1)  # a policy that is larger than that
    mean_over_states(function, states, lambda law, _: law.output_BOD.sum(dim=(1, 2)), size)
    assert max(held) == 1


def test_several_draws_are_averaged() -> None:
    function, states, generator = flat(), states_of(ROWS), seeded(1)
    alone = [fisher_information(function, states, generator) for _ in range(3)]
    together = fisher_information(function, states, seeded(1), draws=3)
    for name, tensor in together.items():
        mean = torch.stack([each[name] for each in alone]).mean(dim=0)
        torch.testing.assert_close(tensor, mean, rtol=1e-5, atol=1e-8)


def test_only_the_named_and_without_a_past() -> None:
    """Parameters that are not asked for learn on; nothing of theirs must be kept."""
    function, states = POLICIES["hard"]()
    name = "options.trunk.fusion.weight"
    everything = fisher_information(function, states, seeded())
    found = fisher_information(function, states, seeded(), names=[name])
    assert list(found) == [name]
    torch.testing.assert_close(found[name], everything[name])
    assert not found[name].requires_grad


def test_normalised_has_mean_one_over_what_is_protected() -> None:
    importance = {
        "part": torch.tensor([[1.0, 3.0], [torch.nan, 7.0]]),
        "tiny": torch.full((3,), 1e-30),
        "none": torch.zeros(2),
    }
    masks = {
        "part": torch.tensor([[True, True], [False, False]]),
        "tiny": torch.ones(3, dtype=torch.bool),
        "none": torch.ones(2, dtype=torch.bool),
    }
    found = normalised(importance, masks)
    assert found["part"].tolist() == [[0.5, 1.5], [0.0, 0.0]]
    torch.testing.assert_close(found["tiny"], torch.ones(3))
    assert found["none"].tolist() == [0.0, 0.0]
    assert found["part"].dtype == torch.float32


def test_a_part_on_which_nothing_depends_is_refused() -> None:
    function = Linear()
    found = fisher_information(function, inputs(5), seeded())
    require_gradient("ewc", function, ("all", "trunk", "head:0"), found)
    with pytest.raises(ValueError, match=r"ewc.protect: .*found 'gate' without.*\(unused\)"):
        require_gradient("ewc", function, ("trunk", "gate"), found)


def test_the_trunk_of_experts_under_a_controller_that_does_not_learn() -> None:
    """Experts are networks of their own: what is left of the trunk decides on endings alone."""
    net = option_net(networks=True, controller=FallbackController())
    function, states = options(net), states_of(ROWS)
    found = fisher_information(function, states, seeded())
    require_gradient("ewc", function, ("all", "heads"), found)
    with torch.no_grad():  # and no encoder either
        for name in found:
            if name.startswith("options.encoder."):
                found[name].zero_()
    with pytest.raises(ValueError, match=r"ewc.protect: .*found 'trunk' without a gradient"):
        require_gradient("ewc", function, ("trunk",), found)


def test_an_option_that_does_not_act_has_no_information() -> None:
    """One-hot routing by a known regime: the heads of the others are legitimately without."""
    function = options(option_net(controller=FallbackController()))
    states = {**states_of(ROWS), "first": torch.ones(ROWS, dtype=torch.bool)}
    states["belief"] = torch.tensor([[0.0, 1.0, 0.0]]).repeat(ROWS, 1)
    found = fisher_information(function, states, seeded())
    for option in range(3):
        for name, mask in function.part(f"head:{option}").items():
            assert bool(found[name][mask].any()) == (option == 1)
    require_gradient("ewc", function, ("all", "heads", "head:0"), found)
    for name, mask in function.part("head:1").items():
        found[name][mask] = 0.0
    with pytest.raises(ValueError, match=r"ewc.protect: .*found 'heads' without a gradient"):
        require_gradient("ewc", function, ("all", "heads"), found)


MEASURES: dict[str, Callable[[PolicyFunction, States], dict[str, Tensor]]] = {
    "information": lambda function, states: fisher_information(function, states, seeded()),
    "sensitivity": output_sensitivity,
}


@pytest.mark.parametrize("measure", MEASURES)
def test_numbers_that_are_not_finite_are_refused(measure: str) -> None:
    function, states = flat(), states_of(3)
    with torch.no_grad():
        function.parameters["actor.output.weight"][0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"expected finite numbers for .* over 3 states, found"):
        MEASURES[measure](function, states)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("states", [{}, {"bars": torch.zeros(0, dtype=torch.int64)}])
def test_no_states(states: States, measure: str) -> None:
    with pytest.raises(ValueError, match="states: expected those of the phase"):
        MEASURES[measure](flat(), states)

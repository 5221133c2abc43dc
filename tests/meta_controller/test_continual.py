"""The policy of options as a function of its parameters: its law, and what its parts are."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from agents.blending import blend
from meta_controller.config import FallbackController, FreeController, UniformController
from meta_controller.hierarchy import Decision, Inputs, OptionActorCritic
from tests.agents.continual.policies import (
    OPTIONS,
    UNITS,
    Kind,
    option_net,
    options,
    randomised,
    seeded,
    states_of,
    table,
)

ROWS = 9
NETS: dict[str, dict[str, Any]] = {
    "heads": {},
    "heads with a linear path": {"linear_path": True},
    "networks": {"networks": True},
    "networks with a linear path": {"networks": True, "linear_path": True},
    "with a rule": {"injects": True},
    "networks with a rule": {"networks": True, "linear_path": True, "injects": True},
    "recurrent": {"recurrent": UNITS},
}


def made(case: str, **settings: Any) -> tuple[OptionActorCritic, dict[str, Tensor]]:
    net = option_net(**NETS[case], **settings)
    states = states_of(ROWS, injects=net.injects, units=net.recurrent)
    return net, dict(states)


def decided(net: OptionActorCritic, states: dict[str, Tensor]) -> Decision:
    """The decision by the way that training takes."""
    inputs = Inputs(
        states["account"],
        states["belief"],
        states["previous"],
        states["first"],
        torch.full((ROWS,), net.meta.execution.mode == "hard"),
        states.get("injected"),
        hidden_BM=states.get("hidden"),
    )
    embedding, rows = net.encoder.table(table(), states["bars"])
    with torch.no_grad():
        return net.decide_joined(embedding.index_select(0, rows), inputs)


@pytest.mark.parametrize("case", NETS)
@pytest.mark.parametrize("kind", ["mean", "simplex", "categorical"])
def test_the_law_of_a_blend_is_what_training_plays(case: str, kind: Kind) -> None:
    net, states = made(case, continuous=kind != "categorical")
    law, decision = options(net, kind).law({}, states), decided(net, states)
    expected = blend(decision.outputs_BKD, decision.weights_BK, kind)
    torch.testing.assert_close(law.output_BOD[:, 0].detach(), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(law.choice_BO, torch.ones(ROWS, 1))
    if kind == "categorical":
        assert law.log_std_BOD is None
    else:
        assert law.log_std_BOD is not None
        deviation = decision.weights_BK @ net.log_std.detach()
        torch.testing.assert_close(law.log_std_BOD[:, 0].detach(), deviation)


@pytest.mark.parametrize("case", NETS)
@pytest.mark.parametrize("continuous", [True, False])
def test_the_law_of_a_choice_is_of_option_and_action(case: str, continuous: bool) -> None:
    net, states = made(case, hard=True, continuous=continuous)
    law = options(net, "mean" if continuous else "categorical").law({}, states)
    decision = decided(net, states)
    torch.testing.assert_close(law.choice_BO.detach(), decision.weights_BK)
    torch.testing.assert_close(law.output_BOD.detach(), decision.outputs_BKD, rtol=1e-4, atol=1e-5)
    assert (law.log_std_BOD is not None) == continuous
    if law.log_std_BOD is not None:
        assert torch.equal(law.log_std_BOD, net.log_std.detach()[None])
        assert not law.log_std_BOD.requires_grad


def test_where_training_alternates_the_law_is_the_blends() -> None:
    net, states = made("heads")
    blended = options(net).law({}, states)
    net.meta = replace(net.meta, execution=replace(net.meta.execution, mode="alternate"))
    assert torch.equal(options(net).law({}, states).output_BOD, blended.output_BOD)


@pytest.mark.parametrize("case", NETS)
@pytest.mark.parametrize("hard", [True, False])
def test_a_batch_is_its_states_and_can_be_vmapped(case: str, hard: bool) -> None:
    net, states = made(case, hard=hard)
    function = options(net)
    whole = function.law({}, states)

    def alone(state: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        law = function.law({}, {key: tensor[None] for key, tensor in state.items()})
        return law.choice_BO[0], law.output_BOD[0]

    choice, output = torch.func.vmap(alone)(states)
    torch.testing.assert_close(choice, whole.choice_BO)
    torch.testing.assert_close(output, whole.output_BOD, rtol=1e-4, atol=1e-5)


def test_given_parameters_are_used_and_the_others_are_the_networks() -> None:
    net, states = made("heads")
    function, other = options(net), option_net()
    randomised(other, seed=8)
    torch.testing.assert_close(
        function.law(options(other).parameters, states).output_BOD,
        options(other).law({}, states).output_BOD,
    )
    name = "options.trunk.output.bias"
    moved = net.options.trunk.output.bias.detach().clone()
    moved[: net.options.heads] += 1.0
    torch.testing.assert_close(
        function.law({name: moved}, states).output_BOD,
        function.law({}, states).output_BOD + 1.0,
    )


@pytest.mark.parametrize("case", NETS)
def test_parameters_are_the_actors_without_deviations(case: str) -> None:
    net, _ = made(case)
    function = options(net)
    wanted = {id(p) for p in net.actor_parameters()} - {id(net.log_std)}
    assert {id(p) for p in function.parameters.values()} == wanted
    assert function.parameters.keys() <= net.state_dict().keys()
    assert not wanted & {id(p) for p in net.critic_parameters()}


@pytest.mark.parametrize("case", NETS)
def test_parts_share_the_policy_out(case: str) -> None:
    """Trunk, heads and gate are all of it, each number once; heads are the options'."""
    net, _ = made(case)
    function = options(net)
    groups = {group: function.part(group) for group in ("trunk", "heads", "gate")}
    own = {f"head:{k}": function.part(f"head:{k}") for k in net.options.learned}
    for name, parameter in function.parameters.items():
        assert bool(function.part("all")[name].all())
        for union in (groups, {**own, "trunk": groups["trunk"], "gate": groups["gate"]}):
            count = torch.zeros_like(parameter)
            for masks in union.values():
                if name in masks:
                    assert masks[name].shape == parameter.shape
                    assert bool(masks[name].any())
                    count += masks[name]
            assert torch.equal(count, torch.ones_like(parameter)), name


@pytest.mark.parametrize("case", NETS)
def test_parts_do_what_they_are_called(case: str) -> None:
    """Moved alone, a head moves its own option's outputs, the gate moves only the weights."""
    net, states = made(case, hard=True)
    function = options(net)
    before = function.law({}, states).detached()
    for group in ("gate", "trunk", *(f"head:{k}" for k in net.options.learned)):
        parameters = {name: p.detach().clone() for name, p in function.parameters.items()}
        for name, mask in function.part(group).items():
            parameters[name][mask] += 0.1 * torch.randn(int(mask.sum()), generator=seeded(3))
        after = function.law(parameters, states)
        moved_K = [
            not torch.equal(after.output_BOD[:, k], before.output_BOD[:, k]) for k in range(OPTIONS)
        ]
        learned_K = [k in net.options.learned for k in range(OPTIONS)]
        if group == "gate":
            assert not any(moved_K)
        elif group == "trunk":
            assert moved_K == learned_K
        else:
            assert moved_K == [group == f"head:{k}" for k in range(OPTIONS)]
        chooses = not torch.equal(after.choice_BO, before.choice_BO)
        assert chooses == (group in ("gate", "trunk"))


def test_gate_and_terminations_are_both_in_the_gate() -> None:
    net, _ = made("heads")
    masks = options(net).part("gate")
    names = {name for name in masks if name.startswith("controller.gate.")}
    assert len(names) == len(list(net.controller.parameters())) > 0
    rows = masks["options.trunk.output.bias"]
    assert rows.tolist() == [False] * net.options.heads + [True] * OPTIONS


@pytest.mark.parametrize("controller", [FallbackController(), UniformController()])
def test_a_controller_that_does_not_learn_has_no_gate(controller: Any) -> None:
    function = options(option_net(controller=controller))
    with pytest.raises(ValueError, match=rf"found 'gate' with the controller '{controller.kind}'"):
        function.part("gate")
    assert function.part("heads")
    assert options(option_net(controller=FreeController())).part("gate")


@pytest.mark.parametrize("group", ["head:1", "head:3", "head:-1", "head:", "head"])
def test_an_option_that_does_not_learn_has_no_head(group: str) -> None:
    net, _ = made("with a rule")
    with pytest.raises(ValueError, match=r"head:k of an option that learns \(0, 2\), found"):
        options(net).part(group)


@pytest.mark.parametrize("group", ["critic", "", "heads:1", "trunk:0"])
def test_a_part_that_there_is_not(group: str) -> None:
    with pytest.raises(ValueError, match="protect: expected all, trunk, heads, head:k or gate"):
        options(option_net()).part(group)


def test_belief_is_what_the_controller_is_fed() -> None:
    net, states = made("heads")
    belief = options(net).belief(states)
    assert belief is not None
    assert torch.equal(belief, states["belief"])
    net.num_regimes = 0
    assert options(net).belief(states) is None


def test_every_parameter_of_a_learned_controller_has_a_gradient() -> None:
    for case, hard in itertools.product(("heads with a linear path", "networks"), (True, False)):
        net, states = made(case, hard=hard)
        function = options(net)
        law = function.law(function.parameters, states)
        law.log_prob(law.draw(seeded())).sum().backward()  # type: ignore[no-untyped-call]
        for name, parameter in function.parameters.items():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.any()), name
        assert net.log_std.grad is None

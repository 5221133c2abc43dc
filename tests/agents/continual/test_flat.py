"""The flat policy as a function of its parameters: the same as the network, part by part."""

import pytest
import torch

from agents.continual.flat import FlatFunction
from tests.agents.continual.policies import (
    ACCOUNT,
    FEATURES,
    OUTPUTS,
    flat,
    flat_net,
    seeded,
    states_of,
    table,
)


@pytest.mark.parametrize("features", [0, FEATURES])
@pytest.mark.parametrize("discrete", [True, False])
def test_its_law_is_what_the_network_does(features: int, discrete: bool) -> None:
    net = flat_net(features=features, discrete=discrete)
    market, states = table() if features else torch.empty(0, 0), states_of(9)
    law = FlatFunction(net, market, discrete=discrete).law({}, states)
    with torch.no_grad():
        expected = net.act(market, states["bars"], states["account"])
    torch.testing.assert_close(law.output_BOD.detach(), expected[:, None, :])
    assert torch.equal(law.choice_BO, torch.ones(9, 1))
    if discrete:
        assert law.log_std_BOD is None
    else:
        assert law.log_std_BOD is not None
        assert torch.equal(law.log_std_BOD, net.log_std.detach()[None, None])
        assert not law.log_std_BOD.requires_grad


def test_parameters_are_the_policys_without_deviations_and_critic() -> None:
    net = flat_net()
    function = FlatFunction(net, table())
    wanted = {id(p) for p in net.actor_parameters()} - {id(net.log_std)}
    assert {id(p) for p in function.parameters.values()} == wanted
    assert function.parameters.keys() <= net.state_dict().keys()
    assert not any(id(p) in wanted for p in net.critic_parameters())


def test_given_parameters_are_used_and_the_others_are_the_networks() -> None:
    function, states = flat(), states_of(5)
    name = "actor.output.bias"
    moved = function.law({name: function.parameters[name] + 1.0}, states)
    torch.testing.assert_close(moved.output_BOD, function.law({}, states).output_BOD + 1.0)


@pytest.mark.parametrize("features", [0, FEATURES])
def test_a_batch_is_its_states_and_can_be_vmapped(features: int) -> None:
    function, states = flat(features=features), states_of(7)
    whole = function.law({}, states).output_BOD

    def alone(state: dict[str, torch.Tensor]) -> torch.Tensor:
        return function.law({}, {k: t[None] for k, t in state.items()}).output_BOD[0]

    torch.testing.assert_close(torch.func.vmap(alone)(dict(states)), whole)


def test_parts_make_up_the_policy() -> None:
    function = flat()
    everything, trunk, heads = (function.part(g) for g in ("all", "trunk", "heads"))
    assert everything.keys() == function.parameters.keys()
    assert all(bool(mask.all()) for mask in everything.values())
    assert heads.keys() == {"actor.output.weight", "actor.output.bias"}
    assert trunk.keys() | heads.keys() == everything.keys()
    assert not trunk.keys() & heads.keys()
    assert function.part("head:0").keys() == heads.keys()
    assert all(mask.shape == function.parameters[n].shape for n, mask in everything.items())


@pytest.mark.parametrize("group", ["gate", "head:1", "head", "critic", ""])
def test_a_part_that_there_is_not(group: str) -> None:
    with pytest.raises(ValueError, match=r"protect: expected one of all, trunk.* flat policy"):
        flat().part(group)


def test_belief_is_read_from_the_states() -> None:
    states = states_of(4)
    assert flat().belief(states) is None
    told = FlatFunction(
        flat_net(),
        table(),
        belief=lambda features, bars, account: features[bars] + account[:, :FEATURES],
    )
    belief = told.belief(states)
    assert belief is not None
    expected = table()[states["bars"]] + states["account"][:, :FEATURES]
    assert torch.equal(belief, expected)


def test_the_market_moves_with_the_encoder() -> None:
    """Gradients reach every parameter, also in states of the same bar."""
    function = flat()
    states = {
        "bars": torch.full((6,), 3),
        "account": torch.randn(6, ACCOUNT, generator=seeded(1)),
    }
    law = function.law(function.parameters, states)
    assert law.output_BOD.shape == (6, 1, OUTPUTS)
    law.output_BOD.square().sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in function.parameters.items():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name

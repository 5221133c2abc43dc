"""Memory aware synapses: importance without labels or actions."""

import pytest
import torch

from agents.continual.config import MASConfig
from agents.continual.fisher import normalised, output_sensitivity
from agents.continual.mas import MAS
from tests.agents.continual.policies import (
    Linear,
    experience,
    inputs,
    option_net,
    options,
    states_of,
)


def test_sensitivity_of_a_linear_policy_is_known() -> None:
    """d ||W x + b||^2 / d W = 2 y x^T, in absolute value and on average."""
    function, states = Linear(), inputs(30)
    output = function.law(function.parameters, states).output_BOD[:, 0].detach()
    found = output_sensitivity(function, states)
    expected = (2.0 * output[:, :, None] * states["x"][:, None, :]).abs().mean(dim=0)
    torch.testing.assert_close(found["weight"], expected)
    torch.testing.assert_close(found["bias"], (2.0 * output).abs().mean(dim=0))


def test_the_chunk_does_not_matter() -> None:
    function, states = options(option_net(hard=True)), states_of(11)
    whole, part = (output_sensitivity(function, states, chunk=chunk) for chunk in (None, 4))
    for name, tensor in whole.items():
        torch.testing.assert_close(part[name], tensor, rtol=1e-5, atol=1e-7)


def test_the_choice_is_an_output_too() -> None:
    """Where one option acts at a time, gate and terminations are sensitive, also at equal means."""
    function, states = options(option_net(hard=True)), states_of(11)
    with torch.no_grad():
        for name, mask in function.part("heads").items():
            function.parameters[name][mask] = 0.0
    found = output_sensitivity(function, states)
    gate = function.part("gate")
    assert all(bool(found[name][mask].any()) for name, mask in gate.items())


def test_phases_add_up_around_the_latest() -> None:
    function, states = Linear(), inputs(25)
    remedy = MAS(MASConfig(protect=("trunk",), states=20), function)
    wanted = {name: torch.zeros_like(function.parameters[name]) for name in ("weight", "bias")}
    for phase in range(3):
        with torch.no_grad():
            function.parameters["weight"].add_(0.7)
        found = output_sensitivity(function, {"x": states["x"][:20]})
        for name, tensor in normalised(found, function.part("trunk")).items():
            wanted[name] += tensor
        remedy.consolidate(experience(states, phase=phase, regime=0))
    for name, tensor in wanted.items():
        torch.testing.assert_close(remedy.quadratic.importance[name], tensor)
        assert float(remedy.quadratic.importance[name].mean()) == pytest.approx(3.0, rel=1e-5)
        assert torch.equal(remedy.quadratic.anchor[name], function.parameters[name])


def test_a_part_without_a_gradient_is_refused() -> None:
    remedy = MAS(MASConfig(protect=("gate",)), Linear())
    with pytest.raises(ValueError, match=r"mas.protect: .*found 'gate' without a gradient"):
        remedy.consolidate(experience(inputs(5)))

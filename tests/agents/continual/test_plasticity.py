"""Dormant units and ranks of known matrices, and of policies whose units are switched off."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from agents.continual.flat import FlatFunction
from agents.continual.plasticity import (
    activations,
    dormant_share,
    effective_rank,
    plasticity,
    srank,
    weight_norm,
)
from agents.encoder import EncoderConfig
from agents.networks import ActorCritic, FusionHead, PolicyConfig
from agents.options import LearnedOption, OptionNetworkConfig
from meta_controller.config import MetaControllerConfig
from meta_controller.continual import OptionFunction
from meta_controller.hierarchy import OptionActorCritic

BARS, FEATURES, ACCOUNT, OUTPUTS, ROWS = 30, 3, 4, 2, 64
SMALL = EncoderConfig(window=2, channels=2, hidden=4, embedding=3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def wake(head: FusionHead) -> None:
    """Biases beyond what comes in: every unit is awake."""
    for bias, size in zip(hidden_biases(head), (10.0, 100.0), strict=True):
        bias.fill_(size)


def hidden_biases(head: FusionHead) -> list[Tensor]:
    return [head.fusion.bias, head.get_parameter("trunk.0.bias")]


def flat(features: int = FEATURES) -> tuple[ActorCritic, FlatFunction]:
    config = PolicyConfig(encoder=SMALL, hidden=(10, 8), output_gain=1.0)
    net = ActorCritic(config, features, ACCOUNT, OUTPUTS, generator=seeded())
    with torch.no_grad():
        wake(net.actor)
    return net, FlatFunction(net, torch.randn(BARS, features, generator=seeded(1)))


def states_of() -> dict[str, Tensor]:
    return {
        "bars": torch.randint(BARS, (ROWS,), generator=seeded(2)),
        "account": torch.randn(ROWS, ACCOUNT, generator=seeded(3)),
        "belief": torch.full((ROWS, 3), 1.0 / 3.0),
        "previous": torch.full((ROWS, 3), 1.0 / 3.0),
        "first": torch.zeros(ROWS, dtype=torch.bool),
    }


def of_rank(rank: int, rows: int = 20, columns: int = 12) -> Tensor:
    """A matrix with so many singular values of 2 and no other."""
    left = torch.linalg.qr(torch.randn(rows, rank, generator=seeded(4)).double()).Q
    right = torch.linalg.qr(torch.randn(columns, rank, generator=seeded(5)).double()).Q
    return torch.mm(2.0 * left, right.T)


@pytest.mark.parametrize("rank", [1, 2, 5, 12])
def test_ranks_of_a_matrix_of_known_rank(rank: int) -> None:
    assert effective_rank(of_rank(rank)) == pytest.approx(rank, rel=1e-6)
    assert srank(of_rank(rank)) == rank


def test_ranks_of_uneven_singular_values() -> None:
    matrix = torch.diag(torch.tensor([0.9, 0.08, 0.015, 0.005]))
    shares = (0.9, 0.08, 0.015, 0.005)
    expected = math.exp(-sum(p * math.log(p) for p in shares))
    assert effective_rank(matrix) == pytest.approx(expected, rel=1e-6)
    assert [srank(matrix, d) for d in (0.2, 0.03, 0.01, 0.001)] == [1.0, 2.0, 3.0, 4.0]


def test_a_matrix_of_zeros_has_no_rank() -> None:
    assert effective_rank(torch.zeros(4, 3)) == srank(torch.zeros(4, 3)) == 0.0


def test_the_rank_of_what_is_not_finite_is_not_known() -> None:
    matrix = torch.ones(4, 3)
    matrix[1, 2] = math.inf
    assert math.isnan(effective_rank(matrix))
    assert math.isnan(srank(matrix))


@pytest.mark.parametrize("dead", [0, 1, 4, 6])
def test_dead_units_of_a_layer(dead: int) -> None:
    layer = torch.rand(30, 6, generator=seeded()) + 0.5
    layer[:, :dead] = 0.0
    assert dormant_share([layer]) == dead / 6
    awake = torch.ones(5, 2)
    assert dormant_share([layer, awake], tau=0.0) == dead / 8


def test_a_unit_sleeps_below_a_share_of_its_layers_mean() -> None:
    """Scores 0.02 / 0.505 and 0.99 / 0.505, whatever the scale of the layer."""
    for scale in (1.0, 1e6):
        layer = scale * torch.tensor([[0.02, 0.99]])
        assert [dormant_share([layer], tau) for tau in (0.03, 0.05)] == [0.0, 0.5]


def test_the_norm_of_weights_is_that_of_all_numbers_together() -> None:
    parameters = [torch.nn.Parameter(torch.tensor(t)) for t in ([1.0, -3.0], [-2.0, 1.0, 1.0])]
    assert weight_norm(parameters) == 4.0
    assert weight_norm([]) == 0.0


@pytest.mark.parametrize("features", [0, FEATURES])
def test_units_of_a_flat_policy_that_are_switched_off(features: int) -> None:
    net, function = flat(features)
    found = plasticity(net, function, states_of())
    assert found["actor/dormant_share"] == 0.0
    with torch.no_grad():
        first, second = hidden_biases(net.actor)
        first[:3], second[0] = -1e4, -1e4
    found = plasticity(net, function, states_of())
    assert found["actor/dormant_share"] == pytest.approx(4 / 18)
    assert 1.0 <= found["actor/srank"] <= 7.0
    for figure in ("dormant_share", "effective_rank"):  # there is one head
        assert found[figure] == found[f"actor/{figure}"]
    numbers = torch.cat([p.detach().flatten() for p in function.parameters.values()])
    expected = float(numbers.norm())
    assert found["weight_norm"] == pytest.approx(expected)
    assert all(math.isfinite(value) for value in found.values())


def test_features_are_what_the_output_reads() -> None:
    net, function = flat(0)
    states = states_of()
    with torch.no_grad():
        weight = net.actor.get_parameter("trunk.0.weight")
        weight[1:] = weight[:1].clone()
        with activations(net) as layers:
            function.law(function.parameters, states)
        hidden = torch.relu(net.actor.fusion(states["account"]))
        feature = torch.relu(net.actor.trunk[0](hidden))
    assert layers.keys() == {"actor"}  # the critic does not act
    torch.testing.assert_close(layers["actor"][0], hidden)
    torch.testing.assert_close(layers["actor"][1], feature)
    found = plasticity(net, function, states)
    assert found["actor/effective_rank"] == pytest.approx(1.0, abs=1e-3)
    assert found["actor/srank"] == 1.0


def options(**sizes: Any) -> tuple[OptionActorCritic, OptionFunction]:
    net = OptionActorCritic(
        OptionNetworkConfig(encoder=SMALL, hidden=(6, 5), **sizes),
        MetaControllerConfig(),
        (LearnedOption(),) * 3,
        num_features=FEATURES,
        account_size=ACCOUNT,
        outputs=OUTPUTS,
        num_regimes=3,
        continuous=True,
        generator=seeded(),
    )
    with torch.no_grad():
        wake(net.options.trunk)
    return net, OptionFunction(net, torch.randn(BARS, FEATURES, generator=seeded(1)), "mean")


FIGURES = ("dormant_share", "effective_rank", "srank")


def test_trunk_and_gate_of_options() -> None:
    net, function = options()
    with torch.no_grad():
        net.options.trunk.fusion.bias[:2] = -1e4
    found = plasticity(net, function, states_of())
    assert found["options.trunk/dormant_share"] == pytest.approx(2 / 11)
    heads = ("options.trunk", "controller.gate")
    assert found.keys() == {
        "dormant_share",
        "effective_rank",
        "weight_norm",
        *(f"{head}/{figure}" for head in heads for figure in FIGURES),
    }
    ranks = [found[f"{head}/effective_rank"] for head in heads]
    assert found["effective_rank"] == pytest.approx(sum(ranks) / 2)


def _hidden_of_gate(name: str) -> bool:
    return name.startswith("controller.gate.") and name.endswith("bias") and "output" not in name


def test_units_of_expert_networks() -> None:
    """Three networks of 4 and 3 units: of the second, two units of the first layer are dead."""
    net, function = options(experts="networks", expert_hidden=(4, 3), linear_path=True)
    bank = net.options.bank
    assert bank is not None
    with torch.no_grad():
        bank.fusion.bias[:12] = 10.0
        bank.fusion.bias[4:6] = -1e4
        bank.biases[0].fill_(100.0)
    found = plasticity(net, function, states_of())
    dead = [found[f"options.bank.{expert}/dormant_share"] for expert in range(3)]
    assert dead == [0.0, pytest.approx(2 / 7), 0.0]
    gate = found["controller.gate/dormant_share"]
    gated = sum(len(bias) for name, bias in net.named_parameters() if _hidden_of_gate(name))
    assert found["dormant_share"] == pytest.approx((2 + gate * gated) / (11 + gated + 21))
    with torch.no_grad():  # every unit of the last layer does the same
        bank.weights[0].zero_()
    found = plasticity(net, function, states_of())
    assert found["options.bank.2/effective_rank"] == pytest.approx(1.0, abs=1e-3)
    assert found["options.bank.2/srank"] == 1.0


def test_a_linear_path_beside_heads_has_no_units() -> None:
    net, function = options(linear_path=True)
    assert not any("bank" in name for name in plasticity(net, function, states_of()))


def test_looking_changes_nothing() -> None:
    net, function = options(experts="networks")
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    before = torch.get_rng_state()
    plasticity(net, function, states_of())
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(tensor, weights[n]) for n, tensor in net.state_dict().items())


def test_no_states() -> None:
    net, function = flat()
    with pytest.raises(ValueError, match="plasticity: expected states"):
        plasticity(net, function, {"bars": torch.zeros(0, dtype=torch.int64)})

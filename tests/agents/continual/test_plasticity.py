"""Dormant units and ranks of known matrices, and of policies whose units are switched off."""

import math

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
    weight_magnitude,
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


def test_weight_magnitude_is_a_mean_over_all_numbers() -> None:
    parameters = [torch.nn.Parameter(torch.tensor(t)) for t in ([1.0, -3.0], [2.0])]
    assert weight_magnitude(parameters) == 2.0
    assert weight_magnitude([]) == 0.0


@pytest.mark.parametrize("features", [0, FEATURES])
def test_units_of_a_flat_policy_that_are_switched_off(features: int) -> None:
    net, function = flat(features)
    found = plasticity(net, function, states_of())
    assert found["actor/dormant"] == 0.0
    with torch.no_grad():
        first, second = hidden_biases(net.actor)
        first[:3], second[0] = -1e4, -1e4
    found = plasticity(net, function, states_of())
    assert found["actor/dormant"] == pytest.approx(4 / 18)
    assert 1.0 <= found["actor/srank"] <= 7.0
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


def test_trunk_and_gate_of_options() -> None:
    net = OptionActorCritic(
        OptionNetworkConfig(encoder=SMALL, hidden=(6, 5)),
        MetaControllerConfig(),
        (LearnedOption(),) * 3,
        num_features=FEATURES,
        account_size=ACCOUNT,
        outputs=OUTPUTS,
        num_regimes=3,
        continuous=True,
        generator=seeded(),
    )
    function = OptionFunction(net, torch.randn(BARS, FEATURES, generator=seeded(1)), "mean")
    with torch.no_grad():
        wake(net.options.trunk)
        net.options.trunk.fusion.bias[:2] = -1e4
    found = plasticity(net, function, states_of())
    assert found["options.trunk/dormant"] == pytest.approx(2 / 11)
    assert found.keys() == {
        "weight_magnitude",
        *(
            f"{head}/{figure}"
            for head in ("options.trunk", "controller.gate")
            for figure in ("dormant", "effective_rank", "srank")
        ),
    }


def test_looking_changes_nothing() -> None:
    net, function = flat()
    plasticity(net, function, states_of())
    assert not net.actor.output._forward_pre_hooks
    assert all(parameter.grad is None for parameter in net.parameters())


def test_no_states() -> None:
    net, function = flat()
    with pytest.raises(ValueError, match="plasticity: expected states"):
        plasticity(net, function, {"bars": torch.zeros(0, dtype=torch.int64)})

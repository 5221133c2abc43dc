"""The recurrent unit: the library's own, with the market's share apart."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from agents.encoder import EncoderConfig
from agents.options import OptionNetwork, OptionNetworkConfig
from agents.recurrence import RecurrentUnit

SMALL = EncoderConfig(window=4, channels=3, hidden=8, embedding=6)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unit(embedding: int = 6) -> RecurrentUnit:
    made = RecurrentUnit(embedding, 4, 5, seeded())
    with torch.no_grad():
        for bias in (made.bias_ih, made.bias_hh):  # which begin at zero
            bias.normal_(generator=seeded(1))
    return made


@pytest.mark.parametrize("embedding", [0, 6])
def test_it_is_the_librarys_unit(embedding: int) -> None:
    made, rows = unit(embedding), torch.tensor([2, 0, 2, 1])
    market = torch.randn(3, embedding, generator=seeded(2))
    account, hidden = (torch.randn(4, n, generator=seeded(3 + n)) for n in (4, 5))
    plain = nn.GRUCell(embedding + 4, 5)
    plain.load_state_dict(made.state_dict())
    expected = plain(torch.cat([market[rows], account], dim=1), hidden)
    found = made.from_market_half(made.market_half(market), rows, account, hidden)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    ours = torch.autograd.grad(found.square().sum(), list(made.parameters()))
    theirs = torch.autograd.grad(expected.square().sum(), list(plain.parameters()))
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5)


def test_each_gate_begins_orthogonal_and_from_its_generator() -> None:
    made = RecurrentUnit(6, 4, 5, seeded())
    for weight in (made.weight_ih, made.weight_hh):
        for gate in torch.split(weight.detach(), 5):
            torch.testing.assert_close(gate @ gate.T, torch.eye(5), atol=1e-5, rtol=0.0)
    assert made.bias_ih.tolist() == made.bias_hh.tolist() == [0.0] * 15
    again, other = (RecurrentUnit(6, 4, 5, seeded(seed)) for seed in (0, 1))
    assert made.weight_hh.equal(again.weight_hh)
    assert not made.weight_hh.equal(other.weight_hh)


def network(**sizes: Any) -> OptionNetwork:
    return OptionNetwork(
        OptionNetworkConfig(encoder=SMALL, hidden=(8,), output_gain=1.0, **sizes),
        5,
        4,
        outputs=2,
        learned=(0, 1, 2),
        num_options=3,
        termination_bias=-1.5,
        continuous=True,
        generator=seeded(),
    )


@pytest.mark.parametrize("sizes", [{}, {"experts": "networks"}, {"linear_path": True}])
def test_every_output_depends_on_what_is_remembered(sizes: dict[str, Any]) -> None:
    net = network(recurrent=5, **sizes)
    halves = net.halves(net.encoder.encode_series(torch.randn(12, 5, generator=seeded(3))))
    assert len(halves) == 2 + bool(sizes)
    rows, account = torch.full((9,), 7), torch.zeros(9, 4)
    hidden = net.remember(halves, rows, account, torch.randn(9, 5, generator=seeded(4)))
    outputs, logits = net.from_halves(halves, rows, torch.cat([account, hidden], dim=1))
    assert outputs.shape == (9, 3, 2)
    assert float(outputs.detach().std(dim=0).min()) > 0.0
    assert float(logits.detach().std(dim=0).min()) > 0.0


def test_without_it_there_is_nothing_more() -> None:
    plain, with_it = network(), network(recurrent=5)
    assert plain.cell is None
    assert not [name for name in plain.state_dict() if name.startswith("cell.")]
    more = with_it.trunk.fusion.in_features - plain.trunk.fusion.in_features
    assert more == 5


def test_fewer_units_than_none_are_refused() -> None:
    with pytest.raises(ValidationError, match="recurrent"):
        OptionNetworkConfig(recurrent=-1)


def test_states_of_another_shape_are_refused() -> None:
    net = network(recurrent=5)
    halves = net.halves(net.encoder.encode_series(torch.zeros(12, 5)))
    with pytest.raises(ValueError, match=r"hidden: expected \(2, 5\).*, found \(2, 4\)"):
        net.remember(
            halves, torch.zeros(2, dtype=torch.int64), torch.zeros(2, 4), torch.zeros(2, 4)
        )

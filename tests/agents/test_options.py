"""Networks of options: the bank against plain networks, places of options, first outputs."""

import math
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from agents.encoder import EncoderConfig
from agents.options import (
    ExpertBank,
    LearnedOption,
    OptionConfig,
    OptionCritic,
    OptionNetwork,
    OptionNetworkConfig,
    RuleOption,
)

SMALL = EncoderConfig(window=4, channels=3, hidden=8, embedding=6)
PLACES = ((0, 1, 2), (1,), (0, 3), ())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(
    *,
    learned: tuple[int, ...] = (0, 1, 2),
    options: int | None = None,
    features: int = 0,
    continuous: bool = True,
    **sizes: Any,
) -> OptionNetwork:
    config = OptionNetworkConfig(encoder=SMALL, hidden=(8, 7), output_gain=1.0, **sizes)
    return OptionNetwork(
        config,
        features,
        4,
        outputs=2,
        learned=learned,
        num_options=options or max(3, len(learned)),
        termination_bias=-1.5,
        continuous=continuous,
        generator=seeded(),
    )


def shuffled(bank: torch.nn.Module) -> None:
    """Biases too, which begin at zero."""
    generator = seeded(5)
    with torch.no_grad():
        for parameter in bank.parameters():
            parameter.normal_(std=0.5, generator=generator)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("hidden", [(), (5,), (5, 3)])
@pytest.mark.parametrize("linear_path", [False, True])
def test_a_bank_is_the_same_function_of_halves_and_of_joined_rows(
    hidden: tuple[int, ...], outputs: int, *, linear_path: bool
) -> None:
    bank = ExpertBank(
        6,
        4,
        hidden=hidden,
        outputs=outputs,
        num_experts=3,
        linear_path=linear_path,
        output_gain=1.0,
        generator=seeded(),
    ).double()
    shuffled(bank)
    table = torch.randn(9, 6, generator=seeded(1), dtype=torch.float64, requires_grad=True)
    account = torch.randn(20, 4, generator=seeded(7), dtype=torch.float64)
    rows = torch.randint(0, 9, (20,), generator=seeded(2))
    wanted = bank.from_market_half(bank.market_half(table), rows, account)
    joined = torch.cat([table[rows], account], dim=1)
    parameters = list(bank.parameters())
    slopes = torch.autograd.grad(wanted.square().sum(), [table, *parameters], retain_graph=True)
    for given in (joined, joined.detach()):  # with and without a gradient of the inputs
        found = bank.from_joined(given)
        torch.testing.assert_close(found, wanted)
        asked = [*((table,) if given.requires_grad else ()), *parameters]
        got = torch.autograd.grad(found.square().sum(), asked, retain_graph=True)
        for left, right in zip(reversed(got), reversed(slopes), strict=False):
            torch.testing.assert_close(left, right)


@pytest.mark.parametrize("embedding", [0, 6])
@pytest.mark.parametrize("hidden", [(), (5,), (5, 3)])
@pytest.mark.parametrize("linear_path", [False, True])
def test_a_bank_is_so_many_plain_networks(
    embedding: int, hidden: tuple[int, ...], linear_path: bool
) -> None:
    bank = ExpertBank(
        embedding,
        4,
        hidden=hidden,
        outputs=2,
        num_experts=3,
        linear_path=linear_path,
        output_gain=1.0,
        generator=seeded(),
    )
    shuffled(bank)
    table, account = (
        torch.randn(9, embedding, generator=seeded(1)),
        torch.randn(20, 4, generator=seeded(7)),
    )
    rows = torch.randint(0, 9, (20,), generator=seeded(2))
    found = bank.from_market_half(bank.market_half(table), rows, account)
    joined = torch.cat([table[rows], account], dim=1)
    width = (*hidden, 2)[0]
    for expert in range(3):
        block = slice(expert * width, (expert + 1) * width)
        value = joined @ bank.fusion.weight[block].T + bank.fusion.bias[block]
        for weight, bias in zip(bank.weights, bank.biases, strict=True):
            value = torch.relu(value) @ weight[expert] + bias[expert]
        if linear_path and hidden:
            skip = slice(3 * width + expert * 2, 3 * width + (expert + 1) * 2)
            value = value + joined @ bank.fusion.weight[skip].T + bank.fusion.bias[skip]
        torch.testing.assert_close(found[:, expert], value, atol=1e-5, rtol=1e-5)


def test_the_first_weights_of_each_expert_are_orthogonal() -> None:
    bank = ExpertBank(
        0,
        6,
        hidden=(4,),
        outputs=3,
        num_experts=2,
        linear_path=False,
        output_gain=0.5,
        generator=seeded(),
    )
    first = bank.fusion.weight.view(2, 4, 6)
    for expert in range(2):
        torch.testing.assert_close(first[expert] @ first[expert].T, 2.0 * torch.eye(4))
        last = bank.weights[0][expert]
        torch.testing.assert_close(last.T @ last, 0.25 * torch.eye(3))
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("learned", PLACES)
@pytest.mark.parametrize("experts", ["heads", "networks"])
@pytest.mark.parametrize("batch", [0, 5])
def test_outputs_and_terminations_have_their_shapes(
    learned: tuple[int, ...], experts: str, batch: int
) -> None:
    net = network(learned=learned, options=4, experts=experts)
    halves = net.halves(torch.zeros(1, 0))
    rows = torch.zeros(batch, dtype=torch.int64)
    outputs, logits = net.from_halves(halves, rows, torch.randn(batch, 4, generator=seeded(7)))
    assert outputs.shape == (batch, len(learned), 2)
    assert logits.shape == (batch, 4)
    assert net.log_std.shape == (4, 2)


@pytest.mark.parametrize("learned", PLACES)
def test_options_stand_in_their_places_among_those_injected(learned: tuple[int, ...]) -> None:
    net = network(learned=learned, options=4)
    own = torch.arange(len(learned), dtype=torch.float32)[None, :, None].expand(2, -1, 2) + 100.0
    given = torch.arange(4.0)[None, :, None].expand(2, -1, 2)
    expected = [100.0 + learned.index(k) if k in learned else float(k) for k in range(4)]
    found = net.assemble(own, given)
    assert found[0, :, 0].tolist() == expected
    assert given[0, :, 0].tolist() == [0.0, 1.0, 2.0, 3.0]  # untouched


def test_a_linear_path_is_added_to_the_heads() -> None:
    net, account = network(linear_path=True), torch.randn(6, 4, generator=seeded(7))
    assert net.bank is not None
    rows, halves = torch.zeros(6, dtype=torch.int64), net.halves(torch.zeros(1, 0))
    whole, _ = net.from_halves(halves, rows, account)
    straight = account @ net.bank.fusion.weight.T
    head = net.trunk.from_market_half(halves[0], rows, account)[:, :6]
    torch.testing.assert_close(whole, (head + straight).view(6, 3, 2), atol=1e-6, rtol=1e-5)


def test_terminations_begin_at_their_bias_and_deviations_as_configured() -> None:
    net = network(log_std_init=-0.7)
    with torch.no_grad():
        net.trunk.output.weight.zero_()
    rows = torch.zeros(3, dtype=torch.int64)
    _, logits = net.from_halves(
        net.halves(torch.zeros(1, 0)), rows, torch.randn(3, 4, generator=seeded(7))
    )
    assert logits.tolist() == [[-1.5] * 3] * 3
    assert torch.equal(net.log_std, torch.full((3, 2), -0.7))
    assert net.log_std.requires_grad
    assert not network(continuous=False).log_std.requires_grad


def test_the_same_seed_gives_the_same_weights() -> None:
    ours, theirs = (network(features=5, experts="networks") for _ in range(2))
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("experts", ["heads", "networks"])
def test_market_features_reach_every_option(experts: str) -> None:
    net = network(features=5, experts=experts)
    features = torch.randn(12, 5, generator=seeded(3))
    halves = net.halves(net.encoder.encode_series(features))
    account = torch.zeros(12, 4)
    outputs, logits = net.from_halves(halves, torch.arange(12), account)
    assert float(outputs[4:].detach().std(dim=0).min()) > 0.0
    assert float(logits[4:].detach().std(dim=0).min()) > 0.0


def test_values_are_of_the_weights_before_and_of_each_option() -> None:
    config = OptionNetworkConfig(encoder=SMALL, critic_hidden=(8,))
    critic = OptionCritic(
        config, 5, 4, num_options=3, state_value=True, option_values=True, generator=seeded()
    )
    assert critic.own_encoder is not None
    embedding = critic.own_encoder.encode_series(torch.randn(12, 5, generator=seeded(1)))
    rows, account = torch.tensor([4, 4, 9]), torch.randn(3, 4, generator=seeded(2))
    account[1] = account[0]
    values = critic.state_values(embedding, rows, account, torch.eye(3))
    assert values.shape == (3,)
    assert values[0] != values[1]  # the same state under other weights
    option_values = critic.option_values(embedding, rows, account)
    assert option_values.shape == (3, 3)
    assert torch.equal(option_values[0], option_values[1])
    shared = OptionNetworkConfig(encoder=SMALL, critic_encoder="shared")
    only = OptionCritic(
        shared, 5, 4, num_options=3, state_value=False, option_values=True, generator=seeded()
    )
    assert only.own_encoder is None
    assert only.state_value is None


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"kind": "rule"}, "name"),
        ({"kind": "rule", "name": "magic"}, "name"),
        ({"kind": "rule", "name": "momentum", "window": 1}, "window"),
        ({"kind": "frozen"}, "run"),
        ({"kind": "frozen", "run": "r", "seed": -1}, "seed"),
        ({"kind": "learned", "window": 5}, "window"),
        ({"kind": "guess"}, "learned"),
    ],
)
def test_faults_of_an_option_name_their_field(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        TypeAdapter(OptionConfig).validate_python(given)


def test_options_are_told_apart_by_their_kind() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(OptionConfig)
    assert adapter.validate_python({"kind": "learned"}) == LearnedOption()
    rule = adapter.validate_python({"kind": "rule", "name": "momentum", "window": 20})
    assert rule == RuleOption(name="momentum", window=20)


@pytest.mark.parametrize(
    "sizes", [{"hidden": ()}, {"critic_hidden": (0,)}, {"output_gain": 1.5}, {"experts": "none"}]
)
def test_sizes_outside_their_range_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(sizes))):
        OptionNetworkConfig(**sizes)


def test_terminations_share_the_trunk_and_experts_do_not() -> None:
    net = network(experts="networks")
    rows, halves = torch.zeros(2, dtype=torch.int64), net.halves(torch.zeros(1, 0))
    outputs, logits = net.from_halves(halves, rows, torch.randn(2, 4, generator=seeded(4)))
    assert net.bank is not None
    trunk = list(net.trunk.parameters())
    unused = torch.autograd.grad(outputs.sum(), trunk, allow_unused=True, retain_graph=True)
    assert all(gradient is None for gradient in unused)
    used = torch.autograd.grad(logits.sum(), trunk)
    assert all(math.isfinite(float(gradient.sum())) for gradient in used)
    # The second expert's parameters do not move the first expert's outputs.
    gradient = torch.autograd.grad(outputs[:, 0].sum(), net.bank.weights[0])[0]
    assert float(gradient[0].abs().sum()) > 0.0
    assert float(gradient[1:].abs().sum()) == 0.0

"""Late fusion: folding the market's half of the first layer leaves the function unchanged."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from agents.encoder import EncoderConfig
from agents.networks import ActorCritic, FusionHead, PolicyConfig

CONFIG = PolicyConfig(encoder=EncoderConfig(window=4, channels=3, hidden=8, embedding=6))


def make(
    config: PolicyConfig = CONFIG, *, outputs: int = 3, continuous: bool = True
) -> ActorCritic:
    generator = torch.Generator().manual_seed(1)
    return ActorCritic(config, 5, 4, outputs, continuous=continuous, generator=generator)


def data(batch: int = 17) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(50, 5, generator=generator)
    bars = torch.randint(3, 50, (batch,), generator=generator)
    return features, bars, torch.randn(batch, 4, generator=generator)


def test_folded_head_equals_plain_head_with_its_gradient() -> None:
    head = FusionHead(6, 4, (8, 7), 2, output_gain=1.0, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(5)
    embedding = torch.randn(9, 6, generator=generator)
    rows = torch.randint(0, 9, (30,), generator=generator)
    account = torch.randn(30, 4, generator=generator)
    plain = head(embedding[rows], account)
    folded = head.from_market_half(head.market_half(embedding), rows, account)
    torch.testing.assert_close(folded, plain, atol=1e-6, rtol=1e-6)
    gradients = [
        torch.autograd.grad(y.square().mean(), list(head.parameters())) for y in (plain, folded)
    ]
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_golden_by_hand() -> None:
    head = FusionHead(1, 1, (1,), 1, output_gain=1.0, generator=torch.Generator())
    with torch.no_grad():
        head.fusion.weight.copy_(torch.tensor([[2.0, 3.0]]))
        head.fusion.bias.fill_(1.0)
        head.output.weight.fill_(5.0)
        head.output.bias.fill_(-1.0)
    # relu(2 * 4 + 3 * (-1) + 1) * 5 - 1 = 29; relu(2 * 0 + 3 * (-1) + 1) * 5 - 1 = -1
    output = head(torch.tensor([[4.0], [0.0]]), torch.tensor([[-1.0], [-1.0]]))
    assert output.tolist() == [[29.0], [-1.0]]


def test_index_and_window_observations_agree() -> None:
    net, (features, bars, account) = make(), data()
    windows = torch.stack([features[bar - 3 : bar + 1] for bar in bars])
    torch.testing.assert_close(
        net.act(features, bars, account), net.act_windows(windows, account), atol=1e-6, rtol=1e-6
    )
    torch.testing.assert_close(
        net.value(features, bars, account),
        net.value_windows(windows, account),
        atol=1e-6,
        rtol=1e-6,
    )


def test_first_actions_are_near_the_middle() -> None:
    output = make(outputs=5).act(*data(200))
    assert output.abs().max() < 0.1
    equal = torch.softmax(output, dim=1)
    torch.testing.assert_close(equal, torch.full_like(equal, 0.2), atol=0.02, rtol=0.0)


def test_own_encoders_share_no_parameter() -> None:
    net = make()
    actor, critic = net.actor_parameters(), net.critic_parameters()
    assert not {id(p) for p in actor} & {id(p) for p in critic}
    assert {id(p) for p in (*actor, *critic)} == {id(p) for p in net.parameters()}
    assert net.critic_encoder is not net.encoder


def test_shared_encoder_belongs_to_the_actor() -> None:
    net = make(PolicyConfig(encoder=CONFIG.encoder, critic_encoder="shared"))
    assert net.critic_encoder is net.encoder
    names = {id(p): name for name, p in net.named_parameters()}
    assert {names[id(p)].split(".")[0] for p in net.critic_parameters()} == {"critic"}


def test_discrete_actor_has_no_trained_deviation() -> None:
    net = make(continuous=False)
    assert not net.log_std.requires_grad
    assert all(p is not net.log_std for p in net.actor_parameters())


def test_log_std_starts_where_configured() -> None:
    assert make(PolicyConfig(log_std_init=-1.5)).log_std.tolist() == [-1.5] * 3


@pytest.mark.parametrize(
    ("change", "path"),
    [({"hidden": ()}, "hidden"), ({"log_std_init": 9.0}, "log_std_init"), ({"depth": 3}, "depth")],
)
def test_bad_configuration_names_the_field(change: dict[str, Any], path: str) -> None:
    with pytest.raises(ValidationError, match=path):
        PolicyConfig(**change)


def test_without_market_features_a_head_is_the_plain_network_over_the_account() -> None:
    net = ActorCritic(CONFIG, 0, 4, 3, generator=torch.Generator().manual_seed(1))
    nothing, (_, bars, account) = torch.zeros(0, 0), data()
    assert net.actor.fusion.in_features == net.critic.fusion.in_features == 4
    assert {name.split(".")[0] for name, _ in net.named_parameters()} == {
        *("actor", "critic", "log_std")
    }
    plain = net.actor(torch.zeros(17, 0), account)
    for seen in (bars, bars + 10**9):
        torch.testing.assert_close(net.act(nothing, seen, account), plain)
    windows = torch.zeros(17, 4, 0)
    torch.testing.assert_close(net.act_windows(windows, account), plain)
    torch.testing.assert_close(
        net.value(nothing, bars, account), net.value_windows(windows, account)
    )

"""A trained network as a policy for backtests."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.encoder import EncoderConfig, MarketEncoder
from agents.networks import ActorCritic, PolicyConfig
from agents.policy import TorchPolicy

CONFIG = PolicyConfig(
    encoder=EncoderConfig(window=4, channels=3, hidden=8, embedding=6), output_gain=1.0
)


def make(*, discrete: bool = False) -> tuple[ActorCritic, NDArray[np.float32], TorchPolicy]:
    generator = torch.Generator().manual_seed(1)
    net = ActorCritic(CONFIG, 5, 4, 3, continuous=not discrete, generator=generator)
    features = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    if discrete:
        return net, features, TorchPolicy(net, features)
    bound = np.full(3, 0.1, np.float32)
    return net, features, TorchPolicy(net, features, low=-bound, high=bound)


def observations(batch: int) -> NDArray[np.float32]:
    random = np.random.default_rng(1)
    bars = random.integers(0, 60, (batch, 1))
    return np.hstack([bars, random.normal(size=(batch, 4))]).astype(np.float32)


def test_batch_equals_single() -> None:
    policy, rows = make()[2], observations(50)
    policy.reset(50)
    batch = policy.act(rows)
    single = np.vstack([policy.act(row[None]) for row in rows])
    assert batch.shape == (50, 3)
    np.testing.assert_allclose(batch, single, atol=1e-6)


def test_is_the_clipped_mean_of_the_network() -> None:
    net, features, policy = make()
    rows = observations(20)
    mean = net.act(
        torch.tensor(features), torch.tensor(rows[:, 0]).long(), torch.tensor(rows[:, 1:])
    )
    expected = np.clip(mean.detach().numpy(), -0.1, 0.1)
    assert (np.abs(mean.detach().numpy()) > 0.1).any()
    np.testing.assert_allclose(policy.act(rows), expected, atol=1e-6)


def test_discrete_takes_the_likeliest() -> None:
    net, features, policy = make(discrete=True)
    rows = observations(20)
    logits = net.act(
        torch.tensor(features), torch.tensor(rows[:, 0]).long(), torch.tensor(rows[:, 1:])
    )
    assert policy.act(rows)[:, 0].tolist() == logits.argmax(dim=1).tolist()


def test_later_training_does_not_move_it() -> None:
    net, _, policy = make()
    rows = observations(10)
    before = policy.act(rows)
    assert isinstance(net.encoder, MarketEncoder)
    with torch.no_grad():
        net.encoder.embed.weight.add_(1.0)
    np.testing.assert_array_equal(policy.act(rows), before)


def test_refuses_what_does_not_fit() -> None:
    net, features, policy = make()
    with pytest.raises(ValueError, match=r"expected \(T, 5\).*found \(60, 4\)"):
        TorchPolicy(net, features[:, :4])
    with pytest.raises(ValueError, match="expected both or neither"):
        TorchPolicy(net, features, low=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"expected \(N, 5\)"):
        policy.act(observations(3)[:, :4])
    with pytest.raises(ValueError, match=r"expected bars 0 \.\. 59, found 99"):
        policy.act(np.array([[99, 0, 0, 0, 0]], np.float32))

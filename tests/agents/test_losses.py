"""PPO's losses: by hand, and against torch.distributions."""

import math
from typing import Any

import pytest
import torch
from torch.distributions import Categorical, Normal

from agents.losses import (
    approximate_kl,
    categorical_entropy,
    categorical_log_prob,
    clip_fraction,
    clipped_surrogate,
    explained_variance,
    gaussian_entropy,
    gaussian_log_prob,
    squared_value_error,
    standardised,
)


def test_clipped_surrogate_by_hand() -> None:
    # ratios 1.5, 1.5, 0.5, 0.5 with clip 0.2; advantages 1, -1, 1, -1:
    # min(1.5, 1.2) = 1.2; min(-1.5, -1.2) = -1.5; min(.5, .8) = .5; min(-.5, -.8) = -.8; mean -.15
    log_ratio = torch.tensor([1.5, 1.5, 0.5, 0.5]).log()
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0])
    assert clipped_surrogate(log_ratio, advantages, 0.2).item() == pytest.approx(0.15, abs=1e-6)


def test_surrogate_at_the_old_policy_is_the_policy_gradient() -> None:
    log_ratio = torch.zeros(3, requires_grad=True)
    advantages = torch.tensor([1.0, -2.0, 3.0])
    torch.autograd.backward(clipped_surrogate(log_ratio, advantages, 0.2))
    torch.testing.assert_close(log_ratio.grad, -advantages / 3)


@pytest.mark.parametrize(("ratio", "advantage"), [(1.3, 1.0), (0.7, -1.0)])
def test_surrogate_stops_pushing_outside_the_clip(ratio: float, advantage: float) -> None:
    log_ratio = torch.tensor([math.log(ratio)], requires_grad=True)
    torch.autograd.backward(clipped_surrogate(log_ratio, torch.tensor([advantage]), 0.2))
    assert log_ratio.grad is not None
    assert log_ratio.grad.item() == 0.0


def test_gaussian_by_hand_and_against_torch() -> None:
    # one dimension, mean 0, sigma 1: log p(0) = -log(2 pi) / 2
    zero = torch.zeros(1, 1)
    assert gaussian_log_prob(zero, zero, torch.zeros(1)).item() == pytest.approx(-0.9189385)
    generator = torch.Generator().manual_seed(0)
    actions, mean = torch.randn(2, 7, 3, generator=generator)
    log_std = torch.tensor([-1.0, 0.0, 0.5])
    reference: Any = Normal(mean, log_std.exp())
    expected = reference.log_prob(actions).sum(dim=1)
    torch.testing.assert_close(gaussian_log_prob(actions, mean, log_std), expected)
    torch.testing.assert_close(gaussian_entropy(log_std), reference.entropy().sum(dim=1)[0])


def test_categorical_by_hand_and_against_torch() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]])  # probabilities 1/4, 3/4
    assert categorical_log_prob(torch.tensor([1]), logits).exp().item() == pytest.approx(0.75)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 4, generator=generator)
    actions = torch.randint(0, 4, (9,), generator=generator)
    reference: Any = Categorical(logits=logits)
    torch.testing.assert_close(categorical_log_prob(actions, logits), reference.log_prob(actions))
    torch.testing.assert_close(categorical_entropy(logits), reference.entropy())


def test_value_error_by_hand() -> None:
    error = squared_value_error(torch.tensor([1.0, 4.0]), torch.tensor([3.0, 3.0]))
    assert error.item() == 2.5


def test_kl_estimate_converges_to_the_exact_divergence() -> None:
    # KL(N(0,1) || N(m,1)) = m^2 / 2, estimated from samples of the old policy
    shift = 0.3
    samples = torch.randn(400_000, 1, generator=torch.Generator().manual_seed(0))
    zero, log_std = torch.zeros_like(samples), torch.zeros(1)
    log_ratio = gaussian_log_prob(samples, zero + shift, log_std) - gaussian_log_prob(
        samples, zero, log_std
    )
    assert approximate_kl(log_ratio).item() == pytest.approx(shift**2 / 2, rel=0.02)
    assert approximate_kl(torch.zeros(5)).item() == 0.0


def test_clip_fraction_by_hand() -> None:
    assert clip_fraction(torch.tensor([1.0, 1.3, 0.7, 1.1]).log(), 0.2).item() == 0.5


def test_standardised() -> None:
    result = standardised(torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(result, torch.tensor([-1.0, 0.0, 1.0]), atol=1e-6, rtol=0.0)
    assert standardised(torch.tensor([5.0])).tolist() == [5.0]


def test_explained_variance() -> None:
    returns = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert explained_variance(returns, returns).item() == 1.0
    assert explained_variance(torch.full((4,), 9.0), returns).item() == 0.0
    assert explained_variance(returns, torch.ones(4)).isnan()

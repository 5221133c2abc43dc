"""Terms of the loss that keep options apart: by hand, by quadrature, by finite differences."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.option_losses import (
    balance_loss,
    squared_hellinger,
    squared_hellinger_categorical,
    usage_entropy,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_balance_by_hand() -> None:
    # Two states committed to one option each are balanced: it is the batch that counts.
    assert float(balance_loss(torch.eye(2))) == pytest.approx(0.0, abs=1e-7)
    # Usage (3/4, 1/4): 3/4 log(3/2) + 1/4 log(1/2).
    uneven = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(balance_loss(uneven)) == pytest.approx(expected, abs=1e-6)
    # One option takes all of four: log 4.
    alone = torch.zeros(5, 4)
    alone[:, 2] = 1.0
    assert float(balance_loss(alone)) == pytest.approx(math.log(4.0), abs=1e-6)
    assert float(balance_loss(torch.ones(5, 1))) == 0.0


def test_usage_entropy_by_hand() -> None:
    assert float(usage_entropy(torch.full((4,), 0.25))) == pytest.approx(1.0)
    assert float(usage_entropy(torch.tensor([1.0, 0.0]))) == 0.0
    # (1/2, 1/4, 1/4): 1.5 log 2 over log 3.
    found = float(usage_entropy(torch.tensor([0.5, 0.25, 0.25])))
    assert found == pytest.approx(1.5 * math.log(2.0) / math.log(3.0))
    assert float(usage_entropy(torch.ones(1))) == 1.0


def test_balance_is_the_entropy_that_is_missing() -> None:
    weights = torch.softmax(noise(50, 5), dim=1)
    missing = math.log(5.0) * (1.0 - usage_entropy(weights.mean(dim=0)))
    torch.testing.assert_close(balance_loss(weights), missing)


def test_hellinger_of_gaussians_is_its_integral() -> None:
    # H^2 = 1/2 int (sqrt p - sqrt q)^2, by quadrature in one dimension.
    mean, log_std = (0.3, -0.9), (-0.5, 0.4)
    grid, step = np.linspace(-15.0, 15.0, 60_001, retstep=True)
    density = [
        np.exp(-0.5 * ((grid - m) / math.exp(s)) ** 2) / (math.exp(s) * math.sqrt(2.0 * math.pi))
        for m, s in zip(mean, log_std, strict=True)
    ]
    expected = 0.5 * float(((np.sqrt(density[0]) - np.sqrt(density[1])) ** 2).sum()) * step
    found = squared_hellinger(
        torch.tensor(mean, dtype=torch.float64)[None, :, None],
        torch.tensor(log_std, dtype=torch.float64)[:, None],
    )
    assert found.shape == (1, 1)
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_hellinger_multiplies_over_dimensions_and_lists_each_pair_once() -> None:
    mean, log_std = noise(7, 3, 2), noise(3, 2, seed=1)
    whole = squared_hellinger(mean, log_std)
    apart = [squared_hellinger(mean[..., d : d + 1], log_std[:, d : d + 1]) for d in range(2)]
    torch.testing.assert_close(1.0 - whole, (1.0 - apart[0]) * (1.0 - apart[1]))
    # Pairs (0, 1), (0, 2), (1, 2).
    torch.testing.assert_close(whole[:, 1:2], squared_hellinger(mean[:, [0, 2]], log_std[[0, 2]]))


def test_categorical_hellinger_by_hand() -> None:
    # p = (1/2, 1/2), q = (1, 0) in effect: 1 - sqrt(1/2); of itself 0; of strangers 1.
    logits = torch.tensor([[[0.0, 0.0], [40.0, -40.0], [-40.0, 40.0]]])
    found = squared_hellinger_categorical(logits)[0].tolist()
    assert found == pytest.approx([1.0 - math.sqrt(0.5), 1.0 - math.sqrt(0.5), 1.0], abs=1e-6)
    same = squared_hellinger_categorical(noise(4, 1, 3).expand(4, 2, 3))
    assert float(same.abs().max()) < 1e-12


def test_certain_actions_have_a_finite_slope() -> None:
    # The probability of the second action underflows in single precision.
    logits = torch.tensor([[[200.0, 0.0], [0.0, 0.0]]], requires_grad=True)
    (slope,) = torch.autograd.grad(squared_hellinger_categorical(logits).sum(), logits)
    assert torch.isfinite(slope).all()


@given(st.integers(0, 10_000), st.floats(0.01, 100.0))
def test_distances_are_within_bounds_and_symmetric(seed: int, scale: float) -> None:
    mean, log_std = scale * noise(3, 2, 4, seed=seed), noise(2, 4, seed=seed + 1)
    for found, turned in (
        (squared_hellinger(mean, log_std), squared_hellinger(mean.flip(1), log_std.flip(0))),
        (squared_hellinger_categorical(mean), squared_hellinger_categorical(mean.flip(1))),
    ):
        assert float(found.min()) >= -1e-12
        assert float(found.max()) <= 1.0 + 1e-12
        torch.testing.assert_close(found, turned)


def test_gradients_agree_with_finite_differences() -> None:
    logits = noise(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: balance_loss(torch.softmax(x, dim=1)), logits)
    mean, log_std = noise(3, 3, 2).requires_grad_(), noise(3, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(squared_hellinger, (mean, log_std))
    assert torch.autograd.gradcheck(squared_hellinger_categorical, noise(3, 3, 4).requires_grad_())

"""Blends of options: what each kind means, identities, slopes."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.blending import BlendKind, blend, choose, mix

KINDS: tuple[BlendKind, ...] = get_args(BlendKind)
MIXTURES: tuple[BlendKind, ...] = ("simplex", "categorical")
sizes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(0, 10_000))


def drawn(size: tuple[int, int, int, int], scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    batch, options, outputs, seed = size
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(batch, options, outputs, generator=generator, dtype=torch.float64)
    logits = torch.randn(batch, options, generator=generator, dtype=torch.float64)
    return scale * values, torch.softmax(2.0 * logits, dim=1)


def test_golden_by_hand() -> None:
    outputs = torch.tensor([[[1.0, -2.0], [3.0, 4.0]]])
    weights = torch.tensor([[0.25, 0.75]])
    # 1/4 (1, -2) + 3/4 (3, 4) = (2.5, 2.5)
    assert blend(outputs, weights, "mean").tolist() == [[2.5, 2.5]]
    # Probabilities (1/2, 1/2) and (3/4, 1/4): mixed (11/16, 5/16). Levels log 2 and log 4.
    logits = torch.tensor([[[0.0, 0.0], [math.log(3.0), 0.0]]], dtype=torch.float64)
    level = 0.25 * math.log(2.0) + 0.75 * math.log(4.0)
    expected = [math.log(11 / 16) + level, math.log(5 / 16) + level]
    for kind in MIXTURES:
        found = blend(logits, weights.double(), kind)[0].tolist()
        assert found == pytest.approx(expected, abs=1e-12)


@given(sizes, st.floats(0.1, 20.0))
def test_mixtures_mix_probabilities(size: tuple[int, int, int, int], scale: float) -> None:
    outputs, weights = drawn(size, scale)
    for kind in MIXTURES:
        found = torch.softmax(blend(outputs, weights, kind), dim=1)
        expected = (weights[..., None] * torch.softmax(outputs, dim=2)).sum(dim=1)
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)
        torch.testing.assert_close(found.sum(dim=1), torch.ones(size[0], dtype=torch.float64))


@given(sizes, st.sampled_from(KINDS))
def test_an_option_with_all_the_weight_is_left_as_it_is(
    size: tuple[int, int, int, int], kind: BlendKind
) -> None:
    outputs, _ = drawn(size, 5.0)
    option = torch.arange(size[0]) % size[1]
    alone = torch.nn.functional.one_hot(option, size[1]).double()
    torch.testing.assert_close(
        blend(outputs, alone, kind), choose(outputs, option), atol=1e-9, rtol=0.0
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_option_is_the_flat_agent_to_the_bit(kind: BlendKind) -> None:
    # Also where logits lie so far apart that a probability underflows, and weights are rounded.
    outputs = torch.tensor([[[300.0, 0.0, -300.0]], [[0.1, 0.2, 0.3]]])
    weights = torch.tensor([[1.0], [1.0 - 2.0**-24]])
    assert torch.equal(blend(outputs, weights, kind), outputs[:, 0])


@given(sizes, st.sampled_from(KINDS))
def test_options_that_agree_blend_to_what_they_agree_on(
    size: tuple[int, int, int, int], kind: BlendKind
) -> None:
    outputs, weights = drawn(size, 3.0)
    same = outputs[:, :1].expand_as(outputs)
    torch.testing.assert_close(blend(same, weights, kind), outputs[:, 0], atol=1e-9, rtol=0.0)


@pytest.mark.parametrize("kind", MIXTURES)
def test_unlikely_actions_keep_their_order_in_single_precision(kind: BlendKind) -> None:
    # Probabilities e^-30 and e^-40: both far below what is needed to act, neither forgotten.
    outputs = torch.tensor([[[0.0, -30.0, -40.0], [0.0, -30.0, -40.0]]])
    found = blend(outputs, torch.tensor([[0.5, 0.5]]), kind)[0]
    assert found.tolist() == pytest.approx([0.0, -30.0, -40.0], abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_extremes_stay_finite_with_their_slopes(kind: BlendKind, scale: float) -> None:
    outputs, weights = drawn((4, 3, 5, 1), scale)
    outputs, weights = outputs.float().requires_grad_(), weights.float().requires_grad_()
    found = blend(outputs, weights, kind)
    slopes = torch.autograd.grad(found.square().mean(), (outputs, weights))
    for tensor in (found, *slopes):
        assert torch.isfinite(tensor).all()


@pytest.mark.parametrize("kind", KINDS)
def test_slopes_agree_with_finite_differences(kind: BlendKind) -> None:
    outputs, weights = drawn((3, 3, 4, 0))
    outputs, logits = outputs.requires_grad_(), weights.log().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, g: blend(x, torch.softmax(g, dim=1), kind), (outputs, logits)
    )


def test_rows_are_their_own() -> None:
    outputs, weights = drawn((4, 3, 2, 9))
    torch.testing.assert_close(mix(outputs, weights)[2:3], mix(outputs[2:3], weights[2:3]))
    option = torch.tensor([2, 0, 1, 1])
    expected = torch.stack([outputs[row, option[row]] for row in range(4)])
    assert torch.equal(choose(outputs, option), expected)

"""The law of an action against torch's own distributions and full enumeration."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from agents.continual.law import ActionLaw, Draw
from tests.agents.continual.policies import seeded

ROWS, ALTERNATIVES, OUTPUTS = 6, 3, 2


def law_of(
    seed: int, *, discrete: bool = False, alternatives: int = ALTERNATIVES, own: bool = True
) -> ActionLaw:
    """With `own` every state has deviations of its own."""
    generator = seeded(seed)
    shape = (ROWS, alternatives, OUTPUTS)
    deviation = 0.4 * torch.randn(shape if own else shape[1:], generator=generator)
    return ActionLaw(
        torch.softmax(torch.randn(ROWS, alternatives, generator=generator), dim=1),
        torch.randn(shape, generator=generator),
        None if discrete else deviation if own else deviation[None],
    )


def gaussian(law: ActionLaw) -> Any:
    assert law.log_std_BOD is not None
    return Independent(Normal(law.output_BOD, law.log_std_BOD.exp().expand_as(law.output_BOD)), 1)


@pytest.mark.parametrize("own", [True, False])
def test_log_probability_of_gaussian_actions(own: bool) -> None:
    law = law_of(0, own=own)
    draw = law.draw(seeded(1))
    each_BO = gaussian(law).log_prob(draw.action_BD[:, None, :].expand_as(law.output_BOD))
    expected = law.choice_BO[torch.arange(ROWS), draw.alternative_B].log()
    expected = expected + each_BO[torch.arange(ROWS), draw.alternative_B]
    torch.testing.assert_close(law.log_prob(draw), expected)


def test_log_probability_of_discrete_actions_is_a_distribution() -> None:
    law = law_of(0, discrete=True)
    total_B = torch.zeros(ROWS)
    for alternative, action in itertools.product(range(ALTERNATIVES), range(OUTPUTS)):
        draw = Draw(torch.full((ROWS,), alternative), torch.full((ROWS, 1), float(action)))
        expected_B = law.choice_BO[:, alternative].log()
        expected_B = expected_B + torch.log_softmax(law.output_BOD[:, alternative], 1)[:, action]
        torch.testing.assert_close(law.log_prob(draw), expected_B)
        total_B += law.log_prob(draw).exp()
    torch.testing.assert_close(total_B, torch.ones(ROWS))


def repeated(law: ActionLaw, times: int) -> ActionLaw:
    """The law of the first state, many times."""
    deviation = law.log_std_BOD
    return ActionLaw(
        law.choice_BO[:1].expand(times, -1),
        law.output_BOD[:1].expand(times, -1, -1),
        None if deviation is None else deviation[:1].expand(times, -1, -1),
    )


def test_draws_follow_the_law() -> None:
    law = law_of(2)
    draw = repeated(law, 40_000).draw(seeded(3))
    counts = torch.bincount(draw.alternative_B, minlength=ALTERNATIVES) / 40_000
    torch.testing.assert_close(counts, law.choice_BO[0], atol=0.01, rtol=0.0)
    assert law.log_std_BOD is not None
    for alternative in range(ALTERNATIVES):
        actions = draw.action_BD[draw.alternative_B == alternative]
        mean, std = law.output_BOD[0, alternative], law.log_std_BOD[0, alternative].exp()
        scaled = (actions - mean) / std
        torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(2), atol=0.05, rtol=0.0)
        torch.testing.assert_close(scaled.std(dim=0), torch.ones(2), atol=0.05, rtol=0.0)


def test_discrete_draws_follow_the_law() -> None:
    law = law_of(2, discrete=True)
    draw = repeated(law, 40_000).draw(seeded(3))
    assert draw.action_BD.shape == (40_000, 1)
    assert draw.action_BD.dtype == torch.float32
    joint = law.choice_BO[0][:, None] * torch.softmax(law.output_BOD[0], dim=1)
    pairs = draw.alternative_B * OUTPUTS + draw.action_BD[:, 0].long()
    counts = torch.bincount(pairs, minlength=ALTERNATIVES * OUTPUTS) / 40_000
    torch.testing.assert_close(counts, joint.flatten(), atol=0.01, rtol=0.0)


@pytest.mark.parametrize("discrete", [True, False])
def test_draws_are_the_generators(discrete: bool) -> None:
    law = law_of(0, discrete=discrete)
    first, again, other = (law.draw(seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.action_BD, again.action_BD)
    assert torch.equal(first.alternative_B, again.alternative_B)
    assert not torch.equal(first.action_BD, other.action_BD)


def test_divergence_of_one_alternative_is_that_of_gaussians() -> None:
    one, other = (law_of(seed, alternatives=1) for seed in (0, 1))
    expected = kl_divergence(gaussian(one), gaussian(other)).squeeze(1)
    torch.testing.assert_close(one.divergence(other), expected)


def test_divergence_of_several_is_of_option_and_action() -> None:
    one, other = law_of(0), law_of(1)
    choices = kl_divergence(Categorical(one.choice_BO), Categorical(other.choice_BO))
    actions = (one.choice_BO * kl_divergence(gaussian(one), gaussian(other))).sum(dim=1)
    torch.testing.assert_close(one.divergence(other), choices + actions)


def test_divergence_of_discrete_actions_by_enumeration() -> None:
    one, other = law_of(0, discrete=True), law_of(1, discrete=True)

    def joint(law: ActionLaw) -> Tensor:
        return law.choice_BO[..., None] * torch.softmax(law.output_BOD, dim=2)

    expected = (joint(one) * (joint(one) / joint(other)).log()).sum(dim=(1, 2))
    torch.testing.assert_close(one.divergence(other), expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000), st.booleans())
def test_divergence_is_never_negative_and_zero_from_itself(
    one: int, other: int, discrete: bool
) -> None:
    first, second = law_of(one, discrete=discrete), law_of(other, discrete=discrete)
    assert bool((first.divergence(second) >= -1e-5).all())
    torch.testing.assert_close(first.divergence(first), torch.zeros(ROWS), atol=1e-6, rtol=0.0)


def test_alternatives_that_never_act_do_no_harm() -> None:
    choice = torch.tensor([[1.0, 0.0, 0.0]]).repeat(ROWS, 1).requires_grad_()
    law = law_of(0)
    one = ActionLaw(choice, law.output_BOD, law.log_std_BOD)
    draw = one.draw(seeded())
    assert draw.alternative_B.tolist() == [0] * ROWS
    (one.log_prob(draw) + one.divergence(one.detached())).sum().backward()  # type: ignore[no-untyped-call]
    assert choice.grad is not None
    assert bool(torch.isfinite(choice.grad).all())


def test_what_is_detached_has_the_same_numbers_and_no_past() -> None:
    made = law_of(0)
    law = ActionLaw(
        made.choice_BO.clone().requires_grad_(),
        made.output_BOD.clone().requires_grad_(),
        None if made.log_std_BOD is None else made.log_std_BOD.clone().requires_grad_(),
    )
    cut = law.detached()
    assert torch.equal(cut.output_BOD, law.output_BOD)
    assert cut.log_std_BOD is not None
    assert not any(
        tensor.requires_grad for tensor in (cut.choice_BO, cut.output_BOD, cut.log_std_BOD)
    )
    assert law_of(0, discrete=True).detached().log_std_BOD is None

"""The chain of options and its mean field: simplex, bound on a step, marginals, failures."""

import itertools

import pytest
import torch
from beartype import beartype
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError, jaxtyped
from torch import Tensor

from meta_controller.chain import draw_option, ending, propagate, total_variation, without

seeds = st.integers(0, 100_000)
counts = st.integers(1, 6)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def simplex(seed: int, *shape: int, spread: float = 2.0) -> Tensor:
    logits = torch.randn(*shape, generator=generator(seed), dtype=torch.float64)
    return torch.softmax(spread * logits, dim=-1)


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator(seed), dtype=torch.float64)


def test_golden_by_hand() -> None:
    # w' = (1/2, 1/2), beta = (1/2, 0): B = 1/4; w = (1/4 + 1/4 * 1/4, 1/2 + 1/4 * 3/4).
    previous, beta = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.5, 0.0]])
    proposal = torch.tensor([[0.25, 0.75]])
    assert ending(previous, beta).tolist() == [0.25]
    assert propagate(previous, beta, proposal).tolist() == [[0.3125, 0.6875]]
    moved = propagate(previous, beta, proposal)
    assert total_variation(moved, previous).tolist() == [0.1875]  # of at most B = 0.25


@given(seeds, counts, st.floats(0.01, 1.0), st.booleans())
def test_a_step_stays_on_the_simplex_and_moves_by_no_more_than_what_ends(
    seed: int, options: int, beta_max: float, single: bool
) -> None:
    previous, proposal = simplex(seed, 7, options), simplex(seed + 1, 7, options, spread=20.0)
    beta, tolerance = beta_max * uniform(seed + 2, 7, options), 1e-12
    if single:
        previous, proposal, beta = previous.float(), proposal.float(), beta.float()
        tolerance = 1e-6
    weights = propagate(previous, beta, proposal)
    assert float(weights.min()) >= 0.0
    assert float((weights.sum(dim=1) - 1.0).abs().max()) <= tolerance
    ended = ending(previous, beta)
    assert bool((total_variation(weights, previous) <= ended + tolerance).all())
    assert float(ended.max()) <= beta_max + tolerance


@given(seeds, counts)
def test_from_an_option_held_it_is_call_and_return(seed: int, options: int) -> None:
    beta, proposal = uniform(seed, 1, options), simplex(seed + 1, 1, options)
    for held in range(options):
        before = torch.eye(options, dtype=torch.float64)[held : held + 1]
        expected = [
            (1.0 - float(beta[0, held])) * (held == option)
            + float(beta[0, held]) * float(proposal[0, option])
            for option in range(options)
        ]
        assert propagate(before, beta, proposal)[0].tolist() == pytest.approx(expected, abs=1e-12)


@given(seeds, st.integers(1, 3))
def test_the_mean_over_the_sampled_chain_is_the_blend(seed: int, options: int) -> None:
    # Every path of options over four bars, by its probability under call-and-return: the mean of
    # what the last option does is the blended mean, whatever the terminations.
    steps = 4
    start = simplex(seed, options)
    betas, proposals = uniform(seed + 1, steps, options), simplex(seed + 2, steps, options)
    outputs = torch.randn(options, generator=generator(seed + 3), dtype=torch.float64)
    blended = start[None]
    for beta, proposal in zip(betas, proposals, strict=True):
        blended = propagate(blended, beta[None], proposal[None])
    mean = 0.0
    for path in itertools.product(range(options), repeat=steps + 1):
        chance = float(start[path[0]])
        for step, (before, after) in enumerate(itertools.pairwise(path)):
            stays = (1.0 - float(betas[step, before])) * (before == after)
            chance *= stays + float(betas[step, before] * proposals[step, after])
        mean += chance * float(outputs[path[-1]])
    assert mean == pytest.approx(float(blended[0] @ outputs), abs=1e-10)


def test_sampled_chains_have_the_blends_frequencies() -> None:
    samples, options, steps = 200_000, 3, 5
    weights = torch.tensor([[0.2, 0.5, 0.3]])
    noise = torch.rand(steps + 1, samples, generator=generator(1))
    held = torch.eye(options)[draw_option(weights.expand(samples, -1), noise[0])]
    for step in range(steps):
        beta = uniform(step, 1, options).float()
        proposal = simplex(10 + step, 1, options).float()
        weights = propagate(weights, beta, proposal)
        chance = propagate(held, beta.expand_as(held), proposal.expand_as(held))
        held = torch.eye(options)[draw_option(chance, noise[step + 1])]
    error = (weights[0] * (1.0 - weights[0]) / samples).sqrt()
    assert bool(((held.mean(dim=0) - weights[0]).abs() < 4.0 * error).all())


def test_rounding_does_not_add_up_over_an_episode() -> None:
    previous = simplex(0, 16, 8).float()
    beta, proposal = 0.01 * uniform(1, 16, 8).float(), simplex(2, 16, 8).float()
    weights = previous
    for _ in range(8_000):
        weights = propagate(weights, beta, proposal)
    assert float((weights.sum(dim=1) - 1.0).abs().max()) < 1e-6
    assert float(weights.min()) >= 0.0


def test_what_never_ends_stays_and_what_always_ends_is_proposed_anew() -> None:
    previous, proposal = simplex(3, 5, 4), simplex(4, 5, 4)
    same = propagate(previous, torch.zeros(5, 4).double(), proposal)
    torch.testing.assert_close(same, previous)
    anew = propagate(previous, torch.ones(5, 4).double(), proposal)
    torch.testing.assert_close(anew, proposal)


def test_slopes_agree_with_finite_differences() -> None:
    previous = simplex(5, 4, 3)
    beta = uniform(6, 4, 3).requires_grad_()
    proposal = simplex(7, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda b, p: propagate(previous, b, p), (beta, proposal))
    # On the simplex: d w(k) / d beta_j = w'(j) (pi(k) - 1{j = k}).
    slope = torch.autograd.grad(propagate(previous, beta, proposal)[:, 0].sum(), beta)[0]
    expected = previous * (proposal[:, :1] - torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(slope, expected)


@given(seeds, counts, st.sampled_from([1.0, 1e-10, 1e-25, 0.0]))
def test_failed_options_hand_their_weight_to_the_others(
    seed: int, options: int, scale: float
) -> None:
    weights = simplex(seed, 9, options).float()
    fallback = simplex(seed + 1, 9, options).float()
    fallback[:, 1:] *= scale
    failed = torch.rand(9, options, generator=generator(seed)) < 0.5
    found = without(weights, failed, fallback)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(9))
    assert float(found.min()) >= 0.0
    gone = failed.all(dim=1)
    assert bool((found[~gone][failed[~gone]] == 0.0).all())
    assert bool((found >= weights)[~failed].all())
    assert torch.equal(found[gone], weights[gone])
    assert torch.equal(without(weights, torch.zeros_like(failed), fallback), weights)


def test_weight_goes_in_proportion_to_the_fallback_or_evenly() -> None:
    weights = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])
    failed = torch.tensor([[True, False, False], [True, False, False]])
    fallback = torch.tensor([[0.0, 0.75, 0.25], [1.0, 0.0, 0.0]])
    # 1/2 is shared 3 : 1, and evenly where the fallback knows none of the others.
    expected = [[0.0, 0.625, 0.375], [0.0, 0.5, 0.5]]
    assert without(weights, failed, fallback).tolist() == expected


@given(seeds, counts)
def test_an_option_of_probability_zero_is_never_drawn(seed: int, options: int) -> None:
    chance = simplex(seed, 50, options, spread=3.0).float()
    chance = chance * (torch.rand(50, options, generator=generator(seed)) < 0.6)
    possible = chance.sum(dim=1) > 0.0
    largest = 1.0 - 2.0**-24  # of what a generator draws in single precision
    for noise in (0.0, 0.5, largest):
        option = draw_option(chance, torch.full((50,), noise))
        assert bool((chance[torch.arange(50), option] > 0.0)[possible].all())
        assert bool(((option >= 0) & (option < options)).all())


def test_options_are_drawn_as_often_as_they_should_be() -> None:
    samples, chance = 100_000, torch.tensor([0.05, 0.0, 0.7, 0.25])
    noise = torch.rand(samples, generator=generator(0))
    option = draw_option(chance.expand(samples, -1), noise)
    found = torch.bincount(option, minlength=4) / samples
    error = (chance * (1.0 - chance) / samples).sqrt()
    assert bool(((found - chance).abs() <= 4.0 * error).all())


def test_draws_are_by_inversion() -> None:
    chance = torch.tensor([[0.25, 0.5, 0.25]]).expand(4, -1)
    assert draw_option(chance, torch.tensor([0.2, 0.25, 0.74, 0.75])).tolist() == [0, 1, 1, 2]


def test_shapes_are_checked() -> None:
    checked = jaxtyped(typechecker=beartype)(propagate)
    with pytest.raises(TypeCheckError):
        checked(torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(3, 4))

"""The two levels' advantages: an episode worked by hand, and identities."""

import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped

from agents.option_returns import TwoLevels, arrival_value, charged, option_advantages
from agents.returns import generalised_advantages


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def flags(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.bool)[:, None]


def test_golden_by_hand() -> None:
    # gamma 1/2, lambda 1/2, switching cost 1; options 0 0 1 1 | 0 0: switches into steps 2 and 4,
    # but step 4 begins an episode, which is no switch. Step 3 is truncated at a final state with
    # v_high = 12, step 5 terminates (its 100 must not be read).
    #   t                 0     1     2     3  |  4     5
    rewards = column(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    switched = flags(0, 0, 1, 0, 0, 0)
    q_chosen = column(2.0, 4.0, 6.0, 2.0, 3.0, 8.0)
    v_high = column(3.0, 6.0, 2.0, 4.0, 1.0, 10.0)
    v_next = column(6.0, 2.0, 4.0, 12.0, 10.0, 100.0)
    found = option_advantages(
        charged(rewards, switched, 1.0),
        q_chosen,
        v_high,
        v_next,
        flags(0, 0, 0, 0, 0, 1),
        flags(0, 0, 0, 1, 0, 1),
        discount=0.5,
        trace=0.5,
    )
    # r + v_next / 2:   1 + 3 = 4   2 + 1 = 3   2 + 2 = 4   4 + 6 = 10 | 5 + 5 = 10   6 + 0 = 6
    # less q (low):         2          -1          -2           8     |     7          -2
    # less v_high (high):   1          -3           2           6     |     9          -4
    # accumulated by 1/4 from the end of each episode:
    #   low:   3: 8   2: -2 + 8/4 = 0   1: -1 + 0 = -1   0: 2 - 1/4 = 1.75
    #          5: -2  4: 7 - 2/4 = 6.5
    #   high:  3: 6   2: 2 + 6/4 = 3.5  1: -3 + 3.5/4 = -2.125   0: 1 - 2.125/4 = 0.46875
    #          5: -4  4: 9 - 4/4 = 8
    assert found.low_TN[:, 0].tolist() == [1.75, -1.0, 0.0, 8.0, 6.5, -2.0]
    assert found.high_TN[:, 0].tolist() == [0.46875, -2.125, 3.5, 6.0, 8.0, -4.0]
    # The critic's target is low + q.
    assert found.returns_TN[:, 0].tolist() == [3.75, 3.0, 6.0, 10.0, 9.5, 6.0]


def test_value_on_arrival_is_the_mean_over_the_chain() -> None:
    # 0.5 * 4 + 0.25 * 8 + 0.25 * 0 = 4; a certain option gives its own value.
    probability = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
    value = torch.tensor([[4.0, 8.0, 0.0], [1.0, 2.0, 7.0]])
    assert arrival_value(probability, value).tolist() == [4.0, 7.0]


def test_switching_costs_once_in_the_bar_of_the_switch() -> None:
    rewards = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    switched = torch.tensor([[False, True], [True, False]])
    assert charged(rewards, switched, 0.25).tolist() == [[1.0, 0.75], [0.75, -1.0]]
    assert torch.equal(charged(rewards, switched, 0.0), rewards)


def random_levels(*, single: bool) -> tuple[TwoLevels, torch.Tensor]:
    random = np.random.default_rng(7)
    rewards, chosen, arrival, following = torch.tensor(random.normal(size=(4, 30, 5)))
    terminated = torch.tensor(random.random((30, 5)) < 0.05)
    done = terminated | torch.tensor(random.random((30, 5)) < 0.1)
    arrival = chosen if single else arrival
    given = (following, terminated, done)
    found = option_advantages(rewards, chosen, arrival, *given, discount=0.9, trace=0.8)
    flat = generalised_advantages(rewards, chosen, *given, discount=0.9, trace=0.8)
    return found, flat


def test_one_option_alone_has_the_flat_agents_advantages() -> None:
    # K = 1: v_high = q, so both levels are plain generalised advantages.
    found, flat = random_levels(single=True)
    assert torch.equal(found.low_TN, flat)
    assert torch.equal(found.high_TN, flat)


def test_levels_differ_by_their_baselines_alone() -> None:
    # With lambda = 0 both are r + gamma v_high(s', o) less their baseline.
    random = np.random.default_rng(3)
    rewards, chosen, arrival, beyond = torch.tensor(random.normal(size=(4, 20, 3)))
    never = torch.zeros(20, 3, dtype=torch.bool)
    following = torch.cat([arrival[1:], beyond[-1:]])
    found = option_advantages(
        rewards, chosen, arrival, following, never, never, discount=0.9, trace=0.0
    )
    torch.testing.assert_close(found.low_TN + chosen, found.high_TN + arrival)


def test_shapes_are_checked() -> None:
    wrong = torch.zeros(3, 2)
    checked = jaxtyped(typechecker=beartype)(arrival_value)
    with pytest.raises(TypeCheckError):
        checked(torch.zeros(3, 1), wrong)

"""The fallback: maps by hand, beliefs that are none, faults in words."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meta_controller.regime_map import Fallback, default_map

Rows = Sequence[Sequence[float]]


def test_regimes_and_options_are_matched_in_turn() -> None:
    assert torch.equal(default_map(3, 3), torch.eye(3))
    # Five options for two regimes: 0, 2, 4 share the first, 1 and 3 the second.
    expected = [[1 / 3, 0.0], [0.0, 0.5], [1 / 3, 0.0], [0.0, 0.5], [1 / 3, 0.0]]
    torch.testing.assert_close(default_map(5, 2), torch.tensor(expected))
    # Two options for three regimes: option 0 serves the first and the third.
    assert default_map(2, 3).tolist() == [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    assert default_map(2, 0).shape == (2, 0)


@given(st.integers(1, 7), st.integers(1, 7))
def test_each_regime_has_an_option_and_each_option_a_regime(options: int, regimes: int) -> None:
    table = default_map(options, regimes)
    torch.testing.assert_close(table.sum(dim=0), torch.ones(regimes))
    assert bool((table.sum(dim=1) > 0.0).all())


def test_weights_by_hand() -> None:
    # C pi = (2 * 1/4, 1/4 + 3/4) = (1/2, 1), normalised.
    fallback = Fallback(2, 2, [(2.0, 0.0), (1.0, 1.0)])
    found = fallback(torch.tensor([[0.25, 0.75]]))
    assert found[0].tolist() == pytest.approx([1 / 3, 2 / 3])


@pytest.mark.parametrize(
    "belief",
    [
        (0.0, 0.0),
        (math.nan, math.nan),
        (math.nan, 1.0),
        (math.inf, 0.0),
        (-1.0, -0.5),
    ],
)
def test_rows_without_a_usable_belief_are_even_and_disturb_no_other(
    belief: tuple[float, float],
) -> None:
    found = Fallback(2, 2)(torch.tensor([belief, (0.25, 0.75)]))
    assert found.tolist()[1] == [0.25, 0.75]
    assert found.tolist()[0] == [0.5, 0.5]


def test_rounding_below_zero_stays_on_the_simplex() -> None:
    found = Fallback(2, 2)(torch.tensor([[-1e-3, 1.001]]))
    assert found.tolist() == [[0.0, 1.0]]


def test_beliefs_need_not_sum_to_one() -> None:
    found = Fallback(2, 2)(torch.tensor([[2.0, 6.0], [1e-30, 3e-30]]))
    torch.testing.assert_close(found, torch.tensor([[0.25, 0.75], [0.25, 0.75]]))


def test_without_regimes_every_option_has_its_share() -> None:
    assert Fallback(4, 0)(torch.zeros(2, 0)).tolist() == [[0.25] * 4] * 2


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(1.0, 0.0)], r"expected 2 rows of 3 numbers .*found \[2\] numbers in 1 rows"),
        ([(1.0, 0.0, 0.0), (1.0, 0.0)], r"found \[3, 2\] numbers in 2 rows"),
        ([], r"found \[\] numbers in 0 rows"),
        ([(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)], r"an option for each regime, found none for \[2\]"),
    ],
)
def test_faults_of_a_map_are_said_in_words(rows: Rows, words: str) -> None:
    with pytest.raises(ValueError, match=f"regime_map: .*{words}"):
        Fallback(2, 3, rows)


def test_a_map_where_nothing_is_known_of_regimes_is_refused() -> None:
    with pytest.raises(ValueError, match="regime_map: expected 2 rows of 0 numbers"):
        Fallback(2, 0, [(1.0,), (1.0,)])

"""Formulas about beliefs, by hand and by identities."""

import numpy as np
import pytest

from regimes.base import Array, RegimeError
from regimes.belief import (
    Beliefs,
    columns,
    disruption,
    expected,
    hard,
    names_of,
    normalised_entropy,
)


def some(bars: int = 50, slots: int = 4, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    belief_TC: Array = rng.dirichlet(np.ones(slots), size=bars)
    return belief_TC


def test_entropy_by_hand() -> None:
    belief = np.array([[1.0, 0.0], [0.5, 0.5], [0.25, 0.75]])
    bits = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    np.testing.assert_allclose(normalised_entropy(belief), [0.0, 1.0, bits], rtol=1e-14)


def test_entropy_of_all_slots_is_one_and_of_one_slot_nothing() -> None:
    assert normalised_entropy(np.full((3, 5), 0.2)) == pytest.approx(1.0)
    assert normalised_entropy(np.ones((3, 1))).tolist() == [0.0, 0.0, 0.0]
    assert ((normalised_entropy(some()) > 0.0) & (normalised_entropy(some()) < 1.0)).all()


def test_descriptors_do_not_depend_on_the_numbering() -> None:
    belief, value, order = some(), np.array([0.1, -0.2, 0.3, 0.7]), np.array([2, 0, 3, 1])
    np.testing.assert_allclose(expected(belief, value), belief @ value, rtol=1e-14)
    np.testing.assert_allclose(
        expected(belief[:, order], value[order]), expected(belief, value), rtol=1e-13
    )


def test_a_row_gives_the_same_bits_alone() -> None:
    belief, value = some(slots=9), np.arange(9.0)
    whole = expected(belief, value)
    assert [float(expected(row[None], value)[0]) for row in belief] == whole.tolist()


def test_disruption_by_hand() -> None:
    weight = np.array([[1.0, 0.0], [0.0, 1.0], [0.25, 0.75], [0.25, 0.75]])
    moved, found = disruption(weight)
    assert moved.tolist() == [1.0, 0.25, 0.0]
    assert found.mean == pytest.approx(1.25 / 3.0)
    assert found.p99 == pytest.approx(0.25 + 0.98 * 0.75)
    assert found.maximum == 1.0


def test_the_disruption_of_hard_routing_counts_its_switches() -> None:
    belief = some(200)
    most = belief.argmax(axis=1)
    _, found = disruption(hard(belief))
    assert found.mean == pytest.approx(np.mean(most[1:] != most[:-1]))


def test_disruption_needs_two_bars() -> None:
    with pytest.raises(RegimeError, match="at least 2 bars, found 1"):
        disruption(np.ones((1, 2)))


def test_hard_routing_takes_the_first_of_equals() -> None:
    assert hard(np.array([[0.4, 0.4, 0.2], [0.1, 0.2, 0.7]])).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_the_block_has_a_name_and_a_finite_value_for_each_column() -> None:
    belief = some()
    found = Beliefs(belief, np.full(50, 0.001), np.full(50, 0.02))
    names, values = columns(found, scale=0.01)
    assert names == names_of(4)
    assert names[0] == "belief_0"
    assert names[-3:] == ("regime_entropy", "regime_drift", "regime_volatility")
    assert values.shape == (50, len(names))
    np.testing.assert_array_equal(values[:, :4], belief)
    np.testing.assert_allclose(values[:, -2:], [[0.1, 2.0]] * 50)
    assert len(found) == 50


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_a_block_without_a_scale_is_refused(scale: float) -> None:
    with pytest.raises(RegimeError, match="scale > 0"):
        columns(Beliefs(some(), np.zeros(50), np.ones(50)), scale)


def test_a_value_that_is_not_finite_is_named() -> None:
    drift = np.zeros(50)
    drift[7] = np.nan
    with pytest.raises(RegimeError, match=r"columns\[7\]"):
        columns(Beliefs(some(), drift, np.ones(50)), 1.0)

"""Regimes keep their names over refits; names are never given twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import dirichlet

from regimes.base import RegimeError
from regimes.matching import NEW, Labels, Matching, by_volatility, match
from tests.regimes.fakes import fake_model


def beliefs(bars: int, regimes: int, seed: int = 0) -> np.ndarray:
    return dirichlet.rvs(np.full(regimes, 0.3), size=bars, random_state=np.random.default_rng(seed))


def test_joint_responsibility_by_hand() -> None:
    old = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    new = np.array([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1]])
    # J = old' new = [[0.75, 1.05], [0.95, 0.25]]: the largest sum swaps, 2.0 against 1.0.
    found = match(old, new)
    assert found.partner_J.tolist() == [1, 0]
    # Most likely: old 0, 0, 1; new 1, 0, 0, which after matching is 0, 1, 1.
    assert found.raw == pytest.approx(1.0 / 3.0)
    assert found.agreement == pytest.approx(2.0 / 3.0)


@given(st.integers(1, 6), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_a_renumbered_model_is_matched_wholly(regimes: int, seed: int) -> None:
    old = beliefs(300, regimes, seed)
    order = np.random.default_rng(seed).permutation(regimes)
    found = match(old, old[:, order])
    assert found.partner_J.tolist() == order.tolist()
    assert found.agreement == 1.0
    assert (found.raw == 1.0) == (order.tolist() == sorted(order))


def test_a_regime_that_continues_none_is_new() -> None:
    old = np.repeat(np.eye(2), [60, 40], axis=0)
    new = np.zeros((100, 3))
    new[:60, 2], new[60:80, 0], new[80:, 1] = 1.0, 1.0, 1.0
    found = match(old, new)
    assert sorted(found.partner_J.tolist()) == [NEW, 0, 1]
    assert found.partner_J[2] == 0
    assert found.agreement == pytest.approx(0.8)


def test_a_pair_that_never_meets_is_no_pair() -> None:
    old = np.repeat(np.eye(3), [50, 50, 0], axis=0)
    new = old[:, [0, 1, 2]].copy()
    old[:50] = [0.5, 0.0, 0.5]
    new[50:] = [0.0, 0.5, 0.5]
    assert match(old, new).partner_J.tolist()[2] == NEW


def test_beliefs_that_say_nothing_do_not_lose_the_names() -> None:
    even = np.full((50, 3), 1.0 / 3.0)
    found = match(even, even)
    assert sorted(found.partner_J.tolist()) == [0, 1, 2]
    assert match(np.ones((5, 1)), np.ones((5, 1))).partner_J.tolist() == [0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (np.ones((3, 1)), np.ones((2, 1)), "3 and 2"),
        (np.ones((0, 1)), np.ones((0, 1)), "0 and 0"),
        (np.ones((2, 1)), np.full((2, 1), np.nan), "finite"),
    ],
)
def test_what_cannot_be_matched_is_named(old: np.ndarray, new: np.ndarray, words: str) -> None:
    with pytest.raises(RegimeError, match=words):
        match(old, new)


def matching(*partners: int) -> Matching:
    return Matching(np.array(partners, np.int64), 1.0, 1.0)


def test_ids_follow_their_regime_and_slots_their_id() -> None:
    labels = Labels.fresh(3, capacity=4)
    assert (labels.ids, labels.slots, labels.next_id) == ((0, 1, 2), (0, 1, 2), 3)
    swapped = labels.continued(matching(2, 0, 1))
    assert (swapped.ids, swapped.slots, swapped.next_id) == ((2, 0, 1), (2, 0, 1), 3)


def test_an_id_is_never_given_twice() -> None:
    labels = Labels.fresh(2, capacity=3)
    born = labels.continued(matching(0, 1, NEW))
    assert (born.ids, born.slots) == ((0, 1, 2), (0, 1, 2))
    gone = born.continued(matching(0, 2))
    assert (gone.ids, gone.slots, gone.next_id) == ((0, 2), (0, 2), 3)
    again = gone.continued(matching(0, 1, NEW))
    assert (again.ids, again.slots) == ((0, 2, 3), (0, 2, 1))


def test_a_new_regime_gets_an_unused_slot_before_one_that_was_left() -> None:
    labels = Labels.fresh(2, capacity=4).continued(matching(1, NEW))
    assert (labels.ids, labels.slots) == ((1, 2), (1, 2))
    labels = labels.continued(matching(0, NEW, NEW))
    assert (labels.ids, labels.slots) == ((1, 3, 4), (1, 3, 0))


@given(st.lists(st.integers(0, 2**30), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_over_any_history_ids_are_unique_and_slots_stay(seeds: list[int]) -> None:
    labels, seen, place = Labels.fresh(3, capacity=5), {0, 1, 2}, {0: 0, 1: 1, 2: 2}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        partners = rng.permutation(len(labels.ids))[: rng.integers(0, len(labels.ids) + 1)].tolist()
        partners += [NEW] * int(rng.integers(0 if partners else 1, 6 - len(partners)))
        before = labels
        labels = labels.continued(matching(*partners))
        kept = [before.ids[partner] for partner in partners if partner != NEW]
        new = set(labels.ids) - set(kept)
        assert not new & seen, "an id came back"
        assert all(
            place[i] == s for i, s in zip(labels.ids, labels.slots, strict=True) if i in kept
        )
        seen |= new
        place |= dict(zip(labels.ids, labels.slots, strict=True))


def test_more_regimes_than_slots_are_refused() -> None:
    with pytest.raises(RegimeError, match="1 to 2 regimes"):
        Labels.fresh(3, capacity=2)
    with pytest.raises(RegimeError, match="at most 2 regimes"):
        Labels.fresh(2, capacity=2).continued(matching(0, 1, NEW))


def test_people_read_from_calm_to_wild() -> None:
    assert by_volatility(fake_model([0.03, 0.01, 0.02])).tolist() == [1, 2, 0]

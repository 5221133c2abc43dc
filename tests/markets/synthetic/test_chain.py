"""The hidden chain: validation, stationary law, draws and the Bayes filter."""

import numpy as np
import pytest

from markets.synthetic.chain import (
    SyntheticMarketError,
    check_transition,
    pack_chain,
    packed_size,
    pick,
    start_belief,
    stationary,
    sticky_transition,
    update_belief,
)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0.5, 0.4], [0.1, 0.9]], r"chain\[0\]: expected probabilities that sum to 1, .* 0\.9"),
        ([[1.2, -0.2], [0.1, 0.9]], r"chain\[0, 0\]: expected a probability in \[0, 1\]"),
        ([[float("nan"), 1.0], [0.1, 0.9]], r"chain\[0, 0\]: .* found nan"),
        ([[0.5, 0.5], [1.0]], r"chain: expected rows of one length"),
        ([[0.5, 0.5]], r"expected a square matrix, found shape \(1, 2\)"),
    ],
)
def test_refuses_what_is_no_transition_matrix(matrix: list[list[float]], message: str) -> None:
    with pytest.raises(SyntheticMarketError, match=message):
        check_transition("chain", matrix)


def test_stationary_law_by_hand() -> None:
    # pi_0 * 0.1 = pi_1 * 0.3
    assert stationary(np.array([[0.9, 0.1], [0.3, 0.7]])) == pytest.approx([0.75, 0.25], abs=1e-15)


@pytest.mark.parametrize("scale", [1e-2, 1e-8, 1e-14])
def test_stationary_law_of_slow_chains(scale: float) -> None:
    chain = np.array([[1.0 - scale, scale], [3.0 * scale, 1.0 - 3.0 * scale]])
    assert stationary(chain) == pytest.approx([0.75, 0.25], abs=1e-12)


def test_stationary_law_of_a_chain_that_alternates() -> None:
    assert stationary(np.array([[0.0, 1.0], [1.0, 0.0]])) == pytest.approx([0.5, 0.5])


def test_stationary_law_of_a_chain_that_ends_in_one_of_two_classes() -> None:
    # From regime 0 to 1 with chance 1/4, which stays; else to the pair 2, 3 with law (2/3, 1/3);
    # regime 4 goes to 0 first. Masses: 1/5 (1 + 1/4 + 1/4), 1/5 (2 + 3/4 + 3/4).
    chain = np.array(
        [
            [0.6, 0.1, 0.3, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.9, 0.1, 0.0],
            [0.0, 0.0, 0.2, 0.8, 0.0],
            [1.0, 0.0, 0.0, 0.0, 0.0],
        ]
    )
    expected = [0.0, 0.3, 0.7 * 2 / 3, 0.7 / 3, 0.0]
    assert stationary(chain) == pytest.approx(expected, abs=1e-15)
    limit = np.full(5, 0.2) @ np.linalg.matrix_power(chain, 4_000)
    assert stationary(chain) == pytest.approx(limit, abs=1e-12)


def test_stationary_law_is_invariant() -> None:
    matrix = np.random.default_rng(0).dirichlet(np.ones(4), size=4)
    law = stationary(matrix)
    assert law @ matrix == pytest.approx(law, abs=1e-15)
    assert law.sum() == pytest.approx(1.0)


def test_frozen_regimes_are_drawn_uniformly() -> None:
    assert stationary(np.eye(3)) == pytest.approx([1 / 3] * 3)


def test_sticky_transition() -> None:
    assert sticky_transition(3, 0.9) == pytest.approx(
        np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]])
    )
    assert sticky_transition(1, 0.9) == ((1.0,),)


def test_pick_follows_the_probabilities() -> None:
    probabilities = np.array([9.0, 0.2, 0.5, 0.3])
    uniform = np.random.default_rng(0).random(20_000)
    counts = np.bincount([pick(probabilities, 1, 3, u) for u in uniform]) / len(uniform)
    assert counts == pytest.approx([0.2, 0.5, 0.3], abs=0.015)
    assert [pick(probabilities, 1, 3, u) for u in (0.0, 0.1999, 0.2, 0.6999, 0.7, 1 - 1e-16)] == [
        0, 0, 1, 1, 2, 2,
    ]  # fmt: skip


def test_filter_by_hand() -> None:
    matrix = np.array([[0.9, 0.1], [0.3, 0.7]])
    parameters = np.array([7.0, *pack_chain(matrix)])
    assert len(parameters) == 1 + packed_size(2)
    state = np.zeros(4)
    start_belief(parameters, 1, 2, state, 0)
    assert state[:2] == pytest.approx([0.75, 0.25], abs=1e-7)
    state[:2] = 0.5, 0.5
    state[2:] = np.log([0.2, 0.6])
    update_belief(parameters, 1, 2, state, 0, 2)
    # posterior (1/4, 3/4); predicted 1/4 * 0.9 + 3/4 * 0.3 = 0.45
    assert state[:2] == pytest.approx([0.45, 0.55])


def test_filter_survives_tiny_likelihoods() -> None:
    parameters = np.array(pack_chain(np.array([[0.9, 0.1], [0.3, 0.7]])))
    state = np.array([0.5, 0.5, -5000.0, -5100.0])
    update_belief(parameters, 0, 2, state, 0, 2)
    assert state[:2] == pytest.approx([0.9, 0.1])

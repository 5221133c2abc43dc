"""Metrics of continual learning by hand, of the score matrix and of the curves."""

import math

import numpy as np
import pytest
from numpy.typing import ArrayLike

from evaluation.continual_curves import (
    Recovery,
    forward_transfer,
    mean_height,
    mean_recovery,
    recoveries,
    regret,
    regret_share,
    steps_to,
)
from evaluation.continual_metrics import (
    average_performance,
    backward_transfer,
    conflict,
    degradation_of,
    first_visits,
    forgetting_between_visits,
    forgetting_of,
    intransigence,
    isolated_forgetting,
    isolated_forgetting_of,
    last_visits,
    mean_of,
    own_scores,
    peak_forgetting_of,
    plasticity,
    returns,
    zero_shot_transfer,
)

NAN = math.nan

ORDER = (0, 1, 2)
MATRIX = np.array([[0.8, -0.5, 0.1], [0.6, 0.9, 0.2], [0.4, 0.45, 0.7]])
BEFORE = np.array([-0.1, -0.2, 0.0])

CYCLE = (0, 1, 0, 1)
TWICE = np.array([[0.8, 0.0], [0.5, 0.6], [0.9, 0.2], [0.7, 0.8]])


def same(found: ArrayLike, expected: ArrayLike) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-12, atol=1e-15)


def test_visits() -> None:
    same(first_visits((2, 0, 2, 0), 4), [1, -1, 0, -1])
    same(last_visits((2, 0, 2, 0), 4), [3, -1, 2, -1])
    assert returns((2, 0, 2, 0, 0)) == [(2, 2, 0), (3, 0, 1), (4, 0, 3)]
    assert returns(ORDER) == []


def test_a_stream_without_repetition_by_hand() -> None:
    same(own_scores(MATRIX, ORDER), [0.8, 0.9, 0.7])
    same(average_performance(MATRIX, ORDER), (0.4 + 0.45 + 0.7) / 3)
    same(forgetting_of(MATRIX, ORDER), [0.4, 0.45, NAN])
    same(peak_forgetting_of(MATRIX, ORDER), [0.4, 0.45, NAN])
    same(degradation_of(MATRIX, ORDER, 0.05), [50.0, 50.0, NAN])
    same(backward_transfer(MATRIX, ORDER), -0.425)
    # Regime 1 after phase 0: -0.5 + 0.2; regime 2 after phase 1: 0.2 - 0.
    same(zero_shot_transfer(MATRIX, ORDER, BEFORE), (-0.3 + 0.2) / 2)
    assert conflict(MATRIX, ORDER) == -0.5
    assert math.isnan(forgetting_between_visits(MATRIX, ORDER))


def test_isolated_forgetting_by_hand() -> None:
    expected = np.full((3, 3), NAN)
    expected[1, 0] = (0.8 - 0.6) / 0.8
    expected[2, 0] = (0.6 - 0.4) / 0.8
    expected[2, 1] = (0.9 - 0.45) / 0.9
    same(isolated_forgetting_of(MATRIX, ORDER, 0.05), expected)
    same(isolated_forgetting(MATRIX, ORDER, 0.05), (0.25 + 0.25 + 0.5) / 3)
    same(isolated_forgetting(MATRIX, ORDER, 0.85), 0.5)


def test_a_cycle_counts_from_the_last_visit() -> None:
    same(own_scores(TWICE, CYCLE), [0.9, 0.8])
    same(forgetting_of(TWICE, CYCLE), [0.2, NAN])
    same(degradation_of(TWICE, CYCLE, 0.05), [100 * 0.2 / 0.9, NAN])
    # Regime 0 came back to 0.5 of 0.8, regime 1 to 0.2 of 0.6.
    same(forgetting_between_visits(TWICE, CYCLE), (0.3 + 0.4) / 2)
    # Phase 2 is regime 0's own; phase 3 takes 0.2 of 0.9, phase 1 took 0.3, phase 2 0.4 of 0.8.
    same(isolated_forgetting(TWICE, CYCLE, 0.05), (0.2 / 0.9 + 0.3 / 0.9 + 0.4 / 0.8) / 3)


def test_a_regime_that_stays_is_not_between_visits() -> None:
    same(forgetting_between_visits(TWICE, (0, 0, 0, 1)), NAN)


def test_the_peak_may_lie_before_the_regime_was_learned() -> None:
    early = np.array([[0.8, 0.9], [0.7, 0.6], [0.75, 0.5]])
    same(peak_forgetting_of(early, (0, 1, 0)), [NAN, 0.4])
    same(forgetting_of(early, (0, 1, 0)), [NAN, 0.1])
    same(peak_forgetting_of(early[:1], (0,)), [NAN, NAN])
    # The end is no peak: who is better then has lost less than nothing.
    same(peak_forgetting_of(np.array([[0.2, 0.0], [0.5, 0.6]]), (0, 1)), [-0.3, NAN])


def test_degradation_is_undefined_near_zero_and_capped() -> None:
    poor = np.array([[0.04, 0.0, 0.0], [0.5, 0.1, 0.0], [0.0, -0.9, 0.9]])
    same(degradation_of(poor, ORDER, 0.05), [NAN, 200.0, NAN])
    same(degradation_of(poor, ORDER, 0.04), [100.0, 200.0, NAN])
    better = np.array([[0.1, 0.0], [0.9, 0.5]])
    same(degradation_of(better, (0, 1), 0.05), [-200.0, NAN])


def test_regimes_that_never_govern_count_nowhere() -> None:
    order = (0, 2)
    same(average_performance(MATRIX[:2], order), (0.6 + 0.2) / 2)
    same(own_scores(MATRIX[:2], order), [0.8, NAN, 0.2])
    same(forgetting_of(MATRIX[:2], order), [0.2, NAN, NAN])
    assert conflict(MATRIX, order) == 0.1
    assert math.isnan(conflict(MATRIX, (0,)))


def test_references_by_hand() -> None:
    # First visits: 0.8 and 0.6.
    same(plasticity(TWICE, CYCLE, np.array([0.8, 1.2]), 0.05), (1.0 + 0.5) / 2)
    same(plasticity(TWICE, CYCLE, np.array([0.01, 1.2]), 0.05), 0.5)
    same(plasticity(TWICE, CYCLE, np.array([NAN, 1.2]), 0.05), 0.5)
    # Last visits: 0.9 and 0.8.
    same(intransigence(TWICE, CYCLE, np.array([1.0, 0.7])), (0.1 - 0.1) / 2)


def test_no_phase_after_the_first_loses_nothing() -> None:
    """An agent that stays as it is after phase 0 forgets nothing, and transfers all it knows."""
    frozen = np.tile(MATRIX[0], (3, 1))
    same(mean_of(forgetting_of(frozen, ORDER)), 0.0)
    same(isolated_forgetting(frozen, ORDER, 0.05), 0.0)
    assert mean_of(np.array([NAN, 2.0])) == 2.0
    assert math.isnan(mean_of(np.array([NAN])))


STEPS = np.array([0.0, 10.0, 20.0, 30.0])
RISING = np.array([0.0, 0.5, 1.0, 0.0])


def test_the_mean_height_by_hand() -> None:
    same(mean_height(STEPS, RISING, 0.0, 20.0), 0.5)
    same(mean_height(STEPS, RISING, 5.0, 15.0), 0.5)
    assert math.isnan(mean_height(STEPS, RISING, 10.0, 10.0)), "a phase without a step"
    # Trapezia of 10 and 5 steps: (0.75 + 1) / 2 * 5 and (1 + 0.5) / 2 * 5, over 10.
    same(mean_height(STEPS, RISING, 15.0, 25.0), (4.375 + 3.75) / 10)
    # Constant beyond the ends.
    same(mean_height(STEPS[1:3], RISING[1:3], 0.0, 10.0), 0.5)


def test_steps_to_a_level_by_hand() -> None:
    assert steps_to(STEPS, RISING, 0.0, 30.0, 0.75) == 15.0
    assert steps_to(STEPS, RISING, 5.0, 30.0, 0.75) == 10.0
    assert steps_to(STEPS, RISING, 15.0, 30.0, 0.75) == 0.0
    assert steps_to(STEPS, RISING, 0.0, 14.0, 0.75) == math.inf
    assert steps_to(STEPS, RISING, 20.0, 30.0, 2.0) == math.inf


def cycle_curve() -> tuple[np.ndarray, np.ndarray]:
    """A B A, 20 steps each: A rises to 1.0 in its phase, falls to 0.2, comes back in a quarter."""
    step_P = np.array([0.0, 20.0, 40.0, 45.0, 60.0])
    return step_P, np.array([[0.0, 0.0], [1.0, 0.1], [0.2, 0.8], [1.0, 0.5], [1.0, 0.4]])


def test_recovery_by_hand() -> None:
    step_P, curve_PJ = cycle_curve()
    (found,) = recoveries(step_P, curve_PJ, (0, 1, 0), (20, 20, 20), 0.05)
    # 0.95 at 19 steps of the first learning; (0.95 - 0.2) / 0.8 of the 5 steps of the return.
    assert (found.regime, found.phase, found.status) == (0, 2, "regained")
    same(found.level, 0.95)
    same(found.first_steps, 19.0)
    same(found.steps, 0.9375 * 5)
    same(found.share, 0.9375 * 5 / 19)


def test_a_level_that_was_never_lost_takes_no_steps() -> None:
    step_P, curve_PJ = cycle_curve()
    curve_PJ[2, 0] = 0.96
    (found,) = recoveries(step_P, curve_PJ, (0, 1, 0), (20, 20, 20), 0.05)
    assert (found.steps, found.share, found.status) == (0.0, 0.0, "regained")


def test_recoveries_that_are_bounds_are_named() -> None:
    step_P, curve_PJ = cycle_curve()
    lost_PJ = np.where(step_P[:, None] > 40.0, 0.3, curve_PJ)
    (lost,) = recoveries(step_P, lost_PJ, (0, 1, 0), (20, 20, 20), 0.05)
    assert lost.status == "not regained"
    same(lost.share, 20.0 / 19.0)

    # Learned in its second visit only: the first never came to that level.
    late_P = np.array([0.0, 10.0, 20.0, 30.0, 40.0, 50.0])
    late_PJ = np.array([[0.0, 0], [0.3, 0], [0.1, 0], [0.8, 0], [0.1, 0], [0.8, 0]])
    first, second = recoveries(late_P, late_PJ, (0, 1, 0, 1, 0), (10,) * 5, 0.05)[::2]
    assert (first.status, first.phase) == ("regained", 2)
    assert (second.status, second.phase) == ("level new", 4)
    same(second.share, second.steps / 10.0)

    unknown_PJ = np.zeros_like(curve_PJ)
    (unknown,) = recoveries(step_P, unknown_PJ, (0, 1, 0), (20, 20, 20), 0.05)
    assert unknown.status == "undefined"
    assert math.isnan(mean_recovery([unknown]))
    same(mean_recovery([lost, unknown]), 20.0 / 19.0)
    assert recoveries(step_P[:0], curve_PJ[:0], (0, 1, 0), (20, 20, 20), 0.05) == ()


def test_a_level_known_before_the_first_learning_has_no_share() -> None:
    known = Recovery(0, 2, 0.5, 3.0, 0.0, "undefined")
    assert math.isnan(known.share)
    step_P, curve_PJ = cycle_curve()
    curve_PJ[0, 0] = 1.0
    (found,) = recoveries(step_P, curve_PJ, (0, 1, 0), (20, 20, 20), 0.05)
    assert found.status == "undefined"


def test_forward_transfer_by_hand() -> None:
    step_P, curve_PJ = cycle_curve()
    scratch = (np.array([0.0, 20.0]), np.array([[NAN, 0.0], [NAN, 0.4]]))
    # Regime 1 over steps 20 .. 40: from 0.1 to 0.8, mean 0.45; alone 0.2.
    found = forward_transfer(step_P, curve_PJ, (0, 1, 0), (20, 20, 20), scratch)
    same(found, (0.45 - 0.2) / (1.0 - 0.2))
    itself = (step_P[1:3] - 20.0, curve_PJ[1:3])
    same(forward_transfer(step_P, curve_PJ, (0, 1, 0), (20, 20, 20), itself), 0.0)
    best = (step_P[:1], np.ones((1, 2)))
    assert math.isnan(forward_transfer(step_P, curve_PJ, (0, 1, 0), (20, 20, 20), best))


def test_regret_by_hand() -> None:
    step_P, curve_PJ = cycle_curve()
    # Missed: 0.5 of 20 steps; 1 - 0.45; in the return 1 - 0.6 over 5 steps, nothing after.
    missed = [10.0, 11.0, 2.0]
    same(regret_share(step_P, curve_PJ, (0, 1, 0), (20, 20, 20)), sum(missed) / 60)
    gain_J = np.array([2.0, 3.0])
    expected = 2 * missed[0] + 3 * missed[1] + 2 * missed[2]
    same(regret(step_P, curve_PJ, (0, 1, 0), (20, 20, 20), gain_J), expected)
    optimum = np.ones_like(curve_PJ)
    assert regret_share(step_P, optimum, (0, 1, 0), (20, 20, 20)) == pytest.approx(0.0, abs=1e-15)
    assert math.isnan(regret_share(step_P[:0], curve_PJ[:0], (0, 1, 0), (20, 20, 20)))

"""Non-inferiority on paired episodes: worked examples, identities, size, and odd samples."""

import math

import numpy as np
import pytest
from scipy import stats

from evaluation.acceptance_statistics import (
    Redrawing,
    contrasts,
    holm,
    lower_bounds,
    margin_of,
    p_values,
    retention_test,
)

QUICK = Redrawing(resamples=2000)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_a_margin_is_a_share_of_the_gain_over_doing_nothing() -> None:
    assert margin_of(3.0, 1.0, 0.05) == pytest.approx(0.1)
    assert margin_of(3.0, 1.0, 0.05, floor=0.2) == pytest.approx(0.3)


@pytest.mark.parametrize("champion", [1.0, -4.0])
def test_a_champion_that_earns_nothing_has_the_floor_alone(champion: float) -> None:
    assert margin_of(champion, 1.0, 0.05) == 0.0
    assert margin_of(champion, 1.0, 0.05, floor=0.2) == 0.2


def test_holm_worked_by_hand() -> None:
    level_H, rejected_H = holm(np.array([0.01, 0.04, 0.03, 0.005]), 0.05)
    # In order: 0.005 <= 0.0125, 0.01 <= 0.0167, 0.03 > 0.025: that one and 0.04 stay.
    np.testing.assert_allclose(level_H, [0.05 / 3, 0.05, 0.025, 0.0125])
    assert rejected_H.tolist() == [True, False, False, True]


def test_holm_stops_at_the_first_that_is_not_rejected() -> None:
    # 0.04 is below its own level, 0.05, but comes after one that is not.
    assert holm(np.array([0.03, 0.04]), 0.05)[1].tolist() == [False, False]


def test_the_p_value_follows_student_with_many_normal_episodes() -> None:
    difference_E = noise(400)
    for margin in (0.02, 0.05, 0.1):
        found = retention_test(np.zeros(400), difference_E, margin, redrawing=QUICK)
        student = stats.ttest_1samp(difference_E, -margin, alternative="greater").pvalue
        assert found.p == pytest.approx(student, abs=0.02)
        assert found.p >= student


@pytest.mark.parametrize("block", [1.0, 4.0, None])
@pytest.mark.parametrize("level", [0.05, 0.004])
def test_the_bound_is_above_the_margin_exactly_where_the_test_rejects(
    block: float | None, level: float
) -> None:
    differences_HE = noise(8, 30, seed=3) * 0.1 + np.linspace(-0.05, 0.05, 8)[:, None]
    redrawing = Redrawing(resamples=1000 if block == 1.0 else 100, block=block)
    low_H = lower_bounds(differences_HE, np.full(8, level), redrawing)
    seen = set()
    for margin in (0.0, 0.02, 0.05, 0.1):
        rejected_H = p_values(differences_HE, np.full(8, margin), redrawing) <= level
        np.testing.assert_array_equal(rejected_H, low_H > -margin)
        seen |= set(rejected_H.tolist())
    assert seen == {True, False}


def test_the_unit_of_the_scores_does_not_matter() -> None:
    champion_E, candidate_E = noise(2, 40)
    one = retention_test(champion_E, candidate_E, 0.3, redrawing=QUICK)
    many = retention_test(champion_E * 1e-6, candidate_E * 1e-6, 0.3e-6, redrawing=QUICK)
    assert many.p == one.p
    assert many.low == pytest.approx(one.low * 1e-6)


def test_common_noise_cancels() -> None:
    common_E, own_E = noise(2, 60)
    champion_E = 5.0 * common_E
    paired = retention_test(champion_E, champion_E + 0.1 * own_E, 0.1, redrawing=QUICK)
    other_E = np.roll(champion_E, 1) + 0.1 * own_E
    unpaired = retention_test(champion_E, other_E, 0.1, redrawing=QUICK)
    assert paired.p < 0.001
    assert unpaired.p > 0.05


def test_identical_policies_lose_nothing() -> None:
    scores_E = noise(12)
    found = retention_test(scores_E, scores_E.copy(), 0.05, redrawing=QUICK)
    assert (found.p, found.low, found.deviation) == (0.0, 0.0, 0.0)
    assert retention_test(scores_E, scores_E.copy(), 0.0, redrawing=QUICK).p == 1.0


@pytest.mark.parametrize(("shift", "p"), [(-0.04, 0.0), (-0.06, 1.0)])
def test_a_difference_without_noise_is_compared_as_it_is(shift: float, p: float) -> None:
    found = retention_test(np.zeros(5), np.full(5, shift), 0.05, redrawing=QUICK)
    assert (found.p, found.low) == (p, shift)


def test_one_episode_says_nothing() -> None:
    found = retention_test(np.zeros(1), np.ones(1), 0.05, redrawing=QUICK)
    assert found.p == 1.0
    assert found.low == -math.inf
    assert math.isnan(found.deviation)


def test_a_level_below_the_resolution_has_no_bound() -> None:
    found = retention_test(np.zeros(50), noise(50) + 9.0, 1.0, level=1e-4, redrawing=QUICK)
    assert found.p == pytest.approx(1 / 2001)
    assert not found.rejected
    assert found.low == -math.inf


def test_bad_scores_are_named() -> None:
    good_E = np.zeros(3)
    with pytest.raises(
        ValueError, match=r"candidate_E: expected finite scores, found nan in ep.* 1"
    ):
        retention_test(good_E, np.array([0.0, np.nan, 0.0]), 0.1)
    with pytest.raises(ValueError, match=r"candidate_E: expected 3 episodes, .* found 2"):
        retention_test(good_E, np.zeros(2), 0.1)
    with pytest.raises(ValueError, match="champion_E: expected at least one episode"):
        retention_test(np.zeros(0), np.zeros(0), 0.1)
    with pytest.raises(ValueError, match="margin: expected 0 or more"):
        retention_test(good_E, good_E, -0.1)


@pytest.mark.parametrize(
    ("law", "most"), [("normal", 0.065), ("rare losses", 0.095), ("sparse", 0.075)]
)
def test_a_true_loss_of_the_margin_passes_no_more_often_than_it_may(law: str, most: float) -> None:
    """Size at 5 %, 16 episodes, 1,500 samples: standard error 0.006."""
    rng = np.random.default_rng(1)
    shape = (1500, 16)
    laws = {
        "normal": rng.normal(size=shape),
        "rare losses": 1.133 - rng.lognormal(0.0, 0.5, size=shape),
        "sparse": np.where(rng.random(shape) < 0.2, rng.normal(size=shape), 0.0),
    }
    noise_HE = laws[law]
    p_H = p_values(noise_HE - 0.5, np.full(1500, 0.5), QUICK)
    assert 0.01 < np.mean(p_H <= 0.05) < most


def test_episodes_that_overlap_are_redrawn_together() -> None:
    """Moving averages over 5 bars: independent redraws are far too sure."""
    bars_HT = noise(150, 124, seed=5)
    overlapping_HE = np.lib.stride_tricks.sliding_window_view(bars_HT, 5, axis=1).mean(axis=2)
    overlapping_HE = overlapping_HE - 0.1
    margins_H = np.full(150, 0.1)
    blind = np.mean(p_values(overlapping_HE, margins_H, QUICK) <= 0.05)
    aware = np.mean(
        p_values(overlapping_HE, margins_H, Redrawing(resamples=100, block=12.0)) <= 0.05
    )
    assert blind > 0.2
    assert aware < 0.12


def test_a_margin_that_is_measured_is_allowed_for() -> None:
    """Common noise ten times the paired one; a true loss of exactly 5 % of the gain."""
    rng = np.random.default_rng(4)
    champion_HE = 1.0 + 0.6 * rng.normal(size=(1500, 64))
    difference_HE = 0.05 * rng.normal(size=champion_HE.shape) - 0.05
    gain_H, shares_H = champion_HE.mean(axis=1), np.full(1500, 0.05)
    contrast_HE, offset_H = contrasts(difference_HE, champion_HE, shares_H)
    np.testing.assert_allclose(offset_H, 0.05 * gain_H)
    allowed = np.mean(p_values(contrast_HE, 0.05 * gain_H - offset_H, QUICK) <= 0.05)
    given = np.mean(p_values(difference_HE, 0.05 * gain_H, QUICK) <= 0.05)
    assert allowed < 0.065
    assert given > 0.07


def test_what_has_no_noise_or_no_gain_is_left_alone() -> None:
    differences_HE = np.array([[0.0, 0.0], [0.1, 0.2]])
    gains_HE = np.array([[1.0, 2.0], [-1.0, -2.0]])
    contrast_HE, offset_H = contrasts(differences_HE, gains_HE, np.full(2, 0.05))
    np.testing.assert_array_equal(contrast_HE, differences_HE)
    np.testing.assert_array_equal(offset_H, 0.0)

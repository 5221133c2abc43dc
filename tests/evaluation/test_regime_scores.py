"""Scores of regime detectors: by hand, by identities, and on beliefs of known quality."""

import math

import numpy as np
import pytest

from evaluation.regime_scores import (
    align,
    aligned,
    calibration_error,
    detection_delays,
    reliability,
    score_regimes,
    skill,
)

REGIME_T = np.array([0] * 20 + [1] * 20 + [0] * 20)


def certain(regime_T: np.ndarray, num_regimes: int = 2) -> np.ndarray:
    return np.asarray(np.eye(num_regimes)[regime_T])


class TestScores:
    def test_of_the_truth(self) -> None:
        scores = score_regimes(certain(REGIME_T), REGIME_T)
        figures = scores.figures()
        for name in ("accuracy", "balanced_accuracy", "ari", "false_alarms"):
            assert figures[name] == 1.0
        for name in ("log_score", "brier", "calibration_error", "delay_median", "missed"):
            assert figures[name] == 0.0

    def test_by_hand(self) -> None:
        belief_TK = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.995, 0.005]])
        scores = score_regimes(belief_TK, np.array([0, 1, 1, 1]))
        assert scores.accuracy == 0.5
        assert scores.balanced_accuracy == pytest.approx((1.0 + 1.0 / 3.0) / 2.0)
        logs = [-math.log(p) for p in (0.8, 0.4, 0.7, 0.01)]
        assert scores.log_score == pytest.approx(np.mean(logs))
        assert scores.clipped == 0.25
        squares = [2 * 0.2**2, 2 * 0.6**2, 2 * 0.3**2, 2 * 0.995**2]
        assert scores.brier == pytest.approx(np.mean(squares))
        assert scores.false_alarms == 2.0
        assert {type(value) for value in scores.figures().values()} == {float}

    def test_constant_frequencies_have_no_skill(self) -> None:
        frequency = np.bincount(REGIME_T) / len(REGIME_T)
        constant = score_regimes(np.tile(frequency, (60, 1)), REGIME_T)
        assert constant.ari == 0.0
        assert constant.delays.missed_share == 0.5
        assert skill(constant.log_score, constant.log_score, 0.1) == 0.0
        assert skill(0.1, constant.log_score, 0.1) == 1.0
        assert math.isnan(skill(0.1, 0.2, 0.2))

    @pytest.mark.parametrize(
        ("belief", "regime", "message"),
        [
            (np.ones((3, 2)), [0, 1, 1], "rows of probabilities"),
            (np.full((3, 2), np.nan), [0, 1, 1], "rows of probabilities"),
            (certain(REGIME_T), [0, 1], "one row for each of 2 bars"),
            (certain(REGIME_T)[:2], [0, 2], r"numbers in \[0, 2\)"),
            (np.array([[1.5, -0.5], [0.5, 0.5]]), [0, 1], "rows of probabilities"),
        ],
    )
    def test_bad_input(self, belief: np.ndarray, regime: list[int], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            score_regimes(belief, np.array(regime))


class TestDelays:
    def test_by_hand(self) -> None:
        belief_TK = certain(REGIME_T)
        belief_TK[20:27] = [0.6, 0.4]  # seven bars late
        belief_TK[40:43] = [0.2, 0.8]  # three
        delays = detection_delays(belief_TK, REGIME_T)
        assert delays.bars_N.tolist() == [7, 3]
        assert delays.quantile(0.5) == 3.0
        assert delays.quantile(0.9) == 7.0

    def test_short_regimes_do_not_count_and_missed_ones_do(self) -> None:
        regime_T = np.array([0] * 20 + [1] * 5 + [0] * 20 + [1] * 20)
        belief_TK = np.tile([0.9, 0.1], (65, 1))
        delays = detection_delays(belief_TK, regime_T)
        assert delays.bars_N.tolist() == [0]
        assert delays.missed_share == 0.5
        assert delays.quantile(0.9) == math.inf

    def test_no_switch(self) -> None:
        delays = detection_delays(np.tile([1.0, 0.0], (30, 1)), np.zeros(30, np.int64))
        assert math.isnan(delays.quantile(0.5))
        assert math.isnan(delays.missed_share)


class TestAlignment:
    def test_undoes_a_permutation(self) -> None:
        regime_T = np.random.default_rng(0).integers(0, 3, 300)
        order = np.array([2, 0, 1])
        shuffled = certain(order[regime_T], 3)
        np.testing.assert_array_equal(
            aligned(shuffled, align(shuffled, regime_T, 3)), certain(regime_T, 3)
        )

    def test_more_labels_than_regimes_go_many_to_one(self) -> None:
        label_T = np.array([0] * 10 + [1] * 10 + [2] * 20)
        regime_T = np.array([0] * 20 + [1] * 20)
        found_CK = align(certain(label_T, 3), regime_T, 2)
        assert found_CK.tolist() == [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]

    def test_one_label_for_two_regimes(self) -> None:
        found_CK = align(np.ones((60, 1)), REGIME_T, 2)
        assert found_CK.tolist() == [[1.0, 0.0]]


class TestCalibration:
    def test_drawn_from_its_own_beliefs_is_calibrated(self) -> None:
        random = np.random.default_rng(1)
        first = random.uniform(0.0, 1.0, 200_000)
        belief_TK = np.stack([first, 1.0 - first], axis=1)
        regime_T = (random.uniform(size=len(first)) > first).astype(np.int64)
        assert calibration_error(belief_TK, regime_T) < 0.005
        table = reliability(belief_TK, regime_T)
        np.testing.assert_allclose(table.believed_B, table.happened_B, atol=0.02)
        assert table.count_B.sum() == belief_TK.size

    def test_over_confidence_is_found(self) -> None:
        belief_TK = np.tile([0.95, 0.05], (1000, 1))
        regime_T = (np.arange(1000) % 2).astype(np.int64)
        assert calibration_error(belief_TK, regime_T) == pytest.approx(0.45)

"""Observations: shapes, gaps, and what is refused at the door."""

import numpy as np
import pytest

from regimes.base import Observations, RegimeError


def test_one_series_may_be_given_flat() -> None:
    seen = Observations.of([0.1, np.nan, 0.3], x=[1.0, 2.0, 3.0])
    assert seen.y_TD.shape == seen.x_TM.shape == (3, 1)
    assert seen.seen.tolist() == [True, False, True]
    assert len(seen) == 3
    assert Observations.of(seen) is seen
    assert Observations.of([0.1, 0.2]).x_TM.shape == (2, 0)


def test_observations_are_copies() -> None:
    mine = np.zeros(4)
    seen = Observations.of(mine)
    mine[:] = 7.0
    assert (seen.y_TD == 0.0).all()


def test_a_row_counts_only_when_all_series_are_there() -> None:
    seen = Observations.of([[0.1, 0.3], [np.nan, 0.2]])
    assert seen.seen.tolist() == [True, False]
    assert seen.mean[0] == pytest.approx(0.2)
    assert np.isnan(seen.mean[1])


def test_rows_are_a_span() -> None:
    seen = Observations.of(np.arange(5.0), np.arange(5.0)).rows(1, 3)
    assert seen.y_TD.ravel().tolist() == seen.x_TM.ravel().tolist() == [1.0, 2.0]


def test_regressors_may_lack_where_there_is_no_observation() -> None:
    seen = Observations.of([np.nan, 0.1], [np.nan, 1.0])
    assert seen.seen.tolist() == [False, True]


@pytest.mark.parametrize(
    ("y", "x", "words"),
    [
        (np.zeros((2, 0)), np.zeros((2, 0)), r"y: expected shape \(T, D\) with D >= 1"),
        (np.zeros((2, 1, 1)), np.zeros((2, 0)), r"y: expected .*\(2, 1, 1\)"),
        (np.zeros((2, 1)), np.zeros((3, 0)), r"x: expected shape \(2, M\), found \(3, 0\)"),
        (np.zeros((2, 1)), np.zeros(2), r"x: expected shape \(2, M\), found \(2,\)"),
        (np.array([[0.0], [np.inf]]), np.zeros((2, 0)), r"y\[1, 0\]: .*found an infinity"),
        (np.zeros((2, 1)), np.array([[0.0], [np.nan]]), r"x\[1\]: expected finite regressors"),
    ],
)
def test_what_cannot_be_observed_is_named(y: np.ndarray, x: np.ndarray, words: str) -> None:
    with pytest.raises(RegimeError, match=words):
        Observations(y, x)

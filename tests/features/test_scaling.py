"""Scaling: golden values, degenerate columns, clipping and the neutral zero."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.scaling import Scaler, Scaling
from features.state import Scale, scales_of

NAN = np.nan


def fitted(column: list[float], how: Scaling = "robust") -> tuple[float, float]:
    values_NF = np.array(column)[:, None]
    scaler = Scaler.fit(values_NF, np.array([True]), how=how, clip=5.0)
    return float(scaler.center_F[0]), float(scaler.scale_F[0])


def test_golden() -> None:
    # Median 3; absolute deviations 2, 1, 0, 1, 97: median 1.
    np.testing.assert_allclose(fitted([1.0, 2.0, 3.0, 4.0, 100.0]), (3.0, 1.482602218505602))
    np.testing.assert_allclose(fitted([1.0, 2.0, NAN, 3.0], "standard"), (2.0, np.sqrt(2 / 3)))
    assert fitted([1.0, 2.0], "none") == (0.0, 1.0)


def test_robust_equals_standard_for_a_normal_law() -> None:
    sample = np.random.default_rng(0).normal(3.0, 2.0, 200_000).tolist()
    assert fitted(sample)[0] == pytest.approx(3.0, abs=0.03)
    assert fitted(sample)[1] == pytest.approx(fitted(sample, "standard")[1], rel=0.01)


@pytest.mark.parametrize("how", ["robust", "standard"])
def test_constant_column_has_scale_one(how: Scaling) -> None:
    assert fitted([0.1] * 7, how) == (0.1, 1.0)
    assert fitted([NAN, 0.1], how) == (0.1, 1.0)


def test_mostly_equal_column_falls_back_to_the_standard_deviation() -> None:
    center, scale = fitted([0.0] * 8 + [1.0, -1.0])
    assert center == 0.0
    assert scale == pytest.approx(np.sqrt(0.2))


def test_transform_clips_and_neutralises() -> None:
    center_F, scale_F = np.array([1.0, 0.0]), np.array([2.0, 1.0])
    scaler = Scaler(center_F, scale_F, clip=3.0, knots_FQ=np.empty((2, 0)))
    values = scaler.transform(np.array([[3.0, NAN], [-99.0, 99.0]]))
    np.testing.assert_array_equal(values, [[1.0, 0.0], [-3.0, 3.0]])


def test_unscaled_columns_are_left_as_they_are() -> None:
    values_NF = np.array([[5.0, 5.0], [7.0, 7.0]])
    scaler = Scaler.fit(values_NF, np.array([False, True]), how="standard", clip=5.0)
    assert scaler.center_F.tolist() == [0.0, 6.0]
    assert scaler.scale_F.tolist() == [1.0, 1.0]


def ranked(training: NDArray[np.float64], values: list[float], clip: float = 5.0) -> list[float]:
    scaler = Scaler.fit(training[:, None], np.array([True]), how="rank", clip=clip)
    return [float(x) for x in scaler.transform(np.array(values)[:, None])[:, 0]]


def test_ranks_by_hand() -> None:
    training = np.arange(0.0, 101.0)  # percentile p is p
    found = ranked(training, [-5.0, 0.0, 25.0, 50.0, 62.5, 100.0, 7e9, NAN])
    np.testing.assert_allclose(found, [-1.0, -1.0, -0.5, 0.0, 0.25, 1.0, 1.0, 0.0], atol=1e-7)
    assert ranked(training, [0.0, 100.0], clip=0.5) == [-0.5, 0.5]


def test_tied_values_get_the_middle_of_their_ranks() -> None:
    # Percentiles 0 to 30 are 0, then 1 to 70: zero is worth 0.15 of [0, 1], that is -0.7.
    training = np.concatenate([np.zeros(31), np.arange(1.0, 71.0)])
    found = ranked(training, [-1e-9, 0.0, 0.5, 1.0])
    np.testing.assert_allclose(found, [-1.0, -0.7, -0.39, -0.38], atol=1e-6)
    assert ranked(np.full(9, 3.0), [2.0, 3.0, 4.0]) == [-1.0, 0.0, 1.0]


def test_ranks_of_a_training_sample_are_uniform() -> None:
    training = np.random.default_rng(1).standard_t(2, 50_000)
    scaler = Scaler.fit(training[:, None], np.array([True]), how="rank", clip=5.0)
    shares, _ = np.histogram(scaler.transform(training[:, None]), bins=20, range=(-1.0, 1.0))
    np.testing.assert_allclose(shares / 50_000, 0.05, atol=2e-3)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    st.lists(st.floats(-1e7, 1e7), min_size=1, max_size=600),
)
def test_ranks_are_monotone_and_odd(training: list[float], values: list[float]) -> None:
    up = ranked(np.array(training), values)
    down = ranked(-np.array(training), [-value for value in values])
    assert all(abs(value) <= 1.0 for value in up)
    # Interpolated percentiles of -x are those of x to rounding: between two knots that differ by a
    # few units in the last place the map is steep.
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(np.array(up)[order]) >= 0.0)
    if len(set(training)) == len(training) and np.diff(np.sort(training)).min(initial=1.0) > 1e-3:
        np.testing.assert_allclose(up, -np.array(down), atol=1e-4)


def test_ranks_leave_unscaled_columns_alone_and_write_into_views() -> None:
    values_NF = np.random.default_rng(2).normal(size=(1300, 2))
    scaler = Scaler.fit(values_NF, np.array([False, True]), how="rank", clip=1.5)
    wide = np.full((1300, 3), 9.0, np.float32)
    scaler.write(values_NF, wide[:, :2])
    np.testing.assert_array_equal(wide[:, 0], np.clip(values_NF[:, 0], -1.5, 1.5).astype("f4"))
    np.testing.assert_array_equal(wide[:, 1], scaler.transform(values_NF)[:, 1])
    assert np.all(wide[:, 2] == 9.0)


@pytest.mark.parametrize("how", ["robust", "standard", "rank", "none"])
def test_transform_equals_numpy_and_the_rows_one_by_one(how: Scaling) -> None:
    rng = np.random.default_rng(3)
    values_TAF = np.where(rng.random((40, 30, 5)) < 0.1, NAN, rng.standard_t(3, (40, 30, 5)))
    scaler = Scaler.fit(values_TAF.reshape(-1, 5), np.ones(5, bool), how=how, clip=2.0)
    whole = scaler.transform(values_TAF)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(whole, np.stack([scaler.transform(row) for row in values_TAF]))
    if how == "rank":
        for column in range(5):
            known = np.interp(
                values_TAF[..., column], scaler.knots_FQ[column], np.linspace(-1.0, 1.0, 101)
            )
            np.testing.assert_allclose(whole[..., column], np.nan_to_num(known), atol=1e-6)
    else:
        plain = np.clip((values_TAF - scaler.center_F) / scaler.scale_F, -2.0, 2.0)
        np.testing.assert_array_equal(whole, np.nan_to_num(plain).astype(np.float32))


def test_scales_survive_json_exactly() -> None:
    values_NF = np.random.default_rng(4).normal(size=(999, 2)) / 3.0
    scaler = Scaler.fit(values_NF, np.array([True, False]), how="rank", clip=5.0)
    scales = scales_of(scaler, ("a", "b"))
    read = Scale(**json.loads(json.dumps(vars(scales["a"]))))
    assert read == scales["a"]
    assert len(read.ranks) == 101
    assert scales["b"].ranks == ()

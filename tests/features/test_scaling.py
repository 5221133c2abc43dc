"""Scaling: golden values, degenerate columns, clipping and the neutral zero."""

import numpy as np
import pytest

from features.scaling import Scaler, Scaling

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
    scaler = Scaler(np.array([1.0, 0.0]), np.array([2.0, 1.0]), clip=3.0)
    values = scaler.transform(np.array([[3.0, NAN], [-99.0, 99.0]]))
    np.testing.assert_array_equal(values, [[1.0, 0.0], [-3.0, 3.0]])


def test_unscaled_columns_are_left_as_they_are() -> None:
    values_NF = np.array([[5.0, 5.0], [7.0, 7.0]])
    scaler = Scaler.fit(values_NF, np.array([False, True]), how="standard", clip=5.0)
    assert scaler.center_F.tolist() == [0.0, 6.0]
    assert scaler.scale_F.tolist() == [1.0, 1.0]

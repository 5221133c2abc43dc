"""Counter-based random numbers: the right law, independent streams, the same on every machine."""

import numpy as np
import pytest
from scipy import stats

from markets.synthetic.random import (
    mix,
    next_normal,
    next_uniform,
    normal_quantile,
    start_key,
)


def draws(seed: int, lane: int, episode: int, count: int) -> np.ndarray:
    key, numbers = start_key(seed, lane, episode), []
    for _ in range(count):
        number, key = next_normal(np.uint64(key))
        numbers.append(number)
    return np.array(numbers)


def test_splitmix_reference() -> None:
    """First outputs of SplitMix64 for the seed 1234567 (Vigna's reference implementation)."""
    counter, golden = np.uint64(1234567), np.uint64(0x9E3779B97F4A7C15)
    found = []
    with np.errstate(over="ignore"):
        for _ in range(3):
            found.append(int(mix(counter)))
            counter += golden
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_quantile_agrees_with_scipy() -> None:
    grid = np.concatenate(
        [
            np.linspace(0.0, 1.0, 2001)[1:-1],
            10.0 ** -np.arange(3, 17),
            1 - 10.0 ** -np.arange(3, 16),
        ]
    )
    found = np.array([normal_quantile(p) for p in grid])
    assert found == pytest.approx(stats.norm.ppf(grid), rel=1e-13, abs=1e-15)


def test_normals_are_normal() -> None:
    sample = draws(1, 2, 3, 20_000)
    assert stats.kstest(sample, "norm").pvalue > 0.01
    assert abs(np.corrcoef(sample[:-1], sample[1:])[0, 1]) < 0.02


def test_neighbouring_streams_are_independent() -> None:
    streams = [
        draws(0, 0, 0, 5000),
        draws(0, 1, 0, 5000),
        draws(0, 0, 1, 5000),
        draws(1, 0, 0, 5000),
    ]
    correlation = np.corrcoef(streams) - np.eye(4)
    assert np.abs(correlation).max() < 0.05


def test_uniform_is_below_one_and_reproducible() -> None:
    first = [next_uniform(np.uint64(start_key(5, lane, 0)))[0] for lane in range(1000)]
    again = [next_uniform(np.uint64(start_key(5, lane, 0)))[0] for lane in range(1000)]
    assert first == again
    assert 0.0 <= min(first) < 0.01
    assert 0.99 < max(first) < 1.0

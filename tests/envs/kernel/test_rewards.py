"""Golden values and identities of the reward functions."""

import math
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import pytest

from envs.kernel.jit import Compiled
from envs.kernel.rewards import (
    differential_sharpe,
    drawdown_penalty,
    log_return,
    mean_variance,
    near_log,
)

P = ParamSpec("P")
R = TypeVar("R")


@pytest.mark.parametrize("compiled", [True, False])
def test_golden_values(compiled: bool) -> None:
    def of(function: Compiled[P, R]) -> Callable[P, R]:
        return function if compiled else function.py_func

    assert of(log_return)(100.0, 110.0) == pytest.approx(0.09531017980432493, abs=1e-16)
    assert of(log_return)(100.0, 300.0) == pytest.approx(1.0986122886681098, abs=1e-15)
    assert of(log_return)(100.0, -5.0) == pytest.approx(math.log(1e-6), abs=1e-14)
    # R = 0.1: 0.1 - 3 / 2 * 0.01
    assert of(mean_variance)(100.0, 110.0, 3.0) == pytest.approx(0.085, abs=1e-15)
    # Peak 125: the drawdown grows from 0.2 to 0.28.
    assert of(drawdown_penalty)(100.0, 90.0, 125.0, 2.0) == pytest.approx(0.16, abs=1e-15)
    assert of(drawdown_penalty)(100.0, 130.0, 125.0, 2.0) == 0.0
    # R = 0.1, A = 0.02, B = 0.001: dA = 0.08, dB = 0.009, variance 0.0006,
    # D = (0.001 * 0.08 - 0.02 * 0.009 / 2) / 0.0006^1.5 = -1e-5 / 1.4696938e-5
    ratio, mean, square = of(differential_sharpe)(100.0, 110.0, 0.02, 0.001, 0.5)
    assert ratio == pytest.approx(-0.6804138174397717, rel=1e-9)
    assert (mean, square) == pytest.approx((0.06, 0.0055), abs=1e-15)


def test_first_differential_sharpe_is_zero() -> None:
    assert differential_sharpe(100.0, 101.0, 0.0, 0.0, 0.01)[0] == 0.0


def test_differential_sharpe_is_the_derivative_of_the_moving_sharpe_ratio() -> None:
    mean, square, simple, step = 0.01, 0.0005, 0.03, 1e-6

    def sharpe(eta: float) -> float:
        moved = mean + eta * (simple - mean)
        return moved / math.sqrt(square + eta * (simple**2 - square) - moved**2)

    ratio, _, _ = differential_sharpe(1.0, 1.0 + simple, mean, square, 0.1)
    assert ratio == pytest.approx((sharpe(step) - sharpe(-step)) / (2 * step), rel=1e-6)


def test_special_cases_agree() -> None:
    assert mean_variance(100.0, 107.0, 0.0) == pytest.approx(0.07, abs=1e-15)
    assert drawdown_penalty(100.0, 90.0, 125.0, 0.0) == 0.0


def test_near_log_is_the_logarithm() -> None:
    for k in range(2001):
        growth = 0.7072 + (1.4142 - 0.7072) * k / 2000
        assert near_log(growth) == pytest.approx(math.log(growth), rel=4e-16, abs=1e-17)
    assert near_log(1.0) == 0.0
    assert near_log(1.0 + 1e-12) == pytest.approx(math.log1p((1.0 + 1e-12) - 1.0), rel=1e-15)

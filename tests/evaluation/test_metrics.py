"""Every metric by hand, its special cases, and outside packages as cross-checks."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from evaluation import metrics

with warnings.catch_warnings():
    # quantstats imports plotting libraries whose deprecations are not ours.
    warnings.simplefilter("ignore")
    import quantstats

Array = NDArray[np.float64]

HAND = np.array([0.10, -0.05, 0.02, -0.10, 0.04])
"""Growth 1.10, 1.045, 1.0659, 0.95931, 0.9976824."""

RETURNS = np.random.default_rng(7).standard_t(4, size=750) * 0.01 + 0.0004

REASONABLE = hnp.arrays(
    np.float64, st.integers(3, 40), elements=st.integers(-50_000, 50_000).map(lambda n: n / 1e5)
)
"""Returns in steps of a tenth of a basis point, so that their squares are no rounding."""


def test_simple_returns_by_hand() -> None:
    np.testing.assert_allclose(
        metrics.simple_returns(np.array([100.0, 110.0, 99.0])), [0.10, -0.10], atol=1e-15
    )


def test_simple_returns_after_ruin_are_zero() -> None:
    returns_T = metrics.simple_returns(np.array([100.0, -20.0, 5.0, 5.0]))
    assert returns_T.tolist() == [-1.2, 0.0, 0.0]


@pytest.mark.parametrize("equity", [[100.0], [100.0, np.nan]])
def test_simple_returns_refuse_what_is_no_series(equity: list[float]) -> None:
    with pytest.raises(ValueError, match="equity: expected at least two finite values"):
        metrics.simple_returns(np.array(equity))


def test_growth_by_hand() -> None:
    assert metrics.total_return(HAND) == pytest.approx(-0.0023176, abs=1e-12)
    # Five bars at 252 a year: the exponent is 50.4.
    assert metrics.cagr(HAND, 252.0) == pytest.approx(0.9976824**50.4 - 1.0, abs=1e-12)
    assert metrics.annualised_log_growth(HAND, 252.0) == pytest.approx(
        50.4 * math.log(0.9976824), abs=1e-12
    )


def test_sharpe_and_volatility_by_hand() -> None:
    # Mean 0.002, deviations .098 -.052 .018 -.102 .038: squares sum to 0.02448, s = sqrt(0.00612).
    deviation = math.sqrt(0.02448 / 4)
    assert metrics.annualised_volatility(HAND, 252.0) == pytest.approx(
        deviation * math.sqrt(252), abs=1e-12
    )
    assert metrics.sharpe(HAND, 252.0) == pytest.approx(0.002 / deviation * math.sqrt(252))
    assert metrics.sharpe(HAND, 252.0, risk_free=0.504) == pytest.approx(0.0, abs=1e-12)


def test_sortino_by_hand() -> None:
    # Shortfalls 0.05 and 0.10 over five bars: sqrt(0.0125 / 5) = 0.05.
    assert metrics.sortino(HAND, 252.0) == pytest.approx(0.002 / 0.05 * math.sqrt(252))


def test_drawdown_and_calmar_by_hand() -> None:
    # From the peak of 1.10 to 0.95931; four bars under water, not ended.
    assert metrics.max_drawdown(HAND) == pytest.approx(1.0 - 0.95931 / 1.10)
    assert metrics.max_drawdown_length(HAND) == 4
    assert metrics.calmar(HAND, 5.0) == pytest.approx(-0.0023176 / (1.0 - 0.95931 / 1.10))


def test_hit_rate_and_skewness_by_hand() -> None:
    assert metrics.hit_rate(HAND) == pytest.approx(3 / 5)
    assert metrics.hit_rate(np.array([0.0, 0.1, 0.0, -0.1])) == pytest.approx(0.5)
    # 0, 0, 3: m2 = 2, m3 = 2, g1 = 2 / 2^1.5, G1 = sqrt(6) / 1 * g1 = sqrt(3).
    assert metrics.skewness(np.array([0.0, 0.0, 3.0])) == pytest.approx(math.sqrt(3))


def test_tail_ratio_by_hand() -> None:
    # 21 values -1 .. 3 in steps of 0.2: the 5% quantile is -0.8, the 95% quantile 2.8.
    assert metrics.tail_ratio(np.linspace(-1.0, 3.0, 21)) == pytest.approx(2.8 / 0.8)


def test_traded_fraction_is_the_larger_side() -> None:
    # Buying for 30 and selling for 10 of 100: cash falls by 20, half of (30 + 10 + 20) is 30.
    traded_TA = np.array([[30.0, -10.0], [-50.0, 50.0], [0.0, 0.0]])
    fraction_T = metrics.traded_fraction(traded_TA, np.array([100.0, 100.0, 100.0]))
    np.testing.assert_allclose(fraction_T, [0.3, 0.5, 0.0])


def test_exposure_and_costs_by_hand() -> None:
    assert metrics.exposure(np.array([[0.5, -0.5], [0.2, 0.0]])) == pytest.approx(0.6)
    assert metrics.cost_rate_bps(np.array([1.0, 2.0]), np.array([1000.0, 5000.0])) == pytest.approx(
        5.0
    )
    # 1 of 1000 and 2 of 2000 a bar: 10 bps a bar, 2520 a year.
    assert metrics.cost_drag_bps(
        np.array([1.0, 2.0]), np.array([1000.0, 2000.0]), 252.0
    ) == pytest.approx(2520.0)


def test_costs_without_trades_are_zero() -> None:
    nothing = np.zeros(3)
    assert metrics.cost_rate_bps(nothing, nothing) == 0.0
    assert metrics.cost_drag_bps(nothing, nothing, 252.0) == 0.0
    assert metrics.traded_fraction(np.zeros((3, 2)), nothing).tolist() == [0.0, 0.0, 0.0]


def test_constant_returns_have_defined_ratios() -> None:
    flat, rising = np.zeros(10), np.full(10, 0.001)
    assert metrics.sharpe(flat, 252.0) == 0.0
    assert metrics.sharpe(rising, 252.0) == np.inf
    assert metrics.sharpe(-rising, 252.0) == -np.inf
    assert metrics.sortino(rising, 252.0) == np.inf
    assert metrics.calmar(flat, 252.0) == 0.0
    assert metrics.calmar(rising, 252.0) == np.inf
    assert metrics.skewness(rising) == 0.0
    assert metrics.tail_ratio(flat) == 0.0
    assert np.isnan(metrics.hit_rate(flat))


def test_one_bar_is_undefined_where_a_spread_is_needed() -> None:
    one = np.array([0.01])
    assert np.isnan(metrics.annualised_volatility(one, 252.0))
    assert np.isnan(metrics.sharpe(one, 252.0))
    assert np.isnan(metrics.skewness(np.array([0.01, 0.02])))
    assert metrics.total_return(one) == pytest.approx(0.01)
    assert metrics.max_drawdown(-one) == pytest.approx(0.01)


@pytest.mark.parametrize("loss", [-1.0, -1.5])
def test_ruin_is_a_total_loss(loss: float) -> None:
    ruined = np.array([0.1, loss, 0.0, 0.0])
    assert metrics.total_return(ruined) == pytest.approx(1.1 * (1.0 + loss) - 1.0)
    assert metrics.cagr(ruined, 252.0) == -1.0
    assert metrics.max_drawdown(ruined) == pytest.approx(-loss)
    floor = 252.0 / 4 * (math.log(1.1) + math.log(metrics.RUIN_FLOOR))
    assert metrics.annualised_log_growth(ruined, 252.0) == pytest.approx(floor)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.total_return, empyrical.cum_returns_final),
        (lambda r: metrics.cagr(r, 252.0), empyrical.annual_return),
        (lambda r: metrics.annualised_volatility(r, 252.0), empyrical.annual_volatility),
        (lambda r: metrics.sharpe(r, 252.0), empyrical.sharpe_ratio),
        (lambda r: metrics.sortino(r, 252.0), empyrical.sortino_ratio),
        (lambda r: metrics.calmar(r, 252.0), empyrical.calmar_ratio),
        (lambda r: -metrics.max_drawdown(r), empyrical.max_drawdown),
        (metrics.tail_ratio, empyrical.tail_ratio),
    ],
    ids=["total", "cagr", "volatility", "sharpe", "sortino", "calmar", "drawdown", "tail"],
)
def test_agrees_with_empyrical(ours: Callable[..., Any], theirs: Callable[..., Any]) -> None:
    assert float(ours(RETURNS)) == pytest.approx(float(theirs(RETURNS)), rel=1e-12)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda r: metrics.sharpe(r, 252.0), quantstats.stats.sharpe),
        (lambda r: metrics.sortino(r, 252.0), quantstats.stats.sortino),
        (lambda r: metrics.annualised_volatility(r, 252.0), quantstats.stats.volatility),
        (lambda r: -metrics.max_drawdown(r), quantstats.stats.max_drawdown),
        (metrics.hit_rate, quantstats.stats.win_rate),
        (metrics.skewness, quantstats.stats.skew),
        (metrics.tail_ratio, quantstats.stats.tail_ratio),
    ],
    ids=["sharpe", "sortino", "volatility", "drawdown", "hits", "skew", "tail"],
)
def test_agrees_with_quantstats(ours: Callable[..., Any], theirs: Callable[..., Any]) -> None:
    series = pd.Series(RETURNS, index=pd.bdate_range("2020-01-01", periods=len(RETURNS)))
    assert float(ours(RETURNS)) == pytest.approx(float(theirs(series)), rel=1e-9)


@given(REASONABLE)
def test_leading_axes_are_kept(returns_T: Array) -> None:
    stacked_NT = np.stack([returns_T, returns_T[::-1]])
    figures: list[Callable[[Array], Array]] = [
        metrics.total_return,
        metrics.max_drawdown,
        metrics.max_drawdown_length,
        metrics.skewness,
        metrics.tail_ratio,
        metrics.hit_rate,
        lambda r: metrics.sharpe(r, 252.0),
        lambda r: metrics.sortino(r, 252.0),
        lambda r: metrics.calmar(r, 252.0),
    ]
    for figure in figures:
        both_N = figure(stacked_NT)
        assert both_N.shape == (2,)
        # Sums in another memory layout differ in the last bits.
        np.testing.assert_allclose(both_N[0], figure(returns_T), rtol=1e-6, atol=1e-9)


@given(REASONABLE)
def test_equity_and_returns_are_inverse(returns_T: Array) -> None:
    np.testing.assert_allclose(
        metrics.simple_returns(metrics.equity_curve(returns_T)), returns_T, atol=1e-12
    )


@given(REASONABLE, st.floats(0.1, 10.0))
def test_ratios_do_not_depend_on_scale(returns_T: Array, scale: float) -> None:
    scaled = np.asarray(returns_T * scale)
    for figure in (metrics.sharpe, metrics.sortino):
        np.testing.assert_allclose(
            figure(scaled, 252.0), figure(returns_T, 252.0), rtol=1e-6, atol=1e-9
        )

"""Risk measures against figures worked by hand, identities, invariants and refused input."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from beartype import beartype
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from jaxtyping import TypeCheckError, jaxtyped

import risk

EQUITY_T = np.array([100.0, 120.0, 90.0, 108.0, 126.0, 63.0, 63.0])
# 20 returns: -10%, -9%, ..., +9%.
RETURNS_T = np.arange(-10, 10) / 100.0

equities = arrays(np.float64, st.integers(1, 60), elements=st.floats(0.01, 1e6))
returns = arrays(np.float64, st.integers(2, 60), elements=st.floats(-0.5, 0.5))
levels = st.floats(0.01, 0.99)
weights = arrays(np.float64, array_shapes(min_dims=1, max_dims=3), elements=st.floats(-3.0, 3.0))


class TestGolden:
    def test_drawdowns(self) -> None:
        expected_T = [0.0, 0.0, 0.25, 0.10, 0.0, 0.5, 0.5]
        np.testing.assert_allclose(risk.drawdowns(EQUITY_T), expected_T, rtol=1e-15, atol=1e-16)
        assert risk.max_drawdown(EQUITY_T) == 0.5

    def test_duration_counts_bars_below_the_peak(self) -> None:
        assert risk.drawdown_duration(EQUITY_T) == 2  # rows 2-3 and rows 5-6
        assert risk.drawdown_duration(EQUITY_T[:3]) == 1  # not yet recovered: counted so far
        assert risk.drawdown_duration(np.array([5.0, 4.0, 4.5, 4.9, 5.0, 4.0])) == 3

    def test_value_at_risk_is_an_observed_loss(self) -> None:
        # 5% of 20 periods is one period: the worst loss; 10%: the second worst; 12%: the third.
        assert risk.value_at_risk(RETURNS_T, 0.95) == 0.10
        assert risk.value_at_risk(RETURNS_T, 0.90) == 0.09
        assert risk.value_at_risk(RETURNS_T, 0.88) == 0.08
        assert risk.value_at_risk(RETURNS_T[::-1], 0.88) == 0.08

    def test_expected_shortfall_weighs_the_last_return_by_its_fraction(self) -> None:
        # 12% of 20 periods: 2.4 returns: (0.10 + 0.09 + 0.4 * 0.08) / 2.4 = 0.222 / 2.4.
        assert risk.expected_shortfall(RETURNS_T, 0.95) == pytest.approx(0.10, rel=1e-14)
        assert risk.expected_shortfall(RETURNS_T, 0.88) == pytest.approx(0.0925, rel=1e-14)

    def test_volatility_and_downside_deviation(self) -> None:
        returns_T = np.array([0.03, -0.01, 0.01, -0.03])
        # Squares around the mean 0: 9 + 1 + 1 + 9 = 20 (1e-4); over 3; times 252.
        assert risk.volatility(returns_T, 252) == pytest.approx(math.sqrt(20e-4 / 3 * 252))
        # Shortfalls below 1%: 0, 2%, 0, 4%: (4 + 16) 1e-4 over all 4 periods.
        assert risk.downside_deviation(returns_T, 0.01, 252) == pytest.approx(math.sqrt(0.126))

    def test_exposures(self) -> None:
        weights_NA = np.array([[0.5, -0.25, 0.25], [0.0, 0.0, 0.0]])
        assert risk.gross_exposure(weights_NA).tolist() == [1.0, 0.0]
        assert risk.net_exposure(weights_NA).tolist() == [0.5, 0.0]
        assert risk.concentration(weights_NA).tolist() == [0.375, 0.0]  # 1/4 + 1/16 + 1/16

    def test_leverage_of_solvent_ruined_and_flat_accounts(self) -> None:
        values_NA = np.array([[150.0, -50.0], [10.0, 0.0], [0.0, 0.0]])
        leverage_N = risk.leverage(values_NA, np.array([100.0, -1.0, 0.0]))
        assert leverage_N.tolist() == [2.0, math.inf, 0.0]

    def test_turnover_with_cash_column(self) -> None:
        before_NA = np.array([[1.0, 0.0, 0.0], [0.2, 0.5, 0.3]])
        after_NA = np.array([[0.0, 0.5, 0.5], [0.3, 0.5, 0.2]])
        np.testing.assert_allclose(risk.turnover(before_NA, after_NA), [1.0, 0.1], rtol=1e-15)


class TestIdentities:
    @given(equities)
    def test_drawdown_is_zero_exactly_when_equity_never_falls(self, equity_T: Any) -> None:
        never_falls = bool(np.all(np.diff(equity_T) >= 0.0))
        assert (risk.max_drawdown(equity_T) == 0.0) == never_falls
        assert (risk.drawdown_duration(equity_T) == 0) == never_falls

    @given(equities)
    def test_max_drawdown_is_the_worst_pair(self, equity_T: Any) -> None:
        pairs = [1 - y / x for i, x in enumerate(equity_T) for y in equity_T[i:]]
        assert risk.max_drawdown(equity_T) == pytest.approx(max(pairs), abs=1e-15)

    @given(equities)
    def test_duration_is_the_longest_run_counted_one_by_one(self, equity_T: Any) -> None:
        longest = run = 0
        for drawdown in risk.drawdowns(equity_T):
            run = run + 1 if drawdown > 0 else 0
            longest = max(longest, run)
        assert risk.drawdown_duration(equity_T) == longest

    @given(returns, levels)
    def test_shortfall_is_the_minimum_of_rockafellar_and_uryasev(
        self, returns_T: Any, level: float
    ) -> None:
        """ES = min_c c + E[(L - c)+] / (1 - level); the minimum lies at an observed loss."""
        losses_T = -returns_T
        objective = [c + np.mean(np.maximum(losses_T - c, 0.0)) / (1.0 - level) for c in losses_T]
        assert risk.expected_shortfall(returns_T, level) == pytest.approx(min(objective), abs=1e-9)

    @given(returns, levels)
    def test_shortfall_is_never_below_value_at_risk(self, returns_T: Any, level: float) -> None:
        shortfall = risk.expected_shortfall(returns_T, level)
        assert shortfall >= risk.value_at_risk(returns_T, level) - 1e-12

    @given(returns, levels)
    def test_value_at_risk_equals_the_inverse_of_the_distribution(
        self, returns_T: Any, level: float
    ) -> None:
        tail = round((1.0 - level) * len(returns_T), 12)
        below = [x for x in returns_T if np.sum(returns_T <= x) >= tail]
        assert risk.value_at_risk(returns_T, level) == -min(below)

    @given(returns, st.floats(0.1, 10.0))
    def test_dispersion_scales_and_value_at_risk_is_homogeneous(
        self, returns_T: Any, scale: float
    ) -> None:
        measures: tuple[Callable[[Any], float], ...] = (
            lambda r: risk.volatility(r, 252),
            lambda r: risk.downside_deviation(r, 0.0, 252),
            lambda r: risk.value_at_risk(r, 0.9),
            lambda r: risk.expected_shortfall(r, 0.9),
        )
        for measure in measures:
            scaled = measure(scale * returns_T)
            assert scaled == pytest.approx(scale * measure(returns_T), rel=1e-9, abs=1e-12)

    @given(returns)
    def test_deviations_around_the_mean_add_up_to_the_variance(self, returns_T: Any) -> None:
        mean = float(np.mean(returns_T))
        below = risk.downside_deviation(returns_T, mean, 1)
        above = risk.downside_deviation(-returns_T, -mean, 1)
        periods = len(returns_T)
        variance = risk.volatility(returns_T, 1) ** 2 * (periods - 1) / periods
        assert below**2 + above**2 == pytest.approx(variance, abs=1e-12)

    @given(weights)
    def test_exposures_bound_each_other(self, weights_NA: Any) -> None:
        gross_N = risk.gross_exposure(weights_NA)
        concentration_N = risk.concentration(weights_NA)
        assets = weights_NA.shape[-1]
        assert np.all(np.abs(risk.net_exposure(weights_NA)) <= gross_N + 1e-12)
        held_N = gross_N > 0
        assert np.all(concentration_N[held_N] >= 1.0 / assets - 1e-12)
        assert np.all(concentration_N[held_N] <= 1.0 + 1e-12)
        assert np.all(concentration_N[~held_N] == 0.0)
        np.testing.assert_array_equal(
            risk.leverage(weights_NA, np.ones(weights_NA.shape[:-1])), gross_N
        )

    @given(weights)
    def test_turnover_is_half_a_distance(self, weights_NA: Any) -> None:
        other_NA = weights_NA[..., ::-1]
        forth_N = risk.turnover(weights_NA, other_NA)
        np.testing.assert_array_equal(forth_N, risk.turnover(other_NA, weights_NA))
        np.testing.assert_array_equal(risk.turnover(weights_NA, weights_NA), 0.0)
        from_cash_N = risk.turnover(np.zeros_like(weights_NA), weights_NA)
        np.testing.assert_array_equal(from_cash_N, 0.5 * risk.gross_exposure(weights_NA))

    def test_equal_weights_have_concentration_one_over_the_count(self) -> None:
        for assets in (1, 2, 7):
            weights_A = np.full(assets, -0.3)
            assert float(risk.concentration(weights_A)) == pytest.approx(1.0 / assets, rel=1e-14)

    def test_single_precision_and_extreme_levels(self) -> None:
        returns_T = RETURNS_T.astype(np.float32)
        assert risk.value_at_risk(returns_T, 0.95) == pytest.approx(0.10, rel=1e-6)
        assert risk.value_at_risk(RETURNS_T, 1.0 - 1e-15) == 0.10
        assert risk.expected_shortfall(RETURNS_T, 1e-9) == pytest.approx(-RETURNS_T.mean())


class TestRefusals:
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: risk.drawdowns(np.array([])), "equity_T: expected at least 1 period"),
            (lambda: risk.max_drawdown(np.array([0.0, 1.0])), r"equity_T\[0\]: .* positive"),
            (lambda: risk.drawdown_duration(np.array([1.0, np.nan])), r"equity_T\[1\]: .* finite"),
            (lambda: risk.value_at_risk(RETURNS_T, 1.0), r"level: .* in \(0, 1\), found 1.0"),
            (lambda: risk.expected_shortfall(RETURNS_T, math.nan), "level: .* found nan"),
            (lambda: risk.expected_shortfall(np.array([np.inf]), 0.5), r"returns_T\[0\]: .* inf"),
            (lambda: risk.volatility(np.array([0.1]), 252), "at least 2 periods, found 1"),
            (lambda: risk.volatility(RETURNS_T, 0.0), "periods_per_year: .* positive"),
            (lambda: risk.downside_deviation(RETURNS_T, 0.0, -1.0), "periods_per_year"),
        ],
    )
    def test_error_names_argument_and_value(self, call: Callable[[], Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            call()

    def test_ruin_is_a_drawdown_above_one(self) -> None:
        assert risk.max_drawdown(np.array([2.0, -1.0])) == 1.5


class TestShapes:
    """The annotations are true: each measure runs under jaxtyping with beartype."""

    CALLS = (
        (risk.drawdowns, (EQUITY_T,)),
        (risk.max_drawdown, (EQUITY_T,)),
        (risk.drawdown_duration, (EQUITY_T,)),
        (risk.value_at_risk, (RETURNS_T, 0.9)),
        (risk.expected_shortfall, (RETURNS_T, 0.9)),
        (risk.volatility, (RETURNS_T, 252.0)),
        (risk.downside_deviation, (RETURNS_T, 0.0, 252.0)),
        (risk.gross_exposure, (np.ones((2, 3, 4)),)),
        (risk.net_exposure, (np.ones(4),)),
        (risk.concentration, (np.ones((3, 4)),)),
        (risk.leverage, (np.ones((3, 4)), np.ones(3))),
        (risk.turnover, (np.ones(4), np.zeros(4))),
    )

    def test_every_measure_is_listed(self) -> None:
        assert {function.__name__ for function, _ in self.CALLS} == set(risk.__all__)

    @pytest.mark.parametrize(("function", "arguments"), CALLS)
    def test_annotations(self, function: Callable[..., Any], arguments: Any) -> None:
        checked = jaxtyped(typechecker=beartype)(function)
        np.testing.assert_array_equal(checked(*arguments), function(*arguments))
        with pytest.raises(TypeCheckError):
            checked(np.ones((2, 2), dtype=np.int64), *arguments[1:])

    def test_mismatched_shapes_are_refused(self) -> None:
        checked = jaxtyped(typechecker=beartype)(risk.turnover)
        with pytest.raises(TypeCheckError):
            checked(np.ones((2, 3)), np.ones((2, 4)))

"""Statistics against values worked by hand, scipy, numpy and pandas."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from features.definition import Array, BoundFeature, FeatureError
from features.indicators import statistics
from features.indicators.parts import log_change
from tests.features.both_forms import (
    assert_both_forms_agree,
    assert_memory_is_enough,
    bound,
    quiet_market,
)
from tests.features.own_series import KINDS, require_equal_forms, require_restart

CASES = [
    bound("autocorrelation"),
    bound("autocorrelation", window=5, lag=4),
    bound("extreme_return"),
    bound("kurtosis"),
    bound("linear_fit"),
    bound("linear_fit", window=2),
    bound("percentile_rank"),
    bound("percentile_rank", window=2),
    bound("permutation_entropy"),
    bound("permutation_entropy", window=3),
    bound("price_zscore"),
    bound("return_zscore"),
    bound("sign_balance"),
    bound("skewness"),
    bound("skewness", window=3),
    bound("variance_ratio"),
    bound("variance_ratio", window=3, horizon=2),
    bound("volatility_clustering"),
]
NAMES = sorted({case.feature.name for case in CASES})

CLOSE = quiet_market(7)["close"][:300]
RETURNS = log_change(CLOSE, 1)


def prices(*returns: float) -> Array:
    """Closes with these log returns."""
    close_T: Array = np.exp(np.cumsum([0.0, *returns]))
    return close_T


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_batch_and_step_agree(case: BoundFeature) -> None:
    assert_both_forms_agree(case)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_batch_and_step_agree_where_rounding_shows(name: str, kind: str) -> None:
    require_equal_forms(name, kind)


@pytest.mark.parametrize("name", NAMES)
def test_state_is_all_that_a_restart_needs(name: str) -> None:
    require_restart(name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_memory_is_enough(case: BoundFeature) -> None:
    assert_memory_is_enough(case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_a_price_that_grows_evenly_is_finite(case: BoundFeature) -> None:
    """Its returns differ by rounding alone, which must not be blown up."""
    close_T = 0.1 * 1.01 ** np.arange(200)
    values = case.feature.function(close_T, **case.parameters)
    for values_T in values if case.feature.outputs else (values,):
        assert np.abs(values_T[case.warmup :]).max() <= math.sqrt(63.0)
        assert np.ptp(values_T[case.warmup :]) < 1e-9


class TestMoments:
    def test_skewness_of_one_return_among_four(self) -> None:
        # (1, 0, 0, 0): mean 1/4, second moment 3/16, third 6/64: 2 / sqrt(3).
        skewness_T = statistics.skewness(prices(1.0, 0.0, 0.0, 0.0), window=4)
        assert skewness_T[-1] == pytest.approx(2.0 / math.sqrt(3.0), rel=1e-13)

    def test_kurtosis_of_one_return_among_four(self) -> None:
        # Fourth moment (81 + 3) / 1024, over (3/16)^2: 7/3, less 3.
        kurtosis_T = statistics.kurtosis(prices(1.0, 0.0, 0.0, 0.0), window=4)
        assert kurtosis_T[-1] == pytest.approx(7.0 / 3.0 - 3.0, rel=1e-12)

    def test_moments_are_those_of_scipy(self) -> None:
        windows = np.lib.stride_tricks.sliding_window_view(RETURNS[1:], 63)
        np.testing.assert_allclose(
            statistics.skewness(CLOSE)[63:], stats.skew(windows, axis=1), rtol=1e-9, atol=1e-12
        )
        np.testing.assert_allclose(
            statistics.kurtosis(CLOSE)[63:], stats.kurtosis(windows, axis=1), rtol=1e-9, atol=1e-12
        )


class TestCorrelation:
    def test_returns_that_alternate(self) -> None:
        # Mean 0: three products of -1 over four squares of 1.
        close_T = prices(1.0, -1.0, 1.0, -1.0)
        assert statistics.autocorrelation(close_T, window=4)[-1] == pytest.approx(-0.75, rel=1e-14)
        assert statistics.autocorrelation(close_T, window=4, lag=2)[-1] == pytest.approx(0.5)

    def test_autocorrelation_is_numpys(self) -> None:
        deviation = RETURNS[-63:] - RETURNS[-63:].mean()
        expected = np.correlate(deviation, deviation, "full")[62 + 3] / np.sum(deviation**2)
        found = statistics.autocorrelation(CLOSE, lag=3)[-1]
        assert found == pytest.approx(expected, rel=1e-11)

    def test_clustering_sees_sizes_not_signs(self) -> None:
        # Sizes 2, 2, 1, 1: deviations 1/2, 1/2, -1/2, -1/2, products 1/4, -1/4, 1/4, over 1.
        close_T = prices(2.0, -2.0, 1.0, -1.0)
        clustering_T = statistics.volatility_clustering(close_T, window=4)
        assert clustering_T[-1] == pytest.approx(0.25, rel=1e-13)

    @pytest.mark.parametrize(
        ("name", "parameter"),
        [
            ("autocorrelation", "lag"),
            ("volatility_clustering", "lag"),
            ("variance_ratio", "horizon"),
        ],
    )
    def test_a_distance_as_long_as_the_window_is_refused(self, name: str, parameter: str) -> None:
        with pytest.raises(
            FeatureError, match=rf"{name}\.{parameter}: must be < window \(5\), was 5"
        ):
            bound(name, window=5, **{parameter: 5})


class TestVarianceRatio:
    def test_moves_that_turn_back_at_once(self) -> None:
        """Every change over two bars is 0: a ratio of 0, less 1."""
        ratio_T = statistics.variance_ratio(prices(1.0, -1.0, 1.0, -1.0), window=4, horizon=2)
        assert ratio_T[-1] == pytest.approx(-1.0, abs=1e-14)

    def test_moves_that_go_on(self) -> None:
        # Returns 1, 1, -1, -1: changes over two bars 2, 0, -2, squares 8 over m = 2 * 3 / 2;
        # squares of one bar 4 over 3: a ratio of 2, less 1.
        ratio_T = statistics.variance_ratio(prices(1.0, 1.0, -1.0, -1.0), window=4, horizon=2)
        assert ratio_T[-1] == pytest.approx(1.0, rel=1e-13)

    def test_it_has_no_bias(self) -> None:
        """Over a random walk its mean is 0, within four standard errors of overlapping windows."""
        rng = np.random.default_rng(3)
        ratio_T = statistics.variance_ratio(prices(*rng.normal(0.01, 0.02, 20_000)))[63::63]
        assert abs(ratio_T.mean()) < 4.0 * ratio_T.std() / math.sqrt(len(ratio_T))


class TestPlace:
    def test_zscores_are_those_of_pandas(self) -> None:
        for found_T, values, window in (
            (statistics.price_zscore(CLOSE), np.log(CLOSE), 63),
            (statistics.return_zscore(CLOSE), RETURNS, 21),
        ):
            rolling = pd.Series(values).rolling(window)
            expected_T = (values - rolling.mean()) / rolling.std(ddof=0)
            np.testing.assert_allclose(found_T, expected_T, rtol=1e-8, atol=1e-9)

    def test_zscore(self) -> None:
        # Log prices 0, 1, 5: mean 2, deviation sqrt(14/3); the newest lies 3 above.
        found_T = statistics.price_zscore(np.exp([0.0, 1.0, 5.0]), window=3)
        assert found_T[-1] == pytest.approx(3.0 / math.sqrt(14.0 / 3.0), rel=1e-13)

    def test_percentile_rank_of_equal_closes_is_in_the_middle(self) -> None:
        # Against 1, 2, 3, 2: the 2 has one below, one above, two equal; the 3 then three below.
        rank_T = statistics.percentile_rank(np.array([1.0, 2.0, 3.0, 2.0, 2.0, 3.5]), window=4)
        np.testing.assert_allclose(rank_T[4:], [0.0, 1.0], atol=1e-15)

    def test_percentile_rank_is_scipys(self) -> None:
        """Its 'mean' score of 0 to 100 is (1 + r) / 2 of ours."""
        score = stats.percentileofscore(CLOSE[-64:-1], CLOSE[-1], kind="mean")
        assert statistics.percentile_rank(CLOSE)[-1] == pytest.approx(score / 50.0 - 1.0, abs=1e-13)


class TestShape:
    def test_linear_fit_of_a_line_is_its_sign(self) -> None:
        assert statistics.linear_fit(prices(*[0.01] * 80))[-1] == pytest.approx(1.0, rel=1e-12)
        assert statistics.linear_fit(prices(*[-0.01] * 80))[-1] == pytest.approx(-1.0, rel=1e-12)

    def test_linear_fit_is_the_squared_correlation_with_time(self) -> None:
        for last in (100, 180, 299):
            line = stats.linregress(np.arange(63.0), np.log(CLOSE[last - 62 : last + 1]))
            expected = math.copysign(line.rvalue**2, line.slope)
            assert statistics.linear_fit(CLOSE)[last] == pytest.approx(expected, rel=1e-9)

    def test_sign_balance(self) -> None:
        close_T = np.array([1.0, 2.0, 3.0, 2.0, 2.0])
        np.testing.assert_allclose(
            statistics.sign_balance(close_T, window=3)[3:], [1.0 / 3.0, 0.0], atol=1e-16
        )

    def test_permutation_entropy_of_two_patterns(self) -> None:
        """1 3 2 and 3 2 4 are ordered differently: ln 2 over ln 6."""
        entropy_T = statistics.permutation_entropy(np.array([1.0, 3.0, 2.0, 4.0]), window=4)
        assert entropy_T[-1] == pytest.approx(math.log(2.0) / math.log(6.0), rel=1e-14)

    def test_permutation_entropy_is_that_of_sorted_threes(self) -> None:
        threes = np.lib.stride_tricks.sliding_window_view(CLOSE[-63:], 3)
        _, counts = np.unique(np.argsort(threes, axis=1), axis=0, return_counts=True)
        expected = stats.entropy(counts / counts.sum()) / math.log(6.0)
        assert statistics.permutation_entropy(CLOSE)[-1] == pytest.approx(expected, rel=1e-12)

    def test_extreme_return(self) -> None:
        most_T, least_T = statistics.extreme_return(prices(0.1, -0.2, 0.05), window=2)
        np.testing.assert_allclose(most_T[2:], [0.1, 0.05], rtol=1e-13)
        np.testing.assert_allclose(least_T[2:], [-0.2, -0.2], rtol=1e-13)

"""Cross-asset features against values worked by hand, numpy, pandas and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from features import FeatureConfig, FeaturePipeline, FeatureSpec
from features.definition import Array, BoundFeature
from features.indicators import cross_asset
from features.scaling import Scaling
from tests.features.both_forms import HALT, batch, bound, quiet_market, stepped
from tests.features.random_markets import random_bars

Series = dict[str, Array]

CASES = [
    bound("average_correlation"),
    bound("average_correlation", window=2),
    bound("beta"),
    bound("beta", window=2),
    bound("beta_downside"),
    bound("beta_downside", window=4),
    bound("breadth"),
    bound("dispersion"),
    bound("idiosyncratic_volatility"),
    bound("idiosyncratic_volatility", window=3),
    bound("lead_lag"),
    bound("lead_lag", window=2),
    bound("market_correlation"),
    bound("market_correlation", window=2),
    bound("market_drawdown"),
    bound("market_return"),
    bound("market_return", horizon=1),
    bound("market_volatility"),
    bound("relative_strength"),
    bound("sector_relative"),
]


def quiet_panel(seed: int = 0) -> Series:
    """The asset of `quiet_market`, and a market and a sector that rest with it."""
    close_T = quiet_market(seed)["close"]
    rng = np.random.default_rng(seed + 50)
    return_T = np.diff(np.log(close_T), prepend=np.log(close_T[0]))
    move_T = 0.5 * return_T + rng.normal(0.0, 0.01, len(close_T))
    move_T[HALT] = 0.0
    move_T[0] = 0.0
    spread_T = rng.exponential(0.01, len(close_T))
    spread_T[HALT] = 0.0
    return {
        "close": close_T,
        "market": np.exp(np.cumsum(move_T)),
        "sector": np.exp(np.cumsum(0.3 * return_T + 0.5 * move_T)),
        "dispersion": spread_T,
        "breadth": np.where(spread_T == 0.0, 0.5, rng.random(len(close_T))),
    }


PANEL = {name: values[:500] for name, values in quiet_panel(3).items()}
CLOSE, MARKET, SECTOR = PANEL["close"], PANEL["market"], PANEL["sector"]
OWN = pd.Series(np.log(CLOSE)).diff()
MOVE = pd.Series(np.log(MARKET)).diff()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
@pytest.mark.parametrize("seed", range(2))
def test_batch_and_step_agree(case: BoundFeature, seed: int) -> None:
    series = quiet_panel(seed)
    one_TK, other_TK = batch(case, series), stepped(case, series)
    for values_TK in (one_TK, other_TK):
        assert np.isnan(values_TK[: case.warmup]).all()
        assert np.isfinite(values_TK[case.warmup :]).all()
    np.testing.assert_allclose(one_TK, other_TK, rtol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_the_last_bars_are_enough(case: BoundFeature) -> None:
    """Bit for bit, in a halt and after it too; the level of the market may be any."""
    series = quiet_panel()
    whole_TK = batch(case, series)
    for last in (250, 600, HALT.start + 10, HALT.stop + 5, 1999):
        span = slice(last - case.warmup, last + 1)
        tail = {name: values[span] for name, values in series.items()}
        assert batch(case, tail)[-1].tobytes() == whole_TK[last].tobytes()
        scaled = tail | {name: tail[name] * 7.3e4 for name in ("market", "sector", "close")}
        np.testing.assert_allclose(batch(case, scaled)[-1], whole_TK[last], 1e-9, 1e-12)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_a_market_at_rest_is_neutral(case: BoundFeature) -> None:
    still = {name: np.full(200, 0.1) for name in ("close", "market", "sector")}
    values_TK = batch(case, still | {"dispersion": np.zeros(200), "breadth": np.full(200, 0.5)})
    np.testing.assert_array_equal(values_TK[case.warmup :], 0.0)


@pytest.mark.parametrize("name", ["beta", "beta_downside", "market_correlation", "lead_lag"])
def test_a_market_that_moves_by_rounding_is_at_rest(name: str) -> None:
    """Two assets that cancel leave a level that wavers in its last digit."""
    steps_T = np.random.default_rng(0).integers(-1, 2, 500).astype(np.float64)
    waver_T: Array = 1.0 + 2.0**-52 * steps_T
    assert len(np.unique(waver_T)) == 3
    values_TK = batch(bound(name), {"close": CLOSE, "market": waver_T})
    np.testing.assert_array_equal(values_TK[64:], 0.0)


def returns_to_levels(*returns: float) -> Array:
    return np.asarray(np.exp(np.cumsum([0.0, *returns])))


class TestRegression:
    # Moves -1, 0, 1, 2 and returns 2 m + 1, but the last, which is 1 less.
    MARKET = returns_to_levels(-0.01, 0.0, 0.01, 0.02)
    CLOSE = returns_to_levels(-0.01, 0.01, 0.03, 0.04)

    def test_beta_by_hand(self) -> None:
        # About the means: m -1.5, -0.5, 0.5, 1.5; r -2.75, -0.75, 1.25, 2.25: sums 8.5 and 5.
        found = cross_asset.beta(self.CLOSE, self.MARKET, window=4)
        assert found[4] == pytest.approx(8.5 / 5.0, rel=1e-10)
        assert np.isnan(found[:4]).all()

    def test_beta_of_the_line(self) -> None:
        found = cross_asset.beta(self.CLOSE, self.MARKET, window=3)
        assert found[3] == pytest.approx(2.0, rel=1e-10)

    def test_volatility_by_hand(self) -> None:
        # r - 1.7 m about its mean: -0.2, 0.1, 0.4, -0.3; squares 0.04 + 0.01 + 0.16 + 0.09.
        found = cross_asset.idiosyncratic_volatility(self.CLOSE, self.MARKET, window=4)
        assert found[4] == pytest.approx(0.01 * np.sqrt(0.30 / 4.0), rel=1e-9)

    def test_the_market_against_itself(self) -> None:
        assert (cross_asset.beta(MARKET, MARKET)[63:] == 1.0).all()
        assert (cross_asset.idiosyncratic_volatility(MARKET, MARKET)[63:] == 0.0).all()
        np.testing.assert_allclose(cross_asset.market_correlation(MARKET, MARKET)[63:], 1.0, 1e-14)
        assert (cross_asset.relative_strength(MARKET, MARKET)[63:] == 0.0).all()

    def test_beta_and_correlation_are_those_of_pandas(self) -> None:
        beta_T = OWN.rolling(63).cov(MOVE) / MOVE.rolling(63).var()
        np.testing.assert_allclose(cross_asset.beta(CLOSE, MARKET)[63:], beta_T[63:], rtol=1e-9)
        np.testing.assert_allclose(
            cross_asset.market_correlation(CLOSE, MARKET)[63:],
            OWN.rolling(63).corr(MOVE)[63:],
            rtol=1e-9,
        )

    def test_volatility_is_that_of_least_squares(self) -> None:
        factor_N1, own_N = MOVE[-63:].to_numpy()[:, None], OWN[-63:].to_numpy()
        fitted_N = LinearRegression().fit(factor_N1, own_N).predict(factor_N1)
        assert cross_asset.idiosyncratic_volatility(CLOSE, MARKET)[-1] == pytest.approx(
            np.std(own_N - fitted_N), rel=1e-9
        )

    def test_variance_is_of_market_and_residual(self) -> None:
        """Identity: s_r^2 = beta^2 s_m^2 + s_e^2."""
        explained_T = cross_asset.beta(CLOSE, MARKET) ** 2 * MOVE.rolling(63).var(ddof=0)
        whole_T = explained_T + cross_asset.idiosyncratic_volatility(CLOSE, MARKET) ** 2
        np.testing.assert_allclose(whole_T[63:], OWN.rolling(63).var(ddof=0)[63:], rtol=1e-9)

    def test_downside_beta_by_hand(self) -> None:
        """Below their mean the moves -3, -2, -1 come with returns -6, -5, -1: 5 over 2."""
        close_T = returns_to_levels(-0.06, -0.05, -0.01, 0.07, 0.0)
        market_T = returns_to_levels(-0.03, -0.02, -0.01, 0.04, 0.05)
        found = cross_asset.beta_downside(close_T, market_T, window=5)
        assert found[5] == pytest.approx(2.5, rel=1e-10)

    def test_downside_beta_is_that_of_numpy(self) -> None:
        own_N, move_N = OWN[-63:].to_numpy(), MOVE[-63:].to_numpy()
        below_N = move_N < move_N.mean()
        expected = np.cov(own_N[below_N], move_N[below_N])
        found = cross_asset.beta_downside(CLOSE, MARKET)
        assert found[-1] == pytest.approx(expected[0, 1] / expected[1, 1], rel=1e-9)

    def test_downside_beta_of_two_bars_is_none(self) -> None:
        close_T = returns_to_levels(-0.06, -0.05, 0.07, 0.0)
        market_T = returns_to_levels(-0.03, -0.02, 0.04, 0.05)
        assert cross_asset.beta_downside(close_T, market_T, window=4)[4] == 0.0

    def test_lead_lag_is_that_of_pandas(self) -> None:
        expected = OWN.rolling(63).corr(MOVE.shift(1))
        np.testing.assert_allclose(
            cross_asset.lead_lag(CLOSE, MARKET)[64:], expected[64:], rtol=1e-8, atol=1e-12
        )

    def test_a_follower_is_found(self) -> None:
        follower_T = np.append(MARKET[:1], MARKET[:-1])
        np.testing.assert_allclose(cross_asset.lead_lag(follower_T, MARKET)[64:], 1.0, rtol=1e-9)


class TestAlone:
    """One asset is its own market: what a scaling finds is no rounding blown up to a signal."""

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("beta", 1.0),
            ("beta_downside", 1.0),
            ("market_correlation", 1.0),
            ("idiosyncratic_volatility", 0.0),
            ("relative_strength", 0.0),
            ("sector_relative", 0.0),
        ],
    )
    @pytest.mark.parametrize("scaling", ["robust", "standard", "rank"])
    def test_is_exactly_the_market(self, name: str, expected: float, scaling: Scaling) -> None:
        bars = random_bars(2, 600, 1, trouble=False)
        config = FeatureConfig(features=(FeatureSpec(name=name),), scaling=scaling)
        pipeline = FeaturePipeline(config).fit(bars, (0, 400))
        raw_TAF, _ = pipeline.raw(bars)
        known_T = np.isfinite(raw_TAF[:, 0, 0])
        np.testing.assert_array_equal(raw_TAF[known_T], expected)
        assert not pipeline.transform(bars).asset_TAF[..., 0].any()

    def test_the_mirror_image_is_correlated_to_minus_one(self) -> None:
        found = cross_asset.market_correlation(CLOSE, 1.0 / CLOSE, window=21)
        np.testing.assert_array_equal(found[21:], -1.0)


class TestRelative:
    def test_strength_by_hand(self) -> None:
        close_T, market_T = np.array([100.0, 90.0, 121.0]), np.array([1.0, 1.5, 1.1])
        found = cross_asset.relative_strength(close_T, market_T, horizon=2)
        assert found[2] == pytest.approx(np.log(1.21 / 1.1), rel=1e-13)
        assert np.isnan(found[:2]).all()

    def test_sector_is_read(self) -> None:
        expected = np.log(CLOSE[21:] / CLOSE[:-21]) - np.log(SECTOR[21:] / SECTOR[:-21])
        np.testing.assert_allclose(
            cross_asset.sector_relative(CLOSE, SECTOR)[21:], expected, rtol=1e-9, atol=1e-14
        )


class TestShared:
    LEVEL = np.array([1.0, 1.1, 0.99, 1.0])

    def test_market_return_and_volatility_by_hand(self) -> None:
        found = cross_asset.market_return(self.LEVEL, horizon=2)
        np.testing.assert_allclose(found[2:], np.log([0.99, 1.0 / 1.1]), rtol=1e-12)
        volatility = cross_asset.market_volatility(self.LEVEL, window=2)[2]
        expected = np.sqrt((np.log(1.1) ** 2 + np.log(0.9) ** 2) / 2.0)
        assert volatility == pytest.approx(expected, rel=1e-12)

    def test_drawdown_by_hand(self) -> None:
        found = cross_asset.market_drawdown(self.LEVEL, window=3)
        np.testing.assert_allclose(found[2:], [-0.1, 1.0 / 1.1 - 1.0], rtol=1e-12)
        assert np.isnan(found[:2]).all()

    def test_means_leave_the_first_bar_out(self) -> None:
        """It has no return, and so no dispersion and no breadth."""
        found = cross_asset.dispersion(np.array([0.0, 0.01, 0.03, 0.05]), window=2)
        np.testing.assert_allclose(found, [np.nan, np.nan, 0.02, 0.04], rtol=1e-12)
        risen = cross_asset.breadth(np.array([0.5, 1.0, 0.5, 0.25]), window=2)
        np.testing.assert_allclose(risen, [np.nan, np.nan, 0.5, -0.25], rtol=1e-12)

    def test_average_correlation_by_hand(self) -> None:
        market_T = returns_to_levels(0.01, -0.02)
        found = cross_asset.average_correlation(market_T, np.array([0.0, 0.01, 0.0]), window=2)
        assert found[2] == pytest.approx(5.0 / 6.0, rel=1e-10)

    @pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8])
    def test_average_correlation_finds_that_of_the_assets(self, correlation: float) -> None:
        rng, assets = np.random.default_rng(0), 20
        common_T1 = np.sqrt(correlation) * rng.normal(size=(4000, 1))
        own_TA = np.sqrt(1.0 - correlation) * rng.normal(size=(4000, assets))
        return_TA = 0.01 * (common_T1 + own_TA)
        found = cross_asset.average_correlation(
            returns_to_levels(*return_TA.mean(axis=1)),
            np.append(0.0, return_TA.std(axis=1)),
            window=4000,
        )
        expected = correlation + (1.0 - correlation) / assets
        assert found[-1] == pytest.approx(expected, abs=0.02)

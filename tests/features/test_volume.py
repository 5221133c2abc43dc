"""Volume against values worked by hand, numpy, pandas, TA-Lib and talipp."""

import numpy as np
import pandas as pd
import pytest
import talib
from talipp.indicators import OBV, VWAP, AccuDist, ChaikinOsc, ForceIndex
from talipp.ohlcv import OHLCV

from features.definition import Array, BoundFeature
from features.indicators import volume
from tests.features.both_forms import (
    assert_both_forms_agree,
    assert_memory_is_enough,
    batch,
    bound,
    quiet_market,
)

CASES = [
    bound("ad"),
    bound("adosc"),
    bound("adosc", fast=5, slow=40),
    bound("amihud"),
    bound("amihud", window=2, multiple=2),
    bound("cmf"),
    bound("cmf", window=2),
    bound("force_index"),
    bound("force_index", window=2),
    bound("mfi"),
    bound("mfi", window=2),
    bound("nvi"),
    bound("nvi", horizon=1),
    bound("obv"),
    bound("price_volume_correlation"),
    bound("price_volume_correlation", window=2),
    bound("pvi"),
    bound("pvi", horizon=1),
    bound("relative_volume"),
    bound("up_volume"),
    bound("volume_trend"),
    bound("volume_trend", window=2),
    bound("volume_zscore"),
    bound("volume_zscore", window=2),
    bound("vwap_distance"),
]
BOUNDED = ["cmf", "mfi", "price_volume_correlation", "relative_volume", "up_volume"]
WALK = {name: values[:400] for name, values in quiet_market(7).items()}
HIGH, LOW, CLOSE, VOLUME = (WALK[name] for name in ("high", "low", "close", "volume"))
TRADED = slice(250, None)
"""Bars whose windows have volume in every bar."""
CANDLES = [
    OHLCV(*map(float, bar)) for bar in zip(WALK["open"], HIGH, LOW, CLOSE, VOLUME, strict=True)
]

SMALL_CLOSE = np.array([100.0, 110.0, 99.0, 99.0])
SMALL_VOLUME = np.array([10.0, 30.0, 20.0, 40.0])
UP, DOWN = np.log([1.1, 0.9])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_batch_and_step_agree(case: BoundFeature) -> None:
    assert_both_forms_agree(case)


@pytest.mark.parametrize(
    "case", [c for c in CASES if not c.feature.path_dependent], ids=lambda case: case.label
)
def test_memory_is_enough(case: BoundFeature) -> None:
    assert_memory_is_enough(case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_no_trade_is_neutral(case: BoundFeature) -> None:
    series = {name: np.full(400, 0.1) for name in ("open", "high", "low", "close")}
    values_TK = batch(case, series | {"volume": np.zeros(400)})
    np.testing.assert_array_equal(values_TK[case.warmup :], 0.0)


@pytest.mark.parametrize("name", BOUNDED)
def test_stays_in_its_bounds(name: str) -> None:
    values_TK = batch(bound(name, window=3), quiet_market(1))[3:]
    assert np.abs(values_TK).max() <= 1.0
    assert values_TK.max() > 0.5
    assert values_TK.min() < -0.5


def filled(peer: list[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in peer], np.float64)


class TestLevel:
    def test_zscore_by_hand(self) -> None:
        # Of 10, 30, 20: mean 20, deviation sqrt(200 / 3).
        score_T = volume.volume_zscore(np.array([10.0, 20.0, 30.0]), window=3)
        assert score_T[2] == pytest.approx(10.0 / np.sqrt(200.0 / 3.0), rel=1e-14)

    def test_zscore_is_that_of_pandas(self) -> None:
        rolling = pd.Series(VOLUME).rolling(21)
        expected = (VOLUME - rolling.mean()) / rolling.std(ddof=0)
        np.testing.assert_allclose(volume.volume_zscore(VOLUME)[TRADED], expected[TRADED], 1e-9)

    def test_relative_volume_by_hand(self) -> None:
        # 20 after a mean of 20, and 40 after one of 25.
        relative_T = volume.relative_volume(SMALL_VOLUME, window=2)
        np.testing.assert_allclose(relative_T[2:], [0.0, 15.0 / 65.0], rtol=1e-14)
        assert np.isnan(relative_T[:2]).all()

    def test_relative_volume_is_talibs(self) -> None:
        ratio_T = talib.RVOL(VOLUME, 20)[TRADED]
        expected = (ratio_T - 1.0) / (ratio_T + 1.0)
        np.testing.assert_allclose(volume.relative_volume(VOLUME)[TRADED], expected, rtol=1e-9)

    def test_trend_of_a_line(self) -> None:
        """10, 20, 30 rise by 10 a bar, over the window by 30, which is 1.5 of their mean."""
        trend_T = volume.volume_trend(np.array([10.0, 20.0, 30.0]), window=3)
        assert trend_T[2] == pytest.approx(1.5, rel=1e-14)

    def test_trend_is_that_of_polyfit(self) -> None:
        window_W = VOLUME[-21:]
        slope = np.polyfit(np.arange(21), window_W, 1)[0]
        expected = 21.0 * slope / window_W.mean()
        assert volume.volume_trend(VOLUME)[-1] == pytest.approx(expected, rel=1e-9)


class TestSides:
    def test_obv_by_hand(self) -> None:
        # +30 - 20 + 0, over mean volumes 20, 20 and 25.
        np.testing.assert_allclose(
            volume.obv(SMALL_CLOSE, SMALL_VOLUME), [0.0, 1.5, 0.5, 0.4], rtol=1e-14
        )

    def test_obv_is_talipps(self) -> None:
        balance_T = filled(OBV(CANDLES)) - VOLUME[0]
        mean_T = pd.Series(VOLUME).expanding().mean().to_numpy()
        np.testing.assert_allclose(
            volume.obv(CLOSE, VOLUME), balance_T / mean_T, rtol=1e-9, atol=1e-12
        )

    def test_ad_by_hand(self) -> None:
        # The close at the top of its range, in the middle, and at 3/4: 1, 0 and 1/2 of the volume.
        ad_T = volume.ad(
            np.array([2.0, 2.0, 2.0]),
            np.array([1.0, 1.0, 1.0]),
            np.array([2.0, 1.5, 1.75]),
            np.array([10.0, 30.0, 20.0]),
        )
        np.testing.assert_allclose(ad_T, [1.0, 0.5, 1.0], rtol=1e-14)

    def test_ad_is_talipps(self) -> None:
        mean_T = pd.Series(VOLUME).expanding().mean().to_numpy()
        np.testing.assert_allclose(
            volume.ad(HIGH, LOW, CLOSE, VOLUME),
            filled(AccuDist(CANDLES)) / mean_T,
            rtol=1e-9,
            atol=1e-12,
        )

    def test_adosc_is_talibs_over_the_average_volume(self) -> None:
        average_T = pd.Series(VOLUME).ewm(span=10, adjust=False).mean().to_numpy()
        expected = talib.ADOSC(HIGH, LOW, CLOSE, VOLUME, 3, 10) / average_T
        found = volume.adosc(HIGH, LOW, CLOSE, VOLUME)
        np.testing.assert_allclose(found[:100], expected[:100], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found[TRADED], expected[TRADED], rtol=1e-9, atol=1e-12)

    def test_adosc_nears_talipps(self) -> None:
        """talipp seeds its averages by means; the seeds are forgotten."""
        average_T = pd.Series(VOLUME).ewm(span=10, adjust=False).mean().to_numpy()
        expected = filled(ChaikinOsc(3, 10, CANDLES)) / average_T
        found = volume.adosc(HIGH, LOW, CLOSE, VOLUME)
        np.testing.assert_allclose(found[TRADED], expected[TRADED], rtol=1e-9, atol=1e-9)

    def test_adosc_is_bounded(self) -> None:
        """Closes at the top after closes at the bottom: no more than (slow - 1) / 2."""
        high_T, low_T = np.full(300, 2.0), np.full(300, 1.0)
        close_T = np.where(np.arange(300) < 150, 1.0, 2.0)
        found = volume.adosc(high_T, low_T, close_T, np.full(300, 5.0), fast=2, slow=50)[49:]
        assert np.abs(found).max() <= 24.5
        assert found.max() > 20.0

    def test_cmf_by_hand_and_talib(self) -> None:
        cmf_T = volume.cmf(
            np.array([2.0, 2.0]), np.array([1.0, 1.0]), np.array([2.0, 1.25]), SMALL_VOLUME[:2],
            window=2,
        )  # fmt: skip
        assert cmf_T[1] == pytest.approx((10.0 - 15.0) / 40.0, rel=1e-14)
        np.testing.assert_allclose(
            volume.cmf(HIGH, LOW, CLOSE, VOLUME)[TRADED],
            talib.CMF(HIGH, LOW, CLOSE, VOLUME, 20)[TRADED],
            rtol=1e-9,
        )

    def test_mfi_by_hand_and_talib(self) -> None:
        # Typical prices 1, 2, 1 with volumes 10, 30, 20: 60 up, 20 down.
        price_T = np.array([1.0, 2.0, 1.0])
        mfi_T = volume.mfi(price_T, price_T, price_T, np.array([10.0, 30.0, 20.0]), window=2)
        assert mfi_T[2] == pytest.approx((60.0 - 20.0) / 80.0, rel=1e-14)
        np.testing.assert_allclose(
            volume.mfi(HIGH, LOW, CLOSE, VOLUME)[TRADED],
            (talib.MFI(HIGH, LOW, CLOSE, VOLUME, 14) / 50.0 - 1.0)[TRADED],
            rtol=1e-9,
            atol=1e-12,
        )

    def test_up_volume_by_hand(self) -> None:
        np.testing.assert_allclose(
            volume.up_volume(SMALL_CLOSE, SMALL_VOLUME, window=3)[3], (30.0 - 20.0) / 90.0, 1e-14
        )

    def test_mfi_of_the_same_prices_in_another_order_does_not_move(self) -> None:
        """0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1 to the last digit, but the same typical price."""
        one_T, other_T = np.tile([0.1, 0.3], 10), np.tile([0.3, 0.1], 10)
        mfi_T = volume.mfi(one_T, np.full(20, 0.2), other_T, np.ones(20))
        assert (0.1 + 0.2) + 0.3 != (0.3 + 0.2) + 0.1
        np.testing.assert_array_equal(mfi_T[14:], 0.0)


class TestReturnsAndVolume:
    def test_force_index_by_hand(self) -> None:
        # Averages of 30 UP and 20 DOWN, then one step of weight 2/3 towards 0 and 40.
        force, mean = (30.0 * UP + 20.0 * DOWN) / 2.0, 25.0
        expected = [force / mean, (force / 3.0) / (mean + (40.0 - mean) * 2.0 / 3.0)]
        np.testing.assert_allclose(
            volume.force_index(SMALL_CLOSE, SMALL_VOLUME, window=2)[2:], expected, rtol=1e-13
        )

    def test_force_index_is_near_talipps(self) -> None:
        """Of price changes over the price in place of log returns: the same to second order."""
        force_T = filled(ForceIndex(13, CANDLES))[TRADED]
        average_T = pd.Series(VOLUME).ewm(span=13, adjust=False).mean()[TRADED]
        near = force_T / average_T / CLOSE[TRADED]
        found = volume.force_index(CLOSE, VOLUME)[TRADED]
        assert np.corrcoef(near, found)[0, 1] > 0.98

    def test_volume_indices_by_hand(self) -> None:
        """Volume rises, falls and rises again; the last price does not change."""
        nvi_T = volume.nvi(SMALL_CLOSE, SMALL_VOLUME, horizon=2)
        pvi_T = volume.pvi(SMALL_CLOSE, SMALL_VOLUME, horizon=2)
        np.testing.assert_allclose(nvi_T[2:], [DOWN, DOWN], rtol=1e-12)
        np.testing.assert_allclose(pvi_T[2:], [UP, 0.0], rtol=1e-12)

    def test_both_volume_indices_make_the_whole_return(self) -> None:
        total_T = volume.nvi(CLOSE, VOLUME) + volume.pvi(CLOSE, VOLUME)
        log_T = np.log(CLOSE)
        np.testing.assert_allclose(total_T[TRADED], (log_T[21:] - log_T[:-21])[229:], 1e-9, 1e-12)

    def test_amihud_by_hand(self) -> None:
        # |r| is 1 in every bar; C V is e, 1, 2 e and 2.
        price_T = np.array([1.0, np.e, 1.0, np.e, 1.0])
        found = volume.amihud(price_T, np.array([7.0, 1.0, 1.0, 2.0, 2.0]), window=2, multiple=2)
        each = np.array([1.0 / np.e, 1.0, 0.5 / np.e, 0.5])
        assert found[4] == pytest.approx(np.log(each[2:].mean() / each.mean()), rel=1e-13)
        assert np.isnan(found[:4]).all()

    def test_amihud_leaves_bars_without_volume_out(self) -> None:
        price_T = np.array([1.0, np.e, 1.0, np.e, 1.0])
        found = volume.amihud(price_T, np.array([7.0, 1.0, 1.0, 0.0, 2.0]), window=2, multiple=2)
        each = np.array([1.0 / np.e, 1.0, 0.5])
        assert found[4] == pytest.approx(np.log(0.5 / each.mean()), rel=1e-13)

    def test_vwap_is_talipps(self) -> None:
        """Over all bars so far, where the window reaches back to the first."""
        expected = np.log(CLOSE[59] / filled(VWAP(CANDLES[:60]))[-1])
        found = volume.vwap_distance(HIGH, LOW, CLOSE, VOLUME, window=60)
        assert found[59] == pytest.approx(expected, rel=1e-9)

    def test_correlation_is_that_of_numpy(self) -> None:
        expected = np.corrcoef(np.diff(np.log(CLOSE))[-21:], VOLUME[-21:])[0, 1]
        found = volume.price_volume_correlation(CLOSE, VOLUME)
        assert found[-1] == pytest.approx(expected, rel=1e-9)

"""Cycles against waves of known period and phase, TA-Lib, and a transformer written plainly."""

import math

import numpy as np
import pytest
import talib

from features.definition import Array, BoundFeature
from features.indicators import cycle
from features.indicators.cycle_steps import STILL
from tests.features.both_forms import (
    HALT,
    assert_both_forms_agree,
    assert_memory_is_enough,
    batch,
    bound,
    quiet_market,
    stepped,
)

CASES = [
    bound("ht_period"),
    bound("ht_phasor"),
    bound("ht_sine"),
    bound("ht_trendline"),
    bound("ht_trendmode"),
    bound("mama"),
    bound("mama", fast=0.3, slow=0.1),
    bound("roofing"),
    bound("roofing", short=6, long=100),
]
CLOSE = quiet_market(7)["close"][:600]
BARS = np.arange(1500)


def wave(period: float, amplitude: float = 0.05) -> Array:
    return np.asarray(100.0 * (1.0 + amplitude * np.sin(2.0 * np.pi * BARS / period)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_batch_and_step_agree(case: BoundFeature) -> None:
    """The series has a halt of 700 bars; TA-Lib and the step are two implementations."""
    assert_both_forms_agree(case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
@pytest.mark.parametrize("seed", range(4))
def test_batch_and_step_agree_on_ticks(case: BoundFeature, seed: int) -> None:
    """Closes of whole cents, fat tails, and halts of 10 to 30 bars."""
    rng = np.random.default_rng(seed)
    return_T = 0.02 * rng.standard_t(3, 3000)
    for first in rng.integers(0, 2900, 20):
        return_T[first : first + rng.integers(10, 30)] = 0.0
    close_T = np.round(20.0 * np.exp(np.cumsum(return_T - return_T.mean())), 2) + 0.01
    series = {"close": close_T}
    np.testing.assert_allclose(stepped(case, series), batch(case, series), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
@pytest.mark.parametrize(
    "close_T",
    [
        100.0 + 0.5 * BARS,
        100.0 * np.exp(0.001 * BARS),
        100.0 + BARS // 5 % 2,
        100.0 + BARS % 7,
        np.where(BARS < 500, 100.0, 110.0),
    ],
    ids=["line", "growth", "square", "saw", "step"],
)
def test_batch_and_step_agree_where_all_is_exact(case: BoundFeature, close_T: Array) -> None:
    """Where the rotation of the phasor is 0 or a rounding, which limits it to either side."""
    series = {"close": close_T}
    values_TK = batch(case, series)
    assert np.isfinite(values_TK[case.warmup :]).all()
    np.testing.assert_allclose(stepped(case, series), values_TK, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", CASES[-2:], ids=lambda case: case.label)
def test_memory_is_enough(case: BoundFeature) -> None:
    assert_memory_is_enough(case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_unchanged_close_is_neutral(case: BoundFeature) -> None:
    values_TK = batch(case, {"close": np.full(200, 0.1)})
    np.testing.assert_array_equal(values_TK[case.warmup :], 0.0)


@pytest.mark.parametrize("case", CASES[:-2], ids=lambda case: case.label)
def test_halt_is_neutral_after_some_bars(case: BoundFeature) -> None:
    values_TK = batch(case, quiet_market())
    np.testing.assert_array_equal(values_TK[HALT.start + STILL : HALT.stop], 0.0)
    # Bar 700 has the first of the equal closes.
    assert values_TK[HALT.start + STILL - 1].any() or case.feature.name == "ht_trendmode"


class TestWaves:
    @pytest.mark.parametrize("period", [10.0, 20.0, 35.0])
    def test_period_is_found(self, period: float) -> None:
        found = 25.0 * (1.0 + cycle.ht_period(wave(period))[200:])
        assert np.median(found) == pytest.approx(period, rel=0.05)

    def test_sine_is_that_of_the_wave(self) -> None:
        """Ehlers' phase is that of the wave, one bar or two late."""
        sine_T, lead_T = cycle.ht_sine(wave(20.0))
        phase_T = 2.0 * np.pi * BARS / 20.0
        assert np.corrcoef(sine_T[200:], np.sin(phase_T)[200:])[0, 1] > 0.95
        assert np.corrcoef(lead_T[200:], np.sin(phase_T + np.pi / 4.0)[200:])[0, 1] > 0.95

    def test_quadrature_leads_by_a_quarter(self) -> None:
        in_phase_T, quadrature_T = cycle.ht_phasor(wave(20.0, 0.01))
        assert np.corrcoef(quadrature_T[200:-5], in_phase_T[205:])[0, 1] > 0.99
        assert abs(np.corrcoef(quadrature_T[200:], in_phase_T[200:])[0, 1]) < 0.1

    def test_trendline_drops_the_cycle_out(self) -> None:
        """What is left of a wave on a slope is the wave, and the lag of the slope."""
        slope_T = 1.0 + 0.001 * BARS
        price_T = slope_T + 0.05 * np.sin(2.0 * np.pi * BARS / 20.0)
        trend_T = price_T * (1.0 - cycle.ht_trendline(price_T))
        assert np.std((trend_T - slope_T)[300:]) < 0.25 * 0.05 / math.sqrt(2.0)

    def test_trendmode_tells_a_wave_from_a_slope(self) -> None:
        assert cycle.ht_trendmode(wave(20.0, 0.01))[200:].mean() < 0.2
        assert cycle.ht_trendmode(100.0 * np.exp(0.01 * BARS))[200:].mean() > 0.8

    @pytest.mark.parametrize("period", [4.0, 10.0, 24.0, 48.0, 200.0])
    def test_roofing_has_the_gain_of_its_equations(self, period: float) -> None:
        """Of the two filters at z = e^(i w), on a small wave, whose logarithm is itself."""
        kept = np.std(cycle.roofing(wave(period, 1e-6))[300:]) / (1e-6 / math.sqrt(2.0))
        delay = np.exp(-2j * np.pi / period)
        angle = math.sqrt(0.5) * 2.0 * math.pi / 48.0
        weight = (math.cos(angle) + math.sin(angle) - 1.0) / math.cos(angle)
        high_pass = ((1.0 - weight / 2.0) * (1.0 - delay) / (1.0 - (1.0 - weight) * delay)) ** 2
        damping = math.exp(-math.sqrt(2.0) * math.pi / 10.0)
        turning = 2.0 * damping * math.cos(math.sqrt(2.0) * math.pi / 10.0)
        gain = (1.0 - turning + damping**2) / 2.0
        smoother = gain * (1.0 + delay) / (1.0 - turning * delay + damping**2 * delay**2)
        assert kept == pytest.approx(abs(high_pass * smoother), rel=1e-3)

    def test_roofing_takes_a_slope_out(self) -> None:
        """A steady growth is no wave: two differences leave nothing of it."""
        filtered_T = cycle.roofing(np.exp(0.01 * BARS))
        assert np.abs(filtered_T[48:60]).max() > 1e-3
        np.testing.assert_allclose(filtered_T[1000:], 0.0, atol=1e-12)


class TestAgainstTalib:
    """In units of its own, on prices less the first."""

    PRICE = CLOSE - CLOSE[0]

    def test_period(self) -> None:
        found = 25.0 * (1.0 + cycle.ht_period(CLOSE))
        np.testing.assert_allclose(found, talib.HT_DCPERIOD(self.PRICE), rtol=1e-8)

    def test_sine(self) -> None:
        for found, expected in zip(cycle.ht_sine(CLOSE), talib.HT_SINE(self.PRICE), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)

    def test_trendline_and_mama(self) -> None:
        expected = (self.PRICE - talib.HT_TRENDLINE(self.PRICE)) / CLOSE
        np.testing.assert_allclose(cycle.ht_trendline(CLOSE), expected, rtol=1e-8, atol=1e-12)
        mama_T, fama_T = talib.MAMA(self.PRICE, 0.5, 0.05)
        distance_T, spread_T = cycle.mama(CLOSE)
        np.testing.assert_allclose(distance_T, (self.PRICE - mama_T) / CLOSE, 1e-8, 1e-12)
        np.testing.assert_allclose(spread_T, (mama_T - fama_T) / CLOSE, 1e-8, 1e-12)

    def test_trendmode_is_of_the_price_itself(self) -> None:
        np.testing.assert_array_equal(
            cycle.ht_trendmode(CLOSE)[63:], talib.HT_TRENDMODE(CLOSE)[63:]
        )

    def test_the_first_price_is_no_jump(self) -> None:
        """Against TA-Lib on the raw price, the sine is nearer to that of a long history."""
        ours, raw = np.empty((2, 60))
        for seed in range(60):
            close_T = 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, 700)))
            settled_T = talib.HT_SINE(close_T)[0][500:]
            ours[seed] = np.mean(np.abs(cycle.ht_sine(close_T[500:])[0] - settled_T)[63:103])
            raw[seed] = np.mean(np.abs(talib.HT_SINE(close_T[500:])[0] - settled_T)[63:103])
        assert np.median(ours) < 0.75 * np.median(raw)


def plain_phasor(price_T: Array) -> tuple[Array, Array]:
    """Ehlers' transformer as in his book: arrays, and one formula for each line."""
    count = len(price_T)
    smooth, detrended, quadrature, i2, q2, re, im, period = np.zeros((8, count))
    in_phase = np.zeros(count)

    def hilbert(x: Array, t: int, gain: float) -> float:
        return gain * float(0.0962 * (x[t] - x[t - 6]) + 0.5769 * (x[t - 2] - x[t - 4]))

    advanced = np.zeros((2, count))
    for t in range(12, count):
        smooth[t] = price_T[t - 3 : t + 1] @ [0.1, 0.2, 0.3, 0.4]
        gain = 0.075 * period[t - 1] + 0.54
        detrended[t] = hilbert(smooth, t, gain)
        quadrature[t] = hilbert(detrended, t, gain)
        in_phase[t] = detrended[t - 3]
        advanced[:, t] = hilbert(in_phase, t, gain), hilbert(quadrature, t, gain)
        i2[t] = 0.2 * (in_phase[t] - advanced[1, t]) + 0.8 * i2[t - 1]
        q2[t] = 0.2 * (quadrature[t] + advanced[0, t]) + 0.8 * q2[t - 1]
        re[t] = 0.2 * (i2[t] * i2[t - 1] + q2[t] * q2[t - 1]) + 0.8 * re[t - 1]
        im[t] = 0.2 * (i2[t] * q2[t - 1] - q2[t] * i2[t - 1]) + 0.8 * im[t - 1]
        found = 2.0 * math.pi / math.atan(im[t] / re[t]) if im[t] and re[t] else period[t - 1]
        found = max(min(found, 1.5 * period[t - 1]), 0.67 * period[t - 1])
        period[t] = 0.2 * min(max(found, 6.0), 50.0) + 0.8 * period[t - 1]
    return in_phase, quadrature


def test_phasor_is_that_of_the_book() -> None:
    ratio_T = CLOSE / CLOSE[0]
    expected = plain_phasor(ratio_T - 1.0)
    for found_T, expected_T in zip(cycle.ht_phasor(CLOSE), expected, strict=True):
        np.testing.assert_allclose(found_T[32:], (expected_T / ratio_T)[32:], 1e-8, 1e-12)
        assert np.isnan(found_T[:32]).all()

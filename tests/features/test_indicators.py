"""Each indicator against values worked by hand and a second, slow definition."""

import math

import numpy as np
import pytest

from features.indicators import momentum, trend, volume

RNG = np.random.default_rng(7)
CLOSE_T = 100.0 * np.exp(np.cumsum(RNG.normal(0.0, 0.02, 120)))


def ema(values: list[float], span: int, first: int) -> list[float]:
    """Exponential average seeded with the mean of the ``span`` values up to index ``first``."""
    average = sum(values[first - span + 1 : first + 1]) / span
    averages = [average]
    for value in values[first + 1 :]:
        average += 2.0 / (span + 1.0) * (value - average)
        averages.append(average)
    return averages


def wilder(values: list[float], window: int) -> list[float]:
    average = sum(values[:window]) / window
    averages = [average]
    for value in values[window:]:
        average = (average * (window - 1) + value) / window
        averages.append(average)
    return averages


class TestReturns:
    CLOSE_T = np.array([100.0, 110.0, 99.0, 108.9])

    def test_log_return_and_momentum(self) -> None:
        one_T = momentum.log_return(self.CLOSE_T)
        np.testing.assert_allclose(one_T[1:], np.log([1.1, 0.9, 1.1]), rtol=1e-14)
        two_T = momentum.momentum(self.CLOSE_T, horizon=2)
        np.testing.assert_allclose(two_T[2:], np.log([0.99, 0.99]), rtol=1e-13)
        assert np.isnan(two_T[:2]).all()

    def test_momentum_is_the_sum_of_log_returns(self) -> None:
        total = np.sum(momentum.log_return(CLOSE_T)[-21:])
        assert momentum.momentum(CLOSE_T, horizon=21)[-1] == pytest.approx(total, abs=1e-14)


class TestOscillators:
    def test_rsi(self) -> None:
        # Changes +2, -1, +1, window 2: gains 1.0, losses 0.5, so (1 - 0.5) / 1.5 = 1/3;
        # then gains (1 + 1) / 2 = 1, losses 0.25: 0.75 / 1.25.
        rsi_T = momentum.rsi(np.array([10.0, 12.0, 11.0, 12.0]), window=2)
        np.testing.assert_allclose(rsi_T[2:], [1 / 3, 0.6], rtol=1e-14)

    def test_rsi_equals_wilders_recursion(self) -> None:
        change_T = np.diff(CLOSE_T)
        gain = wilder(np.maximum(change_T, 0.0).tolist(), 14)[-1]
        loss = wilder(np.maximum(-change_T, 0.0).tolist(), 14)[-1]
        rsi = 100.0 - 100.0 / (1.0 + gain / loss)
        assert momentum.rsi(CLOSE_T)[-1] == pytest.approx(rsi / 50.0 - 1.0, rel=1e-12)

    @pytest.mark.parametrize(("step", "expected"), [(0.0, 0.0), (1.0, 1.0), (-1.0, -1.0)])
    def test_rsi_of_unchanged_rising_and_falling_prices(self, step: float, expected: float) -> None:
        close_T = np.linspace(100.0, 100.0 + 39.0 * step, 40)
        assert momentum.rsi(close_T)[-1] == pytest.approx(expected, abs=1e-14)

    def test_macd_equals_exponential_averages(self) -> None:
        close = CLOSE_T.tolist()
        fast, slow = ema(close, 12, 25), ema(close, 26, 25)
        line = [f - s for f, s in zip(fast, slow, strict=True)]
        signal = ema(line, 9, 8)
        line_T, histogram_T = trend.macd(CLOSE_T)
        assert line_T[-1] == pytest.approx(line[-1] / close[-1], rel=1e-10)
        expected = (line[-1] - signal[-1]) / close[-1]
        assert histogram_T[-1] == pytest.approx(expected, rel=1e-9, abs=1e-14)

    def test_macd_of_a_constant_price_is_zero(self) -> None:
        line_T, histogram_T = trend.macd(np.full(60, 0.3))
        np.testing.assert_allclose([line_T[-1], histogram_T[-1]], 0.0, atol=1e-15)

    def test_volume_zscore(self) -> None:
        # Window (1, 2, 6): mean 3, deviation sqrt(14/3); the newest lies 3 above.
        score = 3.0 / math.sqrt(14.0 / 3.0)
        values_T = np.array([1.0, 2.0, 6.0])
        assert volume.volume_zscore(values_T, window=3)[-1] == pytest.approx(score, rel=1e-14)
        assert volume.volume_zscore(np.zeros(5), window=3)[-1] == 0.0

"""Each indicator against values worked by hand and a second, slow definition."""

import math

import numpy as np
import pytest

from features.indicators import momentum, path_risk, trend, volatility, volume

RNG = np.random.default_rng(7)
CLOSE_T = 100.0 * np.exp(np.cumsum(RNG.normal(0.0, 0.02, 120)))
HIGH_T = CLOSE_T * (1.0 + RNG.uniform(0.0, 0.02, 120))
LOW_T = CLOSE_T * (1.0 - RNG.uniform(0.0, 0.02, 120))


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

    def test_realised_volatility(self) -> None:
        # Log returns a, b of +10% and -10%: the root mean square of two.
        expected = math.sqrt((math.log(1.1) ** 2 + math.log(0.9) ** 2) / 2)
        volatility_T = volatility.realised_volatility(self.CLOSE_T, window=2)
        assert volatility_T[2] == pytest.approx(expected, rel=1e-14)
        assert np.isnan(volatility_T[:2]).all()


class TestRange:
    def test_parkinson_of_a_constant_range(self) -> None:
        """A range of e^r on every bar gives r / (2 sqrt(ln 2))."""
        low_T = np.array([1.0, 2.0, 3.0])
        volatility_T = volatility.range_volatility(low_T * math.exp(0.1), low_T, window=2)
        assert volatility_T[-1] == pytest.approx(0.1 / (2.0 * math.sqrt(math.log(2.0))), rel=1e-14)

    def test_parkinson_measures_the_volatility_of_a_fine_random_walk(self) -> None:
        rng = np.random.default_rng(0)
        path_TK = np.cumsum(rng.normal(0.0, 0.02 / math.sqrt(500), (2000, 500)), axis=1)
        high_T = np.exp(np.maximum(path_TK.max(axis=1), 0.0))
        low_T = np.exp(np.minimum(path_TK.min(axis=1), 0.0))
        found = volatility.range_volatility(high_T, low_T, window=2000)[-1]
        # 500 steps a bar miss some of the continuous range: a few per cent below 0.02.
        assert 0.0185 < found < 0.0202

    def test_atr(self) -> None:
        # True ranges after the first bar: 11-9 = 2, 12-10 (previous close) = 2, 13-9 = 4;
        # window 2: first average 2, then (2 + 4) / 2 = 3; over the close 12.
        high_T = np.array([10.0, 11.0, 12.0, 13.0])
        low_T = np.array([9.0, 9.0, 11.0, 9.0])
        close_T = np.array([9.5, 10.0, 11.5, 12.0])
        atr_T = volatility.atr(high_T, low_T, close_T, window=2)
        np.testing.assert_allclose(atr_T[2:], [2.0 / 11.5, 3.0 / 12.0], rtol=1e-14)

    def test_atr_equals_wilders_recursion(self) -> None:
        previous_T = CLOSE_T[:-1]
        true_range_T = np.maximum(HIGH_T[1:], previous_T) - np.minimum(LOW_T[1:], previous_T)
        expected = wilder(true_range_T.tolist(), 14)[-1] / CLOSE_T[-1]
        assert volatility.atr(HIGH_T, LOW_T, CLOSE_T)[-1] == pytest.approx(expected, rel=1e-12)

    def test_high_distance(self) -> None:
        high_T = np.array([10.0, 20.0, 16.0, 12.0])
        distance_T = path_risk.high_distance(high_T, high_T / 2.0, window=2)
        np.testing.assert_allclose(distance_T[1:], np.log([0.5, 0.4, 0.375]), rtol=1e-14)


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

    def test_bollinger_and_volume(self) -> None:
        # Window (1, 2, 6): mean 3, deviation sqrt(14/3); the newest lies 3 above.
        values_T = np.array([1.0, 2.0, 6.0])
        score = 3.0 / math.sqrt(14.0 / 3.0)
        bollinger_T = volatility.bollinger(values_T, window=3, width=2.0)
        assert bollinger_T[-1] == pytest.approx(score / 2.0, rel=1e-14)
        assert volume.volume_zscore(values_T, window=3)[-1] == pytest.approx(score, rel=1e-14)
        assert volume.volume_zscore(np.zeros(5), window=3)[-1] == 0.0

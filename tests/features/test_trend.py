"""Features of the trend family: by hand, by identities, and against TA-Lib and talipp."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import talib
from talipp import indicators as peers
from talipp.ohlcv import OHLCV

from features import catalogue
from features.definition import Array
from features.indicators import trend
from features.registry import lookup
from tests.features.both_forms import assert_memory_is_enough, batch
from tests.features.own_series import (
    KINDS,
    Series,
    candles,
    own_series,
    require_equal_forms,
    require_restart,
    require_scale_to_matter_not,
    values,
)

NAMES = [feature.name for feature in catalogue() if feature.family == "trend"]

# The same three bars for all that read a range.
HIGH_T = np.array([10.0, 12.0, 13.0, 11.0])
LOW_T = np.array([8.0, 9.0, 11.0, 7.0])
CLOSE_T = np.array([9.0, 11.0, 12.0, 8.0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_step_is_the_batch_form(name: str, kind: str) -> None:
    require_equal_forms(name, kind)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("adx", {"window": 2}),
        ("aroon", {"window": 2}),
        ("forecast_error", {"window": 2}),
        ("ichimoku", {"fast": 30, "base": 10, "span": 20}),
        ("kama_distance", {"window": 2}),
        ("macd", {"fast": 7, "slow": 20, "signal": 30}),
        ("sar_distance", {"acceleration": 0.3, "maximum": 0.3}),
        ("supertrend", {"window": 2, "multiplier": 0.5}),
        ("tema_distance", {"window": 2}),
        ("trix", {"window": 2}),
        ("vortex", {"window": 2}),
    ],
)
def test_step_is_the_batch_form_with_other_parameters(
    name: str, parameters: dict[str, float]
) -> None:
    for kind in ("random", "halts"):
        require_equal_forms(name, kind, 1, **parameters)


@pytest.mark.parametrize("name", NAMES)
def test_state_is_all_that_a_restart_needs(name: str) -> None:
    require_restart(name)


@pytest.mark.parametrize("name", NAMES)
def test_scale_does_not_matter_in_a_long_halt(name: str) -> None:
    require_scale_to_matter_not(name)


@pytest.mark.parametrize("name", [name for name in NAMES if not lookup(name).path_dependent])
def test_memory_is_enough_in_a_halt(name: str) -> None:
    assert_memory_is_enough(lookup(name).bind({}))


@pytest.mark.parametrize("name", ["adx", "directional"])
def test_equal_movements_are_equal_on_any_scale(name: str) -> None:
    """In coarse ticks a bar often rises at its top by what it falls at its bottom."""
    bound, series = lookup(name).bind({}), own_series("ticks")
    expected = bound.compute({**series, "ts_event": np.arange(1500)})
    for factor in (0.37, 1.1, 7.3e-4):
        scaled = {column: price_T * factor for column, price_T in series.items()}
        np.testing.assert_allclose(batch(bound, scaled), expected, rtol=1e-9, atol=1e-12)


class TestByHand:
    def test_macd(self) -> None:
        # Averages of 2 and 3 bars: at the third bar 3.5 and 3, at the fourth 3.5 + 2/3 (9 - 3.5)
        # and 3 + 1/2 (9 - 3); lines 1/2 and 7/6, their average over 2 is 5/6.
        line_T, histogram_T = trend.macd(np.array([2.0, 2.0, 5.0, 9.0]), fast=2, slow=3, signal=2)
        assert line_T[3] == pytest.approx(7 / 6 / 9, rel=1e-14)
        assert histogram_T[3] == pytest.approx(1 / 3 / 9, rel=1e-13)

    def test_distances_from_averages(self) -> None:
        close_T = np.array([1.0, 3.0, 5.0])
        # (1 + 3) / 2; (1 + 2 * 3) / 3; 2 + 2/3 (5 - 2).
        assert trend.sma_distance(close_T, window=2)[1] == pytest.approx(math.log(3 / 2))
        assert trend.wma_distance(close_T, window=2)[1] == pytest.approx(math.log(9 / 7))
        assert trend.ema_distance(close_T, window=2)[2] == pytest.approx(math.log(5 / 4))

    def test_double_and_triple_averages_do_not_lag_behind_a_line(self) -> None:
        line_T = np.linspace(50.0, 150.0, 300)
        np.testing.assert_allclose(trend.dema_distance(line_T)[-1], 0.0, atol=1e-12)
        np.testing.assert_allclose(trend.tema_distance(line_T)[-1], 0.0, atol=1e-12)
        assert trend.ema_distance(line_T)[-1] > 0.01

    def test_trix_of_steady_growth_is_the_growth(self) -> None:
        assert trend.trix(1.01 ** np.arange(400.0))[-1] == pytest.approx(0.01, rel=1e-9)

    def test_kama(self) -> None:
        # Begins at 12; went 3 to gain 1.
        weight = (1 / 3 * (2 / 3 - 2 / 31) + 2 / 31) ** 2
        distance_T = trend.kama_distance(np.array([10.0, 12.0, 11.0]), window=2)
        assert distance_T[2] == pytest.approx(math.log(11.0 / (12.0 - weight)), rel=1e-14)

    def test_directional(self) -> None:
        # Upward movement 2, then 2 - 1 + 1 = 2; true range 3, then 3 - 1.5 + 2 = 3.5.
        directional_T = trend.directional(HIGH_T, LOW_T, CLOSE_T, window=2)
        assert directional_T[2] == pytest.approx(4 / 7, rel=1e-14)

    def test_steady_rise_and_fall_are_the_strongest_trends(self) -> None:
        rise_T = np.linspace(100.0, 200.0, 80)
        for middle_T, sign in ((rise_T, 1.0), (rise_T[::-1], -1.0)):
            high_T, low_T = middle_T + 1.0, middle_T - 1.0
            assert trend.adx(high_T, low_T, middle_T)[-1] == pytest.approx(1.0, rel=1e-14)
            assert trend.aroon(high_T, low_T)[-1] == sign
            assert np.sign(trend.directional(high_T, low_T, middle_T)[-1]) == sign
            assert np.sign(trend.sar_distance(high_T, low_T, middle_T)[-1]) == sign
            assert np.sign(trend.supertrend(high_T, low_T, middle_T)[-1]) == sign

    def test_aroon(self) -> None:
        # Of the last three bars the highest is one ago, the lowest the last.
        assert trend.aroon(HIGH_T, LOW_T, window=2)[3] == -0.5

    def test_line(self) -> None:
        close_T = 100.0 + 0.5 * np.arange(40.0)
        close_T[-1] += 3.0
        np.testing.assert_allclose(trend.linear_slope(close_T)[-2], 0.5 / close_T[-2], rtol=1e-13)
        error_T = trend.forecast_error(close_T)
        np.testing.assert_allclose(error_T[-2:], [0.0, 3.0 / close_T[-1]], rtol=1e-12, atol=1e-15)

    def test_sar(self) -> None:
        # Begins at the first low 8 with the second high 12; then 8 + 0.02 (12 - 8); the third
        # high moves the extreme: 8.08 + 0.04 (13 - 8.08); the fourth low lies below: the stop
        # is the extreme.
        distance_T = trend.sar_distance(HIGH_T, LOW_T, CLOSE_T)
        expected = np.log(np.array([11.0 / 8.0, 12.0 / 8.08, 8.0 / 13.0]))
        np.testing.assert_allclose(distance_T[1:], expected, rtol=1e-14)

    def test_supertrend(self) -> None:
        # True ranges 3, 2, 5: averages 2.5 and 3.75. Lower band 12 - 2.5 below a rising price;
        # the fall to 8 crosses it: upper band 9 + 3.75.
        distance_T = trend.supertrend(HIGH_T, LOW_T, CLOSE_T, window=2, multiplier=1.0)
        np.testing.assert_allclose(distance_T[2:], [2.5 / 12.0, -4.75 / 8.0], rtol=1e-14)

    def test_vortex(self) -> None:
        # Up |12 - 8| + |13 - 9|, down |9 - 10| + |11 - 12|, true range 3 + 2.
        assert trend.vortex(HIGH_T, LOW_T, CLOSE_T, window=2)[2] == pytest.approx(1.2, rel=1e-14)

    def test_ichimoku(self) -> None:
        # Middles of two bars 10, 11, 10, of three 10.5, 10; the cloud of two bars ago.
        cross_T, cloud_T = trend.ichimoku(HIGH_T, LOW_T, CLOSE_T, fast=2, base=2, span=2)
        np.testing.assert_allclose(cross_T[3:], 0.0, atol=1e-15)
        assert cloud_T[3] == pytest.approx(math.log(8.0 / 10.0), rel=1e-14)
        cross_T, _ = trend.ichimoku(
            *(np.tile(x, 3) for x in (HIGH_T, LOW_T, CLOSE_T)), fast=2, base=3, span=2
        )
        assert cross_T[7] == pytest.approx(0.0, abs=1e-15)  # 10 over 10
        assert cross_T[6] == pytest.approx(math.log(11.0 / 10.5), rel=1e-14)


TALIB: dict[str, Callable[[Series], Array]] = {
    "adx": lambda s: talib.ADX(s["high"], s["low"], s["close"], 14) / 100.0,
    "directional": lambda s: (
        (
            talib.PLUS_DI(s["high"], s["low"], s["close"], 14)
            - talib.MINUS_DI(s["high"], s["low"], s["close"], 14)
        )
        / 100.0
    ),
    "forecast_error": lambda s: talib.FOSC(s["close"], 14) / 100.0,
    "kama_distance": lambda s: np.log(s["close"] / talib.KAMA(s["close"], 10)),
    "linear_slope": lambda s: talib.LINEARREG_SLOPE(s["close"], 20) / s["close"],
    "sma_distance": lambda s: np.log(s["close"] / talib.SMA(s["close"], 20)),
    "tema_distance": lambda s: 1.0 - talib.TEMA(s["close"], 20) / s["close"],
    "trix": lambda s: talib.TRIX(s["close"], 15) / 100.0,
    "wma_distance": lambda s: np.log(s["close"] / talib.WMA(s["close"], 20)),
    "vortex": lambda s: np.subtract(*talib.VORTEX(s["high"], s["low"], s["close"], 14)),
}


@pytest.mark.parametrize("name", TALIB)
def test_own_definitions_are_talibs_where_the_price_moves(name: str) -> None:
    bound, series = lookup(name).bind({}), own_series("long", 3)
    # The sums of TA-Lib's lines are to blame for what is above 1e-13.
    np.testing.assert_allclose(
        batch(bound, series)[:, 0], TALIB[name](series), rtol=1e-9, atol=1e-12
    )


Peer = Callable[[list[float], list[OHLCV], Array], Array]
# What talipp seeds otherwise agrees once the seed is forgotten: the last 300 of 1,500 bars.
TALIPP: dict[str, Peer] = {
    "sma_distance": lambda c, _, close_T: np.log(close_T / values(peers.SMA(20, c))),
    "wma_distance": lambda c, _, close_T: np.log(close_T / values(peers.WMA(20, c))),
    "ema_distance": lambda c, _, close_T: np.log(close_T / values(peers.EMA(20, c))),
    "dema_distance": lambda c, _, close_T: 1.0 - values(peers.DEMA(20, c)) / close_T,
    "tema_distance": lambda c, _, close_T: 1.0 - values(peers.TEMA(20, c)) / close_T,
    "kama_distance": lambda c, _, close_T: np.log(close_T / values(peers.KAMA(10, 2, 30, c))),
    # In ten thousandths.
    "trix": lambda c, _, __: values(peers.TRIX(15, c)) / 1e4,
    # Its fast average begins earlier than the slow one.
    "macd": lambda c, _, close_T: values(peers.MACD(12, 26, 9, c), "macd") / close_T,
    # Averages of n values where Wilder's first sum has n - 1.
    "adx": lambda _, bars, __: values(peers.ADX(14, 14, bars), "adx") / 100.0,
    "directional": lambda _, bars, __: (
        (values(peers.ADX(14, 14, bars), "plus_di") - values(peers.ADX(14, 14, bars), "minus_di"))
        / 100.0
    ),
    "aroon": lambda _, bars, __: (
        (values(peers.Aroon(25, bars), "up") - values(peers.Aroon(25, bars), "down")) / 100.0
    ),
    # Begins with bands at 0, and its average true range a bar earlier.
    "supertrend": lambda _, bars, close_T: (
        1.0 - values(peers.SuperTrend(10, 3, bars), "value") / close_T
    ),
    "vortex": lambda _, bars, __: (
        values(peers.VTX(14, bars), "plus_vtx") - values(peers.VTX(14, bars), "minus_vtx")
    ),
}


@pytest.mark.parametrize("name", TALIPP)
def test_second_opinion(name: str) -> None:
    bound, series = lookup(name).bind({}), own_series("random", 4)
    expected_T = TALIPP[name](series["close"].tolist(), candles(series), series["close"])
    np.testing.assert_allclose(
        batch(bound, series)[-300:, 0], expected_T[-300:], rtol=1e-9, atol=1e-12
    )

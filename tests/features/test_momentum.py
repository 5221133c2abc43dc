"""Features of the momentum family: by hand, by identities, and against TA-Lib and talipp."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import talib
from talipp import indicators as peers
from talipp.ohlcv import OHLCV

from features import FeatureError, catalogue
from features.definition import Array
from features.indicators import momentum
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

NAMES = [feature.name for feature in catalogue() if feature.family == "momentum"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_step_is_the_batch_form(name: str, kind: str) -> None:
    require_equal_forms(name, kind)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("awesome_oscillator", {"fast": 3, "slow": 40}),
        ("coppock", {"window": 2, "short": 9, "long": 1}),
        ("momentum", {"horizon": 1}),
        ("momentum_12_1", {"horizon": 2, "skip": 1}),
        ("stochastic", {"window": 2, "smooth": 5, "signal": 2}),
        ("stochastic_rsi", {"window": 2, "lookback": 2}),
        ("ultimate_oscillator", {"fast": 2, "medium": 4, "slow": 9}),
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


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_enough_in_a_halt(name: str) -> None:
    assert_memory_is_enough(lookup(name).bind({}))


def test_a_month_to_skip_must_be_shorter_than_the_year() -> None:
    with pytest.raises(
        FeatureError, match=r"momentum_12_1\.skip: must be < horizon \(21\), was 21"
    ):
        lookup("momentum_12_1").bind({"horizon": 21, "skip": 21})


class TestByHand:
    CLOSE_T = np.array([100.0, 110.0, 99.0, 108.9])

    def test_log_return_and_momentum(self) -> None:
        one_T = momentum.log_return(self.CLOSE_T)
        np.testing.assert_allclose(one_T[1:], np.log([1.1, 0.9, 1.1]), rtol=1e-14)
        two_T = momentum.momentum(self.CLOSE_T, horizon=2)
        np.testing.assert_allclose(two_T[2:], np.log([0.99, 0.99]), rtol=1e-13)

    def test_momentum_is_the_sum_of_log_returns(self) -> None:
        close_T = own_series("random")["close"]
        total = np.sum(momentum.log_return(close_T)[-21:])
        assert momentum.momentum(close_T, horizon=21)[-1] == pytest.approx(total, abs=1e-14)

    def test_rsi(self) -> None:
        # Changes +2, -1, +1, window 2: gains 1.0, losses 0.5, so (1 - 0.5) / 1.5 = 1/3;
        # then gains (1 + 1) / 2 = 1, losses 0.25: 0.75 / 1.25.
        rsi_T = momentum.rsi(np.array([10.0, 12.0, 11.0, 12.0]), window=2)
        np.testing.assert_allclose(rsi_T[2:], [1 / 3, 0.6], rtol=1e-14)

    @pytest.mark.parametrize(("slope", "expected"), [(0.0, 0.0), (1.0, 1.0), (-1.0, -1.0)])
    def test_rsi_of_unchanged_rising_and_falling_prices(
        self, slope: float, expected: float
    ) -> None:
        close_T = np.linspace(100.0, 100.0 + 39.0 * slope, 40)
        assert momentum.rsi(close_T)[-1] == pytest.approx(expected, abs=1e-14)

    def test_skip_month(self) -> None:
        found_T = momentum.momentum_12_1(np.array([1.0, 2.0, 4.0, 8.0]), horizon=3, skip=1)
        assert found_T[3] == pytest.approx(math.log(4.0), rel=1e-14)

    def test_efficiency_ratio(self) -> None:
        # Gains 3, going 2 + 1 + 2.
        found_T = momentum.efficiency_ratio(np.array([10.0, 12.0, 11.0, 13.0]), window=3)
        assert found_T[3] == pytest.approx(0.6, rel=1e-14)

    def test_places_in_a_range(self) -> None:
        # Closes 5, 10, 0, 5 in a range from 0 to 10.
        close_T = np.array([5.0, 10.0, 0.0, 5.0])
        high_T, low_T = np.full(4, 10.0), np.zeros(4)
        place_T = momentum.williams_r(high_T, low_T, close_T, window=2)
        np.testing.assert_allclose(place_T[1:], [1.0, -1.0, 0.0], atol=1e-15)
        # Means of two: 0, -0.5; of these: -0.25.
        k_T, d_T = momentum.stochastic(high_T, low_T, close_T, window=2, smooth=2, signal=2)
        assert (k_T[3], d_T[3]) == (-0.5, -0.25)

    def test_cci(self) -> None:
        # Typical prices 1, 2, 6 (mean 3, mean deviation 2): 3 / (1.5 * 2).
        price_T = np.array([1.0, 2.0, 6.0])
        assert momentum.cci(price_T, price_T, price_T, window=3)[2] == pytest.approx(1.0, rel=1e-14)

    def test_ultimate_oscillator(self) -> None:
        # Two bought in a true range of 2 + 1: 2/3 in every window.
        price_T = np.array([10.0, 12.0, 11.0])
        found_T = momentum.ultimate_oscillator(price_T, price_T, price_T, fast=2, medium=2, slow=2)
        assert found_T[2] == pytest.approx(1 / 3, rel=1e-14)

    def test_tsi(self) -> None:
        # Changes 2, -1, 2: averages 1/2, 3/2 and of these 1; of 2, 1, 2: 3/2, 11/6 and 5/3.
        found_T = momentum.tsi(np.array([10.0, 12.0, 11.0, 13.0]), slow=2, fast=2)
        assert found_T[3] == pytest.approx(0.6, rel=1e-14)

    def test_bodies(self) -> None:
        open_T, high_T = np.array([10.0, 10.0]), np.array([14.0, 10.0])
        low_T, close_T = np.array([6.0, 8.0]), np.array([12.0, 9.0])
        power_T = momentum.balance_of_power(open_T, high_T, low_T, close_T)
        np.testing.assert_allclose(power_T, [2 / 8, -1 / 2], rtol=1e-14)
        # Gains 2, losses 1.
        found_T = momentum.intraday_momentum(open_T, close_T, window=2)
        assert found_T[1] == pytest.approx(1 / 3, rel=1e-14)

    def test_coppock(self) -> None:
        # Sums of returns 10 % + 21 %, then 0 % + 10 %; weights 1 and 2 of 3.
        close_T = np.array([100.0, 110.0, 121.0, 121.0])
        found_T = momentum.coppock(close_T, window=2, short=1, long=2)
        assert found_T[3] == pytest.approx((0.31 + 2 * 0.1) / 3, rel=1e-12)

    def test_awesome_oscillator(self) -> None:
        # Middles 1, 2, 6: means 4 of two and 3 of three, over the close 4.
        middle_T, close_T = np.array([1.0, 2.0, 6.0]), np.array([1.0, 2.0, 4.0])
        found_T = momentum.awesome_oscillator(
            middle_T + 0.5, middle_T - 0.5, close_T, fast=2, slow=3
        )
        assert found_T[2] == pytest.approx(0.25, rel=1e-14)


class TestIdentities:
    SERIES = own_series("random", 2)

    def test_efficiency_is_the_size_of_the_plain_relative_strength(self) -> None:
        """Net change over path is Chande's CMO without Wilder's averages."""
        close_T = self.SERIES["close"]
        expected_T = np.abs(talib.CMOU(close_T, 10)) / 100.0
        np.testing.assert_allclose(
            momentum.efficiency_ratio(close_T), expected_T, rtol=1e-9, atol=1e-12
        )

    def test_a_steady_rise_is_at_every_end(self) -> None:
        close_T = np.linspace(100.0, 200.0, 120)
        inputs = (close_T, close_T, close_T)
        for found_T in (
            momentum.efficiency_ratio(close_T),
            momentum.rsi(close_T),
            momentum.tsi(close_T),
            momentum.ultimate_oscillator(*inputs),
            momentum.williams_r(*inputs),
            *momentum.stochastic(*inputs),
        ):
            assert found_T[-1] == pytest.approx(1.0, abs=1e-12)
        # The strength has stood at its end: it has no range to be in.
        assert momentum.stochastic_rsi(close_T)[-1] == 0.0

    def test_prices_upside_down_turn_the_sign(self) -> None:
        """Mirrored at twice the price: highs are lows."""
        high_T, low_T, close_T = (self.SERIES[name] for name in ("high", "low", "close"))
        top = 2.0 * high_T.max()
        mirrored = (top - low_T, top - high_T, top - close_T)
        for function in (momentum.williams_r, momentum.ultimate_oscillator):
            np.testing.assert_allclose(
                function(*mirrored), -function(high_T, low_T, close_T), rtol=1e-9, atol=1e-12
            )
        for of_closes in (momentum.rsi, momentum.tsi, momentum.stochastic_rsi):
            np.testing.assert_allclose(
                of_closes(top - close_T), -of_closes(close_T), rtol=1e-9, atol=1e-11
            )

    @pytest.mark.parametrize(
        "name", ["stochastic_rsi", "stochastic", "williams_r", "cci", "ultimate_oscillator"]
    )
    def test_a_halt_ends_at_neutral(self, name: str) -> None:
        series = own_series("random", 2, 400)
        for price_T in series.values():
            price_T[300:] = series["close"][300]
        np.testing.assert_allclose(batch(lookup(name).bind({}), series)[-40:], 0.0, atol=1e-14)


TALIB: dict[str, Callable[[Series], Array]] = {
    "rsi": lambda s: talib.RSI(s["close"], 14) / 50.0 - 1.0,
    "stochastic_rsi": lambda s: talib.STOCHRSI(s["close"], 14, 14, 1)[0] / 50.0 - 1.0,
    "williams_r": lambda s: talib.WILLR(s["high"], s["low"], s["close"], 14) / 50.0 + 1.0,
    "stochastic": lambda s: (
        talib.STOCH(s["high"], s["low"], s["close"], 14, 3, 0, 3, 0)[0] / 50.0 - 1.0
    ),
    "cci": lambda s: talib.CCI(s["high"], s["low"], s["close"], 20) / 100.0,
    "ultimate_oscillator": lambda s: (
        talib.ULTOSC(s["high"], s["low"], s["close"], 7, 14, 28) / 50.0 - 1.0
    ),
    "awesome_oscillator": lambda s: talib.AO(s["high"], s["low"], 5, 34) / s["close"],
    "tsi": lambda s: talib.TSI(s["close"], 25, 13) / 100.0,
    "balance_of_power": lambda s: talib.BOP(s["open"], s["high"], s["low"], s["close"]),
    "intraday_momentum": lambda s: talib.IMI(s["open"], s["close"], 14) / 50.0 - 1.0,
    "efficiency_ratio": lambda s: talib.ER(s["close"], 10),
}


@pytest.mark.parametrize("name", TALIB)
def test_own_definitions_are_talibs_where_the_price_moves(name: str) -> None:
    bound, series = lookup(name).bind({}), own_series("long", 3)
    np.testing.assert_allclose(
        batch(bound, series)[:, 0], TALIB[name](series), rtol=1e-9, atol=1e-12
    )


Peer = Callable[[list[float], list[OHLCV], Array], Array]
# What talipp seeds otherwise agrees once the seed is forgotten: the last 300 of 1,500 bars.
TALIPP: dict[str, Peer] = {
    "momentum": lambda c, _, __: np.log1p(values(peers.ROC(21, c)) / 100.0),
    # Its first average has n - 1 changes.
    "rsi": lambda c, _, __: values(peers.RSI(14, c)) / 50.0 - 1.0,
    "stochastic_rsi": lambda c, _, __: values(peers.StochRSI(14, 14, 1, 1, c), "k") / 50.0 - 1.0,
    "williams_r": lambda _, bars, __: values(peers.Williams(14, bars)) / 50.0 + 1.0,
    # Its %K is not averaged; its %D is our %K.
    "stochastic": lambda _, bars, __: values(peers.Stoch(14, 3, bars), "d") / 50.0 - 1.0,
    "cci": lambda _, bars, __: values(peers.CCI(20, bars)) / 100.0,
    "ultimate_oscillator": lambda _, bars, __: values(peers.UO(7, 14, 28, bars)) / 50.0 - 1.0,
    "tsi": lambda c, _, __: values(peers.TSI(13, 25, c)) / 100.0,
    "balance_of_power": lambda _, bars, __: values(peers.BOP(bars)),
    "coppock": lambda c, _, __: values(peers.CoppockCurve(11, 14, 10, c)) / 100.0,
    "awesome_oscillator": lambda _, bars, close_T: values(peers.AO(5, 34, bars)) / close_T,
}


@pytest.mark.parametrize("name", TALIPP)
def test_second_opinion(name: str) -> None:
    bound, series = lookup(name).bind({}), own_series("random", 4)
    expected_T = TALIPP[name](series["close"].tolist(), candles(series), series["close"])
    np.testing.assert_allclose(
        batch(bound, series)[-300:, 0], expected_T[-300:], rtol=1e-9, atol=1e-12
    )

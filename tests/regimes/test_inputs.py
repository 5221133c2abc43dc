"""What detectors read of bars: total log returns, causal, NaN where there is none."""

import numpy as np
import pytest

from markets.bars import Bars
from markets.instruments import Instrument
from regimes.base import RegimeError
from regimes.inputs import InputConfig, observations_of
from tests.features.random_markets import after_replaced_by_noise, flat_bars, random_bars

ASSETS = InputConfig(series="assets")


def test_returns_by_hand_over_a_split_a_dividend_and_a_gap() -> None:
    bars = flat_bars(
        [[100.0, 10.0], [110.0, np.nan], [55.0, 12.0], [np.nan, np.nan], [54.0, 13.0]],
        [("A", 2, "split", 2.0), ("A", 4, "dividend", 1.0)],
    )
    own = observations_of(bars, ASSETS)
    np.testing.assert_allclose(
        own.y_TD,
        np.log([[np.nan] * 2, [1.1, np.nan], [1.0, 1.2], [np.nan] * 2, [55.0 / 55.0, 13.0 / 12.0]]),
        atol=1e-14,
    )
    assert own.seen.tolist() == [False, False, True, False, True]
    market = observations_of(bars)
    both = np.log(1.2) / 2.0, np.log(13.0 / 12.0) / 2.0
    np.testing.assert_allclose(
        market.y_TD[:, 0], [np.nan, np.log(1.1), both[0], np.nan, both[1]], atol=1e-14
    )
    assert market.x_TM.shape == (5, 0)


def test_the_market_is_the_mean_of_the_assets() -> None:
    bars = random_bars(seed=3, num_bars=300, num_assets=5)
    own, market = observations_of(bars, ASSETS), observations_of(bars)
    seen = np.isfinite(own.y_TD).any(axis=1)
    assert np.array_equal(market.seen, seen)
    np.testing.assert_allclose(market.y_TD[seen, 0], np.nanmean(own.y_TD[seen], axis=1), atol=1e-12)


@pytest.mark.parametrize("config", [InputConfig(), ASSETS, InputConfig(lags=3)])
@pytest.mark.parametrize("last", [40, 77])
def test_noise_after_a_bar_changes_nothing_up_to_it(config: InputConfig, last: int) -> None:
    bars = random_bars(seed=1)
    true = observations_of(bars, config)
    noisy = observations_of(after_replaced_by_noise(bars, last, seed=9), config)
    for one, two in ((true.y_TD, noisy.y_TD), (true.x_TM, noisy.x_TM)):
        assert np.array_equal(one[: last + 1], two[: last + 1], equal_nan=True)
    assert not np.array_equal(true.y_TD, noisy.y_TD, equal_nan=True)


def test_lagged_returns_were_known_before_the_bar() -> None:
    bars = random_bars(num_assets=1, trouble=False)
    plain = observations_of(bars).y_TD[:, 0]
    lagged = observations_of(bars, InputConfig(lags=2))
    assert InputConfig(lags=2).warmup == 3
    assert not lagged.seen[:3].any()
    assert lagged.seen[3:].all()
    np.testing.assert_array_equal(lagged.x_TM[3:], np.stack([plain[2:-1], plain[1:-2]], axis=1))


def test_prices_that_may_be_negative_have_no_returns() -> None:
    bars = flat_bars([[1.0], [2.0]], [])
    additive = [Instrument("A", additive=True)]
    arrays = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
    with pytest.raises(RegimeError, match="additive instrument A"):
        observations_of(Bars.from_arrays(bars.ts_event, ("A",), **arrays, instruments=additive))

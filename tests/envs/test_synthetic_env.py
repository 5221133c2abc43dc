"""Markets with a known answer behind Gymnasium: the oracle's value, the truth told, bad input."""

import doctest
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

import envs.synthetic_env
from envs.default_market import ConfigurationError
from envs.make import make, make_vec
from envs.synthetic import TRADE_SCALES, Problem
from envs.synthetic_env import (
    GarleanuPedersenEnv,
    GarleanuPedersenVectorEnv,
    OrnsteinUhlenbeckEnv,
    OrnsteinUhlenbeckVectorEnv,
    RegimeGBMEnv,
    RegimeGBMVectorEnv,
    SyntheticEnv,
    SyntheticVectorEnv,
)
from envs.trading_env import TradingEnv
from envs.vector_env import TradingVectorEnv
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.regime_gbm import RegimeGBM

SCALAR: list[type[SyntheticEnv]] = [GarleanuPedersenEnv, OrnsteinUhlenbeckEnv, RegimeGBMEnv]
VECTOR: list[type[SyntheticVectorEnv]] = [
    GarleanuPedersenVectorEnv,
    OrnsteinUhlenbeckVectorEnv,
    RegimeGBMVectorEnv,
]
WRONG: dict[str, Any] = {
    "world": "calm",
    "regime": "seen",
    "told": "view",
    "market": RegimeGBM(),
}
GUIDE = Path(__file__).parents[2] / "docs" / "markets.md"


class Outcome(NamedTuple):
    """Values of one policy in every lane, per bar: (1 - delta) sum_t delta^t reward_t."""

    realised_N: NDArray[np.float64]
    expected_N: NDArray[np.float64]
    clipped: float


def follow_the_oracle(env: SyntheticVectorEnv, bars: int) -> Outcome:
    oracle, discount = env.problem.world.oracle("known"), env.problem.world.discount
    _, infos = env.reset(seed=17)
    assert (infos["expected_reward"] == 0.0).all()
    realised_N, expected_N, clipped = np.zeros(env.num_envs), np.zeros(env.num_envs), 0
    for bar in range(bars):
        actions = env.problem.follow(oracle, env.simulator)
        clipped += int((np.abs(actions) >= 1.0).sum())
        _, rewards, _, _, infos = env.step(actions)
        # Of one bar; over many, a price that reverts gives back what its noise took.
        assert infos["expected_reward"].std() < rewards.std(), "less noise"
        realised_N += (1.0 - discount) * discount**bar * rewards
        expected_N += (1.0 - discount) * discount**bar * infos["expected_reward"]
    return Outcome(realised_N, expected_N, clipped / (bars * env.num_envs))


def assert_mean(sample_N: NDArray[np.float64], expected: float) -> None:
    error = sample_N.std(ddof=1) / np.sqrt(len(sample_N))
    assert abs(sample_N.mean() - expected) < 3.0 * error, (sample_N.mean(), expected, error)


@pytest.mark.parametrize("kind", VECTOR)
def test_the_oracle_earns_its_value(kind: type[SyntheticVectorEnv]) -> None:
    """Realised and expected: what is left after 700 bars is below 0.1 % of the value."""
    env = kind(512, episode_length=700)
    outcome = follow_the_oracle(env, 700)
    value = env.problem.world.oracle("known").value
    assert value is not None
    assert value > 0.0
    assert_mean(outcome.expected_N, value)
    assert_mean(outcome.realised_N, value)
    assert_mean(outcome.realised_N - outcome.expected_N, 0.0)
    if env.problem.world.kind in TRADE_SCALES:
        assert outcome.clipped < 1e-3, "an action reaches as far as the oracle goes"


@pytest.mark.parametrize("kind", VECTOR)
def test_expected_rewards_can_be_the_rewards(kind: type[SyntheticVectorEnv]) -> None:
    realised, expected = kind(8), kind(8, expected_reward=True)
    first, second = realised.reset(seed=3)[0], expected.reset(seed=3)[0]
    for _ in range(20):
        actions = realised.action_space.sample()
        first, rewards, _, _, infos = realised.step(actions)
        second, replaced, _, _, told = expected.step(actions)
        assert replaced.tolist() == infos["expected_reward"].tolist()
        assert told["expected_reward"].tolist() == infos["expected_reward"].tolist()
        assert (rewards != replaced).all()
        assert first.tobytes() == second.tobytes()


def test_expected_growth_of_several_assets_is_not_known() -> None:
    world = {"drift": ((0.001, 0.0), (-0.002, 0.0)), "volatility": ((0.02, 0.02), (0.04, 0.04))}
    env = RegimeGBMEnv(world)
    env.reset(seed=0)
    *_, info = env.step(np.array([0.1, 0.1]))
    assert np.isnan(info["expected_reward"])
    with pytest.raises(ConfigurationError, match=r"expected_reward: .* found 2 assets"):
        RegimeGBMEnv(world, expected_reward=True)


def test_nobody_is_ruined_in_another_currency() -> None:
    """A limit of 8 units of a price that moves by a million: a bar can lose ten millions."""
    world = {"mean": (1e6, -2e6), "volatility": (1e6, 1.5e6), "cost": 3e5, "risk_aversion": 1e-7}
    env = OrnsteinUhlenbeckVectorEnv(16, world, episode_length=50, trade_size=8.0)
    env.reset(seed=0)
    least = env.problem.initial_cash
    for _ in range(50):
        _, _, terminations, _, _ = env.step(np.ones((16, 1)))
        assert not terminations.any()
        least = min(least, float(env.simulator.equity_N.min()))
    assert least < env.problem.initial_cash - 1e7
    assert least > 0.99 * env.problem.initial_cash


@pytest.mark.parametrize("kind", VECTOR)
@pytest.mark.parametrize("regime", ["known", "belief", "hidden"])
def test_lanes_walk_the_paths_of_the_market(kind: type[SyntheticVectorEnv], regime: Any) -> None:
    """Regime and features are those of `path`, in every lane and episode; nothing else is told."""
    env = kind(2, regime=regime, episode_length=6, lane_offset=5)
    world = env.problem.world
    features = env.market.num_features
    observations, infos = env.reset(seed=11)
    for episode in range(2):
        paths = [world.path(7, seed=11, lane=5 + lane, episode=episode) for lane in range(2)]
        for bar in range(7):
            assert infos["bar"].tolist() == [bar, bar]
            assert infos["regime"].tolist() == [path.world.regime_N[bar] for path in paths]
            rows = [path.features_TC[bar].tolist() for path in paths]
            assert observations[:, :features].tolist() == rows
            observations, *_, infos = env.step(np.zeros((2, 1)))
    views = {"known": world.num_regimes, "belief": world.num_regimes, "hidden": 0}
    names = {len(kind(1, regime=view).market.feature_names) - views[view] for view in views}  # type: ignore[arg-type, union-attr] # literals
    assert len(names) == 1, "the views differ by their K columns alone"


@pytest.mark.parametrize("kind", SCALAR)
def test_observations_and_actions_are_as_documented(kind: type[SyntheticEnv]) -> None:
    env, indexed = kind(), kind(observation="index")
    features = env.market.num_features
    assert env.observation_space.shape == (features + 4,)
    assert indexed.observation_space.shape == (features + 5,)
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation, info = env.reset(seed=2)
    row, _ = indexed.reset(seed=2)
    for bar in range(1, 4):
        assert row[1:].tobytes() == observation.tobytes()
        observation, *_, info = env.step(np.array([0.6]))
        row, *_ = indexed.step(np.array([0.6]))
        assert row[0] == info["bar"] == bar
    holding = env.problem.holdings(env.simulator)[0, 0]
    additive = not isinstance(env.problem.world, RegimeGBM)
    unit = env.problem.world.holding_scale if additive else 1.0
    account = observation[features:]
    assert account[0] == pytest.approx(holding / unit, rel=1e-6)
    assert account[1] == pytest.approx(env.simulator.cash_N[0] / info["equity"], rel=1e-6)
    assert account[2] >= 0.0
    assert account[3] == 1.0, "the objective has no end"


def test_an_action_of_one_trades_the_trade_size_up_to_the_limit() -> None:
    env = OrnsteinUhlenbeckEnv({"limit": 5.0}, trade_size=3.0, dead_zone=0.5)
    env.reset(seed=0)
    holdings = []
    for action in (1.0, 0.75, 0.5, 1.0, -1.0):
        *_, info = env.step(np.array([action]))
        holdings.append(float(env.simulator.shares_NA[0, 0]))
        assert info["projected"] == (holdings[-1] == 5.0)
    assert holdings == pytest.approx([3.0, 4.5, 4.5, 5.0, 2.0])


def test_a_stream_is_told_to_the_plain_environments_too() -> None:
    problem = Problem(GarleanuPedersen(), episode_length=9)
    named, plain = (
        GarleanuPedersenEnv(episode_length=9),
        TradingEnv(problem.stream(), problem.trading()),
    )
    assert named.reset(seed=1)[0].tobytes() == plain.reset(seed=1)[0].tobytes()
    action = np.array([0.4])
    assert repr(named.step(action)) == repr(plain.step(action))
    observation, reward, *_, info = named.step_option(action, 3)
    expected, expected_reward, *_, expected_info = plain.step_option(action, 3)
    assert observation.tobytes() == expected.tobytes()
    assert (reward, repr(info)) == (expected_reward, repr(expected_info))
    assert info["duration"] == 3


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_ended_lanes_begin_fresh_paths(mode: str) -> None:
    env = RegimeGBMVectorEnv(3, episode_length=4, autoreset_mode=mode, observation="index")
    env.reset(seed=0)
    closes = set()
    for _ in range(4):
        observations, _, _, truncations, infos = env.step(np.full((3, 1), 0.5))
    assert truncations.all()
    if mode == "SameStep":
        final = np.stack(list(infos["final_obs"]))
        assert (final[:, 0] == 4.0).all()
        assert (infos["final_info"]["expected_reward"] != 0.0).all()
    else:
        observations, rewards, _, _, infos = env.step(np.full((3, 1), 0.5))
        assert (rewards == 0.0).all()
    assert (observations[:, 0] == 0.0).all()
    assert (infos["expected_reward"] == 0.0).all()
    assert infos["_regime"].all()
    env.step(np.zeros((3, 1)))
    closes = {float(row[2]) for row in env.simulator.world_NS}
    assert len(closes) == 3


@pytest.mark.parametrize(
    ("make_faulty", "message"),
    [
        (lambda: GarleanuPedersenEnv({"lodings": 1}), r"world\.lodings: .*found 1"),
        (lambda: GarleanuPedersenEnv({"kind": "regime_gbm"}), r"world\.kind: .*'regime_gbm'"),
        (lambda: GarleanuPedersenEnv(RegimeGBM()), "world: expected a GarleanuPedersen or a map"),
        (
            lambda: RegimeGBMEnv(WRONG["world"]),
            "world: expected a RegimeGBM or a mapping .* found 'calm'",
        ),
        (lambda: RegimeGBMEnv(regime=WRONG["regime"]), r"world\.regime: .*found 'seen'"),
        (lambda: OrnsteinUhlenbeckEnv(regime=WRONG["regime"]), r"world\.regime: .*found 'seen'"),
        (lambda: OrnsteinUhlenbeckEnv({"speed": (0.1, 2.5)}), r"world\.speed.*found 2\.5"),
        (
            lambda: OrnsteinUhlenbeckEnv({"transition": ((0.9, 0.2), (0.1, 0.9))}),
            r"world: .*transition\[0\]: expected probabilities that sum to 1, found a sum of 1\.1",
        ),
        (lambda: OrnsteinUhlenbeckEnv(episode_length=0), r"problem\.episode_length: .*found 0"),
        (lambda: OrnsteinUhlenbeckEnv(trade_size=-1.0), r"problem\.trade_size: .*found -1"),
        (lambda: OrnsteinUhlenbeckEnv(dead_zone=1.0), r"problem\.dead_zone: .*found 1"),
        (lambda: RegimeGBMEnv(trade_size=0.5), r"trade_size: expected None for regime_gbm.*0\.5"),
        (lambda: RegimeGBMEnv(dead_zone=0.1), r"dead_zone: expected 0\.0 for regime_gbm.*0\.1"),
        (
            lambda: RegimeGBMEnv(observation=WRONG["told"]),
            "observation: expected window or index for a",
        ),
        (
            lambda: RegimeGBMVectorEnv(2, observation=WRONG["told"]),
            "observation: expected window or ind",
        ),
        (
            lambda: TradingEnv(RegimeGBM().stream(), part="train"),
            "part: expected None for a stream, which has no rows, found 'train'",
        ),
        (
            lambda: TradingVectorEnv(2, RegimeGBM().stream(), rows=(0, 9)),
            r"rows: expected None for a stream, which has no rows, found \(0, 9\)",
        ),
        (
            lambda: TradingEnv(RegimeGBM().stream()),
            r"config\.observation\.window: expected 1 for a stream, .* found 30",
        ),
        (
            lambda: TradingEnv(WRONG["market"]),
            "market: expected MarketArrays, a Stream, Bars or a na",
        ),
        (lambda: TradingEnv(action="trade"), r"config\.action\.size: Field required"),
    ],
)
def test_faulty_arguments(make_faulty: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_faulty()


def test_doors() -> None:
    env = make("perennial/RegimeGBM-v0", world={"limit": 1.2}, regime="belief")
    assert isinstance(env, RegimeGBMEnv)
    assert env.problem == Problem(RegimeGBM(limit=1.2, regime="belief"))
    vector = make_vec("perennial/OrnsteinUhlenbeck-v0", 3, dead_zone=0.2)
    assert isinstance(vector, OrnsteinUhlenbeckVectorEnv)
    assert vector.problem.dead_zone == 0.2
    named = GarleanuPedersenEnv(GarleanuPedersen(discount=0.95), regime="hidden")
    assert named.problem.world == GarleanuPedersen(discount=0.95, regime="hidden")
    with pytest.raises(TypeError, match="part"):
        make("perennial/RegimeGBM-v0", part="train")


def test_importing_the_ids_loads_no_market() -> None:
    code = "import sys, envs; print(sorted({'numba', 'pydantic', 'markets'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_examples_in_the_docstrings() -> None:
    failed, attempted = doctest.testmod(envs.synthetic_env)
    assert failed == 0
    assert attempted >= 15


def test_examples_in_the_guide() -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert 0.0 < names["score"] < 1.0
    assert names["best"] == pytest.approx(names["oracle"].value, rel=0.1)
    assert names["made"].bars.num_bars == names["path"].bars.num_bars == 500

"""The learner learns: tasks of seconds whose best policy is known, through the real simulator."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.encoder import EncoderConfig
from agents.networks import PolicyConfig
from agents.policy import TorchPolicy
from envs.config import (
    EpisodeConfig,
    FeeConfig,
    LevelsAction,
    LongShortAction,
    ObservationConfig,
    SimplexAction,
    TradingConfig,
)
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator
from training.sb3.ppo import MarketPPO, PPOConfig
from training.sb3.vec_env import SimulatorVecEnv

WINDOW = 3
OBSERVATION = ObservationConfig(kind="index", window=WINDOW)
EPISODE = EpisodeConfig(length=40)
POLICY = PolicyConfig(
    encoder=EncoderConfig(window=WINDOW, channels=8, hidden=16, embedding=16), hidden=(16, 16)
)
PPO = PPOConfig(
    steps=32, minibatch=512, epochs=4, learning_rate=3e-3, critic_learning_rate=3e-3, discount=0.9
)


def market(returns_TA: NDArray[np.float64], features_TC: NDArray[np.float64]) -> MarketArrays:
    """Each bar opens where the last one closed, so a step earns exactly its bar's return."""
    close = 100.0 * np.cumprod(1.0 + returns_TA, axis=0)
    opened = np.vstack([np.full((1, close.shape[1]), 100.0), close[:-1]])
    return MarketArrays.from_arrays(
        ts_event=np.arange(len(close)) * 86_400 * 10**9,
        open_TA=opened,
        close_TA=close,
        features=features_TC.astype(np.float32),
    )


def leaked(size: float, num_bars: int = 400) -> MarketArrays:
    """Returns of a random sign, and the next bar's sign as a feature beside two of noise."""
    random = np.random.default_rng(0)
    signs = random.choice([-1.0, 1.0], num_bars)
    features = random.normal(size=(num_bars, 3))
    features[:, 1] = np.append(signs[1:], 0.0)
    return market(size * signs[:, None], features)


def train(
    arrays: MarketArrays,
    config: TradingConfig,
    steps: int,
    policy: PolicyConfig = POLICY,
    **changes: Any,
) -> MarketPPO:
    env = SimulatorVecEnv(Simulator(arrays, config, 64, seed=1, autoreset="same_step"))
    model = MarketPPO(
        env,
        arrays.features_TC,
        config=PPOConfig(**(vars(PPO) | changes)),
        policy=policy,
        seed=1,
        device="cpu",
    )
    return model.learn(steps)


def play(model: MarketPPO) -> tuple[float, NDArray[np.float64]]:
    """Mean reward a step and the actions of the deterministic policy over one episode of 64."""
    source = model.vec_env.simulator
    simulator = Simulator(source.market, source.config, 64, seed=99)
    space: Any = model.action_space
    policy = TorchPolicy(
        model.policy.net,
        model.vec_env.features,
        low=getattr(space, "low", None),
        high=getattr(space, "high", None),
    )
    total, taken = 0.0, []
    for _ in range(40):
        action = policy.act(simulator.observe_index())
        simulator.step(action)
        total += float(simulator.reward_N.mean()) / 40
        taken.append(action)
    return total, np.stack(taken)


@pytest.mark.parametrize("critic_encoder", ["own", "shared"])
def test_finds_a_feature_that_leaks_the_future(critic_encoder: str) -> None:
    config = TradingConfig.frictionless(
        action=LongShortAction(), observation=OBSERVATION, episode=EPISODE
    )
    policy = PolicyConfig(**(vars(POLICY) | {"critic_encoder": critic_encoder}))
    assert play(train(leaked(0.01), config, 0, policy))[0] < 0.2 * np.log(1.01)
    reward, actions = play(train(leaked(0.01), config, 100_000, policy))
    assert reward > 0.95 * np.log(1.01)  # always on the right side with the whole account
    assert np.abs(actions).mean() > 0.95


def test_stays_put_where_costs_exceed_the_edge() -> None:
    action = LevelsAction(levels=(-1.0, 0.0, 1.0))
    free = TradingConfig.frictionless(action=action, observation=OBSERVATION, episode=EPISODE)
    costly = TradingConfig.frictionless(action=action, observation=OBSERVATION, episode=EPISODE)
    costly = TradingConfig(**(vars(costly) | {"fee": FeeConfig(bps=100.0)}))
    arrays = leaked(0.002)  # 20 bps are earned for a trade that costs 100 or 200
    traded = play(train(arrays, free, 100_000))
    stayed = play(train(arrays, costly, 100_000))
    assert traded[0] > 0.9 * np.log(1.002)
    assert (stayed[1] == 1).mean() > 0.99  # the middle level: cash
    assert stayed[0] == pytest.approx(0.0, abs=1e-5)


def test_simplex_finds_the_asset_that_rises() -> None:
    random = np.random.default_rng(0)
    returns = 0.01 * random.normal(size=(400, 3)) + [-0.004, 0.006, 0.0]
    config = TradingConfig.frictionless(
        action=SimplexAction(parametrisation="logits"), observation=OBSERVATION, episode=EPISODE
    )
    model = train(market(returns, random.normal(size=(400, 2))), config, 150_000)
    weights = torch.softmax(torch.tensor(play(model)[1]), dim=-1)
    assert weights[..., 1].mean() > 0.8


@pytest.mark.parametrize(("ruin", "expected"), [(0.0, 10.0), (0.5, None)])
def test_truncation_bootstraps_and_termination_does_not(
    ruin: float, expected: float | None
) -> None:
    """With a constant reward r the value is r / (1 - gamma), however little time is left.

    Where ruin ends the episode the value is the reward of the steps that are left.
    """
    growth = 0.01 if expected else -0.05
    returns, features = np.full((400, 1), growth), np.ones((400, 1))
    config = TradingConfig.frictionless(
        action=LevelsAction(levels=(1.0, 1.0)),
        observation=OBSERVATION,
        episode=EpisodeConfig(length=20, ruin_fraction=ruin),
    )
    scale = 1.0 / np.log1p(growth)  # a reward of 1 a step
    if not expected:
        scale = -scale  # a reward of -1 a step
    model = train(market(returns, features), config, 100_000, reward_scale=scale)
    simulator = Simulator(model.vec_env.simulator.market, config, 64, seed=5)
    values = []
    with torch.no_grad():
        for _ in range(20):
            values.append(
                float(model.policy.predict_values(torch.tensor(simulator.observe_index())).mean())
            )
            simulator.step(np.zeros((64, 1)))
            if simulator.terminated_N.any():
                break
    if expected:
        assert values == pytest.approx([expected] * 20, rel=0.05)
    else:  # 100000 * 0.95^14 < 50000: fourteen steps
        assert len(values) == 14
        left = np.arange(14, 0, -1)
        assert values == pytest.approx(-(1 - 0.9**left) / 0.1, abs=0.4)


def test_same_seed_same_bits() -> None:
    config = TradingConfig.frictionless(
        action=LongShortAction(), observation=OBSERVATION, episode=EPISODE
    )
    models = [train(leaked(0.01), config, 8192) for _ in range(2)]
    for left, right in zip(*(m.policy.net.parameters() for m in models), strict=True):
        assert left.equal(right)

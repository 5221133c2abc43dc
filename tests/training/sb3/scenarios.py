"""A small market and its learner, shared by the tests of the learner."""

from typing import Any, Literal

import numpy as np

from agents.encoder import EncoderConfig
from agents.networks import PolicyConfig
from envs.config import EpisodeConfig, LevelsAction, ObservationConfig, SimplexAction, TradingConfig
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator
from training.sb3.ppo import MarketPPO, PPOConfig
from training.sb3.vec_env import SimulatorVecEnv

WINDOW = 4


def make_market(num_bars: int = 120, num_assets: int = 2, num_features: int = 3) -> MarketArrays:
    """Random walks with features that say nothing."""
    random = np.random.default_rng(5)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, (num_bars, num_assets)), axis=0))
    return MarketArrays.from_arrays(
        ts_event=np.arange(num_bars) * 86_400 * 10**9,
        open_TA=close * np.exp(random.normal(0.0, 0.002, close.shape)),
        close_TA=close,
        volume_TA=np.full(close.shape, 1e7),
        features=random.normal(size=(num_bars, num_features)).astype(np.float32),
    )


def make_env(
    num_envs: int = 8,
    *,
    discrete: bool = False,
    length: int = 20,
    observation: Literal["index", "window"] = "index",
    autoreset: Literal["disabled", "same_step"] = "same_step",
    **episode: Any,
) -> SimulatorVecEnv:
    """Two assets by logits, or one asset by levels."""
    config = TradingConfig(
        action=LevelsAction() if discrete else SimplexAction(parametrisation="logits"),
        observation=ObservationConfig(kind="index", window=WINDOW),
        episode=EpisodeConfig(length=length, **episode),
    )
    market = make_market(num_assets=1 if discrete else 2)
    simulator = Simulator(market, config, num_envs, seed=3, autoreset=autoreset)
    return SimulatorVecEnv(simulator, observation=observation)


def small_policy(**changes: Any) -> PolicyConfig:
    """Networks small enough for tests."""
    encoder = EncoderConfig(window=WINDOW, channels=4, hidden=8, embedding=8)
    sizes: dict[str, Any] = {"encoder": encoder, "hidden": (8, 8)}
    return PolicyConfig(**(sizes | changes))


def make_learner(
    *, discrete: bool = False, policy: PolicyConfig | None = None, seed: int = 7, **ppo: Any
) -> MarketPPO:
    """A learner of 8 environments and rollouts of 16 steps."""
    env = make_env(discrete=discrete)
    return MarketPPO(
        env,
        env.features,
        config=PPOConfig(**({"steps": 16, "minibatch": 32, "epochs": 2} | ppo)),
        policy=policy or small_policy(),
        seed=seed,
        device="cpu",
    )

"""gym-trading-env: one asset, F features, window W. Arguments: F W."""

import sys

import gym_trading_env  # noqa: F401  (registers the environment)
import numpy as np
from gym_trading_env.environments import TradingEnv
from harness import episodes, market, serve

features, window = map(int, sys.argv[1:3])
frame = market(1, features).set_index("date").drop(columns="tic")
env = TradingEnv(
    df=frame,
    positions=[-1, 0, 1],
    windows=window,
    trading_fees=1e-4,
    borrow_interest_rate=1e-5,
    max_episode_duration=252,
    verbose=0,
)
actions = np.random.default_rng(1).integers(0, 3, 100_000)
serve(
    episodes(env, actions, 1_000),
    peer="gym-trading-env",
    assets=1,
    features=features,
    window=window,
)

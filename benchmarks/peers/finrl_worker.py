"""FinRL's StockTradingEnv: A assets, F indicators, no window. Arguments: A F."""

import sys

import numpy as np
from finrl_env import stock_trading_env
from harness import episodes, market, serve

assets, features = map(int, sys.argv[1:3])
names = [f"feature_{i}" for i in range(features)]
env = stock_trading_env(market(assets, features), assets, names)
actions = np.random.default_rng(1).uniform(-1, 1, (4_000, assets)).astype(np.float32)
serve(episodes(env, actions, 50), peer="FinRL", assets=assets, features=features, window=1)

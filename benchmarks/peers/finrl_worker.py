"""FinRL's StockTradingEnv: A assets, F indicators, no window. Arguments: A F.

The module is loaded by its path because importing the package imports broker clients.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
from harness import episodes, market, serve

assets, features = map(int, sys.argv[1:3])
package = Path(importlib.util.find_spec("finrl").submodule_search_locations[0])
path = package / "meta" / "env_stock_trading" / "env_stocktrading.py"
spec = importlib.util.spec_from_file_location("env_stocktrading", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

frame = market(assets, features)
frame.index = frame["date"].factorize()[0]
names = [f"feature_{i}" for i in range(features)]
env = module.StockTradingEnv(
    df=frame,
    stock_dim=assets,
    hmax=100,
    initial_amount=1_000_000,
    num_stock_shares=[0] * assets,
    buy_cost_pct=[1e-4] * assets,
    sell_cost_pct=[1e-4] * assets,
    reward_scaling=1e-4,
    state_space=1 + 2 * assets + features * assets,
    action_space=assets,
    tech_indicator_list=names,
    print_verbosity=10**9,
)
actions = np.random.default_rng(1).uniform(-1, 1, (4_000, assets)).astype(np.float32)
serve(episodes(env, actions, 50), peer="FinRL", assets=assets, features=features, window=1)

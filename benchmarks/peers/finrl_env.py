"""FinRL's StockTradingEnv, loaded by its path: importing the package imports broker clients."""

import importlib.util
from pathlib import Path

import pandas as pd


def stock_trading_env(frame: pd.DataFrame, assets: int, names: list[str]) -> object:
    """The package's environment over a long frame (date, tic, close, indicators), sorted by date.

    Args:
        frame: one row per date and asset.
        assets: number of assets.
        names: indicator columns.
    """
    package = Path(importlib.util.find_spec("finrl").submodule_search_locations[0])
    path = package / "meta" / "env_stock_trading" / "env_stocktrading.py"
    spec = importlib.util.spec_from_file_location("env_stocktrading", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    frame = frame.copy()
    frame.index = frame["date"].factorize()[0]
    return module.StockTradingEnv(
        df=frame,
        stock_dim=assets,
        hmax=100,
        initial_amount=1_000_000,
        num_stock_shares=[0] * assets,
        buy_cost_pct=[1e-4] * assets,
        sell_cost_pct=[1e-4] * assets,
        reward_scaling=1e-4,
        state_space=1 + 2 * assets + len(names) * assets,
        action_space=assets,
        tech_indicator_list=names,
        print_verbosity=10**9,
    )

"""gym-anytrading: one asset, F signal features, window W. Arguments: F W."""

import sys

import numpy as np
from gym_anytrading.envs import StocksEnv
from harness import episodes, market, serve


class Env(StocksEnv):
    """The package's stock environment with our feature columns as its signals."""

    def _process_data(self) -> tuple[np.ndarray, np.ndarray]:
        start, end = self.frame_bound
        prices = self.df["close"].to_numpy()[start - self.window_size : end]
        columns = [c for c in self.df.columns if c.startswith("feature_")]
        signals = self.df[columns].to_numpy(np.float32)[start - self.window_size : end]
        return prices.astype(np.float32), signals


features, window = map(int, sys.argv[1:3])
frame = market(1, features).set_index("date")
env = Env(df=frame, window_size=window, frame_bound=(window, len(frame)))
actions = np.random.default_rng(1).integers(0, 2, 100_000)
serve(
    episodes(env, actions, 2_000), peer="gym-anytrading", assets=1, features=features, window=window
)

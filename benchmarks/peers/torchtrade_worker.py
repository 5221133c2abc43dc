"""TorchTrade's vectorised environment: one asset, F features, window W. Arguments: F W N."""

import sys

import torch
from harness import market, serve
from torchtrade.envs.offline import (
    VectorizedSequentialTradingEnv,
    VectorizedSequentialTradingEnvConfig,
)

torch.set_num_threads(1)
features, window, lanes = map(int, sys.argv[1:4])
frame = market(1, features).drop(columns="tic").rename(columns={"date": "timestamp"})
frame = frame.rename(columns={f"feature_{i}": f"features_{i}" for i in range(features)})


def keep(df):  # noqa: ANN001, ANN201
    """The features are precomputed; the sampler wants its time as a column."""
    return df.reset_index()


env = VectorizedSequentialTradingEnv(
    frame,
    VectorizedSequentialTradingEnvConfig(
        num_envs=lanes,
        time_frames="1Day",
        window_sizes=window,
        execute_on="1Day",
        transaction_fee=1e-4,
        slippage=1e-4,
        leverage=2,
        max_traj_length=252,
    ),
    feature_preprocessing_fn=keep,
)
actions = torch.randint(0, 3, (64, lanes), generator=torch.Generator().manual_seed(1))
state = {"td": env.reset(), "i": 0}


def run() -> int:
    """64 batched steps with resets of the finished lanes."""
    td = state["td"]
    for i in range(64):
        td["action"] = actions[i]
        _, td = env.step_and_maybe_reset(td)
    state["td"] = td
    return 64 * lanes


serve(run, peer="TorchTrade", assets=1, features=features, window=window, lanes=lanes)

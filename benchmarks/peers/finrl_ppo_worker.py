"""SB3's PPO on FinRL's StockTradingEnv, through SB3's DummyVecEnv.

Arguments: MARKET THREADS NUM_ENVS STEPS MINIBATCH EPOCHS ROLLOUTS WIDTHS. MARKET is an .npz with
`close` (T, A) and `features` (T, C); WIDTHS are the layers of actor and critic, comma-separated.
Prints one JSON line: rates, cores, shares of the time.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from finrl_env import stock_trading_env
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

source = np.load(sys.argv[1])
threads, num_envs, steps, minibatch, epochs, rollouts = map(int, sys.argv[2:8])
widths = [int(width) for width in sys.argv[8].split(",")]
torch.set_num_threads(threads)

close, columns = source["close"], source["features"].astype(np.float64)
rows, assets = close.shape
per_asset = -(-columns.shape[1] // assets)
padded = np.zeros((rows, assets * per_asset))
padded[:, : columns.shape[1]] = columns
# The environment reads a first indicator that equals one as "do not trade".
padded[padded == 1.0] += 1e-6
names = [f"feature_{i}" for i in range(per_asset)]
frame = pd.DataFrame(padded.reshape(rows * assets, per_asset), columns=names)
frame.insert(0, "close", close.ravel())
frame.insert(0, "tic", np.tile([f"A{i:02d}" for i in range(assets)], rows))
frame.insert(0, "date", np.repeat(pd.date_range("2000-01-03", periods=rows), assets))

env = DummyVecEnv([lambda: stock_trading_env(frame, assets, names)] * num_envs)
model = PPO(
    "MlpPolicy",
    env,
    n_steps=steps,
    batch_size=minibatch,
    n_epochs=epochs,
    learning_rate=5e-4,
    device="cpu",
    seed=0,
    policy_kwargs={
        "net_arch": {"pi": widths, "vf": widths},
        "activation_fn": torch.nn.ReLU,
    },
)
spent = dict.fromkeys(("environment", "policy", "update"), 0.0)


def timed(name: str, function: Callable[..., object]) -> Callable[..., object]:
    """`function`, with the wall time of its calls added to `spent[name]`."""

    def call(*arguments: object, **more: object) -> object:
        began = time.perf_counter()
        result = function(*arguments, **more)
        spent[name] += time.perf_counter() - began
        return result

    return call


env.step = timed("environment", env.step)
model.policy.forward = timed("policy", model.policy.forward)
model.train = timed("update", model.train)
wall, cpu = time.perf_counter(), time.process_time()
model.learn(rollouts * num_envs * steps)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
total = rollouts * num_envs * steps
shares = {name: seconds / wall for name, seconds in spent.items()}
print(
    json.dumps(
        {
            "steps_per_second": total / wall,
            "steps_per_cpu_second": total / cpu,
            "cores_used": cpu / wall,
            "shares": shares | {"bookkeeping": 1.0 - sum(shares.values())},
        }
    )
)

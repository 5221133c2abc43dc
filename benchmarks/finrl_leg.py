"""The training leg of FinRL: SB3's PPO on its StockTradingEnv, in its own virtual environment.

What is the same as in our legs: bars and features (our default market's training rows, every
feature column), N environments x T steps, epochs, minibatches, learning rate, the widths of the
hidden layers, own networks for actor and critic. What its environment does not allow, or does
otherwise:

* no window: the network sees one bar, so its first layers look over no past (fewer multiply-adds
  than ours);
* every episode runs from the first row to the last; all environments stand at the same row;
* costs are a percentage of the fill at the observed close: no spread, impact, participation,
  dividends or splits, and long positions only;
* actions are numbers of shares to buy or sell, not target weights;
* assets that start late are filled backwards with their first price: it wants a full history;
* no warm-up rollout, since nothing is compiled.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.setup import PeerError, python_of
from envs.market_arrays import MarketArrays

WORKER = Path(__file__).resolve().parent / "peers" / "finrl_ppo_worker.py"


def measure(
    market: MarketArrays,
    rows: tuple[int, int],
    settings: dict[str, int],
    widths: tuple[int, ...],
    threads: int,
) -> dict[str, Any]:
    """Train for `settings["rollouts"]` rollouts.

    Args:
        market: of our legs.
        rows: of the training span.
        settings: num_envs, steps, minibatch, epochs, rollouts.
        widths: hidden layers of actor and critic.
        threads: of torch.

    Returns:
        Rates, cores and shares of the time, as our legs give them.

    Raises:
        PeerError: FinRL cannot be installed, or its worker failed.
    """
    numbers = (settings[k] for k in ("num_envs", "steps", "minibatch", "epochs", "rollouts"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "market.npz"
        start = max(rows[0], market.first_bar)
        close_TA = _from_the_first_price(market.close_TA[start : rows[1]])
        np.savez(path, close=close_TA, features=market.features_TC[start : rows[1]])
        command = [str(python_of("finrl")), str(WORKER), str(path), str(threads)]
        command += [*map(str, numbers), ",".join(map(str, widths))]
        done = subprocess.run(
            command,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        print(done.stderr, file=sys.stderr, flush=True)
        last = done.stderr.strip().splitlines()[-1:] or [f"ended with {done.returncode}"]
        raise PeerError(f"{WORKER.name}: {last[0]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _from_the_first_price(close_TA: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill the bars before an asset's first one with its first price, 1 where it has none."""
    filled_TA = close_TA.copy()
    for asset in range(close_TA.shape[1]):
        known = np.flatnonzero(close_TA[:, asset] > 0.0)
        first = known[0] if known.size else len(close_TA)
        filled_TA[:first, asset] = close_TA[first, asset] if known.size else 1.0
    return filled_TA

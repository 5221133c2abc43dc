"""What every benchmark worker shares: the synthetic market and the measuring loop.

Runs in each peer's own virtual environment, so it needs only the standard library, numpy and
pandas. A worker prints ``ready``, then for every line that it reads measures one repetition and
prints one JSON line; the orchestrator interleaves the workers so that noise hits all alike.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

ROWS = 5_000


def market(assets: int, features: int, seed: int = 0) -> pd.DataFrame:
    """Daily bars in long form: date, tic, OHLCV and `features` random columns per asset."""
    rng = np.random.default_rng(seed)
    returns = rng.standard_t(5, (ROWS, assets)) * 0.01 + 0.0003
    close = 100.0 * np.exp(np.cumsum(returns, axis=0))
    open_ = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.003, (ROWS, assets)))
    spread = np.abs(rng.normal(0, 0.004, (ROWS, assets)))
    frame = pd.DataFrame(
        {
            "date": np.repeat(pd.date_range("2000-01-03", periods=ROWS, freq="D"), assets),
            "tic": np.tile([f"A{i:02d}" for i in range(assets)], ROWS),
            "open": open_.ravel(),
            "high": (np.maximum(open_, close) * (1 + spread)).ravel(),
            "low": (np.minimum(open_, close) * (1 - spread)).ravel(),
            "close": close.ravel(),
            "volume": rng.integers(1_000_000, 5_000_000, (ROWS, assets)).ravel().astype(float),
        }
    )
    columns = rng.standard_normal((ROWS * assets, features)).astype(np.float32)
    named = {f"feature_{i}": columns[:, i] for i in range(features)}
    return pd.concat([frame, pd.DataFrame(named)], axis=1)


def serve(run: Callable[[], int], **label: object) -> None:
    """Measure on demand: `run()` does some steps and returns how many.

    Args:
        run: one chunk of work; called until a CPU-second has passed.
        label: what identifies the measurement in the result.
    """
    run()

    def measure(seconds: float) -> dict[str, object]:
        steps, begin, wall = 0, time.process_time(), time.perf_counter()
        while time.process_time() - begin < seconds:
            steps += run()
        cpu = time.process_time() - begin
        return {
            **label,
            "steps": steps,
            "cpu_s": cpu,
            "wall_s": time.perf_counter() - wall,
            "steps_per_cpu_s": steps / cpu,
        }

    answer(measure)


def answer(measure: Callable[[float], Mapping[str, object]]) -> None:
    """Say that the worker is ready; then answer each line (CPU-seconds) with a line of JSON.

    Args:
        measure: one repetition of about so many CPU-seconds.
    """
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(measure(float(line))) + "\n")
        sys.stdout.flush()


def episodes(env: Any, actions: np.ndarray, chunk: int) -> Callable[[], int]:
    """A `run` for a scalar gymnasium environment: `chunk` steps, resets included."""
    state = {"i": 0}
    env.reset(seed=0)

    def run() -> int:
        i = state["i"]
        for _ in range(chunk):
            _, _, terminated, truncated, _ = env.step(actions[i % len(actions)])
            i += 1
            if terminated or truncated:
                env.reset()
        state["i"] = i
        return chunk

    return run

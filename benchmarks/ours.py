"""Our own workers, measured exactly as the peers' are.

Arguments: MODE A F W N. MODE is index or window (the compiled accounts), vector-index or
vector-window (the gymnasium vector environment), scalar-index or scalar-window (the single
gymnasium environment), copying (windows beside memcpy in one process), memcpy, or stream-MARKET
(the compiled accounts on fresh paths of a synthetic market, traded by its own rules).
Every accounting model is on: commission with a minimum, spread, impact, participation, borrow and
financing rates, margin, splits and dividends in the data; long and short, money in float64.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.harness import ROWS, answer, episodes, market, serve
from envs.config import (
    BorrowConfig,
    EpisodeConfig,
    FeeConfig,
    FinancingConfig,
    ImpactConfig,
    LongShortAction,
    MarginConfig,
    ObservationConfig,
    ParticipationConfig,
    SpreadConfig,
    TradingConfig,
)
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator
from envs.synthetic import MarketConfig, Problem
from envs.trading_env import TradingEnv
from envs.vector_env import TradingVectorEnv
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck
from markets.synthetic.regime_gbm import RegimeGBM

CHUNK = 64


def arrays(assets: int, features: int) -> MarketArrays:
    """The peers' market, with a split and four dividends a year in each asset."""
    frame = market(assets, features)
    shape = (ROWS, assets)
    rng = np.random.default_rng(2)
    split, dividend = np.ones(shape), np.zeros(shape)
    split[rng.integers(0, ROWS, 2 * assets), np.tile(np.arange(assets), 2)] = 2.0
    dividend[rng.integers(0, ROWS, 80 * assets), np.tile(np.arange(assets), 80)] = 0.2
    columns = [f"feature_{i}" for i in range(features)]
    values = frame[columns].to_numpy(np.float32).reshape(ROWS, assets * features)
    return MarketArrays.from_arrays(
        ts_event=np.arange(ROWS, dtype=np.int64) * 86_400_000_000_000,
        open_TA=frame["open"].to_numpy().reshape(shape),
        close_TA=frame["close"].to_numpy().reshape(shape),
        volume_TA=frame["volume"].to_numpy().reshape(shape),
        split_TA=split,
        dividend_TA=dividend,
        features=np.ascontiguousarray(values),
    )


def config(kind: str, window: int) -> TradingConfig:
    """Every model switched on."""
    return TradingConfig(
        action=LongShortAction(gross=2.0, net=2.0, scale=1.0),
        fee=FeeConfig(bps=1.0, per_share=0.001, minimum=0.1),
        spread=SpreadConfig(bps=2.0),
        impact=ImpactConfig(coefficient=1.0),
        participation=ParticipationConfig(maximum=0.1),
        borrow=BorrowConfig(annual_rate=0.01),
        financing=FinancingConfig(debit_annual_rate=0.05, credit_annual_rate=0.01),
        margin=MarginConfig(maintenance=0.25),
        observation=ObservationConfig(kind=kind, window=window),  # type: ignore[arg-type]  # from the command line
        episode=EpisodeConfig(length=252, random_start=True),
    )


def simulator(kind: str, assets: int, features: int, window: int, lanes: int) -> Simulator:
    """The compiled accounts that the batched modes drive."""
    market, settings = arrays(assets, features), config(kind, window)
    return Simulator(market, settings, lanes, seed=0, autoreset="same_step")


def random_actions(*shape: int) -> NDArray[np.float64]:
    """Drawn beforehand, uniform in -1 .. 1."""
    return np.random.default_rng(1).uniform(-1, 1, shape)


def batch(kind: str, assets: int, features: int, window: int, lanes: int) -> Callable[[], int]:
    """Batched steps with autoreset, the observation read at every step."""
    accounts = simulator(kind, assets, features, window, lanes)
    actions = random_actions(CHUNK, lanes, assets)
    observe = accounts.observe_index if kind == "index" else accounts.observe_window
    width = accounts.account_size + 1 if kind == "index" else accounts.window_size
    out = np.empty((lanes, width), np.float32)
    chunk = max(1, 8192 // lanes) if kind == "index" else 1

    def run() -> int:
        for i in range(chunk * CHUNK):
            accounts.step(actions[i % CHUNK])
            observe(out)
        return chunk * CHUNK * lanes

    return run


def vector(kind: str, assets: int, features: int, window: int, lanes: int) -> Callable[[], int]:
    """Steps of the gymnasium vector environment: checks, fresh arrays and infos included."""
    market, settings = arrays(assets, features), config(kind, window)
    env = TradingVectorEnv(lanes, market, settings, autoreset_mode="NextStep")
    actions = random_actions(CHUNK, lanes, assets)
    env.reset(seed=0)

    def run() -> int:
        for i in range(CHUNK):
            env.step(actions[i])
        return CHUNK * lanes

    return run


def scalar(kind: str, assets: int, features: int, window: int) -> Callable[[], int]:
    """Steps of the single gymnasium environment, resets included."""
    env = TradingEnv(arrays(assets, features), config(kind, window))
    return episodes(env, random_actions(4096, assets).astype(np.float32), 2_000)


def stream(kind: str, lanes: int) -> Callable[[], int]:
    """Batched steps over fresh paths with autoreset, the observation read at every step."""
    markets: dict[str, MarketConfig] = {
        m.kind: m for m in (GarleanuPedersen(), OrnsteinUhlenbeck(), RegimeGBM())
    }
    problem = Problem(markets[kind])
    accounts = Simulator(problem.stream(), problem.trading(), lanes, seed=0, autoreset="same_step")
    actions = random_actions(CHUNK, lanes, accounts.action_size)
    out = accounts.observe_index()
    chunk = max(1, 8192 // lanes)

    def run() -> int:
        for i in range(chunk * CHUNK):
            accounts.step(actions[i % CHUNK])
            accounts.observe_index(out)
        return chunk * CHUNK * lanes

    return run


def memcpy(size: int, count: int) -> Callable[[], int]:
    """Copy a batch of `count` windows of `size` bytes in one piece: the bound of all copies."""
    source = np.random.default_rng(0).integers(0, 255, count * size, dtype=np.uint8)
    target = np.empty_like(source)

    def run() -> int:
        for _ in range(16):
            np.copyto(target, source)
        return 16 * count

    return run


class Copying:
    """Steps with copied windows, the copying alone, and memcpy of as many bytes, in turn.

    Args:
        assets: A.
        features: F for each asset.
        window: W bars.
        lanes: N windows a step.
    """

    def __init__(self, assets: int, features: int, window: int, lanes: int) -> None:
        self._accounts = simulator("window", assets, features, window, lanes)
        self._actions = random_actions(CHUNK, lanes, assets)
        self._out = np.empty((lanes, self._accounts.window_size), np.float32)
        self._source = np.random.default_rng(0).standard_normal(self._out.shape, np.float32)
        self._target = np.empty_like(self._out)

    def measure(self, seconds: float) -> dict[str, float]:
        """Spend `seconds` of CPU time.

        Returns:
            Steps a CPU-second; the bandwidth of memcpy (bytes copied a CPU-second, GB/s); and
            the bandwidths of the copying alone and of the whole step as shares of it.
        """
        clock = time.process_time
        steps, stepping, copying, memcpy_time = 0, 0.0, 0.0, 0.0
        while stepping + copying + memcpy_time < seconds:
            for action in self._actions:
                times = [clock()]
                self._accounts.step(action)
                times.append(clock())
                self._accounts.observe_window(self._out)
                times.append(clock())
                np.copyto(self._target, self._source)
                times.append(clock())
                step, copy, plain = np.diff(times)
                stepping, copying, memcpy_time = (
                    stepping + step,
                    copying + copy,
                    memcpy_time + plain,
                )
            steps += CHUNK
        return {
            "steps_per_cpu_s": steps * len(self._out) / (stepping + copying),
            "memcpy_gb_per_s": steps * self._out.nbytes / memcpy_time / 1e9,
            "copying_share": memcpy_time / copying,
            "step_share": memcpy_time / (stepping + copying),
        }


def main() -> None:
    """Build the workload and serve measurements."""
    mode = sys.argv[1]
    assets, features, window, lanes = map(int, sys.argv[2:6])
    size = {"assets": assets, "features": features, "window": window}
    if mode == "copying":
        answer(Copying(**size, lanes=lanes).measure)
        return
    face, _, kind = mode.rpartition("-")
    if mode == "memcpy":
        run = memcpy(features * window * 4, lanes)
    elif face == "stream":
        run = stream(kind, lanes)
    elif face == "scalar":
        run = scalar(kind, **size)
    else:
        run = (vector if face == "vector" else batch)(kind, **size, lanes=lanes)
    serve(run, peer="perennial", mode=mode, lanes=lanes, **size)


if __name__ == "__main__":
    main()

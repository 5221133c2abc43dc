"""Our own workers, measured exactly as the peers' are.

Arguments: MODE A F W N with MODE one of index, window, scalar-index, scalar-window, memcpy.
Every accounting model is on: commission with a minimum, spread, impact, participation, borrow and
financing rates, margin, splits and dividends in the data; long and short, money in float64.
"""

import sys
from collections.abc import Callable

import numpy as np

from benchmarks.peers.harness import ROWS, episodes, market, serve
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


def vector(kind: str, assets: int, features: int, window: int, lanes: int) -> Callable[[], int]:
    """Batched steps with autoreset, the observation read at every step."""
    simulator = Simulator(
        arrays(assets, features), config(kind, window), lanes, seed=0, autoreset="same_step"
    )
    rng = np.random.default_rng(1)
    actions = rng.uniform(-1, 1, (CHUNK, lanes, assets))
    observe = simulator.observe_index if kind == "index" else simulator.observe_window
    width = simulator.account_size + 1 if kind == "index" else simulator.window_size
    out = np.empty((lanes, width), np.float32)
    chunk = max(1, 8192 // lanes) if kind == "index" else 1

    def run() -> int:
        for i in range(chunk * CHUNK):
            simulator.step(actions[i % CHUNK])
            observe(out)
        return chunk * CHUNK * lanes

    return run


def memcpy(block: int, count: int) -> Callable[[], int]:
    """Copy a batch of `count` windows of `block` bytes in one piece: the bound of all copies."""
    source = np.random.default_rng(0).integers(0, 255, count * block, dtype=np.uint8)
    target = np.empty_like(source)

    def run() -> int:
        for _ in range(16):
            np.copyto(target, source)
        return 16 * count

    return run


def main() -> None:
    """Build the workload and serve measurements."""
    mode = sys.argv[1]
    assets, features, window, lanes = map(int, sys.argv[2:6])
    label = {"peer": "perennial", "mode": mode, "assets": assets, "lanes": lanes}
    if mode == "memcpy":
        run = memcpy(features * window * 4, lanes)
    elif mode.startswith("scalar-"):
        kind = mode.removeprefix("scalar-")
        env = TradingEnv(arrays(assets, features), config(kind, window), seed=0)
        actions = np.random.default_rng(1).uniform(-1, 1, (4096, assets)).astype(np.float32)
        run = episodes(env, actions, 2_000)
    else:
        run = vector(mode, assets, features, window, lanes)
    serve(run, **label, features=features, window=window)


if __name__ == "__main__":
    main()

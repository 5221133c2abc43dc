"""Throughput of the accounting kernel alone, below gymnasium.

All accounting models are on, money is float64, actions are drawn beforehand, lanes reset
themselves, and every step copies its index observation. Figures are per second of CPU time of one
process, the median of the repetitions.

    python -m benchmarks.kernel [--seconds 1.0] [--repetitions 7]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from envs.config import (
    EpisodeConfig,
    FeeConfig,
    FinancingConfig,
    LongShortAction,
    MarginConfig,
    ObservationConfig,
    TradingConfig,
)
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator

NUM_BARS = 5_000
DRAWS = 64


def build(num_envs: int, num_assets: int, num_features: int, window: int) -> Simulator:
    rng = np.random.default_rng(0)
    shape = (NUM_BARS, num_assets)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, shape), axis=0))
    market = MarketArrays.from_arrays(
        ts_event=np.arange(NUM_BARS) * 86_400 * 10**9,
        open_TA=close * np.exp(rng.normal(0.0, 0.003, shape)),
        close_TA=close,
        volume_TA=rng.uniform(1e5, 1e7, shape),
        split_TA=np.where(rng.random(shape) < 0.0005, 2.0, 1.0),
        dividend_TA=np.where(rng.random(shape) < 0.004, 0.3, 0.0),
        features=rng.normal(size=(NUM_BARS, num_assets * num_features)).astype(np.float32),
    )
    config = TradingConfig(
        action=LongShortAction(gross=1.5, net=1.5, scale=1.5),
        fee=FeeConfig(bps=1.0, per_share=0.001, minimum=0.5),
        financing=FinancingConfig(debit_annual_rate=0.05, credit_annual_rate=0.01),
        margin=MarginConfig(maintenance=0.25, liquidation_fee_bps=10.0),
        observation=ObservationConfig(window=window),
        episode=EpisodeConfig(length=252),
    )
    return Simulator(market, config, num_envs, seed=1, autoreset="same_step")


def rate(call: Callable[[int], object], work: float, seconds: float, repetitions: int) -> float:
    """Return work per CPU-second: the median over the repetitions."""
    count, begin = 0, time.process_time()
    while time.process_time() - begin < 0.3:
        call(count)
        count += 1
    count = max(int(count / 0.3 * seconds), 1)
    rates = []
    for _ in range(repetitions):
        begin = time.process_time()
        for i in range(count):
            call(i)
        rates.append(work * count / (time.process_time() - begin))
    return statistics.median(rates)


def measure_steps(num_envs: int, num_assets: int, seconds: float, repetitions: int) -> None:
    simulator = build(num_envs, num_assets, 1, 1)
    rng = np.random.default_rng(1)
    actions = rng.uniform(-1.0, 1.0, size=(DRAWS, num_envs, num_assets))
    out = simulator.observe_index()

    def step(i: int) -> None:
        simulator.step(actions[i % DRAWS])
        simulator.observe_index(out)

    steps = rate(step, num_envs, seconds, repetitions)
    lengths = []

    def option(i: int) -> None:
        lengths.append(simulator.step_option(actions[i % DRAWS], 20, 0.05).duration_N.mean())

    options = rate(option, num_envs, seconds, repetitions)
    print(
        f"A={num_assets:3d} N={num_envs:5d}: {steps / 1e6:7.2f} M steps/s, index observed; "
        f"{options / 1e6:6.2f} M options/s = {options * np.mean(lengths) / 1e6:6.1f} M bars/s"
    )


def measure_windows(
    num_envs: int, num_assets: int, num_features: int, window: int, repetitions: int
) -> None:
    simulator = build(num_envs, num_assets, num_features, window)
    out = simulator.observe_window()
    other = np.empty_like(out)
    gather = rate(lambda _: simulator.observe_window(out), out.nbytes, 0.3, repetitions)
    memcpy = rate(lambda _: np.copyto(other, out), out.nbytes, 0.3, repetitions)
    rng = np.random.default_rng(1)
    actions = rng.uniform(-1.0, 1.0, size=(DRAWS, num_envs, num_assets))

    def step(i: int) -> None:
        simulator.step(actions[i % DRAWS])
        simulator.observe_window(out)

    steps = rate(step, num_envs, 0.3, repetitions)
    print(
        f"A={num_assets:3d} N={num_envs:5d} F={num_features} W={window}: {gather / 1e9:5.1f} GB/s "
        f"of windows, memcpy {memcpy / 1e9:5.1f} GB/s ({gather / memcpy:4.0%}); "
        f"{steps / 1e6:6.2f} M steps/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--repetitions", type=int, default=7)
    arguments = parser.parse_args()
    for num_assets in (1, 30):
        for num_envs in (1, 1024, 4096):
            measure_steps(num_envs, num_assets, arguments.seconds, arguments.repetitions)
    for num_envs, num_assets, num_features, window in (
        (1024, 1, 16, 30), (4096, 1, 16, 30), (1024, 1, 64, 30), (1024, 30, 16, 30),
    ):  # fmt: skip
        measure_windows(num_envs, num_assets, num_features, window, arguments.repetitions)


if __name__ == "__main__":
    main()

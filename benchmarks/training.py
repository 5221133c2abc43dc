"""End-to-end training steps per second: the learner against Stable-Baselines3's PPO, in one run.

Every leg plays the same market (the embedded stocks with the default features, all costs on) with
the same network, rollout, minibatches and epochs: N environments x T steps, E epochs of minibatches
of M samples, so the updates per sample are equal. Each measurement is a process of its own; rounds
visit the legs in turn, so that the noise of a shared machine hits all alike; figures are medians.

| leg | learner | environment | observation |
|---|---|---|---|
| ours | MarketPPO | compiled simulator | index |
| sb3-native | SB3's PPO | compiled simulator behind `SimulatorVecEnv` | index |
| sb3-dummy-index | SB3's PPO | its `DummyVecEnv` over `TradingEnv` | index |
| sb3-dummy-window | SB3's PPO | its `DummyVecEnv` over `TradingEnv` | window |
| finrl | SB3's PPO | its `DummyVecEnv` over FinRL's `StockTradingEnv` | one bar |

FinRL's leg runs in FinRL's own virtual environment; `benchmarks.finrl_leg` says what differs.

    python -m benchmarks.training --rounds 3
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import provenance
from benchmarks.peers.setup import PeerError, versions_of
from benchmarks.record import RESULTS, spread, write
from benchmarks.worker import measured

HERE = Path(__file__).resolve().parent
NUM_ENVS, STEPS, MINIBATCH, EPOCHS, WINDOW = 256, 128, 8192, 4, 10
ROLLOUT = NUM_ENVS * STEPS
FIGURES = ("steps_per_second", "steps_per_cpu_second")


def market() -> Any:
    """The embedded stocks with the default features, and their spans."""
    from envs.default_market import embedded_market

    return embedded_market("us_stocks")


def trading(kind: str) -> Any:
    """The default costs; weights as logits; a year long from a random start."""
    from envs.config import ObservationConfig, SimplexAction, TradingConfig

    return TradingConfig(
        action=SimplexAction(parametrisation="logits"),
        observation=ObservationConfig(kind=kind, window=WINDOW),  # type: ignore[arg-type]  # a word of the command line
    )


def native() -> tuple[Any, Any]:
    """The native vector environment and the features."""
    from envs.simulator import Simulator
    from training.sb3.vec_env import SimulatorVecEnv

    prepared = market()
    simulator = Simulator(
        prepared.arrays,
        trading("index"),
        NUM_ENVS,
        seed=0,
        rows=prepared.spans["train"],
        autoreset="same_step",
    )
    return SimulatorVecEnv(simulator), prepared.arrays.features_TC


def dummy(kind: str) -> tuple[Any, Any]:
    """SB3's own DummyVecEnv over the gymnasium environment, and the features."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    from envs.trading_env import TradingEnv

    prepared = market()
    arrays, rows = prepared.arrays, prepared.spans["train"]
    makers: list[Any] = [lambda: TradingEnv(arrays, trading(kind), rows=rows)] * NUM_ENVS
    return DummyVecEnv(makers), arrays.features_TC


def policy_config() -> Any:
    """The default network, at the window of this benchmark."""
    from agents.encoder import EncoderConfig
    from agents.networks import PolicyConfig

    return PolicyConfig(encoder=EncoderConfig(window=WINDOW))


def ours() -> tuple[Any, Callable[[], dict[str, float]]]:
    """MarketPPO."""
    from training.sb3.ppo import MarketPPO, PPOConfig

    env, features = native()
    config = PPOConfig(steps=STEPS, minibatch=MINIBATCH, epochs=EPOCHS)
    model = MarketPPO(env, features, config=config, policy=policy_config(), device="cpu")

    def seconds() -> dict[str, float]:
        return dict(model.seconds)

    return model, seconds


def stable_baselines(env: Any, features: Any, kind: str) -> tuple[Any, Any]:
    """SB3's PPO with the same network, timed from outside."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnvWrapper

    from training.sb3.policy import MarketPolicy

    spent = dict.fromkeys(("environment", "policy", "update", "total"), 0.0)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **more)
            finally:
                spent[name] += time.perf_counter() - began

        return call

    class Timed(VecEnvWrapper):
        def reset(self) -> Any:
            return self.venv.reset()

        def step_wait(self) -> Any:
            return self.venv.step_wait()

    wrapped = Timed(env)
    model = PPO(
        MarketPolicy,
        wrapped,
        n_steps=STEPS,
        batch_size=MINIBATCH,
        n_epochs=EPOCHS,
        learning_rate=5e-4,
        device="cpu",
        seed=0,
        policy_kwargs={
            "features_TC": features,
            "config": policy_config(),
            "observation": kind,
        },
    )
    dynamic: Any = model
    wrapped_dynamic: Any = wrapped
    wrapped_dynamic.step = timed("environment", wrapped.step)
    dynamic.policy.forward = timed("policy", dynamic.policy.forward)
    dynamic.train = timed("update", dynamic.train)
    dynamic.learn = timed("total", dynamic.learn)
    return model, lambda: dict(spent)


LEGS: dict[str, Callable[[], tuple[Any, Callable[[], dict[str, float]]]]] = {
    "ours": ours,
    "sb3-native": lambda: stable_baselines(*native(), "index"),
    "sb3-dummy-index": lambda: stable_baselines(*dummy("index"), "index"),
    "sb3-dummy-window": lambda: stable_baselines(*dummy("window"), "window"),
}

EXTERNAL: dict[str, list[str]] = {}
"""Commands of legs that run elsewhere; `--threads T --rollouts R` is appended."""


def worker(leg: str, threads: int, rollouts: int) -> None:
    """Measure one leg in this process and print a line of JSON."""
    import torch

    from training.runtime import raise_malloc_thresholds

    raise_malloc_thresholds()  # for every leg: the allocator is no part of the comparison
    torch.set_num_threads(threads)
    model, seconds = LEGS[leg]()
    model.learn(ROLLOUT)  # compiles the kernel, fills the caches
    before, wall, cpu = seconds(), time.perf_counter(), time.process_time()
    model.learn(rollouts * ROLLOUT)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    spent = {name: value - before[name] for name, value in seconds().items()}
    total = spent.pop("total")
    shares = {name: value / total for name, value in spent.items()}
    print(
        json.dumps(
            {
                "steps_per_second": rollouts * ROLLOUT / wall,
                "steps_per_cpu_second": rollouts * ROLLOUT / cpu,
                "cores_used": cpu / wall,
                "shares": shares | {"bookkeeping": 1.0 - sum(shares.values())},
            }
        )
    )


def measure(leg: str, threads: int, rollouts: int) -> dict[str, Any]:
    """Run a leg in a process of its own."""
    if leg == "finrl":
        return measure_finrl(threads, rollouts)
    own = [sys.executable, "-m", "benchmarks.training", "--worker", leg]
    command = list(EXTERNAL.get(leg, own))
    command += ["--threads", str(threads), "--rollouts", str(rollouts)]
    found: dict[str, Any] = measured(command, f"leg '{leg}'", threads=threads)
    return found


def measure_finrl(threads: int, rollouts: int) -> dict[str, Any]:
    """FinRL's leg, with the hidden layers of our network in a row."""
    from benchmarks import finrl_leg

    prepared, config = market(), policy_config()
    settings = {"num_envs": NUM_ENVS, "steps": STEPS, "minibatch": MINIBATCH, "epochs": EPOCHS}
    widths = (config.encoder.hidden, config.encoder.embedding, *config.hidden)
    return finrl_leg.measure(
        prepared.arrays, prepared.spans["train"], settings | {"rollouts": rollouts}, widths, threads
    )


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds, with the lowest and the highest."""
    row: dict[str, Any] = {}
    for figure in (*FIGURES, "cores_used"):
        row[figure] = spread([result[figure] for result in results])
    names = results[0]["shares"]
    row["shares"] = {n: statistics.median(r["shares"][n] for r in results) for n in names}
    return row


def report(table: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Print the table, the ratios and Amdahl's bounds; return the latter two."""
    heads = ("steps/s", "steps/CPU-s", "cores", "environment", "policy", "update", "bookkeeping")
    print(f"{'leg':28s}" + "".join(f"{head:>13s}" for head in heads))
    for name, row in table.items():
        rates = "".join(f"{row[figure]['median']:13,.0f}" for figure in FIGURES)
        shares = "".join(f"{row['shares'][head]:13.1%}" for head in heads[3:])
        print(f"{name:28s}{rates}{row['cores_used']['median']:13.2f}{shares}")
    derived: dict[str, Any] = {"speed_up": {}, "amdahl": {}}
    own = next(row for name, row in table.items() if name.startswith("ours"))
    for name, row in table.items():
        share = row["shares"]["environment"]
        derived["amdahl"][name] = 1.0 / (1.0 - share)
        derived["speed_up"][name] = {
            figure: own[figure]["median"] / row[figure]["median"] for figure in FIGURES
        }
        wall, cpu = derived["speed_up"][name].values()
        print(
            f"ours against {name}: {wall:.1f}x a second, {cpu:.1f}x a CPU-second; "
            f"Amdahl: a free environment alone would bring it {derived['amdahl'][name]:.2f}x"
        )
    return derived


def measure_all(
    cases: list[tuple[str, int]], rounds: int, rollouts: int
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Visit every leg in every round.

    Returns:
        A row for each leg; the reason of each peer's leg that could not be measured.
    """
    results: dict[str, list[dict[str, Any]]] = {}
    skipped: dict[str, str] = {}
    for number in range(rounds):
        for leg, threads in cases:
            name = f"{leg} ({threads} torch thread{'s' * (threads > 1)})"
            if name in skipped:
                continue
            length = rollouts if leg == "ours" else max(1, rollouts // 8)
            try:
                results.setdefault(name, []).append(measure(leg, threads, length))
            except PeerError as error:
                skipped[name] = str(error)
                print(f"skipped: {name}: {error}", flush=True)
                continue
            rate = results[name][-1]["steps_per_second"]
            print(f"round {number + 1}  {name:40s}{rate:12,.0f} steps/s", flush=True)
    return {name: summary(rows) for name, rows in results.items() if rows}, skipped


def main() -> None:
    """Measure all legs and write ``training.json``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="visits of every leg (3)")
    parser.add_argument(
        "--rollouts", type=int, default=8, help="timed rollouts of our leg; others an eighth (8)"
    )
    parser.add_argument("--only", default="", help="legs whose name contains this text; no file")
    parser.add_argument("--output", type=Path, default=RESULTS / "training.json")
    parser.add_argument("--worker", choices=LEGS, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.threads, options.rollouts)
        return
    record = provenance("benchmarks.training")
    cases = [(leg, n) for leg in (*LEGS, *EXTERNAL) for n in ((1,) if leg == "ours" else (1, 2))]
    # One thread: nearly all of FinRL's time is its environment, which has one.
    cases = [case for case in (*cases, ("finrl", 1)) if options.only in case[0]]
    table, skipped = measure_all(cases, options.rounds, options.rollouts)
    derived = report(table) if any(name.startswith("ours") for name in table) else {}
    if options.only:
        return
    settings = {"num_envs": NUM_ENVS, "steps": STEPS, "minibatch": MINIBATCH, "epochs": EPOCHS}
    record["peers"] = {} if any("finrl" in n for n in skipped) else {"finrl": versions_of("finrl")}
    record |= {"settings": settings | {"window": WINDOW}, "legs": table, **derived}
    write(options.output, record | {"skipped": skipped})


if __name__ == "__main__":
    main()

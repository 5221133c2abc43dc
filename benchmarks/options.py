"""What options cost: training beside the flat agent's, and the time of one decision.

    python -m benchmarks.options --rounds 5

Training: the job's own configuration of a market, with beliefs about regimes seen by all agents;
flat, and K = 4 learned options under the residual gate, blended and hard. A round is a process of
its own for each market, on one torch thread, in which the agents take rollouts in turn; what
options cost is a ratio within a round, so that the noise of a shared machine hits all alike.

Inference: fresh networks of the same configurations decide in one state, and in 1024 at once, in
turn. `act` is the policy that evaluation plays, for which the market is encoded beforehand;
`predict` is Stable-Baselines3's call, which encodes the window of the state each time.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import provenance
from benchmarks.record import RESULTS, spread, write
from benchmarks.worker import measured

HERE = Path(__file__).resolve().parent
OPTIONS = 4
MARKETS = {
    "stocks": ("regime=rule",),
    "signals": ("market=garleanu_pedersen", "regime=oracle"),
}
"""A market with features, and one whose features stand in the account: words of the job."""
_LEARNED = ",".join(["{kind: learned}"] * OPTIONS)
AGENTS = {
    "flat": ("agent=ppo",),
    "blended": ("agent=options", f"agent.options=[{_LEARNED}]"),
    "hard": (
        "agent=options",
        f"agent.options=[{_LEARNED}]",
        "agent.meta_controller.execution.mode=hard",
    ),
}
EXECUTIONS = ("blended", "hard")
"""Agents of options."""
FIGURES = ("steps/s", "steps/CPU-s")
LATENCIES = ("median", "99 %", "99 % of CPU time")
"""Of a decision, microseconds."""
BATCHES = (1, 1024)
CALLS = ("act", "predict")


def training_name(market: str, agent: str, figure: str) -> str:
    """Name of a figure of the training."""
    return f"{market}, {agent}: {figure}"


def ratio_name(market: str, agent: str, figure: str) -> str:
    """Name of a figure of the training as a multiple of the flat agent's in the same round."""
    return f"{market}, {agent} over flat: {figure}"


def call_name(market: str, agent: str, call: str, batch: int, figure: str) -> str:
    """Name of a figure of the inference."""
    states = "1 state" if batch == 1 else f"{batch} states"
    return f"{market}, {agent}: {call}, {states}, {figure}"


def learner(market: str, agent: str) -> Any:
    """A fresh learner of the job's own configuration."""
    from hydra import compose, initialize_config_module
    from omegaconf import open_dict

    from training.agents import build_learner
    from training.config import TrainConfig
    from training.tasks.choice import open_task

    words = [*MARKETS[market], *AGENTS[agent], "device=cpu"]
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=words)
    with open_dict(cfg):
        cfg.pop("resume")
    config = TrainConfig.from_hydra(cfg)
    return build_learner(config, open_task(config), config.seed)


def worker(market: str, steps: int) -> None:
    """Measure the training of all agents in this process and print a line of JSON.

    Args:
        market: that they trade.
        steps: environment steps of each agent, at least; whole rollouts are taken.
    """
    models = {agent: learner(market, agent) for agent in AGENTS}
    taken, spent = dict.fromkeys(AGENTS, 0), {agent: np.zeros(2) for agent in AGENTS}
    for model in models.values():
        model.learn(2 * model.n_steps * model.n_envs)  # compiles the kernel, fills the caches
    while min(taken.values()) < steps:
        for agent, model in models.items():
            rollout, before = model.n_steps * model.n_envs, clocks()
            model.learn(rollout)
            taken[agent] += rollout
            spent[agent] += clocks() - before
    rates = {agent: (taken[agent] / spent[agent]).tolist() for agent in AGENTS}
    print(
        json.dumps({agent: dict(zip(FIGURES, pair, strict=True)) for agent, pair in rates.items()})
    )


def clocks() -> np.ndarray:
    """Seconds on the wall, and of the process."""
    return np.array([time.perf_counter(), time.process_time()])


def measure_training(market: str, steps: int) -> dict[str, dict[str, float]]:
    """Figures of every agent on a market, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.options", "--worker", market]
    found: dict[str, dict[str, float]] = measured([*command, "--steps", str(steps)], market)
    return found


def training(rounds: int, steps: int) -> dict[str, dict[str, Any]]:
    """Every agent on every market, in every round."""
    found: dict[str, tuple[list[float], str]] = {}

    def keep(name: str, value: float, unit: str) -> None:
        found.setdefault(name, ([], unit))[0].append(value)

    for number in range(rounds):
        for market in MARKETS:
            results = measure_training(market, steps)
            for agent, result in results.items():
                for figure, value in result.items():
                    keep(training_name(market, agent, figure), value, figure)
                    if agent in EXECUTIONS:
                        over = value / results["flat"][figure]
                        keep(ratio_name(market, agent, figure), over, "times")
            rates = ", ".join(f"{a} {r['steps/s']:,.0f} steps/s" for a, r in results.items())
            print(f"round {number + 1}  {market}: {rates}", flush=True)
    return {name: spread(values) | {"unit": unit} for name, (values, unit) in found.items()}


def calls_of(model: Any, batch: int) -> dict[str, Callable[[], object]]:
    """Decisions in states of the market, by what is called, each going on from the last."""
    from training.agents import policy_of

    policy = policy_of(model)
    policy.reset(batch)
    simulator = model.vec_env.simulator
    copies = -(-batch // simulator.num_envs)
    observation = np.concatenate([simulator.observe_index()] * copies)[:batch]
    state: list[Any] = [None]

    def predict() -> None:
        state[0] = model.predict(observation, state=state[0], deterministic=True)[1]

    return {"act": lambda: policy.act(observation), "predict": predict}


def inference(rounds: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Microseconds of a decision: the median, and what 99 % stay below, also of processor time.

    Args:
        rounds: repetitions, whose spread is reported.
        seconds: of every line in a repetition.
    """
    found: dict[str, list[float]] = {}
    for market in MARKETS:
        models = {agent: learner(market, agent) for agent in AGENTS}
        lines = [
            ((agent, call, batch), function)
            for batch in BATCHES
            for agent, model in models.items()
            for call, function in calls_of(model, batch).items()
        ]
        for _ in range(rounds):
            for (agent, call, batch), function in lines:
                wall, cpu = timed(function, seconds)
                values = (np.median(wall), np.quantile(wall, 0.99), np.quantile(cpu, 0.99))
                for figure, value in zip(LATENCIES, values, strict=True):
                    name = call_name(market, agent, call, batch, figure)
                    found.setdefault(name, []).append(1e6 * float(value))
    return {name: spread(values) | {"unit": "us"} for name, values in found.items()}


def timed(function: Callable[[], object], seconds: float) -> np.ndarray:
    """Seconds of each call on the wall and of the thread, (2, calls); 20 before do not count."""
    for _ in range(20):
        function()
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        began = time.perf_counter(), time.thread_time()
        function()
        times.append((time.perf_counter() - began[0], time.thread_time() - began[1]))
    return np.array(times).T


def main() -> None:
    """Measure and write `options.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="visits of every line (5)")
    parser.add_argument("--steps", type=int, default=200_000, help="environment steps (200,000)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a line of inference (1)")
    parser.add_argument("--output", type=Path, default=RESULTS / "options.json")
    parser.add_argument("--worker", choices=MARKETS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    if options.worker:
        worker(options.worker, options.steps)
        return
    record = provenance("benchmarks.options")
    record["figures"] = inference(options.rounds, options.seconds)
    record["figures"] = training(options.rounds, options.steps) | record["figures"]
    write(options.output, record)


if __name__ == "__main__":
    main()

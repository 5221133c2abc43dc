"""What remedies against forgetting cost: the end of a phase, each gradient step, and memory.

    python -m benchmarks.continual --rounds 3

A round is a process of its own for each agent, on one torch thread: the agent learns some steps of
a phase, states of it are collected, and every remedy consolidates the same phase. Shares are of the
processor time of a whole phase (`PHASE` steps) of the same agent in the same round: `end of a
phase` is what happens once, `gradient steps` what they take longer in all of the next phase.
Memory is what a remedy keeps after one phase, in multiples of the policy.
"""

import argparse
import json
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import provenance
from benchmarks.record import RESULTS, spread, write
from benchmarks.worker import measured

HERE = Path(__file__).resolve().parent
PHASE: Final = 300_000
"""Steps of a phase, the default of `continual=regimes`."""
STATES: Final = 2_048
"""States that Fisher information is taken of, the default."""
_HEADS = (
    "agent=options",
    "agent.meta_controller.controller={kind: fallback}",
    "agent.policy.experts=heads",
    "agent.policy.linear_path=false",
    "agent.policy.hidden=[64,64]",
)
AGENTS: Final = {
    "signals, flat": ("market=garleanu_pedersen",),
    "signals, heads": ("market=garleanu_pedersen", *_HEADS),
    "stocks, flat": ("agent=ppo",),
}
"""Words of the job."""
REMEDIES: Final = ("ewc", "online_ewc", "mas", "si", "l2", "packnet", "cloning")


def share_name(agent: str, remedy: str, part: str) -> str:
    """Name of a share of a phase's processor time."""
    if part == "states":
        return f"{agent}: collecting {STATES:,} states"
    return f"{agent}, {remedy}: {'end of a phase' if part == 'end' else 'gradient steps'}"


def memory_name(agent: str, remedy: str) -> str:
    """Name of the numbers that a remedy keeps after one phase, for each of the policy's."""
    return f"{agent}, {remedy}: memory"


def worker(agent: str, steps: int) -> None:
    """Measure one agent in this process and print a line of JSON.

    Args:
        agent: name.
        steps: environment steps that are learned.
    """
    from hydra import compose, initialize_config_module
    from omegaconf import open_dict
    from stable_baselines3.common.logger import Logger

    from training.agents import build_learner
    from training.config import TrainConfig
    from training.continual.states import collect_states, function_of
    from training.tasks.choice import open_task

    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=[*AGENTS[agent], "device=cpu"])
    with open_dict(cfg):
        cfg.pop("resume")
    config = TrainConfig.from_hydra(cfg)
    task = open_task(config)
    model = build_learner(config, task, 0)
    model.set_logger(Logger(folder=None, output_formats=[]))
    rollout = model.n_steps * model.n_envs
    model.learn(rollout)  # compiles the kernel, fills the caches
    trained = _seconds(lambda: model.learn(steps))
    phase = trained * PHASE / (-(-steps // rollout) * rollout)
    gradient_steps = PHASE / rollout * model.n_epochs * -(-rollout // model.batch_size)
    twin = build_learner(config, task, 1)
    twin.policy.net.load_state_dict(model.policy.net.state_dict())
    length = twin.vec_env.simulator.config.episode.length or model.n_steps
    kept: list[Any] = []
    collected = _seconds(lambda: kept.append(collect_states(twin, STATES, length, 0)))
    found = {share_name(agent, "", "states"): collected / phase}
    for kind in REMEDIES:
        found |= _of_remedy(agent, kind, function_of(model, task.beliefs), kept[0])
    for kind in REMEDIES:
        found[share_name(agent, kind, "end")] /= phase
        found[share_name(agent, kind, "steps")] *= gradient_steps / phase
    print(json.dumps(found))


def _of_remedy(agent: str, kind: str, function: Any, states: Any) -> dict[str, float]:
    """Seconds at a phase's end and of a gradient step, and memory over the policy's size."""
    import torch
    from pydantic import TypeAdapter

    from agents.continual.config import RemedyConfig
    from agents.continual.protocol import Experience
    from agents.continual.remedies import Remedies

    settings = {"kind": kind} | ({"phases": 3} if kind == "packnet" else {})
    remedies = Remedies([TypeAdapter(RemedyConfig).validate_python(settings)], function)
    parameters = list(function.parameters.values())
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    remedies.begin(0, 0)
    generator = torch.Generator().manual_seed(0)
    end = _seconds(lambda: remedies.consolidate(Experience(0, 0, states, generator)))
    remedies.begin(1, 1)

    def step() -> None:
        remedies.observe()
        term = remedies.penalty()
        if term is not None and term.requires_grad:
            term.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        remedies.mask()
        remedies.after_step(1e-9)

    step()
    each = timeit.timeit(step, timer=time.process_time, number=100) / 100
    size = sum(parameter.numel() for parameter in parameters)
    return {
        share_name(agent, kind, "end"): end,
        share_name(agent, kind, "steps"): each,
        memory_name(agent, kind): remedies.floats / size,
    }


def _seconds(function: Callable[[], object]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began


def measure(agent: str, steps: int) -> dict[str, float]:
    """Figures of an agent, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.continual", "--worker", agent]
    found: dict[str, float] = measured([*command, "--steps", str(steps)], agent)
    return found


def main() -> None:
    """Measure and write `continual.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="processes of every agent (3)")
    parser.add_argument("--steps", type=int, default=100_000, help="environment steps (100,000)")
    parser.add_argument("--output", type=Path, default=RESULTS / "continual.json")
    parser.add_argument("--worker", choices=AGENTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    if options.worker:
        worker(options.worker, options.steps)
        return
    record = provenance("benchmarks.continual")
    found: dict[str, list[float]] = {}
    for number in range(options.rounds):
        for agent in AGENTS:
            for name, value in measure(agent, options.steps).items():
                found.setdefault(name, []).append(value)
            print(f"round {number + 1}  {agent}", flush=True)
    record["figures"] = {
        name: spread(values)
        | {"unit": "times the policy" if name.endswith("memory") else "of a phase"}
        for name, values in found.items()
    }
    write(options.output, record)


if __name__ == "__main__":
    main()

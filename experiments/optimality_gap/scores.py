"""What an agent of the optimality experiments is worth: one training, one share of the optimum."""

import time
from collections.abc import Sequence
from functools import cache

import numpy as np
from hydra import compose, initialize_config_module
from omegaconf import open_dict

from envs.synthetic import Problem
from evaluation.optimality import OptimalityConfig, measure
from training.agents import build_learner, policy_of
from training.config import TrainConfig
from training.tasks.market import MarketTask

MARKETS: dict[str, tuple[str, ...]] = {
    "gp": ("market=garleanu_pedersen",),
    "gp frozen": ("market=garleanu_pedersen", "market.world.transition=1.0"),
    "gp belief": ("market=garleanu_pedersen", "market.world.regime=belief"),
    "ou": ("market=ornstein_uhlenbeck",),
    "gbm": ("market=regime_gbm",),
    "gbm belief": ("market=regime_gbm", "market.world.regime=belief"),
}
"""Markets by name, as words of the command line; all with the regime known unless named belief."""


def configuration(market: str, steps: int, changes: Sequence[str] = ()) -> TrainConfig:
    """The job's own configuration of a market, for so many steps, with a candidate's changes."""
    words = [*MARKETS[market], f"schedule.total_steps={steps}", "tracking=journal", *changes]
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=words)
    with open_dict(cfg):
        cfg.pop("resume")
    return TrainConfig.from_hydra(cfg)


@cache
def bounds(problem: Problem, judged: OptimalityConfig) -> tuple[float, float]:
    """J of doing nothing and of the optimum with the agent's information, on the judged paths."""
    world = problem.world
    oracle = world.oracle("known" if world.regime == "known" else "belief")
    nothing, best = (
        float(np.mean(measure(each, problem, judged).earned.discounted_E))
        for each in (world.rules()["do_nothing"], oracle)
    )
    return nothing, best


def trained_share(config: TrainConfig, seed: int, judged: OptimalityConfig) -> dict[str, float]:
    """Train once.

    Args:
        config: of the run; its first seed is not read.
        seed: of the training.
        judged: paths of the judgement.

    Returns:
        `share`: S = (J - J0) / (J* - J0) on the judged paths; `value`, `nothing` and `oracle`: J,
        J0 and J*; `seconds` and `cpu_seconds` of the training.
    """
    task = MarketTask(config)
    model = build_learner(config, task, seed)
    wall, cpu = time.perf_counter(), time.process_time()
    model.learn(config.schedule.total_steps)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    earned = measure(policy_of(model), task.problem, judged).earned
    value = float(np.mean(earned.discounted_E))
    nothing, best = bounds(task.problem, judged)
    return {
        "share": (value - nothing) / (best - nothing),
        "value": value,
        "nothing": nothing,
        "oracle": best,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
    }

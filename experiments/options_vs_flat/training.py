"""One training of the comparison: an agent's share of the optimum, and how its options acted."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_module
from numpy.typing import NDArray
from omegaconf import open_dict
from safetensors.torch import load_file, save_file

from agents.policy import Policy
from evaluation.optimality import OptimalityConfig, measure
from experiments.optimality_gap.scores import bounds
from experiments.options_vs_flat.arms import words
from meta_controller.diagnostics import state_entropy
from meta_controller.policy import HierarchicalPolicy, Step
from training.agents import build_learner, policy_of
from training.config import TrainConfig
from training.sb3.ppo import MarketPPO
from training.tasks.market import MarketTask


def configuration(market: str, arm: str, steps: int, changes: tuple[str, ...] = ()) -> TrainConfig:
    """What the command line's words of an arm on a market come to, with further changes."""
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=[*words(market, arm, steps), *changes])
    with open_dict(cfg):
        cfg.pop("resume")
    return TrainConfig.from_hydra(cfg)


class Watched:
    """A hierarchical policy that keeps count of its weights while it is played.

    Args:
        policy: what acts.
    """

    def __init__(self, policy: HierarchicalPolicy) -> None:
        self.policy = policy
        self.wants_regimes, self.wants_payoffs = policy.wants_regimes, policy.wants_payoffs
        self.tell, self.learn = policy.tell, policy.learn

    @property
    def last(self) -> Step | None:
        """What it did in its last bar: who is briefed while playing is asked for it."""
        return self.policy.last

    def reset(self, num_envs: int) -> None:
        """Begin to count anew."""
        self.policy.reset(num_envs)
        self._before: torch.Tensor | None = None
        self._moved: list[torch.Tensor] = []
        self._usage: list[torch.Tensor] = []
        self._spread: list[float] = []

    def act(self, observation_NO: NDArray[np.float32]) -> NDArray[np.float64]:
        """Act, and count."""
        actions = self.policy.act(observation_NO)
        assert self.policy.last is not None
        weights = self.policy.last.weights_NK
        if self._before is not None:
            self._moved.append(0.5 * (weights - self._before).abs().sum(dim=1))
        self._before = weights
        self._usage.append(weights.mean(dim=0))
        self._spread.append(float(state_entropy(weights).mean()))
        return actions

    def counts(self) -> dict[str, Any]:
        """Disruption (mean = churn, p99, maximum), usage, and mean entropy of the blend."""
        moved, usage = torch.cat(self._moved), torch.stack(self._usage).mean(dim=0)
        return {
            "churn": float(moved.mean()),
            "disruption_p99": float(np.quantile(moved.numpy(), 0.99)),
            "disruption_max": float(moved.max()),
            "usage": [round(float(share), 4) for share in usage],
            "blend_entropy": float(np.mean(self._spread)),
        }


def trained(config: TrainConfig, seed: int) -> tuple[MarketPPO, MarketTask, dict[str, float]]:
    """Train once; the learner, its task, and wall and CPU seconds."""
    task = MarketTask(config)
    model = build_learner(config, task, seed)
    wall, cpu = time.perf_counter(), time.process_time()
    model.learn(config.schedule.total_steps)
    spent = {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }
    return model, task, spent


def judged(policy: Policy, task: MarketTask, paths: OptimalityConfig) -> dict[str, Any]:
    """Share of the optimum of the same information on the judged paths, and the options' counts."""
    watched = Watched(policy) if isinstance(policy, HierarchicalPolicy) else policy
    earned = measure(watched, task.problem, paths).earned
    value = float(np.mean(earned.discounted_E))
    nothing, best = bounds(task.problem, paths)
    found: dict[str, Any] = {"share": (value - nothing) / (best - nothing), "value": value}
    return found | (watched.counts() if isinstance(watched, Watched) else {})


def actor_parameters(model: MarketPPO) -> int:
    """Numbers that the policy loss trains."""
    return sum(parameter.numel() for parameter in model.policy.net.actor_parameters())


def run(
    market: str,
    arm: str,
    steps: int,
    seed: int,
    paths: OptimalityConfig,
    *,
    changes: tuple[str, ...] = (),
    keep: Path | None = None,
) -> dict[str, Any]:
    """Train an arm and judge it.

    Args:
        market: name.
        arm: name.
        steps: of the training.
        seed: of the training.
        paths: of the judgement.
        changes: further words of the command line.
        keep: folder for the weights; none keeps nothing.
    """
    model, task, spent = trained(configuration(market, arm, steps, changes), seed)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        weights = {k: v.contiguous() for k, v in model.policy.net.state_dict().items()}
        save_file(weights, keep / weights_name(market, arm, steps, seed))
    found = judged(policy_of(model), task, paths)
    return found | {"parameters": actor_parameters(model)} | spent


def reloaded(
    market: str, arm: str, steps: int, seed: int, folder: Path
) -> tuple[MarketPPO, MarketTask]:
    """The learner of a training whose weights were kept."""
    config = configuration(market, arm, steps)
    task = MarketTask(config)
    model = build_learner(config, task, seed)
    model.policy.net.load_state_dict(load_file(folder / weights_name(market, arm, steps, seed)))
    return model, task


def weights_name(market: str, arm: str, steps: int, seed: int) -> str:
    """File name of a training's weights."""
    return f"{market}-{arm}-{steps}-{seed}.safetensors".replace(" ", "_")

"""Options learned on two markets at once, and what is learned with them on a third."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from stable_baselines3.common.callbacks import BaseCallback

from evaluation.optimality import OptimalityConfig
from experiments.options_vs_flat.training import judged
from experiments.options_vs_flat.variants import option_learner, playing
from experiments.transfer.worlds import MIXTURES, config_of
from training.agents import build_learner
from training.sb3.assembly import make_optimizers
from training.sb3.option_ppo import OptionPPO
from training.sb3.vec_env import SimulatorVecEnv
from training.tasks.market import MarketTask

_CONTROLLER = "agent.meta_controller.controller"
FREE = (f"~{_CONTROLLER}", f"+{_CONTROLLER}={{kind:free,hidden:[32]}}")
FALLBACK = (f"~{_CONTROLLER}", f"+{_CONTROLLER}={{kind:fallback}}")
STILL, PERFECT = "gate frozen at the fallback", "perfect gate"
UNTRAINED = (STILL, PERFECT)
"""Arms that learn nothing on the third market."""
TRANSFERRED = ("new gate", "fine-tuned", *UNTRAINED)
"""Arms with the options of phase 1."""
ARMS = ("from scratch", *TRANSFERRED)
"""What is done on the third market."""
_LOOSE = "agent.meta_controller.terms.anchor=0.0"
GATES: dict[str, tuple[str, ...]] = {"near": (_LOOSE,), "far": (*FREE, _LOOSE)}
"""Of the third market's new gates, which nothing holds where they start: even where numbers
mislead, else at the fallback.
From scratch the gate always starts at the fallback, which gives regime r to option r: it fits
options that are learned there."""


class Alternating(BaseCallback):
    """Rollouts of one learner on several markets in turn, each with its own unfinished episodes.

    Args:
        envs: of the markets; the learner's own is the first.
    """

    def __init__(self, envs: Sequence[SimulatorVecEnv]) -> None:
        super().__init__()
        self._envs, self._turn = envs, 0
        self._kept: dict[int, tuple[Any, Any, Any]] = {}

    def _on_rollout_start(self) -> None:
        model = self.model
        assert isinstance(model, OptionPPO)
        if model.num_timesteps:
            memory = {name: array.copy() for name, array in model.memory().items()}
            self._kept[self._turn] = (model._last_obs, model._last_episode_starts, memory)  # noqa: SLF001
            self._turn = (self._turn + 1) % len(self._envs)
            model.env = self._envs[self._turn]
            self._enter(model)

    def _enter(self, model: OptionPPO) -> None:
        """Go on with the market's episodes, or begin them; first bars do not read the memory."""
        if self._turn in self._kept:
            model._last_obs, model._last_episode_starts, memory = self._kept[self._turn]  # noqa: SLF001
            model.load_memory(memory)
            return
        model._last_obs = self._envs[self._turn].reset()  # noqa: SLF001
        model._last_episode_starts = np.ones(model.n_envs, np.bool_)  # noqa: SLF001

    def _on_step(self) -> bool:
        return True


class Curve(BaseCallback):
    """Share of the optimum before the training and after every so many rollouts.

    Args:
        task: what is learned on.
        paths: of the judgement.
        every: rollouts between judgements.
    """

    def __init__(self, task: MarketTask, paths: OptimalityConfig, every: int) -> None:
        super().__init__()
        self._task, self._paths, self._every, self._rollouts = task, paths, every, 0
        self.steps: list[int] = []
        self.shares: list[float] = []

    def judge(self) -> None:
        """Judge the policy as it is now."""
        model = self.model
        assert isinstance(model, OptionPPO)
        policy = playing(model, model.policy.network)
        self.steps.append(model.num_timesteps)
        self.shares.append(judged(policy, self._task, self._paths)["share"])

    def _on_rollout_start(self) -> None:
        # Here rather than at a rollout's end, where what it taught is not learned yet.
        if self._rollouts % self._every == 0:
            self.judge()
        self._rollouts += 1

    def _on_training_end(self) -> None:
        if self.steps[-1] != self.model.num_timesteps:
            self.judge()

    def _on_step(self) -> bool:
        return True


def learned_options(
    view: str, steps: int, seed: int, folder: Path, changes: tuple[str, ...] = ()
) -> dict[str, torch.Tensor]:
    """Weights of a training on A and B in turn; done once, then read.

    Args:
        view: market of the observation.
        steps: of both together.
        seed: of the training.
        folder: that keeps the weights.
        changes: further words of the command line.
    """
    path = folder / f"options-{view}-{steps}-{seed}.safetensors".replace(" ", "_")
    if path.exists():
        return load_file(path)
    configs = [config_of(world, view, steps, (*FALLBACK, *changes)) for world in ("A", "B")]
    tasks = [MarketTask(config) for config in configs]
    model = option_learner(build_learner(configs[0], tasks[0], seed))
    second = SimulatorVecEnv(tasks[1].simulator(seed + 1_000_000))
    second.seed(seed + 1_000_000)
    model.learn(steps, callback=Alternating([model.vec_env, second]))
    weights = {k: v.contiguous() for k, v in model.policy.net.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, path)
    return weights


def adopt(model: OptionPPO, weights: dict[str, torch.Tensor], *, frozen: bool) -> None:
    """Give a fresh learner the experts of another one.

    Terminations, gate, critic and the noise of the actions stay fresh: they are no skill.

    Args:
        model: the learner, with experts of their own networks.
        weights: of the other learner.
        frozen: let the experts not learn.

    Raises:
        ValueError: experts that are heads of the trunk, which cannot be told from terminations; or
            that see the state of a recurrent unit, without which they are nothing.
    """
    options = model.policy.network.options
    if options.cell is not None or any(name.startswith("options.cell.") for name in weights):
        raise ValueError(
            "agent.policy.recurrent: expected 0, as only experts are carried over, found a "
            "recurrent unit that they see"
        )
    if options.bank is None or options.heads:
        raise ValueError("agent.policy.experts: expected networks, found heads")
    prefix = "options.bank."
    bank = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    options.bank.load_state_dict(bank)
    if frozen:
        for parameter in options.bank.parameters():
            parameter.requires_grad_(False)  # noqa: FBT003 - torch's signature
        model.optimizers = make_optimizers(model.policy.net)


def changes_of(arm: str, third: str) -> tuple[str, ...]:
    """Words of an arm on the third market.

    The perfect gate is told what the others learn: M' pi, the weights of the best policy if the
    options were the best ones.
    """
    if arm == PERFECT:
        columns = zip(*MIXTURES[third], strict=True)
        rows = ",".join(f"[{','.join(f'{share:g}' for share in row)}]" for row in columns)
        return (*FALLBACK, f"agent.meta_controller.regime_map=[{rows}]")
    if arm == STILL:
        return FALLBACK
    return GATES[third] if arm in TRANSFERRED else ()


def curve(  # noqa: PLR0913 - the entries of a result, and how it is judged
    arm: str,
    third: str,
    view: str,
    steps: int,
    seed: int,
    *,
    options: dict[str, torch.Tensor] | None,
    paths: OptimalityConfig,
    every: int,
    changes: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Learn on the third market, and judge on the way.

    Args:
        arm: what is done there.
        third: its naming.
        view: market of the observation.
        steps: of the training.
        seed: of the training.
        options: weights of phase 1; None for an agent from scratch.
        paths: of the judgement.
        every: rollouts between judgements.
        changes: further words of the command line.

    Returns:
        `at` and `shares`: steps and share of the optimum of every judgement; `seconds`.
    """
    config = config_of(third, view, steps, (*changes_of(arm, third), *changes))
    task = MarketTask(config)
    model = option_learner(build_learner(config, task, seed))
    if options is not None:
        adopt(model, options, frozen=arm != "fine-tuned")
    found = Curve(task, paths, every)
    began = time.perf_counter()
    if arm in UNTRAINED:
        found.init_callback(model)
        found.judge()
    else:
        model.learn(steps, callback=found)
    seconds = round(time.perf_counter() - began, 1)
    return {"at": found.steps, "shares": found.shares, "seconds": seconds}

"""Which agent a configuration asks for: its learner, and what it has learned as a policy."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.policy import Policy, TorchPolicy
from envs.joined import JoinedSimulator
from envs.simulator import Simulator
from meta_controller.policy import Execution, HierarchicalPolicy
from meta_controller.regime_map import checked_map
from training.config import TrainConfig
from training.errors import ConfigError
from training.option_sources import injected_options
from training.sb3.option_config import OptionAgentConfig
from training.sb3.option_ppo import OptionPPO
from training.sb3.ppo import MarketPPO
from training.sb3.vec_env import SimulatorVecEnv
from training.tasks.task import Task


def build_learner(
    config: TrainConfig,
    task: Task,
    seed: int,
    simulator: Simulator | JoinedSimulator | None = None,
) -> MarketPPO:
    """A fresh learner of one seed on the task's training episodes.

    Args:
        config: of the run.
        task: what is learned on.
        seed: of networks, noise and episodes.
        simulator: other environments, seen and traded like the task's; None = the task's own.

    Raises:
        ConfigError: an option or a map of regimes that does not fit the task, or a head start
            without a belief.
    """
    env = SimulatorVecEnv(task.simulator(seed) if simulator is None else simulator)
    agent = config.agent
    if isinstance(agent, OptionAgentConfig):
        _require_belief(agent, task)
        _require_map(agent, task)
        return OptionPPO(
            env,
            task.features,
            agent=agent,
            beliefs=task.beliefs,
            num_regimes=num_regimes(agent, task),
            injected=injected_options(agent.options, task),
            seed=seed,
            device=config.device,
        )
    return MarketPPO(
        env, task.features, config=agent.ppo, policy=agent.policy, seed=seed, device=config.device
    )


def num_regimes(agent: OptionAgentConfig, task: Task) -> int:
    """Regimes that the controller is fed: all there are where it is told, else the columns seen."""
    if agent.meta_controller.controller.kind == "oracle":
        return task.true_regimes
    return len(task.beliefs.columns)


def _require_belief(agent: OptionAgentConfig, task: Task) -> None:
    """Refuse a head start in which the first option would act alone in every bar."""
    start, regimes = agent.meta_controller.head_start, num_regimes(agent, task)
    if start and regimes < 2 <= len(agent.options):
        raise ConfigError(
            "agent.meta_controller.head_start: expected 0 where nothing is known of regimes (a "
            f"belief comes by regime=hmm, or by market.world.regime=belief), was {start}"
        )


def _require_map(agent: OptionAgentConfig, task: Task) -> None:
    """Refuse a map of another shape than options and regimes have."""
    rows, regimes = agent.meta_controller.regime_map, num_regimes(agent, task)
    if rows is None:
        return
    if not regimes:
        raise ConfigError(
            "agent.meta_controller.regime_map: expected null where nothing is known of regimes (a "
            f"belief comes by regime=hmm, or by market.world.regime=belief), was {rows}"
        )
    try:
        checked_map(rows, len(agent.options), regimes)
    except ValueError as error:
        raise ConfigError(f"agent.meta_controller.{error}") from error


def policy_of(
    model: MarketPPO,
    execution: Execution | None = None,
    features_TC: NDArray[np.float32] | None = None,
) -> Policy:
    """What the learner has learned so far, on the whole market.

    Args:
        model: the learner.
        execution: how an agent of options acts; None = as it is trained (blended where it
            alternates; where one option acts at a time, drawn from a seeded generator).
        features_TC: of another market, with the same columns; None = those that it learned on.
    """
    features = model.vec_env.features if features_TC is None else features_TC
    space: Any = model.action_space
    low, high = getattr(space, "low", None), getattr(space, "high", None)
    if not isinstance(model, OptionPPO):
        return TorchPolicy(model.policy.net, features, low=low, high=high)
    policy = model.policy
    trained: Mapping[str, Execution] = {"hard": "sampled"}
    mode = model.agent.meta_controller.execution.mode
    return HierarchicalPolicy(
        policy.network,
        features,
        policy.beliefs,
        kind=policy.blend_kind,
        low=low,
        high=high,
        injected=policy.injected.options,
        execution=execution or trained.get(mode, "blended"),
    )

"""Which agent a configuration asks for: its learner, and what it has learned as a policy."""

from collections.abc import Mapping
from typing import Any

from agents.policy import Policy, TorchPolicy
from meta_controller.policy import Execution, HierarchicalPolicy
from training.config import TrainConfig
from training.errors import ConfigError
from training.option_sources import injected_options
from training.sb3.option_config import OptionAgentConfig
from training.sb3.option_ppo import OptionPPO
from training.sb3.ppo import MarketPPO
from training.sb3.vec_env import SimulatorVecEnv
from training.tasks.task import Task


def build_learner(config: TrainConfig, task: Task, seed: int) -> MarketPPO:
    """A fresh learner of one seed on the task's training episodes.

    Raises:
        ConfigError: an option that does not fit the task, or a head start without a belief.
    """
    env, agent = SimulatorVecEnv(task.simulator(seed)), config.agent
    if isinstance(agent, OptionAgentConfig):
        _require_belief(agent, task)
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


def policy_of(model: MarketPPO, execution: Execution | None = None) -> Policy:
    """What the learner has learned so far, on the whole market.

    Args:
        model: the learner.
        execution: how an agent of options acts; None = as it is trained (blended where it
            alternates; where one option acts at a time, drawn from a seeded generator).
    """
    space: Any = model.action_space
    low, high = getattr(space, "low", None), getattr(space, "high", None)
    if not isinstance(model, OptionPPO):
        return TorchPolicy(model.policy.net, model.vec_env.features, low=low, high=high)
    policy = model.policy
    trained: Mapping[str, Execution] = {"hard": "sampled"}
    mode = model.agent.meta_controller.execution.mode
    return HierarchicalPolicy(
        policy.network,
        model.vec_env.features,
        policy.beliefs,
        kind=policy.blend_kind,
        low=low,
        high=high,
        injected=policy.injected.options,
        execution=execution or trained.get(mode, "blended"),
    )

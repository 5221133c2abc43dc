"""Agents trained before as options: the chosen checkpoint of another run, which never changes.

An option decides each bar by itself, so the agent must have no memory: a flat agent, or options
blended under a controller that does not learn (it follows the belief at once).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from agents.networks import ActorCritic
from agents.options import FrozenOption, OptionConfig
from agents.policy import Policy, TorchPolicy
from envs.spaces import action_space
from markets.synthetic.base import Stream
from meta_controller.hierarchy import OptionActorCritic
from meta_controller.policy import HierarchicalPolicy
from training.checkpoint import CheckpointError, CheckpointStore, Snapshot, load
from training.config import AgentConfig, TrainConfig
from training.continual.adapt_request import require_training
from training.errors import ConfigError
from training.sb3.option_config import OptionAgentConfig
from training.sb3.option_policy import blend_kind
from training.sb3.policy import action_outputs
from training.sb3.snapshot import check_shapes
from training.tasks.foreign import Seen
from training.tasks.task import Task

Injected = Callable[[Sequence[OptionConfig], Task], dict[int, Policy]]
"""Makes the options of an agent that do not learn."""
MEMORYLESS = ("fallback", "fixed", "uniform")
"""Controllers that decide each bar by itself, unless they are capped."""


def frozen_option(option: FrozenOption, task: Task, where: str, injected: Injected) -> Policy:
    """The chosen agent of another run, acting on this task's observations.

    Args:
        option: which run, and which of its seeds.
        task: whose market it acts on.
        where: path of the option in the configuration, for messages.
        injected: makes the options of the frozen agent that do not learn.

    Raises:
        ConfigError: no such run or seed; not finished; features, account or actions differ; or the
            agent has a memory.
        CheckpointError: the checkpoint is damaged or altered.
    """
    folder = Path(option.run)
    try:
        require_training(folder)
        config = TrainConfig.from_yaml(folder / "config.yaml")
        snapshot = load(_chosen(config, folder, option.seed))
        seen = task.seen_by(config, snapshot.files)
        return _policy(config, snapshot, seen, task, injected)
    except ConfigError as error:
        raise ConfigError(f"{where}.run {option.run}: {error}") from error


def _chosen(config: TrainConfig, folder: Path, seed: int | None) -> Path:
    """The checkpoint that the run is judged by."""
    seeds = range(config.seed, config.seed + config.seeds)
    number = config.seed if seed is None else seed
    if number not in seeds:
        raise ConfigError(f"expected a seed of {seeds.start} .. {seeds.stop - 1}, found {number}")
    store = CheckpointStore(folder / f"seed-{number}" / "checkpoints")
    store.require_complete()
    reached, total = max(store.steps(), default=0), config.schedule.total_steps
    if reached < total:
        raise ConfigError(
            f"expected a finished training of {total:,} steps, found {reached:,} of seed {number}; "
            f"`perennial train resume={folder}` goes on with it"
        )
    best = store.best() if config.schedule.select == "best" else None
    path = best or store.latest()
    assert path is not None  # noqa: S101 - a step was reached
    return path


def _policy(
    config: TrainConfig, snapshot: Snapshot, seen: Seen, task: Task, injected: Injected
) -> Policy:
    market, action = task.market, task.trading.action
    space: Any = action_space(action, market.num_assets)
    low, high = getattr(space, "low", None), getattr(space, "high", None)
    signals = market.num_features if isinstance(market, Stream) else 0
    sizes = {
        "num_features": seen.features_TC.shape[1],
        "account_size": signals + market.num_assets + 3,
        "outputs": action_outputs(space),
    }
    generator, agent = torch.Generator(), config.agent
    if isinstance(agent, AgentConfig):
        net = ActorCritic(agent.policy, **sizes, continuous=low is not None, generator=generator)
        _fill(net, snapshot)
        return TorchPolicy(net, seen.features_TC, low=low, high=high)
    _require_memoryless(agent)
    options = OptionActorCritic(
        agent.policy,
        agent.meta_controller,
        agent.options,
        **sizes,
        num_regimes=len(seen.beliefs.columns),
        continuous=low is not None,
        generator=generator,
    )
    _fill(options, snapshot)
    return HierarchicalPolicy(
        options,
        seen.features_TC,
        seen.beliefs,
        kind=blend_kind(action),
        low=low,
        high=high,
        injected=injected(agent.options, task),
    )


def _fill(net: nn.Module, snapshot: Snapshot) -> None:
    """Load the weights for good."""
    try:
        check_shapes("weights", net.state_dict(), snapshot.weights)
    except CheckpointError as error:
        raise ConfigError(f"expected networks that fit this run's features: {error}") from error
    net.load_state_dict(dict(snapshot.weights))
    net.requires_grad_(requires_grad=False)


def _require_memoryless(agent: OptionAgentConfig) -> None:
    controller, execution = agent.meta_controller.controller, agent.meta_controller.execution
    if agent.policy.recurrent:
        raise ConfigError(
            "expected an agent that decides each bar by itself, found a recurrent unit of "
            f"{agent.policy.recurrent} (policy.recurrent), which remembers the bars before"
        )
    if controller.kind in MEMORYLESS and execution.mode != "hard" and not execution.capped:
        return
    capped = ", capped" if execution.capped else ""
    raise ConfigError(
        "expected an agent that decides each bar by itself (flat, or blended under "
        f"{', '.join(MEMORYLESS)}, not capped), found {execution.mode} options under "
        f"{controller.kind}{capped}, which remember who acted"
    )

"""Hierarchical policies over options that act by known rules; nothing is trained."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.encoder import EncoderConfig
from agents.options import LearnedOption, OptionNetworkConfig, RuleOption
from agents.policy import Policy
from envs.synthetic import Problem
from markets.synthetic.base import World
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from meta_controller.beliefs import BeliefSource
from meta_controller.config import ControllerConfig, ExecutionConfig, MetaControllerConfig
from meta_controller.hierarchy import OptionActorCritic
from meta_controller.policy import Execution, HierarchicalPolicy

Array = NDArray[np.float64]

MARKET = GarleanuPedersen(
    loadings=((0.3, 0.0), (-0.2, 0.3)),
    cost=3.0,
    discount=0.95,
    transition=0.95,
    regime="belief",
)
PROBLEM = Problem(world=MARKET, trade_size=MARKET.holding_limit)
NETWORK = OptionNetworkConfig(
    encoder=EncoderConfig(window=2, channels=2, hidden=4, embedding=4),
    hidden=(4,),
    critic_hidden=(4,),
)


class Always:
    """The same action in every bar."""

    def __init__(self, *action: float) -> None:
        self._action_D = np.array(action)

    def reset(self, num_envs: int) -> None:
        pass

    def act(self, observation_NO: NDArray[np.float32]) -> Array:
        return np.tile(self._action_D, (len(observation_NO), 1))


class Solver:
    """The optimum of the linear market, read from what the agent observes; times a share."""

    def __init__(self, share: float = 1.0) -> None:
        self._share, self._solution = share, MARKET.oracle("belief")

    def reset(self, num_envs: int) -> None:
        pass

    def act(self, observation_NO: NDArray[np.float32]) -> Array:
        exact_NO = observation_NO.astype(np.float64)
        signal_NF, view_NK = exact_NO[:, 1:3], exact_NO[:, 3:5]
        holding_NA = exact_NO[:, 6][:, None] * MARKET.holding_scale
        close_NA = np.zeros_like(holding_NA)
        world = World(view_NK.argmax(axis=1), close_NA, signal_NF, view_NK)
        target_NA = self._share * self._solution.target(world, holding_NA)
        return PROBLEM.action(target_NA, holding_NA)


def hierarchy(
    controller: ControllerConfig,
    options: Sequence[Policy | None],
    *,
    features_TC: NDArray[np.float32] | None = None,
    beliefs: BeliefSource | None = None,
    account_size: int,
    outputs: int = 1,
    low: float = -1.0,
    execution: Execution = "blended",
    noise: float = 0.0,
    **settings: Any,
) -> HierarchicalPolicy:
    """A policy over options; None stands for a learned one, whose network is left at random.

    ``noise`` moves the parameters of gate and terminations, as a training would.
    """
    features = np.zeros((0, 0), np.float32) if features_TC is None else features_TC
    source = beliefs or BeliefSource("account", ())
    network = OptionActorCritic(
        NETWORK,
        MetaControllerConfig(
            controller=controller,
            execution=ExecutionConfig(**settings.pop("execution_of", {})),
            **settings,
        ),
        tuple(LearnedOption() if each is None else RuleOption(name="cash") for each in options),
        num_features=features.shape[1],
        account_size=account_size,
        outputs=outputs,
        num_regimes=len(source.columns),
        continuous=True,
        generator=torch.Generator().manual_seed(1),
    )
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in [*network.controller.parameters(), *network.options.parameters()]:
            parameter.add_(noise * torch.randn(parameter.shape, generator=generator))
    return HierarchicalPolicy(
        network,
        features,
        source,
        kind="mean",
        low=np.full(outputs, low, np.float32),
        high=np.ones(outputs, np.float32),
        injected={k: each for k, each in enumerate(options) if each is not None},
        execution=execution,
    )


def on_market(
    controller: ControllerConfig, options: Sequence[Policy | None], **settings: Any
) -> HierarchicalPolicy:
    """A policy for `PROBLEM`, whose controller is fed the filter's belief."""
    names = PROBLEM.stream().feature_names
    given: dict[str, Any] = {"beliefs": BeliefSource.find(names, "account")} | settings
    return hierarchy(controller, options, account_size=len(names) + 4, **given)

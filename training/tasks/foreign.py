"""What an agent of another run sees and does on this run's market, if it fits."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.config import ActionConfig, TradeAction, TradingConfig
from meta_controller.beliefs import BeliefSource
from training.errors import ConfigError


class Seen(NamedTuple):
    """What an agent observes of a market beside its account."""

    features_TC: NDArray[np.float32]
    """Features of every bar; (0, 0) where they stand in the account."""
    beliefs: BeliefSource
    """Where the belief about regimes stands in it."""


def require_same_account(own: TradingConfig, other: TradingConfig) -> None:
    """Compare what an account's numbers and its actions mean.

    Raises:
        ConfigError: they mean something else.
    """
    if _meaning(own.action) != _meaning(other.action):
        raise ConfigError(f"expected actions {own.action}, found {other.action}")
    if own.observation.time_left != other.observation.time_left:
        raise ConfigError(
            f"expected observation.time_left {own.observation.time_left}, found "
            f"{other.observation.time_left}"
        )


def _meaning(action: ActionConfig) -> object:
    """The action's meaning; units of additive markets are compared by what an action is of them."""
    if not isinstance(action, TradeAction):
        return action
    return "trade", round(action.size / action.unit, 9), action.dead_zone

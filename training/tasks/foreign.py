"""What an agent of another run sees and does on this run's market, if it fits."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.config import ActionConfig, TradeAction, TradingConfig
from markets.bars import Bars
from markets.sources.config import load_dataset
from markets.splits import Split
from meta_controller.beliefs import BeliefSource
from training.config import TrainConfig
from training.errors import ConfigError


class Seen(NamedTuple):
    """What an agent observes of a market beside its account."""

    features_TC: NDArray[np.float32]
    """Features of every bar; (0, 0) where they stand in the account."""
    beliefs: BeliefSource
    """Where the belief about regimes stands in it."""


def last_seen(config: TrainConfig, own: TrainConfig, bars: Bars, learned: int) -> int:
    """Time of the last bar (ns UTC) that shaped an agent of recorded data.

    It is the last that it learned on; or of its validation span, where its checkpoint is the one
    that was best there.

    Args:
        config: of the agent's run.
        own: configuration of the task that it shall act on.
        bars: the task's.
        learned: time of the last bar that the agent learned on.
    """
    if config.schedule.select != "best":
        return learned
    recorded = config.recorded
    if recorded.data != own.recorded.data:
        bars = load_dataset(recorded.data).bars
    rows = recorded.split.splits(bars.ts_event)[config.fold].validation
    return max(learned, int(bars.ts_event[rows.stop - 1])) if rows.size else learned


def require_unseen(bars: Bars, split: Split, *, learned: int, chosen: int) -> None:
    """Refuse an agent that knows what this run chooses or tests on.

    To be chosen on the validation span is no more than this run's own checkpoints are; to have
    learned on it is: the agent is better there than it will ever be again, and what is chosen there
    leans on it.

    Args:
        bars: of this run.
        split: of this run.
        learned: time of the last bar that the agent learned on, ns UTC.
        chosen: time of the last bar that it learned or was chosen on.

    Raises:
        ConfigError: it learned or was chosen on bars of the test span or later, or learned on bars
            of the validation span.
    """
    spans = (
        ("validation", split.validation, "learned", learned),
        ("test", split.test, "learned", learned),
        ("test", split.test, "was chosen on bars", chosen),
    )
    for name, rows, did, seen in spans:
        if rows.size and seen >= bars.ts_event[rows.start]:
            begins = np.datetime64(int(bars.ts_event[rows.start]), "ns").astype("datetime64[D]")
            last = np.datetime64(seen, "ns").astype("datetime64[D]")
            raise ConfigError(
                f"expected an agent whose training ends before the {name} span, which begins "
                f"{begins}, found one that {did} until {last}"
            )


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

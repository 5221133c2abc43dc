"""Markets for the registered environments: embedded data by name, loaded once per process."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from pydantic import TypeAdapter, ValidationError

from envs.config import (
    LevelsAction,
    LongShortAction,
    SharesAction,
    SimplexAction,
    TradingConfig,
)
from envs.market_arrays import MarketArrays
from envs.spaces import FEATURE_LIMIT

if TYPE_CHECKING:
    from markets.bars import Bars

Part = Literal["train", "validation", "test", "all"]
ActionKind = Literal["simplex", "long_short", "shares", "levels"]
ObservationKind = Literal["window", "index", "view"]

ACTIONS = {
    "simplex": SimplexAction,
    "long_short": LongShortAction,
    "shares": SharesAction,
    "levels": LevelsAction,
}


class ConfigurationError(ValueError):
    """A configuration of an environment that is not valid; names the path and what was found."""


@dataclass(frozen=True)
class PreparedMarket:
    """A market with its features and its spans.

    Attributes:
        arrays: What the simulator reads.
        spans: First row and the row after the last of each part.
    """

    arrays: MarketArrays
    spans: Mapping[str, tuple[int, int]]


def prepare_market(bars: "Bars") -> PreparedMarket:
    """Compute the default features of bars, fitted on the training span only.

    Args:
        bars: Raw bars with their corporate actions.

    Returns:
        The market; 60 % of the rows are for training, 20 % for validation, 20 % for test.

    Raises:
        ValueError: Too few bars for the features' warm-up.
    """
    from features.pipeline import FeaturePipeline  # noqa: PLC0415 - slow import, default data only
    from markets.splits import by_fraction  # noqa: PLC0415 - default data only

    split = by_fraction(bars.num_bars, validation=0.2, test=0.2)
    train = (split.train.start, split.train.stop)
    pipeline = FeaturePipeline().fit(bars, train)
    tensor = pipeline.transform(bars)
    arrays = MarketArrays.from_bars(bars, tensor.flat(), warmup=tensor.warmup)
    spans = {
        "train": train,
        "validation": (split.validation.start, split.validation.stop),
        "test": (split.test.start, split.test.stop),
        "all": (0, bars.num_bars),
    }
    return PreparedMarket(arrays, spans)


@cache
def embedded_market(dataset: str) -> PreparedMarket:
    """Load an embedded data set with the default features; the same object in later calls.

    Args:
        dataset: Identifier of `markets.sources.packages`, for example "us_stocks" or "nasdaq".

    Raises:
        ConfigurationError: An unknown data set.
    """
    from markets.sources.packages import (  # noqa: PLC0415 - reads calendars, default data only
        EMBEDDED,
        PackagesSource,
    )

    if dataset not in EMBEDDED:
        msg = f"market: expected one of {', '.join(EMBEDDED)}, found {dataset!r}"
        raise ConfigurationError(msg)
    source = PackagesSource(dataset=cast("Literal['us_stocks']", dataset))
    return prepare_market(source.load().bars)


def resolve_market(
    market: "MarketArrays | Bars | str", part: Part | None, rows: tuple[int, int] | None
) -> tuple[MarketArrays, tuple[int, int] | None]:
    """Return the arrays and the rows of a market that is given by value or by name.

    Args:
        market: Arrays; bars or the name of an embedded data set (with the default features).
        part: Part of bars or of a data set; None = "train".
        rows: First row and the row after the last, instead of a part.

    Raises:
        ConfigurationError: An unknown market or part; a part together with rows or with arrays.
    """
    if part is not None and rows is not None:
        msg = f"part: expected None beside rows={rows}, found {part!r}"
        raise ConfigurationError(msg)
    if isinstance(market, MarketArrays):
        if part is not None:
            msg = f"part: expected None for MarketArrays (give rows instead), found {part!r}"
            raise ConfigurationError(msg)
        _require_bounded(market)
        return market, rows
    prepared = embedded_market(market) if isinstance(market, str) else prepare_market(market)
    name = part or "train"
    if name not in prepared.spans:
        msg = f"part: expected one of {', '.join(prepared.spans)}, found {part!r}"
        raise ConfigurationError(msg)
    return prepared.arrays, rows if rows is not None else prepared.spans[name]


def resolve_config(
    config: TradingConfig | Mapping[str, Any] | None,
    action: ActionKind | None,
    observation: ObservationKind | None,
) -> TradingConfig:
    """Return a validated configuration, of the action and observation kinds that are asked for.

    Args:
        config: A configuration, a nested mapping of its fields, or None for the defaults.
        action: Kind of action; the configuration's own parameters stay where it has this kind.
        observation: Kind of observation; the window length stays.

    Raises:
        ConfigurationError: An unknown key or a value out of range; names its path.
    """
    if not isinstance(config, TradingConfig):
        if not isinstance(config, Mapping | None):
            msg = f"config: expected a mapping, found {config!r}"
            raise ConfigurationError(msg)
        try:
            config = TypeAdapter(TradingConfig).validate_python(dict(config or {}))
        except ValidationError as error:
            raise ConfigurationError(_explain(error)) from None
    if action is not None and config.action.kind != action:
        if action not in ACTIONS:
            msg = f"action: expected one of {', '.join(ACTIONS)}, found {action!r}"
            raise ConfigurationError(msg)
        config = replace(config, action=ACTIONS[action]())
    if observation is not None and config.observation.kind != observation:
        try:
            config = replace(config, observation=replace(config.observation, kind=observation))
        except ValidationError as error:
            raise ConfigurationError(_explain(error)) from None
    return config


def _require_bounded(market: MarketArrays) -> None:
    """Refuse features outside of the declared observation space."""
    outside_TC = np.abs(market.features_TC[market.first_bar :]) > FEATURE_LIMIT
    if outside_TC.any():
        row, column = np.argwhere(outside_TC)[0]
        found = market.features_TC[market.first_bar + row, column]
        msg = (
            f"features[{market.first_bar + row}, {column}]: expected at most {FEATURE_LIMIT:.0e} in"
            f" absolute value, found {found:.3g}; scale the column"
        )
        raise ConfigurationError(msg)


def _explain(error: ValidationError) -> str:
    return "; ".join(
        f"config.{'.'.join(map(str, fault['loc']))}: {fault['msg']}, found {fault['input']!r}"
        for fault in error.errors()
    )

"""Markets of the environments: by value, or embedded data by name, loaded once per process."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np
from pydantic import TypeAdapter, ValidationError

from envs.config import (
    LevelsAction,
    LongShortAction,
    ObservationConfig,
    SharesAction,
    SimplexAction,
    TradeAction,
    TradingConfig,
)
from envs.market_arrays import MarketArrays
from envs.spaces import FEATURE_LIMIT
from markets.synthetic.base import Stream

if TYPE_CHECKING:
    from markets.bars import Bars

Part = Literal["train", "validation", "test", "all"]
ActionKind = Literal["simplex", "long_short", "shares", "levels", "trade"]
ObservationKind = Literal["window", "index", "view"]

Kind = TypeVar("Kind")

ACTIONS: Mapping[str, type[Any]] = {
    "simplex": SimplexAction,
    "long_short": LongShortAction,
    "shares": SharesAction,
    "levels": LevelsAction,
    "trade": TradeAction,
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
    market: "MarketArrays | Stream | Bars | str",
    part: Part | None,
    rows: tuple[int, int] | None,
) -> tuple[MarketArrays | Stream, tuple[int, int] | None]:
    """Return the market and the rows of it, given by value or by name.

    Args:
        market: Arrays; a stream of fresh paths; bars or the name of an embedded data set (with the
            default features).
        part: Part of bars or of a data set; None = "train".
        rows: First row and the row after the last, instead of a part.

    Raises:
        ConfigurationError: An unknown market or part; a part together with rows or with arrays;
            parts or rows of a stream.
    """
    if isinstance(market, Stream):
        for name, found in (("part", part), ("rows", rows)):
            if found is not None:
                msg = f"{name}: expected None for a stream, which has no rows, found {found!r}"
                raise ConfigurationError(msg)
        return market, None
    if part is not None and rows is not None:
        msg = f"part: expected None beside rows={rows}, found {part!r}"
        raise ConfigurationError(msg)
    if isinstance(market, MarketArrays):
        if part is not None:
            msg = f"part: expected None for MarketArrays (give rows instead), found {part!r}"
            raise ConfigurationError(msg)
        _require_bounded(market)
        return market, rows
    if not isinstance(market, str) and not hasattr(market, "ts_event"):
        msg = f"market: expected MarketArrays, a Stream, Bars or a name, found {market!r}"
        raise ConfigurationError(msg)
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
    *,
    streamed: bool = False,
) -> TradingConfig:
    """Return a validated configuration, of the action and observation kinds that are asked for.

    Args:
        config: A configuration, a nested mapping of its fields, or None for the defaults.
        action: Kind of action; the configuration's own parameters stay where it has this kind.
        observation: Kind of observation; the window length stays.
        streamed: The market is a stream of fresh paths.

    Raises:
        ConfigurationError: An unknown key or a value out of range; names its path. An observation
            that a stream does not offer.
    """
    if not isinstance(config, TradingConfig):
        if not isinstance(config, Mapping | None):
            msg = f"config: expected a mapping, found {config!r}"
            raise ConfigurationError(msg)
        config = validated("config", TradingConfig, config or {})
    if action is not None and config.action.kind != action:
        if action not in ACTIONS:
            msg = f"action: expected one of {', '.join(ACTIONS)}, found {action!r}"
            raise ConfigurationError(msg)
        config = replace(config, action=validated("config.action", ACTIONS[action], {}))
    if observation is not None and config.observation.kind != observation:
        fields = {**vars(config.observation), "kind": observation}
        asked = validated("config.observation", ObservationConfig, fields)
        config = replace(config, observation=asked)
    if streamed:
        _require_streamable(config.observation)
    return config


def validated(path: str, kind: type[Kind], fields: Mapping[str, Any]) -> Kind:
    """Return a validated dataclass of `kind`.

    Args:
        path: What the caller knows it as.
        kind: A pydantic dataclass.
        fields: Its fields, nested.

    Raises:
        ConfigurationError: An unknown key, or a value that it refuses; names the path.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(fields))
    except ValidationError as error:
        raise ConfigurationError(_explain(path, error)) from None


def _require_streamable(observation: ObservationConfig) -> None:
    """Refuse observations of what a stream does not keep: past rows."""
    if observation.kind == "view":
        msg = (
            "observation: expected window or index for a stream, whose rows are not kept, found "
            "'view'"
        )
        raise ConfigurationError(msg)
    if observation.window != 1:
        msg = (
            "config.observation.window: expected 1 for a stream, whose rows are not kept, found "
            f"{observation.window}"
        )
        raise ConfigurationError(msg)


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


def _explain(path: str, error: ValidationError) -> str:
    """Return every fault with its place; checks of several fields name what they found."""
    faults = []
    for fault in error.errors():
        place = ".".join(map(str, (path, *fault["loc"])))
        found = "" if fault["type"] == "value_error" else f", found {fault['input']!r}"
        faults.append(f"{place}: {fault['msg'].removeprefix('Value error, ')}{found}")
    return "; ".join(faults)

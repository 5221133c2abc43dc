"""The registered Gymnasium ids.

`import envs` registers them, and so does `gymnasium.make("envs:perennial/Trading-v0")`.
"""

from types import MappingProxyType
from typing import Any

import gymnasium

_STOCKS = {"market": "us_stocks"}
_INDEX = {"market": "nasdaq", "action": "levels"}

ENVIRONMENTS = MappingProxyType(
    {
        "perennial/Trading-v0": {"observation": "window", "action": "simplex", **_STOCKS},
        "perennial/TradingIndex-v0": {"observation": "index", "action": "simplex", **_STOCKS},
        "perennial/TradingLongShort-v0": {
            "observation": "window",
            "action": "long_short",
            **_STOCKS,
        },
        "perennial/TradingLongShortIndex-v0": {
            "observation": "index",
            "action": "long_short",
            **_STOCKS,
        },
        "perennial/TradingShares-v0": {"observation": "window", "action": "shares", **_STOCKS},
        "perennial/TradingSharesIndex-v0": {"observation": "index", "action": "shares", **_STOCKS},
        "perennial/TradingLevels-v0": {"observation": "window", **_INDEX},
        "perennial/TradingLevelsIndex-v0": {"observation": "index", **_INDEX},
        "perennial/GarleanuPedersen-v0": {"observation": "window"},
        "perennial/OrnsteinUhlenbeck-v0": {"observation": "window"},
        "perennial/RegimeGBM-v0": {"observation": "window"},
    }
)
"""Ids and what they fix; every other argument of the id's class may be given to `gymnasium.make`.

`perennial/Trading...`: `envs.trading_env.TradingEnv`. The default market is the training part of
data that comes with the installation: five US stocks, and for the discrete levels of one asset the
NASDAQ composite index. The others: fresh paths of a market with a known best policy, by the class
of that name in `envs.synthetic_env`."""


def entry_points(name: str) -> tuple[str, str]:
    """Return where an id's scalar and vector environment are, as Gymnasium imports them."""
    market = name.removeprefix("perennial/").removesuffix("-v0")
    if market.startswith("Trading"):
        return "envs.trading_env:TradingEnv", "envs.vector_env:TradingVectorEnv"
    return f"envs.synthetic_env:{market}Env", f"envs.synthetic_env:{market}VectorEnv"


def register() -> None:
    """Register every id with both faces; safe to call again."""
    for name, arguments in ENVIRONMENTS.items():
        if name not in gymnasium.registry:
            kwargs: dict[str, Any] = dict(arguments)
            scalar, vector = entry_points(name)
            gymnasium.register(
                id=name,
                entry_point=scalar,
                vector_entry_point=vector,
                # The environment enforces the order of calls itself, and the conformance suite
                # runs the checkers: wrappers in every step would only cost time.
                order_enforce=False,
                disable_env_checker=True,
                kwargs=kwargs,
            )

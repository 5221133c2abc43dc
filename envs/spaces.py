"""Gymnasium spaces of a trading configuration.

Bounds depend on the configuration and on the numbers of assets and features, never on the data:
a policy trained on one span loads on every other.
"""

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.config import ActionConfig, ObservationConfig

FEATURE_LIMIT = 1e12
"""Largest absolute value of a feature that an observation space declares."""
WEIGHT_LIMIT = 1e6
"""Largest absolute weight of an account; equity close to zero makes weights large. In an additive
market, of a holding in units of `TradeAction.unit`."""
LARGEST_BAR = 2**24
"""float32 holds every integer up to here, so bar numbers in observations stay exact."""

ObservationSpace = spaces.Box | spaces.Dict
ActionSpace = spaces.Box | spaces.Discrete[np.int64]


def account_space(num_assets: int) -> spaces.Box:
    """Return the space of the account part, (A + 3,): A holdings, cash, drawdown, time left."""
    low, high = account_bounds(num_assets)
    return spaces.Box(low, high, dtype=np.float32)


def account_bounds(num_assets: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the least and largest account vectors, (A + 3,) each."""
    high = np.full(num_assets + 3, WEIGHT_LIMIT, dtype=np.float32)
    low = -high
    low[-2:] = 0.0
    high[-1] = 1.0
    return low, high


def observation_space(
    observation: ObservationConfig, num_features: int, num_assets: int, *, streamed: bool = False
) -> ObservationSpace:
    """Return the space of one environment's observations.

    Args:
        observation: Which kind, and the window length W.
        num_features: Feature columns C of the market.
        num_assets: Assets A of the market.
        streamed: The market is a stream of fresh paths: nobody else has the rows of its features,
            so that `index` tells them too.

    Returns:
        `window`: Box (W * C + A + 3,); `index`: Box (1 + A + 3,), streamed (1 + C + A + 3,);
        `view`: Dict of market (W, C) and account (A + 3,).
    """
    low, high = account_bounds(num_assets)
    if streamed:
        features = np.full(num_features, FEATURE_LIMIT, dtype=np.float32)
        low, high = np.concatenate([-features, low]), np.concatenate([features, high])
    if observation.kind == "index":
        low, high = np.append(np.float32(0.0), low), np.append(np.float32(LARGEST_BAR), high)
        return spaces.Box(low, high, dtype=np.float32)
    if observation.kind == "view":
        rows = (observation.window, num_features)
        market = spaces.Box(-FEATURE_LIMIT, FEATURE_LIMIT, rows, dtype=np.float32)
        return spaces.Dict(market=market, account=account_space(num_assets))
    if streamed:
        return spaces.Box(low, high, dtype=np.float32)
    features = np.full(observation.window * num_features, FEATURE_LIMIT, dtype=np.float32)
    return spaces.Box(
        np.concatenate([-features, low]), np.concatenate([features, high]), dtype=np.float32
    )


def action_space(action: ActionConfig, num_assets: int) -> ActionSpace:
    """Return the space of one environment's actions.

    Args:
        action: Which kind, and its parameters.
        num_assets: Assets A of the market.

    Returns:
        Weights: Box [0, 1] (A,); logits: Box [-10, 10] (A + 1,), the last is cash; long-short:
        Box [-1, 1] (A,); shares: Box [minimum, maximum] (A,), lots; levels: Discrete; trade:
        Box [-1, 1] (A,).
    """
    match action.kind:
        case "simplex" if action.parametrisation == "weights":
            return spaces.Box(0.0, 1.0, (num_assets,), dtype=np.float32)
        case "simplex":
            return spaces.Box(-10.0, 10.0, (num_assets + 1,), dtype=np.float32)
        case "long_short" | "trade":
            return spaces.Box(-1.0, 1.0, (num_assets,), dtype=np.float32)
        case "shares":
            return spaces.Box(action.minimum, action.maximum, (num_assets,), dtype=np.float32)
        case "levels":
            return spaces.Discrete(len(action.levels))

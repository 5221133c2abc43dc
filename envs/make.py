"""Typed doors to the registered environments."""

from typing import Any, cast

import gymnasium
from gymnasium.vector import AutoresetMode

from envs.registration import register
from envs.trading_env import TradingEnv
from envs.vector_env import TradingVectorEnv

DEFAULT_ID = "perennial/Trading-v0"


def make(name: str = DEFAULT_ID, **arguments: Any) -> TradingEnv:  # noqa: ANN401 - as Gymnasium
    """Make one environment, without wrappers.

    Args:
        name: A registered id (`envs.registration.ENVIRONMENTS`).
        **arguments: Arguments of `TradingEnv`, or of the id's own class in `envs.synthetic_env`;
            they replace those of the id.

    Raises:
        gymnasium.error.NameNotFound: An unknown id; names similar ones.
    """
    register()
    return cast("TradingEnv", gymnasium.make(name, **arguments).unwrapped)


def make_vec(
    name: str = DEFAULT_ID,
    num_envs: int = 1,
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    **arguments: Any,  # noqa: ANN401 - as Gymnasium
) -> TradingVectorEnv:
    """Make N environments that step in one compiled call.

    Args:
        name: A registered id (`envs.registration.ENVIRONMENTS`).
        num_envs: Lanes, N.
        autoreset_mode: NEXT_STEP (RLlib), SAME_STEP (Stable-Baselines3) or DISABLED.
        **arguments: Arguments of `TradingVectorEnv`, or of the id's own class in
            `envs.synthetic_env`; they replace those of the id.

    Raises:
        gymnasium.error.NameNotFound: An unknown id; names similar ones.
    """
    register()
    env = gymnasium.make_vec(
        name,
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode=autoreset_mode,
        **arguments,
    )
    return cast("TradingVectorEnv", env)

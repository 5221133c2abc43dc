"""Errors and checks that both Gymnasium faces share."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from gymnasium.error import ResetNeeded

from envs.market_arrays import MarketArrays
from markets.synthetic.base import Stream

Market = TypeVar("Market", bound=MarketArrays | Stream)

NOT_STARTED = "no episode has begun; call reset before the first step or render"


class EpisodeError(ResetNeeded, RuntimeError):
    """A step outside of an episode: before the first reset, or after the end of the last one."""


class ActionError(ValueError):
    """An action of a wrong shape or type, or not finite; names the expected and the found."""


class OptionsError(ValueError):
    """Options of `reset` that are unknown or out of range."""


def read_options(options: Mapping[str, Any] | None, known: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of a reset as a new dict.

    Args:
        options: What the caller gave.
        known: Names that are allowed.

    Raises:
        OptionsError: A name that is not known.
    """
    found = dict(options or {})
    unknown = [key for key in found if key not in known]
    if unknown:
        msg = f"options: expected some of {', '.join(known)}, found {', '.join(map(repr, unknown))}"
        raise OptionsError(msg)
    return found


def require_integers(name: str, values: Any) -> None:  # noqa: ANN401 - checked here
    """Refuse what is neither None nor integers in [0, 2**63).

    Args:
        name: What the caller knows the values as.
        values: One or several.

    Raises:
        OptionsError: Another type, or out of range.
    """
    if values is None:
        return
    found = np.asarray(values)
    if found.dtype.kind not in "iu" or found.size == 0:
        msg = f"{name}: expected integers in [0, 2**63), found {values!r}"
        raise OptionsError(msg)
    if found.min() < 0 or int(found.max()) >= 2**63:
        msg = f"{name}: expected integers in [0, 2**63), found {found.min()} to {found.max()}"
        raise OptionsError(msg)


def frozen(market: Market) -> Market:
    """Make a market's arrays read-only again, which pickling forgets; return the market."""
    for value in vars(market).values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return market

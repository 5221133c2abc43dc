"""Errors of the training package, and configuration faults in words."""

import difflib
from collections.abc import Iterable, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails


class ConfigError(ValueError):
    """A configuration is not valid; one line for each fault, `path: expected, was found`."""


def describe_faults(error: ValidationError, known: Sequence[str] = ()) -> str:
    """One line for each fault: dotted path, what was expected, what was found.

    Args:
        error: pydantic's error on a nested configuration.
        known: dotted paths that exist, for suggestions beside an unknown key.
    """
    return "\n".join(_line(fault, known) for fault in error.errors(include_url=False))


def _line(fault: ErrorDetails, known: Sequence[str]) -> str:
    path = dotted(fault["loc"])
    kind, found = fault["type"], fault.get("input")
    if kind in {"unexpected_keyword_argument", "extra_forbidden"}:
        close = difflib.get_close_matches(path, known, n=1, cutoff=0.6)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        return f"{path}: unknown key, was {found!r}{hint}"
    if kind in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{path}: expected a value, found none"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{path}: {message}, was {found!r}"


def dotted(location: Iterable[int | str]) -> str:
    """`("agent", "ppo", "gamma")` as `agent.gamma`: the tag of a union is no key of the user's.

    Discriminated unions put their tag into pydantic's location, after the field's own name.
    """
    return ".".join(str(part) for part in location)

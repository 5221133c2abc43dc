"""Errors of the training package, and configuration faults in words."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails


class ConfigError(ValueError):
    """A configuration is not valid; one line for each fault, `path: expected, was found`."""


def describe_faults(
    error: ValidationError, known: Sequence[str] = (), container: object = None
) -> str:
    """One line for each fault: dotted path, what was expected, what was found.

    Args:
        error: pydantic's error on a nested configuration.
        known: dotted paths that exist, for suggestions beside an unknown key.
        container: what was validated, by which a union's tag is told from a key.
    """
    return "\n".join(_line(fault, known, container) for fault in error.errors(include_url=False))


def _line(fault: ErrorDetails, known: Sequence[str], container: object) -> str:
    path = dotted(fault["loc"], container)
    kind, found = fault["type"], fault.get("input")
    if kind in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"{path}: unknown key, was {found!r}{_hint(path, known)}"
    if kind in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{path}: expected a value, found none"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    # A fault between several values names them itself: the whole group would bury it.
    where = f"{path}: " if path else ""
    return f"{where}{message}" + ("" if isinstance(found, Mapping) else f", was {found!r}")


def _hint(path: str, known: Sequence[str]) -> str:
    """A key of the same group that is meant, or else one of another group, or else those here."""
    group, _, name = path.rpartition(".")
    # What they share would make all keys of a group look alike: their own names are compared.
    here = {key.rpartition(".")[2]: key for key in known if key.rpartition(".")[0] == group}
    if close := difflib.get_close_matches(name, here, n=1, cutoff=0.6):
        return f"; did you mean '{here[close[0]]}'?"
    others = [key for key in known if key not in here.values() and not path.startswith(f"{key}.")]
    if close := difflib.get_close_matches(path, others, n=1, cutoff=0.6):
        return f"; did you mean '{close[0]}'?"
    return f"; keys of {group}: {', '.join(sorted(here))}" if group and here else ""


def dotted(location: Iterable[int | str], container: object = None) -> str:
    """`("agent", "ppo", "discount")` as `agent.ppo.discount`, `("speed", 1)` as `speed[1]`.

    Discriminated unions put their tag into pydantic's location, after the field's own name; it is
    no key of the user's, and left out where the container shows it to be a `kind`.
    """
    path, inner = "", container
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
            inner = inner[part] if isinstance(inner, Sequence) and part < len(inner) else None
        elif isinstance(inner, Mapping) and part not in inner and inner.get("kind") == part:
            continue
        else:
            path += f".{part}" if path else part
            inner = inner.get(part) if isinstance(inner, Mapping) else None
    return path

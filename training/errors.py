"""Errors of the training package, and configuration faults in words."""

import difflib
import re
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
    faults = error.errors(include_url=False)
    return "\n".join(_line(x, known, container) for x in faults if not _follows(x, faults))


def _follows(fault: ErrorDetails, faults: Sequence[ErrorDetails]) -> bool:
    """Whether a sequence is called too short only because its elements are at fault."""
    where = fault["loc"]
    return fault["type"] == "too_short" and any(
        len(other["loc"]) > len(where) and other["loc"][: len(where)] == where for other in faults
    )


def _line(fault: ErrorDetails, known: Sequence[str], container: object) -> str:
    path = dotted(fault["loc"], container)
    kind, found = fault["type"], fault.get("input")
    if kind in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"{path}: unknown key, was {found!r}{_hint(path, known)}"
    if kind in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{path}: expected a value, found none"
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        return _kind(path, fault)
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if kind == "too_short":
        message = f"expected a length of at least {fault['ctx']['min_length']}"
    # A fault between several values names them itself: the whole group would bury it.
    where = _joined(path, message.partition(": ")[0], known)
    rest = message.partition(": ")[2] if where != path else message
    found_too = "" if isinstance(found, Mapping) else f", was {found!r}"
    return (f"{where}: " if where else "") + rest + found_too


def _kind(path: str, fault: ErrorDetails) -> str:
    """A choice among kinds that is none of them, or that is not made."""
    context = fault.get("ctx", {})
    key = str(context["discriminator"]).strip("'")
    expected = context.get("expected_tags", "a value")
    was = repr(context["tag"]) if "tag" in context else "none"
    return f"{path}.{key}: expected {_either(str(expected))}, found {was}"


def _either(tags: str) -> str:
    """`'a', 'b', 'c'` as `'a', 'b' or 'c'`."""
    first, comma, last = tags.rpartition(", ")
    return f"{first} or {last}" if comma else tags


def _joined(path: str, named: str, known: Sequence[str]) -> str:
    """The path of a group with that of the value below it which a message begins with."""
    below = f"{path}.{named}"
    return below if path and re.sub(r"\[\d+\]", "", below) in known else path


def _hint(path: str, known: Sequence[str]) -> str:
    """A key of the same group that is meant, or else one of another group, or else those here."""
    if path in known:
        return "; it is a key of another kind than the one chosen"
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
    no key of the user's, and left out where the container shows it to be a `kind`. A tag may be
    called as one of its keys is (`kind: options` with `options: ...`): it comes first.
    """
    path, inner, entered = "", container, False
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
            inner = inner[part] if isinstance(inner, Sequence) and part < len(inner) else None
            entered = True
        elif _is_tag(part, inner, entered=entered):
            entered = False
        else:
            path += f".{part}" if path else part
            inner = inner.get(part) if isinstance(inner, Mapping) else None
            entered = True
    return path


def _is_tag(part: str, inner: object, *, entered: bool) -> bool:
    """Whether a part of a location is the kind of the mapping `inner`, not one of its keys.

    Args:
        part: of the location.
        inner: what stands there.
        entered: whether the part is the first one inside a field or an element.
    """
    if not isinstance(inner, Mapping) or inner.get("kind") != part:
        return False
    return entered or part not in inner

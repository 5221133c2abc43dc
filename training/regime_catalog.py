"""The detectors that can be chosen: files of ``conf/regime``, told by their classes."""

import importlib
import importlib.util
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from regimes.config import OracleRegime, RegimeConfig
from training.errors import ConfigError, describe_faults

__all__ = ["DetectorEntry", "choices", "configured", "detectors", "entries"]

GROUP = "regime"
_CITATION = re.compile(
    r"((?:[A-Z][\w-]+)(?:(?:, | & | and )[A-Z][\w-]+)*)(?:,? \(| )((?:19|20)\d\d)\b"
)


@dataclass(frozen=True, kw_only=True)
class DetectorEntry:
    """One choice of ``regime=``.

    Attributes:
        name: of the file in the group.
        kind: of the detector that it configures; "oracle"; "" where there is none.
        what: it is, in a sentence.
        most: regimes that it can have; None where that is not its own choice.
        sources: papers that it follows, by author and year.
        detects: whether it can be fitted to recorded bars.
        same_as: the choice, named after its kind, whose values are the same; None where this is it.
    """

    name: str
    kind: str
    what: str
    most: int | None
    sources: tuple[str, ...]
    detects: bool
    same_as: str | None = None


def choices() -> tuple[str, ...]:
    """Names of the group, in order."""
    group = files("conf") / GROUP
    names = (item.name for item in group.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def detectors() -> tuple[str, ...]:
    """Names of the group that can be fitted to recorded bars."""
    return tuple(entry.name for entry in entries() if entry.detects)


@cache
def entries() -> tuple[DetectorEntry, ...]:
    """All choices, as their files and classes describe them."""
    with initialize_config_module("conf", version_base="1.3"):
        return tuple(_entry(name) for name in choices())


def configured(name: str, words: Sequence[str] = ()) -> RegimeConfig:
    """The configuration that a name and ``key=value`` words mean.

    Args:
        name: of the group.
        words: values that differ, e.g. ``detector.num_regimes=2``; a leading ``regime.``, as
            ``perennial train`` has it, may be there.

    Raises:
        ConfigError: no such detector, a word that is not ``key=value``, or one line for each fault.
    """
    known = detectors()
    if name not in known:
        why = f", found {name}"
        if name in choices():
            why = f" (those that can be fitted to recorded bars), found {name}"
        raise ConfigError(f"regime: expected one of {', '.join(known)}{why}")
    with initialize_config_module("conf", version_base="1.3"):
        base = _composed(name)
    paths = sorted(_paths(base))
    container = OmegaConf.to_container(OmegaConf.merge(OmegaConf.create(dict(base)), _given(words)))
    try:
        return TypeAdapter(RegimeConfig).validate_python(container)
    except ValidationError as error:
        raise ConfigError(describe_faults(error, paths, container)) from error


def _given(words: Sequence[str]) -> DictConfig:
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise ConfigError(
                f"{word}: expected name=value, as detector.num_regimes=2, found no value"
            )
        if key.removeprefix(f"{GROUP}.") in ("kind", "detector.kind"):
            raise ConfigError(f"{key}: expected another regime to be chosen by name, was {value!r}")
    try:
        return OmegaConf.from_dotlist([word.removeprefix(f"{GROUP}.") for word in words])
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"{' '.join(words)}: expected name=value, found {first}") from error


def _composed(name: str) -> Mapping[str, object]:
    """A file of the group with all its values; empty for none at all."""
    found = OmegaConf.to_container(compose(f"{GROUP}/{name}"), resolve=True)
    inner = found.get(GROUP) if isinstance(found, dict) else None
    return {str(key): value for key, value in inner.items()} if isinstance(inner, dict) else {}


def _entry(name: str) -> DetectorEntry:
    fields = _composed(name)
    if not fields:
        what = _comment((files("conf") / GROUP / f"{name}.yaml").read_text(encoding="utf-8"))
        return DetectorEntry(name=name, kind="", what=what, most=None, sources=(), detects=False)
    if fields.get("kind") == OracleRegime().kind:
        what = _sentence(inspect.getdoc(OracleRegime) or "")
        return DetectorEntry(
            name=name, kind="oracle", what=what, most=None, sources=(), detects=False
        )
    detector = TypeAdapter(RegimeConfig).validate_python(fields).detector
    return DetectorEntry(
        name=name,
        kind=detector.kind,
        what=_sentence(inspect.getdoc(type(detector)) or ""),
        most=detector.capacity,
        sources=_sources(type(detector).__module__),
        detects=True,
        same_as=_twin(name, detector.kind, fields),
    )


def _twin(name: str, kind: str, fields: Mapping[str, object]) -> str | None:
    """The file named after the kind, where this one has another name and the same values."""
    return kind if name != kind and kind in choices() and _composed(kind) == fields else None


def _comment(text: str) -> str:
    """First sentence of the comments of a file, without what it adds in brackets."""
    lines = (line[1:].strip() for line in text.splitlines() if line.startswith("# "))
    first = _sentence(" ".join(line for line in lines if not line.startswith("@")))
    return re.sub(r" \([^)]*\)$", "", first)


def _sentence(text: str) -> str:
    """The first one, in a line and without its full stop."""
    first = text.split("\n\n", maxsplit=1)[0]
    return " ".join(first.split()).split(". ", maxsplit=1)[0].rstrip(".")


def _sources(module: str) -> tuple[str, ...]:
    """Papers named where a module begins, or else where the module of its fit does."""
    for name in (module, f"{module}_fit"):
        if importlib.util.find_spec(name) is None:
            continue
        text = " ".join((inspect.getdoc(importlib.import_module(name)) or "").split())
        cited = dict.fromkeys(_short(names, year) for names, year in _CITATION.findall(text))
        if cited:
            return tuple(cited)
    return ()


def _short(names: str, year: str) -> str:
    """Authors as people cite them: the first of more than two stands for all."""
    authors = re.split(r", | & | and ", names)
    told = f"{authors[0]} et al." if len(authors) > 2 else " & ".join(authors)
    return f"{told} {year}"


def _paths(fields: Mapping[str, object], prefix: str = "") -> list[str]:
    found = []
    for key, value in fields.items():
        found.append(f"{prefix}{key}")
        if isinstance(value, Mapping):
            found += _paths(value, f"{prefix}{key}.")
    return found

"""Which run goes on, and whether what else is asked for would make it another one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

import conf
from training.config import TrainConfig, differences
from training.continual.adapt_request import require_training
from training.errors import ConfigError

ELSEWHERE = ("threads", "device", "tracking")
"""Parts of the configuration that may differ when a run is resumed: they change no result."""
_KEY = "resume"


def resumed_folder(words: Sequence[str]) -> Path | None:
    """The run that a command line asks to go on with; None where it asks for a new one.

    Words with a dash are left to Hydra: they print something, or start several runs.

    Raises:
        HydraException: a word that is no override.
    """
    if not any(word.startswith(f"{_KEY}=") for word in words):
        return None
    if any(word.startswith("-") for word in words):
        return None
    found = [x.value() for x in _parsed(words) if x.key_or_group == _KEY]
    return None if found[-1] is None else Path(str(found[-1]))


def resumed_config(folder: Path, words: Sequence[str]) -> TrainConfig:
    """The configuration of a run, and what may be changed of it.

    Words are about the run's own configuration, whose keys may not be those of the default one.
    Where they choose options of groups, as the command that started the run did, Hydra composes
    them: what they choose, and what else they make other than the default, is asked for.

    Args:
        folder: of the run.
        words: the command line's overrides; only what changes no result may differ.

    Raises:
        ConfigError: no such run, or words that would make it another one.
        HydraException: words that Hydra cannot compose.
    """
    require_training(folder)
    saved = TrainConfig.from_yaml(folder / "config.yaml").to_container()
    cfg = OmegaConf.create(saved)
    for path, value in _asked([x for x in _parsed(words) if x.key_or_group != _KEY], saved):
        # As Hydra does: the keys of a mapping are added to those that are there.
        OmegaConf.update(cfg, path, value, merge=True, force_add=True)
    merged: Any = OmegaConf.to_container(cfg, resolve=True)
    try:
        config = TrainConfig.from_container(merged)
    except ConfigError:
        # A value that does not fit is first of all not the run's; but a key may be misspelt.
        _require_same(folder, saved, merged, new_keys=False)
        raise
    _require_same(folder, saved, config.to_container(), new_keys=True)
    return config


def _require_same(
    folder: Path, saved: Mapping[str, Any], asked: Mapping[str, Any], *, new_keys: bool
) -> None:
    faults = [
        f"{name}: expected {old!r} as the run was started, was {new!r}"
        for name, old, new in differences(saved, asked)
        if name.split(".")[0] not in ELSEWHERE and (new_keys or _has(saved, name))
    ]
    if faults:
        raise ConfigError(f"{folder} cannot be resumed as another run:\n" + "\n".join(faults))


def _asked(overrides: Sequence[Override], saved: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Dotted paths and values that words ask for."""
    groups = [x.key_or_group for x in overrides if _chooses(x, saved)]
    if groups:
        words = [str(override.input_line) for override in overrides]
        default, composed = _composed([]), _composed(words)
        changed = [(path, new) for path, _, new in differences(default, composed)]
        # What is chosen by its name is asked for where it is the default too.
        return [*changed, *((name, composed[name]) for name in groups if name in composed)]
    for override in overrides:
        if override.is_delete() or override.is_sweep_override():
            raise ConfigError(
                f"{override.key_or_group}: expected name=value with a single value for a run that "
                f"is resumed, found {override.input_line}"
            )
    return [(override.key_or_group, override.value()) for override in overrides]


def _chooses(override: Override, saved: Mapping[str, Any]) -> bool:
    """Whether a word takes an option of a group, not a value of the run."""
    name = override.key_or_group
    if not (Path(str(conf.__file__)).parent / name).is_dir() or override.is_delete():
        return False
    return isinstance(override.value(), str) or saved.get(name) is None


def _composed(words: Sequence[str]) -> dict[str, Any]:
    with initialize_config_module("conf", version_base="1.3"):
        container: Any = OmegaConf.to_container(compose("train", overrides=list(words)))
    return dict(container)


def _parsed(words: Sequence[str]) -> list[Override]:
    return list(OverridesParser.create().parse_overrides(list(words)))


def _has(container: Mapping[str, Any], path: str) -> bool:
    """Whether a dotted path exists."""
    inner: Any = container
    for key in path.split("."):
        if not isinstance(inner, Mapping) or key not in inner:
            return False
        inner = inner[key]
    return True

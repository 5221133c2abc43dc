"""One configuration for all sources, discriminated by ``kind``, and its YAML form."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from markets.errors import MarketDataError
from markets.sources.credentials import refuse_secrets
from markets.sources.crypto import CryptoSource
from markets.sources.files import FilesSource
from markets.sources.packages import PackagesSource
from markets.sources.protocol import Dataset
from markets.sources.yahoo import YahooSource

__all__ = ["DataConfig", "DataConfigError", "load_config", "load_dataset", "parse_config"]

DataConfig = Annotated[
    PackagesSource | FilesSource | YahooSource | CryptoSource, Field(discriminator="kind")
]
"""A source of bars, by ``kind``: packages, files, yfinance, ccxt."""

_ADAPTER: TypeAdapter[Any] = TypeAdapter(DataConfig)


class DataConfigError(MarketDataError):
    """A configuration of data is not valid; names each field, the expected and the found."""


def parse_config(fields: Mapping[str, Any], where: str = "data") -> DataConfig:
    """Return the configuration that plain fields describe.

    Args:
        fields: What YAML or a command line gives; without ``kind`` it is ``packages``.
        where: Name of the place, which begins every path in an error.

    Returns:
        The configuration.

    Raises:
        DataConfigError: An unknown field, or a value of the wrong type or range.
        SecretInConfigError: A field that looks like a secret; its value is not repeated.
    """
    refuse_secrets(fields)
    try:
        config: DataConfig = _ADAPTER.validate_python({"kind": "packages", **fields})
    except ValidationError as error:
        lines = [_line(fault, where) for fault in error.errors(include_url=False)]
        raise DataConfigError("\n".join(lines)) from None
    return config


def _line(fault: Mapping[str, Any], where: str) -> str:
    kinds = {"packages", "files", "yfinance", "ccxt", "long", "wide", "file", "columns"}
    place = [str(part) for part in fault["loc"]]
    path = ".".join([where, *(p for n, p in enumerate(place) if not (n == 0 and p in kinds))])
    if fault["type"] == "unexpected_keyword_argument":
        return f"{path}: unknown field"
    message = str(fault["msg"]).removeprefix("Value error, ")
    found = "" if "found" in message else f", found {str(fault['input'])[:80]!r}"
    return f"{path}: {message}{found}"


def load_config(path: Path) -> DataConfig:
    """Read a configuration from a YAML file.

    Args:
        path: The YAML file. Relative paths in it are relative to its folder.

    Returns:
        The configuration.

    Raises:
        DataConfigError: No readable YAML mapping, or not a valid configuration.
    """
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataConfigError(f"{path}: expected readable YAML, found: {error}") from error
    if not isinstance(fields, dict):
        raise DataConfigError(f"{path}: expected fields such as kind and path, found {fields!r}")
    return parse_config(_anchored(fields, path.parent), where=str(path))


def _anchored(fields: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make relative paths relative to the YAML file's folder."""
    anchored = dict(fields)
    for name in ("path", "cache"):
        if isinstance(anchored.get(name), str):
            anchored[name] = str(folder / Path(anchored[name]).expanduser())
    if isinstance(anchored.get("actions"), dict):
        anchored["actions"] = _anchored(anchored["actions"], folder)
    return anchored


def load_dataset(
    config: DataConfig,
    *,
    symbols: Sequence[str] | None = None,
    start: str | None = None,
    end: str | None = None,
) -> Dataset:
    """Load the bars that a configuration names.

    Args:
        config: Which source, and which part of it.
        symbols: In place of the configuration's symbols.
        start: In place of the configuration's start, ISO 8601.
        end: In place of the configuration's end, ISO 8601, inclusive.

    Returns:
        Bars and manifest.

    Raises:
        MarketDataError: The data is not there, at fault, or not what the configuration expects.
    """
    return changed(
        config, symbols=None if symbols is None else tuple(symbols), start=start, end=end
    ).load()


def changed(config: DataConfig, **changes: object) -> DataConfig:
    """Return a validated copy of a configuration with some fields changed; None changes nothing."""
    given = {name: value for name, value in changes.items() if value is not None}
    if not given:
        return config
    fields = {name: getattr(config, name) for name in config.__dataclass_fields__}
    fresh: DataConfig = type(config)(**{**fields, **given})
    return fresh

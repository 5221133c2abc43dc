"""The protocol of data sources: a configuration in, bars with their provenance out."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass as config_dataclass

from markets.bars import Bars
from markets.errors import MarketDataError
from markets.manifest import Manifest, ManifestError
from markets.sources.credentials import refuse_secrets
from markets.times import to_ns
from markets.validation import BarsError

__all__ = [
    "DataFileError",
    "DataSource",
    "Dataset",
    "Provenance",
    "SelectionError",
    "SourceConfig",
    "assemble",
]


class DataFileError(MarketDataError):
    """A file cannot be read as bars; names file, row, column, the expected and the found."""


class SelectionError(MarketDataError):
    """Symbols or a span that the data does not have; names what was asked and what there is."""


@dataclass(frozen=True)
class Dataset:
    """Bars and where they come from.

    Attributes:
        bars: The bars, immutable.
        manifest: Source, licence, span, rows, SHA-256, repairs and notes.
    """

    bars: Bars
    manifest: Manifest


@runtime_checkable
class DataSource(Protocol):
    """What gives a data set; every configuration of this package is one."""

    def load(self) -> Dataset:
        """Return the data set, or raise a `MarketDataError` that names the place."""
        ...


def _as_text(value: Any) -> Any:  # noqa: ANN401 - YAML hands over dates as well as text
    return value.isoformat() if hasattr(value, "isoformat") else value


def _readable(value: str | None) -> str | None:
    if value is not None:
        to_ns(value)
    return value


Moment = Annotated[str | None, BeforeValidator(_as_text), AfterValidator(_readable)]
"""ISO 8601 date or time, or None; a time without an offset is UTC."""


@config_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SourceConfig:
    """Fields that every source has: which part of the data, and what it must be."""

    symbols: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Symbols in the order wanted; None: all that the source has."""
    start: Moment = None
    """First day or time, ISO 8601, UTC where no offset is written; None: from the first bar."""
    end: Moment = None
    """Last day (all of it) or time, inclusive; None: to the last bar."""
    sha256: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None
    """SHA-256 that the resulting bars must have, as a manifest records it; None: not checked."""

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, data: object) -> object:
        return refuse_secrets(data)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a source knows about its bars besides the bars.

    Attributes:
        dataset: Identifier.
        source: Package and version, path, or service.
        licence: Under which terms.
        adjusted: "none" (raw prices, actions apart), "split" or "all".
        notes: What a reader should know: traps, and what the source mended itself.
    """

    dataset: str
    source: str
    licence: str
    adjusted: Literal["none", "split", "all"] = "none"
    notes: tuple[str, ...] = ()


def select(bars: Bars, config: SourceConfig, where: str) -> Bars:
    """Return the part of the bars that a configuration asks for.

    Args:
        bars: All bars.
        config: Symbols and span.
        where: What is being read, for the error.

    Returns:
        The part, without leading and trailing rows in which no chosen symbol has a bar.

    Raises:
        SelectionError: An unknown symbol, an empty span, or a symbol without any bar in it.
    """
    first, last = bars.span
    try:
        if config.symbols is not None:
            bars = bars.select(config.symbols)
        if config.start is not None or config.end is not None:
            bars = bars.between(config.start or first, config.end or last)
    except BarsError as error:
        raise SelectionError(f"{where}: {error}") from error
    there = np.flatnonzero(~bars.missing.all(axis=1))
    return bars.rows(int(there[0]), int(there[-1]) + 1)


def assemble(bars: Bars, provenance: Provenance, config: SourceConfig) -> Dataset:
    """Select, describe and check the bars of a source.

    Args:
        bars: All bars that the source has.
        provenance: What the source knows about them.
        config: Symbols, span and expected SHA-256.

    Returns:
        The data set.

    Raises:
        SelectionError: Symbols or a span that the data does not have.
        ManifestError: The bars are not those that the configuration expects.
    """
    bars = select(bars, config, provenance.dataset)
    if config.sha256 is not None and bars.sha256() != config.sha256:
        raise ManifestError(
            f"{provenance.dataset}: sha256: expected {config.sha256}, found {bars.sha256()}"
            f" ({bars!r} from {provenance.source}); if the data changed on purpose, set sha256 to"
            " the found value"
        )
    manifest = Manifest.of(
        bars,
        dataset=provenance.dataset,
        source=provenance.source,
        licence=provenance.licence,
        adjusted=provenance.adjusted,
        notes=provenance.notes,
    )
    return Dataset(bars, manifest)

"""The record of a data set: where it is from, under which licence, what is in it, its SHA-256."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from markets.atomic import write_whole
from markets.bars import Bars
from markets.errors import MarketDataError
from markets.validation import Repair

_VERSION = 1


class ManifestError(MarketDataError):
    """A manifest cannot be read, or the data are not those that it describes."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Manifest:
    """What a data set is; JSON on disk.

    `Manifest.of(bars, ...)` writes one, `verify(bars)` refuses other data.
    """

    dataset: Annotated[str, Field(min_length=1)]
    """Identifier, for example "us_stocks"."""
    source: Annotated[str, Field(min_length=1)]
    """Origin: package and version, file, or service."""
    licence: Annotated[str, Field(min_length=1)]
    """Licence of the data in words."""
    symbols: Annotated[tuple[str, ...], Field(min_length=1)]
    """Symbols in the order of the columns."""
    start: str
    """First time, ISO 8601 UTC."""
    end: str
    """Last time, ISO 8601 UTC."""
    rows: Annotated[int, Field(ge=1)]
    """Number of times on the axis."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """`Bars.sha256()`."""
    adjusted: Literal["none", "split", "all"] = "none"
    """Prices as traded, adjusted for splits, or for splits and dividends."""
    repairs: tuple[Repair, ...] = ()
    """What was changed on the way in; empty if nothing."""
    notes: tuple[str, ...] = ()
    """Anything a reader should know, one remark each."""

    @classmethod
    def of(
        cls,
        bars: Bars,
        *,
        dataset: str,
        source: str,
        licence: str,
        adjusted: Literal["none", "split", "all"] = "none",
        notes: tuple[str, ...] = (),
    ) -> "Manifest":
        """Describe bars.

        Args:
            bars: The data.
            dataset: Identifier.
            source: Origin.
            licence: Licence of the data.
            adjusted: Whether prices are as traded.
            notes: Remarks.

        Returns:
            The manifest; repairs are taken from the bars.
        """
        first, last = bars.span
        return cls(
            dataset=dataset,
            source=source,
            licence=licence,
            symbols=bars.symbols,
            start=first.isoformat(),
            end=last.isoformat(),
            rows=bars.num_bars,
            sha256=bars.sha256(),
            adjusted=adjusted,
            repairs=bars.repairs,
            notes=notes,
        )

    def verify(self, bars: Bars) -> None:
        """Refuse bars that are not those described.

        Args:
            bars: The data found.

        Raises:
            ManifestError: Symbols, span, rows or SHA-256 differ; all differences are named.
        """
        first, last = bars.span
        found = {
            "symbols": bars.symbols,
            "start": first.isoformat(),
            "end": last.isoformat(),
            "rows": bars.num_bars,
            "sha256": bars.sha256(),
        }
        differences = [
            f"  {name}: expected {getattr(self, name)}, found {value}"
            for name, value in found.items()
            if getattr(self, name) != value
        ]
        if differences:
            raise ManifestError(
                f"data set {self.dataset!r} is not the one of its manifest:\n"
                + "\n".join(differences)
            )

    def to_json(self) -> str:
        """The manifest as JSON text with sorted keys, ending in a newline."""
        content = {"version": _VERSION, **asdict(self)}
        return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str = "manifest") -> "Manifest":
        """Read a manifest.

        Args:
            text: What `to_json` wrote.
            where: Name for the error message, for example the path.

        Returns:
            The manifest.

        Raises:
            ManifestError: No JSON, another version, or a field is lacking, unknown or out of
                its range.
        """
        try:
            content: Any = json.loads(text)
        except json.JSONDecodeError as error:
            raise ManifestError(f"{where}: expected JSON: {error}") from error
        if not isinstance(content, dict):
            raise ManifestError(f"{where}: expected an object, found {type(content).__name__}")
        version = content.pop("version", None)
        if version != _VERSION:
            raise ManifestError(f"{where}.version: expected {_VERSION}, found {version!r}")
        try:
            return TypeAdapter(cls).validate_json(json.dumps(content))
        except ValidationError as error:
            lines = [
                f"  {'.'.join(map(str, fault['loc']))}: {fault['msg']}, found"
                f" {str(fault['input'])[:80]!r}"
                for fault in error.errors(include_url=False)
            ]
            raise ManifestError(f"{where}:\n" + "\n".join(lines)) from error

    def write(self, path: Path) -> None:
        """Write the JSON file whole or not at all: a temporary file, synced, then renamed.

        Args:
            path: Where; its folder must exist.

        Raises:
            OSError: The file cannot be written; an older file stays as it was.
        """
        write_whole(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read a manifest file.

        Args:
            path: The file.

        Returns:
            The manifest.

        Raises:
            ManifestError: The file is lacking or malformed; the message names it.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ManifestError(f"{path}: cannot be read: {error}") from error
        return cls.from_json(text, where=str(path))

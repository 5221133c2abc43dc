"""A local store of downloads: verified on read, replaced atomically, addressed by content.

    <root>/requests/<source>/<sha256 of the request>.json    what was asked, when, which tables came
    <root>/objects/<sha256 of the file>.parquet              the tables

A record names its tables by their SHA-256, so a table is never changed in place, and replacing the
one small record is the commit: a process that dies half-way leaves the old answer standing, and two
processes that fetch the same request never mix their answers.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from markets.atomic import write_whole
from markets.errors import MarketDataError

__all__ = ["CacheError", "Download", "DownloadCache", "default_cache"]

_FORMAT = 1


class CacheError(MarketDataError):
    """The store is damaged or cannot be written; names the file, the expected and the found."""


def default_cache() -> Path:
    """Return the folder of the store: $PERENNIAL_CACHE, else the user's cache folder."""
    if named := os.environ.get("PERENNIAL_CACHE"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "perennial" / "data"


@dataclass(frozen=True)
class Download:
    """One answer of a remote source, as it came: before adjustment, stamping and selection.

    Attributes:
        request: What was asked; JSON values only, and never a secret.
        tables: Frames by name, such as "bars" and "actions".
        retrieved: When, ISO 8601 UTC.
        client: Package and version that fetched it.
        metadata: What else the source said (currency, time zone); JSON values only.
    """

    request: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    retrieved: str
    client: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class _Object:
    sha256: str
    rows: int


def _canonical(request: Mapping[str, Any]) -> str:
    return json.dumps(request, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class DownloadCache:
    """Downloads by request.

    Args:
        root: Folder of the store; made when something is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def record_path(self, request: Mapping[str, Any]) -> Path:
        """Return where the record of a request is, or would be."""
        key = _digest(_canonical(request).encode())
        return self.root / "requests" / str(request["source"]) / f"{key}.json"

    def object_path(self, sha256: str) -> Path:
        """Return where a table of that content is, or would be."""
        return self.root / "objects" / f"{sha256}.parquet"

    def read(self, request: Mapping[str, Any]) -> Download | None:
        """Return the stored answer to a request.

        Args:
            request: What was asked.

        Returns:
            The answer, or None if there is none.

        Raises:
            CacheError: The record cannot be read, or a table is absent or altered.
        """
        path = self.record_path(request)
        if not path.exists():
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            objects = {name: _Object(**entry) for name, entry in record["tables"].items()}
            retrieved, client = record["retrieved"], record["client"]
            metadata = record["metadata"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CacheError(
                f"{path}: expected the record of a download, found: {error}; {_MEND}"
            ) from error
        if record["format"] != _FORMAT or record["request"] != json.loads(_canonical(request)):
            raise CacheError(
                f"{path}: expected format {_FORMAT} and request {_canonical(request)}, found"
                f" format {record['format']} and request {record['request']}; {_MEND}"
            )
        tables = {name: self._read_object(entry) for name, entry in objects.items()}
        return Download(request, tables, retrieved, client, metadata)

    def _read_object(self, entry: _Object) -> pd.DataFrame:
        path = self.object_path(entry.sha256)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CacheError(
                f"{path}: expected a table of {entry.rows} rows, found: {error}; {_MEND}"
            ) from error
        found = _digest(data)
        if found != entry.sha256:
            raise CacheError(
                f"{path}: expected SHA-256 {entry.sha256}, found {found}: the file was altered or"
                f" cut short; {_MEND}"
            )
        table: pd.DataFrame = pq.read_table(pa.BufferReader(data)).to_pandas()
        return table

    def write(self, download: Download) -> None:
        """Store an answer, in place of an earlier one to the same request.

        Args:
            download: The answer.

        Raises:
            CacheError: The folder cannot be written (absent rights, full disk); nothing is changed.
        """
        path = self.record_path(download.request)
        try:
            tables = {name: self._write_object(table) for name, table in download.tables.items()}
            record = {
                "format": _FORMAT,
                "request": json.loads(_canonical(download.request)),
                "retrieved": download.retrieved,
                "client": download.client,
                "metadata": dict(download.metadata),
                "tables": {name: asdict(entry) for name, entry in tables.items()},
            }
            text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n"
            write_whole(path, text.encode())
        except OSError as error:
            raise CacheError(
                f"{error.filename or path}: expected a writable folder with free space, found:"
                f" {error.strerror or error}; name another with cache: or $PERENNIAL_CACHE"
            ) from error

    def _write_object(self, table: pd.DataFrame) -> _Object:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink, compression="zstd")
        data = sink.getvalue().to_pybytes()
        entry = _Object(_digest(data), len(table))
        path = self.object_path(entry.sha256)
        if not path.exists() or _digest(path.read_bytes()) != entry.sha256:
            write_whole(path, data)
        return entry


_MEND = "set refresh: true to fetch it again, or delete the file"

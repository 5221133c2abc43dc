"""Entries as files: written whole, verified on reading, the least recently used removed first.

    <folder>/<SHA-256 of the data>/<key>.npy
    <folder>/<SHA-256 of the data>/data.txt      symbols, bars and span, for people

A process may be killed at any instant: a file appears whole or not at all, and what it left behind
is removed an hour later. A cache that cannot be written is said in the log, and nothing fails.
"""

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from features.cache.entry import Array, DataInfo, Entry, Kept, decode, encode
from markets.atomic import whole_file

__all__ = ["DiskStore"]

_LOG = logging.getLogger(__name__)
_SUFFIX = ".npy"
_DESCRIPTION = "data.txt"
_LOCK_SECONDS = 10.0
_LEFT_BEHIND = 3600.0


@dataclass(frozen=True)
class _File:
    path: Path
    nbytes: int
    used: float


class DiskStore:
    """Entries in a folder; see the module's text.

    Args:
        folder: made when something is written.
        cap_bytes: most bytes kept.
    """

    def __init__(self, folder: Path, cap_bytes: int) -> None:
        self.folder = folder
        self.cap_bytes = cap_bytes

    def path(self, entry: Entry) -> Path:
        """Where an entry is, or would be."""
        return self.folder / entry.data / f"{entry.key}{_SUFFIX}"

    def read(self, entry: Entry, out_KAT: Array) -> bool:
        """Fill an array; False where there is no sound entry. A damaged one is removed."""
        path = self.path(entry)
        try:
            with path.open("rb", buffering=0) as file:
                sound = decode(entry, file, out_KAT)
            if sound:
                # Mounts without access times, or with lazy ones, are common.
                os.utime(path)
                return True
            _LOG.warning("%s: damaged cache entry removed; its feature is computed anew", path)
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            return False
        except OSError as error:
            _LOG.warning("%s: cache entry cannot be read (%s)", path, error)
        return False

    def write(self, entry: Entry, values_KAT: Array, description: str) -> None:
        """Keep an entry, unless it alone is beyond the cap."""
        if entry.nbytes > self.cap_bytes:
            return
        path = self.path(entry)
        try:
            about = path.with_name(_DESCRIPTION)
            if not about.exists():
                with whole_file(about) as file:
                    file.write(description.encode())
            # Not forced to the disk: after a crash the checksum finds out what did not get there.
            with whole_file(path, durable=False) as file:
                for part in encode(entry, values_KAT):
                    file.write(part)
        except OSError as error:
            _LOG.warning("%s: cache entry cannot be written (%s)", path, error)

    def tidy(self) -> int:
        """Remove the least recently used entries beyond the cap; returns how many."""
        removed = 0
        try:
            with self._lock():
                self._remove_left_behind()
                files = sorted(self._files(), key=lambda file: file.used)
                total = sum(file.nbytes for file in files)
                for file in files:
                    if total <= self.cap_bytes:
                        break
                    file.path.unlink(missing_ok=True)
                    total -= file.nbytes
                    removed += 1
        except Timeout:
            _LOG.info("%s: another process is tidying the cache", self.folder)
        except OSError as error:
            _LOG.warning("%s: the cache cannot be tidied (%s)", self.folder, error)
        return removed

    def kept(self) -> Kept:
        """What there is."""
        by_data: dict[Path, list[_File]] = {}
        for file in self._files():
            by_data.setdefault(file.path.parent, []).append(file)
        infos = [
            DataInfo(
                data=folder.name,
                description=_described(folder),
                entries=len(files),
                nbytes=sum(file.nbytes for file in files),
                last_used=max(file.used for file in files),
            )
            for folder, files in by_data.items()
        ]
        infos.sort(key=lambda info: -info.last_used)
        return Kept(place=str(self.folder), cap_bytes=self.cap_bytes, data=tuple(infos))

    def clear(self, older_than: float = 0.0) -> tuple[int, int]:
        """Remove entries not used for so many seconds; returns their number and bytes.

        Raises:
            OSError: the folder cannot be written.
            filelock.Timeout: another process holds the cache's lock for long.
        """
        if not self.folder.is_dir():
            return 0, 0
        with self._lock():
            self._remove_left_behind()
            before = time.time() - older_than
            files = [file for file in self._files() if file.used <= before]
            for file in files:
                file.path.unlink(missing_ok=True)
            for folder in {file.path.parent for file in files}:
                if not any(folder.glob(f"*{_SUFFIX}")):
                    (folder / _DESCRIPTION).unlink(missing_ok=True)
                    _remove_if_empty(folder)
        return len(files), sum(file.nbytes for file in files)

    def _lock(self) -> FileLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".lock", timeout=_LOCK_SECONDS)

    def _files(self) -> Iterator[_File]:
        for path in self.folder.glob(f"*/*{_SUFFIX}"):
            try:
                facts = path.stat()
            except FileNotFoundError:  # removed meanwhile
                continue
            if not path.name.startswith("."):
                yield _File(path, facts.st_size, facts.st_mtime)

    def _remove_left_behind(self) -> None:
        """Remove what writers that were killed did not finish."""
        before = time.time() - _LEFT_BEHIND
        for path in self.folder.glob("*/.*"):
            try:
                if path.stat().st_mtime < before:
                    path.unlink(missing_ok=True)
            except FileNotFoundError:  # finished meanwhile
                continue


def _described(folder: Path) -> str:
    try:
        return (folder / _DESCRIPTION).read_text(encoding="utf-8")
    except OSError:
        return ""


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # a writer is at work in it
        return

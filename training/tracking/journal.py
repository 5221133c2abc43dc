"""The run's journal: every tracked fact, on the local disk, before it goes anywhere else.

One JSON object a line, appended with a single ``write``. The journal is the truth about what was
tracked: MLflow and TensorBoard are filled from it and can be filled again. A process that is killed
at any moment leaves at most one torn last line, which readers pass over and the next writer cuts
off.

=========  ==========================================================================
``kind``   further fields (``time`` is milliseconds since the epoch in all of them)
=========  ==========================================================================
start      ``run`` (key), ``name``, ``experiment``, ``tags``, ``params``, ``parent`` (key or null)
metrics    ``step``, ``values`` (name to number; not-finite ones as ``"nan"``, ``"inf"``)
tags       ``tags``
artifact   ``path`` (relative to the run's folder where it lies inside), ``to`` (folder)
resume     ``step`` of the checkpoint: what was recorded behind it is recorded again
finish     ``status``, ``error`` (or null)
=========  ==========================================================================
"""

import json
import logging
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_log = logging.getLogger(__name__)

FILE_NAME = "journal.jsonl"
"""Name of the journal in a run's folder."""


class JournalError(RuntimeError):
    """The journal cannot be written: a full disk, a read-only folder. Names the path."""


@dataclass(frozen=True)
class Entry:
    """One line of a journal.

    Attributes:
        data: The record, with its ``kind``.
        end: Offset in bytes just behind its line: where reading goes on.
    """

    data: Mapping[str, object]
    end: int

    @property
    def kind(self) -> str:
        """What the record is."""
        return str(self.data.get("kind", ""))

    @property
    def time_ms(self) -> int:
        """When it was written, milliseconds since the epoch."""
        return int(str(self.data.get("time", 0)))

    def table(self, field: str) -> dict[str, object]:
        """A field that holds a mapping; empty where it is absent."""
        value = self.data.get(field)
        return dict(value) if isinstance(value, Mapping) else {}

    def metrics(self) -> dict[str, float]:
        """The values of a ``metrics`` record."""
        return {name: float(str(value)) for name, value in self.table("values").items()}

    @property
    def step(self) -> int:
        """The step of a ``metrics`` or ``resume`` record."""
        return int(str(self.data.get("step", 0)))


class Journal:
    """Appends records to a file; safe to use from several threads.

    Args:
        path: The file; it and its folder are made when absent. A torn last line is cut off.

    Raises:
        JournalError: The file cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            os.ftruncate(self._file, _complete_length(self._file))
        except OSError as error:
            raise JournalError(f"{path}: expected a writable journal, found: {error}") from error

    def append(self, kind: str, **fields: object) -> int:
        """Write one record with the present time; it survives the process from here on.

        Returns:
            The record's time, milliseconds since the epoch.

        Raises:
            JournalError: The record was not written (nothing of it is left in the file).
        """
        now = time.time_ns() // 1_000_000
        record = {"kind": kind, "time": now, **fields}
        line = json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n"
        with self._lock:
            self._write(line.encode())
        return now

    def append_metrics(self, step: int, values: Mapping[str, float]) -> int:
        """Write the metrics of one step; numbers that are not finite are kept as words."""
        return self.append(
            "metrics", step=int(step), values={k: _plain(v) for k, v in values.items()}
        )

    def _write(self, data: bytes) -> None:
        before = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, data)
            if written != len(data):
                os.ftruncate(self._file, before)
                raise JournalError(
                    f"{self.path}: expected to write {len(data)} bytes, the disk took {written}; "
                    "free some space"
                )
        except OSError as error:
            raise JournalError(
                f"{self.path}: expected to write {len(data)} bytes, found: {error}"
            ) from error

    def close(self) -> None:
        """Put the journal on the disk itself and close it; closing twice is allowed."""
        with self._lock:
            if self._file >= 0:
                os.fsync(self._file)
                os.close(self._file)
                self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_journal(path: Path, offset: int = 0) -> Iterator[Entry]:
    """Yield the records from a byte offset on.

    A torn last line is left for the next call. A broken line in between (a damaged disk) is passed
    over with a warning that names it: one lost record must not hold back the others.

    Args:
        path: The journal; an absent one has no records.
        offset: An :attr:`Entry.end` of before, or 0.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                data = json.loads(line)
            except ValueError:
                data = None
            if isinstance(data, dict):
                yield Entry(data, offset)
            else:
                _log.warning(
                    "%s: expected a JSON object in the line that ends at byte %d, found %r; "
                    "passed over",
                    path,
                    offset,
                    line[:60],
                )


@dataclass(frozen=True)
class Recording:
    """The metrics of one moment.

    Attributes:
        step: The step.
        time_ms: Milliseconds since the epoch.
        values: Name to number.
    """

    step: int
    time_ms: int
    values: Mapping[str, float]


def first_metrics(path: Path) -> list[Recording]:
    """Return every metric once for each step: where a resume has repeated it, the first one.

    A resumed run repeats the steps behind its checkpoint and comes to the same values, so the
    first recording stands, in every store: what was sent cannot be taken back.

    Args:
        path: The journal.
    """
    seen: set[tuple[str, int]] = set()
    first: list[Recording] = []
    for entry in read_journal(path):
        if entry.kind != "metrics":
            continue
        values = {k: v for k, v in entry.metrics().items() if (k, entry.step) not in seen}
        seen.update((name, entry.step) for name in values)
        if values:
            first.append(Recording(entry.step, entry.time_ms, values))
    return first


def _plain(value: float) -> float | str:
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _complete_length(file: int) -> int:
    """Length of the file up to and with its last newline."""
    size = os.fstat(file).st_size
    end = size
    while end > 0:
        start = max(0, end - 65536)
        block = os.pread(file, end - start, start)
        newline = block.rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0

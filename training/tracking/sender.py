"""Carry a journal to MLflow, from where the last delivery ended."""

import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markets.atomic import write_whole
from training.tracking.journal import FILE_NAME, Entry, read_journal
from training.tracking.mlflow_store import (
    METRICS_PER_CALL,
    MlflowStore,
    TrackingError,
    file_lock,
    metric_name,
)
from training.tracking.redact import Redactor

if TYPE_CHECKING:
    from mlflow.entities import Metric

_log = logging.getLogger(__name__)

STATE_NAME = ".tracking.json"
"""File in a run's folder: for each store the run's id and how far its journal was delivered."""

_TEXT_SUFFIXES = frozenset(
    {".yaml", ".yml", ".json", ".jsonl", ".txt", ".log", ".md", ".csv", ".html", ".svg", ".toml"}
)
_TEXT_LIMIT = 64 * 1024 * 1024


@dataclass
class Delivery:
    """How far a journal was delivered to one store.

    Attributes:
        run_id: The run's id in the store, or None before the first delivery.
        offset: Bytes of the journal that the store has confirmed.
    """

    run_id: str | None = None
    offset: int = 0


class JournalSender:
    """Delivers one journal to one store; safe against other processes that do the same.

    Args:
        folder: The run's folder. When the journal names a parent run, that run's folder is the
            one above.
        store: Where to.
        redactor: Masks secrets in text files that are sent as artifacts.
    """

    def __init__(self, folder: Path, store: MlflowStore, redactor: Redactor | None = None) -> None:
        self.folder = folder
        self.journal = folder / FILE_NAME
        self._store = store
        self._redactor = Redactor() if redactor is None else redactor
        self._checked = False
        self._repeated: set[tuple[str, int]] = set()

    @property
    def pending(self) -> bool:
        """Whether the journal holds more than was delivered."""
        return self.journal.exists() and self.journal.stat().st_size > self._load().offset

    def send(self) -> int:
        """Deliver what is new.

        Returns:
            The number of records that were delivered.

        Raises:
            Exception: Whatever the store raises. What was confirmed until then stays confirmed;
                calling again goes on from there.
        """
        with file_lock(self.folder / ".tracking.lock"):
            delivery = self._load()
            if delivery.run_id is not None and not self._checked:
                if not self._store.has_run(delivery.run_id):
                    delivery = Delivery()  # the store was replaced: deliver everything again
                self._checked = True
                self._repeated = self._recorded_before_resume(delivery.offset)
            return self._deliver(delivery)

    def run_id(self) -> str:
        """Return the run's id in the store; the run is created when it is not there yet.

        Raises:
            TrackingError: The folder holds no journal with a beginning.
        """
        with file_lock(self.folder / ".tracking.lock"):
            delivery = self._load()
            if delivery.run_id is None or not self._store.has_run(delivery.run_id):
                start = next(iter(read_journal(self.journal)), None)
                if start is None or start.kind != "start":
                    raise TrackingError(
                        f"{self.journal}: expected a journal that begins with a start record, "
                        f"found {'none' if start is None else start.kind!r}"
                    )
                delivery = Delivery(self._begin(start))
                self._save(delivery)
            return str(delivery.run_id)

    def _deliver(self, delivery: Delivery) -> int:
        count = 0
        for group in _grouped(read_journal(self.journal, delivery.offset)):
            self._apply(delivery, group)
            delivery.offset = group[-1].end
            self._save(delivery)
            count += len(group)
        return count

    def _apply(self, delivery: Delivery, group: list[Entry]) -> None:
        """Send one record, or several metric records at once."""
        entry = group[0]
        if entry.kind == "start":
            if delivery.run_id is None:
                delivery.run_id = self._begin(entry)
                self._save(delivery)
            self._describe(delivery.run_id, entry)
            return
        if delivery.run_id is None:
            raise TrackingError(
                f"{self.journal}: expected a start record first, found {entry.kind!r}"
            )
        try:
            self._send(delivery.run_id, group)
        except Exception as error:
            if not _is_permanent(error):
                raise
            _log.warning(
                "%s refuses a record (%s) of %s, passed over: %s",
                self._store.name,
                entry.kind,
                self.journal,
                self._redactor.text(str(error)),
            )

    def _send(self, run_id: str, group: list[Entry]) -> None:
        entry = group[0]
        if entry.kind == "metrics":
            self._send_metrics(run_id, group)
        elif entry.kind == "tags":
            self._store.set_tags(run_id, _strings(entry.table("tags")))
        elif entry.kind == "artifact":
            self._send_artifact(run_id, entry)
        elif entry.kind == "resume":
            self._repeated = self._recorded_before_resume(entry.end)
            self._store.set_tags(run_id, {"resumed_at_step": str(entry.step)})
            self._store.set_status(run_id, "RUNNING", None)
        elif entry.kind == "finish":
            error = entry.data.get("error")
            if error:
                self._store.set_tags(run_id, {"error": str(error)})
            self._store.set_status(run_id, str(entry.data.get("status")), entry.time_ms)

    def _send_metrics(self, run_id: str, group: list[Entry]) -> None:
        from mlflow.entities import Metric  # noqa: PLC0415 - takes seconds, and only sending needs it

        metrics = [
            Metric(metric_name(name), value, entry.time_ms, entry.step)
            for entry in group
            for name, value in entry.metrics().items()
            if (name, entry.step) not in self._repeated
        ]
        for start in range(0, len(metrics), METRICS_PER_CALL):
            refused = self._log_accepted(run_id, metrics[start : start + METRICS_PER_CALL])
            if refused:
                names = sorted({metric.key for metric, _ in refused})
                _log.warning(
                    "%s refuses %d of the metrics (%s) of %s, passed over: %s",
                    self._store.name,
                    len(refused),
                    ", ".join(names[:10]),
                    self.journal,
                    self._redactor.text(str(refused[0][1])),
                )

    def _log_accepted(
        self, run_id: str, metrics: "list[Metric]"
    ) -> "list[tuple[Metric, Exception]]":
        """Send metrics; a refused batch is halved until only the faulty ones are left.

        Returns:
            Those that the store will never take, and why.
        """
        try:
            self._store.log_metrics(run_id, metrics)
        except Exception as error:
            if not _is_permanent(error):
                raise
            if len(metrics) == 1:
                return [(metrics[0], error)]
            middle = len(metrics) // 2
            first = self._log_accepted(run_id, metrics[:middle])
            return first + self._log_accepted(run_id, metrics[middle:])
        return []

    def _send_artifact(self, run_id: str, entry: Entry) -> None:
        path = self.folder / str(entry.data.get("path"))
        target = str(entry.data.get("to") or "")
        if not path.exists():
            _log.warning("%s: expected an artifact to send, found nothing", path)
            return
        if path.is_file():
            self._send_file(run_id, path, target)
            return
        for file in sorted(item for item in path.rglob("*") if item.is_file()):
            inside = file.parent.relative_to(path).as_posix()
            parts = [part for part in (target, path.name, inside) if part not in ("", ".")]
            self._send_file(run_id, file, "/".join(parts))

    def _send_file(self, run_id: str, path: Path, target: str) -> None:
        """Send a file; a text that holds a secret goes as a masked copy."""
        if path.suffix.lower() not in _TEXT_SUFFIXES or path.stat().st_size > _TEXT_LIMIT:
            self._store.log_artifact(run_id, path, target)
            return
        text = path.read_bytes().decode("utf-8", errors="surrogateescape")
        masked = self._redactor.text(text)
        if masked == text:
            self._store.log_artifact(run_id, path, target)
            return
        _log.warning("%s holds a secret of the environment; a masked copy is sent", path)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            copy.write_bytes(masked.encode("utf-8", errors="surrogateescape"))
            self._store.log_artifact(run_id, copy, target)

    def _begin(self, start: Entry) -> str:
        parent = start.data.get("parent")
        parent_id = JournalSender(self.folder.parent, self._store).run_id() if parent else None
        name = str(start.data.get("name"))
        return self._store.ensure_run(str(start.data.get("run")), name, start.time_ms, parent_id)

    def _describe(self, run_id: str, start: Entry) -> None:
        self._store.set_tags(run_id, _strings(start.table("tags")))
        self._store.log_params(run_id, _strings(start.table("params")))

    def _recorded_before_resume(self, offset: int) -> set[tuple[str, int]]:
        """Metrics recorded before the last ``resume`` up to an offset.

        A resumed run begins again at its last checkpoint and records the steps behind it once
        more. A store cannot take a metric back, so the first recording stands there.
        """
        current: set[tuple[str, int]] = set()
        repeated: set[tuple[str, int]] = set()
        for entry in read_journal(self.journal):
            if entry.end > offset:
                break
            if entry.kind == "metrics":
                current.update((name, entry.step) for name in entry.table("values"))
            elif entry.kind == "resume":
                repeated = set(current)
        return repeated

    def _load(self) -> Delivery:
        state = self._states().get(self._store.name)
        return Delivery(**state) if isinstance(state, dict) else Delivery()

    def _save(self, delivery: Delivery) -> None:
        states = self._states() | {self._store.name: asdict(delivery)}
        write_whole(self.folder / STATE_NAME, json.dumps(states, indent=1) + "\n")

    def _states(self) -> dict[str, object]:
        try:
            states = json.loads((self.folder / STATE_NAME).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}  # nothing delivered, or a damaged file: delivering again is harmless
        return states if isinstance(states, dict) else {}


def find_journals(folder: Path) -> list[Path]:
    """The folders with a journal at and right below a run's folder, the parent first."""
    candidates = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    return [path for path in candidates if (path / FILE_NAME).is_file()]


def _grouped(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    """Neighbouring metric records together, up to one batch; every other record alone."""
    group: list[Entry] = []
    size = 0
    for entry in entries:
        count = len(entry.table("values"))
        if group and (entry.kind != "metrics" or size + count > METRICS_PER_CALL):
            yield group
            group, size = [], 0
        if entry.kind == "metrics":
            group.append(entry)
            size += count
        else:
            yield [entry]
    if group:
        yield group


def _is_permanent(error: Exception) -> bool:
    """Whether sending the same again can never succeed."""
    return getattr(error, "error_code", None) == "INVALID_PARAMETER_VALUE"


def _strings(table: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in table.items()}

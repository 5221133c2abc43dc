"""TensorBoard events without TensorFlow and without torch, with the journal's own times."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped] # ships no types
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped] # ships no types
from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # type: ignore[import-untyped] # ships no types
from tensorboard.summary.writer.event_file_writer import EventFileWriter  # type: ignore[import-untyped] # ships no types


class EventWriter:
    """Writes scalars and hyper-parameters into a folder of event files.

    Args:
        folder: Where to; made when absent.
        purge_step: First step that is recorded again after a resume: readers drop what former
            files hold from this step on, so that no step appears twice.
        flush_seconds: Longest time that an event stays in memory, seconds.
    """

    def __init__(
        self, folder: Path, *, purge_step: int | None = None, flush_seconds: float = 10.0
    ) -> None:
        self.folder = folder
        _await_new_second(folder)
        self._writer = EventFileWriter(str(folder), max_queue_size=256, flush_secs=flush_seconds)
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._writer.add_event(Event(wall_time=time.time(), step=purge_step, session_log=start))

    def scalars(self, values: Mapping[str, float], step: int, time_ms: int) -> None:
        """Write scalars of one step.

        Args:
            values: Name to number.
            step: The step.
            time_ms: When they were recorded, milliseconds since the epoch.
        """
        summary = Summary(
            value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        )
        self._writer.add_event(Event(wall_time=time_ms / 1000.0, step=step, summary=summary))

    def hparams(self, params: Mapping[str, object], run: str) -> None:
        """Write the hyper-parameters, for the HPARAMS page.

        Args:
            params: Flat name to value; what is no bool, number or string is written as its text.
            run: Identifies the run, so that two runs of equal parameters stay two.
        """
        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in params.items()
        }
        event = Event(wall_time=time.time(), step=0, summary=hparams_pb(plain, trial_id=run))
        self._writer.add_event(event)

    def flush(self) -> None:
        """Put everything into the file."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _await_new_second(folder: Path) -> None:
    """Wait until a new file sorts last: files are read by name, which begins with the second.

    Without it a resume within the same second could be read before the part that it continues.
    """
    names = [path.name.split(".")[3] for path in folder.glob("events.out.tfevents.*")]
    latest = max((int(name) for name in names if name.isdecimal()), default=0)
    deadline = time.monotonic() + 1.1
    while int(time.time()) <= latest and time.monotonic() < deadline:
        time.sleep(0.02)

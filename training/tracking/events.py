"""TensorBoard's share of a run: opened at the first metric, never a reason to stop training."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.tracking.journal import Recording
from training.tracking.tensorboard import EventWriter

_log = logging.getLogger(__name__)


class RunEvents:
    """Writes a run's metrics and hyper-parameters as TensorBoard events.

    A killed process takes its last seconds of unwritten events along, so a resumed run writes its
    journal's metrics anew, lets readers drop the former files, and passes over what it repeats:
    each step is there once.

    Args:
        folder: Folder of the event files.
        key: Identifies the run.
        params: Hyper-parameters, flat and without secrets.
        resume_step: Step of the checkpoint that the run goes on from; None for a new run.
        former: Metrics in the journal of a resumed run, each step once.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        params: Mapping[str, object],
        *,
        resume_step: int | None = None,
        former: Sequence[Recording] = (),
    ) -> None:
        self._folder = folder
        self._key = key
        self._params = params
        self._resume_step = resume_step
        self._former = former
        self._known = {
            (name, recording.step)
            for recording in former
            if resume_step is not None and recording.step >= resume_step
            for name in recording.values
        }
        self._writer: EventWriter | None = None
        self._failed = False

    def scalars(self, values: Mapping[str, float], step: int, time_ms: int) -> None:
        """Write the scalars of one step; the first failure gives a warning and ends the writing."""
        if self._failed:
            return
        values = {name: v for name, v in values.items() if (name, step) not in self._known}
        try:
            if self._writer is None:
                self._writer = self._open()
            self._writer.scalars(values, step, time_ms)
        except OSError as error:
            self._failed = True
            _log.warning(
                "%s: TensorBoard events cannot be written (%s); training goes on, the journal has "
                "every metric",
                self._folder,
                error,
            )

    def flush(self) -> None:
        """Put everything into the file."""
        if self._writer is not None and not self._failed:
            self._writer.flush()

    def close(self) -> None:
        """Flush and close the file."""
        if self._writer is not None and not self._failed:
            self._writer.close()
            self._writer = None

    def _open(self) -> EventWriter:
        purge = None if self._resume_step is None else 0
        writer = EventWriter(self._folder, purge_step=purge)
        writer.hparams(self._params, self._key)
        for recording in self._former:
            writer.scalars(recording.values, recording.step, recording.time_ms)
        return writer

"""Stop cleanly on SIGINT and SIGTERM: finish the step, write a checkpoint, then leave."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class StopRequest:
    """Notes the first SIGINT or SIGTERM while it is entered; a second one interrupts at once.

    The loop looks at :attr:`requested` where it can stop; nothing is interrupted half-way::

        with StopRequest() as stop:
            while not done and not stop.requested:
                ...

    Outside the main thread, where Python allows no handlers, it never requests anything.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        """The signal that asked for it, or None."""
        self._former: dict[signal.Signals, object] = {}

    @property
    def requested(self) -> bool:
        """Whether the run was asked to stop."""
        return self.signal is not None

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt(f"second {signal.Signals(number).name}")
        self.signal = signal.Signals(number)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what signal.signal returned
        self._former.clear()

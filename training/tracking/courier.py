"""Deliver journals in the background, so that a slow or absent store never holds up training."""

import contextlib
import logging
import threading
import time

from training.tracking.redact import Redactor
from training.tracking.sender import JournalSender

_log = logging.getLogger(__name__)

_LONGEST_PAUSE = 60.0


class Courier:
    """A thread that delivers journals every few seconds and keeps trying where the store fails.

    The first failure gives one warning, the next success one line; in between it is silent.

    Args:
        seconds: Time between two deliveries; after failures it doubles up to a minute.
        store_name: The store, for messages.
    """

    def __init__(self, seconds: float, store_name: str) -> None:
        self._seconds = seconds
        self._store_name = store_name
        self._senders: list[JournalSender] = []
        self._failures = 0
        self._round = 0
        self._changed = threading.Condition()
        self._wanted = False
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    @property
    def failing(self) -> bool:
        """Whether the last delivery failed."""
        return self._failures > 0

    def add(self, sender: JournalSender) -> None:
        """Take a journal on; the thread begins with the first one."""
        with self._changed:
            self._senders.append(sender)
        if not self._thread.ident:
            self._thread.start()

    def deliver(self, timeout: float) -> bool:
        """Deliver now and wait for it.

        Args:
            timeout: Longest wait, seconds.

        Returns:
            Whether everything that was in the journals has arrived.
        """
        if not self._thread.ident:
            return True
        with self._changed:
            # A round under way may have read the journals before; the one after it has not.
            target = self._round + 2
            end = time.monotonic() + timeout
            while self._round < target:
                self._wanted = True
                self._changed.notify_all()
                if self._round == target - 1 and not self._pending():
                    break
                left = end - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    break
                self._changed.wait(min(left, 0.2))
        return not self._pending()

    def close(self, timeout: float) -> bool:
        """Deliver what is left and stop; a store that hangs is left behind after the timeout."""
        arrived = self.deliver(timeout)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident:
            self._thread.join(0.0 if not arrived else 5.0)
        return arrived

    def _pending(self) -> bool:
        with contextlib.suppress(OSError):
            return any(sender.pending for sender in self._senders)
        return True

    def _work(self) -> None:
        while True:
            with self._changed:
                if not (self._wanted or self._closing):
                    self._changed.wait(self._pause())
                if self._closing:
                    return
                self._wanted = False
                senders = list(self._senders)
            self._deliver_all(senders)
            with self._changed:
                self._round += 1
                self._changed.notify_all()

    def _deliver_all(self, senders: list[JournalSender]) -> None:
        try:
            for sender in senders:
                sender.send()
        except Exception as error:  # noqa: BLE001 - no fault of a store may end a training
            self._failures += 1
            if self._failures == 1:
                _log.warning(
                    "tracking store %s does not take metrics (%s); training goes on, they are kept "
                    "in the run's journal and sent as soon as it answers",
                    self._store_name,
                    _first_line(error),
                )
        else:
            if self._failures:
                _log.warning("tracking store %s answers again; all is sent", self._store_name)
            self._failures = 0

    def _pause(self) -> float:
        return min(
            self._seconds * 2.0 ** min(self._failures, 6), max(_LONGEST_PAUSE, self._seconds)
        )


def _first_line(error: Exception) -> str:
    text = Redactor().text(f"{type(error).__name__}: {error}").strip()
    return text.splitlines()[0][:300]

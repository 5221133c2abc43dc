"""How far a training is: a bar on a terminal, a line now and then elsewhere."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from training.wording import duration

Mode = Literal["auto", "bar", "lines", "quiet"]
"""A bar; a plain line every few seconds; nothing; ``auto``: a bar on a terminal, else lines."""

_WINDOW_SECONDS = 10.0


class TrainingProgress:
    """Shows step rate, time left, reward and which seed of how many is trained.

    Args:
        total_steps: Environment steps of one seed, at least 1.
        seeds: Number of seeds.
        mode: See :data:`Mode`.
        seconds: Time between two lines.
        stream: Where to; standard error by default, so that output can be piped.
        clock: Seconds that only go forward; for tests.
    """

    def __init__(
        self,
        total_steps: int,
        *,
        seeds: int = 1,
        mode: Mode = "auto",
        seconds: float = 5.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if total_steps < 1 or seeds < 1:
            raise ValueError(
                f"progress: expected at least one step and one seed, found {total_steps}, {seeds}"
            )
        self._total = total_steps
        self._seeds = seeds
        self._seconds = seconds
        self._clock = clock
        self._stream = sys.stderr if stream is None else stream
        self._mode = _resolve(mode, self._stream)
        self._label = ""
        self._index = 1
        self._steps = 0
        self._reward: float | None = None
        self._history: deque[tuple[float, int]] = deque()
        self._last_line = -float("inf")
        self._last_steps = -1
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    @property
    def mode(self) -> Mode:
        """How it shows; never ``auto``."""
        return self._mode

    def begin_seed(self, index: int, seed: int, done: int = 0) -> None:
        """Begin with a seed.

        Args:
            index: The how manieth it is, from 1.
            seed: The seed.
            done: Steps that were taken before, by the run that is resumed.
        """
        self._finish_lines()
        self._index, self._steps, self._reward = index, done, None
        self._label = f"seed {seed} ({index}/{self._seeds})" if self._seeds > 1 else f"seed {seed}"
        self._history.clear()
        self._history.append((self._clock(), done))
        self._last_line, self._last_steps = self._clock(), done
        self._draw()

    def update(self, steps: int, reward: float | None = None) -> None:
        """Show where the seed is.

        Args:
            steps: Environment steps of this seed so far.
            reward: Recent mean reward of an episode; None: leave the last one.
        """
        now = self._clock()
        self._steps = steps
        self._reward = self._reward if reward is None else reward
        self._history.append((now, steps))
        while len(self._history) > 2 and self._history[1][0] < now - _WINDOW_SECONDS:
            self._history.popleft()
        self._draw()
        due = now - self._last_line >= self._seconds or steps >= self._total
        if self._mode == "lines" and due:
            self._write_line(now)

    def note(self, text: str) -> None:
        """Write a line without disturbing the bar; nothing when quiet."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif self._mode != "quiet":
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def rate(self) -> float | None:
        """Environment steps per second over the last seconds, or None before there is one."""
        (begin, first), (end, last) = self._history[0], self._history[-1]
        return (last - first) / (end - begin) if end > begin and last > first else None

    def seconds_left(self) -> float | None:
        """Time until all seeds are trained, at the present rate; None before there is one."""
        rate = self.rate()
        if rate is None:
            return None
        left = max(0, self._total - self._steps) + self._total * (self._seeds - self._index)
        return left / rate

    def line(self) -> str:
        """Where the training is, as one line."""
        share = min(1.0, self._steps / self._total)
        parts = [self._label, f"{self._steps:,} of {self._total:,} steps ({share:.0%})"]
        parts += self._words()
        return ", ".join(part for part in parts if part)

    def __enter__(self) -> Self:
        self._history.append((self._clock(), 0))
        if self._mode == "bar":
            console = Console(file=self._stream)
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[rate]}"),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.fields[reward]}"),
                console=console,
                expand=True,
            )
            self._task = self._progress.add_task("", total=self._total, rate="", left="", reward="")
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finish_lines()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _write_line(self, now: float) -> None:
        self._last_line, self._last_steps = now, self._steps
        self.note(self.line())

    def _finish_lines(self) -> None:
        """The last state of a seed, where no line has told it yet."""
        if self._mode == "lines" and self._label and self._steps != self._last_steps:
            self._write_line(self._clock())

    def _draw(self) -> None:
        if self._progress is None or self._task is None:
            return
        rate, left, reward = self._words()
        self._progress.update(
            self._task,
            completed=min(self._steps, self._total),
            description=self._label,
            rate=rate,
            left=left,
            reward=reward,
        )

    def _words(self) -> tuple[str, str, str]:
        rate, left = self.rate(), self.seconds_left()
        return (
            "" if rate is None else f"{rate:,.0f} steps/s",
            "" if left is None else f"{duration(left)} left",
            "" if self._reward is None else f"reward {self._reward:.4g}",
        )


def _resolve(mode: Mode, stream: TextIO) -> Mode:
    if mode not in ("auto", "bar", "lines", "quiet"):
        raise ValueError(f"progress: expected auto, bar, lines or quiet, found {mode!r}")
    if mode != "auto":
        return mode
    terminal = stream.isatty() and os.environ.get("TERM") not in ("dumb", "")
    return "bar" if terminal else "lines"

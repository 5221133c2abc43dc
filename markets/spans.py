"""Spans of rows for training, validation and test: by fraction, row, date, and walk-forward.

Spans follow each other in time. Between two of them `purge + embargo` rows belong to neither, taken
from the end of the earlier one: `purge` because what is decided in its last rows is settled in
the next span (set it to the horizon of labels or holdings), `embargo` because serial correlation
fades only after some more (Lopez de Prado, Advances in Financial Machine Learning, 2018,
section 7.4). The later span keeps its place, so walk-forward tests tile the axis without a hole.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from markets.errors import MarketDataError
from markets.times import TimeLike, show, to_ns


class SplitError(MarketDataError):
    """A split is impossible with the rows there are; the message says what is needed and found."""


class Rows(NamedTuple):
    """Rows `start` to `stop` (exclusive); a plain pair to every consumer."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.stop - self.start

    def slice(self) -> slice:
        """For indexing an array."""
        return slice(self.start, self.stop)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Three spans of one time axis, in order and without overlap.

    Attributes:
        name: Name in tables and folders, for example "fold-0".
        train: Rows to fit on.
        validation: Rows to choose between fits; empty if start == stop.
        test: Rows to judge on, once.

    Raises:
        SplitError: Train or test is empty, a span is reversed, or two overlap.
    """

    name: str
    train: Rows
    validation: Rows
    test: Rows

    def __post_init__(self) -> None:
        spans = {"train": self.train, "validation": self.validation, "test": self.test}
        for label, span in spans.items():
            least = 0 if label == "validation" else 1
            if span.start < 0 or span.size < least:
                raise SplitError(
                    f"split {self.name}.{label}: expected 0 <= start and at least {least} rows,"
                    f" found {tuple(span)}"
                )
        used = [(label, span) for label, span in spans.items() if span.size]
        for (one, earlier), (two, later) in pairwise(used):
            if earlier.stop > later.start:
                raise SplitError(
                    f"split {self.name}: expected {one} to end before {two} begins, found"
                    f" {tuple(earlier)} and {tuple(later)}"
                )


def by_rows(
    num_bars: int,
    *,
    train: tuple[int, int],
    validation: tuple[int, int] | None = None,
    test: tuple[int, int],
    purge: int = 0,
    embargo: int = 0,
    name: str = "rows",
) -> Split:
    """Split at given rows.

    Args:
        num_bars: Length of the time axis.
        train: First row and the row after the last.
        validation: The same; None for no validation.
        test: The same.
        purge: Rows left out after a span, >= 0.
        embargo: Further rows left out after a span, >= 0.
        name: Name of the split.

    Returns:
        The spans, the earlier ones cut so that `purge + embargo` rows lie before the next.

    Raises:
        SplitError: A span is empty after the cut, reversed, overlapping or outside the axis.
    """
    gap = gap_of(purge, embargo)
    chosen = Rows(*test)
    middle = Rows(chosen.start, chosen.start) if validation is None else Rows(*validation)
    for label, span in (("train", Rows(*train)), ("validation", middle), ("test", chosen)):
        if not 0 <= span.start <= span.stop <= num_bars:
            raise SplitError(
                f"split {name}.{label}: expected 0 <= start <= stop <= {num_bars} (rows), found"
                f" {tuple(span)}"
            )
    if validation is not None:
        middle = _cut("validation", middle, chosen, gap, name)
    following = chosen if validation is None else middle
    first = _cut("train", Rows(*train), following, gap, name)
    if validation is None:
        middle = Rows(first.stop, first.stop)
    return Split(name=name, train=first, validation=middle, test=chosen)


def gap_of(purge: int, embargo: int) -> int:
    """Rows between two spans; refuses negative numbers with a SplitError."""
    if purge < 0 or embargo < 0:
        raise SplitError(f"split: expected purge and embargo >= 0, found {purge} and {embargo}")
    return purge + embargo


def _cut(label: str, span: Rows, following: Rows, gap: int, name: str) -> Rows:
    """End a span `gap` rows before the next begins."""
    if span.stop > following.start:
        raise SplitError(
            f"split {name}: expected {label} to end before the next span begins, found"
            f" {tuple(span)} and {tuple(following)}"
        )
    stop = min(span.stop, following.start - gap)
    if stop <= span.start:
        raise SplitError(
            f"split {name}.{label}: {span.size} rows {tuple(span)} leave none after purge and"
            f" embargo of {gap} rows before row {following.start}"
        )
    return Rows(span.start, stop)


def by_date(
    ts_event: NDArray[np.int64],
    *,
    train: tuple[TimeLike, TimeLike],
    validation: tuple[TimeLike, TimeLike] | None = None,
    test: tuple[TimeLike, TimeLike],
    purge: int = 0,
    embargo: int = 0,
    name: str = "dates",
) -> Split:
    """Split at given times, both ends included; a date is the whole day.

    Args:
        ts_event: Time axis, ns UTC, shape (T,).
        train: First and last time.
        validation: The same; None for no validation.
        test: The same.
        purge: Rows left out after a span, >= 0.
        embargo: Further rows left out after a span, >= 0.
        name: Name of the split.

    Returns:
        The spans in row numbers.

    Raises:
        SplitError: No bar lies in a span, or as in `by_rows`.
        TimeError: A time cannot be read.
    """

    def rows(label: str, span: tuple[TimeLike, TimeLike]) -> tuple[int, int]:
        first, last = to_ns(span[0]), to_ns(span[1], last=True)
        start, stop = (int(i) for i in np.searchsorted(ts_event, [first, last + 1]))
        if start >= stop:
            axis = (
                f"the bars are from {show(int(ts_event[0]))} to {show(int(ts_event[-1]))}"
                if len(ts_event)
                else "there are no bars"
            )
            raise SplitError(
                f"split {name}.{label}: no bar from {show(first)} to {show(last)}; {axis}"
            )
        return start, stop

    return by_rows(
        len(ts_event),
        train=rows("train", train),
        validation=None if validation is None else rows("validation", validation),
        test=rows("test", test),
        purge=purge,
        embargo=embargo,
        name=name,
    )


def by_fraction(
    num_bars: int,
    *,
    validation: float = 0.15,
    test: float = 0.2,
    purge: int = 0,
    embargo: int = 0,
    name: str = "fraction",
) -> Split:
    """Split one axis: the last part is test, the part before it validation, the rest train.

    Args:
        num_bars: Length of the time axis.
        validation: Fraction of the rows, 0 <= validation < 1; 0 for none.
        test: Fraction of the rows, 0 < test < 1.
        purge: Rows left out after a span, >= 0.
        embargo: Further rows left out after a span, >= 0.
        name: Name of the split.

    Returns:
        The spans.

    Raises:
        SplitError: A fraction is out of range, or a span is left without rows.
    """
    if not (0 <= validation < 1 and 0 < test < 1 and validation + test < 1):
        raise SplitError(
            f"split {name}: expected 0 <= validation, 0 < test and validation + test < 1, found"
            f" {validation} and {test}"
        )
    last = num_bars - round(num_bars * test)
    middle = last - round(num_bars * validation)
    return by_rows(
        num_bars,
        train=(0, middle),
        validation=(middle, last) if validation > 0 else None,
        test=(last, num_bars),
        purge=purge,
        embargo=embargo,
        name=name,
    )

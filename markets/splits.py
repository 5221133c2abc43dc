"""Spans of rows for training, validation and test: by fraction, row, date, and walk-forward.

Spans follow each other in time. Between two of them `purge + embargo` rows belong to neither, taken
from the end of the earlier one: `purge` because what is decided in its last rows is settled in
the next span (set it to the horizon of labels or holdings), `embargo` because serial correlation
fades only after some more (Lopez de Prado, Advances in Financial Machine Learning, 2018,
section 7.4). The later span keeps its place, so walk-forward tests tile the axis without a hole.
"""

import dataclasses
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from markets.errors import MarketDataError
from markets.times import TimeLike, show, to_ns

_CONFIG = ConfigDict(extra="forbid")
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


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


@dataclasses.dataclass(frozen=True, kw_only=True)
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
    gap = _gap(purge, embargo)
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


def _gap(purge: int, embargo: int) -> int:
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


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class WalkForwardSplit:
    """Folds that walk through time: fit on the past, judge on what follows, move on.

    Fold k tests rows [first + k·step, first + k·step + test), with
    first = start + train + gap + (validation + gap if there is a validation) and
    gap = purge + embargo; every fold's training span has exactly `train` rows (rolling) or all
    rows from `start` on (expanding).
    """

    kind: Literal["walk_forward"] = "walk_forward"
    """Discriminator."""
    train: Size = 1260
    """Rows of a rolling training span, or of the first expanding one; 1260 is five years."""
    validation: Count = 0
    """Rows of each validation span; 0 for none."""
    test: Size = 252
    """Rows of each test span."""
    step: Size | None = None
    """Rows from one fold to the next, >= test; None means test: the tests tile the axis."""
    purge: Count = 0
    """Rows left out after a training or validation span: the horizon of what is decided there."""
    embargo: Count = 0
    """Further rows left out, against serial correlation."""
    expanding: bool = False
    """Every training span begins at `start` instead of moving along."""
    start: Count = 0
    """First row used, for example behind a warm-up."""
    short_last: bool = False
    """Keep a last fold whose test span is cut short by the end of the axis."""

    def splits(self, ts_event: NDArray[np.int64]) -> tuple[Split, ...]:
        """The folds on a time axis.

        Args:
            ts_event: Time axis, shape (T,); only its length counts.

        Returns:
            At least one split, in time order, named "fold-0" and so on.

        Raises:
            SplitError: The axis is too short for one fold, or step < test.
        """
        num_bars, gap = len(ts_event), self.purge + self.embargo
        step = self.test if self.step is None else self.step
        if step < self.test:
            raise SplitError(
                f"walk_forward.step: expected >= test ({self.test}), or tests overlap, found {step}"
            )
        middle = self.validation + gap if self.validation else 0
        first = self.start + self.train + gap + middle
        least = 1 if self.short_last else self.test
        if first + least > num_bars:
            raise SplitError(
                f"walk_forward: expected at least {first + least} rows (start {self.start}, train"
                f" {self.train}, validation {self.validation}, test {least}, gaps of {gap}), found"
                f" {num_bars}"
            )
        begins = range(first, num_bars - least + 1, step)
        return tuple(self._fold(k, begin, num_bars) for k, begin in enumerate(begins))

    def _fold(self, k: int, begin: int, num_bars: int) -> Split:
        gap = self.purge + self.embargo
        test = Rows(begin, min(begin + self.test, num_bars))
        following = test
        if self.validation:
            following = Rows(begin - gap - self.validation, begin - gap)
        stop = following.start - gap
        train = Rows(self.start if self.expanding else stop - self.train, stop)
        validation = following if self.validation else Rows(stop, stop)
        return Split(name=f"fold-{k}", train=train, validation=validation, test=test)


def walk_forward(  # noqa: PLR0913 - keyword form of the configuration
    num_bars: int,
    *,
    train: int,
    test: int,
    validation: int = 0,
    step: int | None = None,
    purge: int = 0,
    embargo: int = 0,
    expanding: bool = False,
) -> tuple[Split, ...]:
    """Walk-forward folds; `WalkForwardSplit` says what each argument means.

    Args:
        num_bars: Length of the time axis.
        train: Rows of a training span, >= 1.
        test: Rows of a test span, >= 1.
        validation: Rows of a validation span; 0 for none.
        step: Rows from fold to fold, >= test; None means test.
        purge: Rows left out after a span, >= 0.
        embargo: Further rows left out after a span, >= 0.
        expanding: Training spans grow instead of rolling.

    Returns:
        At least one split, in time order.

    Raises:
        SplitError: A size is out of its range or the axis too short for one fold.
    """
    sizes = {"train": train, "test": test, "step": 1 if step is None else step}
    for label, size in sizes.items():
        if size < 1:
            raise SplitError(f"walk_forward.{label}: expected >= 1, found {size}")
    if validation < 0:
        raise SplitError(f"walk_forward.validation: expected >= 0, found {validation}")
    _gap(purge, embargo)
    config = WalkForwardSplit(
        train=train,
        validation=validation,
        test=test,
        step=step,
        purge=purge,
        embargo=embargo,
        expanding=expanding,
    )
    return config.splits(np.arange(num_bars))


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class FractionSplit:
    """One split by fractions of the rows, see `by_fraction`."""

    kind: Literal["fraction"] = "fraction"
    """Discriminator."""
    validation: Fraction = 0.15
    """Fraction of the rows for validation, in [0, 1); 0 for none."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction of the rows for the test, in (0, 1); the last ones."""
    purge: Count = 0
    """Rows left out after a span."""
    embargo: Count = 0
    """Further rows left out after a span."""

    def splits(self, ts_event: NDArray[np.int64]) -> tuple[Split, ...]:
        """The one split on a time axis of ns UTC, shape (T,); errors as in `by_fraction`."""
        return (
            by_fraction(
                len(ts_event),
                validation=self.validation,
                test=self.test,
                purge=self.purge,
                embargo=self.embargo,
            ),
        )


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class DateSplit:
    """One split by dates, see `by_date`."""

    train: tuple[str, str]
    """First and last time, ISO 8601, both included; a date is the whole day."""
    test: tuple[str, str]
    """The same for the test."""
    kind: Literal["dates"] = "dates"
    """Discriminator."""
    validation: tuple[str, str] | None = None
    """The same for validation; None for none."""
    purge: Count = 0
    """Rows left out after a span."""
    embargo: Count = 0
    """Further rows left out after a span."""

    def splits(self, ts_event: NDArray[np.int64]) -> tuple[Split, ...]:
        """The one split on a time axis of ns UTC, shape (T,); errors as in `by_date`."""
        return (
            by_date(
                ts_event,
                train=self.train,
                validation=self.validation,
                test=self.test,
                purge=self.purge,
                embargo=self.embargo,
            ),
        )


SplitConfig = Annotated[FractionSplit | DateSplit | WalkForwardSplit, Field(discriminator="kind")]
"""How rows are divided, chosen by `kind`; each has `splits(ts_event)`."""

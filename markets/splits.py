"""How rows are divided: one split by fraction or by date, or folds that walk forward.

The spans themselves, and what `purge` and `embargo` mean, are described in `markets.spans`.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from markets.spans import Rows, Split, SplitError, by_date, by_fraction, by_rows, gap_of

__all__ = [
    "DateSplit",
    "FractionSplit",
    "Rows",
    "Split",
    "SplitConfig",
    "SplitError",
    "WalkForwardSplit",
    "by_date",
    "by_fraction",
    "by_rows",
    "walk_forward",
]

_CONFIG = ConfigDict(extra="forbid")
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


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
    gap_of(purge, embargo)
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

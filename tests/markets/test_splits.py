"""Spans never overlap, gaps are kept, and the impossible is refused."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from markets import (
    Rows,
    Split,
    SplitConfig,
    SplitError,
    WalkForwardSplit,
    by_date,
    by_fraction,
    by_rows,
    walk_forward,
)

DAILY = pd.date_range("2000-01-01", "2009-12-31", tz="UTC").as_unit("ns").asi8


def check(split: Split, num_bars: int, gap: int) -> None:
    """What holds for every split."""
    spans = [span for span in (split.train, split.validation, split.test) if span.size]
    assert split.train.size >= 1
    assert split.test.size >= 1
    assert spans[0].start >= 0
    assert spans[-1].stop <= num_bars
    for earlier, later in itertools.pairwise(spans):
        assert later.start - earlier.stop >= gap


sizes = st.integers(1, 60)
gaps = st.integers(0, 10)


@st.composite
def walks(draw: st.DrawFn) -> WalkForwardSplit:
    test = draw(sizes)
    return WalkForwardSplit(
        train=draw(sizes),
        validation=draw(st.integers(0, 30)),
        test=test,
        step=test + draw(st.integers(0, 20)),
        purge=draw(gaps),
        embargo=draw(gaps),
        expanding=draw(st.booleans()),
        start=draw(st.integers(0, 30)),
        short_last=draw(st.booleans()),
    )


@given(num_bars=st.integers(1, 400), config=walks())
def test_walk_forward(num_bars: int, config: WalkForwardSplit) -> None:
    train, validation, test, start = config.train, config.validation, config.test, config.start
    short, expanding = config.short_last, config.expanding
    step = config.step or test
    gap = config.purge + config.embargo
    needed = start + train + gap + (validation + gap if validation else 0) + (1 if short else test)
    axis = np.arange(num_bars)
    if num_bars < needed:
        with pytest.raises(SplitError, match=f"expected at least {needed} rows .*found {num_bars}"):
            config.splits(axis)
        return
    folds = config.splits(axis)
    for k, fold in enumerate(folds):
        check(fold, num_bars, gap)
        assert fold.name == f"fold-{k}"
        assert fold.train.start == (start if expanding else start + k * step)
        assert fold.train.size == train + (k * step if expanding else 0)
        assert fold.validation.size == validation
        assert fold.test.size == test or (short and k == len(folds) - 1)
        following = fold.validation if validation else fold.test
        assert following.start - fold.train.stop == gap
    for one, two in itertools.pairwise(folds):
        assert two.test.start - one.test.start == step
        assert one.test.stop <= two.test.start
    unused = num_bars - folds[-1].test.stop
    assert unused < step or short  # no further fold would fit
    if short:
        assert folds[-1].test.start + step >= num_bars


def test_walk_forward_by_hand() -> None:
    rolling = walk_forward(20, train=6, test=4, purge=1, embargo=1)
    assert [(f.train, f.test) for f in rolling] == [((0, 6), (8, 12)), ((4, 10), (12, 16)),
                                                    ((8, 14), (16, 20))]  # fmt: skip
    growing = walk_forward(20, train=6, validation=2, test=4, purge=1, expanding=True)
    assert [(f.train, f.validation, f.test) for f in growing] == [
        ((0, 6), (7, 9), (10, 14)),
        ((0, 10), (11, 13), (14, 18)),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": 0}, "train: expected >= 1, found 0"),
        ({"test": 0}, "test: expected >= 1, found 0"),
        ({"step": 0}, "step: expected >= 1, found 0"),
        ({"step": 3}, r"step: expected >= test \(4\).*found 3"),
        ({"validation": -1}, "validation: expected >= 0, found -1"),
        ({"purge": -1}, "purge and embargo >= 0, found -1 and 0"),
        ({"train": 100}, "expected at least 104 rows .*found 20"),
    ],
)
def test_impossible_walks_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SplitError, match=message):
        walk_forward(20, **{"train": 6, "test": 4, **change})


@given(
    num_bars=st.integers(1, 500), validation=st.floats(0, 0.6), test=st.floats(0.01, 0.6),
    purge=gaps, embargo=gaps,
)  # fmt: skip
def test_by_fraction(
    num_bars: int, validation: float, test: float, purge: int, embargo: int
) -> None:
    assume(validation + test < 1)
    gap = purge + embargo
    last = num_bars - round(num_bars * test)
    middle = last - round(num_bars * validation)
    room = [num_bars - last, middle - gap]
    if validation > 0:
        room.append(last - gap - middle)

    def split() -> Split:
        return by_fraction(num_bars, validation=validation, test=test, purge=purge, embargo=embargo)

    if min(room) < 1:
        with pytest.raises(SplitError):
            split()
        return
    check(split(), num_bars, gap)
    assert split().test == (last, num_bars)
    assert split().train == (0, middle - gap)


def test_by_fraction_by_hand() -> None:
    split = by_fraction(100, validation=0.1, test=0.2, purge=2, embargo=1)
    assert (split.train, split.validation, split.test) == ((0, 67), (70, 77), (80, 100))
    without = by_fraction(100, validation=0.0, test=0.25)
    assert (without.train, without.validation.size, without.test) == ((0, 75), 0, (75, 100))
    for validation, test in ((0.5, 0.5), (-0.1, 0.5), (0.1, 0.0)):
        with pytest.raises(SplitError, match=r"validation \+ test < 1"):
            by_fraction(100, validation=validation, test=test)


def test_by_date_by_hand() -> None:
    split = by_date(
        DAILY,
        train=("2000-01-01", "2005-12-31"),
        validation=("2006-01-01", "2006-12-31"),
        test=("2008-01-01", "2009-12-31"),
        purge=5,
        embargo=3,
    )
    day = pd.DatetimeIndex(DAILY)
    assert str(day[split.train.stop - 1].date()) == "2005-12-23"  # 8 days end before New Year
    assert str(day[split.validation.start].date()) == "2006-01-01"
    assert str(day[split.validation.stop - 1].date()) == "2006-12-31"  # a year away from the test
    assert str(day[split.test.start].date()) == "2008-01-01"
    assert split.test.stop == len(DAILY)


@given(data=st.data(), gap=st.integers(0, 5))
def test_by_date_holds_what_it_was_asked(data: st.DataObject, gap: int) -> None:
    days = sorted(data.draw(st.lists(st.integers(0, 3000), min_size=6, max_size=6, unique=True)))
    times = [str(pd.Timestamp(int(DAILY[d])).date()) for d in days]
    pairs = list(zip(times[::2], times[1::2], strict=True))
    rooms = [days[2] - gap - days[0], days[4] - gap - days[2]]
    if min(rooms) < 1:
        with pytest.raises(SplitError, match="leave none after purge"):
            by_date(DAILY, train=pairs[0], validation=pairs[1], test=pairs[2], purge=gap)
        return
    split = by_date(DAILY, train=pairs[0], validation=pairs[1], test=pairs[2], purge=gap)
    check(split, len(DAILY), gap)
    assert split.test == (days[4], days[5] + 1)
    assert (split.train.start, split.validation.start) == (days[0], days[2])
    assert split.train.stop == min(days[1] + 1, days[2] - gap)


def test_dates_without_bars_are_refused() -> None:
    with pytest.raises(SplitError, match=r"split dates.test: no bar from 2011-01-01 to"):
        by_date(DAILY, train=("2000-01-01", "2001-01-01"), test=("2011-01-01", "2012-01-01"))
    with pytest.raises(SplitError, match="there are no bars"):
        by_date(DAILY[:0], train=("2000", "2001"), test=("2002", "2003"))
    with pytest.raises(SplitError, match="expected train to end before"):
        by_date(DAILY, train=("2000-01-01", "2002-01-01"), test=("2001-01-01", "2003-01-01"))


def test_rows_outside_are_refused() -> None:
    with pytest.raises(SplitError, match=r"split rows.test: expected 0 <= start <= stop <= 10"):
        by_rows(10, train=(0, 5), test=(5, 11))
    with pytest.raises(SplitError, match=r"leave none after purge and embargo of 5 rows"):
        by_rows(10, train=(0, 5), test=(5, 10), purge=3, embargo=2)
    with pytest.raises(SplitError, match=r"test: expected 0 <= start and at least 1 rows"):
        by_rows(10, train=(0, 5), test=(6, 6))
    split = by_rows(10, train=(0, 4), validation=(4, 6), test=(6, 10), purge=1)
    assert (split.train, split.validation, split.test) == ((0, 3), (4, 5), (6, 10))


def test_a_split_refuses_overlap_itself() -> None:
    with pytest.raises(SplitError, match="expected train to end before test begins"):
        Split(name="x", train=Rows(0, 5), validation=Rows(5, 5), test=Rows(4, 9))
    with pytest.raises(SplitError, match=r"x\.train: expected 0 <= start and at least 1 rows"):
        Split(name="x", train=Rows(5, 5), validation=Rows(5, 5), test=Rows(5, 9))


def test_rows_are_a_pair_and_a_slice() -> None:
    rows = Rows(2, 5)
    start, stop = rows
    assert (start, stop, rows.size, rows) == (2, 5, 3, (2, 5))
    assert np.arange(9)[rows.slice()].tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    "raw",
    [
        {"kind": "fraction", "test": 0.3},
        {"kind": "dates", "train": ["2000-01-01", "2004-12-31"], "test": ["2005-01-01", "2006"]},
        {"kind": "walk_forward", "train": 1000, "test": 500, "purge": 2},
    ],
)
def test_configurations(raw: dict[str, object]) -> None:
    adapter: TypeAdapter[SplitConfig] = TypeAdapter(SplitConfig)
    config = adapter.validate_python(raw)
    splits = config.splits(DAILY)
    assert len(splits) == (5 if raw["kind"] == "walk_forward" else 1)
    for split in splits:
        check(split, len(DAILY), 2 if raw["kind"] == "walk_forward" else 0)
    for wrong in ({"colour": 1}, {"purge": -1}, {"kind": "random"}):
        with pytest.raises(ValidationError):
            adapter.validate_python({**raw, **wrong})

"""Bars as a value: immutable, sliced, hashed, adjusted with what was known."""

import copy
import dataclasses
import hashlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from markets import Bars, BarsError, CorporateActions, Instrument

DAY = 86_400_000_000_000
START = pd.Timestamp("2024-01-02").value


def actions_of(*rows: tuple[str, int, str, float]) -> CorporateActions:
    """Rows of symbol, day (0 is the first bar's), kind, value."""
    frame = pd.DataFrame(rows, columns=["symbol", "day", "kind", "value"])
    return CorporateActions.from_pandas(
        frame.assign(ex_date=pd.to_datetime(START + frame["day"] * DAY))
    )


def flat(
    num_bars: int, *symbols: str, actions: CorporateActions | None = None, price: float = 100.0
) -> Bars:
    """Bars at one price, one a day."""
    shape = (num_bars, len(symbols))
    prices = np.full(shape, price)
    return Bars.from_arrays(
        START + np.arange(num_bars) * DAY,
        symbols,
        open=prices, high=prices, low=prices, close=prices, volume=np.full(shape, 1000.0),
        actions=actions,
    )  # fmt: skip


@st.composite
def markets(draw: st.DrawFn) -> Bars:
    """Random valid bars with holes and actions."""
    num_bars, assets = draw(st.integers(2, 12)), draw(st.integers(1, 4))
    name = st.text("ABCDE.-é", min_size=1, max_size=4)
    symbols = draw(st.lists(name, min_size=assets, max_size=assets, unique=True))
    steps = draw(st.lists(st.integers(1, 5 * DAY), min_size=num_bars, max_size=num_bars))
    ts_event = START + np.cumsum(steps)
    price = st.floats(0.01, 1e6)
    four = np.sort(draw(hnp.arrays(np.float64, (4, num_bars, assets), elements=price)), axis=0)
    # Below the smallest normal number a product has no relative precision left to test.
    traded = st.floats(0, 1e12, allow_subnormal=False)
    volume = draw(hnp.arrays(np.float64, (num_bars, assets), elements=traded))
    hole = draw(hnp.arrays(np.bool_, (num_bars, assets)))
    hole[draw(st.integers(0, num_bars - 1))] = False
    four[:, hole] = np.nan
    volume[hole] = np.nan
    swap = draw(st.booleans())
    open_, close = (four[1], four[2]) if swap else (four[2], four[1])
    row = st.tuples(
        st.sampled_from(symbols), st.integers(-3, 60), st.just("split"), st.floats(0.05, 20.0)
    )
    pay = st.tuples(
        st.sampled_from(symbols), st.integers(-3, 60), st.just("dividend"), st.floats(0.01, 5.0)
    )
    key = lambda item: (item[0], item[1], item[2])  # noqa: E731 - one line
    rows = draw(st.lists(row | pay, max_size=6, unique_by=key))
    return Bars.from_arrays(
        ts_event, symbols, open=open_, high=four[3], low=four[0], close=close, volume=volume,
        actions=actions_of(*rows),
    )  # fmt: skip


@given(bars=markets(), layout=st.sampled_from(["long", "wide"]))
def test_a_round_trip_through_pandas_is_exact(bars: Bars, layout: Literal["long", "wide"]) -> None:
    back = Bars.from_pandas(
        bars.to_pandas(layout), instruments=bars.instruments, actions=bars.actions
    )
    assert back == bars
    assert back.sha256() == bars.sha256()
    for name in ("ts_event", "open", "high", "low", "close", "volume", "missing", "split_TA"):
        np.testing.assert_array_equal(getattr(back, name), getattr(bars, name))


@given(bars=markets(), data=st.data())
def test_a_slice_carries_its_actions(bars: Bars, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, bars.num_bars - 1))
    stop = data.draw(st.integers(start + 1, bars.num_bars))
    part = bars.rows(start, stop)
    np.testing.assert_array_equal(part.split_TA, bars.split_TA[start:stop])
    np.testing.assert_array_equal(part.dividend_TA, bars.dividend_TA[start:stop])
    np.testing.assert_array_equal(part.close, bars.close[start:stop])
    # The table of the slice alone places them on the same bars.
    split_TA, dividend_TA = part.actions.on_axis(part.ts_event, part.symbols)
    np.testing.assert_allclose(split_TA, part.split_TA, rtol=1e-12)
    np.testing.assert_allclose(dividend_TA, part.dividend_TA, rtol=1e-12)
    stepwise = bars.rows(start, bars.num_bars).rows(0, stop - start)
    assert stepwise == part


def test_actions_of_one_gap_are_joined_in_a_slice() -> None:
    """Two splits and three dividends on days without bars fall on the bar behind the gap."""
    actions = actions_of(
        ("A", 2, "dividend", 3.0),
        ("A", 3, "split", 2.0),
        ("A", 4, "dividend", 0.5),
        ("A", 4, "split", 3.0),
        ("A", 6, "dividend", 0.5),
        ("A", 7, "split", 0.5),
        ("B", 3, "dividend", 1.0),
    )
    prices = np.full((4, 2), 100.0)
    columns: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    days = np.array([0, 1, 6, 7])
    bars = Bars.from_arrays(START + days * DAY, ["A", "B"], **columns, actions=actions)
    assert bars.split_TA.tolist() == [[1.0, 1.0], [1.0, 1.0], [6.0, 1.0], [0.5, 1.0]]
    # Three of an old share are 0.5 of each of its six new ones.
    assert bars.dividend_TA[2].tolist() == [1.5, 1.0]
    part = bars.rows(2, 4)
    assert part.actions == actions_of(
        ("A", 6, "split", 6.0),
        ("A", 6, "dividend", 1.5),
        ("A", 7, "split", 0.5),
        ("B", 6, "dividend", 1.0),
    )
    split_TA, dividend_TA = part.actions.on_axis(part.ts_event, part.symbols)
    np.testing.assert_array_equal(split_TA, bars.split_TA[2:])
    np.testing.assert_array_equal(dividend_TA, bars.dividend_TA[2:])
    np.testing.assert_array_equal(part.split_TA, bars.split_TA[2:])


@given(bars=markets(), data=st.data())
def test_split_adjustment_is_causal(bars: Bars, data: st.DataObject) -> None:
    """The past of a longer file is the same: no later action changes an earlier value."""
    stop = data.draw(st.integers(1, bars.num_bars))
    whole, known = bars.split_adjusted(), bars.rows(0, stop).split_adjusted()
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(known, name), getattr(whole, name)[:stop])
    np.testing.assert_array_equal(known.dividend_TA, whole.dividend_TA[:stop])
    assert (whole.split_TA == 1.0).all()


@given(bars=markets())
def test_split_adjustment_keeps_money(bars: Bars) -> None:
    """Notional, and dividends per notional, are the same before and after."""
    adjusted = bars.split_adjusted()
    np.testing.assert_allclose(
        adjusted.close * adjusted.volume, bars.close * bars.volume, rtol=1e-12
    )
    np.testing.assert_allclose(
        adjusted.dividend_TA / adjusted.close, bars.dividend_TA / bars.close, rtol=1e-9, atol=1e-300
    )


@given(bars=markets())
def test_nothing_in_bars_can_be_written(bars: Bars) -> None:
    for variant in (bars, bars.rows(0, 1), bars.select(bars.symbols[:1]), bars.split_adjusted()):
        names = ("ts_event", "open", "high", "low", "close", "volume", "missing")
        arrays = [getattr(variant, name) for name in (*names, "split_TA", "dividend_TA")]
        for array in [*arrays, variant.actions.ex_ts, variant.actions.value]:
            assert not array.flags.writeable
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
        with pytest.raises(dataclasses.FrozenInstanceError):
            variant.close = np.zeros(1)  # type: ignore[misc]  # that is the test


def test_copies_and_other_processes_get_read_only_arrays_too() -> None:
    bars = flat(3, "A", actions=actions_of(("A", 1, "split", 2.0)))
    assert bars.split_TA[1, 0] == 2.0
    for twin in (copy.deepcopy(bars), copy.copy(bars), pickle.loads(pickle.dumps(bars))):
        assert twin == bars
        for array in (twin.close, twin.missing, twin.ts_event, twin.actions.value, twin.split_TA):
            assert not array.flags.writeable


def test_the_arrays_given_are_copied() -> None:
    prices = np.full((2, 1), 5.0)
    bars = Bars.from_arrays(
        [START, START + DAY], ["A"], open=prices, high=prices, low=prices, close=prices,
        volume=prices,
    )  # fmt: skip
    prices[:] = -1.0
    assert bars.close.tolist() == [[5.0], [5.0]]


def test_sha256_is_what_its_docstring_says() -> None:
    bars = flat(2, "A", "B")
    sha = hashlib.sha256(b"perennial.bars.v1\0A\0B\0")
    sha.update(np.array([2, 2, START, START + DAY], "<i8").tobytes())
    for value in (100.0, 100.0, 100.0, 100.0, 1000.0):
        sha.update(np.full(4, value, "<f8").tobytes())
    sha.update(bytes(4))
    sha.update(hashlib.sha256(b"perennial.actions.v1\0").digest())
    assert bars.sha256() == sha.hexdigest()
    assert bars.sha256() == "a0ffc7d31b3778aac1d752505b27449b24779e215ab4264edeb6d7c2bf55a4b5"


def test_sha256_tells_any_change_apart() -> None:
    bars = flat(3, "A", "B")
    variants = [
        bars.rows(0, 2),
        bars.select(["B", "A"]),
        bars.select(["A"]),
        flat(3, "A", "C"),
        flat(3, "A", "B", price=100.5),
        flat(3, "A", "B", actions=actions_of(("A", 1, "split", 2.0))),
        flat(3, "A", "B", actions=actions_of(("A", 1, "dividend", 2.0))),
        flat(3, "A", "B", actions=actions_of(("A", 2, "split", 2.0))),
    ]
    digests = {variant.sha256() for variant in (bars, *variants)}
    assert len(digests) == 1 + len(variants)


def test_sha256_does_not_depend_on_the_sign_of_zero_or_the_kind_of_nan(two: pd.DataFrame) -> None:
    zero = two.assign(volume=[0.0, 110.0, 120.0, 200.0, 210.0])
    minus = two.assign(volume=[-0.0, 110.0, 120.0, 200.0, 210.0])
    assert Bars.from_pandas(zero).sha256() == Bars.from_pandas(minus).sha256()
    wide = Bars.from_pandas(two).to_pandas("wide")
    odd = np.array([0xFFF8DEADBEEF0001], "u8").view("f8")[0]
    assert (
        Bars.from_pandas(wide.where(wide.notna(), odd)).sha256() == Bars.from_pandas(two).sha256()
    )


def test_sha256_is_the_same_in_another_process(two: pd.DataFrame, tmp_path: Path) -> None:
    two.iloc[::-1].sort_values("date", kind="stable").to_csv(tmp_path / "two.csv", index=False)
    program = (
        "import pandas as pd; from markets import Bars;"
        f"frame = pd.read_csv({str(tmp_path / 'two.csv')!r}, parse_dates=['date']);"
        "print(Bars.from_pandas(frame[frame.columns[::-1]]).sha256())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={"PYTHONHASHSEED": "7", "PATH": ""},
    )
    assert done.stdout.strip() == Bars.from_pandas(two).sha256()


def test_equality_counts_instruments_but_not_repairs(two: pd.DataFrame) -> None:
    bars = Bars.from_pandas(two)
    ticks = Bars.from_pandas(two, instruments=[Instrument("A", tick=1.0), Instrument("B")])
    assert bars != ticks
    assert bars.sha256() == ticks.sha256()
    assert bars != "bars"
    assert len({bars, Bars.from_pandas(two), ticks}) == 2
    assert "A" in repr(bars)
    assert "2024-01-02 to 2024-01-04" in repr(bars)


def test_between_includes_both_ends(two: pd.DataFrame) -> None:
    bars = Bars.from_pandas(two)
    assert bars.between("2024-01-03", "2024-01-04") == bars.rows(1, 3)
    noon = Bars.from_pandas(two.assign(date=two["date"] + pd.Timedelta(hours=12)))
    assert noon.between("2024-01-02", "2024-01-03").num_bars == 2  # a date is the whole day
    assert noon.between("2024-01-03", pd.Timestamp("2024-01-04T11:59")).num_bars == 1


def test_between_refuses_empty_spans_and_symbols(two: pd.DataFrame) -> None:
    bars = Bars.from_pandas(two)
    with pytest.raises(BarsError, match=r"no bar from 2025-01-01 .* bars are from 2024-01-02"):
        bars.between("2025-01-01", "2025-12-31")
    with pytest.raises(
        BarsError, match=r"\['B'\] have no bar at all from 2024-01-01 to 2024-01-02"
    ):
        bars.between("2024-01-01", "2024-01-02")
    with pytest.raises(BarsError, match="expected 0 <= start < stop <= 3, found start=2, stop=2"):
        bars.rows(2, 2)
    assert bars.rows(0, 1).missing.tolist() == [[False, True]]  # rows are the caller's arithmetic


@pytest.mark.parametrize("symbols", [[], ["A", "A"], ["A", "Z"]])
def test_select_refuses(two: pd.DataFrame, symbols: list[str]) -> None:
    with pytest.raises(BarsError, match=r"expected different symbols out of \['A', 'B'\]"):
        Bars.from_pandas(two).select(symbols)


def test_the_constructor_validates() -> None:
    prices = np.full((2, 1), 5.0)
    columns = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    good: dict[str, Any] = {"ts_event": [START, START + DAY], "symbols": ["A"], **columns}
    Bars.from_arrays(**good)
    for change, message in (
        ({"ts_event": [START, START]}, r"row 1 .* expected a time after"),
        ({"ts_event": []}, "no data"),
        ({"symbols": ["A", "A"]}, "expected different symbols"),
        ({"close": np.full((2, 2), 5.0)}, r"close: expected shape \(2, 1\), found \(2, 2\)"),
        ({"low": np.full((2, 1), 6.0)}, "2 faults"),
        ({"open": prices * np.nan}, "open: expected a number"),
    ):
        with pytest.raises(BarsError, match=message):
            Bars.from_arrays(**{**good, **change})
    bars = Bars.from_arrays(**good)
    with pytest.raises(BarsError, match="missing is True at row 0"):
        dataclasses.replace(bars, missing=np.ones((2, 1), bool))
    with pytest.raises(BarsError, match=r"expected instruments of \['A'\], found \['B'\]"):
        dataclasses.replace(bars, instruments=(Instrument("B"),))


def test_bars_per_year() -> None:
    assert flat(400, "A").bars_per_year == pytest.approx(365.25)
    minutes = np.concatenate([np.arange(60), 10_000_000 + np.arange(60)]) * 60_000_000_000
    prices = np.ones((120, 1))
    hour = Bars.from_arrays(
        START + minutes, ["A"], open=prices, high=prices, low=prices, close=prices, volume=prices
    )
    assert hour.bars_per_year == pytest.approx(365.25 * 24 * 60)  # the hole of 19 years is left out
    with pytest.raises(BarsError, match="at least 2 bars or a calendar"):
        _ = flat(2, "A").rows(0, 1).bars_per_year

"""The users' door: every form of frame that is read, and a clear refusal of the others."""

from collections.abc import Callable
from typing import Literal, cast

import numpy as np
import pandas as pd
import pytest

from markets import Bars, BarsError, Instrument, InstrumentError

Layout = Literal["long", "wide"]
DAY = 86_400_000_000_000
JAN_2 = pd.Timestamp("2024-01-02").value
FIELDS = ["open", "high", "low", "close", "volume"]


def wide(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.pivot_table(index="date", columns="symbol", values=FIELDS)


def test_a_long_frame_is_laid_out_on_one_axis(two: pd.DataFrame) -> None:
    bars = Bars.from_pandas(two)
    assert bars.symbols == ("A", "B")
    assert bars.ts_event.tolist() == [JAN_2, JAN_2 + DAY, JAN_2 + 2 * DAY]
    np.testing.assert_array_equal(bars.close, [[10.2, np.nan], [11.2, 20.2], [12.2, 21.2]])
    np.testing.assert_array_equal(bars.missing, [[False, True], [False, False], [False, False]])
    assert bars.num_bars == len(bars) == 3
    assert bars.num_assets == 2
    assert bars.span == (pd.Timestamp("2024-01-02", tz="UTC"), pd.Timestamp("2024-01-04", tz="UTC"))


def test_every_layout_gives_the_same_bars(two: pd.DataFrame) -> None:
    expected = Bars.from_pandas(two)
    by_field = wide(two)
    by_symbol = by_field.swaplevel(axis=1)
    shuffled = by_field.iloc[:, [7, 2, 9, 0, 4, 1, 3, 8, 5, 6]]
    titled = two.rename(columns=str.title)
    extra = two.assign(adj_close=1.0, vintage="x")
    indexed = two.set_index("date")
    both = two.set_index(["date", "symbol"])
    other_rows = two.sort_values(["date", "symbol"], ascending=[True, False])
    category = two.astype({"symbol": "category"})
    objects = two.astype(dict.fromkeys(FIELDS, object))
    nullable = two.astype(dict.fromkeys(FIELDS, "Float64"))
    for frame in (
        by_field, by_symbol, shuffled, titled, extra, indexed, both, other_rows, category, objects,
        nullable,
    ):  # fmt: skip
        assert Bars.from_pandas(frame) == expected


@pytest.mark.parametrize("layout", ["long", "wide"])
def test_round_trip_keeps_order_missing_rows_and_actions(two: pd.DataFrame, layout: Layout) -> None:
    bars = Bars.from_pandas(two).select(["B", "A"])
    frame = bars.to_pandas(layout)
    assert Bars.from_pandas(frame, instruments=bars.instruments) == bars
    only_b = bars.select(["B"])  # its first row has no bar at all
    assert Bars.from_pandas(only_b.to_pandas(layout)) == only_b
    assert Bars.from_pandas(frame) != bars  # sorted symbols: another order of columns


def test_to_pandas_gives_copies(two: pd.DataFrame) -> None:
    bars = Bars.from_pandas(two)
    before = bars.sha256()
    layouts: tuple[Layout, ...] = ("long", "wide")
    for layout in layouts:
        frame = bars.to_pandas(layout)
        frame.iloc[0, -1] = 1e9
        assert bars.close[0, 0] == 10.2
        assert bars.volume[0, 0] == 100.0
        assert (bars.sha256(), Bars.from_pandas(two).sha256()) == (before, before)


def test_the_input_is_neither_changed_nor_kept(two: pd.DataFrame) -> None:
    kept = two.copy(deep=True)
    bars = Bars.from_pandas(two)
    pd.testing.assert_frame_equal(two, kept)
    two.loc[0, "close"] = 99.0
    assert bars.close[0, 0] == 10.2


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_instants_of_any_zone_become_utc(two: pd.DataFrame, zone: str) -> None:
    naive = two.assign(date=two["date"] + pd.Timedelta(hours=15, minutes=30))
    aware = naive.assign(date=naive["date"].dt.tz_localize("UTC").dt.tz_convert(zone))
    assert Bars.from_pandas(aware) == Bars.from_pandas(naive)


def test_midnights_of_another_zone_are_dates(two: pd.DataFrame) -> None:
    local = two.assign(date=two["date"].dt.tz_localize("America/New_York"))
    assert Bars.from_pandas(local) == Bars.from_pandas(two)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_unit_of_the_times_does_not_matter(
    two: pd.DataFrame, unit: Literal["s", "ms", "us", "ns"]
) -> None:
    frame = two.set_index("date")
    frame.index = pd.DatetimeIndex(frame.index).as_unit(unit)
    assert Bars.from_pandas(frame) == Bars.from_pandas(two)


def test_one_symbol_is_named_by_its_instrument(two: pd.DataFrame) -> None:
    frame = two[two["symbol"] == "A"].drop(columns="symbol")
    assert Bars.from_pandas(frame, instruments=[Instrument("SPY")]).symbols == ("SPY",)
    with pytest.raises(BarsError, match=r"column or index level named one of .*symbol"):
        Bars.from_pandas(frame)


def test_instruments_order_the_columns(two: pd.DataFrame) -> None:
    bars = Bars.from_pandas(two, instruments=[Instrument("B", tick=0.05), Instrument("A")])
    assert bars.symbols == ("B", "A")
    assert bars.instruments[0].tick == 0.05
    np.testing.assert_array_equal(bars.close[0], [np.nan, 10.2])


def test_instruments_must_match_the_frame(two: pd.DataFrame) -> None:
    with pytest.raises(InstrumentError, match=r"none for \['B'\]"):
        Bars.from_pandas(two, instruments=[Instrument("A")])
    three = [Instrument("A"), Instrument("B"), Instrument("C")]
    with pytest.raises(BarsError, match=r"\['C'\] have no bar at all"):
        Bars.from_pandas(two, instruments=three)
    with pytest.raises(InstrumentError, match=r"found two for \['A'\]"):
        Bars.from_pandas(two, instruments=[Instrument("A"), Instrument("B"), Instrument("A")])


def _one_level_too_many(frame: pd.DataFrame) -> pd.DataFrame:
    columns = pd.MultiIndex.from_product([["x"], ["y"], frame.columns])
    return frame.set_axis(columns, axis=1)


def _fields_in_no_level(frame: pd.DataFrame) -> pd.DataFrame:
    return wide(frame).rename(columns={"open": "first"})


def _twice(frame: pd.DataFrame) -> pd.DataFrame:
    levels = wide(frame)
    return pd.concat([levels, levels[[("close", "A")]]], axis=1)


REFUSED: dict[str, tuple[Callable[[pd.DataFrame], object], str]] = {
    "empty": (lambda f: f.iloc[:0], "no data: the frame has 0 rows"),
    "series": (lambda f: f["close"], "expected a pandas DataFrame, found Series"),
    "no volume": (lambda f: f.drop(columns="volume"), r"not found: \['volume'\].*volume=0.0"),
    "text times": (lambda f: f.assign(date=f["date"].astype(str)), "an explicit format="),
    "no times": (lambda f: f.drop(columns="date"), "expected a DatetimeIndex or a datetime column"),
    "text": (lambda f: f.astype({"close": object}).replace({"close": {11.2: "n/a"}}),
             "row 1 close: expected a number, found 'n/a'"),
    "no symbol": (lambda f: f.assign(symbol=f.symbol.where(f.index > 0)), "row 0: symbol is empty"),
    "two names": (lambda f: f.assign(Close=f["close"]), "two columns are named close"),
    "three levels": (_one_level_too_many, r"expected one column level .* found 3"),
    "no fields": (_fields_in_no_level, "exactly one of the two column levels, found them in 0"),
    "a column twice": (_twice, "column close of A is there twice"),
    "a column lacking": (lambda f: wide(f).drop(columns=[("close", "B")]), r"B\.close"),
    "far future": (lambda f: f.assign(date=f["date"].dt.as_unit("s") + pd.DateOffset(years=500)),
                   "outside the years 1678 to 2262"),
    "wide text index": (lambda f: wide(f).set_axis(["a", "b", "c"]), "index: expected times"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_any_other_form_is_refused_with_its_reason(two: pd.DataFrame, name: str) -> None:
    change, message = REFUSED[name]
    with pytest.raises(BarsError, match=message):
        Bars.from_pandas(cast("pd.DataFrame", change(two)))


def test_one_bar_is_refused_unless_it_is_a_piece_of_a_stream(two: pd.DataFrame) -> None:
    one = two.iloc[2:3]
    with pytest.raises(BarsError, match="expected at least 2 bars, found 1"):
        Bars.from_pandas(one)
    instruments = [Instrument("A"), Instrument("B")]
    bars = Bars.from_pandas(one, instruments=instruments, partial=True)
    assert bars.missing.tolist() == [[False, True]]
    halted = Bars.from_pandas(two).to_pandas("wide").iloc[2:]
    halted.loc[:, (slice(None), "B")] = np.nan
    assert bars == Bars.from_pandas(halted, instruments=instruments, partial=True)


def test_a_midnight_in_a_stream_is_an_instant() -> None:
    hour = pd.DataFrame(
        {name: [1.0] for name in FIELDS},
        index=pd.DatetimeIndex(["2024-01-02 00:00"], tz="Asia/Tokyo"),
    )
    bars = Bars.from_pandas(hour, instruments=[Instrument("BTC", calendar="24/7")], partial=True)
    assert bars.ts_event[0] == pd.Timestamp("2024-01-01T15:00Z").value


def test_a_symbol_without_any_bar_is_refused(two: pd.DataFrame) -> None:
    frame = two.copy()
    frame.loc[frame["symbol"] == "B", FIELDS] = np.nan
    with pytest.raises(
        BarsError, match=r"\['B'\] have no bar at all from 2024-01-02 to 2024-01-04"
    ):
        Bars.from_pandas(frame)

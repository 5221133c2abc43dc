"""One error with the first faults and what may be done; repairs that are recorded."""

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars, BarsError, Fault, Instrument
from markets.repairs import out_of_order
from markets.validation import SHOWN

SPY = [Instrument("SPY")]
Case = Callable[[str], pd.DataFrame]
FIELDS = ["open", "high", "low", "close", "volume"]


def broken(two: pd.DataFrame, row: int, **values: float) -> pd.DataFrame:
    frame = two.copy()
    for name, value in values.items():
        frame.loc[row, name] = value
    return frame


def test_a_fault_says_where_what_and_what_else(two: pd.DataFrame) -> None:
    with pytest.raises(BarsError) as caught:
        Bars.from_pandas(broken(two, 3, low=-1.0))
    assert caught.value.total == 1
    assert caught.value.faults == (
        Fault(3, pd.Timestamp("2024-01-03").value, "B", "low", "-1",
              "> 0 (the instrument is not additive)"),
    )  # fmt: skip
    text = str(caught.value)
    assert "row 3 (2024-01-03) B.low: expected > 0" in text
    assert "repair='drop'" in text
    assert "repair='mask'" in text
    assert "repair='clip'" not in text  # it cannot mend this


@pytest.mark.parametrize(
    ("values", "column", "expected"),
    [
        ({"close": np.nan}, "close", "a number"),
        ({"volume": np.nan}, "volume", "a number"),
        ({"open": np.inf}, "open", "a finite number"),
        ({"volume": np.inf}, "volume", "a finite number"),
        ({"volume": -1.0}, "volume", ">= 0"),
        ({"high": 10.9}, "high", ">= 11.2, the larger of open and close"),
        ({"low": 11.1}, "low", "<= 11, the smaller of open and close"),
        ({"open": 0.0, "low": 0.0}, "open", "> 0"),
    ],
)
def test_every_rule(
    two: pd.DataFrame, values: dict[str, float], column: str, expected: str
) -> None:
    with pytest.raises(BarsError) as caught:
        Bars.from_pandas(broken(two, 1, **values))
    fault = caught.value.faults[0]
    assert (fault.row, fault.symbol, fault.column) == (1, "A", column)
    assert fault.expected.startswith(expected)


def test_wide_frames_name_row_and_symbol_too(two: pd.DataFrame) -> None:
    wide = Bars.from_pandas(two).to_pandas("wide")
    wide.loc[wide.index[2], ("high", "B")] = 1.0
    with pytest.raises(BarsError) as caught:
        Bars.from_pandas(wide)
    fault = caught.value.faults[0]
    assert (fault.row, fault.symbol, fault.column) == (2, "B", "high")
    swapped = Bars.from_pandas(two).to_pandas("wide").iloc[[0, 2, 1]]
    with pytest.raises(BarsError) as caught:
        Bars.from_pandas(swapped)
    assert caught.value.total == 1  # once for the row, not once for each symbol
    assert caught.value.faults[0].row == 2
    assert caught.value.faults[0].symbol == ""


def test_rounding_of_a_bound_is_no_fault(two: pd.DataFrame) -> None:
    frame = broken(two, 1, high=11.2 - 1e-12, low=11.0 + 1e-12)
    assert Bars.from_pandas(frame).high[1, 0] == 11.2 - 1e-12


def test_additive_prices_may_be_negative(two: pd.DataFrame) -> None:
    frame = broken(two, 1, low=-5.0, open=-4.0)
    spread = [Instrument("A", additive=True), Instrument("B")]
    assert Bars.from_pandas(frame, instruments=spread).open[1, 0] == -4.0
    with pytest.raises(BarsError, match=r"B\.low"):
        Bars.from_pandas(broken(frame, 3, low=-1.0), instruments=spread[::-1])


def test_an_unknown_policy_is_refused(two: pd.DataFrame) -> None:
    with pytest.raises(BarsError, match=r"repair: expected one of .*'clip'.* found 'guess'"):
        Bars.from_pandas(two, repair="guess")  # type: ignore[arg-type]  # that is the test


def test_drop_leaves_the_row_out(two: pd.DataFrame) -> None:
    bars = Bars.from_pandas(broken(two, 0, close=-1.0, low=-1.0), repair="drop")
    assert bars.num_bars == 2  # nobody else has a bar at that time
    assert [(r.policy, r.rule, r.count) for r in bars.repairs] == [
        ("drop", "low: positive price", 1),
        ("drop", "close: positive price", 1),
    ]
    assert "found -1" in bars.repairs[0].first[0]
    wide = Bars.from_pandas(two).to_pandas("wide")
    wide.loc[wide.index[1], ("close", "B")] = -1.0
    assert Bars.from_pandas(wide, repair="drop").num_bars == 2  # the row goes with all symbols


def test_mask_keeps_the_time(two: pd.DataFrame) -> None:
    bars = Bars.from_pandas(broken(two, 4, high=1.0), repair="mask")
    assert bars.missing.tolist() == [[False, True], [False, False], [False, True]]
    assert np.isnan(bars.volume[2, 1])
    assert [(r.policy, r.rule, r.count) for r in bars.repairs] == [("mask", "high: bounds", 1)]


def test_clip_moves_bounds_and_never_the_prices_of_fills(two: pd.DataFrame) -> None:
    frame = broken(broken(two, 1, high=11.1, low=11.15), 3, volume=-5.0)
    bars = Bars.from_pandas(frame, repair="clip")
    assert (bars.open[1, 0], bars.high[1, 0], bars.low[1, 0], bars.close[1, 0]) == (
        11.0, 11.2, 11.0, 11.2,
    )  # fmt: skip
    assert bars.volume[1, 1] == 0.0
    assert [r.rule for r in bars.repairs] == ["volume: volume", "high: bounds", "low: bounds"]


def test_clip_refuses_what_it_cannot_mend(two: pd.DataFrame) -> None:
    with pytest.raises(BarsError, match="1 fault that repair='clip' cannot mend"):
        Bars.from_pandas(broken(broken(two, 1, high=1.0), 0, low=-2.0), repair="clip")


def test_without_faults_a_policy_does_nothing(two: pd.DataFrame) -> None:
    for policy in ("drop", "mask", "clip"):
        bars = Bars.from_pandas(two, repair=policy)
        assert bars == Bars.from_pandas(two)
        assert bars.repairs == ()


def test_duplicate_times_name_both_rows_and_the_remedy(two: pd.DataFrame) -> None:
    twice = pd.concat([two, two.iloc[[1]].assign(close=11.3)], ignore_index=True)
    twice = twice.sort_values(["symbol", "date"], kind="stable", ignore_index=True)
    with pytest.raises(BarsError) as caught:
        Bars.from_pandas(twice)
    text = str(caught.value)
    assert "row 2 (2024-01-03) A.time: expected a time after 2024-01-03 of row 1" in text
    assert "drop_duplicates(['symbol', 'date'], keep='last')" in text
    bars = Bars.from_pandas(twice, repair="drop")
    assert bars == Bars.from_pandas(two)  # of equal times the first row stays
    assert bars.repairs[0].count == 1


@given(st.lists(st.integers(0, 6), min_size=1, max_size=9), st.booleans())
def test_dropping_disorder_loses_as_few_rows_as_can_be(times: list[int], wide: bool) -> None:
    frame = pd.DataFrame(dict.fromkeys(FIELDS, 1.0), index=pd.to_datetime(times, unit="s"))
    if wide:
        frame = pd.concat({"A": frame, "B": frame}, axis=1)
    bars = Bars.from_pandas(frame, instruments=None if wide else SPY, repair="drop", partial=True)
    best = 0
    for subset in range(1 << len(times)):
        chosen = [t for i, t in enumerate(times) if subset >> i & 1]
        if all(a < b for a, b in itertools.pairwise(chosen)):
            best = max(best, len(chosen))
    assert bars.num_bars == best


def test_order_is_judged_for_each_symbol_alone(two: pd.DataFrame) -> None:
    interleaved = two.iloc[[3, 0, 1, 4, 2]].reset_index(drop=True)
    assert Bars.from_pandas(interleaved) == Bars.from_pandas(two)


# Files of validation_cases.


def test_bad_csv(case: Case) -> None:
    frame = case("bad")
    with pytest.raises(BarsError) as caught:
        Bars.from_pandas(frame, instruments=SPY)
    error = caught.value
    assert error.total == 272
    assert len(error.faults) == SHOWN
    assert str(error.faults[0]) == "row 200 (no time) SPY.time: expected a time, found nothing"
    summary = "time: time 50; open: positive price 52"
    assert summary in str(error)
    bars = Bars.from_pandas(frame, instruments=SPY, repair="drop")
    assert bars.num_bars == 388
    assert np.nanmin(bars.low) > 0
    assert sum(r.rule == "volume: volume" for r in bars.repairs) == 1
    with pytest.raises(BarsError, match="50 faults that repair='mask' cannot mend"):
        Bars.from_pandas(frame, instruments=SPY, repair="mask")


def test_bad_csv_blank_prices_are_missing_bars(case: Case) -> None:
    frame = case("bad")
    blank = frame[FIELDS].isna().all(axis=1)
    bars = Bars.from_pandas(frame, instruments=SPY, repair="drop")
    times = frame.loc[blank & frame["date"].notna(), "date"]
    assert len(times) > 0
    assert bars.missing[np.isin(bars.ts_event, times.dt.as_unit("ns").astype("int64"))].all()


def test_mismatch_csv(case: Case) -> None:
    frame = case("mismatch")
    with pytest.raises(BarsError, match="sort_values") as caught:
        Bars.from_pandas(frame, instruments=SPY)
    assert [fault.row for fault in caught.value.faults] == [19, 39, 452, 473]
    assert caught.value.total == 4
    bars = Bars.from_pandas(frame, instruments=SPY, repair="drop")
    assert bars.num_bars == 432
    assert bars.repairs[0].count == len(frame) - 432 == 70
    in_order = Bars.from_pandas(frame.sort_values("Timestamp"), instruments=SPY)
    assert in_order.num_bars == len(frame)


def test_zeros_csv(case: Case) -> None:
    frame = case("zeros")
    with pytest.raises(BarsError, match="800 faults"):
        Bars.from_pandas(frame, instruments=SPY)
    with pytest.raises(BarsError, match="no row is left after repair"):
        Bars.from_pandas(frame, instruments=SPY, repair="drop")
    with pytest.raises(BarsError, match=r"\['SPY'\] have no bar at all"):
        Bars.from_pandas(frame, instruments=SPY, repair="mask")
    additive = [Instrument("SPY", additive=True)]
    assert Bars.from_pandas(frame, instruments=additive).num_bars == 200


def test_penny_csv(case: Case) -> None:
    bars = Bars.from_pandas(case("penny"), instruments=SPY)
    assert (bars.num_bars, bars.low[0, 0]) == (533, 2.5905)


def test_intraday_csv_with_byte_order_mark(case: Case) -> None:
    frame = case("intraday")
    local = frame.assign(date=frame["date"].dt.tz_localize("America/New_York"))
    bars = Bars.from_pandas(local, instruments=[Instrument("SPY", calendar="XNYS")])
    assert bars.num_bars == 1564
    assert bars.span[0] == pd.Timestamp("2020-12-15T14:30Z")
    assert bars.bars_per_year == pytest.approx(253 * 391)  # 2020 had 253 sessions
    with pytest.raises(BarsError, match="expected a session of calendar XNYS"):
        # Read as UTC the morning is before the opening.
        Bars.from_pandas(frame, instruments=[Instrument("SPY", calendar="XNYS")])


def test_vintages_are_duplicates_with_a_remedy(shared_data: object) -> None:
    path = f"{shared_data}/us_daily_vintages_2015_2017/prices_vintages.csv.gz"
    frame = pd.read_csv(path, parse_dates=["date"])
    with pytest.raises(BarsError, match="16232 faults") as caught:
        Bars.from_pandas(frame)
    assert "drop_duplicates(['symbol', 'date'], keep='last')" in str(caught.value)
    last = Bars.from_pandas(frame.drop_duplicates(["symbol", "date"], keep="last"))
    first = Bars.from_pandas(frame, repair="drop")
    assert last.num_assets == first.num_assets == 33
    np.testing.assert_array_equal(first.missing, last.missing)
    assert (first.volume != last.volume).any()  # the first vintage's volume is preliminary


def test_out_of_order_needs_no_python_for_ordered_records(two: pd.DataFrame) -> None:
    from markets.frames import read_frame

    records = read_frame(two, None, partial=False)
    assert not out_of_order(records).any()

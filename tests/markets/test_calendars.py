"""Sessions, closes and a calendar that disagrees with the bars."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from markets import Bars, BarsError, CalendarError, Instrument, InstrumentError
from markets.calendars import local_offset, session_closes, session_of, sessions, sessions_per_year

HOUR = 3_600_000_000_000


def ns(*times: str) -> NDArray[np.int64]:
    return pd.DatetimeIndex(times).as_unit("ns").asi8


def daily(*dates: str, symbol: str = "SPY") -> pd.DataFrame:
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0),
                         index=pd.DatetimeIndex(dates, name="date"))  # fmt: skip
    return frame.assign(symbol=symbol)


NYSE = [Instrument("SPY", calendar="XNYS")]


def test_closes_know_summer_time_and_early_closes() -> None:
    dates = ns("2024-01-02", "2024-07-02", "2024-07-03", "2024-07-04", "2024-07-06")
    expected = [*ns("2024-01-02T21:00", "2024-07-02T20:00", "2024-07-03T17:00"), -1, -1]
    assert session_closes("XNYS", dates).tolist() == expected


def test_session_of_a_time() -> None:
    times = ns("2024-01-02T14:29", "2024-01-02T14:30", "2024-01-02T21:00", "2024-01-02T21:01",
               "2024-01-06T15:00")  # fmt: skip
    day = ns("2024-01-02")[0]
    assert session_of("XNYS", times).tolist() == [-1, day, day, -1, -1]


def test_sessions_reach_back_before_the_packages_default() -> None:
    first, last = ns("1998-01-01", "1998-12-31")
    assert len(sessions("XNYS", int(first), int(last))) == 252
    assert sessions_per_year("XNYS", int(first), int(last)) == 252
    week = ns("2001-09-10", "2001-09-17")
    assert sessions("XNYS", int(week[0]), int(week[1])).tolist() == week.tolist()  # closed between


def test_local_offset() -> None:
    assert local_offset("XNYS", ns("2024-01-02T12:00", "2024-07-02T12:00")).tolist() == [
        -5 * HOUR, -4 * HOUR,
    ]  # fmt: skip


@pytest.mark.parametrize("function", [session_closes, session_of, local_offset])
def test_no_times_no_answers(
    function: Callable[[str, NDArray[np.int64]], NDArray[np.int64]],
) -> None:
    assert function("XNYS", np.empty(0, np.int64)).shape == (0,)


def test_unknown_calendars_and_spans_are_refused() -> None:
    with pytest.raises(CalendarError, match=r"'XNYX' is not known .* near it are .*'XNYS'"):
        Instrument("SPY", calendar="XNYX")
    with pytest.raises(CalendarError, match="for example XNYS"):
        Instrument("SPY", calendar="@@")
    with pytest.raises(CalendarError, match="'XKRX' does not cover"):
        session_closes("XKRX", ns("1901-01-02"))


def test_dates_become_session_closes() -> None:
    bars = Bars.from_pandas(daily("2024-07-02", "2024-07-03", "2024-07-05"), instruments=NYSE)
    assert bars.ts_event.tolist() == ns(
        "2024-07-02T20:00", "2024-07-03T17:00", "2024-07-05T20:00"
    ).tolist()  # fmt: skip
    assert bars.bars_per_year == 252
    again = Bars.from_pandas(bars.to_pandas(), instruments=NYSE)
    assert again == bars
    local = daily("2024-07-02", "2024-07-03", "2024-07-05").tz_localize("America/New_York")
    assert Bars.from_pandas(local, instruments=NYSE) == bars


def test_crypto_days_close_at_the_next_midnight() -> None:
    coin = [Instrument("SPY", calendar="24/7")]
    bars = Bars.from_pandas(daily("2024-01-01", "2024-01-02"), instruments=coin)
    assert bars.ts_event.tolist() == ns("2024-01-02", "2024-01-03").tolist()
    assert Bars.from_pandas(bars.to_pandas(), instruments=coin) == bars
    assert bars.bars_per_year == 366


def test_a_bar_without_a_session_is_refused_or_dropped() -> None:
    frame = daily("2024-07-02", "2024-07-03", "2024-07-04", "2024-07-05")
    with pytest.raises(BarsError) as caught:
        Bars.from_pandas(frame, instruments=NYSE)
    assert "row 2 (2024-07-04) SPY.time: expected a session of calendar XNYS" in str(caught.value)
    with pytest.raises(BarsError, match="cannot mend"):
        Bars.from_pandas(frame, instruments=NYSE, repair="mask")
    bars = Bars.from_pandas(frame, instruments=NYSE, repair="drop")
    assert bars.num_bars == 3
    assert bars.repairs[0].rule == "time: calendar"


def test_a_lost_session_is_refused_or_added_as_missing() -> None:
    frame = daily("2024-07-01", "2024-07-03", "2024-07-08")
    with pytest.raises(BarsError, match=r"2 sessions of the calendar are lost:\n.*XNYS: 2 sessions"
                       " without a bar: 2024-07-02, 2024-07-05"):  # fmt: skip
        Bars.from_pandas(frame, instruments=NYSE)
    bars = Bars.from_pandas(frame, instruments=NYSE, repair="mask")
    assert bars.missing.ravel().tolist() == [False, True, False, True, False]
    assert bars.ts_event[1] == ns("2024-07-02T20:00")[0]
    assert bars.repairs[0].rule == "calendar: session without a bar"
    closes = frame.tz_localize("UTC").shift(freq="17h")
    assert Bars.from_pandas(closes, instruments=NYSE, partial=True).num_bars == 3


def test_a_symbol_may_pause_while_another_trades() -> None:
    pausing = daily("2024-07-01", "2024-07-03", symbol="A")
    frame = pd.concat([daily("2024-07-01", "2024-07-02", "2024-07-03"), pausing])
    instruments = [Instrument("A", calendar="XNYS"), *NYSE]
    bars = Bars.from_pandas(frame, instruments=instruments)
    assert bars.missing.tolist() == [[False, False], [True, False], [False, False]]


def test_two_calendars_share_the_later_close() -> None:
    frame = pd.concat(
        [
            daily("2024-07-03", "2024-07-05", "2024-07-08"),
            daily("2024-07-03", "2024-07-04", "2024-07-05", "2024-07-08", symbol="VOD"),
        ]
    )
    instruments = [*NYSE, Instrument("VOD", calendar="XLON")]
    bars = Bars.from_pandas(frame, instruments=instruments)
    # New York closes early on the 3rd, but after London; on the 4th only London trades.
    assert bars.ts_event.tolist() == ns(
        "2024-07-03T17:00", "2024-07-04T15:30", "2024-07-05T20:00", "2024-07-08T20:00"
    ).tolist()  # fmt: skip
    assert bars.missing[:, 0].tolist() == [False, True, False, False]
    assert Bars.from_pandas(bars.to_pandas(), instruments=instruments) == bars
    holiday = pd.concat([frame, daily("2024-08-26", symbol="VOD")])
    with pytest.raises(BarsError, match=r"row 7 .*VOD.time: expected a session of calendar XLON"):
        Bars.from_pandas(holiday, instruments=instruments)


def test_weekly_bars_are_annualised_as_weeks() -> None:
    prices = np.ones((60, 1))
    columns: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    weeks = ns("2023-01-06T21:00")[0] + np.arange(60) * 7 * 24 * HOUR
    bars = Bars.from_arrays(weeks, ["SPY"], **columns, instruments=NYSE)
    assert bars.bars_per_year == pytest.approx(52.18, abs=0.01)


def test_every_session_of_the_real_data(raw_daily: pd.DataFrame) -> None:
    symbols = sorted(raw_daily["symbol"].unique())
    bars = Bars.from_pandas(
        raw_daily, instruments=[Instrument(s, calendar="XNYS") for s in symbols]
    )
    first, last = ns("1998-01-02", "2021-03-31")
    assert bars.num_bars == len(sessions("XNYS", int(first), int(last))) == 5849
    assert bars.bars_per_year == pytest.approx(251.7, abs=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"symbol": " A"}, "symbol: expected a name"),
        ({"symbol": ""}, "symbol: expected a name"),
        ({"tick": 0.0}, r"A\.tick: expected > 0, found 0.0"),
        ({"tick": float("nan")}, r"A\.tick: expected > 0, found nan"),
        ({"lot": -1.0}, r"A\.lot: expected >= 0, found -1.0"),
        ({"currency": ""}, r"A\.currency: expected a code"),
    ],
)
def test_an_instrument_out_of_range_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InstrumentError, match=message):
        Instrument(**{"symbol": "A", **change})

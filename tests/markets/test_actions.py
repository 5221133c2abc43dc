"""Splits and dividends: where they apply, what they do to a holder, how they are recovered."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from markets import ActionsError, Bars, CorporateActions, Instrument, derive_actions

DAY = 86_400_000_000_000
MONDAY = pd.Timestamp("2024-01-08").value


def table(*rows: tuple[str, str, str, float]) -> CorporateActions:
    return CorporateActions.from_pandas(
        pd.DataFrame(rows, columns=["symbol", "ex_date", "kind", "value"])
    )


def test_the_table_is_sorted_and_splits_come_before_dividends_of_a_day() -> None:
    actions = table(
        ("B", "2024-01-09", "dividend", 0.5),
        ("A", "2024-01-10", "dividend", 0.25),
        ("A", "2024-01-10", "split", 2.0),
        ("A", "2024-01-08", "dividend", 1.0),
    )
    assert actions.symbol == ("A", "A", "A", "B")
    assert actions.kind == ("dividend", "split", "dividend", "dividend")
    assert actions.value.tolist() == [1.0, 2.0, 0.25, 0.5]
    assert len(actions) == 4
    assert repr(actions) == "CorporateActions(splits=1, dividends=3)"


def test_pandas_round_trip() -> None:
    actions = table(("A", "2024-01-10", "split", 2.0), ("B", "2024-01-09", "dividend", 0.5))
    frame = actions.to_pandas()
    assert frame["ex_date"].tolist() == [
        pd.Timestamp("2024-01-10", tz="UTC"), pd.Timestamp("2024-01-09", tz="UTC"),
    ]  # fmt: skip
    assert CorporateActions.from_pandas(frame.sample(frac=1, random_state=1)) == actions
    assert hash(CorporateActions.from_pandas(frame)) == hash(actions)
    assert CorporateActions.from_pandas(CorporateActions.empty().to_pandas()) == table()
    assert actions != "actions"
    assert actions != actions.select(["A"])
    assert actions.select(["A", "Z"]).symbol == ("A",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("A", "2024-01-10", "merger", 1.0), "row 0 .*kind: expected split or dividend"),
        (("A", "2024-01-10", "split", 0.0), "value: expected finite and > 0, found 0.0"),
        (("A", "2024-01-10", "dividend", np.nan), "value: expected finite and > 0, found nan"),
        (("A", "10/01/2024", "split", 2.0), "ex_date or value cannot be read"),
        (("A", None, "split", 2.0), "row 0: ex_date is empty"),
        (("A", "2024-01-10", "split", "two"), "ex_date or value cannot be read"),
    ],
)
def test_a_malformed_row_is_named(row: tuple[str, str, str, float], message: str) -> None:
    with pytest.raises(ActionsError, match=message):
        table(row)


def test_a_malformed_table_is_refused() -> None:
    split = ("A", "2024-01-10", "split", 2.0)
    dividend = ("A", "2024-01-10", "dividend", 2.0)
    with pytest.raises(ActionsError, match="split of A on 2024-01-10 is given twice"):
        table(split, ("A", "2024-01-10", "split", 3.0))
    with pytest.raises(ActionsError, match="dividend of A on 2024-01-10 is given twice"):
        table(dividend, dividend)
    assert len(table(dividend, ("A", "2024-01-10", "dividend", 3.0))) == 2  # regular and special
    with pytest.raises(ActionsError, match=r"\['kind'\] not found"):
        CorporateActions.from_pandas(table(split).to_pandas().drop(columns="kind"))
    with pytest.raises(ActionsError, match="columns of one length"):
        CorporateActions(("A",), np.zeros(2, np.int64), ("split",), np.ones(1))


def test_on_axis_by_hand() -> None:
    """Bars at 21:00 of Monday 8th, Tuesday 9th and Friday 12th."""
    ts_event = MONDAY + np.array([0, 1, 4]) * DAY + 21 * DAY // 24
    actions = table(
        ("A", "2024-01-07", "split", 9.0),  # before the first day: in the price already
        ("A", "2024-01-08", "dividend", 0.1),  # on the first day
        ("A", "2024-01-09", "split", 2.0),
        ("A", "2024-01-09", "dividend", 0.2),  # in the shares after the split
        ("A", "2024-01-10", "dividend", 0.3),  # no bar: carried by Friday's, before its split
        ("A", "2024-01-11", "split", 3.0),
        ("A", "2024-01-12", "split", 0.5),
        ("A", "2024-01-13", "dividend", 9.0),  # after the last bar
        ("Z", "2024-01-09", "split", 5.0),  # of another symbol
    )
    split_TA, dividend_TA = actions.on_axis(ts_event, ["B", "A"])
    np.testing.assert_array_equal(split_TA, [[1, 1], [1, 2], [1, 1.5]])
    # 0.3 for each share of the 10th, of which 1.5 stand at Friday's close.
    np.testing.assert_allclose(dividend_TA, [[0, 0.1], [0, 0.2], [0, 0.2]])


def test_on_axis_of_nothing() -> None:
    actions = table(("A", "2024-01-09", "split", 2.0))
    assert actions.on_axis(np.empty(0, np.int64), ["A"])[0].shape == (0, 1)
    assert actions.on_axis(np.array([MONDAY]), [])[1].shape == (1, 0)


def test_an_ex_date_is_a_day_at_the_exchange() -> None:
    """19:30 in New York is already tomorrow in UTC, but not yet the ex-date."""
    local = pd.DatetimeIndex(["2024-01-08 15:30", "2024-01-08 19:30", "2024-01-09 09:30"])
    prices = np.array([[10.0], [10.0], [5.0]])
    columns: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    bars = Bars.from_arrays(
        local.tz_localize("America/New_York").as_unit("ns").asi8,
        ["A"],
        **columns,
        actions=table(("A", "2024-01-09", "split", 2.0)),
        instruments=[Instrument("A", calendar="XNYS")],
    )
    assert bars.split_TA.ravel().tolist() == [1.0, 1.0, 2.0]
    assert bars.split_adjusted().close.ravel().tolist() == [10.0, 10.0, 10.0]


def holder(bars: Bars, symbol: str) -> NDArray[np.float64]:
    """Equity of a holder of one share who keeps the cash: shares times close plus dividends."""
    one = bars.select([symbol])
    shares = np.cumprod(one.split_TA[:, 0])
    cash = np.cumsum(one.dividend_TA[:, 0] * shares)
    return np.asarray(shares * one.close[:, 0] + cash)


@pytest.mark.parametrize(
    ("symbol", "date", "split"), [("AAPL", "2014-06-09", 7.0), ("AIG", "2009-07-01", 0.05)]
)
def test_a_holder_passes_through_a_real_split(
    raw_bars: Bars, symbol: str, date: str, split: float
) -> None:
    ex = int(np.searchsorted(raw_bars.ts_event, pd.Timestamp(date).value))
    asset = raw_bars.symbols.index(symbol)
    assert raw_bars.split_TA[ex, asset] == pytest.approx(split, rel=1e-5)
    raw_return = raw_bars.close[ex, asset] / raw_bars.close[ex - 1, asset] - 1
    assert abs(raw_return) > 0.8  # -85 % and +1,459 %: neither is a return
    equity = holder(raw_bars.rows(ex - 1, ex + 1), symbol)
    true_return = equity[1] / equity[0] - 1
    assert true_return == pytest.approx(
        raw_bars.close[ex, asset] * split / raw_bars.close[ex - 1, asset] - 1, abs=1e-4
    )
    assert abs(true_return) < 0.25
    adjusted = raw_bars.split_adjusted()
    features = adjusted.close[ex, asset] / adjusted.close[ex - 1, asset] - 1
    assert features == pytest.approx(true_return, abs=1e-9)
    assert adjusted.close[ex - 1, asset] == pytest.approx(
        raw_bars.close[ex - 1, asset] * np.prod(raw_bars.split_TA[:ex, asset])
    )  # the past is scaled by the past's splits alone


def test_a_holder_is_paid_on_a_dividend_day(raw_bars: Bars) -> None:
    ex = int(np.searchsorted(raw_bars.ts_event, pd.Timestamp("2012-08-09").value))
    asset = raw_bars.symbols.index("AAPL")
    paid = raw_bars.dividend_TA[ex, asset]
    assert paid == pytest.approx(2.65, abs=0.01)
    one = raw_bars.rows(ex - 1, ex + 1)
    equity = holder(one, "AAPL")
    price_change = one.close[1, asset] - one.close[0, asset]
    assert equity[1] - equity[0] == pytest.approx(price_change + paid)


def test_recovers_the_known_actions_of_wiki_prices(shared_data: Path) -> None:
    path = shared_data / "wiki_daily_with_actions" / "wiki_prices.csv.gz"
    frame = pd.read_csv(path, parse_dates=["date"])
    # The years are not contiguous: a step over a hole says nothing of the day after it.
    gap = frame.groupby("symbol")["date"].diff() > pd.Timedelta(days=30)
    frame["part"] = frame["symbol"] + gap.groupby(frame["symbol"]).cumsum().astype(str)
    found, expected = [], []
    for part, rows in frame.groupby("part"):
        ts_event = pd.DatetimeIndex(rows["date"]).as_unit("ns").asi8
        close, adjusted = rows[["close"]].to_numpy(), rows[["adj_close"]].to_numpy()
        derived = derive_actions(ts_event, [str(part)], close, adjusted)
        found += [
            (str(part), int(t), k, v)
            for t, k, v in zip(derived.ex_ts, derived.kind, derived.value, strict=True)
        ]
        inner = rows.iloc[1:]
        for kind, column, none in (("split", "split_ratio", 1.0), ("dividend", "ex_dividend", 0.0)):
            there = inner[inner[column] != none]
            times = pd.DatetimeIndex(there["date"]).as_unit("ns").asi8
            expected += [
                (str(part), int(t), kind, v) for t, v in zip(times, there[column], strict=True)
            ]
    assert len(expected) == 31 + 4  # dividends and splits
    assert [row[:3] for row in sorted(found)] == [row[:3] for row in sorted(expected)]
    np.testing.assert_allclose(
        [row[3] for row in sorted(found)], [row[3] for row in sorted(expected)], atol=2e-4
    )


@given(
    split=st.sampled_from([1.0, 2.0, 7.0, 0.05, 1.5, 20.0, 0.1]),
    dividend=st.sampled_from([0.0, 0.08, 0.5, 2.65]),
    convention=st.sampled_from(["ex_close", "previous_close"]),
    move=st.floats(-0.08, 0.08),
)
def test_derives_what_was_put_in(
    split: float, dividend: float, convention: Literal["ex_close", "previous_close"], move: float
) -> None:
    """The provider's formula forwards, then `derive_actions` backwards."""
    before = 200.0 * split
    after = (before / split - dividend) * (1 + move)
    if convention == "ex_close":
        step = split * (1 + dividend / after)
    else:
        step = split / (1 - split * dividend / before)
    close = np.array([[before], [before], [after], [after]])
    adjusted = close * np.array([[1 / step], [1 / step], [1.0], [1.0]])
    ts_event = MONDAY + np.arange(4) * DAY + 21 * DAY // 24
    derived = derive_actions(ts_event, ["A"], close, adjusted, convention=convention)
    expected = [("split", split)] * (split != 1) + [("dividend", dividend)] * (dividend > 0)
    assert list(derived.kind) == [kind for kind, _ in expected]
    np.testing.assert_allclose(derived.value, [value for _, value in expected], rtol=1e-4)
    assert set(derived.ex_ts.tolist()) <= {MONDAY + 2 * DAY}


def test_derive_skips_missing_bars_and_refuses_nonsense() -> None:
    ts_event = MONDAY + np.arange(4) * DAY
    close = np.array([[np.nan], [100.0], [np.nan], [50.0]])
    adjusted = np.array([[np.nan], [50.0], [np.nan], [50.0]])
    derived = derive_actions(ts_event, ["A"], close, adjusted)
    assert (derived.kind, derived.value.tolist()) == (("split",), [2.0])
    with pytest.raises(ActionsError, match=r"A on 2024-01-11: .* neither a split nor a dividend"):
        derive_actions(ts_event, ["A"], close, adjusted * [[1], [2], [1], [0.95]])
    with pytest.raises(ActionsError, match=r"shape \(4, 2\), found \(4, 1\)"):
        derive_actions(ts_event, ["A", "B"], close, adjusted)

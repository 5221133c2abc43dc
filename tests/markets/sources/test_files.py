"""Your own files: long, wide, CSV, Parquet, one or a folder, and errors that name the cell."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from markets.actions import CorporateActions
from markets.bars import Bars
from markets.instruments import InstrumentError
from markets.manifest import ManifestError
from markets.sources.config import parse_config
from markets.sources.files import FilesSource
from markets.sources.protocol import DataFileError, Dataset, SelectionError
from markets.sources.tables import symbol_of

LONG = """date,symbol,open,high,low,close,volume
2020-01-02,A,10,12,9,11,100
2020-01-02,B,20,22,19,21,200
2020-01-03,A,11,13,10,12,110
2020-01-03,B,21,23,20,22,210
"""
WIDE = """Date,A_Open,A_High,A_Low,A_Close,A_Volume,B_Open,B_High,B_Low,B_Close,B_Volume
2020-01-02,10,12,9,11,100,20,22,19,21,200
2020-01-03,11,13,10,12,110,21,23,20,22,210
"""
TWO_ROWS = """Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume
Ticker,A,B,A,B,A,B,A,B,A,B
Date,,,,,,,,,,
2020-01-02,11,21,12,22,9,19,10,20,100,200
2020-01-03,12,22,13,23,10,20,11,21,110,210
"""
ONE = """date,open,high,low,close,volume
2020-01-02,10,12,9,11,100
2020-01-03,11,13,10,12,110
"""


def source(path: Path, **fields: Any) -> FilesSource:
    config = parse_config({"kind": "files", "path": str(path), **fields})
    assert isinstance(config, FilesSource)
    return config


def load(path: Path, **fields: Any) -> Dataset:
    return source(path, **fields).load()


def written(folder: Path, text: str, name: str = "prices.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.fixture
def expected(tmp_path: Path) -> Bars:
    return load(written(tmp_path, LONG, "expected.csv")).bars


def test_long_file(tmp_path: Path) -> None:
    dataset = load(written(tmp_path, LONG), licence="mine")
    bars, manifest = dataset.bars, dataset.manifest
    assert bars.symbols == ("A", "B")
    np.testing.assert_array_equal(bars.close, [[11, 21], [12, 22]])
    np.testing.assert_array_equal(bars.volume, [[100, 200], [110, 210]])
    assert [str(t) for t in pd.DatetimeIndex(bars.ts_event)] == [
        "2020-01-02 00:00:00",
        "2020-01-03 00:00:00",
    ]
    assert (manifest.dataset, manifest.licence, manifest.rows) == ("prices.csv", "mine", 2)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (WIDE, {"layout": {"kind": "wide"}}),
        (TWO_ROWS, {"layout": {"kind": "wide", "header_rows": 2}}),
        (WIDE.replace("A_", "px.A.").replace("B_", "px.B."), {
            "layout": {"kind": "wide", "template": "px.{symbol}.{field}"}}),
        (WIDE.replace("_Close", "_Last price"), {
            "layout": {"kind": "wide"}, "columns": {"close": "Last price"}}),
        (LONG.replace(",", ";").replace("12;", "12,0;"), {"delimiter": ";", "decimal": ","}),
        (LONG.replace("2020-01-02", "02/01/20").replace("2020-01-03", "03/01/20"), {
            "timestamps": {"format": "%d/%m/%y"}}),
        (LONG.replace("2020-01-02", "1577923200").replace("2020-01-03", "1578009600"), {
            "timestamps": {"unit": "s"}}),
        (LONG.replace("date,symbol", "Day,Ticker").replace("close,volume", "px,qty"), {
            "columns": {"timestamp": "Day", "close": "px", "volume": "qty"}}),
        (LONG.replace("10\n", "1\n").replace("00\n", "0\n"), {"scale": {"volume": 10}}),
    ],
    ids=["wide", "two-rows", "template", "field-name", "european", "day-first", "epoch",
         "renamed", "scaled"],
)  # fmt: skip
def test_every_form_gives_the_same_bars(
    tmp_path: Path, expected: Bars, text: str, fields: dict[str, Any]
) -> None:
    assert load(written(tmp_path, text), **fields).bars == expected


@pytest.mark.parametrize("name", ["prices.csv", "prices.csv.gz", "prices.parquet", "prices.pq"])
def test_every_format_gives_the_same_bars(tmp_path: Path, expected: Bars, name: str) -> None:
    path = tmp_path / name
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(LONG.encode()))
    elif name.endswith("csv"):
        path.write_bytes(b"\xef\xbb\xbf" + LONG.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    else:
        table = pd.read_csv(written(tmp_path, LONG, "long.csv"), parse_dates=["date"])
        table.to_parquet(path)
    assert load(path).bars == expected


def test_parquet_as_pandas_writes_it(tmp_path: Path, expected: Bars) -> None:
    for layout in ("long", "wide"):
        path = tmp_path / f"{layout}.parquet"
        expected.to_pandas(layout).to_parquet(path)
        extra = {"layout": {"kind": "wide", "header_rows": 2}} if layout == "wide" else {}
        assert load(path, **extra).bars == expected


def test_folder_of_one_file_a_symbol(tmp_path: Path) -> None:
    written(tmp_path, ONE, "BRK.B.csv")
    (tmp_path / "AAPL.csv.gz").write_bytes(gzip.compress(ONE.encode()))
    pd.read_csv(written(tmp_path, ONE, "skip.me"), parse_dates=["date"]).to_parquet(
        tmp_path / "00700.parquet"
    )
    dataset = load(tmp_path)
    assert dataset.bars.symbols == ("00700", "AAPL", "BRK.B")
    assert "3 files" in dataset.manifest.source


def test_folder_of_mixed_files_and_a_pattern(tmp_path: Path, expected: Bars) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    head, *rows = LONG.splitlines(keepends=True)
    written(folder, head + "".join(rows[:2]), "2020-01-02.csv")
    written(folder, head + "".join(rows[2:]), "2020-01-03.csv")
    written(folder, "something else", "notes.txt")
    assert load(folder, pattern="2020*").bars == expected


def test_symbols_that_look_like_something_else_stay_text(tmp_path: Path) -> None:
    for symbol in ("NA", "TRUE", "00700", "1e5", "nan"):
        text = LONG.replace(",A,", f",{symbol},")
        assert symbol in load(written(tmp_path, text)).bars.symbols


def test_empty_rows_of_a_symbol_are_missing_bars(tmp_path: Path) -> None:
    text = WIDE.replace("10,12,9,11,100,", ",,,,,")
    bars = load(written(tmp_path, text), layout={"kind": "wide"}).bars
    assert bars.missing.tolist() == [[True, False], [False, False]]


def test_mean_of_columns_and_a_volume_for_all(tmp_path: Path) -> None:
    text = "ts,b_o,b_h,b_l,b_c,a_o,a_h,a_l,a_c\n"
    text += "2020-01-02 10:00,1,3,1,2,2,4,2,3\n2020-01-02 11:00,2,3,1,3,3,5,3,4\n"
    names = {"open": "o", "high": "h", "low": "l", "close": "c"}
    dataset = load(
        written(tmp_path, text, "EURUSD.csv"),
        columns={field: [f"b_{n}", f"a_{n}"] for field, n in names.items()},
        volume=1e6,
    )
    np.testing.assert_array_equal(dataset.bars.close[:, 0], [2.5, 3.5])
    np.testing.assert_array_equal(dataset.bars.volume[:, 0], [1e6, 1e6])
    assert "close is the mean of b_c, a_c" in dataset.manifest.notes
    assert any("1e+06 for every bar" in note for note in dataset.manifest.notes)


# --- actions -----------------------------------------------------------------------------------


ACTIONS = """symbol,ex_date,kind,value
A,2020-01-03,split,2
A,2020-01-03,dividend,0.5
C,2020-01-03,dividend,1
"""


def test_actions_of_a_file_beside_the_prices(tmp_path: Path) -> None:
    written(tmp_path, ACTIONS, "actions.csv")
    written(tmp_path, LONG, "prices.csv")
    actions = {"kind": "file", "path": str(tmp_path / "actions.csv")}
    bars = load(tmp_path, actions=actions).bars  # the folder holds both
    np.testing.assert_array_equal(bars.split_TA, [[1, 1], [2, 1]])
    np.testing.assert_array_equal(bars.dividend_TA, [[0, 0], [0.5, 0]])
    assert set(bars.actions.symbol) == {"A"}


def test_actions_in_columns(tmp_path: Path) -> None:
    head, *rows = LONG.splitlines()
    given = [",1,0", ",1,0", ",2,0.5", ",,"]
    text = "\n".join([head + ",ratio,paid", *(r + g for r, g in zip(rows, given, strict=True))])
    actions = {"kind": "columns", "split": "ratio", "dividend": "paid"}
    bars = load(written(tmp_path, text), actions=actions).bars
    np.testing.assert_array_equal(bars.split_TA, [[1, 1], [2, 1]])
    np.testing.assert_array_equal(bars.dividend_TA, [[0, 0], [0.5, 0]])


def test_actions_from_an_adjusted_close(tmp_path: Path) -> None:
    # Yahoo's convention: before a dividend of 1 on a close of 10 the factor is 0.9.
    text = "date,open,high,low,close,volume,Adj Close\n"
    for day, close, adjusted in ((2, 40, 9), (3, 10, 9), (6, 9, 9), (7, 9.5, 9.5)):
        text += f"2020-01-0{day},{close},{close},{close},{close},1,{adjusted}\n"
    actions = {"kind": "adj_close", "column": "Adj Close"}
    bars = load(written(tmp_path, text), actions=actions).bars
    np.testing.assert_allclose(bars.split_TA[:, 0], [1, 4, 1, 1])
    np.testing.assert_allclose(bars.dividend_TA[:, 0], [0, 0, 1, 0], atol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("symbol,ex_date,kind,value\nA,2020-01-03,merger,2\n", r"row 2, column 'kind': .*'merger'"),
        ("symbol,ex_date,kind,value\nA,2020-01-03,split,two\n", r"row 2, column 'value': .*'two'"),
        ("symbol,ex_date,kind,value\nA,2020-01-03,split,-2\n", r"actions.csv: .*-2"),
        ("symbol,ex_date,kind,value\nA,3.1.2020,split,2\n", r"actions.csv: .*ex_date"),
        ("symbol,date,kind,value\nA,2020-01-03,split,2\n", r"expected the columns .*'ex_date'"),
    ],
)
def test_faulty_actions_are_named(tmp_path: Path, text: str, message: str) -> None:
    actions = {"kind": "file", "path": str(written(tmp_path, text, "actions.csv"))}
    with pytest.raises(DataFileError, match=message):
        load(written(tmp_path, LONG), actions=actions)


def test_absent_actions_are_named(tmp_path: Path) -> None:
    actions = {"kind": "file", "path": str(tmp_path / "none.csv")}
    with pytest.raises(DataFileError, match=r"none.csv: expected a file of actions, found nothing"):
        load(written(tmp_path, LONG), actions=actions)


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        (LONG.replace("13,10,12", "13,x10,12"), {}, r"prices.csv: row 4, column 'low': .*'x10'"),
        (LONG.replace("2020-01-03,A", "3.1.2020,A"), {}, r"row 4, column 'date': .*'3.1.2020'"),
        (LONG.replace("2020-01-03,A", ",A"), {}, r"row 4, column A.time: expected a time"),
        (LONG.replace("close,", "final,"), {}, r"close: expected the column one of .*'final'"),
        (LONG.replace(",volume", ",turnover"), {}, r"volume: .*set volume: to a number"),
        (LONG, {"columns": {"open": "OPEN"}}, r"open: expected the column 'OPEN'"),
        (LONG.replace("low", "high"), {}, r"found twice: \['high'\]"),
        (LONG.replace(",", ";"), {}, r"separated by ',', .*delimiter: ';'"),
        (LONG + "2020-01-06,A,11,13\n", {}, r"row 6: expected 7 cells, found 4"),
        (LONG + "2020-01-06,A,11,13,10,12,1,9\n", {}, r"expected 7 cells"),
        (LONG.replace("-03,A,", "-03,,"), {}, r"row 4, column 'symbol': .*found ''"),
        (LONG.replace("11,13,10,12,110", "11,13,10,-12,110"), {}, r"row 4, column A.close: .*-12"),
        (LONG.replace("11,13,10,12,110", "11,13,10,,110"), {}, r"row 4, column A.close: .*nothing"),
        (LONG.replace("11,13,10,12,110", "11,13,12.5,12,110"), {}, r"row 4, column A.low: .*12.5"),
        (LONG.replace("2020-01-03", "2020-01-02"), {}, r"row 4, column A.time: .* of row 2"),
        (LONG, {"layout": {"kind": "wide"}}, r"columns named like '\{symbol\}_\{field\}'"),
        (WIDE.replace("B_Low", "B_Lo"), {"layout": {"kind": "wide"}}, r"B: .*column for 'low'"),
        ("", {}, r"expected a header and rows, found an empty file"),
        ("date,open,high,low,close,volume\n", {}, r"no data|0 rows"),
        (LONG, {"instrument": {"calendar": "XFRA"}, "start": "2020-01-02"}, ""),
        (LONG.replace("-03", "-04"), {"instrument": {"calendar": "XNYS"}}, r"row 4, .*XNYS.*01-04"),
    ],
    ids=str,
)  # fmt: skip
def test_errors_name_file_row_column_expected_and_found(
    tmp_path: Path, text: str, fields: dict[str, Any], message: str
) -> None:
    path = written(tmp_path, text)
    if not message:  # the same dates are sessions of this calendar
        assert load(path, **fields).bars.num_bars == 2
        return
    with pytest.raises(DataFileError, match=message) as caught:
        load(path, **fields)
    assert "prices.csv" in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    whole = gzip.compress((LONG * 50).encode())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "fake.parquet").write_bytes(b"PAR1 not really")
    written(tmp_path, LONG.replace("A", "Ä"), "latin.csv", "latin-1")
    for name, message in (
        ("cut.csv.gz", "expected a readable file"),
        ("fake.parquet", "expected a Parquet file"),
        ("latin.csv", "expected UTF-8 text, found byte 0xc4"),
        ("absent.csv", "expected a file or a folder, found nothing"),
    ):
        with pytest.raises(DataFileError, match=f"{name}: {message}"):
            load(tmp_path / name)


def test_folder_without_data_is_named(tmp_path: Path) -> None:
    written(tmp_path, "x", "readme.md")
    with pytest.raises(DataFileError, match=r"found \['readme.md'\]"):
        load(tmp_path)


def test_a_bar_in_two_files_names_both(tmp_path: Path) -> None:
    written(tmp_path, LONG, "a.csv")
    written(tmp_path, LONG.replace("12,110", "12.5,110"), "b.csv")
    with pytest.raises(DataFileError, match=r"b.csv: row 2: .* A at 2020-01-02.*a.csv: row 2"):
        load(tmp_path)
    assert load(tmp_path, duplicates="first").bars.close[1, 0] == 12.0
    dataset = load(tmp_path, duplicates="last")
    assert dataset.bars.close[1, 0] == 12.5
    assert "4 rows repeat a symbol and time: the last was kept" in dataset.manifest.notes


def test_dates_and_times_do_not_share_an_axis(tmp_path: Path) -> None:
    written(tmp_path, ONE, "a.csv")
    written(tmp_path, ONE.replace("-02", "-02 10:00").replace("-03", "-03 10:00"), "b.csv")
    with pytest.raises(DataFileError, match=r"b.csv: expected dates as in .*a.csv, found times"):
        load(tmp_path)


@pytest.mark.parametrize("repair", ["drop", "mask"])
def test_repairs_are_recorded(tmp_path: Path, repair: str) -> None:
    text = LONG.replace("11,13,10,12,110", "11,13,x,-12,110")
    dataset = load(written(tmp_path, text), repair=repair)
    asset = dataset.bars.symbols.index("A")
    assert (~dataset.bars.missing[:, asset]).sum() == 1
    assert dataset.manifest.repairs
    assert all(entry.policy == repair for entry in dataset.manifest.repairs)
    assert dataset.bars.num_bars == 2
    assert f"{tmp_path / 'prices.csv'}: row 4 " in dataset.manifest.repairs[0].first[0]


def test_lost_sessions_of_the_calendar(tmp_path: Path) -> None:
    path = written(tmp_path, LONG.replace("2020-01-03", "2020-01-07"))
    with pytest.raises(DataFileError, match=r"(?s)prices.csv: .*XNYS: .*2020-01-03, 2020-01-06"):
        load(path, instrument={"calendar": "XNYS"})
    bars = load(path, instrument={"calendar": "XNYS"}, repair="mask").bars
    assert bars.missing.tolist() == [[False] * 2, [True] * 2, [True] * 2, [False] * 2]
    assert bars.span[0] == pd.Timestamp("2020-01-02 16:00", tz="America/New_York")


def test_the_manifest_pins_the_result(tmp_path: Path) -> None:
    path = written(tmp_path, LONG)
    sha256 = load(path).manifest.sha256
    assert load(path, sha256=sha256).bars.num_bars == 2
    written(tmp_path, LONG.replace(",210", ",211"))
    with pytest.raises(ManifestError, match=f"expected {sha256}, found"):
        load(path, sha256=sha256)


def test_selection(tmp_path: Path) -> None:
    path = written(tmp_path, LONG)
    assert load(path, symbols=["B"]).bars.symbols == ("B",)
    assert load(path, start="2020-01-03").bars.num_bars == 1
    with pytest.raises(SelectionError, match=r"prices.csv: .*'Z'"):
        load(path, symbols=["Z"])


def test_instruments(tmp_path: Path) -> None:
    fields = {
        "instrument": {"tick": 0.5, "currency": "EUR", "lot": 1},
        "instruments": {"B": {"tick": 0.25, "sector": "banks"}},
    }
    first, second = load(written(tmp_path, LONG), **fields).bars.instruments
    assert (first.symbol, first.tick, first.currency, first.lot) == ("A", 0.5, "EUR", 1.0)
    assert (second.symbol, second.tick, second.currency, second.lot) == ("B", 0.25, "USD", 0.0)
    assert (first.sector, second.sector) == (None, "banks")


def test_a_faulty_sector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstrumentError, match=r"A\.sector: expected a name .* found ' banks'"):
        load(written(tmp_path, LONG), instrument={"sector": " banks"})


@pytest.mark.parametrize(
    "fields",
    [
        {"layout": {"kind": "tall"}},
        {"layout": {"kind": "wide", "template": "{symbol}"}},
        {"timestamps": {"timezone": "New York"}},
        {"timestamps": {"stamp": "start"}},
        {"timestamps": {"stamp": "start", "bar": "soon"}},
        {"scale": {"volume": 0}},
        {"scale": {"turnover": 2}},
        {"instrument": {"tick": 0}},
        {"repair": "guess"},
        {"separator": ";"},
    ],
    ids=str,
)
def test_configurations_are_checked(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FilesSource(path=Path("x.csv"), **fields)


@pytest.mark.parametrize(
    ("name", "symbol"), [("BRK.B.csv", "BRK.B"), ("A.csv.gz", "A"), ("x.y.parquet", "x.y")]
)
def test_symbol_of_a_file(name: str, symbol: str) -> None:
    assert symbol_of(Path("folder") / name) == symbol


price = st.floats(0.01, 1e6).map(lambda x: round(x, 4))


@settings(max_examples=25)
@given(
    st.lists(st.tuples(price, price, price, price, st.integers(0, 10**9)), min_size=2, max_size=20)
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, float, float, int]]
) -> None:
    """Bars written as CSV and as Parquet, long, come back to the last bit."""
    days = pd.date_range("2020-01-01", periods=len(rows), freq="D")
    opens, closes = (np.array([row[i] for row in rows]) for i in (0, 3))
    prices = np.array([row[:4] for row in rows])
    frame = pd.DataFrame(
        {
            "open": opens,
            "high": prices.max(axis=1),
            "low": prices.min(axis=1),
            "close": closes,
            "volume": [float(row[4]) for row in rows],
            "symbol": "A",
            "date": days,
        }
    )
    expected = Bars.from_pandas(frame, actions=CorporateActions.empty())
    folder = tmp_path_factory.mktemp("round")
    frame.to_csv(folder / "a.csv", index=False)
    frame.to_parquet(folder / "b.parquet")
    for name in ("a.csv", "b.parquet"):
        assert load(folder / name).bars == expected

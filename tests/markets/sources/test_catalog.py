"""What stands behind `perennial data ls`, `check` and `fetch`, and the configuration of data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from markets.bars import Bars
from markets.calendars import CalendarError
from markets.instruments import Instrument
from markets.sources import (
    DataConfigError,
    FilesSource,
    PackagesSource,
    check,
    fetch,
    list_datasets,
    load_config,
    load_dataset,
    parse_config,
    verify_embedded,
)
from markets.sources.check import check_bars
from markets.sources.download import DownloadError


def test_list_names_every_way_in() -> None:
    infos = {info.id: info for info in list_datasets()}
    assert list(infos) == ["us_stocks", "nasdaq", "aapl_adjusted", "files", "yfinance", "ccxt"]
    for info in infos.values():
        page = str(info)
        assert info.id in page
        assert info.licence in page
        assert all(trap in page for trap in info.traps)
    assert infos["us_stocks"].available
    assert infos["us_stocks"].rows == 3270


def test_how_to_select_is_a_valid_configuration() -> None:
    for info in list_datasets():
        words = [word for word in info.how.split(", or")[0].split() if "=" in word]
        fields = dict(word.removeprefix("data.").split("=", 1) for word in words)
        given = {k: v.strip("[]").split(",") if v[0] == "[" else v for k, v in fields.items()}
        assert parse_config(given).kind == given["kind"]


def test_embedded_data_is_the_pinned_one() -> None:
    assert verify_embedded() == {"us_stocks": None, "nasdaq": None, "aapl_adjusted": None}


def test_check_of_an_embedded_set() -> None:
    report = check("us_stocks")
    page = str(report)
    assert report.ok
    assert report.manifest is not None
    assert report.manifest.sha256 in page
    assert ("AAPL", 2, 3) in report.actions
    assert "no faults" in page
    assert "MSFT: 1 splits, 37 dividends" in page
    assert not report.gaps
    assert report.moves[0].symbol == "AAPL"
    assert report.moves[0].when.startswith("2000-09-29")
    assert report.moves[0].change == pytest.approx(-0.519, abs=0.001)


def test_check_of_chosen_symbols() -> None:
    report = check("us_stocks", symbols=["FB"])
    assert report.manifest is not None
    assert report.manifest.symbols == ("FB",)


def test_check_names_what_it_does_not_know() -> None:
    with pytest.raises(DataConfigError, match="nothing: expected one of us_stocks, nasdaq"):
        check("nothing")
    with pytest.raises(CalendarError, match="XNYZ"):
        check("nasdaq", calendar="XNYZ")


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    path = tmp_path / "faulty.csv"
    rows = [f"2020-01-{day:02d},10,11,9,10,100" for day in range(1, 29)]
    rows[4] = "2020-01-05,10,11,9,-10,100"
    path.write_text("\n".join(["date,open,high,low,close,volume", *rows]))
    return path


def test_check_reports_faults_and_describes_the_rest(faulty: Path) -> None:
    report = check(faulty)
    page = str(report)
    assert not report.ok
    assert "FAULTS" in page
    assert f"{faulty}: row 6, column faulty.close: expected > 0" in page
    assert "repair: mask would leave" in page
    assert "27 bars" in page


def test_check_reports_what_nothing_mends(tmp_path: Path) -> None:
    path = tmp_path / "text.csv"
    path.write_text("a,b\n1,2\n")
    report = check(path)
    assert not report.ok
    assert report.manifest is None
    assert "timestamp: expected the column" in str(report)


def bars_of(
    closes: list[float], days: list[str], calendar: str | None = None, volume: float = 1.0
) -> Bars:
    close = np.array(closes)[:, None]
    ts = pd.DatetimeIndex(days).as_unit("ns").asi8
    return Bars.from_arrays(
        ts,
        ("A",),
        open=close,
        high=close,
        low=close,
        close=close,
        volume=np.full_like(close, volume),
        instruments=(Instrument("A", calendar=calendar),),
    )


def test_gaps_against_a_calendar() -> None:
    days = ["2020-01-02", "2020-01-03", "2020-01-04", "2020-01-07"]  # a Saturday, and no Monday
    bars = bars_of([1.0, 2.0, 3.0, 4.0], days)
    assert not check_bars(bars).gaps
    (gap,) = check_bars(bars, "XNYS").gaps
    assert gap.sessions == ("2020-01-06",)
    assert gap.outside == ("2020-01-04",)
    page = str(check_bars(bars, "XNYS"))
    assert "1 sessions without a bar: 2020-01-06" in page
    assert "1 outside: 2020-01-04" in page


def test_extreme_moves_are_measured_in_robust_sigmas() -> None:
    days = [str(day.date()) for day in pd.date_range("2020-01-01", periods=101)]
    steps = np.tile([0.01, -0.01], 50)
    steps[60] = 0.5
    closes = [100.0, *(100.0 * np.exp(np.cumsum(steps)))]
    report = check_bars(bars_of(closes, days))
    (move,) = report.moves
    assert move.when == days[61]
    assert move.change == pytest.approx(np.expm1(0.5))
    assert move.sigmas == pytest.approx(0.5 / (1.4826 * 0.01), rel=0.05)


def test_bars_without_volume_are_counted() -> None:
    days = ["2020-01-01", "2020-01-02", "2020-01-03"]
    report = check_bars(bars_of([1.0, 1.0, 1.0], days, volume=0.0))
    assert report.warnings == ("A: 3 bars without volume: a volume limit fills nothing there",)


# --- configuration -----------------------------------------------------------------------------


def test_default_is_the_embedded_set() -> None:
    assert parse_config({}) == PackagesSource()


def test_yaml_paths_are_relative_to_the_file(faulty: Path, tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    folder.mkdir()
    path = folder / "mine.yaml"
    path.write_text("kind: files\npath: ../faulty.csv\nrepair: mask\nstart: 2020-01-03\n")
    config = load_config(path)
    assert isinstance(config, FilesSource)
    assert config.start == "2020-01-03"  # YAML reads a date; it becomes text
    assert check(path).ok
    assert load_dataset(config).bars.num_bars == 26


def test_selection_takes_the_place_of_the_configuration_s() -> None:
    dataset = load_dataset(
        PackagesSource(symbols=("IBM",)),
        symbols=["AAPL", "FB"],
        start="2012-06-01",
        end="2012-06-29",
    )
    assert dataset.bars.symbols == ("AAPL", "FB")
    assert dataset.bars.num_bars == 21


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: filez\n", "mine.yaml: .*filez.*packages.*files"),
        ("kind: files\n", r"mine.yaml\.path: Field required"),
        ("kind: files\npath: x\ndivider: ';'\n", r"mine.yaml\.divider: unknown field"),
        ("kind: files\npath: x\nscale: {volume: -1}\n", r"scale\.volume: .*than 0, found '-1'"),
        ("kind: packages\ndataset: sp500\n", r"mine.yaml\.dataset: sp500 is refused: .*open"),
        ("kind: packages\ndataset: 7\n", r"dataset: expected one of us_stocks, .*found 7"),
        ("kind: packages\nstart: soon\n", r"mine.yaml\.start: .*soon"),
        ("kind: ccxt\nsymbols: [A]\nstart: 2020-01-01\nretry: {attempts: 0}\n", r"\.attempts: "),
        ("kind: [1\n", "expected readable YAML"),
        ("just text\n", "expected fields such as kind and path, found 'just text'"),
        ("", "expected fields such as kind and path, found None"),
    ],
)  # fmt: skip
def test_configurations_name_the_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataConfigError, match=message):
        load_config(path)


def test_absent_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataConfigError, match=r"none.yaml: expected readable YAML"):
        load_config(tmp_path / "none.yaml")


def test_fetch_into_another_folder(tmp_path: Path) -> None:
    config = parse_config(
        {"kind": "yfinance", "symbols": ["AAPL"], "start": "2020-01-01", "offline": True}
    )
    with pytest.raises(DownloadError, match=str(tmp_path)):
        fetch(config, tmp_path)
    assert fetch(PackagesSource(), tmp_path).bars.num_assets == 5

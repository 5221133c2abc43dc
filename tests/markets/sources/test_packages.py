"""Embedded data sets: what they hold, their traps mended, their content pinned."""

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from markets.manifest import ManifestError
from markets.sources import packages
from markets.sources.catalog import verify_embedded
from markets.sources.packages import EMBEDDED, PackagesSource, data_file
from markets.sources.protocol import DataFileError, Dataset, DataSource, SelectionError


@pytest.fixture(scope="module")
def us_stocks() -> Dataset:
    return PackagesSource().load()


@pytest.mark.parametrize("name", ["us_stocks", "nasdaq", "aapl_adjusted"])
def test_catalogue_says_what_is_there(
    name: Literal["us_stocks", "nasdaq", "aapl_adjusted"],
) -> None:
    entry = EMBEDDED[name]
    source = PackagesSource(dataset=name)
    assert isinstance(source, DataSource)
    dataset = source.load()
    bars, manifest = dataset.bars, dataset.manifest
    assert bars.symbols == entry.symbols
    assert bars.num_bars == entry.rows
    assert tuple(str(moment.date()) for moment in bars.span) == entry.span
    assert manifest.dataset == name
    assert manifest.adjusted == entry.adjusted
    assert manifest.sha256 == bars.sha256()
    assert entry.version in manifest.source
    assert set(entry.traps) <= set(manifest.notes)


def test_bars_end_at_the_close_in_new_york(us_stocks: Dataset) -> None:
    ends = pd.DatetimeIndex(us_stocks.bars.ts_event, tz="UTC").tz_convert("America/New_York")
    hours = pd.Series(ends.strftime("%H:%M")).value_counts()
    assert set(hours.index) == {"16:00", "13:00"}
    assert hours["13:00"] < 60  # days before holidays


def test_sectors_are_known(us_stocks: Dataset) -> None:
    sectors = {i.symbol: i.sector for i in us_stocks.bars.instruments}
    assert sectors == {
        "AAPL": "Information Technology",
        "FB": "Communication Services",
        "GOOG": "Communication Services",
        "IBM": "Information Technology",
        "MSFT": "Information Technology",
    }
    assert PackagesSource(dataset="nasdaq").load().bars.instruments[0].sector is None


def test_volume_of_goog_is_halved_and_nothing_else(us_stocks: Dataset) -> None:
    frame = pd.read_csv(data_file(EMBEDDED["us_stocks"]))
    bars = us_stocks.bars
    for symbol, factor in (("GOOG", 0.5), ("AAPL", 1.0), ("FB", 1.0)):
        mine = frame[frame["Ticker"] == symbol]
        asset = bars.symbols.index(symbol)
        there = ~bars.missing[:, asset]
        np.testing.assert_array_equal(bars.volume[there, asset], mine["Volume"] * factor)
        np.testing.assert_array_equal(bars.close[there, asset], mine["Close"])
    assert any("GOOG's volume is halved" in note for note in us_stocks.manifest.notes)


def test_late_symbols_are_masked_and_never_filled(us_stocks: Dataset) -> None:
    bars = us_stocks.bars
    for symbol, count in (("AAPL", 3270), ("GOOG", 2148), ("FB", 196)):
        asset = bars.symbols.index(symbol)
        there = np.flatnonzero(~bars.missing[:, asset])
        assert len(there) == count
        assert there[0] == 3270 - count
        assert np.isnan(bars.close[: there[0], asset]).all()


def test_actions_of_apple(us_stocks: Dataset) -> None:
    actions = us_stocks.bars.select(["AAPL"]).actions.to_pandas()
    days = actions["ex_date"].dt.strftime("%Y-%m-%d")
    assert list(zip(days, actions["kind"], actions["value"], strict=True)) == [
        ("2000-06-21", "split", 2.0),
        ("2005-02-28", "split", 2.0),
        ("2012-08-09", "dividend", 2.65),
        ("2012-11-07", "dividend", 2.65),
        ("2013-02-07", "dividend", 2.65),
    ]


def test_actions_of_all(us_stocks: Dataset) -> None:
    actions = us_stocks.bars.actions.to_pandas()
    assert (actions["kind"] == "split").sum() == 3
    assert (actions["kind"] == "dividend").sum() == 92
    # The special dividend of 3.00 beside the usual 0.08: a tenth of the price, and no split.
    special = actions[(actions["symbol"] == "MSFT") & (actions["ex_date"] == "2004-11-15")]
    assert special["kind"].tolist() == ["dividend"]
    assert special["value"].tolist() == pytest.approx([3.08], abs=1e-4)


def test_total_return_is_the_one_of_the_adjusted_close(us_stocks: Dataset) -> None:
    """A holder who reinvests earns what adj_close says, through every split and dividend."""
    frame = pd.read_csv(data_file(EMBEDDED["us_stocks"]))
    bars = us_stocks.bars
    for asset, symbol in enumerate(bars.symbols):
        there = ~bars.missing[:, asset]
        adjusted = frame.loc[frame["Ticker"] == symbol, "Adj Close"].to_numpy()
        close = bars.close[there, asset]
        split, dividend = bars.split_TA[there, asset], bars.dividend_TA[there, asset]
        # Quandl's convention: the dividend is reinvested at the close of the ex-date.
        growth = split[1:] * (close[1:] + dividend[1:]) / close[:-1]
        np.testing.assert_allclose(growth, adjusted[1:] / adjusted[:-1], rtol=2e-6)


def test_silent_days_of_the_nasdaq() -> None:
    bars = PackagesSource(dataset="nasdaq").load().bars
    silent = pd.DatetimeIndex(bars.ts_event[bars.volume[:, 0] == 0])
    assert [str(day.date()) for day in silent] == ["2015-05-12", "2018-01-09"]


def test_adjusted_apple_has_dividends_and_no_split() -> None:
    actions = PackagesSource(dataset="aapl_adjusted").load().bars.actions.to_pandas()
    assert set(actions["kind"]) == {"dividend"}
    assert len(actions) == 24  # four a year
    true = [0.1825, 0.1925, 0.1925, 0.1925]  # 2019-02 .. 2019-11, in shares after 2020's split
    np.testing.assert_allclose(actions["value"][:4], true, atol=0.0125)


@pytest.mark.parametrize(("name", "reason"), [("sp500", "open"), ("dax", "us_stocks, nasdaq")])
def test_other_identifiers_are_refused_with_a_reason(name: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        PackagesSource(dataset=name)  # type: ignore[arg-type]  # the point of the test


def test_selection_of_symbols_and_span() -> None:
    dataset = PackagesSource(symbols=("MSFT", "FB"), start="2012-01-01", end="2012-12-31").load()
    assert dataset.bars.symbols == ("MSFT", "FB")
    assert str(dataset.bars.span[0].date()) == "2012-01-03"
    assert str(dataset.bars.span[1].date()) == "2012-12-31"
    assert dataset.manifest.rows == dataset.bars.num_bars == 250


def test_rows_before_the_only_chosen_symbol_are_left_out() -> None:
    bars = PackagesSource(symbols=("FB",)).load().bars
    assert bars.num_bars == 196
    assert not bars.missing.any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"symbols": ("AAPL", "TSLA")}, r"us_stocks: .*\['AAPL', 'FB', .*'TSLA'"),
        ({"start": "2020-01-01"}, r"us_stocks: .*no bar .*2013-03-01"),
        ({"symbols": ("FB",), "end": "2005-01-01"}, r"us_stocks: .*FB.*no bar"),
        ({"sha256": "0" * 64}, r"sha256: expected 0{64}, found [0-9a-f]{64}"),
    ],
)
def test_what_is_not_there_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises((SelectionError, ManifestError), match=message):
        PackagesSource(**fields).load()


def test_an_empty_list_of_symbols_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        PackagesSource(symbols=())


def test_the_expected_sha256_is_that_of_the_manifest(us_stocks: Dataset) -> None:
    assert PackagesSource(sha256=us_stocks.manifest.sha256).load().bars == us_stocks.bars


@pytest.fixture
def changed_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, str]:
    """The package with one price changed, as another version of it might have."""
    content = gzip.decompress(data_file(EMBEDDED["us_stocks"]).read_bytes())
    content = content.replace(b"AAPL,2000-03-01,118.56", b"AAPL,2000-03-01,118.57")
    path = tmp_path / "stocks.csv.gz"
    path.write_bytes(gzip.compress(content))
    monkeypatch.setattr(packages, "data_file", lambda _: path)
    return path, hashlib.sha256(content).hexdigest()


def test_changed_content_is_refused_and_says_how_to_accept_it(
    changed_package: tuple[Path, str],
) -> None:
    path, found = changed_package
    with pytest.raises(ManifestError) as caught:
        PackagesSource().load()
    message = str(caught.value)
    assert f"expected SHA-256 {EMBEDDED['us_stocks'].sha256}" in message
    assert f"found {found}" in message
    assert f"accept_sha256: {found}" in message
    assert str(path) in message
    assert verify_embedded()["us_stocks"] is not None


def test_changed_content_is_accepted_deliberately_and_noted(
    changed_package: tuple[Path, str],
) -> None:
    _, found = changed_package
    dataset = PackagesSource(accept_sha256=found).load()
    assert dataset.bars.open[0, 0] == 118.57
    assert any(f"content {found} accepted" in note for note in dataset.manifest.notes)
    with pytest.raises(ManifestError):
        PackagesSource(accept_sha256="1" * 64).load()


def test_recompressed_content_is_the_same_content(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, us_stocks: Dataset
) -> None:
    content = gzip.decompress(data_file(EMBEDDED["us_stocks"]).read_bytes())
    path = tmp_path / "stocks.csv.gz"
    path.write_bytes(gzip.compress(content, compresslevel=1))
    monkeypatch.setattr(packages, "data_file", lambda _: path)
    assert PackagesSource().load().bars == us_stocks.bars


def test_truncated_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "stocks.csv.gz"
    path.write_bytes(data_file(EMBEDDED["us_stocks"]).read_bytes()[:1000])
    monkeypatch.setattr(packages, "data_file", lambda _: path)
    with pytest.raises(DataFileError, match=r"stocks.csv.gz: expected a gzip file"):
        PackagesSource().load()


def test_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DataFileError, match=r"install bokeh_sampledata==2026.1"):
        PackagesSource().load()


def test_the_packages_themselves_are_not_imported() -> None:
    code = (
        "import sys; from markets.sources.packages import EMBEDDED, PackagesSource\n"
        "for name in EMBEDDED: PackagesSource(dataset=name).load()\n"
        "print(sorted({'arch', 'statsmodels', 'bokeh_sampledata', 'hvsampledata', 'yfinance',"
        " 'ccxt', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(packages.__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"


def test_two_loads_are_equal_to_the_byte(us_stocks: Dataset) -> None:
    again = PackagesSource().load()
    assert again.manifest.to_json() == us_stocks.manifest.to_json()
    assert again.bars.sha256() == us_stocks.bars.sha256()

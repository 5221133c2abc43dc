"""Data sets that come inside ordinary dependencies: the embedded defaults, nothing copied.

The packages' own data files are read in place, without importing the packages. Each file's content
is pinned by SHA-256, so that another version of a package cannot change a result unseen.
"""

import gzip
import hashlib
import importlib.metadata
import importlib.util
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from markets.actions import CorporateActions, derive_actions
from markets.bars import Bars
from markets.instruments import Instrument
from markets.manifest import ManifestError
from markets.sources.protocol import (
    DataFileError,
    Dataset,
    Provenance,
    SourceConfig,
    assemble,
)

__all__ = ["EMBEDDED", "EmbeddedDataset", "PackagedFile", "PackagesSource", "accept_content"]

_FIELDS = ("open", "high", "low", "close", "volume")
# Global Industry Classification Standard since 2018-09-28; an index has none.
_SECTORS = {
    "AAPL": "Information Technology",
    "FB": "Communication Services",
    "GOOG": "Communication Services",
    "IBM": "Information Technology",
    "MSFT": "Information Technology",
}


@dataclass(frozen=True, kw_only=True)
class PackagedFile:
    """A data file inside an ordinary package, pinned by its content.

    Attributes:
        dataset: Identifier.
        package: Top-level import name of the package.
        distribution: Name of its distribution.
        file: Path of the data file below the package's folder.
        sha256: SHA-256 of the file's uncompressed content.
        version: Version of the distribution in which that content was seen.
        licence: Terms of the data.
    """

    dataset: str
    package: str
    distribution: str
    file: str
    sha256: str
    version: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class EmbeddedDataset(PackagedFile):
    """A data set inside a package.

    Attributes:
        symbols: What it holds.
        span: First and last session, ISO 8601.
        rows: Number of sessions.
        adjusted: "none" or "split".
        good_for: What to use it for.
        traps: What is wrong with it, and what was done about it.
        read: Turns the file's content into bars.
    """

    symbols: tuple[str, ...]
    span: tuple[str, str]
    rows: int
    adjusted: Literal["none", "split"]
    good_for: str
    traps: tuple[str, ...]
    read: Callable[[bytes], Bars]


def _frame(content: bytes, symbol: str | None, date_format: str) -> pd.DataFrame:
    """Return a long frame: date, symbol, OHLCV and adj_close."""
    frame = pd.read_csv(io.BytesIO(content))
    frame.columns = [name.lower().replace(" ", "_") for name in frame.columns]
    frame["date"] = pd.to_datetime(frame["date"], format=date_format)
    if symbol is not None:
        frame["symbol"] = symbol
    return frame.rename(columns={"ticker": "symbol"}).astype(dict.fromkeys(_FIELDS, "float64"))


def _bars(frame: pd.DataFrame, actions: CorporateActions, *, lot: float = 1.0) -> Bars:
    symbols = sorted(frame["symbol"].unique())
    return Bars.from_pandas(
        frame[["date", "symbol", *_FIELDS]],  # dates become the closes of XNYS
        instruments=tuple(
            Instrument(s, tick=0.01, lot=lot, calendar="XNYS", sector=_SECTORS.get(s))
            for s in symbols
        ),
        actions=actions,
    )


def _actions(
    frame: pd.DataFrame, convention: Literal["ex_close", "previous_close"], tolerance: float
) -> CorporateActions:
    wide = frame.pivot(index="date", columns="symbol", values=["close", "adj_close"])
    return derive_actions(
        pd.DatetimeIndex(wide.index).as_unit("ns").asi8,
        [str(symbol) for symbol in wide["close"].columns],
        wide["close"].to_numpy(),
        wide["adj_close"].to_numpy(),
        convention=convention,
        tolerance=tolerance,
    )


def _us_stocks(content: bytes) -> Bars:
    frame = _frame(content, None, "%Y-%m-%d")
    frame.loc[frame["symbol"] == "GOOG", "volume"] /= 2.0
    return _bars(frame, _actions(frame, "ex_close", 1e-6))


def _nasdaq(content: bytes) -> Bars:
    return _bars(_frame(content, "IXIC", "%m/%d/%Y"), CorporateActions.empty(), lot=0.0)


def _aapl_adjusted(content: bytes) -> Bars:
    frame = _frame(content, "AAPL", "%Y-%m-%d")
    # Both closes are rounded to cents: a ratio steps by up to 3e-4 without any dividend.
    return _bars(frame, _actions(frame, "previous_close", 5e-4))


EMBEDDED: Mapping[str, EmbeddedDataset] = {
    entry.dataset: entry
    for entry in (
        EmbeddedDataset(
            dataset="us_stocks",
            package="bokeh_sampledata",
            distribution="bokeh_sampledata",
            file="_data/stocks.csv.gz",
            sha256="e73fe05d106b7da1abe8f947264c514afd02cef5c9db4864b9437c84d6bd6069",
            version="2026.1",
            licence="public domain (Quandl WIKI Prices); package BSD-3-Clause",
            symbols=("AAPL", "FB", "GOOG", "IBM", "MSFT"),
            span=("2000-03-01", "2013-03-01"),
            rows=3270,
            adjusted="none",
            good_for="the default: raw prices and actions of five stocks through two bear markets",
            traps=(
                "GOOG's volume is halved: the file states it in the shares after the 2014 split",
                "GOOG starts on 2004-08-19 and FB on 2012-05-18: both are masked before",
                "splits and dividends are derived from adj_close",
                "five survivors: a portfolio of them flatters every long strategy",
                "sectors are those of 2018: FB and GOOG were Information Technology before",
            ),
            read=_us_stocks,
        ),
        EmbeddedDataset(
            dataset="nasdaq",
            package="arch",
            distribution="arch",
            file="data/nasdaq/nasdaq.csv.gz",
            sha256="799ab0bf4a29129f23c27743098215c4033c139ff76dc935a1cd53d1aea9997e",
            version="8.0.0",
            licence="package NCSA; no separate licence of the data",
            symbols=("IXIC",),
            span=("1999-01-04", "2018-12-31"),
            rows=5031,
            adjusted="none",
            good_for="twenty years of regimes in one index: boom, two crashes, a long calm",
            traps=(
                "an index: it cannot be bought, and it pays no dividends",
                "volume is zero on 2015-05-12 and 2018-01-09: a volume limit fills nothing there",
            ),
            read=_nasdaq,
        ),
        EmbeddedDataset(
            dataset="aapl_adjusted",
            package="hvsampledata",
            distribution="hvsampledata",
            file="_data/apple_stocks.csv",
            sha256="a560e0fa31dde6a2511c78b3d53cff2d313aba536dbf83e7df39dc3375958735",
            version="0.1.5",
            licence="Yahoo data, for demonstration and education only; package BSD-3-Clause",
            symbols=("AAPL",),
            span=("2019-01-02", "2024-12-30"),
            rows=1509,
            adjusted="split",
            good_for="recent years of one stock: 2020 and 2022",
            traps=(
                "prices before 2020-08-31 are divided by 4: fees per share are not those of then",
                "dividends are derived from closes rounded to cents: exact to about 0.01",
            ),
            read=_aapl_adjusted,
        ),
    )
}

_REFUSED = {
    "sp500": "the S&P 500 of arch repeats the last close as the open on 97-100% of the days of"
    " 1999-2005 and on up to 78% later: an order filled at that open trades at a price that was"
    " not there. Only its close is usable; take nasdaq",
}


def _known_dataset(name: Any) -> Any:  # noqa: ANN401 - a validator sees the raw input
    if name in _REFUSED:
        raise ValueError(f"{name} is refused: {_REFUSED[name]}")
    if name not in EMBEDDED:
        raise ValueError(f"expected one of {', '.join(EMBEDDED)}, found {name!r}")
    return name


@config_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PackagesSource(SourceConfig):
    """A data set that comes inside an ordinary dependency; works offline, after installation.

    The S&P 500 of ``arch`` is left out on purpose: its open repeats the previous close for years.
    """

    kind: Literal["packages"] = "packages"
    """Discriminator."""
    dataset: Annotated[
        Literal["us_stocks", "nasdaq", "aapl_adjusted"], BeforeValidator(_known_dataset)
    ] = "us_stocks"
    """Identifier; `perennial data ls` describes them."""
    accept_sha256: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None
    """SHA-256 of a changed file's content that is accepted in place of the pinned one."""

    def load(self) -> Dataset:
        """Read, check and select the data set.

        Returns:
            The data set.

        Raises:
            DataFileError: The package or its file is not there.
            ManifestError: The file is not the one that this version knows.
            SelectionError: Symbols or a span that the data does not have.
        """
        entry = EMBEDDED[self.dataset]
        content = read_content(entry)
        accepted = accept_content(entry, content, self.accept_sha256)
        provenance = Provenance(
            dataset=entry.dataset,
            source=f"{entry.distribution} {installed_version(entry)}: {entry.file}",
            licence=entry.licence,
            adjusted=entry.adjusted,
            notes=(*entry.traps, *accepted),
        )
        return assemble(entry.read(content), provenance, self)


def data_file(entry: PackagedFile) -> Path:
    """Return where the package keeps the file, without importing the package.

    Raises:
        DataFileError: The package or the file is not there.
    """
    spec = importlib.util.find_spec(entry.package)
    if spec is None or not spec.submodule_search_locations:
        raise DataFileError(
            f"{entry.dataset}: expected the package {entry.package}, found none;"
            f" install {entry.distribution}=={entry.version}"
        )
    path = Path(spec.submodule_search_locations[0], entry.file)
    if not path.is_file():
        raise DataFileError(
            f"{path}: expected the data of {entry.dataset}, found no file;"
            f" install {entry.distribution}=={entry.version}"
            f" (found {installed_version(entry)})"
        )
    return path


def installed_version(entry: PackagedFile) -> str:
    """Return the installed version of the package, or "none"."""
    try:
        return importlib.metadata.version(entry.distribution)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def read_content(entry: PackagedFile) -> bytes:
    """Return the uncompressed content of the package's file."""
    path = data_file(entry)
    raw = path.read_bytes()
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError) as error:
        raise DataFileError(f"{path}: expected a gzip file, found: {error}") from error


def content_sha256(entry: PackagedFile) -> str:
    """Return the SHA-256 of the installed file's uncompressed content."""
    return hashlib.sha256(read_content(entry)).hexdigest()


def accept_content(entry: PackagedFile, content: bytes, accepted: str | None) -> tuple[str, ...]:
    """Refuse an unknown content; return a note where another one was accepted deliberately."""
    found = hashlib.sha256(content).hexdigest()
    if found == entry.sha256:
        return ()
    if found == accepted:
        return (f"content {found} accepted deliberately; known is {entry.sha256}",)
    raise ManifestError(
        f"{entry.dataset} ({entry.distribution} {installed_version(entry)}, {data_file(entry)}):"
        f" expected SHA-256 {entry.sha256} (version {entry.version}), found {found}. Install"
        f" {entry.distribution}=={entry.version}, or, having looked at the change, accept it with"
        f" accept_sha256: {found}"
    )

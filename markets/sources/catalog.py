"""What data there is, whether it is sound, and how to get it: behind ``perennial data``."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markets.sources.check import CheckReport, check_config
from markets.sources.config import (
    DataConfig,
    DataConfigError,
    changed,
    load_config,
    load_dataset,
    parse_config,
)
from markets.sources.files import FilesSource
from markets.sources.packages import (
    EMBEDDED,
    EmbeddedDataset,
    content_sha256,
    installed_version,
)
from markets.sources.protocol import DataFileError, Dataset

__all__ = ["DatasetInfo", "check", "config_of", "fetch", "list_datasets", "verify_embedded"]


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """One entry of the catalogue.

    Attributes:
        id: Identifier, or the kind of a source that you configure.
        source: Package and version, or service.
        licence: Terms of the data.
        symbols: What it holds; empty where you choose.
        span: First and last session, ISO 8601; None where you choose.
        rows: Number of sessions; None where you choose.
        good_for: What to use it for.
        traps: What is known to be wrong with it, and what is done about it.
        available: Whether the package that it needs is installed.
        how: How to select it on the command line.
    """

    id: str
    source: str
    licence: str
    symbols: tuple[str, ...]
    span: tuple[str, str] | None
    rows: int | None
    good_for: str
    traps: tuple[str, ...]
    available: bool
    how: str

    def __str__(self) -> str:
        held = ", ".join(self.symbols) or "the symbols that you name"
        span = f"{self.span[0]} to {self.span[1]}, {self.rows:,} sessions" if self.span else ""
        state = "" if self.available else "  (not installed)"
        lines = [
            f"{self.id}{state}: {self.good_for}",
            f"  holds    {held}{'; ' + span if span else ''}",
            f"  source   {self.source}",
            f"  licence  {self.licence}",
            *(f"  note     {trap}" for trap in self.traps),
            f"  select   {self.how}",
        ]
        return "\n".join(lines)


_SOURCES = (
    DatasetInfo(
        id="files",
        source="your CSV or Parquet files",
        licence="yours",
        symbols=(),
        span=None,
        rows=None,
        good_for="your own data: one file or a folder, long or wide",
        traps=("a file does not say whether it stamps a bar's start or end: say it (stamp)",),
        available=True,
        how="data.kind=files data.path=FILE_OR_FOLDER, or a YAML file of the same fields",
    ),
    DatasetInfo(
        id="yfinance",
        source="Yahoo Finance through the extra yfinance",
        licence="Yahoo's terms of service: personal use, no redistribution",
        symbols=(),
        span=None,
        rows=None,
        good_for="daily bars of stocks, funds, indices and currencies until today",
        traps=(
            "prices arrive divided by later splits: they are undone here",
            "history is revised without notice: keep the manifest's SHA-256",
        ),
        available=importlib.util.find_spec("yfinance") is not None,
        how="data.kind=yfinance data.symbols=[AAPL,MSFT] data.start=2010-01-04",
    ),
    DatasetInfo(
        id="ccxt",
        source="crypto exchanges through the extra ccxt",
        licence="the exchange's terms",
        symbols=(),
        span=None,
        rows=None,
        good_for="crypto bars from one minute to one day",
        traps=("minutes without a trade are absent", "some exchanges keep the last 720 bars only"),
        available=importlib.util.find_spec("ccxt") is not None,
        how="data.kind=ccxt data.exchange=binance data.symbols=[BTC/USDT] data.start=2020-01-01",
    ),
)


def _embedded_info(entry: EmbeddedDataset) -> DatasetInfo:
    return DatasetInfo(
        id=entry.dataset,
        source=f"{entry.distribution} {installed_version(entry)} (installed with this package)",
        licence=entry.licence,
        symbols=entry.symbols,
        span=entry.span,
        rows=entry.rows,
        good_for=entry.good_for,
        traps=entry.traps,
        available=importlib.util.find_spec(entry.package) is not None,
        how=f"data.kind=packages data.dataset={entry.dataset}",
    )


def list_datasets() -> list[DatasetInfo]:
    """Return what can be loaded: the embedded data sets first, then the sources to configure."""
    return [*(_embedded_info(entry) for entry in EMBEDDED.values()), *_SOURCES]


def verify_embedded() -> dict[str, str | None]:
    """Compare every embedded data set with its pinned SHA-256, without loading it.

    Returns:
        For each identifier None if all is well, else what is wrong and how to mend it.
    """
    found: dict[str, str | None] = {}
    for name, entry in EMBEDDED.items():
        try:
            sha256 = content_sha256(entry)
        except DataFileError as error:
            found[name] = str(error)
            continue
        wanted = f"{entry.distribution}=={entry.version}"
        found[name] = None
        if sha256 != entry.sha256:
            found[name] = (
                f"{name}: expected SHA-256 {entry.sha256} ({wanted}), found {sha256}"
                f" ({installed_version(entry)}); pip install {wanted}"
            )
    return found


def config_of(path_or_id: str | Path) -> DataConfig:
    """Return the configuration that a word on the command line means.

    Args:
        path_or_id: An embedded identifier, a YAML configuration, a data file or a folder.

    Returns:
        The configuration.

    Raises:
        DataConfigError: It is none of these.
    """
    path = Path(path_or_id).expanduser()
    if str(path_or_id) in EMBEDDED:
        return parse_config({"kind": "packages", "dataset": str(path_or_id)})
    if path.suffix in {".yaml", ".yml"}:
        return load_config(path)
    if path.exists():
        return FilesSource(path=path)
    raise DataConfigError(
        f"{path_or_id}: expected one of {', '.join(EMBEDDED)}, a YAML configuration, a file or a"
        " folder; found none of them"
    )


def check(
    path_or_id: str | Path | DataConfig,
    *,
    symbols: Sequence[str] | None = None,
    calendar: str | None = None,
) -> CheckReport:
    """Look for what is wrong with a data set; faults are reported and never raised.

    Args:
        path_or_id: An embedded identifier, a YAML configuration, a data file or folder, or a
            configuration.
        symbols: Only these.
        calendar: exchange_calendars name to look for gaps against; None: the instruments' own.

    Returns:
        The report; printing it shows all of it.

    Raises:
        DataConfigError: There is no such data set or configuration.
    """
    known = isinstance(path_or_id, (str, Path))
    config = config_of(path_or_id) if isinstance(path_or_id, (str, Path)) else path_or_id
    config = changed(config, symbols=tuple(symbols) if symbols else None)
    return check_config(config, str(path_or_id) if known else config.kind, calendar)


def fetch(config: DataConfig, cache_dir: Path | None = None) -> Dataset:
    """Load a data set, downloading what the local store lacks.

    Args:
        config: Which data; ``refresh`` in it downloads again.
        cache_dir: Folder of the store, in place of the configuration's.

    Returns:
        The data set.

    Raises:
        MarketDataError: The data cannot be had, or is at fault.
    """
    if cache_dir is not None and hasattr(config, "cache"):
        config = changed(config, cache=cache_dir)
    return load_dataset(config)

"""Bars of crypto exchanges, through the extra ``ccxt``.

An exchange names a bar by its start; here ``ts_event`` is its end, and a bar that had not ended
when it was fetched is left out. Long spans come in pages. Minutes without a trade are absent at
most exchanges, and stay so: missing, never filled.
"""

import importlib
import importlib.metadata
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import pandas as pd
from annotated_types import Gt
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from markets.bars import Bars
from markets.instruments import Instrument
from markets.sources.cache import Download
from markets.sources.credentials import credentials
from markets.sources.download import (
    DownloadConfig,
    DownloadError,
    MissingExtraError,
    TransientError,
    cached,
    plain,
    retrying,
    utc_now,
)
from markets.sources.protocol import Dataset, Provenance, assemble
from markets.times import show, to_ns

__all__ = ["CryptoSource"]

_FIELDS = ("open", "high", "low", "close", "volume")
_LENGTHS = {
    "1m": "1min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "1h", "4h": "4h", "1d": "1D"
}  # fmt: skip
_NS_PER_MS = 1_000_000


@config_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CryptoSource(DownloadConfig):
    """Bars of one exchange that ccxt knows. Needs the extra ``ccxt``.

    Public bars need no key. Where an exchange wants one it is read from the environment:
    ``PERENNIAL_<EXCHANGE>_API_KEY``, ``_SECRET``, ``_PASSWORD``.
    """

    kind: Literal["ccxt"] = "ccxt"
    """Discriminator."""
    exchange: Annotated[str, Field(pattern=r"^[a-z0-9]+$")] = "binance"
    """ccxt identifier of the exchange."""
    timeframe: Literal["1m", "5m", "15m", "30m", "1h", "4h", "1d"] = "1h"
    """Length of a bar."""
    page: Annotated[int, Field(ge=1, le=5000)] = 500
    """Bars asked for at a time; exchanges give at most 300 to 1500."""
    tick: Annotated[float, Gt(0)] = 0.01
    """Smallest price step, in the quote asset."""
    repair: Literal["drop", "mask", "clip"] | None = None
    """What to do with faulty bars; recorded in the manifest; None: refuse."""

    def load(self) -> Dataset:
        """Fetch, or read from the local store, and select the bars.

        Returns:
            The data set.

        Raises:
            MissingExtraError: ccxt is not installed.
            DownloadError: The exchange gave no usable bars; all symbols at fault are named.
            CacheError: The local store is damaged or cannot be written.
            BarsError: The bars are at fault.
            SelectionError: No bars in the span.
        """
        downloads, faults = {}, []
        for symbol in self.symbols or ():
            try:
                downloads[symbol] = cached(self, _request(self, symbol), _Fetch(self, symbol))
            except DownloadError as error:
                if isinstance(error, MissingExtraError):
                    raise
                faults.append(str(error))
        if faults:
            raise DownloadError("\n".join(faults))
        bars = Bars.from_pandas(
            pd.concat([self._frame(symbol, down) for symbol, down in downloads.items()]),
            instruments=[self._instrument(symbol) for symbol in downloads],
            repair=self.repair,
        )
        first = next(iter(downloads.values()))
        provenance = Provenance(
            dataset=f"{self.exchange} {self.timeframe}",
            source=f"{self.exchange} through {first.client}, fetched {first.retrieved}",
            licence=f"the terms of {self.exchange}",
            notes=tuple(self._late(symbol, down) for symbol, down in downloads.items()),
        )
        return assemble(bars, provenance, self)

    def _instrument(self, symbol: str) -> Instrument:
        quote = symbol.split(":", maxsplit=1)[0].rsplit("/", maxsplit=1)[-1]
        return Instrument(symbol, tick=self.tick, currency=quote)

    def _frame(self, symbol: str, download: Download) -> pd.DataFrame:
        table = download.tables["bars"]
        ends = table["ts_start"].to_numpy(np.int64) + pd.Timedelta(_LENGTHS[self.timeframe]).value
        index = pd.DatetimeIndex(ends, tz="UTC", name="ts_event")
        bars = table[list(_FIELDS)].set_axis(index, axis=0)
        bars.insert(0, "symbol", symbol)
        return bars[ends <= pd.Timestamp(download.retrieved).as_unit("ns").value]

    def _late(self, symbol: str, download: Download) -> str:
        first = show(int(download.tables["bars"]["ts_start"].iloc[0]))
        return f"{symbol}: first bar starts {first}, asked from {self.start}"


def _request(config: CryptoSource, symbol: str) -> dict[str, Any]:
    """Return what identifies an answer in the store."""
    return {
        "source": "ccxt",
        "exchange": config.exchange,
        "symbol": symbol,
        "timeframe": config.timeframe,
        "start": config.start,
        "end": config.end,
        "base_url": config.base_url,
    }


@dataclass(frozen=True)
class _Fetch:
    """Asks an exchange for one symbol, page by page, each page with retries."""

    config: CryptoSource
    symbol: str

    def __call__(self) -> Download:
        ccxt = _ccxt()
        exchange = _exchange(ccxt, self.config)
        start = to_ns(self.config.start or 0) // _NS_PER_MS
        now = utc_now()
        end = to_ns(self.config.end, last=True) // _NS_PER_MS if self.config.end else None
        limit = min(end or np.iinfo(np.int64).max, int(now.timestamp() * 1000))
        rows = self._pages(ccxt, exchange, start, limit)
        if not rows:
            raise DownloadError(
                f"{self._where}: expected bars from {self.config.start}"
                f" to {self.config.end or 'now'}, found none"
            )
        return Download(
            request=_request(self.config, self.symbol),
            tables={"bars": self._table(rows)},
            retrieved=now.isoformat(),
            client=f"ccxt {importlib.metadata.version('ccxt')}",
            metadata={},
        )

    @property
    def _where(self) -> str:
        return f"ccxt {self.config.exchange} {self.symbol}"

    def _pages(self, ccxt: Any, exchange: Any, start: int, end: int) -> list[list[float]]:  # noqa: ANN401 - untyped package
        """Return rows [start of the bar in ms, OHLCV] from start to end, in ms, without repeats.

        An empty page may be a pause in trading, so the window moves on until the end.
        """
        step = int(pd.Timedelta(_LENGTHS[self.config.timeframe]).total_seconds() * 1000)
        rows: list[list[float]] = []
        since = start
        while since <= end:
            page = retrying(partial(self._page, ccxt, exchange, since), self.config.retry)
            fresh = [row for row in page if since <= row[0] <= end]
            rows += fresh
            if page and max(row[0] for row in page) > end:
                break
            since = int(fresh[-1][0]) + step if fresh else since + step * self.config.page
        return rows

    def _page(self, ccxt: Any, exchange: Any, since: int) -> list[list[float]]:  # noqa: ANN401 - untyped package
        config = self.config
        try:
            page = exchange.fetch_ohlcv(self.symbol, config.timeframe, since, config.page)
        except ccxt.NetworkError as error:  # time-outs, 5xx, rate limits, no connection
            raise TransientError(f"{self._where}: {plain(error)}", _wait(exchange)) from None
        except ccxt.BadSymbol as error:
            raise DownloadError(
                f"{self._where}: expected a symbol of the exchange such as BTC/USDT: {plain(error)}"
            ) from None
        except ccxt.BaseError as error:
            raise DownloadError(f"{self._where}: {type(error).__name__}: {plain(error)}") from None
        except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
            raise DownloadError(
                f"{self._where}: expected a list of bars, found another answer: {plain(error)}"
            ) from None
        rows = [self._checked(row) for row in page]
        priced = [row for row in rows if not np.isnan(row[1:5]).all()]  # empty: no trade
        return sorted(priced, key=lambda row: row[0])

    def _checked(self, row: Any) -> list[float]:  # noqa: ANN401 - the exchange's answer
        if not isinstance(row, list) or len(row) < 6 or row[0] is None:
            raise DownloadError(
                f"{self._where}: expected bars [time, open, high, low, close, volume], found"
                f" {plain(ValueError(repr(row)))}"
            )
        return [np.nan if value is None else float(value) for value in row[:6]]

    def _table(self, rows: list[list[float]]) -> pd.DataFrame:
        table = pd.DataFrame(rows, columns=["ts_start", *_FIELDS])
        table["ts_start"] = table["ts_start"].astype("int64") * _NS_PER_MS
        return table.drop_duplicates("ts_start").reset_index(drop=True)


def _wait(exchange: Any) -> float | None:  # noqa: ANN401 - untyped package
    """Return the seconds that the exchange asked to wait, if it did."""
    headers: Mapping[str, str] = getattr(exchange, "last_response_headers", None) or {}
    asked = str(headers.get("Retry-After") or "")
    return float(asked) if asked.isdigit() else None


def _ccxt() -> Any:  # noqa: ANN401 - untyped package
    try:
        return importlib.import_module("ccxt")
    except ImportError as error:
        raise MissingExtraError(
            "ccxt: the package is not installed; pip install 'perennial[ccxt]'"
        ) from error


def _exchange(ccxt: Any, config: CryptoSource) -> Any:  # noqa: ANN401 - untyped package
    if config.exchange not in ccxt.exchanges:
        near = [name for name in ccxt.exchanges if name.startswith(config.exchange[:3])]
        raise DownloadError(
            f"exchange: expected one that ccxt knows ({', '.join(near or ccxt.exchanges[:8])}),"
            f" found {config.exchange!r}"
        )
    exchange = getattr(ccxt, config.exchange)(
        {
            **credentials(config.exchange),
            "timeout": int(config.timeout_s * 1000),
            "enableRateLimit": True,
        }
    )
    exchange.logger = logging.getLogger(f"{__name__}.exchange")  # ccxt's own shows keys at DEBUG
    exchange.logger.setLevel(logging.WARNING)
    exchange.options["fetchMargins"] = False  # a signed request that bars do not need
    exchange.has["fetchCurrencies"] = False  # bars need no list of currencies
    markets = exchange.options.get("fetchMarkets")
    derivatives = any(":" in symbol for symbol in config.symbols or ())
    if isinstance(markets, dict) and "types" in markets and not derivatives:
        markets["types"] = ["spot"]  # else some exchanges are asked for four lists of markets
    if config.base_url is not None:
        exchange.urls["api"] = _routed(exchange.urls["api"], config.base_url)
        exchange.enableRateLimit = False  # a server of one's own has no quota
    return exchange


def _routed(urls: Any, base_url: str) -> Any:  # noqa: ANN401 - a tree of addresses
    """Return ccxt's tree of addresses with another scheme and host."""
    if isinstance(urls, dict):
        return {name: _routed(url, base_url) for name, url in urls.items()}
    if not isinstance(urls, str):
        return urls
    base, parts = urlsplit(base_url), urlsplit(urls)
    return urlunsplit((base.scheme, base.netloc, parts.path, parts.query, parts.fragment))

"""Daily and intraday bars from Yahoo Finance, through the extra ``yfinance``.

Yahoo divides prices and dividends by the splits of later years, and multiplies volumes by them;
only its adjusted close knows dividends. This source asks for all the time from ``start`` until now,
undoes every split in it, and so returns what was traded on the day, with the actions apart. It
stamps a daily bar at the close of ``calendar``, and leaves out a bar that was not complete when
fetched.
"""

import contextlib
import importlib
import importlib.metadata
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass

from markets.actions import CorporateActions
from markets.bars import Bars
from markets.calendars import NS_PER_DAY, session_closes
from markets.instruments import Instrument
from markets.sources.cache import Download
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
from markets.times import to_ns

__all__ = ["YahooSource"]

_FIELDS = ("open", "high", "low", "close", "volume")
_LENGTHS = {
    "1m": "1min", "2m": "2min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "1h", "1d": "1D"
}  # fmt: skip


@config_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class YahooSource(DownloadConfig):
    """Bars of Yahoo Finance, for personal use under its terms. Needs the extra ``yfinance``."""

    kind: Literal["yfinance"] = "yfinance"
    """Discriminator."""
    interval: Literal["1d", "1h", "30m", "15m", "5m", "2m", "1m"] = "1d"
    """Length of a bar. Yahoo keeps the last 7 days of 1m, 60 days of others, 2 years of 1h."""
    calendar: str | None = "XNYS"
    """exchange_calendars name of the symbols' exchange; None: days are stamped at midnight UTC."""
    currency: str = "USD"
    """Currency that the symbols are quoted in; another one is refused."""
    repair: Literal["drop", "mask", "clip"] | None = None
    """What to do with faulty bars; recorded in the manifest; None: refuse."""

    def load(self) -> Dataset:
        """Fetch, or read from the local store, and select the bars.

        Returns:
            The data set, raw prices with splits and dividends apart.

        Raises:
            MissingExtraError: yfinance is not installed.
            DownloadError: Yahoo gave no usable bars; all symbols at fault are named.
            CacheError: The local store is damaged or cannot be written.
            BarsError: The bars are at fault, or no session of the calendar.
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
        parts = [self._part(symbol, download) for symbol, download in downloads.items()]
        bars = Bars.from_pandas(
            pd.concat([part.frame for part in parts]),
            instruments=[self._instrument(symbol) for symbol in downloads],
            actions=CorporateActions.from_pandas(pd.concat([part.actions for part in parts])),
            repair=self.repair,
        )
        first = next(iter(downloads.values()))
        stale = self._stale(downloads)
        provenance = Provenance(
            dataset=f"yfinance {self.interval}",
            source=f"Yahoo Finance through {first.client}, fetched {first.retrieved}",
            licence="Yahoo's terms of service: personal use, no redistribution",
            notes=("splits of later years are undone: prices and volumes are as traded", *stale),
        )
        return assemble(bars, provenance, self)

    def _stale(self, downloads: Mapping[str, Download]) -> tuple[str, ...]:
        """Say where the store is older than the end that is asked for."""
        if self.end is None:
            return ()
        end = to_ns(self.end)
        return tuple(
            f"{symbol}: fetched {down.retrieved}, before the end asked for; refresh: true updates"
            for symbol, down in downloads.items()
            if to_ns(down.retrieved) < end
        )

    def _instrument(self, symbol: str) -> Instrument:
        return Instrument(symbol, lot=1.0, currency=self.currency, calendar=self.calendar)

    def _part(self, symbol: str, download: Download) -> "_Part":
        found = download.metadata["currency"]
        if found != self.currency:
            raise DownloadError(
                f"yfinance {symbol}: currency: expected {self.currency}, found {found}"
            )
        frame = _unsplit(download.tables["bars"])
        return _Part(self._complete(symbol, frame, download), _actions(symbol, frame))

    def _complete(self, symbol: str, frame: pd.DataFrame, download: Download) -> pd.DataFrame:
        """Stamp bars with their end and leave out those that had not ended when fetched."""
        starts = frame["ts_start"].to_numpy(np.int64)
        daily = self.interval == "1d"
        if daily and self.calendar is not None:
            closes = session_closes(self.calendar, starts)
            ends = np.where(closes < 0, starts + NS_PER_DAY, closes)
        else:
            ends = starts + pd.Timedelta(_LENGTHS[self.interval]).value
        index = pd.DatetimeIndex(starts if daily else ends, tz=None if daily else "UTC")
        bars = frame[list(_FIELDS)].set_axis(index.rename("ts_event"), axis=0)
        bars.insert(0, "symbol", symbol)
        priced = bars["close"].notna().to_numpy()  # yfinance makes rows for events without a bar
        return bars[priced & (ends <= pd.Timestamp(download.retrieved).as_unit("ns").value)]


def _request(config: YahooSource, symbol: str) -> dict[str, Any]:
    """Return what identifies an answer in the store; the end is none of it, see the module."""
    return {
        "source": "yfinance",
        "symbol": symbol,
        "interval": config.interval,
        "start": config.start,
        "base_url": config.base_url,
    }


@dataclass(frozen=True)
class _Part:
    """One symbol: its bars, and its actions as columns symbol, ex_date, kind, value."""

    frame: pd.DataFrame
    actions: pd.DataFrame


def _unsplit(frame: pd.DataFrame) -> pd.DataFrame:
    """Undo Yahoo's adjustment: multiply by the splits that come after a bar.

    raw_t = yahoo_t · Π_{s > t} split_s,  volume_t = yahoo_t / Π,  dividend_t = yahoo_t · Π
    """
    split = frame["split"].where(frame["split"] > 0, 1.0).to_numpy()
    later = np.append(np.cumprod(split[::-1])[::-1][1:], 1.0)
    raw = frame.copy()
    # Of funds Yahoo mostly counts capital gains within the dividend, but not always.
    apart = frame["capital_gains"].where(frame["dividend"] < frame["capital_gains"], 0.0)
    raw["dividend"] = (frame["dividend"] + apart) * later
    for name in ("open", "high", "low", "close"):
        raw[name] = frame[name] * later
    raw["volume"] = frame["volume"] / later
    return raw


def _actions(symbol: str, frame: pd.DataFrame) -> pd.DataFrame:
    days = pd.to_datetime(frame["ts_start"] // NS_PER_DAY * NS_PER_DAY)
    parts = [
        pd.DataFrame({"ex_date": days[there], "kind": kind, "value": frame.loc[there, kind]})
        for kind, there in (
            ("split", (frame["split"] > 0) & (frame["split"] != 1.0)),
            ("dividend", frame["dividend"] > 0),
        )
    ]
    return pd.concat(parts).assign(symbol=symbol)


@dataclass(frozen=True)
class _Fetch:
    """Asks Yahoo for one symbol, with retries."""

    config: YahooSource
    symbol: str

    def __call__(self) -> Download:
        yfinance = _yfinance()
        with _quiet(yfinance), _session(self.config) as session:
            history, currency = retrying(lambda: self._ask(yfinance, session), self.config.retry)
        if history.empty:
            raise DownloadError(
                f"yfinance {self.symbol}: expected bars from {self.config.start}, found none"
            )
        return Download(
            request=_request(self.config, self.symbol),
            tables={"bars": _table(history, daily=self.config.interval == "1d")},
            retrieved=utc_now().isoformat(),
            client=f"yfinance {importlib.metadata.version('yfinance')}",
            metadata={"currency": currency},
        )

    def _ask(self, yfinance: Any, session: Any) -> tuple[pd.DataFrame, str | None]:  # noqa: ANN401 - untyped package
        # yfinance remembers answers, failures included: a retry must not meet the old one.
        yfinance.data.YfData.cache_get.cache_clear()
        ticker = yfinance.Ticker(self.symbol, session=session)
        try:
            history = ticker.history(
                start=pd.Timestamp(self.config.start or 0).strftime("%Y-%m-%d"),
                interval=self.config.interval,
                auto_adjust=False,
                actions=True,
                timeout=self.config.timeout_s,
            )
            return history, ticker.get_history_metadata().get("currency")
        except TransientError as error:
            raise TransientError(f"yfinance {self.symbol}: {error}", error.wait_s) from None
        except yfinance.exceptions.YFRateLimitError as error:
            raise TransientError(f"yfinance {self.symbol}: rate limit: {plain(error)}") from None
        except OSError as error:  # curl's errors: no connection, time-out, reset
            raise TransientError(f"yfinance {self.symbol}: {plain(error)}") from None
        except ValueError as error:  # an answer that is no JSON: often a half-sent or blocked page
            raise TransientError(f"yfinance {self.symbol}: expected JSON: {plain(error)}") from None
        except (yfinance.exceptions.YFException, KeyError, TypeError, AttributeError) as error:
            raise DownloadError(
                f"yfinance {self.symbol}: expected the chart of a symbol, found: {plain(error)}"
            ) from None


def _table(history: pd.DataFrame, *, daily: bool) -> pd.DataFrame:
    """Return yfinance's frame as ts_start (dates as midnight UTC when daily), OHLCV and events."""
    index = pd.DatetimeIndex(history.index)
    index = index.tz_localize(None).normalize() if daily else index.tz_convert("UTC")
    table = history.rename(
        columns={"Stock Splits": "split", "Dividends": "dividend", "Adj Close": "adj_close"}
    ).rename(columns=lambda name: name.lower().replace(" ", "_"))
    table = table.assign(capital_gains=table.get("capital_gains", 0.0))  # funds only
    events = ["split", "dividend", "capital_gains"]
    table = table[[*_FIELDS, "adj_close", *events]].astype("float64")
    table.insert(0, "ts_start", index.as_unit("ns").asi8)
    return table.reset_index(drop=True)


def _yfinance() -> Any:  # noqa: ANN401 - untyped package
    try:
        return importlib.import_module("yfinance")
    except ImportError as error:
        raise MissingExtraError(
            "yfinance: the package is not installed; pip install 'perennial[yfinance]'"
        ) from error


@contextlib.contextmanager
def _quiet(yfinance: Any) -> Iterator[None]:  # noqa: ANN401 - untyped package
    """Let yfinance raise its errors, and keep its caches of zones and cookies out of the home."""
    debug = yfinance.config.debug
    before = debug.hide_exceptions
    caches = yfinance.cache
    managers = (
        (caches._TzCacheManager, "_tz_cache", caches._TzCacheDummy),  # noqa: SLF001 - no public way
        (caches._CookieCacheManager, "_Cookie_cache", caches._CookieCacheDummy),  # noqa: SLF001 - the same
    )
    kept = [getattr(manager, name) for manager, name, _ in managers]
    debug.hide_exceptions = False
    for manager, name, dummy in managers:
        setattr(manager, name, dummy())
    try:
        with warnings.catch_warnings():
            # yfinance calls pandas in ways that pandas 4 will drop; its users can do nothing.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        debug.hide_exceptions = before
        for (manager, name, _), value in zip(managers, kept, strict=True):
            setattr(manager, name, value)


@contextlib.contextmanager
def _session(config: YahooSource) -> Iterator[Any]:
    """A browser-like session that raises at once on answers worth repeating."""
    requests = importlib.import_module("curl_cffi.requests")
    session_class: Any = requests.Session

    class Session(session_class):  # type: ignore[misc]  # the base is known at run time only
        """Sends every request to `base_url` if there is one, and checks the status."""

        def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - curl_cffi's own signature
            response = super().request(method, _routed(url, config.base_url), *args, **kwargs)
            status = int(response.status_code)
            if status == 429 or status >= 500:
                raise _StatusError(status, str(response.headers.get("Retry-After") or ""))
            return response

    with Session(impersonate="chrome") as session:
        yield session


class _StatusError(TransientError, OSError):
    """A status worth repeating; an `OSError`, because yfinance lets those of cookies pass."""

    def __init__(self, status: int, retry_after: str) -> None:
        meaning = "rate limit" if status == 429 else "server error"
        wait_s = float(retry_after) if retry_after.isdigit() else None
        TransientError.__init__(self, f"HTTP {status} ({meaning})", wait_s)


def _routed(url: str, base_url: str | None) -> str:
    if base_url is None:
        return url
    base, parts = urlsplit(base_url), urlsplit(url)
    return urlunsplit((base.scheme, base.netloc, parts.path, parts.query, parts.fragment))

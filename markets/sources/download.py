"""What every remote source shares: configuration, bounded retries of reads, the local store."""

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pandas as pd
import stamina
from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from markets.errors import MarketDataError
from markets.sources.cache import Download, DownloadCache, default_cache
from markets.sources.credentials import redact
from markets.sources.protocol import SourceConfig

__all__ = [
    "DownloadConfig",
    "DownloadError",
    "MissingExtraError",
    "RetryConfig",
    "TransientError",
    "cached",
    "retrying",
    "utc_now",
]

_Result = TypeVar("_Result")


class DownloadError(MarketDataError):
    """A remote source did not give usable bars; names source, symbol and what it said."""


class TransientError(DownloadError):
    """An answer that may be better the next time: no connection, a time-out, 5xx, a rate limit.

    Attributes:
        wait_s: Seconds that the server asks to wait, if it said so.
    """

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class MissingExtraError(DownloadError):
    """The package that speaks with the source is not installed; names the extra."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RetryConfig:
    """How often a read is repeated, and how long it waits between.

    The n-th wait is min(maximum, initial·2^(n-1) + U(0, jitter)) seconds.
    """

    attempts: Annotated[int, Field(ge=1, le=20)] = 5
    """Attempts in all, the first included."""
    initial_s: Annotated[float, Field(ge=0, le=60)] = 0.5
    """First wait, seconds."""
    maximum_s: Annotated[float, Field(ge=0, le=600)] = 30.0
    """Longest wait, seconds; also bounds a wait that the server asks for."""
    jitter_s: Annotated[float, Field(ge=0, le=60)] = 1.0
    """Upper end of the uniform random part of a wait, seconds."""
    total_s: Annotated[float, Field(gt=0, le=3600)] = 180.0
    """No new attempt begins after so many seconds."""


def _host_only(url: str | None) -> str | None:
    if url is not None and not url.startswith(("http://", "https://")):
        raise ValueError(f"expected http://host[:port] or https://..., found {url!r}")
    return None if url is None else url.rstrip("/")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DownloadConfig(SourceConfig):
    """Fields that every remote source has."""

    cache: Path | None = None
    """Folder of the local store; None: $PERENNIAL_CACHE or the user's cache folder."""
    refresh: bool = False
    """Fetch again although the store has an answer; the new one takes its place."""
    offline: bool = False
    """Never ask the network: what the store lacks is an error."""
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 20.0
    """Longest wait for one answer, seconds."""
    retry: RetryConfig = RetryConfig()
    """Repeats of reads that fail for a reason that may pass."""
    base_url: Annotated[str | None, AfterValidator(_host_only)] = None
    """Scheme, host and port in place of the service's own: a mirror, or a test's server."""

    @model_validator(mode="after")
    def _needs_symbols(self) -> "DownloadConfig":
        if not self.symbols:
            raise ValueError("symbols: expected at least one, found none")
        if self.start is None:
            raise ValueError("start: expected the first day to fetch, found none")
        if self.refresh and self.offline:
            raise ValueError("refresh and offline exclude each other, found both")
        return self


def utc_now() -> pd.Timestamp:
    """Return the present time, UTC; one place to replace in a test."""
    return pd.Timestamp(dt.datetime.now(dt.UTC))


def retrying(read: Callable[[], _Result], retry: RetryConfig) -> _Result:
    """Repeat a read while it raises `TransientError`, with exponential waits and jitter.

    Args:
        read: The read; without side effects on the other side.
        retry: How often and how long.

    Returns:
        What the first successful attempt returned.

    Raises:
        TransientError: The last attempt failed too.
    """

    def wait(error: Exception) -> bool | float:
        if not isinstance(error, TransientError):
            return False
        return True if error.wait_s is None else min(error.wait_s, retry.maximum_s)

    for attempt in stamina.retry_context(
        on=wait,
        attempts=retry.attempts,
        timeout=retry.total_s,
        wait_initial=retry.initial_s,
        wait_max=retry.maximum_s,
        wait_jitter=retry.jitter_s,
    ):
        with attempt:
            return read()
    raise AssertionError("unreachable: stamina returns or raises")


def cached(
    config: DownloadConfig, request: Mapping[str, Any], fetch: Callable[[], Download]
) -> Download:
    """Return the stored answer to a request, or fetch and store it.

    Args:
        config: Which store, and whether to refresh or to stay offline.
        request: What is asked; JSON values only.
        fetch: Asks the source.

    Returns:
        The answer.

    Raises:
        CacheError: The store is damaged or cannot be written.
        DownloadError: Offline and not stored, or the source did not answer.
    """
    store = DownloadCache(config.cache or default_cache())
    if not config.refresh:
        stored = store.read(request)
        if stored is not None:
            return stored
    if config.offline:
        raise DownloadError(
            f"{request['source']} {request.get('symbol')}: offline, and {store.root} holds no"
            f" answer to this request ({store.record_path(request).name}); fetch it once online"
        )
    download = fetch()
    store.write(download)
    return download


def plain(error: BaseException) -> str:
    """Return what an exception says in one line, without secrets."""
    text = " ".join(str(error).split()) or type(error).__name__
    return redact(text)[:500]

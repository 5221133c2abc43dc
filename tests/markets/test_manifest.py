"""The record of a data set, and its refusal of any other."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from markets import Bars, Manifest, ManifestError


@pytest.fixture
def manifest(two: pd.DataFrame) -> Manifest:
    broken = two.copy()
    broken.loc[4, "high"] = 1.0
    bars = Bars.from_pandas(broken, repair="mask")
    return Manifest.of(
        bars, dataset="two", source="a test", licence="none", adjusted="split", notes=("é", "b")
    )


def test_describes_the_bars(manifest: Manifest) -> None:
    assert manifest.symbols == ("A", "B")
    assert (manifest.start, manifest.end) == (
        "2024-01-02T00:00:00+00:00", "2024-01-04T00:00:00+00:00",
    )  # fmt: skip
    assert manifest.rows == 3
    assert manifest.repairs[0].rule == "high: bounds"
    assert "found 1" in manifest.repairs[0].first[0]


def test_json_round_trip_on_disk(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    manifest.write(path)
    assert Manifest.read(path) == manifest
    assert json.loads(path.read_text(encoding="utf-8"))["notes"] == ["é", "b"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.json"]
    manifest.write(path)  # over an old one
    assert path.read_text(encoding="utf-8") == manifest.to_json()


def test_a_failed_write_leaves_the_old_file(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        manifest.write(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_verify_names_every_difference(two: pd.DataFrame) -> None:
    bars = Bars.from_pandas(two)
    manifest = Manifest.of(bars, dataset="two", source="a test", licence="none")
    manifest.verify(Bars.from_pandas(two.iloc[::-1].sort_values("date", kind="stable")))
    other = Bars.from_pandas(two.assign(volume=np.arange(5.0)))
    with pytest.raises(ManifestError) as caught:
        manifest.verify(other)
    assert str(caught.value).splitlines() == [
        "data set 'two' is not the one of its manifest:",
        f"  sha256: expected {bars.sha256()}, found {other.sha256()}",
    ]
    with pytest.raises(ManifestError, match=r"symbols: expected \('A', 'B'\), found \('A',\)"):
        manifest.verify(bars.select(["A"]))
    with pytest.raises(ManifestError, match="rows: expected 3, found 2"):
        manifest.verify(bars.rows(1, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "abc"}, "sha256: .*found 'abc'"),
        ({"rows": 0}, "rows: .*greater than or equal to 1, found '0'"),
        ({"adjusted": "fully"}, "adjusted: .*found 'fully'"),
        ({"colour": "red"}, "colour: .*[Uu]nexpected"),
        ({"version": 9}, r"version: expected 1, found 9"),
        ({"repairs": [{"policy": "drop"}]}, r"repairs\.0\.rule: Field required"),
    ],
)
def test_a_malformed_manifest_names_the_field(
    manifest: Manifest, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**json.loads(manifest.to_json()), **change}))
    with pytest.raises(ManifestError, match=message) as caught:
        Manifest.read(path)
    assert str(path) in str(caught.value)


def test_unreadable_manifests(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with pytest.raises(ManifestError, match=f"{path}: cannot be read"):
        Manifest.read(path)
    path.write_text('{"version": 1')
    with pytest.raises(ManifestError, match="expected JSON"):
        Manifest.read(path)
    path.write_text("[]")
    with pytest.raises(ManifestError, match="expected an object, found list"):
        Manifest.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ManifestError, match="cannot be read"):
        Manifest.read(path)

"""Checkpoints are complete or absent, and say what is wrong with them."""

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from training import checkpoint
from training.checkpoint import CheckpointError, CheckpointStore, Snapshot, is_complete, load

CONFIGURATION = "agent:\n  steps: 128\n  window: 16\nseed: 3\n"


def snapshot(value: float = 1.0) -> Snapshot:
    return Snapshot(
        weights={"actor.weight": torch.full((2, 3), value)},
        optimizer={"actor/0/exp_avg": torch.arange(3.0)},
        arrays={"env/state": np.array([[1.5, np.nan]]), "generator": np.arange(5, dtype=np.uint8)},
        trainer={"num_timesteps": 7, "episodes": [{"r": 0.1}]},
        files={"config.yaml": CONFIGURATION, "features.json": "{}"},
    )


def test_round_trip(tmp_path: Path) -> None:
    path = CheckpointStore(tmp_path).save(1024, snapshot(), score=0.5)
    assert path.name == "step-000001024"
    found = load(path, configuration=CONFIGURATION)
    assert found.weights["actor.weight"].equal(torch.ones(2, 3))
    assert found.optimizer["actor/0/exp_avg"].tolist() == [0.0, 1.0, 2.0]
    np.testing.assert_array_equal(found.arrays["env/state"], [[1.5, np.nan]])
    assert found.arrays["generator"].dtype == np.uint8
    assert found.trainer == {"num_timesteps": 7, "episodes": [{"r": 0.1}]}
    assert found.files == {"config.yaml": CONFIGURATION, "features.json": "{}"}


def test_nothing_is_pickled(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    path = store.save(1, snapshot())
    assert sorted(entry.name for entry in path.iterdir()) == [
        "config.yaml",
        "features.json",
        "manifest.json",
        "optimizer.safetensors",
        "simulator.npz",
        "trainer.json",
        "weights.safetensors",
    ]
    bad = Snapshot({}, {}, {"object": np.array([{}], dtype=object)}, {})
    with pytest.raises(ValueError, match=r"pickle|[Oo]bject"):
        store.save(2, bad)
    assert list(store.steps()) == [1]


FILES = [
    "weights.safetensors",
    "optimizer.safetensors",
    "simulator.npz",
    "trainer.json",
    "features.json",
]


@pytest.mark.parametrize("name", FILES)
def test_altered_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = CheckpointStore(tmp_path).save(1, snapshot())
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name}: expected SHA-256 \w+, found \w+"):
        load(path)


@pytest.mark.parametrize("name", FILES)
def test_truncated_and_missing_files_are_refused_and_skipped(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path)
    whole, path = store.save(1, snapshot()), store.save(2, snapshot())
    size = (path / name).stat().st_size
    os.truncate(path / name, size - 1)
    with pytest.raises(CheckpointError, match=f"{name}: expected {size} bytes, found {size - 1}"):
        load(path)
    assert store.latest() == whole
    assert "step-000000002 is incomplete and is skipped" in caplog.text
    (path / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: expected {size} bytes, found none"):
        load(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-20], "expected a JSON manifest, found damage"),
        (lambda text: text.replace('"step": 1', '"step": 2'), "expected SHA-256"),
        (lambda _: "[]", "expected a JSON manifest, found damage"),
        (lambda _: None, "expected a manifest, found none"),
    ],
)
def test_damaged_manifest(
    tmp_path: Path, damage: Callable[[str], str | None], message: str
) -> None:
    path = CheckpointStore(tmp_path).save(1, snapshot())
    file = path / "manifest.json"
    text = damage(file.read_text())
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(CheckpointError, match=rf"manifest\.json: {message}"):
        load(path)
    assert not is_complete(path)


def test_foreign_file_and_newer_format(tmp_path: Path) -> None:
    path = CheckpointStore(tmp_path).save(1, snapshot())
    (path / "extra.pkl").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"extra\.pkl: expected only files of the manifest"):
        load(path)
    (path / "extra.pkl").unlink()
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["format"] = 9
    manifest.pop("sha256")
    manifest["sha256"] = checkpoint._manifest_digest(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="expected format 1, found 9"):
        load(path)


def test_another_configuration_names_key_expected_and_found(tmp_path: Path) -> None:
    path = CheckpointStore(tmp_path).save(1, snapshot())
    other = CONFIGURATION.replace("window: 16", "window: 30") + "extra: true\n"
    message = (
        r"config\.yaml: another configuration: agent\.window: expected 30, found 16; "
        "extra: expected True, found 'nothing'"
    )
    with pytest.raises(CheckpointError, match=message):
        load(path, configuration=other)
    many = "".join(f"key{number}: 1\n" for number in range(9))
    with pytest.raises(CheckpointError, match="and 7 more"):
        load(path, configuration=many)
    reordered = "seed: 3\nagent: {window: 16, steps: 128}\n"
    assert load(path, configuration=reordered).trainer["num_timesteps"] == 7


def test_keeps_the_last_and_the_best(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2)
    assert store.latest() is None
    assert store.best() is None
    for step, score in ((1, 0.1), (2, 0.9), (3, None), (4, 0.9 - 1e-9), (5, 0.2)):
        store.save(step, snapshot(), score=score)
    assert list(store.steps()) == [2, 4, 5]
    assert store.best() == tmp_path / "step-000000002"
    assert store.latest() == tmp_path / "step-000000005"
    assert all(entry.name.startswith("step-") for entry in tmp_path.iterdir())
    with pytest.raises(ValueError, match="keep_last: must be >= 1, was 0"):
        CheckpointStore(tmp_path, keep_last=0)


def test_same_step_is_replaced(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(5, snapshot(1.0))
    path = store.save(5, snapshot(2.0))
    assert load(path).weights["actor.weight"][0, 0] == 2.0
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-000000005"]


def test_remains_of_a_killed_process_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".partial-step-000000009").mkdir()
    (tmp_path / ".partial-step-000000009" / "weights.safetensors").write_bytes(b"half")
    (tmp_path / "step-000000009").mkdir()  # never complete
    store = CheckpointStore(tmp_path)
    assert store.latest() is None
    path = store.save(9, snapshot())
    assert store.latest() == path
    assert not list(tmp_path.glob(".partial-*"))


def test_killed_while_replacing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    path = store.save(5, snapshot())
    path.rename(tmp_path / f".replaced-{path.name}")
    assert store.latest() == path
    assert load(path).trainer["num_timesteps"] == 7


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_score_is_finite(tmp_path: Path, score: float) -> None:
    with pytest.raises(ValueError, match=f"score: expected a finite number or None, found {score}"):
        CheckpointStore(tmp_path).save(1, snapshot(), score=score)


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, snapshot())

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = (
        r"step-000000002: .* \(No space left on device\): expected \d+ bytes free .* found \d+"
    )
    with pytest.raises(CheckpointError, match=message):
        store.save(2, snapshot())
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-000000001"]


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / "file" / "step-000000001"))):
        CheckpointStore(tmp_path / "file").save(1, snapshot())


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json", "../evil", ".hidden"])
def test_callers_files_have_plain_names_of_their_own(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected a plain name"):
        CheckpointStore(tmp_path).save(1, Snapshot({}, {}, {}, {}, {name: ""}))
    assert not list(tmp_path.iterdir())

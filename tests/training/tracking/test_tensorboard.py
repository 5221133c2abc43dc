"""Event files that TensorBoard reads back, once each step."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped] # no types
from tensorboard.plugins.hparams import metadata  # type: ignore[import-untyped] # no types
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # type: ignore[import-untyped] # no types

from training.tracking.config import TrackingConfig
from training.tracking.tensorboard import EventWriter
from training.tracking.tracker import RunTracker


def read(folder: Path) -> Any:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    return accumulator


def test_scalars_come_back_with_step_value_and_time(tmp_path: Path) -> None:
    now = time.time_ns() // 1_000_000
    with EventWriter(tmp_path) as writer:
        for step in range(5):
            writer.scalars({"a/b": step * 0.5, "c": -1.0}, step, now + step)
    scalars = read(tmp_path).Scalars("a/b")
    assert [(s.step, s.value) for s in scalars] == [(k, k * 0.5) for k in range(5)]
    assert [s.wall_time for s in scalars] == pytest.approx([(now + k) / 1e3 for k in range(5)])


def test_hparams_come_back_with_their_types(tmp_path: Path) -> None:
    params = {"lr": 3e-4, "norm": True, "kind": "ppo", "hidden": [64, 64], "seed": None}
    with EventWriter(tmp_path) as writer:
        writer.hparams(params, "run-1")
    content = read(tmp_path).summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    start = HParamsPluginData.FromString(content).session_start_info
    assert start.hparams["lr"].number_value == 3e-4
    assert start.hparams["norm"].bool_value is True
    assert start.hparams["kind"].string_value == "ppo"
    assert start.hparams["hidden"].string_value == "[64, 64]"
    assert start.hparams["seed"].string_value == "None"


def test_resumed_run_shows_no_step_twice(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        for step in range(10):
            writer.scalars({"x": 1.0}, step, 1_000)
    for begin, end, value in ((6, 12, 2.0), (9, 15, 3.0)):
        with EventWriter(tmp_path, purge_step=begin) as writer:
            for step in range(begin, end):
                writer.scalars({"x": value}, step, 1_000)
    scalars = [(s.step, s.value) for s in read(tmp_path).Scalars("x")]
    expected = [1.0] * 6 + [2.0] * 3 + [3.0] * 6
    assert scalars == list(enumerate(expected))


def test_torn_file_of_a_killed_process_is_read(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        for step in range(10):
            writer.scalars({"x": 1.0}, step, 1_000)
    (path,) = tmp_path.glob("events*")
    path.write_bytes(path.read_bytes()[:-7])
    assert [s.step for s in read(tmp_path).Scalars("x")] == list(range(9))


def test_tracker_writes_events_into_the_run_and_survives_their_loss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = TrackingConfig(mlflow=False)
    with RunTracker(tmp_path / "run", config).start({"agent": {"lr": 0.1}}) as tracker:
        tracker.log_metrics({"x": 1.0}, 5)
    events = read(tmp_path / "run" / "tensorboard")
    assert [(s.step, s.value) for s in events.Scalars("x")] == [(5, 1.0)]
    assert metadata.SESSION_START_INFO_TAG in events.summary_metadata
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "tensorboard").write_text("a file where the folder should be")
    with RunTracker(blocked, config).start({}) as tracker:
        tracker.log_metrics({"x": 1.0}, 5)
        tracker.log_metrics({"x": 1.0}, 6)
    assert caplog.text.count("TensorBoard events cannot be written") == 1


@pytest.mark.parametrize("logged_before_checkpoint", [True, False])
def test_resumed_tracker_shows_every_step_once(
    tmp_path: Path, logged_before_checkpoint: bool
) -> None:
    """Whether the checkpoint's own step was recorded before it was written, or not yet."""
    config = TrackingConfig(mlflow=False)
    with RunTracker(tmp_path / "run", config).start({}) as tracker:
        for step in range(0, 60, 10):
            tracker.log_metrics({"x": float(step)}, step)
            if step != 30 or logged_before_checkpoint:
                tracker.log_metrics({"late": float(step)}, step)
    with RunTracker(tmp_path / "run", config).start({}, resume_step=30) as tracker:
        tracker.log_metrics({"late": 30.0}, 30)
        for step in range(40, 90, 10):
            tracker.log_metrics({"x": float(step), "late": float(step)}, step)
    events = read(tmp_path / "run" / "tensorboard")
    for name in ("x", "late"):
        scalars = sorted((s.step, s.value) for s in events.Scalars(name))
        assert scalars == [(step, float(step)) for step in range(0, 90, 10)], name


def test_neither_torch_nor_tensorflow_is_imported() -> None:
    program = (
        "import sys, training.tracking.tensorboard\n"
        "assert not {'torch', 'tensorflow'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == 0

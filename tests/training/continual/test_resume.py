"""A stream that was interrupted at any instant goes on to the same bits."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.training.continual.streams import (
    FLAT,
    LENIENT,
    OPTIONS,
    Follower,
    assert_same_streams,
    configuration,
    run,
    stream_of,
)
from training.config import TrainConfig
from training.continual.updates import GatedPhase
from training.signals import StopRequest

EWC = {"kind": "ewc", "states": 64}
CLONING = {"kind": "cloning", "states": 64, "batch": 16}
STREAMS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "none": (FLAT, {}),
    "ewc and cloning": (FLAT, {"remedies": [EWC, CLONING]}),
    "si": (FLAT, {"remedies": [{"kind": "si"}]}),
    "packnet": (FLAT, {"remedies": [{"kind": "packnet", "phases": 2, "retrain": 0.5}]}),
    "grow": (OPTIONS, {"remedies": [{"kind": "grow"}]}),
    "gated": (FLAT, {"remedies": [EWC], "gate": LENIENT}),
    "gated options": (OPTIONS, {"gate": LENIENT}),
}


def config_of(name: str) -> TrainConfig:
    base, continual = STREAMS[name]
    return configuration(base=base, **continual)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Streams that nobody interrupted, by name."""
    found: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in found:
            found[name] = tmp_path_factory.mktemp("whole")
            run(config_of(name), found[name])
        return found[name]

    return get


@pytest.mark.parametrize("name", STREAMS)
def test_a_stop_request_in_the_middle_of_a_phase(whole: Any, name: str, tmp_path: Path) -> None:
    config = config_of(name)
    first = run(config, tmp_path, stop_at=(1, 0))
    assert first.stop.requested
    again = run(config, tmp_path)
    # Under a gate a phase goes on from the champion, whose checkpoint stands for the last decision.
    assert again.begun == [(1, 0 if "gate" in STREAMS[name][1] else 128)]
    assert_same_streams(config, whole(name), tmp_path)


class Late(StopRequest):
    """Is asked for between the look before the training and that before its first rollout."""

    looks = 0

    @property
    def requested(self) -> bool:
        """Whether this is the second look or a later one."""
        self.looks += 1
        return self.looks > 1


def test_a_stop_request_before_the_first_step(whole: Any, tmp_path: Path) -> None:
    config = config_of("none")
    assert not stream_of(config, tmp_path).run(Follower(stop=Late()))
    assert [path.name for path in tmp_path.rglob("step-*")] == ["step-000000000"]
    run(config, tmp_path)
    assert_same_streams(config, whole("none"), tmp_path)


@pytest.mark.parametrize("gone", [("scores.json",), ("scores.json", "accepted")])
@pytest.mark.parametrize("name", ["ewc and cloning", "packnet", "gated"])
def test_killed_while_a_phase_was_closed(
    whole: Any, name: str, gone: tuple[str, ...], tmp_path: Path
) -> None:
    config, folder = config_of(name), tmp_path / "copy"
    shutil.copytree(whole(name), folder)
    for each in gone:
        path = folder / "seed-0" / "phase-01" / each
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run(config, folder)
    assert_same_streams(config, whole(name), folder)


def test_a_pruning_by_the_consolidation_survives(tmp_path: Path) -> None:
    """A phase that the gate ended early is pruned when it is closed: weights change after it."""
    harsh = LENIENT | {"retries": 0}
    harsh["acceptance"] = LENIENT["acceptance"] | {"vitals": {"log_std": (-1.5, -1.4)}}
    config = configuration(remedies=[{"kind": "packnet", "phases": 2}], gate=harsh)
    one, other = tmp_path / "one", tmp_path / "other"
    run(config, one)
    shutil.copytree(one, other)
    (other / "seed-0" / "phase-01" / "scores.json").unlink()
    run(config, other)
    assert_same_streams(config, one, other)


def test_killed_between_champion_and_decision(whole: Any, tmp_path: Path) -> None:
    config, folder = config_of("gated"), tmp_path / "copy"
    shutil.copytree(whole("gated"), folder)
    phase = folder / "seed-0" / "phase-01"
    lines = (phase / "decisions.jsonl").read_text().splitlines(keepends=True)
    (phase / "decisions.jsonl").write_text("".join(lines[:-1]))
    (phase / "scores.json").unlink()
    shutil.rmtree(phase / "accepted")
    run(config, folder)
    assert_same_streams(config, whole("gated"), folder)


@pytest.mark.parametrize("name", ["gated", "gated options"])
def test_killed_while_an_update_is_judged(
    whole: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, decide = config_of(name), GatedPhase._decide

    def dies(self: GatedPhase, number: int, *rest: Any, **named: Any) -> Any:
        if number == 1:
            raise KeyboardInterrupt
        return decide(self, number, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(GatedPhase, "_decide", dies)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path)
    assert list(tmp_path.rglob("update-001/step-000000512"))
    run(config, tmp_path)
    assert_same_streams(config, whole(name), tmp_path)


def test_a_resumed_gated_phase_tells_from_where_it_goes_on(tmp_path: Path) -> None:
    config = config_of("gated")
    run(config, tmp_path, stop_at=(0, 256))
    again = run(config, tmp_path)
    assert again.begun == [(0, 256), (1, 0)]
    updates = [step for phase, step, v in again.logged if phase == 0 and "gate/accepted" in v]
    assert updates == [512]


SCRIPT = """
import json, sys
from pathlib import Path
from tests.training.continual.streams import configuration, run
base, continual, folder = json.loads(sys.argv[1])
run(configuration(base=tuple(base), **continual), Path(folder))
"""


@pytest.mark.parametrize("name", ["ewc and cloning", "gated"])
def test_killed_by_the_system(whole: Any, name: str, tmp_path: Path) -> None:
    """SIGKILL as soon as a file appears, again and again."""
    config, (base, continual) = config_of(name), STREAMS[name]
    signs = ["phase-00/*/step-000000256", "phase-01/*/step-000000*"]
    if name == "gated":
        signs = ["phase-00/decisions.jsonl", "phase-01/update-000/step-*"]
    for sign in signs:
        command = [sys.executable, "-c", SCRIPT, json.dumps([base, continual, str(tmp_path)])]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while process.poll() is None and not list((tmp_path / "seed-0").glob(sign)):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    run(config, tmp_path)
    assert_same_streams(config, whole(name), tmp_path)

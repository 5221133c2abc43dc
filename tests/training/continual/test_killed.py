"""Commands that are killed go on, by the documented command, to the same bits."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from perennial import main
from tests.training.continual.adaptations import BEARABLE, kept, of_seed, train
from tests.training.continual.streams import (
    FLAT,
    LENIENT,
    assert_same_snapshot,
    assert_same_streams,
)
from training.config import TrainConfig

COMMAND = (sys.executable, "-c", "import sys; from perennial import main; sys.exit(main())")
_PATIENCE = 300.0
"""Seconds after which a command that shows no sign is given up."""


def killed(words: Sequence[str], folder: Path, sign: str) -> None:
    """Start a command, and kill it as soon as a file appears."""
    process = subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    given_up = time.monotonic() + _PATIENCE
    while process.poll() is None and not list(folder.glob(sign)):
        assert time.monotonic() < given_up, f"{sign} never appeared"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"


def test_an_adaptation(tmp_path: Path) -> None:
    run, whole, folder = train(tmp_path / "run"), tmp_path / "whole", tmp_path / "killed"
    words = ["adapt", str(run), "--data", "aapl_adjusted", "--steps", "4096"]
    words += ["--gate.floor", BEARABLE["floor"], "--gate.resamples", BEARABLE["resamples"]]
    assert main([*words, "--into", str(whole)]) == 0
    phases = "seed-0/phase-0"
    for sign in (f"{phases}0/accepted/step-*", f"{phases}1/update-000/step-000002048"):
        killed([*words, "--into", str(folder)], folder, sign)
        assert not (folder / "decision.json").exists()
    assert main([*words, "--into", str(folder)]) == 0
    assert of_seed(folder)["accepted"]
    assert (folder / "decision.json").read_text() == (whole / "decision.json").read_text()
    assert (folder / "verdict.txt").read_text() == (whole / "verdict.txt").read_text()
    assert_same_snapshot(kept(folder), kept(whole))


def test_a_gated_stream(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    lenient = LENIENT | {"acceptance": LENIENT["acceptance"] | {"resamples": 10_000}}
    gate = json.dumps(lenient).replace('"', "")
    words = ["train", *FLAT, "tracking=journal", "continual=regimes"]
    words += [
        "continual.phases.cycles=1",
        "continual.phases.order=[0,1]",
        "continual.curve_episodes=2",
        f"continual.gate={gate}",
        "schedule.total_steps=1024",
    ]
    assert main([*words, f"run={whole}"]) == 0
    killed([*words, f"run={folder}"], folder, "seed-0/phase-00/decisions.jsonl")
    killed(["train", f"resume={folder}"], folder, "seed-0/phase-01/update-001/step-*")
    assert main(["train", f"resume={folder}"]) == 0
    config = TrainConfig.from_yaml(whole / "config.yaml")
    assert_same_streams(config, whole, folder)
    decisions = (folder / "seed-0" / "phase-01" / "decisions.jsonl").read_text()
    assert decisions.count('"accepted": true') == 4

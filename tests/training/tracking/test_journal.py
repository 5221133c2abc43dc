"""The journal: what is in it survives anything that happens to the process."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.tracking.journal import Journal, JournalError, first_metrics, read_journal


def test_records_come_back_in_order_with_their_values(tmp_path: Path) -> None:
    with Journal(tmp_path / "run" / "journal.jsonl") as journal:
        journal.append("start", run="k", tags={"seed": "3"})
        time_ms = journal.append_metrics(7, {"a": 0.1, "nan": float("nan"), "inf": float("-inf")})
    first, second = read_journal(tmp_path / "run" / "journal.jsonl")
    assert (first.kind, first.table("tags")) == ("start", {"seed": "3"})
    assert (second.step, second.time_ms) == (7, time_ms)
    values = second.metrics()
    assert values["a"] == 0.1
    assert values["nan"] != values["nan"]
    assert values["inf"] == float("-inf")


def test_lines_are_strict_json(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.append_metrics(0, {"x": float("inf")})
    assert '"x":"inf"' in (tmp_path / "j").read_text()


@given(st.lists(st.floats(allow_nan=False), max_size=5), st.integers(0, 60))
def test_any_torn_end_loses_only_the_torn_record(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], cut: int
) -> None:
    path = tmp_path_factory.mktemp("j") / "journal.jsonl"
    with Journal(path) as journal:
        for step, value in enumerate(values):
            journal.append_metrics(step, {"x": value})
    data = path.read_bytes()
    kept = data[: max(0, len(data) - cut)]
    path.write_bytes(kept)
    complete = kept.count(b"\n")
    assert [entry.metrics()["x"] for entry in read_journal(path)] == values[:complete]
    with Journal(path) as journal:
        journal.append_metrics(99, {"x": 1.0})
    assert [entry.step for entry in read_journal(path)] == [*range(complete), 99]


def test_reading_goes_on_from_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.append_metrics(0, {"x": 0.0})
        (first,) = read_journal(path)
        journal.append_metrics(1, {"x": 1.0})
    assert [entry.step for entry in read_journal(path, first.end)] == [1]


def test_first_recordings_stand_after_two_resumes(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        for step in range(5):
            journal.append_metrics(step, {"x": 1.0})
        journal.append("resume", step=2)
        journal.append_metrics(2, {"x": 2.0, "late": 2.0})
        journal.append_metrics(3, {"x": 2.0})
        journal.append_metrics(4, {"x": 2.0})
        journal.append("resume", step=3)
        journal.append_metrics(4, {"x": 3.0})
    found = [(r.step, dict(r.values)) for r in first_metrics(tmp_path / "j")]
    assert found == [
        (0, {"x": 1.0}),
        (1, {"x": 1.0}),
        (2, {"x": 1.0}),
        (3, {"x": 1.0}),
        (4, {"x": 1.0}),
        (2, {"late": 2.0}),
    ]


def test_damaged_line_is_passed_over_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.append_metrics(0, {"x": 0.0})
    path.write_bytes(path.read_bytes() + b"\x00\x00rubbish\n")
    with Journal(path) as journal:
        journal.append_metrics(1, {"x": 1.0})
    assert [entry.step for entry in read_journal(path)] == [0, 1]
    assert "expected a JSON object" in caplog.text
    assert str(path) in caplog.text


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:

        def write(offset: int) -> None:
            for step in range(200):
                journal.append_metrics(offset + step, {"x": 1.0})

        threads = [threading.Thread(target=write, args=(k * 200,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(entry.step for entry in read_journal(path)) == list(range(800))


def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "j"
    program = (
        "import sys; from pathlib import Path; from training.tracking.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for step in range(10**9):\n"
        "    journal.append_metrics(step, {'x': float(step)})\n"
        "    sys.stdout.write(f'{step}\\n'); sys.stdout.flush()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(200):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        acknowledged = 199
        for line in process.stdout.read().splitlines(keepends=True):
            acknowledged = int(line) if line.endswith("\n") else acknowledged
    steps = [entry.step for entry in read_journal(path)]
    assert steps == list(range(len(steps)))
    assert len(steps) > acknowledged


def test_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(JournalError, match=r"file/journal.*expected a writable journal"):
        Journal(tmp_path / "file" / "journal")


def test_full_disk_is_named_and_leaves_no_torn_record(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "full")
    os.close(journal._file)
    journal._file = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(JournalError, match=r"full: expected to write .* No space left"):
        journal.append_metrics(0, {"x": 1.0})
    os.close(journal._file)
    path = tmp_path / "j"
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from training.tracking.journal import Journal, JournalError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "try:\n"
        "    for step in range(100): journal.append_metrics(step, {'x': 1.0})\n"
        "except JournalError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert f"{path}: expected to write" in done.stdout
    assert path.read_bytes().endswith(b"}\n")
    steps = [entry.step for entry in read_journal(path)]
    assert steps == list(range(len(steps)))
    assert steps

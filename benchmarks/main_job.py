"""Time of the whole default `perennial train`, without installation.

Each run gets a temporary folder for its files and its own tracking store. The first run of a round
has an empty cache of compiled code, as on a fresh clone; the second finds it filled. The phases are
read off the run: start (interpreter, imports, data, features) until the job names its run; training
until the last checkpoint; judging until the metrics are written; report until the page is written;
end (tracking sent, process gone).

    python -m benchmarks.main_job --rounds 2
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.machine import provenance
from benchmarks.record import RESULTS, spread, write

PHASES = ("start", "training", "judging", "report", "end")
CACHES = ("empty", "filled")


def command(folder: Path, overrides: list[str]) -> list[str]:
    """The main job, with everything that it writes below `folder`."""
    perennial = Path(sys.executable).parent / "perennial"
    store = f"tracking.uri=sqlite:///{folder / 'mlflow.db'}"
    return [str(perennial), "train", f"run={folder / 'run'}", store, *overrides]


def run_once(overrides: list[str], cache: Path) -> dict[str, float]:
    """Run the job once.

    Args:
        overrides: the job's arguments; none for the default.
        cache: folder of compiled kernels.

    Returns:
        `wall`, `cpu` and each phase in seconds, `peak_memory` (largest process) in GiB.

    Raises:
        RuntimeError: the job failed; with the end of its output.
    """
    with tempfile.TemporaryDirectory(prefix="perennial-bench-") as name:
        folder = Path(name)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.time()
        process = subprocess.Popen(
            command(folder, overrides),
            cwd=folder,
            env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        started, tail = _follow(process.stdout)
        code = process.wait()
        ended = time.time()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if code or started is None:
            raise RuntimeError(f"the main job failed with {code}:\n{tail}")
        marks = [began, started, *_milestones(folder / "run"), ended]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    phases = {p: b - a for p, a, b in zip(PHASES, marks[:-1], marks[1:], strict=True)}
    return {"wall": ended - began, "cpu": cpu, "peak_memory": after.ru_maxrss / 2**20, **phases}


def _follow(lines: Iterable[str]) -> tuple[float | None, str]:
    """Show the job's output; return when it named its run, and the end of the output."""
    started, kept = None, []
    for line in lines:
        if started is None and line.startswith("run "):
            started = time.time()
        print(f"    {line.rstrip()}", flush=True)
        kept.append(line)
    return started, "".join(kept[-40:])


def _milestones(run: Path) -> list[float]:
    """When the training, the judging and the report ended, seconds since the epoch."""
    evaluation = run / "evaluation"
    checkpoints = max(_written(p) for p in run.glob("seed-*/checkpoints/**/*"))
    judged = _written(evaluation / "metrics.json")
    pages = [_written(p) for p in evaluation.glob("*.html")]
    return [checkpoints, judged, max([judged, *pages])]


def _written(path: Path) -> float:
    return path.stat().st_mtime


def measure(rounds: int, overrides: list[str]) -> dict[str, dict[str, Any]]:
    """Run the job with an empty and then with a filled cache, `rounds` times.

    Returns:
        Spread of each figure with its unit, by "cache: figure".
    """
    values: dict[str, list[float]] = {}
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="perennial-bench-cache-") as cache:
            for state in CACHES:
                print(f"round {number + 1}/{rounds}, {state} cache of compiled code", flush=True)
                result = run_once(overrides, Path(cache))
                parts = ", ".join(f"{name} {value:.1f}" for name, value in result.items())
                print(f"round {number + 1}/{rounds}, {state} cache: {parts}", flush=True)
                for name, value in result.items():
                    values.setdefault(f"{state} cache: {name}", []).append(value)
    units = {name: "GiB" if name.endswith("memory") else "s" for name in values}
    return {name: spread(v) | {"unit": units[name]} for name, v in values.items()}


def main() -> None:
    """Measure and write `main_job.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2, help="of two runs each (2)")
    parser.add_argument("--output", type=Path, default=RESULTS / "main_job.json")
    parser.add_argument(
        "overrides", nargs="*", help="of `perennial train`; without any, the default is measured"
    )
    options = parser.parse_args()
    record = provenance("benchmarks.main_job") | {"overrides": options.overrides}
    write(options.output, record | {"figures": measure(options.rounds, options.overrides)})


if __name__ == "__main__":
    main()

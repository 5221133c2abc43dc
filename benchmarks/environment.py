"""Environment steps per CPU-second, against peers in the same run.

Every worker is a process of its own (peers in their own virtual environments), with one thread and
random actions drawn beforehand; resets are included. The rounds visit all workers in turn, so that
the noise of a shared machine hits all alike, and the figure is the median over rounds and
repetitions. A peer that cannot be installed or measured is reported and skipped.

    python -m benchmarks.environment --rounds 3 --repetitions 3 --seconds 1
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, cases
from benchmarks.machine import provenance
from benchmarks.peers.setup import PeerError, python_of, versions_of
from benchmarks.record import RESULTS, spread, write

HERE = Path(__file__).resolve().parent
WORKERS = HERE / "peers"


class Worker:
    """A running worker: ready, then one measurement per request.

    Args:
        case: what it measures.

    Raises:
        RuntimeError: it ended before it was ready, with the end of its errors.
        PeerError: the same, of a peer.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        if case.peer and case.script:
            command = [str(python_of(case.peer)), str(WORKERS / case.script), *case.arguments]
        else:
            command = [sys.executable, "-m", "benchmarks.ours", *case.arguments]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - a pipe could fill; `close`
        one = {f"{k}_NUM_THREADS": "1" for k in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=HERE.parent,
            env={**os.environ, **one},
        )
        self._read(expected="ready")

    def _read(self, expected: str | None = None) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            text = line.strip()
            if text.startswith("{") or text == "ready":
                if expected and text != expected:
                    break
                return text
        self.process.kill()
        self.process.communicate()
        self._errors.seek(0)
        error = self._errors.read()[-2_000:]
        self._errors.close()
        if not self.case.peer:
            raise RuntimeError(f"worker '{self.case.name}' failed:\n{error}")
        print(error, file=sys.stderr, flush=True)
        last = error.strip().splitlines()[-1:] or [f"ended with {self.process.returncode}"]
        raise PeerError(f"{self.case.name}: {last[0]}")

    def measure(self, seconds: float) -> dict[str, float]:
        """One repetition of about so many CPU-seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        answer: dict[str, float] = json.loads(self._read())
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.communicate(timeout=60)
        self._errors.close()


@dataclass
class Series:
    """What has been measured so far.

    Attributes:
        values: repetitions of each figure, in order.
        units: of each figure.
        skipped: peers that could not be measured, with the reason.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, case: Case, answers: list[dict[str, float]]) -> None:
        """Keep a worker's answers."""
        for suffix, key, unit in case.figures:
            name = case.name + suffix
            self.values.setdefault(name, []).extend(answer[key] for answer in answers)
            self.units[name] = unit

    def figures(self) -> dict[str, dict[str, Any]]:
        """Median, lowest, highest, count and unit of each figure."""
        return {n: spread(v) | {"unit": self.units[n]} for n, v in self.values.items()}


def visit(case: Case, repetitions: int, seconds: float) -> list[dict[str, float]]:
    """Start a case's worker, measure, stop it."""
    worker = Worker(case)
    answers = [worker.measure(seconds) for _ in range(repetitions)]
    worker.close()
    return answers


def measure(
    series: Series, selected: list[Case], rounds: int, repetitions: int, seconds: float
) -> None:
    """Visit every case in every round; a peer that failed once is left out from then on."""
    began, total = time.monotonic(), rounds * len(selected)
    for number in range(total):
        case = selected[number % len(selected)]
        if case.name in series.skipped:
            continue
        try:
            series.add(case, visit(case, repetitions, seconds))
        except PeerError as error:
            series.skipped[case.name] = str(error)
            print(f"skipped: {error}", flush=True)
            continue
        _say(series, case, f"{number + 1:3d}/{total} {time.monotonic() - began:5.0f} s")


def _say(series: Series, case: Case, progress: str) -> None:
    for suffix, _, unit in case.figures:
        values = series.values[case.name + suffix]
        number = spread(values)["median"]
        text = f"{number:14,.0f}" if number >= 100 else f"{number:14,.3f}"
        print(f"{progress}  {case.name + suffix:60s}{text} {unit}", flush=True)


def peer_versions(selected: list[Case]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Install what is missing, once.

    Returns:
        Packages of the peers that are there; the reason of each peer that is not.
    """
    found, missing = {}, {}
    for peer in dict.fromkeys(case.peer for case in selected if case.peer):
        try:
            found[peer] = versions_of(peer)
        except PeerError as error:
            missing[peer] = str(error)
            print(f"peer left out: {error}", flush=True)
    return found, missing


def main() -> None:
    """Measure and write `environment.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="visits of every worker (3)")
    parser.add_argument("--repetitions", type=int, default=3, help="in each visit (3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU-seconds of each (1)")
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    parser.add_argument("--output", type=Path, default=RESULTS / "environment.json")
    options = parser.parse_args()
    selected = [case for case in cases() if options.only in case.name]
    if options.list:
        print("\n".join(case.name for case in selected))
        return
    record = provenance("benchmarks.environment")
    record["peers"], missing = peer_versions(selected)
    series = Series(skipped={c.name: missing[c.peer] for c in selected if c.peer in missing})
    measure(series, selected, options.rounds, options.repetitions, options.seconds)
    record["figures"] = series.figures()
    record["comparisons"] = [
        {"peer": case.name, "ours": rival} for case in selected for rival in case.rivals
    ]
    write(options.output, record | {"skipped": series.skipped})


if __name__ == "__main__":
    main()

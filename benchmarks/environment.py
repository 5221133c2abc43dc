"""Environment steps per CPU-second, against peers in the same run.

Every worker is a process of its own (peers in their own virtual environments); the rounds visit
all workers in turn, so that the noise of a shared machine hits all alike, and the figure is the
median over rounds and repetitions.

    python -m benchmarks.environment --rounds 3 --repetitions 3 --seconds 1
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.peers.setup import python_of

HERE = Path(__file__).resolve().parent
WORKERS = HERE / "peers"


@dataclass(frozen=True)
class Case:
    """One line of the table: which interpreter runs which script with which arguments."""

    name: str
    script: str
    arguments: tuple[str, ...]
    peer: str | None = None


def cases() -> list[Case]:
    """Ours and the peers', on the workloads that they share."""
    table = []
    for f, w in ((16, 1), (16, 30), (64, 1), (64, 30)):
        size = (str(f), str(w))
        label = f"A=1 F={f} W={w}"
        table += [
            Case(f"gym-anytrading {label}", "anytrading_worker.py", size, "anytrading"),
            Case(f"gym-trading-env {label}", "tradingenv_worker.py", size, "tradingenv"),
        ]
        table += [
            Case(f"TorchTrade {label} N={n}", "torchtrade_worker.py", (*size, n), "torchtrade")
            for n in ("1024", "4096")
        ]
        table += [
            Case(f"perennial window {label} N={n}", "ours", ("window", "1", f"{f}", f"{w}", n))
            for n in ("1024", "4096")
        ]
    for n in ("1", "1024", "4096"):
        table.append(Case(f"perennial index A=1 N={n}", "ours", ("index", "1", "16", "30", n)))
    for n in ("1024", "4096"):
        table.append(Case(f"perennial index A=30 N={n}", "ours", ("index", "30", "8", "30", n)))
    table += [
        Case("perennial gymnasium.Env index A=1", "ours", ("scalar-index", "1", "16", "30", "1")),
        Case("perennial gymnasium.Env window A=1 F=16 W=30", "ours",
             ("scalar-window", "1", "16", "30", "1")),
        Case("perennial window A=30 F=8 W=1 N=1024", "ours", ("window", "30", "8", "1", "1024")),
        Case("FinRL A=1 F=8", "finrl_worker.py", ("1", "8"), "finrl"),
        Case("FinRL A=30 F=8", "finrl_worker.py", ("30", "8"), "finrl"),
        Case("memcpy 4 MiB blocks of 1,920 bytes", "ours", ("memcpy", "1", "16", "30", "2048")),
    ]  # fmt: skip
    return table


class Worker:
    """A running worker: ready, then one measurement per request."""

    def __init__(self, case: Case) -> None:
        """Start the process and wait until it is ready."""
        self.case = case
        if case.peer:
            command = [str(python_of(case.peer)), str(WORKERS / case.script), *case.arguments]
        else:
            command = [sys.executable, "-m", "benchmarks.ours", *case.arguments]
        one = {f"{k}_NUM_THREADS": "1" for k in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=HERE.parent,
            env={**os.environ, **one},
        )
        self._read(expected="ready")
        self.results: list[dict[str, Any]] = []

    def _read(self, expected: str | None = None) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            text = line.strip()
            if text.startswith("{") or text == "ready":
                if expected and text != expected:
                    break
                return text
        error = self.process.stderr.read()[-2_000:] if self.process.stderr else ""
        raise RuntimeError(f"worker '{self.case.name}' failed:\n{error}")

    def measure(self, seconds: float) -> None:
        """One repetition."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        self.results.append(json.loads(self._read()))

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)


def measure(selected: list[Case], rounds: int, repetitions: int, seconds: float) -> dict[str, Any]:
    """Median, lowest and highest steps per CPU-second of every case.

    Workers are kept one at a time in memory per round: start, measure `repetitions`, stop.
    """
    rates: dict[str, list[float]] = {case.name: [] for case in selected}
    for number in range(rounds):
        for case in selected:
            worker = Worker(case)
            for _ in range(repetitions):
                worker.measure(seconds)
            worker.close()
            rates[case.name] += [r["steps_per_cpu_s"] for r in worker.results]
            middle = statistics.median(rates[case.name])
            print(f"round {number + 1}  {case.name:55s} {middle:14,.0f}", flush=True)
    return {
        name: {"median": statistics.median(v), "lowest": min(v), "highest": max(v), "count": len(v)}
        for name, v in rates.items()
    }


def main() -> None:
    """Measure and write `results/environment.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "environment.json")
    options = parser.parse_args()
    selected = [case for case in cases() if options.only in case.name]
    figures = measure(selected, options.rounds, options.repetitions, options.seconds)
    command = "python -m benchmarks.environment " + " ".join(sys.argv[1:])
    record = {"command": command.strip(), "machine": describe(), "steps_per_cpu_second": figures}
    options.output.write_text(json.dumps(record, indent=2) + "\n")
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()

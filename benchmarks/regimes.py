"""Regime detectors: microseconds of one streamed bar, and seconds of a fit.

    python -m benchmarks.regimes --rounds 5

Every detector is fitted to 2,500 bars of a daily market with three regimes, then streams the next
2,500 bar by bar through `Detector.update`, validation and fall-back included.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import provenance
from benchmarks.record import RESULTS, spread, write
from experiments.regime_detection.detectors import configs
from experiments.regime_detection.worlds import DAILY, simulate
from regimes.base import Observations
from regimes.detector import Detector

FITTED, STREAMED = 2500, 2500


def measure(rounds: int) -> dict[str, dict[str, Any]]:
    """Fit and update of every detector."""
    found: dict[str, tuple[list[float], str]] = {}
    for seed in range(rounds):
        y_TD = simulate(DAILY, "gaussian", 1, FITTED + STREAMED, seed=seed).y_NTD[0]
        train = Observations.of(y_TD[:FITTED])
        for name, config in configs(DAILY).items():
            started = time.process_time()
            detector = Detector(config, seed=seed).fit(train)
            fitted = time.process_time() - started
            times = []
            for y_D in y_TD[FITTED:]:
                started = time.perf_counter()
                detector.update(y_D)
                times.append(time.perf_counter() - started)
            figures = ((f"{name}: update", 1e6 * float(np.median(times)), "us"),
                       (f"{name}: update, 99 %", 1e6 * float(np.quantile(times, 0.99)), "us"),
                       (f"{name}: fit", fitted, "CPU-s"))  # fmt: skip
            for label, value, unit in figures:
                found.setdefault(label, ([], unit))[0].append(value)
    return {name: spread(values) | {"unit": unit} for name, (values, unit) in found.items()}


def main() -> None:
    """Measure and write `regimes.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="paths (5)")
    parser.add_argument("--output", type=Path, default=RESULTS / "regimes.json")
    options = parser.parse_args()
    record = provenance("benchmarks.regimes")
    record["figures"] = measure(options.rounds)
    write(options.output, record)


if __name__ == "__main__":
    main()

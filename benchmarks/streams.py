"""Steps per CPU-second on synthetic markets whose paths are generated while they are played.

Workers and order are those of `benchmarks.environment`; peers have nothing to compare with.

    python -m benchmarks.streams --rounds 3 --repetitions 3 --seconds 1
"""

import argparse
from pathlib import Path

from benchmarks.cases import stream_cases
from benchmarks.environment import Series, measure
from benchmarks.machine import provenance
from benchmarks.record import RESULTS, write


def main() -> None:
    """Measure and write `streams.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="visits of every worker (3)")
    parser.add_argument("--repetitions", type=int, default=3, help="in each visit (3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU-seconds of each (1)")
    parser.add_argument("--output", type=Path, default=RESULTS / "streams.json")
    options = parser.parse_args()
    record, series = provenance("benchmarks.streams"), Series()
    measure(series, stream_cases(), options.rounds, options.repetitions, options.seconds)
    record["figures"] = series.figures()
    write(options.output, record)


if __name__ == "__main__":
    main()

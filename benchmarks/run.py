"""All benchmarks: measure, record as JSON, and write one page of tables.

    make bench                                   everything (about 40 minutes)
    make bench ARGS="--only environment"         one of: environment, streams, training, features,
                                                 regimes, options, continual, main_job
    make bench ARGS=--quick                      several minutes: does it work here? (no records)
    python -m benchmarks.run --tables            only rewrite the page from the recorded JSON

Peers are installed into virtual environments of their own (benchmarks/peers/.venvs) on the first
run; a peer that cannot be installed is reported and left out. Figures depend on what else the
machine does: nothing else should run. Each benchmark has more options of its own, for example
`python -m benchmarks.environment --help`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.record import RESULTS
from benchmarks.tables import TITLES, markdown

ROOT = Path(__file__).resolve().parents[1]
QUICK = {
    "environment": ("--rounds", "1", "--repetitions", "1", "--seconds", "0.1"),
    "streams": ("--rounds", "1", "--repetitions", "1", "--seconds", "0.1"),
    "training": ("--rounds", "1", "--rollouts", "1"),
    "features": ("--rounds", "1"),
    "regimes": ("--rounds", "1"),
    "options": ("--rounds", "1", "--steps", "10000", "--seconds", "0.1"),
    "continual": ("--rounds", "1", "--steps", "10000"),
    "main_job": ("--rounds", "1", "debug=tiny"),
}
"""Arguments that make a benchmark short and its figures meaningless."""


def run(name: str, folder: Path, *, quick: bool) -> bool:
    """Run a benchmark in a process of its own.

    Args:
        name: of its module.
        folder: where its JSON goes.
        quick: short.

    Returns:
        Whether it succeeded.
    """
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    if folder != RESULTS:  # the command is recorded: no path of this machine in the usual one
        command += ["--output", str(folder / f"{name}.json")]
    command += QUICK[name] if quick else ()
    print(f"== {TITLES[name]}: {' '.join(command[1:])}", flush=True)
    began = time.monotonic()
    code = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"}, check=False
    ).returncode
    state = "done" if code == 0 else f"failed with {code}"
    print(f"== {TITLES[name]}: {state} after {time.monotonic() - began:.0f} s", flush=True)
    return code == 0


def write_page(folder: Path) -> Path:
    """Write `README.md` beside the results that are there."""
    paths = {name: folder / f"{name}.json" for name in TITLES}
    results = {n: json.loads(path.read_text()) for n, path in paths.items() if path.exists()}
    page = folder / "README.md"
    page.write_text(markdown(results))
    return page


def main() -> int:
    """Run what is asked for.

    Returns:
        0, or 1 when a benchmark failed; the others are still run and recorded.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=tuple(TITLES), help="one benchmark instead of all")
    parser.add_argument("--quick", action="store_true", help="short, into build/benchmarks")
    parser.add_argument("--tables", action="store_true", help="measure nothing, write the page")
    parser.add_argument("--output", type=Path, help="folder of the results (benchmarks/results)")
    options = parser.parse_args()
    folder = options.output or (ROOT / "build" / "benchmarks" if options.quick else RESULTS)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    names = () if options.tables else (options.only,) if options.only else tuple(TITLES)
    passed = [run(name, folder, quick=options.quick) for name in names]
    print(f"page: {write_page(folder)}")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())

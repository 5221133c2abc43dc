"""One line of a benchmark in a process of its own, with a chosen number of threads."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def measured(command: Sequence[str], name: str, *, threads: int = 1) -> Any:
    """What a process prints last, read as JSON.

    Args:
        command: its words; it runs in the repository's folder.
        name: of the line, for the error.
        threads: of compiled mathematics.

    Raises:
        RuntimeError: it failed; the end of what it said is told.
    """
    variables = {f"{kind}_NUM_THREADS": str(threads) for kind in ("OMP", "MKL", "NUMBA")}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2_000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])

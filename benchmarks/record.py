"""Results as JSON files."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
"""Where recorded results live."""


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, lowest, highest and count."""
    return {
        "median": statistics.median(values),
        "lowest": min(values),
        "highest": max(values),
        "count": len(values),
    }


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Write a result and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(f"written: {path}", flush=True)

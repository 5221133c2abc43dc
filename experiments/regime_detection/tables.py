"""The tables of the record, from the lines of `results.jsonl`; intervals over paths."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Line = Mapping[str, Any]

RESAMPLES = 4000
"""Redrawn sets of paths."""
COLUMNS = (
    ("accuracy", "accuracy"),
    ("balanced_accuracy", "balanced"),
    ("ari", "ARI"),
    ("log_score", "log score"),
    ("brier", "Brier"),
    ("calibration_error", "ECE"),
    ("delay_median", "delay"),
    ("delay_90", "delay 90 %"),
    ("missed", "missed"),
    ("false_alarms", "switches / true"),
    ("skill", "skill"),
)


def write_tables(results: Path) -> Path:
    """Write `tables.md` beside the results."""
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    lines.sort(key=lambda line: (line["market"], line["noise"], line["seed"]))
    introduction = (
        "Written by `python -m experiments.regime_detection.run --tables`; do not edit. Means over "
        "paths; brackets are 95 % bootstrap intervals over paths. `value`: expected reward of the "
        "exact policy with these beliefs, as a share of the same policy with the oracle filter's."
    )
    parts = ["# Detectors on markets with hidden regimes", introduction]
    for market in sorted({line["market"] for line in lines}):
        for noise in sorted({line["noise"] for line in lines}):
            chosen = [x for x in lines if (x["market"], x["noise"]) == (market, noise)]
            if chosen:
                parts += [f"## {market}, {noise} noise, {len(chosen)} paths", _table(chosen)]
    for name, section in (
        ("lengths", _lengths), ("refits", _refits), ("disruption", _disruption),
    ):  # fmt: skip
        document = results.parent / f"{name}.json"
        if document.exists():
            parts += section(json.loads(document.read_text()))
    path = results.parent / "tables.md"
    path.write_text("\n\n".join(parts) + "\n")
    return path


def value_share(lines: Sequence[Line], detector: str) -> tuple[float, float, float]:
    """Share of the oracle filter's value: estimate, and its interval over paths."""
    earned = np.array([_value(line, detector) for line in lines])
    oracle = np.array([_value(line, "oracle") for line in lines])
    rows_BN = np.random.default_rng(0).integers(0, len(lines), (RESAMPLES, len(lines)))
    redrawn_B = earned[rows_BN].sum(axis=1) / oracle[rows_BN].sum(axis=1)
    low, high = np.quantile(redrawn_B, [0.025, 0.975])
    return float(earned.sum() / oracle.sum()), float(low), float(high)


def _lengths(document: Mapping[str, Any]) -> list[str]:
    """Value over the length of the training span, a column each."""
    cells: dict[str, dict[int, str]] = {}
    for key, row in document.items():
        market, noise, length = key.split(", ")
        text = f"{row['share']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        cells.setdefault(f"{market}, {noise}", {})[int(length)] = text
    lengths = sorted({length for row in cells.values() for length in row})
    rows = [(name, *(row.get(length, "") for length in lengths)) for name, row in cells.items()]
    heads = ("market, noise", *(f"{length:,} bars" for length in lengths))
    title = "## Value after a fit to so many bars, of the detector with the market's law"
    return [title, _markdown(heads, rows)]


def _refits(document: Mapping[str, Any]) -> list[str]:
    """Agreement of each refit with the model before it."""
    heads = ("detector", "raw", "matched", "lowest tenth", "below 0.8", "refits", "CPU-s a refit")
    parts = []
    for history, lines in document.items():
        rows = [
            (
                name,
                *(f"{row[key]:.3f}" for key in ("raw", "matched", "matched_lowest_tenth")),
                f"{row['refused']:.0%}",
                str(row["refits"]),
                f"{row['seconds_a_refit']:.3f}",
            )
            for name, row in lines.items()
        ]
        parts += [f"## Agreement over refits, {history}", _markdown(heads, rows)]
    return parts


def _disruption(document: Mapping[str, Any]) -> list[str]:
    """Disruption, turnover and growth of each way of routing."""
    heads = ("routing", "mean D", "p99", "max", "holdings mean", "holdings p99", "turnover",
             "net growth, 1e-4", "less hard routing's", "usage entropy")  # fmt: skip
    parts = []
    for market, lines in document.items():
        rows = []
        for name, row in lines.items():
            lead, low, high = (1e4 * value for value in row["lead"])
            rows.append(
                (
                    name,
                    *(f"{row[key]:.4f}" for key in ("mean", "p99", "max")),
                    *(f"{row[key]:.4f}" for key in ("holdings_mean", "holdings_p99", "turnover")),
                    f"{1e4 * row['growth']:+.3f}",
                    f"{lead:+.3f} [{low:+.3f}, {high:+.3f}]",
                    f"{row['usage_entropy']:.2f}",
                )
            )
        parts += [f"## Disruption, {market}, 20 paths", _markdown(heads, rows)]
    return parts


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (heads, *rows)]
    lines.insert(1, "|---" * len(heads) + "|")
    return "\n".join(lines)


def _value(line: Line, detector: str) -> float:
    """What a path earned; a detector that could not be fitted leaves the constant belief."""
    row = line["detectors"][detector]
    found: float = row["value"] if "value" in row else line["detectors"]["constant"]["value"]
    return found


def _table(lines: Sequence[Line]) -> str:
    heads = ("detector", *(title for _, title in COLUMNS), "value", "fit, s", "failed")
    return _markdown(heads, [_row(lines, name) for name in lines[0]["detectors"]])


def _row(lines: Sequence[Line], name: str) -> list[str]:
    rows = [line["detectors"][name] for line in lines]
    fitted = [row for row in rows if "failed" not in row]
    cells = [name]
    for key, _ in COLUMNS:
        values = np.array([row[key] for row in fitted], dtype=np.float64)
        cells.append(_cell(key, values))
    share, low, high = value_share(lines, name)
    cells.append(f"{share:.3f} [{low:.3f}, {high:.3f}]")
    seconds = [row["fit_s"] for row in fitted if "fit_s" in row]
    cells.append(f"{np.median(seconds):.2f}" if seconds else "")
    cells.append(str(len(rows) - len(fitted)))
    return cells


def _cell(key: str, values: NDArray[np.float64]) -> str:
    if not len(values):
        return ""
    if key.startswith("delay"):  # infinite where more than the share was missed
        middle = np.median(values)
        return "never" if np.isinf(middle) else f"{middle:.0f}"
    return f"{np.nanmean(values):.3f}" if np.isfinite(values).any() else ""

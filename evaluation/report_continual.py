"""The report of a stream of phases: one HTML page, deterministic bytes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from evaluation.bootstrap import Interval
from evaluation.continual_figures import MEASURES, Measure, seed_interval
from evaluation.continual_metrics import MOST_DEGRADATION, degradation_of
from evaluation.continual_plots import figures, phase_name
from evaluation.continual_record import LEAST_SHARE, StreamRecord
from evaluation.continual_result import ContinualEvaluation
from evaluation.continual_words import number, ranged
from evaluation.drawing import write_pngs
from evaluation.option_drawing import page_svg
from evaluation.option_score_plots import scale_of
from evaluation.pages import PageInputs, page_template
from markets.atomic import write_whole

__all__ = [
    "ContinualInputs",
    "render_continual_report",
    "write_continual_figures",
    "write_continual_report",
]

_WORDS: Final = ("NaN", "Infinity", "-Infinity")
"""How decisions write numbers that JSON does not know."""
_SHORT: Final = {"average_performance": "Performance AP", "conflict": "Conflict"}
"""Labels of tiles, where the measure's does not fit into a line."""
_MOST_SEEDS: Final = 5
"""Seeds whose figures have a column of their own."""


@dataclass(frozen=True, kw_only=True)
class ContinualInputs(PageInputs):
    """What a report shows beside the evaluation."""

    title: str = "A stream of phases"
    """Name of the run."""
    setting: str = ""
    """What was trained, and how, in a line."""


def write_continual_report(
    path: Path, evaluation: ContinualEvaluation, inputs: ContinualInputs | None = None
) -> None:
    """Write the report, whole or not at all.

    Args:
        path: the HTML file; its folder is made if it is missing.
        evaluation: figures, intervals and curves.
        inputs: what it shows beside.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    write_whole(path, render_continual_report(evaluation, inputs))


def write_continual_figures(folder: Path, evaluation: ContinualEvaluation) -> list[Path]:
    """Write the report's figures as PNG files on white, for trackers and documents.

    Args:
        folder: made if it is missing.
        evaluation: what is drawn.

    Returns:
        The files, of those that there is something to draw for: scores, curves, retention,
        plasticity.
    """
    return write_pngs(folder, figures(evaluation))


def render_continual_report(
    evaluation: ContinualEvaluation, inputs: ContinualInputs | None = None
) -> str:
    """The report as one HTML document.

    Args:
        evaluation: figures, intervals and curves.
        inputs: what it shows beside.
    """
    found, shown = evaluation, inputs or ContinualInputs()
    scale = _Scale.of(found)
    drawn = {
        name: Markup(page_svg(draw, name=name))  # noqa: S704 - our own SVG
        for name, draw in figures(found).items()
    }
    known = [m for m in MEASURES if math.isfinite(found.intervals[m.name].estimate)]
    seeds = found.records if 1 < len(found.records) <= _MOST_SEEDS else ()
    page = page_template("continual.html.j2").render(
        found=found,
        inputs=shown,
        mark=found.mark,
        kind=shown.setting,
        notes=list(dict.fromkeys([*shown.notes, *found.notes])),
        tiles=_tiles(found, scale),
        figures=drawn,
        scale=scale.unit,
        level=f"{found.config.level:.0%}",
        seeds=[record.seed for record in seeds],
        measures=[_measure(found, measure, scale, len(seeds)) for measure in known],
        undefined=[m.label for m in MEASURES if m not in known],
        regimes=_regimes(found, scale),
        references=_references(found),
        phases=_phases(found, scale),
        returns=_returns(found, scale),
        decisions=_decisions(found),
        most_degradation=f"{MOST_DEGRADATION:.0f}%",
        least=f"{LEAST_SHARE:.0%}",
    )
    return page.rstrip() + "\n"


@dataclass(frozen=True)
class _Scale:
    """How scores are written: shares as they are, small gains times a power of a thousand."""

    factor: float
    unit: str

    @classmethod
    def of(cls, found: ContinualEvaluation) -> "_Scale":
        """The one that suits the scores."""
        if found.optimal:
            return cls(1.0, "share of the optimum")
        factor, prefix = scale_of(found.matrix)
        return cls(factor, f"{prefix}reward a bar")

    def show(self, value: float) -> str:
        """A score."""
        return number(self.factor * value)

    def range(self, interval: Interval) -> str:
        """Ends of an interval of scores; empty where there are none."""
        low, high = self.factor * interval.low, self.factor * interval.high
        return ranged(Interval(interval.estimate, low, high)) if high > low else ""


def _shown(measure: Measure, value: float, scale: _Scale) -> str:
    """A figure in its unit."""
    match measure.unit:
        case "score":
            return scale.show(value)
        case "per cent":
            return f"{number(value, 1)}%" if math.isfinite(value) else number(value)
        case "floats":
            return number(value, 0)
        case "reward":
            return number(value, 0 if abs(value) >= 100.0 else 2)
        case _:
            return number(value)


def _ends(measure: Measure, interval: Interval, scale: _Scale) -> str:
    if not interval.width > 0.0:
        return ""
    low, high = (_shown(measure, end, scale) for end in (interval.low, interval.high))
    return f"[{low}, {high}]"


def _tiles(found: ContinualEvaluation, scale: _Scale) -> list[dict[str, str]]:
    # A loss is never shown without what there was to lose.
    told = {
        "average_performance": "over all regimes, at the end",
        "learned": "when last learned",
        "degradation": "of that, in earlier regimes",
        "conflict": "a specialist in another regime",
        "worst_regime": "at the end",
        "recovery": "of the first learning\N{RIGHT SINGLE QUOTATION MARK}s steps",
    }
    tiles = []
    for measure in MEASURES:
        interval = found.intervals[measure.name]
        if measure.name in told and math.isfinite(interval.estimate):
            ends = _ends(measure, interval, scale)
            tiles.append(
                {
                    "label": _SHORT.get(measure.name, measure.label),
                    "value": _shown(measure, interval.estimate, scale),
                    "other": f"{ends} {told[measure.name]}".strip(),
                }
            )
    return tiles


def _measure(
    found: ContinualEvaluation, measure: Measure, scale: _Scale, seeds: int
) -> dict[str, Any]:
    interval = found.intervals[measure.name]
    return {
        "label": measure.label,
        "value": _shown(measure, interval.estimate, scale),
        "range": _ends(measure, interval, scale),
        "seeds": [_shown(measure, value, scale) for value in found.figures[measure.name][:seeds]],
        "better": measure.better,
        "meaning": measure.meaning[:1].upper() + measure.meaning[1:] + ".",
    }


def _references(found: ContinualEvaluation) -> list[str]:
    """Headings of the references that every seed has."""
    known = {"from scratch, alone": found.alone, "all at once": found.at_once}
    return [name for name, scores in known.items() if scores is not None]


def _regimes(found: ContinualEvaluation, scale: _Scale) -> list[dict[str, Any]]:
    rows = []
    beside = [scores for scores in (found.alone, found.at_once) if scores is not None]
    for regime in found.records[0].played:
        own, final = found.own[regime], found.final[regime]
        lost = [
            float(degradation_of(record.ratio_IJ, record.order, record.least)[regime])
            for record in found.records
        ]
        middle = seed_interval(lost, found.config).estimate
        rows.append(
            {
                "name": found.regimes[regime],
                "own": scale.show(own.estimate),
                "own_range": scale.range(own),
                "final": scale.show(final.estimate),
                "final_range": scale.range(final),
                "lost": f"{number(middle, 1)}%" if math.isfinite(middle) else number(middle),
                "beside": [
                    (scale.show(scores[regime].estimate), scale.range(scores[regime]))
                    for scores in beside
                ],
            }
        )
    return rows


def _phases(found: ContinualEvaluation, scale: _Scale) -> list[dict[str, Any]]:
    """Every phase of every seed."""
    rows = []
    for record in found.records:
        rows.append(_phase_row(record, "before training", "0", record.before_J, (), "0", scale))
        for phase, scores_J in enumerate(record.ratio_IJ):
            learned = (record.order[phase], *record.together)
            floats = f"{record.stored_floats[phase]:,}"
            name, steps = phase_name(found, phase, 30), f"{record.phase_steps[phase]:,}"
            rows.append(_phase_row(record, name, steps, scores_J, learned, floats, scale))
    return rows


def _phase_row(
    record: StreamRecord,
    name: str,
    steps: str,
    scores_J: NDArray[np.float64],
    learned: Sequence[int],
    floats: str,
    scale: _Scale,
) -> dict[str, Any]:
    cells = [(scale.show(float(score)), regime in learned) for regime, score in enumerate(scores_J)]
    return {"seed": record.seed, "name": name, "steps": steps, "scores": cells, "floats": floats}


def _returns(found: ContinualEvaluation, scale: _Scale) -> list[dict[str, str]]:
    rows = []
    for seed, recoveries in found.recoveries.items():
        for each in recoveries:
            bound = {"not regained": "at least ", "level new": "at most "}.get(each.status, "")
            known = each.status != "undefined"
            rows.append(
                {
                    "seed": str(seed),
                    "phase": phase_name(found, each.phase, 30),
                    "level": scale.show(each.level),
                    "steps": f"{each.steps:,.0f}" if known else number(math.nan),
                    "first": f"{each.first_steps:,.0f}" if known else number(math.nan),
                    "share": f"{bound}{each.share:.0%}" if known else number(math.nan),
                    "status": each.status,
                }
            )
    return rows


def _decisions(found: ContinualEvaluation) -> list[dict[str, Any]]:
    """What the gate said, one row for each update of each seed."""
    return [
        {
            "seed": record.seed,
            "phase": phase_name(found, each.phase, 30),
            "accepted": each.accepted,
            "reasons": list(each.reasons),
            "evidence": [_evidence(row) for row in each.evidence],
        }
        for record in found.records
        for each in record.decisions
    ]


def _evidence(row: Mapping[str, Any]) -> str:
    """A hypothesis in a line, from what its mapping has."""
    told = str(row.get("regime", "regime not named"))
    if "against" in row:
        told += f", against {row['against']}"
    values = {
        word: float(row[name])
        for name, word in (("estimate", "difference"), ("low", "at least"), ("margin", "tolerated"))
        if isinstance(row.get(name), int | float) or row.get(name) in _WORDS
    }
    # Rewards a bar are small: as many digits as show three figures of the largest.
    size = max((abs(value) for value in values.values() if math.isfinite(value)), default=0.0)
    digits = max(4, 2 - math.floor(math.log10(size))) if size > 0.0 else 4
    figures = [f"{word} {number(value, digits)}" for word, value in values.items()]
    return f"{told}: {', '.join(figures)}" if figures else told

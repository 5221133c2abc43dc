"""What is known about streams of phases: figures of every seed, intervals, table and words."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter

from evaluation.bootstrap import BootstrapConfig, Interval
from evaluation.continual_curves import Recovery
from evaluation.continual_figures import MEASURES, figures_of, recoveries_of, seed_interval
from evaluation.continual_metrics import isolated_forgetting_of, own_scores
from evaluation.continual_record import PLASTICITY, GateDecision, References, StreamRecord
from evaluation.continual_words import evidence_of, notes_of, verdict_of
from evaluation.judge import finite
from evaluation.optimality_statistics import iqm
from markets.atomic import whole_file

__all__ = [
    "ContinualEvaluation",
    "GateDecision",
    "References",
    "StreamRecord",
]

Array = NDArray[np.float64]

_HEADLINE: Final = (
    "average_performance",
    "worst_regime",
    "learned",
    "conflict",
    "degradation",
    "forgetting",
    "zero_shot_transfer",
    "forward_transfer",
    "plasticity",
    "intransigence",
    "recovery",
    "regret_share",
    "stored_floats",
)
_WITH_ENDS: Final = ("average_performance", "degradation")
_TOLERATED: Final = 5.0
"""Per cent of degradation up to which a stream is won."""
_LEARNED: Final = 0.5
"""Share of the optimum that must have been learned for that."""


@dataclass(frozen=True, kw_only=True)
class ContinualEvaluation:
    """Everything that is known about streams that differ in the seed only.

    Raises:
        ValueError: no stream, the same seed twice, or streams with other regimes or phases.
    """

    records: tuple[StreamRecord, ...]
    """One for each seed."""
    config: BootstrapConfig = field(default_factory=BootstrapConfig)
    """How intervals are drawn."""

    def __post_init__(self) -> None:
        """Check that the streams are alike."""
        if not self.records:
            raise ValueError("records: expected at least one stream, found none")
        seeds = [record.seed for record in self.records]
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"records: expected each seed once, found {seeds}")
        expected = _kind(self.records[0])
        for record in self.records:
            if _kind(record) != expected:
                raise ValueError(
                    f"records: expected the regimes and phases {expected} of seed {seeds[0]}, "
                    f"found {_kind(record)} of seed {record.seed}"
                )

    @property
    def regimes(self) -> tuple[str, ...]:
        """Their names."""
        return self.records[0].regimes

    @property
    def order(self) -> tuple[int, ...]:
        """Regime of each phase."""
        return self.records[0].order

    @property
    def optimal(self) -> bool:
        """Whether scores are shares of a known optimum."""
        return self.records[0].gain_J is not None

    @property
    def unit(self) -> str:
        """Of the scores."""
        return "share of the optimum" if self.optimal else "reward a bar more than doing nothing"

    @cached_property
    def figures(self) -> Mapping[str, tuple[float, ...]]:
        """Every figure by name, of each seed; nan where it is undefined."""
        found = [figures_of(record) for record in self.records]
        return {m.name: tuple(each[m.name] for each in found) for m in MEASURES}

    @cached_property
    def intervals(self) -> Mapping[str, Interval]:
        """Interquartile mean of every figure over the seeds; nan where one has none."""
        return {name: seed_interval(each, self.config) for name, each in self.figures.items()}

    @cached_property
    def recoveries(self) -> Mapping[int, tuple[Recovery, ...]]:
        """How scores came back when regimes did, by seed."""
        return {record.seed: recoveries_of(record) for record in self.records}

    @cached_property
    def own(self) -> tuple[Interval, ...]:
        """S_jj of each regime over the seeds: after its last visit; nan of one without."""
        return self._over_seeds([_own(record) for record in self.records])

    @cached_property
    def final(self) -> tuple[Interval, ...]:
        """S of each regime over the seeds at the end."""
        return self._over_seeds([record.ratio_IJ[-1] for record in self.records])

    @cached_property
    def alone(self) -> tuple[Interval, ...] | None:
        """S of each regime over the seeds where it was learned alone, from scratch.

        nan of one that was not; None where nothing was learned so.
        """
        return self._reference([record.references.scratch_J for record in self.records])

    @cached_property
    def at_once(self) -> tuple[Interval, ...] | None:
        """S of each regime over the seeds where all were learned at once; None where none was."""
        return self._reference([record.references.joint_J for record in self.records])

    @cached_property
    def matrix(self) -> Array:
        """Score matrix (I, J): the interquartile mean over seeds of each cell."""
        stacked_KIJ = np.stack([record.ratio_IJ for record in self.records])
        return np.apply_along_axis(iqm, 0, stacked_KIJ)

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        return verdict_of(self.records, self.intervals)

    @property
    def mark(self) -> Literal["won", "open", "lost"]:
        """Won where much was learned and little lost, lost where either is surely not so.

        A single seed has no interval, and is taken at its word.
        """
        average, lost = self.intervals["average_performance"], self.intervals["degradation"]
        learned = self.intervals["learned"].estimate
        if _ends(average)[1] <= 0.0 or _ends(lost)[0] > _TOLERATED:
            return "lost"
        enough = learned >= _LEARNED if self.optimal else learned > 0.0
        kept = _ends(lost)[1] <= _TOLERATED or len(self.order) == 1
        return "won" if enough and kept and _ends(average)[0] > 0.0 else "open"

    @property
    def evidence(self) -> str:
        """What the verdict rests on."""
        return evidence_of(self.records, self.intervals)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know before believing the figures."""
        return tuple(notes_of(self.records, self.intervals))

    @property
    def headline(self) -> dict[str, float]:
        """Figures for the tracking store, those that are defined."""
        found: dict[str, float] = {}
        for name in _HEADLINE:
            interval = self.intervals[name]
            found[f"continual/{name}"] = interval.estimate
            if name in _WITH_ENDS:
                found[f"continual/{name}_low"] = interval.low
                found[f"continual/{name}_high"] = interval.high
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def save(self, folder: Path) -> None:
        """Write `metrics.json` and tables as CSV files, each whole or not at all.

        The tables are `scores`, `curves`, and `plasticity` where it was looked at.

        Args:
            folder: made if it is missing.

        Raises:
            OSError: the folder cannot be written, or the disk is full.
        """
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False)
        with whole_file(folder / "metrics.json") as file:
            file.write(text.encode())
        tables = {"scores": self.scores(), "curves": self.curves()}
        if any(len(record.plasticity_step_Q) for record in self.records):
            tables["plasticity"] = self.plasticity()
        for name, frame in tables.items():
            with whole_file(folder / f"{name}.csv") as file:
                file.write(frame.to_csv(index=False, lineterminator="\n").encode())

    def to_dict(self) -> dict[str, Any]:
        """Verdict, figures and scores, as JSON has them (null for undefined)."""
        document = {
            "verdict": self.verdict,
            "evidence": self.evidence,
            "notes": list(self.notes),
            "headline": self.headline,
            "unit": self.unit,
            "regimes": list(self.regimes),
            "order": list(self.order),
            "together": list(self.records[0].together),
            "figures": {
                name: asdict(self.intervals[name]) | {"seeds": list(values)}
                for name, values in self.figures.items()
            },
            "seeds": {str(record.seed): self._seed(record) for record in self.records},
            "config": TypeAdapter(BootstrapConfig).dump_python(self.config, mode="json"),
        }
        plain: dict[str, Any] = finite(document)
        return plain

    def scores(self) -> pd.DataFrame:
        """The score matrix of every seed, one row a cell; the phase before training is -1."""
        rows = []
        for record in self.records:
            ends = (0, *record.borders)
            for phase, scores_J in enumerate([record.before_J, *record.ratio_IJ], start=-1):
                for regime, score in enumerate(scores_J):
                    learned = record.regimes[record.order[phase]] if phase >= 0 else ""
                    rows.append(
                        {
                            "seed": record.seed,
                            "phase": phase,
                            "learned": learned,
                            "steps": ends[phase + 1],
                            "regime": record.regimes[regime],
                            "score": score,
                        }
                    )
        return pd.DataFrame(rows)

    def curves(self) -> pd.DataFrame:
        """The curves of every seed, one row a point and regime."""
        rows = [
            {"seed": record.seed, "steps": int(step), "regime": name, "score": score}
            for record in self.records
            for step, scores_J in zip(record.curve_step_P, record.curve_PJ, strict=True)
            for name, score in zip(record.regimes, scores_J, strict=True)
        ]
        return pd.DataFrame(rows, columns=["seed", "steps", "regime", "score"])

    def plasticity(self) -> pd.DataFrame:
        """Figures of plasticity of every seed, one row a point and figure."""
        rows = [
            {"seed": record.seed, "steps": int(step), "figure": name, "value": value}
            for record in self.records
            for step, values_F in zip(record.plasticity_step_Q, record.plasticity_QF, strict=True)
            for name, value in zip(PLASTICITY, values_F, strict=True)
        ]
        return pd.DataFrame(rows, columns=["seed", "steps", "figure", "value"])

    def _seed(self, record: StreamRecord) -> dict[str, Any]:
        isolated_IJ = isolated_forgetting_of(record.ratio_IJ, record.order, record.least)
        return {
            "before": record.before_J.tolist(),
            "ratio": record.ratio_IJ.tolist(),
            "own": own_scores(record.ratio_IJ, record.order).tolist(),
            "isolated_forgetting": isolated_IJ.tolist(),
            "recoveries": [
                asdict(each) | {"share": each.share} for each in self.recoveries[record.seed]
            ],
            "phase_steps": list(record.phase_steps),
            "stored_floats": list(record.stored_floats),
            "references": {
                name: None if scores_J is None else scores_J.tolist()
                for name, scores_J in (
                    ("scratch", record.references.scratch_J),
                    ("joint", record.references.joint_J),
                )
            },
            "decisions": [asdict(each) for each in record.decisions],
        }

    def _reference(self, scores: Sequence[Array | None]) -> tuple[Interval, ...] | None:
        known = [each for each in scores if each is not None]
        return self._over_seeds(known) if len(known) == len(scores) else None

    def _over_seeds(self, scores: Sequence[Array]) -> tuple[Interval, ...]:
        return tuple(seed_interval(column.tolist(), self.config) for column in np.stack(scores).T)


def _own(record: StreamRecord) -> Array:
    own_J: Array = own_scores(record.ratio_IJ, record.order)
    return record.ratio_IJ[-1] if record.together else own_J


def _ends(interval: Interval) -> tuple[float, float]:
    known = math.isfinite(interval.width)
    return (interval.low, interval.high) if known else (interval.estimate,) * 2


def _kind(record: StreamRecord) -> tuple[object, ...]:
    return record.regimes, record.order, record.together, record.gain_J is not None

"""The report: one HTML page that works without a network, the same bytes for the same data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from evaluation import plots
from evaluation.bootstrap import Interval
from evaluation.comparison import POWER, Comparison, Difference
from evaluation.drawing import to_svg, write_pngs
from evaluation.judge import Evaluation
from evaluation.ledger import Ledger
from evaluation.option_drawing import page_svg
from evaluation.pages import PageInputs, page_template
from evaluation.plots import label
from evaluation.regime_plots import regime_figure, regime_panels
from evaluation.regime_summary import RegimeHistory
from evaluation.report_options import OptionInputs, option_figures, option_words
from evaluation.report_regimes import regime_words
from evaluation.summary import MEASURES, Unit, format_figure, mean_figures, summarise
from markets.atomic import write_whole

__all__ = ["ReportInputs", "monthly_returns", "render_report", "write_figures", "write_report"]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS: Mapping[Unit, str] = {
    "fraction": "",
    "fraction/year": "a year",
    "times/year": "a year",
    "ratio": "",
    "bars": "bars",
    "bps": "bps",
    "bps/year": "bps a year",
}
_DARKEST_MONTH = 0.10
"""Monthly return, up or down, at which the table's colour is at its strongest."""


@dataclass(frozen=True, kw_only=True)
class ReportInputs(PageInputs):
    """Everything that a report shows."""

    evaluation: Evaluation
    """Ledgers, figures and judgement."""
    title: str = "Evaluation"
    """Name of the run."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """Provenance of the data: source, licence, span, digest, repairs."""
    regimes: RegimeHistory | None = None
    """What the agent saw of regimes; None where it saw none."""
    options: OptionInputs | None = None
    """Who acted in the account shown; None where the agent is not made of options."""


def write_report(path: Path, inputs: ReportInputs) -> None:
    """Write the report, whole or not at all.

    Args:
        path: the HTML file; its folder is made if it is missing.
        inputs: what it shows.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    write_whole(path, render_report(inputs))


def write_figures(
    folder: Path,
    evaluation: Evaluation,
    regimes: RegimeHistory | None = None,
    options: OptionInputs | None = None,
) -> list[Path]:
    """Write the report's figures as PNG files on white, for trackers and documents.

    Args:
        folder: made if it is missing.
        evaluation: what is drawn.
        regimes: what the agent saw of regimes, if it did.
        options: who acted, if the agent is made of options.

    Returns:
        The files: equity, lead, differences, weights, costs; and regimes, where there are any;
        and those of options (`option_figures`).
    """
    figures = _figures(evaluation)
    if regimes is not None:
        figures["regimes"] = lambda: regime_figure(regimes)
    if options is not None:
        figures |= option_figures(options)
    return write_pngs(folder, figures)


def render_report(inputs: ReportInputs) -> str:
    """The report as one HTML document.

    Args:
        inputs: what it shows.
    """
    judged = inputs.evaluation
    comparison, regimes = judged.comparison, inputs.regimes
    shown = plots.median_seed(judged.agents)
    figures = _figures(judged)
    if regimes is not None:
        figures["regimes"] = lambda: regime_panels(regimes)
    drawn = {name: Markup(to_svg(draw, name=name)) for name, draw in figures.items()}  # noqa: S704 - our own SVG
    if inputs.options is not None:
        drawn |= {
            name: Markup(page_svg(draw, name=name))  # noqa: S704 - likewise
            for name, draw in option_figures(inputs.options).items()
        }
    page = page_template("report.html.j2").render(
        inputs=inputs,
        comparison=comparison,
        best=label(comparison.best),
        hindsight=label(comparison.best_in_hindsight),
        figures=drawn,
        tiles=_tiles(judged),
        questions=_questions(comparison),
        detectable=_points(comparison.headline.detectable, signed=False),
        power=f"{100 * POWER:.0f}%",
        metrics=_metric_table(judged),
        baselines=[(label(name), name == comparison.best) for name in judged.baselines],
        differences=_difference_rows(comparison),
        validation=_validation_rows(comparison),
        seeds=_seed_rows(judged),
        shown_seed=shown.metadata.seed,
        regimes=None if regimes is None else regime_words(regimes),
        options=None if inputs.options is None else option_words(inputs.options),
        monthly=_month_rows(monthly_returns(shown)),
        months=_MONTHS,
        facts=_facts(judged),
        notes=_notes(inputs),
    )
    return page.rstrip() + "\n"


def monthly_returns(ledger: Ledger) -> pd.DataFrame:
    """Returns by calendar month (UTC): years as rows, months 1 to 12 and the whole year as columns.

    Args:
        ledger: the account. A month that the span only touches counts as far as it goes; months
            outside are nan.
    """
    times = pd.to_datetime(ledger.ts_event[1:], unit="ns", utc=True)
    growth = pd.DataFrame(
        {"year": times.year, "month": times.month, "factor": 1.0 + ledger.returns}
    )
    table = growth.groupby(["year", "month"])["factor"].prod().unstack("month") - 1.0
    table = table.reindex(columns=range(1, 13))
    table["year"] = growth.groupby("year")["factor"].prod() - 1.0
    return table


def _figures(judged: Evaluation) -> dict[str, Any]:
    agents, baselines, comparison = judged.agents, judged.baselines, judged.comparison
    return {
        "equity": lambda: plots.equity_figure(agents, baselines, comparison),
        "lead": lambda: plots.lead_figure(agents, baselines, comparison),
        "differences": lambda: plots.differences_figure(comparison),
        "weights": lambda: plots.weights_figure(plots.median_seed(agents)),
        "costs": lambda: plots.costs_figure(agents, baselines),
    }


def _tiles(judged: Evaluation) -> list[dict[str, str]]:
    ours = mean_figures(judged.agents)
    theirs = mean_figures(judged.baselines[judged.comparison.best])
    chosen = ("cagr", "sharpe", "max_drawdown", "turnover", "cost_drag")
    return [
        {
            "label": measure.label,
            "unit": _UNITS[measure.unit],
            "best_label": label(judged.comparison.best),
            "agent": format_figure(ours[measure.name].value, measure.unit),
            "best": format_figure(theirs[measure.name].value, measure.unit),
        }
        for measure in MEASURES
        if measure.name in chosen
    ]


def _metric_table(judged: Evaluation) -> list[dict[str, Any]]:
    policies: dict[str, Sequence[Ledger]] = {"agent": judged.agents, **judged.baselines}
    figures = {name: mean_figures(ledgers) for name, ledgers in policies.items()}
    intervals = judged.intervals()
    return [
        {
            "label": measure.label,
            "unit": _UNITS[measure.unit],
            "cells": [
                {
                    "value": format_figure(figures[name][measure.name].value, measure.unit),
                    "interval": _range(intervals[name].get(measure.name), measure.unit),
                }
                for name in policies
            ],
        }
        for measure in MEASURES
    ]


def _range(interval: Interval | None, unit: Unit) -> str:
    if interval is None or not np.isfinite([interval.low, interval.high]).all():
        return ""
    if interval.low == interval.high:
        return ""
    scale, digits = (100.0, 1) if unit.startswith("fraction") else (1.0, 2)
    ends = [
        f"{scale * end:.{digits}f}".replace("-", "\N{MINUS SIGN}")
        for end in (interval.low, interval.high)
    ]
    return f"[{ends[0]}, {ends[1]}]"


def _questions(comparison: Comparison) -> list[dict[str, str]]:
    gap = comparison.headline
    return [
        {
            "question": "Would another training run, on another stretch of such a market?",
            "over": "seeds and histories",
            "interval": _points_range(gap.growth),
            "use": "the verdict",
        },
        {
            "question": "Would another training run, on this very stretch?",
            "over": "seeds",
            "interval": _points_range(gap.growth_over_seeds),
            "use": "is the learner reliable?",
        },
        {
            "question": "Would these very agents, on another stretch of such a market?",
            "over": "histories",
            "interval": _points_range(gap.growth_over_time),
            "use": "is the stretch long enough?",
        },
    ]


def _difference_rows(comparison: Comparison) -> list[dict[str, Any]]:
    def row(gap: Difference) -> dict[str, Any]:
        return {
            "name": label(gap.baseline),
            "best": gap.baseline == comparison.best,
            "growth": _points(gap.growth.estimate),
            "growth_interval": _points_range(gap.growth),
            "sharpe": format_figure(gap.sharpe.estimate, "ratio"),
            "sharpe_interval": _range(gap.sharpe, "ratio"),
            "zero": "yes" if 0.0 in gap.growth else "no",
        }

    return [row(gap) for gap in comparison.differences.values()]


def _validation_rows(comparison: Comparison) -> list[tuple[str, str]]:
    growth = comparison.validation_growth
    order = sorted(growth, key=lambda name: -growth[name])
    return [(label(name), format_figure(growth[name], "fraction/year")) for name in order]


def _seed_rows(judged: Evaluation) -> list[dict[str, str]]:
    rows = []
    for ledger, gap in zip(judged.agents, judged.comparison.headline.per_seed, strict=True):
        found = {name: format_figure(f.value, f.unit) for name, f in summarise(ledger).items()}
        outside = float(np.mean(ledger.projected[1:]))
        found |= {
            "seed": str(ledger.metadata.seed),
            "lead": _points(gap),
            "projected": format_figure(outside, "fraction"),
            "closed": "yes" if ledger.closed.any() else "no",
        }
        rows.append(found)
    return rows


def _month_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for year, values in table.iterrows():
        cells = []
        for value in values.to_numpy(dtype=np.float64):
            strength = min(abs(value) / _DARKEST_MONTH, 1.0) if np.isfinite(value) else 0.0
            cells.append(
                {
                    "text": "" if np.isnan(value) else _points(value),
                    "side": "up" if value > 0.0 else "down",
                    "strength": f"{strength:.2f}",
                }
            )
        rows.append({"year": str(year), "cells": cells})
    return rows


def _facts(judged: Evaluation) -> list[tuple[str, str]]:
    ledger = judged.agents[0]
    facts = [("Test span", _span(ledger))]
    if judged.agents_validation:
        facts.append(("Validation span", _span(judged.agents_validation[0])))
    meta = ledger.metadata
    facts += [
        ("Assets", ", ".join(ledger.symbols)),
        ("Bars a year", f"{meta.periods_per_year:.1f}"),
        ("Digest of the trading rules (SHA-256)", meta.config_sha256),
        ("Digest of the data (SHA-256)", meta.data_sha256),
    ]
    return [(name, value) for name, value in facts if value]


def _span(ledger: Ledger) -> str:
    first, last = (str(t)[:10] for t in ledger.ts_event[[0, -1]].astype("datetime64[ns]"))
    return f"{first} to {last}, {ledger.num_bars:,} bars"


def _notes(inputs: ReportInputs) -> list[str]:
    judged = inputs.evaluation
    notes = [*inputs.notes, *judged.agents[0].metadata.notes]
    ruined = sum(bool(ledger.closed.any()) for ledger in judged.agents)
    if ruined:
        notes.append(f"{ruined} of {len(judged.agents)} accounts of the agent were ruined.")
    if not judged.comparison.chosen_on_validation:
        notes.append(
            "The best baseline was chosen in hindsight, on the span that it is compared on: the "
            "comparison is harder on the agent than it should be."
        )
    return list(dict.fromkeys(notes))


def _points(value: float, *, signed: bool = True) -> str:
    """A fraction in percentage points with its sign."""
    if not np.isfinite(value):
        return "unknown"
    sign = "\N{MINUS SIGN}" if value < 0.0 else "+"
    return f"{sign if signed else ''}{100.0 * abs(value):.1f}"


def _points_range(interval: Interval) -> str:
    return f"[{_points(interval.low)}, {_points(interval.high)}]"

"""The report of an agent's distance from the optimum: one HTML page, deterministic bytes."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from evaluation.bootstrap import Interval
from evaluation.drawing import to_svg, write_pngs
from evaluation.optimality_plots import figures, policy_label
from evaluation.optimality_result import OptimalityEvaluation, Row
from evaluation.option_drawing import page_svg
from evaluation.pages import PageInputs, page_template
from evaluation.report_options import OptionInputs, option_figures, option_words
from markets.atomic import write_whole

__all__ = [
    "OptimalityInputs",
    "render_optimality_report",
    "write_optimality_figures",
    "write_optimality_report",
]

_DASH = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_POWERS = {3: "³", 6: "⁶", 9: "⁹", 12: "¹²"}


@dataclass(frozen=True, kw_only=True)
class OptimalityInputs(PageInputs):
    """What a report shows beside the evaluation."""

    title: str = "Distance from the optimum"
    """Name of the run."""
    options: OptionInputs | None = None
    """Who acted in the account shown; None where the agent is not made of options."""


def write_optimality_report(
    path: Path, evaluation: OptimalityEvaluation, inputs: OptimalityInputs | None = None
) -> None:
    """Write the report, whole or not at all.

    Args:
        path: the HTML file; its folder is made if it is missing.
        evaluation: scores, intervals and slices.
        inputs: what it shows beside.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    write_whole(path, render_optimality_report(evaluation, inputs))


def write_optimality_figures(
    folder: Path, evaluation: OptimalityEvaluation, options: OptionInputs | None = None
) -> list[Path]:
    """Write the report's figures as PNG files on white, for trackers and documents.

    Args:
        folder: made if it is missing.
        evaluation: what is drawn.
        options: who acted, if the agent is made of options.

    Returns:
        The files, of those that this market has: ratio, policy, band, holdings; and those of
        options (`option_figures`).
    """
    drawn = figures(evaluation)
    return write_pngs(folder, drawn if options is None else drawn | option_figures(options))


def render_optimality_report(
    evaluation: OptimalityEvaluation, inputs: OptimalityInputs | None = None
) -> str:
    """The report as one HTML document.

    Args:
        evaluation: scores, intervals and slices.
        inputs: what it shows beside.
    """
    found, shown = evaluation, inputs or OptimalityInputs()
    scale = _Scale.of(found)
    drawn = {name: Markup(_figure(draw, name)) for name, draw in figures(found).items()}  # noqa: S704 - our own SVG
    if shown.options is not None:
        drawn |= {
            name: Markup(_plain_images(page_svg(draw, name=name)))  # noqa: S704 - likewise
            for name, draw in option_figures(shown.options).items()
        }
    seed = found.agents[found.shown]
    page = page_template("optimality.html.j2").render(
        found=found,
        inputs=shown,
        mark=_mark(found),
        kind=_kind(found),
        notes=list(dict.fromkeys([*shown.notes, *found.notes])),
        tiles=_tiles(found, scale),
        figures=drawn,
        options=None if shown.options is None else option_words(shown.options),
        reference=policy_label(f"oracle_{found.reference}"),
        level=f"{found.config.bootstrap.level:.0%}",
        policy_caption=_policy_caption(found),
        shown_seed=seed.seed,
        sampled=seed.holding_LNA.shape[1],
        turnover="units" if found.additive else "of equity",
        cost_unit=scale.unit.replace("log growth", "of equity"),
        scale=scale.unit,
        realised=found.expected,
        regimes=range(seed.share_EK.shape[1]) if seed.share_EK.shape[1] > 1 else (),
        rows=[_row(row, scale) for row in found.table],
        price=_price(found, scale),
        missing=[(policy_label(f"oracle_{name}"), why) for name, why in found.missing.items()],
        checks=_checks(found, scale),
        market=_facts(found),
    )
    return page.rstrip() + "\n"


def _figure(draw: Callable[[], Figure], name: str) -> str:
    return _plain_images(to_svg(draw, name=name))


def _plain_images(element: str) -> str:
    # Equal images have equal ids, which nothing refers to and a page may not repeat.
    return re.sub(r'(<image\b[^>]*?) id="[^"]*"', r"\1", element)


@dataclass(frozen=True)
class _Scale:
    """A power of a thousand, by which small rewards are read more easily."""

    factor: float
    unit: str

    @classmethod
    def of(cls, found: OptimalityEvaluation) -> "_Scale":
        """The one that brings the optimum's value between 1 and 1000."""
        size = abs(found.headline["optimality/oracle"])
        power = 3 * math.ceil(-math.log10(size) / 3.0) if 1e-12 < size < 1.0 else 0
        prefix = f"10\N{SUPERSCRIPT MINUS}{_POWERS[power]} " if power else ""
        return cls(10.0**power, f"{prefix}{found.unit}")

    def show(self, value: float) -> str:
        """A value in these units, with about three digits."""
        scaled = self.factor * value
        if not math.isfinite(scaled):
            return _DASH
        digits = 1 if abs(scaled) >= 100.0 else 2
        return _signed(f"{scaled:.{digits}f}")

    def range(self, interval: Interval) -> str:
        """Ends of an interval; empty where they agree."""
        if not math.isfinite(interval.width) or interval.width <= 0.0:
            return ""
        return f"[{self.show(interval.low)}, {self.show(interval.high)}]"


_PLAIN = _Scale(1.0, "")


def _row(row: Row, scale: _Scale) -> dict[str, Any]:
    name = f"Seed {row.seed}" if row.kind == "seed" else policy_label(row.name)
    certain = row.ratio.width <= 1e-9
    return {
        "name": name,
        "agent": row.kind == "agent",
        "value": scale.show(row.value.estimate),
        "value_range": scale.range(row.value),
        "ratio": _PLAIN.show(row.ratio.estimate),
        "ratio_range": "" if certain else _PLAIN.range(row.ratio),
        "realised": scale.show(row.realised),
        "mean": scale.show(row.mean),
        "regimes": [scale.show(mean) for mean in row.regimes] if len(row.regimes) > 1 else [],
        "turnover": f"{row.turnover:.3g}",
        "cost": scale.show(row.cost),
    }


def _tiles(found: OptimalityEvaluation, scale: _Scale) -> list[dict[str, str]]:
    rules = [row for row in found.table if row.kind == "rule"]
    best = max(rules, key=lambda row: row.value.estimate)
    optimum = found.headline["optimality/oracle"]
    tiles = [
        {
            "label": "Share of the optimum",
            "value": _PLAIN.show(found.ratio.estimate),
            "other": _PLAIN.range(found.ratio) or "undefined",
        },
        {
            "label": scale.unit[:1].upper() + scale.unit[1:],
            "value": scale.show(found.value.estimate),
            "other": f"optimum {scale.show(optimum)}",
        },
        {
            "label": "Best rule",
            "value": _PLAIN.show(best.ratio.estimate),
            "other": policy_label(best.name),
        },
        {
            "label": "Agreement of holdings",
            "value": f"R² {_PLAIN.show(found.agreement)}",
            "other": "with the optimum",
        },
    ]
    price = found.price_of_not_knowing
    if price is not None:
        tiles.append(
            {
                "label": "Price of not knowing",
                "value": scale.show(price.estimate),
                "other": scale.unit,
            }
        )
    return tiles


def _price(found: OptimalityEvaluation, scale: _Scale) -> dict[str, str] | None:
    price = found.price_of_not_knowing
    if price is None:
        return None
    return {"value": scale.show(price.estimate), "range": scale.range(price)}


def _checks(found: OptimalityEvaluation, scale: _Scale) -> list[dict[str, str]]:
    return [
        {
            "name": policy_label(f"oracle_{check.name}"),
            "value": scale.show(check.value),
            "simulated": scale.show(check.simulated),
            "error": scale.show(check.error),
            "z": _signed(f"{check.z:+.1f}"),
        }
        for check in found.checks
    ]


def _mark(found: OptimalityEvaluation) -> str:
    if found.undefined or 0.0 in found.ratio:
        return "open"
    return "lost" if found.ratio.estimate < 0.0 else "won"


def _kind(found: OptimalityEvaluation) -> str:
    kind = str(found.market.get("kind", "market")).replace("_", " ")
    seen = {
        "known": "the agent sees the regime",
        "belief": "the agent sees the filter's belief of the regime",
        "hidden": "the regime is hidden from the agent",
    }[found.view]
    return f"market {kind}, {seen}"


def _policy_caption(found: OptimalityEvaluation) -> str:
    shown = f"seed {found.agents[found.shown].seed}, whose value is the median"
    if not found.slices:
        return ""
    if found.slices[0].flat:
        return (
            f"Holdings after the trade by the holdings before it ({shown}). Dotted: no trade. "
            "Shaded: the optimum's no-trade band."
        )
    first = found.slices[0]
    held = "" if "before" in first.y_label else " from a holding of zero"
    return (
        f"Holdings traded to{held}, by {first.x_label} and {first.y_label} ({shown}). Blue is "
        "long, vermilion short, bold the line of zero; all three columns have one scale. Where a "
        "single action does not reach the optimum's target, the difference shows that too."
    )


def _facts(found: OptimalityEvaluation) -> list[tuple[str, str]]:
    facts = {**found.market, **found.problem}
    return [(name.replace("_", " ").capitalize(), _plain(value)) for name, value in facts.items()]


def _plain(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if value is None:
        return "default"
    return value.replace("_", " ") if isinstance(value, str) else json.dumps(value)


def _signed(text: str) -> str:
    """With a real minus sign, and none before a zero."""
    negative = text.startswith("-") and any(digit in text for digit in "123456789")
    return (_MINUS if negative else "") + text.removeprefix("-")

"""What the report says of regimes: a table, where the fit ends, and what became of refits."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from evaluation.drawing import COLOURS
from evaluation.regime_plots import colours_of
from evaluation.regime_summary import RegimeHistory, rows, table

__all__ = ["RegimeWords", "regime_words"]

_MOST_REFUSALS: Final = 12
"""Refused refits that are told one by one, the last ones."""
_DAILY_NS: Final = 20 * 3600 * 10**9


@dataclass(frozen=True)
class RegimeWords:
    """The section on regimes in words.

    Attributes:
        fitted_to: last bar of the training span; "" where no later one is known.
        heading: of the table of regimes.
        rows: of this table, calmest regime first.
        colours: of the regimes in the figure, as CSS.
        attempts: whether the detector learned on.
        accepted: refits that were.
        refused_count: refits that were not.
        refused: the last of these, as time and reason.
        untold: the number of those before.
    """

    fitted_to: str
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    colours: tuple[str, ...]
    attempts: bool
    accepted: str
    refused_count: str
    refused: tuple[tuple[str, str], ...]
    untold: str


def regime_words(history: RegimeHistory) -> RegimeWords:
    """Describe a history for a page.

    Args:
        history: of at least two bars.
    """
    names = {code: f"var(--{name})" for name, code in COLOURS.items()}
    heading, *body = table(rows(history))
    refused = [mark for mark in history.refits if not mark.accepted]
    untold = max(0, len(refused) - _MOST_REFUSALS)
    later = 0 < history.known_from < len(history.ts_event)
    return RegimeWords(
        fitted_to=_time(history, history.known_from - 1) if later else "",
        heading=tuple(name.capitalize() for name in heading),
        rows=tuple(tuple(_minus(cell) for cell in cells) for cells in body),
        colours=tuple(names.get(colour, colour) for colour in colours_of(history)),
        attempts=bool(history.refits),
        accepted=f"{len(history.refits) - len(refused):,}",
        refused_count=f"{len(refused):,}",
        refused=tuple((_time(history, mark.bar), mark.reason) for mark in refused[untold:]),
        untold=f"{untold:,}" if untold else "",
    )


def _minus(cell: str) -> str:
    signed = cell.startswith("-") and len(cell) > 1
    return f"\N{MINUS SIGN}{cell[1:]}" if signed else cell


def _time(history: RegimeHistory, row: int) -> str:
    """UTC date of a row, and its time where bars are closer than a day."""
    stamp = history.ts_event[min(row, len(history.ts_event) - 1)]
    text = str(stamp.astype("datetime64[ns]").astype("datetime64[m]"))
    close = float(np.median(np.diff(history.ts_event))) < _DAILY_NS
    return text.replace("T", " ") if close else text[:10]

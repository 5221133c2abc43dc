"""What a detector made of a history: its beliefs, and what each regime was like.

Dimensions: T bars, K regimes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CRISES",
    "Crisis",
    "RefitMark",
    "RegimeHistory",
    "RegimeRow",
    "bars_per_year",
    "rows",
    "table",
]

Array = NDArray[np.float64]

_NS_PER_YEAR = 365.25 * 86_400e9


@dataclass(frozen=True)
class Crisis:
    """A span of the market's history that people remember, from its high to its low."""

    name: str
    start: str
    """ISO 8601."""
    end: str
    """ISO 8601."""


CRISES = (
    Crisis("Kuwait", "1990-07-16", "1990-10-11"),
    Crisis("LTCM", "1998-07-17", "1998-10-08"),
    Crisis("Dot-com", "2000-03-10", "2002-10-09"),
    Crisis("Financial crisis", "2007-10-31", "2009-03-09"),
    Crisis("Debt crisis", "2011-04-29", "2011-10-03"),
    Crisis("2015-16", "2015-07-20", "2016-02-11"),
    Crisis("2018", "2018-08-29", "2018-12-24"),
    Crisis("Covid", "2020-02-19", "2020-03-23"),
    Crisis("2022", "2022-01-03", "2022-10-12"),
)
"""Known falls of the American stock market (highs and lows of the NASDAQ Composite or S&P 500)."""


@dataclass(frozen=True)
class RefitMark:
    """One attempt of a detector to learn on."""

    bar: int
    """First row that the new model speaks of; T where there is none left."""
    accepted: bool
    """Whether the new model is used."""
    reason: str = ""
    """Why not; empty where it is."""


@dataclass(frozen=True, eq=False)
class RegimeHistory:
    """A history seen by a detector.

    Attributes:
        title: of the figure.
        ts_event: closes, ns UTC, (T,).
        level_T: the market's level, > 0.
        belief_TK: beliefs; NaN where there is none yet.
        names: of the regimes, calmest first.
        transition_KK: of the model in use at the end; NaN where a regime has none.
        known_from: first row that the fit had not seen.
        crises: spans to be drawn in.
        refits: attempts to learn on.
        alarm_T: probability that the last `alarm_bars` bars hold a change; None = not told.
        alarm_bars: see there.
        gone: whether the last regime stands for all that the model in use has given up.
    """

    title: str
    ts_event: NDArray[np.int64]
    level_T: Array
    belief_TK: Array
    names: tuple[str, ...]
    transition_KK: Array
    known_from: int
    crises: tuple[Crisis, ...] = ()
    refits: tuple[RefitMark, ...] = ()
    alarm_T: Array | None = None
    alarm_bars: int = 0
    gone: bool = False

    @property
    def chosen(self) -> NDArray[np.int64]:
        """Most believed regime of each bar, -1 where there is no belief, (T,)."""
        known_T = np.isfinite(self.belief_TK).all(axis=1)
        best_T = np.nan_to_num(self.belief_TK).argmax(axis=1)
        return np.where(known_T, best_T, -1)


@dataclass(frozen=True)
class RegimeRow:
    """What a regime was like, by the bars after those at whose close it was believed most.

    Attributes:
        name: of the regime.
        share: of the bars.
        duration: mean number of bars in a row.
        visits: number of such rows.
        annual_return: of the market's log level, a year.
        annual_volatility: likewise.
    """

    name: str
    share: float
    duration: float
    visits: int
    annual_return: float
    annual_volatility: float


def bars_per_year(ts_event: NDArray[np.int64]) -> float:
    """Bars in a year of these times; NaN with fewer than two."""
    if len(ts_event) < 2:
        return float("nan")
    return float((len(ts_event) - 1) * _NS_PER_YEAR / (ts_event[-1] - ts_event[0]))


def rows(history: RegimeHistory) -> list[RegimeRow]:
    """Describe each regime. The return of a bar belongs to the regime believed at its opening.

    A regime that never was the most believed has NaN for its return and volatility.
    """
    chosen_T = history.chosen
    known = chosen_T >= 0
    year = bars_per_year(history.ts_event)
    change_T = np.diff(np.log(history.level_T), append=np.nan)
    found = []
    for regime, name in enumerate(history.names):
        inside_T = chosen_T == regime
        visits = int(np.count_nonzero(np.diff(inside_T.astype(np.int8), prepend=0) == 1))
        after = change_T[inside_T & np.isfinite(change_T)]
        found.append(
            RegimeRow(
                name=name,
                share=float(inside_T.sum() / max(1, known.sum())),
                duration=float(inside_T.sum() / visits) if visits else float("nan"),
                visits=visits,
                annual_return=float(after.mean() * year) if after.size else float("nan"),
                annual_volatility=float(after.std() * year**0.5) if after.size else float("nan"),
            )
        )
    return found


def table(described: Sequence[RegimeRow]) -> list[tuple[str, ...]]:
    """A table for people: a heading, then a row for each regime."""
    heading = ("REGIME", "SHARE", "MEAN DURATION", "VISITS", "RETURN A YEAR", "VOLATILITY A YEAR")
    body = [
        (
            row.name,
            f"{row.share:.1%}",
            _told(row.duration, f"{row.duration:,.1f} bars"),
            f"{row.visits:,}",
            _told(row.annual_return, f"{row.annual_return:+.1%}"),
            _told(row.annual_volatility, f"{row.annual_volatility:.1%}"),
        )
        for row in described
    ]
    return [heading, *body]


def _told(value: float, text: str) -> str:
    return text if np.isfinite(value) else "-"

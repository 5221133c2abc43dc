"""When an observation became known: a lag after it, in civil or business time.

A lag is text such as ``"2B"``, ``"1M 7D"`` or ``"36h"``: numbers of M (months), B (business days,
Monday to Friday), D (days), h, min and s, added in this order on the clock of the source's zone.
Business days know no holidays: where publication waits for one, choose a longer lag.
"""

import re
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from markets.calendars import NS_PER_DAY
from markets.errors import MarketDataError

__all__ = ["Lag", "LagError", "Publications", "clock_of_day", "to_utc"]

_TERM = re.compile(r"(\d+) ?(min|M|B|D|h|s)")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_SECOND = 1_000_000_000
_NS = {"D": NS_PER_DAY, "h": 3600 * _SECOND, "min": 60 * _SECOND, "s": _SECOND}


class LagError(MarketDataError):
    """A lag or a time of day cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Publications:
    """What a source gives: `markets.published.PublishedSeries` before it is checked."""

    name: str
    ts_published: NDArray[np.int64]
    values: NDArray[np.float64]
    unit: str
    source: str
    licence: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Lag:
    """Time from an observation to its publication, never negative."""

    months: int
    business_days: int
    ns: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a lag; see the module's text.

        Raises:
            LagError: not a sequence of whole numbers with units, each unit once.
        """
        terms = _TERM.findall(text)
        units = [unit for _, unit in terms]
        if not terms or _TERM.sub("", text).strip() or len(set(units)) < len(units):
            raise LagError(
                f"lag: expected text such as '1D', '2B' or '1M 7D' (M, B, D, h, min, s), "
                f"found {text!r}"
            )
        amount = {unit: int(number) for number, unit in terms}
        ns = sum(amount.get(unit, 0) * length for unit, length in _NS.items())
        return cls(amount.get("M", 0), amount.get("B", 0), ns)

    def after(self, local_n: NDArray[np.int64]) -> NDArray[np.int64]:
        """Times on the wall clock, ns, moved by this lag.

        A month after the 31st is the last day of a shorter month. One business day after a
        Saturday is Monday.
        """
        moved_n = local_n
        if self.months:
            later = pd.DatetimeIndex(moved_n) + pd.DateOffset(months=self.months)
            moved_n = later.as_unit("ns").asi8
        if self.business_days:
            days_n, time_n = np.divmod(moved_n, NS_PER_DAY)
            dates_n = days_n.astype("datetime64[D]")
            dates_n = np.busday_offset(dates_n, self.business_days, roll="backward")
            moved_n = dates_n.astype(np.int64) * NS_PER_DAY + time_n
        return moved_n + self.ns


def clock_of_day(text: str) -> int:
    """Nanoseconds after midnight of a time such as ``"16:15"``.

    Raises:
        LagError: not HH:MM or HH:MM:SS.
    """
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise LagError(f"at: expected a time of day such as '16:15', found {text!r}")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * _SECOND


def to_utc(local_n: NDArray[np.int64], timezone: str) -> NDArray[np.int64]:
    """UTC of times on a zone's wall clock, ns.

    A time that a clock change skips becomes the first one after it, one that it repeats the later
    of the two: never too early.
    """
    naive = pd.DatetimeIndex(local_n)
    winter = np.zeros(len(naive), bool)
    aware = naive.tz_localize(timezone, ambiguous=winter, nonexistent="shift_forward")
    return aware.tz_convert("UTC").tz_localize(None).as_unit("ns").asi8

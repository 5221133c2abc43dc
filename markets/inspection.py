"""Warnings about values that are possible but improbable; nothing is changed and nothing refused.

A bar can be inside its bounds and still be wrong: GOOG on 2008-09-30 closed at 294.57 in raw
files, 28 % below its open, on erroneous trades that were cancelled later. Validation must
not refuse such a bar (real crashes look alike), and a repair would invent data, so it is reported.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from markets.actions import SPLIT_RATIOS
from markets.bars import Bars
from markets.times import show

SuspicionKind = Literal["spike", "range", "split", "stale open", "no volume"]


@dataclass(frozen=True)
class Suspicion:
    """Something a human should look at.

    Attributes:
        kind: "spike": the close jumped and came back with the next bar; "range": the bar's range
            is many times the usual one; "split": a jump near a common split ratio that no
            corporate action explains; "stale open": the open repeats the last close in most bars
            of a year, so it is not a traded price; "no volume": the price moved at zero volume.
        symbol: Symbol.
        row: Row of the bars (of a year's first bar for "stale open").
        ts_event: Its time, ns UTC.
        value: Size: a log return, a log range, a share of bars.
        text: The whole in words.
    """

    kind: SuspicionKind
    symbol: str
    row: int
    ts_event: int
    value: float
    text: str

    def __str__(self) -> str:
        return f"{show(self.ts_event)} {self.symbol}: {self.text}"


def suspicious(
    bars: Bars,
    *,
    spike: float = 6.0,
    span: float = 15.0,
    stale: float = 0.5,
) -> tuple[Suspicion, ...]:
    """Report improbable bars.

    Args:
        bars: Bars; splits in their actions are taken into account. Additive instruments are left
            out, since ratios of their prices mean nothing.
        spike: A close is a spike if its log return exceeds this many robust standard deviations
            (1.4826 times the median absolute return, of all bars or of the 63 around it,
            whichever is larger) and the next bar takes at least half of
            the move back.
        span: A range is improbable if log(high/low) exceeds this many medians, and a half.
        stale: Least share of opens equal to the last close in a calendar year.

    Returns:
        Warnings in the order of symbols and times.
    """
    found: list[Suspicion] = []
    adjusted = bars.split_adjusted()
    for a, instrument in enumerate(bars.instruments):
        rows = np.flatnonzero(~bars.missing[:, a])
        if instrument.additive or len(rows) < 3:
            continue
        series = _Series(bars, a, rows, np.diff(np.log(adjusted.close[rows, a])))
        found += sorted(
            [*series.spikes(spike), *series.ranges(span), *series.splits(), *series.no_volume()],
            key=lambda suspicion: suspicion.row,
        )
        found += series.stale_opens(stale)
    return tuple(found)


@dataclass(frozen=True)
class _Series:
    """One symbol's bars: the rows it has, shape (R,), and its log returns, shape (R - 1,)."""

    bars: Bars
    asset: int
    rows: NDArray[np.int64]
    log_return: NDArray[np.float64]

    def _column(self, name: str) -> NDArray[np.float64]:
        column: NDArray[np.float64] = getattr(self.bars, name)[self.rows, self.asset]
        return column

    def _suspicion(self, kind: SuspicionKind, at: int, value: float, text: str) -> Suspicion:
        row = int(self.rows[at])
        ts_event = int(self.bars.ts_event[row])
        return Suspicion(kind, self.bars.symbols[self.asset], row, ts_event, value, text)

    def spikes(self, limit: float) -> list[Suspicion]:
        move, back = self.log_return[:-1], self.log_return[1:]
        size = pd.Series(np.abs(self.log_return))
        # The neighbourhood counts: a tenth in a day is nothing unusual in the midst of a crisis.
        local = size.rolling(63, center=True, min_periods=1).median().to_numpy()[:-1]
        scale = 1.4826 * np.maximum(local, float(size.median()))
        large = (np.abs(move) > limit * scale) & (scale > 0)
        returned = (move * back < 0) & (np.abs(back) >= 0.5 * np.abs(move))
        close = self._column("close")
        return [
            self._suspicion(
                "spike",
                i + 1,
                float(move[i]),
                f"close {close[i + 1]:g} after {close[i]:g} and before {close[i + 2]:g}: jumped by"
                f" {np.expm1(move[i]):+.0%} and came back",
            )
            for i in np.flatnonzero(large & returned).tolist()
        ]

    def ranges(self, limit: float) -> list[Suspicion]:
        high, low = self._column("high"), self._column("low")
        span = np.log(high / low)
        usual = float(np.median(span))
        return [
            self._suspicion(
                "range",
                i,
                float(span[i]),
                f"low {low[i]:g} and high {high[i]:g}: the usual range is {np.expm1(usual):.1%}",
            )
            for i in np.flatnonzero(span > max(limit * usual, 0.5)).tolist()
        ]

    def splits(self) -> list[Suspicion]:
        # A ratio below 3:2 is within reach of a bad day.
        jumps = np.flatnonzero(np.abs(self.log_return) > np.log(1.5) - 0.05)
        ratio = np.exp(-self.log_return[jumps])
        near = SPLIT_RATIOS[np.argmin(np.abs(np.log(ratio[:, None] / SPLIT_RATIOS)), axis=1)]
        close = self._column("close")
        opening = close[jumps] / self._column("open")[jumps + 1]
        like = np.abs(np.log(near)) >= np.log(1.5)
        for measured in (ratio, opening):
            like &= np.abs(np.log(measured / near)) < 0.05
        return [
            self._suspicion(
                "split",
                i + 1,
                float(self.log_return[i]),
                f"close {close[i]:g} to {close[i + 1]:g} looks like a split of {n:g} new shares per"
                " old one, which no corporate action explains",
            )
            for i, n in zip(jumps[like].tolist(), near[like].tolist(), strict=True)
        ]

    def no_volume(self) -> list[Suspicion]:
        idle = (self._column("volume")[1:] == 0) & (self.log_return != 0)
        return [
            self._suspicion(
                "no volume", i + 1, float(self.log_return[i]), "the price moved at zero volume"
            )
            for i in np.flatnonzero(idle).tolist()
        ]

    def stale_opens(self, limit: float) -> list[Suspicion]:
        same = self._column("open")[1:] == self._column("close")[:-1]
        year = pd.DatetimeIndex(self.bars.ts_event[self.rows[1:]]).year.to_numpy()
        found = []
        for number in np.unique(year):
            at = np.flatnonzero(year == number)
            share = float(same[at].mean())
            if share >= limit and len(at) >= 20:
                text = f"in {number} {share:.0%} of the opens repeat the last close"
                found.append(self._suspicion("stale open", int(at[0]) + 1, share, text))
        return found

r"""From raw bars to what features read: adjusted series, and the market that the assets make.

Everything looks back only, and one compiled function takes in a history or a single bar with the
same operations in the same order: a stream has the batch's inputs bit for bit.

An asset's bar is adjusted for splits, :math:`P_t = p_t \prod_{s \le t} S_s`, and its dividends buy
shares at the close of their ex-date: prices are multiplied by :math:`\prod_{s \le t} (1 + D_s /
C_s)`, so that the ratio of two closes is a total return. Dividends that fall on rows without a bar
wait for the asset's next one. The scale of the first bar is arbitrary.

The log return of an asset's bar is over its own previous bar, :math:`r = \ln (C_t / C_{t-1})`. Of
the assets that have one in a row:

- the market's log return is their mean, 0 where there is none, and its level the exponential of
  the sum so far: 1 until the first return; a sector's likewise, over the assets of the sector;
- dispersion is their population standard deviation, 0 for fewer than two;
- breadth is the share of positive ones, 1/2 for none.

Dimensions: T rows, A assets, S sectors, I inputs of an asset, M of the common axis.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.fingerprint import fingerprint
from features.inputs import ASSET_INPUTS, MARKET_INPUTS, PUBLISHED
from markets.bars import Bars
from markets.calendars import NS_PER_DAY
from markets.compiled import kernel, separate
from markets.published import PublishedSeries

__all__ = ["Panel", "PanelState", "adjust", "inputs_code", "joined", "survey"]

Array = NDArray[np.float64]

_RAW = ("open", "high", "low", "close", "volume")
_TIME, _MARKET, _SECTOR = (ASSET_INPUTS.index(name) for name in ("ts_event", "market", "sector"))
# Numbers of an asset's state: product of splits, reinvested dividends, those that wait, last close
# (0 before the first bar).
_STATE = 4


@separate
def adjust(
    raw_5: Array, split: float, dividend: float, state_4: Array, missing: np.bool_, out_I: Array
) -> float:
    """Take in one row of an asset.

    Args:
        raw_5: open, high, low, close and volume as traded.
        split: new shares per old share.
        dividend: cash per share after the split.
        state_4: the asset's state, changed.
        missing: whether it has no bar.
        out_I: adjusted prices and volume, written where it has.

    Returns:
        Log return over the asset's previous bar; NaN where there is none.
    """
    state_4[0] *= split
    last = state_4[3]
    if last > 0.0:
        state_4[2] += dividend * state_4[0]
    if missing:
        return np.nan
    state_4[1] *= 1.0 + state_4[2] / (raw_5[3] * state_4[0])
    state_4[2] = 0.0
    for price in range(4):
        out_I[price] = raw_5[price] * state_4[0] * state_4[1]
    out_I[4] = raw_5[4] / state_4[0]
    state_4[3] = out_I[3]
    return math.log(out_I[3] / last) if last > 0.0 else np.nan


@separate
def survey(return_A: Array, sector_A: NDArray[np.int64], level_S: Array, out_M: Array) -> None:
    """Market, sectors, dispersion and breadth of one row.

    Args:
        return_A: log returns, NaN where there is none.
        sector_A: sector of each asset, from 1 on; 0 where it is not known.
        level_S: log levels of the market (place 0) and of the sectors, changed.
        out_M: the columns `MARKET_INPUTS`, of which all but the time are written.
    """
    mean, count, risen = 0.0, 0, 0
    for sector in range(len(level_S)):
        total, members = 0.0, 0
        for asset in range(len(return_A)):
            if not math.isnan(return_A[asset]) and sector in (0, sector_A[asset]):
                total += return_A[asset]
                members += 1
        if members:
            level_S[sector] += total / members
        if sector == 0 and members:
            mean, count = total / members, members
    squares = 0.0
    for asset in range(len(return_A)):
        if not math.isnan(return_A[asset]):
            squares += (return_A[asset] - mean) ** 2
            risen += return_A[asset] > 0.0
    out_M[1] = math.exp(level_S[0])
    out_M[2] = math.sqrt(squares / count) if count > 1 else 0.0
    out_M[3] = risen / count if count else 0.5


@kernel
def _take_in(  # noqa: PLR0913, PLR0917 - compiled code takes arrays, by place
    raw_TA5: Array,
    missing_TA: NDArray[np.bool_],
    split_TA: Array,
    dividend_TA: Array,
    sector_A: NDArray[np.int64],
    state_A4: Array,
    level_S: Array,
    return_A: Array,
    out_TAI: Array,
    out_TM: Array,
) -> None:
    for row in range(len(raw_TA5)):
        for asset in range(len(sector_A)):
            return_A[asset] = adjust(
                raw_TA5[row, asset],
                split_TA[row, asset],
                dividend_TA[row, asset],
                state_A4[asset],
                missing_TA[row, asset],
                out_TAI[row, asset],
            )
        survey(return_A, sector_A, level_S, out_TM[row])
        for asset in range(len(sector_A)):
            out_TAI[row, asset, _TIME] = out_TM[row, 0]
            out_TAI[row, asset, _MARKET] = out_TM[row, 1]
            out_TAI[row, asset, _SECTOR] = math.exp(level_S[sector_A[asset]])


@dataclass(frozen=True, eq=False)
class Panel:
    """What features read in a span of rows."""

    ts_event: NDArray[np.int64]
    """Time of each row, ns UTC, (T,)."""
    present_TA: NDArray[np.bool_]
    """Whether an asset has a bar in a row."""
    asset_TAI: Array
    """Inputs of the assets, in the order of `ASSET_INPUTS`; only rows with a bar have a meaning."""
    shared_TM: Array
    """Inputs of the common axis, in the order of `MARKET_INPUTS`."""


class PanelState:
    """All that later rows need to know of the rows so far.

    Args:
        sectors: the sector of each asset, None where it is not known.
    """

    def __init__(self, sectors: Sequence[str | None]) -> None:
        names = sorted({sector for sector in sectors if sector is not None})
        self.sectors = tuple(sectors)
        self.asset_A4 = np.zeros((len(sectors), _STATE))
        """Per asset: product of splits, dividends reinvested, dividends that wait, last close."""
        self.asset_A4[:, :2] = 1.0
        self.level_S = np.zeros(1 + len(names))
        """Log levels of the market and of the sectors by name."""
        place = {name: 1 + number for number, name in enumerate(names)}
        self._sector_A = np.array([place.get(s, 0) if s else 0 for s in sectors], np.int64)
        self._return_A = np.empty(len(sectors))

    @classmethod
    def of(cls, bars: Bars) -> "PanelState":
        """State before the first of some bars."""
        return cls([instrument.sector for instrument in bars.instruments])

    def take_in(self, bars: Bars, split_TA: Array, dividend_TA: Array) -> Panel:
        """Take in the next rows.

        Args:
            bars: the rows, raw, with the assets in the order of this state.
            split_TA: new shares per old share.
            dividend_TA: cash per share after the splits.

        Returns:
            Inputs of the features in these rows.
        """
        rows, assets = bars.missing.shape
        raw_TA5 = np.empty((rows, assets, len(_RAW)))
        for column, name in enumerate(_RAW):
            raw_TA5[..., column] = getattr(bars, name)
        asset_TAI = np.empty((rows, assets, len(ASSET_INPUTS)))
        shared_TM = np.empty((rows, len(MARKET_INPUTS)))
        shared_TM[:, 0] = bars.ts_event
        _take_in(
            raw_TA5,
            np.ascontiguousarray(bars.missing),
            np.ascontiguousarray(split_TA),
            np.ascontiguousarray(dividend_TA),
            self._sector_A,
            self.asset_A4,
            self.level_S,
            self._return_A,
            asset_TAI,
            shared_TM,
        )
        return Panel(bars.ts_event, ~bars.missing, asset_TAI, shared_TM)


def joined(published: PublishedSeries, ts_event: NDArray[np.int64]) -> tuple[Array, Array]:
    """Value known at each time and its age in days; NaN before the first publication."""
    values_T, age_ns_T = published.as_of(ts_event)
    return values_T, np.where(np.isnan(values_T), np.nan, age_ns_T / NS_PER_DAY)


def inputs_code(names: frozenset[str]) -> list[str]:
    """Fingerprints of the code that makes some inputs from bars and publications."""
    makers = {
        adjust: names & {*ASSET_INPUTS, *MARKET_INPUTS} - {"ts_event"},
        survey: names & {"market", "sector", "dispersion", "breadth"},
        joined: names & PUBLISHED,
    }
    return [fingerprint(maker) for maker, made in makers.items() if made]

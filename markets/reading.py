"""From a user's frame to a validated grid: read, stamp, check, repair, lay out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from markets.frames import read_frame
from markets.instruments import Instrument, InstrumentError, instruments_for
from markets.records import CLOSE
from markets.repairs import repaired
from markets.sessions import checked_sessions, stamped_at_close
from markets.times import show
from markets.validation import (
    POLICIES,
    BarsError,
    Repair,
    RepairPolicy,
    raise_faults,
    time_findings,
    value_findings,
)


@dataclass(frozen=True)
class Contents:
    """What a frame holds, validated.

    Attributes:
        ts_event: ns UTC, strictly increasing, shape (T,).
        values: open, high, low, close, volume; NaN where missing; shape (5, T, A).
        instruments: One for each column, length A.
        repairs: What a repair policy changed.
    """

    ts_event: NDArray[np.int64]
    values: NDArray[np.float64]
    instruments: tuple[Instrument, ...]
    repairs: tuple[Repair, ...]


def read_contents(
    frame: pd.DataFrame,
    instruments: Sequence[Instrument] | None,
    repair: RepairPolicy | None,
    *,
    partial: bool,
) -> Contents:
    """Do the work of `Bars.from_pandas`, where the arguments are described.

    Args:
        frame: Long or wide frame.
        instruments: Order and properties of the symbols.
        repair: Policy for faults.
        partial: The frame is a piece of a stream.

    Returns:
        A validated grid.

    Raises:
        BarsError: The frame has not the form or breaks a rule.
        InstrumentError: `instruments` does not match the frame.
    """
    if repair is not None and repair not in POLICIES:
        raise BarsError(f"repair: expected one of {list(POLICIES)} or None, found {repair!r}")
    records = read_frame(frame, instruments, partial=partial)
    chosen = _chosen(records.symbols, instruments, partial=partial)
    records = records.rebased(tuple(instrument.symbol for instrument in chosen))
    records, outside = stamped_at_close(records, chosen)
    findings = [*outside, *time_findings(records), *value_findings(records)]
    repairs: tuple[Repair, ...] = ()
    if findings and repair is not None:
        records, repairs = repaired(records, findings, repair)
        left = [] if repair == "drop" else outside
        findings = [*left, *time_findings(records), *value_findings(records)]
    raise_faults(records, findings, repair)
    extra, gaps = checked_sessions(records, () if partial else chosen, repair)
    ts_event, values = records.grid(extra)
    if not partial:
        _check_length(ts_event)
        missing_TA = np.isnan(values[CLOSE])
        span = f"{show(int(ts_event[0]))} to {show(int(ts_event[-1]))}"
        check_symbols(records.symbols, missing_TA, span)
    elif not len(ts_event):
        raise BarsError("bars: no data: no row is left after repair")
    return Contents(ts_event, values, chosen, repairs + gaps)


def _chosen(
    found: tuple[str, ...], instruments: Sequence[Instrument] | None, *, partial: bool
) -> tuple[Instrument, ...]:
    """The instruments in the order given; all symbols of the frame must be among them."""
    chosen = instruments_for(found, instruments)
    if instruments is None:
        return chosen
    if len({instrument.symbol for instrument in instruments}) != len(instruments):
        raise InstrumentError("instruments: a symbol is given twice")
    barren = [i.symbol for i in instruments if i.symbol not in found]
    if barren and not partial:
        raise BarsError(
            f"bars: {barren} have no bar at all in the frame; its symbols are {list(found)}."
            " Leave their instruments out"
        )
    return tuple(instruments)


def _check_length(ts_event: NDArray[np.int64]) -> None:
    if not len(ts_event):
        raise BarsError("bars: no data: no row is left after repair")
    if len(ts_event) == 1:
        raise BarsError(
            f"bars: expected at least 2 bars, found 1 ({show(int(ts_event[0]))}); a piece of a"
            " stream is read with partial=True"
        )


def check_symbols(symbols: tuple[str, ...], missing_TA: NDArray[np.bool_], span: str) -> None:
    """Refuse a symbol without a bar.

    Args:
        symbols: Length A.
        missing_TA: True where there is no bar, shape (T, A).
        span: For the message.

    Raises:
        BarsError: A symbol is missing throughout.
    """
    barren = [symbols[a] for a in np.flatnonzero(missing_TA.all(axis=0))]
    if barren:
        raise BarsError(
            f"bars: {barren} have no bar at all from {span}; leave them out with select(...)"
        )

"""Bars against a trading calendar: closes as time stamps, days without a session, lost sessions."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from markets.calendars import session_closes, session_of, sessions
from markets.instruments import Instrument
from markets.records import NO_TIME, Records
from markets.times import show
from markets.validation import SHOWN, BarsError, Finding, Repair, RepairPolicy


def _calendars(instruments: Sequence[Instrument]) -> list[str]:
    return sorted({i.calendar for i in instruments if i.calendar is not None})


def _members(records: Records, instruments: Sequence[Instrument], name: str) -> NDArray[np.bool_]:
    """Records of the instruments on one calendar that have a time and a bar."""
    on_calendar = np.array([instrument.calendar == name for instrument in instruments], bool)
    present = ~np.isnan(records.values).all(axis=0)
    timed = records.ts_event != NO_TIME
    return np.asarray(on_calendar[records.code] & timed & present)


def stamped_at_close(
    records: Records, instruments: Sequence[Instrument]
) -> tuple[Records, list[Finding]]:
    """Turn dates into session closes, and find bars outside all sessions.

    If instruments of several calendars share the axis, a date is stamped with the latest close
    of that day, for only then is every bar of the row known.

    Args:
        records: Records; `records.dates` says whether their times are dates.
        instruments: One for each of `records.symbols`.

    Returns:
        The records with new times (unchanged where there is no calendar), and one finding for
        each calendar that disagrees.
    """
    names = _calendars(instruments)
    if not names:
        return records, []
    findings = []
    for name in names:
        mine = np.flatnonzero(_members(records, instruments, name))
        outside = mine[_session(records, mine, name, names) < 0]
        if len(outside):
            findings.append(_outside(records, outside, f"a session of calendar {name}"))
    if not records.dates:
        return records, findings
    timed = records.ts_event != NO_TIME
    day = np.unique(records.ts_event[timed])
    close = np.max([session_closes(name, day) for name in names], axis=0)
    close = np.where(close < 0, day, close)
    ts_event = records.ts_event.copy()
    ts_event[timed] = close[np.searchsorted(day, records.ts_event[timed])]
    return replace(records, ts_event=ts_event, day=records.ts_event), findings


def _session(
    records: Records, at: NDArray[np.int64], name: str, names: Sequence[str]
) -> NDArray[np.int64]:
    """A value >= 0 for each record in a session.

    An instant shared by several calendars need be in a session of one of them only: a row is
    stamped when the last of its markets has closed.
    """
    times = records.ts_event[at]
    if records.dates:
        return session_closes(name, times)
    return np.asarray(np.max([session_of(one, times) for one in names], axis=0))


def _outside(records: Records, at: NDArray[np.int64], expected: str) -> Finding:
    return Finding(
        "calendar",
        "time",
        at,
        lambda i: show(int(records.ts_event[i])),
        lambda _: expected,
        in_time=True,
    )


def checked_sessions(
    records: Records, instruments: Sequence[Instrument], repair: RepairPolicy | None
) -> tuple[NDArray[np.int64], tuple[Repair, ...]]:
    """Find sessions between first and last bar on which no symbol of the calendar has a bar.

    Instants on several calendars are not checked, for a row belongs to no one session then.

    Args:
        records: Faultless records.
        instruments: One for each of `records.symbols`.
        repair: With "mask" lost sessions come back as rows in which every bar is missing.

    Returns:
        Times to add to the axis, ns UTC, shape (K,), and what was repaired.

    Raises:
        BarsError: Sessions are lost and the policy is another.
    """
    names = _calendars(instruments)
    lost: dict[str, NDArray[np.int64]] = {}
    for name in names if records.day is not None or len(names) == 1 else ():
        mine = _members(records, instruments, name)
        if records.day is not None:
            present = np.unique(records.day[mine])
        else:
            present = np.unique(session_of(name, np.unique(records.ts_event[mine])))
        if not len(present):
            continue
        absent = np.setdiff1d(sessions(name, int(present[0]), int(present[-1])), present)
        if len(absent):
            lost[name] = absent
    total = sum(map(len, lost.values()))
    lines = [
        f"{name}: {len(days)} sessions without a bar: "
        + ", ".join(show(int(day)) for day in days[:SHOWN])
        for name, days in lost.items()
    ]
    if lost and repair != "mask":
        raise BarsError(
            f"bars: {total} sessions of the calendar are lost:\n  "
            + "\n  ".join(lines)
            + "\nrepair='mask' adds them as missing bars; without a calendar nothing is checked",
            total=total,
        )
    closes = [session_closes(name, days) for name, days in lost.items()]
    extra = np.concatenate(closes) if closes else np.empty(0, np.int64)
    repairs = tuple(
        Repair("mask", "calendar: session without a bar", len(lost[name]), (line,))
        for name, line in zip(lost, lines, strict=True)
    )
    return extra, repairs

"""Rules that bars obey, the one error that lists what breaks them, and the repairs on offer.

Everything works on records: one row of a user's frame and one symbol each, before they are laid
out on a common time axis, so that a fault names the row in which its reader will find it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from markets.errors import MarketDataError
from markets.records import CLOSE, FIELDS, HIGH, LOW, NO_TIME, OPEN, VOLUME, Records
from markets.times import show

RepairPolicy = Literal["drop", "mask", "clip"]
POLICIES: dict[RepairPolicy, str] = {
    "drop": "leave the faulty row of the frame out (of a wide frame with all its symbols)",
    "mask": "keep the time, and mark the faulty symbol's bar as missing",
    "clip": "move high and low out to hold open and close, and negative volume to 0",
}
"""What each repair does; a repair is always recorded in `Bars.repairs`."""

TOLERANCE = 1e-9
"""Relative: a bound broken by less is the rounding of somebody's adjustment, and no fault."""
SHOWN = 10
_NUMBER = "a number (or all five columns empty: no bar)"
ORDER_RULES = ("duplicate time", "time order")


@dataclass(frozen=True)
class Fault:
    """One value that breaks a rule.

    Attributes:
        row: Row of the frame, counted from 0 (the second line of a CSV file is row 0).
        ts_event: Time of that row, ns UTC; the smallest int64 if it has none.
        symbol: Symbol, or "" if the whole row is meant.
        column: Column at fault.
        found: The value found.
        expected: What would have been right.
    """

    row: int
    ts_event: int
    symbol: str
    column: str
    found: str
    expected: str

    def __str__(self) -> str:
        where = f"row {self.row} ({show(self.ts_event)})"
        name = f"{self.symbol}.{self.column}" if self.symbol else self.column
        return f"{where} {name}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Repair:
    """What a repair policy changed; goes into the manifest.

    Attributes:
        policy: "drop", "mask" or "clip".
        rule: The rule that was broken.
        count: Number of frame rows (drop), bars (mask) or values (clip) changed.
        first: The first faults, as text.
    """

    policy: str
    rule: str
    count: int
    first: tuple[str, ...]


class BarsError(MarketDataError):
    """Bars cannot be built; the message lists the first faults and the repairs on offer.

    Attributes:
        faults: The first faults, in the order of their rows.
        total: Number of all faults.
    """

    def __init__(self, message: str, faults: Sequence[Fault] = (), total: int = 0) -> None:
        super().__init__(message)
        self.faults = tuple(faults)
        self.total = total


@dataclass(frozen=True)
class Finding:
    """All records that break one rule in one column.

    Attributes:
        rule: Name of the rule.
        column: Column at fault.
        at: Records at fault, increasing, shape (K,).
        found: Text of the value found, given a record.
        expected: Text of what would have been right, given a record.
        in_time: The fault is in the time, so no bar can stand there.
    """

    rule: str
    column: str
    at: NDArray[np.int64]
    found: Callable[[int], str]
    expected: Callable[[int], str]
    in_time: bool = False

    def faults(self, records: Records, count: int = SHOWN) -> list[Fault]:
        """The first faults of this kind."""
        return [
            Fault(
                row=int(records.row[i]),
                ts_event=int(records.ts_event[i]),
                symbol="" if self.in_time and records.wide else records.symbols[records.code[i]],
                column=self.column,
                found=self.found(i),
                expected=self.expected(i),
            )
            for i in map(int, self.at[:count])
        ]


def value_findings(records: Records) -> list[Finding]:
    """Check the five values of every record.

    A record whose five values are all empty is a missing bar, which is no fault.

    Args:
        records: Records to check.

    Returns:
        One finding for each broken rule and column; empty if all is well.
    """
    values, additive_N = records.values, records.additive_A[records.code]
    empty = np.isnan(values)
    absent = empty.all(axis=0)
    findings: list[Finding] = []

    def add(rule: str, field: int, bad: NDArray[np.bool_], expected: Callable[[int], str]) -> None:
        if bad.any():
            column = values[field]

            def found(i: int) -> str:
                return "nothing" if np.isnan(column[i]) else f"{column[i]:.10g}"

            findings.append(Finding(rule, FIELDS[field], np.flatnonzero(bad), found, expected))

    for field in range(5):
        add("incomplete", field, empty[field] & ~absent, lambda _: _NUMBER)
        add("finite", field, np.isinf(values[field]), lambda _: "a finite number")
    for field in range(4):
        bad = (values[field] <= 0) & ~additive_N
        add("positive price", field, bad, lambda _: "> 0 (the instrument is not additive)")
    add("volume", VOLUME, values[VOLUME] < 0, lambda _: ">= 0")
    # Where a price is empty or infinite there is another fault already.
    whole = np.isfinite(values[:4]).all(axis=0)
    prices = np.where(whole, values[:4], 0.0)
    body_high = np.maximum(prices[OPEN], prices[CLOSE])
    body_low = np.minimum(prices[OPEN], prices[CLOSE])
    slack = TOLERANCE * np.maximum(np.abs(body_high), np.abs(body_low))
    bad_high = prices[HIGH] < body_high - slack
    bad_low = prices[LOW] > body_low + slack
    add("bounds", HIGH, bad_high, lambda i: f">= {body_high[i]:.10g}, the larger of open and close")
    add("bounds", LOW, bad_low, lambda i: f"<= {body_low[i]:.10g}, the smaller of open and close")
    return findings


def time_findings(records: Records) -> list[Finding]:
    """Check that every record has a time, and that each symbol's times strictly increase.

    Args:
        records: Records to check.

    Returns:
        At most one finding each for times that are empty, repeated or out of order.
    """
    ts_event = records.ts_event
    timeless = _once_per_row(records, np.flatnonzero(ts_event == NO_TIME))
    at, before = _neighbours(records)
    back = ts_event[at] <= ts_event[before]
    at, before = at[back], before[back]
    previous = dict(zip(at.tolist(), before.tolist(), strict=True))
    same = ts_event[at] == ts_event[before]
    findings = []
    if len(timeless):
        findings.append(
            Finding("time", "time", timeless, lambda _: "nothing", lambda _: "a time", in_time=True)
        )
    for rule, which in (("duplicate time", same), ("time order", ~same)):
        if which.any():
            findings.append(
                Finding(
                    rule,
                    "time",
                    np.sort(at[which]),
                    lambda i: show(int(ts_event[i])),
                    lambda i: (
                        f"a time after {show(int(ts_event[previous[i]]))}"
                        f" of row {records.row[previous[i]]}"
                    ),
                    in_time=True,
                )
            )
    return findings


def _once_per_row(records: Records, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of a wide frame keep one record for each row."""
    if not records.wide:
        return at
    return at[np.unique(records.row[at], return_index=True)[1]]


def _neighbours(records: Records) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each timed record and the one before it of the same symbol, in the order of the frame."""
    timed = np.flatnonzero(records.ts_event != NO_TIME)
    timed = _once_per_row(records, timed)
    group = np.zeros(len(timed), np.int64) if records.wide else records.code[timed]
    order = timed[np.argsort(group, kind="stable")]
    group = np.sort(group, kind="stable")
    same = group[1:] == group[:-1]
    return order[1:][same], order[:-1][same]


def raise_faults(records: Records, findings: Sequence[Finding], repair: str | None) -> None:
    """Raise one error that lists the first faults of all findings; do nothing without any.

    Args:
        records: The records checked.
        findings: What was found in them.
        repair: The policy that was applied already, if any.

    Raises:
        BarsError: There is a finding.
    """
    if not findings:
        return
    total = sum(len(finding.at) for finding in findings)
    faults = [fault for finding in findings for fault in finding.faults(records)]
    faults = sorted(faults, key=lambda fault: fault.row)[:SHOWN]
    after = f" that repair={repair!r} cannot mend" if repair else ""
    lines = [f"bars: {total} fault{'s' * (total != 1)}{after}; the first {len(faults)}:"]
    lines += [f"  {fault}" for fault in faults]
    lines += _remedies(findings, repair)
    raise BarsError("\n".join(lines), faults, total)


def _remedies(findings: Sequence[Finding], repair: str | None) -> list[str]:
    rules = {finding.rule for finding in findings}
    lines = []
    if len(findings) > 1:
        counts = [f"{finding.column}: {finding.rule} {len(finding.at)}" for finding in findings]
        lines.append("all faults by column and rule: " + "; ".join(counts))
    if "duplicate time" in rules:
        lines.append(
            "several rows of one symbol and time (two vintages?): choose one, for example"
            " frame.drop_duplicates(['symbol', 'date'], keep='last')"
        )
    if "time order" in rules:
        lines.append("rows out of order: if their times are right, frame.sort_values(...) mends it")
    helps: dict[RepairPolicy, bool] = {
        "drop": True,
        "mask": not all(finding.in_time for finding in findings),
        "clip": bool(rules & {"bounds", "volume"}),
    }
    lines.append("repair= mends what it can and records it in Bars.repairs:")
    return lines + [
        f"  repair={policy!r}: {text}"
        for policy, text in POLICIES.items()
        if helps[policy] and policy != repair
    ]

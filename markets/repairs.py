"""Repairs of faulty records: drop, mask, clip; each is recorded."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from markets.records import CLOSE, FIELDS, OPEN, VOLUME, Records
from markets.validation import ORDER_RULES, SHOWN, Finding, Repair, RepairPolicy


def repaired(
    records: Records, findings: Sequence[Finding], policy: RepairPolicy
) -> tuple[Records, tuple[Repair, ...]]:
    """Apply a repair policy to what was found.

    Args:
        records: The records.
        findings: What is wrong with them.
        policy: See `POLICIES`.

    Returns:
        The mended records (check them again: no policy mends everything), and what was changed.
    """
    if policy == "drop":
        return _drop(records, findings)
    values = records.values.copy()
    repairs = []
    for finding in findings:
        if finding.in_time:
            continue
        if policy == "mask":
            values[:, finding.at] = np.nan
        elif finding.rule == "bounds":
            widen = np.fmax if finding.column == "high" else np.fmin
            field = FIELDS.index(finding.column)
            body = widen(values[OPEN, finding.at], values[CLOSE, finding.at])
            values[field, finding.at] = body
        elif finding.rule == "volume":
            values[VOLUME, finding.at] = 0.0
        else:
            continue
        repairs.append(_repair(records, finding, policy, len(finding.at)))
    return replace(records, values=values), tuple(repairs)


def _repair(records: Records, finding: Finding, policy: str, count: int) -> Repair:
    first = tuple(str(fault) for fault in finding.faults(records))
    return Repair(policy, f"{finding.column}: {finding.rule}", count, first)


def _drop(records: Records, findings: Sequence[Finding]) -> tuple[Records, tuple[Repair, ...]]:
    repairs = []
    bad = np.zeros(len(records.row), bool)
    disorder = [finding for finding in findings if finding.rule in ORDER_RULES]
    for finding in findings:
        if finding.rule in ORDER_RULES:
            continue
        bad[finding.at] = True
        repairs.append(_repair(records, finding, "drop", len(np.unique(records.row[finding.at]))))
    kept = records.take(~np.isin(records.row, records.row[bad]))
    if not disorder:
        return kept, tuple(repairs)
    # Order last: a faulty row that is gone cannot put its neighbours out of order.
    late = out_of_order(kept)
    count = len(np.unique(kept.row[late])) if records.wide else int(late.sum())
    first = tuple(str(fault) for finding in disorder for fault in finding.faults(records))
    repairs.append(Repair("drop", "time: duplicates or order", count, first[:SHOWN]))
    return kept.take(~late), tuple(repairs)


def out_of_order(records: Records) -> NDArray[np.bool_]:
    """Rows to leave out so that the fewest are lost and every symbol's times strictly increase.

    The rows kept of each symbol are a longest increasing subsequence; of equal times the first
    is kept.

    Args:
        records: Records, all with a time.

    Returns:
        True for each record to leave out, shape (N,).
    """
    bad = np.zeros(len(records.ts_event), bool)
    for code in range(1 if records.wide else len(records.symbols)):
        at = np.flatnonzero(records.code == code)
        ts_event = records.ts_event[at]
        if len(at) > 1 and not (np.diff(ts_event) > 0).all():
            keep = _longest_increasing(ts_event.tolist())
            bad[np.delete(at, keep)] = True
    return np.isin(records.row, records.row[bad]) if records.wide else bad


def _longest_increasing(numbers: list[int]) -> list[int]:
    """Positions of a longest strictly increasing subsequence (patience sorting)."""
    tails: list[int] = []
    ends: list[int] = []
    parent = [-1] * len(numbers)
    for i, number in enumerate(numbers):
        place = bisect_left(tails, number)
        if place < len(tails) and tails[place] == number:
            continue  # of equal times the first stays
        parent[i] = ends[place - 1] if place else -1
        tails[place : place + 1] = [number]
        ends[place : place + 1] = [i]
    chain = []
    i = ends[-1] if ends else -1
    while i >= 0:
        chain.append(i)
        i = parent[i]
    return chain[::-1]

"""What a stream of phases came to, in words: the verdict, what it rests on, and what to beware."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from evaluation.bootstrap import Interval
from evaluation.continual_figures import recoveries_of
from evaluation.continual_metrics import MOST_DEGRADATION, forgetting_of, own_scores
from evaluation.continual_record import LEAST_SHARE, StreamRecord

__all__ = ["evidence_of", "loss_words", "notes_of", "number", "ranged", "verdict_of"]

_NONE = "\N{EN DASH}"
FEW_SEEDS: Final = 10
"""Below so many seeds a bootstrap interval is too narrow."""
SMALL: Final = 2.0
"""Per cent: a loss that may be zero and is surely not larger is next to nothing."""


def number(value: float, digits: int = 2) -> str:
    """A number with a real minus sign, a dash where there is none, and no minus before a zero."""
    if not math.isfinite(value):
        return _NONE
    text = f"{value:,.{digits}f}"
    negative = text.startswith("-") and any(digit in text for digit in "123456789")
    return ("\N{MINUS SIGN}" if negative else "") + text.removeprefix("-")


def ranged(interval: Interval, digits: int = 2) -> str:
    """Ends of an interval; empty where there are none."""
    if not math.isfinite(interval.width):
        return ""
    return f"[{number(interval.low, digits)}, {number(interval.high, digits)}]"


def verdict_of(records: Sequence[StreamRecord], found: Mapping[str, Interval]) -> str:
    """The result in a sentence."""
    record, average = records[0], found["average_performance"]
    regimes, phases = len(record.played), len(record.order)
    over = "in its regime" if regimes == 1 else f"on average over {regimes} regimes"
    if record.together:
        return f"Learning {regimes} regimes at once, the agent {_earns(record, average)} {over}."
    after = "After one phase" if phases == 1 else f"After {phases} phases"
    if _untouched(records):
        return (
            f"{after} the agent is what it was before training, for the gate accepted no update; "
            f"it {_earns(record, average)} {over}."
        )
    told = f"{after} the agent {_earns(record, average)} {over}"
    return f"{told}; {loss_words(found['degradation'])}." if regimes > 1 else f"{told}."


def loss_words(lost: Interval) -> str:
    """What became of earlier regimes, in words that start small."""
    if not math.isfinite(lost.estimate):
        return "it had learned nothing of earlier regimes that could be lost"
    low, high = (lost.low, lost.high) if math.isfinite(lost.width) else (lost.estimate,) * 2
    found = " ".join(filter(None, [f"{number(abs(lost.estimate), 1)}%", _percents(lost)]))
    if low > 0.0:
        return f"of what it had learned of earlier ones it has lost {found}"
    if high < 0.0:
        return f"in earlier ones it has become better by {found}"
    if low == high == 0.0:
        return "of what it had learned of earlier ones it has lost nothing"
    shown = f"{number(lost.estimate, 1)}% {_percents(lost)}"
    if high <= SMALL:
        return f"of what it had learned of earlier ones it has lost next to nothing: {shown}"
    return f"whether it has lost any of what it had learned of earlier ones cannot be told: {shown}"


def evidence_of(records: Sequence[StreamRecord], found: Mapping[str, Interval]) -> str:
    """What the verdict rests on; what was learned and the conflict always stand beside a loss."""
    record, count = records[0], len(records)
    seeds = "one training seed" if count == 1 else f"interquartile mean of {count} training seeds"
    level = found["average_performance"].level
    interval = "" if count == 1 else f", {level:.0%} bootstrap interval over seeds"
    unit = "shares of the optimum" if record.gain_J is not None else "rewards a bar"
    told = " ".join([f"Scores S are {unit}; {seeds}{interval}.", *_gated(records)])
    if len(record.order) == 1 or _untouched(records):
        return told
    learned = number(found["learned"].estimate, _digits(record))
    conflict = found["conflict"].estimate
    told += f" When a regime was last learned, S was {learned} on average"
    if math.isfinite(conflict):
        told += (
            f"; a specialist of the first regime comes to {number(conflict, _digits(record))} in "
            "another one"
        )
    return told + "."


def _untouched(records: Sequence[StreamRecord]) -> bool:
    """Whether a gate has judged every seed's updates and accepted none."""
    return all(
        record.decisions and not any(each.accepted for each in record.decisions)
        for record in records
    )


def _gated(records: Sequence[StreamRecord]) -> Iterator[str]:
    """How many updates the gate accepted: a loss is small where few passed."""
    decisions = [each for record in records for each in record.decisions]
    if decisions:
        accepted = sum(each.accepted for each in decisions)
        yield f"The gate accepted {accepted} of {len(decisions)} updates."


def notes_of(records: Sequence[StreamRecord], found: Mapping[str, Interval]) -> Iterator[str]:
    """What a reader must know before believing the figures."""
    record, count = records[0], len(records)
    if count == 1:
        yield "There is one seed: nothing is known of what another training would come to."
    elif count < FEW_SEEDS:
        yield (
            f"There are {count} seeds. A bootstrap over fewer than {FEW_SEEDS} gives intervals "
            "that are too narrow."
        )
    absent = [name for j, name in enumerate(record.regimes) if j not in record.played]
    if absent:
        yield f"No phase belongs to {', '.join(absent)}: judged, but in no figure."
    if record.gain_J is None:
        yield (
            "No optimum is known here: scores are gains over doing nothing in units of the reward, "
            "and regimes with large rewards count more."
        )
    if len(record.order) > 1 and not len(record.curve_step_P):
        yield "There are no learning curves, so nothing is known of recovery and regret."
    yield from _of_degradation(records)
    yield from _of_recoveries(records)
    yield from _undefined(records, found)


def _of_degradation(records: Sequence[StreamRecord]) -> Iterator[str]:
    unlearned: dict[str, list[int]] = {}
    capped: dict[str, list[int]] = {}
    for record in records:
        own_J = own_scores(record.ratio_IJ, record.order)
        lost_J = forgetting_of(record.ratio_IJ, record.order)
        for regime in np.flatnonzero(np.isfinite(lost_J)):
            own, name = float(own_J[regime]), record.regimes[regime]
            if own < record.least:
                unlearned.setdefault(name, []).append(record.seed)
            elif abs(100.0 * float(lost_J[regime]) / own) > MOST_DEGRADATION:
                capped.setdefault(name, []).append(record.seed)
    best = "the optimum" if records[0].gain_J is not None else "the largest score"
    for name, seeds in unlearned.items():
        yield (
            f"In {name}, {_seeds(seeds)}, nothing was learned (a score below {LEAST_SHARE:.0%} of "
            f"{best}): left out of the degradation."
        )
    for name, seeds in capped.items():
        yield (
            f"In {name}, {_seeds(seeds)}, a loss or gain of more than {MOST_DEGRADATION:.0f}% "
            "counts as that. A loss of more than 100% is worse than doing nothing."
        )


def _of_recoveries(records: Sequence[StreamRecord]) -> Iterator[str]:
    why = {
        "not regained": "its level was not regained within the phase; the share is a lower bound",
        "level new": "its level is above all of its first learning; the share is an upper bound",
        "undefined": "no recovery time, for it had not been learned, or was known from the start",
    }
    told: dict[tuple[int, int, str], list[int]] = {}
    for record in records:
        for each in recoveries_of(record):
            told.setdefault((each.phase, each.regime, each.status), []).append(record.seed)
    for (phase, regime, status), seeds in sorted(told.items()):
        if status != "regained":
            name = records[0].regimes[regime]
            yield f"Return of {name} in phase {phase}, {_seeds(seeds)}: {why[status]}."


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"


def _undefined(records: Sequence[StreamRecord], found: Mapping[str, Interval]) -> Iterator[str]:
    """Without a figure's seeds that have none, the others would flatter."""
    earlier = len(records[0].played) > 1 and not records[0].together
    if earlier and len(records) > 1 and not math.isfinite(found["degradation"].estimate):
        yield "Degradation is undefined for at least one seed, hence over all of them."


def _earns(record: StreamRecord, average: Interval) -> str:
    digits = _digits(record)
    shown = " ".join(filter(None, [number(average.estimate, digits), ranged(average, digits)]))
    high = average.high if math.isfinite(average.width) else average.estimate
    if high < 0.0:
        unit = "of the optimum" if record.gain_J is not None else "a bar"
        return f"does worse than doing nothing: {shown} {unit}"
    unit = "of the optimum" if record.gain_J is not None else "a bar more than doing nothing"
    return f"earns {shown} {unit}"


def _digits(record: StreamRecord) -> int:
    """Two of shares; of gains in reward units as many as show three figures of the largest."""
    if record.gain_J is not None:
        return 2
    size = float(np.abs(record.ratio_IJ).max())
    return max(2, 2 - math.floor(math.log10(size))) if size > 0.0 else 2


def _percents(interval: Interval) -> str:
    if not math.isfinite(interval.width):
        return ""
    ends = sorted((interval.low, interval.high))
    if ends[1] < 0.0:  # told as a gain
        ends = [-ends[1], -ends[0]]
    return f"[{number(ends[0], 1)}%, {number(ends[1], 1)}%]"

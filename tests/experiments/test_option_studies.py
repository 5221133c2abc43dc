"""What the studies of options count and say, on made rows; nothing is trained."""

import math
from pathlib import Path
from typing import Any

import pytest

from experiments.options_vs_flat.journal import Journal, by_seed, worker_of
from experiments.options_vs_flat.statistics import (
    added,
    entropy,
    non_inferior,
    paired,
    shares,
    shown,
)
from experiments.options_vs_flat.tables import RIVAL, arm_table, hard_table, lines


def rows_of(arm: str, values: list[float], **more: Any) -> list[dict[str, Any]]:
    return [
        {"market": "gp", "arm": arm, "steps": 10, "seed": seed, "share": share, **more}
        for seed, share in enumerate(values)
    ]


def test_a_journal_goes_on_where_it_stopped(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "results.jsonl")
    keys = [{"arm": arm, "seed": seed} for seed in range(3) for arm in ("a", "b")]
    assert list(journal.missing(keys)) == keys
    journal.add({"arm": "a", "seed": 1, "share": 0.5})
    assert list(journal.missing(keys)) == [key for key in keys if key != {"arm": "a", "seed": 1}]
    halves = [list(journal.missing(keys, worker)) for worker in ("0/2", "1/2")]
    assert [key["arm"] for key in halves[0]] == ["a", "a"]
    assert [key["arm"] for key in halves[1]] == ["b", "b", "b"]


def test_workers_see_what_others_have_done_meanwhile(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "results.jsonl")
    waiting = journal.missing([{"seed": 0}, {"seed": 1}])
    assert next(waiting) == {"seed": 0}
    journal.add({"seed": 1})
    assert list(waiting) == []


@pytest.mark.parametrize("words", ["2/2", "1", "-1/2", "a/b", "0/0"])
def test_a_worker_that_there_is_not_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r"worker: expected i/n with 0 <= i < n"):
        worker_of(words)


def test_differences_are_paired_by_seed() -> None:
    left = {0: 0.9, 1: 0.5, 2: 0.7, 9: 0.0}
    right = {2: 0.6, 1: 0.4, 0: 0.8, 8: 1.0}
    found = paired(left, right)
    assert found.pairs == 3
    assert found.interval.estimate == pytest.approx(0.1)
    assert found.interval.width == pytest.approx(0.0, abs=1e-9)  # all three differ by as much
    alone = paired({0: 1.0}, {0: 0.5})
    assert (alone.pairs, alone.interval.low, alone.interval.high) == (1, -math.inf, math.inf)
    assert shown(alone.interval) == "0.500"
    assert shown(paired({}, {0: 1.0}).interval) == "not run"


def test_an_interval_over_few_pairs_is_as_wide_as_students() -> None:
    """Three differences of -1, 0, 1: mean 0, and t(2) = 4.30 standard errors of 0.577."""
    found = paired({0: -1.0, 1: 0.0, 2: 1.0}, dict.fromkeys(range(3), 0.0))
    assert found.interval.low < -1.0
    assert found.interval.high > 1.0


def test_non_inferiority_needs_pairs_and_margin() -> None:
    def words(count: int, shift: float) -> str:
        left = {seed: 0.9 + shift + 0.001 * (seed % 3) for seed in range(count)}
        return non_inferior(paired(left, dict.fromkeys(range(count), 0.9)))

    assert words(30, -0.005) == "yes"
    assert words(29, -0.005) == "on 29 of 30 pairs"
    assert words(30, -0.1) == "no"
    assert words(30, -0.021) == "not shown (interval)"


def test_words_of_an_ablation() -> None:
    itself = {seed: 0.9 + 0.01 * seed for seed in range(5)}
    worse = {seed: share - 0.2 - 0.01 * (seed % 2) for seed, share in itself.items()}
    same = {seed: share + (-1) ** seed * 0.01 for seed, share in itself.items()}
    assert added(paired(worse, itself)) == "added 0.204"
    assert added(paired(itself, worse)) == "cost 0.204"
    assert added(paired(same, itself)) == "added nothing"
    assert added(paired({}, itself)) == "not run"


def test_usage_entropy_by_hand() -> None:
    assert entropy([0.5, 0.5]) == pytest.approx(1.0)
    assert entropy([1.0, 0.0, 0.0]) == pytest.approx(0.0)
    assert entropy([0.5, 0.25, 0.25]) == pytest.approx(1.5 / math.log2(3))
    assert entropy([1.0]) == 1.0


def test_tables_of_made_rows(tmp_path: Path) -> None:
    counts = {"churn": 0.01, "disruption_p99": 0.1, "disruption_max": 0.2, "usage": [0.5, 0.5]}
    spent = {"parameters": 1234, "seconds": 7.0}
    rows = [
        *rows_of("flat", [0.90, 0.92, 0.94], **spent),
        *rows_of("blended", [0.91, 0.93, 0.95], **counts, **spent),
        *rows_of("hard", [0.90, 0.92, 0.94], **counts, **spent),
    ]
    results, ablations = Journal(tmp_path / "r.jsonl"), Journal(tmp_path / "a.jsonl")
    for row in rows:
        results.add(row)
    for row in rows_of("fallback", [0.5], variant=RIVAL, **counts):
        ablations.add(row)
    ablations.add(rows_of("fallback", [0.8], variant="the agent itself")[0])
    found = lines(results.path, ablations.path)
    text = arm_table(found, "gp", 10).splitlines()
    assert [line.split(" | ")[0] for line in text[2:]] == [
        "| flat", "| blended", "| hard", f"| {RIVAL}",
    ]  # fmt: skip
    assert "+0.010 [+0.010, +0.010] | on 3 of 30 pairs | 0.0100 | 0.100 | 0.200 | 1.00" in text[3]
    assert "0.500 [0.500, 0.500] | 1 | -0.400 | not shown (interval)" in text[5]
    assert "-0.010 [-0.010, -0.010] | 3 | reached" in hard_table(found, 10)
    assert by_seed(found, "share", arm="flat") == {0: 0.90, 1: 0.92, 2: 0.94}
    assert shares([0.0, 1.0, 1.0, 2.0]).estimate == pytest.approx(1.0)

"""Streams of real regimes: what is seen of later bars, what is run, and how it is counted."""

from typing import Any

import numpy as np
import pytest

from evaluation.bootstrap import Interval
from experiments.real_regimes import run, streams
from experiments.real_regimes.arms import ARMS, RULES, STEPS
from experiments.real_regimes.streams import SERIES
from experiments.real_regimes.tables import (
    A_YEAR,
    FITTED,
    HELD,
    Streams,
    both_table,
    later_table,
    share,
    stream_table,
    streams_of,
)


def row(seed: int, ratio: list[list[float]], **more: Any) -> dict[str, Any]:
    """A stream of two regimes, its scores in per cent a year."""
    scores = (np.array(ratio) / A_YEAR).tolist()
    account = {"returns": [100, -50] * 40, "turnover": 1.0, "held": 0.5}
    return {
        "series": "stocks",
        "arm": "EWC",
        "steps": STEPS,
        "seed": seed,
        "regimes": ["bear", "rise"],
        "order": [0, 1],
        "phase_steps": [8, 8],
        "before": [0.0, 0.0],
        "ratio": scores,
        "fitted": scores,
        "floats": [0, 0],
        "next": account,
        "later": account,
        **more,
    }


@pytest.mark.parametrize("arm", ARMS)
def test_arms_of_a_stream_differ_in_network_and_remedies_only(arm: str) -> None:
    series = list(SERIES)[len(arm) % len(SERIES)]
    config = run.configuration(series, ARMS[arm], STEPS)
    plain = run.configuration(series, ARMS["fine-tuning"], STEPS)
    assert config.continual is not None
    assert plain.continual is not None
    assert config.continual.gate is None
    assert config.continual.phases == plain.continual.phases
    for part in ("data", "split", "features", "regime", "env", "schedule"):
        assert getattr(config, part) == getattr(plain, part)
    assert config.agent.ppo == plain.agent.ppo


@pytest.mark.parametrize("series", SERIES)
def test_every_earlier_regime_comes_back(series: str) -> None:
    phases = SERIES[series]
    assert len(phases.borders) + 1 == len(phases.names) == len(phases.events)
    assert all(phases.names.count(name) == 2 for name in phases.names)


def test_later_bars_are_of_one_stock_and_after_the_stream() -> None:
    prepared = run.prepared("stocks")
    bars = streams.later_bars(prepared.bars.symbols, "AAPL", prepared.bars)
    assert bars.ts_event[0] > prepared.bars.ts_event[-1]
    assert bars.missing.all(axis=0).tolist() == [False, True, True, True]
    assert not bars.missing[:, 0].any()


def test_features_of_later_bars_know_nothing_of_the_bars_after_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scales and detector are those of the training span; a fit on what is seen would differ."""
    prepared = run.prepared("stocks")
    config = run.configuration("stocks", ARMS["fine-tuning"], STEPS)
    whole = streams.unseen(config, prepared, "stocks")["later"]
    real = streams.later_bars
    monkeypatch.setattr(streams, "later_bars", lambda *given: real(*given).rows(0, 600))
    part = streams.unseen(config, prepared, "stocks")["later"]
    assert part.rows == (whole.rows[0], 600)
    np.testing.assert_array_equal(part.market.features_TC, whole.market.features_TC[:600])
    assert np.ptp(part.market.features_TC[part.rows[0] :], axis=0).max() > 0.5


def test_a_stream_is_judged_after_every_phase_and_on_both_spans() -> None:
    found = run.run("stocks", ARMS["heads, rehearsal + EWC + cloning"], 8192, 0)
    assert found["order"] == [0, 1, 0, 1]
    assert np.shape(found["ratio"]) == np.shape(found["fitted"]) == (4, 2)
    assert found["ratio"] != found["fitted"]
    for name, ahead in run.bars_ahead("stocks").items():
        assert len(found[name]["returns"]) == ahead.rows[1] - ahead.rows[0] - 1
        assert np.abs(found[name]["returns"]).max() > 0


def test_references_hold_what_they_say() -> None:
    hold, nothing, short = (run.reference("stocks", name) for name in RULES)
    assert nothing["final"] == [0.0, 0.0]
    assert set(nothing["later"]["returns"]) == {0}
    assert hold["next"]["held"] == pytest.approx(1.0, abs=0.02)
    assert short["next"]["held"] == pytest.approx(-1.0, abs=0.02)
    assert hold["final"][0] < 0.0 < hold["final"][1]
    assert short["final"][1] < 0.0 < short["final"][0]


def test_degradation_is_only_counted_where_something_was_learned() -> None:
    learned = row(0, [[10.0, -5.0], [5.0, 20.0]])
    nothing = row(1, [[-3.0, 1.0], [-8.0, 20.0]])
    interval, known, earlier = Streams("EWC", (learned,)).degradation(HELD)
    assert interval.estimate == pytest.approx(50.0)
    assert (known, earlier) == (1, 1)
    found = Streams("EWC", (learned, nothing)).degradation(HELD)
    assert (found[1], found[2]) == (1, 2)
    assert not np.isfinite(found[0].width)  # an interval would leave the failed seed out
    assert share(found) == "50 (1 of 2)"
    assert share(Streams("EWC", (nothing,)).degradation(FITTED)) == "(0 of 1)"
    assert share((Interval(np.nan, np.nan, np.nan), 0, 0)) == ""


def test_the_loss_is_counted_in_per_cent_a_year() -> None:
    seeds = (row(0, [[10.0, -5.0], [5.0, 20.0]]), row(1, [[-3.0, 1.0], [-8.0, 20.0]]))
    found = Streams("EWC", seeds)
    assert found.by_seed("forgetting") == pytest.approx({0: 5.0, 1: 5.0})
    assert found.interval("learned").estimate == pytest.approx((15.0 + 8.5) / 2.0)
    assert found.final(1) == pytest.approx(20.0)


def test_tables_pair_seeds_with_fine_tuning() -> None:
    rows = [row(seed, [[10.0, -5.0], [5.0, 20.0]]) for seed in range(3)]
    still = {"returns": [0] * 80, "turnover": 0.0, "held": 0.0}
    rows += [
        row(seed, [[10.0, -5.0], [1.0, 20.0]], arm="fine-tuning", later=still) for seed in range(3)
    ]
    hold = {"series": "stocks", "arm": "buy and hold", "final": [-0.001, 0.001]}
    rules: list[dict[str, Any]] = [{**row(0, [[0.0, 0.0]]), **hold}]
    found = streams_of(rows, "stocks")
    assert list(found) == ["fine-tuning", "EWC"]
    line = stream_table(found, rules).splitlines()[3]
    assert "| +5.0 [+5.0, +5.0] | -4.0 [-4.0, -4.0] | 50 [50, 50] (3 of 3) |" in line
    later = later_table(found, rules, "later").splitlines()[3]
    cells = [cell.strip() for cell in later.split("|")]
    assert cells[3] == "+0.0 [+0.0, +0.0]"  # the same account as buy and hold
    assert cells[4] == cells[2]  # beside one that stands still
    assert len(both_table(rows).splitlines()) == 2  # of one stream there is nothing to join

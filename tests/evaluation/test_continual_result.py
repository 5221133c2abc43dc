"""Streams together: records, figures by name, intervals over seeds, and words."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.bootstrap import BootstrapConfig, Interval
from evaluation.continual_figures import (
    MEASURES,
    figures_of,
    joined_interval,
    paired_difference,
    seed_interval,
)
from evaluation.continual_metrics import own_scores
from evaluation.continual_result import (
    ContinualEvaluation,
    GateDecision,
    References,
    StreamRecord,
)
from evaluation.continual_words import loss_words
from evaluation.optimality_statistics import iqm, iqm_interval
from tests.evaluation.continual_streams import (
    ORDER,
    REGIMES,
    STEPS,
    gains,
    joint,
    looked_at,
    record,
    referred,
)

CONFIG = BootstrapConfig(resamples=200)


def judged(*records: StreamRecord) -> ContinualEvaluation:
    return ContinualEvaluation(records=records, config=CONFIG)


def test_figures_by_hand() -> None:
    """Own scores 0.9; regimes 0 and 1 have lost 0.2 and 0.1 since their second visits."""
    found = figures_of(record(spread=0.0))
    expected = {
        "average_performance": 0.8,
        "worst_regime": 0.7,
        "learned": 0.9,
        "conflict": -0.5,
        "degradation": 100 * 0.15 / 0.9,
        "forgetting": 0.15,
        "forgetting_between_visits": 0.2,
        "backward_transfer": -0.15,
        # -0.5 before the first visit; -0.1 and 0.1 before training.
        "zero_shot_transfer": (-0.4 - 0.6) / 2,
        "isolated_forgetting": 0.1 / 0.9,
        "stored_floats": 30.0,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    for name in ("forward_transfer", "plasticity", "intransigence"):
        assert math.isnan(found[name])
    assert set(found) == {measure.name for measure in MEASURES}


def test_figures_of_curves_by_hand() -> None:
    """Mean heights of the phases' own regimes: from where they stood to 0.9, on a straight line."""
    found = figures_of(record(spread=0.0))
    missed = [1 - (start + 0.9) / 2 for start in (0.0, -0.5, -0.5, 0.7, 0.7, 0.7)]
    assert found["regret_share"] == pytest.approx(np.mean(missed))
    gain = [0.01, 0.02, 0.03] * 2
    assert found["regret"] == pytest.approx(STEPS * np.dot(missed, gain))
    # Level 0.855: regained from 0.7; first learned from 0 and, twice, from -0.5.
    back = (0.855 - 0.7) / 0.2
    first = [0.855 / 0.9, 1.355 / 1.4, 1.355 / 1.4]
    assert found["recovery"] == pytest.approx(np.mean([back / each for each in first]))


def test_references_are_used() -> None:
    plain = record(spread=0.0)
    scratch_PJ = np.array([[0.0, -0.5, 0.0], [0.9, 0.9, 0.6]])
    references = References(
        scratch_J=np.array([0.9, 0.45, 1.8]),
        scratch_step_P=np.array([0.0, STEPS]),
        scratch_PJ=scratch_PJ,
        joint_J=np.array([1.0, 0.9, 0.8]),
    )
    found = figures_of(replace(plain, references=references))
    assert found["plasticity"] == pytest.approx((1.0 + 2.0 + 0.5) / 3)
    assert found["intransigence"] == pytest.approx(0.0)
    # Regime 1 learns as from scratch; regime 2 has 0.2 where that has 0.3.
    assert found["forward_transfer"] == pytest.approx((0.0 - 0.1 / 0.7) / 2)


def test_without_an_optimum_nothing_is_missed() -> None:
    found = figures_of(gains())
    assert math.isnan(found["regret_share"])
    assert math.isnan(found["regret"])
    # The bar for having learned goes with the scores.
    assert found["degradation"] == pytest.approx(figures_of(record())["degradation"])


def test_figures_are_of_the_regimes_that_are_learned() -> None:
    scores = record(spread=0.0).ratio_IJ.copy()
    scores[:, 2] = -9.0
    found = figures_of(replace(record(), order=(0, 1) * 3, ratio_IJ=scores))
    assert found["worst_regime"] == pytest.approx(scores[-1, :2].min())
    assert found["average_performance"] == pytest.approx(scores[-1, :2].mean())


def test_without_an_optimum_there_is_no_forward_transfer() -> None:
    """Areas are held against the optimum's."""
    found = figures_of(referred(gains()))
    assert math.isnan(found["forward_transfer"])
    assert math.isfinite(found["intransigence"])
    assert math.isfinite(figures_of(referred(record()))["forward_transfer"])


def test_learning_all_at_once_counts_every_regime() -> None:
    found = figures_of(joint())
    assert found["average_performance"] == pytest.approx(0.8)
    assert found["learned"] == pytest.approx(0.8)
    assert found["worst_regime"] == pytest.approx(0.7)
    for name in ("degradation", "conflict", "regret_share", "zero_shot_transfer"):
        assert math.isnan(found[name]), name


def test_the_interval_is_that_of_the_middle_half() -> None:
    values = [0.1, 0.5, 0.6, 0.7, 0.8, 9.0, 0.55, 0.65]
    found = seed_interval(values, CONFIG)
    assert found == iqm_interval(np.array([values]), CONFIG)
    assert found.estimate == pytest.approx(np.mean([0.55, 0.6, 0.65, 0.7]))
    assert found.low < found.estimate < found.high


def test_strata_are_redrawn_apart() -> None:
    """Seeds that agree within each order leave nothing to redraw, however far orders are apart."""
    apart = joined_interval([[0.1] * 4, [0.9] * 4], CONFIG)
    assert apart.low == apart.high == apart.estimate == pytest.approx(0.5)
    mixed = joined_interval([[0.1, 0.9] * 4], CONFIG)
    assert mixed.high > mixed.low
    with pytest.raises(ValueError, match=r"as many seeds in all strata, found \[1, 2\]"):
        joined_interval([[0.1], [0.1, 0.2]], CONFIG)
    with pytest.raises(ValueError, match="values"):
        joined_interval([], CONFIG)


def test_one_seed_has_no_interval_and_an_undefined_one_spoils_all() -> None:
    alone = seed_interval([0.3], CONFIG)
    assert alone.estimate == 0.3
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
    assert math.isnan(seed_interval([0.3, math.nan], CONFIG).estimate)


def test_runs_are_compared_seed_by_seed() -> None:
    first = [record(seed, lost=0.1) for seed in range(6)]
    second = [record(seed, lost=0.3) for seed in reversed(range(6))]
    gap = paired_difference(first, second, "forgetting", CONFIG)
    # The noise of a seed is the same in both.
    assert gap.estimate == pytest.approx(0.15 - 0.45)
    assert gap.high - gap.low < 1e-9
    with pytest.raises(ValueError, match=r"expected the seeds \[0, 1"):
        paired_difference(first, second[1:], "forgetting", CONFIG)
    with pytest.raises(ValueError, match="expected one of"):
        paired_difference(first, second, "forgeting", CONFIG)


def test_matrix_and_bars_are_middles_over_seeds() -> None:
    records = [record(seed, spread=0.05) for seed in range(5)]
    found = judged(*records)
    assert found.matrix.shape == (6, 3)
    assert found.matrix[2, 1] == iqm(np.array([each.ratio_IJ[2, 1] for each in records]))
    own = [own_scores(each.ratio_IJ, ORDER)[0] for each in records]
    assert found.own[0].estimate == iqm(np.array(own))
    assert found.final[0].estimate == found.matrix[-1, 0]
    assert found.own[2] == found.final[2]


def test_everything_is_saved(tmp_path: Path) -> None:
    found = judged(*(record(seed) for seed in range(3)))
    found.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curves.csv", "metrics.json", "scores.csv",
    ]  # fmt: skip
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    average = found.intervals["average_performance"]
    assert metrics["headline"]["continual/average_performance"] == average.estimate
    assert metrics["headline"]["continual/average_performance_low"] == average.low
    assert metrics["figures"]["degradation"]["seeds"] == list(found.figures["degradation"])
    assert metrics["figures"]["plasticity"]["estimate"] is None
    assert len(metrics["seeds"]["2"]["recoveries"]) == 3
    scores = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False)
    assert len(scores) == 3 * 7 * 3
    cell = scores.query("seed == 1 and phase == 4 and regime == 'calm'").iloc[0]
    assert cell["score"] == pytest.approx(found.records[1].ratio_IJ[4, 0], rel=1e-12)
    assert (cell["learned"], cell["steps"]) == ("rally", 5 * STEPS)
    first = scores.query("seed == 0 and phase == -1")
    assert (list(first["regime"]), list(first["steps"])) == (list(REGIMES), [0, 0, 0])
    assert len(pd.read_csv(tmp_path / "curves.csv")) == 3 * 7 * 3


def test_plasticity_and_references_are_saved(tmp_path: Path) -> None:
    found = judged(*(looked_at(referred(record(seed))) for seed in range(2)))
    found.save(tmp_path)
    table = pd.read_csv(tmp_path / "plasticity.csv")
    assert len(table) == 2 * 6 * 3
    row = table.query("seed == 1 and steps == 2000 and figure == 'weight_norm'").iloc[0]
    assert row["value"] == 13.0
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["seeds"]["1"]["references"] == {
        "scratch": [0.8, 0.7, 0.6], "joint": [0.95] * 3,
    }  # fmt: skip
    headline = metrics["headline"]
    for name in ("forward_transfer", "plasticity", "intransigence"):
        assert headline[f"continual/{name}"] == found.intervals[name].estimate
    assert found.alone is not None
    assert [each.estimate for each in found.alone] == pytest.approx([0.8, 0.7, 0.6])
    assert judged(record()).alone is judged(record()).at_once is None


def test_the_headline_holds_numbers_only() -> None:
    alone = judged(record())
    assert all(math.isfinite(value) for value in alone.headline.values())
    assert "continual/degradation_low" not in alone.headline
    assert json.dumps(alone.to_dict(), allow_nan=False)


def test_the_verdict_tells_score_and_loss() -> None:
    found = judged(*(record(seed) for seed in range(5)))
    assert found.verdict.startswith("After 6 phases the agent earns 0.80 [0.")
    assert "of the optimum on average over 3 regimes; of what it had learned" in found.verdict
    assert "has lost 16." in found.verdict
    assert "S was 0.90 on average; a specialist of the first regime comes to" in found.evidence
    bad = judged(replace(record(), ratio_IJ=-np.ones((6, 3))))
    assert "does worse than doing nothing" in bad.verdict
    assert "nothing of earlier regimes that could be lost" in bad.verdict
    assert judged(joint(), joint(1)).verdict.startswith("Learning 3 regimes at once, the agent")
    assert "a bar more than doing nothing" in judged(gains()).verdict
    assert "earns 0.0000795 a bar" in judged(gains()).verdict


def test_the_verdict_says_where_the_gate_kept_the_agent_from_learning() -> None:
    no = GateDecision(phase=1, accepted=False, reasons=("a loss is not ruled out",))
    yes = GateDecision(phase=0, accepted=True)
    none, some = replace(record(), decisions=(no, no)), replace(record(1), decisions=(yes, no))
    kept = judged(none)
    assert "is what it was before training, for the gate accepted no update; it" in kept.verdict
    assert "lost" not in kept.verdict
    assert "The gate accepted 0 of 2 updates." in kept.evidence
    assert "was last learned" not in kept.evidence
    mixed = judged(none, some)
    assert "before training" not in mixed.verdict
    assert "The gate accepted 1 of 4 updates. When a regime was" in mixed.evidence
    assert "gate" not in judged(record()).verdict + judged(record()).evidence


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (Interval(3.2, 1.0, 5.0), "it has lost 3.2% [1.0%, 5.0%]"),
        (Interval(-3.2, -5.0, -1.0), "it has become better by 3.2% [1.0%, 5.0%]"),
        (Interval(0.3, -0.5, 1.0), "it has lost next to nothing: 0.3% [\N{MINUS SIGN}0.5%, 1.0%]"),
        (Interval(8.0, -5.0, 20.0), "cannot be told: 8.0% [\N{MINUS SIGN}5.0%, 20.0%]"),
        (Interval(4.0, math.nan, math.nan), "it has lost 4.0%"),
        (Interval(0.0, math.nan, math.nan), "it has lost nothing"),
        (Interval(math.nan, math.nan, math.nan), "had learned nothing"),
    ],
)
def test_losses_in_words(lost: Interval, words: str) -> None:
    told = loss_words(lost)
    assert words in told
    assert "nan" not in told


def test_notes_name_what_is_left_out() -> None:
    none = "\n".join(judged(*(record(seed) for seed in range(10))).notes)
    assert none == ""
    assert "There are 3 seeds" in "\n".join(judged(*(record(seed) for seed in range(3))).notes)
    scores = record(spread=0.0).ratio_IJ.copy()
    scores[3, 0], scores[4, 1], scores[5, 1] = 0.04, 0.1, -0.9
    poor = "\n".join(judged(replace(record(), ratio_IJ=scores)).notes)
    assert "There is one seed" in poor
    assert "In calm, seed 0, nothing was learned" in poor
    assert "In rally, seed 0, a loss or gain of more than 200% counts as that" in poor
    curve = record(spread=0.0).curve_PJ.copy()
    curve[4:, 0] = 0.5
    lost = [replace(record(seed), curve_PJ=curve) for seed in (3, 4)]
    assert any(
        "Return of calm in phase 3, seeds 3, 4: its level was not regained" in note
        for note in judged(*lost).notes
    )
    bare = replace(record(), curve_step_P=np.zeros(0), curve_PJ=np.zeros((0, 3)))
    assert any("no learning curves" in note for note in judged(bare).notes)
    unseen = replace(record(), order=(0, 1) * 3)
    assert any("No phase belongs to <crash>" in note for note in judged(unseen).notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"before_J": np.zeros(2)}, r"before_J: expected \(3,\), found \(2,\)"),
        ({"ratio_IJ": np.zeros((5, 3))}, "ratio_IJ: expected"),
        ({"phase_steps": (1,)}, "phase_steps"),
        ({"order": (0, 1, 2, 0, 1, 3)}, "expected regimes below 3"),
        ({"ratio_IJ": np.full((6, 3), math.nan)}, "ratio_IJ: expected finite"),
        ({"curve_step_P": np.zeros(7)}, "curve_step_P: expected ascending steps"),
        ({"plasticity_step_Q": np.zeros(1)}, "plasticity_QF: expected"),
        (
            {"plasticity_step_Q": np.zeros(2), "plasticity_QF": np.zeros((2, 3))},
            "plasticity_step_Q: expected ascending steps",
        ),
        ({"order": ()}, "expected phases and regimes"),
    ],
)
def test_records_that_do_not_fit_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(record(), **change)  # type: ignore[arg-type]


def test_streams_that_are_not_alike_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        judged()
    with pytest.raises(ValueError, match=r"each seed once, found \[0, 0\]"):
        judged(record(), record())
    with pytest.raises(ValueError, match="of seed 1"):
        judged(record(), gains(1))


@pytest.mark.parametrize(
    ("lost", "level", "mark"),
    [(0.0, 0.9, "won"), (0.3, 0.9, "lost"), (0.0, 0.3, "open"), (0.0, -0.3, "lost")],
)
def test_the_mark_asks_for_learning_and_keeping(lost: float, level: float, mark: str) -> None:
    """Who learns little forgets nothing, and has won nothing."""
    kept = [record(seed, lost=lost, spread=0.001) for seed in range(4)]
    scaled = [replace(each, ratio_IJ=each.ratio_IJ * level / 0.9) for each in kept]
    assert judged(*scaled).mark == mark
    assert judged(scaled[0]).mark == mark

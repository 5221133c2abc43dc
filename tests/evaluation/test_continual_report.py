"""The report of a stream and its figures: from plain records, without a market or a training."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.bootstrap import BootstrapConfig
from evaluation.continual_plots import (
    curves_figure,
    figures,
    matrix_figure,
    plasticity_figure,
    retention_figure,
)
from evaluation.continual_result import ContinualEvaluation, GateDecision
from evaluation.drawing import COLOURS, style
from evaluation.report_continual import (
    ContinualInputs,
    render_continual_report,
    write_continual_figures,
    write_continual_report,
)
from tests.evaluation.continual_streams import ORDER, gains, joint, looked_at, record, referred

CONFIG = BootstrapConfig(resamples=200)
DECISION = GateDecision(
    phase=1,
    accepted=False,
    reasons=("regime calm: a loss of 0.05 to the champion is lost",),
    evidence=(
        {"regime": "calm", "against": "golden", "estimate": -0.1, "low": "-Infinity"},
        {"regime": "rally & bust", "margin": "not a number"},
        {"regime": "calm", "against": "champion", "estimate": -2.58e-6, "margin": 1.508e-4},
    ),
)
INPUTS = ContinualInputs(
    title="stream <run>",
    setting="market one, ewc",
    config_text="seed: 0",
    versions={"python": "3.11.7"},
    command="perennial train continual=ewc",
    notes=["A note & a half."],
)


@pytest.fixture(scope="module")
def found() -> ContinualEvaluation:
    records = [record(seed) for seed in range(3)]
    records[1] = replace(records[1], decisions=(DECISION,))
    return ContinualEvaluation(records=tuple(records), config=CONFIG)


@pytest.fixture(scope="module")
def document(found: ContinualEvaluation) -> str:
    return render_continual_report(found, INPUTS)


def test_the_first_line_is_the_verdict(found: ContinualEvaluation, document: str) -> None:
    heading = re.search(r"<h1>(.*?)</h1>", document)
    assert heading is not None
    assert heading.group(1) == found.verdict
    assert found.evidence in document


def test_the_page_is_whole_and_fetches_nothing(document: str) -> None:
    assert document.count("<svg") == 3
    assert "<script" not in document
    assert "http" not in document
    assert re.findall(r"url\((?!#)", document) == []
    ids = re.findall(r'\bid="([^"]+)"', document)
    assert len(ids) == len(set(ids))
    for words in ("stream &lt;run&gt;", "A note &amp; a half.", "3.11.7", "&lt;crash&gt;",
                  "perennial train continual=ewc", "market one, ewc", "Forgetting F",
                  "What later phases did to earlier regimes"):  # fmt: skip
        assert words in document
    assert "<crash>" not in document


def test_the_tables_hold_the_figures(found: ContinualEvaluation, document: str) -> None:
    lost = found.intervals["degradation"]
    assert f"{lost.estimate:.1f}%" in document
    assert f"[{lost.low:.1f}%, {lost.high:.1f}%]" in document
    assert "<th>seed 2</th>" in document
    assert "Not defined here: Forward transfer, Plasticity, Intransigence." in document
    # A row before training and one for each phase, of every seed.
    assert document.count('<td class="words">phase 3: calm</td>') == 3 + 3
    assert document.count('<td class="words">before training</td>') == 3
    assert document.count('<td class="own">') == 3 * len(ORDER)
    assert "When a regime returns" in document


def test_decisions_of_the_gate_are_shown(document: str) -> None:
    assert "What the gate decided" in document
    assert "a loss of 0.05 to the champion is lost" in document
    assert "calm, against golden: difference \N{MINUS SIGN}0.1000, at least \N{EN DASH}" in document
    assert "rally &amp; bust</span>" in document
    small = "calm, against champion: difference \N{MINUS SIGN}0.000003, tolerated 0.000151"
    assert small in document


def test_same_inputs_same_bytes(found: ContinualEvaluation, document: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_continual_report(path, replace(found), INPUTS)
    assert path.read_text(encoding="utf-8") == document
    assert list(path.parent.iterdir()) == [path]


def test_figures_are_files(found: ContinualEvaluation, tmp_path: Path) -> None:
    paths = write_continual_figures(tmp_path / "figures", found)
    assert [path.name for path in paths] == ["scores.png", "curves.png", "retention.png"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_the_matrix_frames_what_each_phase_taught(found: ContinualEvaluation) -> None:
    with style():
        axes = matrix_figure(found).axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert f"{found.matrix[0, 0]:.2f}" in texts
    framed = [patch for patch in axes.patches if patch.get_linewidth() > 1.0]
    places = [(round(patch.get_x() + 0.47), round(patch.get_y() - 0.54)) for patch in framed]  # type: ignore[attr-defined]
    assert places == [(regime, phase) for phase, regime in enumerate(ORDER)]


def test_the_curves_shade_each_regimes_own_phases(found: ContinualEvaluation) -> None:
    with style():
        figure = curves_figure(found)
    for regime, axes in enumerate(figure.axes):
        spans = sorted(round(patch.get_x()) for patch in axes.patches)  # type: ignore[attr-defined]
        assert spans == [1000 * phase for phase, each in enumerate(ORDER) if each == regime]
        drawn = next(line for line in axes.lines if line.get_color() == COLOURS["blue"])
        middle = np.median([r.curve_PJ[:, regime] for r in found.records], axis=0)
        np.testing.assert_allclose(np.asarray(drawn.get_ydata(), np.float64), middle, atol=0.03)


def test_references_stand_beside_the_regimes(found: ContinualEvaluation, document: str) -> None:
    for word in ("from scratch, alone", "all at once", "Vermilion"):
        assert word not in document
    beside = ContinualEvaluation(records=tuple(map(referred, found.records)), config=CONFIG)
    page = render_continual_report(beside, INPUTS)
    row = re.search(r"<tr><td>rally</td>(.*?)</tr>", page, re.DOTALL)
    assert row is not None
    values = re.findall(r"<td>([^<]*)<", row[1])
    assert values[-2:] == ["0.70", "0.95"]
    assert "<th>from scratch, alone</th>\n<th>all at once</th>" in page
    assert "Vermilion: the regime learned alone" in page
    assert "Not defined here" not in page
    half = (referred(found.records[0]), *found.records[1:])
    partly = render_continual_report(ContinualEvaluation(records=half, config=CONFIG))
    assert "from scratch, alone" not in partly


def test_learning_from_scratch_is_drawn_over_a_regimes_first_phase(
    found: ContinualEvaluation,
) -> None:
    beside = ContinualEvaluation(records=tuple(map(referred, found.records)), config=CONFIG)
    with style():
        figure = curves_figure(beside)
        plain = curves_figure(found)
    for regime, axes in enumerate(figure.axes):
        (line,) = (each for each in axes.lines if each.get_color() == COLOURS["vermilion"])
        assert list(np.asarray(line.get_xdata())) == [1000 * regime, 1000 * (regime + 1)]
        assert np.asarray(line.get_ydata())[1] == pytest.approx([0.8, 0.7, 0.6][regime])
    assert not any(x.get_color() == COLOURS["vermilion"] for a in plain.axes for x in a.lines)


def test_plasticity_has_a_panel_for_each_figure(found: ContinualEvaluation) -> None:
    records = [looked_at(each, rank=8.0 + each.seed) for each in found.records]
    looked = ContinualEvaluation(records=tuple(records), config=CONFIG)
    with style():
        figure = plasticity_figure(looked)
    assert len(figure.axes) == 3
    for number, axes in enumerate(figure.axes):
        drawn = next(line for line in axes.lines if line.get_color() == COLOURS["blue"])
        expected = np.mean([each.plasticity_QF[:, number] for each in records], axis=0)
        np.testing.assert_allclose(np.asarray(drawn.get_ydata(), np.float64), expected)
        assert list(np.asarray(drawn.get_xdata())) == [1000.0 * n for n in range(1, 7)]
        borders = [line for line in axes.lines if line.get_color() == COLOURS["muted"]]
        places = [np.asarray(line.get_xdata())[0] for line in borders]
        assert places == [1000 * n for n in range(1, 6)]
        assert axes.get_ylim()[0] == 0.0
        assert axes.get_xlim() == (0.0, 6000.0)
    page = render_continual_report(looked)
    assert page.count("<svg") == 4
    assert "Whether the networks can still learn" in page


def test_phases_that_a_gate_has_ended_keep_their_place() -> None:
    """One seed takes no step in phase 1 and half of phase 2, the other takes all but phase 2's."""
    whole = record(0)
    first = replace(
        whole,
        order=(0, 1, 2),
        ratio_IJ=whole.ratio_IJ[:3],
        stored_floats=(0, 0, 0),
        phase_steps=(1000, 0, 500),
        curve_step_P=np.array([0.0, 1000.0, 1500.0]),
        curve_PJ=np.array([[0.0] * 3, [0.5] * 3, [1.0] * 3]),
    )
    second = replace(
        first,
        seed=1,
        phase_steps=(1000, 1000, 0),
        curve_step_P=np.array([0.0, 1000.0, 1500.0, 2000.0]),
        curve_PJ=np.array([[0.0] * 3, [0.5] * 3, [0.7] * 3, [0.9] * 3]),
    )
    with style():
        axes = curves_figure(ContinualEvaluation(records=(first, second), config=CONFIG)).axes
    drawn = next(line for line in axes[0].lines if line.get_color() == COLOURS["blue"])
    steps, scores = (np.asarray(each, np.float64) for each in drawn.get_data())
    curve = dict(zip(steps.tolist(), scores.tolist(), strict=True))
    assert curve == pytest.approx({0: 0.0, 1000: 0.5, 1500: 0.6, 2000: 0.7, 2500: 0.95})
    assert axes[0].get_xlim() == (0.0, 2500.0)
    spans = [(p.get_x(), p.get_width()) for each in axes for p in each.patches]  # type: ignore[attr-defined]
    assert spans == [(0, 1000), (1000, 1000), (2000, 500)]
    idle = replace(
        first, phase_steps=(1000, 0, 0), curve_step_P=np.array([0.0, 1000.0]),
        curve_PJ=first.curve_PJ[:2],
    )  # fmt: skip
    with style():
        axes = curves_figure(ContinualEvaluation(records=(idle,), config=CONFIG)).axes
    named = [text.xy[0] for text in axes[0].texts]  # type: ignore[attr-defined]
    assert named == pytest.approx([1 / 6, 3 / 6, 5 / 6])


def test_weights_that_were_not_finite_leave_a_gap(found: ContinualEvaluation) -> None:
    record = looked_at(found.records[0])
    values = record.plasticity_QF.copy()
    values[2] = np.nan
    broken = ContinualEvaluation(records=(replace(record, plasticity_QF=values),), config=CONFIG)
    with style():
        axes = plasticity_figure(broken).axes[1]
    assert np.isfinite(axes.get_ylim()).all()


def test_bars_far_below_zero_are_cut_and_told(found: ContinualEvaluation) -> None:
    scores = found.records[0].ratio_IJ.copy()
    scores[-1, 0] = -4.0
    deep = ContinualEvaluation(records=(replace(found.records[0], ratio_IJ=scores),))
    with style():
        axes = retention_figure(deep).axes[0]
    assert "\N{DOWNWARDS ARROW} \N{MINUS SIGN}4.00" in [text.get_text() for text in axes.texts]
    assert min(patch.get_height() for patch in axes.patches) > -1.5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("records", "drawn"),
    [
        ((gains(0), gains(1)), {"scores", "curves", "retention"}),
        ((joint(0), joint(1)), {"scores", "curves"}),
        ((record(),), {"scores", "curves", "retention"}),
    ],
)
def test_other_streams_have_a_page_too(records: tuple, drawn: set[str]) -> None:  # type: ignore[type-arg]
    other = ContinualEvaluation(records=records, config=CONFIG)
    assert set(figures(other)) == drawn
    page = render_continual_report(other)
    assert page.count("<svg") == len(drawn)
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    assert ("10⁻⁶ reward a bar" in page) == (records[0].gain_J is None)
    assert ("share of the optimum" in page) == (records[0].gain_J is not None)
    assert "What the gate decided" not in page
    bare = tuple(replace(r, curve_step_P=np.zeros(0), curve_PJ=np.zeros((0, 3))) for r in records)
    assert "curves" not in figures(ContinualEvaluation(records=bare, config=CONFIG))

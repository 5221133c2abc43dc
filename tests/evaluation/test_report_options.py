"""The section on options: figures, tables and words that follow from what was recorded."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup
from scipy.special import softmax

from envs.config import LongShortAction, SharesAction, SimplexAction, TradeAction
from evaluation.drawing import write_pngs
from evaluation.option_drawing import page_svg
from evaluation.option_history import OptionHistory
from evaluation.option_plots import disruption, switches
from evaluation.pages import page_template
from evaluation.report_options import OptionInputs, option_figures, option_words
from meta_controller.config import ExecutionConfig, FallbackController, MetaControllerConfig
from tests.evaluation.option_histories import around, history, report

CONFIG = MetaControllerConfig()
HARD = MetaControllerConfig(execution=ExecutionConfig(mode="hard"))
TRADE = TradeAction(size=0.5, limit=2.0)
LOGITS = SimplexAction(parametrisation="logits")


def inputs(seen: OptionHistory, config: MetaControllerConfig = CONFIG) -> OptionInputs:
    return OptionInputs(
        report=report(seen), account="seed 5, first episode", config=config, action=TRADE
    )


def page(shown: OptionInputs) -> str:
    figures = {name: Markup(f"<svg>{name}</svg>") for name in option_figures(shown)}
    template = page_template("options.html.j2")
    return template.render(options=option_words(shown), figures=figures)


def test_words_follow_the_history() -> None:
    seen = history()
    told = option_words(inputs(seen)).sentences
    usage_K = seen.weights_TK.mean(axis=0)
    most = int(usage_K.argmax())
    assert told[0].startswith(f"Shares of the weight over all bars: option {most} ")
    for number in range(3):
        assert f"while regime {number} is believed most, option {number} (" in told[1]
    assert told[2].startswith("Which option acts follows the belief")
    assert any(line.startswith("What the gate proposes differs from") for line in told)
    assert f"{disruption(seen).max():.0%} at most (at most 22% may)." in " ".join(told)
    assert told[-1].startswith("It does not do worse, beyond the interval, with: mean of all")


def test_one_option_that_does_as_well_alone_is_named() -> None:
    shown = inputs(history())
    assert not any("does not differ" in line for line in option_words(shown).sentences)
    scores = shown.report.scores
    variants = tuple(
        replace(variant, gain=around(0.0005)) if variant.name == "fixed_1" else variant
        for variant in scores.variants
    )
    equal = replace(shown, report=replace(shown.report, scores=replace(scores, variants=variants)))
    assert "It does not differ, beyond the interval, from: option 1 alone." in (
        option_words(equal).sentences
    )


@pytest.mark.parametrize("capped", [False, True])
def test_a_controller_that_moves_at_once_is_shown_no_limit(capped: bool) -> None:
    config = MetaControllerConfig(
        controller=FallbackController(), execution=ExecutionConfig(capped=capped)
    )
    told = option_words(inputs(history(), config))
    tiles = {name: note for name, _, note in told.tiles}
    moves = {name: note for name, _, note in told.moves}
    assert tiles["Largest disruption"] == ("allowed 0.22" if capped else "no limit")
    assert moves["Largest disruption"] == ("of D; β_max = 0.22" if capped else "of D; no limit")
    assert any("at most 22% may" in line for line in told.sentences) is capped
    drawn = option_figures(inputs(history(), config))["option_switches"]()
    lines = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert any("β_max" in line for line in lines) is capped


def test_the_curve_of_one_option_at_a_time_stands_over_its_switches() -> None:
    shown = inputs(history(), HARD)
    (axes,) = option_figures(shown)["option_curve"]().axes
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    places = sorted(float(np.asarray(line.get_xdata())[0]) for line in dots)
    assert places == [limit.churn for limit in shown.report.scores.limits]
    assert axes.get_xlabel().startswith("churn")


def test_a_gate_that_ignores_the_regime_is_told_so() -> None:
    seen = history()
    rng = np.random.default_rng(0)
    blind_TK = rng.dirichlet(np.ones(3), size=len(seen.times))
    told = option_words(inputs(replace(seen, weights_TK=blind_TK)))
    assert any("has nothing to do with the belief" in line for line in told.sentences)


def test_one_option_taking_all_is_a_fault_with_its_remedy() -> None:
    seen = history()
    alone_TK = np.tile([1.0, 0.0, 0.0], (len(seen.times), 1))
    shown = inputs(replace(seen, weights_TK=alone_TK, previous_TK=alone_TK))
    faults = option_words(shown).faults
    assert any("ne option takes all" in fault and "balance" in fault for fault in faults)
    assert f"<li>{faults[0]}</li>" in page(shown)
    assert option_words(inputs(seen)).faults == ()
    assert 'class="notes"' not in page(inputs(seen))


def test_moves_by_hand() -> None:
    seen = history()
    rows = {name: value for name, value, _ in option_words(inputs(seen)).moves}
    changes = len(switches(seen))
    assert rows["Switches of the lead"] == str(changes) == "5"
    assert rows["Mean duration of a lead"] == "50.0 bars"
    assert rows["Churn"] == f"{disruption(seen)[1:].mean():.2%}"
    step_TK = (seen.weights_TK - seen.previous_TK)[1:]
    moved_T = np.abs((step_TK * seen.option_action_TKD[1:, :, 0]).sum(axis=1)) * 0.5 / 2.0
    assert float(rows["Disruption of the holdings"]) == pytest.approx(
        0.5 * float(moved_T.mean()), rel=0.05
    )


def test_usage_is_told_by_regime() -> None:
    seen = history()
    told = option_words(inputs(seen))
    assert told.heading == ("of all bars", *(f"regime {r} believed" for r in range(3)))
    inside = seen.belief_TR.argmax(axis=1) == 2
    name, colour, cells = told.usage[1]
    assert (name, colour) == ("option 1", "var(--yellow)")
    assert cells[0] == f"{seen.weights_TK[:, 1].mean():.0%}"
    assert cells[3] == f"{seen.weights_TK[inside, 1].mean():.0%}"


def test_figures_are_those_that_there_is_something_for(tmp_path: Path) -> None:
    seen = history(60)
    shown = inputs(seen)
    assert list(option_figures(shown)) == [
        "option_weights", "option_switches", "option_scores", "option_curve", "option_ablations",
    ]  # fmt: skip
    bare = replace(shown, report=report(history(60, regimes=0), limits=False))
    assert list(option_figures(bare)) == ["option_weights", "option_switches", "option_ablations"]
    paths = write_pngs(tmp_path, option_figures(bare))
    assert [path.name for path in paths] == [f"{name}.png" for name in option_figures(bare)]
    written = page(shown)
    assert re.findall(r"<svg>(\w+)</svg>", written) == list(option_figures(shown))


def test_targets_are_weights_of_equity_whatever_actions_are() -> None:
    seen = history(60, dated=True, actions=3)
    shown = replace(inputs(seen), action=LOGITS, symbols=("AAA", "BBB"))
    element = page_svg(option_figures(shown)["option_targets"], name="t")
    weights_K3 = softmax(seen.option_action_TKD, axis=2).mean(axis=0)
    assert f"{weights_K3[0, 2]:.0%}" in element
    for name in ("AAA", "BBB", "cash"):
        assert f">{name}</text>" in element
    double = LongShortAction(gross=2.0, scale=2.0)
    element = page_svg(option_figures(replace(shown, action=double))["option_targets"], name="t")
    assert f"{2.0 * seen.option_action_TKD[:20].mean(axis=0)[2, 0]:.0%}"[:2] in element
    assert "option_targets" not in option_figures(replace(shown, action=SharesAction()))
    assert "option_targets" not in option_figures(replace(shown, action=TRADE))


@pytest.mark.parametrize(
    ("seen", "config"),
    [
        (history(1, options=1, regimes=0), CONFIG),
        (history(1), CONFIG),
        (history(10, regimes=1), CONFIG),
        (history(options=8, hard=True), HARD),
        (history(regimes=0), MetaControllerConfig(controller=FallbackController())),
    ],
)
def test_any_history_is_told_in_words(seen: OptionHistory, config: MetaControllerConfig) -> None:
    written = page(inputs(seen, config))
    assert "nan" not in re.sub(r"<svg>.*?</svg>", "", written)
    assert "<h2>Options</h2>" in written
    if config is HARD:
        assert "One option acts at a time; it changes in" in written


def test_bars_without_a_belief_are_left_out() -> None:
    seen = history(dated=True, actions=2)
    belief_TR = seen.belief_TR.copy()
    belief_TR[:40] = np.nan
    shown = replace(inputs(replace(seen, belief_TR=belief_TR)), action=SimplexAction())
    inside = belief_TR[40:].argmax(axis=1) == 0
    cells = option_words(shown).usage[0][2]
    assert cells[1] == f"{seen.weights_TK[40:][inside, 0].mean():.0%}"
    for draw in option_figures(shown).values():
        assert "nan" not in page_svg(draw, name="x").lower().replace("nance", "")

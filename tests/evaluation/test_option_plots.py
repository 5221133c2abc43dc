"""Figures of options: what is drawn is what happened, whatever the number of options and bars."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from numpy.typing import NDArray

from evaluation.bootstrap import Interval
from evaluation.drawing import COLOURS, style, write_pngs
from evaluation.optimality_states import OptionSlice, Slice, slices
from evaluation.option_drawing import Blocks, option_colours, page_svg, short
from evaluation.option_history import OptionHistory
from evaluation.option_maps import mean_targets, states_figure, targets_figure
from evaluation.option_plots import disruption, switches, switches_figure, weights_figure
from evaluation.option_score_plots import (
    CurvePoint,
    ablations_figure,
    curve_figure,
    matrix_figure,
    scale_of,
    shown,
)
from meta_controller.config import FallbackController, OracleController
from tests.evaluation.option_histories import STAY, history
from tests.evaluation.option_policies import MARKET, PROBLEM, Always, on_market

Array = NDArray[np.float64]
NAN = float("nan")
SHAPES: dict[str, OptionHistory] = {
    "usual": history(),
    "hard": history(hard=True),
    "one option": history(options=1),
    "eight options": history(400, options=8),
    "no belief": history(regimes=0),
    "one regime": history(regimes=1),
    "data": history(dated=True, actions=6),
    "ten bars": history(10),
    "one bar": history(1, options=1, regimes=0),
    "long": history(20_000, options=8, noise=0.3),
}
DRAWN: dict[str, Callable[[OptionHistory], Figure]] = {
    "weights": weights_figure,
    "switches": lambda seen: switches_figure(seen, 0.22),
    "targets": targets_figure,
}


def drawn(figure: Callable[[], Figure]) -> Figure:
    with style():
        made = figure()
        made.draw_without_rendering()
    return made


def titles(figure: Figure) -> list[str]:
    return [axes.get_title("left") for axes in figure.axes]


def area(patch: Polygon) -> float:
    """Of a polygon, by the shoelace formula."""
    x_P, y_P = np.asarray(patch.get_xy()).T
    return 0.5 * abs(float(np.dot(x_P, np.roll(y_P, 1)) - np.dot(y_P, np.roll(x_P, 1))))


def layers(axes: Axes) -> list[Polygon]:
    return [patch for patch in axes.patches if isinstance(patch, Polygon)]


def of_slice(count: int, title: str = "", *, flat: bool = False) -> Slice:
    x_X, y_Y = np.linspace(-2.0, 2.0, 41), np.zeros(1) if flat else np.linspace(-3.0, 3.0, 41)
    x_YX, y_YX = np.meshgrid(x_X, y_Y)
    target_KYX = np.array([np.tanh(k * x_YX - y_YX) for k in range(count)])
    share_KYX = np.full(target_KYX.shape, 1.0 / count)
    label = "" if flat else "holding before"
    return Slice(title, "signal 0", label, x_X, y_Y, target_KYX.mean(axis=0), np.tanh(x_YX),
                 y_YX, None, OptionSlice(target_KYX, share_KYX))  # fmt: skip


def nothing_is_clipped(figure: Figure) -> None:
    """Every panel with its names is inside the picture and clear of the others."""
    with style():
        boxes = [box for axes in figure.axes if (box := axes.get_tightbbox()) is not None]
    page = figure.bbox
    for box in boxes:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1 + 1.0
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


@pytest.mark.parametrize(
    ("shape", "figure"),
    [(shape, figure) for shape in SHAPES for figure in ("weights", "switches")]
    + [("data", "targets"), ("no belief", "targets"), ("eight options", "targets")],
)
def test_any_history_can_be_drawn_for_a_page(shape: str, figure: str) -> None:
    made: list[Figure] = []

    def draw() -> Figure:
        made.append(DRAWN[figure](SHAPES[shape]))
        return made[0]

    element = page_svg(draw, name="x")
    nothing_is_clipped(made[0])
    assert 1000 < len(element) < 300_000
    assert set(re.findall(r"#[0-9a-f]{6}", element)) == set(), "colours follow the theme"
    assert "NaN" not in element
    ids = re.findall(r'\bid="([^"]+)"', element)
    assert len(ids) == len(set(ids))


def test_the_stack_shows_the_weights() -> None:
    seen = SHAPES["usual"]
    *_, panel = drawn(lambda: weights_figure(seen)).axes
    stacked = layers(panel)
    assert len(stacked) == 3
    # From the top down, each layer covers the sum of those up to it.
    for patch, sums_K in zip(stacked[::-1], seen.weights_TK.cumsum(axis=1).T, strict=True):
        assert area(patch) == pytest.approx(float(sums_K.sum()), abs=0.003 * 300)
    colours = [patch.get_facecolor() for patch in stacked[::-1]]
    assert len(set(colours)) == 3
    legend = panel.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["option 2", "option 1", "option 0"]


def test_hard_execution_is_drawn_in_sharp_steps() -> None:
    seen = SHAPES["hard"]
    *_, panel = drawn(lambda: weights_figure(seen)).axes
    heights = np.unique(np.concatenate([np.asarray(p.get_xy())[:, 1] for p in layers(panel)]))
    assert heights == pytest.approx([0.0, 1.0])
    changes = np.asarray(layers(panel)[-1].get_xy())[:, 0]
    first_K = seen.weights_TK[:, 0]
    assert set(np.flatnonzero(np.diff(first_K)) + 1.0) <= set(changes)


def test_panels_are_those_that_there_is_something_for() -> None:
    assert titles(drawn(lambda: weights_figure(SHAPES["usual"]))) == [
        "Price, coloured by the most believed regime; strip: the true one",
        "Belief about the regime",
        "Weight of each option",
    ]
    assert titles(drawn(lambda: weights_figure(SHAPES["no belief"]))) == [
        "Price",
        "Weight of each option",
    ]
    assert titles(drawn(lambda: weights_figure(SHAPES["data"])))[0].startswith("Market (1 at")
    long = drawn(lambda: weights_figure(SHAPES["long"]))
    assert titles(long)[-1] == "Weight of each option (means of 46 bars)"


def test_switches_and_disruption_by_hand() -> None:
    weights_TK = np.array([[0.6, 0.4], [0.5, 0.5], [0.2, 0.8], [0.7, 0.3]])
    before_TK = np.array([[0.5, 0.5], [0.6, 0.4], [0.5, 0.5], [0.2, 0.8]])
    seen = replace(history(4, options=2), weights_TK=weights_TK, previous_TK=before_TK)
    assert disruption(seen) == pytest.approx([0.0, 0.1, 0.3, 0.5])
    assert switches(seen).tolist() == [2, 3]


def test_switches_are_marked_where_they_happen() -> None:
    seen = SHAPES["hard"]
    upper, _ = drawn(lambda: switches_figure(seen)).axes
    (marks,) = upper.get_lines()
    places = np.asarray(marks.get_xdata(), float)
    assert np.unique(places[np.isfinite(places)]).tolist() == switches(seen).tolist()
    names = [label.get_text() for label in upper.get_yticklabels()]
    assert names == ["acts most", "gate wants", "believed", "true"]


def test_the_limit_is_drawn_where_there_is_one() -> None:
    seen = SHAPES["usual"]
    _, lower = drawn(lambda: switches_figure(seen, 0.22)).axes
    (line,) = lower.get_lines()
    assert list(np.asarray(line.get_ydata())) == [0.22, 0.22]
    assert lower.get_ylim()[1] > 0.22
    _, lower = drawn(lambda: switches_figure(seen, None)).axes
    assert lower.get_lines() == []
    assert lower.get_ylim()[1] == pytest.approx(1.08 * disruption(seen).max())


def test_the_largest_disruption_of_a_long_history_is_drawn() -> None:
    seen = SHAPES["long"]
    _, lower = drawn(lambda: switches_figure(seen)).axes
    (bars,) = layers(lower)
    assert np.asarray(bars.get_xy())[:, 1].max() == pytest.approx(disruption(seen).max())


def test_blocks_of_bars() -> None:
    blocks = Blocks.of(np.arange(7, dtype=np.int64), 3)
    assert blocks.start_C.tolist() == [0, 3, 6]
    assert blocks.edges_X.tolist() == [0.0, 3.0, 6.0, 7.0]
    values_T = np.array([1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 9.0])
    assert blocks.mean(values_T[:, None])[:, 0] == pytest.approx([2.0, 4.0, 9.0])
    assert blocks.peak(values_T).tolist() == [3.0, 4.0, 9.0]
    assert blocks.usual(np.array([0, 1, 1, 2, 2, 0, 0]), 3).tolist() == [1, 2, 0]


def test_colours_of_options() -> None:
    assert option_colours(3) == [COLOURS[name] for name in ("blue", "yellow", "purple")]
    assert len(set(option_colours(8))) == 8
    assert len(set(option_colours(20))) == 20


def test_names_that_do_not_fit_are_cut_at_their_end() -> None:
    assert short("option 2") == "option 2"
    assert short("option 2 (cash)") == "cash, option 2"
    assert short("option 2 (inverse volatility)") == "inverse volatility"
    assert short("option 2 (a run with a long name)", 8) == "a run w\N{HORIZONTAL ELLIPSIS}"


def test_mean_targets_by_hand() -> None:
    seen = SHAPES["data"]
    found = mean_targets(seen)
    chosen_T = seen.belief_TR.argmax(axis=1)
    assert found.regimes == seen.regime_names
    assert found.share_R == pytest.approx(np.bincount(chosen_T) / len(chosen_T))
    inside = chosen_T == 1
    assert found.target_RKD[1] == pytest.approx(seen.option_action_TKD[inside].mean(axis=0))
    assert found.weight_RK[1] == pytest.approx(seen.weights_TK[inside].mean(axis=0))
    assert found.left_out == 0


def test_a_large_portfolio_shows_the_assets_that_options_differ_in() -> None:
    base = history(200, dated=True, actions=30)
    targets_TKD = np.full_like(base.option_action_TKD, 0.1)
    targets_TKD[:, 1, 20:] = 0.3
    found = mean_targets(replace(base, option_action_TKD=targets_TKD))
    assert found.actions == tuple(f"S{asset}" for asset in range(20, 30))
    assert found.left_out == 20


def test_a_regime_that_was_never_believed_most_has_no_targets() -> None:
    seen = history(STAY, dated=True, actions=2)
    assert mean_targets(seen).regimes == ("regime 0",)
    assert titles(drawn(lambda: targets_figure(seen))) == ["regime 0 believed most, 100% of bars"]


@pytest.mark.parametrize("count", [1, 8])
def test_states_have_a_panel_for_each_option_the_agent_and_the_optimum(count: int) -> None:
    parts = [of_slice(count, f"Regime {regime}") for regime in range(3)]
    names = [f"option {k}" for k in range(count)]
    made: list[Figure] = []

    def draw() -> Figure:
        made.append(states_figure(parts, names, additive=True))
        return made[0]

    element = page_svg(draw, name="x")
    (figure,) = made
    share = f"{1.0 / count:.0%}"
    row = [*(f"{name} ({share})" for name in names), "Agent", "Optimum"]
    assert titles(figure)[: 3 * len(row)] == 3 * row
    assert len(element) < 300_000
    flat = [of_slice(count, "Regime 0", flat=True)]
    (panel,) = drawn(lambda: states_figure(flat, names, additive=False)).axes
    assert len(panel.get_lines()) == count + 3


def test_states_need_options() -> None:
    with pytest.raises(ValueError, match="expected those of an agent made of options"):
        states_figure([replace(of_slice(2), options=None)], ["a", "b"], additive=True)


def test_slices_tell_what_each_option_would_do() -> None:
    policy = on_market(FallbackController(), [Always(0.5), Always(-0.25)])
    taken_LNA = np.linspace(-0.3, 0.3, 50).reshape(50, 1, 1)
    for regime, part in enumerate(slices(policy, MARKET.oracle("belief"), PROBLEM, taken_LNA)):
        assert part.options is not None
        # From a holding of zero each option trades its share of the largest trade.
        size = PROBLEM.trading().action.size  # type: ignore[union-attr]
        for option, trade in enumerate((0.5, -0.25)):
            assert part.options.target_KYX[option] == pytest.approx(part.start_YX + trade * size)
        assert part.options.share_KYX[regime] == pytest.approx(np.ones(part.start_YX.shape))
        assert part.learned_YX == pytest.approx(part.options.target_KYX[regime], abs=1e-6)


def test_slices_tell_the_oracle_controller_the_regime() -> None:
    policy = on_market(OracleController(), [Always(0.5), Always(-0.25)])
    taken_LNA = np.linspace(-0.3, 0.3, 50).reshape(50, 1, 1)
    first, second = slices(policy, MARKET.oracle("belief"), PROBLEM, taken_LNA)
    assert first.learned_YX.min() > 0.0 > second.learned_YX.max()


def test_slices_of_a_flat_agent_have_no_options() -> None:
    taken_LNA = np.linspace(-0.3, 0.3, 50).reshape(50, 1, 1)
    parts = slices(Always(0.5), MARKET.oracle("belief"), PROBLEM, taken_LNA)
    assert [part.options for part in parts] == [None, None]


def around(value: float, half: float = 0.001) -> Interval:
    return Interval(value, value - half, value + half)


def cells(figure: Figure) -> list[tuple[float, ...]]:
    """Colour of every cell, row by row, with its opacity."""
    found = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    return [tuple(np.round(np.asarray(patch.get_facecolor(), float), 3)) for patch in found]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


MATRIX: dict[str, Sequence[Interval]] = {
    "option 0": [around(0.03), around(-0.01)],
    "option 1": [around(NAN), around(0.02, 0.0)],
    "Agent": [around(0.01), around(0.02)],
}


def test_scores_are_tinted_by_their_distance_from_the_agents() -> None:
    figure = drawn(lambda: matrix_figure(MATRIX, ["calm", "wild"], own="Agent", unit="reward"))
    better, worse, unknown, same, *own = cells(figure)
    assert better[2] > better[0], "blue"
    assert worse[0] > worse[2], "vermilion"
    assert worse[3] > better[3] > 0.0, "three against two hundredths below"
    assert worse[3] == pytest.approx(0.55), "the strongest lets the text through"
    assert unknown[3] == 0.0
    assert {cell[3] for cell in (same, *own)} == {0.0}
    told = [text.replace("\N{MINUS SIGN}", "-") for text in texts(figure)]
    assert told[:5] == ["30.0", "[29.0, 31.0]", "-10.0", "[-11.0, -9.00]", "\N{EN DASH}"]
    assert "10⁻³ reward" in titles(figure)[0]


def test_scores_that_are_all_unknown_can_be_drawn() -> None:
    unknown = {"option 0": [around(NAN)] * 2, "Agent": [around(NAN)] * 2}
    figure = drawn(lambda: matrix_figure(unknown, ["calm", "wild"], own="Agent", unit="reward"))
    assert texts(figure) == ["\N{EN DASH}"] * 4


def test_the_curve_has_every_limit_the_hard_agent_and_the_cap() -> None:
    limits = (0.02, 0.05, 0.1, 0.22, 0.5, 1.0)
    points = [CurvePoint(cap, 0.8 * cap, around(0.01 + 0.01 * cap)) for cap in limits]
    points += [CurvePoint(None, 1.0, around(0.012)), CurvePoint(0.3, 0.3, around(NAN))]
    figure = drawn(lambda: curve_figure(points, cap=0.22, unit="reward a bar"))
    (panel,) = figure.axes
    told = texts(figure)
    assert told.count("one option at a time") == 1
    assert [text for text in told if text.startswith("β_max")] == [
        f"β_max {cap:g}" for cap in limits
    ]
    assert "allowed in training, β_max = 0.22" in told
    diamonds = [line for line in panel.get_lines() if line.get_marker() == "D"]
    assert [float(np.asarray(line.get_xdata())[0]) for line in diamonds] == [1.0]
    box, page = panel.get_tightbbox(), figure.bbox
    assert box is not None
    assert page.x0 <= box.x0 < box.x1 <= page.x1


def test_ablations_are_coloured_by_what_can_be_told() -> None:
    gaps = {"worse": around(-0.02), "same": around(0.0005), "better": around(0.02),
            "unknown": around(NAN)}  # fmt: skip
    figure = drawn(lambda: ablations_figure(gaps, unit="reward a bar"))
    (panel,) = figure.axes
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names == list(gaps)[::-1]
    by_row = {
        names[int(np.asarray(line.get_ydata())[0])]: line.get_color()
        for line in panel.get_lines()
        if line.get_marker() == "o"
    }
    assert by_row == {
        "worse": COLOURS["vermilion"],
        "same": COLOURS["muted"],
        "better": COLOURS["blue"],
        "unknown": COLOURS["muted"],
    }


def test_a_change_that_can_be_told_is_never_written_as_zero() -> None:
    gaps = {"tiny": around(-4e-6, 1e-6), "large": around(-0.02), "same": around(0.0)}
    told = texts(drawn(lambda: ablations_figure(gaps, unit="reward a bar")))
    assert told[::-1] == [
        "\N{MINUS SIGN}0.004  [\N{MINUS SIGN}0.005, \N{MINUS SIGN}0.003]",
        "\N{MINUS SIGN}20.0  [\N{MINUS SIGN}21.0, \N{MINUS SIGN}19.0]",
        "0.00  [\N{MINUS SIGN}1.00, 1.00]",
    ]


def test_numbers_for_readers() -> None:
    assert scale_of(np.array([0.0123, NAN, -0.002])) == (1e3, "10⁻³ ")
    assert scale_of(np.array([12.0, 0.001])) == (1.0, "")
    assert scale_of(np.array([NAN])) == (1.0, "")
    assert scale_of(np.array([3e-5])) == (1e6, "10⁻⁶ ")
    assert [shown(x) for x in (-0.001, 1.234, -12.34, 1234.0, NAN)] == [
        "0.00", "1.23", "\N{MINUS SIGN}12.3", "1234", "\N{EN DASH}",
    ]  # fmt: skip
    assert shown(0.0021, 1e3) == "2.10"


def test_the_same_history_gives_the_same_bytes(tmp_path: Path) -> None:
    seen = SHAPES["ten bars"]
    figures = {"one": lambda: weights_figure(seen), "two": lambda: weights_figure(seen)}
    one, two = (path.read_bytes() for path in write_pngs(tmp_path, figures))
    assert one.startswith(b"\x89PNG")
    assert one == two
    page = [page_svg(lambda: switches_figure(seen, 0.1), name="x") for _ in range(2)]
    assert page[0] == page[1]

"""Drawings of features: what is in them, for every scope and number of columns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from evaluation.drawing import COLOURS, PALETTE, style, to_png, to_svg
from evaluation.feature_plots import FeatureHistory, feature_figure, feature_history
from features.config import FeatureSpec
from features.definition import FeatureError
from features.drift import Reference
from markets.bars import Bars


@pytest.fixture(scope="module")
def bars() -> Bars:
    rng = np.random.default_rng(0)
    close_TA = 50.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (300, 3)), axis=0))
    close_TA[:40, 2] = np.nan
    ts_event = (np.arange(300) + 15_000) * 86_400_000_000_000
    return Bars.from_arrays(
        ts_event,
        ("A", "B", "C"),
        open=close_TA,
        high=close_TA,
        low=close_TA,
        close=close_TA,
        volume=np.where(np.isnan(close_TA), np.nan, 1e6),
    )


def drawn(history: FeatureHistory, last: int | None = None) -> Figure:
    with style():
        return feature_figure(history, last=last)


def history(bars: Bars, name: str) -> FeatureHistory:
    return feature_history(bars, FeatureSpec(name=name), train=0.6, exogenous={})


def test_history_holds_raw_values_and_the_training_span(bars: Bars) -> None:
    found = history(bars, "macd")
    assert found.columns == ("macd_12_26_9_line", "macd_12_26_9_histogram")
    assert found.values_TAK.shape == (300, 3, 2)
    assert (found.train, found.warmup, found.lines) == (180, 33, ("A", "B", "C"))
    assert np.isfinite(found.values_TAK[33:, :2]).all()
    assert np.isnan(found.values_TAK[: 40 + 33, 2]).all()


def test_some_assets_of_it(bars: Bars) -> None:
    whole = history(bars, "beta")
    part = whole.of(["C", "A"])
    assert part.lines == part.symbols == ("C", "A")
    np.testing.assert_array_equal(part.values_TAK, whole.values_TAK[:, [2, 0]])
    with pytest.raises(FeatureError, match=r"expected some of A, B, C, found 'D'"):
        whole.of(["D"])


def test_figure_has_prices_values_and_distributions(bars: Bars) -> None:
    found = history(bars, "macd").of(["A"])
    figure = drawn(found)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == "A, close, splits taken out (log scale)"
    assert titles[1:4:2] == list(found.columns)
    assert all(title.startswith("PSI ") for title in titles[2:5:2])
    _, before, after, _ = figure.axes[1].get_lines()
    np.testing.assert_array_equal(before.get_ydata(), found.values_TAK[33:180, 0, 0])
    np.testing.assert_array_equal(after.get_ydata(), found.values_TAK[179:, 0, 0])
    outline = figure.axes[2].patches[-1]
    assert to_hex(outline.get_edgecolor()) == after.get_color() == COLOURS["vermilion"]
    assert before.get_color() == COLOURS["blue"]
    assert {text.get_text() for text in figure.texts} == {
        "macd_12_26_9",
        f"{found.unit}; warm-up 33 bars; 2011-01-26 to 2011-11-21",
    }


def test_later_values_of_several_assets_keep_their_colours(bars: Bars) -> None:
    figure = drawn(history(bars, "rsi").of(["A", "B"]))
    _, first, second, _ = figure.axes[1].get_lines()
    assert [first.get_color(), second.get_color()] == [COLOURS[name] for name in PALETTE[:2]]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert "values after it (right)" in [text.get_text() for text in legend.get_texts()]
    # Where all that is drawn is later, all of it is in the colour of the legend.
    _, only = drawn(history(bars, "rsi").of(["A"]), last=50).axes[1].get_lines()
    assert only.get_color() == COLOURS["vermilion"]
    assert np.size(only.get_ydata()) == 50


def test_a_flag_that_would_be_a_comb_is_drawn_as_its_share(bars: Bars) -> None:
    few = replace(history(bars, "turn_of_month"), train=180)
    assert few.values_TAK.shape == (300, 1, 1)
    _, before, _, _ = drawn(few).axes[1].get_lines()
    np.testing.assert_array_equal(before.get_ydata(), few.values_TAK[:180, 0, 0])
    rng = np.random.default_rng(1)
    flag_T = (rng.random(300) < 0.4).astype(float)
    flag_T[rng.random(300) < 0.5] = 1.0
    flag_T[::2] = 0.0
    many = replace(few, values_TAK=flag_T[:, None, None])
    figure = drawn(many)
    assert (
        figure.axes[1].get_title(loc="left") == "turn_of_month: share of ones in the last 63 bars"
    )
    _, before, after, _ = figure.axes[1].get_lines()
    share_T = np.convolve(flag_T, np.ones(63), mode="valid") / 63
    np.testing.assert_allclose(
        np.asarray(before.get_ydata(), float), share_T[: 180 - 62], atol=1e-12
    )
    np.testing.assert_allclose(
        np.asarray(after.get_ydata(), float), share_T[179 - 62 :], atol=1e-12
    )
    assert figure.axes[1].get_ylim()[0] < 0.0 < share_T.min(), "the share is read from nought"
    psi = Reference.of(flag_T[:180]).drift("", flag_T[180:]).psi
    assert figure.axes[2].get_title(loc="left").startswith(f"PSI {psi:.2f}"), "of the flag itself"
    np.testing.assert_array_equal(many.values_TAK[:, 0, 0], flag_T)
    # A few bars can be read as they are.
    assert drawn(many, last=60).axes[1].get_title(loc="left") == "turn_of_month"


def test_spans_without_a_value_are_shaded(bars: Bars) -> None:
    figure = drawn(history(bars, "rsi"))
    spans = [patch for patch in figure.axes[1].patches if patch.get_alpha() == 0.22]
    assert len(spans) == 2, "of the first bars, and of the asset that came later"
    starts = sorted(span.get_extents().width for span in spans)
    assert starts[0] == pytest.approx(starts[1], rel=0.01)
    assert not [
        p for p in drawn(history(bars, "rsi"), last=50).axes[1].patches if p.get_alpha() == 0.22
    ]


def test_last_bars_alone(bars: Bars) -> None:
    figure = drawn(history(bars, "rsi").of(["B"]), last=50)
    assert np.size(figure.axes[0].get_lines()[0].get_xdata()) == 50
    low, high = figure.axes[1].get_ylim()
    values = history(bars, "rsi").values_TAK[-50:, 1]
    assert low < values.min()
    assert values.max() < high


def test_the_legend_names_what_is_drawn(bars: Bars) -> None:
    found = history(bars, "rsi").of(["A"])
    training = ["90% of training values", "training median"]

    def named(history: FeatureHistory, last: int | None = None) -> list[str]:
        legend = drawn(history, last).axes[0].get_legend()
        assert legend is not None
        return [text.get_text() for text in legend.get_texts()]

    assert named(found) == [*training, "training ends", "values after it", "no value yet"]
    assert named(found, last=150) == [*training, "training ends", "values after it"]
    assert named(found, last=50) == [*training, "values after it"]
    assert named(replace(found, train=300)) == [*training, "no value yet"]
    # A training span within the warm-up has no values to compare with.
    early = drawn(replace(found, train=10))
    assert named(replace(found, train=10)) == ["training ends", "no value yet"]
    assert len(early.axes[1].get_lines()) == 2, "the values, and where training ends"


@pytest.mark.parametrize("name", ["day_of_week", "market_return", "obv"])
def test_other_kinds_are_drawn(name: str, bars: Bars, tmp_path: Path) -> None:
    found = history(bars, name)
    to_png(lambda: feature_figure(found.of(["A", "B"])), tmp_path / "x.png", dots_per_inch=30)
    assert (tmp_path / "x.png").stat().st_size > 1000
    svg = to_svg(lambda: feature_figure(found), name="f")
    assert svg == to_svg(lambda: feature_figure(found), name="f")


def test_degenerate_values_are_drawn(bars: Bars) -> None:
    found = history(bars, "rsi")
    nothing = replace(found, values_TAK=np.full_like(found.values_TAK, np.nan))
    constant = replace(found, values_TAK=np.zeros_like(found.values_TAK), train=300)
    for degenerate in (nothing, constant):
        for axes in drawn(degenerate).axes:
            low, high = axes.get_ylim()
            assert low < high
            assert np.isfinite([low, high]).all()

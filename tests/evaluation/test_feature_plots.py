"""Drawings of features: what is in them, for every scope and number of columns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from evaluation.drawing import style, to_png, to_svg
from evaluation.feature_plots import FeatureHistory, feature_figure, feature_history
from features.config import FeatureSpec
from features.definition import FeatureError
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
    line = figure.axes[1].get_lines()[1]
    np.testing.assert_array_equal(line.get_ydata(), found.values_TAK[33:, 0, 0])
    assert {text.get_text() for text in figure.texts} == {
        "macd_12_26_9",
        f"{found.unit}; warm-up 33 bars; 2011-01-26 to 2011-11-21",
    }


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
    drawn(replace(found, values_TAK=np.full_like(found.values_TAK, np.nan)))
    drawn(replace(found, values_TAK=np.zeros_like(found.values_TAK), train=300))

"""What a detector made of a history: the table by hand, and the figure's contents."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from evaluation.drawing import COLOURS, style, to_png
from evaluation.regime_plots import regime_colours, regime_figure, write_regime_figure
from evaluation.regime_summary import (
    CRISES,
    RefitMark,
    RegimeHistory,
    bars_per_year,
    rows,
    table,
)

DAY = 86_400 * 10**9
START = int(np.datetime64("2007-01-01", "ns").astype(np.int64))
LEVEL_T = 100.0 * np.exp(np.array([0.0, 0.01, 0.03, 0.02, 0.05, 0.04, 0.0, 0.02]))
BELIEF_TK = np.array(
    [
        [np.nan, np.nan],
        *([0.9, 0.1], [0.8, 0.2], [0.4, 0.6]),
        *([0.1, 0.9], [0.7, 0.3], [0.2, 0.8], [0.3, 0.7]),
    ]
)
HISTORY = RegimeHistory(
    title="Test",
    ts_event=START + 100 * DAY * np.arange(8),
    level_T=LEVEL_T,
    belief_TK=BELIEF_TK,
    names=("calm", "wild"),
    transition_KK=np.array([[0.9, 0.1], [0.2, 0.8]]),
    known_from=4,
    crises=CRISES,
)


def test_rows_by_hand() -> None:
    calm, wild = rows(HISTORY)
    year = 365.25 / 100.0
    assert bars_per_year(HISTORY.ts_event) == pytest.approx(year)
    assert (calm.share, wild.share) == pytest.approx((3 / 7, 4 / 7))
    assert (calm.visits, wild.visits) == (2, 2)
    assert (calm.duration, wild.duration) == (1.5, 2.0)
    # The bars after the closes at which each regime was believed most.
    assert calm.annual_return == pytest.approx(np.mean([0.02, -0.01, -0.04]) * year)
    assert wild.annual_return == pytest.approx(np.mean([0.03, -0.01, 0.02]) * year)
    assert wild.annual_volatility == pytest.approx(np.std([0.03, -0.01, 0.02]) * year**0.5)


def test_a_regime_that_never_was() -> None:
    never = replace(HISTORY, belief_TK=np.tile([1.0, 0.0], (8, 1)))
    calm, wild = rows(never)
    assert (calm.share, wild.share, wild.visits) == (1.0, 0.0, 0)
    assert np.isnan([wild.duration, wild.annual_return]).all()
    assert table([calm, wild])[2] == ("wild", "0.0%", "-", "0", "-", "-")


def test_figure_shows_prices_beliefs_transitions_table_and_crises(tmp_path: Path) -> None:
    with style():
        figure = regime_figure(HISTORY)
        texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"0.900", "0.100", "42.9%", "Financial crisis", "fitted to the left"} <= set(texts)
    assert "LTCM" not in texts  # before the history
    colours = figure.axes[0].collections[0].get_edgecolor()
    calm, wild = regime_colours(2)
    assert len(np.unique(np.asarray(colours), axis=0)) == 3  # calm, wild, not known yet
    assert calm != wild
    path = tmp_path / "regimes.png"
    to_png(lambda: regime_figure(HISTORY), path)
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_names_of_crises_do_not_cover_each_other() -> None:
    years = START + 30 * DAY * np.arange(240)
    many = replace(
        HISTORY,
        ts_event=years,
        level_T=np.linspace(1.0, 3.0, 240),
        belief_TK=np.tile([0.7, 0.3], (240, 1)),
    )
    with style():
        figure = regime_figure(many)
        figure.draw_without_rendering()
        names = {crisis.name for crisis in CRISES}
        axes = figure.axes[0]
        boxes = [text.get_window_extent() for text in axes.texts if text.get_text() in names]
        panel = axes.get_window_extent()
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(panel.x0 - 2.0 <= box.x0 and box.x1 <= panel.x1 + 2.0 for box in boxes)


def test_panels_keep_clear_of_each_other() -> None:
    full = replace(HISTORY, alarm_T=np.linspace(0.0, 1.0, 8), alarm_bars=10)
    with style():
        figure = regime_figure(full)
        figure.draw_without_rendering()
        boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert len(boxes) == 5
    assert not any(a.overlaps(b) for a, b in combinations(filter(None, boxes), 2))


def test_refits_and_changes_are_drawn() -> None:
    alarm_T = np.linspace(0.1, 0.8, 8)
    marks = (RefitMark(5, accepted=True), RefitMark(6, accepted=False), RefitMark(8, accepted=True))
    with style():
        figure = regime_figure(replace(HISTORY, refits=marks, alarm_T=alarm_T, alarm_bars=7))
    price, _, alarm = figure.axes[:3]
    assert price.get_title("right") == "Refits: 2 accepted (|), 1 refused (x)"
    by_mark = {line.get_marker(): np.asarray(line.get_xdata()) for line in price.get_lines()}
    days = HISTORY.ts_event / DAY
    assert by_mark["|"] == pytest.approx(days[[5, 7]])  # one came after the last bar
    assert by_mark["x"] == pytest.approx(days[[6]])
    assert "last 7 bars" in alarm.get_title("left")
    assert alarm.get_lines()[0].get_ydata() == pytest.approx(alarm_T)


def test_a_regime_given_up_is_grey_and_has_no_transitions() -> None:
    belief_TK = np.column_stack([BELIEF_TK * 0.5, np.full(8, 0.5)])
    given_up = replace(
        HISTORY,
        names=("calm", "wild", "no longer used"),
        belief_TK=belief_TK,
        transition_KK=np.pad(HISTORY.transition_KK, (0, 1), constant_values=np.nan),
        gone=True,
    )
    with style():
        figure = regime_figure(given_up)
        texts = [text.get_text() for axes in figure.axes for text in axes.texts]
        ticks = [label.get_text() for label in figure.axes[2].get_xticklabels()]
    assert "nan" not in texts
    assert "no longer used" in texts
    assert ticks == ["calm", "wild"]


@pytest.mark.parametrize("count", range(1, 13))
def test_every_regime_has_a_colour_of_its_own(count: int) -> None:
    colours = regime_colours(count)
    assert len(set(colours)) == count
    assert colours[0] == COLOURS["green"]


@pytest.mark.parametrize("name", ["a.png", "a.svg", "A.PNG"])
def test_a_file_is_the_same_bytes_each_time(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_regime_figure(HISTORY, path)
    first = path.read_bytes()
    write_regime_figure(HISTORY, path)
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a file ending in .png or .svg, found '.pdf'"):
        write_regime_figure(HISTORY, tmp_path / "a.pdf")
    assert not list(tmp_path.iterdir())


def test_levels_must_be_positive() -> None:
    with pytest.raises(ValueError, match="levels above 0"):
        regime_figure(replace(HISTORY, level_T=-LEVEL_T))

"""What a detector made of a history: the table by hand, and the figure's contents."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.drawing import style, to_png
from evaluation.regime_plots import regime_colours, regime_figure
from evaluation.regime_summary import CRISES, RegimeHistory, bars_per_year, rows, table

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
    assert table([calm, wild])[2][0] == "wild"


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


def test_levels_must_be_positive() -> None:
    with pytest.raises(ValueError, match="levels above 0"):
        regime_figure(replace(HISTORY, level_T=-LEVEL_T))

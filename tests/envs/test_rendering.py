"""Pictures of an episode: right numbers in the text, pixels where the data is, no global state."""

import subprocess
import sys

import numpy as np
import pytest

from envs.rendering import EpisodeTrace, ansi_line, episode_figure, rgb_array

DAY = 86_400_000_000_000


def trace_of(weights: list[list[float]], equities: list[float]) -> EpisodeTrace:
    trace = EpisodeTrace(symbols=("AAA", "BBB"))
    for t, (weights_A, equity) in enumerate(zip(weights, equities, strict=True)):
        traded_A = np.array([150.0, -50.0]) if t == 1 else np.zeros(2)
        trace.append(t * DAY, equity, np.array(weights_A), traded_A)
    return trace


@pytest.fixture
def trace() -> EpisodeTrace:
    return trace_of([[0.0, 0.0], [0.6, -0.2], [0.5, -0.25]], [1000.0, 1200.0, 900.0])


def test_line_reports_the_last_bar(trace: EpisodeTrace) -> None:
    line = ansi_line(trace)
    # Equity 900 from a start of 1000 and a peak of 1200: -10 % since the reset, 25 % drawdown.
    assert "1970-01-03" in line
    assert "equity 900.00" in line
    assert "return -10.00%" in line
    assert "drawdown 25.00%" in line
    assert "AAA +0.500 BBB -0.250 cash +0.750" in line
    assert "\n" not in line


def test_line_reports_both_sides_of_the_trades(trace: EpisodeTrace) -> None:
    for column in (trace.times, trace.equities, trace.holdings, trace.traded):
        column.pop()
    assert "bought 150.00 sold 50.00" in ansi_line(trace)


def test_image_is_rgb_bytes_with_content(trace: EpisodeTrace) -> None:
    image = rgb_array(trace)
    assert image.shape == (700, 1000, 3)
    assert image.dtype == np.uint8
    assert image.flags.owndata
    assert 0.02 < np.mean(image.min(axis=2) < 250) < 0.9


def test_image_of_the_first_bar_alone() -> None:
    assert rgb_array(trace_of([[0.0, 0.0]], [1000.0])).shape == (700, 1000, 3)


def test_panels_hold_the_numbers(trace: EpisodeTrace) -> None:
    equity, drawdown, weights = episode_figure(trace).axes
    np.testing.assert_array_equal(equity.lines[0].get_ydata(), [1000.0, 1200.0, 900.0])
    assert len(equity.collections) == 1, "one bar with a net purchase, none with a net sale"
    assert drawdown.dataLim.y0 == pytest.approx(-25.0)
    assert weights.dataLim.y1 == pytest.approx(0.6)
    assert weights.dataLim.y0 == pytest.approx(-0.25)


def additive_trace() -> EpisodeTrace:
    trace = EpisodeTrace(symbols=("AAA", "BBB"), dated=False, additive=True)
    for bar, (holdings_A, equity) in enumerate(
        [([0.0, 0.0], 1e6), ([2.5, -1.0], 1e6 + 0.75), ([2.0, -1.5], 1e6 + 0.25)]
    ):
        trace.append(bar, equity, np.array(holdings_A), np.array([2.5, -1.0]) * (bar == 1))
    return trace


def test_additive_line_is_in_units_and_currency() -> None:
    line = ansi_line(additive_trace())
    assert line.startswith("bar     2 equity 1,000,000.25 gain +0.2500 drawdown 0.5000 | ")
    assert "| AAA +2.000 BBB -1.500 | bought" in line
    started = EpisodeTrace(symbols=("AAA",), dated=False, additive=True)
    started.append(0, 1e6, np.zeros(1), np.zeros(1))
    assert "| nothing held |" in ansi_line(started)


def test_additive_panels_hold_gains_and_units() -> None:
    gain, drawdown, holdings = episode_figure(additive_trace()).axes
    np.testing.assert_array_equal(gain.lines[0].get_ydata(), [0.0, 0.75, 0.25])
    np.testing.assert_array_equal(gain.lines[0].get_xdata(), [0, 1, 2])
    assert drawdown.dataLim.y0 == pytest.approx(-0.5)
    assert (holdings.dataLim.y0, holdings.dataLim.y1) == (-1.5, 2.5)
    assert (gain.get_ylabel(), holdings.get_ylabel()) == ("gain", "units")


def test_appended_arrays_are_copied() -> None:
    trace, weights_A = EpisodeTrace(symbols=("AAA",)), np.array([0.5])
    trace.append(0, 1.0, weights_A, weights_A)
    weights_A[0] = 9.0
    assert trace.holdings[0][0] == 0.5
    trace.clear()
    assert not trace.times


def test_drawing_touches_no_pyplot_state() -> None:
    code = (
        "import sys, numpy as np\n"
        "from envs.rendering import EpisodeTrace, rgb_array\n"
        "assert 'matplotlib' not in sys.modules\n"
        "trace = EpisodeTrace(symbols=('A',)); trace.append(0, 1.0, np.zeros(1), np.zeros(1))\n"
        "rgb_array(trace); print('matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

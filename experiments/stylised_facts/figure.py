"""The record's picture: five views of one real series among simulated paths."""

from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator, NullLocator
from numpy.typing import NDArray
from scipy import stats

from evaluation.drawing import COLOURS, bare
from markets.synthetic.stylised_facts_statistics import relative_volume

Array = NDArray[np.float64]

REAL, SIMULATED = COLOURS["ink"], COLOURS["blue"]
LAGS = np.arange(1.0, 101.0)
LEVERAGE = np.arange(-20.0, 41.0)
BINS = 12
Place = Literal["upper left", "upper right", "lower left", "lower right"]


class Series(NamedTuple):
    """What is drawn of a series."""

    return_T: Array
    volume_T: Array
    ts_event: NDArray[np.int64]


def draw_figure(
    real: Series, simulated: list[Series], regime_T: NDArray[np.int64], example: int
) -> Figure:
    """Draw the real series and an example path above, and four facts of all paths below."""
    figure = Figure(figsize=(11.0, 10.2))
    grid = figure.add_gridspec(
        3, 2, height_ratios=(0.8, 1.0, 1.0), hspace=0.42, wspace=0.2,
        left=0.07, right=0.975, top=0.925, bottom=0.055,
    )  # fmt: skip
    figure.text(
        0.07, 0.968, "Does it look real?", fontsize=15, fontweight="bold", color=COLOURS["ink"]
    )
    figure.text(
        0.262, 0.9695,
        f"NASDAQ Composite, 1999 to 2009, among {len(simulated)} simulated paths of its length",
        fontsize=10.5, color=COLOURS["muted"],
    )  # fmt: skip
    first = figure.add_subplot(grid[0, 0])
    second = figure.add_subplot(grid[0, 1], sharey=first)
    draw_returns(first, real.return_T, REAL, "Real: daily log returns, 1999 to 2009")
    shade(second, regime_T)
    draw_returns(
        second,
        simulated[example].return_T,
        SIMULATED,
        "Simulated: shaded where the regime is turbulent",
    )
    draw_tails(figure.add_subplot(grid[1, 0]), real, simulated)
    draw_memory(figure.add_subplot(grid[1, 1]), real, simulated)
    draw_leverage(figure.add_subplot(grid[2, 0]), real, simulated)
    draw_volume(figure.add_subplot(grid[2, 1]), real, simulated)
    return figure


def draw_returns(axes: Axes, return_T: Array, colour: str, title: str) -> None:
    """Returns in per cent against years."""
    axes.vlines(
        np.arange(len(return_T)) / 252.0, 0.0, 100.0 * return_T, color=colour, linewidth=0.45
    )
    axes.set_title(title)
    axes.set_xlabel("years")
    axes.set_ylim(-14.5, 14.5)
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:+.0f} %" if value else "0")
    )
    axes.margins(x=0.01)
    bare(axes)


def shade(axes: Axes, regime_T: NDArray[np.int64]) -> None:
    """Shade the bars of the turbulent regime (row t governs the bar t + 1)."""
    edges = np.flatnonzero(np.diff(regime_T, prepend=0, append=0)) + 1
    for begin, end in edges.reshape(-1, 2):
        axes.axvspan(begin / 252.0, end / 252.0, color=COLOURS["orange"], alpha=0.16, linewidth=0)


def band(axes: Axes, x: Array, curve_NX: Array, label: str) -> None:
    """The middle of the simulated curves, and where nine in ten of them lie."""
    low, middle, high = np.quantile(curve_NX, (0.05, 0.5, 0.95), axis=0)
    axes.fill_between(x, low, high, color=SIMULATED, alpha=0.15, linewidth=0)
    axes.plot(x, middle, color=SIMULATED, linewidth=1.8, label=label)


def legend(axes: Axes, place: Place) -> None:
    """A frameless legend."""
    axes.legend(loc=place, frameon=False, fontsize=9, labelcolor="linecolor")


def draw_tails(axes: Axes, real: Series, simulated: list[Series]) -> None:
    """Survival function of standardised absolute returns, both axes logarithmic."""
    level = np.geomspace(0.5, 12.0, 60)

    def survival(return_T: Array) -> Array:
        size_T = np.sort(np.abs(return_T - return_T.mean()) / return_T.std())
        return 1.0 - np.searchsorted(size_T, level) / len(size_T)

    curve_NX = np.array([survival(each.return_T) for each in simulated])
    least = 0.5 / len(real.return_T)
    band(axes, level, np.maximum(curve_NX, least / 3.0), "simulated, 90 % band")
    axes.plot(
        level, 2.0 * stats.norm.sf(level), color=COLOURS["grey"], linewidth=1.2, label="normal"
    )
    size_T = np.sort(np.abs(real.return_T - real.return_T.mean()) / real.return_T.std())
    rank_T = 1.0 - np.arange(len(size_T)) / len(size_T)
    keep = size_T > level[0]
    axes.plot(size_T[keep], rank_T[keep], ".", color=REAL, markersize=3.2, label="real")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(least, 1.0)
    axes.set_xlim(level[0], level[-1])
    axes.set_xticks([0.5, 1, 2, 3, 5, 8, 12], ["0.5", "1", "2", "3", "5", "8", "12"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks([1.0, 0.1, 0.01, 0.001], ["100 %", "10 %", "1 %", "0.1 %"])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_title("Tails: share of days beyond x standard deviations")
    legend(axes, "lower left")
    bare(axes)


def correlation(x: Array, y: Array) -> float:
    """Pearson's."""
    return float(np.corrcoef(x, y)[0, 1])


def lagged(x_T: Array, y_T: Array, lag: int) -> float:
    """corr(x_t, y_{t+lag}), lag of either sign."""
    if lag < 0:
        return lagged(y_T, x_T, -lag)
    return correlation(x_T[: len(x_T) - lag], y_T[lag:])


def draw_memory(axes: Axes, real: Series, simulated: list[Series]) -> None:
    """Autocorrelation of |r|, and of r."""

    def memory(return_T: Array) -> Array:
        size_T = np.abs(return_T)
        return np.array([lagged(size_T, size_T, int(lag)) for lag in LAGS])

    def linear(return_T: Array) -> Array:
        return np.array([lagged(return_T, return_T, int(lag)) for lag in LAGS])

    band(axes, LAGS, np.array([memory(each.return_T) for each in simulated]), "simulated |r|")
    axes.plot(LAGS, memory(real.return_T), color=REAL, linewidth=1.2, label="real |r|")
    axes.plot(LAGS, linear(real.return_T), color=COLOURS["grey"], linewidth=1.0, label="real r")
    axes.axhline(0.0, color=COLOURS["muted"], linewidth=0.8)
    axes.set_title("Volatility clusters: autocorrelation of |r| and r")
    axes.set_xlabel("lag, days")
    axes.set_xlim(0, 100)
    legend(axes, "upper right")
    bare(axes)


def draw_leverage(axes: Axes, real: Series, simulated: list[Series]) -> None:
    """corr(r_t, |r_{t+h}|) for h of both signs."""

    def leverage(return_T: Array) -> Array:
        size_T = np.abs(return_T)
        return np.array([lagged(return_T, size_T, int(lag)) for lag in LEVERAGE])

    curve_NX = np.array([leverage(each.return_T) for each in simulated])
    value = leverage(real.return_T)
    band(axes, LEVERAGE, curve_NX, "simulated")
    axes.plot(LEVERAGE, value, color=REAL, linewidth=0.9, marker="o", markersize=2.6, label="real")
    axes.axhline(0.0, color=COLOURS["muted"], linewidth=0.8)
    axes.axvline(0.0, color=COLOURS["grid"], linewidth=1.2)
    axes.set_title("Leverage: volatility after falls, corr(r, |r| h days later)")
    axes.set_xlabel("h, days")
    axes.set_xlim(LEVERAGE[0], LEVERAGE[-1])
    axes.yaxis.set_major_locator(MultipleLocator(0.05))
    legend(axes, "lower left")
    bare(axes)


def draw_volume(axes: Axes, real: Series, simulated: list[Series]) -> None:
    """Volume relative to its usual level, by quantile of |r|."""
    place = (np.arange(BINS) + 0.5) / BINS

    def volume(series: Series) -> Array:
        relative_T = relative_volume(series.volume_T)
        known = np.isfinite(relative_T)
        size_T, relative_T = np.abs(series.return_T[known]), relative_T[known]
        order = np.argsort(size_T)
        means = [float(relative_T[part].mean()) for part in np.array_split(order, BINS)]
        return np.asarray(100.0 * np.expm1(np.array(means)))

    band(axes, place, np.array([volume(each) for each in simulated]), "simulated")
    axes.plot(
        place, volume(real), color=REAL, linewidth=0.9, marker="o", markersize=3.2, label="real"
    )
    axes.axhline(0.0, color=COLOURS["muted"], linewidth=0.8)
    axes.set_title("Volume against its last 20 days, by size of move")
    axes.set_xlabel("quantile of |r|")
    axes.set_xlim(0.0, 1.0)
    axes.yaxis.set_major_locator(MultipleLocator(4.0))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:+.0f} %" if value else "0")
    )
    legend(axes, "upper left")
    bare(axes)

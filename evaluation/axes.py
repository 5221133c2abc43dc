"""Axes of the report's figures: time, growth on a log scale, and names at the lines' ends."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from evaluation.drawing import COLOURS, bare

__all__ = [
    "MOST_POINTS",
    "apart",
    "date_axis",
    "end_labels",
    "growth_axis",
    "kept_rows",
    "round_ticks",
]

MOST_POINTS = 1500
"""Bars drawn of a longer ledger."""

_STEPS = ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))
"""Round steps within a decade, from fine to coarse."""


def kept_rows(
    ts_event: NDArray[np.int64], most: int = MOST_POINTS
) -> tuple[NDArray[np.int64], NDArray[np.datetime64]]:
    """Rows to draw, evenly spaced with both ends and `most` at most, and their times."""
    rows = len(ts_event)
    keep = np.unique(np.linspace(0, rows - 1, min(rows, most)).round().astype(np.int64))
    return keep, ts_event[keep].astype("datetime64[ns]")


def date_axis(axes: Axes) -> None:
    """Concise dates along the base line."""
    # matplotlib leaves its date tickers unannotated.
    locator = AutoDateLocator(minticks=3, maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)
    axes.margins(x=0.0)


def growth_axis(
    axes: Axes, curves: NDArray[np.float64], middles: Sequence[NDArray[np.float64]]
) -> None:
    """A log axis over everything drawn, with round ticks."""
    lines = [line.get_ydata() for line in axes.get_lines()]
    values = np.concatenate([curves.ravel(), *(np.asarray(line) for line in lines), middles])
    positive = values[values > 0.0]
    low, high = float(positive.min()), float(positive.max())
    span = max(high / low, 1.02)
    axes.set_yscale("log")
    axes.set_ylim(low / span**0.06, high * span**0.06)
    axes.yaxis.set_major_locator(FixedLocator(round_ticks(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    bare(axes)


def round_ticks(low: float, high: float) -> list[float]:
    """Round numbers inside a range of positive values, at most nine of them.

    Evenly spaced where the range is short, by decade where it is long.
    """
    if high < 5.0 * low:
        rough = (high - low) / 8.0
        decade = 10.0 ** np.floor(np.log10(rough))
        step = next(s * decade for s in (1.0, 2.0, 2.5, 5.0, 10.0) if s * decade >= rough)
        multiples = range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)
        return [float(f"{multiple * step:.12g}") for multiple in multiples]
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in _STEPS:
        ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= 9:
            return inside
    return inside[:: -(-len(inside) // 8)]


def end_labels(axes: Axes, labels: list[tuple[float, str, str, bool]]) -> None:
    """Name the lines at their right end, moved apart where they would overlap."""
    low, high = (np.log(limit) for limit in axes.get_ylim())
    least = 0.052
    labels.sort(key=lambda item: item[0])
    places = [(np.log(max(item[0], np.exp(low))) - low) / (high - low) for item in labels]
    spread = apart(np.array(places), least)
    for (value, text, colour, strong), place, wanted in zip(labels, spread, places, strict=True):
        axes.plot(
            [1.004, 1.02],
            [wanted, place],
            transform=axes.transAxes,
            color=COLOURS[colour],
            linewidth=0.8,
            clip_on=False,
        )
        axes.text(
            1.026,
            place,
            f"{text} {value:.2f}",
            transform=axes.transAxes,
            va="center",
            color=COLOURS[colour],
            fontweight="bold" if strong else "normal",
            fontsize=9,
        )


def apart(places: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Ascending places in [0, 1], moved a little until they are ``least`` apart."""
    moved = places.copy()
    for _ in range(200):
        gaps = np.diff(moved)
        tight = gaps < least - 1e-9
        if not tight.any():
            break
        push = np.where(tight, (least - gaps) / 2.0, 0.0)
        moved[:-1] -= push
        moved[1:] += push
        moved = np.sort(np.clip(moved, 0.0, 1.0))
    return moved

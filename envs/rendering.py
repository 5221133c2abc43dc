"""Pictures of one episode: equity, drawdown, weights and trades as a figure, or as a line of text.

Nothing is drawn unless `render` is called. Figures use matplotlib's Agg canvas directly: no window,
no pyplot state, no file.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_INCHES = (10.0, 7.0)
DOTS_PER_INCH = 100
LONGEST_LEGEND = 12
"""Assets named in the weights panel; a longer legend would cover the picture."""


@dataclass(frozen=True)
class EpisodeTrace:
    """What a picture of an episode needs, one entry for each bar since the reset.

    Attributes:
        symbols: Names of the A assets, in column order.
        times: Bar times, ns UTC.
        equities: Equity at the bar's close, in cash units.
        weights: Signed holding values over equity at the close, (A,) each.
        traded: Signed shares filled in the bar times the fill price, in cash units, (A,) each.
    """

    symbols: tuple[str, ...]
    times: list[int] = field(default_factory=list)
    equities: list[float] = field(default_factory=list)
    weights: list[NDArray[np.float64]] = field(default_factory=list)
    traded: list[NDArray[np.float64]] = field(default_factory=list)

    def clear(self) -> None:
        """Forget the episode; a new one begins."""
        for column in (self.times, self.equities, self.weights, self.traded):
            column.clear()

    def append(
        self,
        ts_event: int,
        equity: float,
        weights_A: NDArray[np.float64],
        traded_A: NDArray[np.float64],
    ) -> None:
        """Add a bar; the arrays are copied."""
        self.times.append(ts_event)
        self.equities.append(equity)
        self.weights.append(weights_A.copy())
        self.traded.append(traded_A.copy())

    def drawdown(self) -> NDArray[np.float64]:
        """Loss from the episode's highest equity so far, as a fraction, (T,)."""
        equity_T = np.asarray(self.equities)
        return 1.0 - equity_T / np.maximum.accumulate(equity_T)


def ansi_line(trace: EpisodeTrace) -> str:
    """Describe the last bar of an episode in one line of text.

    Args:
        trace: An episode with at least one bar.

    Returns:
        Bar number and date, equity, return since the reset, drawdown, weights and traded value.
    """
    date = np.datetime64(trace.times[-1], "ns").astype("datetime64[m]")
    weights_A, traded_A = trace.weights[-1], trace.traded[-1]
    held = " ".join(
        f"{symbol} {weight:+.3f}"
        for symbol, weight in zip(trace.symbols, weights_A, strict=True)
        if abs(weight) >= 5e-4
    )
    return (
        f"bar {len(trace.times) - 1:>5} {date} equity {trace.equities[-1]:,.2f} "
        f"return {trace.equities[-1] / trace.equities[0] - 1.0:+.2%} "
        f"drawdown {trace.drawdown()[-1]:.2%} | "
        f"{held + ' ' if held else ''}cash {1.0 - weights_A.sum():+.3f} | "
        f"bought {traded_A[traded_A > 0].sum():,.2f} sold {-traded_A[traded_A < 0].sum():,.2f}"
    )


def episode_figure(trace: EpisodeTrace) -> "Figure":
    """Draw an episode: equity with trade markers, drawdown, and weights as stacked areas.

    Long weights stack above zero and short ones below it; cash is the uncoloured rest.

    Args:
        trace: An episode with at least one bar.

    Returns:
        A matplotlib figure on an Agg canvas, not registered with pyplot.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - only when drawing
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow import, only when drawing

    figure = Figure(figsize=FIGURE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 2))
    equity_axes, drawdown_axes, weights_axes = cast("list[Axes]", list(panels))
    time_T = np.asarray(trace.times, dtype="datetime64[ns]")
    _draw_equity(equity_axes, time_T, trace)
    drawdown_axes.fill_between(time_T, -100.0 * trace.drawdown(), 0.0, color="tab:red", alpha=0.5)
    drawdown_axes.set_ylabel("drawdown [%]")
    _draw_weights(weights_axes, time_T, trace)
    for axes in (equity_axes, drawdown_axes, weights_axes):
        axes.grid(alpha=0.3)
    if len(time_T) > 1:
        weights_axes.set_xlim(time_T[0], time_T[-1])
    return figure


def rgb_array(trace: EpisodeTrace) -> NDArray[np.uint8]:
    """Draw an episode as pixels.

    Args:
        trace: An episode with at least one bar.

    Returns:
        Image of shape (700, 1000, 3), uint8, owned by the caller.
    """
    canvas: Any = episode_figure(trace).canvas  # the Agg canvas has no annotations
    canvas.draw()
    return np.array(canvas.buffer_rgba(), dtype=np.uint8)[:, :, :3].copy()


def _draw_equity(axes: "Axes", time_T: NDArray[np.datetime64], trace: EpisodeTrace) -> None:
    equity_T = np.asarray(trace.equities)
    net_T = np.asarray([traded_A.sum() for traded_A in trace.traded])
    axes.plot(time_T, equity_T, color="tab:blue", linewidth=1.2)
    for marker, color, label, chosen_T in (
        ("^", "tab:green", "net bought", net_T > 0.0),
        ("v", "tab:red", "net sold", net_T < 0.0),
    ):
        if chosen_T.any():
            size_T = 10.0 + 40.0 * np.abs(net_T[chosen_T]) / np.abs(net_T).max()
            axes.scatter(
                time_T[chosen_T],
                equity_T[chosen_T],
                s=size_T,
                marker=marker,
                color=color,
                alpha=0.6,
                label=label,
                zorder=3,
            )
    axes.set_ylabel("equity")
    change = equity_T[-1] / equity_T[0] - 1.0
    axes.set_title(f"equity {equity_T[-1]:,.2f} ({change:+.2%}) after {len(equity_T) - 1} bars")
    if (net_T != 0.0).any():
        axes.legend(loc="upper left", fontsize="small")


def _draw_weights(axes: "Axes", time_T: NDArray[np.datetime64], trace: EpisodeTrace) -> None:
    weights_AT = np.asarray(trace.weights).T
    named = trace.symbols if len(trace.symbols) <= LONGEST_LEGEND else ()
    axes.stackplot(time_T, np.maximum(weights_AT, 0.0), labels=named, alpha=0.8, step="post")
    if (weights_AT < 0.0).any():
        axes.set_prop_cycle(None)
        axes.stackplot(time_T, np.minimum(weights_AT, 0.0), alpha=0.5, step="post")
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.set_ylabel("weights")
    if named:
        axes.legend(loc="upper left", fontsize="small", ncols=min(6, len(named)))

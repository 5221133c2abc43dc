"""Pictures of one episode: equity, drawdown, holdings and trades as a figure or a line of text.

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
"""Assets named in the holdings panel; a longer legend would cover the picture."""


@dataclass(frozen=True)
class EpisodeTrace:
    """What a picture of an episode needs, one entry for each bar since the reset.

    Attributes:
        symbols: Names of the A assets, in column order.
        dated: Times are dates; otherwise numbers of bars.
        additive: Prices may be negative: holdings are in units, gains in currency; otherwise
            holdings are weights of equity, and gains are relative.
        times: Bar times, ns UTC, or numbers of bars.
        equities: Equity at the bar's close, in cash units.
        holdings: Signed holding values over equity at the close, or units, (A,) each.
        traded: Signed shares filled in the bar times the fill price, in cash units (in an additive
            market: units), (A,) each.
    """

    symbols: tuple[str, ...]
    dated: bool = True
    additive: bool = False
    times: list[int] = field(default_factory=list)
    equities: list[float] = field(default_factory=list)
    holdings: list[NDArray[np.float64]] = field(default_factory=list)
    traded: list[NDArray[np.float64]] = field(default_factory=list)

    def clear(self) -> None:
        """Forget the episode; a new one begins."""
        for column in (self.times, self.equities, self.holdings, self.traded):
            column.clear()

    def append(
        self,
        time: int,
        equity: float,
        holdings_A: NDArray[np.float64],
        traded_A: NDArray[np.float64],
    ) -> None:
        """Add a bar; the arrays are copied."""
        self.times.append(time)
        self.equities.append(equity)
        self.holdings.append(holdings_A.copy())
        self.traded.append(traded_A.copy())

    def drawdown(self) -> NDArray[np.float64]:
        """Loss from the episode's highest equity, as a fraction (additive: currency), (T,)."""
        equity_T = np.asarray(self.equities)
        peak_T = np.maximum.accumulate(equity_T)
        return peak_T - equity_T if self.additive else 1.0 - equity_T / peak_T

    def axis(self) -> NDArray[Any]:
        """Times as matplotlib draws them, (T,)."""
        return np.asarray(self.times, dtype="datetime64[ns]" if self.dated else np.int64)


def ansi_line(trace: EpisodeTrace) -> str:
    """Describe the last bar of an episode in one line of text.

    Args:
        trace: An episode with at least one bar.

    Returns:
        Bar number and date, equity, gain since the reset, drawdown, holdings and traded value.
    """
    date = f"{np.datetime64(trace.times[-1], 'ns').astype('datetime64[m]')} " if trace.dated else ""
    holdings_A, traded_A = trace.holdings[-1], trace.traded[-1]
    held = " ".join(
        f"{symbol} {holding:+.3f}"
        for symbol, holding in zip(trace.symbols, holdings_A, strict=True)
        if abs(holding) >= 5e-4
    )
    if trace.additive:
        gain = f"gain {trace.equities[-1] - trace.equities[0]:+,.4f}"
        gain += f" drawdown {trace.drawdown()[-1]:,.4f} | {held or 'nothing held'}"
    else:
        gain = f"return {trace.equities[-1] / trace.equities[0] - 1.0:+.2%}"
        gain += f" drawdown {trace.drawdown()[-1]:.2%} | "
        gain += f"{held + ' ' if held else ''}cash {1.0 - holdings_A.sum():+.3f}"
    return (
        f"bar {len(trace.times) - 1:>5} {date}equity {trace.equities[-1]:,.2f} {gain} | "
        f"bought {traded_A[traded_A > 0].sum():,.2f} sold {-traded_A[traded_A < 0].sum():,.2f}"
    )


def episode_figure(trace: EpisodeTrace) -> "Figure":
    """Draw an episode: equity with trade markers, drawdown, and holdings as stacked areas.

    Long ones stack above zero and short ones below it; of weights, cash is the uncoloured rest. In
    an additive market the gain stands for the equity, which is mostly the cash at the start.

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
    equity_axes, drawdown_axes, holdings_axes = cast("list[Axes]", list(panels))
    time_T, unit = trace.axis(), "currency" if trace.additive else "%"
    loss_T = trace.drawdown() * (1.0 if trace.additive else 100.0)
    _draw_equity(equity_axes, time_T, trace)
    drawdown_axes.fill_between(time_T, -loss_T, 0.0, color="tab:red", alpha=0.5)
    drawdown_axes.set_ylabel(f"drawdown [{unit}]")
    _draw_holdings(holdings_axes, time_T, trace)
    for axes in (equity_axes, drawdown_axes, holdings_axes):
        axes.grid(alpha=0.3)
    if len(time_T) > 1:
        holdings_axes.set_xlim(time_T[0], time_T[-1])
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


def _draw_equity(axes: "Axes", time_T: NDArray[Any], trace: EpisodeTrace) -> None:
    equity_T = np.asarray(trace.equities)
    drawn_T = equity_T - equity_T[0] if trace.additive else equity_T
    net_T = np.asarray([traded_A.sum() for traded_A in trace.traded])
    axes.plot(time_T, drawn_T, color="tab:blue", linewidth=1.2)
    for marker, color, label, chosen_T in (
        ("^", "tab:green", "net bought", net_T > 0.0),
        ("v", "tab:red", "net sold", net_T < 0.0),
    ):
        if chosen_T.any():
            size_T = 10.0 + 40.0 * np.abs(net_T[chosen_T]) / np.abs(net_T).max()
            axes.scatter(
                time_T[chosen_T],
                drawn_T[chosen_T],
                s=size_T,
                marker=marker,
                color=color,
                alpha=0.6,
                label=label,
                zorder=3,
            )
    axes.set_ylabel("gain" if trace.additive else "equity")
    ratio = equity_T[-1] / equity_T[0] - 1.0
    change = f"{drawn_T[-1]:+,.4f}" if trace.additive else f"{ratio:+.2%}"
    axes.set_title(f"equity {equity_T[-1]:,.2f} ({change}) after {len(equity_T) - 1} bars")
    if (net_T != 0.0).any():
        axes.legend(loc="upper left", fontsize="small")


def _draw_holdings(axes: "Axes", time_T: NDArray[Any], trace: EpisodeTrace) -> None:
    holdings_AT = np.asarray(trace.holdings).T
    named = trace.symbols if len(trace.symbols) <= LONGEST_LEGEND else ()
    axes.stackplot(time_T, np.maximum(holdings_AT, 0.0), labels=named, alpha=0.8, step="post")
    if (holdings_AT < 0.0).any():
        axes.set_prop_cycle(None)
        axes.stackplot(time_T, np.minimum(holdings_AT, 0.0), alpha=0.5, step="post")
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.set_ylabel("units" if trace.additive else "weights")
    if named:
        axes.legend(loc="upper left", fontsize="small", ncols=min(6, len(named)))

"""Figures of the record: detectors on the NASDAQ with known crises, worth, calibration, frontier.

    python -m experiments.regime_detection.figure

`real.png` fits every detector on the first half of 1999 to 2018 (and the online one again every 125
bars on the last 1,500) and filters forward; the others draw what `run.py` and `disruption.py` left.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evaluation.axes import date_axis
from evaluation.drawing import COLOURS, PALETTE, bare, write_pngs
from evaluation.regime_plots import regime_colours
from evaluation.regime_summary import CRISES
from experiments.regime_detection.detectors import configs
from experiments.regime_detection.refits import STEP, WINDOW
from experiments.regime_detection.tables import value_share
from experiments.regime_detection.worlds import DAILY, NOISES
from markets.sources import catalog
from markets.sources.config import load_dataset
from regimes.base import RegimeWarning
from regimes.detector import Detector
from regimes.inputs import observations_of
from regimes.matching import by_volatility
from regimes.online import OnlineDetector, Schedule

Array = NDArray[np.float64]

HERE = Path(__file__).parent
SHOWN = ("gaussian_hmm", "student_hmm", "jump", "bocpd", "sticky_dpgmm", "dpgmm", "rule")
TITLES = {"garleanu_pedersen": "Gârleanu-Pedersen", "ornstein_uhlenbeck": "Ornstein-Uhlenbeck",
          "regime_gbm": "Switching GBM"}  # fmt: skip


def ordered(belief_TC: Array, detector: Detector) -> Array:
    """Beliefs with the calmest regime first, empty slots left out."""
    slots = np.array(detector.labels.slots)[by_volatility(detector.model)]
    return belief_TC[:, slots]


def on_real_data() -> tuple[Any, dict[str, Array]]:
    """The NASDAQ Composite, and the beliefs of each detector."""
    bars = load_dataset(catalog.config_of("nasdaq")).bars
    seen = observations_of(bars)
    half = len(seen) // 2
    found: dict[str, Array] = {}
    for name in SHOWN:
        detector = Detector(configs(DAILY)[name]).fit(seen.rows(0, half))
        found[name] = ordered(detector.filter(seen), detector)
    online = OnlineDetector(configs(DAILY)["gaussian_hmm"], Schedule(every=STEP, window=WINDOW))
    online.fit(seen.rows(0, half), until=half)
    with warnings.catch_warnings():  # refused refits are counted in the title instead
        warnings.simplefilter("ignore", RegimeWarning)
        belief_TC = online.filter(seen)
    kept = sum(event.accepted for event in online.events)
    name = f"gaussian_hmm, fitted again ({kept} of {len(online.events)} refits accepted)"
    found[name] = ordered(belief_TC, online.detector)
    return bars, found


def real_figure() -> Figure:
    """Price and crises above, one strip of stacked beliefs for each detector below."""
    bars, found = on_real_data()
    times = bars.ts_event.astype("datetime64[ns]")
    figure = Figure(figsize=(10.8, 9.2))
    axes = figure.subplots(len(found) + 1, 1, sharex=True, height_ratios=[2.6, *[1.0] * len(found)])
    price: Axes = axes[0]
    price.plot(times, bars.close[:, 0], color=COLOURS["ink"], linewidth=0.9)
    price.set_yscale("log")
    price.set_yticks([1000, 2000, 4000, 8000], ["1,000", "2,000", "4,000", "8,000"])
    price.minorticks_off()
    price.set_title("NASDAQ Composite, known falls shaded; detectors are fitted left of the line")
    for panel in axes:
        for crisis in CRISES:
            first, last = np.datetime64(crisis.start), np.datetime64(crisis.end)
            if times[0] <= first and last <= times[-1]:
                panel.axvspan(first, last, color=COLOURS["grid"], linewidth=0.0, zorder=0)
        panel.axvline(times[len(times) // 2], color=COLOURS["ink"], linestyle=":", linewidth=0.9)
        bare(panel)
    for panel, (name, belief_TK) in zip(axes[1:], found.items(), strict=True):
        colours = regime_colours(belief_TK.shape[1])
        panel.stackplot(times, belief_TK.T, colors=colours, linewidth=0.0)
        panel.set_ylim(0.0, 1.0)
        panel.set_yticks([])
        panel.set_title(name.replace("_", " "), fontsize=9, fontweight="normal")
    date_axis(axes[-1])
    price.set_xlim(times[0], times[-1])
    figure.subplots_adjust(left=0.06, right=0.985, top=0.96, bottom=0.04, hspace=0.55)
    return figure


def value_figure(lines: list[dict[str, Any]]) -> Figure:
    """Decision value of each detector with its interval, a panel for each market and noise."""
    markets = sorted({line["market"] for line in lines})
    figure = Figure(figsize=(10.8, 6.4))
    panels = figure.subplots(len(NOISES), len(markets), sharex=True, squeeze=False)
    for row, noise in enumerate(NOISES):
        for column, market in enumerate(markets):
            chosen = [x for x in lines if (x["market"], x["noise"]) == (market, noise)]
            _values(panels[row, column], chosen, f"{TITLES[market]}, {noise}")
    figure.text(0.13, 0.015, "expected reward, as a share of the oracle filter's", fontsize=9)
    figure.subplots_adjust(left=0.13, right=0.985, top=0.95, bottom=0.075, wspace=0.75, hspace=0.25)
    return figure


def _values(axes: Axes, lines: list[dict[str, Any]], title: str) -> None:
    axes.set_title(title, fontsize=9)
    if not lines:
        return
    names = [name for name in lines[0]["detectors"] if name not in ("known", "oracle")]
    for place, name in enumerate(reversed(names)):
        share, low, high = value_share(lines, name)
        colour = COLOURS["grey" if name == "constant" else "blue"]
        axes.plot([max(low, -1.0), max(high, -1.0)], [place, place], color=colour, linewidth=1.2)
        axes.plot([max(share, -1.0)], [place], "o" if share > -1.0 else "<", color=colour, ms=4)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in reversed(names)])
    axes.tick_params(axis="y", labelsize=7.5)
    axes.axvline(1.0, color=COLOURS["ink"], linewidth=0.9)
    axes.axvline(0.9, color=COLOURS["vermilion"], linewidth=0.9, linestyle=":")
    axes.set_xlim(-1.05, 1.15)
    bare(axes)


def reliability_figure(lines: list[dict[str, Any]]) -> Figure:
    """What was believed against what came true, on the switching GBM market with Gaussian noise."""
    chosen = [x for x in lines if (x["market"], x["noise"]) == ("regime_gbm", "gaussian")]
    figure = Figure(figsize=(5.4, 4.6))
    axes = figure.subplots()
    axes.plot([0.0, 1.0], [0.0, 1.0], color=COLOURS["ink"], linewidth=0.9)
    shown = ("oracle", "gaussian_hmm", "student_hmm", "sticky_dpgmm", "bocpd", "dpgmm", "jump")
    colours = ("ink", *PALETTE)
    for name, colour in zip(shown, colours, strict=False):
        rows = [
            line["detectors"][name] for line in chosen if "failed" not in line["detectors"][name]
        ]
        count_NB = np.array([row["reliability_count"] for row in rows], np.float64)
        tables = np.array([row["reliability"] for row in rows], np.float64)
        believed_B, happened_B = np.nansum(tables * count_NB[:, None], axis=0) / np.maximum(
            count_NB.sum(axis=0), 1.0
        )
        full = count_NB.sum(axis=0) > 0
        axes.plot(
            believed_B[full], happened_B[full], "o-", color=COLOURS[colour], markersize=3.5,
            linewidth=1.1, label=name.replace("_", " "),
        )  # fmt: skip
    axes.set_xlabel("believed")
    axes.set_ylabel("came true")
    axes.set_title("Calibration on the switching GBM market")
    axes.legend(frameon=False, fontsize=8)
    bare(axes)
    figure.subplots_adjust(left=0.12, right=0.97, top=0.92, bottom=0.12)
    return figure


def frontier_figure(found: dict[str, dict[str, dict[str, Any]]]) -> Figure:
    """Net growth against mean disruption, hard and blended routing."""
    figure = Figure(figsize=(10.8, 4.0))
    for axes, (market, rows) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        for kind, colour in (("hard", "vermilion"), ("blended", "blue")):
            chosen = {name: row for name, row in rows.items() if name.startswith(kind)}
            axes.plot(
                [row["mean"] for row in chosen.values()],
                [1e4 * row["growth"] for row in chosen.values()],
                "o-", color=COLOURS[colour], markersize=4, linewidth=1.2, label=f"{kind} routing",
            )  # fmt: skip
            for name, row in chosen.items():
                axes.annotate(
                    name.split(" ")[-1], (row["mean"], 1e4 * row["growth"]), xytext=(3, 4),
                    textcoords="offset points", fontsize=7, color=COLOURS["muted"],
                )  # fmt: skip
        axes.set_xscale("log")
        ticks = (0.005, 0.01, 0.02, 0.04, 0.06)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("mean disruption a bar (numbers: rate, or bars of dwell)")
        axes.set_title(f"{market.replace('_', ' ')}: net growth, 1e-4 a bar", fontsize=9.5)
        axes.legend(frameon=False, fontsize=8)
        bare(axes)
    figure.subplots_adjust(left=0.05, right=0.985, top=0.9, bottom=0.14, wspace=0.14)
    return figure


def main() -> None:
    """Draw what there is."""
    lines = [json.loads(line) for line in (HERE / "results.jsonl").read_text().splitlines()]
    frontier = json.loads((HERE / "disruption.json").read_text())
    write_pngs(
        HERE,
        {
            "real": real_figure,
            "value": lambda: value_figure(lines),
            "calibration": lambda: reliability_figure(lines),
            "frontier": lambda: frontier_figure(frontier),
        },
    )


if __name__ == "__main__":
    main()

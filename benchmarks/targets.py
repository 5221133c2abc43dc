"""What the project wants to reach, as figures of the recorded results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks import continual, options
from benchmarks.cases import LANES, STREAMS, copying_name, name_of, stream_name, torchtrade_name

Figures = Mapping[str, Mapping[str, Any]]
"""Spread (median, lowest, highest, count) of each figure of a benchmark, by name."""


DETECTORS = ("gaussian_hmm", "student_hmm", "dpgmm", "sticky_dpgmm", "bocpd", "jump", "rule")
"""Detectors of regimes whose updates have a target."""


@dataclass(frozen=True)
class Target:
    """A wanted value.

    Attributes:
        text: what is wanted.
        figure: name of the figure.
        value: smallest wanted value; with `at_most`, the largest.
        unit: of the value.
        over: name of the figure that it is divided by, or None.
        at_most: whether less is better.
    """

    text: str
    figure: str
    value: float
    unit: str
    over: str | None = None
    at_most: bool = False

    def reached(self, figures: Figures) -> float | None:
        """The value in the medians, or None where a figure was not measured."""
        if self.figure not in figures or (self.over and self.over not in figures):
            return None
        value: float = figures[self.figure]["median"]
        return value / figures[self.over]["median"] if self.over else value

    def met(self, figures: Figures) -> bool | None:
        """Whether the value is good enough, or None where it was not measured."""
        value = self.reached(figures)
        if value is None:
            return None
        return value <= self.value if self.at_most else value >= self.value


def leg_figure(leg: str, threads: int, figure: str = "steps_per_second") -> str:
    """Name of a figure of the training benchmark."""
    return f"{leg} ({threads} torch thread{'s' * (threads > 1)}): {figure}"


def environment_targets() -> list[Target]:
    """All accounting models on, money in float64."""
    table = []
    for assets, value in ((1, 50e6), (30, 4e6)):
        for lanes in LANES:
            figure = name_of("index", assets, 0, 0, lanes)
            text = f"index observations, {assets} asset{'s' * (assets > 1)}, N={lanes}"
            table.append(Target(text, figure, value, "steps/CPU-s"))
    for lanes in LANES:
        for part in ("copying alone", "whole step"):
            text = f"bandwidth of copied windows (W=30, F=16), N={lanes}, {part}"
            table.append(Target(text, f"{copying_name(lanes)}: {part}", 0.7, "of memcpy"))
    for lanes in LANES:
        index, copied = name_of("index", 1, 0, 0, lanes), name_of("window", 1, 16, 30, lanes)
        slow, windows = torchtrade_name(16, 1, lanes), torchtrade_name(16, 30, lanes)
        table += [
            Target(f"index against TorchTrade's W=1, N={lanes}", index, 15.0, "times", slow),
            Target(f"copied windows against TorchTrade, W=30, N={lanes}", copied, 10.0, "times",
                   windows),
        ]  # fmt: skip
    single = (name_of("scalar-index", 1, 0, 0), name_of("scalar-window", 1, 16, 30))
    return table + [
        Target(f"single gymnasium environment ({kind})", figure, 0.35e6, "steps/CPU-s")
        for kind, figure in zip(("index", "window W=30 F=16"), single, strict=True)
    ]


def stream_targets() -> list[Target]:
    """Paths generated while they are played, the regime known, the market's own rules."""
    return [
        Target(
            f"fresh episodes of {market}, 1 asset, N={lanes}",
            stream_name(market, lanes),
            5e6,
            "steps/CPU-s",
        )
        for market in STREAMS
        for lanes in LANES
    ]


def training_targets() -> list[Target]:
    """The default network, the same updates per sample."""
    ours = leg_figure("ours", 1)
    table = [Target("PPO, end to end", ours, 100_000, "steps/s")]
    for threads in (1, 2):
        slow = leg_figure("sb3-dummy-window", threads)
        text = f"against SB3's PPO through its DummyVecEnv, windows, {threads} torch thread"
        table.append(Target(text + "s" * (threads > 1), ours, 4.0, "times", slow))
    return table


def feature_targets() -> list[Target]:
    """A panel of 5,000 bars and 20 symbols."""
    chosen = "65 features"
    return [
        Target(f"{chosen}, cold", f"{chosen}, cold", 1.5, "CPU-s", at_most=True),
        Target(f"{chosen}, warm", f"{chosen}, warm", 50.0, "CPU-ms", at_most=True),
        Target(f"{chosen}, one streamed bar", f"{chosen}, one streamed bar", 2.0, "ms",
               at_most=True),
        Target("time of pandas-ta-classic, as a multiple of ours",
               "33 indicators, pandas-ta-classic 0.8.32", 10.0, "times", "33 indicators, ours"),
    ]  # fmt: skip


def regime_targets() -> list[Target]:
    """One streamed bar of every detector."""
    return [
        Target(f"{name}, one streamed bar", f"{name}: update", 100.0, "us", at_most=True)
        for name in DETECTORS
    ]


def option_targets() -> list[Target]:
    """Four learned options under the residual gate, beside the flat agent."""
    table = []
    for market in options.MARKETS:
        for agent in options.EXECUTIONS:
            text = f"training with 4 options ({market}, {agent}) against the flat agent"
            table += [
                Target(f"{text}, {figure}", options.ratio_name(market, agent, figure), 0.5, "times")
                for figure in options.FIGURES
            ]
    for market in options.MARKETS:
        for agent in options.EXECUTIONS:
            for call in options.CALLS:
                for figure in options.LATENCIES[1:]:
                    name = options.call_name(market, agent, call, 1, figure)
                    table.append(Target(name, name, 1000.0, "us", at_most=True))
    return table


def continual_targets() -> list[Target]:
    """Fisher information is cheap beside the phase that it is taken of."""
    return [
        Target(name, name, 0.02, "of a phase", at_most=True)
        for agent in continual.AGENTS
        for name in (continual.share_name(agent, "ewc", "end"),)
    ]


def main_job_targets() -> list[Target]:
    """The default `perennial train`."""
    return [
        Target(f"wall time, {cache} cache of compiled code", f"{cache} cache: wall", 180.0, "s",
               at_most=True)
        for cache in ("empty", "filled")
    ]  # fmt: skip


TARGETS = {
    "environment": environment_targets,
    "streams": stream_targets,
    "training": training_targets,
    "features": feature_targets,
    "regimes": regime_targets,
    "options": option_targets,
    "continual": continual_targets,
    "main_job": main_job_targets,
}
"""Targets of each benchmark."""

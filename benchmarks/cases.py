"""The environment benchmark's lines: which worker runs with which arguments."""

from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["index", "window", "vector-index", "vector-window", "scalar-index", "scalar-window"]

SIZES = ((16, 1), (16, 30), (64, 1), (64, 30))
"""Features F and window W of the workloads with one asset."""
LANES = (1024, 4096)
"""Batch sizes N."""
COPYING_SIZE = (16, 30)
MARKETS = ((1, 16), (30, 8))
"""Assets A and features F of the index workloads, which copy no features."""
STREAMS = ("garleanu_pedersen", "ornstein_uhlenbeck", "regime_gbm")
"""Synthetic markets of the stream workloads: one asset, the regime known."""
LABELS = {
    "index": "index",
    "window": "window",
    "vector-index": "VectorEnv index",
    "vector-window": "VectorEnv window",
    "scalar-index": "Env index",
    "scalar-window": "Env window",
}


@dataclass(frozen=True)
class Case:
    """One worker.

    Attributes:
        name: what the table calls it.
        arguments: of the worker's command line.
        script: file in `benchmarks/peers`; None = our own worker.
        peer: name of the peer's virtual environment; None = ours.
        rivals: names of our cases with the same workload.
        figures: (suffix of the name, key of the worker's answer, unit) of what it measures.
    """

    name: str
    arguments: tuple[str, ...]
    script: str | None = None
    peer: str | None = None
    rivals: tuple[str, ...] = ()
    figures: tuple[tuple[str, str, str], ...] = field(
        default=(("", "steps_per_cpu_s", "steps/CPU-s"),)
    )


def name_of(mode: Mode, assets: int, features: int, window: int, lanes: int = 1) -> str:
    """Name of one of our cases; index observations do not depend on F and W."""
    size = f" F={features} W={window}" if mode.endswith("window") else ""
    batch = "" if mode.startswith("scalar") else f" N={lanes}"
    return f"perennial {LABELS[mode]} A={assets}{size}{batch}"


def face_of(name: str) -> str:
    """The value of `LABELS` in a name that `name_of` made."""
    return name.removeprefix("perennial ").partition(" A=")[0]


def torchtrade_name(features: int, window: int, lanes: int) -> str:
    """Name of a TorchTrade case."""
    return f"TorchTrade A=1 F={features} W={window} N={lanes}"


def copying_name(lanes: int) -> str:
    """Name of the case that compares copied windows with memcpy."""
    features, window = COPYING_SIZE
    return f"perennial copying A=1 F={features} W={window} N={lanes}"


def stream_name(market: str, lanes: int) -> str:
    """Name of a case that plays fresh paths of a synthetic market."""
    return f"perennial stream {market} A=1 N={lanes}"


def cases() -> list[Case]:
    """Ours and the peers', on the workloads that they share."""
    table = [case for size in SIZES for case in _one_asset(*size)]
    table += [_ours("index", a, f, 30, n) for a, f in MARKETS for n in (1, *LANES)]
    table += [_ours("vector-index", 1, 16, 30, n) for n in LANES]
    table += [_ours("scalar-index", 1, 16, 30, 1), _ours("scalar-index", 30, 8, 1, 1)]
    table += [_ours("scalar-window", 30, 8, 1, 1), _ours("window", 30, 8, 1, 1024)]
    table += [_ours("window", 30, 8, 30, 1024)]
    table += [_finrl(1), _finrl(30)]
    return table + [_copying(lanes) for lanes in LANES]


def stream_cases() -> list[Case]:
    """Fresh episodes of synthetic markets, which no peer has."""
    return [
        Case(stream_name(market, n), (f"stream-{market}", "1", "0", "1", str(n)))
        for market in STREAMS
        for n in LANES
    ]


def _one_asset(features: int, window: int) -> list[Case]:
    size = (str(features), str(window))
    single = (
        name_of("scalar-window", 1, features, window),
        name_of("window", 1, features, window, 1024),
        name_of("index", 1, 16, 30, 1024),
    )
    label = f"A=1 F={features} W={window}"
    table = [
        Case(f"gym-anytrading {label}", size, "anytrading_worker.py", "anytrading", single),
        Case(f"gym-trading-env {label}", size, "tradingenv_worker.py", "tradingenv", single),
        _ours("scalar-window", 1, features, window, 1),
    ]
    for lanes in LANES:
        name = torchtrade_name(features, window, lanes)
        rivals = (
            name_of("window", 1, features, window, lanes),
            name_of("vector-window", 1, features, window, lanes),
            name_of("index", 1, 16, 30, lanes),
        )
        table += [
            Case(name, (*size, str(lanes)), "torchtrade_worker.py", "torchtrade", rivals),
            _ours("window", 1, features, window, lanes),
            _ours("vector-window", 1, features, window, lanes),
        ]
    return table


def _finrl(assets: int) -> Case:
    rivals = (
        (
            name_of("scalar-window", 30, 8, 1),
            name_of("window", 30, 8, 1, 1024),
            name_of("index", 30, 8, 30, 1024),
        )
        if assets == 30
        else (name_of("scalar-window", 1, 16, 1), name_of("index", 1, 16, 30, 1024))
    )
    name = f"FinRL StockTradingEnv A={assets} F=8"
    return Case(name, (str(assets), "8"), "finrl_worker.py", "finrl", rivals)


def _ours(mode: Mode, assets: int, features: int, window: int, lanes: int) -> Case:
    name = name_of(mode, assets, features, window, lanes)
    return Case(name, (mode, *map(str, (assets, features, window, lanes))))


def _copying(lanes: int) -> Case:
    figures = (
        (": copying alone", "copying_share", "of memcpy"),
        (": whole step", "step_share", "of memcpy"),
        (": memcpy", "memcpy_gb_per_s", "GB/CPU-s"),
    )
    arguments = ("copying", "1", *map(str, (*COPYING_SIZE, lanes)))
    return Case(copying_name(lanes), arguments, figures=figures)

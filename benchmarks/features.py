"""Features: a panel cold and from the cache, one streamed bar, and pandas-ta-classic beside it.

    python -m benchmarks.features --rounds 5

The panel has 5,000 bars of 20 symbols, random walks with gaps, splits and dividends. `65 features`
are the first 65 features of an asset by name (no calendar); `all` are all that need no series of
the user. Peer and ours compute the same 33 indicators of the same bars one symbol after the other,
in turn in one process with one thread; the peer in its own code (`talib=False`).
"""

import argparse
import inspect
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.machine import provenance
from benchmarks.record import RESULTS, spread, write
from features import FeatureConfig, FeaturePipeline, FeatureSpec, catalogue, indicators
from features.cache.config import CacheConfig
from features.definition import Feature
from features.registry import lookup
from features.series import adjusted_series
from markets.actions import CorporateActions
from markets.bars import Bars

BARS, SYMBOLS, FEATURES, STREAMED = 5000, 20, 65, 200
PEER = "pandas-ta-classic 0.8.32"
SAME: tuple[tuple[str, str], ...] = (
    ("sma_distance", "sma"), ("ema_distance", "ema"), ("dema_distance", "dema"),
    ("tema_distance", "tema"), ("wma_distance", "wma"), ("kama_distance", "kama"),
    ("macd", "macd"), ("trix", "trix"), ("adx", "adx"), ("aroon", "aroon"), ("vortex", "vortex"),
    ("sar_distance", "psar"), ("supertrend", "supertrend"), ("rsi", "rsi"),
    ("stochastic", "stoch"), ("stochastic_rsi", "stochrsi"), ("williams_r", "willr"),
    ("cci", "cci"), ("ultimate_oscillator", "uo"), ("tsi", "tsi"), ("balance_of_power", "bop"),
    ("efficiency_ratio", "er"), ("coppock", "coppock"), ("awesome_oscillator", "ao"),
    ("atr", "atr"), ("bollinger", "bbands"), ("obv", "obv"), ("ad", "ad"), ("adosc", "adosc"),
    ("cmf", "cmf"), ("mfi", "mfi"), ("skewness", "skew"), ("kurtosis", "kurtosis"),
)  # fmt: skip
"""Our feature, and the peer's function of the same indicator; each with its own defaults."""


def panel(seed: int = 0) -> Bars:
    """Random walks with 1 % missing bars, and a split and 20 dividends of each symbol."""
    random = np.random.default_rng(seed)
    shape = (BARS, SYMBOLS)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.015, shape), axis=0))
    opened = close * np.exp(random.normal(0.0, 0.005, shape))
    arrays: dict[str, Any] = {
        "open": opened,
        "high": np.maximum(opened, close) * np.exp(random.exponential(0.004, shape)),
        "low": np.minimum(opened, close) * np.exp(-random.exponential(0.004, shape)),
        "close": close,
        "volume": random.lognormal(12.0, 0.5, shape),
    }
    for values in arrays.values():
        values[50:][random.random((BARS - 50, SYMBOLS)) < 0.01] = np.nan
    missing = np.isnan(np.stack(list(arrays.values()))).any(axis=0)
    for values in arrays.values():
        values[missing] = np.nan
    days = pd.bdate_range("2004-01-01", periods=BARS)
    symbols = tuple(f"S{number:02d}" for number in range(SYMBOLS))
    table = [
        (symbol, days[row], "split" if number == 0 else "dividend", 2.0 if number == 0 else 0.5)
        for symbol in symbols
        for number, row in enumerate(random.integers(60, BARS, 21))
    ]
    frame = pd.DataFrame(table, columns=["symbol", "ex_date", "kind", "value"])
    frame = frame.drop_duplicates(["symbol", "ex_date"])
    return Bars.from_arrays(
        days.as_unit("ns").asi8, symbols, **arrays, actions=CorporateActions.from_pandas(frame)
    )


def own_features() -> list[Feature]:
    """The package's features that need no series of the user."""
    families = [getattr(indicators, name).__name__ for name in indicators.__all__]
    return [
        feature
        for feature in catalogue()
        if feature.function.__module__ in families and feature.family != "exogenous"
    ]


def pipeline(features: list[Feature], folder: str | None) -> FeaturePipeline:
    """A pipeline of features with their defaults; without a folder nothing is cached."""
    cache = CacheConfig(kind="none") if folder is None else CacheConfig(path=folder)
    specs = tuple(FeatureSpec(name=feature.name) for feature in features)
    return FeaturePipeline(FeatureConfig(features=specs, cache=cache))


def cpu(work: Callable[[], object]) -> float:
    """CPU-seconds of a call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def peer_indicators(frames: list[pd.DataFrame]) -> None:
    """The peer's indicators of every symbol."""
    import pandas_ta_classic as ta

    for frame in frames:
        for _, name in SAME:
            function: Any = getattr(ta, name)
            names = inspect.signature(function).parameters
            given: dict[str, Any] = {key: frame[key] for key in frame.columns if key in names}
            if "open_" in names:
                given["open_"] = frame["open"]
            if "talib" in names:
                given["talib"] = False
            function(**given)


def our_indicators(series: list[Any]) -> None:
    """Ours of every symbol, values in [bars, columns]."""
    bound = [lookup(name).bind({}) for name, _ in SAME]
    for columns in series:
        for feature in bound:
            feature.compute(columns)


def measure(rounds: int) -> dict[str, dict[str, Any]]:
    """All figures."""
    bars = panel()
    chosen = {
        f"{FEATURES} features": [f for f in own_features() if f.scope == "asset"][:FEATURES],
        f"{len(own_features())} features without series of the user": own_features(),
    }
    found: dict[str, tuple[list[float], str]] = {}

    def note(name: str, value: float, unit: str) -> None:
        found.setdefault(name, ([], unit))[0].append(value)

    series = [item.columns for item in adjusted_series(bars)]
    names = ("open", "high", "low", "close", "volume")
    frames = [pd.DataFrame({key: columns[key] for key in names}) for columns in series]
    our_indicators(series)
    for number in range(rounds):
        for label, features in chosen.items():
            for name, value, unit in computed(features, bars, first=number == 0):
                note(f"{label}, {name}", value, unit)
        note("33 indicators, ours", cpu(lambda: our_indicators(series)), "CPU-s")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            note(f"33 indicators, {PEER}", cpu(lambda: peer_indicators(frames)), "CPU-s")
    return {name: spread(values) | {"unit": unit} for name, (values, unit) in found.items()}


def computed(
    features: list[Feature], bars: Bars, *, first: bool
) -> Iterator[tuple[str, float, str]]:
    """Cold, warm, scaled and streamed, each with its unit."""
    with tempfile.TemporaryDirectory() as folder:
        cold, kept = pipeline(features, None), pipeline(features, folder)
        if first:
            cold.raw(bars)  # loads the compiled code
        yield "cold", cpu(lambda: cold.raw(bars)), "CPU-s"
        kept.raw(bars)
        yield "warm", 1e3 * cpu(lambda: kept.raw(bars)), "CPU-ms"
        kept.fit(bars, (0, BARS // 2))
        yield "warm and scaled", 1e3 * cpu(lambda: kept.transform(bars)), "CPU-ms"
    yield "one streamed bar", streamed(kept, bars), "ms"


def streamed(fitted: FeaturePipeline, bars: Bars) -> float:
    """Median milliseconds of an update for all symbols."""
    fitted.prime(bars.rows(0, BARS - STREAMED))
    times = []
    for row in range(BARS - STREAMED, BARS):
        bar = bars.rows(row, row + 1)
        started = time.perf_counter()
        fitted.update(bar)
        times.append(time.perf_counter() - started)
    return 1e3 * float(np.median(times))


def main() -> None:
    """Measure and write `features.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of everything (5)")
    parser.add_argument("--output", type=Path, default=RESULTS / "features.json")
    options = parser.parse_args()
    record = provenance("benchmarks.features")
    record["figures"] = measure(options.rounds)
    write(options.output, record)


if __name__ == "__main__":
    main()

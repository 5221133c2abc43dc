"""Series of one asset's own bars in which rounding shows, and a step that is put down at times."""

from itertools import pairwise
from typing import Any

import numpy as np
from talipp.ohlcv import OHLCV

from features.definition import Array, BoundFeature
from features.registry import lookup
from features.step_driver import sweep
from tests.features.both_forms import batch

Series = dict[str, Array]

KINDS = ("random", "quiet", "ticks", "halts", "long", "constant")


def own_series(kind: str, seed: int = 0, count: int = 1500) -> Series:
    """A random walk: long, quiet and dear, in coarse ticks, with halts of 60 bars, or all halt."""
    rng = np.random.default_rng(seed)
    count = 5000 if kind == "long" else count
    volatility = 1e-5 if kind == "quiet" else 0.02
    return_T = rng.normal(0.0, volatility, count)
    halt_T = np.repeat(rng.random(count // 60 + 1) < 0.3, 60)[:count]
    halted_T = halt_T if kind == "halts" else np.full(count, kind == "constant")
    return_T[halted_T] = 0.0
    close_T = (3e4 if kind == "quiet" else 0.1) * np.exp(np.cumsum(return_T))
    spread_T = np.where(halted_T, 0.0, volatility)
    open_T = close_T * np.exp(spread_T * rng.normal(0.0, 0.5, count))
    high_T = np.maximum(open_T, close_T) * np.exp(spread_T * rng.exponential(0.3, count))
    low_T = np.minimum(open_T, close_T) * np.exp(-spread_T * rng.exponential(0.3, count))
    series = {"open": open_T, "high": high_T, "low": low_T, "close": close_T}
    if kind == "ticks":
        return {name: np.maximum(np.round(price_T, 3), 0.001) for name, price_T in series.items()}
    return series


def step_form(bound: BoundFeature, series: Series, cuts: tuple[int, ...] = ()) -> Array:
    """Values (T, columns) of the step, its state put down and taken up again at the cuts."""
    step = bound.feature.step
    assert step is not None
    inputs = [series[name] for name in bound.feature.inputs]
    bar_TI = np.ascontiguousarray(np.stack(inputs, axis=1))
    parameters = np.array([float(value) for value in bound.parameters.values()])
    state = np.zeros(max(1, step.state(**bound.parameters)))
    out_TK = np.full((len(bar_TI), len(bound.columns)), np.nan)
    for first, last in pairwise((0, *cuts, len(bar_TI))):
        sweep(step.address, bar_TI[first:last], parameters, state, out_TK[first:last])
        state = state.copy()
    return out_TK


def require_equal_forms(name: str, kind: str, seed: int = 0, **parameters: float) -> None:
    """Both forms agree to 1e-9 from the warm-up on, before which the batch form has no value."""
    bound, series = lookup(name).bind(parameters), own_series(kind, seed)
    batch_TK, step_TK = batch(bound, series), step_form(bound, series)
    assert np.isnan(batch_TK[: bound.warmup]).all()
    assert np.isfinite(batch_TK[bound.warmup :]).all()
    np.testing.assert_allclose(
        step_TK[bound.warmup :], batch_TK[bound.warmup :], rtol=1e-9, atol=1e-14
    )


def require_restart(name: str) -> None:
    """The state is all that a restart needs, at the first bar, in the warm-up and after it."""
    bound, series = lookup(name).bind({}), own_series("halts", count=400)
    whole_TK = step_form(bound, series)
    parts_TK = step_form(bound, series, cuts=(0, 1, 2, 3, 30, 31, 150, 300))
    assert np.isfinite(whole_TK[bound.warmup :]).all()
    assert whole_TK.tobytes() == parts_TK.tobytes()


def require_scale_to_matter_not(name: str) -> None:
    """In a halt so long that what moved before is forgotten, too."""
    bound, series = lookup(name).bind({}), own_series("random", count=1200)
    for price_T in series.values():
        price_T[300:1000] = series["close"][300]
    scaled = {column: price_T * 7.3e-7 for column, price_T in series.items()}
    np.testing.assert_allclose(batch(bound, scaled), batch(bound, series), rtol=1e-9, atol=1e-12)


def candles(series: Series) -> list[OHLCV]:
    """The bars as talipp wants them."""
    columns = [series[name].tolist() for name in ("open", "high", "low", "close")]
    return [OHLCV(*row) for row in zip(*columns, strict=True)]


def values(peer: Any, field: str = "") -> Array:
    """Values of a talipp indicator, NaN where it has none."""
    found = [getattr(value, field, None) if field else value for value in peer]
    return np.array([np.nan if value is None else value for value in found], np.float64)

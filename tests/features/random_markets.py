"""Random markets with every kind of trouble: gaps, late starts, early ends, splits, dividends."""

from typing import Any

import numpy as np
import pandas as pd

from markets.actions import CorporateActions
from markets.bars import Bars
from markets.instruments import Instrument
from markets.published import PublishedSeries

FIELDS = ("open", "high", "low", "close", "volume")
SECTORS = ("energy", "banks", "energy", None)


def weekdays(count: int) -> np.ndarray:
    """Weekdays from 2015-01-01 at midnight UTC, in ns."""
    return np.asarray(pd.bdate_range("2015-01-01", periods=count).as_unit("ns").asi8)


def random_bars(
    seed: int = 0, num_bars: int = 160, num_assets: int = 3, *, trouble: bool = True
) -> Bars:
    """Random walks; with trouble: gaps, a late start, an early end, splits and dividends.

    Of more than three assets the fourth is halted for 20 bars, and all but some have a sector.
    """
    rng = np.random.default_rng(seed)
    shape = (num_bars, num_assets)
    walk_TA = np.cumsum(rng.normal(0.0, 0.02, shape), axis=0)
    close_TA = np.exp(walk_TA) * rng.uniform(5.0, 500.0, num_assets)
    open_TA = close_TA * np.exp(rng.normal(0.0, 0.01, shape))
    high_TA = np.maximum(open_TA, close_TA) * np.exp(rng.exponential(0.005, shape))
    low_TA = np.minimum(open_TA, close_TA) * np.exp(-rng.exponential(0.005, shape))
    volume_TA = rng.lognormal(12.0, 0.5, shape)
    columns = (open_TA, high_TA, low_TA, close_TA, volume_TA)
    arrays: dict[str, Any] = dict(zip(FIELDS, columns, strict=True))
    ts_event = weekdays(num_bars)
    symbols = tuple(f"S{asset}" for asset in range(num_assets))
    if not trouble:
        return Bars.from_arrays(ts_event, symbols, **arrays)
    missing_TA = rng.random(shape) < 0.05
    missing_TA[0, 0] = False
    if num_assets > 1:
        missing_TA[: num_bars // 4, 1] = True
    if num_assets > 2:
        missing_TA[-num_bars // 5 :, 2] = True
    if num_assets > 3:
        missing_TA[num_bars // 2 : num_bars // 2 + 20, 3] = True
        instruments = [Instrument(s, sector=SECTORS[a % 4]) for a, s in enumerate(symbols)]
    else:
        instruments = [Instrument(symbol) for symbol in symbols]
    actions = random_actions(rng, ts_event, symbols)
    for array in arrays.values():
        array[missing_TA] = np.nan
    arrays |= {"actions": actions, "instruments": instruments}
    return Bars.from_arrays(ts_event, symbols, **arrays)


def random_series(seed: int, bars: Bars, name: str = "vix") -> PublishedSeries:
    """Published at random times (some at a bar's own, many between) from the 20th bar on."""
    rng = np.random.default_rng(seed)
    moments = rng.choice(bars.ts_event[20:], size=bars.num_bars // 2, replace=False)
    moments[::2] -= rng.integers(1, 3 * 86_400 * 10**9, size=len(moments[::2]))
    moments = np.unique(moments)
    values = 20.0 + np.cumsum(rng.normal(size=len(moments)))
    return PublishedSeries(name=name, ts_published=moments, values=values)


def random_actions(
    rng: np.random.Generator, ts_event: np.ndarray, symbols: tuple[str, ...]
) -> CorporateActions:
    """For each symbol two splits and ten dividends, weekends included."""
    table = []
    for symbol in symbols:
        days = rng.choice(np.arange(1, len(ts_event) * 7 // 5 - 2), size=12, replace=False)
        for number, day in enumerate(days):
            kind = "split" if number < 2 else "dividend"
            value = rng.choice([0.1, 2.0, 7.0]) if number < 2 else rng.uniform(0.1, 1.0)
            table.append((symbol, int(ts_event[0]) + int(day) * 86_400 * 10**9, kind, value))
    columns = list(zip(*table, strict=True))
    return CorporateActions(
        columns[0], np.array(columns[1], np.int64), columns[2], np.array(columns[3])
    )


def after_replaced_by_noise(bars: Bars, last: int, seed: int) -> Bars:
    """The same bars up to row ``last``; prices, volumes, gaps and actions after it are noise."""
    noise = random_bars(seed, bars.num_bars, bars.num_assets)
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(bars, name)[: last + 1], getattr(noise, name)[last + 1 :]])
        for name in FIELDS
    }
    now = int(bars.ts_event[last])
    known, unknown = bars.actions, noise.actions
    frames = [known.to_pandas()[known.ex_ts <= now], unknown.to_pandas()[unknown.ex_ts > now]]
    actions = CorporateActions.from_pandas(pd.concat(frames))
    arrays |= {"actions": actions, "instruments": bars.instruments}
    return Bars.from_arrays(bars.ts_event, bars.symbols, **arrays)


def flat_bars(close_TA: list[list[float]], actions: list[tuple[str, int, str, float]]) -> Bars:
    """Bars of one price each, on weekdays from Thursday 2015-01-01; actions name their row."""
    close = np.array(close_TA)
    ts_event = weekdays(len(close))
    days = pd.to_datetime(ts_event)
    table = [(symbol, days[row], kind, value) for symbol, row, kind, value in actions]
    frame = pd.DataFrame(table, columns=["symbol", "ex_date", "kind", "value"])
    return Bars.from_arrays(
        ts_event,
        tuple("AB"[: close.shape[1]]),
        open=close,
        high=close,
        low=close,
        close=close,
        volume=np.where(np.isnan(close), np.nan, 600.0),
        actions=CorporateActions.from_pandas(frame),
    )

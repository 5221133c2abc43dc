"""New bars behind those of a run: where they come from, and whether they go on with them.

Dimensions: T bars, A assets.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import conf
from markets.actions import CorporateActions
from markets.bars import Bars
from markets.manifest import Manifest
from markets.sources.config import DataConfig, load_config, parse_config
from markets.sources.files import FilesSource
from markets.sources.protocol import Dataset
from training.errors import ConfigError

_FIELDS = ("open", "high", "low", "close", "volume")
_SAME = 1e-6
"""Relative difference of closes above which two sources tell of different prices."""
_PAUSE = 2.0
"""A pause between old and new bars is told where it is this many times the longest before it."""
_NEW = "+new"
"""Ending of a joined data set's name."""


def new_data(own: DataConfig, name: str, adjusted: str) -> DataConfig:
    """The data that a word of the command line means.

    Args:
        own: of the run; a file or folder is read as the run's files are, if it has learned from
            files.
        name: of a group of the configuration, or of a file or folder.
        adjusted: how the run's prices are, which those of files count as, where nothing is said.

    Raises:
        ConfigError: neither is there.
    """
    path = Path(name).expanduser()
    if path.exists():
        if isinstance(own, FilesSource):
            return replace(own, path=path, start=None, end=None, sha256=None)
        return parse_config(
            {"kind": "files", "path": str(path), "adjusted": adjusted}, where="--data"
        )
    folder = Path(str(conf.__file__)).parent / "data"
    group = folder / f"{name}.yaml"
    if not group.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise ConfigError(f"--data: expected a file, a folder, or one of {known}, found {name!r}")
    return load_config(group)


def extended(old: Dataset, new: Dataset) -> Bars:
    """The old bars, and those of the new ones that came later.

    Args:
        old: of the run.
        new: newer bars of the same symbols; it may hold the old ones too, and other symbols.

    Returns:
        Bars (T, A) of the run's symbols, whose first rows are the old ones.

    Raises:
        ConfigError: symbols without new bars, none later than the old ones, or other prices where
            both have bars.
    """
    first, second = old.bars, new.bars
    lacking = [symbol for symbol in first.symbols if symbol not in second.symbols]
    if lacking:
        raise ConfigError(
            f"--data: expected bars of {', '.join(first.symbols)}, the run's symbols, found none "
            f"of {', '.join(lacking)}"
        )
    if old.manifest.adjusted != new.manifest.adjusted:
        raise ConfigError(
            f"--data: expected prices adjusted as the run's ({old.manifest.adjusted}), found "
            f"{new.manifest.adjusted}"
        )
    second = second.select(first.symbols)
    _require_same_prices(first, second)
    last = int(first.ts_event[-1])
    start = int(np.searchsorted(second.ts_event, last, side="right"))
    if start == second.num_bars:
        raise ConfigError(
            f"--data: expected bars after {_day(last)}, the last of the run's, found none after "
            f"{_day(int(second.ts_event[-1]))}"
        )
    absent = np.flatnonzero(second.missing[start:].all(axis=0))
    if len(absent):
        names = ", ".join(first.symbols[asset] for asset in absent)
        raise ConfigError(f"--data: expected new bars of every symbol, found none of {names}")
    arrays = {
        name: np.concatenate([getattr(first, name), getattr(second, name)[start:]])
        for name in _FIELDS
    }
    known, later = first.actions, second.actions
    frames = [known.to_pandas()[known.ex_ts <= last], later.to_pandas()[later.ex_ts > last]]
    return Bars.from_arrays(
        np.concatenate([first.ts_event, second.ts_event[start:]]),
        first.symbols,
        actions=CorporateActions.from_pandas(pd.concat(frames)),
        instruments=first.instruments,
        **arrays,
    )


def grown(old: Dataset, new: Dataset) -> Dataset:
    """The old data set, and the bars of the new one that came later.

    Raises:
        ConfigError: as `extended`.
    """
    bars, known = extended(old, new), old.manifest
    sources = dict.fromkeys([*known.source.split("; "), new.manifest.source])
    manifest = Manifest.of(
        bars,
        dataset=f"{known.dataset.removesuffix(_NEW)}{_NEW}",
        source="; ".join(sources),
        licence=new.manifest.licence,
        adjusted=known.adjusted,
    )
    return Dataset(bars=bars, manifest=manifest)


def pause(bars: Bars, first: int) -> str | None:
    """What to say where far more time lies between old and new bars than between any old ones.

    Args:
        bars: joined.
        first: row of the first new one.

    Returns:
        A sentence; None where nothing is unusual.
    """
    spaces_T = np.diff(bars.ts_event[: first + 1])
    longest, here = int(spaces_T[:-1].max(initial=0)), int(spaces_T[-1])
    if here <= _PAUSE * longest:
        return None
    return (
        f"no bars between {_day(int(bars.ts_event[first - 1]))} and "
        f"{_day(int(bars.ts_event[first]))}, the longest pause by far: one return spans all of it, "
        "and so do features that look back; if bars are lacking, add them first"
    )


def _require_same_prices(old: Bars, new: Bars) -> None:
    """Refuse bars that tell of other prices, or of other times, where the run's own are."""
    common, rows, others = np.intersect1d(old.ts_event, new.ts_event, return_indices=True)
    if not len(common):
        if new.ts_event[0] <= old.ts_event[-1]:
            raise ConfigError(
                f"--data: expected bars at the times of the run's up to "
                f"{_day(int(old.ts_event[-1]))}, or later ones alone, found none at its times from "
                f"{_day(int(new.ts_event[0]))} on"
            )
        return
    one_TA, two_TA = old.close[rows], new.close[others]
    differ = np.abs(two_TA - one_TA) > _SAME * np.abs(one_TA)  # NaN, a missing bar, is no price
    if differ.any():
        row, asset = (int(place) for place in np.argwhere(differ)[0])
        raise ConfigError(
            f"--data: {old.symbols[asset]} on {_day(int(common[row]))}: expected the close "
            f"{one_TA[row, asset]:g} of the run's data, found {two_TA[row, asset]:g}; other "
            "adjustments for splits and dividends make other prices"
        )


def _day(ts_event: int) -> str:
    return str(np.datetime64(ts_event, "ns").astype("datetime64[D]"))

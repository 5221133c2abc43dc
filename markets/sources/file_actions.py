"""Where a set of files keeps its splits and dividends."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from annotated_types import Gt
from numpy.typing import NDArray
from pydantic import ConfigDict, field_validator
from pydantic.dataclasses import dataclass as config_dataclass

from markets.actions import CorporateActions, derive_actions
from markets.calendars import NS_PER_DAY
from markets.errors import MarketDataError
from markets.sources.protocol import DataFileError
from markets.sources.tables import Table, read_table, to_numbers

__all__ = ["ActionColumns", "ActionsFile", "ActionsSource", "AdjustedClose", "read_actions"]


@config_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ActionsFile:
    """A file of its own: one action a row."""

    kind: Literal["file"] = "file"
    """Discriminator."""
    path: Path
    """CSV or Parquet; in a YAML file relative to it."""
    symbol: str = "symbol"
    """Column of the symbol."""
    ex_date: str = "ex_date"
    """Column of the ex-date, ISO 8601."""
    action: str = "kind"
    """Column that says ``split`` or ``dividend``."""
    value: str = "value"
    """Column of the value: new shares per old share, or cash per share."""

    @field_validator("path")
    @classmethod
    def _expanded(cls, path: Path) -> Path:
        return path.expanduser()

    @property
    def extra(self) -> dict[str, str]:
        """Columns of the price file that it needs: none."""
        return {}


@config_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ActionColumns:
    """Columns of the price file, filled on ex-dates."""

    kind: Literal["columns"] = "columns"
    """Discriminator."""
    split: str | None = None
    """Column of new shares per old share; 1, 0 and nothing mean no split."""
    dividend: str | None = None
    """Column of cash per share in the shares of that day; 0 and nothing mean none."""

    @property
    def extra(self) -> dict[str, str]:
        """Columns of the price file that it needs."""
        named = {"split": self.split, "dividend": self.dividend}
        return {name: column for name, column in named.items() if column is not None}


@config_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class AdjustedClose:
    """Derived from a column of closes adjusted for splits and dividends."""

    kind: Literal["adj_close"] = "adj_close"
    """Discriminator."""
    column: str = "adj_close"
    """Column of the adjusted close."""
    convention: Literal["ex_close", "previous_close"] = "previous_close"
    """The provider's dividend formula: previous_close (CRSP, Yahoo) or ex_close (Quandl WIKI)."""
    tolerance: Annotated[float, Gt(0)] = 1e-6
    """Relative steps of adjusted/raw up to this are rounding; 5e-4 for prices in cents."""

    @property
    def extra(self) -> dict[str, str]:
        """Columns of the price file that it needs."""
        return {"adj_close": self.column}


ActionsSource = ActionsFile | ActionColumns | AdjustedClose
"""Where splits and dividends are, by ``kind``."""


def read_actions(
    config: ActionsSource | None, frame: pd.DataFrame, where: Path
) -> CorporateActions:
    """Return the actions of a set of bars.

    Args:
        config: Where they are; None: there are none.
        frame: The bars, one a row: ts (ns UTC), symbol, close, and the columns of `extra`.
        where: The price file or folder, for errors.

    Returns:
        The actions of the frame's symbols.

    Raises:
        DataFileError: A file, column or value that cannot be read as an action.
    """
    if config is None:
        return CorporateActions.empty()
    if isinstance(config, ActionsFile):
        return _from_file(config).select([str(symbol) for symbol in frame["symbol"].unique()])
    try:
        return (
            _from_columns(frame)
            if isinstance(config, ActionColumns)
            else _from_adjusted(config, frame)
        )
    except MarketDataError as error:
        raise DataFileError(f"{where}: {error}") from error


def _from_file(config: ActionsFile) -> CorporateActions:
    if not config.path.is_file():
        raise DataFileError(f"{config.path}: expected a file of actions, found nothing")
    table = read_table(config.path)
    named = {
        config.symbol: "symbol",
        config.ex_date: "ex_date",
        config.action: "kind",
        config.value: "value",
    }
    absent = [column for column in named if column not in table.frame.columns]
    if absent:
        raise DataFileError(
            f"{config.path}: expected the columns {list(named)}, found {list(table.frame.columns)}"
        )
    frame = table.frame[list(named)].rename(columns=named)
    frame["value"] = to_numbers(table, config.value)
    frame["kind"] = frame["kind"].astype("str").str.strip().str.lower()
    _check_kinds(table, frame["kind"], config.action)
    try:
        return CorporateActions.from_pandas(frame)
    except MarketDataError as error:
        raise DataFileError(f"{config.path}: {error}") from error


def _check_kinds(table: Table, kinds: "pd.Series[str]", column: str) -> None:
    strange = np.flatnonzero(~kinds.isin(["split", "dividend"]))
    if len(strange):
        index = int(strange[0])
        raise table.fault(index, column, "split or dividend", kinds.iloc[index])


@dataclass(frozen=True)
class _Rows:
    symbol: list[str]
    ex_ts: NDArray[np.int64]
    value: NDArray[np.float64]


def _from_columns(frame: pd.DataFrame) -> CorporateActions:
    days = frame["ts"].to_numpy(np.int64) // NS_PER_DAY * NS_PER_DAY
    parts: list[tuple[Literal["split", "dividend"], _Rows]] = []
    for kind, nothing in (("split", (0.0, 1.0)), ("dividend", (0.0,))):
        if kind not in frame.columns:
            continue
        values = frame[kind].to_numpy(np.float64)
        at = np.flatnonzero(~np.isnan(values) & ~np.isin(values, nothing))
        rows = _Rows([str(frame["symbol"].iloc[i]) for i in at], days[at], values[at])
        parts.append(("split" if kind == "split" else "dividend", rows))
    return CorporateActions(
        tuple(symbol for _, rows in parts for symbol in rows.symbol),
        np.concatenate([np.empty(0, np.int64), *(rows.ex_ts for _, rows in parts)]),
        tuple(kind for kind, rows in parts for _ in rows.symbol),
        np.concatenate([np.empty(0), *(rows.value for _, rows in parts)]),
    )


def _from_adjusted(config: AdjustedClose, frame: pd.DataFrame) -> CorporateActions:
    wide = frame.drop_duplicates(["symbol", "ts"]).pivot(
        index="ts", columns="symbol", values=["close", "adj_close"]
    )
    return derive_actions(
        wide.index.to_numpy(np.int64),
        [str(symbol) for symbol in wide["close"].columns],
        wide["close"].to_numpy(np.float64),
        wide["adj_close"].to_numpy(np.float64),
        convention=config.convention,
        tolerance=config.tolerance,
    )

"""Bars from your own CSV or Parquet files: one file or a folder, long or wide.

A configuration as YAML, read by `markets.sources.load_config`:

    kind: files
    path: prices/            # a file, or a folder; relative to the YAML file
    columns: {timestamp: date, close: last}
    timestamps: {timezone: America/New_York, stamp: start, bar: 1h}
    instrument: {calendar: XNYS}
    actions: {kind: file, path: actions.csv}
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass as config_dataclass

from markets.actions import CorporateActions
from markets.bars import Bars
from markets.instruments import Instrument
from markets.sources.file_actions import ActionsFile, ActionsSource, read_actions
from markets.sources.layouts import (
    FIELDS,
    Columns,
    FileRows,
    LongLayout,
    ReadSpec,
    WideLayout,
)
from markets.sources.protocol import (
    DataFileError,
    Dataset,
    Provenance,
    SourceConfig,
    assemble,
)
from markets.sources.rows import read_rows
from markets.sources.tables import data_files
from markets.sources.timestamps import TimestampConfig
from markets.validation import BarsError, Fault, Repair

__all__ = ["FilesSource", "InstrumentConfig"]

_FRAME_ROW = re.compile(r"\brow (\d+)")


@config_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class InstrumentConfig:
    """What is known of an instrument besides its prices; see `markets.instruments.Instrument`."""

    tick: Annotated[float, Gt(0)] = 0.01
    """Smallest price step, in the currency."""
    lot: Annotated[float, Ge(0)] = 0.0
    """Smallest tradable quantity, shares; 0: fractions."""
    currency: str = "USD"
    """Currency of prices and dividends."""
    calendar: str | None = None
    """exchange_calendars name ("XNYS"): daily bars are stamped at its close; None: at midnight."""
    additive: bool = False
    """Whether prices may be zero or negative."""
    sector: str | None = None
    """Group of companies, such as "energy", whose assets features compare; None: not known."""

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument of a symbol."""
        return Instrument(
            symbol=symbol,
            tick=self.tick,
            lot=self.lot,
            currency=self.currency,
            calendar=self.calendar,
            additive=self.additive,
            sector=self.sector,
        )


@config_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FilesSource(SourceConfig):
    """Bars from CSV (plain or gzip, UTF-8) or Parquet files."""

    kind: Literal["files"] = "files"
    """Discriminator."""
    path: Path
    """A file, or a folder of files (one a symbol, or mixed)."""
    pattern: str = "*"
    """Glob of the files within a folder."""
    name: str | None = None
    """Identifier in the manifest; None: the name of the file or folder."""
    licence: str = "not stated"
    """Terms of the data, for the manifest."""
    layout: Annotated[LongLayout | WideLayout, Field(discriminator="kind")] = LongLayout()
    """Whether a row is one symbol's bar (long) or all symbols at one time (wide)."""
    columns: Columns = Columns()
    """Names of the columns; what is not named is found by its usual names, whatever their case."""
    timestamps: TimestampConfig = TimestampConfig()
    """How the file writes the time of a bar."""
    instrument: InstrumentConfig = InstrumentConfig()
    """What is known of every instrument."""
    instruments: Mapping[str, InstrumentConfig] = Field(default_factory=dict)
    """Instruments that differ, by symbol."""
    actions: Annotated[ActionsSource | None, Field(discriminator="kind")] = None
    """Where splits and dividends are; None: there are none."""
    adjusted: Literal["none", "split", "all"] = "none"
    """What the file's prices are adjusted for."""
    volume: Annotated[float, Ge(0)] | None = None
    """Volume of every bar where the file has none; None: a file without volume is refused."""
    scale: Mapping[Literal["open", "high", "low", "close", "volume"], Annotated[float, Gt(0)]] = (
        Field(default_factory=dict)
    )
    """Factors on columns, such as ``{volume: 100}`` for round lots."""
    duplicates: Literal["error", "first", "last"] = "error"
    """Several rows of one symbol and time (vintages of a file): refuse, or keep one."""
    repair: Literal["drop", "mask", "clip"] | None = None
    """What to do with faulty bars; recorded in the manifest; None: refuse."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """What separates the columns of a CSV file."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of a CSV file."""

    @field_validator("path")
    @classmethod
    def _expanded(cls, path: Path) -> Path:
        return path.expanduser()

    def load(self) -> Dataset:
        """Read, validate and select the bars.

        Returns:
            The data set.

        Raises:
            DataFileError: A file, row or cell that cannot be read, or bars that are at fault.
            SelectionError: Symbols or a span that the data does not have, or dates that are no
                session of the calendar.
            ManifestError: The bars are not those that `sha256` expects.
        """
        rows = self._without_duplicates(
            _joined([read_rows(p, self._spec()) for p in self._files()])
        )
        actions = read_actions(self.actions, rows.frame, self.path)
        bars = self._bars(rows, actions)
        count = len(rows.files)
        provenance = Provenance(
            dataset=self.name or self.path.name,
            source=f"{count} file{'s' * (count > 1)}: {self.path}",
            licence=self.licence,
            adjusted=self.adjusted,
            notes=rows.notes,
        )
        return assemble(bars, provenance, self)

    def _files(self) -> list[Path]:
        apart = self.actions.path if isinstance(self.actions, ActionsFile) else None
        return [path for path in data_files(self.path, self.pattern) if path != apart]

    def _spec(self) -> ReadSpec:
        return ReadSpec(
            layout=self.layout,
            columns=self.columns,
            timestamps=self.timestamps,
            extra=self.actions.extra if self.actions is not None else {},
            volume=self.volume,
            scale={str(field): factor for field, factor in self.scale.items()},
            delimiter=self.delimiter,
            decimal=self.decimal,
            lenient=self.repair is not None,
        )

    def _bars(self, rows: "JoinedRows", actions: CorporateActions) -> Bars:
        symbols = sorted(map(str, rows.frame["symbol"].unique()))
        instruments = [self.instruments.get(s, self.instrument).instrument(s) for s in symbols]
        # Dates stay naive and become closes of the calendar; times are instants already.
        index = pd.DatetimeIndex(rows.frame["ts"], tz=None if rows.daily else "UTC")
        frame = rows.frame[["symbol", *FIELDS]].set_axis(index.rename("ts_event"), axis=0)
        try:
            bars = Bars.from_pandas(
                frame, instruments=instruments, actions=actions, repair=self.repair
            )
        except BarsError as error:
            raise DataFileError(rows.translated(error)) from error
        repairs = tuple(rows.placed(repair) for repair in bars.repairs)
        return replace(bars, repairs=repairs) if repairs else bars

    def _without_duplicates(self, rows: "JoinedRows") -> "JoinedRows":
        if self.duplicates == "error":
            rows.refuse_duplicates_across_files()
            return rows
        doubled = rows.frame.duplicated(["symbol", "ts"], keep=self.duplicates).to_numpy()
        if not doubled.any():
            return rows
        note = f"{int(doubled.sum())} rows repeat a symbol and time: the {self.duplicates} was kept"
        return rows.take(~doubled, note)


@dataclass(frozen=True)
class JoinedRows:
    """The rows of all files, one bar each, and the place of each.

    Attributes:
        frame: Columns ts (int64 ns UTC), symbol, OHLCV, and those that the actions need.
        files: The files, by number.
        file: Number of each row's file, shape (N,).
        row: Row number in that file, shape (N,).
        daily: Whether ts are dates of sessions.
        notes: For the manifest.
    """

    frame: pd.DataFrame
    files: Sequence[Path]
    file: NDArray[np.int64]
    row: NDArray[np.int64]
    daily: bool
    notes: tuple[str, ...]

    def take(self, keep: NDArray[np.bool_], note: str) -> "JoinedRows":
        """Return some of the rows, with a note that says why."""
        frame = self.frame[keep].reset_index(drop=True)
        notes = (*self.notes, note)
        return JoinedRows(frame, self.files, self.file[keep], self.row[keep], self.daily, notes)

    def place(self, index: int) -> str:
        """Return file and row of a row."""
        return f"{self.files[self.file[index]]}: row {self.row[index]}"

    def refuse_duplicates_across_files(self) -> None:
        """Refuse a bar that two files give; within a file the bars' own validation does.

        Raises:
            DataFileError: Two files hold a bar of one symbol and time.
        """
        if len(self.files) == 1:
            return
        doubled = np.flatnonzero(self.frame.duplicated(["symbol", "ts"], keep="first"))
        for index in map(int, doubled):
            symbol, ts = self.frame["symbol"].iloc[index], self.frame["ts"].iloc[index]
            same = (self.frame["symbol"] == symbol) & (self.frame["ts"] == ts)
            first = int(np.flatnonzero(same.to_numpy())[0])
            if self.file[first] != self.file[index]:
                raise DataFileError(
                    f"{self.place(index)}: expected one bar of {symbol} at {pd.Timestamp(ts)},"
                    f" found another in {self.place(first)}; set duplicates: first or last"
                )

    def translated(self, error: BarsError) -> str:
        """Return the message of an error about bars with files and their rows."""
        if not error.faults:
            return f"{self.files[0].parent if len(self.files) > 1 else self.files[0]}: {error}"
        lines = [f"{error.total} faults; the first {len(error.faults)}:"]
        lines += [f"  {self._fault(fault)}" for fault in error.faults]
        rest = str(error).splitlines()[1 + len(error.faults) :]
        return "\n".join([*lines, *rest])

    def placed(self, repair: Repair) -> Repair:
        """Return a repair whose texts name files and their rows."""
        first = [_FRAME_ROW.sub(lambda m: self.place(int(m[1])), text) for text in repair.first]
        return replace(repair, first=tuple(first))

    def _fault(self, fault: Fault) -> str:
        column = f"{fault.symbol}.{fault.column}" if fault.symbol else fault.column
        expected = _FRAME_ROW.sub(lambda m: f"row {self.row[int(m[1])]}", fault.expected)
        return f"{self.place(fault.row)}, column {column}: expected {expected}, found {fault.found}"


def _joined(parts: Sequence[FileRows]) -> JoinedRows:
    daily = {part.daily for part in parts}
    if len(daily) > 1:
        dated = next(p.path for p in parts if p.daily)
        timed = next(p.path for p in parts if not p.daily)
        raise DataFileError(
            f"{timed}: expected dates as in {dated}, found times; daily and intraday bars do not"
            " share an axis (or set timestamps.frequency)"
        )
    return JoinedRows(
        frame=pd.concat([part.frame for part in parts], ignore_index=True),
        files=[part.path for part in parts],
        file=np.repeat(np.arange(len(parts)), [len(part.frame) for part in parts]),
        row=np.concatenate([part.row for part in parts]),
        daily=daily.pop(),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )

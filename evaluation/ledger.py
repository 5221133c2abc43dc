"""The ledger: what an account did, bar by bar, and every trade; the source of every figure.

A ledger is immutable and checks itself when it is made and when it is read: its axes agree, its
values are finite, and on every bar the change of equity equals the accounting terms,

    equity change = pnl + dividends - fees - spread - slippage - borrow - financing

to a relative 1e-9. On disk it is one Parquet file: a row for each bar, the trades of the bar as a
nested list, and the metadata as JSON in the schema. The file appears whole or not at all.

Dimensions: E = T + 1 rows (the start and T bars), A assets, M trades.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from evaluation import metrics
from markets.atomic import whole_file

__all__ = [
    "SIGNS",
    "TERMS",
    "TRADING_COSTS",
    "Ledger",
    "LedgerError",
    "LedgerMetadata",
    "Trades",
]

TERMS: Final = ("pnl", "dividends", "fees", "spread", "slippage", "borrow", "financing")
"""Accounting terms of a bar, in the order of the simulator, in currency."""

SIGNS: Final = np.array([1.0, 1.0, -1.0, -1.0, -1.0, -1.0, -1.0])
"""Sign with which each term changes equity."""

TRADING_COSTS: Final = ("fees", "spread", "slippage")
"""Terms paid for trading; borrow and financing are paid for holding."""

_TOLERANCE = 1e-9
_FORMAT = 1
_KEY = b"perennial.ledger"


class LedgerError(ValueError):
    """A ledger that contradicts itself, or a file that does not hold one."""


@dataclass(frozen=True, kw_only=True)
class LedgerMetadata:
    """Where a ledger comes from."""

    policy: str
    """Name of the policy, for example `agent` or `equal_weight`."""
    seed: int = 0
    """Seed of the agent or of the policy."""
    split: str = ""
    """Name of the span: train, validation or test."""
    periods_per_year: float = 252.0
    """Bars per year of the market's clock, for annual figures."""
    config_sha256: str = ""
    """Digest of the trading configuration that was simulated."""
    data_sha256: str = ""
    """Digest of the market data, from its manifest."""
    notes: tuple[str, ...] = ()
    """What a reader must know, for example that orders filled at the observed close."""


@dataclass(frozen=True)
class Trades:
    """Fills in order of time; arrays of length M, read-only."""

    row: NDArray[np.int64]
    """Row of the ledger (bar) in which the order filled."""
    ts_event: NDArray[np.int64]
    """Time of that bar, ns UTC."""
    asset: NDArray[np.int64]
    """Column of the asset in `Ledger.symbols`."""
    shares: NDArray[np.float64]
    """Signed shares, purchases positive."""
    price: NDArray[np.float64]
    """Price of the fill, half spread and slippage included, in currency per share."""
    cost: NDArray[np.float64]
    """Fees, spread and slippage of this fill in currency: its bar's, shared by traded value."""

    def __post_init__(self) -> None:
        """Check that the columns agree and make them read-only."""
        for column in fields(self):
            values = getattr(self, column.name)
            if len(values) != len(self.row):
                raise LedgerError(
                    f"trades.{column.name}: expected {len(self.row)} values, found {len(values)}"
                )
            object.__setattr__(self, column.name, _frozen(values))

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """One account over one span; row 0 is the start, before the first decision.

    Raises:
        LedgerError: axes that disagree, a value that is not finite, times that do not increase, or
            a bar on which the equity change is not the sum of the terms.
    """

    symbols: tuple[str, ...]
    """Names of the A assets."""
    ts_event: NDArray[np.int64]
    """(E,) ns UTC."""
    equity: NDArray[np.float64]
    """(E,) account value at the close, in currency."""
    cash: NDArray[np.float64]
    """(E,) in currency."""
    weights: NDArray[np.float64]
    """(E, A) market value of each position over equity at the close."""
    terms: NDArray[np.float64]
    """(E, 7) accounting terms of the bar, `TERMS`, in currency; zeros in row 0."""
    turnover: NDArray[np.float64]
    """(E,) one-way turnover of the bar, `metrics.traded_fraction`."""
    reward: NDArray[np.float64]
    """(E,) the environment's reward; 0 in row 0."""
    projected: NDArray[np.bool_]
    """(E,) whether the action that led here lay outside its set and was projected."""
    closed: NDArray[np.bool_]
    """(E,) whether the account was already closed by ruin before this bar."""
    trades: Trades
    metadata: LedgerMetadata = field(default_factory=lambda: LedgerMetadata(policy="unnamed"))

    def __post_init__(self) -> None:
        """Check shapes, finiteness, time order and the accounting identity."""
        for column in _COLUMNS:
            object.__setattr__(self, column, _frozen(getattr(self, column)))
        self._check_shapes()
        self._check_values()
        self._check_identity()

    def __len__(self) -> int:
        return len(self.ts_event)

    @property
    def num_bars(self) -> int:
        """T, the number of bars after the start."""
        return len(self.ts_event) - 1

    @property
    def returns(self) -> NDArray[np.float64]:
        """(T,) simple returns."""
        return metrics.simple_returns(self.equity)

    @property
    def trading_costs(self) -> NDArray[np.float64]:
        """(E,) fees, spread and slippage of each bar in currency."""
        columns = [TERMS.index(name) for name in TRADING_COSTS]
        return np.asarray(self.terms[:, columns].sum(axis=1))

    @property
    def costs(self) -> NDArray[np.float64]:
        """(E,) all costs of each bar in currency, those of holding included."""
        return np.asarray(self.terms[:, 2:].sum(axis=1))

    def term(self, name: str) -> NDArray[np.float64]:
        """(E,) one accounting term by its name in `TERMS`."""
        return np.asarray(self.terms[:, TERMS.index(name)])

    def to_pandas(self) -> pd.DataFrame:
        """One row for each bar, indexed by UTC time; weights as columns `weight_<symbol>`."""
        index = pd.DatetimeIndex(pd.to_datetime(self.ts_event, unit="ns", utc=True))
        index.name = "ts_event"
        return pd.DataFrame(self._columns(), index=index)

    def trades_to_pandas(self) -> pd.DataFrame:
        """One row for each fill: time, symbol, signed shares, price, value and cost."""
        trades = self.trades
        names = np.array(self.symbols, dtype=object)
        return pd.DataFrame(
            {
                "ts_event": pd.to_datetime(trades.ts_event, unit="ns", utc=True),
                "symbol": names[trades.asset] if len(trades) else np.array([], dtype=object),
                "shares": trades.shares,
                "price": trades.price,
                "value": trades.shares * trades.price,
                "cost": trades.cost,
            }
        )

    def to_parquet(self, path: Path) -> None:
        """Write the ledger to one Parquet file, whole or not at all.

        Args:
            path: the file; its folder is made if it is missing; a file there is replaced.

        Raises:
            OSError: the folder cannot be written, or the disk is full.
        """
        header = {
            "format": _FORMAT,
            "symbols": list(self.symbols),
            "metadata": asdict(self.metadata),
        }
        table = pa.table({"ts_event": self.ts_event, **self._columns(), "trades": self._nested()})
        table = table.replace_schema_metadata({_KEY: json.dumps(header, sort_keys=True)})
        with whole_file(path) as file:
            pq.write_table(table, file, compression="zstd")

    @classmethod
    def from_parquet(cls, path: Path) -> "Ledger":
        """Read a ledger and check it.

        Args:
            path: a file written by `to_parquet`.

        Raises:
            LedgerError: the file is missing, damaged, of another format, or contradicts itself.
        """
        try:
            # Not read_table: it would take a folder named seed=3 for a column.
            table = pq.ParquetFile(path).read()
        except (OSError, pa.ArrowInvalid) as error:
            raise LedgerError(f"{path}: expected a ledger in Parquet: {error}") from error
        header = _header(path, table.schema.metadata)
        symbols = tuple(header["symbols"])
        try:
            columns = {name: table.column(name).to_numpy() for name in _SCALARS}
            terms = [table.column(name).to_numpy() for name in TERMS]
            weights = [table.column(f"weight_{symbol}").to_numpy() for symbol in symbols]
            trades = _flattened(table.column("trades"), columns["ts_event"])
        except KeyError as error:
            raise LedgerError(f"{path}: expected a column that is missing: {error}") from error
        values = header["metadata"] | {"notes": tuple(header["metadata"]["notes"])}
        return cls(
            symbols=symbols,
            **columns,
            terms=np.column_stack(terms),
            weights=np.column_stack(weights),
            trades=trades,
            metadata=LedgerMetadata(**values),
        )

    def _columns(self) -> dict[str, NDArray[Any]]:
        columns = {name: getattr(self, name) for name in _SCALARS if name != "ts_event"}
        columns |= {name: self.terms[:, column] for column, name in enumerate(TERMS)}
        return columns | {f"weight_{s}": self.weights[:, a] for a, s in enumerate(self.symbols)}

    def _nested(self) -> pa.ListArray:
        trades = self.trades
        offsets = np.searchsorted(trades.row, np.arange(len(self) + 1)).astype(np.int32)
        names = pa.array(self.symbols, pa.string()).take(pa.array(trades.asset))
        values = [names, *(pa.array(getattr(trades, c)) for c in ("asset", *_FILL))]
        return pa.ListArray.from_arrays(
            offsets, pa.StructArray.from_arrays(values, ("symbol", "asset", *_FILL))
        )

    def _check_shapes(self) -> None:
        rows, assets = len(self.ts_event), len(self.symbols)
        expected: Mapping[str, tuple[int, ...]] = dict.fromkeys(_SCALARS, (rows,)) | {
            "weights": (rows, assets),
            "terms": (rows, len(TERMS)),
        }
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise LedgerError(f"{name}: expected shape {shape}, found {found}")
        if rows < 2:
            raise LedgerError(f"ts_event: expected a start and at least one bar, found {rows} rows")

    def _check_values(self) -> None:
        for name in ("equity", "cash", "weights", "terms", "turnover", "reward"):
            faults = np.argwhere(~np.isfinite(getattr(self, name)))
            if len(faults):
                raise LedgerError(f"{name}{faults[0].tolist()}: expected a finite value")
        backward = np.flatnonzero(np.diff(self.ts_event) <= 0)
        if len(backward):
            raise LedgerError(f"ts_event[{backward[0] + 1}]: expected a time after the bar before")
        if self.equity[0] <= 0.0:
            raise LedgerError(f"equity[0]: expected a positive start, found {self.equity[0]}")
        if len(self.trades) and not 0 <= self.trades.row[0] <= self.trades.row[-1] < len(self):
            raise LedgerError("trades.row: expected rows of the ledger, in order")

    def _check_identity(self) -> None:
        change = np.diff(self.equity)
        gap = np.abs(change - self.terms[1:] @ SIGNS)
        scale = np.maximum.reduce(
            [np.abs(self.equity[1:]), np.abs(self.equity[:-1]), np.abs(self.terms[1:]).max(axis=1)]
        )
        faults = np.flatnonzero(gap > _TOLERANCE * scale)
        if len(faults):
            row = int(faults[0]) + 1
            raise LedgerError(
                f"equity[{row}]: expected a change of {float(self.terms[row] @ SIGNS)!r} "
                f"(the sum of the terms), found {float(change[row - 1])!r}"
            )


_SCALARS: Final = ("ts_event", "equity", "cash", "turnover", "reward", "projected", "closed")
_COLUMNS: Final = (*_SCALARS, "weights", "terms")
_FILL: Final = ("shares", "price", "cost")


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    """A read-only copy, so that no alias can change the ledger later."""
    copy = np.array(values, order="C")
    copy.setflags(write=False)
    return copy


def _header(path: Path, metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    text = (metadata or {}).get(_KEY)
    if text is None:
        raise LedgerError(f"{path}: expected the schema metadata of a ledger, found none")
    header: dict[str, Any] = json.loads(text)
    if header.get("format") != _FORMAT:
        raise LedgerError(f"{path}: expected ledger format {_FORMAT}, found {header.get('format')}")
    return header


def _flattened(nested: pa.ChunkedArray, ts_event: NDArray[np.int64]) -> Trades:
    lists = nested.combine_chunks()
    counts = lists.value_lengths().to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(counts)), counts)
    values = lists.flatten()
    return Trades(
        row,
        ts_event[row],
        values.field("asset").to_numpy(),
        *(values.field(name).to_numpy() for name in _FILL),
    )

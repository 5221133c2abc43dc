"""A frame's contents as records of one row and one symbol, and the grid that they are laid on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FIELDS = ("open", "high", "low", "close", "volume")
"""The five columns of a bar, in the order used everywhere."""
OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)
NO_TIME = int(np.iinfo(np.int64).min)
"""The integer of an empty time (pandas' NaT)."""


@dataclass(frozen=True)
class Records:
    """A frame's contents, one record for each row and symbol.

    Attributes:
        ts_event: ns UTC, shape (N,); NO_TIME where the frame has none.
        row: Row of the frame, shape (N,).
        code: Index into `symbols`, shape (N,).
        symbols: Symbols, length A.
        values: FIELDS by record, NaN where empty, shape (5, N).
        additive_A: Whether a symbol's prices may be <= 0, shape (A,).
        wide: One row of the frame holds all symbols.
        dates: The times are days without a time of day, not instants.
        day: The day of each record if its time was a date that became a close, shape (N,).
    """

    ts_event: NDArray[np.int64]
    row: NDArray[np.int64]
    code: NDArray[np.int64]
    symbols: tuple[str, ...]
    values: NDArray[np.float64]
    additive_A: NDArray[np.bool_]
    wide: bool = False
    dates: bool = False
    day: NDArray[np.int64] | None = None

    def take(self, keep: NDArray[np.bool_]) -> "Records":
        """Only some of the records."""
        return replace(
            self,
            ts_event=self.ts_event[keep],
            row=self.row[keep],
            code=self.code[keep],
            values=self.values[:, keep],
            day=None if self.day is None else self.day[keep],
        )

    def rebased(self, symbols: tuple[str, ...]) -> "Records":
        """The same records with codes into a longer or reordered list of symbols."""
        if symbols == self.symbols:
            return self
        place = {symbol: number for number, symbol in enumerate(symbols)}
        code = np.array([place[symbol] for symbol in self.symbols], np.int64)[self.code]
        additive = dict(zip(self.symbols, self.additive_A.tolist(), strict=True))
        additive_A = np.array([additive.get(symbol, False) for symbol in symbols], bool)
        return replace(self, code=code, symbols=symbols, additive_A=additive_A)

    def grid(self, extra: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Lay the records out on one time axis.

        Args:
            extra: Times to add, at which every bar is missing, ns UTC, shape (K,).

        Returns:
            ts_event, shape (T,), and the values, shape (5, T, A).
        """
        ts_event = np.unique(np.concatenate([self.ts_event, extra]))
        values = np.full((5, len(ts_event), len(self.symbols)), np.nan)
        values[:, np.searchsorted(ts_event, self.ts_event), self.code] = self.values
        return ts_event, values

    @classmethod
    def of_grid(
        cls,
        ts_event: NDArray[np.int64],
        symbols: tuple[str, ...],
        values: NDArray[np.float64],
        additive: Sequence[bool],
    ) -> "Records":
        """Records of a grid, as of a wide frame.

        Args:
            ts_event: ns UTC, shape (T,).
            symbols: Length A.
            values: FIELDS, shape (5, T, A).
            additive: Whether prices may be <= 0, length A.

        Returns:
            T * A records, symbols innermost.
        """
        rows, assets = len(ts_event), len(symbols)
        return cls(
            ts_event=np.repeat(ts_event, assets),
            row=np.repeat(np.arange(rows), assets),
            code=np.tile(np.arange(assets), rows),
            symbols=symbols,
            values=values.reshape(5, -1),
            additive_A=np.array(additive, bool),
            wide=True,
        )

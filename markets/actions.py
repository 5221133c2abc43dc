"""Splits and cash dividends, kept apart from raw prices and applied on their ex-date."""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from markets.calendars import NS_PER_DAY
from markets.errors import MarketDataError
from markets.frozen import FrozenArrays

ActionKind = Literal["split", "dividend"]
_COLUMNS = ("symbol", "ex_date", "kind", "value")


class ActionsError(MarketDataError):
    """A corporate action is malformed; the message names row, column and value."""


@dataclass(frozen=True, eq=False)
class CorporateActions(FrozenArrays):
    """Immutable table of corporate actions, sorted by symbol, ex-date and kind.

    Attributes:
        symbol: Symbol of each action, length K.
        ex_ts: Midnight UTC of the ex-date in ns, shape (K,): the first day on which the share
            trades without the right.
        kind: "split" or "dividend", length K.
        value: Shape (K,). Of a split the new shares per old share (7.0 for 7:1, 0.05 for 1:20);
            of a dividend the cash per share, in the shares of that day (after a split of the
            same day).

    Raises:
        ActionsError: Lengths differ, a value is not finite and positive, a kind is unknown, or
            an action is given twice.
    """

    symbol: tuple[str, ...]
    ex_ts: NDArray[np.int64]
    kind: tuple[ActionKind, ...]
    value: NDArray[np.float64]

    def __post_init__(self) -> None:
        ex_ts = np.asarray(self.ex_ts, np.int64).reshape(-1)
        value = np.asarray(self.value, np.float64).reshape(-1)
        lengths = {len(self.symbol), len(ex_ts), len(self.kind), len(value)}
        if len(lengths) != 1:
            raise ActionsError(f"actions: expected columns of one length, found {sorted(lengths)}")
        for row, (symbol, kind, number) in enumerate(
            zip(self.symbol, self.kind, value, strict=True)
        ):
            _check_row(row, symbol, kind, float(number))
        # Splits before dividends of one day: a dividend is in the shares after the split.
        keys = [
            (s, t, k != "split", v) for s, t, k, v in zip(*self._lists(ex_ts, value), strict=True)
        ]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        for row, (one, two) in enumerate(itertools.pairwise(order)):
            same = keys[one][:3] == keys[two][:3]
            if same and (self.kind[one] == "split" or value[one] == value[two]):
                raise ActionsError(
                    f"actions: {self.kind[one]} of {self.symbol[one]} on {_day(ex_ts[one])} is"
                    f" given twice (sorted rows {row} and {row + 1})"
                )
        object.__setattr__(self, "symbol", tuple(self.symbol[i] for i in order))
        object.__setattr__(self, "kind", tuple(self.kind[i] for i in order))
        for name, array in (("ex_ts", ex_ts), ("value", value)):
            ordered = array[order].copy()
            ordered.flags.writeable = False
            object.__setattr__(self, name, ordered)

    def _lists(
        self, ex_ts: NDArray[np.int64], value: NDArray[np.float64]
    ) -> tuple[tuple[str, ...], list[int], tuple[ActionKind, ...], list[float]]:
        return self.symbol, ex_ts.tolist(), self.kind, value.tolist()

    def __len__(self) -> int:
        return len(self.symbol)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CorporateActions):
            return NotImplemented
        return (
            self.symbol == other.symbol
            and self.kind == other.kind
            and np.array_equal(self.ex_ts, other.ex_ts)
            and np.array_equal(self.value, other.value)
        )

    def __hash__(self) -> int:
        return hash(self.digest())

    def __repr__(self) -> str:
        splits = self.kind.count("split")
        return f"CorporateActions(splits={splits}, dividends={len(self) - splits})"

    @classmethod
    def empty(cls) -> "CorporateActions":
        """No actions at all."""
        return cls((), np.empty(0, np.int64), (), np.empty(0))

    @classmethod
    def from_pandas(cls, frame: pd.DataFrame) -> "CorporateActions":
        """Read a frame with the columns symbol, ex_date, kind and value.

        Args:
            frame: One action a row. `ex_date` is a datetime column or ISO text (YYYY-MM-DD); a
                time of day is dropped. Other columns are ignored.

        Returns:
            The table.

        Raises:
            ActionsError: A column is lacking, or a row is malformed.
        """
        lacking = [column for column in _COLUMNS if column not in frame.columns]
        if lacking:
            raise ActionsError(f"actions: expected columns {_COLUMNS}, {lacking} not found")
        try:
            dates = pd.DatetimeIndex(pd.to_datetime(frame["ex_date"], format="ISO8601"))
            value = frame["value"].to_numpy(np.float64)
        except (ValueError, TypeError) as error:
            raise ActionsError(f"actions: ex_date or value cannot be read: {error}") from error
        if dates.isna().any():
            raise ActionsError(f"actions: row {int(np.argmax(dates.isna()))}: ex_date is empty")
        if dates.tz is not None:
            dates = dates.tz_localize(None)
        return cls(
            tuple(frame["symbol"].astype(str)),
            dates.normalize().as_unit("ns").asi8,
            cast("tuple[ActionKind, ...]", tuple(frame["kind"].astype(str))),
            value,
        )

    def to_pandas(self) -> pd.DataFrame:
        """Columns symbol, ex_date (midnight UTC, tz-aware), kind, value; one action a row."""
        return pd.DataFrame(
            {
                "symbol": pd.array(list(self.symbol), dtype="str"),
                "ex_date": pd.DatetimeIndex(self.ex_ts, tz="UTC"),
                "kind": pd.array(list(self.kind), dtype="str"),
                "value": self.value.copy(),
            }
        )

    def select(self, symbols: Sequence[str]) -> "CorporateActions":
        """Only the actions of some symbols; symbols without any are no error."""
        wanted = set(symbols)
        return self.take(np.array([symbol in wanted for symbol in self.symbol], bool))

    def not_before(self, day_ns: int) -> "CorporateActions":
        """The same actions with earlier ex-dates moved up to `day_ns`.

        Those of one symbol that meet on that day become one split, their product, and one
        dividend, their sum in the shares after the splits.
        """
        if bool((self.ex_ts >= day_ns).all()):
            return self
        late = self.ex_ts > day_ns
        split: dict[str, float] = {}
        dividend: dict[str, float] = {}
        for k in np.flatnonzero(~late).tolist():
            symbol, value = self.symbol[k], float(self.value[k])
            if self.kind[k] == "split":
                split[symbol] = split.get(symbol, 1.0) * value
                if symbol in dividend:
                    dividend[symbol] /= value
            else:
                dividend[symbol] = dividend.get(symbol, 0.0) + value
        rest = self.take(late)
        kinds: list[ActionKind] = ["split"] * len(split)
        kinds += ["dividend"] * len(dividend)
        return CorporateActions(
            (*split, *dividend, *rest.symbol),
            np.concatenate([np.full(len(kinds), day_ns, np.int64), rest.ex_ts]),
            (*kinds, *rest.kind),
            np.concatenate([[*split.values(), *dividend.values()], rest.value]),
        )

    def split_adjusted(self) -> "CorporateActions":
        """Dividends only, each in the shares of the start: times the splits before it."""
        value = self.value.copy()
        factor: dict[str, float] = {}
        for k, (symbol, kind) in enumerate(zip(self.symbol, self.kind, strict=True)):
            known = factor.get(symbol, 1.0)
            if kind == "split":
                factor[symbol] = known * self.value[k]
            else:
                value[k] *= known
        keep = np.array([kind == "dividend" for kind in self.kind], bool)
        return replace(self, value=value).take(keep)

    def take(self, keep: NDArray[np.bool_]) -> "CorporateActions":
        """Only some actions.

        Args:
            keep: Which, shape (K,).

        Returns:
            The others are left out.
        """
        if bool(keep.all()):
            return self
        rows = np.flatnonzero(keep)
        return CorporateActions(
            tuple(self.symbol[i] for i in rows),
            self.ex_ts[rows],
            tuple(self.kind[i] for i in rows),
            self.value[rows],
        )

    def on_axis(
        self, ts_event: NDArray[np.int64], symbols: Sequence[str]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Place every action on the first bar with ts_event >= ex_ts.

        Actions dated before the UTC day of the first bar are in its price already, and those
        after the last bar are not known yet: both are left out. If a bar collects several splits
        they multiply; a dividend that precedes one of them is converted to its shares.

        Args:
            ts_event: Times of the bars, ns UTC, increasing, shape (T,).
            symbols: Columns of the result, length A; actions of other symbols are ignored.

        Returns:
            split_TA: New shares per old share, 1.0 where nothing happens, shape (T, A).
            dividend_TA: Cash per share held after the bar's splits, 0.0 for none, shape (T, A).
        """
        return self.on_rows(action_rows(ts_event, self.ex_ts), len(ts_event), symbols)

    def on_rows(
        self, row_K: NDArray[np.int64], num_bars: int, symbols: Sequence[str]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Place every action on a given row; see `on_axis`.

        Args:
            row_K: Row of each action, -1 to leave it out, shape (K,).
            num_bars: T.
            symbols: Columns of the result, length A; actions of other symbols are ignored.

        Returns:
            split_TA and dividend_TA.
        """
        split_TA = np.ones((num_bars, len(symbols)))
        dividend_TA = np.zeros((num_bars, len(symbols)))
        column = {symbol: a for a, symbol in enumerate(symbols)}
        for k in np.flatnonzero(row_K >= 0).tolist():
            asset = column.get(self.symbol[k])
            if asset is None:
                continue
            cell = (row_K[k], asset)
            if self.kind[k] == "split":
                split_TA[cell] *= self.value[k]
                dividend_TA[cell] /= self.value[k]
            else:
                dividend_TA[cell] += self.value[k]
        return split_TA, dividend_TA

    def digest(self) -> bytes:
        """SHA-256 of the table: JSON-free text of symbols and kinds, little-endian numbers."""
        sha = hashlib.sha256(b"perennial.actions.v1\0")
        for symbol, kind in zip(self.symbol, self.kind, strict=True):
            sha.update(f"{symbol}\0{kind}\0".encode())
        sha.update(self.ex_ts.astype("<i8").tobytes())
        sha.update(self.value.astype("<f8").tobytes())
        return sha.digest()


def action_rows(ts_event: NDArray[np.int64], ex_ts: NDArray[np.int64]) -> NDArray[np.int64]:
    """First bar with ts_event >= ex_ts.

    Args:
        ts_event: Times of the bars, ns, increasing, shape (T,).
        ex_ts: Midnights of ex-dates, ns, shape (K,).

    Returns:
        Rows, shape (K,); -1 for a date before the day of the first bar or after the last bar.
    """
    if not len(ts_event):
        return np.full(len(ex_ts), -1, np.int64)
    row_K = np.searchsorted(ts_event, ex_ts)
    first_day = int(ts_event[0]) // NS_PER_DAY * NS_PER_DAY
    return np.where((ex_ts >= first_day) & (row_K < len(ts_event)), row_K, -1)


def _day(ex_ts: int) -> str:
    return str(pd.Timestamp(ex_ts).date())


def _check_row(row: int, symbol: str, kind: str, value: float) -> None:
    if kind not in ("split", "dividend"):
        raise ActionsError(
            f"actions: row {row} ({symbol}): kind: expected split or dividend, found {kind!r}"
        )
    if not (np.isfinite(value) and value > 0):
        raise ActionsError(
            f"actions: row {row} ({symbol} {kind}): value: expected finite and > 0, found {value!r}"
        )


@dataclass(frozen=True, kw_only=True)
class _Step:
    """What the adjustment factor does between two neighbouring closes of one symbol."""

    ratio: float
    close: float
    previous_close: float


_MULTIPLES = tuple(range(2, 51))
SPLIT_RATIOS = np.array(
    sorted(
        {*map(float, _MULTIPLES), *(1.0 / n for n in _MULTIPLES)}
        | {3 / 2, 5 / 2, 4 / 3, 5 / 3, 5 / 4, 6 / 5, 11 / 10, 21 / 20, 2 / 3, 3 / 4, 4 / 5}
    )
)
"""Common splits, new shares per old share, increasing."""
SPLIT_RATIOS.flags.writeable = False


def derive_actions(
    ts_event: NDArray[np.int64],
    symbols: Sequence[str],
    close_TA: NDArray[np.float64],
    adj_close_TA: NDArray[np.float64],
    *,
    convention: Literal["ex_close", "previous_close"] = "ex_close",
    tolerance: float = 1e-6,
) -> CorporateActions:
    """Recover splits and dividends from raw and fully adjusted closes.

    The factor adj_close/close is constant but for a step q on each ex-date. A split of n new
    shares per old one and a dividend d on the same day (in new shares) step it by

        ex_close (Quandl WIKI):             q = n (1 + d / close_t)
        previous_close (CRSP, Yahoo):       q = n / (1 - n d / close_{t-1})

    Args:
        ts_event: Times, ns UTC, shape (T,); the ex-date is the UTC day.
        symbols: Columns, length A.
        close_TA: Raw closes, NaN where missing, shape (T, A).
        adj_close_TA: Closes adjusted for splits and dividends, NaN where missing, shape (T, A).
        convention: The provider's dividend formula.
        tolerance: Relative steps of the factor up to this are rounding; also the tolerance with
            which a step counts as an exact split ratio.

    Returns:
        The actions, dividends rounded to 1e-6 of the currency.

    Raises:
        ActionsError: Shapes differ, or the factor falls where no split explains it.
    """
    shape = (len(ts_event), len(symbols))
    if close_TA.shape != shape or adj_close_TA.shape != shape:
        raise ActionsError(
            f"derive_actions: expected closes of shape {shape}, found {close_TA.shape} and"
            f" {adj_close_TA.shape}"
        )
    rows: list[tuple[str, int, ActionKind, float]] = []
    for a, symbol in enumerate(symbols):
        valid = np.flatnonzero(np.isfinite(close_TA[:, a]) & np.isfinite(adj_close_TA[:, a]))
        close = close_TA[valid, a]
        factor = adj_close_TA[valid, a] / close
        ratio = factor[1:] / factor[:-1]
        for i in np.flatnonzero(np.abs(ratio - 1.0) > tolerance):
            ex_ts = int(ts_event[valid[i + 1]]) // NS_PER_DAY * NS_PER_DAY
            step = _Step(ratio=ratio[i], close=close[i + 1], previous_close=close[i])
            split, dividend = _explain(step, convention, tolerance)
            if dividend < 0:
                raise ActionsError(
                    f"derive_actions: {symbol} on {_day(ex_ts)}: adj_close/close steps by"
                    f" {step.ratio:.6g}, which is neither a split nor a dividend"
                )
            if split != 1.0:
                rows.append((symbol, ex_ts, "split", split))
            if dividend > 0:
                rows.append((symbol, ex_ts, "dividend", dividend))
    return CorporateActions(
        tuple(row[0] for row in rows),
        np.array([row[1] for row in rows], np.int64),
        tuple(row[2] for row in rows),
        np.array([row[3] for row in rows], np.float64),
    )


def _explain(step: _Step, convention: str, tolerance: float) -> tuple[float, float]:
    """Split ratio (1.0 for none) and dividend (0.0 for none, < 0 if inexplicable) of one step."""
    exact = float(SPLIT_RATIOS[int(np.argmin(np.abs(step.ratio / SPLIT_RATIOS - 1.0)))])
    if abs(step.ratio / exact - 1.0) <= tolerance:
        return exact, 0.0
    # With a dividend on the day of a split the raw price tells the split: it jumped by about 1/n,
    # and what is left of the step is a small dividend. (A large dividend read as a small split, or
    # the other way round, is worth the same to a holder.)
    below = float(SPLIT_RATIOS[max(int(np.searchsorted(SPLIT_RATIOS, step.ratio)) - 1, 0)])
    jump = step.previous_close / step.close
    large = abs(np.log(below)) > np.log(1.3)
    jumped = abs(np.log(jump / below)) < 0.2 and 1.0 < step.ratio / below < 1.05
    split = below if large and jumped else 1.0
    rest = step.ratio / split
    if convention == "ex_close":
        dividend = step.close * (rest - 1.0)
    else:
        dividend = step.previous_close / split * (1.0 - 1.0 / rest)
    return split, round(dividend, 6)

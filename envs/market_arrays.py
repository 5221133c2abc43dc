"""The market as the accounting kernel reads it: dense, finite, causal, packed per bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.kernel.layout import MARKET_HEADER, MARKET_PADDING, Bar, padded_width

if TYPE_CHECKING:
    from markets.bars import Bars

NANOSECONDS_PER_YEAR = 365.25 * 24 * 3600 * 1e9


@dataclass(frozen=True, kw_only=True)
class MarketArrays:
    """Prices, corporate actions and features of T bars and A assets; every array is read-only.

    Attributes:
        symbols: Names of the assets, (A,).
        ts_event: Time of each bar's close, ns UTC, strictly increasing, (T,).
        open_TA: Raw open; in a missing bar the carried close, before the first bar 0, currency.
        close_TA: Raw close, carried forward (divided by later splits) through missing bars and
            only used there to value positions; 0 before the first bar, currency.
        volume_TA: Shares traded in the bar, 0 where missing or unknown.
        tradable_TA: Whether orders can fill in the bar.
        split_TA: New shares per old share on the ex-date, 1 = none.
        dividend_TA: Cash per share (after a split of the same bar) on the ex-date, 0 = none.
        delisted_TA: True in the first bar after an asset's last bar.
        volatility_TA: Trailing standard deviation of split-adjusted log returns a bar, causal.
        year_fraction_T: Time since the previous bar, years of 365.25 days; 0 in the first.
        lot_A: Smallest tradable number of shares, 0 = fractions are allowed.
        features_TC: Features known at each close, C-contiguous float32.
        first_bar: First bar whose features are warmed up.
        additive: Prices are levels that may turn negative, and holdings are units.
        cost_AA: Lambda of the quadratic cost 1/2 u' Lambda u of trading u units, currency / unit^2;
            None = the identity. Of additive markets only.
        covariance_AA: Covariance of the price changes of a bar, currency^2; None = not known. Of
            additive markets only.
    """

    symbols: tuple[str, ...]
    ts_event: NDArray[np.int64]
    open_TA: NDArray[np.float64]
    close_TA: NDArray[np.float64]
    volume_TA: NDArray[np.float64]
    tradable_TA: NDArray[np.bool_]
    split_TA: NDArray[np.float64]
    dividend_TA: NDArray[np.float64]
    delisted_TA: NDArray[np.bool_]
    volatility_TA: NDArray[np.float64]
    year_fraction_T: NDArray[np.float64]
    lot_A: NDArray[np.float64]
    features_TC: NDArray[np.float32]
    first_bar: int
    additive: bool = False
    cost_AA: NDArray[np.float64] | None = None
    covariance_AA: NDArray[np.float64] | None = None

    @classmethod
    def from_bars(
        cls,
        bars: "Bars",
        features: NDArray[np.float32] | None = None,
        *,
        warmup: int = 0,
        volatility_window: int = 20,
    ) -> Self:
        """Build the kernel's market from validated bars.

        Args:
            bars: Raw bars with their corporate actions.
            features: Features known at each close, (T, C); None = no features.
            warmup: First row whose features may be used.
            volatility_window: Bars whose returns make the trailing volatility.

        Raises:
            ValueError: Features of another length or not finite from `warmup` on.
        """
        return cls.from_arrays(
            ts_event=bars.ts_event,
            open_TA=bars.open,
            close_TA=bars.close,
            volume_TA=bars.volume,
            tradable_TA=~np.asarray(bars.missing),
            split_TA=bars.split_TA,
            dividend_TA=bars.dividend_TA,
            lot_A=[instrument.lot for instrument in bars.instruments],
            features=features,
            symbols=bars.symbols,
            warmup=warmup,
            volatility_window=volatility_window,
        )

    @classmethod
    def from_arrays(  # noqa: PLR0913 - the columns of a market, by keyword only
        cls,
        *,
        ts_event: ArrayLike,
        open_TA: ArrayLike,
        close_TA: ArrayLike,
        volume_TA: ArrayLike | None = None,
        tradable_TA: ArrayLike | None = None,
        split_TA: ArrayLike | None = None,
        dividend_TA: ArrayLike | None = None,
        lot_A: ArrayLike | None = None,
        features: ArrayLike | None = None,
        symbols: Sequence[str] | None = None,
        warmup: int = 0,
        volatility_window: int = 20,
        additive: bool = False,
        cost_AA: ArrayLike | None = None,
        covariance_AA: ArrayLike | None = None,
    ) -> Self:
        """Build a market from plain arrays (T, A), for synthetic markets and tests.

        A bar is missing where `tradable_TA` is False (by default: where the open or the close is
        NaN); its prices are not read. An asset is delisted in the bar after its last one.
        `volume_TA` None means unknown: 0 everywhere, for which the models of impact and
        participation must be off.

        Raises:
            ValueError: Wrong shapes, unordered times, prices not finite in a tradable bar,
                split ratios <= 0, features not finite from `warmup` on, matrices that are not
                symmetric and positive semidefinite, or matrices of a market that is not additive.
        """
        close = np.array(close_TA, dtype=np.float64, ndmin=2)
        num_bars, num_assets = close.shape
        opened = _table("open_TA", open_TA, close.shape)
        volume = _table("volume_TA", 0.0 if volume_TA is None else volume_TA, close.shape)
        split = _table("split_TA", 1.0 if split_TA is None else split_TA, close.shape)
        dividend = _table("dividend_TA", 0.0 if dividend_TA is None else dividend_TA, close.shape)
        if tradable_TA is None:
            tradable = np.isfinite(opened) & np.isfinite(close)
        else:
            tradable = _table("tradable_TA", tradable_TA, close.shape).astype(np.bool_)
        _check_prices(opened, close, tradable)
        _check_actions(split, dividend)
        times = _check_times(np.array(ts_event, dtype=np.int64), num_bars)
        carried = _carry_forward(close, tradable, split)
        volume = np.where(tradable & np.isfinite(volume), volume, 0.0)
        market = cls(
            symbols=_check_symbols(symbols, num_assets),
            ts_event=times,
            open_TA=np.where(tradable, opened, carried),
            close_TA=carried,
            volume_TA=volume,
            tradable_TA=tradable,
            split_TA=split,
            dividend_TA=dividend,
            delisted_TA=_delistings(tradable),
            volatility_TA=_trailing_volatility(carried, tradable, split, volatility_window),
            year_fraction_T=np.diff(times, prepend=times[:1]) / NANOSECONDS_PER_YEAR,
            lot_A=_table("lot_A", 0.0 if lot_A is None else lot_A, (num_assets,)),
            features_TC=_check_features(features, num_bars, warmup),
            first_bar=warmup,
            additive=additive,
            cost_AA=_check_matrix("cost_AA", cost_AA, num_assets, additive=additive),
            covariance_AA=_check_matrix(
                "covariance_AA", covariance_AA, num_assets, additive=additive
            ),
        )
        for value in vars(market).values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        return market

    @property
    def num_bars(self) -> int:
        """Number of bars, T."""
        return int(self.close_TA.shape[0])

    @property
    def num_assets(self) -> int:
        """Number of assets, A."""
        return int(self.close_TA.shape[1])

    @property
    def num_features(self) -> int:
        """Number of feature columns, C."""
        return int(self.features_TC.shape[1])

    @cached_property
    def packed_TK(self) -> NDArray[np.float64]:  # noqa: N802 - dimension suffix
        """All that a step into a bar reads, in one aligned row a bar (see `envs.kernel.layout`)."""
        num_bars, num_assets = self.close_TA.shape
        width = padded_width(num_assets)
        padded = -(-(MARKET_HEADER + Bar.FIELDS * width) // MARKET_PADDING) * MARKET_PADDING
        packed = _aligned_zeros(num_bars, padded)
        packed[:, MARKET_HEADER + Bar.VOLUME * width :][:, :width] = -1.0
        event = (self.split_TA != 1.0) | (self.dividend_TA != 0.0) | self.delisted_TA
        packed[:, Bar.YEAR_FRACTION] = self.year_fraction_T
        packed[:, Bar.EVENT] = event.any(axis=1)
        root = np.sqrt(np.where(self.volume_TA > 0.0, self.volume_TA, np.inf))
        columns = {
            Bar.OPEN: self.open_TA,
            Bar.CLOSE: self.close_TA,
            Bar.VOLUME: np.where(self.tradable_TA, self.volume_TA, -1.0),
            Bar.PREVIOUS_CLOSE: np.roll(self.close_TA, 1, axis=0),
            Bar.IMPACT: np.roll(self.volatility_TA, 1, axis=0) / root,
            Bar.IMPACT_AT_CLOSE: self.volatility_TA / root,
        }
        for field, values in columns.items():
            start = MARKET_HEADER + field * width
            packed[:, start : start + num_assets] = values
        packed.flags.writeable = False
        return packed

    @cached_property
    def events_T3A(self) -> NDArray[np.float64]:  # noqa: N802 - dimension suffix
        """Splits, dividends and delistings of each bar, read only where the event flag is set."""
        events = np.stack(
            [self.split_TA, self.dividend_TA, self.delisted_TA.astype(np.float64)], axis=1
        )
        events.flags.writeable = False
        return events


def _table(name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0:
        return np.full(shape, float(array))
    if array.shape != shape:
        msg = f"{name}: expected shape {shape}, found {array.shape}"
        raise ValueError(msg)
    return array.copy()


def _check_symbols(symbols: Sequence[str] | None, num_assets: int) -> tuple[str, ...]:
    names = tuple(symbols) if symbols is not None else tuple(f"A{i}" for i in range(num_assets))
    if len(names) != num_assets:
        msg = f"symbols: expected {num_assets} names, found {len(names)}"
        raise ValueError(msg)
    return names


def _check_times(ts_event: NDArray[np.int64], num_bars: int) -> NDArray[np.int64]:
    if ts_event.shape != (num_bars,):
        msg = f"ts_event: expected shape ({num_bars},), found {ts_event.shape}"
        raise ValueError(msg)
    steps = np.diff(ts_event)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        msg = f"ts_event: expected increasing times, found {ts_event[row]} in row {row}"
        raise ValueError(msg)
    return ts_event


def _check_prices(
    opened: NDArray[np.float64], close: NDArray[np.float64], tradable: NDArray[np.bool_]
) -> None:
    for name, prices in (("open_TA", opened), ("close_TA", close)):
        faulty = tradable & ~np.isfinite(prices)
        if faulty.any():
            row, column = np.argwhere(faulty)[0]
            msg = f"{name}[{row}, {column}]: expected a finite price, found {prices[row, column]}"
            raise ValueError(msg)


def _check_actions(split: NDArray[np.float64], dividend: NDArray[np.float64]) -> None:
    for name, values, faulty in (
        ("split_TA", split, ~(np.isfinite(split) & (split > 0.0))),
        ("dividend_TA", dividend, ~np.isfinite(dividend)),
    ):
        if faulty.any():
            row, column = np.argwhere(faulty)[0]
            expected = "a ratio > 0" if name == "split_TA" else "a finite amount"
            msg = f"{name}[{row}, {column}]: expected {expected}, found {values[row, column]}"
            raise ValueError(msg)


def _check_features(features: ArrayLike | None, num_bars: int, warmup: int) -> NDArray[np.float32]:
    if features is None:
        return np.zeros((num_bars, 0), dtype=np.float32)
    array = np.array(features, dtype=np.float32, order="C")
    if array.ndim != 2 or array.shape[0] != num_bars:
        msg = f"features: expected shape ({num_bars}, C), found {array.shape}"
        raise ValueError(msg)
    if not 0 <= warmup < num_bars:
        msg = f"warmup: expected a row in [0, {num_bars}), found {warmup}"
        raise ValueError(msg)
    faulty = ~np.isfinite(array[warmup:])
    if faulty.any():
        row, column = np.argwhere(faulty)[0]
        found = array[warmup + row, column]
        msg = f"features[{warmup + row}, {column}]: expected a finite value, found {found}"
        raise ValueError(msg)
    return array


def _check_matrix(
    name: str, matrix: ArrayLike | None, num_assets: int, *, additive: bool
) -> NDArray[np.float64] | None:
    if matrix is None:
        return None
    if not additive:
        msg = f"{name}: expected None where the market is not additive, found a matrix"
        raise ValueError(msg)
    array = np.array(matrix, dtype=np.float64, ndmin=2)
    if array.shape != (num_assets, num_assets):
        msg = f"{name}: expected shape ({num_assets}, {num_assets}), found {array.shape}"
        raise ValueError(msg)
    if not np.isfinite(array).all() or not np.allclose(array, array.T):
        msg = f"{name}: expected a finite symmetric matrix, found {array.tolist()}"
        raise ValueError(msg)
    least = float(np.linalg.eigvalsh(array)[0])
    if least < -1e-12 * np.abs(array).max():
        msg = f"{name}: expected no negative eigenvalue, found {least}"
        raise ValueError(msg)
    return array


def _carry_forward(
    close: NDArray[np.float64], tradable: NDArray[np.bool_], split: NDArray[np.float64]
) -> NDArray[np.float64]:
    carried = np.zeros_like(close)
    last = np.zeros(close.shape[1])
    for row in range(close.shape[0]):
        last = np.where(tradable[row], close[row], last / split[row])
        carried[row] = last
    return carried


def _delistings(tradable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    delisted = np.zeros_like(tradable)
    for asset in range(tradable.shape[1]):
        rows = np.flatnonzero(tradable[:, asset])
        if rows.size and rows[-1] + 1 < tradable.shape[0]:
            delisted[rows[-1] + 1, asset] = True
    return delisted


def _trailing_volatility(
    carried: NDArray[np.float64],
    tradable: NDArray[np.bool_],
    split: NDArray[np.float64],
    window: int,
) -> NDArray[np.float64]:
    """Return the standard deviation (ddof 0) of the returns seen in the last `window` bars.

    Log returns of split-adjusted closes; simple returns where a price is not positive.
    """
    previous = np.roll(carried, 1, axis=0)
    adjusted = carried * split
    observed = tradable & (previous != 0.0)
    observed[0] = False
    base = np.where(observed, previous, 1.0)
    ratio = np.where(observed, adjusted / base, 1.0)
    positive = ratio > 0.0
    simple = np.where(observed, (adjusted - base) / np.abs(base), 0.0)
    returns = np.where(positive, np.log(np.where(positive, ratio, 1.0)), simple)
    count = _trailing_sum(observed.astype(np.float64), window)
    mean = _trailing_sum(np.where(observed, returns, 0.0), window) / np.maximum(count, 1.0)
    square = np.zeros_like(carried)
    for lag in range(min(window, carried.shape[0])):
        seen = observed[: carried.shape[0] - lag]
        deviation = returns[: carried.shape[0] - lag] - mean[lag:]
        square[lag:] += np.where(seen, deviation * deviation, 0.0)
    return np.sqrt(square / np.maximum(count, 1.0))


def _trailing_sum(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    total = np.zeros_like(values)
    for lag in range(min(window, values.shape[0])):
        total[lag:] += values[: values.shape[0] - lag]
    return total


def _aligned_zeros(rows: int, columns: int) -> NDArray[np.float64]:
    """Return zeros whose rows start on cache lines (64 bytes)."""
    buffer = np.zeros(rows * columns + MARKET_PADDING)
    offset = (-buffer.ctypes.data % 64) // 8
    return buffer[offset : offset + rows * columns].reshape(rows, columns)

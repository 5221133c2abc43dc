"""What is traded: tick, lot, currency and trading calendar of one symbol."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markets.calendars import check_name
from markets.errors import MarketDataError


class InstrumentError(MarketDataError):
    """An instrument's field is out of its range; the message names symbol, field and value."""


@dataclass(frozen=True)
class Instrument:
    """One tradable symbol.

    Attributes:
        symbol: Name in every table; non-empty, without surrounding blanks.
        tick: Smallest price step, in `currency` per share; > 0.
        lot: Smallest tradable quantity, in shares; 0 means fractional shares.
        currency: ISO 4217 code of prices and cash flows, or the quote asset of a crypto pair.
        calendar: Name in `exchange_calendars` (for example "XNYS"), or None: no calendar is
            checked, and a day's bar is stamped at midnight UTC.
        additive: Prices may be zero or negative (spreads, rates, synthetic additive markets).
        sector: Name of the group of companies it belongs to, such as "energy" (features compare
            it with the others of its group); None where it is not known.

    Raises:
        InstrumentError: A field is out of its range.
        CalendarError: The calendar is unknown.
    """

    symbol: str
    tick: float = 0.01
    lot: float = 0.0
    currency: str = "USD"
    calendar: str | None = None
    additive: bool = False
    sector: str | None = None

    def __post_init__(self) -> None:
        if (
            not isinstance(self.symbol, str)
            or not self.symbol
            or self.symbol != self.symbol.strip()
        ):
            raise InstrumentError(
                f"symbol: expected a name without surrounding blanks, found {self.symbol!r}"
            )
        if not (math.isfinite(self.tick) and self.tick > 0):
            raise InstrumentError(f"{self.symbol}.tick: expected > 0, found {self.tick!r}")
        if not (math.isfinite(self.lot) and self.lot >= 0):
            raise InstrumentError(f"{self.symbol}.lot: expected >= 0, found {self.lot!r}")
        if not self.currency:
            raise InstrumentError(
                f"{self.symbol}.currency: expected a code, found {self.currency!r}"
            )
        if self.sector is not None and (not self.sector or self.sector != self.sector.strip()):
            raise InstrumentError(
                f"{self.symbol}.sector: expected a name without surrounding blanks or None, "
                f"found {self.sector!r}"
            )
        if self.calendar is not None:
            check_name(self.calendar)


def instruments_for(
    symbols: Sequence[str], instruments: Sequence[Instrument] | None
) -> tuple[Instrument, ...]:
    """Give every symbol its instrument, in the order of `symbols`.

    Args:
        symbols: The symbols wanted.
        instruments: Instruments to choose from; None makes defaults for all.

    Returns:
        One instrument for each symbol.

    Raises:
        InstrumentError: A symbol has no instrument, or two instruments share a symbol.
    """
    if instruments is None:
        return tuple(Instrument(symbol) for symbol in symbols)
    known = {instrument.symbol: instrument for instrument in instruments}
    if len(known) != len(instruments):
        names = [instrument.symbol for instrument in instruments]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InstrumentError(f"instruments: expected one for each symbol, found two for {twice}")
    lacking = [symbol for symbol in symbols if symbol not in known]
    if lacking:
        raise InstrumentError(f"instruments: none for {lacking}; known are {sorted(known)}")
    return tuple(known[symbol] for symbol in symbols)

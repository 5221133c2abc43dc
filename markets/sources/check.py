"""A second look at a data set: faults, gaps, extreme moves, stale opens, actions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markets.bars import Bars
from markets.calendars import NS_PER_DAY, check_name, session_of, sessions
from markets.errors import MarketDataError
from markets.manifest import Manifest
from markets.sources.config import DataConfig, changed
from markets.times import show

__all__ = ["CheckReport", "Gap", "Move", "check_bars", "check_config"]

MOVE_SIGMAS = 10.0
"""A move of more robust standard deviations than this is listed."""
STALE_SHARE = 0.3
"""A larger share of opens that repeat the last close means that the open was not traded."""
_DAILY = 400.0  # bars a year up to which bars count as daily
_SHOWN = 8


@dataclass(frozen=True)
class Gap:
    """Sessions of a calendar, between a symbol's first and last bar, without a bar.

    Attributes:
        symbol: Symbol.
        calendar: exchange_calendars name.
        sessions: Dates without a bar, ISO 8601.
        outside: Dates of bars that are no session, ISO 8601.
    """

    symbol: str
    calendar: str
    sessions: tuple[str, ...]
    outside: tuple[str, ...]


@dataclass(frozen=True)
class Move:
    """A bar that stands out.

    Attributes:
        symbol: Symbol.
        when: Time of the bar, ISO 8601.
        change: Return since the symbol's last bar, splits and dividends included, as a fraction.
        sigmas: The same move in robust standard deviations of the symbol's log returns.
        hint: What it may be.
    """

    symbol: str
    when: str
    change: float
    sigmas: float
    hint: str


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What was found; ``str(report)`` is the page to print.

    Attributes:
        dataset: What was checked.
        faults: Why it cannot be loaded as it is; empty if it can.
        manifest: Provenance, or None if nothing could be loaded.
        summary: Size and time axis in words; empty if nothing could be loaded.
        gaps: Sessions without a bar and bars without a session.
        moves: The most extreme moves.
        warnings: Anything else that a reader should know.
        actions: Number of splits and dividends by symbol.
    """

    dataset: str
    faults: tuple[str, ...]
    manifest: Manifest | None = None
    summary: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()
    moves: tuple[Move, ...] = ()
    warnings: tuple[str, ...] = ()
    actions: tuple[tuple[str, int, int], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it loads without a fault; warnings do not count."""
        return not self.faults

    def __str__(self) -> str:
        lines = [f"{self.dataset}: {'no faults' if self.ok else 'FAULTS'}"]
        lines += [f"  {line}" for fault in self.faults for line in fault.splitlines()]
        lines += [f"  {line}" for line in self.summary]
        lines += self._manifest_lines()
        lines += [
            f"  actions   {symbol}: {splits} splits, {dividends} dividends"
            for symbol, splits, dividends in self.actions
        ]
        for gap in self.gaps:
            lines += _gap_lines(gap)
        lines += [
            f"  move      {m.symbol} {m.when}: {m.change:+.1%}, {m.sigmas:.0f} sigmas{m.hint}"
            for m in self.moves
        ]
        lines += [f"  warning   {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def _manifest_lines(self) -> list[str]:
        if self.manifest is None:
            return []
        notes = [f"  note      {note}" for note in self.manifest.notes]
        repairs = [
            f"  repair    {r.policy}, {r.rule}: {r.count}, first: {'; '.join(r.first[:2])}"
            for r in self.manifest.repairs
        ]
        return [
            f"  source    {self.manifest.source}",
            f"  licence   {self.manifest.licence}",
            f"  adjusted  {self.manifest.adjusted}",
            f"  sha256    {self.manifest.sha256}",
            *repairs,
            *notes,
        ]


def _gap_lines(gap: Gap) -> list[str]:
    lines = []
    for what, days in (("sessions without a bar", gap.sessions), ("outside", gap.outside)):
        if days:
            more = ", ..." if len(days) > _SHOWN else ""
            shown = ", ".join(days[:_SHOWN])
            lines.append(
                f"  gap       {gap.symbol} {gap.calendar}: {len(days)} {what}: {shown}{more}"
            )
    return lines


def check_config(config: DataConfig, name: str, calendar: str | None = None) -> CheckReport:
    """Load a data set and look at it.

    Args:
        config: Which data.
        name: What to call it.
        calendar: exchange_calendars name to look for gaps against; None: the instruments' own.

    Returns:
        The report. Where the data cannot be loaded as it is, its faults are listed, and what
        ``repair: mask`` would leave is described.

    Raises:
        CalendarError: The calendar is unknown.
    """
    if calendar is not None:
        check_name(calendar)
    faults: tuple[str, ...] = ()
    try:
        dataset = config.load()
    except MarketDataError as error:
        faults = (str(error),)
        try:
            dataset = changed(config, repair="mask").load()
        except (MarketDataError, TypeError):  # nothing mends it, or the source has no repair
            return CheckReport(dataset=name, faults=faults)
    report = check_bars(dataset.bars, calendar)
    after = ("the rest describes what repair: mask would leave",) if faults else ()
    return CheckReport(
        dataset=name,
        faults=faults,
        manifest=dataset.manifest,
        summary=(*after, *report.summary),
        gaps=report.gaps,
        moves=report.moves,
        warnings=report.warnings,
        actions=report.actions,
    )


def check_bars(bars: Bars, calendar: str | None = None) -> CheckReport:
    """Look at bars that are loaded.

    Args:
        bars: The bars.
        calendar: exchange_calendars name to look for gaps against; None: the instruments' own.

    Returns:
        The report, without faults and manifest.
    """
    moves = [move for a in range(bars.num_assets) for move in _moves(bars, a)]
    kinds = list(zip(bars.actions.symbol, bars.actions.kind, strict=True))
    return CheckReport(
        dataset=repr(bars),
        faults=(),
        summary=_summary(bars),
        gaps=tuple(
            gap for a in range(bars.num_assets) if (gap := _gap(bars, a, calendar)) is not None
        ),
        moves=tuple(sorted(moves, key=lambda move: -move.sigmas)[:_SHOWN]),
        warnings=tuple(w for a in range(bars.num_assets) for w in _warnings(bars, a)),
        actions=tuple(
            (symbol, kinds.count((symbol, "split")), kinds.count((symbol, "dividend")))
            for symbol in bars.symbols
            if symbol in bars.actions.symbol
        ),
    )


def _present(bars: Bars, asset: int) -> NDArray[np.int64]:
    return np.flatnonzero(~bars.missing[:, asset])


def _summary(bars: Bars) -> tuple[str, ...]:
    first, last = (show(int(bars.ts_event[row])) for row in (0, -1))
    lines = [f"{bars.num_bars:,} bars of {bars.num_assets} symbols, {first} to {last}"]
    for asset, symbol in enumerate(bars.symbols):
        rows = _present(bars, asset)
        begin, finish = (show(int(bars.ts_event[rows[i]])) for i in (0, -1))
        lines.append(f"{symbol}: {len(rows):,} bars, {begin} to {finish}")
    return tuple(lines)


def _gap(bars: Bars, asset: int, calendar: str | None) -> Gap | None:
    name = calendar or bars.instruments[asset].calendar
    if name is None:
        return None
    ts_event = bars.ts_event[_present(bars, asset)]
    dated = bool((ts_event % NS_PER_DAY == 0).all())  # days without a calendar: midnight UTC
    known = sessions(name, int(ts_event[0]), int(ts_event[-1]))
    days = ts_event if dated else session_of(name, ts_event)
    outside = np.setdiff1d(days, known) if dated else ts_event[days < 0] // NS_PER_DAY * NS_PER_DAY
    absent = np.setdiff1d(known, days)
    if not len(absent) and not len(outside):
        return None
    return Gap(
        bars.symbols[asset],
        name,
        tuple(show(int(day)) for day in absent),
        tuple(show(int(day)) for day in np.unique(outside)),
    )


def _total_log_returns(bars: Bars, asset: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log returns between a symbol's bars, with the splits and dividends between them."""
    shares = np.cumprod(bars.split_TA[:, asset])
    cash = np.cumsum(bars.dividend_TA[:, asset] * shares)
    value = bars.close[rows, asset] * shares[rows]
    paid = np.diff(cash[rows])
    return np.log((value[1:] + paid) / value[:-1])


def _moves(bars: Bars, asset: int) -> list[Move]:
    rows = _present(bars, asset)
    if len(rows) < 20 or bool((bars.close[rows, asset] <= 0).any()):
        return []
    returns = _total_log_returns(bars, asset, rows)
    scale = 1.4826 * float(np.median(np.abs(returns - np.median(returns))))
    if scale == 0:
        return []
    sigmas = np.abs(returns) / scale
    return [
        Move(
            symbol=bars.symbols[asset],
            when=show(int(bars.ts_event[rows[i + 1]])),
            change=float(np.expm1(returns[i])),
            sigmas=float(sigmas[i]),
            hint=_hint(returns, i),
        )
        for i in np.flatnonzero(sigmas > MOVE_SIGMAS)
    ]


def _hint(returns: NDArray[np.float64], i: int) -> str:
    """Say what a move may be: a split that is not in the actions, or an erroneous print."""
    following = returns[i + 1] if i + 1 < len(returns) else 0.0
    if abs(returns[i]) > 0.1 and abs(returns[i] + following) < 0.3 * abs(returns[i]):
        return ", taken back by the next bar: an erroneous price?"
    ratio = np.exp(abs(returns[i]))
    whole = round(float(ratio))
    if whole >= 2 and abs(ratio / whole - 1.0) < 0.04:
        split = f"{whole}:1" if returns[i] < 0 else f"1:{whole}"
        return f": a {split} split that is not in the actions?"
    return ""


def _warnings(bars: Bars, asset: int) -> list[str]:
    rows = _present(bars, asset)
    symbol = bars.symbols[asset]
    warnings = []
    silent = int((bars.volume[rows, asset] == 0).sum())
    if silent:
        warnings.append(
            f"{symbol}: {silent} bars without volume: an order limited by it stays open"
        )
    repeated = bars.open[rows[1:], asset] == bars.close[rows[:-1], asset]
    share = float(repeated.mean()) if len(repeated) else 0.0
    if share > STALE_SHARE and bars.bars_per_year < _DAILY:
        warnings.append(
            f"{symbol}: {share:.0%} of the opens repeat the last close: they were not traded, and"
            " filling at the open means nothing"
        )
    wide = bars.high[rows, asset] > 2.0 * bars.low[rows, asset]
    warnings += [
        f"{symbol} {show(int(bars.ts_event[rows[i]]))}: low {bars.low[rows[i], asset]:g}, high"
        f" {bars.high[rows[i], asset]:g}: erroneous prices?"
        for i in np.flatnonzero(wide & (bars.low[rows, asset] > 0))[:_SHOWN]
    ]
    return warnings

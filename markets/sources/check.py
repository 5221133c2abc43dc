"""A second look at a data set: faults, gaps, extreme moves, suspicious values, actions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markets.bars import Bars
from markets.calendars import NS_PER_DAY, check_name, session_of, sessions
from markets.errors import MarketDataError
from markets.inspection import Suspicion, suspicious
from markets.manifest import Manifest
from markets.sources.config import DataConfig, changed
from markets.times import show

__all__ = ["CheckReport", "Gap", "Move", "check_bars", "check_config"]

MOVE_SIGMAS = 10.0
"""A move of more robust standard deviations than this is listed."""
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
    """

    symbol: str
    when: str
    change: float
    sigmas: float


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
        suspicions: Values that are possible but improbable: spikes, unrecorded splits, stale opens.
        warnings: Anything else that a reader should know.
        actions: Number of splits and dividends by symbol.
    """

    dataset: str
    faults: tuple[str, ...]
    manifest: Manifest | None = None
    summary: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()
    moves: tuple[Move, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()
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
            f"  move      {m.symbol} {m.when}: {m.change:+.1%}, {m.sigmas:.0f} sigmas"
            for m in self.moves
        ]
        lines += _suspicion_lines(self.suspicions)
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
            where = f"{gap.symbol} {gap.calendar}"
            lines.append(f"  gap       {where}: {len(days)} {what}: {shown}{more}")
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
        suspicions=report.suspicions,
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
        suspicions=suspicious(bars),
        warnings=tuple(_silent(bars)),
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
    returns: NDArray[np.float64] = np.log((value[1:] + paid) / value[:-1])
    return returns


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
        )
        for i in np.flatnonzero(sigmas > MOVE_SIGMAS).tolist()
    ]


def _silent(bars: Bars) -> list[str]:
    """Say which symbols have bars without volume."""
    counts = ((bars.volume == 0) & ~bars.missing).sum(axis=0)
    return [
        f"{symbol}: {count} bars without volume: a volume limit fills nothing there"
        for symbol, count in zip(bars.symbols, counts.tolist(), strict=True)
        if count
    ]


def _suspicion_lines(suspicions: tuple[Suspicion, ...]) -> list[str]:
    """The first suspicions of each kind, and how many there are."""
    lines = []
    for kind in dict.fromkeys(suspicion.kind for suspicion in suspicions):
        mine = [suspicion for suspicion in suspicions if suspicion.kind == kind]
        lines += [f"  suspect   {kind}: {suspicion}" for suspicion in mine[:_SHOWN]]
        if len(mine) > _SHOWN:
            lines.append(f"  suspect   {kind}: {len(mine) - _SHOWN} more")
    return lines

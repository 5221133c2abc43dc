"""Phases of recorded data: between dates, or between changes that a detector of regimes has seen.

The training span is cut into phases. The last `holdout` of a phase's bars is judged on and never
learned from. Between what is learned and what is held out, and between phases, as many bars are
left out as the split leaves between its spans (`purge + embargo`, see `markets.spans`).

Held-out episodes have the length of the training's and start at fixed bars, evenly spaced. They
are the same whatever the seed, and where there are many of them they overlap: what is inferred
from them must redraw neighbours together (`AcceptanceConfig.block`). A gate that judges many
updates on them spends its error rate over these updates, but they remain the same bars.

Dimensions: T bars, N lanes, E episodes, R regimes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from agents.policy import Policy
from envs.config import TradingConfig
from envs.joined import JoinedSimulator
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator
from evaluation import metrics
from evaluation.briefing import Briefing
from markets.splits import Rows
from training.config import TrainConfig
from training.continual.config import CalendarPhases, ContinualConfig, DetectorPhases
from training.continual.phases import Phase, Plan, Scores
from training.errors import ConfigError
from training.preparation import Prepared
from training.tasks.data import DataTask
from training.tasks.task import Task

Array = NDArray[np.float64]
_OF_DETECTOR = "regime "
"""Names of a detector's regimes begin so; its column in the belief follows."""


@dataclass(frozen=True)
class Stretch:
    """The bars of a phase."""

    phase: int
    """Its number."""
    learned: Rows
    """Bars that episodes of the training may touch."""
    held: Rows
    """Bars that are judged on."""


class DataRegime:
    """A regime of recorded data: the bars of all phases of one name.

    Args:
        name: in words.
        market: all bars.
        trading: the learner's rules; episodes have a length.
        stretches: its bars, in the order of time.
    """

    def __init__(
        self,
        name: str,
        market: MarketArrays,
        trading: TradingConfig,
        stretches: Sequence[Stretch],
    ) -> None:
        self._name, self._market, self._trading = name, market, trading
        self.stretches = tuple(stretches)

    @property
    def name(self) -> str:
        """In words."""
        return self._name

    def until(self, phase: int) -> "DataRegime":
        """The regime without the bars of later phases, which are the future then."""
        known = [stretch for stretch in self.stretches if stretch.phase <= phase]
        return DataRegime(self._name, self._market, self._trading, known)

    def simulator(self, seed: int, *, lanes: int, offset: int = 0) -> Simulator | JoinedSimulator:
        """Environments on the learned bars.

        Stretches get as many lanes each, the newest what is left over; where there are more
        stretches than lanes the newest get one each.
        """
        chosen = self.stretches[-lanes:]
        each, more = divmod(lanes, len(chosen))
        parts = []
        for number, stretch in enumerate(chosen):
            count = each + (number >= len(chosen) - more)
            parts.append(
                Simulator(
                    self._market,
                    self._trading,
                    count,
                    seed=seed,
                    rows=stretch.learned,
                    autoreset="same_step",
                    lane_offset=offset,
                )
            )
            offset += count
        return parts[0] if len(parts) == 1 else JoinedSimulator(parts)

    def starts(self, episodes: int) -> NDArray[np.int64]:
        """First decision bars of the held-out episodes, ascending, (E,).

        Args:
            episodes: as many as are wanted; E is less where there are not so many starts.
        """
        each, more = divmod(episodes, len(self.stretches))
        found = []
        for number, stretch in enumerate(self.stretches):
            last = stretch.held.stop - 1 - self._length
            count = min(each + (number < more), last - stretch.held.start + 1)
            found.append(np.linspace(stretch.held.start, last, count).round().astype(np.int64))
        return np.concatenate(found)

    def overlap(self, episodes: int) -> float:
        """How many held-out episodes a bar belongs to, at most: length over least distance."""
        starts_E = self.starts(episodes)
        if len(starts_E) < 2:
            return 1.0
        return max(1.0, self._length / float(np.diff(starts_E).min()))

    def judge(self, policy: Policy, *, seed: int, episodes: int) -> Scores:  # noqa: ARG002 - data has no paths to draw
        """Log growth a bar in held-out episodes, beside that of cash; nobody knows the best.

        Args:
            policy: who acts.
            seed: of no consequence: the bars are what they are.
            episodes: as in `starts`.
        """
        starts_E = self.starts(episodes)
        rows = (self.stretches[0].held.start, self.stretches[-1].held.stop)
        # A ruined lane goes on in a new episode, which nobody reads.
        simulator = Simulator(
            self._market, self._trading, len(starts_E), seed=0, rows=rows, autoreset="next_step"
        )
        simulator.reset(start=starts_E)
        policy.reset(len(starts_E))
        briefing = Briefing(policy, simulator)
        growth_E, live_E = np.zeros(len(starts_E)), np.ones(len(starts_E), np.bool_)
        peak_E, drawdown_E = simulator.equity_N.copy(), np.zeros(len(starts_E))
        for _ in range(self._length):
            before_E = simulator.equity_N.copy()
            briefing.before()
            acted = np.asarray(policy.act(simulator.observe_index()), np.float64)
            actions_ED = acted.reshape(len(starts_E), simulator.action_size)
            briefing.look(actions_ED)
            simulator.step(actions_ED)
            briefing.after()
            returns_E = simulator.equity_N / before_E - 1.0
            growth_E += np.where(live_E, metrics.log_returns(returns_E), 0.0)
            np.maximum(peak_E, simulator.equity_N, out=peak_E, where=live_E)
            fallen_E = 1.0 - simulator.equity_N / peak_E
            np.maximum(drawdown_E, fallen_E, out=drawdown_E, where=live_E)
            live_E &= ~simulator.terminated_N
        return Scores(growth_E / self._length, self._cash(starts_E), None, drawdown_E)

    def _cash(self, starts_E: NDArray[np.int64]) -> Array:
        """Log growth a bar of cash: the interest that it bears."""
        rate = self._trading.financing.credit_annual_rate
        interest_T = np.log1p(rate * self._market.year_fraction_T)
        return np.array([interest_T[s + 1 : s + 1 + self._length].mean() for s in starts_E])

    @property
    def independent(self) -> int:
        """How many held-out episodes there are room for without overlap."""
        return sum((stretch.held.size - 1) // self._length for stretch in self.stretches)

    @property
    def _length(self) -> int:
        return self._trading.episode.length or 1


def data_plan(
    config: TrainConfig,
    continual: ContinualConfig,
    phases: CalendarPhases | DetectorPhases,
    task: Task | None,
) -> Plan:
    """The phases of recorded data.

    Args:
        config: of the run.
        continual: its stream.
        phases: where they begin.
        task: the recorded market, where it is open; None opens it.

    Raises:
        ConfigError: a synthetic market, borders outside the training span, a phase with fewer bars
            than it needs, no detector, or a gate that takes overlapping episodes as independent.
    """
    if config.market is not None:
        raise ConfigError(
            "continual.phases.kind: expected regimes on a synthetic market, which has no dates, "
            f"found {phases.kind}"
        )
    task = task if isinstance(task, DataTask) else DataTask(config)
    prepared, trading = task.prepared, task.trading
    if trading.episode.length is None:
        raise ConfigError(
            "env.episode.length: expected a number of bars, as episodes of that length are held "
            "out of every phase, found null"
        )
    if isinstance(phases, CalendarPhases):
        rows, names = _between_dates(phases, prepared)
    else:
        rows, names = _between_changes(config, phases, prepared, trading.episode.length)
    gap = gap_between(config)
    stretches = [
        cut(number, span, phases.holdout, gap if number < len(rows) - 1 else 0, gap)
        for number, span in enumerate(rows)
    ]
    for stretch, name in zip(stretches, names, strict=True):
        _require_bars(stretch, name, prepared, trading.episode.length)
    order = tuple(dict.fromkeys(names))
    regimes = tuple(
        DataRegime(
            name,
            prepared.market,
            trading,
            [s for s, own in zip(stretches, names, strict=True) if own == name],
        )
        for name in order
    )
    _require_blocks(continual, regimes)
    return Plan(
        regimes=regimes,
        phases=tuple(Phase(n, order.index(name)) for n, name in enumerate(names)),
        known=False,
        mixed=True,
        numbers=_columns(order) if isinstance(phases, DetectorPhases) else None,
        opening=(*_opening(phases, prepared, stretches, names), *_of_gate(continual)),
    )


def changes(likeliest_T: NDArray[np.int64], confirm: int, minimum: int) -> list[int]:
    """Bars at which a new phase begins; none depends on later bars.

    A phase belongs to the regime that was the likeliest in its first bar. The next one begins at
    the bar in which one other regime has been the likeliest for the `confirm`-th time in a row, and
    the phase has lasted for `minimum` bars.

    Args:
        likeliest_T: regime of the largest filtered belief at each bar's close.
        confirm: bars in a row, from 1 on.
        minimum: least bars of a phase that is followed by another.

    Returns:
        First bars of the phases from the second on, ascending.
    """
    found, start, run = [], 0, 0
    for bar, regime in enumerate(likeliest_T):
        run = run + 1 if bar and regime == likeliest_T[bar - 1] else 1
        if regime != likeliest_T[start] and run >= confirm and bar - start >= minimum:
            found.append(bar)
            start = bar
    return found


def _between_dates(phases: CalendarPhases, prepared: Prepared) -> tuple[list[Rows], list[str]]:
    """Rows and names of the phases between dates."""
    train = prepared.split.train
    day_T = prepared.bars.ts_event.astype("datetime64[ns]").astype("datetime64[D]")
    first, last = day_T[train.start], day_T[train.stop - 1]
    for border in phases.borders:
        if not first < np.datetime64(border, "D") <= last:
            raise ConfigError(
                f"continual.phases.borders: expected days after {first}, the first of the training "
                f"span behind the warm-up, and up to {last}, its last, found {border}"
            )
    cuts = [int(np.searchsorted(day_T, np.datetime64(day, "D"))) for day in phases.borders]
    rows = [Rows(a, b) for a, b in pairwise([train.start, *cuts, train.stop])]
    days = [str(first), *map(str, phases.borders)]
    return rows, list(phases.names) or days


def _between_changes(
    config: TrainConfig, phases: DetectorPhases, prepared: Prepared, length: int
) -> tuple[list[Rows], list[str]]:
    """Rows and names of the phases between changes that the detector saw.

    A last phase that is too short to be learned and judged is left out: the data ends before it
    has lasted.
    """
    block, train = prepared.regimes, prepared.split.train
    if block is None:
        raise ConfigError(
            "continual.phases.kind: expected a detector of regimes (regime=hmm, dpgmm, ...) for "
            "phases between its changes, found regime=none"
        )
    columns = [n for n, name in enumerate(block.names) if name.startswith("belief_")]
    likeliest_T = block.values_TB[train.start : train.stop, columns].argmax(axis=1)
    cuts = changes(likeliest_T, phases.confirm, phases.minimum)
    if not cuts:
        raise ConfigError(
            f"continual.phases: expected a change of the likeliest regime that lasts for "
            f"{phases.confirm} bars (confirm) after {phases.minimum} bars (minimum) in the "
            f"{train.size:,} bars of the training span, found none"
        )
    starts = [0, *cuts]
    names = [f"{_OF_DETECTOR}{likeliest_T[start]}" for start in starts]
    bounds = [train.start + start for start in [*starts, train.size]]
    rows = [Rows(a, b) for a, b in pairwise(bounds)]
    final = cut(0, rows[-1], phases.holdout, 0, gap_between(config))
    if len(rows) > 2 and lacks(final, length):
        rows, names = rows[:-1], names[:-1]
    return rows, names


def _columns(names: Sequence[str]) -> tuple[int, ...]:
    """Columns of a detector's regimes in its belief, from their names."""
    return tuple(int(name.removeprefix(_OF_DETECTOR)) for name in names)


def gap_between(config: TrainConfig) -> int:
    """Bars left out between spans of recorded data."""
    return config.recorded.split.purge + config.recorded.split.embargo


def cut(number: int, rows: Rows, holdout: float, after: int, gap: int) -> Stretch:
    """Cut a phase into what is learned and what is held out.

    Args:
        number: of the phase.
        rows: from its border to the next.
        holdout: share that is held out.
        after: bars left out at the end.
        gap: bars left out between the two.
    """
    stop = max(rows.start, rows.stop - after)
    held = Rows(stop - round(holdout * (stop - rows.start)), stop)
    return Stretch(number, Rows(rows.start, max(rows.start, held.start - gap)), held)


def lacks(stretch: Stretch, length: int) -> bool:
    """Whether a phase has no episode to learn in, or not two to be judged in."""
    return stretch.learned.size < length + 1 or stretch.held.size < length + 2


def _require_bars(stretch: Stretch, name: str, prepared: Prepared, length: int) -> None:
    if not lacks(stretch, length):
        return
    start = prepared.bars.ts_event[stretch.learned.start].astype("datetime64[ns]")
    raise ConfigError(
        f"continual.phases: phase {stretch.phase} ({name}), from {start.astype('datetime64[D]')}: "
        f"expected at least {length + 1} bars to learn from and {length + 2} held out for episodes "
        f"of {length} bars, found {stretch.learned.size} and {stretch.held.size}; move the "
        "borders, change holdout, or shorten env.episode.length"
    )


def _require_blocks(continual: ContinualConfig, regimes: Sequence[DataRegime]) -> None:
    """Refuse a gate that would take overlapping episodes as independent: it would accept too much.

    Raises:
        ConfigError: its block is shorter than the overlap.
    """
    if continual.gate is None or continual.gate.acceptance.block is None:
        return
    acceptance = continual.gate.acceptance
    for regime in regimes:
        overlap = regime.overlap(acceptance.episodes)
        if acceptance.block is not None and acceptance.block < overlap:
            raise ConfigError(
                f"continual.gate.acceptance.block: expected null (measured) or at least "
                f"{overlap:.4g}, as {len(regime.starts(acceptance.episodes)):,} held-out episodes "
                f"of {regime.name} overlap so much, found {acceptance.block:g}"
            )


def _of_gate(continual: ContinualConfig) -> tuple[str, ...]:
    """What a gate without a floor lets pass on recorded data, where agents may earn nothing."""
    if continual.gate is None or continual.gate.acceptance.floor > 0.0:
        return ()
    share = "a share of what the champion earns more than cash: of one that earns nothing more"
    return (
        f"gate    tolerates {share} (as at first) only a sure gain passes",
        "gate    a loss of log growth a bar besides: continual.gate.acceptance.floor=0.0001",
    )


def _opening(
    phases: CalendarPhases | DetectorPhases,
    prepared: Prepared,
    stretches: Sequence[Stretch],
    names: Sequence[str],
) -> tuple[str, ...]:
    """What the phases are, in lines."""
    day_T = prepared.bars.ts_event.astype("datetime64[ns]").astype("datetime64[D]")

    def span(rows: Rows) -> str:
        return f"{day_T[rows.start]} to {day_T[rows.stop - 1]} ({rows.size:,} bars)"

    lines = [
        f"phase   {s.phase}: {name}, learned {span(s.learned)}, held out {span(s.held)}"
        for s, name in zip(stretches, names, strict=True)
    ]
    once = [name for name in dict.fromkeys(names) if list(names).count(name) == 1]
    if once:
        lines.append(
            f"phase   never seen again after their phase: {', '.join(once)}; their held-out bars "
            "alone show whether they are kept"
        )
    if isinstance(phases, DetectorPhases):
        end, stop = stretches[-1].held.stop, prepared.split.train.stop
        if end < stop:
            lines.append(
                f"phase   the last {stop - end:,} bars of the training span are in none: too few "
                "for a phase"
            )
        lines.append(
            "phase   borders come from filtered beliefs, but of a detector that was fitted on the "
            "whole training span"
        )
    return tuple(lines)

"""A detector at work on recorded bars, as people see it: behind ``perennial regimes plot``.

The fit reads the training rows and nothing else; the beliefs are filtered forward over all bars,
as an agent sees them.

Dimensions: T bars, K regimes, A assets.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.regime_summary import CRISES, RefitMark, RegimeHistory
from markets.bars import Bars
from markets.manifest import Manifest
from markets.sources.config import load_dataset
from markets.splits import Rows
from regimes.base import Array, Observations
from regimes.change_points import BOCPDModel
from regimes.config import RegimeConfig
from regimes.inputs import InputConfig, observations_of
from regimes.matching import by_volatility
from regimes.online import OnlineDetector, Refit
from regimes.rule import RuleModel
from training.errors import ConfigError
from training.regime_block import fall_backs, fit_detector

__all__ = ["ALARM_BARS", "RegimeView", "first_share", "require_share", "view", "view_of_run"]

ALARM_BARS: Final = 10
"""A change point within so many bars is a recent one."""

_WORDS: Final = {
    1: ("only",),
    2: ("calm", "wild"),
    3: ("calm", "middle", "wild"),
    4: ("calm", "mild", "rough", "wild"),
}
Holders = tuple[int | None, ...]
"""Ids of the regimes in the slots of a belief, (C,); None in a slot that nobody holds."""
_DAILY_NS: Final = 20 * 3600 * 10**9
_GONE: Final = "no longer used"


@dataclass(frozen=True, eq=False)
class RegimeView:
    """What a detector made of a data set.

    Attributes:
        label: of the data set or the run.
        name: of the detector, as it was chosen.
        kind: of the detector.
        history: beliefs and the market, for the figure and the tables.
        train: rows that the first model was fitted on.
        refits: attempts to learn on, oldest first.
        lost: where the belief fell back to the last good one, a line for each stretch.
        slots: names of the columns of the belief that agents see, in their order (C,): that of the
            regime which holds the slot, or its number where none does at the end, or several did.
    """

    label: str
    name: str
    kind: str
    history: RegimeHistory
    train: Rows
    refits: tuple[Refit, ...]
    lost: tuple[str, ...]
    slots: tuple[str, ...]

    def date(self, row: int) -> str:
        """UTC date of a row, and its time where there is one; of the last row beyond the end."""
        times_T = self.history.ts_event
        stamp = times_T[min(row, len(times_T) - 1)]
        text = str(stamp.astype("datetime64[ns]").astype("datetime64[m]"))
        # Bars that are a day apart need no time of day.
        close = float(np.median(np.diff(times_T))) < _DAILY_NS
        return text if close else text[:10]


def require_share(share: float) -> None:
    """Refuse what is no share.

    Raises:
        ConfigError: it is not in (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"train: expected a share of the bars in (0, 1], was {share}")


def first_share(bars: Bars, share: float) -> Rows:
    """The first bars, as many as a share in (0, 1] says.

    Raises:
        ConfigError: another share.
    """
    require_share(share)
    return Rows(0, max(1, round(bars.num_bars * share)))


def view(
    bars: Bars, config: RegimeConfig, train: Rows, *, label: str, name: str, fitted: str = ""
) -> RegimeView:
    """Fit a detector on the training rows and filter forward over all bars.

    Args:
        bars: raw bars.
        config: of the detector.
        train: rows of the fit.
        label: of the data, for people.
        name: of the detector, likewise.
        fitted: a detector fitted on these rows before, as JSON, instead of a fit.

    Raises:
        RegimeError: bars that are not fit for the detector; says how.
    """
    seen = observations_of(bars, config.inputs)
    market = seen if config.inputs == InputConfig() else observations_of(bars)
    if fitted:
        detector = OnlineDetector.from_json(fitted)
    else:
        detector = fit_detector(config, bars, seen, train)
    with fall_backs() as lost:
        by_id, holders, alarm_T = _filtered(detector, seen, train.stop, config.refit_every)
    names, belief_TK, transition_KK, gone = _for_people(detector, by_id)
    # Until something moves the prior, nothing is believed of the data.
    belief_TK[: int(np.argmax((belief_TK != belief_TK[0]).any(axis=1)))] = np.nan
    history = RegimeHistory(
        title=f"{label}: regimes by {name}",
        ts_event=bars.ts_event,
        level_T=np.exp(np.cumsum(np.nan_to_num(market.y_TD[:, 0]))),
        belief_TK=belief_TK,
        names=names,
        transition_KK=transition_KK,
        known_from=train.stop,
        crises=CRISES,
        refits=tuple(
            RefitMark(event.bar, event.accepted, event.reason) for event in detector.events
        ),
        alarm_T=alarm_T,
        alarm_bars=ALARM_BARS,
        gone=gone,
    )
    return RegimeView(
        label=label,
        name=name,
        kind=detector.model.kind,
        history=history,
        train=train,
        refits=detector.events,
        lost=tuple(lost),
        slots=_slot_names(detector, holders, names),
    )


def view_of_run(folder: Path) -> RegimeView:
    """What the agents of a run saw: its data, its split and the detector in its checkpoint.

    Raises:
        ConfigError: the run saw no detector's beliefs, or has no checkpoint yet.
        ManifestError: the data is not that of the run.
    """
    # Heavy, and of no use for other views.
    from training.config import TrainConfig  # noqa: PLC0415
    from training.learning import saved_fits  # noqa: PLC0415
    from training.regime_block import REGIMES  # noqa: PLC0415

    config = TrainConfig.from_yaml(folder / "config.yaml")
    regime = config.regime
    if not isinstance(regime, RegimeConfig):
        found = "none" if regime is None else regime.kind
        raise ConfigError(f"{folder}: expected a run with a detector of regimes, found {found}")
    saved = saved_fits(config, folder)
    if REGIMES not in saved:
        raise ConfigError(f"{folder}: expected a checkpoint with {REGIMES}, found none yet")
    bars = load_dataset(config.recorded.data).bars
    Manifest.read(folder / "data.json").verify(bars)
    split = config.recorded.split.splits(bars.ts_event)[config.fold]
    name = regime.detector.kind
    return view(bars, regime, split.train, label=folder.name, name=name, fitted=saved[REGIMES])


def _filtered(
    detector: OnlineDetector, seen: Observations, until: int, every: int | None
) -> tuple[dict[int, Array], list[Holders], Array | None]:
    """Beliefs (T,) by the id of the regime, who held the slots, and the odds of a recent change.

    A slot of a belief can be given to another regime by a refit; between two refits the ids stay.
    """
    bars = len(seen)
    ends = [] if every is None else list(range(until + every, bars, every))
    by_id: dict[int, Array] = {}
    alarms: list[Array] = []
    holders: list[Holders] = []
    for start, stop in zip([0, *ends], [*ends, bars], strict=True):
        ids, part = detector.ids, seen.rows(start, stop)
        if isinstance(detector.model, BOCPDModel):
            state_S = detector.detector.state.filter_S
            alarms.append(_alarm(detector.model, part, state_S))
        holders.append(ids)
        belief_TC = detector.filter(part)
        for slot, regime in enumerate(ids):
            if regime is not None:
                by_id.setdefault(regime, np.zeros(bars))[start:stop] = belief_TC[:, slot]
    return by_id, holders, np.concatenate(alarms) if alarms else None


def _slot_names(
    detector: OnlineDetector, holders: list[Holders], names: tuple[str, ...]
) -> tuple[str, ...]:
    """Names of the belief's slots, (C,).

    Args:
        detector: at the end.
        holders: ids of the regimes in the slots, between two refits each.
        names: of the regimes at the end, from the calmest to the wildest.
    """
    labels = detector.detector.labels
    ranked = [labels.ids[regime] for regime in by_volatility(detector.model)]
    by_id = dict(zip(ranked, names, strict=False))  # a last name may stand for all that have gone
    found = []
    for slot, ids in enumerate(zip(*holders, strict=True)):
        held = {regime for regime in ids if regime is not None}
        only = held.pop() if len(held) == 1 else None
        found.append(f"regime {slot}" if only is None else by_id.get(only, f"regime {slot}"))
    return tuple(found)


def _alarm(model: BOCPDModel, part: Observations, state_S: Array) -> Array:
    """Probability after each bar that the last ones hold a change, (T,).

    Args:
        model: in use for all of these bars.
        part: T bars.
        state_S: of its filter before them; changed.
    """
    alarm_T, within = np.empty(len(part)), min(ALARM_BARS, int(model.longest))
    for bar, (y_D, x_M) in enumerate(zip(part.y_TD, part.x_TM, strict=True)):
        model.advance(state_S, y_D, x_M)
        alarm_T[bar] = model.alarm(state_S, within)
    return alarm_T


def _for_people(
    detector: OnlineDetector, by_id: dict[int, Array]
) -> tuple[tuple[str, ...], Array, Array, bool]:
    """Names, beliefs (T, K) and transitions (K, K) from the calmest regime to the wildest.

    Regimes that refits gave up are one more, the last, without transitions.
    """
    model, labels = detector.model, detector.detector.labels
    order_K = by_volatility(model)
    ids = [labels.ids[regime] for regime in order_K]
    columns = [by_id[regime] if regime in by_id else _never(by_id) for regime in ids]
    transition_KK = model.transition[np.ix_(order_K, order_K)]
    names = _names(model.names, order_K) if isinstance(model, RuleModel) else _ranks(len(ids))
    others = [belief_T for regime, belief_T in by_id.items() if regime not in ids]
    gone = any(float(belief_T.max()) > 0.0 for belief_T in others)
    if gone:
        columns.append(np.sum(others, axis=0))
        transition_KK = np.pad(transition_KK, (0, 1), constant_values=np.nan)
        names = (*names, _GONE)
    return names, np.stack(columns, axis=1), transition_KK, gone


def _never(by_id: dict[int, Array]) -> Array:
    """Beliefs in a regime that came with the last bar's refit."""
    return np.zeros_like(next(iter(by_id.values())))


def _names(names: tuple[str, ...], order_K: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(names[regime] for regime in order_K)


def _ranks(count: int) -> tuple[str, ...]:
    """Names by volatility: words for a few regimes, numbers for many."""
    if count in _WORDS:
        return _WORDS[count]
    middle = (str(rank) for rank in range(2, count))
    return ("1 calmest", *middle, f"{count} wildest")

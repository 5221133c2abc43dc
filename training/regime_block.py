"""A detector's beliefs as features that all assets share, and the detector as a file of a run."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.pipeline import FeatureTensor
from markets.bars import Bars
from markets.splits import Rows
from regimes.base import Observations, RefitRefused, RegimeError, RegimeModel, RegimeWarning
from regimes.belief import columns
from regimes.config import RegimeConfig
from regimes.inputs import observations_of
from regimes.matching import by_volatility
from regimes.online import OnlineDetector, Refit
from training.errors import ConfigError

REGIMES = "regimes.json"
"""File of a checkpoint with the detector as fitted, before its first bar."""


@dataclass(frozen=True, eq=False)
class RegimeBlock:
    """What an agent sees of the regimes, over all bars; a row depends on no later bar.

    Rows of the training span come from parameters that were fitted on the whole of it, as the
    scales of the features do.
    """

    text: str
    """The fitted detector before its first bar, JSON; it gives the same block again."""
    names: tuple[str, ...]
    """Names of the columns, (B,)."""
    values_TB: NDArray[np.float32]
    """Beliefs, entropy, drift and volatility, all finite."""
    warmup: int
    """First row whose belief has seen an observation."""
    refits: tuple[Refit, ...]
    """Attempts to learn on after the training span."""
    lost: tuple[str, ...]
    """Where the belief fell back to the last good one, a line for each stretch."""
    summary: str
    """The detector in a line."""

    @property
    def faults(self) -> list[str]:
        """What went wrong, a line for each kind of fault; empty where nothing did."""
        found = []
        refused = [event for event in self.refits if not event.accepted]
        if refused:
            last = refused[-1]
            found.append(
                f"regimes: {len(refused)} of {len(self.refits)} refits were refused and the old "
                f"model stayed, the last at bar {last.bar}: {last.reason}"
            )
        if self.lost:
            found.append(f"regimes: {len(self.lost)} times without a belief, first {self.lost[0]}")
        return found

    def beside(self, features: FeatureTensor) -> FeatureTensor:
        """The features with these columns after the shared ones."""
        return replace(
            features,
            shared_TG=np.concatenate([features.shared_TG, self.values_TB], axis=1),
            shared_names=(*features.shared_names, *self.names),
            warmup=max(features.warmup, self.warmup),
        )


def regime_block(
    config: RegimeConfig, bars: Bars, train: Rows, fitted: str | None = None
) -> RegimeBlock:
    """Fit a detector on the training rows and filter forward over all bars.

    Args:
        config: of the detector.
        bars: all that is known, raw.
        train: the training rows; the fit reads nothing else, refits only come after them.
        fitted: a detector that was fitted before (`RegimeBlock.text`), instead of a fit.

    Raises:
        ConfigError: the training span is not fit for this detector; the given one is not of this
            configuration, or damaged.
    """
    try:
        seen = observations_of(bars, config.inputs)
        text = fit_detector(config, bars, seen, train).to_json() if fitted is None else fitted
        detector = OnlineDetector.from_json(text)
    except RegimeError as error:
        raise ConfigError(f"regime: {error}") from error
    _require_same(detector, config)
    summary = _summary(detector.model)  # as fitted: refits change it
    with fall_backs() as lost:
        try:
            beliefs = detector.beliefs(seen)
        except RegimeError as error:
            raise ConfigError(f"{REGIMES}: {error}") from error
    names, values_TB = columns(beliefs, detector.detector.span.scale)
    return RegimeBlock(
        text,
        names,
        values_TB.astype(np.float32),
        warmup=config.inputs.warmup,
        refits=detector.events,
        lost=tuple(lost),
        summary=summary,
    )


def fit_detector(
    config: RegimeConfig, bars: Bars, seen: Observations, train: Rows
) -> OnlineDetector:
    """Fit a detector on the training rows.

    Args:
        config: of the detector.
        bars: all that is known, raw.
        seen: what the detector observes of them.
        train: the training rows.

    Raises:
        RegimeError: they are not fit for this detector; where the returns of all assets are
            observed together, the text names the symbols that lack bars.
    """
    ends = int(bars.ts_event[train.start]), int(bars.ts_event[train.stop - 1])
    try:
        return config.build().fit(
            seen.rows(train.start, train.stop), until=train.stop, ts_event=ends
        )
    except RegimeError as error:
        lacking = _lacking(bars, train) if config.inputs.series == "assets" else ""
        if not lacking:
            raise
        raise RegimeError(f"{error}; {lacking}") from error


def _lacking(bars: Bars, train: Rows) -> str:
    """Symbols without all bars of the training span, those that lack the most first."""
    lacks_A = bars.missing[train.start : train.stop].sum(axis=0)
    order = [asset for asset in np.argsort(-lacks_A, kind="stable") if lacks_A[asset]]
    if not order:
        return ""
    told = ", ".join(f"{bars.symbols[k]} has {train.size - lacks_A[k]:,}" for k in order)
    return (
        f"inputs.series=assets needs a bar of every symbol: of the {train.size:,} bars of the "
        f"training span {told}"
    )


@contextmanager
def fall_backs() -> Iterator[list[str]]:
    """Collect, in a line each, where beliefs fell back to the last good one.

    Refused refits are silent, as their events tell of them; other warnings go on. The list is
    filled when the block ends.
    """
    lost: list[str] = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", RegimeWarning)
        yield lost
    for warning in told:
        if not issubclass(warning.category, RegimeWarning):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
        elif not issubclass(warning.category, RefitRefused):
            lost.append(str(warning.message))


def _require_same(detector: OnlineDetector, config: RegimeConfig) -> None:
    found = (detector.detector.config, detector.schedule, detector.detector.seed)
    expected = (config.detector, config.schedule, config.seed)
    if found != expected:
        raise ConfigError(f"{REGIMES}: expected a detector of {expected}, found one of {found}")


def _summary(model: RegimeModel) -> str:
    """Kind and volatilities in the training span."""
    told = ", ".join(f"{model.volatility[k]:.2%}" for k in by_volatility(model))
    return f"{model.kind}, {model.num_regimes} regimes of volatility {told} a bar"

"""A detector of regimes: one model, its running filter, and names that stay.

    detector = Detector(StudentHMMConfig()).fit(train)     # log returns (T,) of the training span
    belief_TC = detector.filter(history)                   # the past at once, or
    belief_C = detector.update(log_return)                 # the next bar: the same floats
    Path("regimes.json").write_text(detector.to_json())    # goes on exactly from here

Dimensions: T bars, D series, M regressors, K regimes, C slots of a belief, S numbers of a state.
"""

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from regimes.base import (
    Array,
    DetectorConfig,
    Observations,
    RegimeError,
    RegimeModel,
    RegimeWarning,
)
from regimes.belief import Beliefs, expected
from regimes.detector_document import (
    DetectorDocument,
    DetectorState,
    LabelsDocument,
    StateDocument,
    TrainingSpan,
    adapter,
)
from regimes.document import arrays_of, documents_of, read, write
from regimes.fitting import fit_model, probabilities
from regimes.kinds import MODELS
from regimes.matching import Labels

__all__ = [
    "Detector",
    "DetectorDocument",
    "DetectorState",
    "TrainingSpan",
    "fit_model",
    "probabilities",
]


FARTHEST = 1e12
"""Largest observation that is judged, in scales of the training span (`TrainingSpan.scale`)."""
FARTHEST_REGRESSOR = 1e100
"""Largest regressor that is judged: its product with a loading and its square stay numbers."""


class Detector:
    """A model of regimes with a running filter.

    Beliefs have `capacity` columns, one for each slot; a slot without a regime holds 0. A belief
    that is not made of probabilities (a model gone wrong) is replaced by the last good one, with a
    `RegimeWarning` at the first bar of each such stretch, and the bar is forgotten. So is a bar
    that no return can explain: an observation beyond `FARTHEST` scales of the training span, or a
    regressor beyond `FARTHEST_REGRESSOR`. Far enough out the densities of all regimes overflow and
    look alike, and the belief would calmly say that nothing had happened.

    Args:
        config: kind and settings.
        seed: of the fit's random restarts.

    Raises:
        RegimeError: the configuration is not one of a detector.
    """

    def __init__(self, config: DetectorConfig, *, seed: int = 0) -> None:
        _require_config(config)
        self.config = config
        self.seed = seed
        self._model: RegimeModel | None = None

    def fit(
        self, train: Observations | ArrayLike, *, ts_event: tuple[int, int] | None = None
    ) -> Self:
        """Fit the model on the training span; the filter begins anew, before any bar.

        Args:
            train: the training span, nothing else is read.
            ts_event: times of its first and last bar for the record, ns UTC.

        Raises:
            RegimeError: too few bars, a constant or collinear input, or a fit that diverged.
        """
        observations = Observations.of(train)
        model = fit_model(self.config, observations, seed=self.seed)
        self._span = TrainingSpan.of(observations, ts_event)
        self._install(model, Labels.fresh(model.num_regimes, self.config.capacity))
        self.restart()
        return self

    @property
    def model(self) -> RegimeModel:
        """The fitted model.

        Raises:
            RegimeError: not fitted.
        """
        if self._model is None:
            raise RegimeError("detector: expected a fitted one; call fit(train) first")
        return self._model

    @property
    def labels(self) -> Labels:
        """Names and places of the model's regimes."""
        _ = self.model
        return self._labels

    @property
    def ids(self) -> tuple[int | None, ...]:
        """Id of the regime in each slot, (C,); None where none lives."""
        by_slot = dict(zip(self.labels.slots, self.labels.ids, strict=True))
        return tuple(by_slot.get(slot) for slot in range(self.config.capacity))

    @property
    def span(self) -> TrainingSpan:
        """What it was fitted on at first."""
        _ = self.model
        return self._span

    @property
    def bars(self) -> int:
        """Bars seen since the start."""
        _ = self.model
        return self._bars

    @property
    def state(self) -> DetectorState:
        """Where the filter stands; setting it goes back there exactly (with the same model)."""
        _ = self.model
        return DetectorState(self._filter_S.copy(), self._belief_K.copy(), self._bars, self._fallen)

    @state.setter
    def state(self, state: DetectorState) -> None:
        if not isinstance(state, DetectorState):
            raise RegimeError(f"state: expected a DetectorState, found {state!r}")
        expected_S, expected_K = self.model.start().shape, (self.model.num_regimes,)
        if state.filter_S.shape != expected_S or state.belief_K.shape != expected_K:
            raise RegimeError(
                f"state: expected a filter of shape {expected_S} and a belief of {expected_K}, "
                f"found {state.filter_S.shape} and {state.belief_K.shape}"
            )
        first_K = state.filter_S[: self.model.num_regimes]
        sound = probabilities(first_K) and probabilities(state.belief_K)
        if not (sound and np.isfinite(state.filter_S).all()):
            raise RegimeError(
                "state: expected finite numbers of a filter and a belief of probabilities, found "
                f"{state.filter_S} and {state.belief_K}"
            )
        self._filter_S = state.filter_S.copy()
        self._belief_K = state.belief_K.copy()
        self._bars, self._fallen = state.bars, state.fallen

    def restart(self) -> None:
        """Begin the filter anew, before any bar."""
        model, span = self.model, self._span
        self._filter_S = model.start()
        nothing_D, nothing_M = np.full(span.series, np.nan), np.zeros(span.regressors)
        prior_K = model.advance(model.start(), nothing_D, nothing_M)
        even_K = np.full(model.num_regimes, 1.0 / model.num_regimes)
        self._belief_K = prior_K if probabilities(prior_K).all() else even_K
        self._bars, self._fallen = 0, False

    def adopt(self, model: RegimeModel, labels: Labels, filter_S: Array, belief_K: Array) -> None:
        """Go on with another model.

        Args:
            model: of the same kind.
            labels: names and places of its regimes.
            filter_S: its filter's state at the last bar seen.
            belief_K: its belief there.
        """
        bars = self.bars
        self._install(model, labels)
        self.state = DetectorState(filter_S, belief_K, bars, fallen=False)

    def filter(self, batch: Observations | ArrayLike) -> Array:
        """Take in many bars: beliefs (T, C), the same floats as an `update` for each.

        It goes on from where the filter stands; `restart` begins anew.

        Raises:
            RegimeError: not fitted, or other series or regressors than in the training span.
        """
        return self.beliefs(batch).belief_TC

    def beliefs(self, batch: Observations | ArrayLike) -> Beliefs:
        """As `filter`, with expected drift and volatility beside it."""
        observations = Observations.of(batch)
        self._require_fit(observations.y_TD.shape[1], observations.x_TM.shape[1])
        belief_TK = self._advanced(observations)
        belief_TC = np.zeros((len(belief_TK), self.config.capacity))
        belief_TC[:, self._slot_K] = belief_TK
        return Beliefs(
            belief_TC,
            expected(belief_TK, self.model.drift),
            expected(belief_TK, self.model.volatility),
        )

    def update(self, y: ArrayLike, x: ArrayLike | None = None) -> Array:
        """Take in the next bar: its belief, (C,).

        Args:
            y: observation, a number or (D,); NaN = a bar without one.
            x: regressors (M,), if the model has any.

        Raises:
            RegimeError: as `filter`, or numbers that `Observations` would refuse.
        """
        y_D = np.array(y, dtype=np.float64).reshape(-1)
        x_M = np.zeros(0) if x is None else np.array(x, dtype=np.float64).reshape(-1)
        self._require_fit(len(y_D), len(x_M))
        if np.isinf(y_D).any() or not (np.isfinite(x_M).all() or np.isnan(y_D).any()):
            Observations(y_D[None], x_M[None])  # raises, and says what is wrong
        belief_C = np.zeros(self.config.capacity)
        belief_C[self._slot_K] = self._advance(y_D, x_M)
        return belief_C

    def to_json(self) -> str:
        """Everything that it needs to go on exactly, as JSON text.

        Raises:
            RegimeError: not fitted.
        """
        return write(adapter(), self.document())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Load a fitted detector with its running state.

        Raises:
            RegimeError: not a detector's JSON; names the path, the expected and the found.
        """
        return cls.from_document(read(adapter(), text, "detector"))

    def document(self) -> DetectorDocument:
        """The form on disk."""
        config: Any = self.config
        return DetectorDocument(
            config=config,
            seed=self.seed,
            span=self.span,
            model=documents_of(self.model.to_arrays()),
            labels=LabelsDocument.of(self.labels),
            state=StateDocument.of(self.state),
        )

    @classmethod
    def from_document(cls, found: DetectorDocument) -> Self:
        """Build it from the form on disk.

        Raises:
            RegimeError: parameters, labels and state that do not belong together.
        """
        detector = cls(found.config, seed=found.seed)
        try:
            model = MODELS[found.config.kind].from_arrays(arrays_of(found.model))
        except RegimeError as error:
            raise RegimeError(f"detector JSON: model: {error}") from error
        detector._span = found.span
        detector._install(model, found.labels.labels(found.config.capacity))
        detector.state = found.state.state()
        return detector

    def _install(self, model: RegimeModel, labels: Labels) -> None:
        if len(labels.ids) != model.num_regimes:
            raise RegimeError(
                f"labels: expected ids of {model.num_regimes} regimes, found {len(labels.ids)}"
            )
        self._model, self._labels = model, labels
        self._slot_K = np.array(labels.slots, np.int64)

    def _advanced(self, observations: Observations) -> Array:
        """Beliefs (T, K): all bars at once, or one by one if any of them is not good."""
        if not len(observations):
            return np.zeros((0, self.model.num_regimes))
        before_S = self._filter_S.copy()
        belief_TK = None
        if not self._too_far(observations.y_TD, observations.x_TM):
            belief_TK = self.model.filter(observations, self._filter_S)
        if belief_TK is None or not probabilities(belief_TK).all():
            self._filter_S = before_S
            pairs = zip(observations.y_TD, observations.x_TM, strict=True)
            return np.array([self._advance(y_D, x_M) for y_D, x_M in pairs])
        self._bars += len(observations)
        self._belief_K, self._fallen = belief_TK[-1].copy(), False
        return belief_TK

    def _advance(self, y_D: Array, x_M: Array) -> Array:
        before_S = self._filter_S.copy()
        self._bars += 1
        if self._too_far(y_D, x_M):
            wrong = (
                f"expected an observation within {FARTHEST:g} scales of the training span "
                f"({self._span.scale:.3g}) and regressors within {FARTHEST_REGRESSOR:g}, found "
                f"{y_D} and {x_M}"
            )
        else:
            belief_K = self.model.advance(self._filter_S, y_D, x_M)
            if probabilities(belief_K).all():
                self._belief_K, self._fallen = belief_K, False
                return belief_K
            self._filter_S = before_S
            wrong = f"expected probabilities, found {belief_K}"
        if not self._fallen:
            warnings.warn(
                f"{self.config.kind}: bar {self._bars - 1}: {wrong}; the last good belief "
                f"{self._belief_K} stands",
                RegimeWarning,
                stacklevel=3,
            )
        self._fallen = True
        return self._belief_K

    def _too_far(self, y: Array, x: Array) -> bool:
        """Whether any number of one bar or of many is too large to be judged."""
        # The NaN of a bar without an observation goes through and compares as false.
        size = np.abs(y).max(axis=-1)
        far = size > FARTHEST * self._span.scale
        if x.shape[-1]:
            far |= (np.abs(x).max(axis=-1) > FARTHEST_REGRESSOR) & (size >= 0.0)
        return bool(far.any())

    def _require_fit(self, series: int, regressors: int) -> None:
        _ = self.model
        if (series, regressors) != (self._span.series, self._span.regressors):
            raise RegimeError(
                f"{self.config.kind}: expected {self._span.series} series and "
                f"{self._span.regressors} regressors as in the training span, found {series} and "
                f"{regressors}"
            )


def _require_config(config: object) -> None:
    """Refuse what is not a configuration, such as its class or its name.

    Raises:
        RegimeError: it is not.
    """
    kind, capacity = getattr(config, "kind", None), getattr(config, "capacity", None)
    fits = callable(getattr(config, "fit", None))
    if not (isinstance(kind, str) and isinstance(capacity, int) and fits):
        raise RegimeError(
            f"config: expected a detector's configuration such as StudentHMMConfig(), found "
            f"{config!r}"
        )

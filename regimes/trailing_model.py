"""A fitted model whose fields are arrays: immutable, permuted, stored and rebuilt by their names.

The capitals after a field's last underscore name its dimensions: K regimes, everything else is the
model's own; a field without an underscore is a number. That is all that is needed to reorder the
regimes and to check a stored model.
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from regimes.base import Array, Observations, RegimeError, RegimeModel

__all__ = ["ArrayModel"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayModel:
    """What the models without a hidden chain share.

    The state begins with the last belief, (K,), followed by `memory` numbers of the model's own.

    Attributes:
        start_K: belief of a filter that has not seen enough yet.
        drift_K: see `RegimeModel.drift`.
        volatility_K: see `RegimeModel.volatility`.
        transition_KK: see `RegimeModel.transition`.

    Raises:
        RegimeError: fields whose dimensions contradict each other, numbers that are not finite,
            volatilities that are not positive, or probabilities that do not sum to 1.
    """

    kind: ClassVar[str]

    start_K: Array
    drift_K: Array
    volatility_K: Array
    transition_KK: Array

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        for name in self._names():
            values = np.array(getattr(self, name), dtype=np.float64, order="C")
            self._check_field(name, values, sizes)
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        if (self.volatility_K <= 0.0).any():
            raise RegimeError(f"volatility_K: expected values > 0, found {self.volatility_K}")
        for name in ("start_K", "transition_KK"):
            rows = getattr(self, name)
            if (rows < 0.0).any() or not np.allclose(rows.sum(axis=-1), 1.0, rtol=0.0, atol=1e-9):
                raise RegimeError(f"{name}: expected probabilities that sum to 1, found {rows}")

    def _check_field(self, name: str, values: Array, sizes: dict[str, int]) -> None:
        letters = _dimensions(name)
        if values.ndim != len(letters):
            raise RegimeError(
                f"{self.kind}: {name}: expected {len(letters)} dimensions, found {values.ndim}"
            )
        for letter, size in zip(letters, values.shape, strict=True):
            if size != sizes.setdefault(letter, size) or size == 0:
                raise RegimeError(
                    f"{self.kind}: {name}: expected {letter} = {sizes[letter] or '>= 1'}, "
                    f"found {size}"
                )
        if not np.isfinite(values).all():
            raise RegimeError(f"{self.kind}: {name}: expected finite numbers, found {values}")

    @classmethod
    def warm(cls, model: RegimeModel | None) -> Self | None:
        """The model that a warm fit begins at; None for a fresh fit.

        Raises:
            RegimeError: a model of another kind.
        """
        if model is None or isinstance(model, cls):
            return model
        raise RegimeError(f"warm: expected a {cls.kind} model, found {model.kind}")

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in dataclasses.fields(cls))

    @property
    def num_regimes(self) -> int:
        """Number of regimes, K."""
        return len(self.start_K)

    @property
    def drift(self) -> Array:
        """See `RegimeModel.drift`, (K,)."""
        return self.drift_K

    @property
    def volatility(self) -> Array:
        """See `RegimeModel.volatility`, (K,)."""
        return self.volatility_K

    @property
    def transition(self) -> Array:
        """See `RegimeModel.transition`, (K, K)."""
        return self.transition_KK

    @property
    def memory(self) -> int:
        """Numbers of state after the belief."""
        return 0

    def start(self) -> Array:
        """State of a filter that has seen nothing, (K + memory,)."""
        state_S = np.zeros(self.num_regimes + self.memory)
        state_S[: self.num_regimes] = self.start_K
        return state_S

    def advance(self, state_S: Array, y_D: Array, x_M: Array) -> Array:  # noqa: ARG002
        """See `RegimeModel.advance`.

        Raises:
            RegimeError: a state or an observation of another size than the model's.
        """
        belief_TK = np.empty((1, self.num_regimes))
        self._checked_run(np.array(y_D, dtype=np.float64, ndmin=2), state_S, belief_TK)
        belief_K: Array = belief_TK[0]
        return belief_K

    def filter(self, observations: Observations, state_S: Array | None = None) -> Array:
        """See `RegimeModel.filter`.

        Raises:
            RegimeError: a state or observations of another size than the model's.
        """
        belief_TK = np.empty((len(observations), self.num_regimes))
        state_S = self.start() if state_S is None else state_S
        self._checked_run(np.array(observations.y_TD, order="C"), state_S, belief_TK)
        return belief_TK

    def _checked_run(self, y_TD: Array, state_S: Array, belief_TK: Array) -> None:
        # Compiled code checks no index.
        size = self.num_regimes + self.memory
        if state_S.shape != (size,) or state_S.dtype != np.float64:
            raise RegimeError(
                f"{self.kind}: expected a state of {size} floats, found {state_S.dtype} of shape "
                f"{state_S.shape}"
            )
        self._check_state(state_S)
        self._run(y_TD, state_S, belief_TK)

    def _check_state(self, state_S: Array) -> None:
        """Refuse a state whose numbers compiled code would take for places out of range."""

    def _run(self, y_TD: Array, state_S: Array, belief_TK: Array) -> None:
        """Take in T bars, change the state and write the beliefs."""
        raise NotImplementedError

    def permuted(self, order_K: NDArray[np.int64]) -> Self:
        """The same model with the regime `order_K[k]` in place k.

        Raises:
            RegimeError: not a permutation of the regimes.
        """
        if sorted(order_K) != list(range(self.num_regimes)):
            raise RegimeError(
                f"{self.kind}: expected a permutation of {self.num_regimes} regimes, "
                f"found {order_K}"
            )
        changed = {}
        for name in self._names():
            values: Array = getattr(self, name)
            for axis, letter in enumerate(_dimensions(name)):
                if letter == "K":
                    values = values.take(order_K, axis=axis)
            changed[name] = values
        return dataclasses.replace(self, **changed)

    def ordered(self) -> Self:
        """The same model with its regimes ordered by volatility, the calmest first."""
        return self.permuted(np.argsort(self.volatility_K, kind="stable"))

    def to_arrays(self) -> dict[str, Array]:
        """All fields by name, as arrays of their own."""
        return {name: getattr(self, name).copy() for name in self._names()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> Self:
        """Build the model from `to_arrays`.

        Raises:
            RegimeError: a field is missing, unknown, of another shape, or makes no sense.
        """
        if set(arrays) != set(cls._names()):
            raise RegimeError(
                f"{cls.kind}: expected the fields {sorted(cls._names())}, found {sorted(arrays)}"
            )
        return cls(**arrays)


def _dimensions(name: str) -> str:
    """Letters of the dimensions of a field; none of a number."""
    return name.rpartition("_")[2] if "_" in name else ""

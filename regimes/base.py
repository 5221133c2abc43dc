r"""What every regime detector is made of: observations in, a fitted model, and beliefs out.

Convention, the same as that of `markets.synthetic`: k_t is the regime that governs the bar t + 1,
and the belief pi_t holds its probabilities given all that was seen up to the close of t. A model
with a transition matrix A therefore filters and predicts one step,
:math:`\pi_{t} \propto (\pi_{t-1} \odot p(y_t \mid k_{t-1}))\, A`; one without a memory says of
k_t what the last bars say of the present.

Dimensions: T bars, D observed series, M regressors, K regimes, S numbers of a filter's state.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Array",
    "Observations",
    "RefitRefused",
    "RegimeError",
    "RegimeModel",
    "RegimeWarning",
]

Array = NDArray[np.float64]


class RegimeError(ValueError):
    """Observations, a configuration or a stored model are unfit; says what was expected."""


class RegimeWarning(UserWarning):
    """A refit was refused, or a belief fell back to the last good one."""


class RefitRefused(RegimeWarning):
    """A refit was refused, and the old model stays; its event is recorded as well."""


@dataclass(frozen=True, eq=False)
class Observations:
    """What a detector reads, bar by bar.

    Attributes:
        y_TD: observed series, as a rule log returns; a row with a NaN is a bar without an
            observation, through which a belief is carried.
        x_TM: regressors of each row that were known *before* its bar (for `switching_regression`);
            (T, 0) where there are none.

    Raises:
        RegimeError: shapes that do not fit, no series, infinite numbers, or regressors that are
            not finite where the series are.
    """

    y_TD: Array
    x_TM: Array

    def __post_init__(self) -> None:
        if self.y_TD.ndim != 2 or self.y_TD.shape[1] < 1:
            raise RegimeError(f"y: expected shape (T, D) with D >= 1, found {self.y_TD.shape}")
        if self.x_TM.ndim != 2 or len(self.x_TM) != len(self.y_TD):
            raise RegimeError(f"x: expected shape ({len(self.y_TD)}, M), found {self.x_TM.shape}")
        if np.isinf(self.y_TD).any():
            row, column = (int(index) for index in np.argwhere(np.isinf(self.y_TD))[0])
            raise RegimeError(f"y[{row}, {column}]: expected a number or NaN, found an infinity")
        unfit_T = self.seen & ~np.isfinite(self.x_TM).all(axis=1)
        if unfit_T.any():
            row = int(np.argmax(unfit_T))
            raise RegimeError(f"x[{row}]: expected finite regressors, found {self.x_TM[row]}")

    @classmethod
    def of(cls, y: "ArrayLike | Observations", x: ArrayLike | None = None) -> "Observations":
        """Build them from arrays.

        Args:
            y: (T,) or (T, D); or observations, which are returned as they are.
            x: (T,) or (T, M); None = no regressors.

        Raises:
            RegimeError: see the class.
        """
        if isinstance(y, Observations):
            return y
        y_TD = np.array(y, dtype=np.float64)
        y_TD = y_TD[:, None] if y_TD.ndim == 1 else y_TD
        x_TM = np.zeros((len(y_TD), 0)) if x is None else np.array(x, dtype=np.float64)
        return cls(y_TD, x_TM[:, None] if x_TM.ndim == 1 else x_TM)

    def __len__(self) -> int:
        return len(self.y_TD)

    def rows(self, start: int, stop: int) -> "Observations":
        """Rows from `start` to before `stop`."""
        return Observations(self.y_TD[start:stop], self.x_TM[start:stop])

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Bars with an observation, (T,)."""
        return np.asarray(np.isfinite(self.y_TD).all(axis=1))

    @property
    def mean(self) -> Array:
        """Mean over the D series, (T,): the return that drift and volatility are told of."""
        mean: Array = self.y_TD.mean(axis=1)
        return mean


class RegimeModel(Protocol):
    """The parameters of a fitted detector: immutable, without a running state.

    Implementations are frozen dataclasses whose fields are numpy arrays, numbers and texts.
    """

    kind: ClassVar[str]
    """Discriminator, the same as its configuration's."""

    @property
    def num_regimes(self) -> int:
        """Number of regimes, K."""
        ...

    @property
    def drift(self) -> Array:
        """Expected `Observations.mean` of a bar in each regime (in the fit's sample), (K,)."""
        ...

    @property
    def volatility(self) -> Array:
        """Standard deviation of `Observations.mean` in each regime, (K,), > 0."""
        ...

    @property
    def transition(self) -> Array:
        """P[k, j] = P(k_{t+1} = j | k_t = k), (K, K).

        Of a model without one: the counted transitions of its most likely regimes in the fit's
        sample, plus one half a pair.
        """
        ...

    def start(self) -> Array:
        """State (S,) of a filter that has seen nothing; a new array.

        The first K numbers of every state are probabilities of the regimes.
        """
        ...

    def advance(self, state_S: Array, y_D: Array, x_M: Array) -> Array:
        """Take in one bar: change the state in place, return the belief (K,), a new array.

        A bar without an observation (NaN) carries the belief on. The result is finite, >= 0 and
        sums to 1 for every finite observation, however unlikely.
        """
        ...

    def filter(self, observations: Observations, state_S: Array | None = None) -> Array:
        """Beliefs (T, K), row by row the same floats as `advance`.

        Args:
            observations: T bars.
            state_S: where to begin, changed in place; None = `start()`.
        """
        ...

    def permuted(self, order_K: NDArray[np.int64]) -> Self:
        """The same model with the regime `order_K[k]` in place k."""
        ...

    def to_arrays(self) -> dict[str, Array]:
        """All fields as float64 arrays by name; `from_arrays` gives the same model, bit for bit."""
        ...

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> Self:
        """Build the model from `to_arrays`.

        Raises:
            RegimeError: a field is missing, of another shape, or makes no sense.
        """
        ...


class DetectorConfig(Protocol):
    """Configuration of one kind of detector: a frozen pydantic dataclass with a `kind`."""

    @property
    def kind(self) -> str:
        """Discriminator."""
        ...

    @property
    def capacity(self) -> int:
        """Largest number of regimes that a fit can have; the width of the belief."""
        ...

    def fit(
        self, train: Observations, *, warm: RegimeModel | None = None, seed: int = 0
    ) -> RegimeModel:
        """Fit a model; reads nothing but `train`.

        Args:
            train: the training span.
            warm: a model of the same kind to begin at instead of fresh starting values.
            seed: of the random restarts.

        Raises:
            RegimeError: too few bars (says how many), a constant series, collinear series or
                regressors, or a fit that diverged. Never anything from deep inside.
        """
        ...

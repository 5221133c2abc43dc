"""What every synthetic market with a known answer offers: a stream, a path, and its solutions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar, Literal, NamedTuple, Protocol, Self, get_args

import numpy as np
from numpy.typing import NDArray

from markets.compiled import separate
from markets.synthetic import checks
from markets.synthetic.chain import Chain, Matrix, SyntheticMarketError, build_chain
from markets.synthetic.layout import REGIME, Block, Generator, block_start, features_start
from markets.synthetic.random import start_key

Information = Literal["known", "belief"]
"""What a solution knows of the regime: the truth, or the Bayes filter's probabilities."""
RegimeView = Literal["known", "belief", "hidden"]
"""What an agent's features tell of the regime: one-hot truth, filtered probabilities, nothing."""
Advance = Callable[[NDArray[np.float64], NDArray[np.float64], np.uint64], np.uint64]
"""Compiled (parameters_Q, state_S, random key) -> next key: begins a state, or moves it on."""


@dataclass(frozen=True)
class Stream:
    """A market as the kernel plays it; everything that compiled code reads.

    Attributes:
        generator: Which compiled generator.
        parameters_Q: Its packed parameters, float64, read-only.
        state_size: Numbers S of a lane's state (see `markets.synthetic.layout`).
        symbols: Names of the assets, (A,).
        feature_names: Names of the features, (C,).
        additive: Prices are levels that may turn negative, and holdings are units; otherwise
            prices are positive and holdings are worth `shares * price`.
        years: Duration of a bar, years.
        cost_KAA: Lambda_k of the quadratic cost 1/2 u' Lambda_k u of trading u units in regime k,
            currency / unit^2; zeros where there is none.
        covariance_KAA: Covariance of the price changes of one bar in regime k, currency^2 (of
            simple returns where not additive).
    """

    generator: Generator
    parameters_Q: NDArray[np.float64]
    state_size: int
    symbols: tuple[str, ...]
    feature_names: tuple[str, ...]
    additive: bool
    years: float
    cost_KAA: NDArray[np.float64]
    covariance_KAA: NDArray[np.float64]

    @property
    def num_assets(self) -> int:
        """Number of assets, A."""
        return len(self.symbols)

    @property
    def num_features(self) -> int:
        """Number of features, C."""
        return len(self.feature_names)


class World(NamedTuple):
    """The true state of N markets at their closes: what solutions act on."""

    regime_N: NDArray[np.int64]
    """k_t, which governs the next bar."""
    close_NA: NDArray[np.float64]
    """Prices, currency."""
    signal_NF: NDArray[np.float64]
    """What else drives the next bar (see the market); (N, 0) where nothing does."""
    belief_NK: NDArray[np.float64] | None
    """Filtered probabilities of k_t; None where the stream did not filter."""


class Solution(Protocol):
    """A policy that is given by mathematics: an oracle, or a rule to compare with."""

    @property
    def information(self) -> Information:
        """What it knows of the regime."""
        ...

    def target(self, world: World, holding_NA: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the holdings (N, A) to trade to: units where additive, else weights of equity.

        Args:
            world: the state at the close.
            holding_NA: present holdings, in the same unit.
        """
        ...


class Oracle(Solution, Protocol):
    """The best policy under its information."""

    @property
    def value(self) -> float | None:
        """(1 - discount) E sum_t discount^t reward_t from a flat start, currency a bar.

        Log growth a bar where prices are not additive. By closed form or dynamic programming;
        None where only simulation can tell it.
        """
        ...


@dataclass(frozen=True)
class Path:
    """A path of T bars, with the truth beside it; row t is the close of bar t, row 0 the start.

    Attributes:
        state_TS: The market's state (see `markets.synthetic.layout`).
        world: The true state of each row.
        features_TC: What an agent sees, float32.
        drift_TA: E[close_{t+1} - close_t | state at t, k_t], currency.
    """

    state_TS: NDArray[np.float64]
    world: World
    features_TC: NDArray[np.float32]
    drift_TA: NDArray[np.float64]


class SyntheticMarket(ABC):
    """A market with a known answer. Subclasses are frozen dataclasses of its parameters.

    Attributes:
        regime: What the features tell of the regime.
        discount: delta of the objective E sum_t delta^t reward_t, per bar.
        transition: P[k, j] = P(k_{t+1} = j | k_t = k), or the probability of staying.
        start: Law of k_0; None = the stationary one, uniform where regimes are frozen.
        believed_transition: What the Bayes filter that agents are shown takes for `transition`. It
            then begins at that chain's stationary law, and features that are scaled by how
            frequent regimes are follow that law too: what agents are shown does not tell the true
            chain. None = the truth. Prices, signals and regimes are the same whatever is believed.
    """

    generator: ClassVar[Generator]
    counted: ClassVar[str]
    """Name of the parameter that tells K."""
    regime: RegimeView
    discount: float
    transition: float | Matrix
    start: tuple[float, ...] | None
    believed_transition: float | Matrix | None

    @property
    def chain(self) -> Chain:
        """The chain of the regimes, checked.

        Raises:
            SyntheticMarketError: `transition`, `start` or `believed_transition` make no sense.
        """
        return build_chain(
            *(self.transition, self.start, self.believed_transition),
            *(self.num_regimes, self.counted),
        )

    def informed(self) -> Self:
        """Return the same market with the true filter: the same paths, bit for bit.

        References are measured there where `believed_transition` misleads the filter; solutions of
        `evaluation.optimality.measure` are.
        """
        return self if self.believed_transition is None else replace(self, believed_transition=None)  # type: ignore[type-var]

    @property
    @abstractmethod
    def num_assets(self) -> int:
        """Number of assets, A."""

    @property
    @abstractmethod
    def num_regimes(self) -> int:
        """Number of regimes, K."""

    @property
    @abstractmethod
    def holding_scale(self) -> float:
        """Size of a typical holding of the oracle: units where additive, else weight of equity.

        Under the stationary law of the regimes (uniform where frozen), wherever they start: worlds
        that differ in `start` have one scale.
        """

    @property
    @abstractmethod
    def holding_limit(self) -> float:
        """Largest absolute holding that the oracle asks for, in the same unit."""

    @abstractmethod
    def stream(self, *, belief: bool = False) -> Stream:
        """Return the market as the kernel plays it.

        Args:
            belief: Run the Bayes filter even where the features do not show it. It is the one that
                `believed_transition` misleads, if any.
        """

    @abstractmethod
    def world(self, state_NS: NDArray[np.float64]) -> World:
        """Return the true state behind rows of states."""

    def oracle(self, information: Information) -> Oracle:
        """Return the best policy under some information.

        Args:
            information: what it knows of the regime: `known`, or `belief` (the filter's).

        Raises:
            SyntheticMarketError: other information, it is not known for these parameters, or the
                belief is asked for where `believed_transition` misleads the filter.
        """
        if information not in get_args(Information):
            raise SyntheticMarketError(
                f"information: expected 'known' or 'belief', found {information!r}"
            )
        if information == "belief" and self.believed_transition is not None:
            raise SyntheticMarketError(
                "oracle('belief'): expected the true filter, which this market's stream does not "
                f"run, found believed_transition={self.believed_transition}; informed() is the "
                "same market, path by path, with the true filter: ask it, and play it there"
            )
        return self._oracle(information)

    @abstractmethod
    def _oracle(self, information: Information) -> Oracle:
        """Return the oracle under information that is checked."""

    def price_of_not_knowing(self, *, num_paths: int = 256, seed: int = 0) -> tuple[float, float]:
        """Return what the known oracle's value exceeds the belief oracle's by, and its error.

        Args:
            num_paths: independent paths, where only simulation can tell it.
            seed: of the paths.

        Returns:
            The gap in the unit of `Oracle.value`, and its standard error by simulation; the error
            is 0 where both values are computed.

        Raises:
            SyntheticMarketError: an oracle is missing (see `oracle`), or its value is not known.
        """
        del num_paths, seed
        market = self.informed()
        known, belief = market.oracle("known").value, market.oracle("belief").value
        if known is None or belief is None:
            raise SyntheticMarketError(
                "price_of_not_knowing: expected oracles whose values are known, found "
                f"{known} and {belief}"
            )
        return known - belief, 0.0

    @abstractmethod
    def rules(self) -> Mapping[str, Solution]:
        """Return the rules to compare with, by name: `do_nothing`, `myopic`, ..."""

    @abstractmethod
    def compiled(self) -> tuple[Advance, Advance]:
        """Return the compiled functions that begin a state, and that move it one bar on."""

    def path(
        self, num_bars: int, *, seed: int, lane: int = 0, episode: int = 0, belief: bool = True
    ) -> Path:
        """Generate the same path as the kernel's stream of this (seed, lane, episode).

        Args:
            num_bars: Rows T >= 1, the start included.
            seed: In [0, 2**63).
            lane: Number of the lane.
            episode: Number of the lane's episode since its seed.
            belief: Run the Bayes filter even where the features do not show it.

        Raises:
            SyntheticMarketError: a number is no integer or outside its range.
        """
        bounds = (("num_bars", num_bars, 1), ("seed", seed, 0), ("lane", lane, 0))
        # Compiled code checks no index: without a row it would write past the end of the array.
        bars, *numbers = (
            checks.integer(name, value, least)
            for name, value, least in (*bounds, ("episode", episode, 0))
        )
        stream = self.stream(belief=belief)
        state_TS = np.zeros((bars, stream.state_size))
        _recorder(*self.compiled())(stream.parameters_Q, state_TS, *numbers)
        assets, first = stream.num_assets, features_start(stream.num_assets)
        drift = block_start(Block.DRIFT, assets)
        state_TS.flags.writeable = False
        return Path(
            state_TS=state_TS,
            world=self.world(state_TS),
            features_TC=state_TS[:, first : first + stream.num_features].astype(np.float32),
            drift_TA=state_TS[:, drift : drift + assets],
        )


def regimes_of(state_NS: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return k_t of rows of states."""
    return state_NS[:, REGIME].astype(np.int64)


def closes_of(state_NS: NDArray[np.float64], num_assets: int) -> NDArray[np.float64]:
    """Return the prices (N, A) of rows of states."""
    first = block_start(Block.CLOSE, num_assets)
    return state_NS[:, first : first + num_assets]


@cache
def _recorder(begin: Advance, advance: Advance) -> Callable[..., None]:
    @separate
    def record(
        parameters_Q: NDArray[np.float64],
        state_TS: NDArray[np.float64],
        seed: int,
        lane: int,
        episode: int,
    ) -> None:
        key = begin(parameters_Q, state_TS[0], start_key(seed, lane, episode))
        for bar in range(1, len(state_TS)):
            # By element: a copy of a row would allocate.
            for column in range(state_TS.shape[1]):
                state_TS[bar, column] = state_TS[bar - 1, column]
            key = advance(parameters_Q, state_TS[bar], key)

    return record

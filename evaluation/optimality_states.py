"""Slices through a market's states: where a learned policy trades to, and where the optimum does.

A slice puts accounts into chosen states (signals, price, regime or belief, holding), writes the
observation that an agent would see there, and asks both for their next holdings.

Features are affine in what is true (signals, prices, view of the regime) or they are not the
state's (the last bar's change): the map is measured on generated paths, exactly where it exists,
so that it holds for every market whatever its features' scale and order. The others stay at their
mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agents.policy import Policy
from envs.config import TradingConfig
from envs.synthetic import Problem
from evaluation.briefing import Informed
from markets.synthetic.base import Solution, SyntheticMarket, World
from markets.synthetic.chain import one_hot
from meta_controller.policy import HierarchicalPolicy

__all__ = ["FeatureMap", "OptionSlice", "Slice", "held", "slices"]

Array = NDArray[np.float64]
_Coordinate = Literal["signal 0", "signal 1", "price", "belief", "holding"]

POINTS = 41
"""Points along an axis of a slice; odd, so that the middle is drawn."""
_LANES, _BARS = 24, 400
_EXPLAINED = 1e-4
"""Largest error of an affine feature, in its standard deviations (features are float32)."""


@dataclass(frozen=True)
class OptionSlice:
    """What the options of an agent do over the states of a slice.

    Attributes:
        target_KYX: Where each option trades to when it acts alone, units or weights.
        share_KYX: Weight that the controller proposes for it.
    """

    target_KYX: Array
    share_KYX: Array


@dataclass(frozen=True)
class Slice:
    """Target holdings of the first asset over two coordinates of the state.

    Attributes:
        title: What is held fixed, such as the regime.
        x_label: Name of the horizontal coordinate.
        y_label: Name of the vertical coordinate; empty where there is but one.
        x_X: Its values.
        y_Y: The vertical ones; a single one where there is but one coordinate.
        learned_YX: Where the agent trades to, units or weights.
        oracle_YX: Where the optimum trades to.
        start_YX: What was held before.
        band_2X: Lower and upper edge of the optimum's no-trade band, or None without one.
        options: Its options, if it is made of them.
    """

    title: str
    x_label: str
    y_label: str
    x_X: Array
    y_Y: Array
    learned_YX: Array
    oracle_YX: Array
    start_YX: Array
    band_2X: Array | None
    options: OptionSlice | None = None

    @property
    def flat(self) -> bool:
        """Whether it has one coordinate only."""
        return len(self.y_Y) == 1


class FeatureMap:
    """How the features of a market follow from its true state.

    Args:
        market: the market.

    Attributes:
        signal_SF: Signals seen on the paths.
        close_SA: Prices seen on the paths.
        belief_K: Mean probabilities of the regimes on the paths.
        affine_C: Features that follow from the state; the others are shown at their mean.
    """

    def __init__(self, market: SyntheticMarket) -> None:
        # A phase that starts in one regime need not visit the others.
        roaming = market if market.start is None else replace(market, start=None)  # type: ignore[type-var]
        paths = [roaming.path(_BARS, seed=0, lane=lane) for lane in range(_LANES)]
        worlds = [path.world for path in paths]
        self.signal_SF = np.concatenate([world.signal_NF for world in worlds])
        self.close_SA = np.concatenate([world.close_NA for world in worlds])
        belief_SK = np.concatenate([_belief(world) for world in worlds])
        self.belief_K = belief_SK.mean(axis=0)
        self._view = market.regime
        whole = World(
            np.concatenate([world.regime_N for world in worlds]),
            self.close_SA,
            self.signal_SF,
            belief_SK,
        )
        features_SC = np.concatenate([path.features_TC for path in paths]).astype(np.float64)
        basis_SZ = self._basis(whole)
        self._weight_ZC = np.linalg.lstsq(basis_SZ, features_SC, rcond=None)[0]
        error_C = np.sqrt(np.mean((basis_SZ @ self._weight_ZC - features_SC) ** 2, axis=0))
        self.affine_C = error_C <= _EXPLAINED * np.maximum(np.std(features_SC, axis=0), 1e-6)
        self._mean_C = features_SC.mean(axis=0)

    def features(self, world: World) -> NDArray[np.float32]:
        """Return the features (N, C) of states; those that are not affine at their mean."""
        affine_NC = self._basis(world) @ self._weight_ZC
        return np.where(self.affine_C, affine_NC, self._mean_C).astype(np.float32)

    def _basis(self, world: World) -> Array:
        match self._view:
            case "known":
                view_NK = one_hot(world.regime_N, _belief(world).shape[1])
            case "belief":
                view_NK = _belief(world)
            case _:
                view_NK = np.ones((len(world.regime_N), 1))
        return np.hstack([view_NK, world.signal_NF, world.close_NA])


def held(actions_ND: Array, holding_NA: Array, trading: TradingConfig) -> Array:
    """Return the holdings (N, A) that actions ask for, within their limits.

    Args:
        actions_ND: actions of a trade or a long-short configuration, D = A.
        holding_NA: present holdings, units or weights.
        trading: the trading rules.

    Raises:
        ValueError: another kind of action.
    """
    match trading.action.kind:
        case "trade":
            rule = trading.action
            size_NA = np.maximum(np.abs(actions_ND) - rule.dead_zone, 0.0) / (1.0 - rule.dead_zone)
            wanted_NA = holding_NA + rule.size * np.sign(actions_ND) * np.minimum(size_NA, 1.0)
            return np.clip(wanted_NA, -rule.limit, rule.limit)
        case "long_short":
            weights_NA = trading.action.scale * np.clip(actions_ND, -1.0, 1.0)
            gross_N1 = np.abs(weights_NA).sum(axis=1, keepdims=True)
            return np.asarray(
                weights_NA * np.minimum(1.0, trading.action.gross / np.maximum(gross_N1, 1e-12))
            )
    raise ValueError(f"action.kind: expected trade or long_short, found {trading.action.kind!r}")


def slices(
    policy: Policy, oracle: Solution, problem: Problem, holding_LNA: Array
) -> tuple[Slice, ...]:
    """Slices through the states of a market, one for each regime where the agent sees it.

    Two signals at a holding of zero; or a signal, the price or the belief by the holding; or the
    holding alone, where nothing else moves.

    Args:
        policy: the agent.
        oracle: the optimum.
        problem: the market and its trading rules.
        holding_LNA: holdings that the optimum has taken, which give the axis its range.
    """
    return _Slicer(policy, oracle, problem, holding_LNA).slices()


class _Slicer:
    def __init__(
        self, policy: Policy, oracle: Solution, problem: Problem, holding_LNA: Array
    ) -> None:
        self._policy, self._oracle, self._problem = policy, oracle, problem
        self._map = FeatureMap(problem.world)
        self._trading = problem.trading()
        self._stream = problem.stream(belief=True)
        reach = float(np.quantile(np.abs(holding_LNA[..., 0]), 0.995))
        limit = problem.limit
        self._reach = min(limit, 1.3 * reach) if reach > 0.0 else limit

    def slices(self) -> tuple[Slice, ...]:
        """Every slice that this market has."""
        market = self._problem.world
        x, y = self._coordinates()
        if x == "belief":
            return (self._slice("", x, y, 0),)
        if market.regime == "hidden":
            return (self._slice("Regime hidden", x, y, None),)
        certain = "Certain of regime" if market.regime == "belief" else "Regime"
        alone = market.num_regimes == 1
        return tuple(
            self._slice("" if alone else f"{certain} {regime}", x, y, regime)
            for regime in range(market.num_regimes)
        )

    def _coordinates(self) -> tuple[_Coordinate, _Coordinate | None]:
        market, signals = self._problem.world, self._map.signal_SF.shape[1]
        if signals >= 2:
            return "signal 0", "signal 1"
        if signals == 1:
            return "signal 0", "holding"
        if self._stream.additive:
            return "price", "holding"
        if market.regime == "belief" and market.num_regimes > 1:
            return "belief", "holding"
        return "holding", None

    def _axis(self, coordinate: _Coordinate | None) -> tuple[str, Array]:
        """Name and values of a coordinate."""
        match coordinate:
            case "signal 0" | "signal 1":
                return coordinate, _spread(self._map.signal_SF[:, int(coordinate[-1])])
            case "price":
                return "price", _spread(self._map.close_SA[:, 0])
            case "belief":
                return "probability of regime 0", np.linspace(0.0, 1.0, POINTS)
            case "holding":
                name = "holding before" if self._stream.additive else "weight before"
                return name, np.linspace(-self._reach, self._reach, POINTS)
        return "", np.zeros(1)

    def _slice(
        self, title: str, x: _Coordinate, y: _Coordinate | None, regime: int | None
    ) -> Slice:
        (x_label, x_X), (y_label, y_Y) = self._axis(x), self._axis(y)
        x_N, y_N = (grid.ravel() for grid in np.meshgrid(x_X, y_Y))
        world, holding_NA = self._states(len(x_N), regime)
        _put(world, holding_NA, x, x_N)
        _put(world, holding_NA, y, y_N)
        shape = (len(y_Y), len(x_X))
        learned_NA = self._learned(world, holding_NA)
        return Slice(
            title=title,
            x_label=x_label,
            y_label=y_label,
            x_X=x_X,
            y_Y=y_Y,
            learned_YX=learned_NA[:, 0].reshape(shape),
            oracle_YX=self._optimal(world, holding_NA)[:, 0].reshape(shape),
            start_YX=holding_NA[:, 0].reshape(shape),
            band_2X=self._band(x, x_X, regime) if "holding" in (x, y) else None,
            options=self._alone(holding_NA, shape),
        )

    def _states(self, rows: int, regime: int | None) -> tuple[World, Array]:
        """True states in the middle of everything, with no holdings."""
        market = self._problem.world
        belief_NK = (
            np.tile(self._map.belief_K, (rows, 1))
            if regime is None
            else one_hot(np.full(rows, regime), market.num_regimes)
        )
        world = World(
            np.full(rows, regime or 0, dtype=np.int64),
            np.tile(np.median(self._map.close_SA, axis=0), (rows, 1)),
            np.zeros((rows, self._map.signal_SF.shape[1])),
            belief_NK,
        )
        return world, np.zeros((rows, market.num_assets))

    def _learned(self, world: World, holding_NA: Array) -> Array:
        account_NP = _account(world, holding_NA, self._trading, additive=self._stream.additive)
        rows = len(holding_NA)
        observation_NO = np.hstack([np.zeros((rows, 1)), self._map.features(world), account_NP])
        self._policy.reset(rows)
        if isinstance(self._policy, Informed) and self._policy.wants_regimes:
            self._policy.tell(world.regime_N)
        actions_ND = self._policy.act(observation_NO.astype(np.float32))
        return held(np.asarray(actions_ND, dtype=np.float64), holding_NA, self._trading)

    def _alone(self, holding_NA: Array, shape: tuple[int, int]) -> OptionSlice | None:
        """What the options would have done in the states that the agent acted in last."""
        if not isinstance(self._policy, HierarchicalPolicy) or self._policy.last is None:
            return None
        step = self._policy.last
        options = range(step.option_NKD.shape[1])
        target_KN = [
            held(step.option_NKD[:, option], holding_NA, self._trading)[:, 0] for option in options
        ]
        share_KN = step.decision.proposal_BK.cpu().numpy().T.astype(np.float64)
        return OptionSlice(
            np.reshape(target_KN, (len(options), *shape)),
            share_KN.reshape(len(options), *shape),
        )

    def _optimal(self, world: World, holding_NA: Array) -> Array:
        limit = self._problem.limit
        return np.clip(self._oracle.target(world, holding_NA), -limit, limit)

    def _band(self, x: _Coordinate, x_X: Array, regime: int | None) -> Array | None:
        """Where the optimum trades to from far below and from far above: the band's edges.

        With proportional costs it trades to the nearest edge; quadratic costs have no band.
        """
        if self._stream.cost_KAA.any():
            return None
        limit = self._problem.limit
        edges = []
        for end in (-limit, limit):
            world, holding_NA = self._states(len(x_X), regime)
            _put(world, holding_NA, x, x_X)
            holding_NA[:, 0] = end
            edges.append(self._optimal(world, holding_NA)[:, 0])
        return np.array(edges)


def _put(world: World, holding_NA: Array, coordinate: _Coordinate | None, value_N: Array) -> None:
    """Set one coordinate of states in place."""
    match coordinate:
        case "signal 0" | "signal 1":
            world.signal_NF[:, int(coordinate[-1])] = value_N
        case "price":
            world.close_NA[:, 0] = value_N
        case "belief":
            belief_NK = _belief(world)
            belief_NK[:, 0], belief_NK[:, 1] = value_N, 1.0 - value_N
        case "holding":
            holding_NA[:, 0] = value_N
        case None:
            pass


def _spread(values_S: Array) -> Array:
    """Even points over the middle 98% of some values, widened a little."""
    low, high = np.quantile(values_S, (0.01, 0.99))
    margin = 0.1 * (high - low)
    return np.linspace(low - margin, high + margin, POINTS)


def _account(world: World, holding_NA: Array, trading: TradingConfig, *, additive: bool) -> Array:
    """The account part (N, P) of an observation: at the peak of equity, all time left."""
    if additive and trading.action.kind == "trade":
        shown_NA = holding_NA / trading.action.unit
        value_N = (holding_NA * world.close_NA).sum(axis=1) / trading.episode.initial_cash
    else:
        shown_NA, value_N = holding_NA, holding_NA.sum(axis=1)
    rows = len(holding_NA)
    return np.column_stack([shown_NA, 1.0 - value_N, np.zeros(rows), np.ones(rows)])


def _belief(world: World) -> Array:
    if world.belief_NK is None:
        raise ValueError("world: expected a path with the filter's belief, found none")
    return world.belief_NK


def median_position(values: Sequence[float]) -> int:
    """Position of the median value (the lower one of an even number)."""
    order = np.argsort(values, kind="stable")
    return int(order[(len(order) - 1) // 2])

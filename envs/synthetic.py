"""A synthetic market with a known answer as a trading problem: its rules, actions and holdings."""

import math
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from envs.config import (
    EpisodeConfig,
    FeeConfig,
    LongShortAction,
    ObservationConfig,
    QuadraticCostConfig,
    QuadraticUtilityReward,
    TradeAction,
    TradingConfig,
)
from markets.synthetic.base import Solution, Stream
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.layout import Block, block_start
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck
from markets.synthetic.regime_gbm import RegimeGBM

if TYPE_CHECKING:
    from envs.simulator import Simulator

MarketConfig = Annotated[
    GarleanuPedersen | OrnsteinUhlenbeck | RegimeGBM, Field(discriminator="kind")
]
"""A market with an oracle, or a mapping of its fields with its `kind`."""

TRADE_SCALES = MappingProxyType({"garleanu_pedersen": 1.0, "ornstein_uhlenbeck": 2.5})
"""Default `trade_size` in typical holdings of the oracle that knows the regime. With the default
markets 2 in 10,000 of its trades are larger, and then take two steps: quadratic costs spread a
trade over many bars, proportional ones let it happen at once when the regime changes. Half a
holding would cost it 0.4 % of its value in the first market and 14 % in the second."""
WEIGHTS_CASH = 1_000_000.0
"""Money at the start where holdings are weights, currency; nothing depends on it."""
RESERVE = 100.0
"""Money at the start where holdings are units, in losses that would be extreme: those of an
account that is at its limit and loses a standard deviation on every bar that counts. Holdings
within the limit ruin nobody, and a reward still has ten digits of that deviation."""
NEGLECTED = 1e-3
"""Discount factor from which bars do not count."""
_OVER_ONE = 1.0 + 1e-9
"""Least gross limit with which a purchase may borrow its own cost, so that it fills in full."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Problem:
    """A market, and how it is traded: exactly the rules for which its oracle is the best policy.

    Rewards (x holdings and u trades after the decision at the close of t, C prices, k regime):

    | market | reward of the bar t + 1 |
    |---|---|
    | `garleanu_pedersen` | x'(C_{t+1} - C_t) - gamma / 2 x' Sigma_k x - u' Lambda_k u / 2 |
    | `ornstein_uhlenbeck` | x'(C_{t+1} - C_t) - gamma / 2 x' Sigma_k x - c sum abs(u) |
    | `regime_gbm` | log(E_{t+1} / E_t), costs c on the traded notional |

    Orders fill at the close that the agent has seen, which is the next bar's open: these markets
    have no gap between bars. There is no interest, borrow fee, impact or volume limit. Episodes
    are truncated after `episode_length` bars; the objective has no end, so the observed time left
    is 1 throughout.
    """

    world: MarketConfig
    """The market with its parameters."""
    episode_length: Annotated[int, Field(ge=1)] = 256
    """Steps of an episode, bars, >= 1."""
    expected_reward: bool = False
    """Reward a step with its expectation given the state, the regime and the fills, instead of
    what happened: the same mean, and less variance of a step. Agents see no more than before. Not
    for several assets of regime_gbm."""
    trade_size: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    """Units that an action of 1 trades, > 0; None = as many typical holdings of the oracle as
    `TRADE_SCALES` says. Additive markets only."""
    dead_zone: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Actions of at most this size trade nothing, in [0, 1). Additive markets only."""
    measure: MarketConfig | None = None
    """The market whose oracle's holdings are the measure of trades, limits and money; None = this
    one. Agents that go from market to market (phases of a stream) need one measure for all."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.measure is not None and self.measure.kind != self.world.kind:
            msg = f"measure: expected a market of the kind {self.world.kind}"
            raise ValueError(f"{msg}, found {self.measure.kind}")
        if not isinstance(self.world, RegimeGBM):
            return self
        for name, default in (("trade_size", None), ("dead_zone", 0.0)):
            if (found := getattr(self, name)) != default:
                msg = f"{name}: expected {default} for regime_gbm, whose actions are weights"
                raise ValueError(f"{msg}, found {found}")
        if self.expected_reward and self.world.num_assets > 1:
            msg = "expected_reward: expected False for several assets of regime_gbm, whose expected"
            raise ValueError(f"{msg} growth is not known, found {self.world.num_assets} assets")
        return self

    @property
    def _measure(self) -> MarketConfig:
        return self.world if self.measure is None else self.measure

    @property
    def limit(self) -> float:
        """Largest absolute holding: units where additive, else weight of equity."""
        return self._measure.holding_limit

    @property
    def size(self) -> float:
        """Units that an action of 1 trades (regime_gbm: weight that it asks for)."""
        world = self._measure
        if isinstance(world, RegimeGBM):
            return world.limit
        if self.trade_size is not None:
            return self.trade_size
        return TRADE_SCALES[world.kind] * world.holding_scale

    @cached_property
    def initial_cash(self) -> float:
        """Money at the start of an episode, currency.

        Additive markets: `RESERVE` times limit x deviation x bars, with the standard deviation of
        a bar's price changes summed over the assets, and the bars of an episode or until the
        discount factor is `NEGLECTED`, whichever are more. It scales with the unit of currency and
        with the unit of holdings, so that neither matters.
        """
        world = self._measure
        if isinstance(world, RegimeGBM):
            return WEIGHTS_CASH
        bars = max(self.episode_length, math.log(NEGLECTED) / math.log(world.discount))
        return RESERVE * world.holding_limit * _change_deviation(world) * bars

    def stream(self, *, belief: bool = False) -> Stream:
        """Return the market as the simulator plays it: fresh paths, episode after episode.

        Args:
            belief: Run the Bayes filter even where the features do not show it, as the oracle
                with `information="belief"` needs.
        """
        return self.world.stream(belief=belief)

    def trading(self) -> TradingConfig:
        """Return the rules of the market as a configuration of the simulator."""
        free = TradingConfig.frictionless(
            action=self._action(),
            observation=ObservationConfig(kind="window", window=1, time_left=False),
            episode=EpisodeConfig(
                length=self.episode_length,
                random_start=False,
                initial_cash=self.initial_cash,
                ruin_fraction=0.0,
            ),
        )
        rules = replace(free, expected_reward=self.expected_reward)
        match self.world:
            case RegimeGBM(cost_bps=bps):
                return replace(rules, fee=FeeConfig(bps=bps))
            case OrnsteinUhlenbeck(cost=cost, risk_aversion=gamma):
                reward = QuadraticUtilityReward(risk_aversion=gamma)
                return replace(rules, reward=reward, fee=FeeConfig(bps=0.0, per_share=cost))
            case GarleanuPedersen(risk_aversion=gamma):
                reward = QuadraticUtilityReward(risk_aversion=gamma)
                return replace(rules, reward=reward, quadratic=QuadraticCostConfig(coefficient=1.0))

    def _action(self) -> LongShortAction | TradeAction:
        world = self._measure
        if not isinstance(world, RegimeGBM):
            return TradeAction(
                size=self.size,
                limit=world.holding_limit,
                dead_zone=self.dead_zone,
                unit=world.holding_scale,
            )
        limit = world.limit
        # A cash account may not borrow the cost of a purchase, and would scale it down.
        borrows = limit * (1.0 + 2.0 * world.cost) > 1.0
        gross = max(limit, _OVER_ONE) if borrows else limit
        return LongShortAction(gross=gross, net=gross, scale=limit)

    def action(
        self, target_NA: NDArray[np.float64], holding_NA: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the actions (N, A) that trade towards a solution's target.

        The inverse of the action mapping, within [-1, 1]: a target further away than `size` (or
        beyond the limit) is approached as far as one action reaches.

        Args:
            target_NA: Holdings to trade to, units (regime_gbm: weights).
            holding_NA: Present holdings, in the same unit; see `holdings`.
        """
        if isinstance(self.world, RegimeGBM):
            return np.clip(target_NA / self.size, -1.0, 1.0)
        limit = self.limit
        part_NA = (np.clip(target_NA, -limit, limit) - holding_NA) / self.size
        size_NA = self.dead_zone + (1.0 - self.dead_zone) * np.abs(part_NA)
        return np.clip(np.sign(part_NA) * size_NA, -1.0, 1.0)

    def follow(self, solution: Solution, simulator: "Simulator") -> NDArray[np.float64]:
        """Return the actions (N, A) of a solution, for example `world.oracle("known")`, now.

        Args:
            solution: An oracle or a rule; one that goes by belief needs `stream(belief=True)`.
            simulator: One that plays `stream` by the rules of `trading`.
        """
        holding_NA = self.holdings(simulator)
        world = self.world.world(simulator.world_NS)
        return self.action(solution.target(world, holding_NA), holding_NA)

    def holdings(self, simulator: "Simulator") -> NDArray[np.float64]:
        """Return the present holdings (N, A), units (regime_gbm: weights of equity).

        Args:
            simulator: One that plays `stream` by the rules of `trading`.
        """
        if not isinstance(self.world, RegimeGBM):
            return np.array(simulator.shares_NA)
        first = block_start(Block.CLOSE, self.world.num_assets)
        close_NA = simulator.world_NS[:, first : first + self.world.num_assets]
        weight_NA: NDArray[np.float64] = simulator.shares_NA * close_NA
        weight_NA /= simulator.equity_N[:, None]
        return weight_NA


def _change_deviation(world: GarleanuPedersen | OrnsteinUhlenbeck) -> float:
    """Return the standard deviation of a bar's price changes, currency, summed over the assets.

    That of the regime in which it is largest, the predictable part included; of a price that
    reverts to a mean that switches, from the farthest mean.
    """
    variance_KA = np.diagonal(world.stream().covariance_KAA, axis1=1, axis2=2)
    if isinstance(world, GarleanuPedersen):
        predicted_KA = (world.system.loading_KAS**2).sum(axis=2)
    else:
        mean_K = np.array(world.mean)
        reach_K = np.abs(mean_K[:, None] - mean_K).max(axis=1) + world.price_deviation.max()
        predicted_KA = (np.array(world.speed) * reach_K)[:, None] ** 2
    return float(np.sqrt(variance_KA + predicted_KA).max(axis=0).sum())

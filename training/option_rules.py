"""Rules as options: a rule of `agents.rules` in the action space of the learned options.

Each bar is decided by itself: a rule knows what the market shows up to the close and what the
account holds, no schedule and no past of its own. Where its window is longer than what lies behind
a bar, it does what it does with what is unknown: momentum and mean reversion hold nothing, inverse
volatility holds equal weights.

Dimensions: N accounts, A assets, C features of a stream, D numbers of an action, T bars.
"""

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from agents import rules
from agents.options import RuleOption
from agents.policy import Policy
from envs.config import (
    ActionConfig,
    LevelsAction,
    LongShortAction,
    SharesAction,
    SimplexAction,
    TradeAction,
)
from envs.feed import Market
from envs.market_arrays import MarketArrays
from evaluation.baselines import growth_factors, trailing_momentum, trailing_volatility
from training.errors import ConfigError

HIGHEST_LOGIT, LOWEST_LOGIT = 5.0, -10.0
"""Logits of the largest weight and of a weight of zero: e^-15 of it is 3e-7, of a million less
than a unit of currency. The room above lets noise on the largest pass the bound of 10."""


def rule_option(option: RuleOption, market: Market, action: ActionConfig, where: str) -> Policy:
    """A rule that acts on index observations of this market, in this action space.

    Args:
        option: which rule.
        market: what it trades on.
        action: how actions ask for positions there.
        where: path of the option in the configuration, for messages.

    Raises:
        ConfigError: the market lacks what the rule needs, or its weights cannot be asked for.
    """
    if isinstance(market, MarketArrays):
        _require_askable(option, action, where)
        return RulePolicy(_rule(option, market, where), market.tradable_TA, action)
    if option.name != "cash":
        raise ConfigError(
            f"{where}: expected cash on a synthetic market ({', '.join(market.symbols)}), whose "
            f"past prices are not kept, found {option.name}, which needs "
            f"{_needs(option)} of recorded data"
        )
    return TradeToZero(action, market.num_features, market.num_assets)


class RulePolicy:
    """Target weights of a rule as actions.

    An account that holds nothing but what trades leaves a rule its whole room, so that its action
    depends on the bar alone: that of every bar is kept.

    Args:
        rule: acts on the same observations; without a memory.
        tradable_TA: whether each asset traded in each bar.
        action: how actions ask for positions.
    """

    def __init__(
        self, rule: rules.Rule, tradable_TA: NDArray[np.bool_], action: ActionConfig
    ) -> None:
        self.rule, self.action = rule, action
        bars, assets = tradable_TA.shape
        self._halted_TA = ~tradable_TA
        self._held = slice(1, 1 + assets)
        observation_TO = np.zeros((bars, assets + 4))
        observation_TO[:, 0] = np.arange(bars)
        rule.reset(bars)
        self._free_TD = actions_of(rule.act(observation_TO), action)

    def reset(self, num_envs: int) -> None:
        """Forget all episodes; ``num_envs`` accounts follow."""
        self.rule.reset(num_envs)

    def act(self, observation_NO: NDArray[np.float32]) -> NDArray[np.float64]:
        """Actions (N, D) that ask for the rule's weights; (N, 1) the number of a level."""
        bars_N = observation_NO[:, 0].astype(np.int64)
        if (observation_NO[:, self._held] * self._halted_TA[bars_N]).any():
            return actions_of(self.rule.act(observation_NO), self.action)
        return np.asarray(self._free_TD[bars_N])


class TradeToZero:
    """Cash on a synthetic market: sells what is held, as fast as one action may.

    Args:
        action: how actions ask for positions.
        num_features: features C of the stream, which stand before the holdings.
        num_assets: assets A.
    """

    def __init__(self, action: ActionConfig, num_features: int, num_assets: int) -> None:
        self.action = action
        self._held = slice(1 + num_features, 1 + num_features + num_assets)

    def reset(self, num_envs: int) -> None:
        """Nothing to forget."""

    def act(self, observation_NO: NDArray[np.float32]) -> NDArray[np.float64]:
        """Actions (N, A) towards holdings of zero."""
        held_NA = observation_NO[:, self._held].astype(np.float64)
        if not isinstance(self.action, TradeAction):
            return actions_of(np.zeros_like(held_NA), self.action)
        trade = self.action
        part_NA = -held_NA * (trade.unit / trade.size)
        size_NA = trade.dead_zone + (1.0 - trade.dead_zone) * np.abs(part_NA)
        return np.clip(np.sign(part_NA) * size_NA, -1.0, 1.0)


def actions_of(weights_NA: NDArray[np.float64], action: ActionConfig) -> NDArray[np.float64]:
    """Actions that ask for target weights on the simplex whose rest is cash.

    | action | value |
    |---|---|
    | simplex, weights | the weights |
    | simplex, logits | log of the weights and of cash (last), the largest at `HIGHEST_LOGIT` |
    | long_short | the weights over `scale` |
    | levels | number of the nearest level, of two as near the lower |
    | shares | only no shares at all, for weights of zero |

    An asset without a price has no weight, and so no part of the softmax either way.

    Args:
        weights_NA: target weights (N, A).
        action: how actions ask for positions; not of an additive market.

    Returns:
        (N, D), float64.
    """
    match action:
        case SimplexAction(parametrisation="weights"):
            return weights_NA
        case SimplexAction():
            return _logits(weights_NA)
        case LongShortAction():
            return np.clip(weights_NA / action.scale, -1.0, 1.0)
        case LevelsAction():
            levels_L = np.array(action.levels)
            order_L = np.argsort(levels_L, kind="stable")
            nearest_N = np.abs(weights_NA[:, :1] - levels_L[order_L]).argmin(axis=1)
            return np.asarray(order_L[nearest_N][:, None], dtype=np.float64)
        case SharesAction():
            return np.zeros_like(weights_NA)
        case TradeAction():
            raise ValueError("action: expected weights of equity, found units to trade")
    assert_never(action)


def _logits(weights_NA: NDArray[np.float64]) -> NDArray[np.float64]:
    cash_N1 = np.clip(1.0 - weights_NA.sum(axis=1, keepdims=True), 0.0, 1.0)
    weights_ND = np.concatenate([weights_NA, cash_N1], axis=1)
    share_ND = weights_ND / weights_ND.max(axis=1, keepdims=True)
    least = np.exp(LOWEST_LOGIT - HIGHEST_LOGIT)
    return np.asarray(np.log(np.maximum(share_ND, least)) + HIGHEST_LOGIT)


def _rule(option: RuleOption, market: MarketArrays, where: str) -> rules.Rule:
    tradable_TA, window = market.tradable_TA, option.window
    match option.name:
        case "cash":
            return rules.Cash(tradable_TA)
        case "equal_weight":
            return rules.EqualWeight(tradable_TA)
        case "inverse_volatility":
            known_TA = trailing_volatility(growth_factors(market), window)
            _require_known(option, market, known_TA, where)
            return rules.InverseVolatility(tradable_TA, known_TA)
        case "momentum":
            known_TA = trailing_momentum(growth_factors(market), window)
            _require_known(option, market, known_TA, where)
            return rules.TimeSeriesMomentum(tradable_TA, known_TA)
        case "mean_reversion":
            known_TA = trailing_momentum(growth_factors(market), window)
            _require_known(option, market, known_TA, where)
            return rules.MeanReversion(tradable_TA, known_TA)
    assert_never(option.name)


def _needs(option: RuleOption) -> str:
    match option.name:
        case "mean_reversion":
            return f"returns of {option.window} bars of at least 2 assets"
        case "momentum":
            return f"returns of {option.window} bars"
        case "inverse_volatility":
            return f"volatilities over {option.window} bars"
        case "equal_weight" | "cash":
            return "prices"
    assert_never(option.name)


def _require_known(
    option: RuleOption, market: MarketArrays, known_TA: NDArray[np.float64], where: str
) -> None:
    """Refuse a rule that would know nothing in any bar."""
    least = 2 if option.name == "mean_reversion" else 1
    if (np.isfinite(known_TA).sum(axis=1) >= least).any():
        return
    raise ConfigError(
        f"{where}: expected a market with {_needs(option)} for the rule {option.name}, found "
        f"{market.num_bars:,} bars of {', '.join(market.symbols)}"
    )


def _require_askable(option: RuleOption, action: ActionConfig, where: str) -> None:
    """Refuse actions that cannot ask for the rule's weights, which reach from 0 to 1."""
    match action:
        case LongShortAction() if action.scale < 1.0 and option.name != "cash":
            needs, found = "scale of at least 1, as its weights reach 1", f"scale {action.scale}"
        case LevelsAction() if 0.0 not in action.levels:
            needs, found = "level of 0, for what it does not hold", f"levels {action.levels}"
        case SharesAction() if option.name != "cash":
            needs, found = "kind of weights, as the equity is not observed", "shares"
        case SharesAction() if not action.minimum <= 0.0 <= action.maximum:
            needs, found = "minimum <= 0 <= maximum", f"{action.minimum} .. {action.maximum}"
        case _:
            return
    raise ConfigError(
        f"{where}: env.action: expected a {needs}, for the rule {option.name}, found {found}"
    )

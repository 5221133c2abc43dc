"""Parameters of the market models, as one array.

The stages of the kernel read a parameter where they use it. Values in registers over a whole step
would tempt the compiler to build one copy of the kernel for each combination of settings.
"""

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from envs.kernel.layout import ActionKind, RewardKind

if TYPE_CHECKING:
    from envs.config import ActionConfig, RewardConfig, TradingConfig
    from envs.feed import Feed

T = TypeVar("T")

UNLIMITED = 1e300
"""Shares that an order without a participation limit may fill."""


class Rules(NamedTuple, Generic[T]):
    """Every parameter of a step; fractions where the configuration has basis points."""

    action_kind: T
    scale: T
    gross: T
    net: T
    low: T
    high: T
    cash_account: T
    lots: T
    fill_close: T
    fee_rate: T
    fee_per_share: T
    fee_minimum: T
    half_spread: T
    impact: T
    order_base: T
    order_slope: T
    forced_base: T
    forced_slope: T
    borrow: T
    debit: T
    credit: T
    maintenance: T
    liquidation_fee: T
    reward_kind: T
    reward_parameter: T
    ruin: T
    initial_cash: T
    first_start: T
    last_start: T
    last_bar: T
    length: T
    random_start: T
    autoreset: T
    record: T
    time_left: T
    assets: T
    features: T
    additive: T
    unit: T
    limit: T
    dead_zone: T
    quadratic: T
    expectation: T
    regimes: T
    years: T


Rule: Rules[int] = Rules(*range(len(Rules._fields)))
"""Position of each parameter in `rules_R`."""
NUM_RULES = len(Rules._fields)
"""Parameters of the models; those of the market follow (see `envs.feed`)."""


def pack_rules(
    config: "TradingConfig",
    span: tuple[int, int, int],
    feed: "Feed",
    *,
    autoreset: int,
    record: bool,
    expectation: int,
) -> NDArray[np.float64]:
    """Return the parameters in the order of `Rules`.

    Args:
        config: The trading configuration.
        span: First start, last start and last bar, row numbers of the market.
        feed: The market.
        autoreset: Code of the autoreset mode.
        record: Whether terms and trades are kept.
        expectation: Code of `Expectation`.
    """
    participation = config.participation.maximum
    needs_volume = config.impact.coefficient > 0.0
    # Without a limit: any number of shares, but none in a bar without volume when the price
    # impact of an order could not be computed there.
    free_base, free_slope = (0.0, UNLIMITED) if needs_volume else (UNLIMITED, 0.0)
    base, slope = (free_base, free_slope) if participation is None else (0.0, participation)
    kind, scale, gross, net, low, high = _action_rules(config.action, config.gross_limit)
    reward_kind, reward_parameter = _reward_rules(config.reward)
    trade = config.action if config.action.kind == "trade" else None
    rules = Rules[float](
        action_kind=kind,
        scale=scale,
        gross=gross,
        net=net,
        low=low,
        high=high,
        cash_account=config.cash_account,
        lots=bool((feed.lot_A > 0.0).any()),
        fill_close=config.fill == "close",
        fee_rate=config.fee.bps * 1e-4,
        fee_per_share=config.fee.per_share,
        fee_minimum=config.fee.minimum,
        half_spread=config.spread.bps * 0.5e-4,
        impact=config.impact.coefficient,
        order_base=base,
        order_slope=slope,
        forced_base=free_base,
        forced_slope=free_slope,
        borrow=config.borrow.annual_rate,
        debit=config.financing.debit_annual_rate,
        credit=config.financing.credit_annual_rate,
        maintenance=config.margin.maintenance,
        liquidation_fee=config.margin.liquidation_fee_bps * 1e-4,
        reward_kind=reward_kind,
        reward_parameter=reward_parameter,
        ruin=config.episode.ruin_fraction * config.episode.initial_cash,
        initial_cash=config.episode.initial_cash,
        first_start=span[0],
        last_start=span[1],
        last_bar=span[2],
        length=config.episode.length or 0,
        random_start=config.episode.random_start,
        autoreset=autoreset,
        record=record,
        time_left=config.observation.time_left,
        assets=feed.num_assets,
        features=feed.num_signals,
        additive=feed.additive,
        unit=trade.unit if trade else 1.0,
        limit=trade.limit if trade else 0.0,
        dead_zone=trade.dead_zone if trade else 0.0,
        quadratic=config.quadratic.coefficient,
        expectation=expectation,
        regimes=feed.num_regimes,
        years=feed.years,
    )
    return np.array(rules, dtype=np.float64)


def _action_rules(
    action: "ActionConfig", gross: float
) -> tuple[int, float, float, float, float, float]:
    match action.kind:
        case "simplex" if action.parametrisation == "weights":
            return ActionKind.WEIGHTS, 1.0, gross, gross, 0.0, 1.0
        case "simplex":
            return ActionKind.LOGITS, 1.0, gross, gross, -10.0, 10.0
        case "long_short":
            return ActionKind.LONG_SHORT, action.scale, gross, action.net, -1.0, 1.0
        case "shares":
            return ActionKind.SHARES, 1.0, gross, gross, action.minimum, action.maximum
        case "levels":
            return ActionKind.LEVELS, 1.0, gross, gross, 0.0, float(len(action.levels) - 1)
        case "trade":
            return ActionKind.TRADE, action.size, gross, gross, -1.0, 1.0


def _reward_rules(reward: "RewardConfig") -> tuple[int, float]:
    match reward.kind:
        case "log_return":
            return RewardKind.LOG_RETURN, 0.0
        case "differential_sharpe":
            return RewardKind.DIFFERENTIAL_SHARPE, reward.eta
        case "mean_variance":
            return RewardKind.MEAN_VARIANCE, reward.risk_aversion
        case "drawdown":
            return RewardKind.DRAWDOWN, reward.penalty
        case "quadratic_utility":
            return RewardKind.QUADRATIC_UTILITY, reward.risk_aversion

"""The baselines that stand beside every agent, built from what a market shows up to each close."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from agents import rules
from agents.policy import Policy
from envs.config import SimplexAction, TradingConfig
from envs.market_arrays import MarketArrays
from evaluation.backtest import Run, backtest_many
from evaluation.ledger import Ledger

__all__ = [
    "BaselineConfig",
    "baseline_runs",
    "calibrated_turnover",
    "growth_factors",
    "matched_turnover",
    "month_starts",
    "on_simplex",
    "trailing_momentum",
    "trailing_volatility",
]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BaselineConfig:
    """Parameters of the baselines; they are fixed beforehand, not tuned."""

    volatility_window: Annotated[int, Field(ge=2)] = 60
    """Bars of trailing volatility for inverse volatility, at least 2."""
    momentum_window: Annotated[int, Field(ge=1)] = 252
    """Bars of trailing return for momentum, at least 1; 252 daily bars are a year."""
    random_lanes: Annotated[int, Field(ge=1, le=1000)] = 10
    """Accounts of the random policy, in [1, 1000]."""


def on_simplex(config: TradingConfig) -> TradingConfig:
    """The same trading rules with target weights as actions, in which the baselines speak."""
    return replace(config, action=SimplexAction(parametrisation="weights"))


def baseline_runs(
    market: MarketArrays, config: BaselineConfig, *, turnover: float, seed: int
) -> list[Run]:
    """Every baseline, in the order of the report.

    Cash; buy-and-hold of equal weights; equal weights restored on every bar, and every month;
    inverse volatility and time-series momentum, every month; random trades with the agent's
    turnover. They are to be run under `on_simplex` rules and pay the same costs as the agent.

    Args:
        market: the market.
        config: windows and lanes.
        turnover: one-way turnover per bar of the random policy, `matched_turnover` of the agent.
        seed: seed of the random policy.
    """
    tradable_TA = market.tradable_TA
    month_T = month_starts(market.ts_event)
    growth_TA = growth_factors(market)
    volatility_TA = trailing_volatility(growth_TA, config.volatility_window)
    momentum_TA = trailing_momentum(growth_TA, config.momentum_window)
    policies: dict[str, Policy] = {
        "cash": rules.Cash(tradable_TA),
        "buy_and_hold": rules.BuyAndHold(tradable_TA),
        "equal_weight": rules.EqualWeight(tradable_TA),
        "equal_weight_monthly": rules.EqualWeight(tradable_TA, month_T),
        "inverse_volatility": rules.InverseVolatility(tradable_TA, volatility_TA, month_T),
        "momentum": rules.TimeSeriesMomentum(tradable_TA, momentum_TA, month_T),
    }
    random = rules.RandomWeights(tradable_TA, min(turnover, 1.0), np.random.default_rng(seed))
    return [
        *(Run(name=name, policy=policy) for name, policy in policies.items()),
        Run(name="random", policy=random, seed=seed, lanes=config.random_lanes),
    ]


def matched_turnover(ledgers: Sequence[Ledger]) -> float:
    """Mean one-way turnover per bar over several ledgers, the first bar's build-up left out."""
    later = [ledger.turnover[2:] for ledger in ledgers if ledger.num_bars > 1]
    return float(np.mean([turnover_T.mean() for turnover_T in later])) if later else 0.0


def calibrated_turnover(
    wanted: float,
    market: MarketArrays,
    trading: TradingConfig,
    rows: tuple[int, int],
    config: BaselineConfig,
    seed: int,
) -> float:
    """Turnover to ask of the random policy so that it makes the wanted one.

    Whole lots and limits on volume leave a part of its orders undone; one trial run tells how much.

    Args:
        wanted: one-way turnover per bar that is to be made.
        market: the market.
        trading: the trading rules.
        rows: the span.
        config: windows and lanes.
        seed: seed of the random policy.
    """
    trial = baseline_runs(market, config, turnover=wanted, seed=seed)[-1]
    (lanes,) = backtest_many([trial], market, on_simplex(trading), rows)
    made = matched_turnover(lanes)
    return min(wanted * wanted / made, 1.0) if made > 0.0 else wanted


def month_starts(ts_event: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each bar is the first of a calendar month (UTC); the first bar is one."""
    months_T = ts_event.astype("datetime64[ns]").astype("datetime64[M]")
    return np.concatenate([[True], months_T[1:] != months_T[:-1]])


def growth_factors(market: MarketArrays) -> NDArray[np.float64]:
    r"""Value at each close of what one unit held at the close before has become, (T, A).

    .. math:: g_t = s_t (C_t + d_t) / C_{t-1}

    with the split ratio s and the dividend per new share d of bar t; nan before an asset's second
    bar.
    """
    close_TA = market.close_TA
    growth_TA = np.full(close_TA.shape, np.nan)
    known_TA = (close_TA[:-1] > 0.0) & (close_TA[1:] > 0.0)
    after_TA = market.split_TA[1:] * (close_TA[1:] + market.dividend_TA[1:])
    growth_TA[1:][known_TA] = after_TA[known_TA] / close_TA[:-1][known_TA]
    return growth_TA


def trailing_volatility(growth_TA: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Standard deviation of the last ``window`` log growth factors; nan until a third is known."""
    logs = pd.DataFrame(np.log(growth_TA))
    least = max(2, window // 3)
    return np.asarray(logs.rolling(window, min_periods=least).std().to_numpy(dtype=np.float64))


def trailing_momentum(growth_TA: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return over the last ``window`` bars; nan until so many growth factors are known."""
    known_TA = np.isfinite(growth_TA)
    level_TA = np.cumsum(
        np.where(known_TA, np.log(np.where(known_TA, growth_TA, 1.0)), 0.0), axis=0
    )
    count_TA = np.cumsum(known_TA, axis=0)
    momentum_TA = np.full(growth_TA.shape, np.nan)
    momentum_TA[window:] = np.expm1(level_TA[window:] - level_TA[:-window])
    momentum_TA[count_TA < window] = np.nan
    return momentum_TA

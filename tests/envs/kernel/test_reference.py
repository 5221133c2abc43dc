"""The kernel against the plain reference, with every model switched on."""

from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.config import (
    ActionConfig,
    BorrowConfig,
    DifferentialSharpeReward,
    DrawdownReward,
    EpisodeConfig,
    FeeConfig,
    FinancingConfig,
    ImpactConfig,
    LevelsAction,
    LogReturnReward,
    LongShortAction,
    MarginConfig,
    MeanVarianceReward,
    ObservationConfig,
    ParticipationConfig,
    RewardConfig,
    SharesAction,
    SimplexAction,
    SpreadConfig,
    TradingConfig,
)
from envs.market_arrays import MarketArrays
from envs.simulator import TERM_SIGNS, TERMS, Simulator
from tests.envs.kernel.markets import random_market
from tests.envs.reference import Reference

FillRule: TypeAlias = Literal["next_open", "close"]
Case: TypeAlias = tuple[ActionConfig, int, float, FillRule, RewardConfig]
"""Action, number of assets, lot size, price of fills, reward."""

LEVERED = LongShortAction(gross=3.0, net=2.0, scale=2.0)
CASES: dict[str, Case] = {
    "weights": (SimplexAction(), 3, 0.0, "next_open", LogReturnReward()),
    "logits": (SimplexAction(parametrisation="logits"), 3, 1.0, "next_open", LogReturnReward()),
    "levered": (LEVERED, 3, 0.0, "next_open", DifferentialSharpeReward()),
    "levered_close": (LEVERED, 5, 0.0, "close", DrawdownReward(penalty=2.0)),
    "short_cash_account": (LongShortAction(net=0.3), 9, 1.0, "next_open", MeanVarianceReward()),
    "shares": (
        SharesAction(minimum=-40, maximum=60, gross=1.5), 2, 10.0, "next_open", LogReturnReward(),
    ),
    "shares_fractional": (SharesAction(maximum=2000), 2, 0.0, "close", LogReturnReward()),
    "levels": (LevelsAction(levels=(-1.5, 0.0, 0.7, 2.0)), 1, 0.0, "next_open", DrawdownReward()),
    "thirty": (LongShortAction(gross=2.0, net=1.0), 30, 0.0, "next_open", LogReturnReward()),
    "one_asset": (LEVERED, 1, 5.0, "close", DifferentialSharpeReward(eta=0.1)),
}  # fmt: skip


def full_config(
    action: ActionConfig, fill: FillRule, reward: RewardConfig, *, minimum: float = 1.0
) -> TradingConfig:
    return TradingConfig(
        action=action,
        fill=fill,
        reward=reward,
        fee=FeeConfig(bps=5.0, per_share=0.01, minimum=minimum),
        spread=SpreadConfig(bps=10.0),
        impact=ImpactConfig(coefficient=1.5),
        participation=ParticipationConfig(maximum=0.2),
        borrow=BorrowConfig(annual_rate=0.08),
        financing=FinancingConfig(debit_annual_rate=0.1, credit_annual_rate=0.02),
        margin=MarginConfig(maintenance=0.4, liquidation_fee_bps=20.0),
        episode=EpisodeConfig(length=90, initial_cash=50_000.0, ruin_fraction=0.3),
        observation=ObservationConfig(window=3),
    )


def draw_actions(
    rng: np.random.Generator, config: TradingConfig, simulator: Simulator
) -> NDArray[np.float64]:
    lanes, size = simulator.num_envs, simulator.action_size
    match config.action.kind:
        case "levels":
            return rng.integers(-1, len(config.action.levels) + 1, size=(lanes, 1)).astype(float)
        case "shares":
            span = config.action.maximum - config.action.minimum
            return config.action.minimum + span * rng.uniform(-0.1, 1.1, size=(lanes, size))
        case "simplex" if config.action.parametrisation == "logits":
            return rng.normal(0.0, 5.0, size=(lanes, size))
        case "simplex":
            return rng.uniform(-0.05, 1.05, size=(lanes, size)) * rng.uniform(size=(lanes, 1))
    action = rng.uniform(-1.1, 1.1, size=(lanes, size))
    return np.where(rng.random((lanes, 1)) < 0.1, 0.0, action)  # and closes everything at times


def compare(
    simulator: Simulator, references: list[Reference], rewards: list[float], *, signals: int = 0
) -> None:
    """Hold every lane against its reference; a stream's account follows `signals` features."""
    scale = references[0].config.episode.initial_cash
    money_atol = 1e-9 * scale

    def same(
        found: NDArray[np.float64] | NDArray[np.bool_],
        name: str,
        *,
        rtol: float = 1e-7,
        atol: float = 0.0,
    ) -> None:
        expected = [getattr(reference, name) for reference in references]
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=name)

    same(simulator.equity_N, "equity", rtol=1e-9, atol=money_atol)
    same(simulator.cash_N, "cash", rtol=1e-9, atol=money_atol)
    same(simulator.shares_NA, "shares", rtol=1e-9, atol=1e-7)
    for name in ("terminated", "truncated", "projected", "liquidated"):
        same(getattr(simulator, f"{name}_N"), name)
    np.testing.assert_allclose(simulator.reward_N, rewards, rtol=1e-6, atol=1e-9)
    accounts = [reference.account() for reference in references]
    found_NP = simulator.account_NP[:, signals:]
    np.testing.assert_allclose(found_NP, accounts, rtol=1e-5, atol=1e-6)
    terms = [[reference.terms[name] for name in TERMS] for reference in references]
    np.testing.assert_allclose(simulator.terms_N7, terms, rtol=1e-9, atol=money_atol)
    same(simulator.trades_NA, "trades", rtol=1e-9, atol=1e-7)


def walk(
    config: TradingConfig, market: MarketArrays, steps: int, lanes: int, seed: int
) -> dict[str, int]:
    """Step kernel and reference side by side; returns how often each rare event happened."""
    simulator = Simulator(market, config, lanes, seed=seed, record_terms=True)
    rng = np.random.default_rng(seed)
    seen = {"liquidated": 0, "terminated": 0, "truncated": 0, "projected": 0, "steps": 0}

    def fresh(lane: int) -> Reference:
        return Reference(market, config, int(simulator.bar_N[lane]), int(simulator.end_N[lane]))

    references = [fresh(lane) for lane in range(lanes)]
    for _ in range(steps):
        actions = draw_actions(rng, config, simulator)
        simulator.step(actions)
        rewards = [r.step(row) for r, row in zip(references, actions.tolist(), strict=True)]
        compare(simulator, references, rewards)
        for name in ("liquidated", "terminated", "truncated", "projected"):
            seen[name] += sum(bool(getattr(reference, name)) for reference in references)
        seen["steps"] += lanes
        ended = np.flatnonzero(simulator.ended_N)
        if ended.size:
            simulator.reset(ended)
            for lane in ended:
                references[lane] = fresh(int(lane))
    return seen


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_reference(case: str) -> None:
    action, assets, lots, fill, reward = CASES[case]
    seen: dict[str, int] = {}
    lanes = 100 if assets < 30 else 20
    for seed, volatility in ((1, 0.02), (2, 0.06)):
        market = random_market(seed, 300, assets, volatility=volatility, lots=lots)
        observation = ObservationConfig(window=3, time_left=seed == 1)
        config = replace(full_config(action, fill, reward), observation=observation)
        for name, count in walk(config, market, 60, lanes, seed).items():
            seen[name] = seen.get(name, 0) + count
    assert seen["steps"] == 120 * lanes
    assert seen["projected"] > 100
    assert seen["terminated"] + seen["truncated"] > 0 or config.gross_limit <= 1.0
    if case in {"levered", "levered_close", "one_asset", "levels"}:
        assert seen["liquidated"] > 10


def test_sign_of_each_term() -> None:
    assert dict(zip(TERMS, TERM_SIGNS, strict=True)) == {
        "pnl": 1, "dividends": 1, "fees": -1, "spread": -1, "slippage": -1, "borrow": -1,
        "financing": -1,
    }  # fmt: skip

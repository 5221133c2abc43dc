"""Backtests: any policy over any span, on the very simulator that it was trained on.

Several policies run side by side as lanes of one simulator; no lane depends on another, so a
policy's ledger is the same, bit for bit, whoever runs beside it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from agents.policy import Policy
from agents.rules import Rule
from envs.config import TradingConfig
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator
from evaluation import metrics
from evaluation.briefing import Briefing
from evaluation.ledger import TERMS, TRADING_COSTS, Ledger, LedgerMetadata, Trades
from markets.times import measured_per_year

__all__ = ["Run", "backtest", "backtest_many", "config_sha256", "periods_per_year"]

_COST_COLUMNS = [TERMS.index(name) for name in TRADING_COSTS]
_PRESCIENT = "Orders filled at the close that the decision had already seen: too good to be true."


@dataclass(frozen=True, kw_only=True)
class Run:
    """A policy to be tested."""

    name: str
    """Name of the policy in its ledgers."""
    policy: Policy
    seed: int = 0
    """Seed of the policy; lane i is recorded with seed + i."""
    lanes: int = 1
    """Number of accounts, at least 1: more than one is useful for a random policy."""


def backtest(
    policy: Policy,
    market: MarketArrays,
    config: TradingConfig,
    rows: tuple[int, int],
    *,
    seed: int = 0,
    name: str = "agent",
) -> Ledger:
    """Run one policy from the first to the last bar of a span.

    Args:
        policy: chooses actions from index observations.
        market: the market.
        config: the trading rules; episode length and start are set to the whole span.
        rows: first row of the span and the one after its last; decisions start as soon as the
            features are warm and a whole window lies behind.
        seed: seed of the policy, for the record.
        name: name of the policy, for the record.

    Returns:
        The ledger: a start row at the first decision and one row for each bar after it.

    Raises:
        ValueError: rows that hold no bar to trade on, or a configuration that does not fit.
    """
    run = Run(name=name, policy=policy, seed=seed)
    return backtest_many([run], market, config, rows)[0][0]


def backtest_many(
    runs: Sequence[Run],
    market: MarketArrays,
    config: TradingConfig,
    rows: tuple[int, int],
    *,
    split: str = "",
    data_sha256: str = "",
) -> list[list[Ledger]]:
    """Run several policies side by side.

    Args:
        runs: the policies, all of them in the action space of ``config``.
        market: the market.
        config: the trading rules.
        rows: first row of the span and the one after its last.
        split: name of the span, for the record.
        data_sha256: digest of the market data, for the record.

    Returns:
        For each run one ledger for each of its lanes.

    Raises:
        ValueError: as in `backtest`; or a policy that must be told the true regimes.
    """
    whole = replace(config, episode=replace(config.episode, length=None, random_start=False))
    lanes = sum(run.lanes for run in runs)
    # A ruined lane goes on in a new episode, which nobody reads; the others must not stop.
    simulator = Simulator(
        market, whole, lanes, seed=0, rows=rows, record_terms=True, autoreset="next_step"
    )
    bounds = np.cumsum([0, *(run.lanes for run in runs)])
    slices = [slice(first, last) for first, last in pairwise(bounds)]
    for run in runs:
        run.policy.reset(run.lanes)
    briefings = [
        Briefing(run.policy, simulator, part) for run, part in zip(runs, slices, strict=True)
    ]
    tape = _Tape(simulator)
    for _ in range(tape.num_bars):
        for briefing in briefings:
            briefing.before()
        actions_ND = _act(runs, slices, simulator)
        for briefing in briefings:
            briefing.look(actions_ND)
        simulator.step(actions_ND)
        tape.record(simulator)
        for briefing in briefings:
            briefing.after()
    shared = LedgerMetadata(
        policy="",
        split=split,
        periods_per_year=periods_per_year(market.ts_event),
        config_sha256=config_sha256(config),
        data_sha256=data_sha256,
        notes=(_PRESCIENT,) if config.fill == "close" else (),
    )
    return [
        [
            tape.ledger(lane, replace(shared, policy=run.name, seed=run.seed + number))
            for number, lane in enumerate(range(part.start, part.stop))
        ]
        for run, part in zip(runs, slices, strict=True)
    ]


def config_sha256(config: TradingConfig) -> str:
    """Digest of a trading configuration, the same for equal values."""
    plain = TypeAdapter(TradingConfig).dump_python(config, mode="json")
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def periods_per_year(ts_event: NDArray[np.int64]) -> float:
    """Bars per year of 365.25 days, measured on the axis without its holes of more than ten days.

    About 252 for daily bars; times the bars of a session for bars within a day.

    Args:
        ts_event: bar times, ns UTC, increasing; at least two.
    """
    return measured_per_year(ts_event)


def _act(runs: Sequence[Run], slices: Sequence[slice], simulator: Simulator) -> NDArray[np.float64]:
    observation_NO = simulator.observe_index()
    exact_NO = _exact_observation(simulator, observation_NO)
    actions = np.empty((simulator.num_envs, simulator.action_size))
    for run, part in zip(runs, slices, strict=True):
        if isinstance(run.policy, Rule):
            actions[part] = run.policy.act(exact_NO[part])
        else:
            actions[part] = run.policy.act(observation_NO[part])
    return actions


def _exact_observation(
    simulator: Simulator, observation_NO: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The observation with weights in float64, so that a rule that asks for them orders nothing."""
    exact_NO = observation_NO.astype(np.float64)
    assets = simulator.num_assets
    exact_NO[:, 1 : assets + 1] = _weights(simulator)
    return exact_NO


def _weights(simulator: Simulator) -> NDArray[np.float64]:
    """Market values over equity (N, A), zero where there is no equity."""
    values_NA = simulator.shares_NA * _bars(simulator).close_TA[simulator.bar_N]
    equity_N1 = simulator.equity_N[:, None]
    solvent_N1 = equity_N1 > 0.0
    return np.asarray(np.where(solvent_N1, values_NA / np.where(solvent_N1, equity_N1, 1.0), 0.0))


def _bars(simulator: Simulator) -> MarketArrays:
    """The market; backtests are played on bars."""
    return cast("MarketArrays", simulator.market)


class _Tape:
    """What every lane did, bar by bar, as arrays (E, N, ...) that ledgers are cut from."""

    def __init__(self, simulator: Simulator) -> None:
        lanes, assets = simulator.num_envs, simulator.num_assets
        start = int(simulator.bar_N[0])
        self.num_bars = int(simulator.end_N[0]) - start
        rows = self.num_bars + 1
        self._row = 0
        self._symbols = _bars(simulator).symbols
        self._ts_event = _bars(simulator).ts_event[start : start + rows]
        self._equity_EN = np.zeros((rows, lanes))
        self._cash_EN = np.zeros((rows, lanes))
        self._weights_ENA = np.zeros((rows, lanes, assets))
        self._terms_EN7 = np.zeros((rows, lanes, len(TERMS)))
        self._reward_EN = np.zeros((rows, lanes))
        self._shares_ENA = np.zeros((rows, lanes, assets))
        self._price_ENA = np.zeros((rows, lanes, assets))
        self._projected_EN = np.zeros((rows, lanes), dtype=bool)
        self._closed_EN = np.zeros((rows, lanes), dtype=bool)
        self._equity_EN[0] = simulator.equity_N
        self._cash_EN[0] = simulator.cash_N

    def record(self, simulator: Simulator) -> None:
        """Keep the step that was just taken; lanes ruined before it stay as they were."""
        row = self._row = self._row + 1
        closed_N = self._closed_EN[row]
        live_N = ~closed_N
        live_N1 = live_N[:, None]
        self._equity_EN[row] = np.where(live_N, simulator.equity_N, self._equity_EN[row - 1])
        # What a closed account is worth is its money: its positions are no longer followed.
        self._cash_EN[row] = np.where(live_N, simulator.cash_N, self._equity_EN[row - 1])
        self._weights_ENA[row] = np.where(live_N1, _weights(simulator), 0.0)
        self._terms_EN7[row] = np.where(live_N1, simulator.terms_N7, 0.0)
        self._reward_EN[row] = np.where(live_N, simulator.reward_N, 0.0)
        self._shares_ENA[row] = np.where(live_N1, simulator.trades_NA, 0.0)
        self._price_ENA[row] = np.nan_to_num(simulator.fill_price_NA)
        self._projected_EN[row] = live_N & simulator.projected_N
        self._closed_EN[row + 1 :] |= simulator.terminated_N & live_N

    def ledger(self, lane: int, metadata: LedgerMetadata) -> Ledger:
        """The ledger of one lane."""
        equity_E = self._equity_EN[:, lane]
        traded_EA = self._shares_ENA[:, lane] * self._price_ENA[:, lane]
        turnover_E = np.zeros(len(equity_E))
        turnover_E[1:] = metrics.traded_fraction(traded_EA[1:], equity_E[:-1])
        return Ledger(
            symbols=self._symbols,
            ts_event=self._ts_event,
            equity=equity_E,
            cash=self._cash_EN[:, lane],
            weights=self._weights_ENA[:, lane],
            terms=self._terms_EN7[:, lane],
            turnover=turnover_E,
            reward=self._reward_EN[:, lane],
            projected=self._projected_EN[:, lane],
            closed=self._closed_EN[:, lane],
            trades=self._trades(lane, traded_EA),
            metadata=metadata,
        )

    def _trades(self, lane: int, traded_EA: NDArray[np.float64]) -> Trades:
        row, asset = np.nonzero(self._shares_ENA[:, lane])
        size_EA = np.abs(traded_EA)
        total_E = size_EA.sum(axis=1)
        cost_E = self._terms_EN7[:, lane][:, _COST_COLUMNS].sum(axis=1)
        rate_E = cost_E / np.where(total_E > 0.0, total_E, 1.0)
        return Trades(
            row=row,
            ts_event=self._ts_event[row],
            asset=asset,
            shares=self._shares_ENA[row, lane, asset],
            price=self._price_ENA[row, lane, asset],
            cost=(size_EA * rate_E[:, None])[row, asset],
        )

"""Backtests equal the environment, baselines pay and hold, and nobody sees the future."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.rules import BuyAndHold
from envs.config import (
    EpisodeConfig,
    FeeConfig,
    LongShortAction,
    ObservationConfig,
    ParticipationConfig,
    TradingConfig,
)
from envs.market_arrays import MarketArrays
from envs.simulator import TERM_SIGNS, Simulator
from envs.simulator import TERMS as SIMULATOR_TERMS
from evaluation import baselines
from evaluation.backtest import Run, backtest, backtest_many, config_sha256, periods_per_year
from evaluation.baselines import BaselineConfig, baseline_runs, matched_turnover, on_simplex
from evaluation.bootstrap import BootstrapConfig
from evaluation.judge import EvaluationConfig, judge
from evaluation.ledger import SIGNS, TERMS, Ledger, LedgerError

Array = NDArray[np.float64]

BARS = 160
CONFIG = TradingConfig(observation=ObservationConfig(kind="index", window=5))
ROWS = (40, 150)


def make_market(seed: int = 0, *, noise_after: int | None = None, lot: float = 0.0) -> MarketArrays:
    """Three assets, the third starting late, with a split, dividends and a halted bar."""
    rng = np.random.default_rng(seed)
    returns_TA = rng.normal(size=(BARS, 3)) * [0.01, 0.02, 0.015] + 0.0005
    gaps_TA = np.exp(rng.normal(size=(BARS, 3)) * 0.003)
    if noise_after is not None:
        returns_TA[noise_after + 1 :] *= -3.0
    close_TA = 50.0 * np.exp(np.cumsum(returns_TA, axis=0))
    split_TA = np.ones((BARS, 3))
    split_TA[70, 0] = 4.0
    close_TA[70:, 0] /= 4.0
    open_TA = np.vstack([close_TA[:1], close_TA[:-1] / split_TA[1:]]) * gaps_TA
    dividend_TA = np.zeros((BARS, 3))
    dividend_TA[90, 1] = 0.5
    tradable_TA = np.ones((BARS, 3), dtype=bool)
    tradable_TA[:60, 2] = False
    tradable_TA[100, 1] = False
    days = np.arange(BARS) * 86_400_000_000_000
    return MarketArrays.from_arrays(
        ts_event=1_577_912_400_000_000_000 + days,
        open_TA=open_TA,
        close_TA=close_TA,
        volume_TA=np.full((BARS, 3), 1e6),
        tradable_TA=tradable_TA,
        split_TA=split_TA,
        dividend_TA=dividend_TA,
        symbols=("AAA", "BBB", "CCC"),
        lot_A=np.full(3, lot),
    )


class Wander:
    """A policy with a memory: weights wander at random from its seed."""

    def __init__(self, seed: int, scale: float = 1.0) -> None:
        self._seed = seed
        self._scale = scale

    def reset(self, num_envs: int) -> None:
        self._rng = np.random.default_rng(self._seed)
        self._weights = np.full((num_envs, 3), 0.2)

    def act(self, observation_NO: NDArray[np.float32]) -> Array:
        assert observation_NO.dtype == np.float32
        self._weights = np.clip(
            self._weights + 0.05 * self._rng.normal(size=self._weights.shape), 0.0, 0.33
        )
        return self._weights * self._scale


def test_terms_are_the_simulators() -> None:
    assert TERMS == SIMULATOR_TERMS
    assert tuple(SIGNS) == TERM_SIGNS


def test_ledger_equals_the_simulator_stepped_by_hand() -> None:
    market = make_market()
    ledger = backtest(Wander(1), market, CONFIG, ROWS, seed=1, name="wander")
    episode = EpisodeConfig(length=None, random_start=False)
    simulator = Simulator(
        market, dataclasses.replace(CONFIG, episode=episode), 1, seed=9, rows=ROWS
    )
    policy = Wander(1)
    policy.reset(1)
    equity, reward = [simulator.equity_N[0]], [0.0]
    while not simulator.truncated_N[0]:
        simulator.step(policy.act(simulator.observe_index()))
        equity.append(simulator.equity_N[0])
        reward.append(simulator.reward_N[0])
    assert ledger.equity.tolist() == equity
    assert ledger.reward.tolist() == reward
    assert ledger.ts_event[0] == market.ts_event[40]
    assert ledger.ts_event[-1] == market.ts_event[149]
    assert ledger.cash[-1] == simulator.cash_N[0]
    assert (ledger.metadata.policy, ledger.metadata.seed) == ("wander", 1)


def test_cash_and_weights_add_up_to_the_account() -> None:
    ledger = backtest(Wander(1), make_market(), CONFIG, ROWS)
    np.testing.assert_allclose(
        ledger.cash / ledger.equity + ledger.weights.sum(axis=1), 1.0, atol=1e-12
    )


def test_trades_carry_all_trading_costs() -> None:
    ledger = backtest(Wander(1), make_market(), CONFIG, ROWS)
    assert ledger.trades.cost.sum() == pytest.approx(ledger.trading_costs.sum(), rel=1e-12)
    assert ledger.trading_costs.sum() > 0.0
    assert (np.diff(ledger.trades.row) >= 0).all()


def test_side_by_side_equals_alone() -> None:
    market = make_market()
    runs = [Run(name="a", policy=Wander(1)), Run(name="b", policy=Wander(2), lanes=2, seed=5)]
    together = backtest_many(runs, market, CONFIG, ROWS)
    alone = backtest(Wander(1), market, CONFIG, ROWS)
    np.testing.assert_array_equal(together[0][0].equity, alone.equity)
    assert [ledger.metadata.seed for ledger in together[1]] == [5, 6]
    assert together[1][0].equity[-1] != together[1][1].equity[-1]


def test_ledgers_of_a_backtest_survive_the_disk(tmp_path: Path) -> None:
    ledger = backtest(Wander(1), make_market(), CONFIG, ROWS)
    ledger.to_parquet(tmp_path / "ledger.parquet")
    back = Ledger.from_parquet(tmp_path / "ledger.parquet")
    np.testing.assert_array_equal(back.equity, ledger.equity)
    np.testing.assert_array_equal(back.trades.cost, ledger.trades.cost)
    with pytest.raises(LedgerError, match="equity"):
        dataclasses.replace(back, equity=back.equity * 1.01)


def test_ruin_closes_the_account_and_leaves_the_others_alone() -> None:
    """Three times long into a market that halves: ruined; the neighbour never notices."""
    days = np.arange(40) * 86_400_000_000_000
    close_TA = 100.0 * np.exp(-0.05 * np.arange(40.0))[:, None]
    market = MarketArrays.from_arrays(ts_event=days, open_TA=close_TA, close_TA=close_TA)
    config = dataclasses.replace(
        TradingConfig.frictionless(action=LongShortAction(gross=3.0, net=3.0, scale=3.0)),
        observation=ObservationConfig(kind="index", window=1),
        episode=EpisodeConfig(length=None, random_start=False, ruin_fraction=0.2),
    )

    class Constant:
        def __init__(self, action: float) -> None:
            self._action = action

        def reset(self, num_envs: int) -> None:
            self._shape = (num_envs, 1)

        def act(self, observation_NO: NDArray[np.float32]) -> Array:
            return np.full(self._shape, self._action)

    runs = [Run(name="bold", policy=Constant(1.0)), Run(name="none", policy=Constant(0.0))]
    (bold,), (none,) = backtest_many(runs, market, config, (0, 40))
    end = int(np.argmax(bold.closed))
    assert 0 < end < 39
    assert bold.equity[end - 1] <= 0.2 * bold.equity[0] < bold.equity[end - 2]
    assert (bold.equity[end:] == bold.equity[end - 1]).all()
    assert not bold.terms[end:].any()
    assert not bold.weights[end:].any()
    assert not none.closed.any()
    assert (none.equity == none.equity[0]).all()


def run_baselines(market: MarketArrays, config: TradingConfig = CONFIG) -> dict[str, Ledger]:
    settings = BaselineConfig(volatility_window=10, momentum_window=20, random_lanes=2)
    runs = baseline_runs(market, settings, turnover=0.05, seed=3)
    ledgers = backtest_many(runs, market, on_simplex(config), ROWS, split="test")
    return {run.name: lanes[0] for run, lanes in zip(runs, ledgers, strict=True)}


def test_baselines_do_what_they_say() -> None:
    # A minimum fee would punish every order of rounding size.
    config = dataclasses.replace(CONFIG, fee=FeeConfig(minimum=1.0))
    found = run_baselines(make_market(), config)
    assert list(found) == [
        "cash",
        "buy_and_hold",
        "equal_weight",
        "equal_weight_monthly",
        "inverse_volatility",
        "momentum",
        "random",
    ]
    assert len(found["cash"].trades) == 0
    assert (found["cash"].equity == found["cash"].equity[0]).all()
    # Two purchases at the start, then room for the asset that starts in bar 60: decided at its
    # close, filled in bar 61, which is row 21.
    hold = found["buy_and_hold"].trades
    assert hold.row.tolist() == [1, 1, 21, 21, 21]
    np.testing.assert_allclose(found["buy_and_hold"].weights[21], 1 / 3, atol=0.03)
    monthly = found["equal_weight_monthly"]
    assert len(np.unique(monthly.trades.row)) < 8 < len(np.unique(found["equal_weight"].trades.row))
    for name, ledger in found.items():
        assert name == "cash" or ledger.costs.sum() > 0.0
        assert not ledger.projected.any()
        assert (ledger.weights[:20, 2] == 0.0).all(), "nothing that has not started yet"
        assert ledger.weights.min() >= 0.0


@pytest.mark.parametrize("lot", [0.0, 10.0])
def test_random_baseline_trades_as_much_as_the_agent(lot: float) -> None:
    """Ten shares are half a per cent of the account: many of the random orders do not fill."""
    market = make_market(lot=lot)
    agents = {seed: Wander(seed) for seed in range(3)}
    config = EvaluationConfig(
        bootstrap=BootstrapConfig(resamples=100), baselines=BaselineConfig(random_lanes=20)
    )
    found = judge(agents, market, CONFIG, test=ROWS, validation=None, config=config)
    wanted = matched_turnover(found.agents)
    assert wanted > 0.02
    assert matched_turnover(found.baselines["random"]) == pytest.approx(wanted, rel=0.02)


def test_baselines_do_not_see_the_future() -> None:
    """Prices after bar 90 change; every baseline is the same up to it, bit for bit."""
    before, after = (run_baselines(make_market(noise_after=cut)) for cut in (None, 90))
    rows = 90 - 40 + 1
    for name, ledger in before.items():
        other = after[name]
        np.testing.assert_array_equal(ledger.equity[:rows], other.equity[:rows])
        np.testing.assert_array_equal(ledger.weights[:rows], other.weights[:rows])
        assert name == "cash" or ledger.equity[-1] != other.equity[-1]


def test_growth_factors_by_hand() -> None:
    market = make_market()
    growth_TA = baselines.growth_factors(market)
    assert growth_TA[70, 0] == pytest.approx(4.0 * market.close_TA[70, 0] / market.close_TA[69, 0])
    assert growth_TA[90, 1] == pytest.approx(
        (market.close_TA[90, 1] + 0.5) / market.close_TA[89, 1]
    )
    assert np.isnan(growth_TA[:61, 2]).all()
    assert growth_TA[61, 2] == pytest.approx(market.close_TA[61, 2] / market.close_TA[60, 2])


def test_trailing_windows_by_hand() -> None:
    growth_TA = np.array([[np.nan], [1.1], [0.9], [1.2], [1.0]])
    momentum_TA = baselines.trailing_momentum(growth_TA, 2)
    np.testing.assert_allclose(momentum_TA[:, 0], [np.nan, np.nan, -0.01, 0.08, 0.2])
    volatility_TA = baselines.trailing_volatility(growth_TA, 3)
    assert np.isnan(volatility_TA[:2]).all()
    assert volatility_TA[3, 0] == pytest.approx(np.std(np.log([1.1, 0.9, 1.2]), ddof=1))


def test_month_starts_by_hand() -> None:
    days = np.array(["2020-01-30", "2020-01-31", "2020-02-03", "2020-02-04", "2020-04-01"])
    ts_event = days.astype("datetime64[ns]").astype(np.int64)
    assert baselines.month_starts(ts_event).tolist() == [True, False, True, False, True]


def test_daily_sessions_are_about_252_a_year() -> None:
    days = np.arange(np.datetime64("2010-01-01"), np.datetime64("2020-01-01"))
    sessions = days[np.is_busday(days)].astype("datetime64[ns]").astype(np.int64)
    assert periods_per_year(sessions) == pytest.approx(5 / 7 * 365.25, abs=0.2)


def test_hours_of_sessions_are_counted_with_their_nights() -> None:
    days = np.arange(np.datetime64("2010-01-01"), np.datetime64("2020-01-01"))
    sessions = days[np.is_busday(days)].astype("datetime64[ns]").astype(np.int64)
    hours = (sessions[:, None] + np.arange(14, 21) * 3_600_000_000_000).reshape(-1)
    assert periods_per_year(hours) == pytest.approx(7 * 5 / 7 * 365.25, rel=1e-3)


def test_a_hole_of_years_is_no_time() -> None:
    days = np.arange(np.datetime64("2010-01-01"), np.datetime64("2020-01-01"))
    sessions = days[np.is_busday(days)].astype("datetime64[ns]").astype(np.int64)
    blocks = np.concatenate([sessions[:261], sessions[-261:]])
    assert periods_per_year(blocks) == pytest.approx(5 / 7 * 365.25, rel=3e-3)


def held_market(*, missing: int | None = None) -> MarketArrays:
    """Two assets at 100 with 1000 shares a bar; the second may lack one bar."""
    shape = (30, 2)
    tradable_TA = np.ones(shape, dtype=bool)
    if missing is not None:
        tradable_TA[missing, 1] = False
    return MarketArrays.from_arrays(
        ts_event=1_577_912_400_000_000_000 + np.arange(30) * 86_400_000_000_000,
        open_TA=np.full(shape, 100.0),
        close_TA=np.full(shape, 100.0),
        volume_TA=np.full(shape, 1000.0),
        tradable_TA=tradable_TA,
        symbols=("AAA", "BBB"),
    )


def test_buy_and_hold_buys_after_a_missing_bar_at_the_fill() -> None:
    market = held_market(missing=6)
    config = dataclasses.replace(
        TradingConfig.frictionless(),
        observation=CONFIG.observation,
        episode=EpisodeConfig(initial_cash=10_000.0),
    )
    ledger = backtest(BuyAndHold(market.tradable_TA), market, config, (5, 30))
    np.testing.assert_allclose(ledger.weights[1], [0.5, 0.0])
    # The bar itself is missing at the next decision too: nothing can be asked before bar 7.
    np.testing.assert_allclose(ledger.weights[3:], 0.5)
    assert len(ledger.trades.row) == 2


def test_buy_and_hold_buys_on_under_a_participation_limit() -> None:
    market = held_market()
    config = dataclasses.replace(
        TradingConfig.frictionless(),
        observation=CONFIG.observation,
        participation=ParticipationConfig(maximum=0.1),
        episode=EpisodeConfig(initial_cash=100_000.0),
    )
    ledger = backtest(BuyAndHold(market.tradable_TA), market, config, (5, 30))
    # 100 of the 500 shares of each asset a bar, then nothing more.
    expected = np.minimum(0.1 * np.arange(len(ledger.weights)), 0.5)
    np.testing.assert_allclose(ledger.weights, np.repeat(expected[:, None], 2, axis=1))
    assert len(ledger.trades.row) == 10


def test_fills_at_the_observed_close_are_named() -> None:
    config = dataclasses.replace(CONFIG, fill="close")
    assert (
        "too good to be true" in backtest(Wander(1), make_market(), config, ROWS).metadata.notes[0]
    )
    assert (
        config_sha256(config)
        != config_sha256(CONFIG)
        == config_sha256(TradingConfig(observation=ObservationConfig(kind="index", window=5)))
    )


def test_judgement_is_complete_and_on_disk(tmp_path: Path) -> None:
    config = EvaluationConfig(
        bootstrap=BootstrapConfig(resamples=100), baselines=BaselineConfig(random_lanes=2)
    )
    policies = {seed: Wander(seed) for seed in (11, 12)}
    market = make_market()
    found = judge(
        policies,
        market,
        CONFIG,
        test=(100, 160),
        validation=(40, 100),
        config=config,
        data_sha256="ab12",
    )
    assert [ledger.metadata.seed for ledger in found.agents] == [11, 12]
    assert found.comparison.chosen_on_validation
    assert found.comparison.num_bars == 59
    found.save(tmp_path)
    document = json.loads((tmp_path / "metrics.json").read_text())
    assert document["verdict"] == found.comparison.verdict
    assert set(document["figures"]) == {"agent", *found.baselines}
    assert document["figures"]["cash"]["hit_rate"] is None
    mean = np.mean([ledger.equity[-1] / ledger.equity[0] - 1 for ledger in found.agents])
    assert document["figures"]["agent"]["total_return"] == pytest.approx(mean)
    back = Ledger.from_parquet(tmp_path / "test" / "agent-12.parquet")
    np.testing.assert_array_equal(back.equity, found.agents[1].equity)
    assert back.metadata.data_sha256 == "ab12"
    assert len(list((tmp_path / "validation").iterdir())) == 2 + 6 + 2
    with pytest.raises(ValueError, match="agents: expected at least one"):
        judge({}, market, CONFIG, test=(100, 160), validation=None)

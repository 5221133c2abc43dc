"""Expected rewards: by hand, by plain integration, and as the mean of the rewards themselves."""

import math
from dataclasses import replace

import numpy as np
import pytest

from envs.config import LogReturnReward
from envs.kernel.expectation import NODES, WEIGHTS
from envs.simulator import Simulator
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.layout import REGIME, Block, block_start
from tests.envs.kernel.streams import LENGTH, MARKETS, rules


def test_quadrature_has_the_moments_of_a_normal_variable() -> None:
    for power, moment in ((0, 1.0), (1, 0.0), (2, 1.0), (4, 3.0), (6, 15.0), (16, 2_027_025.0)):
        total = sum(w * x**power for x, w in zip(NODES, WEIGHTS, strict=True))
        assert total == pytest.approx(moment, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("name", ["garleanu_pedersen", "ornstein_uhlenbeck", "three_assets"])
def test_expected_utility(name: str) -> None:
    market = MARKETS[name]
    config = rules(market)
    assert config.reward.kind == "quadratic_utility"
    stream, assets = market.stream(), market.num_assets
    simulator = Simulator(stream, config, 5, seed=3, record_expected=True)
    rng = np.random.default_rng(1)
    drift, close = block_start(Block.DRIFT, assets), block_start(Block.CLOSE, assets)
    for _ in range(LENGTH):
        state, equity = simulator.world_NS.copy(), simulator.equity_N.copy()
        simulator.step(rng.uniform(-1, 1, (5, assets)))
        ahead = state[:, close : close + assets] + state[:, drift : drift + assets]
        sigma = stream.covariance_KAA[state[:, REGIME].astype(int)]
        held = simulator.shares_NA
        risk = 0.5 * config.reward.risk_aversion * np.einsum("na,nab,nb->n", held, sigma, held)
        expected = simulator.cash_N + (held * ahead).sum(axis=1) - equity - risk
        np.testing.assert_allclose(simulator.expected_N, expected, rtol=1e-9, atol=1e-7)
        noise = (held * (simulator.world_NS - state)[:, close : close + assets]).sum(axis=1)
        noise -= (held * state[:, drift : drift + assets]).sum(axis=1)
        np.testing.assert_allclose(
            simulator.reward_N - simulator.expected_N, noise, rtol=1e-9, atol=1e-7
        )


def test_expected_log_return() -> None:
    market = MARKETS["regime_gbm"]
    simulator = Simulator(market.stream(), rules(market), 4, seed=3, record_expected=True)
    rng = np.random.default_rng(1)
    points = np.linspace(-9.0, 9.0, 20_001)
    density = np.exp(-0.5 * points**2) / math.sqrt(2 * math.pi) * (points[1] - points[0])
    for _ in range(LENGTH):
        state, equity = simulator.world_NS.copy(), simulator.equity_N.copy()
        simulator.step(rng.uniform(-1, 1, (4, 1)))
        for lane in range(4):
            price, _, drift, deviation = state[lane, 2:6]
            simple = (1 + drift / price) * np.exp(deviation * points - deviation**2 / 2) - 1
            after = simulator.cash_N[lane] + simulator.shares_NA[lane, 0] * price * (1 + simple)
            integral = (density * np.log(after / equity[lane])).sum()
            assert simulator.expected_N[lane] == pytest.approx(integral, abs=1e-13)


@pytest.mark.parametrize("name", ["ornstein_uhlenbeck", "regime_gbm"])
def test_is_the_mean_of_the_rewards(name: str) -> None:
    market, lanes = MARKETS[name], 4_000
    config = rules(market)
    simulator = Simulator(market.stream(), config, lanes, seed=5, record_expected=True)
    difference = np.zeros(lanes)
    for bar in range(LENGTH):
        simulator.step(np.full((lanes, 1), math.sin(bar)))
        difference += simulator.reward_N - simulator.expected_N
    error = difference.std() / math.sqrt(lanes)
    assert abs(difference.mean()) < 4 * error
    assert error > 0.0


@pytest.mark.parametrize("name", MARKETS)
def test_may_be_the_reward(name: str) -> None:
    market = MARKETS[name]
    expecting = replace(rules(market), expected_reward=True)
    told = Simulator(market.stream(), rules(market), 3, seed=5, record_terms=True)
    paid = Simulator(market.stream(), expecting, 3, seed=5, autoreset="same_step")
    rng = np.random.default_rng(1)
    for _ in range(LENGTH):
        actions = rng.uniform(-1, 1, (3, market.num_assets))
        told.step(actions)
        paid.step(actions)
        assert paid.reward_N.tobytes() == told.expected_N.tobytes() == paid.expected_N.tobytes()
        # Without holdings nothing is uncertain.
        held = (told.shares_NA != 0.0).any(axis=1)
        assert ((told.reward_N != told.expected_N) == held).all()
    # The rewards of the last step outlive the reset in it.
    assert (paid.bar_N == 0).all()


def test_nothing_is_computed_unless_asked_for() -> None:
    market = GarleanuPedersen()
    silent = Simulator(market.stream(), rules(market), 2, seed=1)
    silent.step([[0.5], [0.5]])
    assert np.isnan(silent.expected_N).all()
    # No formula: the log return of additive prices.
    config = replace(rules(market), reward=LogReturnReward())
    other = Simulator(market.stream(), config, 2, seed=1, record_expected=True)
    other.step([[0.5], [0.5]])
    assert np.isnan(other.expected_N).all()
    assert np.isfinite(other.reward_N).all()

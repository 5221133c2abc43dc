"""The solver of the no-trade band against closed forms, brute force and published figures."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from markets.synthetic.band import Resolution, solve, solve_known
from markets.synthetic.belief_band import Scale
from markets.synthetic.chain import SyntheticMarketError, stationary
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck

Array = NDArray[np.float64]


def single(**changes: float) -> OrnsteinUhlenbeck:
    """Return a market of one regime."""
    market = OrnsteinUhlenbeck(speed=(0.1,), mean=(0.0,), volatility=(1.0,), transition=((1.0,),))
    return replace(market, **changes)  # type: ignore[arg-type]


def frictionless_value(market: OrnsteinUhlenbeck) -> float:
    """Return (1 - delta) sum_t delta^t E[mu_t^2 / (2 gamma sigma^2)], by moments of the price.

    E[P^n 1{k}] for n = 0, 1, 2 move linearly from bar to bar.
    """
    chain_KK, speed_K = np.array(market.transition), np.array(market.speed)
    mean_K, variance_K = np.array(market.mean), np.array(market.volatility) ** 2
    keep_K, pull_K = 1.0 - speed_K, speed_K * mean_K
    zeroth_K = stationary(chain_KK)
    first_K = zeroth_K * mean_K
    second_K = zeroth_K * (mean_K**2 + market.price_deviation**2)
    total = 0.0
    for bar in range(4_000):
        distance_K = mean_K**2 * zeroth_K - 2.0 * mean_K * first_K + second_K
        reward_K = speed_K**2 * distance_K / (2.0 * market.risk_aversion * variance_K)
        total += market.discount**bar * float(reward_K.sum())
        second_K = chain_KK.T @ (
            keep_K**2 * second_K
            + 2.0 * keep_K * pull_K * first_K
            + (pull_K**2 + variance_K) * zeroth_K
        )
        first_K = chain_KK.T @ (keep_K * first_K + pull_K * zeroth_K)
        zeroth_K = chain_KK.T @ zeroth_K
    return (1.0 - market.discount) * total


def test_without_costs_the_problem_is_static() -> None:
    market = OrnsteinUhlenbeck(cost=0.0, limit=30.0)
    oracle = market.oracle("known")
    assert oracle.value == pytest.approx(frictionless_value(market), rel=1e-5)
    price_N = np.linspace(-8.0, 6.0, 41)
    for regime in (0, 1):
        kappa, sigma = market.speed[regime], market.volatility[regime]
        expected_N = kappa * (market.mean[regime] - price_N) / (market.risk_aversion * sigma**2)
        np.testing.assert_allclose(oracle.frictionless(regime, price_N), expected_N)
        for edge_N in oracle.band(regime, price_N):
            np.testing.assert_allclose(edge_N, expected_N, atol=1e-9)


def test_without_costs_frozen_regimes_are_worth_their_signal() -> None:
    """kappa / (2 (2 - kappa) gamma) a bar, whatever the volatility."""
    market = OrnsteinUhlenbeck(cost=0.0, limit=40.0, transition=((1.0, 0.0), (0.0, 1.0)))
    expected = 0.5 * (0.1 / 1.9 + 0.3 / 1.7) / (2.0 * market.risk_aversion)
    assert market.oracle("known").value == pytest.approx(expected, rel=1e-5)


def test_without_risk_aversion_one_takes_the_limit() -> None:
    oracle = single(risk_aversion=0.0, cost=0.0).oracle("known")
    low_N, high_N = oracle.band(0, np.array([-1.0, 1.0]))
    np.testing.assert_allclose(low_N, [8.0, -8.0])
    np.testing.assert_allclose(high_N, [8.0, -8.0])
    # E|P| of a normal law.
    expected = 8.0 * 0.1 * (2.0 / np.pi / (0.1 * 1.9)) ** 0.5
    assert oracle.value == pytest.approx(expected, rel=2e-3)
    assert "continuous_band" not in single(risk_aversion=0.0).rules()


@pytest.mark.parametrize("information", ["known", "belief"])
def test_huge_costs_forbid_trading(information: str) -> None:
    oracle = OrnsteinUhlenbeck(cost=1e4).oracle(information)  # type: ignore[arg-type]
    low_N, high_N = oracle.band(0, np.linspace(-10.0, 10.0, 21))
    np.testing.assert_array_equal(low_N, -8.0)
    np.testing.assert_array_equal(high_N, 8.0)
    assert oracle.value == pytest.approx(0.0, abs=1e-12)


def test_a_symmetric_market_has_a_symmetric_band() -> None:
    oracle = single().oracle("known")
    price_N = np.linspace(-6.0, 6.0, 25)
    low_N, high_N = oracle.band(0, price_N)
    np.testing.assert_allclose(low_N, -high_N[::-1], atol=1e-6)
    assert np.all(high_N > low_N)


@pytest.mark.parametrize(
    ("loading", "speed", "cost", "half_width", "value"),
    [
        (0.2, 0.05, 0.02, 0.0125, 0.01911),
        (0.2, 0.05, 0.10, 0.0472, 0.01696),
        (0.2, 0.05, 0.50, 0.1066, 0.01165),
        (0.2, 0.30, 0.10, 0.0619, 0.01179),
    ],
)
def test_known_figures(
    loading: float, speed: float, cost: float, half_width: float, value: float
) -> None:
    """A drift of standard deviation b = `loading` and unit risk, per bar in the long run.

    Widths: (3 c eta^2 / (2 g))^(1/3) - 0.583 eta with eta = b sqrt(1 - (1 - phi)^2). Values: a
    dynamic programme on a grid of 41 signals and 241 holdings, with the maximum over trades. The
    formula is for small costs: at the largest it is off by 11 %.
    """
    volatility = loading / speed * (speed * (2.0 - speed)) ** 0.5
    market = single(cost=cost, risk_aversion=volatility**-2, limit=1.5, discount=0.9999)
    market = replace(market, speed=(speed,), volatility=(volatility,))
    oracle = market.oracle("known")
    assert oracle.value == pytest.approx(value, rel=5e-3)
    low, high = oracle.band(0, 0.0)
    assert float(high - low) / 2.0 == pytest.approx(half_width, rel=0.12, abs=4e-3)


def test_asymptotic_half_width_by_hand() -> None:
    """kappa = 0.1, sigma = 1, gamma = 0.1: eta = 1, g = 0.1, (3 * 0.3 / 0.2)^(1/3) = 1.65096."""
    rule = single().rules()["continuous_band"]
    assert rule.half_width(np.ones((1, 1)))[0, 0] == pytest.approx(1.65096, abs=1e-5)  # type: ignore[attr-defined]


def test_units_one_by_one_are_the_whole_problem() -> None:
    """Against value iteration on holdings, with the maximum over all trades, on a random chain.

    The grid of holdings forbids the very best trades, so value iteration is a little below. From x,
    buying gives max_{y >= x} W(y) - c (y - x), selling max_{y <= x} W(y) - c (x - y).
    """
    random = np.random.default_rng(11)
    states, levels = 6, 601
    step_MM = random.dirichlet(np.ones(states), size=states) * 0.3 + 0.7 * np.eye(states)
    drift_M, risk_M = random.normal(size=states), random.uniform(0.5, 2.0, size=states)
    start_M = random.dirichlet(np.ones(states))
    spread = single(cost=1.5, limit=1.5, discount=0.9).spread
    band = solve(
        spread,
        Resolution(levels=2_401),
        price_I=np.arange(float(states)),
        step_MM=step_MM,
        drift_M=drift_M,
        risk_M=risk_M,
        start_M=start_M,
    )
    level_X = np.linspace(-1.5, 1.5, levels)
    reward_MX = drift_M[:, None] * level_X - 0.5 * risk_M[:, None] * level_X**2
    value_MX = np.zeros((states, levels))
    for _ in range(250):
        after_MX = reward_MX + 0.9 * step_MM @ value_MX
        sold_MX = np.maximum.accumulate(after_MX + 1.5 * level_X, axis=1) - 1.5 * level_X
        bought_MX = np.maximum.accumulate((after_MX - 1.5 * level_X)[:, ::-1], axis=1)[:, ::-1]
        value_MX = np.maximum(sold_MX, bought_MX + 1.5 * level_X)
    middle, grid = levels // 2, level_X[1] - level_X[0]
    flat_M = value_MX[:, middle]
    np.testing.assert_allclose(band.flat_RI[0], flat_M, rtol=2e-5)
    assert np.all(band.flat_RI[0] > flat_M)
    assert band.value == pytest.approx(0.1 * float(start_M @ flat_M), rel=2e-5)
    low_M = level_X[(after_MX - 1.5 * level_X).argmax(axis=1)]
    high_M = level_X[(after_MX + 1.5 * level_X).argmax(axis=1)]
    np.testing.assert_allclose(band.low_RI[0], low_M, atol=grid)
    np.testing.assert_allclose(band.high_RI[0], high_M, atol=grid)
    assert np.any(band.high_RI - band.low_RI > 3.0 * grid)
    assert np.any(band.high_RI[0] < 1.5)


def test_finer_grids_tell_the_same() -> None:
    spread = OrnsteinUhlenbeck().spread
    coarse = solve_known(spread)
    fine = solve_known(spread, Resolution(prices=10.0, levels=321))
    assert coarse.value == pytest.approx(fine.value, rel=1e-4)
    for row in (0, 1):
        for table, finer in ((coarse.low_RI, fine.low_RI), (coarse.high_RI, fine.high_RI)):
            at = np.linspace(-6.0, 5.0, 30)
            np.testing.assert_allclose(
                np.interp(at, coarse.price_I, table[row]),
                np.interp(at, fine.price_I, finer[row]),
                atol=0.02,
            )


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({}, 0.239805),
        ({"transition": 0.999}, 0.323883),
        ({"volatility": (0.5, 2.0)}, 0.270949),
        ({"mean": (5.0, -5.0)}, 0.278771),
    ],
    ids=["default", "slow", "volatile", "apart"],
)
def test_finer_grids_tell_the_same_of_beliefs(changes: dict[str, Any], value: float) -> None:
    """Against finer grids (prices=3.6, levels=161, beliefs=31), which take too long here."""
    assert OrnsteinUhlenbeck(**changes).oracle("belief").value == pytest.approx(value, rel=3e-4)


def test_beliefs_are_solved_densely_near_certainty() -> None:
    scale = Scale.of(np.array([[0.999, 0.001], [0.02, 0.98]]))
    assert scale == (0.001, 0.02)
    belief_R = scale.nodes(25)
    assert belief_R[0] == 0.0
    assert belief_R[-1] == 1.0
    step_R = np.diff(scale.place(belief_R))
    np.testing.assert_allclose(step_R, step_R[0], rtol=1e-9)
    assert (belief_R < 0.01).sum() > 5
    assert (belief_R > 0.9).sum() >= 5


def test_equal_regimes_need_no_knowledge() -> None:
    market = OrnsteinUhlenbeck(speed=(0.1, 0.1), mean=(0.0, 0.0), volatility=(1.0, 1.0))
    one = single().oracle("known")
    assert market.oracle("known").value == pytest.approx(one.value, rel=1e-4)
    assert market.oracle("belief").value == pytest.approx(one.value, rel=1e-3)
    assert single().oracle("belief").value == one.value


@pytest.mark.parametrize("cost", [0.0, 0.1, 1.0])
def test_knowing_is_worth_something(cost: float) -> None:
    market = OrnsteinUhlenbeck(cost=cost)
    known, belief = market.oracle("known").value, market.oracle("belief").value
    assert 0.0 < belief < 0.95 * known


def test_costs_lower_the_value_and_patience_waits() -> None:
    values = [OrnsteinUhlenbeck(cost=cost).oracle("known").value for cost in (0.0, 0.1, 0.3, 1.0)]
    assert np.all(np.diff(values) < 0.0)


def test_prices_too_many_to_solve() -> None:
    market = OrnsteinUhlenbeck(volatility=(0.001, 1.0))
    with pytest.raises(SyntheticMarketError, match=r"speed, volatility: .* found"):
        market.oracle("known")


def test_a_band_that_does_not_settle_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("markets.synthetic.band._MOST_ROUNDS", 1)
    with pytest.raises(SyntheticMarketError, match="did not settle in 1 rounds"):
        solve_known(OrnsteinUhlenbeck().spread)

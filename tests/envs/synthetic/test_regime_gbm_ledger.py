"""The growth-optimal oracles through the kernel's ledger earn what dynamic programming says."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.simulator import Simulator
from envs.synthetic import Problem
from markets.synthetic.base import Information, Solution, World
from markets.synthetic.chain import stationary
from markets.synthetic.gbm_oracles import Kelly, NoTradeBand, kelly_weights
from markets.synthetic.kelly import growth
from markets.synthetic.regime_gbm import RegimeGBM
from tests.envs.synthetic.estimates import adjusted, error_of

Array = NDArray[np.float64]

MARKET = RegimeGBM()
BARS = 700
"""Steps after which the default discount leaves less than a thousandth."""
LANES = 1000
SEED = 31


class Earned(NamedTuple):
    """(1 - delta) times each lane's discounted sums, log growth a bar."""

    expected_N: Array
    realised_N: Array
    control_NC: Array
    """Sums of mean zero by the law of the market: luck w'(R - E R), its square less its mean, and
    the time in the first regime less its share of the long run."""


class Part:
    """A multiple of another solution's target."""

    information: Information = "known"

    def __init__(self, solution: Solution, part: float) -> None:
        self._solution, self._part = solution, part

    def target(self, world: World, holding_NA: Array) -> Array:
        return self._part * self._solution.target(world, holding_NA)


def simulator_of(market: RegimeGBM, lanes: int, bars: int) -> tuple[Problem, Simulator]:
    problem = Problem(market, episode_length=bars)
    simulator = Simulator(
        problem.stream(belief=True),
        problem.trading(),
        num_envs=lanes,
        seed=SEED,
        record_expected=True,
    )
    return problem, simulator


def play(solution: Solution, market: RegimeGBM = MARKET) -> Earned:
    """Trade to a solution's targets through the kernel, from cash."""
    problem, simulator = simulator_of(market, LANES, BARS)
    earned = Earned(np.zeros(LANES), np.zeros(LANES), np.zeros((LANES, 3)))
    weight, law = 1.0 - market.discount, market.law
    share = stationary(law.transition_KK)[0]
    for _ in range(BARS):
        regime_N, close_NA, *_ = market.world(simulator.world_NS.copy())
        actions_NA = problem.follow(solution, simulator)
        simulator.step(actions_NA)
        return_NA = market.world(simulator.world_NS).close_NA / close_NA - 1.0
        held_NA = market.limit * actions_NA
        # As the action space has it: weights beyond the limit are scaled down together.
        held_NA /= np.maximum(np.abs(held_NA).sum(axis=1, keepdims=True) / market.limit, 1.0)
        luck_N = (held_NA * (return_NA - law.drift_KA[regime_N])).sum(axis=1)
        variance_N = np.einsum("na,nab,nb->n", held_NA, law.covariance_KAA[regime_N], held_NA)
        controls = (luck_N, luck_N**2 - variance_N, (regime_N == 0) - share)
        earned.control_NC[:] += weight * np.stack(controls, axis=1)
        earned.expected_N[:] += weight * simulator.expected_N
        earned.realised_N[:] += weight * simulator.reward_N
        weight *= market.discount
    assert simulator.truncated_N.all()
    return earned


@pytest.fixture(scope="module")
def earned() -> dict[Information, Earned]:
    names: tuple[Information, ...] = ("known", "belief")
    return {name: play(MARKET.oracle(name)) for name in names}


@pytest.mark.parametrize("name", ["known", "belief"])
def test_the_oracle_earns_its_value(name: Information, earned: dict[Information, Earned]) -> None:
    value = MARKET.oracle(name).value
    assert value is not None
    # What the episode's end cuts off, of the order of the discount beyond it.
    beyond = MARKET.discount**BARS * value * 1.1
    for values_N in (earned[name].expected_N, earned[name].realised_N):
        assert abs(values_N.mean() + beyond - value) < 3.0 * error_of(values_N)
    assert error_of(earned[name].expected_N) < 0.02 * value
    assert earned[name].expected_N.std() < 0.2 * earned[name].realised_N.std()


@pytest.mark.parametrize("name", ["known", "belief"])
def test_realised_rewards_have_the_expected_ones_for_a_mean(
    name: Information, earned: dict[Information, Earned]
) -> None:
    difference_N = earned[name].realised_N - earned[name].expected_N
    assert abs(difference_N.mean()) < 3.0 * error_of(difference_N)


@pytest.mark.parametrize("name", ["known", "belief"])
@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.1), (0.08, -0.08), (0.1, 0.1), (-0.1, -0.1)])
def test_every_other_band_earns_less(
    name: Information, low: float, high: float, earned: dict[Information, Earned]
) -> None:
    other = play(NoTradeBand(MARKET.problem, name, low_shift=low, high_shift=high))
    loss_N = earned[name].expected_N - other.expected_N
    assert loss_N.mean() > 3.0 * error_of(loss_N)


@pytest.mark.parametrize("name", ["known", "belief"])
def test_ignoring_costs_earns_less(name: Information, earned: dict[Information, Earned]) -> None:
    loss_N = earned[name].expected_N - play(Kelly(MARKET.problem, name)).expected_N
    value = MARKET.oracle(name).value
    assert value is not None
    assert loss_N.mean() > 0.04 * value
    assert loss_N.mean() > 3.0 * error_of(loss_N)


def test_not_knowing_the_regime_has_a_price(earned: dict[Information, Earned]) -> None:
    gap_N = earned["known"].expected_N - earned["belief"].expected_N
    known, belief = (MARKET.oracle(name).value for name in earned)
    assert known is not None
    assert belief is not None
    assert abs(gap_N.mean() - (known - belief)) < 3.0 * error_of(gap_N) + 1e-3 * known


def test_the_kernel_pays_the_equation_of_the_market() -> None:
    """E1 / E0 = 1 + w R - c |w - w_before|, bar by bar, and the same path as `market.path`."""
    problem, simulator = simulator_of(MARKET, 3, 60)
    close_TN = np.stack(
        [MARKET.path(61, seed=SEED, lane=lane).world.close_NA[:, 0] for lane in range(3)], axis=1
    )
    random = np.random.default_rng(0)
    held_N = np.zeros(3)
    for bar in range(59):
        assert problem.holdings(simulator)[:, 0] == pytest.approx(held_N, abs=1e-9)
        weight_N = random.uniform(-1.5, 1.5, size=3)
        simulator.step(problem.action(weight_N[:, None], held_N[:, None]))
        return_N = close_TN[bar + 1] / close_TN[bar] - 1.0
        growth_N = 1.0 + weight_N * return_N - MARKET.cost * np.abs(weight_N - held_N)
        assert simulator.reward_N == pytest.approx(np.log(growth_N), rel=1e-5, abs=1e-8)
        held_N = weight_N * (1.0 + return_N) / growth_N


def test_two_assets_for_free_earn_the_growth_of_kelly() -> None:
    market = RegimeGBM(
        drift=((0.0004, 0.0001), (-0.0003, 0.0006)),
        volatility=((0.02, 0.015), (0.03, 0.03)),
        correlation=((1.0, 0.5), (0.5, 1.0)),
        cost_bps=0.0,
    )
    oracle = market.oracle("known")
    assert oracle.value is not None
    weight_KA = kelly_weights(market.law, market.limit)
    share_K = stationary(market.law.transition_KK)
    for part in (1.0, 0.5, 0.0):
        value = float(share_K @ growth(market.law, np.eye(2), part * weight_KA))
        assert part != 1.0 or value == pytest.approx(oracle.value, rel=1e-12)
        earned = play(Part(oracle, part), market)
        mean, error = adjusted(earned.realised_N, earned.control_NC)
        assert abs(mean + market.discount**BARS * value - value) <= 3.0 * error
        assert error < 0.01 * oracle.value
    # Twice as much earns nothing like it: the test above would tell.
    twice = play(Part(oracle, 2.0), market)
    mean, error = adjusted(twice.realised_N, twice.control_NC)
    assert mean + 10.0 * error < oracle.value

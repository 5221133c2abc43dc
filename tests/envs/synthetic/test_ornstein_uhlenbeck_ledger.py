"""The no-trade band through the kernel's ledger earns what dynamic programming says."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.simulator import Simulator
from envs.synthetic import Problem
from markets.synthetic.base import Information, Solution
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck

Array = NDArray[np.float64]

BARS = 700
"""Steps after which the default discount leaves less than a thousandth."""
LANES = 1_500
SEED = 31


class Earned(NamedTuple):
    """(1 - delta) times each lane's discounted rewards, currency a bar."""

    expected_N: Array
    realised_N: Array


def simulator_of(problem: Problem, lanes: int) -> Simulator:
    return Simulator(
        problem.stream(belief=True),
        problem.trading(),
        num_envs=lanes,
        seed=SEED,
        record_terms=True,
    )


def problem_of(world: OrnsteinUhlenbeck, bars: int) -> Problem:
    # One action reaches as far as the limits, so that every target is met at once.
    return Problem(world, episode_length=bars, trade_size=2.0 * world.limit)


def play(
    world: OrnsteinUhlenbeck, solution: Solution, *, lanes: int = LANES, bars: int = BARS
) -> Earned:
    """Trade to a solution's targets through the kernel, from a flat start."""
    problem = problem_of(world, bars)
    simulator = simulator_of(problem, lanes)
    earned = Earned(np.zeros(lanes), np.zeros(lanes))
    weight = 1.0 - world.discount
    for _ in range(bars):
        simulator.step(problem.follow(solution, simulator))
        earned.expected_N[:] += weight * simulator.expected_N
        earned.realised_N[:] += weight * simulator.reward_N
        weight *= world.discount
    assert simulator.truncated_N.all()
    return earned


def error_of(values_N: Array) -> float:
    return float(values_N.std(ddof=1) / np.sqrt(len(values_N)))


@pytest.fixture(scope="module")
def world() -> OrnsteinUhlenbeck:
    return OrnsteinUhlenbeck()


@pytest.fixture(scope="module")
def earned(world: OrnsteinUhlenbeck) -> dict[Information, Earned]:
    names: tuple[Information, ...] = ("known", "belief")
    return {name: play(world, world.oracle(name)) for name in names}


@pytest.mark.parametrize("information", ["known", "belief"])
def test_oracle_earns_its_value(
    world: OrnsteinUhlenbeck, earned: dict[Information, Earned], information: Information
) -> None:
    value = world.oracle(information).value
    # What the episode's end cuts off, of the order of the discount beyond it.
    beyond = world.discount**BARS * value
    for values_N in earned[information]:
        assert abs(values_N.mean() + beyond - value) < 3.0 * error_of(values_N)
        assert error_of(values_N) < 0.05 * value
    expected_N, realised_N = earned[information]
    assert expected_N.std() < realised_N.std()


def test_not_knowing_the_regime_costs(earned: dict[Information, Earned]) -> None:
    """Paired on common paths: what the filter's oracle earns less is the price of not knowing."""
    price_N = earned["known"].expected_N - earned["belief"].expected_N
    assert price_N.mean() == pytest.approx(0.083, abs=0.01)
    assert price_N.mean() > 10.0 * error_of(price_N)


@pytest.mark.parametrize("information", ["known", "belief"])
@pytest.mark.parametrize(
    ("lower", "raised"),
    [(-0.3, 0.3), (0.25, -0.25), (0.3, 0.3), (-0.3, -0.3)],
    ids=["wider", "narrower", "higher", "lower"],
)
def test_every_other_band_earns_less(
    world: OrnsteinUhlenbeck, information: Information, lower: float, raised: float
) -> None:
    oracle = world.oracle(information)
    band = oracle.solution
    # At the limit both edges meet, and may not pass each other.
    middle_RI = 0.5 * (band.low_RI + band.high_RI + lower + raised)
    moved = band._replace(
        low_RI=np.minimum(band.low_RI + lower, middle_RI),
        high_RI=np.maximum(band.high_RI + raised, middle_RI),
    )
    other = replace(oracle, solution=moved)
    best_N, other_N = (
        play(world, policy, lanes=1_000, bars=250).expected_N for policy in (oracle, other)
    )
    lost_N = best_N - other_N
    assert lost_N.mean() > 3.0 * error_of(lost_N)


def test_rules_earn_less(world: OrnsteinUhlenbeck, earned: dict[Information, Earned]) -> None:
    earns = {
        name: play(world, rule, bars=350).expected_N.mean() for name, rule in world.rules().items()
    }
    best = earned["known"].expected_N.mean()
    assert earns["do_nothing"] == 0.0
    assert earns["myopic"] < 0.65 * best
    assert earns["myopic"] < earns["continuous_band"] < 0.95 * best


@pytest.mark.parametrize("assets", [1, 3])
def test_ledger_is_the_formula_bar_by_bar(assets: int) -> None:
    """x (P' - P) - gamma / 2 sigma_k^2 x^2 - c |u| on the very path that `path` tells."""
    world = OrnsteinUhlenbeck(assets=assets)
    problem = problem_of(world, 60)
    simulator = simulator_of(problem, 2)
    paths = [world.path(61, seed=SEED, lane=lane) for lane in range(2)]
    oracle = world.oracle("known")
    holding_NA = np.zeros((2, assets))
    for bar in range(60):
        state_NA = np.stack([path.world.close_NA[bar] for path in paths])
        following_NA = np.stack([path.world.close_NA[bar + 1] for path in paths])
        drift_NA = np.stack([path.drift_TA[bar] for path in paths])
        regime_N = np.array([path.world.regime_N[bar] for path in paths])
        np.testing.assert_array_equal(simulator.world_NS[:, 0], regime_N)
        target_NA = oracle.target(world.world(simulator.world_NS), holding_NA)
        simulator.step(problem.follow(oracle, simulator))
        np.testing.assert_allclose(problem.holdings(simulator), target_NA, atol=1e-9)
        variance_N = np.array(world.volatility)[regime_N] ** 2
        paid_N = 0.5 * world.risk_aversion * variance_N * (target_NA**2).sum(axis=1)
        paid_N += world.cost * np.abs(target_NA - holding_NA).sum(axis=1)
        gained_N = (target_NA * (following_NA - state_NA)).sum(axis=1)
        # The cash of a million leaves nine digits to a reward.
        np.testing.assert_allclose(simulator.reward_N, gained_N - paid_N, atol=1e-8)
        np.testing.assert_allclose(
            simulator.expected_N, (target_NA * drift_NA).sum(axis=1) - paid_N, atol=1e-8
        )
        holding_NA = target_NA

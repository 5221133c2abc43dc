"""The Garleanu-Pedersen oracle through the kernel's ledger earns what its closed form says."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.simulator import Simulator
from envs.synthetic import Problem
from markets.synthetic.base import Information, Solution
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.quadratic import QuadraticPolicy

Array = NDArray[np.float64]

BARS = 700
"""Steps after which the default discount leaves less than a thousandth."""
LANES = 1500
SEED = 23

WIDE: dict[str, Any] = {
    "loadings": [
        [[0.2, 0.0], [0.1, -0.1], [0.0, 0.15]],
        [[-0.1, 0.2], [0.1, 0.1], [0.05, -0.2]],
    ],
    "reversion": [[0.05, 0.2], [0.3, 0.1]],
    "covariance": [
        [[1.0, 0.3, -0.2], [0.3, 1.5, 0.4], [-0.2, 0.4, 0.8]],
        [[2.0, 0.0, 0.5], [0.0, 0.7, 0.0], [0.5, 0.0, 1.0]],
    ],
    "cost": [
        [[8.0, 1.0, 0.0], [1.0, 5.0, -2.0], [0.0, -2.0, 12.0]],
        [[4.0, 0.0, 0.0], [0.0, 9.0, 3.0], [0.0, 3.0, 6.0]],
    ],
    "transition": [[0.98, 0.02], [0.03, 0.97]],
    "discount": 0.97,
}
"""Three assets, two regimes that govern loadings, speed, risk and costs."""


class Earned(NamedTuple):
    """(1 - delta) times each lane's discounted rewards, currency a bar."""

    expected_N: Array
    realised_N: Array


def problem_of(world: GarleanuPedersen, bars: int) -> Problem:
    # One action reaches as far as the limits, so that every target is met at once.
    return Problem(world, episode_length=bars, trade_size=2.0 * world.holding_limit)


def play(
    world: GarleanuPedersen, solution: Solution, *, lanes: int = LANES, bars: int = BARS
) -> Earned:
    """Trade to a solution's targets through the kernel, from a flat start."""
    problem = problem_of(world, bars)
    simulator = Simulator(
        problem.stream(belief=True),
        problem.trading(),
        num_envs=lanes,
        seed=SEED,
        record_expected=True,
    )
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
    return float(values_N.std(ddof=1) / len(values_N) ** 0.5)


@pytest.fixture(scope="module")
def world() -> GarleanuPedersen:
    return GarleanuPedersen()


@pytest.fixture(scope="module")
def oracles(world: GarleanuPedersen) -> dict[Information, QuadraticPolicy]:
    found: dict[Information, QuadraticPolicy] = {}
    names: tuple[Information, ...] = ("known", "belief")
    for name in names:
        oracle = world.oracle(name)
        assert isinstance(oracle, QuadraticPolicy)
        found[name] = oracle
    return found


@pytest.fixture(scope="module")
def earned(
    world: GarleanuPedersen, oracles: dict[Information, QuadraticPolicy]
) -> dict[Information, Earned]:
    return {name: play(world, oracle) for name, oracle in oracles.items()}


def test_known_oracle_earns_its_closed_form(
    oracles: dict[Information, QuadraticPolicy], earned: dict[Information, Earned]
) -> None:
    value = oracles["known"].value
    assert value is not None
    # What the episode's end cuts off, of the order of the discount beyond it.
    beyond = 0.99**BARS * value * 1.1
    for values_N in earned["known"]:
        assert abs(values_N.mean() + beyond - value) < 3.0 * error_of(values_N)
        assert error_of(values_N) < 0.04 * value
    assert earned["known"].expected_N.std() < earned["known"].realised_N.std()


def test_realised_rewards_have_the_expected_ones_for_a_mean(
    earned: dict[Information, Earned],
) -> None:
    for values in earned.values():
        difference_N = values.realised_N - values.expected_N
        assert abs(difference_N.mean()) < 3.0 * error_of(difference_N)
        assert difference_N.std() > 0.0


def test_price_of_not_knowing(world: GarleanuPedersen, earned: dict[Information, Earned]) -> None:
    gap_N = earned["known"].expected_N - earned["belief"].expected_N
    assert gap_N.mean() > 5.0 * error_of(gap_N)
    price, error = world.price_of_not_knowing(num_paths=200, seed=1)
    assert abs(gap_N.mean() - price) < 3.0 * np.hypot(error_of(gap_N), error)


@pytest.mark.parametrize("name", ["known", "belief"])
@pytest.mark.parametrize(
    ("carry", "gain"), [(0.93, 1.0), (1.07, 1.0), (1.0, 0.8), (1.0, 1.2)], ids=str
)
def test_every_perturbation_earns_less(
    world: GarleanuPedersen,
    oracles: dict[Information, QuadraticPolicy],
    earned: dict[Information, Earned],
    name: Information,
    carry: float,
    gain: float,
) -> None:
    oracle = oracles[name]
    changed = replace(oracle, cost_KAA=carry * oracle.cost_KAA, pull_KAS=gain * oracle.pull_KAS)
    loss_N = earned[name].expected_N - play(world, changed).expected_N
    assert loss_N.mean() > 3.0 * error_of(loss_N)


def test_rules_earn_their_exact_values(world: GarleanuPedersen) -> None:
    for name, rule in world.rules().items():
        values_N = play(world, rule, lanes=600).expected_N
        value = getattr(rule, "value", None)
        assert value is not None, name
        cut = 1.1 * 0.99**BARS * abs(value)
        assert abs(values_N.mean() - value) <= 3.0 * error_of(values_N) + cut, name


def test_several_assets_earn_their_closed_form() -> None:
    world = GarleanuPedersen(**WIDE)
    oracle = world.oracle("known")
    assert oracle.value is not None
    values = play(world, oracle, lanes=600, bars=250)
    for values_N in values:
        assert abs(values_N.mean() - oracle.value) < 3.0 * error_of(values_N) + 1e-3 * oracle.value


def test_a_step_is_the_formula(world: GarleanuPedersen) -> None:
    world = GarleanuPedersen(**WIDE)
    problem = problem_of(world, 50)
    stream = problem.stream(belief=True)
    simulator = Simulator(
        stream, problem.trading(), num_envs=4, seed=3, record_terms=True, record_expected=True
    )
    oracle = world.oracle("known")
    paths = [world.path(51, seed=3, lane=lane) for lane in range(4)]
    for bar in range(50):
        before_NA, regime_N = problem.holdings(simulator), world.world(simulator.world_NS).regime_N
        target_NA = oracle.target(world.world(simulator.world_NS), before_NA)
        simulator.step(problem.action(target_NA, before_NA))
        np.testing.assert_allclose(problem.holdings(simulator), target_NA, atol=1e-12)
        for lane, path in enumerate(paths):
            assert regime_N[lane] == path.world.regime_N[bar]
            held_A, trade_A = target_NA[lane], target_NA[lane] - before_NA[lane]
            change_A = path.world.close_NA[bar + 1] - path.world.close_NA[bar]
            charge = 0.5 * trade_A @ stream.cost_KAA[regime_N[lane]] @ trade_A
            charge += 0.5 * held_A @ stream.covariance_KAA[regime_N[lane]] @ held_A
            assert simulator.reward_N[lane] == pytest.approx(held_A @ change_A - charge, abs=1e-8)
            expected = held_A @ path.drift_TA[bar] - charge
            assert simulator.expected_N[lane] == pytest.approx(expected, abs=1e-8)

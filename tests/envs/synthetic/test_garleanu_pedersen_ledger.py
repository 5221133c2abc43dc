"""The Garleanu-Pedersen oracle through the kernel's ledger earns what its closed form says."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.simulator import Simulator
from envs.synthetic import Problem
from markets.synthetic.base import Information, Solution, World
from markets.synthetic.chain import stationary
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.quadratic import QuadraticPolicy
from tests.envs.synthetic.estimates import adjusted, error_of

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
    """(1 - delta) times each lane's discounted sums, currency a bar."""

    expected_N: Array
    realised_N: Array
    surprise_N: Array
    """Of x'(P' - E[P' | f, k]): what luck adds to the expected rewards."""
    control_NC: Array
    """Martingales of mean zero by the law of the market: products of holdings and signals, regime
    by regime, less their expectation a bar before. They span the value of a known regime."""


def products(regime_NK: Array, mean_NY: Array, covariance_NYY: Array) -> Array:
    """E[1{k} y_i y_j], (N, C), of a regime k and an independent y."""
    second_NYY = mean_NY[:, :, None] * mean_NY[:, None, :] + covariance_NYY
    first, other = np.triu_indices(mean_NY.shape[1])
    found_NKC = regime_NK[:, :, None] * second_NYY[:, None, first, other]
    return np.asarray(found_NKC.reshape(len(mean_NY), -1))


def surprise_of(
    world: GarleanuPedersen, before: World | None, after: World, held_NA: Array
) -> Array:
    """What the products of (1, x, f') exceed their expectation by; without a past, at the start."""
    system, (lanes, assets) = world.system, held_NA.shape
    regime_KK, none_N = np.eye(world.num_regimes), np.zeros((lanes, 1, 1))
    known_NY = np.concatenate([np.ones((lanes, 1)), held_NA], axis=1)
    found_NY = np.concatenate([known_NY, after.signal_NF], axis=1)
    found_NC = products(regime_KK[after.regime_N], found_NY, none_N)
    keep_NS = np.zeros_like(after.signal_NF)
    signal_NS, chance_NK = keep_NS, np.tile(stationary(system.transition_KK), (lanes, 1))
    if before is not None:
        keep_NS, signal_NS = system.persistence_KS[before.regime_N], before.signal_NF
        chance_NK = system.transition_KK[before.regime_N]
    variance_NY = np.concatenate([np.zeros((lanes, assets + 1)), 1.0 - keep_NS**2], axis=1)
    covariance_NYY = variance_NY[:, :, None] * np.eye(variance_NY.shape[1])
    mean_NY = np.concatenate([known_NY, keep_NS * signal_NS], axis=1)
    return found_NC - products(chance_NK, mean_NY, covariance_NYY)


def problem_of(world: GarleanuPedersen, bars: int) -> Problem:
    # One action reaches as far as the limits, so that every target is met at once.
    return Problem(world, episode_length=bars, trade_size=2.0 * world.holding_limit)


def play(
    world: GarleanuPedersen,
    solution: Solution,
    *,
    lanes: int = LANES,
    bars: int = BARS,
    controls: bool = False,
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
    expected_N, realised_N, surprise_N = np.zeros((3, lanes))
    before, weight = world.world(simulator.world_NS.copy()), 1.0 - world.discount
    control_NC = surprise_of(world, None, before, np.zeros((lanes, world.num_assets)))
    for bar in range(bars):
        simulator.step(problem.follow(solution, simulator))
        expected_N += weight * simulator.expected_N
        realised_N += weight * simulator.reward_N
        after, held_NA = world.world(simulator.world_NS.copy()), problem.holdings(simulator)
        if controls:
            change_NA = after.close_NA - before.close_NA
            loading_NAS = world.system.loading_KAS[before.regime_N]
            change_NA -= np.einsum("nas,ns->na", loading_NAS, before.signal_NF)
            surprise_N += weight * (held_NA * change_NA).sum(axis=1)
            later_NC = surprise_of(world, before, after, held_NA)
            control_NC += world.discount ** (bar + 1) * later_NC
        before, weight = after, weight * world.discount
    assert simulator.truncated_N.all()
    return Earned(expected_N, realised_N, surprise_N, control_NC)


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
    return {name: play(world, oracle, controls=True) for name, oracle in oracles.items()}


def test_known_oracle_earns_its_closed_form(
    oracles: dict[Information, QuadraticPolicy], earned: dict[Information, Earned]
) -> None:
    value = oracles["known"].value
    assert value is not None
    # What the episode's end cuts off, of the order of the discount beyond it.
    beyond = 0.99**BARS * value * 1.1
    mean, error = adjusted(earned["known"].expected_N, earned["known"].control_NC)
    assert error < 2e-4 * value
    assert abs(mean + beyond - value) < 3.0 * error + 3e-4 * value


def test_realised_rewards_are_the_expected_ones_and_luck(
    earned: dict[Information, Earned],
) -> None:
    for found in earned.values():
        luck_N = found.realised_N - found.expected_N
        np.testing.assert_allclose(luck_N, found.surprise_N, atol=1e-8)
        assert found.expected_N.std() < found.realised_N.std()


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
    found = play(world, oracle, lanes=600, bars=250, controls=True)
    mean, error = adjusted(found.expected_N, found.control_NC)
    assert error < 1e-3 * oracle.value
    beyond = world.discount**250 * oracle.value
    assert abs(mean + beyond - oracle.value) < 3.0 * error + 3e-4 * oracle.value
    np.testing.assert_allclose(found.realised_N, found.expected_N + found.surprise_N, atol=1e-8)


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

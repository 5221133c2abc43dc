"""The no-trade band through the kernel's ledger earns what dynamic programming says."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.simulator import Simulator
from envs.synthetic import Problem
from markets.synthetic.base import Information, Solution
from markets.synthetic.chain import stationary
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck
from tests.envs.synthetic.estimates import adjusted, error_of

Array = NDArray[np.float64]

BARS = 700
"""Steps after which the default discount leaves less than a thousandth."""
LANES = 1_000
SEED = 31


class Earned(NamedTuple):
    """(1 - delta) times each lane's discounted sums, currency a bar."""

    expected_N: Array
    realised_N: Array
    surprise_N: Array
    """Of x (P' - E[P' | P, k]): what luck adds to the expected rewards."""
    control_NC: Array
    """Martingales of the path, of mean zero by the law of the market; empty unless asked for."""


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


class Controls:
    """Sums of delta^t (h(s_t, x) - E[h(s_t, x) | what was before]) over functions h.

    Each has mean zero whatever is traded: x is the holding that was carried to the state s_t. The
    functions span the best value nearly: without a holding, and its rise with one.
    """

    def __init__(self, world: OrnsteinUhlenbeck) -> None:
        self._chain_KK = np.array(world.transition)
        self._flat = world.oracle("known").solution
        nodes_Q, weight_Q = np.polynomial.hermite_e.hermegauss(12)
        self._nodes_Q, self._weight_Q = nodes_Q, weight_Q / weight_Q.sum()
        self._speed_K, self._mean_K, self._volatility_K, self._deviation_K = (
            np.array(world.speed), np.array(world.mean), np.array(world.volatility),
            world.price_deviation,
        )  # fmt: skip

    def start(self, regime_N: Any, price_N: Array) -> Array:
        """k ~ stationary, P ~ N(m_k, s_k^2)."""
        flat_N = np.zeros_like(price_N)
        expected_NC = sum(
            probability
            * self._mean(np.eye(2)[[k]], flat_N + self._mean_K[k], flat_N + deviation, flat_N)
            for k, (probability, deviation) in enumerate(
                zip(stationary(self._chain_KK), self._deviation_K, strict=True)
            )
        )
        found_NC = self._mean(np.eye(2)[regime_N], price_N, flat_N, flat_N)
        return np.asarray(found_NC - expected_NC)

    def step(self, regime_2N: Any, price_2N: Array, held_N: Array) -> Array:
        """From the first state of each lane to the second one."""
        regime_N, price_N = regime_2N[0], price_2N[0]
        centre_N = price_N + self._speed_K[regime_N] * (self._mean_K[regime_N] - price_N)
        expected_NC = self._mean(
            self._chain_KK[regime_N], centre_N, self._volatility_K[regime_N], held_N
        )
        found_NC = self._mean(np.eye(2)[regime_2N[1]], price_2N[1], np.zeros_like(price_N), held_N)
        return found_NC - expected_NC

    def _mean(self, chance_NK: Array, centre_N: Array, deviation_N: Array, held_N: Array) -> Array:
        """E h for k' ~ chance and P' ~ N(centre, deviation^2), independent of each other."""
        price_NQ = centre_N[:, None] + deviation_N[:, None] * self._nodes_Q
        power = [(price_NQ**degree) @ self._weight_Q for degree in range(4)]
        columns = []
        for chance_N, flat_I in zip(chance_NK.T, self._flat.flat_RI, strict=True):
            value_N = np.interp(price_NQ, self._flat.price_I, flat_I) @ self._weight_Q
            size_N = np.abs(held_N)
            parts = (*power, value_N, *(held_N * part for part in power), size_N,
                     held_N**2, held_N**2 * power[1], held_N**3)  # fmt: skip
            columns += [chance_N * part for part in parts]
        return np.stack(columns, axis=1)


def play(
    world: OrnsteinUhlenbeck,
    solution: Solution,
    *,
    lanes: int = LANES,
    bars: int = BARS,
    controls: Controls | None = None,
) -> Earned:
    """Trade to a solution's targets through the kernel, from a flat start."""
    problem = problem_of(world, bars)
    simulator = simulator_of(problem, lanes)
    expected_N, realised_N, surprise_N = np.zeros((3, lanes))
    state = world.world(simulator.world_NS.copy())
    control_NC: Array = np.zeros((lanes, 0))
    if controls is not None:
        control_NC = controls.start(state.regime_N, state.close_NA[:, 0])
    weight = 1.0 - world.discount
    for bar in range(bars):
        drift_N = np.array(world.speed)[state.regime_N]
        drift_N = drift_N * (np.array(world.mean)[state.regime_N] - state.close_NA[:, 0])
        simulator.step(problem.follow(solution, simulator))
        following = world.world(simulator.world_NS.copy())
        price_2N = np.stack([state.close_NA[:, 0], following.close_NA[:, 0]])
        held_N = problem.holdings(simulator)[:, 0]
        expected_N += weight * simulator.expected_N
        realised_N += weight * simulator.reward_N
        surprise_N += weight * held_N * (price_2N[1] - price_2N[0] - drift_N)
        if controls is not None:
            regime_2N = np.stack([state.regime_N, following.regime_N])
            control_NC += world.discount ** (bar + 1) * controls.step(regime_2N, price_2N, held_N)
        weight *= world.discount
        state = following
    assert simulator.truncated_N.all()
    return Earned(expected_N, realised_N, surprise_N, control_NC)


@pytest.fixture(scope="module")
def world() -> OrnsteinUhlenbeck:
    return OrnsteinUhlenbeck()


@pytest.fixture(scope="module")
def earned(world: OrnsteinUhlenbeck) -> dict[Information, Earned]:
    names: tuple[Information, ...] = ("known", "belief")
    controls = Controls(world)
    return {name: play(world, world.oracle(name), controls=controls) for name in names}


@pytest.fixture(scope="module")
def short(world: OrnsteinUhlenbeck) -> dict[Information, Array]:
    """What the oracles earn within 250 bars."""
    names: tuple[Information, ...] = ("known", "belief")
    return {name: play(world, world.oracle(name), bars=250).expected_N for name in names}


@pytest.mark.parametrize("information", ["known", "belief"])
def test_oracle_earns_its_value(
    world: OrnsteinUhlenbeck, earned: dict[Information, Earned], information: Information
) -> None:
    value = world.oracle(information).value
    # What the episode's end cuts off, of the order of the discount beyond it.
    beyond = world.discount**BARS * value
    mean, error = adjusted(earned[information].expected_N, earned[information].control_NC)
    assert error < 0.004 * value
    assert abs(mean + beyond - value) < 3.0 * error + 1e-3 * value


@pytest.mark.parametrize("information", ["known", "belief"])
def test_realised_rewards_are_the_expected_ones_and_luck(
    earned: dict[Information, Earned], information: Information
) -> None:
    found = earned[information]
    np.testing.assert_allclose(found.realised_N, found.expected_N + found.surprise_N, atol=1e-8)
    assert found.expected_N.std() < found.realised_N.std()


def test_not_knowing_the_regime_costs(
    world: OrnsteinUhlenbeck, earned: dict[Information, Earned]
) -> None:
    """Paired on common paths: what the filter's oracle earns less is the price of not knowing."""
    price_N = earned["known"].expected_N - earned["belief"].expected_N
    mean, error = adjusted(price_N, earned["known"].control_NC)
    price = world.oracle("known").value - world.oracle("belief").value
    assert price == pytest.approx(0.083, abs=0.001)
    assert error < 0.02 * price
    assert abs(mean - price) < 3.0 * error + 3e-3 * price


@pytest.mark.parametrize("information", ["known", "belief"])
@pytest.mark.parametrize(
    ("lower", "raised"),
    [(-0.3, 0.3), (0.25, -0.25), (0.3, 0.3), (-0.3, -0.3)],
    ids=["wider", "narrower", "higher", "lower"],
)
def test_every_other_band_earns_less(
    world: OrnsteinUhlenbeck,
    short: dict[Information, Array],
    information: Information,
    lower: float,
    raised: float,
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
    lost_N = short[information] - play(world, other, bars=250).expected_N
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

"""The coupled Riccati equation against hand, closed form, backward and brute-force DP, moments."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from markets.synthetic.chain import SyntheticMarketError, stationary
from markets.synthetic.moments import (
    LinearRule,
    discounted_reward,
    holding_deviation,
    optimal_rule,
    stationary_reward,
)
from markets.synthetic.riccati import JumpSystem, Riccati, bellman, nothing, solve

Array = NDArray[np.float64]

STICKY = np.array([[0.99, 0.005, 0.005], [0.005, 0.99, 0.005], [0.005, 0.005, 0.99]])


@pytest.fixture
def scalar() -> JumpSystem:
    """One asset, two signals, three regimes: the research's RS-GP-3."""
    stay = np.full((3, 3), 0.0025) + np.eye(3) * 0.9925
    return JumpSystem(
        loading_KAS=np.array([[[0.20, 0.0]], [[-0.15, 0.20]], [[0.05, -0.20]]]),
        persistence_KS=np.tile([0.95, 0.80], (3, 1)),
        covariance_KAA=np.ones((3, 1, 1)),
        cost_KAA=np.full((3, 1, 1), 10.0),
        risk_aversion=1.0,
        discount=0.99,
        transition_KK=stay,
    )


@pytest.fixture
def general() -> JumpSystem:
    """Three assets, two signals, three regimes; everything depends on the regime."""
    random = np.random.default_rng(5)

    def definite(scale: float) -> Array:
        root_KAA = random.normal(size=(3, 3, 3))
        return scale * (root_KAA @ np.swapaxes(root_KAA, 1, 2) + 0.5 * np.eye(3))

    return JumpSystem(
        loading_KAS=random.normal(scale=0.2, size=(3, 3, 2)),
        persistence_KS=random.uniform(-0.3, 0.97, size=(3, 2)),
        covariance_KAA=definite(0.5),
        cost_KAA=definite(3.0),
        risk_aversion=0.8,
        discount=0.97,
        transition_KK=STICKY,
    )


def test_golden_by_hand() -> None:
    # g = 1, lam = 2, delta = 1/2: q = (4 - sqrt(16 - 8)) / 2 = 2 - sqrt(2);
    # G = (q / lam) b / (1 - delta q phi') with b = 0.3, phi' = 1/2.
    system = JumpSystem(
        loading_KAS=np.array([[[0.3]]]),
        persistence_KS=np.array([[0.5]]),
        covariance_KAA=np.array([[[1.0]]]),
        cost_KAA=np.array([[[2.0]]]),
        risk_aversion=1.0,
        discount=0.5,
        transition_KK=np.array([[1.0]]),
    )
    solution = solve(system)
    rule = optimal_rule(system, solution)
    q = 2.0 - 2.0**0.5
    gain = q / 2.0 * 0.3 / (1.0 - 0.25 * q)
    assert rule.carry_KAA[0, 0, 0] == pytest.approx(q, abs=1e-13)
    assert rule.gain_KAS[0, 0, 0] == pytest.approx(gain, abs=1e-13)
    # A = lam (1 - q); D = J G^2 / (1 - delta phi'^2) with J = lam / q; d = delta 3/8 D / (1-delta)
    assert solution.holding_KAA[0, 0, 0] == pytest.approx(2.0 * (1.0 - q), abs=1e-13)
    signal = 2.0 / q * gain**2 / (1.0 - 0.125)
    assert solution.signal_KSS[0, 0, 0] == pytest.approx(signal, abs=1e-13)
    assert solution.constant_K[0] == pytest.approx(0.375 * signal, abs=1e-13)


def closed_form(system: JumpSystem) -> tuple[float, Array]:
    """q and the gains (K, S) of one asset: Garleanu & Pedersen (2013) with regimes."""
    cost, discount = float(system.cost_KAA[0, 0, 0]), system.discount
    risk = system.risk_aversion * float(system.covariance_KAA[0, 0, 0])
    total = risk + cost + discount * cost
    q = (total - (total**2 - 4.0 * discount * cost**2) ** 0.5) / (2.0 * discount * cost)
    gains = []
    for signal in range(system.loading_KAS.shape[2]):
        motion_KK = system.transition_KK.T @ np.diag(system.persistence_KS[:, signal])
        resolvent_KK = np.linalg.inv(np.eye(len(motion_KK)) - discount * q * motion_KK)
        gains.append(q / cost * system.loading_KAS[:, 0, signal] @ resolvent_KK)
    return q, np.stack(gains, axis=1)


@pytest.mark.parametrize("persistence", [[0.95, 0.8], [[0.95, 0.8], [0.5, -0.4], [0.9, 0.1]]])
def test_one_asset_is_the_scalar_closed_form(
    scalar: JumpSystem, persistence: list[float] | list[list[float]]
) -> None:
    system = replace(scalar, persistence_KS=np.broadcast_to(np.array(persistence), (3, 2)))
    rule = optimal_rule(system, solve(system))
    q, gain_KS = closed_form(system)
    np.testing.assert_allclose(rule.carry_KAA[:, 0, 0], q, atol=2e-12)
    np.testing.assert_allclose(rule.gain_KAS[:, 0], gain_KS, atol=2e-12)


def test_reproduces_the_published_figures(scalar: JumpSystem) -> None:
    q, gain_KS = closed_form(scalar)
    assert q == pytest.approx(0.7329, abs=5e-5)
    expected = [[0.0465, 0.0], [-0.0347, 0.0346], [0.0117, -0.0346]]
    np.testing.assert_allclose(gain_KS, expected, atol=4e-4)


@pytest.mark.parametrize("which", ["scalar", "general"])
def test_backward_value_iteration_tends_to_the_fixed_point(
    which: str, request: pytest.FixtureRequest
) -> None:
    system: JumpSystem = request.getfixturevalue(which)
    solution, iterated = solve(system), nothing(system)
    for _ in range(4000):
        iterated = bellman(system, iterated)
    for name in Riccati.__dataclass_fields__:
        expected = getattr(solution, name)
        np.testing.assert_allclose(
            getattr(iterated, name), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max()
        )


def test_the_fixed_point_satisfies_bellmans_equation(general: JumpSystem) -> None:
    # Independently of the matrix algebra: V = max_x [...] at random states, by the maximiser.
    solution = solve(general)
    random = np.random.default_rng(1)
    before_NA, signal_NS = random.normal(size=(6, 3)), random.normal(size=(6, 2))
    regime_N = np.array([0, 1, 2, 0, 1, 2])
    rule = optimal_rule(general, solution)
    best_NA = np.einsum("nab,nb->na", rule.carry_KAA[regime_N], before_NA)
    best_NA += np.einsum("nas,ns->na", rule.gain_KAS[regime_N], signal_NS)
    value_N = solution.value(before_NA, signal_NS, regime_N)
    np.testing.assert_allclose(
        _one_step(general, solution, before_NA, best_NA, signal_NS, regime_N), value_N, rtol=1e-10
    )
    for direction_NA in random.normal(scale=1e-3, size=(20, 6, 3)):
        off_NA = best_NA + direction_NA
        worse_N = _one_step(general, solution, before_NA, off_NA, signal_NS, regime_N)
        assert (worse_N < value_N).all()


def _one_step(
    system: JumpSystem,
    solution: Riccati,
    before_NA: Array,
    after_NA: Array,
    signal_NS: Array,
    regime_N: NDArray[np.int64],
) -> Array:
    """Reward plus discounted value; E V over Gaussian signals by antithetic sigma points."""
    trade_NA = after_NA - before_NA
    cost_NA = np.einsum("nab,nb->na", system.cost_KAA[regime_N], trade_NA)
    risk_NA = np.einsum("nab,nb->na", system.covariance_KAA[regime_N], after_NA)
    drift_NA = np.einsum("nas,ns->na", system.loading_KAS[regime_N], signal_NS)
    reward_N = (
        after_NA * (drift_NA - 0.5 * system.risk_aversion * risk_NA) - 0.5 * trade_NA * cost_NA
    ).sum(axis=1)
    persistence_NS = system.persistence_KS[regime_N]
    deviation_NS = np.sqrt(1.0 - persistence_NS**2)
    # Means over (+-1, +-1) are exact for quadratics of two independent unit variables.
    ahead_N = np.zeros(len(reward_N))
    for noise in product((-1.0, 1.0), repeat=signal_NS.shape[1]):
        following_NS = persistence_NS * signal_NS + deviation_NS * np.array(noise)
        for regime in range(len(system.transition_KK)):
            next_N = np.full(len(regime_N), regime)
            weight_N = system.transition_KK[regime_N, regime] / 2.0 ** signal_NS.shape[1]
            ahead_N += weight_N * solution.value(after_NA, following_NS, next_N)
    return np.asarray(reward_N + system.discount * ahead_N)


def test_brute_force_dynamic_programming_agrees() -> None:
    # A signal of two values, +-1, has the same conditional means and variance as the Gaussian
    # one: the quadratic problem has the same solution, and a grid of holdings is all it takes.
    discount, transition_KK = 0.9, np.array([[0.9, 0.1], [0.3, 0.7]])
    persistence_K, loading_K = np.array([0.8, 0.4]), np.array([0.3, -0.2])
    variance_K, cost_K = np.array([1.0, 2.0]), np.array([3.0, 1.5])
    system = JumpSystem(
        loading_KAS=loading_K[:, None, None],
        persistence_KS=persistence_K[:, None],
        covariance_KAA=variance_K[:, None, None],
        cost_KAA=cost_K[:, None, None],
        risk_aversion=1.0,
        discount=discount,
        transition_KK=transition_KK,
    )
    grid_X = np.linspace(-0.4, 0.4, 161)
    signals = np.array([-1.0, 1.0])
    drift_KF = loading_K[:, None] * signals
    profit_KFX = drift_KF[:, :, None] * grid_X - 0.5 * variance_K[:, None, None] * grid_X**2
    trade_XX = (grid_X[:, None] - grid_X[None, :]) ** 2
    price_KFXX = 0.5 * cost_K[:, None, None, None] * trade_XX
    stay_K = 0.5 * (1.0 + persistence_K)
    move_KFG = np.where(np.eye(2, dtype=bool), stay_K[:, None, None], 1.0 - stay_K[:, None, None])
    value_KFX = np.zeros((2, 2, len(grid_X)))
    for _ in range(250):
        ahead_KFX = np.einsum("kj,kfg,jgx->kfx", transition_KK, move_KFG, value_KFX)
        inner_KFX = profit_KFX + discount * ahead_KFX
        value_KFX = (inner_KFX[:, :, :, None] - price_KFXX).max(axis=2)
    solution = solve(system)
    inside = np.abs(grid_X) <= 0.2
    for regime, place in product(range(2), range(2)):
        expected_X = solution.value(
            grid_X[:, None],
            np.full((len(grid_X), 1), signals[place]),
            np.full(len(grid_X), regime),
        )
        # The grid's own error is of the order of curvature times the spacing squared.
        np.testing.assert_allclose(value_KFX[regime, place][inside], expected_X[inside], atol=2e-4)
        assert np.ptp(expected_X[inside]) > 0.03


@pytest.mark.parametrize("which", ["scalar", "general"])
def test_moments_forward_agree_with_the_riccati_equation_backward(
    which: str, request: pytest.FixtureRequest
) -> None:
    system: JumpSystem = request.getfixturevalue(which)
    solution = solve(system)
    start = solution.start_value(stationary(system.transition_KK))
    forward = discounted_reward(system, optimal_rule(system, solution))
    assert forward == pytest.approx((1.0 - system.discount) * start, rel=1e-10)


@pytest.mark.parametrize("which", ["scalar", "general"])
def test_every_perturbation_lowers_the_exact_value(
    which: str, request: pytest.FixtureRequest
) -> None:
    system: JumpSystem = request.getfixturevalue(which)
    rule = optimal_rule(system, solve(system))
    best = discounted_reward(system, rule)
    random = np.random.default_rng(2)
    for _ in range(25):
        losses = []
        for step in (0.02, -0.02, 0.04):
            carry_KAA = rule.carry_KAA + step * random.normal(size=rule.carry_KAA.shape)
            losses.append(best - discounted_reward(system, rule._replace(carry_KAA=carry_KAA)))
            gain_KAS = rule.gain_KAS * (1.0 + 5 * step * random.normal(size=rule.gain_KAS.shape))
            losses.append(best - discounted_reward(system, rule._replace(gain_KAS=gain_KAS)))
        assert min(losses) > 0.0


def test_the_value_is_flat_at_the_optimum(scalar: JumpSystem) -> None:
    rule = optimal_rule(scalar, solve(scalar))
    best = discounted_reward(scalar, rule)
    losses = [
        best - discounted_reward(scalar, rule._replace(gain_KAS=rule.gain_KAS * (1.0 + step)))
        for step in (-0.1, 0.1)
    ]
    # A quadratic in the gain: equal losses to either side, four times as much at twice the step.
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    double = best - discounted_reward(scalar, rule._replace(gain_KAS=rule.gain_KAS * 1.2))
    assert double == pytest.approx(4.0 * losses[0], rel=1e-6)


def test_costs_proportional_to_risk_have_one_trade_rate(general: JumpSystem) -> None:
    covariance_KAA = np.broadcast_to(general.covariance_KAA[0], (3, 3, 3))
    system = replace(general, covariance_KAA=covariance_KAA, cost_KAA=7.0 * covariance_KAA)
    rule = optimal_rule(system, solve(system))
    like = replace(system, covariance_KAA=np.ones((3, 1, 1)), cost_KAA=np.full((3, 1, 1), 7.0))
    q, _ = closed_form(like)
    np.testing.assert_allclose(
        rule.carry_KAA, np.broadcast_to(q * np.eye(3), (3, 3, 3)), atol=1e-11
    )
    # The aim is Sigma^-1 times that of each asset's loadings alone.
    alone_KAS = np.stack(
        [closed_form(replace(like, loading_KAS=system.loading_KAS[:, [a]]))[1] for a in range(3)],
        axis=1,
    )
    np.testing.assert_allclose(
        rule.gain_KAS, np.linalg.solve(covariance_KAA, alone_KAS), atol=1e-11
    )


def test_unrelated_assets_are_separate_problems(scalar: JumpSystem) -> None:
    other = replace(
        scalar,
        loading_KAS=scalar.loading_KAS * 0.5 + 0.03,
        covariance_KAA=np.array([1.0, 2.0, 0.5])[:, None, None],
        cost_KAA=np.array([4.0, 9.0, 6.0])[:, None, None],
    )

    def both(first: Array, second: Array) -> Array:
        zero = np.zeros_like(first)
        return np.concatenate(
            (np.concatenate((first, zero), 2), np.concatenate((zero, second), 2)), 1
        )

    joint = replace(
        scalar,
        loading_KAS=np.concatenate((scalar.loading_KAS, other.loading_KAS), axis=1),
        covariance_KAA=both(scalar.covariance_KAA, other.covariance_KAA),
        cost_KAA=both(scalar.cost_KAA, other.cost_KAA),
    )
    parts = [solve(system) for system in (scalar, other)]
    whole = solve(joint)
    np.testing.assert_allclose(
        whole.cross_KAS, np.concatenate([part.cross_KAS for part in parts], axis=1), atol=1e-12
    )
    np.testing.assert_allclose(
        whole.signal_KSS, parts[0].signal_KSS + parts[1].signal_KSS, atol=1e-12
    )


def test_frozen_regimes_are_separate_markets(scalar: JumpSystem) -> None:
    frozen = replace(scalar, transition_KK=np.eye(3))
    solution = solve(frozen)
    for regime, published in enumerate((0.01534, 0.01709, 0.00935)):
        one = slice(regime, regime + 1)
        alone = replace(
            scalar,
            loading_KAS=scalar.loading_KAS[one],
            persistence_KS=scalar.persistence_KS[one],
            covariance_KAA=scalar.covariance_KAA[one],
            cost_KAA=scalar.cost_KAA[one],
            transition_KK=np.ones((1, 1)),
        )
        only = solve(alone)
        np.testing.assert_allclose(solution.cross_KAS[regime], only.cross_KAS[0], atol=1e-12)
        assert solution.constant_K[regime] == pytest.approx(only.constant_K[0], rel=1e-9)
        # The published long-run figures come from simulation, with an error of 1%.
        rate = stationary_reward(alone, optimal_rule(alone, only))
        assert rate == pytest.approx(published, rel=0.03)


def test_switching_risk_and_cost_reproduce_the_published_variant(scalar: JumpSystem) -> None:
    variance_K, cost_K = np.array([1.0, 1.5, 4.0]), np.array([10.0, 10.0, 30.0])
    system = replace(
        scalar, covariance_KAA=variance_K[:, None, None], cost_KAA=cost_K[:, None, None]
    )
    rate = stationary_reward(system, optimal_rule(system, solve(system)))
    averaged = replace(
        system,
        covariance_KAA=np.full((3, 1, 1), variance_K.mean()),
        cost_KAA=np.full((3, 1, 1), cost_K.mean()),
    )
    naive = stationary_reward(system, optimal_rule(averaged, solve(averaged)))
    assert rate == pytest.approx(0.00987, rel=0.02)
    assert naive == pytest.approx(0.00754, rel=0.02)


def test_deviation_of_holdings_by_hand() -> None:
    # One regime, persistence 1/2, x_t = x_{t-1} / 2 + f_t: cov(x_{t-1}, f_t) = c solves
    # c = (c / 2 + 1) / 2, so 2/3; the variance v = v / 4 + c + 1, so 20/9.
    system = JumpSystem(
        loading_KAS=np.array([[[0.3]]]),
        persistence_KS=np.array([[0.5]]),
        covariance_KAA=np.array([[[1.0]]]),
        cost_KAA=np.array([[[2.0]]]),
        risk_aversion=1.0,
        discount=0.5,
        transition_KK=np.array([[1.0]]),
    )
    rule = LinearRule(np.array([[[0.5]]]), np.array([[[1.0]]]))
    assert holding_deviation(system, rule) == pytest.approx([(20 / 9) ** 0.5], rel=1e-10)


def test_a_rule_that_explodes_is_refused(scalar: JumpSystem) -> None:
    rule = LinearRule(np.full((3, 1, 1), 1.1), np.ones((3, 1, 2)))
    with pytest.raises(SyntheticMarketError, match="variance settles"):
        holding_deviation(scalar, rule)

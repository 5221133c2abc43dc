"""Growth-optimal solutions of regime-switching GBM: closed forms, the band, and simulation."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from markets.synthetic.base import Information, Solution, World
from markets.synthetic.chain import SyntheticMarketError
from markets.synthetic.gbm_oracles import Kelly, NoTradeBand, Problem, kelly_weights
from markets.synthetic.growth_band import solve_band
from markets.synthetic.kelly import growth, growth_optimal, return_nodes
from markets.synthetic.regime_gbm import RegimeGBM

Array = NDArray[np.float64]

MARKET = RegimeGBM(
    drift=(0.0005, -0.0008),
    volatility=(0.02, 0.035),
    transition=((0.97, 0.03), (0.05, 0.95)),
    cost_bps=8.0,
    discount=0.97,
)
"""One asset, unlike regimes, and a discount that a short simulation exhausts."""
FREE = replace(MARKET, cost_bps=0.0)
PAIR: dict[str, Any] = {
    "drift": ((0.0004, 0.0001), (-0.0003, 0.0006)),
    "volatility": ((0.02, 0.015), (0.03, 0.03)),
    "correlation": ((1.0, 0.5), (0.5, 1.0)),
    "cost_bps": 0.0,
}
BARS, LANES = 350, 1200


class Paths(NamedTuple):
    regime_TN: NDArray[np.int64]
    close_TNA: Array
    belief_TNK: Array


@pytest.fixture(scope="module")
def paths() -> Paths:
    """The same law with and without costs."""
    made = [MARKET.path(BARS, seed=3, lane=lane).world for lane in range(LANES)]
    return Paths(
        np.stack([world.regime_N for world in made], axis=1),
        np.stack([world.close_NA for world in made], axis=1),
        np.stack([world.belief_NK for world in made if world.belief_NK is not None], axis=1),
    )


def play(market: RegimeGBM, solution: Solution, paths: Paths) -> Array:
    """(1 - delta) times each lane's discounted log growth, expected given the regime, (N,)."""
    return_KQA, weight_Q = return_nodes(market.law)
    held = np.zeros((LANES, 1))
    total = np.zeros(LANES)
    for t in range(BARS - 1):
        world = World(
            paths.regime_TN[t], paths.close_TNA[t], np.zeros((LANES, 0)), paths.belief_TNK[t]
        )
        weight = solution.target(world, held)
        assert (np.abs(weight) <= market.limit * (1.0 + 1e-12)).all()
        spent = market.cost * np.abs(weight - held)
        gain = weight * return_KQA[paths.regime_TN[t], :, 0]
        total += market.discount**t * (np.log1p(gain - spent) @ weight_Q)
        change = paths.close_TNA[t + 1] / paths.close_TNA[t] - 1.0
        held = weight * (1.0 + change) / (1.0 + weight * change - spent)
    return (1.0 - market.discount) * total


def assert_near(sample_N: Array, value: float | None) -> None:
    assert value is not None
    error = sample_N.std() / np.sqrt(len(sample_N))
    assert abs(sample_N.mean() - value) < 3.0 * error + 1e-4 * abs(value)


def assert_worse(sample_N: Array, best_N: Array) -> None:
    """Paired: the loss is more than three standard errors."""
    loss_N = best_N - sample_N
    assert loss_N.mean() > 3.0 * loss_N.std() / np.sqrt(len(loss_N))


# Growth-optimal weights without costs.


def test_kelly_is_mertons_fraction_in_small_steps() -> None:
    market = RegimeGBM(drift=(1e-6, -5e-7), volatility=(1e-3, 8e-4))
    weights_KA = kelly_weights(market.law, market.limit)
    assert weights_KA[:, 0] == pytest.approx([1.0, -0.78125], rel=1e-5)
    mixed = growth_optimal(market.law, np.array([[0.25, 0.75]]), 1.5)
    assert mixed[0, 0] == pytest.approx((0.25e-6 - 3.75e-7) / (0.25e-6 + 0.48e-6), rel=1e-5)


def test_kelly_of_two_assets_is_mertons_in_small_steps() -> None:
    law = RegimeGBM(
        drift=((1e-6, 2e-7), (0.0, 0.0)),
        volatility=((1.5e-3, 1e-3), (1e-3, 1e-3)),
        correlation=((1.0, 0.4), (0.4, 1.0)),
    ).law
    expected = np.linalg.solve(law.covariance_KAA, law.drift_KA[:, :, None])[:, :, 0]
    assert kelly_weights(law, 1.5) == pytest.approx(expected, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("limit", [0.4, 1.5])
@pytest.mark.parametrize("assets", [1, 2])
def test_no_weights_within_the_limit_grow_faster(assets: int, limit: float) -> None:
    market = RegimeGBM(**(PAIR if assets == 2 else {}))
    random = np.random.default_rng(1)
    belief_NK = np.array([[1.0, 0.0], [0.6, 0.4], [0.0, 1.0]])
    best_NA = growth_optimal(market.law, belief_NK, limit)
    assert (np.abs(best_NA).sum(axis=1) <= limit + 1e-9).all()
    best_N = growth(market.law, belief_NK, best_NA)
    for _ in range(300):
        other_NA = best_NA + random.choice([0.3, 0.03]) * random.normal(size=best_NA.shape)
        excess = np.abs(other_NA).sum(axis=1, keepdims=True) / limit
        other_NA /= np.maximum(excess, 1.0)
        assert (growth(market.law, belief_NK, other_NA) <= best_N + 1e-12).all()


def test_growth_is_the_mean_of_the_log_of_the_account() -> None:
    random = np.random.default_rng(0)
    law = RegimeGBM().law
    log_return = law.log_drift_KA[1] + law.volatility_KA[1] * random.normal(size=1_000_000)
    sample = np.log1p(-0.6 * np.expm1(log_return))
    expected = growth(law, np.array([[0.0, 1.0]]), np.array([[-0.6]]))[0]
    assert abs(sample.mean() - expected) < 3.0 * sample.std() / 1e3


def test_the_defaults_have_the_signal_that_they_claim() -> None:
    market = RegimeGBM()
    weight_K = kelly_weights(market.law, market.limit)[:, 0]
    assert weight_K == pytest.approx([1.2, -0.6], abs=0.002)
    assert market.holding_scale == pytest.approx(0.9, abs=0.002)
    growth_K = growth(market.law, np.eye(2), weight_K[:, None])
    assert growth_K == pytest.approx([2.9e-4, 2.9e-4], rel=0.01)
    assert np.abs(weight_K) * market.volatility == pytest.approx([0.024, 0.024], rel=0.01)


def test_the_defaults_have_the_values_that_they_claim() -> None:
    market = RegimeGBM()
    assert market.oracle("known").value == pytest.approx(2.42e-4, rel=3e-3)
    assert market.oracle("belief").value == pytest.approx(1.13e-4, rel=3e-3)


# The no-trade band by dynamic programming.


@pytest.mark.parametrize("known", [True, False])
def test_without_costs_the_band_closes_on_kelly(known: bool) -> None:
    band = solve_band(FREE.law, 0.0, FREE.limit, FREE.discount, known=known)
    belief_IK = np.stack([1.0 - band.belief_I, band.belief_I], axis=1)
    kelly_I = growth_optimal(FREE.law, belief_IK, FREE.limit)[:, 0]
    assert band.low_I == pytest.approx(kelly_I, abs=1e-4)
    assert band.high_I == pytest.approx(kelly_I, abs=1e-4)
    if known:
        closed = growth(FREE.law, belief_IK, kelly_I[:, None])
        assert band.value == pytest.approx(closed @ [5 / 8, 3 / 8], rel=1e-6)
        assert FREE.oracle("known").value == pytest.approx(band.value, rel=1e-6)


def test_a_belief_that_never_moves_has_a_closed_form() -> None:
    market = replace(FREE, transition=((0.7, 0.3), (0.7, 0.3)))
    belief_NK = np.array([[0.7, 0.3]])
    weight_NA = growth_optimal(market.law, belief_NK, market.limit)
    closed = growth(market.law, belief_NK, weight_NA)[0]
    assert market.oracle("belief").value == pytest.approx(closed, rel=1e-4)


@pytest.mark.parametrize("known", [True, False])
def test_a_finer_grid_changes_nothing(known: bool) -> None:
    rules = (MARKET.law, MARKET.cost, MARKET.limit, MARKET.discount)
    coarse = solve_band(*rules, known=known, num_weights=100, num_beliefs=33)
    fine = solve_band(*rules, known=known, num_weights=200, num_beliefs=65)
    assert coarse.value == pytest.approx(fine.value, rel=5e-4)
    grid = np.array([0.0, 1.0]) if known else np.linspace(0.0, 1.0, 9)
    for edge, finer in zip(coarse.edges(grid), fine.edges(grid), strict=True):
        assert edge == pytest.approx(finer, abs=0.015)


def test_the_band_agrees_with_a_plain_dynamic_program() -> None:
    # On (k, w0) with the weight w before costs as the control, and linear interpolation.
    discount, cost = 0.9, 1e-3
    law = RegimeGBM().law
    return_KQA, weight_Q = return_nodes(law)
    grid = np.linspace(-1.5, 1.5, 121)
    value = np.zeros((2, len(grid)))
    equity = 1.0 - cost * np.abs(grid[:, None] - grid[None, :])
    for _ in range(150):
        ahead = law.transition_KK @ value
        new = np.empty_like(value)
        for k in (0, 1):
            best = np.zeros((len(grid), len(grid)))
            for gain, chance in zip(return_KQA[k, ::3, 0], weight_Q[::3] * 3.0, strict=True):
                after = equity + gain * grid
                held = grid * (1.0 + gain) / after
                best += chance * (np.log(after) + discount * np.interp(held, grid, ahead[k]))
            new[k] = best.max(axis=1)
        value = new
    plain = 0.1 * value[:, 60].mean()
    band = solve_band(law, cost, 1.5, discount, known=True)
    assert band.value == pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize("information", ["known", "belief"])
def test_a_trade_ends_at_the_nearest_edge(information: Information) -> None:
    oracle = NoTradeBand(MARKET.problem, information)
    held_NA = np.linspace(-1.6, 1.6, 81)[:, None]
    regime_N = np.arange(81) % 2
    belief_NK = np.stack([1.0 - regime_N, regime_N], axis=1).astype(np.float64)
    world = World(regime_N, np.full((81, 1), 50.0), np.zeros((81, 0)), belief_NK)
    target_N = oracle.target(world, held_NA)[:, 0]
    after_N = target_N / (1.0 - MARKET.cost * np.abs(target_N - held_NA[:, 0]))
    low_N, high_N = oracle.band(belief_NK[:, 1])
    assert after_N == pytest.approx(np.clip(held_NA[:, 0], low_N, high_N), abs=1e-12)
    assert (low_N < high_N).all()


def test_the_band_widens_with_the_cost() -> None:
    widths = []
    for bps in (0.0, 2.0, 10.0, 50.0):
        low_N, high_N = NoTradeBand(replace(MARKET, cost_bps=bps).problem, "known").band(
            np.array([0.0, 1.0])
        )
        widths.append(high_N - low_N)
    assert (np.diff(widths, axis=0) > 0.01).all()


# Simulation: every value is what the policy earns, and every change of it earns less.


@pytest.mark.parametrize("information", ["known", "belief"])
@pytest.mark.parametrize("market", [MARKET, FREE], ids=["costs", "free"])
def test_the_oracle_earns_its_value(
    market: RegimeGBM, information: Information, paths: Paths
) -> None:
    oracle = market.oracle(information)
    assert oracle.information == information
    assert_near(play(market, oracle, paths), oracle.value)


@pytest.mark.parametrize("information", ["known", "belief"])
def test_every_other_band_earns_less(information: Information, paths: Paths) -> None:
    best_N = play(MARKET, MARKET.oracle(information), paths)
    for low, high in ((-0.1, 0.1), (0.1, -0.1), (0.1, 0.1), (-0.1, -0.1)):
        other = NoTradeBand(MARKET.problem, information, low_shift=low, high_shift=high)
        assert other.value is None
        assert_worse(play(MARKET, other, paths), best_N)
    myopic = Kelly(MARKET.problem, information)
    assert myopic.value is None
    assert_worse(play(MARKET, myopic, paths), best_N)


class Scaled(NamedTuple):
    """Another policy times a factor."""

    base: Solution
    factor: float
    information: Information

    def target(self, world: World, holding_NA: Array) -> Array:
        weight_NA: Array = self.factor * self.base.target(world, holding_NA)
        return weight_NA


@pytest.mark.parametrize("information", ["known", "belief"])
def test_every_other_fraction_of_kelly_grows_less(information: Information, paths: Paths) -> None:
    oracle = FREE.oracle(information)
    best_N = play(FREE, oracle, paths)
    for factor in (0.8, 1.15):
        assert_worse(play(FREE, Scaled(oracle, factor, information), paths), best_N)


@pytest.mark.parametrize("market", [MARKET, FREE], ids=["costs", "free"])
def test_not_knowing_the_regime_has_a_price(market: RegimeGBM) -> None:
    known, belief = market.oracle("known").value, market.oracle("belief").value
    assert known is not None
    assert belief is not None
    assert 0.0 < belief < 0.9 * known


def test_two_hidden_regimes_of_two_assets_are_traded_by_belief() -> None:
    market = RegimeGBM(**PAIR)
    world = market.path(400, seed=1).world
    assert world.belief_NK is not None
    weight_NA = market.oracle("belief").target(world, np.zeros((400, 2)))
    exact_NA = growth_optimal(market.law, world.belief_NK, market.limit)
    assert weight_NA == pytest.approx(exact_NA, abs=1e-4)
    known_NA = market.oracle("known").target(world, np.zeros((400, 2)))
    assert np.array_equal(known_NA, kelly_weights(market.law, 1.5)[world.regime_N])


# Rules, and what has no answer.


def test_rules_hold_cash_or_the_asset_or_trade_as_if_for_free(paths: Paths) -> None:
    rules = MARKET.rules()
    assert set(rules) == {"do_nothing", "myopic", "buy_and_hold"}
    assert (play(MARKET, rules["do_nothing"], paths) == 0.0).all()
    assert rules["myopic"].information == "known"
    assert replace(MARKET, regime="hidden").rules()["myopic"].information == "belief"
    world = MARKET.path(3, seed=0).world
    held_NA = np.array([[0.0], [0.7], [-0.2]])
    assert rules["buy_and_hold"].target(world, held_NA)[:, 0] == pytest.approx([1.0, 0.7, -0.2])


@pytest.mark.parametrize(
    ("market", "information", "message"),
    [
        (RegimeGBM(**{**PAIR, "cost_bps": 5.0}), "known", "exists for one asset, found 2 assets"),
        (
            RegimeGBM(
                drift=(0.0,) * 3,
                volatility=(0.02,) * 3,
                transition=((0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8)),
            ),
            "belief",
            "exists for two regimes, found 3",
        ),
    ],
)
def test_what_has_no_answer_says_so(
    market: RegimeGBM, information: Information, message: str
) -> None:
    with pytest.raises(SyntheticMarketError, match=message):
        market.oracle(information)


def test_too_many_assets_have_no_growth_optimal_weights() -> None:
    law = RegimeGBM(drift=((0.0,) * 5,) * 2, cost_bps=0.0).law
    with pytest.raises(SyntheticMarketError, match=r"at most 4 assets .* found 5"):
        growth_optimal(law, np.array([[0.5, 0.5]]), 1.0)


@pytest.mark.parametrize("information", ["known", "belief"])
def test_too_many_assets_have_no_oracle(information: Information) -> None:
    market = RegimeGBM(drift=((0.0,) * 5,) * 2, cost_bps=0.0)
    with pytest.raises(SyntheticMarketError, match=r"up to 4 assets, found 5"):
        market.oracle(information)


def test_not_knowing_has_the_price_that_the_oracles_tell() -> None:
    known, belief = MARKET.oracle("known").value, MARKET.oracle("belief").value
    assert known is not None
    assert belief is not None
    assert MARKET.price_of_not_knowing() == (known - belief, 0.0)
    several = RegimeGBM(**PAIR)
    with pytest.raises(SyntheticMarketError, match="expected oracles whose values are known"):
        several.price_of_not_knowing()


def test_an_oracle_by_belief_needs_a_filter() -> None:
    world = MARKET.path(3, seed=0, belief=False).world
    with pytest.raises(SyntheticMarketError, match="expected a stream that filters"):
        MARKET.oracle("belief").target(world, np.zeros((3, 1)))


def test_one_regime_is_known_and_believed() -> None:
    market = RegimeGBM(drift=(0.0004,), volatility=(0.02,), transition=((1.0,),))
    problem: Problem = market.problem
    assert NoTradeBand(problem, "known").value == NoTradeBand(problem, "belief").value

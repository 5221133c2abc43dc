"""Distance from the optimum, played on the kernel: common paths, oracles, slices, errors."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.config import LongShortAction, SimplexAction, TradeAction, TradingConfig
from envs.synthetic import Problem
from evaluation.bootstrap import BootstrapConfig
from evaluation.optimality import (
    OptimalityConfig,
    OptimalityEvaluation,
    Scores,
    episode_length,
    judge_optimality,
    measure,
    optimality_ratio,
)
from evaluation.optimality_states import FeatureMap, held, slices
from markets.synthetic.base import Information, Solution, World
from markets.synthetic.chain import SyntheticMarketError
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck
from markets.synthetic.regime_gbm import RegimeGBM
from meta_controller.config import OracleController
from tests.evaluation.option_policies import PROBLEM as OPTIONS_PROBLEM
from tests.evaluation.option_policies import Always, on_market

Array = NDArray[np.float64]

CONFIG = OptimalityConfig(episodes=160, bootstrap=BootstrapConfig(resamples=300))
MARKET = GarleanuPedersen(
    loadings=((0.3, 0.0), (-0.2, 0.3)), cost=3.0, discount=0.95, transition=0.95
)
# So large that no trade of the oracle is out of reach of one action.
PROBLEM = Problem(world=MARKET, trade_size=MARKET.holding_limit)


class Shrunk:
    """A share of another solution's target."""

    information: Information = "known"

    def __init__(self, solution: Solution, share: float) -> None:
        self._solution, self._share = solution, share

    def target(self, world: World, holding_NA: Array) -> Array:
        return self._share * self._solution.target(world, holding_NA)


class Reader:
    """A policy that reads the state of the linear market out of its observations."""

    def __init__(
        self, problem: Problem, share: float = 1.0, information: Information = "known"
    ) -> None:
        self._problem = problem
        self._solution = Shrunk(problem.world.oracle(information), share)
        self._regimes = problem.world.num_regimes

    def reset(self, num_envs: int) -> None:
        pass

    def act(self, observation_NO: NDArray[np.float32]) -> Array:
        assert observation_NO.dtype == np.float32
        exact_NO = observation_NO.astype(np.float64)
        signal_NF, view_NK = exact_NO[:, 1:3], exact_NO[:, 3 : 3 + self._regimes]
        holding_NA = exact_NO[:, 4 + self._regimes][:, None] * self._problem.world.holding_scale
        world = World(view_NK.argmax(axis=1), np.zeros_like(holding_NA), signal_NF, view_NK)
        return self._problem.action(self._solution.target(world, holding_NA), holding_NA)


@pytest.fixture(scope="module")
def found() -> OptimalityEvaluation:
    agents = {seed: Reader(PROBLEM, share) for seed, share in enumerate((1.0, 0.9, 0.8))}
    return judge_optimality(agents, PROBLEM, CONFIG)


@pytest.fixture(scope="module")
def play() -> Callable[..., Scores]:
    def played(share: float, seed: int = CONFIG.seed) -> Scores:
        config = OptimalityConfig(episodes=CONFIG.episodes, seed=seed)
        return measure(Shrunk(MARKET.oracle("known"), share), PROBLEM, config)

    return played


def test_the_optimum_is_one_and_doing_nothing_is_zero(found: OptimalityEvaluation) -> None:
    rows = {row.name: row for row in found.table if row.kind != "seed"}
    assert (rows["oracle_known"].ratio.low, rows["oracle_known"].ratio.high) == (1.0, 1.0)
    assert rows["do_nothing"].ratio.estimate == 0.0
    assert rows["do_nothing"].value.estimate == 0.0
    assert rows["do_nothing"].turnover == 0.0


def test_a_policy_sees_what_the_oracle_knows(found: OptimalityEvaluation) -> None:
    """Reading the observation and acting through the action space loses only float32's digits."""
    agent, oracle = found.agents[0], found.oracles["known"]
    np.testing.assert_allclose(
        agent.earned.discounted_E, oracle.earned.discounted_E, atol=1e-6 * MARKET.holding_scale
    )
    np.testing.assert_allclose(
        agent.holding_LNA, oracle.holding_LNA, atol=1e-5 * MARKET.holding_scale
    )
    assert found.agents[0].projected == 0.0


def test_the_ledger_agrees_with_the_closed_form(found: OptimalityEvaluation) -> None:
    (check,) = [check for check in found.checks if check.name == "known"]
    assert abs(check.z) < 4.0
    oracle = MARKET.oracle("known")
    assert check.value == oracle.value
    values_E = measure(oracle, PROBLEM, OptimalityConfig(episodes=20_000)).earned.discounted_E
    error = values_E.std() / np.sqrt(len(values_E))
    assert error < 0.006 * check.value
    assert abs(values_E.mean() - check.value) < 3.0 * error


def test_knowing_the_regime_is_worth_something(found: OptimalityEvaluation) -> None:
    price = found.price_of_not_knowing
    assert price is not None
    assert 0.0 < price.low < price.estimate < price.high
    assert found.reference == "known"
    assert not found.bound


def test_a_shrunk_optimum_lies_in_between(play: Callable[..., Scores]) -> None:
    whole, half, none = (play(share).earned.discounted_E for share in (1.0, 0.5, 0.0))
    share = optimality_ratio(half[None], none, whole, CONFIG.bootstrap)
    assert 0.1 < share.low < share.estimate < share.high < 0.95


def test_common_paths_take_away_what_moves_both(play: Callable[..., Scores]) -> None:
    whole, less, other = play(1.0), play(0.9), play(0.9, seed=77)
    paired = np.var(whole.earned.discounted_E - less.earned.discounted_E)
    unpaired = np.var(whole.earned.discounted_E - other.earned.discounted_E)
    assert paired < 0.1 * unpaired


def test_expected_rewards_vary_less(play: Callable[..., Scores]) -> None:
    scores = play(1.0)
    assert scores.expected is not None
    gap_E = scores.realised.discounted_E - scores.expected.discounted_E
    assert abs(gap_E.mean()) < 4.0 * gap_E.std() / np.sqrt(len(gap_E))
    assert scores.expected.discounted_E.var() < 0.5 * scores.realised.discounted_E.var()


def test_regimes_add_up(found: OptimalityEvaluation) -> None:
    for scores in (*found.agents, *found.oracles.values(), *found.rules.values()):
        for earned in (scores.earned, scores.realised):
            np.testing.assert_allclose(
                earned.regime_EK.sum(axis=1), earned.discounted_E, rtol=1e-12
            )
        np.testing.assert_allclose(scores.share_EK.sum(axis=1), 1.0, rtol=1e-12)
    shares = [scores.share_EK for scores in found.rules.values()]
    # The same paths for every policy: the same regimes.
    for share_EK in shares:
        np.testing.assert_array_equal(share_EK, shares[0])


class Constant:
    """Buys one unit (or a weight of one) and keeps it."""

    information: Information = "known"

    def target(self, world: World, holding_NA: Array) -> Array:
        del world
        return np.where(holding_NA == 0.0, 1.0, holding_NA)


def test_three_bars_by_hand() -> None:
    """x = 1 from the first close on: rewards, regimes, turnover and costs of every episode."""
    market = GarleanuPedersen(
        loadings=((0.3, 0.0), (-0.2, 0.3)), covariance=(((1.0,),), ((2.0,),)), cost=3.0,
        risk_aversion=0.5, discount=0.5, transition=0.4,
    )  # fmt: skip
    config = OptimalityConfig(episodes=12, length=3, seed=5)
    scores = measure(Constant(), Problem(market), config)
    assert scores.expected is not None
    # sum of delta^t is 7 / 4.
    weight_L, mixed = np.array([4.0, 2.0, 1.0]) / 7.0, 0
    for episode in range(12):
        path = market.path(4, seed=5, lane=episode)
        regime_L = path.world.regime_N[:3]
        mixed += len(set(regime_L.tolist())) > 1
        # gamma / 2 sigma_k^2, and 1/2 Lambda_k u^2 of the first bar: Lambda = 3 Sigma.
        charge_L = 0.25 * np.array([1.0, 2.0])[regime_L]
        charge_L[0] += 1.5 * np.array([1.0, 2.0])[regime_L[0]]
        change_L = np.diff(path.world.close_NA[:, 0])
        for earned, gain_L in (
            (scores.expected, path.drift_TA[:3, 0]),
            (scores.realised, change_L),
        ):
            reward_L = gain_L - charge_L
            by_regime = [(weight_L * reward_L)[regime_L == k].sum() for k in range(2)]
            np.testing.assert_allclose(earned.regime_EK[episode], by_regime, atol=1e-9)
            assert earned.discounted_E[episode] == pytest.approx(weight_L @ reward_L, abs=1e-9)
            assert earned.mean_E[episode] == pytest.approx(reward_L.mean(), abs=1e-9)
        shares = [weight_L[regime_L == k].sum() for k in range(2)]
        np.testing.assert_allclose(scores.share_EK[episode], shares)
        assert scores.cost_E[episode] == pytest.approx(1.5 * (1 + regime_L[0]) / 3.0, abs=1e-9)
    assert mixed > 6, "regimes that switch within an episode tell one bar from another"
    np.testing.assert_allclose(scores.turnover_E, 1.0 / 3.0)
    np.testing.assert_allclose(scores.holding_LNA, 1.0)


@pytest.mark.parametrize(
    ("market", "cost"),
    [
        # 0.7 for the unit that is bought, over four bars.
        (OrnsteinUhlenbeck(cost=0.7), 0.7 / 4),
        # 20 basis points of the whole equity, once.
        (RegimeGBM(cost_bps=20.0), 0.002 / 4),
    ],
    ids=["spread", "weights"],
)
def test_costs_by_hand(market: OrnsteinUhlenbeck | RegimeGBM, cost: float) -> None:
    scores = measure(Constant(), Problem(market), OptimalityConfig(episodes=8, length=4))
    np.testing.assert_allclose(scores.cost_E, cost, rtol=1e-6)
    np.testing.assert_allclose(scores.turnover_E, 0.25, rtol=1e-6)


def test_the_optimum_is_not_bound_to_the_action_space(play: Callable[..., Scores]) -> None:
    narrow = replace(PROBLEM, trade_size=0.02 * MARKET.holding_scale, dead_zone=0.5)
    config = OptimalityConfig(episodes=CONFIG.episodes, seed=CONFIG.seed)
    free = measure(MARKET.oracle("known"), narrow, config)
    np.testing.assert_allclose(free.earned.discounted_E, play(1.0).earned.discounted_E, atol=1e-9)
    # An agent is: at 2 % of a holding a bar it earns far less than all.
    held = measure(Reader(narrow), narrow, config)
    assert held.earned.discounted_E.mean() < 0.7 * free.earned.discounted_E.mean()


def test_learning_from_expectations_is_judged_alike(play: Callable[..., Scores]) -> None:
    config = OptimalityConfig(episodes=CONFIG.episodes, seed=CONFIG.seed)
    learned = measure(MARKET.oracle("known"), replace(PROBLEM, expected_reward=True), config)
    plain = play(1.0)
    assert learned.expected is not None
    assert plain.expected is not None
    np.testing.assert_array_equal(learned.realised.discounted_E, plain.realised.discounted_E)
    np.testing.assert_array_equal(learned.expected.discounted_E, plain.expected.discounted_E)
    assert (learned.realised.discounted_E != learned.expected.discounted_E).all()


def test_who_sees_a_belief_is_compared_with_the_optimum_of_beliefs() -> None:
    market = replace(MARKET, regime="belief")
    problem = Problem(market, trade_size=market.holding_limit)
    agents = {0: Reader(problem, information="belief")}
    found = judge_optimality(agents, problem, CONFIG)
    assert found.reference == "belief"
    assert not found.bound
    assert found.ratio.estimate == pytest.approx(1.0, abs=1e-5)
    price = found.price_of_not_knowing
    assert price is not None
    assert price.low > 0.0, "the optimum that knows the regime earns more than this agent"
    assert found.agreement == pytest.approx(1.0, abs=1e-6)


def test_an_agent_that_holds_half_agrees_by_half(found: OptimalityEvaluation) -> None:
    assert replace(found, agents=found.agents[:1]).agreement == pytest.approx(1.0, abs=1e-6)
    optimal = found.oracles["known"]
    half = replace(optimal, holding_LNA=0.5 * optimal.holding_LNA)
    squares = np.mean(optimal.holding_LNA**2)
    expected = 1.0 - 0.25 * squares / np.var(optimal.holding_LNA)
    assert replace(found, agents=(half,)).agreement == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("unit", [2.0**20, 1e6, 1e-6])
def test_the_unit_of_currency_does_not_matter(unit: float) -> None:
    def market(unit: float) -> OrnsteinUhlenbeck:
        return OrnsteinUhlenbeck(
            mean=(unit, -2.0 * unit), volatility=(unit, 1.5 * unit), cost=0.3 * unit,
            risk_aversion=0.1 / unit,
        )  # fmt: skip

    config = OptimalityConfig(episodes=24)
    one, other = (
        measure(each.rules()["myopic"], Problem(each), config)
        for each in (market(1.0), market(unit))
    )
    assert (one.ruined, other.ruined) == (0, 0)
    for kind in ("earned", "realised"):
        first, second = getattr(one, kind), getattr(other, kind)
        np.testing.assert_allclose(second.discounted_E, unit * first.discounted_E, rtol=1e-6)
    np.testing.assert_allclose(other.holding_LNA, one.holding_LNA, rtol=1e-9)


def test_an_episode_lasts_until_discounting_has_ended_it() -> None:
    assert episode_length(OptimalityConfig(), 0.99) == 688
    assert episode_length(OptimalityConfig(length=12), 0.99) == 12


def test_features_follow_from_the_state() -> None:
    features = FeatureMap(MARKET)
    # Signals and the view of the regime do; the last price change does not.
    assert features.affine_C.tolist() == [True, True, True, True, False]
    path = MARKET.path(50, seed=9)
    np.testing.assert_allclose(
        features.features(path.world)[:, :4], path.features_TC[:, :4], atol=1e-4
    )


def test_slices_put_the_agent_where_the_optimum_is_asked(found: OptimalityEvaluation) -> None:
    holding_LNA = found.oracles["known"].holding_LNA
    first, second = slices(Reader(PROBLEM), MARKET.oracle("known"), PROBLEM, holding_LNA)
    assert (first.x_label, first.y_label) == ("signal 0", "signal 1")
    assert (first.title, second.title) == ("Regime 0", "Regime 1")
    for part in (first, second):
        np.testing.assert_allclose(part.learned_YX, part.oracle_YX, atol=1e-4)
        assert part.band_2X is None
        assert np.ptp(part.oracle_YX) > MARKET.holding_scale


class Band:
    """Trades to the nearest edge of a band around minus the price."""

    information: Information = "known"

    def target(self, world: World, holding_NA: Array) -> Array:
        return np.clip(holding_NA, -world.close_NA - 0.5, -world.close_NA + 0.5)


class Idle:
    """Never trades."""

    def reset(self, num_envs: int) -> None:
        pass

    def act(self, observation_NO: NDArray[np.float32]) -> Array:
        return np.zeros((len(observation_NO), 1))


def test_the_edges_of_a_band() -> None:
    problem = Problem(world=OrnsteinUhlenbeck())
    holding_LNA = np.linspace(-2.0, 2.0, 50)[:, None, None]
    for part in slices(Idle(), Band(), problem, holding_LNA):
        assert (part.x_label, part.y_label) == ("price", "holding before")
        assert part.band_2X is not None
        limit = problem.world.holding_limit
        for edge_X, shift in zip(part.band_2X, (-0.5, 0.5), strict=True):
            np.testing.assert_allclose(edge_X, np.clip(shift - part.x_X, -limit, limit))
        np.testing.assert_array_equal(part.learned_YX, part.start_YX)


@pytest.mark.parametrize(
    ("view", "labels"),
    [
        ("known", ("weight before", "")),
        ("belief", ("probability of regime 0", "weight before")),
        ("hidden", ("weight before", "")),
    ],
)
def test_slices_of_a_market_without_signals(view: str, labels: tuple[str, str]) -> None:
    market = RegimeGBM(regime=view)  # type: ignore[arg-type]  # one of its views
    problem = Problem(world=market)
    oracle = market.rules()["myopic"]

    class Half(Idle):
        def act(self, observation_NO: NDArray[np.float32]) -> Array:
            return np.full((len(observation_NO), 1), 0.5)

    parts = slices(Half(), oracle, problem, np.full((5, 2, 1), 0.4))
    assert len(parts) == (2 if view == "known" else 1)
    for part in parts:
        assert (part.x_label, part.y_label) == labels
        np.testing.assert_allclose(part.learned_YX, 0.5 * market.limit)


def test_what_actions_ask_for() -> None:
    trade = TradingConfig(action=TradeAction(size=2.0, limit=3.0, dead_zone=0.5))
    actions_N1 = np.array([[0.4], [0.75], [-1.0], [1.0], [9.0]])
    holding_N1 = np.array([[1.0], [1.0], [1.0], [2.5], [0.0]])
    # size * (|a| - 0.5) / 0.5, never more than the size, never beyond the limit.
    expected = [1.0, 2.0, -1.0, 3.0, 2.0]
    assert held(actions_N1, holding_N1, trade)[:, 0].tolist() == pytest.approx(expected)
    weights = TradingConfig(action=LongShortAction(gross=1.5, net=1.5, scale=1.5))
    found = held(np.array([[0.5, 0.0], [1.0, -1.0]]), np.zeros((2, 2)), weights)
    np.testing.assert_allclose(found, [[0.75, 0.0], [0.75, -0.75]])
    with pytest.raises(ValueError, match="expected trade or long_short, found 'simplex'"):
        held(actions_N1, holding_N1, TradingConfig(action=SimplexAction()))


def test_realised_rewards_where_no_expectation_is_known() -> None:
    market = RegimeGBM(
        drift=((0.001, 0.0005), (-0.002, 0.001)), volatility=((0.02, 0.02), (0.04, 0.03)),
        cost_bps=0.0, discount=0.9,
    )  # fmt: skip

    class Both(Idle):
        def act(self, observation_NO: NDArray[np.float32]) -> Array:
            return np.full((len(observation_NO), 2), 0.1)

    scores = measure(Both(), Problem(world=market), OptimalityConfig(episodes=16))
    assert scores.expected is None
    assert scores.earned is scores.realised
    assert np.isfinite(scores.earned.discounted_E).all()
    # A weight of 0.15 each, kept through drifts: almost no turnover after the first bar.
    assert 0.3 / 66 < scores.turnover_E.mean() < 0.02


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="agents: expected at least one trained policy"):
        judge_optimality({}, PROBLEM, CONFIG)
    several = RegimeGBM(
        drift=((0.001, 0.0), (-0.002, 0.0)), volatility=((0.02, 0.02), (0.04, 0.04))
    )
    with pytest.raises(SyntheticMarketError, match="expected one for the agent's information"):
        judge_optimality({0: Idle()}, Problem(world=several), CONFIG)
    with pytest.raises(ValueError, match="episodes"):
        OptimalityConfig(episodes=1)


def test_slices_tell_the_regime_to_a_controller_that_is_told() -> None:
    policy = on_market(OracleController(), [Always(1.0), Always(-1.0)])
    oracle = OPTIONS_PROBLEM.world.oracle("belief")
    found = slices(policy, oracle, OPTIONS_PROBLEM, np.linspace(-1.0, 1.0, 50).reshape(-1, 1, 1))
    assert [float(each.learned_YX.mean()) > 0.0 for each in found] == [True, False]

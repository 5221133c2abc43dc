"""The market with regimes: its law, filter, oracles by simulation, and what it refuses."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from markets.synthetic.base import Path, Solution, Stream, World
from markets.synthetic.chain import SyntheticMarketError
from markets.synthetic.garleanu_pedersen import GarleanuPedersen, advance, begin
from markets.synthetic.moments import stationary_reward
from markets.synthetic.quadratic import QuadraticPolicy
from markets.synthetic.random import start_key

Array = NDArray[np.float64]

BARS = 700
"""Bars after which the default discount leaves less than a thousandth."""

WIDE: dict[str, Any] = {
    "loadings": [
        [[0.2, 0.0], [0.1, -0.1], [0.0, 0.15]],
        [[-0.1, 0.2], [0.1, 0.1], [0.05, -0.2]],
    ],
    "reversion": [[0.05, 0.2], [0.3, 0.1]],
    "covariance": [[1.0, 0.3, -0.2], [0.3, 1.5, 0.4], [-0.2, 0.4, 0.8]],
    "cost": [[8.0, 1.0, 0.0], [1.0, 5.0, -2.0], [0.0, -2.0, 12.0]],
    "transition": [[0.98, 0.02], [0.03, 0.97]],
}
"""Three assets, two signals, two regimes; costs not proportional to risk."""


class Lanes:
    """Independent paths of one market, bar by bar."""

    def __init__(self, market: GarleanuPedersen, num_lanes: int, num_bars: int) -> None:
        self.market = market
        self.paths: list[Path] = [
            market.path(num_bars, seed=11, lane=lane) for lane in range(num_lanes)
        ]
        self.state_TNS = np.stack([path.state_TS for path in self.paths], axis=1)
        self.worlds: list[World] = [market.world(state_NS) for state_NS in self.state_TNS]
        self.drift_TNA = np.stack([path.drift_TA for path in self.paths], axis=1)

    def values(self, policy: Solution, *, tail: QuadraticPolicy | None = None) -> Array:
        """Discounted expected rewards of each lane, currency a bar, with the value beyond."""
        system = self.market.system
        holding_NA = np.zeros_like(self.drift_TNA[0])
        total_N, weight = np.zeros(len(holding_NA)), 1.0 - system.discount
        for world, drift_NA in zip(self.worlds[:-1], self.drift_TNA, strict=False):
            target_NA = policy.target(world, holding_NA)
            trade_NA = target_NA - holding_NA
            cost_NA = np.einsum("nab,nb->na", system.cost_KAA[world.regime_N], trade_NA)
            risk_NA = np.einsum("nab,nb->na", system.covariance_KAA[world.regime_N], target_NA)
            reward_NA = target_NA * (drift_NA - 0.5 * system.risk_aversion * risk_NA)
            total_N += weight * (reward_NA - 0.5 * trade_NA * cost_NA).sum(axis=1)
            holding_NA, weight = target_NA, weight * system.discount
        if tail is not None:
            assert tail.solution is not None
            world = self.worlds[-1]
            total_N += weight * tail.solution.value(holding_NA, world.signal_NF, world.regime_N)
        return total_N


@pytest.fixture(scope="module")
def lanes() -> Lanes:
    return Lanes(GarleanuPedersen(), 1200, BARS)


def error_of(values_N: Array) -> float:
    return float(values_N.std(ddof=1) / len(values_N) ** 0.5)


def known_oracle(market: GarleanuPedersen) -> QuadraticPolicy:
    oracle = market.oracle("known")
    assert isinstance(oracle, QuadraticPolicy)
    return oracle


def belief_oracle(market: GarleanuPedersen) -> QuadraticPolicy:
    oracle = market.oracle("belief")
    assert isinstance(oracle, QuadraticPolicy)
    return oracle


class TestLaw:
    def test_prices_and_signals_follow_their_equations(self) -> None:
        market = GarleanuPedersen(**WIDE)
        path = market.path(200_000, seed=3)
        signal_TF, regime_T = path.world.signal_NF, path.world.regime_N
        system = market.system
        for regime in range(2):
            here_T = np.flatnonzero(regime_T[:-1] == regime)
            drift_TA = signal_TF[here_T] @ system.loading_KAS[regime].T
            np.testing.assert_allclose(path.drift_TA[here_T], drift_TA, atol=1e-12)
            noise_TA = path.world.close_NA[here_T + 1] - path.world.close_NA[here_T] - drift_TA
            np.testing.assert_allclose(np.cov(noise_TA.T), system.covariance_KAA[regime], atol=0.03)
            persistence_S = system.persistence_KS[regime]
            innovation_TS = signal_TF[here_T + 1] - persistence_S * signal_TF[here_T]
            np.testing.assert_allclose(
                np.cov(innovation_TS.T), np.diag(1.0 - persistence_S**2), atol=0.01
            )
            # Four standard errors of an uncorrelated mean.
            bound = 4.0 / len(here_T) ** 0.5
            assert np.abs(noise_TA.mean(axis=0)).max() < 1.3 * bound
            assert np.abs(np.corrcoef(noise_TA.T, innovation_TS.T)[:3, 3:]).max() < bound

    def test_regimes_follow_the_chain_and_govern_the_next_bar(self) -> None:
        market = GarleanuPedersen(**WIDE)
        path = market.path(200_000, seed=4)
        regime_T = path.world.regime_N
        np.testing.assert_array_equal(path.state_TS[1:, 1], regime_T[:-1])
        left = regime_T[1:][regime_T[:-1] == 0] == 1
        assert left.mean() == pytest.approx(0.02, abs=0.0015)
        assert (regime_T == 0).mean() == pytest.approx(0.6, abs=0.03)

    def test_signals_start_and_stay_standard_normal(self, lanes: Lanes) -> None:
        for bar in (0, 1, 50, BARS - 1):
            signal_NF = lanes.worlds[bar].signal_NF
            assert np.abs(signal_NF.mean(axis=0)).max() < 4.0 / 1200**0.5
            assert np.abs(signal_NF.var(axis=0) - 1.0).max() < 4.0 * (2.0 / 1200) ** 0.5

    def test_features_are_signals_regime_and_scaled_changes(self) -> None:
        market = GarleanuPedersen()
        path, stream = market.path(50_000, seed=1), market.stream()
        assert stream.feature_names == (
            *("signal_0", "signal_1"),
            *("regime_0", "regime_1", "regime_2"),
            "change_0",
        )
        regime_T = path.world.regime_N
        np.testing.assert_array_equal(path.features_TC[:, 2:5], np.eye(3)[regime_T])
        np.testing.assert_allclose(path.features_TC[:, :2], path.world.signal_NF, rtol=1e-6)
        assert path.features_TC[0, 5] == 0.0
        moves_T = np.diff(path.world.close_NA[:, 0])
        ratio_T = path.features_TC[1:, 5] / moves_T
        assert np.ptp(ratio_T) < 1e-5
        assert path.features_TC[:, 5].std() == pytest.approx(1.0, abs=0.02)

    @pytest.mark.parametrize(
        ("view", "names"),
        [("belief", ("belief_0", "belief_1", "belief_2")), ("hidden", ())],
    )
    def test_views(self, view: Any, names: tuple[str, ...]) -> None:
        market = GarleanuPedersen(regime=view)
        path = market.path(500, seed=1)
        assert market.stream().feature_names[2:-1] == names
        assert path.world.belief_NK is not None
        np.testing.assert_allclose(
            path.features_TC[:, 2 : 2 + len(names)],
            path.world.belief_NK[:, : len(names)],
            atol=1e-7,
        )

    def test_the_filter_leaves_the_path_as_it_is(self) -> None:
        market = GarleanuPedersen(regime="hidden")
        plain, filtered = (market.path(300, seed=9, belief=belief) for belief in (False, True))
        np.testing.assert_array_equal(plain.world.close_NA, filtered.world.close_NA)
        np.testing.assert_array_equal(plain.world.regime_N, filtered.world.regime_N)
        assert plain.world.belief_NK is None

    def test_frozen_regimes_never_change(self) -> None:
        market = GarleanuPedersen(transition=1.0)
        firsts = []
        for lane in range(300):
            regime_T = market.path(20, seed=0, lane=lane).world.regime_N
            assert (regime_T == regime_T[0]).all()
            firsts.append(regime_T[0])
        assert np.bincount(firsts).min() > 70


class TestFilter:
    @pytest.mark.parametrize(
        "parameters",
        [
            {},
            {"reversion": [[0.05, 0.2], [0.5, 0.2], [0.05, 1.2]]},
            {"covariance": [[[1.0]], [[4.0]], [[0.5]]]},
            WIDE,
        ],
        ids=["loadings", "reversion", "covariance", "assets"],
    )
    def test_beliefs_are_calibrated(self, parameters: dict[str, Any]) -> None:
        market = GarleanuPedersen(**(parameters | {"transition": 0.97}))
        world = market.path(150_000, seed=8).world
        assert world.belief_NK is not None
        for regime, belief_T in enumerate(world.belief_NK.T):
            here_T = world.regime_N == regime
            for low in (0.0, 0.2, 0.4, 0.6, 0.8):
                among_T = (belief_T >= low) & (belief_T < low + 0.2)
                if among_T.sum() > 5000:
                    assert here_T[among_T].mean() == pytest.approx(
                        belief_T[among_T].mean(), abs=0.025
                    )

    @pytest.mark.parametrize(
        "parameters",
        [WIDE, {"reversion": [[0.05, 0.2], [0.5, 0.2], [0.05, 1.2]]}],
        ids=["assets", "reversion"],
    )
    def test_agrees_with_a_filter_in_plain_numpy(self, parameters: dict[str, Any]) -> None:
        market = GarleanuPedersen(**parameters)
        world, system = market.path(400, seed=5).world, market.system
        belief_K = np.full(market.num_regimes, 0.0)
        belief_K[:] = world.belief_NK[0] if world.belief_NK is not None else np.nan
        for bar in range(399):
            signal_S, following_S = world.signal_NF[bar : bar + 2]
            change_A = world.close_NA[bar + 1] - world.close_NA[bar]
            log_K = []
            for regime in range(market.num_regimes):
                covariance_AA = system.covariance_KAA[regime]
                off_A = change_A - system.loading_KAS[regime] @ signal_S
                log = -0.5 * off_A @ np.linalg.solve(covariance_AA, off_A)
                log -= 0.5 * np.linalg.slogdet(covariance_AA)[1]
                variance_S = 1.0 - system.persistence_KS[regime] ** 2
                step_S = following_S - system.persistence_KS[regime] * signal_S
                log -= 0.5 * (step_S**2 / variance_S + np.log(variance_S)).sum()
                log_K.append(log)
            weight_K = belief_K * np.exp(np.array(log_K) - max(log_K))
            belief_K = weight_K / weight_K.sum() @ system.transition_KK
            assert world.belief_NK is not None
            np.testing.assert_allclose(world.belief_NK[bar + 1], belief_K, atol=1e-10)

    def test_is_causal(self) -> None:
        # Another key after bar 60 is another future; what is believed up to there is the same.
        market = GarleanuPedersen(regime="belief")
        stream = market.stream()
        histories = [_play(stream, 120, switch=60, other=other) for other in (1, 2)]
        np.testing.assert_array_equal(histories[0][:61], histories[1][:61])
        assert (histories[0][61:, 2] != histories[1][61:, 2]).all()

    def test_of_one_regime_is_certain(self) -> None:
        market = GarleanuPedersen(loadings=((0.2, 0.1),), regime="belief", transition=((1.0,),))
        belief_NK = market.path(50, seed=1).world.belief_NK
        assert belief_NK is not None
        assert (belief_NK == 1.0).all()


def _play(stream: Stream, num_bars: int, *, switch: int, other: int) -> Array:
    state_S, rows = np.zeros(stream.state_size), []
    key = np.uint64(begin(stream.parameters_Q, state_S, np.uint64(start_key(1, 0, 0))))
    for bar in range(num_bars):
        rows.append(state_S.copy())
        if bar == switch:
            key = np.uint64(start_key(7, other, 0))
        key = np.uint64(advance(stream.parameters_Q, state_S, np.uint64(key)))
    return np.array(rows)


class TestKnownOracle:
    def test_simulated_value_is_the_closed_form(self, lanes: Lanes) -> None:
        oracle = known_oracle(lanes.market)
        values_N = lanes.values(oracle, tail=oracle)
        assert oracle.value is not None
        assert abs(values_N.mean() - oracle.value) < 3.0 * error_of(values_N)
        assert error_of(values_N) < 0.04 * oracle.value

    def test_simulated_value_of_several_assets_is_the_closed_form(self) -> None:
        switching = WIDE | {
            "covariance": [WIDE["covariance"], (2.0 * np.eye(3)).tolist()],
            "cost": [WIDE["cost"], (6.0 * np.eye(3)).tolist()],
            "discount": 0.97,
        }
        market = GarleanuPedersen(**switching)
        oracle = known_oracle(market)
        values_N = Lanes(market, 600, 150).values(oracle, tail=oracle)
        assert oracle.value is not None
        assert abs(values_N.mean() - oracle.value) < 3.0 * error_of(values_N)
        assert error_of(values_N) < 0.05 * oracle.value

    def test_reproduces_the_published_long_run_figures(self) -> None:
        # Published figures come from simulation, with an error of about 1%.
        market = GarleanuPedersen()
        rule = known_oracle(market).linear_rule()
        assert rule is not None
        assert stationary_reward(market.system, rule) == pytest.approx(0.01364, rel=0.01)
        blind, myopic = market.rules()["blind"], market.rules()["myopic"]
        for policy, published in ((blind, 0.00046), (myopic, -0.0431)):
            assert isinstance(policy, QuadraticPolicy)
            rule = policy.linear_rule()
            assert rule is not None
            assert stationary_reward(market.system, rule) == pytest.approx(published, rel=0.08)

    def test_holding_scale_is_what_it_holds(self, lanes: Lanes) -> None:
        oracle = known_oracle(lanes.market)
        holding_NA, squares = np.zeros((1200, 1)), []
        for world in lanes.worlds:
            holding_NA = oracle.target(world, holding_NA)
            squares.append(float((holding_NA**2).mean()))
        assert np.mean(squares[100:]) ** 0.5 == pytest.approx(lanes.market.holding_scale, rel=0.03)
        assert np.abs(holding_NA).max() < lanes.market.holding_limit


def _scaled(policy: QuadraticPolicy, *, carry: float = 1.0, gain: float = 1.0) -> QuadraticPolicy:
    return replace(policy, cost_KAA=carry * policy.cost_KAA, pull_KAS=gain * policy.pull_KAS)


class TestPerturbation:
    @pytest.mark.parametrize("which", [known_oracle, belief_oracle], ids=["known", "belief"])
    @pytest.mark.parametrize(
        "change", [{"carry": 0.93}, {"carry": 1.07}, {"gain": 0.8}, {"gain": 1.2}], ids=str
    )
    def test_lowers_the_value(
        self,
        lanes: Lanes,
        which: Callable[[GarleanuPedersen], QuadraticPolicy],
        change: dict[str, float],
    ) -> None:
        oracle = which(lanes.market)
        loss_N = lanes.values(oracle) - lanes.values(_scaled(oracle, **change))
        assert loss_N.mean() > 3.0 * error_of(loss_N)

    def test_blending_the_regimes_gains_away_from_the_belief_lowers_the_value(
        self, lanes: Lanes
    ) -> None:
        oracle = belief_oracle(lanes.market)
        mixed_KAS = 0.8 * oracle.pull_KAS + 0.2 * oracle.pull_KAS.mean(axis=0)
        loss_N = lanes.values(oracle) - lanes.values(replace(oracle, pull_KAS=mixed_KAS))
        assert loss_N.mean() > 3.0 * error_of(loss_N)


class TestHiddenRegime:
    def test_price_of_not_knowing(self, lanes: Lanes) -> None:
        known, belief = known_oracle(lanes.market), belief_oracle(lanes.market)
        price_N = lanes.values(known) - lanes.values(belief)
        assert price_N.mean() > 5.0 * error_of(price_N)
        price, error = lanes.market.price_of_not_knowing(num_paths=200, seed=2)
        assert abs(price_N.mean() - price) < 3.0 * np.hypot(error_of(price_N), error)
        assert known.value is not None
        # Between the blind rule and the known oracle, and above doing nothing.
        assert 0.3 * known.value < price < 0.6 * known.value

    def test_one_regime_has_no_price(self) -> None:
        market = GarleanuPedersen(loadings=((0.2, 0.1),), transition=((1.0,),), discount=0.9)
        price, error = market.price_of_not_knowing(num_paths=3)
        assert price == pytest.approx(0.0, abs=1e-15)
        assert error == pytest.approx(0.0, abs=1e-15)

    def test_oracle_under_certainty_is_the_known_oracle(self) -> None:
        market = GarleanuPedersen(**WIDE)
        world = market.path(50, seed=1).world
        certain = world._replace(belief_NK=np.eye(2)[world.regime_N])
        holding_NA = np.random.default_rng(0).normal(size=(50, 3))
        np.testing.assert_allclose(
            market.oracle("belief").target(certain, holding_NA),
            market.oracle("known").target(world, holding_NA),
            atol=1e-12,
        )

    def test_is_refused_where_the_regime_governs_risk(self) -> None:
        market = GarleanuPedersen(covariance=(((1.0,),), ((1.5,),), ((4.0,),)), cost=10.0)
        with pytest.raises(SyntheticMarketError, match="one covariance and one cost matrix"):
            market.oracle("belief")
        with pytest.raises(SyntheticMarketError, match="one covariance and one cost matrix"):
            market.price_of_not_knowing()
        rule = market.rules()["certainty_equivalent"]
        known = known_oracle(market)
        few = Lanes(market, 300, 400)
        loss_N = few.values(known) - few.values(rule)
        assert loss_N.mean() > 3.0 * error_of(loss_N)

    def test_needs_the_filter(self) -> None:
        market = GarleanuPedersen()
        world = market.path(5, seed=1, belief=False).world
        with pytest.raises(SyntheticMarketError, match=r"stream\(belief=True\)"):
            market.oracle("belief").target(world, np.zeros((5, 1)))


class TestRules:
    def test_values_are_what_they_earn(self, lanes: Lanes) -> None:
        for name, rule in lanes.market.rules().items():
            values_N = lanes.values(rule)
            value = getattr(rule, "value", None)
            assert value is not None, name
            assert abs(values_N.mean() - value) <= 3.0 * error_of(values_N) + 1e-5, name

    def test_order(self) -> None:
        market = GarleanuPedersen()
        rules = {name: getattr(rule, "value", np.nan) for name, rule in market.rules().items()}
        best = market.oracle("known").value
        assert best is not None
        assert rules["myopic"] < rules["do_nothing"] == 0.0 < rules["blind"] < best

    def test_myopic_is_markowitz(self) -> None:
        market = GarleanuPedersen(**WIDE)
        world = market.path(4, seed=3).world
        target_NA = market.rules()["myopic"].target(world, np.ones((4, 3)))
        for row in range(4):
            drift_A = market.system.loading_KAS[world.regime_N[row]] @ world.signal_NF[row]
            expected_A = np.linalg.solve(np.array(WIDE["covariance"]), drift_A)
            np.testing.assert_allclose(target_NA[row], expected_A, atol=1e-12)

    def test_myopic_knows_what_the_view_shows(self) -> None:
        knowledge = {
            view: GarleanuPedersen(regime=view).rules()["myopic"].information
            for view in ("known", "belief", "hidden")
        }
        assert knowledge == {"known": "known", "belief": "belief", "hidden": "belief"}

    def test_doing_nothing_keeps_what_is_held(self) -> None:
        market = GarleanuPedersen()
        holding_NA = np.array([[0.3], [-2.0]])
        world = market.path(2, seed=1).world
        np.testing.assert_array_equal(
            market.rules()["do_nothing"].target(world, holding_NA), holding_NA
        )


class TestParameters:
    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"reversion": (0.0, 0.2)}, r"reversion: expected numbers in \(0, 2\).* found 0\.0"),
            ({"reversion": (0.05, 2.0)}, r"reversion: expected numbers in \(0, 2\).* found 2\.0"),
            ({"reversion": (1e-17, 0.2)}, r"reversion: expected numbers in \(0, 2\)"),
            ({"reversion": (0.05,)}, r"reversion: expected 2 signals .* found shape \(1,\)"),
            ({"loadings": ((0.1, 0.2), (0.3,))}, "loadings: expected rows of one length"),
            ({"loadings": ((0.1, float("nan")),)}, "loadings: expected finite numbers"),
            ({"loadings": ()}, "loadings: expected"),
            ({"loadings": ((0.0, 0.0), (0.0, 0.0))}, "expected one that is not 0, .* to earn"),
            ({"transition": 1.2}, r"transition: expected a probability in \[0, 1\], found 1\.2"),
            (
                {"transition": ((0.5, 0.4, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))},
                r"transition\[0\]: expected probabilities that sum to 1, found a sum of 0\.9",
            ),
            ({"transition": ((1.0,),)}, r"transition: expected 3 regimes .* found 1"),
            ({"transition": ((0.5, 0.5),)}, "transition: expected a square matrix"),
            ({"covariance": -1.0}, "covariance: expected positive definite"),
            ({"covariance": ((1.0, 0.0), (0.0, 1.0))}, r"covariance: .* found shape \(2, 2\)"),
            (
                {"covariance": (((1.0,),), ((0.0,),), ((1.0,),))},
                r"covariance: expected positive definite, .* \(smallest eigenvalue 0\)",
            ),
            ({"cost": 0.0}, "cost: expected positive definite, found 0.0"),
            ({"cost": ((-3.0,),)}, "cost: expected positive definite"),
            ({"cost": float("inf")}, "cost: expected finite numbers"),
            ({"discount": 1.0}, "discount"),
            ({"discount": float("nan")}, "discount"),
            ({"risk_aversion": 0.0}, "risk_aversion"),
            ({"regime": "seen"}, "regime"),
            ({"momentum": 1.0}, "momentum"),
        ],
    )
    def test_bad_ones_are_refused(self, parameters: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            GarleanuPedersen(**parameters)

    @pytest.mark.parametrize(
        ("covariance", "message"),
        [
            ([[1.0, 2.0], [2.0, 1.0]], "covariance: expected positive definite"),
            ([[1.0, 0.5], [0.4, 1.0]], "covariance: expected a symmetric matrix"),
            ([[1.0, 1.0], [1.0, 1.0]], "covariance: expected positive definite"),
        ],
    )
    def test_bad_matrices_are_refused(self, covariance: Any, message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            GarleanuPedersen(
                loadings=(((0.1,), (0.2,)),),
                reversion=(0.1,),
                covariance=covariance,
                transition=1.0,
            )

    def test_short_forms_are_the_long_ones(self) -> None:
        short = GarleanuPedersen()
        stay, leave = 0.995, 0.0025
        long = GarleanuPedersen(
            loadings=(((0.20, 0.0),), ((-0.15, 0.20),), ((0.05, -0.20),)),
            reversion=((0.05, 0.20), (0.05, 0.20), (0.05, 0.20)),
            covariance=(((1.0,),), ((1.0,),), ((1.0,),)),
            cost=((10.0,),),
            transition=((stay, leave, leave), (leave, stay, leave), (leave, leave, stay)),
        )
        matrices = {name: m for name, m in vars(short.system).items() if m is not None}
        assert len(matrices) >= 5
        for name, matrix in matrices.items():
            np.testing.assert_allclose(getattr(long.system, name), matrix, rtol=1e-15)

    def test_matrices_are_read_only(self) -> None:
        market = GarleanuPedersen()
        for matrix in (market.stream().parameters_Q, market.stream().cost_KAA):
            with pytest.raises(ValueError, match="read-only"):
                matrix[0] = 1.0

    def test_pass_through_json(self) -> None:
        market = GarleanuPedersen(**WIDE, regime="hidden")
        adapter = TypeAdapter(GarleanuPedersen)
        again = adapter.validate_json(adapter.dump_json(market))
        assert again == market
        assert hash(again) == hash(market)
        np.testing.assert_array_equal(again.stream().parameters_Q, market.stream().parameters_Q)
